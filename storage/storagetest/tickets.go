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
