package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
)

var (
	_ audit.Recorder = (*DB)(nil)
	_ audit.Chain    = (*DB)(nil)
	_ audit.Lister   = (*DB)(nil)
)

const eventColumns = "id, at, version, name, outcome, actor, subject, client, session, request, sealed"

// personalJSON is what of an event is sealed under a key of the person it is about, or the general one without a person.
type personalJSON struct {
	Network string            `json:"network,omitempty"`
	Agent   string            `json:"agent,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

// sealer of a place: the ring, or a person's box.
type sealer interface {
	Seal(place string, plain []byte) []byte
	Unseal(place string, sealed []byte) ([]byte, error)
}

// Record writes an event in the transaction that ctx carries. An event that is not registered is refused, and the
// change it belongs to with it.
func (db *DB) Record(ctx context.Context, e audit.Event) error {
	version := e.Name.Version()
	if version == 0 {
		return fmt.Errorf("storage: audit event %q is not registered", e.Name)
	}
	if e.ID == "" {
		e.ID = newID()
	}
	if e.At.IsZero() {
		e.At = db.now()
	}
	sealed, err := db.sealPersonal(ctx, e)
	if err != nil {
		return err
	}
	return db.laterBeside(ctx, "record event", recordEvents, []any{
		e.ID, micros(e.At), int64(version), string(e.Name), e.Outcome, e.Actor, e.Subject, e.Client, e.Session, e.Request, sealed,
	})
}

var recordEvents = inserts("audit_pending", eventColumns, 11)

func (db *DB) sealPersonal(ctx context.Context, e audit.Event) ([]byte, error) {
	if e.Network == "" && e.Agent == "" && len(e.Details) == 0 {
		return []byte{}, nil
	}
	plain, err := json.Marshal(personalJSON{e.Network, e.Agent, e.Details})
	if err != nil {
		return nil, err
	}
	var by sealer = db.keys()
	if e.Subject != "" {
		if by, err = db.personKey(ctx, account.ID(e.Subject)); err != nil {
			return nil, err
		}
	}
	return by.Seal("audit.sealed:"+e.ID, plain), nil
}

func scanEntry(s scan, also ...any) (e audit.Entry, err error) {
	var at, version int64
	if err := s(append([]any{&e.ID, &at, &version, &e.Name, &e.Outcome, &e.Actor, &e.Subject, &e.Client, &e.Session, &e.Request, &e.Sealed}, also...)...); err != nil {
		return e, err
	}
	e.At, e.Version = moment(at), int(version)
	return e, nil
}

func (db *DB) entries(ctx context.Context, op, query string, args ...any) (out []audit.Entry, err error) {
	err = db.rows(ctx, op, query, args, func(s scan) error {
		var seq int64
		var prev, hash []byte
		e, err := scanEntry(s, &seq, &prev, &hash)
		e.Seq, e.Prev, e.Hash = seq, prev, hash
		out = append(out, e)
		return err
	})
	return out, err
}

// Unsealed returns up to n entries that are not in the chain yet, by (At, ID).
func (db *DB) Unsealed(ctx context.Context, n int) (out []audit.Entry, err error) {
	err = db.rows(ctx, "list unsealed events", "SELECT "+eventColumns+" FROM audit_pending ORDER BY at, id LIMIT ?", []any{int64(n)}, func(s scan) error {
		e, err := scanEntry(s)
		out = append(out, e)
		return err
	})
	return out, err
}

// UnsealedCount is how many there are.
func (db *DB) UnsealedCount(ctx context.Context) (n int64, err error) {
	err = db.row(ctx, "count unsealed events", "SELECT COUNT(*) FROM audit_pending", nil, into(&n))
	return n, err
}

// AppendSealed moves entries into the chain, if they continue its head; see audit.Chain. Two sealers that read the same
// head meet at the primary key of the chain.
func (db *DB) AppendSealed(ctx context.Context, entries []audit.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	return db.Atomically(ctx, func(ctx context.Context) error {
		head, err := db.Head(ctx)
		if err != nil {
			return err
		}
		first := entries[0]
		if head.Seq != first.Seq-1 || head.Seq > 0 && !bytes.Equal(head.Hash, first.Prev) {
			return fault.ErrConflict
		}
		for rest := entries; len(rest) > 0; { // of a transaction that may run twice
			n := 1
			if len(rest) >= chainTogether {
				n = chainTogether
			}
			if err := db.chain(ctx, rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
}

// chainTogether entries move with two statements. There are two sizes only, so that the statements stay prepared.
const chainTogether = 32

// chain moves entries from the queue to the log; fault.ErrConflict unless each of them was waiting.
func (db *DB) chain(ctx context.Context, entries []audit.Entry) error {
	ids := make([]any, len(entries))
	rows := make([]any, 0, 14*len(entries))
	for i, e := range entries {
		if e.ID == "" || len(e.Hash) == 0 {
			return errEmpty("entry id or hash")
		}
		sealed := e.Sealed
		if sealed == nil {
			sealed = []byte{}
		}
		ids[i] = e.ID
		rows = append(rows, e.ID, micros(e.At), int64(e.Version), e.Name, e.Outcome, e.Actor, e.Subject, e.Client, e.Session, e.Request, sealed, e.Seq, e.Prev, e.Hash)
	}
	n, err := db.exec(ctx, "unqueue events", "DELETE FROM audit_pending WHERE id IN ("+marks(len(ids))+")", ids...)
	if err != nil {
		return err
	}
	if int(n) != len(entries) {
		return fault.ErrConflict
	}
	row := ", (" + marks(14) + ")"
	return db.later(ctx, "chain events", "INSERT INTO audit_log ("+eventColumns+", seq, prev, hash) VALUES "+strings.Repeat(row, len(entries))[2:], rows...)
}

// Entries returns up to n entries of the chain after a place, in order.
func (db *DB) Entries(ctx context.Context, afterSeq int64, n int) ([]audit.Entry, error) {
	return db.entries(ctx, "list chain", "SELECT "+eventColumns+", seq, prev, hash FROM audit_log WHERE seq > ? ORDER BY seq, id LIMIT ?", afterSeq, int64(n))
}

// Head is the end of the chain; the zero Entry when it is empty.
func (db *DB) Head(ctx context.Context) (audit.Entry, error) {
	all, err := db.entries(ctx, "read head of chain", "SELECT "+eventColumns+", seq, prev, hash FROM audit_log ORDER BY seq DESC LIMIT 1")
	if err != nil || len(all) == 0 {
		return audit.Entry{}, err
	}
	return all[0], nil
}

// EventsOf returns events about an account, newest first, with the personal fields opened; see audit.Lister. Fields of
// a person who was erased stay empty.
func (db *DB) EventsOf(ctx context.Context, subject string, names []audit.Name, before time.Time, n int) (out []audit.Event, err error) {
	if subject == "" || n <= 0 {
		return nil, nil
	}
	box, err := db.readerOf(ctx, account.ID(subject))
	if err != nil {
		return nil, err
	}
	if before.IsZero() {
		before = db.now().Add(time.Microsecond)
	}
	where, args := "subject = ? AND at < ?", []any{subject, micros(before)}
	if len(names) > 0 {
		where += " AND name IN (" + marks(len(names)) + ")"
		for _, name := range names {
			args = append(args, string(name))
		}
	}
	args = append(append(args, args...), int64(n))
	err = db.rows(ctx, "list events", "SELECT "+eventColumns+" FROM audit_pending WHERE "+where+" UNION ALL SELECT "+eventColumns+" FROM audit_log WHERE "+where+
		" ORDER BY at DESC, id DESC LIMIT ?", args, func(s scan) error {
		e, err := scanEntry(s)
		if err != nil {
			return err
		}
		event, err := openEvent(e, box)
		out = append(out, event)
		return err
	})
	return out, err
}

func openEvent(e audit.Entry, box sealer) (audit.Event, error) {
	out := audit.Event{
		ID: e.ID, At: e.At, Name: audit.Name(e.Name), Outcome: e.Outcome, Actor: e.Actor, Subject: e.Subject, Client: e.Client, Session: e.Session, Request: e.Request,
	}
	if len(e.Sealed) == 0 || box == nil {
		return out, nil
	}
	plain, err := box.Unseal("audit.sealed:"+e.ID, e.Sealed)
	if errors.Is(err, secret.ErrSealed) {
		return out, nil // under a key that was erased
	}
	if err != nil {
		return out, err
	}
	var p personalJSON
	if err := json.Unmarshal(plain, &p); err != nil {
		return out, fmt.Errorf("storage: audit event %s: %w", e.ID, err)
	}
	out.Network, out.Agent, out.Details = p.Network, p.Agent, p.Details
	return out, nil
}
