package storagetest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/storage"
)

func leases(t *testing.T, b *backend) {
	db, name := b.db, uuid.NewString()
	lead := func(what, holder string, ttl time.Duration, now time.Time, wanted bool) {
		t.Helper()
		got, err := db.Lease(bg, name, holder, ttl, now)
		ok(t, err)
		if got != wanted {
			t.Errorf("%s: %v", what, got)
		}
	}
	lead("first", "a", time.Minute, Start, true)
	lead("another", "b", time.Minute, Start.Add(time.Minute-1000), false)
	lead("renewed", "a", time.Minute, Start.Add(30*time.Second), true)
	lead("still", "b", time.Minute, Start.Add(time.Minute), false)
	lead("over", "b", time.Minute, Start.Add(90*time.Second), true)
	lead("the old one", "a", time.Minute, Start.Add(90*time.Second), false)
	lead("given back", "b", 0, Start.Add(91*time.Second), true)
	lead("free", "a", time.Minute, Start.Add(91*time.Second), true)
	name = uuid.NewString()
	var leaders atomic.Int64
	_, bad := together(20, func(i int) error {
		got, err := db.Lease(bg, name, uuid.NewString(), time.Minute, Start)
		if got {
			leaders.Add(1)
		}
		return err
	})
	ok(t, errors.Join(bad...))
	if leaders.Load() != 1 {
		t.Errorf("%d leaders", leaders.Load())
	}
}

func sweep(t *testing.T, b *backend) {
	db := Open(t, b.url(t), b.clock)
	r := Person(t, db)
	s := Session(t, db, r.Account.ID)
	g := Grant(t, db, s)
	a := access(t, db, g)
	tx := transaction(t, db)
	jti := secret.Hash("jti")
	ok(t, db.UseOnce(bg, "jti", jti, Start.Add(time.Minute)))
	k := db.Tickets("sms")
	_, err := k.Open(bg, ticket("b1"), &factors.Message{Account: r.Account.ID, Channel: "sms", Text: "x", Deadline: Start.Add(time.Minute)})
	ok(t, err)
	l := throttle.Ladder{Free: 1, First: time.Second, Most: time.Second, Disable: 2}
	take := func(key string, at time.Time) int {
		t.Helper()
		v, err := db.Take(bg, key, l, at)
		ok(t, err)
		return v.Failures
	}
	take("idle", Start)
	take("disabled", Start)
	take("disabled", Start.Add(time.Second))
	_, err = db.Hit(bg, "w", []throttle.Window{{N: 1, Per: time.Hour}}, Start)
	ok(t, err)
	for range 1203 { // more than two batches
		ok(t, db.UseOnce(bg, "many", secret.Hash(uuid.NewString()), Start))
	}
	run := func(at time.Time, wanted int64) {
		t.Helper()
		n, err := db.Sweep(bg, at)
		ok(t, err)
		if n != wanted {
			t.Errorf("%v after the start: %d rows", at.Sub(Start), n)
		}
	}
	run(Start, 0)
	run(Start.Add(10*time.Minute), 0)
	run(Start.Add(10*time.Minute+1000), 1203)
	want(t, "jti", db.UseOnce(bg, "jti", jti, Start), fault.ErrConflict)
	run(Start.Add(11*time.Minute+1000), 1)
	ok(t, db.UseOnce(bg, "jti", jti, Start.Add(365*24*time.Hour)))
	run(a.ExpiresAt.Add(time.Hour), 0)
	run(a.ExpiresAt.Add(time.Hour+1000), 1)
	_, err = db.Transaction(bg, tx.ID, Start)
	want(t, "transaction", err, nil)
	day := Start.Add(24 * time.Hour)
	run(day, 0)
	run(day.Add(1000), 2) // the idle ladder and the window
	if n := take("disabled", day.Add(time.Hour)); n != 2 {
		t.Errorf("the disabled ladder counts %d", n)
	}
	run(day.Add(time.Minute+1000), 1)   // message
	run(day.Add(5*time.Minute+1000), 1) // ticket
	run(day.Add(signin.Life), 0)
	run(day.Add(signin.Life+1000), 1)
	_, err = db.Transaction(bg, tx.ID, Start)
	want(t, "transaction", err, fault.ErrNotFound)
	run(day.Add(session.Life), 0)
	run(day.Add(session.Life+1000), 1) // grant
	end := s.ExpiresAt.Add(90 * 24 * time.Hour)
	run(end, 0)
	run(end.Add(1000), 1)
	_, err = db.SessionByToken(bg, secret.Hash(s.ID))
	want(t, "session", err, fault.ErrNotFound)
	ok(t, db.AddNotice(bg, notice.Notice{ID: "n", Account: r.Account.ID, At: Start}))
	run(Start.Add(365*24*time.Hour), 0)
	run(Start.Add(365*24*time.Hour+1000), 1)
	_, err = db.Account(bg, r.Account.ID)
	want(t, "account", err, nil)
}

