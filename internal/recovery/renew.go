package recovery

import (
	"context"
	"errors"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
)

// Rules lists what the new password is held to.
func (f *Flow) Rules(ctx context.Context, t Transaction) ([]PasswordRule, error) {
	a, err := f.account(ctx, t)
	if err != nil {
		return nil, err
	}
	return f.Passwords.Rules(a.TwoFactor), nil
}

// account is that of a proven transaction.
func (f *Flow) account(ctx context.Context, t Transaction) (account.Account, error) {
	if err := f.owing(ctx, t, AskPassword); err != nil {
		return account.Account{}, err
	}
	return f.Accounts.Account(ctx, t.Account)
}

// Renew takes the field "new_password". In one commit the password is stored, every session with its grants ends, what was proven in
// sign-ins under way and every code and request that is open is void, the factors are frozen for a day, and the record says so.
// No session is opened, and two-factor authentication stays as it is: the next sign-in asks for both steps.
// What it was proven with must still be the person's then; see stands.
func (f *Flow) Renew(ctx context.Context, t Transaction, v Visit, form Form) (Transaction, error) {
	began := f.Now()
	a, err := f.account(ctx, t)
	if err != nil {
		return t, err
	}
	write, err := f.Passwords.Renew(ctx, t.Account, form.Get("new_password"), a.TwoFactor)
	if err != nil {
		return t, err
	}
	now := f.now()
	t.State = Done
	e := f.event(v, audit.RecoveryDone, "ok", t.Account, map[string]string{"reason": string(t.Reason), "by": t.lines()})
	e.Actor = string(t.Account)
	err = f.save(ctx, &t, e,
		func(ctx context.Context) error { return f.stands(ctx, t, a) },
		write,
		func(ctx context.Context) error { return f.Sessions.EndSessions(ctx, t.Account, "", now) },
		func(ctx context.Context) error { return f.Store.VoidTickets(ctx, t.Account, now) },
		func(ctx context.Context) error { return f.Throttle.Clear(ctx, f.clearing(t, f.device(v, a))...) },
		func(ctx context.Context) error { return f.Holds.Recovered(ctx, t.Account, e) },
		func(context.Context) error { return failpoint.Here("recovery-write") },
	)
	if err == nil {
		err = failpoint.Here("recovery-done")
	}
	f.rest(ctx, began)
	if err != nil {
		t.State = Open
		if errors.Is(err, fault.New(fault.Conflict, "password.changed_meanwhile")) {
			return t, fault.Wrap(fault.Conflict, "recovery.meanwhile", err)
		}
	}
	return t, err
}

// stands says in the transaction of ctx whether what was proven still proves the person: who has had the phone may wait with the last step
// for as long as the recovery lives. Both rows are taken, so that no change of the contacts, no hold and no switch of two-factor
// authentication commits between this look and the new password.
func (f *Flow) stands(ctx context.Context, t Transaction, was account.Account) error {
	meanwhile := fault.New(fault.Conflict, "recovery.meanwhile")
	return f.Store.ChangeContacts(ctx, t.Account, func(*contact.Contacts) error {
		s, err := f.Store.RecoverySubject(ctx, t.Number, f.now())
		if err != nil {
			return err
		}
		a, phone := s.Account, s.Contacts.Phone
		switch {
		case a.ID != t.Account || !may(s, t.Kind, f.now()) || !reachable(s.Contacts, t.Phone, t.Email) || t.Email != "" && !t.MailProven:
			return meanwhile
		case a.ProofsSince.After(t.CreatedAt): // of two that a thief begins, the one that is parked must not follow when the person undid the other
			return meanwhile
		case phone.TrustedAt.After(t.phoneSent()): // its SIM card was changed and accepted since: the code came to the card before, or to a thief's
			return meanwhile
		case was.TwoFactor && !a.TwoFactor: // the rules that the password was held to must still be those of the account
			return meanwhile
		}
		if err := f.Store.UpdateAccount(ctx, a); errors.Is(err, fault.ErrConflict) {
			return meanwhile
		} else if err != nil {
			return err
		}
		return nil
	})
}

// phoneSent is when the code went to the phone that came back; no later than it did where an older program wrote the transaction.
func (t Transaction) phoneSent() time.Time {
	if t.PhoneSent.IsZero() {
		return t.CreatedAt
	}
	return t.PhoneSent
}

// lines by which it was proven, for the record.
func (t Transaction) lines() string {
	if t.MailProven {
		return "phone email"
	}
	return "phone"
}
