package totp

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/fault"
)

// Numbers of a challenge. Five tries of three valid codes among a million.
const (
	Life  = 5 * time.Minute
	Tries = 5
)

const name = "totp"

const active = "active"

//go:embed pages
var files embed.FS

// Factor compares codes and sets keys up.
type Factor struct{ kit factors.Kit }

// New returns the factor over its kit.
func New(kit factors.Kit) *Factor { return &Factor{kit: kit} }

// Pages holds page.html, manage.html, remove.html, words.json and style.css.
func (f *Factor) Pages() fs.FS {
	sub, err := fs.Sub(files, "pages")
	if err != nil {
		panic(err) // a name of ours
	}
	return sub
}

// Info: only after ID number and password, since whoever signs in with a bank or a card has shown more than a password already
// and the table of methods has no such pair.
func (f *Factor) Info() factors.Info {
	return factors.Info{
		Name: name, Stage: factors.Second, Order: 30, After: []string{"password"},
		Tries: factors.Tries{Free: 10, First: 10 * time.Minute, Most: 10 * time.Minute, Disable: 100},
	}
}

// record is the sealed part of a credential. The clear Counter of the credential is the newest step that was used.
type record struct {
	Seed  []byte `json:"seed"`
	First int64  `json:"first"` // the step of the code that confirmed the key
}

// key is a credential, opened.
type key struct {
	factors.Credential
	record
}

// used is when the key was last used to sign in; zero if it never was.
func (k key) used() time.Time {
	if k.Counter <= k.First {
		return time.Time{}
	}
	return moment(k.Counter)
}

// find returns the person's key; fault.ErrNotFound if there is none.
func (f *Factor) find(ctx context.Context, id account.ID) (key, error) {
	rows, err := f.kit.Credentials.Of(ctx, id)
	if err != nil {
		return key{}, err
	}
	for _, c := range rows {
		if c.State != active {
			continue
		}
		k := key{Credential: c}
		if err := json.Unmarshal(c.Data, &k.record); err != nil || len(k.Seed) == 0 {
			return key{}, errors.New("totp: the stored key cannot be read") // err would quote it
		}
		return k, nil
	}
	return key{}, fault.ErrNotFound
}

