package factors

import (
	"context"
	"time"

	"github.com/kapi-id/kapi/internal/account"
)

// Kit is all that a factor may touch, narrowed to its own name by the host.
type Kit struct {
	Credentials Credentials
	Tickets     Tickets
	Phone       Messenger
	Accounts    Accounts
	Now         func() time.Time
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

// Credentials is one table, seen through the factor's name.
type Credentials interface {
	// Of returns a person's credentials of this factor, oldest first; none for "".
	Of(ctx context.Context, id account.ID) ([]Credential, error)
	ByHandle(ctx context.Context, handle string) (Credential, error)
	Create(ctx context.Context, c Credential) (Credential, error)
	// Update writes State, Counter, Data and ExpiresAt if Version is still the stored one; else fault.ErrConflict.
	Update(ctx context.Context, c Credential) error
	// Advance moves Counter forward, never back or to where it is; else fault.ErrConflict. One conditional write.
	Advance(ctx context.Context, id string, to int64) error
	Delete(ctx context.Context, id string) error
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
}

// Tickets keeps the factor's short-lived things.
type Tickets interface {
	// Open stores t as the only open one of its binding and purpose. The message, if any, commits with it in the
	// outbox and is dropped from there when the ticket is used, replaced or over.
	Open(ctx context.Context, t Ticket, m *Message) (Ticket, error)
	// Find returns the open, unexpired one; fault.ErrConflict if it was used meanwhile, so that a form sent twice is no reason
	// for a new code; fault.ErrNotFound if there is none.
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
