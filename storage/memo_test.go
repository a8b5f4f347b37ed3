package storage_test

import (
	"context"
	"testing"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/storage"
	"github.com/kapi-id/kapi/storage/storagetest"
)

// What is read beside a person is not read again: the account with a sign-in or with a session, the credentials of all factors at once.
func TestRememberBeside(t *testing.T) {
	db := storagetest.SQLite(t)
	r := storagetest.Person(t, db)
	passwords, codes := db.Credentials("password"), db.Credentials("totp")
	made, err := passwords.Create(t.Context(), factors.Credential{Account: r.Account.ID, Handle: "h", State: "active", Counter: 3, Data: []byte("hash")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := codes.Create(t.Context(), factors.Credential{Account: r.Account.ID, Data: []byte("seed")}); err != nil {
		t.Fatal(err)
	}
	ctx, count := storage.CountStatements(storage.Remember(t.Context()))
	of := func(ctx context.Context, k factors.Credentials, data string) {
		t.Helper()
		got, err := k.Of(ctx, r.Account.ID)
		if err != nil || len(got) != 1 || string(got[0].Data) != data || got[0].Account != r.Account.ID {
			t.Errorf("%+v %v", got, err)
		}
	}
	of(ctx, passwords, "hash")
	of(ctx, codes, "seed")
	if n := count.Reads.Load(); n != 1 {
		t.Errorf("%d reads of a person's credentials", n)
	}
	of(factors.Fresh(ctx), passwords, "hash")
	if n := count.Reads.Load(); n != 2 {
		t.Error("what is compared now was answered from memory")
	}
	if err := db.Atomically(ctx, func(ctx context.Context) error { of(ctx, codes, "seed"); return nil }); err != nil || count.Reads.Load() != 3 {
		t.Error("a transaction was answered from memory", err)
	}
	for what, change := range map[string]func() error{
		"create": func() error { return second(codes.Create(ctx, factors.Credential{Account: "another"})) },
		"update": func() error { made.Data = []byte("hash"); return passwords.Update(ctx, made) },
		"advance": func() error {
			made, _ := passwords.ByHandle(ctx, "h")
			return passwords.Advance(ctx, made.ID, made.Counter+1)
		},
		"delete": func() error { return codes.Delete(ctx, "none") },
	} {
		of(ctx, passwords, "hash")
		if what == "update" {
			made, _ = passwords.ByHandle(ctx, "h")
		}
		if err := change(); err != nil {
			t.Fatal(what, err)
		}
		count.Reset()
		if of(ctx, passwords, "hash"); count.Reads.Load() != 1 {
			t.Errorf("%s: credentials remembered that were changed", what)
		}
	}

	s := storagetest.Session(t, db, r.Account.ID)
	tx := signin.New(signin.Ask{Client: "c"}, []byte("browser"), storagetest.Start)
	tx.Account = r.Account.ID
	if err := db.CreateTransaction(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	hash := []byte("token of this test")
	s.Version = 1
	if err := db.RotateSession(t.Context(), s, hash, r.Account); err != nil {
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

func second[T any](_ T, err error) error { return err }

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
