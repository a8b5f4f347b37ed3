package storagetest

import (
	"context"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/storage"
)

// sessionsByID: a session is found by its id, with the client it was made for, which stays across a rotation.
func sessionsByID(t *testing.T, b *backend) {
	s := Session(t, b.db, Person(t, b.db).Account.ID)
	for _, id := range []string{"", "none"} {
		_, err := b.db.SessionByID(bg, id)
		want(t, "session "+id, err, fault.ErrNotFound)
	}
	found, err := b.db.SessionByID(bg, s.ID)
	ok(t, err)
	if found.ID != s.ID || found.Account != s.Account || found.Client != "" {
		t.Errorf("%+v", found)
	}
	alone := s
	alone.ID, alone.Client = s.ID[:35]+"x", "rp1"
	as := judged(t, b.db, s.Account)
	ok(t, b.db.CreateSession(bg, alone, []byte("token"), as))
	alone.Version = 1
	ok(t, b.db.RotateSession(bg, alone, []byte("next"), as))
	alone.Version = 2
	if found, err = b.db.SessionByID(bg, alone.ID); err != nil || !reflect.DeepEqual(found, alone) {
		t.Errorf("%v\n got %+v\nwant %+v", err, found, alone)
	}
}

// sessionsHeld: an idle session is listed while a client can refresh in it, and not a moment longer.
func sessionsHeld(t *testing.T, b *backend) {
	db, owner := b.db, Person(t, b.db).Account.ID
	held, bare, coded := Session(t, db, owner), Session(t, db, owner), Session(t, db, owner)
	used := Start.Add(session.Idle - time.Minute)
	g := Grant(t, db, held)
	_, err := redeem(db, g, true, Start)
	ok(t, err)
	_, err = db.Rotate(bg, "rp1", g.ID, 1, used)
	ok(t, err)
	_, err = redeem(db, Grant(t, db, coded), false, Start) // no refresh token came of it
	ok(t, err)
	list := func(now time.Time) (ids []string) {
		t.Helper()
		all, err := db.SessionsOf(bg, owner, now)
		ok(t, err)
		for _, s := range all {
			if s.Held != (s.ID == held.ID) {
				t.Errorf("at %v: session %s held %v", now, s.ID, s.Held)
			}
			ids = append(ids, s.ID)
		}
		return ids
	}
	if ids := list(Start.Add(time.Minute)); len(ids) != 3 {
		t.Errorf("%v; living: %v, %v, %v", ids, held.ID, bare.ID, coded.ID)
	}
	idle := Start.Add(session.Idle)
	if ids := list(idle); len(ids) != 1 || ids[0] != held.ID {
		t.Errorf("idle: %v", ids)
	}
	if ids := list(used.Add(grant.RefreshIdle)); len(ids) != 0 {
		t.Errorf("nobody refreshed for an hour: %v", ids)
	}
	ok(t, db.RevokeGrant(bg, "rp1", g.ID, idle))
	if ids := list(idle); len(ids) != 0 {
		t.Errorf("revoked: %v", ids)
	}
}

// proofsVoided: no session ends, and the account says since when proofs count.
func proofsVoided(t *testing.T, b *backend) {
	one, other := Person(t, b.db).Account, Person(t, b.db).Account
	s := Session(t, b.db, one.ID)
	ctx := storage.Remember(bg)
	if a, err := b.db.Account(ctx, one.ID); err != nil || !a.ProofsSince.IsZero() {
		t.Fatalf("%+v %v", a, err)
	}
	at := Start.Add(time.Minute)
	ok(t, b.db.VoidProofs(ctx, one.ID, at))
	if a, err := b.db.Account(ctx, one.ID); err != nil || !a.ProofsSince.Equal(at) {
		t.Errorf("since %v %v", a.ProofsSince, err)
	}
	if a, err := b.db.Account(ctx, other.ID); err != nil || !a.ProofsSince.IsZero() {
		t.Errorf("another person's: %v %v", a.ProofsSince, err)
	}
	if found, err := b.db.SessionByID(bg, s.ID); err != nil || !found.EndedAt.IsZero() {
		t.Errorf("the session ended: %+v %v", found, err)
	}
	// A replica whose clock is behind voids them too, and so does a second end in the same moment.
	for _, behind := range []time.Time{at, at.Add(-time.Hour)} {
		before := judged(t, b.db, one.ID).ProofsSince
		ok(t, b.db.VoidProofs(bg, one.ID, behind))
		if after := judged(t, b.db, one.ID).ProofsSince; !after.After(before) {
			t.Errorf("since %v, then %v", before, after)
		}
	}
	if b.db.VoidProofs(bg, "", at) == nil {
		t.Error("nobody's proofs")
	}
}

