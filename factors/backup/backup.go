package backup

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"strconv"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

const (
	name   = "backup"
	active = "active"
)

//go:embed pages
var files embed.FS

// Hasher is the hashing of passwords, lent for codes: slow, salted, and bound to the account. The password factor stands behind it.
type Hasher interface {
	Hash(ctx context.Context, id account.ID, secret string) (string, error)
	// Matches compares; stored "" is compared with nothing, at the same cost.
	Matches(ctx context.Context, id account.ID, stored, secret string) (bool, error)
}

// Factor makes and compares codes.
type Factor struct {
	kit    factors.Kit
	hasher Hasher
}

// New returns the factor over its kit.
func New(kit factors.Kit, h Hasher) *Factor { return &Factor{kit: kit, hasher: h} }

// Pages holds page.html, manage.html, renew.html, codes.html, remove.html, words.json, style.css and script.js.
func (f *Factor) Pages() fs.FS {
	sub, err := fs.Sub(files, "pages")
	if err != nil {
		panic(err) // a name of ours
	}
	return sub
}

// Info: after any first factor, behind all other second ones.
func (f *Factor) Info() factors.Info {
	return factors.Info{
		Name: name, Stage: factors.Second, Order: 90, LastResort: true,
		Tries: factors.Tries{Free: 10, First: 10 * time.Minute, Most: 10 * time.Minute, Disable: 100},
	}
}

// record is the sealed part of a set.
type record struct {
	Salt  []byte  `json:"salt"` // of the labels
	Codes []entry `json:"codes"`
}

type entry struct {
	Label byte      `json:"l"`
	Hash  string    `json:"h"`
	Used  time.Time `json:"u,omitzero"`
	By    string    `json:"b,omitempty"` // the sign-in that used it
}

// set is a credential, opened.
type set struct {
	factors.Credential
	record
}

func (s set) left() (n int) {
	for _, e := range s.Codes {
		if e.Used.IsZero() {
			n++
		}
	}
	return n
}

// used is when a code of the set was last used; zero if none was.
func (s set) used() (last time.Time) {
	for _, e := range s.Codes {
		if e.Used.After(last) {
			last = e.Used
		}
	}
	return last
}

// find returns the person's set; fault.ErrNotFound if there is none that counts: two-factor authentication is on and has been
// since the set was made, whoever switched it off and forgot the codes.
func (f *Factor) find(ctx context.Context, id account.ID) (set, error) {
	rows, err := f.kit.Credentials.Of(ctx, id)
	if err != nil {
		return set{}, err
	}
	for _, c := range rows {
		if c.State != active {
			continue
		}
		s := set{Credential: c}
		if json.Unmarshal(c.Data, &s.record) != nil {
			return set{}, errors.New("backup: the stored set cannot be read") // the cause would quote it
		}
		a, err := f.kit.Accounts.Account(ctx, id)
		if err != nil {
			return set{}, err
		}
		if !a.TwoFactor || c.CreatedAt.Before(a.TwoFactorSince) {
			return set{}, fault.ErrNotFound
		}
		return s, nil
	}
	return set{}, fault.ErrNotFound
}

// Available says whether the person has a code left.
func (f *Factor) Available(ctx context.Context, id account.ID) (bool, error) {
	if id == "" {
		return false, nil
	}
	s, err := f.find(ctx, id)
	if errors.Is(err, fault.ErrNotFound) {
		return false, nil
	}
	return err == nil && s.left() > 0, err
}

// View is the data of page.html.
type View struct {
	Left int
	Few  bool
}

// Begin shows the field.
func (f *Factor) Begin(ctx context.Context, try factors.Try) (factors.Challenge, error) {
	s, err := f.find(ctx, try.Account)
	if errors.Is(err, fault.ErrNotFound) || err == nil && s.left() == 0 {
		return factors.Challenge{}, fault.New(fault.Denied, "backup.none")
	}
	if err != nil {
		return factors.Challenge{}, err
	}
	return factors.Challenge{Page: &factors.Page{Data: View{Left: s.left(), Few: s.left() <= few}}}, nil
}

