package provider

import (
	"sync"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
)

// mostKeys bounds the memory of a quota; only keys that are in debt stay in it.
const mostKeys = 1 << 16

// quota is a generic cell rate limit in the memory of one replica: cheap, and good enough for fairness between clients.
// What protects people (locks, tries) is counted in the database instead.
type quota struct {
	every time.Duration // one event each
	burst time.Duration // debt that is allowed
	mu    sync.Mutex
	due   map[string]time.Time // when the key is out of debt
	swept time.Time
}

// newQuota allows n events in per, with a burst; n < 0 allows all.
func newQuota(n, burst int, per time.Duration) *quota {
	if n < 0 {
		return nil
	}
	every := per / time.Duration(n)
	return &quota{every: every, burst: every * time.Duration(burst), due: map[string]time.Time{}}
}

// take counts one event of key; wait is zero when it is within the quota.
func (q *quota) take(key string, now time.Time) (wait time.Duration) {
	if q == nil {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	due, known := q.due[key]
	if due.Before(now) || due.Sub(now) > q.burst { // more than may be owed: the clock was set back since
		due = now
	}
	due = due.Add(q.every)
	if wait := due.Sub(now) - q.burst; wait > 0 {
		return wait
	}
	if !known && len(q.due) >= mostKeys && now.Sub(q.swept).Abs() >= time.Second { // or each newcomer would cost a full walk
		q.forget(now)
	}
	if known || len(q.due) < mostKeys {
		q.due[key] = due
	}
	return 0
}

// forget drops the keys that are out of debt. If all are in debt, newcomers are let through uncounted: the limit must not
// become the means to shut others out.
func (q *quota) forget(now time.Time) {
	q.swept = now
	for key, due := range q.due {
		if !due.After(now) {
			delete(q.due, key)
		}
	}
}

// within is take as an error for an edge.
func (q *quota) within(key string, now time.Time) error {
	if wait := q.take(key, now); wait > 0 {
		return fault.New(fault.Throttled, "authorize.busy").After(wait)
	}
	return nil
}