// sessionAsJudged: a session comes only out of proofs that still count, for an account that is what it was when they were judged.
func sessionAsJudged(t *testing.T, b *backend) {
	for name, tc := range map[string]struct {
		meanwhile func(account.Account) error
		want      error
	}{
		"nothing happened":  {func(account.Account) error { return nil }, nil},
		"everything ended":  {func(a account.Account) error { return b.db.EndSessions(bg, a.ID, "", Start) }, fault.ErrConflict},
		"the proofs voided": {func(a account.Account) error { return b.db.VoidProofs(bg, a.ID, Start) }, fault.ErrConflict},
		"a way was closed":  {func(a account.Account) error { a.Closed = "password"; return b.db.UpdateAccount(bg, a) }, fault.ErrConflict},
		"the person died":   {func(a account.Account) error { a.State = account.Deceased; return b.db.UpdateAccount(bg, a) }, fault.ErrConflict},
	} {
		owner := Person(t, b.db).Account.ID
		found, s := Session(t, b.db, owner), newSession(owner)
		as := judged(t, b.db, owner)
		ok(t, tc.meanwhile(as))
		want(t, name, b.db.CreateSession(bg, s, secret.Hash(s.ID), as), tc.want)
		want(t, name+": rotation", b.db.RotateSession(bg, found, secret.Hash(secret.Token()), as), tc.want)
		_, err := b.db.SessionByID(bg, s.ID)
		if tc.want == nil {
			ok(t, err)
			continue
		}
		want(t, name+": the session", err, fault.ErrNotFound)
		if as = judged(t, b.db, owner); as.State != account.Active {
			want(t, name+", and is judged so", b.db.CreateSession(bg, s, secret.Hash(s.ID), as), fault.ErrConflict)
			continue
		}
		ok(t, b.db.CreateSession(bg, s, secret.Hash(s.ID), as)) // judged afterwards
	}
	one, other := Person(t, b.db).Account, Person(t, b.db).Account
	s := newSession(one.ID)
	want(t, "judged by another account", b.db.CreateSession(bg, s, secret.Hash(s.ID), other), fault.ErrConflict)
	found := Session(t, b.db, one.ID)
	want(t, "rotation judged by another account", b.db.RotateSession(bg, found, secret.Hash(secret.Token()), other), fault.ErrConflict)
}

// noSessionOutlivesTheEnd: everything is ended while a session is made from what was proven before. Whichever comes first, nothing
// outlives it; also where the end begins while the session is written and not committed.
func noSessionOutlivesTheEnd(t *testing.T, b *backend) {
	for i := range 20 {
		owner := Person(t, b.db).Account.ID
		s, as := newSession(owner), judged(t, b.db, owner)
		written := make(chan struct{})
		var ended error
		_, bad := together(2, func(who int) error {
			if who == 0 {
				if i%2 == 0 {
					<-written
				}
				ended = b.db.EndSessions(bg, owner, "", Start.Add(time.Minute))
				return nil
			}
			told := sync.OnceFunc(func() { close(written) })
			defer told()
			return b.db.Atomically(bg, func(ctx context.Context) error {
				err := b.db.CreateSession(ctx, s, secret.Hash(s.ID), as)
				for range 5 { // sends it, and leaves the other time to come
					if _, err := b.db.Account(ctx, owner); err != nil {
						return err
					}
					told()
				}
				return err
			})
		})
		ok(t, ended)
		for _, err := range bad {
			want(t, "a session from before the end", err, fault.ErrConflict)
		}
		if list, err := b.db.SessionsOf(bg, owner, Start); err != nil || len(list) != 0 {
			t.Fatalf("round %d: a session outlived the end of all: %+v %v", i, list, err)
		}
	}
}
