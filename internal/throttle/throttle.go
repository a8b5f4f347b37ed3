// Package throttle owns how guessing and flooding are slowed: a ladder of locks for wrong answers in a row, and a
// sliding window for sends and requests, which no stretch of time ever exceeds. Enter with Store; the decision is one conditional write shared by all replicas. It refuses
// to block a person for good: only a factor can be switched off, and a network is slowed, never blocked alone.
package throttle

import (
	"context"
	"time"
)

// Ladder: after Free failures in a row each further one locks the key, First long, doubling up to Most; from Disable
// failures in a row on the verdict is Disabled. Disable 0 = never.
type Ladder struct {
	Free        int
	First, Most time.Duration
	Disable     int
}

// Lock is how long the key rests after the n-th failure in a row (n ≥ 1).
func (l Ladder) Lock(n int) time.Duration {
	if l.Free <= 0 || n < l.Free {
		return 0
	}
	d := l.First
	for i := l.Free; i < n && d < l.Most; i++ {
		d *= 2
	}
	return min(d, l.Most)
}

// Verdict of a Take.
type Verdict struct {
	Allowed  bool // the try was counted and may go on
	Failures int  // in a row, this one included
	Until    time.Time
	Disabled bool
}

// Window allows at most N events in any stretch of Per, wherever it begins: [t, t+Per) for every t. Up to Exact the moments of the
// events are kept, and the next one is allowed as soon as N of them are not within Per any more. Above it only a sum is kept (generic
// cell rate algorithm): half of N at once, then one each Interval, which never is more than N in Per either, and may be less.
type Window struct {
	N   int
	Per time.Duration
}

// Exact is up to which N the moments are kept: 16 bytes each.
const Exact = 40

// Burst is how many of a window above Exact may come at once.
func (w Window) Burst() int { return (w.N + 1) / 2 }

// Interval is after how long one more is allowed in a window above Exact, in whole microseconds. A stretch shorter than Per has room for
// less than N-Burst+1 of them.
func (w Window) Interval() time.Duration {
	rest := time.Duration(w.N-w.Burst()) + 1
	return max((w.Per+rest*time.Microsecond-1)/(rest*time.Microsecond), 1) * time.Microsecond
}

// Store counts. Take counts the try as failed *before* the secret is compared, so that a hundred parallel guesses are
// not a hundred comparisons; Clear forgets it when the answer was right.
type Store interface {
	// Take counts one try of key unless it is locked or disabled, in one conditional write.
	Take(ctx context.Context, key string, l Ladder, now time.Time) (Verdict, error)
	// GiveBack takes back one counted try that was never compared, because a place was full or a service down, so that a
	// flood of those locks nobody out. It lifts the lock that followed from it.
	GiveBack(ctx context.Context, key string) error
	// Clear forgets the failures of the keys.
	Clear(ctx context.Context, keys ...string) error
	// Hit counts one event against all windows of key together, or none of them; wait is zero when it was allowed.
	Hit(ctx context.Context, key string, ws []Window, now time.Time) (wait time.Duration, err error)
}
