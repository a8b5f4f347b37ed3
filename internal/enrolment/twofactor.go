package enrolment

import (
	"context"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
)

// ProofAge is how old the proof of a second factor may be when two-factor authentication is switched on or off with it.
const ProofAge = 5 * time.Minute

// TwoFactorStore is what TwoFactor needs of the database.
type TwoFactorStore interface {
	Atomically(ctx context.Context, fn func(context.Context) error) error
	Account(ctx context.Context, id account.ID) (account.Account, error)
	UpdateAccount(ctx context.Context, a account.Account) error // by version
	Contacts(ctx context.Context, id account.ID) (contact.Contacts, error)
}

// TwoFactor switches two-factor authentication on and off. The change and its audit event commit together.
type TwoFactor struct {
	Store TwoFactorStore
	Audit audit.Recorder
	// PasswordAlone says whether the person's password may stand without two-factor authentication; true where there is none.
	// It is asked inside the transaction, so that a password changed meanwhile counts.
	PasswordAlone func(ctx context.Context, id account.ID) (bool, error)
	// Drop takes away what goes with it when it is switched off, in the same transaction and after the record: a registered device is told
	// of it as long as it is there. nil = nothing.
	Drop func(ctx context.Context, id account.ID) error
	Now  func() time.Time
}

// Switching is a person's wish to switch. Whoever makes it vouches that Proof was given for factors.TwoFactor, in this action.
type Switching struct {
	Account account.ID
	Proof   factors.Proof
	Terms   string      // the version of the terms that were accepted; "" = none. On only
	Event   audit.Event // Session, Request, Network and Agent of the request; the rest is filled in
}

// On switches it on: for an active account with an ID-verified phone, accepted terms, and a proof that the phone is at hand.
func (f *TwoFactor) On(ctx context.Context, s Switching) error {
	return f.change(ctx, s, audit.TwoFactorOn, nil, func(ctx context.Context, a *account.Account, now time.Time) error {
		c, err := f.Store.Contacts(ctx, a.ID)
		if err != nil {
			return err
		}
		if err := MayTurnOn(*a, c.Phone, s.Terms, s.Proof, now); err != nil {
			return err
		}
		a.TwoFactor, a.TwoFactorSince = true, now
		return nil
	})
}

// Off switches it off: with a proof of a second factor, and a password that may stand alone.
func (f *TwoFactor) Off(ctx context.Context, s Switching) error {
	return f.change(ctx, s, audit.TwoFactorOff, f.Drop, func(ctx context.Context, a *account.Account, now time.Time) error {
		alone, err := f.PasswordAlone(ctx, a.ID)
		if err != nil {
			return err
		}
		if err := MayTurnOff(*a, alone, s.Proof, now); err != nil {
			return err
		}
		a.TwoFactor, a.TwoFactorSince = false, time.Time{}
		return nil
	})
}

func (f *TwoFactor) change(ctx context.Context, s Switching, name audit.Name, drop func(context.Context, account.ID) error, decide func(context.Context, *account.Account, time.Time) error) error {
	if s.Account == "" {
		return fault.New(fault.Internal, "")
	}
	now := f.Now().UTC().Truncate(time.Microsecond)
	return f.Store.Atomically(ctx, func(ctx context.Context) error {
		a, err := f.Store.Account(ctx, s.Account)
		if err != nil {
			return err
		}
		if err := decide(ctx, &a, now); err != nil {
			return err
		}
		if err := f.Store.UpdateAccount(ctx, a); err != nil {
			return err
		}
		e := s.Event
		e.At, e.Name, e.Outcome, e.Actor, e.Subject = now, name, "ok", string(a.ID), string(a.ID)
		e.Details = map[string]string{"factor": s.Proof.Factor}
		if s.Terms != "" {
			e.Details["terms"] = s.Terms
		}
		if err := f.Audit.Record(ctx, e); err != nil || drop == nil {
			return err
		}
		return drop(ctx, a.ID)
	})
}

// MayTurnOn says why two-factor authentication may not be switched on; nil when it may. It is pure.
func MayTurnOn(a account.Account, phone contact.Phone, terms string, p factors.Proof, now time.Time) error {
	switch {
	case a.State != account.Active:
		return fault.New(fault.Denied, "two_factor.account")
	case a.TwoFactor:
		return fault.New(fault.Conflict, "two_factor.already_on")
	case phone.Number == "" || phone.Grade != contact.IDVerified:
		return fault.New(fault.Denied, "two_factor.no_phone")
	case terms == "":
		return fault.New(fault.Invalid, "two_factor.terms").In("terms")
	case !confirms(p, a.ID, now) || p.Channel != factors.Phone:
		return fault.New(fault.Denied, "two_factor.proof")
	}
	return nil
}

// MayTurnOff says why it may not be switched off; nil when it may. It is pure.
func MayTurnOff(a account.Account, passwordAlone bool, p factors.Proof, now time.Time) error {
	switch {
	case a.State != account.Active:
		return fault.New(fault.Denied, "two_factor.account")
	case !a.TwoFactor:
		return fault.New(fault.Conflict, "two_factor.already_off")
	case !passwordAlone:
		return fault.New(fault.Denied, "two_factor.password_short")
	case !confirms(p, a.ID, now):
		return fault.New(fault.Denied, "two_factor.proof")
	}
	return nil
}

// confirms: a second factor of this very person, just now. A proof from the future is a clock that nobody may trust.
func confirms(p factors.Proof, id account.ID, now time.Time) bool {
	age := now.Sub(p.At)
	return p.Stage == factors.Second && p.Account == id && id != "" && age <= ProofAge && age >= -time.Minute
}
