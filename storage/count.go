package storage

import (
	"context"
	"strings"
	"sync/atomic"
)

// Counter counts statements by what they do. BEGIN and COMMIT are not counted, and RETURNING is no read.
type Counter struct{ Reads, Writes atomic.Int64 }

// Statements is the sum.
func (c *Counter) Statements() int64 { return c.Reads.Load() + c.Writes.Load() }

// Reset starts again from zero.
func (c *Counter) Reset() { c.Reads.Store(0); c.Writes.Store(0) }

type counterKey struct{}

// CountStatements returns a ctx whose statements, on any DB, the counter counts. Config.Counter counts those of every
// ctx of one DB.
func CountStatements(ctx context.Context) (context.Context, *Counter) {
	c := &Counter{}
	return context.WithValue(ctx, counterKey{}, c), c
}

func (db *DB) count(ctx context.Context, read bool) {
	add := func(c *Counter) {
		if read {
			c.Reads.Add(1)
		} else {
			c.Writes.Add(1)
		}
	}
	if db.counter != nil {
		add(db.counter)
	}
	if c, ok := ctx.Value(counterKey{}).(*Counter); ok {
		add(c)
	}
}

func isRead(sql string) bool { return strings.HasPrefix(sql, "SELECT") }
