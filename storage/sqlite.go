package storage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	sqlite3 "github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/gormlite"
	"gorm.io/gorm"
)

// openSQLite opens one writing connection and some that can only read. Writers queue in this process for the one
// connection and, against other processes, for BEGIN IMMEDIATE, so no transaction ever finds its snapshot stale.
func (db *DB) openSQLite(ctx context.Context, readers int) error {
	if db.path == "" || strings.HasPrefix(db.path, ":") {
		return fmt.Errorf("storage: %q is no file: the data must outlive the process", db.path)
	}
	abs, err := filepath.Abs(db.path)
	if err != nil {
		return err
	}
	db.path = abs
	f, err := os.OpenFile(db.path, os.O_CREATE|os.O_RDWR, 0o600) // never wider, whatever the umask
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if readers <= 0 {
		readers = 4
	}
	common := "modeof=" + strings.ReplaceAll(url.QueryEscape(db.path), "+", "%20") + "&_pragma=busy_timeout(5000)"
	db.write, err = db.sqlitePool(ctx, common+"&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_txlock=immediate", 1)
	if err != nil {
		return err
	}
	if db.read, err = db.sqlitePool(ctx, common+"&_pragma=query_only(1)", readers); err != nil {
		return err
	}
	var tables int64
	if err := db.row(ctx, "open", "SELECT COUNT(*) FROM sqlite_master", nil, into(&tables)); err != nil {
		return err
	}
	return os.Chmod(db.path+"-shm", 0o600) // page numbers only, but nobody else's business; modeof sees to the log
}

func (db *DB) sqlitePool(ctx context.Context, query string, n int) (*gorm.DB, error) {
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: db.path}).EscapedPath(), RawQuery: query}).String()
	c, err := (&sqlite3.SQLite{}).OpenConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	pool := sql.OpenDB(preparing{c})
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
	db.pools = append(db.pools, pool)
	if err := pool.PingContext(ctx); err != nil {
		return nil, fmt.Errorf("storage: open %s: %w", db.path, err)
	}
	return gorm.Open(gormlite.OpenDB(pool), gormConfig())
}

// preparing keeps the prepared statements of each connection, since to parse a statement takes SQLite longer than to
// run it. database/sql's own cache cannot: a statement prepared inside a transaction dies with it.
type preparing struct{ driver.Connector }

func (p preparing) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &preparingConn{Conn: c.(sqlite3.Conn), kept: map[string]*keptStmt{}}, nil
}

// mostKept bounds the statements of a connection; the program has fewer, but lists of names vary in length.
const mostKept = 256

type preparingConn struct {
	sqlite3.Conn
	kept map[string]*keptStmt
}

func (c *preparingConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if s := c.kept[query]; s != nil && !s.busy {
		s.busy = true
		return s, nil
	}
	s, err := c.Conn.PrepareContext(ctx, query)
	if err != nil || c.kept[query] != nil || len(c.kept) >= mostKept {
		return s, err
	}
	k := &keptStmt{Stmt: s, busy: true}
	c.kept[query] = k
	return k, nil
}

// ExecContext passes statements without arguments (PRAGMA, scripts of several) straight on.
func (c *preparingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if len(args) > 0 {
		return nil, driver.ErrSkip
	}
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

func (c *preparingConn) Close() error {
	for _, s := range c.kept {
		s.Stmt.Close()
	}
	return c.Conn.Close()
}

// keptStmt survives its Close. A connection serves one caller at a time, so busy needs no lock.
type keptStmt struct {
	driver.Stmt
	busy bool
}

func (s *keptStmt) Close() error { s.busy = false; return nil }

func (s *keptStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
}

func (s *keptStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

func (s *keptStmt) CheckNamedValue(v *driver.NamedValue) error {
	return s.Stmt.(driver.NamedValueChecker).CheckNamedValue(v)
}
