package enrolment_test

import (
	"context"
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/contact/simblock"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/storage"
)

// sender lets every message go.
type sender struct{}

func (sender) AllowNumber(context.Context, string, string) error  { return nil }
func (sender) AllowAddress(context.Context, string, string) error { return nil }
func (sender) Up(string) bool                                     { return true }

// outbox is the database, but for what is sent.
type outbox struct {
	*storage.DB
	w *held
}

func (o outbox) Enqueue(ctx context.Context, m notify.Message) error { return o.w.Enqueue(ctx, m) }

// contacts is Contacts over the database of w.
func (w *held) contacts() *enrolment.Contacts {
	w.t.Helper()
	sentences, err := words.Load(enrolment.ContactWords())
	w.ok(err)
	ring := secret.Ephemeral()
	return &enrolment.Contacts{
		Store: outbox{w.db, w}, Tickets: w.db.Tickets("contact"), Sender: sender{}, Throttle: w.db, Holds: w.holds, Audit: w, Words: sentences, Box: ring,
		SIM: &simblock.Keeper{Store: w.db, Audit: w, Now: w.clock.Now}, MAC: func(parts ...string) []byte { return ring.MAC(secret.Pepper, parts...) },
		Issuer: "https://kapi.example", Wake: func() {}, Now: w.clock.Now, Guesses: func(id account.ID) string { return "guesses of " + string(id) },
	}
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// digits are those of the newest message to a number or an address.
func (w *held) digits(to string) string {
	w.t.Helper()
	for i := len(w.out) - 1; i >= 0; i-- {
		if w.out[i].To == to {
			return sixDigits.FindString(w.out[i].Text)
		}
	}
	w.t.Fatalf("nothing went to %s", to)
	return ""
}

const oldNumber, newNumber = "+905550000001", "+905550000009"

func (w *held) strongly() enrolment.Asker {
	return enrolment.Asker{Account: w.id, Session: "s1", Level: acr.High, Network: "192.0.2.1", Lang: "en", Event: from}
}

// A code that went to a number, and what it proved, is good until the number is another's, is proven anew or a change of its SIM card is
// accepted: whoever asked for it before is not the one that the number stands for now (rows RC3, RC5).
func TestRC3_CodesDieWithTheNumber(t *testing.T) {
	block := func(t *testing.T, w *held, c *enrolment.Contacts) {
		w.ok(c.SIM.Block(t.Context(), w.id, oldNumber, w.clock.Now(), simblock.ByEvent, audit.Event{}))
		w.clock.Advance(time.Second)
	}
	for name, change := range map[string]func(t *testing.T, w *held, c *enrolment.Contacts){
		"replaced after a strong sign-in": func(t *testing.T, w *held, c *enrolment.Contacts) {
			w.ok(c.DeclarePhone(t.Context(), w.strongly(), newNumber))
			w.ok(c.SendPhoneCode(t.Context(), w.strongly()))
			w.ok(c.VerifyPhone(t.Context(), w.strongly(), w.digits(newNumber)))
		},
		"removed": func(t *testing.T, w *held, c *enrolment.Contacts) {
			w.ok(c.RemovePhone(t.Context(), w.strongly()))
		},
		"vouched for, another": func(t *testing.T, w *held, c *enrolment.Contacts) {
			w.ok(c.Vouch(t.Context(), w.person.Person.NationalID, newNumber, "form 1", from))
		},
		"vouched for, the same": func(t *testing.T, w *held, c *enrolment.Contacts) {
			w.ok(c.Vouch(t.Context(), w.person.Person.NationalID, oldNumber, "form 1", from))
		},
		"another in a person file": func(t *testing.T, w *held, c *enrolment.Contacts) {
			i := enrolment.Importer{Store: w.db, Audit: w, Actor: "cli"}
			p := enrolment.PersonFile{Person: w.person.Person, Contacts: contact.Contacts{Phone: contact.Phone{Number: newNumber, Grade: contact.IDVerified}}}
			_, err := i.Apply(t.Context(), []enrolment.PersonFile{p}, w.clock.Now())
			w.ok(err)
		},
		"unblocked": func(t *testing.T, w *held, c *enrolment.Contacts) {
			block(t, w, c)
			w.ok(c.SIM.Unblock(t.Context(), w.id, simblock.ByOffice, from, nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newHeld(t)
			c := w.contacts()
			codes := w.db.Tickets("sms")
			_, err := codes.Open(t.Context(), factors.Ticket{Binding: "a sign-in", Purpose: factors.SignIn, Account: w.id, Secret: []byte("mac"), ExpiresAt: w.clock.Now().Add(5 * time.Minute)}, nil)
			w.ok(err)
			w.clock.Advance(time.Minute)
			change(t, w, c)
			if _, right, err := codes.Answer(t.Context(), "a sign-in", factors.SignIn, w.id, []byte("mac"), 5); right || !errors.Is(err, fault.ErrConflict) {
				t.Errorf("the code is good: %v %v", right, err)
			}
			if a, err := w.db.Account(t.Context(), w.id); err != nil || a.ProofsSince.Before(w.clock.Now().Add(-time.Minute)) {
				t.Errorf("what was proven stands: %v %v", a.ProofsSince, err)
			}
		})
	}
}

// What says nothing of the number that stands leaves the codes as they are.
func TestRC3_CodesOutliveTheRest(t *testing.T) {
	w := newHeld(t)
	c := w.contacts()
	codes := w.db.Tickets("sms")
	_, err := codes.Open(t.Context(), factors.Ticket{Binding: "a sign-in", Purpose: factors.SignIn, Account: w.id, Secret: []byte("mac"), ExpiresAt: w.clock.Now().Add(5 * time.Minute)}, nil)
	w.ok(err)
	w.ok(c.DeclarePhone(t.Context(), w.strongly(), newNumber))
	w.ok(c.RemovePhone(t.Context(), w.strongly()))
	w.ok(c.DeclareEmail(t.Context(), w.strongly(), "new@example.org"))
	p := enrolment.PersonFile{Person: w.person.Person, Contacts: contact.Contacts{Phone: contact.Phone{Number: oldNumber, Grade: contact.IDVerified, Operator: "turkcell"}}}
	i := enrolment.Importer{Store: w.db, Audit: w, Actor: "cli"}
	_, err = i.Apply(t.Context(), []enrolment.PersonFile{p}, w.clock.Now())
	w.ok(err)
	if _, right, err := codes.Answer(t.Context(), "a sign-in", factors.SignIn, w.id, []byte("mac"), 5); !right || err != nil {
		t.Errorf("%v %v", right, err)
	}
}

// A number is not taken away while two-factor authentication is switched on with it: whoever decided by the account as it was, or by the
// number, finds a conflict.
func TestPhoneRemovedBesideTwoFactor(t *testing.T) {
	w := newHeld(t)
	was, err := w.db.Account(t.Context(), w.id)
	w.ok(err)
	w.ok(w.contacts().RemovePhone(t.Context(), w.strongly()))
	was.TwoFactor, was.TwoFactorSince = true, w.clock.Now()
	if err := w.db.UpdateAccount(t.Context(), was); !errors.Is(err, fault.ErrConflict) {
		t.Errorf("switched on without a phone: %v", err)
	}
}

// Row S1: codes that were switched off after too many wrong ones are on again once the number is proven to be the person's, and not before.
func TestS1_AProvenNumberIsGuessedAnew(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, w *held, c *enrolment.Contacts)
		off    bool
	}{
		"a new number after a strong sign-in": {func(t *testing.T, w *held, c *enrolment.Contacts) {
			w.ok(c.DeclarePhone(t.Context(), w.strongly(), newNumber))
			w.ok(c.SendPhoneCode(t.Context(), w.strongly()))
			w.ok(c.VerifyPhone(t.Context(), w.strongly(), w.digits(newNumber)))
		}, false},
		"a new number after a password": {func(t *testing.T, w *held, c *enrolment.Contacts) {
			a := w.strongly()
			a.Level = acr.Low
			w.ok(c.DeclarePhone(t.Context(), a, newNumber))
			w.ok(c.SendPhoneCode(t.Context(), a))
			w.ok(c.VerifyPhone(t.Context(), a, w.digits(newNumber)))
		}, true},
		"the office vouches for the number there is": {func(t *testing.T, w *held, c *enrolment.Contacts) {
			w.ok(c.Vouch(t.Context(), w.person.Person.NationalID, oldNumber, "form 1", from))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newHeld(t)
			k := w.contacts()
			once := throttle.Ladder{Free: 1, First: time.Hour, Most: time.Hour, Disable: 1}
			_, err := w.db.Take(t.Context(), k.Guesses(w.id), once, w.clock.Now())
			w.ok(err)
			c.change(t, w, k)
			v, err := w.db.Take(t.Context(), k.Guesses(w.id), throttle.Ladder{Free: 9, First: time.Hour, Most: time.Hour}, w.clock.Now())
			w.ok(err)
			if v.Allowed == c.off {
				t.Errorf("codes are on: %v", v.Allowed)
			}
		})
	}
}

// Row RC5: each unblocking is in the record, that by a clerk who vouches for the blocked number too.
func TestRC5_VouchingUnblocksOnTheRecord(t *testing.T) {
	for number, unblocked := range map[string]bool{oldNumber: true, newNumber: false} {
		w := newHeld(t)
		c := w.contacts()
		w.ok(c.SIM.Block(t.Context(), w.id, oldNumber, w.clock.Now().Add(time.Second), simblock.ByEvent, audit.Event{}))
		for range 2 { // the second time there is nothing to unblock
			w.ok(c.Vouch(t.Context(), w.person.Person.NationalID, number, "form 1", from))
		}
		var seen int
		for _, e := range w.events {
			if e.Name == audit.SIMUnblocked {
				seen++
				if e.Details["how"] != simblock.ByOffice || e.Details["reason"] != "form 1" || e.Subject != string(w.id) {
					t.Errorf("%+v", e)
				}
			}
		}
		if (seen == 1) != unblocked || seen > 1 {
			t.Errorf("%s: %d unblockings", number, seen)
		}
	}
}
