package storagetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/storage"
)

func message(created time.Time) notify.Message {
	return notify.Message{
		ID: uuid.NewString(), Channel: "sms", Account: "a", To: "+905550000001", Text: "123456 is your code",
		Deadline: created.Add(5 * time.Minute), CreatedAt: created,
	}
}

// queue is a database of its own, since Claim takes whatever is due.
func queue(t *testing.T, b *backend) (*storage.DB, *Clock) {
	clock := NewClock()
	return Open(t, b.url(t), clock), clock
}

func outbox(t *testing.T, b *backend) {
	db, _ := queue(t, b)
	claim := func(what string, now time.Time, ids ...string) []notify.Message {
		t.Helper()
		got, err := db.Claim(bg, 10, nil, now)
		ok(t, err)
		var have []string
		for _, m := range got {
			have = append(have, m.ID)
		}
		if !slices.Equal(have, ids) {
			t.Fatalf("%s: claimed %v, want %v", what, have, ids)
		}
		return got
	}
	claim("empty", Start)
	one, two := message(Start), message(Start.Add(time.Second))
	one.Dedupe = "once"
	again := message(Start)
	again.Dedupe = "once"
	for _, m := range []notify.Message{two, one, again} {
		ok(t, db.Enqueue(bg, m))
	}
	now := Start.Add(2 * time.Second)
	if age, err := db.Age(bg, now); err != nil || age != 2*time.Second {
		t.Errorf("age %v %v", age, err)
	}
	if got, err := db.Claim(bg, 10, []string{"mail", "sms"}, now); err != nil || len(got) != 0 {
		t.Fatalf("of a channel that rests: %v %v", got, err)
	}
	if got, err := db.Claim(bg, 1, []string{"mail"}, now); err != nil || len(got) != 1 || got[0].ID != one.ID {
		t.Fatalf("one of two: %v %v", got, err)
	}
	got := claim("the other", now, two.ID)[0]
	if two.Attempts = 1; got != two {
		t.Errorf("claimed\n got %+v\nwant %+v", got, two)
	}
	claim("nothing twice", now)
	ok(t, db.Sent(bg, one.ID, "gateway1", now))
	want(t, "sent twice", db.Sent(bg, one.ID, "gateway1", now), fault.ErrConflict)
	ok(t, db.Failed(bg, two.ID, now.Add(time.Minute), "busy", now))
	want(t, "failed twice", db.Failed(bg, two.ID, now.Add(time.Minute), "busy", now), fault.ErrConflict)
	claim("not due yet", now.Add(time.Minute-time.Microsecond))
	if got := claim("due again", now.Add(time.Minute), two.ID)[0]; got.Attempts != 2 || got.Text != two.Text {
		t.Errorf("second attempt %+v", got)
	}
	ok(t, db.Failed(bg, two.ID, two.Deadline, "busy", now))
	claim("closed: the next attempt would be too late", two.Deadline.Add(-time.Microsecond))

	three := message(Start)
	ok(t, db.Enqueue(bg, three))
	claim("three", now, three.ID)
	ok(t, db.Failed(bg, three.ID, time.Time{}, "refused", now))
	claim("given up", three.Deadline.Add(-time.Microsecond))

	late := message(Start)
	ok(t, db.Enqueue(bg, late))
	claim("past its deadline", late.Deadline)
	claim("and closed", Start.Add(time.Second))
	if age, err := db.Age(bg, late.Deadline); err != nil || age != 0 {
		t.Errorf("age of an empty outbox %v %v", age, err)
	}

	lost := message(Start)
	ok(t, db.Enqueue(bg, lost))
	claim("lost", now, lost.ID)
	claim("still held", now.Add(notify.Hold-time.Microsecond))
	claim("its worker died: closed, never claimed again", now.Add(notify.Hold))
	claim("never", now.Add(notify.Hold))
	want(t, "a worker that was slow, not dead", db.Sent(bg, lost.ID, "gateway1", now), fault.ErrConflict)
	if err := db.Enqueue(bg, notify.Message{Channel: "sms", To: "", Text: "x"}); err == nil {
		t.Error("a message to nobody was taken")
	}

	// O4: a backlog of dead messages holds up nobody, however few are claimed at a time.
	ok(t, db.Atomically(bg, func(ctx context.Context) error {
		for range 300 {
			if err := db.Enqueue(ctx, message(Start)); err != nil {
				return err
			}
		}
		return nil
	}))
	now = late.Deadline
	fresh := message(now)
	ok(t, db.Enqueue(bg, fresh))
	claim("behind a backlog", now, fresh.ID)
	if age, err := db.Age(bg, now); err != nil || age != 0 {
		t.Errorf("age after a backlog %v %v", age, err)
	}
}

