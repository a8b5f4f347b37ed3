// Package storagetest owns the contract of every store as a test: one suite, the same on SQLite and on a real Postgres.
// Enter with Run, or with SQLite and Postgres for a ready database in a test of another package. It refuses a database
// that only seems to keep its word: every decision is asked for by many at once.
package storagetest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/testpg"
	"github.com/kapi-id/kapi/storage"
)

// Start is the moment at which the clock of a test stands.
var Start = time.Date(2026, 3, 4, 5, 6, 7, 891000, time.UTC)

// Clock stands still until it is moved.
type Clock struct{ us atomic.Int64 }

// NewClock stands at Start.
func NewClock() *Clock {
	c := &Clock{}
	c.us.Store(Start.UnixMicro())
	return c
}

// Now is where it stands.
func (c *Clock) Now() time.Time { return time.UnixMicro(c.us.Load()).UTC() }

// Advance moves it.
func (c *Clock) Advance(d time.Duration) { c.us.Add(d.Microseconds()) }

// SQLiteURL is the address of a database file that goes with the test.
func SQLiteURL(tb testing.TB) string {
	return "sqlite:" + filepath.Join(tb.TempDir(), "kapi.db")
}

// SQLite opens a fresh, migrated and unlocked database whose clock stands at Start.
func SQLite(tb testing.TB) *storage.DB { return Open(tb, SQLiteURL(tb), NewClock()) }

// Postgres is SQLite on a real Postgres.
func Postgres(tb testing.TB) *storage.DB { return Open(tb, testpg.URL(tb), NewClock()) }

// Open opens, migrates and unlocks the database at url. Handles on one database share their keys, as replicas do.
func Open(tb testing.TB, url string, clock *Clock) *storage.DB {
	tb.Helper()
	return OpenWith(tb, storage.Config{URL: url, Now: clock.Now})
}

// OpenWith is Open with a configuration.
func OpenWith(tb testing.TB, c storage.Config) *storage.DB {
	tb.Helper()
	ctx := context.Background()
	db, err := storage.Open(ctx, c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	if err := db.Migrate(ctx); err != nil {
		tb.Fatal(err)
	}
	ring, err := secret.Open(ctx, secret.Root{1, 2, 3}, db, Start)
	if err != nil {
		tb.Fatal(err)
	}
	db.Unlock(ring)
	return db
}

// backend is where a run of the suite works.
type backend struct {
	url   func(testing.TB) string
	clock *Clock
	db    *storage.DB // shared by the tests that need no other; their rows have ids of their own
}

// Run runs the whole suite on databases at fresh addresses.
func Run(t *testing.T, url func(testing.TB) string) {
	b := &backend{url: url, clock: NewClock()}
	b.db = Open(t, url(t), b.clock)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *backend)
	}{
		{"Accounts", accounts},
		{"Renumbered", renumbered}, {"PersonTaken", personTaken}, {"PhoneWithTwoFactor", phoneWithTwoFactor},
		{"Sessions", sessions}, {"SessionsByID", sessionsByID}, {"SessionsHeld", sessionsHeld}, {"ProofsVoided", proofsVoided},
		{"SessionAsJudged", sessionAsJudged}, {"NoSessionOutlivesTheEnd", noSessionOutlivesTheEnd},
		{"Transactions", transactions},
		{"FinishOnce", finishOnce},
		{"Grants", grants},
		{"CodeOnce", codeOnce},
		{"RotateOnce", rotateOnce},
		{"Living", living},
		{"AccessRevocation", accessRevocation},
		{"UsedOnceAndConsent", usedOnceAndConsent},
		{"Ladder", ladder},
		{"LadderInParallel", ladderInParallel},
		{"Windows", windows},
		{"WindowsInParallel", windowsInParallel},
		{"WindowsStrict", windowsStrict},
		{"WindowsAtOnce", windowsAtOnce},
		{"WindowsOfTwoReplicas", windowsOfTwo},
		{"Outbox", outbox},
		{"ClaimOnce", claimOnce},
		{"Notices", notices},
		{"ClosedFirsts", closedFirsts},
		{"Credentials", credentials},
		{"Tickets", tickets},
		{"TicketAnswers", ticketAnswers},
		{"TicketTriesInParallel", ticketTriesInParallel},
		{"TicketOfItsNumber", ticketOfItsNumber}, {"TicketReplaces", ticketReplaces},
		{"TicketMessage", ticketMessage},
		{"OpenTickets", openTickets},
		{"CredentialByID", credentialByID},
		{"Recoveries", recoveryRows},
		{"RecoverySubject", recoverySubject},
		{"Holds", holds},
		{"Clients", registrations},
		{"ClientCache", clientCache},
		{"ClientLogo", clientLogo},
		{"Watch", watch},
		{"Audit", events}, {"EventsTogether", eventsTogether},
		{"Chain", chain},
		{"Erasure", erasure},
		{"SigningKeys", signingKeys},
		{"Leases", leases},
		{"Sweep", sweep}, {"SweptWhileTaken", sweptWhileTaken},
		{"ReadyAndClock", readyAndClock},
		{"EmptyIDs", emptyIDs},
		{"Atomically", atomically},
		{"LostUpdatesInParallel", lostUpdates},
		{"WrongRing", wrongRing},
		{"Migrators", migrators},
		{"Exclusive", exclusive},
		{"Statements", statements},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, b) })
	}
}

