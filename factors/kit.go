package factors

import (
	"context"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/throttle"
)

// Kit is all that a factor may touch, narrowed to its own name by the host.
type Kit struct {
	Credentials Credentials
	Tickets     Tickets
	Phone       Messenger
	Push        Pusher
	Limits      Limits
	Accounts    Accounts
	Issuer      string // as in tokens, e.g. https://login.example.org
	Now         func() time.Time
	// Audit and Atomically are for what happens at a factor's own endpoints (Mounter), where no host records: a change and its
	// event commit together. fn may run twice and calls nobody outside; inside, use the ctx it gets.
	Audit      audit.Recorder
	Atomically func(ctx context.Context, fn func(context.Context) error) error
}

// Accounts tells a factor of the account what it may know: whether two-factor authentication is on, and since when.
type Accounts interface {
	Account(ctx context.Context, id account.ID) (account.Account, error)
}

// Credential is one secret of one person: a password hash, a seed, a public key. Only the clear columns can be
// compared in a statement; Data is sealed at rest and the factor's own JSON, so a new factor needs no migration.
type Credential struct {
	ID        string // made by the store if "" on Create
	Account   account.ID
	Handle    string // unique per factor, e.g. a WebAuthn credential id; "" = none
	State     string // the factor's word, e.g. "active", "temporary", "disabled"
	Counter   int64  // a TOTP step, a signature counter
	Data      []byte
	CreatedAt time.Time
	ExpiresAt time.Time // zero = never
	Version   int64
}

type freshKey struct{}

// Fresh returns a ctx in which credentials are read now. Else a request may be answered with what it read of them before, which a
// factor that waited in between must not take for the present.
func Fresh(ctx context.Context) context.Context { return context.WithValue(ctx, freshKey{}, true) }

// IsFresh is for stores.
func IsFresh(ctx context.Context) bool { return ctx.Value(freshKey{}) != nil }

// Credentials is one table, seen through the factor's name.
type Credentials interface {
	// Of returns a person's credentials of this factor, oldest first; none for "".
	Of(ctx context.Context, id account.ID) ([]Credential, error)
	ByHandle(ctx context.Context, handle string) (Credential, error)
	// ByID finds one by its ID; fault.ErrNotFound, always for "".
	ByID(ctx context.Context, id string) (Credential, error)
	Create(ctx context.Context, c Credential) (Credential, error)
	// Update writes State, Counter, Data and ExpiresAt if Version is still the stored one; else fault.ErrConflict.
	Update(ctx context.Context, c Credential) error
	// Advance moves Counter forward, never back or to where it is; else fault.ErrConflict. One conditional write.
	Advance(ctx context.Context, id string, to int64) error
	Delete(ctx context.Context, id string) error
}

// DeleteAll takes every credential of one factor away from a person.
func DeleteAll(ctx context.Context, c Credentials, id account.ID) error {
	rows, err := c.Of(ctx, id)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if err := c.Delete(ctx, r.ID); err != nil {
			return err
		}
	}
	return nil
}

// Ticket is a short-lived one-time thing bound to a try: a code that was sent, a challenge that was shown. At most one
// is open per (factor, binding, purpose): a new one kills the old.
type Ticket struct {
	ID        string // made by the store
	Binding   string
	Purpose   Purpose
	Account   account.ID
	Secret    []byte // a MAC of the code, never the code
	Data      []byte // sealed at rest
	Tries     int    // counted so far; Open begins where it stands
	CreatedAt time.Time
	ExpiresAt time.Time
	// Replaces is for Open: the ID of the one in whose place it goes, Nothing where Find knew of none, "" whatever stands there. It is not
	// stored.
	Replaces string
}

// Nothing is the Ticket.Replaces of a ticket in whose place there is no other. Whoever begins a challenge says so: of two who do so at
// once the second would forget the tries of the first.
const Nothing = "nothing"

