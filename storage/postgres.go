package storage

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	pgdriver "gorm.io/driver/postgres"
	"gorm.io/gorm"
)

// pgConfig reads the URL and hides it from errors, which would print the password.
func pgConfig(url string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("storage: the postgres URL cannot be read")
	}
	c := config.ConnConfig
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 3 * time.Second
	}
	setDefault(c.RuntimeParams, "application_name", "kapi")
	return config, nil
}

func setDefault(m map[string]string, key, value string) {
	if _, ok := m[key]; !ok {
		m[key] = value
	}
}

// openPostgres opens the pool. The settings are start parameters, so that they need no round trip; what the URL says
// stands. Plans are generic: all statements find their rows by key, and planning would cost more than running.
func (db *DB) openPostgres(ctx context.Context, conns int) error {
	config, err := pgConfig(db.url)
	if err != nil {
		return err
	}
	c := config.ConnConfig
	if conns <= 0 {
		conns = 20
	}
	setDefault(c.RuntimeParams, "statement_timeout", strconv.FormatInt(statementTimeout.Milliseconds(), 10))
	setDefault(c.RuntimeParams, "idle_in_transaction_session_timeout", "10000")
	setDefault(c.RuntimeParams, "plan_cache_mode", "force_generic_plan")
	// A plan that was made while a table was empty would scan it, and be kept while a large file of people fills it.
	setDefault(c.RuntimeParams, "enable_seqscan", "off")
	setDefault(c.RuntimeParams, "jit", "off")
	config.MaxConns = int32(conns)
	config.MaxConnLifetime, config.MaxConnLifetimeJitter = time.Hour, 5*time.Minute // finds a new primary, spreads after a restart
	config.MaxConnIdleTime = 5 * time.Minute
	if db.pg, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return errors.New("storage: the postgres URL cannot be used")
	}
	pool := stdlib.OpenDBFromPool(db.pg) // gorm and transactions take their connections from the same pool
	pool.SetMaxOpenConns(conns)
	db.pools = append(db.pools, pool)
	ping, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := pool.PingContext(ping); err != nil {
		return fmt.Errorf("storage: connect to postgres: %w", err)
	}
	db.write, err = gorm.Open(pgdriver.New(pgdriver.Config{Conn: pool}), gormConfig())
	db.read = db.write
	return err
}

// pgConn runs statements that stand alone, straight on the pool.
type pgConn struct{ pool *pgxpool.Pool }

func (c pgConn) with(ctx context.Context, fn func(*pgx.Conn) error) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	held, err := c.pool.Acquire(wait)
	cancel()
	if err != nil {
		return err
	}
	defer held.Release()
	return bounded(held.Conn(), func() error { return fn(held.Conn()) })
}

func (c pgConn) exec(ctx context.Context, query string, args []any) (n int64, err error) {
	err = c.with(ctx, func(c *pgx.Conn) error {
		tag, err := c.Exec(context.Background(), numbered(query), args...)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}

func (c pgConn) query(ctx context.Context, query string, args []any, each func(scan) error) error {
	return c.with(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(context.Background(), numbered(query), args...)
		if err != nil {
			return err
		}
		return drain(rows, each)
	})
}

// bounded runs fn under a deadline of the socket. A ctx that can be cancelled would cost a goroutine for each statement,
// and would throw the connection away whenever somebody closes a browser; the server's own limit ends the statement, and
// the socket's ends the wait for a server that is gone.
func bounded(c *pgx.Conn, fn func() error) error {
	socket := c.PgConn().Conn()
	if err := socket.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	err := fn()
	if c.IsClosed() {
		return err
	}
	return errors.Join(err, socket.SetDeadline(time.Time{}))
}
