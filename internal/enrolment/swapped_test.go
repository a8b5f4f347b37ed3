package enrolment_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/contact/simblock"
	"github.com/kapi-id/kapi/internal/enrolment"
)

// Row RC5: the SIM card is changed a second time while the number is blocked. Whoever showed themselves before that, to whomever, does not
// unblock it; and where the operator tells of the second change only afterwards, it blocks again.
func TestRC5_ChangedAgainWhileBlocked(t *testing.T) {
	const mail = "ayse@example.org"
	type proof func(ctx context.Context) error
	for name, show := range map[string]func(w *held, c *enrolment.Contacts) proof{
		"by mail": func(w *held, c *enrolment.Contacts) proof {
			a := w.strongly()
			a.Level = acr.Low
			w.ok(c.SendUnblock(w.t.Context(), a, false))
			digits := w.digits(mail)
			return func(ctx context.Context) error { return c.Unblock(ctx, a, false, digits) }
		},
		"by a strong sign-in": func(w *held, c *enrolment.Contacts) proof {
			w.ok(c.SendUnblock(w.t.Context(), w.strongly(), true))
			digits := w.digits(oldNumber)
			return func(ctx context.Context) error { return c.Unblock(ctx, w.strongly(), true, digits) }
		},
		"by a bank": func(w *held, c *enrolment.Contacts) proof {
			seen := w.clock.Now()
			return func(ctx context.Context) error {
				return c.SIM.UnblockSeen(ctx, w.id, simblock.ByPartner, seen, from, nil)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newHeld(t)
			c := w.contacts()
			w.ok(w.db.ChangeContacts(t.Context(), w.id, func(k *contact.Contacts) error {
				k.Email = contact.Email{Address: mail, Verified: true, VerifiedAt: w.clock.Now()}
				return nil
			}))
			change := func() time.Time {
				t.Helper()
				w.clock.Advance(time.Minute)
				at := w.clock.Now()
				w.ok(c.SIM.Block(t.Context(), w.id, oldNumber, at, simblock.ByEvent, audit.Event{}))
				w.clock.Advance(time.Minute)
				return at
			}
			phone := func() contact.Phone {
				k, err := w.db.Contacts(t.Context(), w.id)
				w.ok(err)
				return k.Phone
			}
			first := change()
			early := show(w, c)
			second := change()
			if p := phone(); !p.BlockedAt.Equal(first) || !p.SwappedAt.Equal(second) {
				t.Fatalf("%+v", p)
			}
			if err := early(t.Context()); err == nil || errors.Is(err, context.Canceled) || phone().BlockedAt.IsZero() {
				t.Fatalf("unblocked by what was shown before the second change: %v", err)
			}
			w.clock.Advance(time.Minute)
			late := show(w, c)
			w.clock.Advance(time.Minute)
			untold := w.clock.Now()
			w.clock.Advance(time.Minute)
			if err := late(t.Context()); err != nil || !phone().BlockedAt.IsZero() || !phone().SwappedAt.IsZero() {
				t.Fatalf("%v, %+v", err, phone())
			}
			w.ok(c.SIM.Block(t.Context(), w.id, oldNumber, second, simblock.ByQuery, audit.Event{}))
			if !phone().BlockedAt.IsZero() {
				t.Error("an accepted change blocks again")
			}
			w.ok(c.SIM.Block(t.Context(), w.id, oldNumber, untold, simblock.ByQuery, audit.Event{}))
			if phone().BlockedAt.IsZero() {
				t.Error("a change between the proof and the unblocking counts as accepted")
			}
			// The office sees the person now: by its word all changes are accepted.
			change()
			w.ok(c.SIM.Unblock(t.Context(), w.id, simblock.ByOffice, from, nil))
			if p := phone(); !p.BlockedAt.IsZero() || !p.SwappedAt.IsZero() {
				t.Errorf("%+v", p)
			}
		})
	}
}
