package storage_test

import (
	"context"
	"testing"

	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/storage"
	"github.com/kapi-id/kapi/storage/storagetest"
)

// What is read beside a person is not read again: the account with a sign-in or with a session.
func TestRememberBeside(t *testing.T) {
	db := storagetest.SQLite(t)
	r := storagetest.Person(t, db)
	s := storagetest.Session(t, db, r.Account.ID)
	tx := signin.New(signin.Ask{Client: "c"}, []byte("browser"), storagetest.Start)
	tx.Account = r.Account.ID
	if err := db.CreateTransaction(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	hash := []byte("token of this test")
	s.Version = 1
	if err := db.RotateSession(t.Context(), s, hash); err != nil {
		t.Fatal(err)
	}
	for what, read := range map[string]func(context.Context) error{
		"transaction": func(ctx context.Context) error { _, err := db.Transaction(ctx, tx.ID, storagetest.Start); return err },
		"session":     func(ctx context.Context) error { _, err := db.SessionByToken(ctx, hash); return err },
	} {
		ctx, count := storage.CountStatements(storage.Remember(t.Context()))
		if err := read(ctx); err != nil {
			t.Fatal(what, err)
		}
		a, err := db.Account(ctx, r.Account.ID)
		plain, _ := db.Account(t.Context(), r.Account.ID)
		if err != nil || a != plain || count.Reads.Load() != 1 {
			t.Errorf("%s: %+v, stored %+v; %d reads, %v", what, a, plain, count.Reads.Load(), err)
		}
		if c, err := db.Contacts(ctx, a.ID); err != nil || c.Phone.Number != r.Contacts.Phone.Number || count.Reads.Load() != 1 {
			t.Errorf("%s: contacts %+v %v", what, c, err)
		}
	}
}

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
