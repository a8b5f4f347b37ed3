package device_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/device"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
)

var errAway = errors.New("database away")

// away cannot write once.
type away struct {
	factors.Tickets
	failed bool
}

func (a *away) Turn(ctx context.Context, id string, from, to, data []byte) error {
	if !a.failed {
		a.failed = true
		return errAway
	}
	return a.Tickets.Turn(ctx, id, from, to, data)
}

// Row D7: a lower number is a copy, also one that nobody used: it would be how a copy that jumped ahead lets the device go on below it.
func TestD7_ALowerNumberThatNobodyUsed(t *testing.T) {
	b := newBench(t)
	clone := b.dev.Copy()
	for range 40 {
		clone.Next()
	}
	wants(t, "the copy jumps ahead", clone.SetPush(webPush), http.StatusNoContent, "")
	wants(t, "the device goes on", b.dev.SetPush(webPush), http.StatusForbidden, "blocked")
	if len(b.kit.Record.Events(audit.DeviceBlocked)) != 1 {
		t.Error("not recorded")
	}
}

// A form that is sent again, at once or after the database failed, is no copy: the number is counted together with what it was for.
func TestD7_TheSameFormAgainIsNoCopy(t *testing.T) {
	t.Run("after a failure", func(t *testing.T) {
		b := newBench(t)
		kit := b.kit.Factors()
		kit.Tickets = &away{Tickets: kit.Tickets}
		kit.Atomically = func(ctx context.Context, fn func(context.Context) error) error {
			rows, err := b.kit.Credentials.Of(ctx, owner)
			if err != nil {
				return err
			}
			failed := fn(ctx)
			if failed == nil {
				return nil
			}
			for _, c := range rows { // nothing is written
				now, err := b.kit.Credentials.ByID(ctx, c.ID)
				if err != nil {
					return err
				}
				c.Version = now.Version
				if err := b.kit.Credentials.Update(ctx, c); err != nil {
					return err
				}
			}
			return failed
		}
		b.f = device.New(kit, device.Options{})
		try := at("t1", "b1")
		statement := b.dev.Here(b.begin(try).Challenge)
		if _, err := b.verify(try, statement); !errors.Is(err, errAway) {
			t.Fatalf("%v", err)
		}
		if p, err := b.verify(try, statement); err != nil || p.Channel != factors.Here {
			t.Errorf("sent again: %+v %v", p, err)
		}
		if n := len(b.kit.Record.Events(audit.DeviceBlocked)); n != 0 {
			t.Error("the device was blocked")
		}
	})
	t.Run("at once", func(t *testing.T) {
		for range 20 {
			b, try := newBench(t), at("t1", "b1")
			b.isolate()
			statement := b.dev.Here(b.begin(try).Challenge)
			var wg sync.WaitGroup
			start := make(chan struct{})
			for range 4 {
				wg.Go(func() {
					<-start
					if _, err := b.verify(try, statement); key(err) == "device.copied" {
						t.Error("taken for a copy")
					}
				})
			}
			close(start)
			wg.Wait()
			if n := len(b.kit.Record.Events(audit.DeviceBlocked)); n != 0 {
				t.Fatal("the device was blocked")
			}
		}
	})
	t.Run("after an end in between", func(t *testing.T) {
		b, try := newBench(t), at("t1", "b1")
		statement := b.dev.Here(b.begin(try).Challenge)
		kit := b.kit.Factors()
		late := &late{Tickets: kit.Tickets}
		kit.Tickets = late
		b.f = device.New(kit, device.Options{})
		late.between = func() { // the request was read as one that waits
			late.between, late.lost = nil, true
			if _, err := b.verify(try, statement); !errors.Is(err, errAway) {
				t.Fatalf("%v", err)
			}
			if err := b.f.Stop(t.Context(), owner); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.verify(try, statement); key(err) != "device.refused" {
			t.Errorf("the same form after the end: %v", err)
		}
		if n := len(b.kit.Record.Events(audit.DeviceBlocked)); n != 0 {
			t.Error("the device was blocked")
		}
	})
	t.Run("another number is one", func(t *testing.T) { // of a copy that was told of the request in time
		b, try := newBench(t), at("t1", "b1")
		challenge := b.begin(try).Challenge
		clone := b.dev.Copy()
		lower := clone.Here(challenge)
		b.dev.Next()
		higher := b.dev.Here(challenge)
		kit := b.kit.Factors()
		late := &late{Tickets: kit.Tickets}
		kit.Tickets = late
		b.f = device.New(kit, device.Options{})
		late.between = func() {
			late.between, late.lost = nil, true
			if _, err := b.verify(try, higher); !errors.Is(err, errAway) {
				t.Fatalf("%v", err)
			}
		}
		if _, err := b.verify(try, lower); key(err) != "device.copied" {
			t.Errorf("a lower number for the same request: %v", err)
		}
		if n := len(b.kit.Record.Events(audit.DeviceBlocked)); n != 1 {
			t.Errorf("%d records", n)
		}
	})
}

// late reads a request, and lets something happen before it answers.
type late struct {
	factors.Tickets
	between func()
	lost    bool // the answer is not used up
}

func (l *late) Find(ctx context.Context, binding string, p factors.Purpose) (factors.Ticket, error) {
	t, err := l.Tickets.Find(ctx, binding, p)
	if l.between != nil {
		l.between()
	}
	return t, err
}

func (l *late) Answer(ctx context.Context, binding string, p factors.Purpose, id account.ID, secret []byte, most int) (factors.Ticket, bool, error) {
	if l.lost {
		l.lost = false
		return factors.Ticket{}, false, errAway
	}
	return l.Tickets.Answer(ctx, binding, p, id, secret, most)
}

// isolate lets nobody see half of what is written in one transaction, as no database does.
func (b *bench) isolate() {
	kit, mu := b.kit.Factors(), &sync.RWMutex{}
	kit.Credentials, kit.Tickets = isolatedCredentials{kit.Credentials, mu}, isolatedTickets{kit.Tickets, mu}
	kit.Atomically = func(ctx context.Context, fn func(context.Context) error) error {
		if ctx.Value(mu) != nil {
			return fn(ctx)
		}
		mu.Lock()
		defer mu.Unlock()
		return fn(context.WithValue(ctx, mu, true))
	}
	b.f = device.New(kit, device.Options{})
	b.api = b.f.Endpoints()
	b.dev.Handler = b.api
}

// reading waits for whoever writes.
func reading(ctx context.Context, mu *sync.RWMutex) (done func()) {
	if ctx.Value(mu) != nil {
		return func() {}
	}
	mu.RLock()
	return mu.RUnlock
}

type isolatedCredentials struct {
	factors.Credentials
	mu *sync.RWMutex
}

func (c isolatedCredentials) Of(ctx context.Context, id account.ID) ([]factors.Credential, error) {
	defer reading(ctx, c.mu)()
	return c.Credentials.Of(ctx, id)
}

func (c isolatedCredentials) ByID(ctx context.Context, id string) (factors.Credential, error) {
	defer reading(ctx, c.mu)()
	return c.Credentials.ByID(ctx, id)
}

type isolatedTickets struct {
	factors.Tickets
	mu *sync.RWMutex
}

func (s isolatedTickets) Find(ctx context.Context, binding string, p factors.Purpose) (factors.Ticket, error) {
	defer reading(ctx, s.mu)()
	return s.Tickets.Find(ctx, binding, p)
}

func (s isolatedTickets) Answer(ctx context.Context, binding string, p factors.Purpose, id account.ID, secret []byte, most int) (factors.Ticket, bool, error) {
	defer reading(ctx, s.mu)()
	return s.Tickets.Answer(ctx, binding, p, id, secret, most)
}
