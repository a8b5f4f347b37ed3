package storagetest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/storage"
)

func grants(t *testing.T, b *backend) {
	db := b.db
	s := Session(t, db, Person(t, db).Account.ID)
	now := Start.Add(time.Second)

	g := Grant(t, db, s)
	for name, try := range map[string]func() (grant.Grant, error){
		"another client": func() (grant.Grant, error) {
			return db.RedeemCode(bg, "rp2", g.Code.Hash, g.Code.RedirectURI, g.Code.Challenge, false, now)
		},
		"another redirect URI": func() (grant.Grant, error) {
			return db.RedeemCode(bg, g.Client, g.Code.Hash, g.Code.RedirectURI+"/", g.Code.Challenge, false, now)
		},
		"another verifier": func() (grant.Grant, error) {
			return db.RedeemCode(bg, g.Client, g.Code.Hash, g.Code.RedirectURI, "x", false, now)
		},
		"no verifier": func() (grant.Grant, error) {
			return db.RedeemCode(bg, g.Client, g.Code.Hash, g.Code.RedirectURI, "", false, now)
		},
		"another code": func() (grant.Grant, error) {
			return db.RedeemCode(bg, g.Client, secret.Hash("x"), g.Code.RedirectURI, g.Code.Challenge, false, now)
		},
		"too late": func() (grant.Grant, error) { return redeem(db, g, false, g.Code.ExpiresAt) },
	} {
		got, err := try()
		want(t, name, err, fault.ErrNotFound)
		if !reflect.DeepEqual(got, grant.Grant{}) {
			t.Errorf("%s: a grant came along", name)
		}
	}
	got, err := redeem(db, g, false, now)
	ok(t, err)
	if !reflect.DeepEqual(got, g) {
		t.Errorf("redeemed\n got %+v\nwant %+v", got, g)
	}
	_, err = db.Rotate(bg, g.Client, g.ID, 0, now)
	want(t, "rotation of a grant without refresh", err, fault.ErrNotFound)
	_, err = db.Rotate(bg, g.Client, g.ID, 1, now)
	want(t, "rotation of a grant without refresh", err, fault.ErrNotFound)

	g = Grant(t, db, s)
	got, err = redeem(db, g, true, now)
	ok(t, err)
	if got.Generation != 1 || !got.RotatedAt.Equal(now) || !got.RefreshedBy.Equal(now.Add(grant.RefreshIdle)) {
		t.Errorf("with refresh: %+v", got)
	}
	for name, c := range map[string]struct {
		client, id string
		generation int64
		at         time.Time
		err        error
	}{
		"another client":  {"rp2", g.ID, 1, now, fault.ErrNotFound},
		"another grant":   {g.Client, "none", 1, now, fault.ErrNotFound},
		"idle":            {g.Client, g.ID, 1, got.RefreshedBy, fault.ErrNotFound},
		"session over":    {g.Client, g.ID, 1, s.ExpiresAt, fault.ErrNotFound},
		"generation 0":    {g.Client, g.ID, 0, now, fault.ErrNotFound},
		"generation gone": {g.Client, g.ID, 7, now, fault.ErrConflict},
	} {
		_, err := db.Rotate(bg, c.client, c.id, c.generation, c.at)
		want(t, name, err, c.err)
	}
	at := now.Add(time.Minute)
	got, err = db.Rotate(bg, g.Client, g.ID, 1, at)
	ok(t, err)
	if got.Generation != 2 || !got.RotatedAt.Equal(at) || !got.RefreshedBy.Equal(at.Add(grant.RefreshIdle)) || !reflect.DeepEqual(got.Facts, g.Facts) {
		t.Errorf("rotated: %+v", got)
	}
	got, err = db.Rotate(bg, g.Client, g.ID, 1, at)
	want(t, "the same generation again", err, fault.ErrConflict)
	if got.ID != g.ID || got.Generation != 2 || !got.RotatedAt.Equal(at) {
		t.Errorf("the conflict comes with %+v", got)
	}
	near := s.ExpiresAt.Add(-time.Minute) // the idle limit never lies behind the session's end
	for next := at; ; next = next.Add(50 * time.Minute) {
		if next.After(near) {
			next = near
		}
		if got, err = db.Rotate(bg, g.Client, g.ID, got.Generation, next); err != nil {
			t.Fatal(err)
		}
		if next.Equal(near) {
			break
		}
	}
	if !got.RefreshedBy.Equal(s.ExpiresAt) {
		t.Errorf("idle limit %v behind the session's end %v", got.RefreshedBy, s.ExpiresAt)
	}
	ok(t, db.RevokeGrant(bg, "rp2", g.ID, near))
	if got, err = db.Rotate(bg, g.Client, g.ID, got.Generation, near); err != nil {
		t.Fatalf("another client revoked it: %v", err)
	}
	ok(t, db.RevokeGrant(bg, g.Client, g.ID, near))
	ok(t, db.RevokeGrant(bg, g.Client, g.ID, near))
	ok(t, db.RevokeGrant(bg, g.Client, "none", near))
	_, err = db.Rotate(bg, g.Client, g.ID, got.Generation, near)
	want(t, "revoked", err, fault.ErrNotFound)

	// The account is locked between.
	r := Person(t, db)
	s = Session(t, db, r.Account.ID)
	g, other := Grant(t, db, s), Grant(t, db, s)
	_, err = redeem(db, g, true, now)
	ok(t, err)
	r.Account.State = account.Locked
	ok(t, db.UpdateAccount(bg, r.Account))
	_, err = db.Rotate(bg, g.Client, g.ID, 1, now)
	want(t, "rotation for a locked account", err, fault.ErrNotFound)
	_, err = redeem(db, other, true, now)
	want(t, "code of a locked account", err, fault.ErrNotFound)
}

