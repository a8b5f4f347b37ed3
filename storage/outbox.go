package storage

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
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

// Claim takes up to n due messages for this worker; see notify.Outbox. The dead ones in front of them are closed all at
// once, so that a backlog holds up nobody.
func (db *DB) Claim(ctx context.Context, n int, now time.Time) (out []notify.Message, err error) {
	us := micros(now)
	for n > len(out) {
		asked := n - len(out)
		found, err := db.due(ctx, asked, us)
		if err != nil {
			return out, err
		}
		dead := false
		for _, d := range found {
			m, taken, err := db.take(ctx, d, now)
			if err != nil {
				return out, err
			}
			if taken {
				out = append(out, m)
			}
			dead = dead || !taken && d.state != sendingState
		}
		if dead {
			if err := db.drop(ctx, us); err != nil {
				return out, err
			}
		}
		if len(found) < asked { // whatever was found is not due any more, so the next look finds others
			break
		}
	}
	return out, nil
}

// due is a message whose time has come.
type due struct{ id, state string }

func (db *DB) due(ctx context.Context, n int, now int64) (found []due, err error) {
	err = db.rows(ctx, "list due messages", "SELECT id, state FROM outbox WHERE closed_at = 0 AND due_at <= ? ORDER BY due_at, id LIMIT ?", []any{now, int64(n)}, func(s scan) error {
		var d due
		err := s(&d.id, &d.state)
		found = append(found, d)
		return err
	})
	return found, err
}

// take claims d, or closes it when its worker was lost; taken is false for that, for a dead one, and where another worker
// was faster.
func (db *DB) take(ctx context.Context, d due, now time.Time) (m notify.Message, taken bool, err error) {
	if d.state == sendingState {
		err = db.close(ctx, d.id, sendingState, unknownState, "", "worker lost", micros(now))
		if errors.Is(err, fault.ErrConflict) {
			err = nil
		}
		return m, false, err
	}
	m, err = db.claim(ctx, d.id, micros(now), micros(now.Add(notify.Hold)))
	if errors.Is(err, fault.ErrNotFound) {
		return m, false, nil
	}
	return m, err == nil, err
}

// claim marks one message as sending while it is due, in time, and its ticket open.
func (db *DB) claim(ctx context.Context, id string, now, hold int64) (m notify.Message, err error) {
	var dedupe *string
	var owner string
	var body []byte
	var deadline, attempts, created int64
	if err := db.row(ctx, "claim message", "UPDATE outbox SET state = 'sending', due_at = ?, attempts = attempts + 1 "+
		"WHERE id = ? AND state = 'queued' AND due_at <= ? AND deadline > ? "+
		"AND (ticket = '' OR EXISTS (SELECT 1 FROM tickets t WHERE t.id = outbox.ticket AND t.used_at = 0 AND t.expires_at > ?)) "+
		"RETURNING id, channel, dedupe, account_id, body, ticket, deadline, attempts, created_at", []any{hold, id, now, now, now},
		into(&m.ID, &m.Channel, &dedupe, &owner, &body, &m.Ticket, &deadline, &attempts, &created)); err != nil {
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
