package enrolment

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
)

// HoldLife is how long a change can be undone, and how long one that waits waits; see Holds.Lost for the one that waits longer.
const HoldLife = 24 * time.Hour

// What is held.
const (
	// HoldFactors follows a new password for a forgotten one: the factors stay as they are, and undoing disables the password.
	HoldFactors = "factors"
	// HoldRecovery follows an undone recovery: there is no other one meanwhile.
	HoldRecovery = "recovery"
	// HoldDevice waits: when it is due the registered device, which its owner said is lost, is removed.
	HoldDevice = "device"
	// HoldPhone and HoldEmail follow a change of the number or the address: undoing brings the old one back.
	HoldPhone = "phone"
	HoldEmail = "email"
)

// Hold is a change that can be undone until Due, or that happens then.
type Hold struct {
	ID        string
	Account   account.ID
	What      string
	Data      HoldData // sealed at rest
	CreatedAt time.Time
	Due       time.Time
	ClosedAt  time.Time // zero while it is open
}

// Open says whether it can be undone at now.
func (h Hold) Open(now time.Time) bool { return h.ClosedAt.IsZero() && now.Before(h.Due) }

// HoldData is what an undoing needs to know.
type HoldData struct {
	Phone contact.Phone `json:"phone,omitzero"` // HoldPhone: the one before
	Email contact.Email `json:"email,omitzero"` // HoldEmail: the one before
	// Also are the numbers, or addresses, that came between: of several changes within a day each is told of the last, and undoing brings
	// the first one back. Else a second change would take the first out of its owner's hands.
	Also []string `json:"also,omitempty"`
}

// mostAlso bounds Also; who changes more often is told at the first ones.
const mostAlso = 8

// How a hold ended.
const (
	HoldWasUndone   = "undone"
	HoldWasDone     = "done"
	HoldWasReplaced = "replaced" // by a newer one
	HoldWasLifted   = "lifted"   // by the office
)

// HoldStore keeps holds.
type HoldStore interface {
	Atomically(ctx context.Context, fn func(context.Context) error) error
	// PlaceHold stores h, in place of an open one of the same account and thing, whose link is dead from then on.
	PlaceHold(ctx context.Context, h Hold, token, code []byte) error
	// OpenHold returns the open one that is due after now; fault.ErrNotFound.
	OpenHold(ctx context.Context, id account.ID, what string, now time.Time) (Hold, error)
	// HoldByToken and HoldByCode return one in any state; fault.ErrNotFound.
	HoldByToken(ctx context.Context, token []byte) (Hold, error)
	HoldByCode(ctx context.Context, id account.ID, code []byte) (Hold, error)
	// CloseHold ends an open one, once; fault.ErrConflict afterwards. One conditional write.
	CloseHold(ctx context.Context, id, state string, now time.Time) error
	// DueHolds returns up to n open ones whose time has come, oldest first.
	DueHolds(ctx context.Context, n int, now time.Time) ([]Hold, error)
	// VoidTickets closes every open code and pending request of the account.
	VoidTickets(ctx context.Context, id account.ID, at time.Time) error
}

// Devices are the registered devices of people.
type Devices interface {
	// Registered names the device that a person has now, and says since when; "" for none.
	Registered(ctx context.Context, id account.ID) (device string, since time.Time, err error)
	// DropLost takes that one device away, if it is still the person's, with its record; it runs inside a transaction.
	DropLost(ctx context.Context, id account.ID, device string) error
}

// Holds places, undoes and carries out. Every field is required but Devices.
type Holds struct {
	Store    HoldStore
	Contacts contact.Changer
	Accounts interface {
		Account(ctx context.Context, id account.ID) (account.Account, error)
	}
	Sessions interface {
		EndSessions(ctx context.Context, owner account.ID, keep string, at time.Time) error
	}
	// DisablePassword switches the password off; it runs inside a transaction.
	DisablePassword func(ctx context.Context, id account.ID) error
	Devices         Devices // nil where there are none
	Notices         HoldNotices
	Audit           audit.Recorder
	MAC             func(parts ...string) []byte
	Now             func() time.Time
}