func claimOnce(t *testing.T, b *backend) {
	db, _ := queue(t, b)
	const n = 60
	for range n {
		ok(t, db.Enqueue(bg, message(Start)))
	}
	var mu sync.Mutex
	seen := map[string]int{}
	for len(seen) < n {
		before := len(seen)
		_, bad := together(8, func(int) error {
			got, err := db.Claim(bg, 5, nil, Start)
			mu.Lock()
			defer mu.Unlock()
			for _, m := range got {
				seen[m.ID]++
			}
			return err
		})
		ok(t, errors.Join(bad...))
		if len(seen) == before {
			t.Fatalf("%d of %d claimed, and no more come", len(seen), n)
		}
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s was claimed %d times", id, times)
		}
	}
}

func credentials(t *testing.T, b *backend) {
	c, other := b.db.Credentials("totp"), b.db.Credentials("password")
	id := Person(t, b.db).Account.ID
	one, err := c.Create(bg, factors.Credential{Account: id, Handle: uuid.NewString(), State: "active", Counter: 5, Data: []byte(`{"seed":"x"}`), ExpiresAt: Start.Add(time.Hour)})
	ok(t, err)
	if one.ID == "" || one.Version != 1 || !one.CreatedAt.Equal(b.clock.Now()) {
		t.Errorf("created %+v", one)
	}
	b.clock.Advance(time.Second)
	two, err := c.Create(bg, factors.Credential{Account: id, State: "temporary"})
	ok(t, err)
	_, err = c.Create(bg, factors.Credential{Account: id})
	ok(t, err) // no handle is no conflict
	_, err = c.Create(bg, factors.Credential{Account: "b", Handle: one.Handle})
	want(t, "a handle twice", err, fault.ErrConflict)
	_, err = c.Create(bg, factors.Credential{Account: "b", ID: one.ID})
	want(t, "an id twice", err, fault.ErrConflict)
	_, err = other.Create(bg, factors.Credential{Account: id, Handle: one.Handle})
	ok(t, err) // another factor's handles are its own

	same := func(what string, a, b factors.Credential) {
		t.Helper()
		if string(a.Data) != string(b.Data) {
			t.Errorf("%s: data %q, want %q", what, a.Data, b.Data)
		}
		a.Data, b.Data = nil, nil
		if a.ID != b.ID || a.Account != b.Account || a.Handle != b.Handle || a.State != b.State || a.Counter != b.Counter || !a.CreatedAt.Equal(b.CreatedAt) || !a.ExpiresAt.Equal(b.ExpiresAt) || a.Version != b.Version {
			t.Errorf("%s:\n got %+v\nwant %+v", what, a, b)
		}
	}
	list, err := c.Of(bg, id)
	ok(t, err)
	if len(list) != 3 {
		t.Fatalf("%d credentials", len(list))
	}
	same("first", list[0], one)
	got, err := c.ByHandle(bg, one.Handle)
	ok(t, err)
	same("by handle", got, one)
	_, err = c.ByHandle(bg, "none")
	want(t, "unknown handle", err, fault.ErrNotFound)

	one.State, one.Data, one.Counter, one.ExpiresAt = "disabled", []byte("new"), 6, time.Time{}
	ok(t, c.Update(bg, one))
	want(t, "an old version", c.Update(bg, one), fault.ErrConflict)
	one.Version++
	got, err = c.ByHandle(bg, one.Handle)
	ok(t, err)
	same("updated", got, one)

	once(t, 20, fault.ErrConflict, func(int) error { return c.Advance(bg, one.ID, 9) })
	want(t, "back", c.Advance(bg, one.ID, 8), fault.ErrConflict)
	want(t, "an update from before the advance", c.Update(bg, one), fault.ErrConflict)
	for what, err := range map[string]error{
		"advance":  other.Advance(bg, one.ID, 100),
		"update":   other.Update(bg, factors.Credential{ID: one.ID, Version: one.Version + 1}),
		"nobody's": c.Advance(bg, "none", 1),
	} {
		want(t, "another factor: "+what, err, fault.ErrConflict)
	}
	ok(t, other.Delete(bg, two.ID))
	if list, err = c.Of(bg, id); err != nil || len(list) != 3 {
		t.Errorf("another factor deleted: %d left, %v", len(list), err)
	}
	ok(t, c.Delete(bg, two.ID))
	ok(t, c.Delete(bg, two.ID))
	if list, err = c.Of(bg, id); err != nil || len(list) != 2 {
		t.Errorf("after delete: %d left, %v", len(list), err)
	}
	if list, err = c.Of(bg, "nobody"); err != nil || list != nil {
		t.Errorf("nobody's: %v %v", list, err)
	}
}