// codeOnce: P2, RFC 6749 §4.1.2.
func codeOnce(t *testing.T, b *backend) {
	db := b.db
	g := Grant(t, db, Session(t, db, Person(t, db).Account.ID))
	once(t, 50, fault.ErrConflict, func(int) error {
		got, err := redeem(db, g, true, Start)
		if errors.Is(err, fault.ErrConflict) && got.ID != g.ID {
			return errors.New("a conflict without its grant")
		}
		return err
	})
	_, err := db.RedeemCode(bg, "rp2", g.Code.Hash, g.Code.RedirectURI, g.Code.Challenge, true, Start)
	want(t, "a used code at another client", err, fault.ErrNotFound)
	_, err = db.RedeemCode(bg, g.Client, g.Code.Hash, g.Code.RedirectURI, "wrong", true, Start.Add(time.Hour))
	want(t, "a used code, late and without its verifier", err, fault.ErrConflict)
}

func rotateOnce(t *testing.T, b *backend) {
	db := b.db
	g := Grant(t, db, Session(t, db, Person(t, db).Account.ID))
	_, err := redeem(db, g, true, Start)
	ok(t, err)
	once(t, 50, fault.ErrConflict, func(int) error {
		got, err := db.Rotate(bg, g.Client, g.ID, 1, Start)
		if got.Generation != 2 {
			return errors.New("not generation 2")
		}
		return err
	})
}

func access(t testing.TB, db *storage.DB, g grant.Grant) grant.Access {
	t.Helper()
	a := grant.Access{Hash: secret.Hash(secret.Token()), Grant: g.ID, Client: "rp1", Scopes: []string{"openid", "profile"}, IssuedAt: Start, ExpiresAt: Start.Add(5 * time.Minute)}
	ok(t, db.CreateAccess(bg, a))
	return a
}

