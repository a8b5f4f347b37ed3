package notify

import (
	"sync"
	"time"
)

// Result of one call through a Breaker.
type Result uint8

const (
	Good   Result = iota // it worked, or failed by no fault of the vendor
	Bad                  // the vendor answered that it failed
	Silent               // the vendor did not answer
)

// State of a Breaker.
type State string

const (
	Closed   State = "closed"    // calls go through
	Open     State = "open"      // the vendor rests
	HalfOpen State = "half_open" // one call may find out
)

// Numbers of the breaker: at least breakerCalls calls and more than half of them bad within breakerWindow, or breakerRow calls
// in a row without any answer, open it for breakerRest.
const (
	breakerCalls  = 20
	breakerWindow = 30 // seconds
	breakerRow    = 3
	breakerRest   = 60 * time.Second
)

// Breaker keeps calls away from a vendor that fails, and lets one through after a rest to see whether it is back. Its
// methods may be called by many goroutines.
type Breaker struct {
	now func() time.Time

	mu      sync.Mutex
	buckets [breakerWindow]bucket
	row     int       // calls without an answer in a row
	until   time.Time // open until; zero = closed
	probe   bool      // the one call of the half-open state is under way
	era     int       // counts openings and closings, so that a late answer of an earlier one says nothing
}

// bucket counts the calls of one second.
type bucket struct {
	second     int64
	calls, bad int
}

// NewBreaker returns a closed one.
func NewBreaker(now func() time.Time) *Breaker { return &Breaker{now: now} }

// State says where the breaker stands now.
func (b *Breaker) State() State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state()
}

// Up says whether a call that came now would be let through.
func (b *Breaker) Up() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.room()
}

// Begin asks for leave to call; ok is false while the vendor rests. The caller reports the result with done, once.
func (b *Breaker) Begin() (done func(Result), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.room() {
		return nil, false
	}
	if b.state() == HalfOpen {
		b.probe = true
	}
	era := b.era
	return func(r Result) { b.record(era, r) }, true
}

func (b *Breaker) state() State {
	switch {
	case b.until.IsZero():
		return Closed
	case b.now().Before(b.until):
		return Open
	}
	return HalfOpen
}

func (b *Breaker) room() bool {
	s := b.state()
	return s == Closed || s == HalfOpen && !b.probe
}

func (b *Breaker) record(era int, r Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if era != b.era {
		return
	}
	if b.probe { // the half-open call decides alone
		b.turn(r != Good)
		return
	}
	b.count(r)
	if b.row >= breakerRow || b.tooBad() {
		b.turn(true)
	}
}

// turn opens or closes the breaker and forgets what was counted.
func (b *Breaker) turn(open bool) {
	b.era++
	b.probe, b.row, b.buckets, b.until = false, 0, [breakerWindow]bucket{}, time.Time{}
	if open {
		b.until = b.now().Add(breakerRest)
	}
}

func (b *Breaker) count(r Result) {
	if r == Silent {
		b.row++
	} else {
		b.row = 0
	}
	second := b.now().Unix()
	k := &b.buckets[second%breakerWindow]
	if k.second != second {
		*k = bucket{second: second}
	}
	k.calls++
	if r != Good {
		k.bad++
	}
}

func (b *Breaker) tooBad() bool {
	oldest := b.now().Unix() - breakerWindow
	calls, bad := 0, 0
	for _, k := range b.buckets {
		if k.second > oldest {
			calls, bad = calls+k.calls, bad+k.bad
		}
	}
	return calls >= breakerCalls && 2*bad > calls
}
