// Package fault owns the shape of an expected failure: what kind it is, which sentence the person reads and what the
// operator sees. Enter with New or Wrap; one function at each edge (the pages, the provider, the command line) turns a
// fault into status, words and log line. It refuses to carry detail to the reader: whatever is not a *Error is
// "internal" outside, with the full text in the log only.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what an edge does with a fault. The zero value is Internal, so a forgotten kind never leaks as a hint.
type Kind uint8

const (
	Internal    Kind = iota // a defect or an unforeseen outage: 500
	Invalid                 // what was sent cannot be right: 400
	Denied                  // understood and refused: 403
	NotFound                // no such thing, or not yours to know: 404
	Conflict                // somebody was faster, or it was used already: 409
	Expired                 // its time is over: 410
	Throttled               // too many; RetryAfter says when: 429
	Unavailable             // something we need is down or full; RetryAfter says when: 503
)

var kindNames = [...]string{"internal", "invalid", "denied", "not_found", "conflict", "expired", "throttled", "unavailable"}

func (k Kind) String() string { return kindNames[k] }

// Error is an expected failure.
type Error struct {
	Kind       Kind
	Key        string         // of the sentence in the catalogue, e.g. "password.wrong"; "" means the kind's own sentence
	Args       map[string]any // what the sentence names, e.g. {"n": 3}
	Field      string         // the form field it belongs to, if one
	RetryAfter time.Duration  // with Throttled and Unavailable
	Err        error          // for the operator; never shown
}

// New makes a fault whose sentence has the given key.
func New(kind Kind, key string) *Error { return &Error{Kind: kind, Key: key} }

// Wrap makes a fault around err, which only the log will show.
func Wrap(kind Kind, key string, err error) *Error { return &Error{Kind: kind, Key: key, Err: err} }

// In names the form field that e belongs to and returns e.
func (e *Error) In(field string) *Error { e.Field = field; return e }

// With adds a named argument of the sentence and returns e.
func (e *Error) With(name string, value any) *Error {
	if e.Args == nil {
		e.Args = map[string]any{}
	}
	e.Args[name] = value
	return e
}

// After says when to try again and returns e.
func (e *Error) After(d time.Duration) *Error { e.RetryAfter = d; return e }

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Kind, e.Key, e.Err)
	}
	return fmt.Sprintf("%s: %s", e.Kind, e.Key)
}

func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrNotFound) match by kind when the target has no key.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && (t.Key == "" || t.Key == e.Key)
}

// The two answers every store gives. They match any fault of the same kind with errors.Is.
var (
	ErrNotFound = New(NotFound, "")
	ErrConflict = New(Conflict, "") // a version moved on, a one-time thing was used already, a unique value is taken
)

// Of returns the fault inside err, or an internal one around it. It returns nil for nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Internal, Err: err}
}

// KindOf returns the kind of err; Internal for what is no fault.
func KindOf(err error) Kind { return Of(err).Kind }
