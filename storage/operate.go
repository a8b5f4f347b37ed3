package storage

import (
	"context"
	"fmt"
	"time"
)

// Lease makes holder the leader called name until now+ttl, if it leads already or nobody does; false = somebody else
// leads. A ttl of 0 gives the lease back.
func (db *DB) Lease(ctx context.Context, name, holder string, ttl time.Duration, now time.Time) (bool, error) {
	if name == "" || holder == "" {
		return false, errEmpty("lease name or holder")
	}
	n, err := db.exec(ctx, "take lease", "INSERT INTO leases (name, holder, expires_at) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "+
		"holder = excluded.holder, expires_at = excluded.expires_at WHERE leases.holder = excluded.holder OR leases.expires_at <= ?",
		name, holder, micros(now.Add(ttl)), micros(now))
	return n == 1, err
}

// Ready writes a row, on SQLite down to the disk: a sign-in that could not be stored must not begin.
func (db *DB) Ready(ctx context.Context, now time.Time) error {
	return one(db.exec(ctx, "write readiness", "INSERT INTO readiness (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at", micros(now)))
}

// Clock is the database's own time, to compare replicas with. Nothing else asks for it.
func (db *DB) Clock(ctx context.Context) (time.Time, error) {
	query := "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)"
	if db.dialect == postgres {
		query = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
	}
	var us int64
	err := db.row(ctx, "read clock", query, nil, into(&us))
	return moment(us), err
}

// retention says what Sweep deletes: the rows of a table whose time lies further back than keep.
var retention = []struct {
	table, key, time string
	keep             time.Duration
	also             string
}{
	{"signin_transactions", "id", "expires_at", 24 * time.Hour, ""},
	{"recoveries", "id", "expires_at", 24 * time.Hour, ""},
	{"holds", "id", "due_at", 90 * 24 * time.Hour, " AND closed_at > 0 AND closed_at <= ?"},
	{"tickets", "id", "expires_at", 24 * time.Hour, ""},
	{"outbox", "id", "deadline", 24 * time.Hour, ""},
	{"access_tokens", "hash", "expires_at", time.Hour, ""},
	{"partner_requests", "client, transaction_id", "at", 90 * 24 * time.Hour, ""},
	{"used_once", "kind, hash", "expires_at", 10 * time.Minute, ""},
	{"grants", "id", "session_ends", 24 * time.Hour, ""},
	{"sessions", "id", "expires_at", 90 * 24 * time.Hour, ""},
	{"notices", "id", "at", 365 * 24 * time.Hour, ""},
	{"throttle_windows", "key", "updated_at", 24 * time.Hour, ""},
	{"throttle_ladders", "key", "updated_at", 24 * time.Hour, " AND disabled = 0 AND failures < 5 AND until_at <= ?"},
	// A patient guesser must not have the count of "100 in a row" forgotten by waiting a day.
	{"throttle_ladders", "key", "updated_at", 90 * 24 * time.Hour, " AND disabled = 0 AND until_at <= ?"},
}

// sweepBatch bounds one DELETE, so that no lock is held and no disk kept busy for long.
const sweepBatch = 500

// Sweep deletes what its table need not keep any longer and returns how many rows. Accounts, people, credentials,
// consents, clients, keys and the audit record are never swept.
func (db *DB) Sweep(ctx context.Context, now time.Time) (deleted int64, err error) {
	for _, r := range retention {
		args := []any{micros(now.Add(-r.keep))}
		if r.also != "" {
			args = append(args, micros(now))
		}
		// Said twice: a row that was chosen and moved on meanwhile, such as a count of wrong answers, is none to delete any more.
		old := r.time + " < ?" + r.also
		query := fmt.Sprintf("DELETE FROM %s WHERE (%s) IN (SELECT %s FROM %s WHERE %s LIMIT %d) AND %s", r.table, r.key, r.key, r.table, old, sweepBatch, old)
		args = append(args, args...)
		for {
			n, err := db.exec(ctx, "sweep "+r.table, query, args...)
			deleted += n
			if err != nil {
				return deleted, err
			}
			if n < sweepBatch {
				break
			}
		}
	}
	return deleted, nil
}
