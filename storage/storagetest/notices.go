package storagetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/secret"
)

// notices: a person's own list, and the link that is good once and for a while.
func notices(t *testing.T, b *backend) {
	db := b.db
	one, other := Person(t, db).Account.ID, Person(t, db).Account.ID
	add := func(owner account.ID, at time.Time, token string) notice.Notice {
		t.Helper()
		n := notice.Notice{ID: uuid.NewString(), Account: owner, At: at, Key: "notice.password", Network: "192.0.2.7", Agent: "Browser/1.0", Details: map[string]string{"factor": "password"}}
		if token != "" {
			n.Token, n.TokenUntil = secret.Hash(token), at.Add(notice.TokenLife)
		}
		ok(t, db.AddNotice(bg, n))
		return n
	}
	token := secret.Token()
	first, second := add(one, Start, token), add(one, Start.Add(time.Second), "")
	add(other, Start, "")
	got, err := db.NoticesOf(bg, one, Start.Add(time.Minute), 10)
	ok(t, err)
	if len(got) != 2 || got[0].ID != second.ID || got[1].ID != first.ID {
		t.Fatalf("list %+v", got)
	}
	if g := got[1]; !g.At.Equal(Start) || g.Key != first.Key || g.Network != first.Network || g.Agent != first.Agent || g.Details["factor"] != "password" || !g.ReadAt.IsZero() || g.Token != nil {
		t.Errorf("read back %+v", g)
	}
	if got, err := db.NoticesOf(bg, one, second.At, 10); err != nil || len(got) != 1 {
		t.Errorf("before the second: %v %v", got, err)
	}
	if got, err := db.NoticesOf(bg, one, time.Time{}, 1); err != nil || len(got) > 1 {
		t.Errorf("one at most: %v %v", got, err)
	}

	unread := func(owner account.ID, want int) {
		t.Helper()
		if n, err := db.UnreadNotices(bg, owner); err != nil || n != want {
			t.Errorf("%d unread, %v; want %d", n, err, want)
		}
	}
	unread(one, 2)
	ok(t, db.ReadNotices(bg, one, first.At, Start.Add(time.Minute)))
	unread(one, 1)
	unread(other, 1)
	ok(t, db.ReadNotices(bg, one, second.At, Start.Add(2*time.Minute)))
	unread(one, 0)
	if got, _ = db.NoticesOf(bg, one, Start.Add(time.Minute), 10); !got[1].ReadAt.Equal(Start.Add(time.Minute)) {
		t.Errorf("read at %v", got[1].ReadAt)
	}

	hash, now := secret.Hash(token), Start.Add(notice.TokenLife-time.Second)
	for range 2 { // looking uses nothing up
		if id, err := db.NoticeToken(bg, hash, now); err != nil || id != one {
			t.Errorf("the link of %s: %s %v", one, id, err)
		}
	}
	_, err = db.NoticeToken(bg, hash, Start.Add(notice.TokenLife))
	want(t, "too old", err, fault.ErrNotFound)
	_, err = db.UseNoticeToken(bg, hash, Start.Add(notice.TokenLife))
	want(t, "too old", err, fault.ErrNotFound)
	_, err = db.UseNoticeToken(bg, secret.Hash("another"), now)
	want(t, "another link", err, fault.ErrNotFound)
	errStop := errors.New("stop")
	err = db.Atomically(bg, func(ctx context.Context) error {
		_, err := db.UseNoticeToken(ctx, hash, now)
		ok(t, err)
		return errStop
	})
	want(t, "rolled back", err, errStop)
	once(t, 20, fault.ErrNotFound, func(int) error {
		id, err := db.UseNoticeToken(bg, hash, now)
		if err == nil && id != one {
			t.Errorf("used for %s", id)
		}
		return err
	})

	// Whoever is erased is erased here too.
	ok(t, db.ForgetPerson(bg, one))
	if got, err := db.NoticesOf(bg, one, Start.Add(time.Minute), 10); err != nil || slices.ContainsFunc(got, func(n notice.Notice) bool { return n.Network != "" || n.Details != nil }) {
		t.Errorf("after erasure: %+v %v", got, err)
	}
	for _, hash := range [][]byte{nil, {}} {
		_, err = db.UseNoticeToken(bg, hash, now)
		want(t, "no link", err, fault.ErrNotFound)
		_, err = db.NoticeToken(bg, hash, now)
		want(t, "no link", err, fault.ErrNotFound)
	}
}

// closedFirsts: what a person closed stays closed, and an account that says nothing has nothing closed.
func closedFirsts(t *testing.T, b *backend) {
	r := Person(t, b.db)
	a, err := b.db.Account(bg, r.Account.ID)
	ok(t, err)
	if a.Closed != "" {
		t.Errorf("a new account has closed %q", a.Closed)
	}
	a.Closed = a.Closed.With("password", true)
	ok(t, b.db.UpdateAccount(bg, a))
	a, err = b.db.AccountByNationalID(bg, r.Person.NationalID)
	ok(t, err)
	if !a.Closed.Has("password", false) {
		t.Errorf("closed %q", a.Closed)
	}
	r.Person.GivenName = "Fatma" // the registry's file does not open it again
	_, _, err = b.db.SavePerson(bg, r)
	ok(t, err)
	if a, err = b.db.Account(bg, r.Account.ID); err != nil || !a.Closed.Has("password", false) {
		t.Errorf("closed %q, %v", a.Closed, err)
	}
}
