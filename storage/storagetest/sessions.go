package storagetest

import (
	"reflect"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
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
	ok(t, b.db.CreateSession(bg, alone, []byte("token")))
	alone.Version = 1
	ok(t, b.db.RotateSession(bg, alone, []byte("next")))
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
	if b.db.VoidProofs(bg, "", at) == nil {
		t.Error("nobody's proofs")
	}
}
