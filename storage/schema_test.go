package storage

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gorm.io/gorm/schema"

	"github.com/kapi-id/kapi/internal/testpg"
)

// opened is a migrated database of each kind.
func opened(t *testing.T) map[string]*DB {
	t.Helper()
	out := map[string]*DB{}
	for name, url := range map[string]string{"sqlite": "sqlite:" + filepath.Join(t.TempDir(), "kapi ?&+=#%.db"), "postgres": testpg.URL(t)} {
		db, err := Open(context.Background(), Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		if err := db.Migrate(context.Background()); err != nil {
			t.Fatal(err)
		}
		out[name] = db
	}
	return out
}

// TestModelsMatchSchema: every gorm model has exactly the columns of its migrated table.
func TestModelsMatchSchema(t *testing.T) {
	for name, db := range opened(t) {
		for _, model := range []schema.Tabler{wrappedKey{}, accountRow{}, clientRow{}, signingKey{}} {
			stmt := db.read.Model(model).Statement
			if err := stmt.Parse(model); err != nil {
				t.Fatal(err)
			}
			types, err := db.read.Migrator().ColumnTypes(model)
			if err != nil {
				t.Fatal(err)
			}
			var have []string
			for _, c := range types {
				have = append(have, c.Name())
				if nullable, ok := c.Nullable(); ok && nullable {
					t.Errorf("%s: %s.%s may be NULL, the model's field cannot", name, model.TableName(), c.Name())
				}
			}
			want := slices.Clone(stmt.Schema.DBNames)
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) {
				t.Errorf("%s: %s has columns %v, the model %v", name, model.TableName(), have, want)
			}
		}
	}
}

// TestDialectsAgree: both databases have the same tables, columns and keys.
func TestDialectsAgree(t *testing.T) {
	ctx := context.Background()
	describe := map[string]string{
		"sqlite": `SELECT m.name || '.' || c.name || CASE c.type WHEN 'INTEGER' THEN ' number' WHEN 'BLOB' THEN ' bytes' ELSE ' text' END || CASE WHEN c."notnull" = 0 THEN ' null' ELSE '' END
			FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE 'goose%'
			UNION ALL SELECT 'index ' || name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL`,
		"postgres": `SELECT table_name || '.' || column_name || CASE data_type WHEN 'bigint' THEN ' number' WHEN 'bytea' THEN ' bytes' ELSE ' text' END || CASE is_nullable WHEN 'YES' THEN ' null' ELSE '' END
			FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE 'goose%'
			UNION ALL SELECT 'index ' || indexname FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%\_pkey' AND tablename NOT LIKE 'goose%'`,
	}
	found := map[string]map[string]bool{}
	for name, db := range opened(t) {
		found[name] = map[string]bool{}
		if err := db.rows(ctx, "describe", describe[name], nil, func(s scan) error {
			var line string
			err := s(&line)
			found[name][line] = true
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if len(found["sqlite"]) < 150 {
		t.Errorf("only %d columns and indexes seen", len(found["sqlite"]))
	}
	for line := range found["sqlite"] {
		if !found["postgres"][line] {
			t.Errorf("only sqlite: %s", line)
		}
	}
	for line := range found["postgres"] {
		if !found["sqlite"][line] {
			t.Errorf("only postgres: %s", line)
		}
	}
}

// TestPlainSQL: nothing in the migrations that a distributed database that speaks Postgres would refuse.
func TestPlainSQL(t *testing.T) {
	files, err := migrations.ReadDir("migrations/postgres")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := migrations.ReadFile("migrations/postgres/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(strings.ToUpper(string(text)), "\n") {
			line, _, _ = strings.Cut(line, "--")
			for _, word := range []string{"SERIAL", "SEQUENCE", "TRIGGER", "FUNCTION", "PLPGSQL", "REFERENCES", "DEFERRABLE", "ADVISORY", "UNLOGGED", "BRIN", "NOW()", "TIMESTAMP"} {
				if strings.Contains(line, word) {
					t.Errorf("%s:%d uses %s", f.Name(), n+1, word)
				}
			}
		}
		if _, err := migrations.ReadFile("migrations/sqlite/" + f.Name()); err != nil {
			t.Errorf("%s has no twin for sqlite", f.Name())
		}
	}
}

// TestHotStatementsUseIndexes: no statement of a hot path walks a table.
func TestHotStatementsUseIndexes(t *testing.T) {
	db := opened(t)["sqlite"]
	for what, query := range map[string]string{
		"living":      livingQuery,
		"code":        "UPDATE grants SET redeemed_at = 1 WHERE code = ? AND redeemed_at = 0 AND " + standing,
		"session":     sessionByToken,
		"sessions of": "SELECT id FROM sessions WHERE account_id = ? AND ended_at = 0",
		"grants of":   "UPDATE grants SET revoked_at = ? WHERE session_id = ? AND revoked_at = 0",
		"transaction": transactionQuery,
		"claim":       claimQuery + claimReturning,
		"ticket":      "SELECT id FROM tickets WHERE binding = ? AND factor = ? AND purpose = ? AND used_at = 0",
		"due":         "SELECT id FROM outbox WHERE closed_at = 0 AND due_at <= ? ORDER BY due_at, id LIMIT ?",
		"credentials": allCredentials,
		"number":      "SELECT account_id FROM people WHERE national_id = ?",
		"events":      "SELECT id FROM audit_log WHERE subject = ? AND at < ? ORDER BY at DESC, id DESC LIMIT ?",
	} {
		args := make([]any, strings.Count(query, "?"))
		for i := range args {
			args[i] = int64(1)
		}
		seen := 0
		if err := db.rows(context.Background(), "explain", "EXPLAIN QUERY PLAN "+query, args, func(s scan) error {
			var a, b, c int64
			var line string
			seen++
			err := s(&a, &b, &c, &line)
			if strings.HasPrefix(line, "SCAN") {
				t.Errorf("%s: %s", what, line)
			}
			return err
		}); err != nil || seen == 0 {
			t.Fatalf("%s: %d lines, %v", what, seen, err)
		}
	}
}