// Held says whether the person's factors may not be changed now: a fault that names the time, nil where they may. A session proven by
// a strong first factor is above it.
func (h *Holds) Held(ctx context.Context, id account.ID, session acr.Level) error {
	if session >= acr.High {
		return nil
	}
	held, err := h.Store.OpenHold(ctx, id, HoldFactors, h.now())
	if errors.Is(err, fault.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return fault.New(fault.Denied, "hold.factors").With("time", held.Due)
}

// Recovered freezes the factors after a new password for a forgotten one, in the transaction of ctx. e says from where. A device that was
// said to be lost before goes a day after the freeze then, as if that had been said in it: else whoever took over the phone says so first
// and renews the password afterwards.
func (h *Holds) Recovered(ctx context.Context, id account.ID, e audit.Event) error {
	return h.alone(ctx, id, func(ctx context.Context) error { return h.recovered(ctx, id, e) })
}

// alone runs fn while nobody else places a hold that goes by another: of a recovery and a word that the device is lost, at once, the later
// one sees the earlier. Taking the person's row is what makes it wait.
func (h *Holds) alone(ctx context.Context, id account.ID, fn func(context.Context) error) error {
	return h.Store.Atomically(ctx, func(ctx context.Context) error {
		if err := h.Contacts.ChangeContacts(ctx, id, func(*contact.Contacts) error { return nil }); err != nil {
			return err
		}
		return fn(ctx)
	})
}

func (h *Holds) recovered(ctx context.Context, id account.ID, e audit.Event) error {
	now := h.now()
	if err := h.place(ctx, Hold{Account: id, What: HoldFactors, Due: now.Add(HoldLife)}, e); err != nil {
		return err
	}
	lost, err := h.Store.OpenHold(ctx, id, HoldDevice, now)
	if errors.Is(err, fault.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	// A hold placed anew is younger than a device that was registered since it was said; that one is not the one that goes.
	if device, err := h.said(ctx, lost); err != nil || device == "" {
		return err
	}
	return h.place(ctx, Hold{Account: id, What: HoldDevice, Due: now.Add(2 * HoldLife)}, e)
}

// Lost lets the registered device go when the hold is over. Saying so again changes nothing and sends nothing: the first moment
// counts. While the factors are held after a recovery the day begins when that hold ends: password and phone are what a thief has
// then, and the device is what withstands them.
func (h *Holds) Lost(ctx context.Context, id account.ID, e audit.Event) (Hold, error) {
	var out Hold
	err := h.alone(ctx, id, func(ctx context.Context) (err error) {
		if out, err = h.Store.OpenHold(ctx, id, HoldDevice, h.now()); !errors.Is(err, fault.ErrNotFound) {
			return err
		}
		p := Hold{Account: id, What: HoldDevice}
		held, err := h.Store.OpenHold(ctx, id, HoldFactors, h.now())
		switch {
		case err == nil:
			p.Due = held.Due.Add(HoldLife)
		case !errors.Is(err, fault.ErrNotFound):
			return err
		}
		if err := h.place(ctx, p, e); err != nil {
			return err
		}
		out, err = h.Store.OpenHold(ctx, id, HoldDevice, h.now())
		return err
	})
	return out, err
}

// PhoneChanged and EmailChanged let the old number or address bring itself back, in the transaction of the change. Where there was
// none there is nothing to bring back.
func (h *Holds) PhoneChanged(ctx context.Context, id account.ID, old contact.Phone, e audit.Event) error {
	if old.Number == "" || old.Grade == contact.Declared {
		return nil
	}
	return h.changed(ctx, id, HoldPhone, HoldData{Phone: old}, old.Number, e)
}

func (h *Holds) EmailChanged(ctx context.Context, id account.ID, old contact.Email, e audit.Event) error {
	if old.Address == "" || !old.Verified {
		return nil
	}
	return h.changed(ctx, id, HoldEmail, HoldData{Email: old}, old.Address, e)
}

// changed places the hold of a change; what an earlier one of the day would bring back stays what is brought back.
func (h *Holds) changed(ctx context.Context, id account.ID, what string, d HoldData, gone string, e audit.Event) error {
	before, err := h.Store.OpenHold(ctx, id, what, h.now())
	switch {
	case err == nil:
		d = before.Data
		if d.Phone.Number != gone && d.Email.Address != gone && !slices.Contains(d.Also, gone) && len(d.Also) < mostAlso {
			d.Also = append(slices.Clone(d.Also), gone)
		}
	case !errors.Is(err, fault.ErrNotFound):
		return err
	}
	return h.place(ctx, Hold{Account: id, What: what, Data: d}, e)
}

// place stores a hold with its record and the messages that tell how to undo it. It is due after HoldLife, or when p says.
func (h *Holds) place(ctx context.Context, p Hold, e audit.Event) error {
	if p.Account == "" {
		return fault.New(fault.Internal, "")
	}
	now := h.now()
	p.ID, p.CreatedAt = uuid.NewString(), now
	if p.Due.IsZero() {
		p.Due = now.Add(HoldLife)
	}
	token, code := secret.Token(), newHoldCode()
	return h.Store.Atomically(ctx, func(ctx context.Context) error {
		if err := h.Store.PlaceHold(ctx, p, secret.Hash(token), h.codeMAC(p.Account, code)); err != nil {
			return err
		}
		if p.What != HoldRecovery {
			if err := h.tell(ctx, p, token, code); err != nil {
				return err
			}
		}
		return h.record(ctx, audit.HoldPlaced, p, e, map[string]string{"what": p.What, "until": p.Due.Format(time.RFC3339)})
	})
}

func (h *Holds) tell(ctx context.Context, p Hold, token, code string) error {
	a, err := h.Accounts.Account(ctx, p.Account)
	if err != nil {
		return err
	}
	c, err := h.Contacts.Contacts(ctx, p.Account)
	if err != nil {
		return err
	}
	return h.Notices.placed(ctx, p, a.Locale, c, token, code)
}

func (h *Holds) record(ctx context.Context, name audit.Name, p Hold, e audit.Event, details map[string]string) error {
	return h.Audit.Record(ctx, audit.Event{At: h.now(), Name: name, Outcome: "ok", Actor: e.Actor, Subject: string(p.Account),
		Session: e.Session, Request: e.Request, Network: e.Network, Agent: e.Agent, Details: details})
}

// ErrHoldOver is the answer to a link or a code that was used, replaced or is too late, or that never was: they read alike.
var ErrHoldOver = fault.New(fault.Expired, "hold.over")

// Look returns the hold behind a link without changing anything: mail programs open links by themselves.
func (h *Holds) Look(ctx context.Context, token string) (Hold, error) {
	if len(token) < 40 || len(token) > 64 {
		return Hold{}, ErrHoldOver
	}
	return h.standing(h.Store.HoldByToken(ctx, secret.Hash(token)))
}

// LookByCode is Look for the code that came by SMS to the person.
func (h *Holds) LookByCode(ctx context.Context, id account.ID, code string) (Hold, error) {
	c := HoldCode(code)
	if c == "" || id == "" {
		id, c = "nobody", "nothing" // the same work
	}
	return h.standing(h.Store.HoldByCode(ctx, id, h.codeMAC(id, c)))
}

func (h *Holds) standing(p Hold, err error) (Hold, error) {
	if errors.Is(err, fault.ErrNotFound) || err == nil && !p.Open(h.now()) {
		return Hold{}, ErrHoldOver
	}
	return p, err
}

// Undo undoes what is held, once. Undoing a recovery disables the new password, ends every session, and lets nobody recover again for
// a day: whoever did it may do it again.
func (h *Holds) Undo(ctx context.Context, p Hold, e audit.Event) error {
	now := h.now()
	if !p.Open(now) {
		return ErrHoldOver
	}
	e.Actor = ""
	return h.Store.Atomically(ctx, func(ctx context.Context) error {
		err := h.Store.CloseHold(ctx, p.ID, HoldWasUndone, now)
		if errors.Is(err, fault.ErrConflict) {
			return ErrHoldOver
		}
		if err != nil {
			return err
		}
		switch p.What {
		case HoldFactors:
			err = h.undoRecovery(ctx, p, e, now)
		case HoldPhone, HoldEmail:
			err = h.Contacts.ChangeContacts(ctx, p.Account, func(c *contact.Contacts) error { restore(c, p); return nil })
			if err == nil { // whoever changed it may still be signed in
				err = h.Sessions.EndSessions(ctx, p.Account, "", now)
			}
		}
		if err != nil {
			return err
		}
		return h.record(ctx, audit.HoldUndone, p, e, map[string]string{"what": p.What})
	})
}

func (h *Holds) undoRecovery(ctx context.Context, p Hold, e audit.Event, now time.Time) error {
	if err := h.DisablePassword(ctx, p.Account); err != nil {
		return err
	}
	if err := h.Sessions.EndSessions(ctx, p.Account, "", now); err != nil {
		return err
	}
	if err := h.Store.VoidTickets(ctx, p.Account, now); err != nil {
		return err
	}
	return h.place(ctx, Hold{Account: p.Account, What: HoldRecovery}, e)
}

// restore brings the old number or address back; the one that took its place is gone.
func restore(c *contact.Contacts, p Hold) {
	switch p.What {
	case HoldPhone:
		c.Phone, c.NewPhone, c.OldPhone = p.Data.Phone, contact.Phone{}, ""
	case HoldEmail:
		c.Email, c.NewEmail, c.OldEmail = p.Data.Email, contact.Email{}, ""
	}
	if c.OldPhone == "" && c.OldEmail == "" {
		c.OldUntil = time.Time{}
	}
}

// Lift ends the holds of a person, by the office: what was frozen can be changed, and what waits does not happen.
func (h *Holds) Lift(ctx context.Context, id account.ID, e audit.Event) (lifted []string, err error) {
	now := h.now()
	err = h.Store.Atomically(ctx, func(ctx context.Context) error {
		lifted = nil
		for _, what := range []string{HoldFactors, HoldRecovery, HoldDevice} {
			p, err := h.Store.OpenHold(ctx, id, what, now)
			if errors.Is(err, fault.ErrNotFound) {
				continue
			}
			if err == nil {
				err = h.Store.CloseHold(ctx, p.ID, HoldWasLifted, now)
			}
			if err == nil {
				err = h.record(ctx, audit.HoldOver, p, e, map[string]string{"what": what, "by": "office"})
			}
			if err != nil {
				return err
			}
			lifted = append(lifted, what)
		}
		return nil
	})
	return lifted, err
}

// atOnce bounds one round of CarryOut.
const atOnce = 100

// CarryOut ends what is due, and does what waited. One process does it at a time, and two would do it once.
func (h *Holds) CarryOut(ctx context.Context) error {
	now := h.now()
	due, err := h.Store.DueHolds(ctx, atOnce, now)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range due { // one that fails must not hold up the others
		if err := h.carryOut(ctx, p, now); err != nil && !errors.Is(err, fault.ErrConflict) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (h *Holds) carryOut(ctx context.Context, p Hold, now time.Time) error {
	return h.Store.Atomically(ctx, func(ctx context.Context) error {
		if err := h.Store.CloseHold(ctx, p.ID, HoldWasDone, now); err != nil {
			return err
		}
		if p.What == HoldDevice {
			if err := h.dropDevice(ctx, p); err != nil {
				return err
			}
		}
		return h.record(ctx, audit.HoldOver, p, audit.Event{}, map[string]string{"what": p.What})
	})
}

// dropDevice removes the device that was there when it was said to be lost; one that was registered since stays, and one that takes its
// place in this very moment. The removal is recorded where it is done.
func (h *Holds) dropDevice(ctx context.Context, p Hold) error {
	device, err := h.said(ctx, p)
	if err != nil || device == "" {
		return err
	}
	return h.Devices.DropLost(ctx, p.Account, device)
}

// said names the device that a hold is about, "" where it is gone.
func (h *Holds) said(ctx context.Context, p Hold) (string, error) {
	if h.Devices == nil {
		return "", nil
	}
	device, since, err := h.Devices.Registered(ctx, p.Account)
	if err != nil || since.After(p.CreatedAt) {
		return "", err
	}
	return device, nil
}

func (h *Holds) now() time.Time { return h.Now().UTC().Truncate(time.Microsecond) }
