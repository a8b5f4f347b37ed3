package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/kapi-id/kapi/internal/secret"
)

// Config says where the data is.
type Config struct {
	URL     string           // "sqlite:PATH" or "postgres://…"
	Log     *slog.Logger     // nil = silent
	Now     func() time.Time // nil = time.Now
	Conns   int              // Postgres: most connections at once (0 = 20); SQLite: readers (0 = 4)
	Counter *Counter         // counts every statement, for tests; nil = none
}

// statementTimeout bounds one statement on Postgres; what takes longer is shed with 503.
const statementTimeout = 2500 * time.Millisecond

// patience bounds one call here, the wait for a free connection included.
const patience = 4 * time.Second

// DB is the open database.
type DB struct {
	dialect dialect
	url     string // Postgres only: for the listener and the migrator
	path    string // SQLite only
	log     *slog.Logger
	clock   func() time.Time
	counter *Counter

	write *gorm.DB // autocommit writes and transactions
	read  *gorm.DB // reads outside transactions; on Postgres the same as write
	pools []*sql.DB
	pg    *pgxpool.Pool // Postgres only

	ring    atomic.Pointer[secret.Ring]
	persons *personKeys

	tidied   atomic.Int64 // when Claim last looked for dead messages, µs
	watchers sync.Map     // *watcher → struct{}
}

type dialect uint8

const (
	sqlite dialect = iota + 1
	postgres
)

// Open connects without changing anything. The schema may still be old or absent: see Pending and Migrate.
func Open(ctx context.Context, c Config) (*DB, error) {
	db := &DB{log: c.Log, clock: c.Now, counter: c.Counter, persons: newPersonKeys()}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.clock == nil {
		db.clock = time.Now
	}
	var err error
	switch {
	case strings.HasPrefix(c.URL, "sqlite:"):
		db.dialect, db.path = sqlite, strings.TrimPrefix(c.URL, "sqlite:")
		err = db.openSQLite(ctx, c.Conns)
	case strings.HasPrefix(c.URL, "postgres://"), strings.HasPrefix(c.URL, "postgresql://"):
		db.dialect, db.url = postgres, c.URL
		err = db.openPostgres(ctx, c.Conns)
	default:
		return nil, errors.New(`storage: the database is "sqlite:PATH" or "postgres://…"`) // never the value: it may hold a password
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func gormConfig() *gorm.Config {
	return &gorm.Config{
		SkipDefaultTransaction: true, // one statement commits by itself
		TranslateError:         true,
		DisableAutomaticPing:   true,
		Logger:                 logger.Discard,                          // it would print values
		NowFunc:                func() time.Time { return time.Time{} }, // rows bring their times
	}
}

// Unlock gives the database the keys that seal its rows. Before it only secret.Store, Migrate and Pending may be used.
func (db *DB) Unlock(ring *secret.Ring) { db.ring.Store(ring) }

// keys returns the ring; using rows before Unlock is a defect of the program.
func (db *DB) keys() *secret.Ring {
	r := db.ring.Load()
	if r == nil {
		panic("storage: used before Unlock")
	}
	return r
}

// Close ends all connections.
func (db *DB) Close() error {
	var errs []error
	for _, p := range db.pools {
		errs = append(errs, p.Close())
	}
	if db.pg != nil {
		db.pg.Close()
	}
	return errors.Join(errs...)
}

// Connections are those that statements and transactions hold right now; a transaction that waits for nothing holds its own for
// milliseconds, so that a number that stays says that something hangs.
func (db *DB) Connections() (inUse int) {
	if db.pg != nil {
		return int(db.pg.Stat().AcquiredConns())
	}
	for _, p := range db.pools {
		inUse += p.Stats().InUse
	}
	return inUse
}

// Dialect is "sqlite" or "postgres", for logs and metrics.
func (db *DB) Dialect() string {
	if db.dialect == sqlite {
		return "sqlite"
	}
	return "postgres"
}

func (db *DB) now() time.Time { return db.clock() }

// micros is a time as stored: UTC microseconds since 1970; 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// moment reads what micros wrote.
func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// errEmpty is a defect of the caller: an empty id would otherwise be a condition that matches too much.
func errEmpty(what string) error { return fmt.Errorf("storage: empty %s", what) }
