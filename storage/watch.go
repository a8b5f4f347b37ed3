package storage

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// Topics of Watch.
const (
	TopicClients     = "clients"
	TopicSigningKeys = "signing_keys"
)

// How often the counters of changes are read. Notifications on Postgres only make it sooner, so that one that is lost
// loses nothing.
const (
	pollSQLite    = 500 * time.Millisecond
	pollListening = 5 * time.Second
	pollDeaf      = time.Second // Postgres, while nothing can be heard
)

const channel = "kapi_changes"

// changed raises the topic's counter in the transaction of ctx and tells everybody when it has committed.
func (db *DB) changed(ctx context.Context, topic string) error {
	if err := db.later(ctx, "raise change counter", "UPDATE changes SET version = version + 1 WHERE topic = ?", topic); err != nil {
		return err
	}
	db.afterCommit(ctx, func() {
		db.watchers.Range(func(w, _ any) bool { w.(*watcher).look(); return true })
		if db.dialect == postgres { // best effort: what speaks Postgres but cannot notify is polled
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := db.write.WithContext(ctx).Exec("NOTIFY " + channel).Error; err != nil {
				db.log.Debug("storage: notify", "error", err)
			}
		}
	})
	return nil
}

type watcher struct {
	wake      chan struct{}
	listening atomic.Bool
}

// look makes the watcher read the counters now; it never blocks.
func (w *watcher) look() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Watch calls fn with each topic at the start and whenever a process has changed something of it, until ctx ends. A
// change is told at the latest after a second (5 s where Postgres notifies), once or more often. fn must not block long.
func (db *DB) Watch(ctx context.Context, fn func(topic string)) {
	w := &watcher{wake: make(chan struct{}, 1)}
	db.watchers.Store(w, struct{}{})
	defer db.watchers.Delete(w)
	if db.dialect == postgres {
		done := make(chan struct{})
		go func() { defer close(done); db.listen(ctx, w) }()
		defer func() { <-done }()
	}
	seen := map[string]int64{}
	for ctx.Err() == nil {
		if err := db.readChanges(ctx, seen, fn); err != nil && ctx.Err() == nil {
			db.log.Warn("storage: watch", "error", err)
		}
		wait := pollSQLite
		switch {
		case db.dialect == postgres && w.listening.Load():
			wait = pollListening
		case db.dialect == postgres:
			wait = pollDeaf
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// readChanges tells fn the topics whose counter is not the one seen.
func (db *DB) readChanges(ctx context.Context, seen map[string]int64, fn func(string)) error {
	type change struct {
		Topic   string
		Version int64
	}
	var now []change
	err := db.conn(ctx, true).query(ctx, "SELECT topic, version FROM changes", nil, func(s scan) error {
		var c change
		err := s(&c.Topic, &c.Version)
		now = append(now, c)
		return err
	})
	if err != nil {
		return explain("read change counters", err)
	}
	for _, c := range now {
		if old, known := seen[c.Topic]; !known || old != c.Version {
			seen[c.Topic] = c.Version
			fn(c.Topic)
		}
	}
	return nil
}

// listen holds a connection of its own on which Postgres tells of changes; it comes back by itself.
func (db *DB) listen(ctx context.Context, w *watcher) {
	for ctx.Err() == nil {
		err := db.hear(ctx, w)
		w.listening.Store(false)
		if ctx.Err() != nil {
			return
		}
		db.log.Warn("storage: not listening, polling instead", "error", err)
		pause := time.NewTimer(2 * time.Second)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

func (db *DB) hear(ctx context.Context, w *watcher) error {
	config, err := pgConfig(db.url)
	if err != nil {
		return err
	}
	c, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	}()
	if _, err := c.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	w.listening.Store(true)
	for {
		w.look() // after (re)connecting too: what was told in between was lost
		if _, err := c.WaitForNotification(ctx); err != nil {
			return err
		}
	}
}
