package program

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// X3: a flood of questions about readiness is one look at a time and one in a second; everybody gets its answer, and who asked
// first and went away takes it from nobody.
func TestX3_FloodOfProbes(t *testing.T) {
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	var looks atomic.Int64
	var err error
	p := &probe{now: func() time.Time { return at }}
	gate, begun := make(chan struct{}), make(chan struct{}, 1)
	look := func(ctx context.Context) error {
		looks.Add(1)
		begun <- struct{}{}
		<-gate
		return errors.Join(err, ctx.Err())
	}
	first, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { gone <- p.ask(first, look) }()
	<-begun
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if err := p.ask(t.Context(), look); err != nil {
				t.Errorf("who waited: %v", err)
			}
		})
	}
	close(gate)
	all.Wait()
	for range 100 {
		if err := p.ask(t.Context(), look); err != nil {
			t.Error(err)
		}
	}
	if n := looks.Load(); n != 1 {
		t.Errorf("%d looks for 301 questions in one moment", n)
	}
	for i, want := range []bool{true, false, true} { // bad news is kept as long as good ones, and the clock may jump back
		at = at.Add([]time.Duration{readyFor, readyFor - 1, -time.Hour}[i])
		err = errors.New("down")
		before := looks.Load()
		if p.ask(t.Context(), look) == nil {
			t.Errorf("%d: still well", i)
		}
		if looks.Load() != before {
			<-begun
		}
		if looked := looks.Load() != before; looked != want {
			t.Errorf("%d: looked %v", i, looked)
		}
	}
}

// A look that panics is bad news, and no end of the process.
func TestX2_ProbeOutlivesAPanic(t *testing.T) {
	var p probe
	if err := p.ask(t.Context(), func(context.Context) error { panic("the driver") }); err == nil {
		t.Error("a panic is no good news")
	}
}
