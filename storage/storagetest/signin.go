package storagetest

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/storage"
)

func transaction(t testing.TB, db *storage.DB) signin.Transaction {
	t.Helper()
	age := int64(0)
	tx := signin.Transaction{
		ID: uuid.NewString(), Browser: secret.Hash("browser"), State: signin.Open, CreatedAt: Start, ExpiresAt: Start.Add(signin.Life),
		Ask:      signin.Ask{Client: "rp1", Scopes: []string{"openid"}, Want: acr.Substantial, MaxAge: &age, Return: []byte(`{"state":"s"}`)},
		Progress: signin.Progress{Lang: "tr"},
	}
	ok(t, db.CreateTransaction(bg, tx))
	tx.Version = 1
	return tx
}

func transactions(t *testing.T, b *backend) {
	db := b.db
	tx := transaction(t, db)
	got, err := db.Transaction(bg, tx.ID, Start)
	ok(t, err)
	if !reflect.DeepEqual(got, tx) {
		t.Errorf("transaction\n got %+v\nwant %+v", got, tx)
	}
	_, err = db.Transaction(bg, tx.ID, tx.ExpiresAt)
	want(t, "expired", err, fault.ErrNotFound)
	_, err = db.Transaction(bg, "none", Start)
	want(t, "unknown", err, fault.ErrNotFound)

	tx.Account, tx.Pending = "account", "sms"
	v, err := db.SaveTransaction(bg, tx)
	ok(t, err)
	if v != 2 {
		t.Errorf("version %d", v)
	}
	_, err = db.SaveTransaction(bg, tx)
	want(t, "old version", err, fault.ErrConflict)
	tx.Version = v
	if got, err = db.Transaction(bg, tx.ID, Start); err != nil || !reflect.DeepEqual(got, tx) {
		t.Errorf("after save %+v %v", got, err)
	}

	// Every move between states, allowed and not.
	allowed := map[[2]signin.State]bool{
		{signin.Open, signin.Open}: true, {signin.Open, signin.Ready}: true, {signin.Open, signin.Refused}: true,
		{signin.Ready, signin.Ready}: true, {signin.Ready, signin.Done}: true, {signin.Refused, signin.Refused}: true, {signin.Refused, signin.Done}: true,
	}
	all := []signin.State{signin.Open, signin.Ready, signin.Refused, signin.Done}
	path := map[signin.State][]signin.State{signin.Open: nil, signin.Ready: {signin.Ready}, signin.Refused: {signin.Refused}, signin.Done: {signin.Ready, signin.Done}}
	for _, from := range all {
		for _, to := range all {
			tx := transaction(t, db)
			for _, tx.State = range path[from] {
				tx.Version, err = db.SaveTransaction(bg, tx)
				ok(t, err)
			}
			tx.State = to
			_, err := db.SaveTransaction(bg, tx)
			if allowed[[2]signin.State{from, to}] {
				want(t, string(from+" to "+to), err, nil)
			} else {
				want(t, string(from+" to "+to), err, fault.ErrConflict)
			}
		}
	}
	tx.State = "odd"
	if _, err := db.SaveTransaction(bg, tx); err == nil {
		t.Error("an unknown state was taken")
	}
}

func finishOnce(t *testing.T, b *backend) {
	db := b.db
	open := transaction(t, db)
	_, err := db.FinishTransaction(bg, open.ID, open.Browser, Start)
	want(t, "finish an open one", err, fault.ErrNotFound)
	for _, state := range []signin.State{signin.Ready, signin.Refused} {
		tx := transaction(t, db)
		tx.State, tx.Session, tx.Refusal = state, "session", signin.Refusal{Error: "access_denied"}
		if tx.Version, err = db.SaveTransaction(bg, tx); err != nil {
			t.Fatal(err)
		}
		_, err = db.FinishTransaction(bg, tx.ID, secret.Hash("another"), Start)
		want(t, "another browser", err, fault.ErrNotFound)
		_, err = db.FinishTransaction(bg, tx.ID, tx.Browser, tx.ExpiresAt)
		want(t, "expired", err, fault.ErrNotFound)
		var won signin.Transaction
		once(t, 20, fault.ErrNotFound, func(int) error {
			got, err := db.FinishTransaction(bg, tx.ID, tx.Browser, Start)
			if err == nil {
				won = got
			}
			return err
		})
		if !reflect.DeepEqual(won, tx) {
			t.Errorf("finished\n got %+v\nwant %+v", won, tx)
		}
		if got, err := db.Transaction(bg, tx.ID, Start); err != nil || got.State != signin.Done {
			t.Errorf("afterwards %v %v", got.State, err)
		}
	}

	// A reader that keeps asking while it expires.
	if _, err := db.Transaction(bg, open.ID, open.ExpiresAt.Add(-time.Microsecond)); err != nil {
		t.Errorf("a microsecond before its end: %v", err)
	}
}
