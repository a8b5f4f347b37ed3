package notify

import (
	"testing"
	"time"
)

// clock is a hand-moved clock.
type clock struct{ t time.Time }

func newClock() *clock               { return &clock{time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)} }
func (c *clock) now() time.Time      { return c.t }
func (c *clock) add(d time.Duration) { c.t = c.t.Add(d) }

func report(t *testing.T, b *Breaker, n int, r Result) {
	t.Helper()
	for range n {
		done, ok := b.Begin()
		if !ok {
			t.Fatalf("call refused in state %s", b.State())
		}
		done(r)
	}
}

func TestBreaker(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*testing.T, *Breaker, *clock)
		want State
	}{
		{"new", func(*testing.T, *Breaker, *clock) {}, Closed},
		{"19 bad calls are too few", func(t *testing.T, b *Breaker, _ *clock) { report(t, b, 19, Bad) }, Closed},
		{"20 bad calls", func(t *testing.T, b *Breaker, _ *clock) { report(t, b, 20, Bad) }, Open},
		{"half bad is not more than half", func(t *testing.T, b *Breaker, _ *clock) { report(t, b, 10, Good); report(t, b, 10, Bad) }, Closed},
		{"11 of 21", func(t *testing.T, b *Breaker, _ *clock) { report(t, b, 10, Good); report(t, b, 11, Bad) }, Open},
		{"bad calls spread over more than 30 s", func(t *testing.T, b *Breaker, c *clock) {
			report(t, b, 15, Bad)
			c.add(31 * time.Second)
			report(t, b, 15, Bad)
		}, Closed},
		{"bad calls within 30 s", func(t *testing.T, b *Breaker, c *clock) {
			report(t, b, 15, Bad)
			c.add(29 * time.Second)
			report(t, b, 5, Bad)
		}, Open},
		{"two silent calls", func(t *testing.T, b *Breaker, _ *clock) { report(t, b, 2, Silent) }, Closed},
		{"three silent calls", func(t *testing.T, b *Breaker, _ *clock) { report(t, b, 3, Silent) }, Open},
		{"an answer between silent calls", func(t *testing.T, b *Breaker, _ *clock) {
			report(t, b, 2, Silent)
			report(t, b, 1, Bad)
			report(t, b, 2, Silent)
		}, Closed},
		{"rest is over", func(t *testing.T, b *Breaker, c *clock) { report(t, b, 3, Silent); c.add(time.Minute) }, HalfOpen},
		{"the rest lasts 60 s", func(t *testing.T, b *Breaker, c *clock) {
			report(t, b, 3, Silent)
			c.add(time.Minute - time.Microsecond)
		}, Open},
		{"a good probe closes", func(t *testing.T, b *Breaker, c *clock) {
			report(t, b, 3, Silent)
			c.add(time.Minute)
			report(t, b, 1, Good)
		}, Closed},
		{"a bad probe opens again", func(t *testing.T, b *Breaker, c *clock) {
			report(t, b, 3, Silent)
			c.add(time.Minute)
			report(t, b, 1, Bad)
		}, Open},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := newClock()
			b := NewBreaker(k.now)
			c.do(t, b, k)
			if got := b.State(); got != c.want {
				t.Fatalf("state %s, want %s", got, c.want)
			}
			if up := b.Up(); up != (c.want != Open) {
				t.Fatalf("up %v in state %s", up, c.want)
			}
		})
	}
}

func TestBreakerLetsOneProbeThrough(t *testing.T) {
	k := newClock()
	b := NewBreaker(k.now)
	late, _ := b.Begin() // a call that answers long after the breaker has opened
	report(t, b, 3, Silent)
	if _, ok := b.Begin(); ok {
		t.Fatal("an open breaker let a call through")
	}
	k.add(time.Minute)
	done, ok := b.Begin()
	if !ok {
		t.Fatal("no probe after the rest")
	}
	if _, ok := b.Begin(); ok || b.Up() {
		t.Fatal("a second call beside the probe")
	}
	late(Good)
	if b.State() != HalfOpen {
		t.Fatal("the answer of an earlier era decided for the probe")
	}
	done(Good)
	if b.State() != Closed {
		t.Fatalf("state %s after a good probe", b.State())
	}
}