func living(t *testing.T, b *backend) {
	db := b.db
	// Both ways to read agree, but for what is the person's.
	read := func(hash []byte, now time.Time) (grant.Living, error) {
		t.Helper()
		l, err := db.Living(bg, hash, now)
		s, bare := db.Standing(bg, hash, now)
		if whole := (grant.Living{Access: l.Access, Grant: l.Grant}); !reflect.DeepEqual(s, whole) || !errors.Is(bare, err) {
			t.Errorf("standing: %+v %v\n  living: %+v %v", s, bare, whole, err)
		}
		return l, err
	}
	type world struct {
		a grant.Access
		g grant.Grant
		r account.Account
		s string
	}
	make := func(t *testing.T) world {
		r := Person(t, db)
		s := Session(t, db, r.Account.ID)
		g := Grant(t, db, s)
		a := access(t, db, g)
		l, err := read(a.Hash, Start)
		ok(t, err)
		if !reflect.DeepEqual(l.Access, a) || !reflect.DeepEqual(l.Person, r.Person) || !reflect.DeepEqual(l.Contacts, r.Contacts) || l.Locale != r.Account.Locale ||
			!reflect.DeepEqual(l.Grant.Facts, g.Facts) || l.Grant.ID != g.ID || l.Grant.Account != r.Account.ID || l.Grant.Client != "rp1" || l.Grant.Session != s.ID || !l.Grant.SessionEnds.Equal(s.ExpiresAt) {
			t.Fatalf("living: %+v", l)
		}
		return world{a, g, r.Account, s.ID}
	}
	for name, end := range map[string]func(world) error{
		"token revoked": func(w world) error { return db.RevokeAccess(bg, "rp1", w.a.Hash, time.Time{}, Start) },
		"grant revoked": func(w world) error { return db.RevokeGrant(bg, "rp1", w.g.ID, Start) },
		"session ended": func(w world) error { return db.EndSession(bg, w.r.ID, w.s, Start) },
		"all ended":     func(w world) error { return db.EndSessions(bg, w.r.ID, "", Start) },
		"account gone":  func(w world) error { w.r.State = account.Deceased; return db.UpdateAccount(bg, w.r) },
	} {
		w := make(t)
		ok(t, end(w))
		_, err := read(w.a.Hash, Start)
		want(t, name, err, fault.ErrNotFound)
	}
	w := make(t)
	_, err := read(w.a.Hash, w.a.ExpiresAt)
	want(t, "expired", err, fault.ErrNotFound)
	_, err = read(secret.Hash("other"), Start)
	want(t, "unknown", err, fault.ErrNotFound)
	ok(t, db.RevokeAccess(bg, "rp2", w.a.Hash, time.Time{}, Start))
	_, err = read(w.a.Hash, Start)
	want(t, "another client revoked it", err, nil)

	orphan := grant.Access{Hash: secret.Hash(secret.Token()), Grant: "gone", Client: "rp1", IssuedAt: Start, ExpiresAt: Start.Add(time.Minute)}
	ok(t, db.CreateAccess(bg, orphan))
	_, err = read(orphan.Hash, Start)
	want(t, "a token whose grant is gone", err, fault.ErrNotFound)
	machine := access(t, db, grant.Grant{})
	l, err := read(machine.Hash, Start)
	ok(t, err)
	if !reflect.DeepEqual(l, grant.Living{Access: machine}) {
		t.Errorf("client_credentials: %+v", l)
	}

	// The session ends while a grant is made: whichever comes first, nothing outlives it. Either it was there in time and is
	// revoked, or it never was.
	for range 20 {
		r := Person(t, db)
		s := Session(t, db, r.Account.ID)
		a := grant.Access{Hash: secret.Hash(secret.Token()), Client: "rp1", IssuedAt: Start, ExpiresAt: Start.Add(time.Minute)}
		g := newGrant(s)
		a.Grant = g.ID
		var ended error
		_, bad := together(2, func(i int) error {
			if i == 0 {
				ended = db.EndSession(bg, r.Account.ID, s.ID, Start)
				return nil
			}
			return db.Atomically(bg, func(ctx context.Context) error { return errors.Join(db.CreateGrant(ctx, g), db.CreateAccess(ctx, a)) })
		})
		ok(t, ended)
		for _, err := range bad {
			want(t, "a grant of an ended session", err, fault.ErrConflict)
		}
		_, err := read(a.Hash, Start)
		want(t, "a token of an ended session", err, fault.ErrNotFound)
		want(t, "another grant of it", db.CreateGrant(bg, newGrant(s)), fault.ErrConflict)
	}
}