// Available says whether the person has a key.
func (f *Factor) Available(ctx context.Context, id account.ID) (bool, error) {
	if id == "" {
		return false, nil
	}
	_, err := f.find(ctx, id)
	if errors.Is(err, fault.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// View is the data of page.html.
type View struct {
	Open  bool      // a code may be entered
	Until time.Time // when not Open: from then on again
}

// Begin opens a challenge, or shows the one that is open.
func (f *Factor) Begin(ctx context.Context, try factors.Try) (factors.Challenge, error) {
	switch ok, err := f.Available(ctx, try.Account); {
	case err != nil:
		return factors.Challenge{}, err
	case !ok:
		return factors.Challenge{}, fault.New(fault.Denied, "totp.none")
	}
	t, err := f.challenge(ctx, try)
	for range 2 { // of those who ask at once one opens it
		if !errors.Is(err, fault.ErrConflict) {
			break
		}
		t, err = f.challenge(ctx, try)
	}
	if err != nil {
		return factors.Challenge{}, err
	}
	return factors.Challenge{Page: &factors.Page{Data: View{Open: t.Tries < Tries, Until: t.ExpiresAt}}}, nil
}

// challenge returns the one that is open, else a new one. fault.ErrConflict where another was opened or closed meanwhile.
func (f *Factor) challenge(ctx context.Context, try factors.Try) (factors.Ticket, error) {
	t, err := f.kit.Tickets.Find(ctx, try.Binding, try.Purpose)
	switch {
	case errors.Is(err, fault.ErrNotFound):
		return f.open(ctx, try, factors.Ticket{Replaces: factors.Nothing}, Life)
	case errors.Is(err, fault.ErrConflict):
		// One that was used belongs to a code that was right and yet did not bring the person on: the next code will. Or it was closed from
		// elsewhere, which whoever guesses can bring about: its tries count on.
		return f.open(ctx, try, factors.Ticket{Replaces: t.Replaces, Tries: t.Tries}, Life)
	case err != nil || t.Account == try.Account:
		return t, err
	}
	old := t.ID // of somebody else, who began in this browser
	err = f.kit.Atomically(ctx, func(ctx context.Context) (err error) {
		if err := f.kit.Tickets.Use(ctx, old); err != nil {
			return err
		}
		t, err = f.open(ctx, try, factors.Ticket{Replaces: old}, Life)
		return err
	})
	return t, err
}

// open completes t and opens it.
func (f *Factor) open(ctx context.Context, try factors.Try, t factors.Ticket, life time.Duration) (factors.Ticket, error) {
	now := f.now()
	t.Binding, t.Purpose, t.Account, t.CreatedAt, t.ExpiresAt = try.Binding, try.Purpose, try.Account, now, now.Add(life)
	return f.kit.Tickets.Open(ctx, t, nil)
}

// Readable refuses what is no code before a try is counted.
func (f *Factor) Readable(answer factors.Answer) error {
	_, err := read(answer)
	return err
}

// Verify counts the try, compares, and uses the step up when the code is right.
func (f *Factor) Verify(ctx context.Context, try factors.Try, answer factors.Answer) (factors.Proof, error) {
	code, err := read(answer)
	if err != nil {
		return factors.Proof{}, err
	}
	if try.Account == "" {
		return factors.Proof{}, factors.ErrWrong
	}
	t, err := f.take(ctx, try)
	if err != nil {
		return factors.Proof{}, err
	}
	k, err := f.find(ctx, try.Account)
	if errors.Is(err, fault.ErrNotFound) {
		return factors.Proof{}, fault.New(fault.Denied, "totp.none")
	}
	if err != nil {
		return factors.Proof{}, err
	}
	now := f.now()
	step, ok, err := match(k.Seed, code, now)
	switch {
	case err != nil:
		return factors.Proof{}, err
	case !ok:
		return factors.Proof{}, wrong(t)
	}
	// The one moment at which a code becomes a proof: whoever moves the step has used it (row S3).
	if err := f.kit.Credentials.Advance(ctx, k.ID, step); err != nil {
		if errors.Is(err, fault.ErrConflict) {
			return factors.Proof{}, fault.Wrap(fault.Denied, "totp.used", factors.ErrWrong).In("code")
		}
		return factors.Proof{}, err
	}
	if err := f.kit.Tickets.Use(ctx, t.ID); err != nil && !errors.Is(err, fault.ErrConflict) {
		return factors.Proof{}, err
	}
	return factors.Proof{
		Factor: name, Account: try.Account, Stage: factors.Second, Kinds: factors.Have, Channel: factors.Here, Level: acr.Low,
		AMR: []string{"otp"}, At: now,
	}, nil
}

// take counts one try of the open challenge before anything is compared: of a thousand guesses at once five are (row S1).
// fault.ErrConflict when its code was found already: the form was sent twice.
func (f *Factor) take(ctx context.Context, try factors.Try) (factors.Ticket, error) {
	t, err := f.kit.Tickets.Find(ctx, try.Binding, try.Purpose)
	if errors.Is(err, fault.ErrNotFound) || err == nil && t.Account != try.Account {
		return t, fault.New(fault.Expired, "totp.expired").In("code")
	}
	if err != nil {
		return t, err
	}
	counted, err := f.kit.Tickets.Try(ctx, t.ID, Tries)
	if errors.Is(err, fault.ErrNotFound) {
		wait := t.ExpiresAt.Sub(f.now())
		return t, fault.New(fault.Denied, "totp.spent").With("n", int(wait/time.Minute)+1).In("code").After(wait)
	}
	return counted, err
}

func wrong(t factors.Ticket) error {
	if left := Tries - t.Tries; left > 0 {
		return fault.Wrap(fault.Denied, "totp.wrong", factors.ErrWrong).With("n", left).In("code")
	}
	return fault.Wrap(fault.Denied, "totp.wrong_last", factors.ErrWrong).In("code")
}

func read(answer factors.Answer) (string, error) {
	code, ok := normalise(answer.Get("code"))
	if !ok {
		return "", fault.New(fault.Invalid, "totp.format").In("code")
	}
	return code, nil
}

func (f *Factor) now() time.Time { return f.kit.Now().UTC().Truncate(time.Microsecond) }

var (
	_ factors.Factor    = (*Factor)(nil)
	_ factors.Available = (*Factor)(nil)
	_ factors.Reader    = (*Factor)(nil)
	_ factors.Enroller  = (*Factor)(nil)
)

func pack(r record) ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("totp: %w", err)
	}
	return b, nil
}
