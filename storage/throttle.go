package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/throttle"
)

var _ throttle.Store = (*DB)(nil)

// takeQuery counts one failure and computes the lock that follows it: 0 below free, else first·2^(n-free), at most
// most, where from "steps" doublings on it is most. The row that exists is passed over while it is locked or disabled,
// so of any number of parallel tries at most Free get through.
const takeQuery = "INSERT INTO throttle_ladders (key, failures, until_at, disabled, updated_at) VALUES (?, 1, ?, ?, ?) " +
	"ON CONFLICT (key) DO UPDATE SET failures = throttle_ladders.failures + 1, updated_at = excluded.updated_at, " +
	"disabled = CASE WHEN throttle_ladders.failures + 1 >= CAST(? AS BIGINT) THEN 1 ELSE 0 END, " +
	"until_at = CASE WHEN throttle_ladders.failures + 1 < CAST(? AS BIGINT) THEN 0 " +
	"WHEN throttle_ladders.failures + 1 - CAST(? AS BIGINT) >= CAST(? AS BIGINT) THEN CAST(? AS BIGINT) " +
	"ELSE excluded.updated_at + CAST(? AS BIGINT) * (CAST(1 AS BIGINT) << CAST(throttle_ladders.failures + 1 - CAST(? AS BIGINT) AS INTEGER)) END " +
	"WHERE throttle_ladders.until_at <= excluded.updated_at AND throttle_ladders.disabled = 0 " +
	"RETURNING failures, until_at, disabled"

// Take counts one try of key as failed unless it is locked or disabled; see throttle.Store. The row moves on by one
// conditional write; only a refused try reads.
func (db *DB) Take(ctx context.Context, key string, l throttle.Ladder, now time.Time) (v throttle.Verdict, err error) {
	if key == "" {
		return v, errEmpty("throttle key")
	}
	if l.Most < l.First {
		return v, fmt.Errorf("storage: a ladder whose longest lock is shorter than its first")
	}
	hash, us := db.keys().Index("throttle_ladders.key", key), now.UnixMicro()
	disable := int64(l.Disable)
	if disable <= 0 {
		disable = math.MaxInt64
	}
	free := int64(l.Free)
	if free <= 0 {
		free = math.MaxInt64 // never locks; see throttle.Ladder.Lock
	}
	steps := int64(0) // doublings until First reaches Most
	for d := l.First; d > 0 && d < l.Most && steps < 40; d *= 2 {
		steps++
	}
	var until int64
	if d := l.Lock(1); d > 0 {
		until = us + d.Microseconds()
	}
	var failures, disabled int64
	args := []any{
		hash, until, flag(disable <= 1), us, disable, free, free, steps,
		us + l.Most.Microseconds(), l.First.Microseconds(), free,
	}
	err = db.row(ctx, "take try", takeQuery, args, into(&failures, &until, &disabled))
	if err == nil {
		return throttle.Verdict{Allowed: true, Failures: int(failures), Until: moment(until), Disabled: disabled != 0}, nil
	}
	if !errors.Is(err, fault.ErrNotFound) {
		return v, err
	}
	err = db.row(ctx, "read lock", "SELECT failures, until_at, disabled FROM throttle_ladders WHERE key = ?", []any{hash}, into(&failures, &until, &disabled))
	if errors.Is(err, fault.ErrNotFound) { // cleared in between: the next try is free, this one was refused
		return throttle.Verdict{Until: now}, nil
	}
	return throttle.Verdict{Failures: int(failures), Until: moment(until), Disabled: disabled != 0}, err
}

// GiveBack takes back one counted try that was not judged, and the lock that followed it.
func (db *DB) GiveBack(ctx context.Context, key string) error {
	if key == "" {
		return errEmpty("throttle key")
	}
	_, err := db.exec(ctx, "give back try", "UPDATE throttle_ladders SET failures = failures - 1, until_at = 0, disabled = 0 WHERE key = ? AND failures > 0",
		db.keys().Index("throttle_ladders.key", key))
	return err
}

// Locked says whether failures have locked one of the keys since it was last cleared: a lock that has run out counts too, since the next
// failure brings back a longer one.
func (db *DB) Locked(ctx context.Context, keys ...string) (bool, error) {
	if len(keys) == 0 {
		return false, nil
	}
	args := make([]any, len(keys))
	for i, key := range keys {
		if key == "" {
			return false, errEmpty("throttle key")
		}
		args[i] = db.keys().Index("throttle_ladders.key", key)
	}
	var n int64
	err := db.row(ctx, "look for locks", "SELECT COUNT(*) FROM throttle_ladders WHERE (until_at <> 0 OR disabled <> 0) AND key IN ("+marks(len(args))+")", args, into(&n))
	return n > 0, err
}

// Clear forgets the failures of the keys.
func (db *DB) Clear(ctx context.Context, keys ...string) error {
	if len(keys) == 0 {
		return nil
	}
	args := make([]any, len(keys))
	for i, key := range keys {
		if key == "" {
			return errEmpty("throttle key")
		}
		args[i] = db.keys().Index("throttle_ladders.key", key)
	}
	return db.later(ctx, "clear failures", "DELETE FROM throttle_ladders WHERE key IN ("+marks(len(args))+")", args...)
}

