package device_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/device"
	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

// commits says what was written in which transaction, and in which order.
type commits struct {
	mu    sync.Mutex
	n     int
	wrote map[string][]int // 0 = in none
	order []string
}

type commitKey struct{}

func (c *commits) add(ctx context.Context, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, _ := ctx.Value(commitKey{}).(int)
	c.wrote[what] = append(c.wrote[what], n)
	c.order = append(c.order, what)
}

// together fails unless all of it was written last in one transaction.
func (c *commits) together(t *testing.T, what ...string) {
	t.Helper()
	seen := map[int]bool{}
	for _, w := range what {
		if len(c.wrote[w]) == 0 {
			t.Errorf("%s was not written", w)
			return
		}
		seen[c.wrote[w][len(c.wrote[w])-1]] = true
	}
	if len(seen) != 1 || seen[0] {
		t.Errorf("in different commits: %v", c.wrote)
	}
}

// before fails unless a was written before b.
func (c *commits) before(t *testing.T, a, b string) {
	t.Helper()
	if i, j := slices.Index(c.order, a), slices.Index(c.order, b); i < 0 || j < 0 || i > j {
		t.Errorf("%s is not before %s: %v", a, b, c.order)
	}
}

type notedCredentials struct {
	factors.Credentials
	c *commits
}

func kind(handle string) string { what, _, _ := strings.Cut(handle, ":"); return what }

func (n notedCredentials) Create(ctx context.Context, x factors.Credential) (factors.Credential, error) {
	n.c.add(ctx, "create "+kind(x.Handle))
	return n.Credentials.Create(ctx, x)
}

func (n notedCredentials) Update(ctx context.Context, x factors.Credential) error {
	n.c.add(ctx, "update "+kind(x.Handle)+" "+x.State)
	return n.Credentials.Update(ctx, x)
}

func (n notedCredentials) Delete(ctx context.Context, id string) error {
	x, err := n.Credentials.ByID(ctx, id)
	if err == nil {
		n.c.add(ctx, "delete "+kind(x.Handle))
	}
	return n.Credentials.Delete(ctx, id)
}

type notedTickets struct {
	factors.Tickets
	c *commits
}

func (n notedTickets) Turn(ctx context.Context, id string, from, to, data []byte) error {
	n.c.add(ctx, "turn to "+string(to))
	return n.Tickets.Turn(ctx, id, from, to, data)
}

type notedRecord struct {
	audit.Recorder
	c *commits
}

func (n notedRecord) Record(ctx context.Context, e audit.Event) error {
	n.c.add(ctx, string(e.Name))
	return n.Recorder.Record(ctx, e)
}

// noting counts what is written from here on.
func (b *bench) noting(o device.Options) *commits {
	c := &commits{wrote: map[string][]int{}}
	kit := b.kit.Factors()
	kit.Credentials, kit.Tickets, kit.Audit = notedCredentials{kit.Credentials, c}, notedTickets{kit.Tickets, c}, notedRecord{kit.Audit, c}
	kit.Atomically = func(ctx context.Context, fn func(context.Context) error) error {
		if ctx.Value(commitKey{}) != nil {
			return fn(ctx)
		}
		c.mu.Lock()
		c.n++
		n := c.n
		c.mu.Unlock()
		return fn(context.WithValue(ctx, commitKey{}, n))
	}
	b.f = device.New(kit, o)
	b.api = b.f.Endpoints()
	b.dev.Handler = b.api
	return c
}

// Row D3: a "not me" that was cut off in the middle is one that was never said, and can be said again.
func TestD3_NotMeIsOneCommit(t *testing.T) {
	b := newBench(t)
	r := b.waits(b.begin(at("t1", "b1")))
	c := b.noting(device.Options{})
	wants(t, "not me", b.dev.Deny(r, "not_me"), http.StatusNoContent, "")
	c.together(t, "turn to ended", string(audit.DeviceDenied), "update pushes pushes", string(audit.PushPaused))
}

// Row D3: pushes do not stop without a word of it.
func TestD3_ThePauseIsToldInItsCommit(t *testing.T) {
	b := newBench(t)
	c := b.noting(device.Options{})
	for i := range 4 {
		try := at(fmt.Sprint("t", i), fmt.Sprint("b", i))
		try.Service = try.Binding // not the same again
		b.begin(try)
	}
	c.together(t, "update pushes pushes", string(audit.PushPaused))
}

// A device hears of its end, so it is told while it is there.
func TestToldBeforeItGoes(t *testing.T) {
	for what, tt := range map[string]struct {
		do    func(t *testing.T, b *bench)
		event audit.Name
		write string
	}{
		"by itself": {func(t *testing.T, b *bench) { wants(t, "leave", b.dev.Leave(), http.StatusNoContent, "") }, audit.FactorRemoved, "delete of"},
		"replaced":  {func(t *testing.T, b *bench) { b.registered(b.phone("another")) }, audit.FactorRemoved, "delete of"},
		"dropped": {func(t *testing.T, b *bench) {
			if err := b.f.Drop(t.Context(), owner); err != nil {
				t.Fatal(err)
			}
		}, audit.FactorRemoved, "delete of"},
		"blocked": {func(t *testing.T, b *bench) {
			clone := b.dev.Copy()
			b.dev.SetPush(webPush)
			wants(t, "the copy", clone.SetPush(webPush), http.StatusForbidden, "blocked")
		}, audit.DeviceBlocked, "update of blocked"},
	} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t)
			c := b.noting(device.Options{})
			tt.do(t, b)
			c.before(t, string(tt.event), tt.write)
		})
	}
}

// pairingUsed is a code that is used in the moment in which it is to be closed.
type pairingUsed struct {
	factors.Tickets
	enter func()
}

func (p *pairingUsed) Use(ctx context.Context, id string) error {
	if p.enter != nil {
		enter := p.enter
		p.enter = nil
		enter()
		return fault.ErrConflict
	}
	return p.Tickets.Use(ctx, id)
}

// R176: a device that is entered while two-factor authentication goes off goes with it.
func TestR176_ADeviceEnteredMeanwhile(t *testing.T) {
	b := newBench(t)
	if err := b.f.Drop(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	code, err := b.pair()
	if err != nil {
		t.Fatal(err)
	}
	second := b.phone("another")
	var entered devicetest.Answer
	kit := b.kit.Factors()
	kit.Tickets = &pairingUsed{kit.Tickets, func() { entered = second.Register(code) }}
	if err := device.New(kit, device.Options{}).Drop(t.Context(), owner); err != nil || entered.Status != http.StatusCreated {
		t.Fatalf("%v, register %d", err, entered.Status)
	}
	if a := second.Me(); a.Status != http.StatusUnauthorized {
		t.Errorf("two-factor authentication is off and there is a device: %d", a.Status)
	}
	if id, s, err := b.f.Registered(t.Context(), account.ID(owner)); err != nil || id != "" {
		t.Errorf("%s since %v, %v", id, s, err)
	}
}
