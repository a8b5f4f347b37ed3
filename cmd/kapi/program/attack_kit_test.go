package program_test

import (
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// both runs a test with two replicas on one Postgres and with one server on SQLite.
func both(t *testing.T, test func(t *testing.T, k *testkapi.Kapi)) {
	t.Parallel()
	for _, o := range []testkapi.Options{{Replicas: 2}, {}} {
		if o.Replicas == 0 {
			k := testkapi.Start(t, o)
			k.People(people)
			test(t, k)
			return
		}
		testkapi.Each(t, o, func(t *testing.T, k *testkapi.Kapi) {
			k.People(people)
			test(t, k)
		})
	}
}

// owner is the database as its owner reaches it, beside Kapi.
func owner(t testing.TB, k *testkapi.Kapi) *sql.DB {
	t.Helper()
	driver, address := "pgx", k.Settings.Database
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		driver, address = "sqlite3", "file:"+path+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxIdleConns(0) // some tests ask for an owner hundreds of times, and all tests share the connections of one server
	t.Cleanup(func() { db.Close() })
	return db
}

// must runs one statement as the owner.
func must(t testing.TB, db *sql.DB, query string) (changed int64) {
	t.Helper()
	r, err := db.ExecContext(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	n, err := r.RowsAffected()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// one reads one value as the owner.
func one[T any](t testing.TB, db *sql.DB, query string) (v T) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}

// refreshing is a client that gets refresh tokens.
func refreshing(k *testkapi.Kapi, id string) *testkapi.RP {
	rp := k.RP(id, map[string]any{"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid profile offline_access"})
	rp.OAuth.Scopes = []string{"openid", "profile", "offline_access"}
	return rp
}

// refresh asks with a refresh token.
func refresh(t testing.TB, k *testkapi.Kapi, rp *testkapi.RP, token string) reply {
	return machinePost(t, k, rp, "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}

// at sends all requests of fn to one replica.
func at(k *testkapi.Kapi, replica int, fn func()) {
	before := k.Pick
	k.Pick = func(*http.Request) int { return replica }
	fn()
	k.Pick = before
}

// everywhere runs fn once for each replica, which answers it.
func everywhere(k *testkapi.Kapi, fn func(replica int)) {
	for i := range k.Replicas {
		at(k, i, func() { fn(i) })
	}
}

// oauthError is the error member of an answer, "" if there is none.
func oauthError(r reply) string {
	_, rest, ok := strings.Cut(r.Body, `"error":"`)
	if !ok {
		return ""
	}
	code, _, _ := strings.Cut(rest, `"`)
	return code
}

// jsonOf reads a JSON object.
func jsonOf(t testing.TB, text string) (m map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return m
}

// segment decodes a part of a JWT.
func segment(t testing.TB, jwt string, i int) []byte {
	t.Helper()
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts of a JWT", len(parts))
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[i])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sealAll waits until all that was recorded is chained and its head is anchored. The server does both by itself, beside
// the requests; the clock of the test brings the anchor's minute along.
func sealAll(t testing.TB, k *testkapi.Kapi) {
	t.Helper()
	db := owner(t, k)
	k.Clock.Add(61 * time.Second)
	eventually(t, "the record is chained and anchored", func() bool {
		head := one[int64](t, db, "SELECT COALESCE(MAX(seq), 0) FROM audit_log")
		anchor, _ := os.ReadFile(k.Settings.AuditAnchor)
		return head > 0 && one[int64](t, db, "SELECT COUNT(*) FROM audit_pending") == 0 && strings.Contains(string(anchor), fmt.Sprintf("v1 %d ", head))
	})
}

// eventually waits for what another goroutine or process does beside the test; it gives up after 60 s of real time.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for range 6000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// failpoint lets every INSERT, UPDATE or DELETE on a table fail inside the database, until the returned function heals it.
func failpoint(t testing.TB, k *testkapi.Kapi, db *sql.DB, op, table string) (heal func()) {
	t.Helper()
	name := "fail_" + strings.ToLower(op) + "_" + table
	if strings.HasPrefix(k.Settings.Database, "sqlite:") {
		must(t, db, "CREATE TRIGGER "+name+" BEFORE "+op+" ON "+table+" BEGIN SELECT RAISE(ABORT, 'failpoint'); END")
		return func() { must(t, db, "DROP TRIGGER "+name) }
	}
	must(t, db, "CREATE OR REPLACE FUNCTION failpoint() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''failpoint''; END'")
	must(t, db, "CREATE TRIGGER "+name+" BEFORE "+op+" ON "+table+" FOR EACH ROW EXECUTE FUNCTION failpoint()")
	return func() { must(t, db, "DROP TRIGGER "+name+" ON "+table) }
}
