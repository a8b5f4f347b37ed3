package storagetest

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/recovery"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/storage"
)

// recoveryRows: a recovery moves by its version, and only while it is open.
func recoveryRows(t *testing.T, b *backend) {
	db := b.db
	x := recovery.Transaction{ID: uuid.NewString(), Browser: []byte("b"), State: recovery.Open, CreatedAt: Start, ExpiresAt: Start.Add(recovery.Life),
		Progress: recovery.Progress{Reason: recovery.Forgot, Kind: account.Citizen, Number: "10000000146", Right: true, Tries: map[string]int{"details": 2}, SentAt: Start}}
	if err := db.CreateRecovery(bg, recovery.Transaction{ID: "x"}); err == nil {
		t.Error("a recovery of no browser")
	}
	ok(t, db.CreateRecovery(bg, x))
	got, err := db.Recovery(bg, x.ID, Start)
	ok(t, err)
	if got.Version != 1 || got.Number != x.Number || !got.Right || got.Tries["details"] != 2 || !got.SentAt.Equal(Start) || !bytes.Equal(got.Browser, x.Browser) || !got.ExpiresAt.Equal(x.ExpiresAt) {
		t.Errorf("%+v", got)
	}
	_, err = db.Recovery(bg, x.ID, x.ExpiresAt)
	want(t, "expired", err, fault.ErrNotFound)
	// Many at once: one moves it.
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() { _, errs[i] = db.SaveRecovery(bg, got) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			want(t, "a loser", err, fault.ErrConflict)
		}
	}
	if won != 1 {
		t.Errorf("%d moved it", won)
	}
	got.Version, got.State = 2, recovery.Done
	_, err = db.SaveRecovery(bg, got)
	ok(t, err)
	got.Version, got.State = 3, recovery.Open
	_, err = db.SaveRecovery(bg, got)
	want(t, "back to open", err, fault.ErrConflict)
}

// recoverySubject is one read, whoever it is, with the holds that count.
func recoverySubject(t *testing.T, b *backend) {
	db := b.db
	r := Record()
	r.Person.Documents = []account.Document{{Type: account.IDCard, Serial: "A1"}}
	r.Contacts.ResetBoth = true
	_, _, err := db.SavePerson(bg, r)
	ok(t, err)
	read := func(n account.NationalID, now time.Time) recovery.Subject {
		t.Helper()
		ctx, c := storage.CountStatements(bg)
		s, err := db.RecoverySubject(ctx, n, now)
		ok(t, err)
		if c.Statements() != 1 {
			t.Errorf("%d statements", c.Statements())
		}
		return s
	}
	s := read(r.Person.NationalID, Start)
	if s.Account.ID != r.Account.ID || len(s.Person.Documents) != 1 || s.Contacts.Phone.Number != r.Contacts.Phone.Number || !s.Contacts.ResetBoth || s.Stopped {
		t.Errorf("%+v", s)
	}
	if s := read(number(), Start); s.Account.ID != "" {
		t.Errorf("%+v", s)
	}
	hold(t, db, r.Account.ID, enrolment.HoldFactors)
	if read(r.Person.NationalID, Start).Stopped {
		t.Error("another hold stops a recovery")
	}
	h := hold(t, db, r.Account.ID, enrolment.HoldRecovery)
	if !read(r.Person.NationalID, Start).Stopped || read(r.Person.NationalID, h.Due).Stopped {
		t.Error("the hold does not hold, or for good")
	}
	k := db.Tickets("sms")
	one, err := k.Open(bg, factors.Ticket{Binding: uuid.NewString(), Purpose: factors.SignIn, Account: r.Account.ID, ExpiresAt: Start.Add(time.Hour)}, nil)
	ok(t, err)
	other, err := k.Open(bg, factors.Ticket{Binding: uuid.NewString(), Purpose: factors.SignIn, Account: "other", ExpiresAt: Start.Add(time.Hour)}, nil)
	ok(t, err)
	ok(t, db.VoidTickets(bg, r.Account.ID, Start))
	want(t, "void", k.Use(bg, one.ID), fault.ErrConflict)
	ok(t, k.Use(bg, other.ID))
	if db.VoidTickets(bg, "", Start) == nil {
		t.Error("the tickets of nobody were voided")
	}
}

func hold(t testing.TB, db *storage.DB, id account.ID, what string) enrolment.Hold {
	t.Helper()
	h := enrolment.Hold{ID: uuid.NewString(), Account: id, What: what, CreatedAt: Start, Due: Start.Add(enrolment.HoldLife),
		Data: enrolment.HoldData{Phone: contact.Phone{Number: "+905550000009", Grade: contact.IDVerified, VerifiedAt: Start, How: "office"}, Email: contact.Email{Address: "old@example.org", Verified: true, VerifiedAt: Start}}}
	ok(t, db.PlaceHold(bg, h, secret.Hash(h.ID), secret.Hash("code"+h.ID)))
	return h
}

