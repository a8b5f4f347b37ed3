package totp_test

import (
	"context"
	"errors"
	"testing"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/factortest"
	mine "github.com/kapi-id/kapi/factors/totp"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
)

// slow finds tickets as they were a moment ago.
type slow struct {
	factors.Tickets
	found func() // called once, between the answer and whoever asked
}

func (s *slow) Find(ctx context.Context, binding string, p factors.Purpose) (factors.Ticket, error) {
	t, err := s.Tickets.Find(ctx, binding, p)
	if found := s.found; found != nil && p == factors.SignIn {
		s.found = nil
		found()
	}
	return t, err
}

// Row S1: five guesses of a challenge, also where it is opened by two requests at once or was closed from elsewhere.
func TestS1_NoTryIsLost(t *testing.T) {
	const other account.ID = "0e1f7e0e-1111-4a4a-9a9a-000000000002"
	for name, c := range map[string]struct {
		before func(t *testing.T, w *world) // and what it leaves
		left   int
	}{
		"the first one":           {func(*testing.T, *world) {}, 5},
		"one closed after three":  {func(t *testing.T, w *world) { w.begin(t); w.guess(t, 3); w.closeAll(t) }, 2},
		"one of somebody else":    {func(t *testing.T, w *world) { w.open(t, other) }, 5},
		"one that lost its right": {func(t *testing.T, w *world) { w.begin(t); w.guess(t, 1); w.right(t) }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.before(t, w)
			w.tickets.found = func() { // somebody is faster, and guesses all but once
				w.begin(t)
				w.guess(t, c.left-1)
			}
			if v := w.begin(t); !v.Open {
				t.Fatalf("%+v", v)
			}
			if _, err := w.f.Verify(t.Context(), signin("t1"), code(w.app.wrong(t))); fault.Of(err).Key != "totp.wrong_last" {
				t.Errorf("the fifth guess: %v", err)
			}
			if v := w.begin(t); v.Open {
				t.Error("a sixth guess")
			}
		})
	}
}

type world struct {
	kit     *factortest.Kit
	tickets *slow
	f       *mine.Factor
	app     app
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{kit: factortest.NewKit(factortest.Start)}
	k := w.kit.Factors()
	w.tickets = &slow{Tickets: w.kit.Tickets}
	k.Tickets = w.tickets
	w.f = mine.New(k)
	w.app = enrol(t, w.kit, w.f)
	return w
}

func (w *world) begin(t *testing.T) mine.View {
	t.Helper()
	c, err := w.f.Begin(t.Context(), signin("t1"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Page.Data.(mine.View)
}

func (w *world) guess(t *testing.T, n int) {
	t.Helper()
	for range n {
		if _, err := w.f.Verify(t.Context(), signin("t1"), code(w.app.wrong(t))); !errors.Is(err, factors.ErrWrong) {
			t.Fatal(err)
		}
	}
}

func (w *world) right(t *testing.T) {
	t.Helper()
	if _, err := w.f.Verify(t.Context(), signin("t1"), code(w.app.now(t))); err != nil {
		t.Fatal(err)
	}
}

func (w *world) closeAll(t *testing.T) {
	t.Helper()
	open, err := w.kit.Tickets.ListOpen(t.Context(), person)
	for _, o := range open {
		err = errors.Join(err, w.kit.Tickets.Use(t.Context(), o.ID))
	}
	if err != nil || len(open) == 0 {
		t.Fatal(len(open), err)
	}
}

func (w *world) open(t *testing.T, id account.ID) {
	t.Helper()
	_, err := w.kit.Tickets.Open(t.Context(), factors.Ticket{Binding: "t1", Purpose: factors.SignIn, Account: id, Tries: 4, ExpiresAt: factortest.Start.Add(mine.Life)}, nil)
	if err != nil {
		t.Fatal(err)
	}
}
