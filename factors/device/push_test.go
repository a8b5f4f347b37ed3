package device_test

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/device"
	"github.com/kapi-id/kapi/factors/factortest"
)

// A sign-in that means the same as one that was just answered has its own push: the person looks at the phone in vain otherwise.
func TestEverySignInThatWaitsIsPushed(t *testing.T) {
	answers := map[string]func(b *bench, try factors.Try, v device.View){
		"approved and used": func(b *bench, try factors.Try, v device.View) {
			wants(b.t, "approve", b.dev.Approve(b.waits(v), v.Number), http.StatusNoContent, "")
			if _, err := b.verify(try, ""); err != nil {
				b.t.Error(err)
			}
		},
		"refused": func(b *bench, try factors.Try, v device.View) {
			wants(b.t, "deny", b.dev.Deny(b.waits(v), "cancel"), http.StatusNoContent, "")
		},
		"over": func(b *bench, try factors.Try, v device.View) { b.kit.Clock.Advance(device.Life) },
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			for i, signin := range []string{"t1", "t2", "t3"} {
				try := at(signin, "")
				v := b.begin(try)
				if n := len(b.kit.Push.Sent()); n != i+1 {
					t.Fatalf("%d pushes for %d sign-ins", n, i+1)
				}
				answer(b, try, v)
				b.kit.Clock.Advance(time.Second)
			}
		})
	}
}

// gate lets pushes go on once so many wish to.
type gate struct {
	*factortest.Pusher
	wish sync.WaitGroup
}

func (g *gate) Up(to string) bool {
	g.wish.Done()
	g.wish.Wait()
	return g.Pusher.Up(to)
}

// Row D3: sign-ins that mean the same and do not see one another, because they begin at once, share one push.
func TestD3_SimultaneousRequestsCoalesce(t *testing.T) {
	b := newBench(t)
	kit := b.kit.Factors()
	g := &gate{Pusher: b.kit.Push}
	g.wish.Add(3)
	kit.Push = g
	b.f = device.New(kit, device.Options{})
	var all sync.WaitGroup
	for _, signin := range []string{"t1", "t2", "t3"} {
		all.Go(func() {
			if _, err := b.f.Begin(t.Context(), at(signin, "")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := len(b.kit.Push.Sent()); n != 1 {
		t.Errorf("%d pushes", n)
	}
}
