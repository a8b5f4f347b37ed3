package storagetest

import (
	"testing"

	"github.com/kapi-id/kapi/internal/testpg"
)

func TestSQLite(t *testing.T) { Run(t, SQLiteURL) }

func TestPostgres(t *testing.T) { Run(t, testpg.URL) }

// TestPostgresSerializable: a database that lets no anomaly pass asks for retries instead, as distributed ones do.
func TestPostgresSerializable(t *testing.T) {
	Run(t, func(tb testing.TB) string { return testpg.URL(tb) + "&default_transaction_isolation=serializable" })
}

// TestPostgresBehindPooler: a pooler in transaction mode forbids prepared statements.
func TestPostgresBehindPooler(t *testing.T) {
	Run(t, func(tb testing.TB) string { return testpg.URL(tb) + "&default_query_exec_mode=exec" })
}