// Readable refuses what is no code before a try is counted.
func (f *Factor) Readable(answer factors.Answer) error {
	_, err := read(answer)
	return err
}

func read(answer factors.Answer) (string, error) {
	code, ok := normalise(answer.Get("code"))
	if !ok {
		return "", fault.New(fault.Invalid, "backup.format").In("code")
	}
	return code, nil
}

// Verify runs one hash, whatever was typed, and uses the code up when it is right.
func (f *Factor) Verify(ctx context.Context, try factors.Try, answer factors.Answer) (factors.Proof, error) {
	code, err := read(answer)
	if err != nil {
		return factors.Proof{}, err
	}
	s, err := f.find(ctx, try.Account)
	if errors.Is(err, fault.ErrNotFound) || try.Account == "" {
		return factors.Proof{}, wrong()
	}
	if err != nil {
		return factors.Proof{}, err
	}
	meant := ""
	for _, e := range s.Codes {
		if e.Label == label(s.Salt, code) {
			meant = e.Hash
		}
	}
	ok, err := f.hasher.Matches(ctx, try.Account, meant, code)
	switch {
	case err != nil:
		return factors.Proof{}, err
	case !ok:
		return factors.Proof{}, wrong()
	}
	now, err := f.use(ctx, try, s, meant)
	if err != nil {
		return factors.Proof{}, err
	}
	return factors.Proof{
		Factor: name, Account: try.Account, Stage: factors.Second, Kinds: factors.Have, Channel: factors.Here, Level: acr.Low,
		AMR: []string{"backup"}, At: now,
	}, nil
}

// use marks the code with this hash as used, together with the record of it. It begins anew when the set moved meanwhile: another
// code was used, or this one.
func (f *Factor) use(ctx context.Context, try factors.Try, s set, hash string) (time.Time, error) {
	place := string(try.Purpose) + " " + try.Binding
	for range 3 * codes {
		e := s.entry(hash)
		switch {
		case e == nil: // a new set was made meanwhile
			return time.Time{}, wrong()
		case !e.Used.IsZero() && e.By == place: // the form was sent twice
			return time.Time{}, fault.ErrConflict
		case !e.Used.IsZero():
			return time.Time{}, fault.Wrap(fault.Denied, "backup.used", factors.ErrWrong).In("code")
		}
		now := f.now()
		e.Used, e.By = now, place
		data, err := json.Marshal(s.record)
		if err != nil {
			return time.Time{}, err
		}
		c := s.Credential
		c.Data = data
		err = f.kit.Atomically(ctx, func(ctx context.Context) error {
			if err := f.kit.Credentials.Update(ctx, c); err != nil {
				return err
			}
			return f.kit.Audit.Record(ctx, audit.Event{
				At: now, Name: audit.FactorUsed, Outcome: "ok", Actor: string(try.Account), Subject: string(try.Account), Network: try.Network,
				Agent: try.Agent, Details: map[string]string{"factor": name, "left": strconv.Itoa(s.left())},
			})
		})
		if !errors.Is(err, fault.ErrConflict) {
			return now, err
		}
		if s, err = f.find(ctx, try.Account); err != nil {
			if errors.Is(err, fault.ErrNotFound) {
				err = wrong()
			}
			return time.Time{}, err
		}
	}
	return time.Time{}, fault.New(fault.Unavailable, "backup.busy").After(time.Second)
}

func (s set) entry(hash string) *entry {
	for i := range s.Codes {
		if s.Codes[i].Hash == hash {
			return &s.Codes[i]
		}
	}
	return nil
}

func wrong() error { return fault.Wrap(fault.Denied, "backup.wrong", factors.ErrWrong).In("code") }

func (f *Factor) now() time.Time { return f.kit.Now().UTC().Truncate(time.Microsecond) }

var (
	_ factors.Factor    = (*Factor)(nil)
	_ factors.Available = (*Factor)(nil)
	_ factors.Reader    = (*Factor)(nil)
	_ factors.Enroller  = (*Factor)(nil)
	_ factors.Dropper   = (*Factor)(nil)
)
