package storage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/ncruces/go-sqlite3"
	"gorm.io/gorm"

	"github.com/kapi-id/kapi/internal/fault"
)

// explain turns a driver's error into a fault: no row, a taken key, a database that is down or too slow. Op names the
// statement for the log; values are never in it.
func explain(op string, err error) error {
	var known *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, sql.ErrNoRows), errors.Is(err, pgx.ErrNoRows), errors.Is(err, gorm.ErrRecordNotFound):
		return fault.ErrNotFound
	case isDuplicate(err), code(err) == "22012": // division_by_zero: exactlyOne changed none
		return fault.Wrap(fault.Conflict, "", fmt.Errorf("storage: %s: %w", op, err))
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("storage: %s: %w", op, err)
	case isRetryable(err), isUnavailable(err):
		return fault.Wrap(fault.Unavailable, "", fmt.Errorf("storage: %s: %w", op, err)).After(2 * time.Second)
	}
	return fmt.Errorf("storage: %s: %w", op, err)
}

// code is the SQLSTATE of a Postgres error, "" for any other.
func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

func isDuplicate(err error) bool {
	return errors.Is(err, gorm.ErrDuplicatedKey) ||
		errors.Is(err, sqlite3.CONSTRAINT_UNIQUE) || errors.Is(err, sqlite3.CONSTRAINT_PRIMARYKEY) ||
		code(err) == "23505"
}

// isRetryable says that the transaction lost against another one and did nothing: run it again.
func isRetryable(err error) bool {
	c := code(err)
	return c == "40001" || c == "40P01" || errors.Is(err, sqlite3.BUSY) // serialization_failure, deadlock_detected
}

// isUnavailable says that the database is down, full, overloaded or read-only.
func isUnavailable(err error) bool {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) { // whatever the server said when it refused: no statement was at fault
		return true
	}
	if c := code(err); c != "" {
		switch c {
		case "57014", // query_canceled: the statement timeout
			"55P03", // lock_not_available
			"25006": // read_only_sql_transaction: a demoted primary
			return true
		}
		class := c[:min(2, len(c))]
		return class == "08" || class == "53" || class == "57" || class == "58" // connection, resources, shutdown, system
	}
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, sqlite3.FULL) || errors.Is(err, sqlite3.IOERR) || errors.Is(err, sqlite3.READONLY) || errors.Is(err, sqlite3.INTERRUPT) ||
		strings.Contains(err.Error(), "conn closed")
}