var bg = context.Background()

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// want fails unless err is target (nil for none).
func want(t testing.TB, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) || (target == nil && err != nil) {
		t.Fatalf("%s: got %v, want %v", what, err, target)
	}
}

var numbers atomic.Int64

// number makes a fresh valid ID number.
func number() account.NationalID {
	s := fmt.Sprintf("%09d", 100000000+numbers.Add(1))
	odd, even, sum := 0, 0, 0
	for i := range 9 {
		d := int(s[i] - '0')
		sum += d
		if i%2 == 0 {
			odd += d
		} else {
			even += d
		}
	}
	d10 := (7*odd - even + 100) % 10
	n, err := account.ParseNationalID(fmt.Sprintf("%s%d%d", s, d10, (sum+d10)%10))
	if err != nil {
		panic(err)
	}
	return n
}

// Record is a whole new person with an ID-verified phone.
func Record() enrolment.Record {
	return enrolment.Record{
		Account: account.Account{ID: account.ID(uuid.NewString()), State: account.Active, Ceiling: acr.High, Locale: "tr", CreatedAt: Start},
		Person: account.Person{
			NationalID: number(), Kind: account.Citizen, GivenName: "Ayşe", FamilyName: "Yılmaz", Birthdate: "1985-04-23", Gender: "female",
			Address: account.Address{StreetAddress: "Atatürk Bulvarı 1", Locality: "Ankara", PostalCode: "06000", Country: "TR"},
		},
		Contacts: contact.Contacts{
			Phone: contact.Phone{Number: "+905550000001", Grade: contact.IDVerified, VerifiedAt: Start},
			Email: contact.Email{Address: "ayse@example.org", Verified: true},
		},
	}
}

// Person stores one.
func Person(t testing.TB, db *storage.DB) enrolment.Record {
	t.Helper()
	r := Record()
	_, created, err := db.SavePerson(bg, r)
	ok(t, err)
	if !created {
		t.Fatal("not created")
	}
	r.Account.Version = 1
	return r
}

// Session stores a session of the account.
func Session(t testing.TB, db *storage.DB, owner account.ID) session.Session {
	t.Helper()
	s := newSession(owner)
	ok(t, db.CreateSession(bg, s, secret.Hash(s.ID), judged(t, db, owner)))
	s.Version = 1
	return s
}

func newSession(owner account.ID) session.Session {
	return session.Session{
		ID: uuid.NewString(), Account: owner, Level: acr.Low, CreatedAt: Start, SeenAt: Start, ExpiresAt: Start.Add(session.Life),
		Network: "192.0.2.7", Agent: "Browser/1.0",
	}
}

// judged is the account as a sign-in reads it that judges a proof now.
func judged(t testing.TB, db *storage.DB, owner account.ID) account.Account {
	t.Helper()
	a, err := db.Account(bg, owner)
	ok(t, err)
	return a
}

// Grant stores a grant with a fresh code in a session and returns it with the code.
func Grant(t testing.TB, db *storage.DB, s session.Session) grant.Grant {
	t.Helper()
	g := newGrant(s)
	ok(t, db.CreateGrant(bg, g))
	return g
}

func newGrant(s session.Session) grant.Grant {
	return grant.Grant{
		ID: uuid.NewString(), Client: "rp1", Account: s.Account, Session: s.ID, SessionEnds: s.ExpiresAt, CreatedAt: Start,
		Facts: grant.Facts{
			Subject: "pw_subject", Scopes: []string{"openid", "profile"}, Claims: []byte(`{"userinfo":{}}`), ACR: acr.Substantial, AMR: []string{"pwd", "sms", "mca", "mfa"},
			Steps: []grant.Step{{Method: "password", Time: 1}, {Method: "sms", Time: 2}}, AuthTime: 2, Nonce: "n-0S6_WzA2Mj",
		},
		Code: grant.Code{Hash: secret.Hash(secret.Token()), RedirectURI: "https://rp.example/cb", Challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", ExpiresAt: Start.Add(grant.CodeLife)},
	}
}

func redeem(db *storage.DB, g grant.Grant, refresh bool, now time.Time) (grant.Grant, error) {
	return db.RedeemCode(bg, g.Client, g.Code.Hash, g.Code.RedirectURI, g.Code.Challenge, refresh, now)
}

// together runs fn n times at once and counts what each returned.
func together(n int, fn func(i int) error) (good int, bad []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			err := fn(i)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				good++
			} else {
				bad = append(bad, err)
			}
		})
	}
	close(start)
	wg.Wait()
	return good, bad
}

// once fails unless exactly one of n calls at once succeeds and all others get target.
func once(t testing.TB, n int, target error, fn func(i int) error) {
	t.Helper()
	good, bad := together(n, fn)
	if good != 1 {
		t.Errorf("%d of %d succeeded", good, n)
	}
	for _, err := range bad {
		if !errors.Is(err, target) {
			t.Errorf("got %v, want %v", err, target)
		}
	}
}
