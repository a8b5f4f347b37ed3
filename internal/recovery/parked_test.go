package recovery_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/recovery"
	"github.com/kapi-id/kapi/internal/testpg"
	"github.com/kapi-id/kapi/storage"
	"github.com/kapi-id/kapi/storage/storagetest"
)

// RC4: a thief who has the phone proves it in two recoveries. When the person undoes the one that was finished, which ends everything, the
// other must not set a password; nor one whose password is being hashed at that very moment.
func TestRC4_AParkedRecoveryDiesWithWhatIsUndone(t *testing.T) {
	for _, while := range []bool{false, true} {
		w := newWorld(t, sqlite)
		x, err := w.flow.Answer(t.Context(), w.atCode(w.person.Person.NationalID, details(), hers, ""), visit, fields{"code": w.code("sms")})
		w.ok(err)
		if step, _ := w.flow.Owed(t.Context(), x); step.Do != recovery.AskPassword {
			t.Fatalf("%+v", step)
		}
		w.clock.Advance(time.Minute)
		end := func() { w.ok(w.db.EndSessions(t.Context(), w.person.Account.ID, "", w.clock.Now())) }
		if w.between = end; !while {
			end()
			w.between = nil
		}
		_, err = w.flow.Renew(t.Context(), x, visit, fields{"new_password": "a thief's"})
		w.fails(err, "recovery.meanwhile")
		if len(w.written) != 0 {
			t.Errorf("written %v", w.written)
		}
		// One that begins now is free to.
		w.clock.Advance(time.Hour)
		w.between = nil
		x, err = w.flow.Answer(t.Context(), w.atCode(w.person.Person.NationalID, details(), hers, ""), visit, fields{"code": w.code("sms")})
		w.ok(err)
		_, err = w.flow.Renew(t.Context(), x, visit, fields{"new_password": "a new one"})
		w.ok(err)
	}
}

// RC4: what a recovery was proven with must still be the person's when the password is set. Whoever had the number may wait with the last
// step for as long as the recovery lives.
func TestRC4_AParkedRecoveryDiesWithItsContacts(t *testing.T) {
	id := func(w *world) account.ID { return w.person.Account.ID }
	change := func(fn func(w *world, c *contact.Contacts)) func(*world) {
		return func(w *world) {
			w.ok(w.db.ChangeContacts(w.t.Context(), id(w), func(c *contact.Contacts) error { fn(w, c); return nil }))
		}
	}
	place := func(what string) func(*world) {
		return func(w *world) {
			now := w.clock.Now()
			w.ok(w.db.PlaceHold(w.t.Context(), enrolment.Hold{ID: uuid.NewString(), Account: id(w), What: what, CreatedAt: now, Due: now.Add(time.Hour)}, []byte(uuid.NewString()), []byte(uuid.NewString())))
		}
	}
	for name, tt := range map[string]struct {
		mail string
		do   func(*world)
		ok   bool
	}{
		"nothing":              {"", func(*world) {}, true},
		"nothing, by both":     {"ayse@example.org", func(*world) {}, true},
		"another number":       {"", change(func(_ *world, c *contact.Contacts) { c.Phone.Number = "+905550000002" }), false},
		"no number":            {"", change(func(_ *world, c *contact.Contacts) { c.Phone = contact.Phone{} }), false},
		"a declared one":       {"", change(func(_ *world, c *contact.Contacts) { c.Phone.Grade = contact.Declared }), false},
		"both were chosen":     {"", change(func(_ *world, c *contact.Contacts) { c.ResetBoth = true }), false},
		"another address":      {"ayse@example.org", change(func(_ *world, c *contact.Contacts) { c.Email.Address = "eve@example.org" }), false},
		"an address unasked":   {"", change(func(_ *world, c *contact.Contacts) { c.Email.Address = "new@example.org" }), true},
		"a changed SIM":        {"", change(func(w *world, c *contact.Contacts) { c.Phone.BlockedAt = w.clock.Now() }), false},
		"changed and accepted": {"", change(func(w *world, c *contact.Contacts) { c.Phone.TrustedAt = w.clock.Now() }), false},
		"accepted before":      {"", change(func(w *world, c *contact.Contacts) { c.Phone.TrustedAt = storagetest.Start }), true},
		"another undone":       {"", place(enrolment.HoldRecovery), false},
		"another hold":         {"", place(enrolment.HoldDevice), true},
		"a locked account": {"", func(w *world) {
			a, err := w.db.Account(w.t.Context(), id(w))
			w.ok(err)
			a.State = account.Locked
			w.ok(w.db.UpdateAccount(w.t.Context(), a))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, sqlite)
			w.clock.Advance(time.Minute)
			x, err := w.flow.Answer(t.Context(), w.atCode(w.person.Person.NationalID, details(), hers, tt.mail), visit, fields{"code": w.code("sms")})
			w.ok(err)
			if tt.mail != "" {
				x, err = w.flow.Answer(t.Context(), x, visit, fields{"code": w.code("mail")})
				w.ok(err)
			}
			w.clock.Advance(time.Minute)
			w.between = func() { tt.do(w) } // after all that is read before the transaction
			_, err = w.flow.Renew(t.Context(), x, visit, fields{"new_password": "set late"})
			if tt.ok {
				w.ok(err)
			} else {
				w.fails(err, "recovery.meanwhile")
			}
			if got := len(w.written) == 1; got != tt.ok || len(w.held) != len(w.written) {
				t.Errorf("written %v, held %v", w.written, w.held)
			}
		})
	}
}

// Two transactions on PostgreSQL do not see one another: the one that looks takes the rows, so that the other waits, or finds its version gone.
func TestRC4_NothingChangesUnderTheNewPassword(t *testing.T) {
	w := newWorld(t, func(t testing.TB, c *storagetest.Clock) *storage.DB { return storagetest.Open(t, testpg.URL(t), c) })
	id := w.person.Account.ID
	x, err := w.flow.Answer(t.Context(), w.atCode(w.person.Person.NationalID, details(), hers, ""), visit, fields{"code": w.code("sms")})
	w.ok(err)
	before, err := w.db.Account(t.Context(), id)
	w.ok(err)
	changed := make(chan error, 1)
	w.inside = func() { // the transaction of the new password has looked, and is not over
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond) // what waits for the row gives up
		defer cancel()
		changed <- w.db.ChangeContacts(ctx, id, func(c *contact.Contacts) error { c.Phone.Number = "+905550000002"; return nil })
	}
	_, err = w.flow.Renew(t.Context(), x, visit, fields{"new_password": "a new one"})
	w.ok(err)
	if err := <-changed; err == nil {
		t.Error("another number was written between the look and the commit")
	}
	if err := w.db.UpdateAccount(t.Context(), before); !errors.Is(err, fault.ErrConflict) {
		t.Errorf("whoever read the account before can still switch two-factor authentication: %v", err)
	}
}
