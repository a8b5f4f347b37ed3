package password

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
)

// standing is a clock of waits that only the test moves. Each who waits is announced on asked.
type standing struct {
	asked chan chan time.Time
}

func newStanding() standing { return standing{asked: make(chan chan time.Time, 16)} }

func (s standing) after(time.Duration) (<-chan time.Time, func()) {
	c := make(chan time.Time, 1)
	s.asked <- c
	return c, func() {}
}

func one(t *testing.T, queue int) (*slots, standing, func()) {
	t.Helper()
	clock := newStanding()
	s := newSlots(Limits{Slots: 1, Queue: queue, Wait: time.Second, Retry: time.Second, After: clock.after})
	release, err := s.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, clock, release
}

func TestSlotsGoToTheLongestWaiting(t *testing.T) {
	s, clock, release := one(t, 10)
	order := make(chan int, 10)
	for i := range 10 {
		go func() {
			free, err := s.take(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			order <- i
			free()
		}()
		<-clock.asked // i stands in the queue before i+1 comes
	}
	release()
	for want := range 10 {
		if got := <-order; got != want {
			t.Errorf("number %d came before %d", got, want)
		}
	}
}

func TestSlotsLeavingTheQueue(t *testing.T) {
	tests := []struct {
		name  string
		leave func(cancel context.CancelFunc, late chan time.Time)
		cause error
	}{
		{"too late", func(_ context.CancelFunc, late chan time.Time) { late <- time.Time{} }, errQueueSlow},
		{"gone away", func(cancel context.CancelFunc, _ chan time.Time) { cancel() }, context.Canceled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, clock, release := one(t, 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			result := make(chan error, 1)
			go func() { _, err := s.take(ctx); result <- err }()
			late := <-clock.asked

			if _, err := s.take(t.Context()); !errors.Is(err, errQueueFull) {
				t.Errorf("beyond the queue: %v", err)
			}
			tt.leave(cancel, late)
			err := <-result
			if f := fault.Of(err); !errors.Is(err, tt.cause) || f.Kind != fault.Unavailable || f.RetryAfter != time.Second {
				t.Errorf("left with %v", err)
			}
			if inUse, queued := s.load(); inUse != 1 || queued != 0 {
				t.Errorf("%d in use, %d queued", inUse, queued)
			}
			release()
			again, err := s.take(t.Context())
			if err != nil {
				t.Fatalf("the slot is lost: %v", err)
			}
			again()
		})
	}
}

func TestAnIdleSlotAsksNoClock(t *testing.T) {
	s, clock, release := one(t, 0)
	release()
	if len(clock.asked) != 0 {
		t.Error("a wait was asked for without waiting")
	}
	if inUse, _ := s.load(); inUse != 0 {
		t.Errorf("%d in use", inUse)
	}
}
