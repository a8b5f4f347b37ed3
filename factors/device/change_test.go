package device_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/device"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

// A device that is blocked has no say that a session by SMS could take away: its owner is not left with it.
func TestABlockedDeviceIsReplacedAsNone(t *testing.T) {
	b := newBench(t)
	weak := []factors.Proof{{Factor: "password", Stage: factors.First}, {Factor: "sms", Stage: factors.Second, Channel: factors.Phone}}
	if _, err := b.pair(weak...); key(err) != "device.held" {
		t.Fatalf("while it has a say: %v", err)
	}
	clone := b.dev.Copy()
	b.dev.SetPush(webPush)
	wants(t, "the copy", clone.SetPush(webPush), http.StatusForbidden, "blocked")
	page, err := b.f.Manage(t.Context(), factors.Try{Account: owner, Proven: weak})
	if v := page.Data.(device.ManageView); err != nil || !v.Free || !v.Blocked {
		t.Errorf("page %+v %v", v, err)
	}
	code, err := b.pair(weak...)
	if err != nil {
		t.Fatal(err)
	}
	fresh := b.phone("new")
	wants(t, "register", fresh.Register(code), http.StatusCreated, "")
	wants(t, "the blocked one", b.dev.Me(), http.StatusUnauthorized, "unproven")
	if _, err := b.pair(weak...); key(err) != "device.held" {
		t.Errorf("the new one has a say: %v", err)
	}
}

// The device gives itself up by its key alone, but not while a new password for a forgotten one holds the ways to sign in.
func TestLeavingIsHeld(t *testing.T) {
	var held error
	b := benchOver(t, factortest.NewKit(factortest.Start), device.Options{Held: func(_ context.Context, id account.ID) error {
		if id != owner {
			t.Errorf("asked of %q", id)
		}
		return held
	}})
	held = fault.New(fault.Denied, "hold.factors").With("time", factortest.Start.Add(time.Hour))
	a := b.dev.Leave()
	wants(t, "held", a, http.StatusForbidden, "held")
	if want := factortest.Start.Add(time.Hour).Format(time.RFC3339); !strings.Contains(string(a.Body), `"until":"`+want+`"`) {
		t.Errorf("%s, want %s", a.Body, want)
	}
	held = fault.New(fault.Unavailable, "")
	wants(t, "nobody knows", b.dev.Leave(), http.StatusServiceUnavailable, "unavailable")
	wants(t, "it is there", b.dev.Me(), http.StatusOK, "")
	if n := len(b.kit.Record.Events(audit.FactorRemoved)); n != 0 {
		t.Errorf("%d told", n)
	}
	held = nil
	wants(t, "not held", b.dev.Leave(), http.StatusNoContent, "")
}

// Where pushes go is told where it changes, at the address before; a repeat of the same is not.
func TestANewAddressIsTold(t *testing.T) {
	b := newBench(t)
	elsewhere := map[string]string{"kind": "fcm", "token": "another"}
	c := b.noting(device.Options{})
	for i, step := range []struct {
		to   any
		told int
	}{{webPush, 0}, {elsewhere, 1}, {elsewhere, 1}, {map[string]string{"kind": "none"}, 2}, {map[string]string{"kind": "none"}, 2}, {webPush, 3}} {
		wants(t, fmt.Sprint("step ", i), b.dev.SetPush(step.to), http.StatusNoContent, "")
		told := b.kit.Record.Events(audit.FactorChanged)
		if len(told) != step.told {
			t.Fatalf("step %d: %d told", i, len(told))
		}
		if i == 1 {
			if d := told[0].Details; d["what"] != "push" || d["factor"] != "device" || d["name"] != "Ayşe's phone" || len(d) != 3 {
				t.Errorf("details %v", d)
			}
			c.together(t, string(audit.FactorChanged), "update of active")
			if n := len(c.order); c.order[n-2] != string(audit.FactorChanged) { // while the old address is the one that is told
				t.Errorf("order %v", c.order)
			}
		}
	}
	// A push service that forgot the address and got it again is no change.
	to, err := b.f.Reach(t.Context(), owner)
	if err != nil || b.f.Gone(t.Context(), owner, to) != nil {
		t.Fatal(err)
	}
	wants(t, "again", b.dev.SetPush(webPush), http.StatusNoContent, "")
	if n := len(b.kit.Record.Events(audit.FactorChanged)); n != 3 {
		t.Errorf("%d told", n)
	}
}

// Row D7: who polls faster than the contract says is told to slow down, and no other device pays for it.
func TestD7_PollPacing(t *testing.T) {
	b := newBench(t)
	for range 20 { // as the contract says, for a minute
		if _, a := b.dev.List(); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		b.kit.Clock.Advance(3 * time.Second)
	}
	b.kit.Clock.Advance(time.Minute)
	seen := map[int]int{}
	for range 60 {
		_, a := b.dev.List()
		seen[a.Status]++
		if a.Status == http.StatusTooManyRequests && (a.Problem() != "many" || a.Header.Get("Retry-After") != "60") {
			t.Fatalf("%s after %q", a.Problem(), a.Header.Get("Retry-After"))
		}
	}
	if seen[http.StatusOK] != 40 || seen[http.StatusTooManyRequests] != 20 {
		t.Errorf("answers %v", seen)
	}
	wants(t, "what is no poll", b.dev.Me(), http.StatusOK, "")
	b.kit.Clock.Advance(time.Minute)
	if _, a := b.dev.List(); a.Status != http.StatusOK {
		t.Errorf("a minute later: %d %s", a.Status, a.Body)
	}
}

// A code of a session that is over by now pairs nothing.
func TestAPairingCodeDiesWithItsSession(t *testing.T) {
	stands := true
	b := benchOver(t, factortest.NewKit(factortest.Start), device.Options{Stands: func(_ context.Context, binding string) (bool, error) {
		if binding != "enrol:s1" {
			t.Errorf("asked of %q", binding)
		}
		return stands, nil
	}})
	code, err := b.pair(strong...)
	if err != nil {
		t.Fatal(err)
	}
	stands = false
	wants(t, "register", b.phone("new").Register(code), http.StatusNotFound, "unknown")
	wants(t, "the one there is", b.dev.Me(), http.StatusOK, "")
	stands = true
	wants(t, "register", b.phone("new").Register(code), http.StatusCreated, "")
}
