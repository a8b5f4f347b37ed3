package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/ncruces/go-sqlite3"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/testpg"
)

func TestRetry(t *testing.T) {
	serialization := fault.Wrap(fault.Unavailable, "", fmt.Errorf("x: %w", &pgconn.PgError{Code: "40001"}))
	for name, c := range map[string]struct {
		err   error
		fails int // then it succeeds
		runs  int
	}{
		"succeeds":      {nil, 0, 1},
		"40001 twice":   {serialization, 2, 3},
		"40P01":         {&pgconn.PgError{Code: "40P01"}, 1, 2},
		"busy":          {fmt.Errorf("x: %w", sqlite3.BUSY), 3, 4},
		"busy for good": {sqlite3.BUSY, 1000, mostTries},
		"another":       {&pgconn.PgError{Code: "23505"}, 1000, 1},
		"conflict":      {fault.ErrConflict, 1000, 1},
	} {
		runs := 0
		err := retry(context.Background(), func() error {
			if runs++; runs <= c.fails {
				return c.err
			}
			return nil
		})
		if runs != c.runs || (err == nil) != (runs > c.fails) {
			t.Errorf("%s: %d runs, %v", name, runs, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	runs := 0
	if err := retry(ctx, func() error { runs++; return sqlite3.BUSY }); err == nil || runs != 1 {
		t.Errorf("for a caller who is gone: %d runs, %v", runs, err)
	}
}

func TestExplain(t *testing.T) {
	for code, kind := range map[string]fault.Kind{
		"23505": fault.Conflict, "22012": fault.Conflict, "57014": fault.Unavailable, "40001": fault.Unavailable, "53300": fault.Unavailable,
		"57P01": fault.Unavailable, "25006": fault.Unavailable, "08006": fault.Unavailable, "42601": fault.Internal, "22P02": fault.Internal,
	} {
		if got := fault.KindOf(explain("op", &pgconn.PgError{Code: code})); got != kind {
			t.Errorf("%s is %v, want %v", code, got, kind)
		}
	}
	for err, kind := range map[error]fault.Kind{
		sqlite3.FULL: fault.Unavailable, sqlite3.BUSY: fault.Unavailable, sqlite3.CONSTRAINT_UNIQUE: fault.Conflict, context.DeadlineExceeded: fault.Unavailable,
		io.ErrUnexpectedEOF: fault.Unavailable, context.Canceled: fault.Internal, fault.ErrNotFound: fault.NotFound, sqlite3.CORRUPT: fault.Internal,
	} {
		if got := fault.KindOf(explain("op", err)); got != kind {
			t.Errorf("%v is %v, want %v", err, got, kind)
		}
	}
	if explain("op", nil) != nil {
		t.Error("nil")
	}
}

func pg(t *testing.T, options string) (*DB, string) {
	t.Helper()
	url := testpg.URL(t) + options
	db, err := Open(context.Background(), Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(context.Background()); err != nil {
		t.Fatal(err)
	}
	db.Unlock(secret.Ephemeral())
	return db, url
}

// TestDeadlock: two transactions take two rows in opposite order; Postgres ends one, which runs again.
func TestDeadlock(t *testing.T) {
	db, _ := pg(t, "&deadlock_timeout=20ms")
	ctx := context.Background()
	for _, id := range []string{"a", "b"} {
		if _, err := db.Lease(ctx, id, "0", time.Hour, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
	}
	var runs atomic.Int64
	var first sync.WaitGroup // both hold their first row before either asks for its second
	first.Add(2)
	errs := make(chan error, 2)
	for _, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
		go func() {
			n := 0
			errs <- db.Atomically(ctx, func(ctx context.Context) error {
				runs.Add(1)
				n++
				for i, id := range order {
					if _, err := db.exec(ctx, "x", "UPDATE leases SET expires_at = expires_at + 1 WHERE name = ?", id); err != nil {
						return err
					}
					if i == 0 && n == 1 {
						first.Done()
						first.Wait()
					}
				}
				return nil
			})
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if runs.Load() < 3 {
		t.Errorf("%d runs: nobody ran again", runs.Load())
	}
}

// TestSlowStatement: what the statement timeout ends is 503 and leaves the pool whole.
func TestSlowStatement(t *testing.T) {
	db, _ := pg(t, "&statement_timeout=50")
	ctx := context.Background()
	var n int64
	slow := func(ctx context.Context) error {
		return db.row(ctx, "slow", "SELECT 1 FROM pg_sleep(30)", nil, into(&n))
	}
	for name, err := range map[string]error{"alone": slow(ctx), "in a transaction": db.Atomically(ctx, slow)} {
		if f := fault.Of(err); f.Kind != fault.Unavailable || f.RetryAfter == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := db.Ready(ctx, time.Unix(1, 0)); err != nil {
		t.Error(err)
	}
	// A swallowed failure must not pass for a commit.
	err := db.Atomically(ctx, func(ctx context.Context) error {
		_, _ = db.exec(ctx, "x", "UPDATE leases SET expires_at = 1")
		_ = slow(ctx)
		return nil
	})
	if err == nil {
		t.Error("a rolled back transaction counts as committed")
	}
}

// TestPoolExhausted: the wait for a connection ends with the caller's patience.
func TestPoolExhausted(t *testing.T) {
	url := testpg.URL(t)
	db, err := Open(context.Background(), Config{URL: url, Conns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	hold, release := make(chan struct{}, 2), make(chan struct{})
	var done sync.WaitGroup
	for range 2 {
		done.Go(func() {
			_ = db.Atomically(context.Background(), func(ctx context.Context) error {
				hold <- struct{}{}
				<-release
				return nil
			})
		})
	}
	<-hold
	<-hold
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	for name, err := range map[string]error{
		"alone":            db.Ready(ctx, time.Unix(1, 0)),
		"in a transaction": db.Atomically(ctx, func(context.Context) error { return nil }),
	} {
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	close(release)
	done.Wait()
}

// TestServerRestart: connections that died are replaced, a listener comes back and misses nothing.
func TestServerRestart(t *testing.T) {
	db, url := pg(t, "")
	other, err := Open(context.Background(), Config{URL: url + "&application_name=other"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.Unlock(secret.Ephemeral())
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	heard := make(chan string, 100)
	go db.Watch(ctx, func(topic string) { heard <- topic })
	wait := func(topic string) {
		t.Helper()
		for timeout := time.After(time.Minute); ; {
			select {
			case got := <-heard:
				if got == topic {
					return
				}
			case <-timeout:
				t.Fatalf("never heard of %s", topic)
			}
		}
	}
	wait(TopicClients)
	wait(TopicSigningKeys)
	for listening, tick := false, time.NewTicker(time.Millisecond); !listening; <-tick.C {
		db.watchers.Range(func(w, _ any) bool { listening = w.(*watcher).listening.Load(); return !listening })
	}
	var n int64
	if err := other.row(ctx, "kill", "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()", nil, into(&n)); err != nil || n < 2 {
		t.Fatalf("killed %d: %v", n, err)
	}
	if err := other.Atomically(ctx, func(ctx context.Context) error { return other.changed(ctx, TopicClients) }); err != nil {
		t.Fatal(err)
	}
	wait(TopicClients)
	failed := 0
	for db.Ready(ctx, time.Unix(1, 0)) != nil {
		if failed++; failed > 20 {
			t.Fatal("the pool does not recover")
		}
	}
	if err := db.Atomically(ctx, func(ctx context.Context) error { return db.Ready(ctx, time.Unix(2, 0)) }); err != nil {
		t.Error(err)
	}
}

func TestURLIsNotRepeated(t *testing.T) {
	for _, url := range []string{"mysql://u:hunter2@h/d", "postgres://u:hunter2@127.0.0.1:1/d?sslmode=disable", "postgres://u:hunter2@[bad/d", "sqlite::memory:"} {
		db, err := Open(context.Background(), Config{URL: url})
		if err == nil {
			db.Close()
			t.Errorf("%s was opened", url)
			continue
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if s := e.Error(); len(s) == 0 || strings.Contains(s, "hunter2") {
				t.Errorf("the error shows the password: %s", s)
			}
		}
	}
}

func TestNumbered(t *testing.T) {
	for in, out := range map[string]string{"SELECT 1": "SELECT 1", "a = ? AND b = ?": "a = $1 AND b = $2", "?": "$1"} {
		for range 2 {
			if got := numbered(in); got != out {
				t.Errorf("%q: %q", in, got)
			}
		}
	}
	if marks(0) != "" || marks(1) != "?" || marks(3) != "?,?,?" {
		t.Error("marks")
	}
}
