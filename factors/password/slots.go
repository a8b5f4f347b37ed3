package password

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
)

// Limits of hashing at once. Memory is bounded by Slots × Cost.Memory; who comes next is who came first.
type Limits struct {
	Slots int           // hashes at once
	Queue int           // waiting at once
	Wait  time.Duration // the longest anybody waits
	Retry time.Duration // what those who find no place are told
	// After is the clock of the waiting: a channel that is ready after d, and how to give it up. nil is the machine's.
	After func(d time.Duration) (<-chan time.Time, func())
}

// errQueue tells the operator which bound was met.
var (
	errQueueFull = errors.New("password: every hash slot is taken and the queue is full")
	errQueueSlow = errors.New("password: no hash slot came free in time")
)

// slots is a semaphore with a bounded first-in first-out queue: a freed slot is handed to the longest waiting, never
// to a newcomer, so that a flood cannot starve those who were there before it.
type slots struct {
	limits Limits

	mu    sync.Mutex
	inUse int
	queue list.List // of chan struct{}, closed when the slot is handed over
}

func newSlots(l Limits) *slots {
	if l.After == nil {
		l.After = func(d time.Duration) (<-chan time.Time, func()) {
			t := time.NewTimer(d)
			return t.C, func() { t.Stop() }
		}
	}
	return &slots{limits: l}
}

// take waits for a slot; the caller gives it back with release. No slot is fault.Unavailable with RetryAfter.
func (s *slots) take(ctx context.Context) (release func(), err error) {
	s.mu.Lock()
	if s.inUse < s.limits.Slots {
		s.inUse++
		s.mu.Unlock()
		return s.release, nil
	}
	if s.queue.Len() >= s.limits.Queue {
		s.mu.Unlock()
		return nil, s.busy(errQueueFull)
	}
	mine := make(chan struct{})
	place := s.queue.PushBack(mine)
	s.mu.Unlock()

	late, stop := s.limits.After(s.limits.Wait)
	defer stop()
	select {
	case <-mine:
		return s.release, nil
	case <-late:
		err = errQueueSlow
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-mine: // it was handed over meanwhile
		return s.release, nil
	default:
		s.queue.Remove(place)
		return nil, s.busy(err)
	}
}

func (s *slots) busy(err error) error {
	return fault.Wrap(fault.Unavailable, "password.busy", err).After(s.limits.Retry)
}

func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next := s.queue.Front(); next != nil {
		close(s.queue.Remove(next).(chan struct{}))
		return
	}
	s.inUse--
}

func (s *slots) load() (inUse, queued int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inUse, s.queue.Len()
}