func holds(t *testing.T, b *backend) {
	db := b.db
	id := account.ID(uuid.NewString())
	h := hold(t, db, id, enrolment.HoldPhone)
	for name, find := range map[string]func() (enrolment.Hold, error){
		"by thing": func() (enrolment.Hold, error) { return db.OpenHold(bg, id, enrolment.HoldPhone, Start) },
		"by link":  func() (enrolment.Hold, error) { return db.HoldByToken(bg, secret.Hash(h.ID)) },
		"by code":  func() (enrolment.Hold, error) { return db.HoldByCode(bg, id, secret.Hash("code"+h.ID)) },
	} {
		got, err := find()
		ok(t, err)
		if got.ID != h.ID || got.Account != id || got.What != h.What || !got.Due.Equal(h.Due) || got.Data.Phone.Number != h.Data.Phone.Number || got.Data.Phone.How != "office" || got.Data.Email != h.Data.Email || !got.ClosedAt.IsZero() {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, find := range map[string]func() (enrolment.Hold, error){
		"due":                  func() (enrolment.Hold, error) { return db.OpenHold(bg, id, enrolment.HoldPhone, h.Due) },
		"another thing":        func() (enrolment.Hold, error) { return db.OpenHold(bg, id, enrolment.HoldEmail, Start) },
		"another link":         func() (enrolment.Hold, error) { return db.HoldByToken(bg, secret.Hash("x")) },
		"no link":              func() (enrolment.Hold, error) { return db.HoldByToken(bg, nil) },
		"another's code":       func() (enrolment.Hold, error) { return db.HoldByCode(bg, "other", secret.Hash("code"+h.ID)) },
		"no code":              func() (enrolment.Hold, error) { return db.HoldByCode(bg, id, nil) },
		"of nobody":            func() (enrolment.Hold, error) { return db.OpenHold(bg, "", enrolment.HoldPhone, Start) },
		"of nobody, by a code": func() (enrolment.Hold, error) { return db.HoldByCode(bg, "", secret.Hash("code"+h.ID)) },
	} {
		_, err := find()
		want(t, name, err, fault.ErrNotFound)
	}
	// A newer one takes its place.
	newer := hold(t, db, id, enrolment.HoldPhone)
	got, err := db.HoldByToken(bg, secret.Hash(h.ID))
	ok(t, err)
	if got.ClosedAt.IsZero() || got.Open(Start) {
		t.Error("the older link still works")
	}
	want(t, "closing it", db.CloseHold(bg, h.ID, enrolment.HoldWasUndone, Start), fault.ErrConflict)
	// Of many at once one closes it.
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() { errs[i] = db.CloseHold(bg, newer.ID, enrolment.HoldWasUndone, Start) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			want(t, "a loser", err, fault.ErrConflict)
		}
	}
	if won != 1 {
		t.Errorf("%d closed it", won)
	}
	if db.CloseHold(bg, newer.ID, "open", Start) == nil || db.CloseHold(bg, "", enrolment.HoldWasDone, Start) == nil {
		t.Error("closed to open, or nothing closed")
	}
	// Of many placed at once one stands.
	other := account.ID(uuid.NewString())
	for range 8 {
		wg.Go(func() {
			h := enrolment.Hold{ID: uuid.NewString(), Account: other, What: enrolment.HoldDevice, CreatedAt: Start, Due: Start.Add(enrolment.HoldLife)}
			err := db.Atomically(bg, func(ctx context.Context) error { return db.PlaceHold(ctx, h, secret.Hash(h.ID), secret.Hash(h.ID)) })
			if err != nil {
				want(t, "placed at once", err, fault.ErrConflict)
			}
		})
	}
	wg.Wait()
	if db.PlaceHold(bg, enrolment.Hold{ID: "x", What: "phone"}, []byte("x"), []byte("x")) == nil {
		t.Error("a hold of nobody")
	}
	// What is due comes oldest first, once the time has come.
	if all, err := db.DueHolds(bg, 100, Start.Add(enrolment.HoldLife-time.Microsecond)); err != nil || len(all) != 0 {
		t.Errorf("%d due, %v", len(all), err)
	}
	all, err := db.DueHolds(bg, 100, Start.Add(enrolment.HoldLife))
	ok(t, err)
	stands := 0
	for _, h := range all {
		if h.Account == other {
			stands++
		}
	}
	if stands != 1 {
		t.Errorf("%d of many at once stand", stands)
	}
}
