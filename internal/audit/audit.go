// Package audit owns the tamper-evident record: which events exist, how entries are chained, and how the chain is
// checked against an anchor outside the database. Enter with Recorder, Sealer and Verify. It refuses an event whose
// name is not registered; and since an event commits with its change, no record means no change.
package audit

import (
	"context"
	"time"
)

// Event is one security event. Personal fields (Network, Agent, Details) are sealed at rest under a key of the person, so that
// erasing the person keeps the chain verifiable.
type Event struct {
	ID      string // UUIDv7, made by the store if ""
	At      time.Time
	Name    Name
	Outcome string // "ok", "refused" or the reason in one word, e.g. "locked"
	Actor   string // account id of who acted, "client:ID", "cli", or "" for nobody known
	Subject string // account id the event is about; "" if none
	Client  string
	Session string
	Request string // request id of the log
	Network string
	Agent   string
	Details map[string]string // never a secret, never a code
}

// Cause is whose request makes something happen: what an event says of it where the one who records, such as a factor that sends a
// code, is not to know. All may be "".
type Cause struct{ Actor, Client, Session, Request string }

type causeKey struct{}

// Caused returns a context for what the request causes.
func Caused(ctx context.Context, c Cause) context.Context {
	return context.WithValue(ctx, causeKey{}, c)
}

// CauseOf returns the cause that ctx carries, the zero Cause if there is none.
func CauseOf(ctx context.Context) Cause {
	c, _ := ctx.Value(causeKey{}).(Cause)
	return c
}

// Recorder writes an event in the transaction that ctx carries.
type Recorder interface {
	Record(ctx context.Context, e Event) error
}

// Name of an event: "noun.verb", registered in names.go with its schema version.
type Name string
