package storage

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errLocked says that another process holds a lock file.
var errLocked = errors.New("locked by another process")

// Exclusive makes this process the one server of a SQLite file, by a lock file beside it that the system releases
// however the process ends. Other commands do not ask for it and work beside the server. On Postgres any number serve.
func (db *DB) Exclusive() (release func(), err error) {
	if db.dialect == postgres {
		return func() {}, nil
	}
	release, err = lockFile(db.path + ".serve")
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("storage: another kapi serve works on %s; for several servers use Postgres", db.path)
	}
	return release, err
}

// migrationLock keeps two processes from migrating one SQLite file at once; on Postgres goose has a lock of its own.
func (db *DB) migrationLock(ctx context.Context) (release func(), err error) {
	if db.dialect == postgres {
		return func() {}, nil
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		release, err = lockFile(db.path + ".migrate")
		if !errors.Is(err, errLocked) {
			return release, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("storage: wait for another migration: %w", ctx.Err())
		case <-tick.C:
		}
	}
}