func accessRevocation(t *testing.T, b *backend) {
	db := b.db
	hash, end := secret.Hash(secret.Token()), Start.Add(time.Minute)
	is := func(what string, wanted bool) {
		t.Helper()
		got, err := db.AccessRevoked(bg, hash)
		ok(t, err)
		if got != wanted {
			t.Errorf("%s: revoked is %v", what, got)
		}
	}
	is("new", false)
	ok(t, db.RevokeAccess(bg, "rp1", hash, time.Time{}, Start))
	is("an opaque token nobody knows", false)
	ok(t, db.RevokeAccess(bg, "rp1", hash, end, Start))
	is("JWT", true)
	ok(t, db.RevokeAccess(bg, "rp1", hash, end, Start))
	ok(t, db.RevokeAccess(bg, "rp2", hash, end, Start))
	is("again", true)
	_, err := db.Living(bg, hash, Start)
	want(t, "its row is no token", err, fault.ErrNotFound)
	a := access(t, db, grant.Grant{})
	hash = a.Hash
	ok(t, db.RevokeAccess(bg, "rp2", hash, end, Start))
	is("stored, by another client", false)
	ok(t, db.RevokeAccess(bg, "rp1", hash, end, Start))
	is("stored", true)
}

func usedOnceAndConsent(t *testing.T, b *backend) {
	db := b.db
	jti := secret.Hash(secret.Token())
	once(t, 20, fault.ErrConflict, func(int) error { return db.UseOnce(bg, "jti:rp1", jti, Start.Add(time.Minute)) })
	ok(t, db.UseOnce(bg, "jti:rp2", jti, Start.Add(time.Minute)))

	id := Person(t, db).Account.ID
	got, err := db.Consent(bg, id, "rp1")
	if err != nil || got != nil {
		t.Errorf("none: %v %v", got, err)
	}
	for _, c := range []struct{ asked, all []string }{
		{[]string{"openid", "profile"}, []string{"openid", "profile"}},
		{[]string{"openid"}, []string{"openid", "profile"}}, // the rest stays agreed to
		{[]string{"openid", "email"}, []string{"openid", "profile", "email"}},
	} {
		ok(t, db.SaveConsent(bg, id, "rp1", c.asked, Start))
		if got, err = db.Consent(bg, id, "rp1"); err != nil || !slices.Equal(got, c.all) {
			t.Errorf("consent %v %v, want %v", got, err, c.all)
		}
	}
	// What two tabs agree to at once is agreed to.
	_, bad := together(8, func(i int) error { return db.SaveConsent(bg, id, "rp1", []string{"s" + strconv.Itoa(i)}, Start) })
	ok(t, errors.Join(bad...))
	if got, err = db.Consent(bg, id, "rp1"); err != nil || len(got) != 3+8 {
		t.Errorf("of 8 at once: %v %v", got, err)
	}
	if got, err = db.Consent(bg, id, "rp2"); err != nil || got != nil {
		t.Errorf("another client: %v %v", got, err)
	}
	consentWithdrawn(t, b)
}

