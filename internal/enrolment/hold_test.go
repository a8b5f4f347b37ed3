package enrolment_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/storage"
	"github.com/kapi-id/kapi/storage/storagetest"
)

// held is holds over a real database.
type held struct {
	t        testing.TB
	db       *storage.DB
	clock    *storagetest.Clock
	holds    *enrolment.Holds
	person   enrolment.Record
	id       account.ID
	mu       sync.Mutex
	out      []notify.Message
	events   []audit.Event
	disabled []account.ID
	dropped  []account.ID
	since    time.Time
	dropping error
	tickets  *slow
}

func newHeld(t testing.TB) *held { return newHeldOver(t, storagetest.SQLiteURL(t)) }

func newHeldOver(t testing.TB, database string) *held {
	t.Helper()
	w := &held{t: t, clock: storagetest.NewClock()}
	w.db = storagetest.Open(t, database, w.clock)
	w.person = storagetest.Person(t, w.db)
	w.id = w.person.Account.ID
	sentences, err := words.Load(os.DirFS("../../loginui/recovery"))
	if err != nil {
		t.Fatal(err)
	}
	ring := secret.Ephemeral()
	w.holds = &enrolment.Holds{
		Store: w.db, Contacts: w.db, Accounts: w.db, Sessions: w.db, Notices: enrolment.HoldNotices{Outbox: w, Words: sentences, Issuer: "https://kapi.example"},
		DisablePassword: func(_ context.Context, id account.ID) error { w.disabled = append(w.disabled, id); return nil },
		Devices:         w,
		Audit:           w, MAC: func(parts ...string) []byte { return ring.MAC(secret.Pepper, parts...) }, Now: w.clock.Now,
	}
	return w
}

func (w *held) Enqueue(_ context.Context, m notify.Message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.out = append(w.out, m)
	return nil
}

func (w *held) Record(_ context.Context, e audit.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	return nil
}

// Registered: the person's device is named after the moment it is from.
func (w *held) Registered(context.Context, account.ID) (string, time.Time, error) {
	if w.since.IsZero() {
		return "", w.since, nil
	}
	return w.since.Format(time.RFC3339Nano), w.since, nil
}

func (w *held) DropLost(_ context.Context, id account.ID, device string) error {
	if device != w.since.Format(time.RFC3339Nano) {
		w.t.Errorf("%s is dropped, and the device is of %v", device, w.since)
	}
	w.dropped = append(w.dropped, id)
	return w.dropping
}

func (w *held) names() (out []string) {
	for _, e := range w.events {
		out = append(out, string(e.Name)+" "+e.Details["what"]+e.Details["reason"])
	}
	return out
}

func (w *held) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// link and code are those of the newest messages.
func (w *held) link() string {
	w.t.Helper()
	for i := len(w.out) - 1; i >= 0; i-- {
		if _, after, found := strings.Cut(w.out[i].Text, "https://kapi.example/undo?link="); found {
			token, _, _ := strings.Cut(after, "\n")
			return token
		}
	}
	w.t.Fatal("no link went out")
	return ""
}

func (w *held) code() string {
	w.t.Helper()
	for i := len(w.out) - 1; i >= 0; i-- {
		if m := w.out[i]; m.Channel == "sms" {
			for _, word := range strings.Fields(m.Text) {
				if c := enrolment.HoldCode(strings.Trim(word, ".")); c != "" {
					return strings.Trim(word, ".")
				}
			}
		}
	}
	w.t.Fatal("no code went out")
	return ""
}

var from = audit.Event{Network: "192.0.2.7", Agent: "Browser/1", Request: "r1"}