func ticket(binding string) factors.Ticket {
	return factors.Ticket{Binding: binding, Purpose: factors.SignIn, Account: "a", Secret: []byte("mac"), Data: []byte("data"), CreatedAt: Start, ExpiresAt: Start.Add(5 * time.Minute)}
}

func tickets(t *testing.T, b *backend) {
	clock := NewClock()
	db := Open(t, b.url(t), clock)
	k, other := db.Tickets("sms"), db.Tickets("totp")
	one, err := k.Open(bg, ticket("b1"), nil)
	ok(t, err)
	got, err := k.Find(bg, "b1", factors.SignIn)
	ok(t, err)
	if got.ID != one.ID || string(got.Secret) != "mac" || string(got.Data) != "data" || got.Account != "a" || got.Tries != 0 || !got.ExpiresAt.Equal(one.ExpiresAt) || !got.CreatedAt.Equal(Start) || got.Binding != "b1" || got.Purpose != factors.SignIn {
		t.Errorf("found %+v", got)
	}
	for _, no := range []struct {
		k       factors.Tickets
		binding string
		purpose factors.Purpose
	}{{k, "b2", factors.SignIn}, {k, "b1", factors.TwoFactor}, {other, "b1", factors.SignIn}, {k, "", factors.SignIn}, {k, "b1", ""}} {
		_, err := no.k.Find(bg, no.binding, no.purpose)
		want(t, "not this one", err, fault.ErrNotFound)
	}
	_, err = other.Try(bg, one.ID, 5)
	want(t, "try of another factor", err, fault.ErrNotFound)
	want(t, "use by another factor", other.Use(bg, one.ID), fault.ErrConflict)
	for n := 1; n <= 5; n++ {
		got, err := k.Try(bg, one.ID, 5)
		ok(t, err)
		if got.Tries != n {
			t.Errorf("try %d counted as %d", n, got.Tries)
		}
	}
	_, err = k.Try(bg, one.ID, 5)
	want(t, "a sixth try", err, fault.ErrNotFound)

	two, err := k.Open(bg, ticket("b1"), nil)
	ok(t, err)
	_, err = k.Try(bg, one.ID, 9)
	want(t, "the one before", err, fault.ErrNotFound)
	want(t, "use of the one before", k.Use(bg, one.ID), fault.ErrConflict)
	if got, err := k.Find(bg, "b1", factors.SignIn); err != nil || got.ID != two.ID || got.Tries != 0 {
		t.Errorf("newest %+v %v", got, err)
	}
	if _, err = k.Open(bg, factors.Ticket{Binding: "b1", Purpose: factors.TwoFactor, Account: "a", ExpiresAt: two.ExpiresAt}, nil); err != nil {
		t.Fatal(err)
	}
	_, err = k.Try(bg, two.ID, 5)
	ok(t, err)
	once(t, 20, fault.ErrConflict, func(int) error { return k.Use(bg, two.ID) })
	got, err = k.Find(bg, "b1", factors.SignIn)
	want(t, "find a used one", err, fault.ErrConflict)
	if got.ID != "" || got.Tries != 1 {
		t.Errorf("of a used one %+v is told", got)
	}
	_, err = k.Try(bg, two.ID, 5)
	want(t, "try a used one", err, fault.ErrNotFound)

	three, err := k.Open(bg, ticket("b1"), nil)
	ok(t, err)
	clock.Advance(5 * time.Minute)
	_, err = k.Find(bg, "b1", factors.SignIn)
	want(t, "find an expired one", err, fault.ErrNotFound)
	_, err = k.Try(bg, three.ID, 5)
	want(t, "try an expired one", err, fault.ErrNotFound)
}