// consentWithdrawn: rows P10 and T2. A consent goes together with all that the client got of the person, and with nothing else.
func consentWithdrawn(t *testing.T, b *backend) {
	db := b.db
	id, other := Person(t, db).Account.ID, Person(t, db).Account.ID
	first, second, foreign := Session(t, db, id), Session(t, db, id), Session(t, db, other)
	agree := func(owner account.ID, client string, at time.Time) {
		t.Helper()
		ok(t, db.SaveConsent(bg, owner, client, []string{"openid", "profile"}, at))
	}
	agree(id, "rp1", Start)
	agree(id, "rp2", Start.Add(time.Minute))
	agree(other, "rp1", Start)
	got, err := db.ConsentsOf(bg, id)
	ok(t, err)
	scopes := []string{"openid", "profile"}
	if !reflect.DeepEqual(got, []grant.Consent{{Client: "rp2", Scopes: scopes, At: Start.Add(time.Minute)}, {Client: "rp1", Scopes: scopes, At: Start}}) {
		t.Errorf("consents %+v", got)
	}
	if got, err := db.ConsentsOf(bg, ""); err != nil || got != nil {
		t.Errorf("of nobody: %+v %v", got, err)
	}

	elsewhere := newGrant(second)
	elsewhere.Client = "rp2"
	ok(t, db.CreateGrant(bg, elsewhere))
	dead, alive := []grant.Grant{Grant(t, db, first), Grant(t, db, second)}, []grant.Grant{elsewhere, Grant(t, db, foreign)}
	for _, g := range append(slices.Clone(dead), alive...) {
		_, err := redeem(db, g, true, Start)
		ok(t, err)
	}
	code := Grant(t, db, first) // not redeemed yet
	token := access(t, db, dead[0])
	for name, err := range map[string]error{
		"of nobody": db.WithdrawConsent(bg, "", "rp1", Start), "of no client": db.WithdrawConsent(bg, id, "", Start), "another client": db.WithdrawConsent(bg, id, "rp3", Start),
	} {
		want(t, name, err, fault.ErrNotFound)
	}
	ok(t, db.WithdrawConsent(bg, id, "rp1", Start))
	want(t, "twice", db.WithdrawConsent(bg, id, "rp1", Start), fault.ErrNotFound)
	for i, g := range dead {
		_, err := db.Rotate(bg, g.Client, g.ID, 1, Start)
		want(t, []string{"refresh", "refresh of another session"}[i], err, fault.ErrNotFound)
	}
	_, err = redeem(db, code, true, Start)
	want(t, "code", err, fault.ErrNotFound)
	_, err = db.Standing(bg, token.Hash, Start)
	want(t, "access token", err, fault.ErrNotFound)
	for i, g := range alive {
		_, err := db.Rotate(bg, g.Client, g.ID, 1, Start)
		want(t, []string{"another client", "another person"}[i], err, nil)
	}
	if left, err := db.ConsentsOf(bg, id); err != nil || len(left) != 1 || left[0].Client != "rp2" {
		t.Errorf("left: %+v %v", left, err)
	}
	if left, err := db.Consent(bg, other, "rp1"); err != nil || len(left) != 2 {
		t.Errorf("another person's: %v %v", left, err)
	}

	// While a grant is made on its strength nobody gets in between.
	agree(id, "rp1", Start)
	held, done := newGrant(first), make(chan error, 1)
	begun := false
	ok(t, db.Atomically(bg, func(ctx context.Context) error {
		if scopes, err := db.HoldConsent(ctx, id, "rp1"); err != nil || scopes == nil {
			return errors.Join(err, fault.ErrConflict)
		}
		if !begun { // it may run again
			begun = true
			go func() { done <- db.WithdrawConsent(bg, id, "rp1", Start) }()
			select {
			case err := <-done:
				t.Errorf("withdrawn while it was held: %v", err)
				done <- err
			case <-time.After(100 * time.Millisecond): // it waits, as far as can be seen
			}
		}
		return db.CreateGrant(ctx, held)
	}))
	ok(t, <-done)
	_, err = redeem(db, held, true, Start)
	want(t, "a code of a consent that was held", err, fault.ErrNotFound)

	// Withdrawn while a grant is made on its strength: whichever comes first, no grant is left.
	for range 20 {
		agree(id, "rp1", Start)
		g := newGrant(first)
		var withdrawn error
		_, bad := together(2, func(i int) error {
			if i == 0 {
				withdrawn = db.WithdrawConsent(bg, id, "rp1", Start)
				return nil
			}
			return db.Atomically(bg, func(ctx context.Context) error {
				held, err := db.HoldConsent(ctx, id, "rp1")
				if err != nil || held == nil {
					return errors.Join(err, fault.ErrConflict)
				}
				return db.CreateGrant(ctx, g)
			})
		})
		ok(t, withdrawn)
		for _, err := range bad {
			want(t, "a grant without consent", err, fault.ErrConflict)
		}
		_, err := redeem(db, g, true, Start)
		want(t, "a code without consent", err, fault.ErrNotFound)
	}
}
