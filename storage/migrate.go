package storage

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// Migrate brings the schema up to what this program knows. Of several that migrate at once one does it and the others
// wait. A schema that is newer than the program is left alone: old programs work on it until the next release.
func (db *DB) Migrate(ctx context.Context) error {
	release, err := db.migrationLock(ctx)
	if err != nil {
		return err
	}
	defer release()
	p, done, err := db.migrator()
	if err != nil {
		return err
	}
	defer done()
	results, err := p.Up(ctx)
	if err != nil {
		return fmt.Errorf("storage: migrate: %w", err)
	}
	for _, r := range results {
		db.log.Info("storage: migrated", "version", r.Source.Version, "took", r.Duration)
	}
	return nil
}

// Pending is how many migrations the schema lacks.
func (db *DB) Pending(ctx context.Context) (int, error) {
	p, done, err := db.migrator()
	if err != nil {
		return 0, err
	}
	defer done()
	status, err := p.Status(ctx)
	if err != nil {
		return 0, fmt.Errorf("storage: read schema version: %w", err)
	}
	n := 0
	for _, s := range status {
		if s.State == goose.StatePending {
			n++
		}
	}
	return n, nil
}

// migrator works on a connection without a statement timeout, ours or the address's: an index may take long. The lock on Postgres is a row with a lease, not an
// advisory lock, so it works behind a pooler too; on SQLite it is a file.
func (db *DB) migrator() (p *goose.Provider, done func(), err error) {
	dir, kind := "migrations/sqlite", goose.DialectSQLite3
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger())}
	pool := db.pools[0]
	done = func() {}
	if db.dialect == postgres {
		dir, kind = "migrations/postgres", goose.DialectPostgres
		c, err := pgConfig(db.url)
		if err != nil {
			return nil, nil, err
		}
		delete(c.ConnConfig.RuntimeParams, "statement_timeout")
		setDefault(c.ConnConfig.RuntimeParams, "lock_timeout", "1000") // a lock that waits makes everybody wait behind it
		pool = stdlib.OpenDB(*c.ConnConfig)
		done = func() { pool.Close() }
		locker, err := lock.NewPostgresTableLocker(lock.WithTableLockTimeout(100*time.Millisecond, 3000),
			lock.WithTableUnlockTimeout(100*time.Millisecond, 100))
		if err != nil {
			done()
			return nil, nil, err
		}
		options = append(options, goose.WithLocker(locker))
	}
	sub, err := fs.Sub(migrations, dir)
	if err == nil {
		p, err = goose.NewProvider(kind, pool, sub, options...)
	}
	if err != nil {
		done()
		return nil, nil, fmt.Errorf("storage: migrations: %w", err)
	}
	return p, done, nil
}
