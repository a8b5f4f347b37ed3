package recovery_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/recovery"
)

var errDied = errors.New("died")

// forgetful loses what is saved, as a process does that dies.
type forgetful struct {
	recovery.Store
	lose bool
}

func (s *forgetful) SaveRecovery(ctx context.Context, t recovery.Transaction) (int64, error) {
	if s.lose {
		return 0, errDied
	}
	return s.Store.SaveRecovery(ctx, t)
}

// A code was right and used up, and what followed was lost: nothing is proven by it, it is good no more, and a new one can be asked for.
// A new one that was lost on its way leaves the old one good.
func TestWhatFollowedTheCodeIsLost(t *testing.T) {
	w := newWorld(t, sqlite)
	store := &forgetful{Store: w.db}
	w.flow.Store = store
	tr := w.atCode(w.person.Person.NationalID, details(), hers, w.person.Contacts.Email.Address)
	for _, line := range []string{"sms", "mail"} {
		code := w.code(line)
		_, err := w.flow.Answer(t.Context(), tr, visit, fields{"code": different(code)})
		w.fails(err, "recovery.code.wrong")
		w.clock.Advance(5 * time.Minute)
		store.lose = true
		if _, err := w.flow.Again(t.Context(), tr, visit); err == nil {
			t.Fatal("sent again")
		}
		if _, err := w.flow.Answer(t.Context(), tr, visit, fields{"code": code}); !errors.Is(err, errDied) {
			t.Fatalf("%s: the code is not good any more: %v", line, err)
		}
		store.lose = false
		_, err = w.flow.Answer(t.Context(), tr, visit, fields{"code": code})
		w.fails(err, "recovery.code.used")
		step, err := w.flow.Owed(t.Context(), tr)
		w.ok(err)
		if line == "sms" && step.Do != recovery.AskCode || line == "mail" && step.Do != recovery.AskMailCode {
			t.Fatalf("%s: owed %v", line, step)
		}
		tr, err = w.flow.Again(t.Context(), tr, visit)
		w.ok(err)
		if w.code(line) == code {
			t.Fatal("the same code again")
		}
		before := tr
		tr, err = w.flow.Answer(t.Context(), tr, visit, fields{"code": w.code(line)})
		w.ok(err)
		// The same form sent twice: the other one went on.
		if _, err := w.flow.Answer(t.Context(), before, visit, fields{"code": w.code(line)}); !errors.Is(err, recovery.ErrNotOwed) {
			t.Errorf("%s: %v", line, err)
		}
	}
	step, err := w.flow.Owed(t.Context(), tr)
	w.ok(err)
	if step.Do != recovery.AskPassword {
		t.Errorf("owed %v", step)
	}
}

// A code that was closed in between, as by whoever ends a session of the person, brings no further tries.
func TestAClosedCodeGivesNoMoreTries(t *testing.T) {
	w := newWorld(t, sqlite)
	tr := w.atCode(w.person.Person.NationalID, details(), hers, w.person.Contacts.Email.Address)
	wrong := func(want string) {
		t.Helper()
		_, err := w.flow.Answer(t.Context(), tr, visit, fields{"code": different(w.code("sms"))})
		w.fails(err, want)
	}
	for range 3 {
		wrong("recovery.code.wrong")
	}
	for _, last := range []string{"recovery.code.wrong", "recovery.code.spent"} {
		w.ok(w.db.VoidTickets(t.Context(), w.person.Account.ID, w.clock.Now()))
		w.clock.Advance(2 * time.Minute)
		var err error
		tr, err = w.flow.Again(t.Context(), tr, visit)
		w.ok(err)
		wrong(last)
	}
	w.clock.Advance(2 * time.Minute)
	_, err := w.flow.Again(t.Context(), tr, visit)
	w.fails(err, "recovery.code.spent")
}

// Neither does asking for the next one while tries come in beside it: a spent code is spent.
func TestAgainBesideWrongTriesGivesNoMore(t *testing.T) {
	w := newWorld(t, sqlite)
	tr := w.atCode(w.person.Person.NationalID, details(), hers, "")
	first := w.code("sms")
	w.clock.Advance(2 * time.Minute)
	tickets := &beside{Tickets: w.flow.Tickets}
	w.flow.Tickets = tickets
	tickets.found = func() { // Again has looked at the tries and has not yet acted
		tickets.found = nil
		for i, want := range []string{"recovery.code.wrong", "recovery.code.wrong", "recovery.code.wrong", "recovery.code.wrong", "recovery.code.spent"} {
			if _, err := w.flow.Answer(t.Context(), tr, visit, fields{"code": different(first)}); fault.Of(err).Key != want {
				t.Errorf("try %d: %v", i+1, err)
			}
		}
	}
	_, err := w.flow.Again(t.Context(), tr, visit)
	w.fails(err, "recovery.code.spent")
	if len(w.out) != 1 {
		t.Errorf("%d codes went out", len(w.out))
	}
	if _, err := w.flow.Answer(t.Context(), tr, visit, fields{"code": w.code("sms")}); err == nil {
		t.Error("a spent code became good again")
	}
}

// beside does something when a ticket was found.
type beside struct {
	factors.Tickets
	found func()
}

func (b *beside) Find(ctx context.Context, binding string, p factors.Purpose) (factors.Ticket, error) {
	t, err := b.Tickets.Find(ctx, binding, p)
	if b.found != nil {
		b.found()
	}
	return t, err
}