func readyAndClock(t *testing.T, b *backend) {
	ctx, n := storage.CountStatements(bg)
	ok(t, b.db.Ready(ctx, Start))
	ok(t, b.db.Ready(ctx, Start.Add(time.Second)))
	if n.Writes.Load() != 2 || n.Reads.Load() != 0 {
		t.Error("readiness does not write")
	}
	at, err := b.db.Clock(bg)
	ok(t, err)
	if off := time.Since(at).Abs(); off > time.Hour { // one machine: only a wrong unit would show
		t.Errorf("the database's clock is %v off", off)
	}
	stopped, cancel := context.WithCancel(bg)
	cancel()
	if err := b.db.Ready(stopped, Start); err == nil {
		t.Error("ready with a dead context")
	}
}

// emptyIDs: an empty id is nobody, never a condition that is left out.
func emptyIDs(t *testing.T, b *backend) {
	db := b.db
	r := Person(t, db)
	s := Session(t, db, r.Account.ID)
	g := Grant(t, db, s)
	a := access(t, db, g)
	c, k := db.Credentials("totp"), db.Tickets("sms")
	for name, err := range map[string]error{
		"Account":             second(db.Account(bg, "")),
		"AccountByNationalID": second(db.AccountByNationalID(bg, "")),
		"Person":              second(db.Person(bg, "")),
		"SessionByToken":      second(db.SessionByToken(bg, nil)),
		"EndSession":          db.EndSession(bg, r.Account.ID, "", Start),
		"EndSession owner":    db.EndSession(bg, "", s.ID, Start),
		"Transaction":         second(db.Transaction(bg, "", Start)),
		"FinishTransaction":   second(db.FinishTransaction(bg, "", nil, Start)),
		"RedeemCode":          second(db.RedeemCode(bg, "", nil, "", "", true, Start)),
		"RedeemCode code":     second(db.RedeemCode(bg, "rp1", nil, g.Code.RedirectURI, g.Code.Challenge, true, Start)),
		"Rotate":              second(db.Rotate(bg, "", "", 1, Start)),
		"Living":              second(db.Living(bg, nil, Start)),
		"Client":              second(db.Client(bg, "")),
		"ByHandle":            second(c.ByHandle(bg, "")),
		"Find":                second(k.Find(bg, "", factors.SignIn)),
		"Try":                 second(k.Try(bg, "", 5)),
	} {
		want(t, name, err, fault.ErrNotFound)
	}
	for name, err := range map[string]error{
		"UpdateAccount":     db.UpdateAccount(bg, account.Account{}),
		"SavePerson":        second3(db.SavePerson(bg, enrolment.Record{Person: r.Person})),
		"SavePerson number": second3(db.SavePerson(bg, enrolment.Record{Account: r.Account})),
		"CreateSession":     db.CreateSession(bg, session.Session{}, nil, account.Account{}),
		"RotateSession":     db.RotateSession(bg, session.Session{}, nil, account.Account{}),
		"TouchSession":      db.TouchSession(bg, "", Start),
		"AddNotice":         db.AddNotice(bg, notice.Notice{ID: "n"}),
		"AddNotice id":      db.AddNotice(bg, notice.Notice{Account: r.Account.ID}),
		"ReadNotices":       db.ReadNotices(bg, "", Start, Start),
		"EndSessions":       db.EndSessions(bg, "", "", Start),
		"CreateTransaction": db.CreateTransaction(bg, signin.Transaction{}),
		"SaveTransaction":   second(db.SaveTransaction(bg, signin.Transaction{State: signin.Open})),
		"CreateGrant":       db.CreateGrant(bg, grant.Grant{}),
		"RevokeGrant":       db.RevokeGrant(bg, "rp1", "", Start),
		"RevokeGrant all":   db.RevokeGrant(bg, "", g.ID, Start),
		"CreateAccess":      db.CreateAccess(bg, grant.Access{}),
		"RevokeAccess":      db.RevokeAccess(bg, "rp1", nil, time.Time{}, Start),
		"RevokeAccess all":  db.RevokeAccess(bg, "", a.Hash, time.Time{}, Start),
		"UseOnce":           db.UseOnce(bg, "", nil, Start),
		"SaveConsent":       db.SaveConsent(bg, "", "", nil, Start),
		"Take":              second(db.Take(bg, "", throttle.Ladder{}, Start)),
		"Clear":             db.Clear(bg, ""),
		"Locked":            second(db.Locked(bg, "")),
		"Hit":               second(db.Hit(bg, "", []throttle.Window{{N: 1, Per: 1}}, Start)),
		"Sent":              db.Sent(bg, "", "g", Start),
		"Failed":            db.Failed(bg, "", Start, "", Start),
		"Create":            second(c.Create(bg, factors.Credential{})),
		"Update":            c.Update(bg, factors.Credential{}),
		"Advance":           c.Advance(bg, "", 1),
		"Delete":            c.Delete(bg, ""),
		"Open":              second(k.Open(bg, factors.Ticket{}, nil)),
		"Use":               k.Use(bg, ""),
		"Lease":             second(db.Lease(bg, "", "", time.Minute, Start)),
		"AddWrappedKey":     db.AddWrappedKey(bg, secret.Wrapped{}),
		"ForgetPerson":      db.ForgetPerson(bg, ""),
		"Record":            db.Record(bg, audit.Event{}),
	} {
		if err == nil {
			t.Errorf("%s took an empty id", name)
		}
	}
	if revoked, err := db.AccessRevoked(bg, nil); err != nil || !revoked {
		t.Error("an empty hash counts as not revoked")
	}
	if l, err := db.Living(bg, a.Hash, Start); err != nil || l.Grant.ID != g.ID {
		t.Errorf("something was hit all the same: %v", err)
	}
}

