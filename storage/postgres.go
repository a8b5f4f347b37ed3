package storage

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	pgdriver "gorm.io/driver/postgres"
	"gorm.io/gorm"
)

// pgConfig reads the URL and hides it from errors, which would print the password.
func pgConfig(url string) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("storage: the postgres URL cannot be read")
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 3 * time.Second
	}
	setDefault(c.RuntimeParams, "application_name", "kapi")
	return c, nil
}

func setDefault(m map[string]string, key, value string) {
	if _, ok := m[key]; !ok {
		m[key] = value
	}
}

// openPostgres opens the pool. The settings are start parameters, so that they need no round trip; what the URL says
// stands. Plans are generic: all statements find their rows by key, and planning would cost more than running.
func (db *DB) openPostgres(ctx context.Context, conns int) error {
	c, err := pgConfig(db.url)
	if err != nil {
		return err
	}
	if conns <= 0 {
		conns = 20
	}
	setDefault(c.RuntimeParams, "statement_timeout", strconv.FormatInt(statementTimeout.Milliseconds(), 10))
	setDefault(c.RuntimeParams, "idle_in_transaction_session_timeout", "10000")
	setDefault(c.RuntimeParams, "plan_cache_mode", "force_generic_plan")
	setDefault(c.RuntimeParams, "jit", "off")
	pool := stdlib.OpenDB(*c)
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	pool.SetConnMaxLifetime(time.Hour) // finds a new primary's replicas, spreads after a restart
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
