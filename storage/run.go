package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gorm.io/gorm"

	"github.com/kapi-id/kapi/internal/fault"
)

// scan reads the columns of one row in order.
type scan func(dest ...any) error

// conn is where statements go: the pool, or the transaction that ctx carries. Placeholders are "?" on both databases.
type conn interface {
	exec(ctx context.Context, query string, args []any) (int64, error)
	query(ctx context.Context, query string, args []any, each func(scan) error) error
}

// exec runs one write and returns how many rows it changed.
func (db *DB) exec(ctx context.Context, op, query string, args ...any) (n int64, err error) {
	db.count(ctx, false)
	err = db.alone(ctx, func() error {
		n, err = db.conn(ctx, false).exec(ctx, query, args)
		return err
	})
	return n, explain(op, err)
}

// later is exec for a write whose outcome nobody asks for: inside a transaction on Postgres it travels with the next
// statement or with COMMIT, and so does its error.
func (db *DB) later(ctx context.Context, op, query string, args ...any) error {
	if t := db.tx(ctx); t != nil && t.pipe != nil {
		db.count(ctx, false)
		t.pipe.queue = append(t.pipe.queue, queued{query: query, args: args})
		return nil
	}
	_, err := db.exec(ctx, op, query, args...)
	return err
}

// laterOne is later for a write that must change one row: fault.ErrConflict, now or with the transaction, if it does not.
func (db *DB) laterOne(ctx context.Context, op, query string, args ...any) error {
	if t := db.tx(ctx); t != nil && t.pipe != nil {
		db.count(ctx, false)
		t.pipe.queue = append(t.pipe.queue, queued{query: exactlyOne(query), args: args})
		return nil
	}
	return one(db.exec(ctx, op, query, args...))
}

// mostTogether rows go with one insert.
const mostTogether = 4

// inserts are the statements that insert 1 to mostTogether rows.
func inserts(table, columns string, n int) *[mostTogether]string {
	var out [mostTogether]string
	for i := range out {
		out[i] = "INSERT INTO " + table + " (" + columns + ") VALUES " + strings.Repeat(", ("+marks(n)+")", i+1)[2:]
	}
	return &out
}

// laterBeside is later for one row of a table that gets several in one transaction: those that wait travel as one statement.
func (db *DB) laterBeside(ctx context.Context, op string, insert *[mostTogether]string, row []any) error {
	if t := db.tx(ctx); t != nil && t.pipe != nil {
		for i := range t.pipe.queue {
			q := &t.pipe.queue[i]
			if have := len(q.args) / len(row); q.insert == insert && have < mostTogether {
				q.query, q.args = insert[have], append(q.args, row...)
				return nil
			}
		}
		db.count(ctx, false)
		t.pipe.queue = append(t.pipe.queue, queued{insert[0], row, insert})
		return nil
	}
	return db.later(ctx, op, insert[0], row...)
}

// row runs a statement that gives one row; fault.ErrNotFound when it gives none. What begins with SELECT is a read.
func (db *DB) row(ctx context.Context, op, query string, args []any, each func(scan) error) error {
	found := false
	err := db.rows(ctx, op, query, args, func(s scan) error {
		found = true
		return each(s)
	})
	if err == nil && !found {
		return fault.ErrNotFound
	}
	return err
}

// rows runs a statement and gives each row to each.
func (db *DB) rows(ctx context.Context, op, query string, args []any, each func(scan) error) error {
	return db.rowsAfresh(ctx, op, query, args, nil, each)
}

// rowsAfresh is rows for a write that may be lost after its first rows were seen: afresh forgets them before it runs again.
func (db *DB) rowsAfresh(ctx context.Context, op, query string, args []any, afresh func(), each func(scan) error) error {
	read := isRead(query)
	db.count(ctx, read)
	delivered := false
	return explain(op, db.alone(ctx, func() error {
		switch {
		case delivered && afresh == nil:
			return fmt.Errorf("%s: rows were lost midway", op) // a second run would give the first rows twice
		case delivered:
			afresh()
		}
		return db.conn(ctx, read).query(ctx, query, args, func(s scan) error {
			delivered = true
			return each(s)
		})
	}))
}

// into is the each of a single row that is only scanned.
func into(dest ...any) func(scan) error { return func(s scan) error { return s(dest...) } }

func (db *DB) conn(ctx context.Context, read bool) conn {
	switch t := db.tx(ctx); {
	case t != nil:
		return t
	case db.pg != nil:
		return pgConn{db.pg}
	case read:
		return gormConn{db.read}
	}
	return gormConn{db.write}
}

// alone runs one statement again when it lost against another; inside a transaction the whole is run again instead.
func (db *DB) alone(ctx context.Context, fn func() error) error {
	if db.tx(ctx) != nil {
		return fn()
	}
	return retry(ctx, fn)
}

// model is a gorm session for the rows that are not on a hot path.
func (db *DB) model(ctx context.Context, read bool) (*gorm.DB, error) {
	db.count(ctx, read)
	if t := db.tx(ctx); t != nil {
		return t.session(ctx)
	}
	if read {
		return db.read.WithContext(ctx), nil
	}
	return db.write.WithContext(ctx), nil
}

// gormConn sends statements as they are over gorm's connection to SQLite. Its own Raw and Exec would rewrite them each
// time, and spread a hash after "(" into one value for each byte.
type gormConn struct{ g *gorm.DB }

func (c gormConn) exec(ctx context.Context, query string, args []any) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := c.g.Statement.ConnPool.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (c gormConn) query(ctx context.Context, query string, args []any, each func(scan) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	rows, err := c.g.Statement.ConnPool.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
