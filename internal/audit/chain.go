package audit

import (
	"context"
	"time"
)

// Entry is an event as it stands in the chain: the clear columns, the sealed personal fields as stored bytes, and its
// place. Seq counts from 1 without gaps in the order of sealing, which is not always that of At: a transaction that
// began early may commit late. Prev and Hash are SHA-256, 32 bytes; all three are zero while the entry is not sealed.
type Entry struct {
	Seq                                                     int64
	ID                                                      string
	At                                                      time.Time // microseconds
	Version                                                 int       // of the name's schema
	Name, Outcome, Actor, Subject, Client, Session, Request string
	Sealed                                                  []byte // Network, Agent and Details; nil and empty are the same
	Prev, Hash                                              []byte
}

// Chain is the stored record as Sealer and Verify see it.
type Chain interface {
	// Unsealed returns up to n entries without a Seq, by (At, ID).
	Unsealed(ctx context.Context, n int) ([]Entry, error)
	// UnsealedCount is how many there are.
	UnsealedCount(ctx context.Context) (int64, error)
	// AppendSealed writes Seq, Prev and Hash of the entries, found by ID, in one transaction. fault.ErrConflict, and
	// nothing written, when the head is no longer the one they continue (Seq one less than the first one's, Hash its
	// Prev) or one of them is sealed already or gone. A unique index on Seq stands behind it.
	AppendSealed(ctx context.Context, entries []Entry) error
	// Entries returns up to n sealed entries with Seq > afterSeq, by (Seq, ID).
	Entries(ctx context.Context, afterSeq int64, n int) ([]Entry, error)
	// Head is the sealed entry with the highest Seq; the zero Entry and no error when there is none.
	Head(ctx context.Context) (Entry, error)
}

// Lister reads events back for the person they are about.
type Lister interface {
	// EventsOf returns up to n events whose Subject is the account, of these names (nil = all), At before the given
	// time (zero = from now), newest first, with the personal fields opened.
	EventsOf(ctx context.Context, account string, names []Name, before time.Time, n int) ([]Event, error)
}
