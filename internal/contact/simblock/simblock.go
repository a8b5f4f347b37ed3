// Package simblock owns the state "SIM changed": a number whose SIM card was changed gets no codes until it is unblocked by one of
// the listed ways. Enter with Keeper. Both moves commit with their record; it refuses to block for a change that was known and
// accepted before, and to block or unblock twice.
package simblock

import (
	"context"
	"errors"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
)

// Store is what a Keeper needs of the database.
type Store interface {
	contact.Changer
	contact.Voider
	Atomically(ctx context.Context, fn func(context.Context) error) error
	Account(ctx context.Context, id account.ID) (account.Account, error)
}

// Keeper blocks and unblocks.
type Keeper struct {
	Store Store
	Audit audit.Recorder
	Now   func() time.Time
}

// Sources of a block: Details "by" of its event.
const (
	ByQuery = "query" // the operator was asked
	ByEvent = "event" // the operator told
)

// Ways out: Details "how" of the event.
const (
	ByMail    = "email"   // a code to the recovery address, verified before the change
	ByStrong  = "strong"  // a strong sign-in, and a code to the new SIM card
	ByPartner = "partner" // a bank's ATM
	ByOffice  = "office"
	ByNFC     = "nfc"
)

// Baseline is the moment after which a change of the SIM card is news: two-factor authentication was switched on, the number was
// ID-verified, or the last change was accepted, whichever is last; at the least, the account was made.
func Baseline(a account.Account, p contact.Phone) time.Time {
	last := a.CreatedAt
	for _, t := range []time.Time{a.TwoFactorSince, p.VerifiedAt, p.TrustedAt} {
		if t.After(last) {
			last = t
		}
	}
	return last
}

var errNothing = errors.New("nothing to do")

// latest is the last change of the SIM card of a blocked number.
func latest(p contact.Phone) time.Time {
	if p.SwappedAt.After(p.BlockedAt) {
		return p.SwappedAt
	}
	return p.BlockedAt
}

// Block blocks the number of an account, if it is still the person's and changed is news to it. That of a blocked number is kept: who
// unblocks it must have shown themselves since. e says from where.
func (k *Keeper) Block(ctx context.Context, id account.ID, number string, changed time.Time, by string, e audit.Event) error {
	now := k.now()
	err := k.Store.Atomically(ctx, func(ctx context.Context) error {
		a, err := k.Store.Account(ctx, id)
		if err != nil {
			return err
		}
		err = k.Store.ChangeContacts(ctx, id, func(c *contact.Contacts) error {
			p := &c.Phone
			changed := changed.UTC().Truncate(time.Microsecond)
			switch {
			case p.Number != number || p.Grade != contact.IDVerified || !changed.After(Baseline(a, *p)) || !changed.After(latest(*p)):
				return errNothing
			case p.BlockedAt.IsZero():
				p.BlockedAt = changed // and stays: an address that was verified after the first change is no way out
			default:
				p.SwappedAt = changed
			}
			return nil
		})
		if err != nil {
			return err
		}
		e.At, e.Name, e.Outcome, e.Subject = now, audit.SIMBlocked, "ok", string(id)
		e.Details = map[string]string{"by": by, "changed": changed.UTC().Format(time.RFC3339)}
		return k.Audit.Record(ctx, e)
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}

// ErrNotBlocked is the answer where there is nothing to unblock.
var ErrNotBlocked = fault.New(fault.Conflict, "sim.not_blocked")

// Unblock lets codes go to the number again, at the word of somebody who sees the person now. The changes up to now are known and accepted,
// so that they block no second time.
func (k *Keeper) Unblock(ctx context.Context, id account.ID, how string, e audit.Event, details map[string]string) error {
	return k.unblock(ctx, id, how, time.Time{}, e, details)
}

// UnblockSeen is Unblock by what the person showed at a moment: whom somebody saw, or to whom a code was sent, before the SIM card was last
// changed may not be the one who holds the card now, so that is ErrNotBlocked. A change after that moment, which nobody has told of yet,
// blocks again.
func (k *Keeper) UnblockSeen(ctx context.Context, id account.ID, how string, seen time.Time, e audit.Event, details map[string]string) error {
	if seen.IsZero() {
		return ErrNotBlocked
	}
	return k.unblock(ctx, id, how, seen.UTC().Truncate(time.Microsecond), e, details)
}

func (k *Keeper) unblock(ctx context.Context, id account.ID, how string, seen time.Time, e audit.Event, details map[string]string) error {
	now := k.now()
	trusted := now
	if !seen.IsZero() && seen.Before(now) {
		trusted = seen
	}
	return k.Store.Atomically(ctx, func(ctx context.Context) error {
		err := k.Store.ChangeContacts(ctx, id, func(c *contact.Contacts) error {
			if c.Phone.BlockedAt.IsZero() || !seen.IsZero() && seen.Before(latest(c.Phone)) {
				return ErrNotBlocked
			}
			c.Phone.BlockedAt, c.Phone.SwappedAt, c.Phone.TrustedAt = time.Time{}, time.Time{}, trusted
			return nil
		})
		if err != nil {
			return err
		}
		if err := contact.Void(ctx, k.Store, id, now); err != nil { // a code may have gone to the new card before anybody knew of it
			return err
		}
		e.At, e.Name, e.Outcome, e.Subject = now, audit.SIMUnblocked, "ok", string(id)
		e.Details = map[string]string{"how": how}
		for name, v := range details {
			e.Details[name] = v
		}
		return k.Audit.Record(ctx, e)
	})
}

func (k *Keeper) now() time.Time { return k.Now().UTC().Truncate(time.Microsecond) }
