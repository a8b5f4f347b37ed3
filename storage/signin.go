package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/signin"
)

var _ signin.Store = (*DB)(nil)

func (db *DB) scanTransaction(s scan) (t signin.Transaction, err error) {
	var state string
	var ask, progress []byte
	var created, expires int64
	if err := s(&t.ID, &t.Browser, &state, &ask, &progress, &created, &expires, &t.Version); err != nil {
		return t, err
	}
	t.State, t.CreatedAt, t.ExpiresAt = signin.State(state), moment(created), moment(expires)
	if err := db.unsealJSON("signin_transactions.ask", t.ID, ask, &t.Ask); err != nil {
		return t, err
	}
	return t, db.unsealJSON("signin_transactions.progress", t.ID, progress, &t.Progress)
}

// CreateTransaction stores a new sign-in.
func (db *DB) CreateTransaction(ctx context.Context, t signin.Transaction) error {
	if t.ID == "" || len(t.Browser) == 0 {
		return errEmpty("transaction id or browser")
	}
	ask, err := db.sealJSON("signin_transactions.ask", t.ID, t.Ask)
	if err != nil {
		return err
	}
	progress, err := db.sealJSON("signin_transactions.progress", t.ID, t.Progress)
	if err != nil {
		return err
	}
	return db.later(ctx, "create transaction", "INSERT INTO signin_transactions (id, browser, state, was, account_id, ask, progress, created_at, expires_at, version) "+
		"VALUES (?, ?, ?, '', ?, ?, ?, ?, ?, 1)", t.ID, t.Browser, string(t.State), string(t.Account), ask, progress, micros(t.CreatedAt), micros(t.ExpiresAt))
}

// Transaction returns a sign-in in any state while it is not expired; fault.ErrNotFound.
func (db *DB) Transaction(ctx context.Context, id string, now time.Time) (t signin.Transaction, err error) {
	if id == "" {
		return t, fault.ErrNotFound
	}
	var b beside
	err = db.row(ctx, "read transaction", transactionQuery, []any{id, micros(now)}, func(s scan) (err error) {
		t, err = db.scanTransaction(func(to ...any) error { return s(append(to, b.dest()...)...) })
		return err
	})
	if err == nil {
		db.learn(ctx, &b)
	}
	return t, err
}

// The account that is signing in, once it is known, comes along.
const transactionQuery = "SELECT t.id, t.browser, t.state, t.ask, t.progress, t.created_at, t.expires_at, t.version, " + accountBeside +
	" FROM signin_transactions t LEFT JOIN accounts a ON a.id = t.account_id" + joinBeside + " WHERE t.id = ? AND t.expires_at > ?"

// before lists the states from which one may move to a state, itself included while something may still be written.
var before = map[signin.State][2]signin.State{
	signin.Open:    {signin.Open, signin.Open},
	signin.Ready:   {signin.Open, signin.Ready},
	signin.Refused: {signin.Open, signin.Refused},
	signin.Done:    {signin.Ready, signin.Refused},
}

// SaveTransaction writes State and Progress if nobody else did and the state may move there; else fault.ErrConflict,
// which inside Atomically may show only at its end.
func (db *DB) SaveTransaction(ctx context.Context, t signin.Transaction) (int64, error) {
	if t.ID == "" {
		return 0, errEmpty("transaction id")
	}
	from, ok := before[t.State]
	if !ok {
		return 0, fmt.Errorf("storage: transaction state %q", t.State)
	}
	progress, err := db.sealJSON("signin_transactions.progress", t.ID, t.Progress)
	if err != nil {
		return 0, err
	}
	return t.Version + 1, db.laterOne(ctx, "save transaction", "UPDATE signin_transactions SET was = state, state = ?, progress = ?, account_id = ?, version = version + 1 "+
		"WHERE id = ? AND version = ? AND state IN (?, ?)", string(t.State), progress, string(t.Account), t.ID, t.Version, string(from[0]), string(from[1]))
}

// FinishTransaction moves ready or refused to done, once, for the browser that started it, and returns it as it was
// before; fault.ErrNotFound for any other.
func (db *DB) FinishTransaction(ctx context.Context, id string, browser []byte, now time.Time) (t signin.Transaction, err error) {
	if id == "" || len(browser) == 0 {
		return t, fault.ErrNotFound
	}
	err = db.row(ctx, "finish transaction", "UPDATE signin_transactions SET was = state, state = 'done', version = version + 1 "+
		"WHERE id = ? AND browser = ? AND state IN ('ready', 'refused') AND expires_at > ? "+
		"RETURNING id, browser, was, ask, progress, created_at, expires_at, version - 1", []any{id, browser, micros(now)}, func(s scan) (err error) {
		t, err = db.scanTransaction(s)
		return err
	})
	return t, err
}
