package enrolment_test

import (
	"context"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/storage/storagetest"
)

// slow finds tickets as they were a moment ago.
type slow struct {
	factors.Tickets
	found func() // called once, between the answer and whoever asked
}

func (s *slow) Find(ctx context.Context, binding string, p factors.Purpose) (factors.Ticket, error) {
	t, err := s.Tickets.Find(ctx, binding, p)
	if found := s.found; found != nil {
		s.found = nil
		found()
	}
	return t, err
}

// Row S2: asking for the next code of a contact gains no tries, whatever happens meanwhile.
func TestS2_ContactCodesLoseNoTry(t *testing.T) {
	for name, meanwhile := range map[string]func(w *held, send func(), guess func(n int)){
		"guessed while the next one is on its way": func(w *held, send func(), guess func(int)) {
			send()
			w.clock.Advance(time.Minute)
			w.tickets.found = func() { guess(4) }
			send()
		},
		"asked for twice at once": func(w *held, send func(), guess func(int)) {
			w.tickets.found = func() { send(); guess(4) }
			send()
		},
		"closed from elsewhere": func(w *held, send func(), guess func(int)) {
			send()
			guess(4)
			w.ok(w.db.VoidTickets(w.t.Context(), w.id, storagetest.Start))
			send()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newHeld(t)
			c := w.contacts()
			w.tickets = &slow{Tickets: c.Tickets}
			c.Tickets = w.tickets
			w.ok(c.DeclarePhone(t.Context(), w.strongly(), newNumber))
			send := func() { t.Helper(); w.ok(c.SendPhoneCode(t.Context(), w.strongly())) }
			wrong := func() error { return c.VerifyPhone(t.Context(), w.strongly(), otherThan(w.digits(newNumber))) }
			guess := func(n int) {
				t.Helper()
				for range n {
					if err := wrong(); fault.Of(err).Key != "code.wrong" {
						t.Fatal(err)
					}
				}
			}
			meanwhile(w, send, guess)
			if err := wrong(); fault.Of(err).Key != "code.spent" {
				t.Errorf("the fifth guess: %v", err)
			}
			send() // a spent one is no end
			w.ok(c.VerifyPhone(t.Context(), w.strongly(), w.digits(newNumber)))
		})
	}
}

func otherThan(digits string) string {
	if digits == "000000" {
		return "000001"
	}
	return "000000"
}