// mostWindows is how many windows a row has room for.
const mostWindows = 4

// digits of a moment, microseconds until the year 2286: texts of one length compare as the numbers do.
const digits = 16

func moments(us int64) string { return fmt.Sprintf("%0*d", digits, max(us, 0)) }

// hitQuery counts the event in all windows, or in none. Windows up to throttle.Exact: hits has the moments of the last events, the
// newest first, and the N-th of them must not lie within Per. So of N+1 events two lie a multiple of N apart, and thereby at least Per:
// no stretch of Per has N+1, whatever the clocks of the replicas say. The others: theoretical arrival times move by their interval, and each may lie at most its tolerance ahead.
const hitQuery = "INSERT INTO throttle_windows AS w (key, t1, t2, t3, t4, hits, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET " +
	"t1 = CASE WHEN w.t1 > excluded.updated_at THEN w.t1 + CAST(? AS BIGINT) ELSE excluded.t1 END, " +
	"t2 = CASE WHEN w.t2 > excluded.updated_at THEN w.t2 + CAST(? AS BIGINT) ELSE excluded.t2 END, " +
	"t3 = CASE WHEN w.t3 > excluded.updated_at THEN w.t3 + CAST(? AS BIGINT) ELSE excluded.t3 END, " +
	"t4 = CASE WHEN w.t4 > excluded.updated_at THEN w.t4 + CAST(? AS BIGINT) ELSE excluded.t4 END, " +
	"hits = excluded.hits || substr(w.hits, 1, CAST(? AS INTEGER)), " +
	"updated_at = excluded.updated_at WHERE w.t1 <= ? AND w.t2 <= ? AND w.t3 <= ? AND w.t4 <= ? " +
	"AND substr(w.hits, CAST(? AS INTEGER), 16) <= ? AND substr(w.hits, CAST(? AS INTEGER), 16) <= ? " +
	"AND substr(w.hits, CAST(? AS INTEGER), 16) <= ? AND substr(w.hits, CAST(? AS INTEGER), 16) <= ?"

// Hit counts one event against all windows of key together, or none of them. The windows of a key keep their order.
func (db *DB) Hit(ctx context.Context, key string, ws []throttle.Window, now time.Time) (wait time.Duration, err error) {
	if key == "" {
		return 0, errEmpty("throttle key")
	}
	if len(ws) == 0 || len(ws) > mostWindows {
		return 0, fmt.Errorf("storage: %d windows; 1 to %d", len(ws), mostWindows)
	}
	us := now.UnixMicro()
	var interval, first, latest [mostWindows]int64
	var nth [mostWindows]int // where the N-th moment stands
	var within [mostWindows]string
	for i := range first {
		first[i], latest[i] = us, math.MaxInt64
		nth[i], within[i] = 1, moments(math.MaxInt64) // every moment is before it
	}
	keep := 0
	for i, w := range ws {
		switch {
		case w.N <= 0 || w.Per <= 0:
			return 0, fmt.Errorf("storage: a window of %d per %v", w.N, w.Per)
		case w.N <= throttle.Exact:
			nth[i], within[i] = 1+digits*(w.N-1), moments(us-w.Per.Microseconds())
			keep = max(keep, w.N)
			interval[i] = max(w.Per.Microseconds()/int64(w.N), 1) // for a program of the release before, beside this one
			first[i] = us + interval[i]
		default:
			interval[i] = w.Interval().Microseconds()
			first[i] = us + interval[i]
			latest[i] = us + interval[i]*int64(w.Burst()-1)
		}
	}
	hit := ""
	if keep > 0 {
		hit = moments(us)
	}
	hash := db.keys().Index("throttle_windows.key", key)
	args := []any{hash, first[0], first[1], first[2], first[3], hit, us, interval[0], interval[1], interval[2], interval[3], digits * max(keep-1, 0)}
	args = append(args, latest[0], latest[1], latest[2], latest[3])
	for i := range nth {
		args = append(args, nth[i], within[i])
	}
	n, err := db.exec(ctx, "count event", hitQuery, args...)
	if err != nil || n == 1 {
		return 0, err
	}
	var at [mostWindows]int64
	var hits string
	err = db.row(ctx, "read windows", "SELECT t1, t2, t3, t4, hits FROM throttle_windows WHERE key = ?", []any{hash}, into(&at[0], &at[1], &at[2], &at[3], &hits))
	if err != nil && !errors.Is(err, fault.ErrNotFound) {
		return 0, err
	}
	wait = time.Millisecond // refused all the same, even if it would be allowed by now
	for i, w := range ws {
		free := at[i] - latest[i] + us
		if w.N <= throttle.Exact {
			free = 0
			if len(hits) >= digits*w.N {
				if free, err = strconv.ParseInt(hits[nth[i]-1:nth[i]-1+digits], 10, 64); err != nil {
					return 0, fmt.Errorf("storage: moments of a window: %w", err)
				}
				free += w.Per.Microseconds()
			}
		}
		wait = max(wait, time.Duration(free-us)*time.Microsecond)
	}
	return wait, nil
}
