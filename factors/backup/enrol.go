package backup

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

// ManageView is the data of manage.html, renew.html and remove.html.
type ManageView struct {
	Possible bool // two-factor authentication is on
	On       bool // a set was made
	Left     int
	Few      bool
	Since    time.Time
	Used     time.Time // zero = none was used yet
	Set      string    // which set the page is about; "" = none
}

// CodesView is the data of codes.html.
type CodesView struct {
	Codes  []string
	Made   time.Time
	Origin string
}

func (f *Factor) view(ctx context.Context, id account.ID) (ManageView, error) {
	a, err := f.kit.Accounts.Account(ctx, id)
	if err != nil {
		return ManageView{}, err
	}
	v := ManageView{Possible: a.TwoFactor}
	s, err := f.find(ctx, id)
	switch {
	case err == nil:
		v.On, v.Left, v.Few, v.Since, v.Used, v.Set = true, s.left(), s.left() <= few, s.CreatedAt, s.used(), s.ID
	case !errors.Is(err, fault.ErrNotFound):
		return ManageView{}, err
	}
	return v, nil
}

// Standing is one line of the overview.
func (f *Factor) Standing(ctx context.Context, id account.ID) (factors.Standing, error) {
	v, err := f.view(ctx, id)
	switch {
	case err != nil:
		return factors.Standing{}, err
	case !v.Possible:
		return factors.Standing{Why: "backup.two_factor"}, nil
	case !v.On:
		return factors.Standing{Possible: true}, nil
	}
	return factors.Standing{On: v.Left > 0, Possible: true, Since: v.Since, Used: v.Used, Key: "backup.left", N: v.Left, Warn: v.Few}, nil
}

// Manage shows how many are left, never which.
func (f *Factor) Manage(ctx context.Context, try factors.Try) (factors.Page, error) {
	v, err := f.view(ctx, try.Account)
	return factors.Page{Data: v}, err
}

// Act: "make" makes a set and shows it, "renew" asks before a set takes the place of another, "remove" asks before "delete".
func (f *Factor) Act(ctx context.Context, try factors.Try, act string, answer factors.Answer) (factors.Result, error) {
	if try.Account == "" {
		return factors.Result{}, fault.ErrNotFound
	}
	v, err := f.view(ctx, try.Account)
	if err != nil {
		return factors.Result{}, err
	}
	switch {
	case act == "make" && !v.Possible:
		return factors.Result{}, fault.New(fault.Denied, "backup.two_factor")
	case act == "make" && answer.Get("set") != v.Set:
		// The page was sent again, or stood open in a second tab: what was just shown and written down must stay good.
		return factors.Result{}, fault.New(fault.Denied, "backup.already")
	case act == "make":
		return f.make(ctx, try, v)
	case (act == "renew" || act == "remove" || act == "delete") && !v.On:
		return factors.Result{}, fault.New(fault.Denied, "backup.gone")
	case act == "renew", act == "remove":
		return factors.Result{Template: act, Page: factors.Page{Data: v}}, nil
	case act == "delete":
		return factors.Result{
			Done: "backup.removed", Event: audit.FactorRemoved, Details: map[string]string{"reason": "person"},
			Commit: func(ctx context.Context) error { return f.Drop(ctx, try.Account) },
		}, nil
	}
	return factors.Result{}, fault.ErrNotFound
}

func (f *Factor) make(ctx context.Context, try factors.Try, v ManageView) (factors.Result, error) {
	r := record{Salt: make([]byte, 16)}
	rand.Read(r.Salt)
	shown := CodesView{Made: f.now(), Origin: try.Origin}
	for _, code := range newCodes(r.Salt) {
		hash, err := f.hasher.Hash(ctx, try.Account, code)
		if err != nil {
			return factors.Result{}, err
		}
		r.Codes = append(r.Codes, entry{Label: label(r.Salt, code), Hash: hash})
		shown.Codes = append(shown.Codes, grouped(code))
	}
	data, err := json.Marshal(r)
	if err != nil {
		return factors.Result{}, errors.New("backup: the set cannot be stored")
	}
	out := factors.Result{Template: "codes", Page: factors.Page{Data: shown}, Done: "backup.made", Event: audit.FactorSetUp}
	if v.On {
		out.Event, out.Details = audit.FactorChanged, map[string]string{"what": "renewed"}
	}
	// The handle holds the account to one set: of two that are made at once one is stored, and only that one is shown.
	c := factors.Credential{Account: try.Account, Handle: string(try.Account), State: active, Data: data, CreatedAt: shown.Made}
	out.Commit = func(ctx context.Context) error {
		now, err := f.view(ctx, try.Account)
		if err != nil {
			return err
		}
		if !now.Possible || now.Set != v.Set {
			return fault.New(fault.Denied, "backup.already")
		}
		if err := f.Drop(ctx, try.Account); err != nil {
			return err
		}
		_, err = f.kit.Credentials.Create(ctx, c)
		return err
	}
	return out, nil
}

// Drop ends the set, as when two-factor authentication is switched off.
func (f *Factor) Drop(ctx context.Context, id account.ID) error {
	return factors.DeleteAll(ctx, f.kit.Credentials, id)
}
