package storage

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
)

// childEnv names the file a child process of TestO10 writes to.
const childEnv = "KAPI_STORAGE_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := writeForever(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeForever acknowledges each value on its output once it is stored.
func writeForever(path string) error {
	ctx := context.Background()
	db, err := Open(ctx, Config{URL: "sqlite:" + path})
	if err != nil {
		return err
	}
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	db.Unlock(secret.Ephemeral())
	for i := 0; ; i++ {
		value := fmt.Sprintf("%d-%d", os.Getpid(), i)
		err := db.Atomically(ctx, func(ctx context.Context) error {
			return errors.Join(db.UseOnce(ctx, "a", secret.Hash(value), time.Unix(1, 0)), db.UseOnce(ctx, "b", secret.Hash(value), time.Unix(1, 0)))
		})
		if err != nil {
			return err
		}
		fmt.Println(value)
	}
}

// TestO10_KilledWriter: kill -9 at any moment loses nothing that was acknowledged, leaves no half of a transaction and no
// damage, and needs no repair by hand.
func TestO10_KilledWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kapi.db")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var acknowledged []string
	for round := range 12 {
		child := exec.Command(self)
		child.Env = append(os.Environ(), childEnv+"="+path)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n < 3+7*round && lines.Scan(); n++ {
			acknowledged = append(acknowledged, lines.Text())
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it still said before it died counts too; a pipe takes short lines whole
			acknowledged = append(acknowledged, lines.Text())
		}
		_ = child.Wait()
	}
	ctx := context.Background()
	db, err := Open(ctx, Config{URL: "sqlite:" + path})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.row(ctx, "check", "PRAGMA integrity_check", nil, into(&verdict)); err != nil || verdict != "ok" {
		t.Errorf("integrity: %s %v", verdict, err)
	}
	var a, b int64
	if err := db.row(ctx, "count", "SELECT COUNT(CASE kind WHEN 'a' THEN 1 END), COUNT(CASE kind WHEN 'b' THEN 1 END) FROM used_once", nil, into(&a, &b)); err != nil || a != b || a < int64(len(acknowledged)) {
		t.Errorf("%d and %d stored, %d acknowledged: %v", a, b, len(acknowledged), err)
	}
	if len(acknowledged) < 12*3 {
		t.Fatalf("only %d acknowledged", len(acknowledged))
	}
	for _, value := range acknowledged {
		if err := db.UseOnce(ctx, "a", secret.Hash(value), time.Unix(1, 0)); !errors.Is(err, fault.ErrConflict) {
			t.Fatalf("%s was acknowledged and is gone: %v", value, err)
		}
	}
}

// TestNewerSchema: the program of the release before works on a schema that is newer, and leaves it alone.
func TestNewerSchema(t *testing.T) {
	for name, db := range opened(t) {
		ctx := context.Background()
		if err := db.write.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, " + map[string]string{"sqlite": "1", "postgres": "true"}[name] + ")").Error; err != nil {
			t.Fatal(err)
		}
		if n, err := db.Pending(ctx); err != nil || n != 0 {
			t.Errorf("%s: %d pending, %v", name, n, err)
		}
		if err := db.Migrate(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := db.Ready(ctx, time.Unix(1, 0)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
