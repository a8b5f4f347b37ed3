package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
)

var _ enrolment.HoldStore = (*DB)(nil)

const holdColumns = "id, account_id, what, data, created_at, due_at, closed_at"

// holdJSON is enrolment.HoldData as stored.
type holdJSON struct {
	Phone *contactsJSON `json:"phone,omitempty"` // its phone members only
	Email string        `json:"email,omitempty"`
	At    int64         `json:"email_verified_at,omitempty"`
	Also  []string      `json:"also,omitempty"`
}

func (db *DB) scanHold(s scan) (h enrolment.Hold, err error) {
	var owner string
	var data []byte
	var created, due, closed int64
	if err := s(&h.ID, &owner, &h.What, &data, &created, &due, &closed); err != nil {
		return h, err
	}
	h.Account, h.CreatedAt, h.Due, h.ClosedAt = account.ID(owner), moment(created), moment(due), moment(closed)
	var j holdJSON
	if err := db.unsealJSON("holds.data", h.ID, data, &j); err != nil {
		return h, err
	}
	h.Data.Also = j.Also
	if j.Phone != nil {
		h.Data.Phone = j.Phone.phone()
	}
	if j.Email != "" { // only a verified one is held
		h.Data.Email = contact.Email{Address: j.Email, Verified: true, VerifiedAt: moment(j.At)}
	}
	return h, nil
}

func (db *DB) hold(ctx context.Context, op, where string, args ...any) (h enrolment.Hold, err error) {
	err = db.row(ctx, op, "SELECT "+holdColumns+" FROM holds WHERE "+where, args, func(s scan) (err error) {
		h, err = db.scanHold(s)
		return err
	})
	return h, err
}

// PlaceHold stores a hold in place of an open one; see enrolment.HoldStore.
func (db *DB) PlaceHold(ctx context.Context, h enrolment.Hold, token, code []byte) error {
	if h.ID == "" || h.Account == "" || h.What == "" || len(token) == 0 || len(code) == 0 {
		return errEmpty("hold id, account, what, token or code")
	}
	j := holdJSON{Email: h.Data.Email.Address, At: micros(h.Data.Email.VerifiedAt), Also: h.Data.Also}
	if h.Data.Phone.Number != "" {
		p := phoneJSON(h.Data.Phone)
		j.Phone = &p
	}
	data, err := db.sealJSON("holds.data", h.ID, j)
	if err != nil {
		return err
	}
	return db.Atomically(ctx, func(ctx context.Context) error {
		if _, err := db.exec(ctx, "replace hold", "UPDATE holds SET state = ?, closed_at = ? WHERE account_id = ? AND what = ? AND closed_at = 0",
			enrolment.HoldWasReplaced, micros(h.CreatedAt), string(h.Account), h.What); err != nil {
			return err
		}
		// Two at once: the index of open ones lets one of them in.
		n, err := db.exec(ctx, "place hold", "INSERT INTO holds ("+holdColumns+", state, token, code) VALUES (?, ?, ?, ?, ?, ?, 0, 'open', ?, ?) ON CONFLICT DO NOTHING",
			h.ID, string(h.Account), h.What, data, micros(h.CreatedAt), micros(h.Due), token, code)
		return one(n, err)
	})
}

// OpenHold returns the open hold of an account on a thing; fault.ErrNotFound.
func (db *DB) OpenHold(ctx context.Context, id account.ID, what string, now time.Time) (enrolment.Hold, error) {
	if id == "" || what == "" {
		return enrolment.Hold{}, fault.ErrNotFound
	}
	return db.hold(ctx, "read open hold", "account_id = ? AND what = ? AND closed_at = 0 AND due_at > ?", string(id), what, micros(now))
}

// HoldByToken finds a hold by the hash of its link, in any state; fault.ErrNotFound.
func (db *DB) HoldByToken(ctx context.Context, token []byte) (enrolment.Hold, error) {
	if len(token) == 0 {
		return enrolment.Hold{}, fault.ErrNotFound
	}
	return db.hold(ctx, "find hold", "token = ?", token)
}

// HoldByCode finds an open hold of the account by the MAC of its code; fault.ErrNotFound.
func (db *DB) HoldByCode(ctx context.Context, id account.ID, code []byte) (enrolment.Hold, error) {
	if id == "" || len(code) == 0 {
		return enrolment.Hold{}, fault.ErrNotFound
	}
	return db.hold(ctx, "find hold by code", "account_id = ? AND code = ? AND closed_at = 0", string(id), code)
}

// CloseHold ends an open hold, once; fault.ErrConflict afterwards.
func (db *DB) CloseHold(ctx context.Context, id, state string, now time.Time) error {
	if id == "" || state == "" || state == "open" {
		return fmt.Errorf("storage: hold %q to %q", id, state)
	}
	return one(db.exec(ctx, "close hold", "UPDATE holds SET state = ?, closed_at = ? WHERE id = ? AND closed_at = 0", state, micros(now), id))
}

// DueHolds returns up to n open holds whose time has come.
func (db *DB) DueHolds(ctx context.Context, n int, now time.Time) (out []enrolment.Hold, err error) {
	err = db.rows(ctx, "list due holds", "SELECT "+holdColumns+" FROM holds WHERE closed_at = 0 AND due_at <= ? ORDER BY due_at, id LIMIT ?",
		[]any{micros(now), int64(n)}, func(s scan) error {
			h, err := db.scanHold(s)
			out = append(out, h)
			return err
		})
	return out, err
}
