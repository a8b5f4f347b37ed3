package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/recovery"
)

var _ recovery.Store = (*DB)(nil)

// CreateRecovery stores a new one.
func (db *DB) CreateRecovery(ctx context.Context, t recovery.Transaction) error {
	if t.ID == "" || len(t.Browser) == 0 {
		return errEmpty("recovery id or browser")
	}
	progress, err := db.sealJSON("recoveries.progress", t.ID, t.Progress)
	if err != nil {
		return err
	}
	return db.later(ctx, "create recovery", "INSERT INTO recoveries (id, browser, state, progress, created_at, expires_at, version) VALUES (?, ?, ?, ?, ?, ?, 1)",
		t.ID, t.Browser, string(t.State), progress, micros(t.CreatedAt), micros(t.ExpiresAt))
}

// Recovery returns one in any state while it is not expired; fault.ErrNotFound.
func (db *DB) Recovery(ctx context.Context, id string, now time.Time) (t recovery.Transaction, err error) {
	if id == "" {
		return t, fault.ErrNotFound
	}
	var state string
	var progress []byte
	var created, expires int64
	if err := db.row(ctx, "read recovery", "SELECT id, browser, state, progress, created_at, expires_at, version FROM recoveries WHERE id = ? AND expires_at > ?",
		[]any{id, micros(now)}, into(&t.ID, &t.Browser, &state, &progress, &created, &expires, &t.Version)); err != nil {
		return t, err
	}
	t.State, t.CreatedAt, t.ExpiresAt = recovery.State(state), moment(created), moment(expires)
	return t, db.unsealJSON("recoveries.progress", t.ID, progress, &t.Progress)
}

// SaveRecovery writes State and Progress if nobody else did and it is still open; else fault.ErrConflict, which inside Atomically
// may show only at its end.
func (db *DB) SaveRecovery(ctx context.Context, t recovery.Transaction) (int64, error) {
	if t.ID == "" {
		return 0, errEmpty("recovery id")
	}
	if t.State != recovery.Open && t.State != recovery.Done && t.State != recovery.Over {
		return 0, fmt.Errorf("storage: recovery state %q", t.State)
	}
	progress, err := db.sealJSON("recoveries.progress", t.ID, t.Progress)
	if err != nil {
		return 0, err
	}
	return t.Version + 1, db.laterOne(ctx, "save recovery", "UPDATE recoveries SET state = ?, progress = ?, version = version + 1 WHERE id = ? AND version = ? AND state = 'open'",
		string(t.State), progress, t.ID, t.Version)
}

// RecoverySubject finds all that is known of the person who has the number now, in one read, whether there is one or not.
func (db *DB) RecoverySubject(ctx context.Context, n account.NationalID, now time.Time) (s recovery.Subject, err error) {
	if n == "" {
		return s, fault.ErrNotFound
	}
	var a accountRow
	var key, person, contacts []byte
	var stopped int64
	err = db.row(ctx, "read person to recover", "SELECT "+accountColumns+", k.sealed, p.data, p.contacts, "+
		"(SELECT COUNT(*) FROM holds h WHERE h.account_id = a.id AND h.what = 'recovery' AND h.closed_at = 0 AND h.due_at > ?) "+
		"FROM people p JOIN accounts a ON a.id = p.account_id LEFT JOIN person_keys k ON k.account_id = a.id WHERE p.national_id = ?",
		[]any{micros(now), db.numberIndex(n)}, into(append(a.dest(), &key, &person, &contacts, &stopped)...))
	if errors.Is(err, fault.ErrNotFound) {
		return recovery.Subject{}, nil
	}
	if err != nil {
		return s, err
	}
	s.Account, s.Stopped = a.account(), stopped > 0
	if len(key) > 0 && db.tx(ctx) == nil {
		db.learnPersonKey(s.Account.ID, key)
	}
	if err := db.unsealJSON("people.data", a.ID, person, &s.Person); err != nil {
		return recovery.Subject{}, err
	}
	s.Contacts, err = db.unsealContacts(s.Account.ID, contacts)
	return s, err
}

// VoidTickets closes every open ticket of the account; what was not sent of them never will be, see Claim.
func (db *DB) VoidTickets(ctx context.Context, id account.ID, at time.Time) error {
	if id == "" {
		return errEmpty("account id")
	}
	return db.later(ctx, "void tickets", "UPDATE tickets SET used_at = ? WHERE account_id = ? AND used_at = 0", micros(at), string(id))
}
