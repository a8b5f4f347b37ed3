package recovery_test

import (
	"github.com/kapi-id/kapi/internal/recovery"

	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/storage"
	"github.com/kapi-id/kapi/storage/storagetest"
)

// world is a flow over a real database, with what is outside of it played.
type world struct {
	t      testing.TB
	db     *storage.DB
	clock  *storagetest.Clock
	flow   *recovery.Flow
	person enrolment.Record
	ring   *secret.Ring

	mu       sync.Mutex
	out      []notify.Message
	events   []audit.Event
	told     []audit.Event
	asleep   time.Duration
	trust    error
	written  []string // passwords
	held     []account.ID
	short    bool   // the password is refused
	between  func() // while the password is hashed
	inside   func() // of the transaction that sets it
	unlocked []string
}

const (
	hers   = "+905550000001"
	serial = "A12B34567"
)

func newWorld(t testing.TB, open func(testing.TB, *storagetest.Clock) *storage.DB) *world {
	t.Helper()
	w := &world{t: t, clock: storagetest.NewClock(), ring: secret.Ephemeral()}
	w.db = open(t, w.clock)
	sentences, err := words.Load(os.DirFS("../../loginui/recovery"))
	if err != nil {
		t.Fatal(err)
	}
	w.flow = &recovery.Flow{
		Store: w.db, Sessions: w.db, Accounts: w.db, Tickets: w.db.Tickets("recovery"), Outbox: w, Reach: w, Passwords: w, Holds: w,
		Throttle: w.db, Audit: quiet{w}, Told: loud{w}, Index: w.ring.Index, Words: sentences, Now: w.clock.Now,
		Unlocks: func(n account.NationalID, _ account.ID) []string { return []string{"first:password:" + string(n)} },
		Knows: func(cookie string, a account.Account) string {
			if cookie != "knows "+string(a.ID) {
				return ""
			}
			return "her browser"
		},
		Later:  func(fn func(context.Context)) { fn(context.Background()) },
		Pause:  func(_ context.Context, d time.Duration) { w.mu.Lock(); w.asleep += d; w.mu.Unlock() },
		Jitter: func() time.Duration { return 0 },
	}
	w.person = w.add(func(*enrolment.Record) {})
	return w
}

func sqlite(t testing.TB, c *storagetest.Clock) *storage.DB {
	return storagetest.Open(t, storagetest.SQLiteURL(t), c)
}

// add stores one more person.
func (w *world) add(change func(*enrolment.Record)) enrolment.Record {
	w.t.Helper()
	r := storagetest.Record()
	r.Person.Documents = []account.Document{{Type: account.IDCard, Serial: serial}}
	change(&r)
	if _, _, err := w.db.SavePerson(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) Enqueue(_ context.Context, m notify.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = append(w.out, m)
	return nil
}

func (w *world) AllowNumber(context.Context, string, string) error { return nil }
func (w *world) Trusted(context.Context, account.ID) error         { return w.trust }
func (w *world) Up(string) bool                                    { return true }
func (w *world) MAC(parts ...string) []byte                        { return w.ring.MAC(secret.Pepper, parts...) }
func (w *world) Rules(bool) []recovery.PasswordRule                { return nil }
func (w *world) Renew(_ context.Context, id account.ID, password string, _ bool) (func(context.Context) error, error) {
	if w.short {
		return nil, fault.New(fault.Invalid, "password.rule.length").In("new_password")
	}
	if w.between != nil {
		w.between()
	}
	return func(context.Context) error {
		if w.inside != nil {
			w.inside()
		}
		w.written = append(w.written, string(id)+" "+password)
		return nil
	}, nil
}
func (w *world) Recovered(_ context.Context, id account.ID, _ audit.Event) error {
	w.held = append(w.held, id)
	return nil
}

type quiet struct{ *world }

func (q quiet) Record(ctx context.Context, e audit.Event) error {
	q.mu.Lock()
	q.events = append(q.events, e)
	q.mu.Unlock()
	return q.db.Record(ctx, e)
}

type loud struct{ *world }

func (l loud) Record(ctx context.Context, e audit.Event) error {
	l.mu.Lock()
	l.told = append(l.told, e)
	l.mu.Unlock()
	return l.db.Record(ctx, e)
}

// tried counts events of a step by outcome.
func (w *world) tried(step, outcome string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.Name == audit.RecoveryTried && e.Details["step"] == step && e.Outcome == outcome {
			n++
		}
	}
	return n
}

// code is the newest code that went out on a channel.
func (w *world) code(channel string) string {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := len(w.out) - 1; i >= 0; i-- {
		if m := w.out[i]; m.Channel == channel {
			if channel == "mail" {
				_, after, _ := strings.Cut(m.Text, ": ")
				return after[:6]
			}
			return m.Text[:6]
		}
	}
	w.t.Fatalf("no %s went out", channel)
	return ""
}

var visit = recovery.Visit{Browser: []byte("browser"), Network: "192.0.2.7", Agent: "Browser/1", Request: "r1", Lang: "en"}

// details are those of w.person.
func details() fields {
	return fields{"birthdate": "23.04.1985", "family_name": "YILMAZ", "document": "id_card", "serial": "a12b34567"}
}

// begin starts a recovery for a number.
func (w *world) begin(n account.NationalID) recovery.Transaction {
	w.t.Helper()
	t, err := w.flow.Start(w.t.Context(), recovery.Forgot, "", visit)
	w.ok(err)
	t, err = w.flow.Identify(w.t.Context(), t, visit, fields{"kind": "citizen", "national_id": string(n)})
	w.ok(err)
	return t
}

// atCode brings a recovery to the code.
func (w *world) atCode(n account.NationalID, d fields, phone, email string) recovery.Transaction {
	w.t.Helper()
	t, err := w.flow.Detail(w.t.Context(), w.begin(n), visit, d)
	w.ok(err)
	t, err = w.flow.Contact(w.t.Context(), t, visit, fields{"phone": phone, "email": email})
	w.ok(err)
	return t
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) fails(err error, key string) {
	w.t.Helper()
	if f := fault.Of(err); err == nil || f.Key != key {
		w.t.Fatalf("%v, want %s", err, key)
	}
}

// fields is a submitted form.
type fields map[string]string

func (f fields) Get(name string) string { return f[name] }
