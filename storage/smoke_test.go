package storage

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/testpg"
)

func TestSmoke(t *testing.T) {
	ctx := context.Background()
	for _, url := range []string{"sqlite:" + filepath.Join(t.TempDir(), "x.db"), testpg.URL(t)} {
		db, err := Open(ctx, Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		s := time.Now()
		if err := db.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		t.Log(time.Since(s))
		if n, err := db.Pending(ctx); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		db.Unlock(secret.Ephemeral())
	}
}
