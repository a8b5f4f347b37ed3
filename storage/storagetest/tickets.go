package storagetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/storage"
)

// ticketOfItsNumber: a code goes to the number that stands when it is committed, or nowhere (row RC3).
func ticketOfItsNumber(t *testing.T, b *backend) {
	db, clock := queue(t, b)
	k := db.Tickets("sms")
	r := Person(t, db)
	change := func(ctx context.Context, number string) error {
		return db.Atomically(ctx, func(ctx context.Context) error {
			err := db.ChangeContacts(ctx, r.Account.ID, func(c *contact.Contacts) error { c.Phone.Number = number; return nil })
			if err != nil {
				return err
			}
			return contact.Void(ctx, db, r.Account.ID, clock.Now())
		})
	}
	open := func(ctx context.Context, binding string) error {
		of := ticket(binding)
		of.Account = r.Account.ID
		_, err := k.Open(ctx, of, &factors.Message{Account: r.Account.ID, Channel: "sms", Text: "123456", Deadline: clock.Now().Add(5 * time.Minute)})
		return err
	}
	// Read before, committed after.
	began := storage.Remember(bg)
	_, err := db.Account(began, r.Account.ID)
	ok(t, err)
	ok(t, change(bg, "+905550000002"))
	want(t, "a code for the number of before", open(began, "late"), fault.ErrConflict)
	_, err = k.Find(bg, "late", factors.SignIn)
	want(t, "its ticket", err, fault.ErrNotFound)

	// At the same moment.
	for n := range 20 {
		number, binding := fmt.Sprintf("+9055500001%02d", n), fmt.Sprint("b", n)
		_, errs := together(2, func(i int) error {
			if i == 0 {
				return change(bg, number)
			}
			return open(bg, binding)
		})
		for _, err := range errs {
			want(t, "a code at the moment of the change", err, fault.ErrConflict)
		}
		_, found := k.Find(bg, binding, factors.SignIn)
		sent, err := db.Claim(bg, 10, nil, clock.Now())
		ok(t, err)
		for _, m := range sent {
			if found == nil && m.To != number {
				t.Errorf("a code that was sent to %s is good, and the number is %s", m.To, number)
			}
		}
	}
}

// ticketReplaces: a ticket goes where its opener knew what stands, or nowhere.
func ticketReplaces(t *testing.T, b *backend) {
	clock := NewClock()
	db := Open(t, b.url(t), clock)
	k := db.Tickets("sms")
	open := func(replaces string, tries int) (factors.Ticket, error) {
		next := ticket("b1")
		next.CreatedAt, next.ExpiresAt = clock.Now(), clock.Now().Add(5*time.Minute)
		next.Replaces, next.Tries = replaces, tries
		got, err := k.Open(bg, next, nil)
		if err == nil && got.Replaces != "" {
			t.Errorf("%q stays in it", got.Replaces)
		}
		return got, err
	}
	one, err := open(factors.Nothing, 0)
	ok(t, err)
	_, err = k.Try(bg, one.ID, 5)
	ok(t, err)
	for what, no := range map[string]struct {
		replaces string
		tries    int
	}{
		"nothing, where one stands": {factors.Nothing, 9},
		"another":                   {"5b0b3e05-0000-4000-8000-000000000000", 9},
		"fewer tries than it has":   {one.ID, 0},
	} {
		_, err := open(no.replaces, no.tries)
		want(t, what, err, fault.ErrConflict)
		// Inside a transaction all of it comes to nothing.
		want(t, what+", in a transaction", db.Atomically(bg, func(ctx context.Context) error {
			next := ticket("b1")
			next.Replaces, next.Tries = no.replaces, no.tries
			return second(k.Open(ctx, next, nil))
		}), fault.ErrConflict)
	}
	if got, err := k.Find(bg, "b1", factors.SignIn); err != nil || got.ID != one.ID || got.Tries != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	two, err := open(one.ID, 1)
	ok(t, err)
	if got, err := k.Find(bg, "b1", factors.SignIn); err != nil || got.ID != two.ID || got.Tries != 1 || got.Replaces != "" {
		t.Fatalf("%+v %v", got, err)
	}

	// Of one that is used the opener knows the tries: they count no more.
	ok(t, k.Use(bg, two.ID))
	used, err := k.Find(bg, "b1", factors.SignIn)
	want(t, "a used one", err, fault.ErrConflict)
	if used.ID != "" || used.Tries != 1 || used.Replaces != two.ID {
		t.Errorf("of a used one %+v is told", used)
	}
	_, err = open(factors.Nothing, 1)
	want(t, "nothing, where a used one stands", err, fault.ErrConflict)
	once(t, 8, fault.ErrConflict, func(int) error { return second(open(used.Replaces, 0)) })

	// One that is over is in nobody's way.
	clock.Advance(5 * time.Minute)
	once(t, 8, fault.ErrConflict, func(int) error { return second(open(factors.Nothing, 0)) })
	clock.Advance(5 * time.Minute)
	_, err = open("5b0b3e05-0000-4000-8000-000000000000", 0)
	ok(t, err)
}
