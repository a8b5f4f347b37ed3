package storagetest

import (
	"testing"

	"github.com/kapi-id/kapi/internal/testpg"
)

func TestSQLite(t *testing.T) { Run(t, SQLiteURL) }

func TestPostgres(t *testing.T) { Run(t, testpg.URL) }