// RC4: after a recovery the factors rest for a day, but for a strong sign-in; undoing disables, ends and stops.
func TestRC4_RecoveredAndUndone(t *testing.T) {
	w := newHeld(t)
	ctx := t.Context()
	w.ok(w.holds.Held(ctx, w.id, acr.Low))
	w.ok(w.holds.Recovered(ctx, w.id, from))
	if len(w.out) != 2 || w.out[0].Channel != "sms" || w.out[1].Channel != "mail" || w.out[1].To != "ayse@example.org" || !w.out[0].Deadline.Equal(storagetest.Start.Add(enrolment.HoldLife)) {
		t.Fatalf("%+v", w.out)
	}
	if sms := w.out[0].Text; strings.Contains(sms, "http") || strings.ContainsAny(sms[:1], "0123456789") || !strings.Contains(sms, w.code()) {
		t.Errorf("%s", sms)
	}
	for level, refused := range map[acr.Level]bool{acr.Low: true, acr.Substantial: true, acr.High: false} {
		err := w.holds.Held(ctx, w.id, level)
		if f := fault.Of(err); refused != (err != nil) || refused && (f.Key != "hold.factors" || !w.clock.Now().Add(enrolment.HoldLife).Equal(f.Args["time"].(time.Time))) {
			t.Errorf("%v: %v", level, err)
		}
	}
	w.ok(w.holds.Held(ctx, "another", acr.Low))
	storagetest.Session(t, w.db, w.id)
	open, err := w.db.Tickets("device").Open(ctx, factors.Ticket{Binding: "b", Purpose: factors.SignIn, Account: w.id, ExpiresAt: storagetest.Start.Add(time.Hour)}, nil)
	w.ok(err)
	h, err := w.holds.Look(ctx, w.link())
	w.ok(err)
	if h.What != enrolment.HoldFactors || len(w.disabled) > 0 {
		t.Errorf("looking did it: %+v", h)
	}
	w.ok(w.holds.Undo(ctx, h, from))
	if !slices.Equal(w.disabled, []account.ID{w.id}) {
		t.Errorf("disabled %v", w.disabled)
	}
	if all, _ := w.db.SessionsOf(ctx, w.id, w.clock.Now()); len(all) > 0 {
		t.Error("a session lives")
	}
	if w.db.Tickets("device").Use(ctx, open.ID) == nil {
		t.Error("a pending request can be answered")
	}
	if s, _ := w.db.RecoverySubject(ctx, w.person.Person.NationalID, w.clock.Now()); !s.Stopped {
		t.Error("whoever recovered can do it again at once")
	}
	w.ok(w.holds.Held(ctx, w.id, acr.Low)) // the owner may set things right
	if got := w.names(); !slices.Equal(got, []string{"hold.placed factors", "hold.placed recovery", "hold.undone factors"}) {
		t.Errorf("%v", got)
	}
	for _, e := range w.events {
		if e.Subject != string(w.id) || e.Network != from.Network {
			t.Errorf("%+v", e)
		}
		for _, v := range e.Details {
			if strings.Contains(v, w.link()) || strings.Contains(v, w.code()) {
				t.Error("a secret in the record")
			}
		}
	}
}