func second[A any](_ A, err error) error        { return err }
func second3[A, B any](_ A, _ B, e error) error { return e }

func atomically(t *testing.T, b *backend) {
	db := b.db
	// Nested calls join: the inner success is undone with the outer failure.
	r, errStop := Record(), errors.New("stop")
	want(t, "outer failure", db.Atomically(bg, func(ctx context.Context) error {
		if err := db.Atomically(ctx, func(ctx context.Context) error {
			_, _, err := db.SavePerson(ctx, r)
			return err
		}); err != nil {
			return err
		}
		if got, err := db.Account(ctx, r.Account.ID); err != nil || got.ID != r.Account.ID { // it sees its own writes
			t.Errorf("inside: %v", err)
		}
		return errStop
	}), errStop)
	_, err := db.Account(bg, r.Account.ID)
	want(t, "after the outer failure", err, fault.ErrNotFound)

	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("the panic was swallowed")
			}
		}()
		_ = db.Atomically(bg, func(ctx context.Context) error {
			_, _, err := db.SavePerson(ctx, r)
			ok(t, err)
			panic("boom")
		})
	}()
	_, err = db.Account(bg, r.Account.ID)
	want(t, "after a panic", err, fault.ErrNotFound)

	// A failed statement fails the whole, even if fn hides it.
	first := Person(t, db)
	twin := Record()
	twin.Person.NationalID = first.Person.NationalID
	err = db.Atomically(bg, func(ctx context.Context) error {
		_, _, err := db.SavePerson(ctx, twin)
		return err
	})
	want(t, "a taken number", err, fault.ErrConflict)
	_, err = db.Account(bg, twin.Account.ID)
	want(t, "half a person", err, fault.ErrNotFound)

	// Writes whose conflict shows only at the end undo what came before and after them.
	for name, conflict := range map[string]func(context.Context) error{
		"transaction": func(ctx context.Context) error {
			tx := signin.Transaction{ID: "none", State: signin.Open}
			return second(db.SaveTransaction(ctx, tx))
		},
		"session": func(ctx context.Context) error {
			return db.RotateSession(ctx, session.Session{ID: "none", Account: "a"}, secret.Hash("x"), account.Account{ID: "a"})
		},
	} {
		one, two := Record(), Record()
		want(t, name, db.Atomically(bg, func(ctx context.Context) error {
			_, _, first := db.SavePerson(ctx, one)
			err := conflict(ctx)
			if err == nil {
				_, _, err = db.SavePerson(ctx, two)
			}
			return errors.Join(first, err)
		}), fault.ErrConflict)
		for _, r := range []enrolment.Record{one, two} {
			_, err = db.Account(bg, r.Account.ID)
			want(t, name+": what stood beside the conflict", err, fault.ErrNotFound)
		}
	}

	stopped, cancel := context.WithCancel(bg)
	err = db.Atomically(stopped, func(ctx context.Context) error {
		_, _, err := db.SavePerson(ctx, r)
		cancel()
		return err
	})
	if err == nil {
		t.Error("committed for a caller who is gone")
	}
	_, err = db.Account(bg, r.Account.ID)
	want(t, "after the caller left", err, fault.ErrNotFound)
	ok(t, db.Atomically(bg, func(context.Context) error { return nil }))
	_, _, err = db.SavePerson(bg, r) // the connection is as good as new
	ok(t, err)
}

