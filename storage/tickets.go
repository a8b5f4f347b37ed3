package storage

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify"
)

// Tickets returns the tickets of one factor, as its Kit holds them.
func (db *DB) Tickets(factor string) factors.Tickets {
	if factor == "" {
		panic("storage: tickets of no factor")
	}
	return tickets{db, factor}
}

type tickets struct {
	db     *DB
	factor string
}

const ticketColumns = "id, binding, purpose, account_id, secret, data, tries, created_at, expires_at"

func (k tickets) scan(s scan) (t factors.Ticket, err error) {
	var owner, purpose string
	var data []byte
	var tries, created, expires int64
	if err := s(&t.ID, &t.Binding, &purpose, &owner, &t.Secret, &data, &tries, &created, &expires); err != nil {
		return t, err
	}
	t.Purpose, t.Account, t.Tries, t.CreatedAt, t.ExpiresAt = factors.Purpose(purpose), account.ID(owner), int(tries), moment(created), moment(expires)
	t.Data, err = k.db.keys().Unseal("tickets.data:"+t.ID, data)
	return t, err
}

func (k tickets) one(ctx context.Context, op, query string, args ...any) (t factors.Ticket, err error) {
	err = k.db.row(ctx, op, query, args, func(s scan) (err error) {
		t, err = k.scan(s)
		return err
	})
	return t, err
}

// errNoPhone is met only by a factor that did not ask Messenger.Ending first.
var errNoPhone = errors.New("storage: the account has no ID-verified phone")

// Open stores t in the place of the one before it, whose id is gone from then on and with it the message that carried
// its code. The message, if any, commits with it, and so does the entry in the record. fault.ErrConflict, which inside Atomically may show
// only at its end, where another stands there than t.Replaces says, and where the contacts of the message's person changed meanwhile.
func (k tickets) Open(ctx context.Context, t factors.Ticket, m *factors.Message) (factors.Ticket, error) {
	if t.Binding == "" || t.Purpose == "" {
		return t, errEmpty("ticket binding or purpose")
	}
	t.ID = uuid.NewString()
	if t.CreatedAt.IsZero() {
		t.CreatedAt = moment(micros(k.db.now()))
	}
	if m == nil {
		err := k.put(ctx, t, "", nil)
		t.Replaces = ""
		return t, err
	}
	contacts, err := k.db.sealedContacts(ctx, m.Account)
	if err != nil {
		return t, err
	}
	c, err := k.db.unsealContacts(m.Account, contacts)
	if err != nil {
		return t, err
	}
	if m.Account == "" || c.Phone.Number == "" || c.Phone.Grade != contact.IDVerified {
		return t, fault.Wrap(fault.NotFound, "", errNoPhone)
	}
	err = k.db.Atomically(ctx, func(ctx context.Context) error {
		if err := k.put(ctx, t, m.Account, contacts); err != nil {
			return err
		}
		err := k.db.Enqueue(ctx, notify.Message{
			Channel: m.Channel, Account: m.Account, To: c.Phone.Number, Text: m.Text, Ticket: t.ID, Deadline: m.Deadline, CreatedAt: t.CreatedAt,
		})
		if err != nil {
			return err
		}
		cause := audit.CauseOf(ctx)
		return k.db.Record(ctx, audit.Event{
			At: t.CreatedAt, Name: audit.CodeSent, Outcome: "ok", Actor: cause.Actor, Subject: string(m.Account), Client: cause.Client, Session: cause.Session,
			Request: cause.Request, Network: m.Network,
			Details: map[string]string{"factor": k.factor, "channel": m.Channel},
		})
	})
	t.Replaces = ""
	return t, err
}

// put writes a ticket. With the contacts of a person it is a code for the number in there, and they must still stand as they were read: whoever changes
// them waits for the commit and then finds the ticket to close (contact.Void).
func (k tickets) put(ctx context.Context, t factors.Ticket, id account.ID, contacts []byte) error {
	secret := t.Secret
	if secret == nil {
		secret = []byte{}
	}
	args := []any{t.ID, t.Binding, string(t.Purpose), string(t.Account), secret, k.db.keys().Seal("tickets.data:"+t.ID, t.Data), int64(t.Tries), micros(t.CreatedAt), micros(t.ExpiresAt), k.factor}
	where, from, after := "", "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)", []any(nil)
	switch t.Replaces {
	case "":
	case factors.Nothing:
		where, after = " WHERE tickets.expires_at <= ?", []any{micros(k.db.now())}
	default:
		where = " WHERE tickets.expires_at <= ? OR tickets.id = ? AND (tickets.used_at <> 0 OR tickets.tries <= excluded.tries)"
		after = []any{micros(k.db.now()), t.Replaces}
	}
	if id != "" {
		from = "SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0 FROM people WHERE account_id = ? AND contacts = ?"
		args = append(args, string(id), contacts)
		if k.db.dialect == postgres {
			from += " FOR SHARE" // SQLite has one writer
		}
	}
	write := k.db.laterOne
	if where == "" && id == "" {
		write = k.db.later
	}
	return write(ctx, "open ticket", "INSERT INTO tickets ("+ticketColumns+", factor, used_at) "+from+
		" ON CONFLICT (binding, factor, purpose) DO UPDATE SET id = excluded.id, account_id = excluded.account_id, secret = excluded.secret, data = excluded.data, "+
		"tries = excluded.tries, used_at = 0, created_at = excluded.created_at, expires_at = excluded.expires_at"+where, append(args, after...)...)
}