// Tickets keeps the factor's short-lived things.
type Tickets interface {
	// Open stores t as the only open one of its binding and purpose. The message, if any, commits with it in the
	// outbox and is dropped from there when the ticket is used, replaced or over. fault.ErrConflict, which inside a transaction may show
	// only at its end, where another stands there than t.Replaces says, or an open one with more tries than t has.
	Open(ctx context.Context, t Ticket, m *Message) (Ticket, error)
	// Find returns the open, unexpired one; fault.ErrConflict, with nothing but its Tries and, as Replaces, its ID, if it was used
	// meanwhile, so that a form sent twice is no reason for a new code; fault.ErrNotFound if there is none.
	Find(ctx context.Context, binding string, p Purpose) (Ticket, error)
	// Try counts one try if the ticket is open, unexpired and below most tries, in one conditional write, and returns
	// it with the try counted; fault.ErrNotFound otherwise.
	Try(ctx context.Context, id string, most int) (Ticket, error)
	// Answer counts one try of the open, unexpired ticket of binding, purpose and account below most tries, and closes it if
	// secret is its own, all in one conditional write: right says so. fault.ErrConflict if it was used meanwhile;
	// fault.ErrNotFound if there is none, or none below most tries, which Find tells apart.
	Answer(ctx context.Context, binding string, p Purpose, id account.ID, secret []byte, most int) (t Ticket, right bool, err error)
	// Use closes it, once: the second caller gets fault.ErrConflict.
	Use(ctx context.Context, id string) error
	// Late says whether the message that Open put into the outbox has not left, whether it still may or not. One read.
	Late(ctx context.Context, id string) (bool, error)
	// ListOpen returns a person's open, unexpired tickets, newest first, at most 50; none for "".
	ListOpen(ctx context.Context, id account.ID) ([]Ticket, error)
	// Turn replaces Secret and Data of an open, unexpired ticket whose Secret is from, in one conditional write; else
	// fault.ErrConflict. A factor that is answered from elsewhere says there what was answered.
	Turn(ctx context.Context, id string, from, to, data []byte) error
}

// PushMessage wakes an app. Like whoever carries it, the lock screen may show it: no secret, no number, no name.
type PushMessage struct {
	Account  account.ID
	To       string    // the subscription as JSON, sealed at rest
	Text     string    // JSON of kind and id
	Ticket   string    // used or replaced, the message is dropped; "" = none
	Dedupe   string    // a second message with the same value is not sent; "" = no check
	After    time.Time // not before it; zero = at once
	Deadline time.Time
}

// Pusher sends to apps.
type Pusher interface {
	// Send puts m into the outbox, in the transaction that ctx carries.
	Send(ctx context.Context, m PushMessage) error
	// Up says whether pushes to a subscription (PushMessage.To) can be delivered now, from the breaker's state alone.
	Up(to string) bool
}

// Limits counts events of a factor for all replicas at once. Keys of one factor are no keys of another.
type Limits interface {
	// Hit counts one event of key against all windows together, or none of them; wait is zero when it was allowed.
	Hit(ctx context.Context, key string, ws []throttle.Window) (wait time.Duration, err error)
	// Once takes value, which counts as used until then; fault.ErrConflict if it was used before.
	Once(ctx context.Context, value string, until time.Time) error
}

// Message to a person, sent over the channel the factor names, to the ID-verified number of the account.
type Message struct {
	Account  account.ID
	Channel  string // "sms", "sim" or "messenger"
	Text     string
	Deadline time.Time // never delivered after it
	Binding  string    // counts sends
	Network  string
}

// Messenger tells how a person can be reached, without telling the number.
type Messenger interface {
	// Ending returns the last two digits of the ID-verified number; ok is false when there is none.
	Ending(ctx context.Context, id account.ID) (ending string, ok bool, err error)
	// Allow counts one send against the limits of the person and of the network; fault.Throttled with RetryAfter.
	Allow(ctx context.Context, id account.ID, network string) error
	// Up says whether the channel can deliver now, from the breaker's state alone, with no call of its own.
	Up(channel string) bool
	// Lines are the channels by which a code can reach the ID-verified number by the person's operator and subscription: of
	// "messenger", "sim" and "sms", best first, whether up or not; none without such a number.
	Lines(ctx context.Context, id account.ID) ([]string, error)
	// Trusted says whether the number may be relied on now: nil, or a *Hindrance after a change of the SIM card or where the
	// operator cannot tell. An answer of the operator counts for 60 s. Ask at send and at verify; never inside a transaction.
	Trusted(ctx context.Context, id account.ID) error
	// MAC binds a code to its purpose and place; equal inputs give equal outputs.
	MAC(parts ...string) []byte
}
