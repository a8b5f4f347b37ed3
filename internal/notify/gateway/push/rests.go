package push

import (
	"crypto/sha256"
	"errors"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
)

// Bounds of waiting: a service may ask for longer than anybody wants to believe, or for many receivers.
const (
	longest   = time.Hour
	usual     = time.Minute // where it says 429 and not how long
	mostRests = 10_000
)

// Rests remembers whom a service asked to leave alone for a while: one receiver (429), or everybody (503 with a time).
type Rests struct {
	Now func() time.Time

	mu    sync.Mutex
	until map[[32]byte]time.Time
}

// Wait is the answer to a message for one of those places that still rests; nil = go on.
func (r *Rests) Wait(places ...string) *notify.Failure {
	if d := r.Left(places...); d > 0 {
		return notify.Later(errors.New("the push service asked to wait"), d)
	}
	return nil
}

// Left is how long the last of the places still rests.
func (r *Rests) Left(places ...string) (left time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range places {
		left = max(left, r.until[sha256.Sum256([]byte(p))].Sub(r.Now()))
	}
	return left
}

// Heard notes what an answer asks for, of one receiver or of all, and returns what it means for the message.
func (r *Rests) Heard(a call.Answer, one, all string) *notify.Failure {
	f := a.Failure()
	switch {
	case a.Status == http.StatusTooManyRequests:
		if f.RetryAfter <= 0 {
			f.RetryAfter = usual
		}
		r.Rest(one, f.RetryAfter)
	case a.Status == http.StatusServiceUnavailable && f.RetryAfter > 0:
		r.Rest(all, f.RetryAfter)
	}
	return f
}

// Rest leaves a place alone for d, an hour at most.
func (r *Rests) Rest(place string, d time.Duration) {
	now := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = map[[32]byte]time.Time{}
	}
	if len(r.until) >= mostRests {
		maps.DeleteFunc(r.until, func(_ [32]byte, at time.Time) bool { return !at.After(now) })
	}
	if len(r.until) >= mostRests {
		clear(r.until) // it will say so again
	}
	r.until[sha256.Sum256([]byte(place))] = now.Add(min(d, longest))
}
