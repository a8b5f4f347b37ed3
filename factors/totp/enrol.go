package totp

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"html/template"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/qrcode"
)

// SetupLife is how long a key that is being set up waits for its first code.
const SetupLife = 15 * time.Minute

// issuerName stands before the person's name in the app's list. It is ASCII: some apps read no other letters from a picture.
const issuerName = "Kapi"

// Setup is a key that is being set up, as it is shown.
type Setup struct {
	Picture qrcode.Picture // of Link, to scan
	Groups  []string       // the key in base32, to type
	Link    template.URL   // otpauth:, opens the app on this device
	Until   time.Time
}

// ManageView is the data of manage.html.
type ManageView struct {
	On    bool
	Since time.Time
	Used  time.Time // zero = never yet
	Setup *Setup    // nil = none is under way
	Spent bool      // of the setup: too many wrong codes
	Alone bool      // two-factor authentication is off: the key is asked for only where a service wants two steps
}

// Standing is one line of the overview.
func (f *Factor) Standing(ctx context.Context, id account.ID) (factors.Standing, error) {
	k, err := f.find(ctx, id)
	if errors.Is(err, fault.ErrNotFound) {
		return factors.Standing{Possible: true}, nil
	}
	if err != nil {
		return factors.Standing{}, err
	}
	return factors.Standing{On: true, Possible: true, Since: k.CreatedAt, Used: k.used()}, nil
}

// Manage shows the key's dates, and the one that is being set up in this session.
func (f *Factor) Manage(ctx context.Context, try factors.Try) (factors.Page, error) {
	a, err := f.kit.Accounts.Account(ctx, try.Account)
	if err != nil {
		return factors.Page{}, err
	}
	v := ManageView{Alone: !a.TwoFactor}
	k, err := f.find(ctx, try.Account)
	switch {
	case err == nil:
		v.On, v.Since, v.Used = true, k.CreatedAt, k.used()
	case !errors.Is(err, fault.ErrNotFound):
		return factors.Page{}, err
	}
	t, seed, err := f.pending(ctx, try)
	if errors.Is(err, fault.ErrNotFound) || errors.Is(err, fault.ErrConflict) {
		return factors.Page{Data: v}, nil
	}
	if err != nil {
		return factors.Page{}, err
	}
	v.Spent = t.Tries >= Tries
	if !v.Spent {
		if v.Setup, err = drawn(seed, try, t.ExpiresAt); err != nil {
			return factors.Page{}, err
		}
	}
	return factors.Page{Data: v}, nil
}

// pending returns the key that is being set up; fault.ErrNotFound if there is none, fault.ErrConflict if it was confirmed.
func (f *Factor) pending(ctx context.Context, try factors.Try) (factors.Ticket, []byte, error) {
	t, err := f.kit.Tickets.Find(ctx, try.Binding, factors.Enrol)
	if err != nil {
		return t, nil, err
	}
	var r record
	if try.Account == "" || t.Account != try.Account || json.Unmarshal(t.Data, &r) != nil || len(r.Seed) != seedSize {
		return t, nil, fault.ErrNotFound
	}
	return t, r.Seed, nil
}

// drawn makes what is shown of a key.
func drawn(seed []byte, try factors.Try, until time.Time) (*Setup, error) {
	account := strings.Map(func(r rune) rune {
		if r == ':' || r < ' ' { // a colon would move the border between issuer and name
			return ' '
		}
		return r
	}, try.Person)
	if strings.TrimSpace(account) == "" {
		account = try.Origin
	}
	k, err := totp.Generate(totp.GenerateOpts{
		Issuer: issuerName, AccountName: account, Period: period, Secret: seed, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
	})
	if err != nil {
		return nil, errors.New("totp: no address for the key") // err would quote it
	}
	picture, err := qrcode.Paint(k.URL())
	if err != nil {
		return nil, err
	}
	s := &Setup{Picture: picture, Link: template.URL(k.URL()), Until: until}
	for typed := k.Secret(); typed != ""; typed = typed[min(4, len(typed)):] {
		s.Groups = append(s.Groups, typed[:min(4, len(typed))])
	}
	return s, nil
}