// lostUpdates: read, compute and write in a transaction, by many at once, on one row.
func lostUpdates(t *testing.T, b *backend) {
	db := b.db
	c := db.Credentials("counter")
	one, err := c.Create(bg, factors.Credential{Account: "a"})
	ok(t, err)
	_, bad := together(10, func(int) error {
		tries := 0
		for range 10 {
			for {
				err := db.Atomically(bg, func(ctx context.Context) error {
					all, err := c.Of(ctx, "a")
					if err != nil {
						return err
					}
					all[0].Counter++
					return c.Update(ctx, all[0])
				})
				if err == nil {
					break
				}
				// A serializable database may refuse one write until the tries are used up: that is no lost one.
				if tries++; !errors.Is(err, fault.ErrConflict) && fault.KindOf(err) != fault.Unavailable || tries > 1000 {
					return err
				}
			}
		}
		return nil
	})
	ok(t, errors.Join(bad...))
	all, err := c.Of(bg, "a")
	ok(t, err)
	if all[0].ID != one.ID || all[0].Counter != 100 {
		t.Errorf("counted %d of 100", all[0].Counter)
	}
}

func wrongRing(t *testing.T, b *backend) {
	url := b.url(t)
	db := Open(t, url, b.clock)
	r := Person(t, db)
	stranger := Open(t, url, b.clock)
	stranger.Unlock(secret.Ephemeral())
	if _, err := stranger.Person(bg, r.Account.ID); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("with other keys: %v", err)
	}
	_, err := stranger.AccountByNationalID(bg, r.Person.NationalID)
	want(t, "the blind index of other keys", err, fault.ErrNotFound)
	if _, err := secret.Open(bg, secret.Root{9}, db, Start); err == nil {
		t.Error("another root opens the keys")
	}
	locked, err := storage.Open(bg, storage.Config{URL: url})
	ok(t, err)
	defer locked.Close()
	defer func() {
		if recover() == nil {
			t.Error("rows are readable before Unlock")
		}
	}()
	_, _ = locked.Person(bg, r.Account.ID)
}

func migrators(t *testing.T, b *backend) {
	url := b.url(t)
	var dbs []*storage.DB
	for range 4 {
		db, err := storage.Open(bg, storage.Config{URL: url})
		ok(t, err)
		defer db.Close()
		dbs = append(dbs, db)
	}
	if n, err := dbs[0].Pending(bg); err != nil || n == 0 {
		t.Errorf("pending before: %d %v", n, err)
	}
	_, bad := together(4, func(i int) error { return dbs[i].Migrate(bg) })
	ok(t, errors.Join(bad...))
	for _, db := range dbs {
		if n, err := db.Pending(bg); err != nil || n != 0 {
			t.Errorf("pending after: %d %v", n, err)
		}
	}
	ok(t, dbs[0].Migrate(bg))
}

