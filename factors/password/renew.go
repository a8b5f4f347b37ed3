package password

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
)

// RenewView is the Data of renew.html.
type RenewView struct {
	Rules     []Rule
	Temporary bool // the password is the office's; else it is too old for the profile
	Remind    int  // the person may keep it, and is only asked after so many months; 0 = a new one is owed
}

// RenewPage shows the field of the new password and what it is held to.
func (f *Factor) RenewPage(ctx context.Context, try factors.Try) (factors.Page, error) {
	_, twoFactor, err := f.about(ctx, try.Account)
	if err != nil {
		return factors.Page{}, err
	}
	s, err := f.Describe(ctx, try.Account)
	if err != nil {
		return factors.Page{}, err
	}
	v := RenewView{Rules: f.Rules(twoFactor), Temporary: s.State == Temporary}
	if s.Remind && !s.Renew {
		v.Remind = f.profile.RemindAfter
	}
	return factors.Page{Data: v}, nil
}

// Renew takes the field "new_password" in place of a password that may not stay, or of which the profile reminds, just proven in the
// same sign-in.
func (f *Factor) Renew(ctx context.Context, try factors.Try, answer factors.Answer) (func(context.Context) error, error) {
	c := Change{Account: try.Account, New: answer.Get("new_password"), WithoutOld: true, Services: []string{try.Service}, renews: true}
	p, err := f.Prepare(ctx, c)
	if err != nil {
		return nil, err
	}
	return p.Write, nil
}

// Keep notes that the person was reminded and keeps the password: the profile asks again as long after this as after a change.
func (f *Factor) Keep(ctx context.Context, try factors.Try) (func(context.Context) error, error) {
	c, found, err := f.read(ctx, try.Account)
	if err != nil {
		return nil, err
	}
	if !found || !c.usable(f.now()) || f.due(c, f.now()) {
		return nil, errMeanwhile(nil)
	}
	c.KeptAt = f.now()
	if c.Data, err = json.Marshal(c.record); err != nil {
		return nil, err
	}
	return (&Prepared{f: f, row: c.Credential}).Write, nil
}

// PersonOf makes a Person of what the registry and the contacts say.
func PersonOf(p account.Person, phone, email string) Person {
	return Person{NationalID: p.NationalID, GivenName: p.GivenName, FamilyName: p.FamilyName, Birthdate: p.Birthdate, Phone: phone, Email: email}
}

var (
	_ factors.Factor = (*Factor)(nil)
	_ factors.Keeper = (*Factor)(nil)
	_ factors.Reader = (*Factor)(nil)
)

func (f *Factor) now() time.Time { return f.kit.Now().UTC().Truncate(time.Microsecond) }
