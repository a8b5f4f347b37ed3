package provider

import (
	"sync"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
)

// mostKeys bounds the memory of a quota.
const mostKeys = 1 << 16

// quota is a generic cell rate limit in the memory of one replica: cheap, and good enough for fairness between clients.
// What protects people (locks, tries) is counted in the database instead. Keys live in two generations: what is used moves to
// the young one, and when that is full, or as old as a debt can be, the old one is dropped whole. So a flood of keys pushes out
// those that were not used for longest, everybody is counted, and nothing is ever walked through.
type quota struct {
	every  time.Duration // one event each
	burst  time.Duration // debt that is allowed
	mu     sync.Mutex
	young  map[string]time.Time // when the key is out of debt
	old    map[string]time.Time
	turned time.Time // when the generations changed last
}

// newQuota allows n events in per, with a burst; n < 0 allows all.
func newQuota(n, burst int, per time.Duration) *quota {
	if n < 0 {
		return nil
	}
	every := per / time.Duration(n)
	return &quota{every: every, burst: every * time.Duration(burst), young: map[string]time.Time{}}
}

// take counts one event of key; wait is zero when it is within the quota.
func (q *quota) take(key string, now time.Time) (wait time.Duration) {
	if q == nil {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	due := q.find(key, now)
	if due.Before(now) || due.Sub(now) > q.burst { // more than may be owed: the clock was set back since
		due = now
	}
	if wait = due.Add(q.every).Sub(now) - q.burst; wait > 0 {
		q.young[key] = due // who is refused is in use too
		return wait
	}
	q.young[key] = due.Add(q.every)
	return 0
}

// find returns what is known of a key and makes room for it among the young.
func (q *quota) find(key string, now time.Time) time.Time {
	due, known := q.young[key]
	if !known {
		due = q.old[key]
	}
	if !known && len(q.young) >= mostKeys/2 || now.Sub(q.turned).Abs() >= q.burst {
		q.old, q.young, q.turned = q.young, map[string]time.Time{}, now
	}
	return due
}

// within is take as an error for an edge.
func (q *quota) within(key string, now time.Time) error {
	if wait := q.take(key, now); wait > 0 {
		return fault.New(fault.Throttled, "authorize.busy").After(wait)
	}
	return nil
}