// Find returns the open, unexpired ticket of a binding and purpose; fault.ErrConflict, with nothing but its tries and, as Replaces, its id, if it was used;
// fault.ErrNotFound if there is none.
func (k tickets) Find(ctx context.Context, binding string, p factors.Purpose) (t factors.Ticket, err error) {
	if binding == "" || p == "" {
		return t, fault.ErrNotFound
	}
	var used int64
	err = k.db.row(ctx, "find ticket", "SELECT "+ticketColumns+", used_at FROM tickets WHERE binding = ? AND factor = ? AND purpose = ? AND expires_at > ?",
		[]any{binding, k.factor, string(p), micros(k.db.now())}, func(s scan) (err error) {
			t, err = k.scan(func(to ...any) error { return s(append(to, &used)...) })
			return err
		})
	if err == nil && used != 0 {
		return factors.Ticket{Tries: t.Tries, Replaces: t.ID}, fault.ErrConflict
	}
	return t, err
}

// Try counts one try of an open ticket below most tries; fault.ErrNotFound otherwise.
func (k tickets) Try(ctx context.Context, id string, most int) (factors.Ticket, error) {
	if id == "" {
		return factors.Ticket{}, fault.ErrNotFound
	}
	return k.one(ctx, "try ticket", "UPDATE tickets SET tries = tries + 1 WHERE id = ? AND factor = ? AND used_at = 0 AND tries < ? AND expires_at > ? RETURNING "+ticketColumns,
		id, k.factor, int64(most), micros(k.db.now()))
}

// Answer counts one try of an open ticket below most tries and closes it if secret is its own; see factors.Tickets. The secret
// is a MAC under a key that nobody outside knows, so the time its comparison takes tells nothing.
func (k tickets) Answer(ctx context.Context, binding string, p factors.Purpose, id account.ID, secret []byte, most int) (t factors.Ticket, right bool, err error) {
	if binding == "" || p == "" || id == "" || len(secret) == 0 {
		return t, false, fault.ErrNotFound
	}
	now := micros(k.db.now())
	var used int64
	err = k.db.row(ctx, "answer ticket", "UPDATE tickets SET tries = tries + 1, used_at = CASE WHEN secret = ? THEN CAST(? AS BIGINT) ELSE 0 END "+
		"WHERE binding = ? AND factor = ? AND purpose = ? AND account_id = ? AND used_at = 0 AND tries < ? AND expires_at > ? RETURNING "+ticketColumns+", used_at",
		[]any{secret, now, binding, k.factor, string(p), string(id), int64(most), now}, func(s scan) (err error) {
			t, err = k.scan(func(to ...any) error { return s(append(to, &used)...) })
			return err
		})
	if !errors.Is(err, fault.ErrNotFound) {
		return t, used != 0, err
	}
	if _, err := k.Find(ctx, binding, p); errors.Is(err, fault.ErrConflict) {
		return t, false, err
	}
	return t, false, fault.ErrNotFound
}

// Use closes a ticket, once; fault.ErrConflict afterwards. What was not sent of it never will be: see Claim.
func (k tickets) Use(ctx context.Context, id string) error {
	if id == "" {
		return fault.ErrConflict
	}
	now := micros(k.db.now())
	return one(k.db.exec(ctx, "use ticket", "UPDATE tickets SET used_at = ? WHERE id = ? AND factor = ? AND used_at = 0", now, id, k.factor))
}

// ListOpen returns a person's open, unexpired tickets of this factor, newest first.
func (k tickets) ListOpen(ctx context.Context, id account.ID) (out []factors.Ticket, err error) {
	if id == "" {
		return nil, nil
	}
	err = k.db.rows(ctx, "list tickets", "SELECT "+ticketColumns+" FROM tickets WHERE account_id = ? AND factor = ? AND used_at = 0 AND expires_at > ? ORDER BY created_at DESC, id DESC LIMIT 50",
		[]any{string(id), k.factor, micros(k.db.now())}, func(s scan) error {
			t, err := k.scan(s)
			out = append(out, t)
			return err
		})
	return out, err
}

// Turn replaces secret and data of an open ticket whose secret is from; fault.ErrConflict otherwise.
func (k tickets) Turn(ctx context.Context, id string, from, to, data []byte) error {
	if id == "" {
		return fault.ErrConflict
	}
	if from == nil {
		from = []byte{}
	}
	if to == nil {
		to = []byte{}
	}
	return one(k.db.exec(ctx, "turn ticket", "UPDATE tickets SET secret = ?, data = ? WHERE id = ? AND factor = ? AND used_at = 0 AND secret = ? AND expires_at > ?",
		to, k.db.keys().Seal("tickets.data:"+id, data), id, k.factor, from, micros(k.db.now())))
}

// Late says whether the message of a ticket has not left. A message that may have left, because its gateway never answered, has not.
func (k tickets) Late(ctx context.Context, id string) (bool, error) {
	if id == "" {
		return false, nil
	}
	var n int64
	err := k.db.row(ctx, "look for a late message", "SELECT COUNT(*) FROM outbox WHERE ticket = ? AND ticket <> '' AND state <> 'sent'", []any{id}, into(&n))
	return n > 0, err
}