// RC2: one use, the newest, 24 hours, and a look changes nothing.
func TestRC2_LinksAndCodes(t *testing.T) {
	w := newHeld(t)
	ctx := t.Context()
	over := func(what string, err error) {
		t.Helper()
		if fault.Of(err).Key != "hold.over" {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.ok(w.holds.Recovered(ctx, w.id, from))
	older, olderCode := w.link(), w.code()
	w.ok(w.holds.Recovered(ctx, w.id, from))
	_, err := w.holds.Look(ctx, older)
	over("after a newer one", err)
	_, err = w.holds.LookByCode(ctx, w.id, olderCode)
	over("code after a newer one", err)
	for _, token := range []string{"", "x", strings.Repeat("A", 43), older[:42], strings.Repeat("x", 5000)} {
		_, err := w.holds.Look(ctx, token)
		over(fmt.Sprintf("%.10q", token), err)
	}
	for _, code := range []string{"", "AAAAAAAA", w.code() + "A"} {
		_, err := w.holds.LookByCode(ctx, w.id, code)
		over(code, err)
	}
	_, err = w.holds.LookByCode(ctx, "another", w.code())
	over("of another person", err)
	for range 10 { // scanners
		_, err := w.holds.Look(ctx, w.link())
		w.ok(err)
	}
	h, err := w.holds.LookByCode(ctx, w.id, " "+strings.ToLower(w.code())+" ")
	w.ok(err)
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			switch err := w.holds.Undo(ctx, h, from); {
			case err == nil:
				won.Add(1)
			case fault.Of(err).Key != "hold.over":
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || len(w.disabled) != 1 {
		t.Errorf("%d undid it, %d times disabled", won.Load(), len(w.disabled))
	}
	_, err = w.holds.Look(ctx, w.link())
	over("twice", err)

	w.ok(w.holds.Recovered(ctx, w.id, from))
	h, err = w.holds.Look(ctx, w.link())
	w.ok(err)
	w.clock.Advance(enrolment.HoldLife - time.Second)
	_, err = w.holds.Look(ctx, w.link())
	w.ok(err)
	w.clock.Advance(2 * time.Second)
	_, err = w.holds.Look(ctx, w.link())
	over("24 hours and a second", err)
	over("a form of before", w.holds.Undo(ctx, h, from))
	w.ok(w.holds.Held(ctx, w.id, acr.Low))
}

func TestLostDevice(t *testing.T) {
	w := newHeld(t)
	ctx := t.Context()
	w.since = storagetest.Start.Add(-time.Hour)
	h, err := w.holds.Lost(ctx, w.id, from)
	w.ok(err)
	sent := len(w.out)
	w.clock.Advance(time.Hour)
	again, err := w.holds.Lost(ctx, w.id, from)
	w.ok(err)
	if again.ID != h.ID || len(w.out) != sent || sent != 2 {
		t.Errorf("said again: %+v, %d messages", again, len(w.out))
	}
	w.clock.Advance(enrolment.HoldLife - time.Hour - time.Microsecond)
	w.ok(w.holds.CarryOut(ctx))
	if len(w.dropped) != 0 {
		t.Fatal("too early")
	}
	w.clock.Advance(time.Microsecond)
	w.dropping = fault.New(fault.Unavailable, "")
	if w.holds.CarryOut(ctx) == nil {
		t.Error("a failure was swallowed")
	}
	w.dropping = nil
	w.ok(w.holds.CarryOut(ctx))
	w.ok(w.holds.CarryOut(ctx))
	if len(w.dropped) != 2 { // the one that failed, and the one that did not
		t.Errorf("dropped %v", w.dropped)
	}
	if got := w.names(); !slices.Equal(got[len(got)-2:], []string{"hold.placed device", "hold.over device"}) {
		t.Errorf("%v", got)
	}

	// Whoever has it objects, and it stays.
	_, err = w.holds.Lost(ctx, w.id, from)
	w.ok(err)
	h, err = w.holds.Look(ctx, w.link())
	w.ok(err)
	w.ok(w.holds.Undo(ctx, h, from))
	w.clock.Advance(enrolment.HoldLife)
	w.ok(w.holds.CarryOut(ctx))
	if len(w.dropped) != 2 || len(w.disabled) != 0 {
		t.Errorf("dropped %v", w.dropped)
	}

	// One that was registered since is another one; none is none.
	for _, since := range []time.Time{w.clock.Now().Add(time.Hour), {}} {
		_, err = w.holds.Lost(ctx, w.id, from)
		w.ok(err)
		w.since = since
		w.clock.Advance(enrolment.HoldLife)
		w.ok(w.holds.CarryOut(ctx))
		if len(w.dropped) != 2 {
			t.Errorf("a device of %v was dropped", since)
		}
	}
}

// Password and phone say at once after a recovery that the device is lost: its day begins when the factors are free again, the messages
// name that time, and the owner can object all the while.
func TestLostDeviceDuringARecoverysHold(t *testing.T) {
	w := newHeld(t)
	ctx := t.Context()
	w.since = storagetest.Start.Add(-time.Hour)
	w.ok(w.holds.Recovered(ctx, w.id, from))
	w.clock.Advance(time.Hour)
	h, err := w.holds.Lost(ctx, w.id, from)
	w.ok(err)
	due := storagetest.Start.Add(2 * enrolment.HoldLife)
	if !h.Due.Equal(due) {
		t.Errorf("due %v, want %v", h.Due, due)
	}
	for _, m := range w.out[2:] {
		if !strings.Contains(m.Text, words.Moment("tr", due)) || strings.Contains(m.Text, "24 saat") || strings.Contains(m.Text, "24 hours") || !m.Deadline.Equal(due) {
			t.Errorf("%s until %v: %s", m.Channel, m.Deadline, m.Text)
		}
	}
	w.clock.Advance(2*enrolment.HoldLife - time.Hour - time.Microsecond)
	w.ok(w.holds.CarryOut(ctx))
	if len(w.dropped) != 0 {
		t.Fatal("the device went before its day")
	}
	if p, err := w.holds.Look(ctx, w.link()); err != nil || p.ID != h.ID {
		t.Errorf("%v cannot be undone any more: %v", p, err)
	}
	w.clock.Advance(time.Microsecond)
	w.ok(w.holds.CarryOut(ctx))
	if len(w.dropped) != 1 {
		t.Errorf("dropped %v", w.dropped)
	}
}

func TestRC3_OldContactKeepsItsPower(t *testing.T) {
	w := newHeld(t)
	ctx := t.Context()
	old := w.person.Contacts
	w.ok(w.db.ChangeContacts(ctx, w.id, func(c *contact.Contacts) error {
		c.OldPhone, c.OldUntil = c.Phone.Number, storagetest.Start.Add(enrolment.HoldLife)
		c.Phone = contact.Phone{Number: "+905550000666", Grade: contact.IDVerified, VerifiedAt: storagetest.Start}
		return nil
	}))
	w.ok(w.holds.PhoneChanged(ctx, w.id, old.Phone, from))
	var to []string
	for _, m := range w.out {
		to = append(to, m.To)
	}
	if slices.Contains(to, "+905550000666") || !slices.Contains(to, old.Phone.Number) || !slices.Contains(to, old.Email.Address) || len(to) != 2 {
		t.Errorf("told %v", to)
	}
	h, err := w.holds.LookByCode(ctx, w.id, w.code())
	w.ok(err)
	storagetest.Session(t, w.db, w.id)
	w.ok(w.holds.Undo(ctx, h, from))
	c, err := w.db.Contacts(ctx, w.id)
	w.ok(err)
	if c.Phone.Number != old.Phone.Number || c.Phone.Grade != contact.IDVerified || c.OldPhone != "" || !c.OldUntil.IsZero() {
		t.Errorf("%+v", c)
	}
	if all, _ := w.db.SessionsOf(ctx, w.id, w.clock.Now()); len(all) > 0 {
		t.Error("whoever changed it is signed in")
	}

	w.ok(w.db.ChangeContacts(ctx, w.id, func(c *contact.Contacts) error {
		c.OldEmail, c.OldUntil = c.Email.Address, w.clock.Now().Add(enrolment.HoldLife)
		c.Email = contact.Email{Address: "eve@example.org", Verified: true}
		return nil
	}))
	w.out = nil
	w.ok(w.holds.EmailChanged(ctx, w.id, old.Email, from))
	for _, m := range w.out {
		if m.To == "eve@example.org" {
			t.Error("the new address got the link")
		}
	}
	h, err = w.holds.Look(ctx, w.link())
	w.ok(err)
	w.ok(w.holds.Undo(ctx, h, from))
	if c, _ := w.db.Contacts(ctx, w.id); c.Email.Address != old.Email.Address || !c.Email.Verified || c.OldEmail != "" {
		t.Errorf("%+v", c)
	}
	// What was not proven has nothing to bring back.
	w.out = nil
	w.ok(w.holds.PhoneChanged(ctx, w.id, contact.Phone{Number: "+905550000001", Grade: contact.Declared}, from))
	w.ok(w.holds.EmailChanged(ctx, w.id, contact.Email{Address: "x@example.org"}, from))
	if len(w.out) > 0 {
		t.Errorf("%+v", w.out)
	}
}

func TestLift(t *testing.T) {
	w := newHeld(t)
	ctx := t.Context()
	w.ok(w.holds.Recovered(ctx, w.id, from))
	_, err := w.holds.Lost(ctx, w.id, from)
	w.ok(err)
	lifted, err := w.holds.Lift(ctx, w.id, audit.Event{Actor: "cli"})
	w.ok(err)
	if !slices.Equal(lifted, []string{enrolment.HoldFactors, enrolment.HoldDevice}) {
		t.Errorf("%v", lifted)
	}
	w.ok(w.holds.Held(ctx, w.id, acr.Low))
	w.clock.Advance(enrolment.HoldLife)
	w.since = storagetest.Start
	w.ok(w.holds.CarryOut(ctx))
	if len(w.dropped) > 0 {
		t.Error("what was lifted was carried out")
	}
	if lifted, err := w.holds.Lift(ctx, w.id, audit.Event{}); err != nil || len(lifted) > 0 {
		t.Errorf("%v %v", lifted, err)
	}
}

func TestRC2_LinkIsOfTheConfiguration(t *testing.T) {
	if got := enrolment.UndoLink("https://kapi.example", "a b&c"); got != "https://kapi.example/undo?link=a+b%26c" {
		t.Error(got)
	}
}

func FuzzHoldCode(f *testing.F) {
	for _, s := range []string{"ABCD-2345", "abcd 2345", "İBCD2345", "ABCD\x00345", "ABCD2345A", "ABCDO345"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := enrolment.HoldCode(s)
		if c != "" && (len(c) != 8 || strings.Trim(c, "ABCDEFGHJKMNPQRSTVWXYZ23456789") != "" || enrolment.HoldCode(c) != c) {
			t.Errorf("%q became %q", s, c)
		}
	})
}

// A device that was said to be lost before a recovery does not go while the factors are frozen, nor for a day after: or whoever took over
// the phone would say so first and renew the password then. The owner is told of the new time, with a link that is good.
func TestRC4_LostDeviceBeforeARecovery(t *testing.T) {
	w := newHeld(t)
	ctx := t.Context()
	w.since = storagetest.Start.Add(-time.Hour)
	_, err := w.holds.Lost(ctx, w.id, from)
	w.ok(err)
	before := w.link()
	w.clock.Advance(20 * time.Hour)
	w.ok(w.holds.Recovered(ctx, w.id, from))
	due := storagetest.Start.Add(20*time.Hour + 2*enrolment.HoldLife)
	h, err := w.db.OpenHold(ctx, w.id, enrolment.HoldDevice, w.clock.Now())
	if err != nil || !h.Due.Equal(due) {
		t.Fatalf("%+v %v, want %v", h, err, due)
	}
	if _, err := w.holds.Look(ctx, before); err == nil {
		t.Error("the link of the earlier moment is still good")
	}
	for _, step := range []time.Duration{5 * time.Hour, enrolment.HoldLife} { // the day since it was said, the freeze and most of the day after
		w.clock.Advance(step)
		w.ok(w.holds.CarryOut(ctx))
		if len(w.dropped) != 0 {
			t.Fatalf("removed %v too early", due.Sub(w.clock.Now()))
		}
	}
	w.clock.Advance(due.Sub(w.clock.Now()))
	w.ok(w.holds.CarryOut(ctx))
	if len(w.dropped) != 1 {
		t.Error("never removed")
	}
}

// One that was registered since stays, whatever was said of the one before it.
func TestRC4_LostDeviceReplacedBeforeARecovery(t *testing.T) {
	w := newHeld(t)
	ctx := t.Context()
	w.since = storagetest.Start.Add(-time.Hour)
	_, err := w.holds.Lost(ctx, w.id, from)
	w.ok(err)
	w.clock.Advance(time.Hour)
	w.since = w.clock.Now()
	w.clock.Advance(time.Hour)
	w.ok(w.holds.Recovered(ctx, w.id, from))
	w.clock.Advance(3 * enrolment.HoldLife)
	w.ok(w.holds.CarryOut(ctx))
	if len(w.dropped) != 0 {
		t.Error("a new device was removed")
	}
}