func exclusive(t *testing.T, b *backend) {
	url := b.url(t)
	one, two := Open(t, url, b.clock), Open(t, url, b.clock)
	release, err := one.Exclusive()
	ok(t, err)
	again, err := two.Exclusive()
	if one.Dialect() == "postgres" {
		ok(t, err) // any number of replicas
		again()
		release()
		return
	}
	if err == nil {
		t.Fatal("a second server works on one file")
	}
	Person(t, two) // other commands work beside it
	release()
	release, err = two.Exclusive()
	ok(t, err)
	release()
}

// statements holds the budget of architecture §4 for what one method costs.
func statements(t *testing.T, b *backend) {
	db := b.db
	r := Person(t, db)
	s := Session(t, db, r.Account.ID)
	g := Grant(t, db, s)
	a := access(t, db, g)
	_, err := redeem(db, g, true, Start)
	ok(t, err)
	tx := transaction(t, db)
	for _, c := range []struct {
		name          string
		reads, writes int64
		run           func(ctx context.Context) error
	}{
		{"authorize", 0, 1, func(ctx context.Context) error {
			n := tx
			n.ID = uuid.NewString()
			return db.CreateTransaction(ctx, n)
		}},
		{"callback", 0, 3, func(ctx context.Context) error {
			tx.State = signin.Ready
			if _, err := db.SaveTransaction(bg, tx); err != nil {
				return err
			}
			return db.Atomically(ctx, func(ctx context.Context) error {
				_, err := db.FinishTransaction(ctx, tx.ID, tx.Browser, Start)
				return errors.Join(err, db.CreateGrant(ctx, newGrant(s)), db.Record(ctx, event(r.Account.ID, audit.GrantIssued, Start)))
			})
		}},
		{"code", 0, 3, func(ctx context.Context) error {
			g := Grant(t, db, s)
			return db.Atomically(ctx, func(ctx context.Context) error {
				_, err := db.RedeemCode(ctx, g.Client, g.Code.Hash, g.Code.RedirectURI, g.Code.Challenge, true, Start)
				return errors.Join(err, db.CreateAccess(ctx, grant.Access{Hash: secret.Hash(secret.Token()), Grant: g.ID, Client: g.Client}),
					db.Record(ctx, event(r.Account.ID, audit.TokenIssued, Start)))
			})
		}},
		{"refresh", 0, 3, func(ctx context.Context) error {
			return db.Atomically(ctx, func(ctx context.Context) error {
				_, err := db.Rotate(ctx, g.Client, g.ID, 1, Start)
				return errors.Join(err, db.CreateAccess(ctx, grant.Access{Hash: secret.Hash(secret.Token()), Grant: g.ID, Client: g.Client}),
					db.Record(ctx, event(r.Account.ID, audit.TokenIssued, Start)))
			})
		}},
		{"userinfo", 1, 0, func(ctx context.Context) error { return second(db.Living(ctx, a.Hash, Start)) }},
		{"jti", 0, 1, func(ctx context.Context) error { return db.UseOnce(ctx, "jti", secret.Hash(secret.Token()), Start) }},
		{"account by number", 1, 0, func(ctx context.Context) error { return second(db.AccountByNationalID(ctx, r.Person.NationalID)) }},
		{"take", 0, 1, func(ctx context.Context) error {
			return second(db.Take(ctx, uuid.NewString(), throttle.Ladder{Free: 5}, Start))
		}},
		{"three windows", 0, 1, func(ctx context.Context) error {
			return second(db.Hit(ctx, uuid.NewString(), []throttle.Window{{N: 1, Per: 1}, {N: 2, Per: 2}, {N: 3, Per: 3}}, Start))
		}},
		{"ticket with message", 1, 3, func(ctx context.Context) error {
			return second(db.Tickets("sms").Open(ctx, ticket(uuid.NewString()), &factors.Message{Account: r.Account.ID, Channel: "sms", Text: "x", Deadline: Start}))
		}},
	} {
		ctx, n := storage.CountStatements(bg)
		ok(t, c.run(ctx))
		if n.Reads.Load() != c.reads || n.Writes.Load() != c.writes {
			t.Errorf("%s: %d reads and %d writes, want %d and %d", c.name, n.Reads.Load(), n.Writes.Load(), c.reads, c.writes)
		}
	}
}
