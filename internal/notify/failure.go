package notify

import (
	"errors"
	"fmt"
	"time"
)

// Failure says what a failed Send means for the message. Make it with NotSent, Busy, Later, Refused, Gone or Unsure.
type Failure struct {
	Certain    bool          // the message certainly did not go out: another gateway may try
	Final      bool          // it is the message's fault (a number nobody serves): this gateway will never take it
	Silent     bool          // the gateway did not answer at all; a few in a row open the breaker at once
	Gone       bool          // nobody is at that address any more: Options.Gone hears of it
	Here       bool          // it is about this receiver, and says nothing about the gateway
	RetryAfter time.Duration // what the gateway asked for
	Err        error         // for the log; never holds a number or a text
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// NotSent: the gateway could not be reached or answered that it failed.
func NotSent(err error, silent bool) *Failure {
	return &Failure{Certain: true, Silent: silent, Err: err}
}

// Busy: the gateway asks to wait.
func Busy(err error, after time.Duration) *Failure {
	return &Failure{Certain: true, RetryAfter: after, Err: err}
}

// Later: the receiver has to wait, as the gateway said before, and was not asked again.
func Later(err error, after time.Duration) *Failure {
	return &Failure{Certain: true, Here: true, RetryAfter: after, Err: err}
}

// Gone: the gateway knows the address no more, or it is none that it could ever know.
func Gone(err error) *Failure { return &Failure{Certain: true, Final: true, Gone: true, Err: err} }

// Refused: the gateway will not carry this message, however often it is asked.
func Refused(err error) *Failure { return &Failure{Certain: true, Final: true, Err: err} }

// Unsure: the request left and no answer came, so that nobody can tell. It is not sent by another gateway, since a person
// who gets a code twice cannot tell which holds.
func Unsure(err error) *Failure { return &Failure{Silent: true, Err: err} }

// failureOf reads err; what is no Failure is unsure.
func failureOf(err error) *Failure {
	if err == nil {
		return nil
	}
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return Unsure(fmt.Errorf("gateway: %w", err))
}

// verdict is what an answer says to the breaker and to the metrics.
func verdict(f *Failure) (Result, string) {
	switch {
	case f == nil:
		return Good, "sent"
	case f.Final:
		return Good, "refused"
	case f.Here && f.Certain:
		return Good, "not_sent"
	case f.Here:
		return Good, "unsure"
	case !f.Certain:
		return Silent, "unsure"
	case f.Silent:
		return Silent, "not_sent"
	}
	return Bad, "not_sent"
}
