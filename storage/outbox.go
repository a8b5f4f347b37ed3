package storage

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/notify"
)

var _ notify.Outbox = (*DB)(nil)

// States of a message. Only queued and sending are open.
const (
	queuedState  = "queued"
	sendingState = "sending" // due_at is when the worker counts as dead
	sentState    = "sent"
	droppedState = "dropped" // expired, or its ticket was used or replaced
	failedState  = "failed"
	unknownState = "unknown" // its worker died while sending
)

// bodyJSON is what of a message is sealed.
type bodyJSON struct {
	To   string `json:"to"`
	Text string `json:"text"`
}

// newID is a UUIDv7.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// Enqueue stores a message; one whose Dedupe is there already is passed over.
func (db *DB) Enqueue(ctx context.Context, m notify.Message) error {
	if m.Channel == "" || m.To == "" {
		return errEmpty("channel or number")
	}
	if m.ID == "" {
		m.ID = newID()
	}
	if m.CreatedAt.IsZero() {
		m.CreatedAt = db.now()
	}
	body, err := db.sealJSON("outbox.body", m.ID, bodyJSON{m.To, m.Text})
	if err != nil {
		return err
	}
	var dedupe any
	if m.Dedupe != "" {
		dedupe = m.Dedupe
	}
	created := micros(m.CreatedAt)
	return db.later(ctx, "enqueue message", "INSERT INTO outbox (id, channel, dedupe, account_id, body, ticket, state, deadline, due_at, attempts, gateway, reason, created_at, closed_at) "+
		"VALUES (?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, '', '', ?, 0) ON CONFLICT (dedupe) DO NOTHING",
		m.ID, m.Channel, dedupe, string(m.Account), body, m.Ticket, micros(m.Deadline), created, int64(m.Attempts), created)
}

// Claim takes up to n due messages of other channels than except for this worker; see notify.Outbox. One statement takes those that are good. Where it
// finds none, or has not looked for a while, the dead ones in front are closed, all at once, so that a backlog holds up nobody.
func (db *DB) Claim(ctx context.Context, n int, except []string, now time.Time) (out []notify.Message, err error) {
	if n <= 0 {
		return nil, nil
	}
	us := micros(now)
	if out, err = db.claim(ctx, n, except, us, micros(now.Add(notify.Hold))); err != nil || len(out) == n {
		return out, err
	}
	if last := db.tidied.Load(); len(out) > 0 && us >= last && us < last+tidyEvery.Microseconds() {
		return out, nil
	}
	db.tidied.Store(us)
	return out, db.tidy(ctx, us)
}

// tidyEvery is how long dead messages may wait while others keep the outbox busy.
const tidyEvery = time.Second

const claimQuery = "UPDATE outbox SET state = 'sending', due_at = ?, attempts = attempts + 1 WHERE state = 'queued' AND due_at <= ? AND id IN (" +
	"SELECT o.id FROM outbox o WHERE o.closed_at = 0 AND o.due_at <= ? AND o.state = 'queued' AND o.deadline > ? " +
	"AND (o.ticket = '' OR EXISTS (SELECT 1 FROM tickets t WHERE t.id = o.ticket AND t.used_at = 0 AND t.expires_at > ?))"

const claimOrder = " ORDER BY o.due_at, o.id LIMIT ?"

const claimReturning = ") RETURNING id, channel, dedupe, account_id, body, ticket, deadline, attempts, created_at"

// claim marks up to n messages as sending that are due, in time, and whose ticket is open, the oldest first.
func (db *DB) claim(ctx context.Context, n int, except []string, now, hold int64) (out []notify.Message, err error) {
	query, args := claimQuery, []any{hold, now, now, now, now}
	for _, channel := range except {
		query += " AND o.channel <> ?"
		args = append(args, channel)
	}
	query += claimOrder
	if db.dialect == postgres { // workers pass each other's rows instead of waiting for them
		query += " FOR UPDATE OF o SKIP LOCKED"
	}
	query, args = query+claimReturning, append(args, int64(n))
	err = db.rowsAfresh(ctx, "claim messages", query, args, func() { out = nil }, func(s scan) error {
		m, err := db.scanMessage(s)
		out = append(out, m)
		return err
	})
	slices.SortFunc(out, func(a, b notify.Message) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
	})
	return out, err
}