// ticketAnswers: the code is compared by the statement that counts the try and closes the ticket.
func ticketAnswers(t *testing.T, b *backend) {
	clock := NewClock()
	db := Open(t, b.url(t), clock)
	k, other := db.Tickets("sms"), db.Tickets("totp")
	begun := ticket("b1")
	begun.Tries = 2 // of the code before
	one, err := k.Open(bg, begun, nil)
	ok(t, err)
	wrong, right := []byte("another mac"), []byte("mac")
	for _, no := range []struct {
		k       factors.Tickets
		binding string
		purpose factors.Purpose
		id      account.ID
		secret  []byte
	}{
		{k, "b2", factors.SignIn, "a", right}, {k, "b1", factors.TwoFactor, "a", right}, {other, "b1", factors.SignIn, "a", right}, {k, "b1", factors.SignIn, "b", right},
		{k, "", factors.SignIn, "a", right}, {k, "b1", "", "a", right}, {k, "b1", factors.SignIn, "", right}, {k, "b1", factors.SignIn, "a", nil},
	} {
		_, _, err := no.k.Answer(bg, no.binding, no.purpose, no.id, no.secret, 5)
		want(t, "not this one", err, fault.ErrNotFound)
	}
	if got, err := k.Find(bg, "b1", factors.SignIn); err != nil || got.Tries != 2 {
		t.Errorf("begun with %d tries: %v", got.Tries, err)
	}
	if got, ok, err := k.Answer(bg, "b1", factors.SignIn, "a", wrong, 5); err != nil || ok || got.ID != one.ID || got.Tries != 3 || string(got.Data) != "data" {
		t.Errorf("a wrong answer: %+v %v %v", got, ok, err)
	}
	good, bad := together(20, func(int) error {
		_, right, err := k.Answer(bg, "b1", factors.SignIn, "a", right, 5)
		if err == nil && !right {
			t.Error("the right answer was wrong")
		}
		return err
	})
	if good != 1 {
		t.Errorf("%d right answers to one ticket", good)
	}
	for _, err := range bad {
		want(t, "second right answer", err, fault.ErrConflict)
	}
	want(t, "use of an answered one", k.Use(bg, one.ID), fault.ErrConflict)

	_, err = k.Open(bg, ticket("b3"), nil)
	ok(t, err)
	good, bad = together(60, func(int) error {
		_, right, err := k.Answer(bg, "b3", factors.SignIn, "a", wrong, 5)
		if right {
			t.Error("a wrong answer was right")
		}
		return err
	})
	if good != 5 {
		t.Errorf("%d wrong answers were compared", good)
	}
	for _, err := range bad {
		want(t, "one too many", err, fault.ErrNotFound)
	}
	_, _, err = k.Answer(bg, "b3", factors.SignIn, "a", right, 5)
	want(t, "the right one after five wrong ones", err, fault.ErrNotFound)

	_, err = k.Open(bg, ticket("b4"), nil)
	ok(t, err)
	clock.Advance(5 * time.Minute)
	_, _, err = k.Answer(bg, "b4", factors.SignIn, "a", right, 5)
	want(t, "answer to an expired one", err, fault.ErrNotFound)
}

