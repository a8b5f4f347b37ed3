package signin

import (
	"context"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
)

// RenewPage is the page of the factor whose secret must be changed.
func (f *Flow) RenewPage(ctx context.Context, t Transaction, v Visit) (factors.Page, string, error) {
	s, err := f.load(ctx, t, v)
	if err != nil {
		return factors.Page{}, "", err
	}
	step := Next(s.t, s.facts)
	if s.t.State != Open || step.Do != Renew {
		return factors.Page{}, "", ErrNotOwed
	}
	name := step.Offers[0]
	r, ok := f.Factors.Get(name).(factors.Renewer)
	if !ok {
		return factors.Page{}, "", fault.New(fault.Internal, "")
	}
	p, err := r.RenewPage(ctx, f.try(s, v, s.t.Account))
	return p, name, err
}

// Renew takes the new secret. In one commit it is stored, what the old one proved in other sign-ins is void, the record says so, and the
// transaction moves: a new secret of which nobody heard would be a thief's.
func (f *Flow) Renew(ctx context.Context, t Transaction, v Visit, answer factors.Answer) (Transaction, Step, Outcome, error) {
	return f.change(ctx, t, v, Renew, func(s *state) error {
		r, ok := f.Factors.Get(Next(s.t, s.facts).Offers[0]).(factors.Renewer)
		if !ok {
			return fault.New(fault.Internal, "")
		}
		write, err := r.Renew(ctx, f.try(s, v, s.t.Account), answer)
		if err != nil {
			return err
		}
		as, at := s.account, f.Now().UTC().Truncate(time.Microsecond)
		if !at.After(as.ProofsSince) { // the moment in the account moves on always
			at = as.ProofsSince.Add(time.Microsecond)
		}
		s.account.Version, s.account.ProofsSince = as.Version+1, at
		s.t.Renewed, s.t.Since, s.t.Pinned = true, at, true
		renewed := s.t
		s.changed(
			func(ctx context.Context) error { return f.unchanged(ctx, as) },
			write,
			func(ctx context.Context) error { return f.Sessions.VoidProofs(ctx, as.ID, at) },
			func(context.Context) error { return failpoint.Here("renew-write") },
			func(ctx context.Context) error {
				return f.record(ctx, audit.PasswordChanged, "ok", &renewed, v, map[string]string{"reason": "renew"})
			})
		return nil
	})
}

// Keep goes on with the old secret where the person was only reminded to change it. That is noted, so that they are not asked at each
// sign-in; what was proven elsewhere stays, since nothing changed.
func (f *Flow) Keep(ctx context.Context, t Transaction, v Visit) (Transaction, Step, Outcome, error) {
	return f.change(ctx, t, v, Renew, func(s *state) error {
		step := Next(s.t, s.facts)
		k, ok := f.Factors.Get(step.Offers[0]).(factors.Keeper)
		if !step.May || !ok {
			return ErrNotOwed
		}
		write, err := k.Keep(ctx, f.try(s, v, s.t.Account))
		if err != nil {
			return err
		}
		s.t.Kept = true
		kept := s.t
		s.changed(write, func(ctx context.Context) error {
			return f.record(ctx, audit.PasswordKept, "ok", &kept, v, nil)
		})
		return nil
	})
}

// unchanged holds an account as it was judged until the commit of ctx, and raises its version: whoever decides about it at the same time
// by what is changed here, such as whether the password is long enough to stand alone, is told of a conflict.
func (f *Flow) unchanged(ctx context.Context, as account.Account) error {
	if err := f.Accounts.UpdateAccount(ctx, as); err != nil {
		return err
	}
	now, err := f.Accounts.Account(ctx, as.ID)
	if err == nil && !now.ProofsSince.Equal(as.ProofsSince) {
		return fault.ErrConflict
	}
	return err
}