func (db *DB) scanMessage(s scan) (m notify.Message, err error) {
	var dedupe *string
	var owner string
	var body []byte
	var deadline, attempts, created int64
	if err := s(&m.ID, &m.Channel, &dedupe, &owner, &body, &m.Ticket, &deadline, &attempts, &created); err != nil {
		return m, err
	}
	if dedupe != nil {
		m.Dedupe = *dedupe
	}
	var j bodyJSON
	if err := db.unsealJSON("outbox.body", m.ID, body, &j); err != nil {
		return m, err
	}
	m.Account, m.To, m.Text, m.Attempts = account.ID(owner), j.To, j.Text, int(attempts)
	m.Deadline, m.CreatedAt = moment(deadline), moment(created)
	return m, nil
}

// tidy closes the messages whose worker was lost and, all at once, those that may not go out any more.
func (db *DB) tidy(ctx context.Context, now int64) error {
	var dead int64
	err := db.row(ctx, "look for dead messages", "SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE closed_at = 0 AND due_at <= ? LIMIT 1) AS found", []any{now}, into(&dead))
	if err != nil || dead == 0 {
		return err
	}
	if _, err := db.exec(ctx, "close lost messages", "UPDATE outbox SET state = ?, reason = 'worker lost', body = ?, closed_at = ? WHERE closed_at = 0 AND due_at <= ? AND state = ?",
		unknownState, []byte{}, now, now, sendingState); err != nil {
		return err
	}
	return db.drop(ctx, now)
}

// drop closes all due messages that may not go out any more.
func (db *DB) drop(ctx context.Context, now int64) error {
	_, err := db.exec(ctx, "drop dead messages", "UPDATE outbox SET state = 'dropped', body = ?, closed_at = ? WHERE closed_at = 0 AND due_at <= ? AND state = 'queued' AND (deadline <= ? "+
		"OR (ticket <> '' AND NOT EXISTS (SELECT 1 FROM tickets t WHERE t.id = outbox.ticket AND t.used_at = 0 AND t.expires_at > ?)))",
		[]byte{}, now, now, now, now)
	return err
}

// close ends an open message and wipes its body.
func (db *DB) close(ctx context.Context, id, from, to, gateway, reason string, now int64) error {
	return one(db.exec(ctx, "close message", "UPDATE outbox SET state = ?, gateway = ?, reason = ?, body = ?, closed_at = ? WHERE id = ? AND state = ?",
		to, gateway, reason, []byte{}, now, id, from))
}

// Sent closes a message this worker holds; fault.ErrConflict when it was taken for lost in between.
func (db *DB) Sent(ctx context.Context, id, gateway string, now time.Time) error {
	if id == "" {
		return errEmpty("message id")
	}
	return db.close(ctx, id, sendingState, sentState, gateway, "", micros(now))
}

// Failed gives a message back, due at next, or closes it when next is zero or not before the deadline.
func (db *DB) Failed(ctx context.Context, id string, next time.Time, reason string, now time.Time) error {
	if id == "" {
		return errEmpty("message id")
	}
	if next.IsZero() {
		return db.close(ctx, id, sendingState, failedState, "", reason, micros(now))
	}
	us := micros(next)
	return one(db.exec(ctx, "give message back", "UPDATE outbox SET due_at = ?, reason = ?, "+
		"state = CASE WHEN deadline > CAST(? AS BIGINT) THEN 'queued' ELSE 'failed' END, "+
		"body = CASE WHEN deadline > CAST(? AS BIGINT) THEN body ELSE ? END, "+
		"closed_at = CASE WHEN deadline > CAST(? AS BIGINT) THEN 0 ELSE CAST(? AS BIGINT) END WHERE id = ? AND state = 'sending'",
		us, reason, us, us, []byte{}, us, micros(now), id))
}

// Age is how long the oldest message that is due has waited since it was made.
func (db *DB) Age(ctx context.Context, now time.Time) (time.Duration, error) {
	var oldest int64
	err := db.row(ctx, "read outbox age", "SELECT COALESCE(MIN(created_at), 0) FROM outbox WHERE closed_at = 0 AND state = 'queued' AND due_at <= ?", []any{micros(now)}, into(&oldest))
	if err != nil || oldest == 0 {
		return 0, err
	}
	return max(now.Sub(moment(oldest)), 0), nil
}