// ticketTriesInParallel: S1.
func ticketTriesInParallel(t *testing.T, b *backend) {
	clock := NewClock()
	k := Open(t, b.url(t), clock).Tickets("sms")
	one, err := k.Open(bg, ticket("b1"), nil)
	ok(t, err)
	good, bad := together(60, func(int) error {
		_, err := k.Try(bg, one.ID, 5)
		return err
	})
	if good != 5 {
		t.Errorf("%d tries", good)
	}
	for _, err := range bad {
		want(t, "one too many", err, fault.ErrNotFound)
	}

	// Many at once open a ticket for one binding: one is left.
	var mu sync.Mutex
	var ids []string
	_, bad = together(10, func(int) error {
		opened, err := k.Open(bg, ticket("b2"), nil)
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, opened.ID)
		return err
	})
	ok(t, errors.Join(bad...))
	usable := 0
	for _, id := range ids {
		if _, err := k.Try(bg, id, 5); err == nil {
			usable++
		}
	}
	if usable != 1 {
		t.Errorf("%d open tickets of one binding", usable)
	}
}

func ticketMessage(t *testing.T, b *backend) {
	db, clock := queue(t, b)
	k := db.Tickets("sms")
	r := Person(t, db)
	m := func() *factors.Message {
		return &factors.Message{Account: r.Account.ID, Channel: "sms", Text: "123456", Deadline: clock.Now().Add(5 * time.Minute)}
	}
	claimed := func(what string, n int) []notify.Message {
		t.Helper()
		got, err := db.Claim(bg, 10, nil, clock.Now())
		ok(t, err)
		if len(got) != n {
			t.Fatalf("%s: %d claimed", what, len(got))
		}
		return got
	}
	one, err := k.Open(bg, ticket("b1"), m())
	ok(t, err)
	got := claimed("opened", 1)[0]
	if got.To != r.Contacts.Phone.Number || got.Text != "123456" || got.Ticket != one.ID || got.Account != r.Account.ID || got.Channel != "sms" {
		t.Errorf("message %+v", got)
	}
	late := func(want bool, what, id string) {
		t.Helper()
		if yes, err := k.Late(bg, id); err != nil || yes != want {
			t.Errorf("%s: late %v, %v", what, yes, err)
		}
	}
	late(true, "claimed", one.ID)
	late(false, "no ticket", "")
	ok(t, db.Sent(bg, got.ID, "g", clock.Now()))
	late(false, "sent", one.ID)

	_, err = k.Open(bg, ticket("b1"), m())
	ok(t, err)
	newest, err := k.Open(bg, ticket("b1"), m())
	ok(t, err)
	if got := claimed("replaced before it was sent", 1)[0]; got.Ticket != newest.ID {
		t.Error("the replaced code is sent")
	}
	used, err := k.Open(bg, ticket("b2"), m())
	ok(t, err)
	ok(t, k.Use(bg, used.ID))
	claimed("used before it was sent", 0)
	expiring := ticket("b3")
	expiring.ExpiresAt = Start.Add(time.Minute)
	_, err = k.Open(bg, expiring, m())
	ok(t, err)
	clock.Advance(time.Minute)
	claimed("expired before it was sent", 0)

	// Without an ID-verified number there is neither ticket nor message.
	r = Record()
	r.Contacts.Phone.Grade = contact.Verified
	_, _, err = db.SavePerson(bg, r)
	ok(t, err)
	for _, id := range []account.ID{r.Account.ID, "nobody", ""} {
		msg := m()
		msg.Account = id
		_, err = k.Open(bg, ticket("b4"), msg)
		want(t, "no number", err, fault.ErrNotFound)
	}
	_, err = k.Find(bg, "b4", factors.SignIn)
	want(t, "its ticket", err, fault.ErrNotFound)
	claimed("its message", 0)

	// The change rolls back: so do both.
	errStop := errors.New("stop")
	err = db.Atomically(bg, func(ctx context.Context) error {
		r = Record()
		if _, _, err := db.SavePerson(ctx, r); err != nil {
			return err
		}
		if _, err := k.Open(ctx, ticket("b5"), m()); err != nil {
			return err
		}
		return errStop
	})
	want(t, "rolled back", err, errStop)
	_, err = k.Find(bg, "b5", factors.SignIn)
	want(t, "its ticket", err, fault.ErrNotFound)
	claimed("its message", 0)
}
