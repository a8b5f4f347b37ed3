package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/gorm"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/secret"
)

// mostTries bounds how often a transaction that lost is run again.
const mostTries = 8

// txKey keeps the transactions of several databases in one ctx apart.
type txKey struct{ db *DB }

// tx is a transaction under way, carried privately in ctx.
type tx struct {
	gormConn                            // on the transaction's own connection
	pipe     *pipe                      // Postgres; nil on SQLite
	made     map[account.ID]*secret.Box // person keys that exist only if this commits
	after    []func()
}

func (db *DB) tx(ctx context.Context) *tx {
	t, _ := ctx.Value(txKey{db}).(*tx)
	return t
}

// Atomically runs fn in one transaction, which the ctx it gets carries; a nested call joins. fn runs again when the
// transaction lost against another one (40001, 40P01, SQLITE_BUSY), so it does nothing that cannot be done twice and
// calls nobody outside. Inside, use only the ctx that fn gets: on SQLite there is one writing connection.
func (db *DB) Atomically(ctx context.Context, fn func(context.Context) error) error {
	if db.tx(ctx) != nil {
		return fn(ctx)
	}
	return explain("transaction", retry(ctx, func() error { return db.once(ctx, fn) }))
}

// retry runs fn again while it lost against another, after waits that grow and are jittered so that rivals part.
func retry(ctx context.Context, fn func() error) error {
	for n := 1; ; n++ {
		err := fn()
		if err == nil || n == mostTries || !isRetryable(err) {
			return err
		}
		wait := time.NewTimer(time.Duration(rand.Int64N(int64(time.Millisecond) << n)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return err
		case <-wait.C:
		}
	}
}

// afterCommit runs fn when the transaction of ctx has committed, or now when there is none.
func (db *DB) afterCommit(ctx context.Context, fn func()) {
	if t := db.tx(ctx); t != nil {
		t.after = append(t.after, fn)
		return
	}
	fn()
}

func (db *DB) once(ctx context.Context, fn func(context.Context) error) (err error) {
	limit := 2 * patience
	if ctx.Value(patientKey{}) != nil {
		limit = time.Hour
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := &tx{}
	var end func(commit bool) error
	if db.dialect == sqlite {
		end, err = db.beginSQLite(ctx, t)
	} else {
		end, err = db.beginPostgres(ctx, t)
	}
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done { // fn panicked; the panic goes on
			_ = end(false)
		}
	}()
	err = fn(context.WithValue(ctx, txKey{db}, t))
	done = true
	if err != nil {
		return errors.Join(err, end(false))
	}
	if err := end(true); err != nil {
		return err
	}
	for id, box := range t.made {
		db.persons.put(id, box)
	}
	for _, fn := range t.after {
		fn()
	}
	return nil
}

func (db *DB) beginSQLite(ctx context.Context, t *tx) (func(bool) error, error) {
	g := db.write.WithContext(ctx).Begin()
	if g.Error != nil {
		return nil, g.Error
	}
	t.g = g
	return func(commit bool) error {
		if commit {
			return g.Commit().Error
		}
		if err := g.Rollback().Error; err != nil && !errors.Is(err, sql.ErrTxDone) {
			return err
		}
		return nil
	}, nil
}

// beginPostgres takes a connection out of the pool; BEGIN travels with the first statement.
func (db *DB) beginPostgres(ctx context.Context, t *tx) (func(bool) error, error) {
	c, err := db.pools[0].Conn(ctx)
	if err != nil {
		return nil, err
	}
	t.pipe = &pipe{}
	if err := c.Raw(func(raw any) error { t.pipe.c = raw.(*stdlib.Conn).Conn(); return nil }); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	t.g = db.write.Session(&gorm.Session{NewDB: true, Context: ctx})
	t.g.Statement.ConnPool = c
	return func(commit bool) error {
		var err error
		if commit {
			err = t.pipe.commit(ctx)
		}
		if !commit || err != nil {
			t.pipe.rollback()
		}
		return errors.Join(err, c.Close()) // back to the pool, which drops it if it is broken or still in a transaction
	}, nil
}

func (t *tx) exec(ctx context.Context, query string, args []any) (int64, error) {
	if t.pipe != nil {
		return t.pipe.exec(ctx, query, args)
	}
	return t.gormConn.exec(ctx, query, args)
}

func (t *tx) query(ctx context.Context, query string, args []any, each func(scan) error) error {
	if t.pipe != nil {
		return t.pipe.query(ctx, query, args, each)
	}
	return t.gormConn.query(ctx, query, args, each)
}

// session is gorm on the transaction's connection, with all that waits sent before.
func (t *tx) session(ctx context.Context) (*gorm.DB, error) {
	if t.pipe != nil {
		if err := t.pipe.flush(ctx); err != nil {
			return nil, err
		}
	}
	return t.g.WithContext(ctx), nil
}

// pipe is a Postgres transaction that saves round trips: BEGIN goes with the first statement, writes nobody waits for
// go with the next one, the last of them with COMMIT. Where nobody waits for anything there is neither: one message is one
// transaction (PostgreSQL, Extended Query: Pipelining).
type pipe struct {
	c     *pgx.Conn
	queue []queued
	begun bool
}

// queued is a write nobody waits for.
type queued struct {
	query  string
	args   []any
	insert *[mostTogether]string // of rows that others may join; see laterBeside
}

// exactlyOne makes a write that changes no row fail at the server (division by zero), so that the COMMIT that travels
// with it does not happen. See explain.
func exactlyOne(query string) string {
	return "WITH changed AS (" + query + " RETURNING 1) SELECT 1 / COUNT(*) FROM changed"
}

// batch holds BEGIN, if it is still owed, and the queue, whose answers are to be read first.
func (p *pipe) batch() (b *pgx.Batch, ahead int) {
	b = &pgx.Batch{}
	if !p.begun {
		b.Queue("BEGIN")
	}
	p.begun = true
	return p.batchOf(b)
}

// batchOf adds the queue.
func (p *pipe) batchOf(b *pgx.Batch) (*pgx.Batch, int) {
	for _, q := range p.queue {
		b.Queue(numbered(q.query), q.args...)
	}
	p.queue = nil
	return b, b.Len()
}

// do runs one round trip. The ctx only says whether the caller is still there: see bounded.
func (p *pipe) do(ctx context.Context, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return bounded(p.c, func() error { return fn(context.Background()) })
}

func (p *pipe) direct() bool { return p.begun && len(p.queue) == 0 }

func (p *pipe) flush(ctx context.Context) error {
	if p.direct() {
		return nil
	}
	return p.do(ctx, func(ctx context.Context) error {
		b, ahead := p.batch()
		r := p.c.SendBatch(ctx, b)
		return errors.Join(skip(r, ahead), r.Close())
	})
}

func (p *pipe) exec(ctx context.Context, query string, args []any) (n int64, err error) {
	err = p.do(ctx, func(ctx context.Context) error {
		if p.direct() {
			tag, err := p.c.Exec(ctx, numbered(query), args...)
			n = tag.RowsAffected()
			return err
		}
		b, ahead := p.batch()
		b.Queue(numbered(query), args...)
		r := p.c.SendBatch(ctx, b)
		if err := skip(r, ahead); err != nil {
			return errors.Join(err, r.Close())
		}
		tag, err := r.Exec()
		n = tag.RowsAffected()
		return errors.Join(err, r.Close())
	})
	return n, err
}

func (p *pipe) query(ctx context.Context, query string, args []any, each func(scan) error) error {
	return p.do(ctx, func(ctx context.Context) error {
		if p.direct() {
			rows, err := p.c.Query(ctx, numbered(query), args...)
			if err != nil {
				return err
			}
			return drain(rows, each)
		}
		b, ahead := p.batch()
		b.Queue(numbered(query), args...)
		r := p.c.SendBatch(ctx, b)
		if err := skip(r, ahead); err != nil {
			return errors.Join(err, r.Close())
		}
		rows, err := r.Query()
		if err == nil {
			err = drain(rows, each)
		}
		return errors.Join(err, r.Close())
	})
}

func (p *pipe) commit(ctx context.Context) error {
	if !p.begun && len(p.queue) == 0 {
		return nil // nothing was asked
	}
	return p.do(ctx, func(ctx context.Context) error {
		if !p.begun { // all of it is sent at once: without BEGIN it is one transaction too, from one Sync to the next
			b, all := p.batchOf(&pgx.Batch{})
			r := p.c.SendBatch(ctx, b)
			return errors.Join(skip(r, all), r.Close())
		}
		if p.direct() {
			tag, err := p.c.Exec(ctx, "COMMIT")
			return committed(tag.String(), err)
		}
		b, ahead := p.batch()
		b.Queue("COMMIT")
		r := p.c.SendBatch(ctx, b)
		if err := skip(r, ahead); err != nil {
			return errors.Join(err, r.Close())
		}
		tag, err := r.Exec()
		return committed(tag.String(), errors.Join(err, r.Close()))
	})
}

// committed finds a COMMIT of a failed transaction, which Postgres answers with ROLLBACK and no error.
func committed(tag string, err error) error {
	if err == nil && tag != "COMMIT" {
		return fmt.Errorf("the transaction ended with %s", tag)
	}
	return err
}

// rollback needs no answer: a connection that cannot take it is dropped by the pool.
func (p *pipe) rollback() {
	if !p.begun || p.c.IsClosed() || p.c.PgConn().TxStatus() == 'I' {
		return
	}
	_ = bounded(p.c, func() error {
		_, err := p.c.Exec(context.Background(), "ROLLBACK")
		return err
	})
}

func skip(r pgx.BatchResults, n int) error {
	for range n {
		if _, err := r.Exec(); err != nil {
			return err
		}
	}
	return nil
}

func drain(rows pgx.Rows, each func(scan) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := each(rows.Scan); err != nil {
			return err
		}
	}
	rows.Close()
	return rows.Err()
}

type patientKey struct{}

// Patient returns a ctx whose transactions may take an hour instead of 8 s: for commands that import files, never for requests.
func Patient(ctx context.Context) context.Context {
	return context.WithValue(ctx, patientKey{}, true)
}
