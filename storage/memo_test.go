package storage_test

import (
	"context"
	"testing"

	"github.com/kapi-id/kapi/storage"
	"github.com/kapi-id/kapi/storage/storagetest"
)

func TestRemember(t *testing.T) {
	db := storagetest.SQLite(t)
	r := storagetest.Person(t, db)
	ctx, count := storage.CountStatements(storage.Remember(t.Context()))
	for range 3 {
		if _, err := db.Account(ctx, r.Account.ID); err != nil {
			t.Fatal(err)
		}
		if c, err := db.Contacts(ctx, r.Account.ID); err != nil || c.Phone.Number != r.Contacts.Phone.Number {
			t.Fatalf("%+v %v", c, err)
		}
	}
	if n := count.Reads.Load(); n != 1 {
		t.Errorf("%d reads of one account in one request", n)
	}
	// What the request changes is read anew, and a transaction sees what stands.
	a, _ := db.Account(ctx, r.Account.ID)
	a.TwoFactor = !a.TwoFactor
	if err := db.UpdateAccount(ctx, a); err != nil {
		t.Fatal(err)
	}
	if again, err := db.Account(ctx, a.ID); err != nil || again.TwoFactor != a.TwoFactor || again.Version == a.Version {
		t.Errorf("remembers what was changed: %+v %v", again, err)
	}
	count.Reset()
	if err := db.Atomically(ctx, func(ctx context.Context) error { _, err := db.Account(ctx, a.ID); return err }); err != nil {
		t.Fatal(err)
	}
	if count.Reads.Load() != 1 {
		t.Error("a transaction was answered from memory")
	}
	if _, err := db.Account(context.Background(), a.ID); err != nil {
		t.Error(err)
	}
}