// Act: "begin" makes a key, "confirm" stores it once a code shows that the app has it, "cancel" forgets it, "remove" asks before
// "delete".
func (f *Factor) Act(ctx context.Context, try factors.Try, act string, answer factors.Answer) (factors.Result, error) {
	if try.Account == "" {
		return factors.Result{}, fault.ErrNotFound
	}
	switch act {
	case "begin":
		return factors.Result{}, f.begin(ctx, try)
	case "confirm":
		return f.confirm(ctx, try, answer)
	case "cancel":
		t, _, err := f.pending(ctx, try)
		if err == nil {
			err = f.kit.Tickets.Use(ctx, t.ID)
		}
		if errors.Is(err, fault.ErrNotFound) || errors.Is(err, fault.ErrConflict) {
			err = nil
		}
		return factors.Result{}, err
	case "remove":
		if _, err := f.find(ctx, try.Account); err != nil {
			return factors.Result{}, gone(err)
		}
		return factors.Result{Template: "remove"}, nil
	case "delete":
		return f.remove(ctx, try)
	}
	return factors.Result{}, fault.ErrNotFound
}

// begin makes a key. One that waits already stays, so that a form sent twice does not change what was just scanned.
func (f *Factor) begin(ctx context.Context, try factors.Try) error {
	t, _, err := f.pending(ctx, try)
	if err == nil && t.Tries < Tries {
		return nil
	}
	if err != nil && !errors.Is(err, fault.ErrNotFound) && !errors.Is(err, fault.ErrConflict) {
		return err
	}
	seed := make([]byte, seedSize)
	rand.Read(seed)
	data, err := pack(record{Seed: seed})
	if err != nil {
		return err
	}
	try.Purpose = factors.Enrol
	_, err = f.open(ctx, try, factors.Ticket{Data: data}, SetupLife)
	return err
}

func (f *Factor) confirm(ctx context.Context, try factors.Try, answer factors.Answer) (factors.Result, error) {
	code, err := read(answer)
	if err != nil {
		return factors.Result{}, err
	}
	t, seed, err := f.pending(ctx, try)
	if errors.Is(err, fault.ErrConflict) { // sent twice: the first one has stored it
		return factors.Result{}, nil
	}
	if err == nil {
		t, err = f.kit.Tickets.Try(ctx, t.ID, Tries)
	}
	if errors.Is(err, fault.ErrNotFound) {
		return factors.Result{}, fault.New(fault.Expired, "totp.setup_over")
	}
	if err != nil {
		return factors.Result{}, err
	}
	at, ok, err := match(seed, code, f.now())
	switch {
	case err != nil:
		return factors.Result{}, err
	case !ok && t.Tries >= Tries:
		return factors.Result{}, fault.New(fault.Denied, "totp.setup_over")
	case !ok:
		return factors.Result{}, fault.New(fault.Denied, "totp.setup_wrong").With("n", Tries-t.Tries).In("code")
	}
	data, err := pack(record{Seed: seed, First: at})
	if err != nil {
		return factors.Result{}, err
	}
	old, err := f.kit.Credentials.Of(ctx, try.Account)
	if err != nil {
		return factors.Result{}, err
	}
	r := factors.Result{Done: "totp.done", Event: audit.FactorSetUp}
	if len(old) > 0 {
		r.Done, r.Event, r.Details = "totp.replaced", audit.FactorChanged, map[string]string{"what": "replaced"}
	}
	// The step of this code is used: it must not open a sign-in as well. The handle holds the account to one key.
	c := factors.Credential{Account: try.Account, Handle: string(try.Account), State: active, Counter: at, Data: data, CreatedAt: f.now()}
	r.Commit = func(ctx context.Context) error {
		if err := f.kit.Tickets.Use(ctx, t.ID); err != nil {
			return err
		}
		if err := f.drop(ctx, try.Account); err != nil {
			return err
		}
		_, err := f.kit.Credentials.Create(ctx, c)
		return err
	}
	return r, nil
}

func (f *Factor) remove(ctx context.Context, try factors.Try) (factors.Result, error) {
	if _, err := f.find(ctx, try.Account); err != nil {
		return factors.Result{}, gone(err)
	}
	return factors.Result{
		Done: "totp.removed", Event: audit.FactorRemoved, Details: map[string]string{"reason": "person"},
		Commit: func(ctx context.Context) error { return f.drop(ctx, try.Account) },
	}, nil
}

// drop removes all that the person has, the one key.
func (f *Factor) drop(ctx context.Context, id account.ID) error {
	return factors.DeleteAll(ctx, f.kit.Credentials, id)
}

// gone says on the page that there is no key any more, as after a form sent twice.
func gone(err error) error {
	if errors.Is(err, fault.ErrNotFound) {
		return fault.New(fault.Denied, "totp.none")
	}
	return err
}
