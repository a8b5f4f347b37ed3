package storagetest

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
)

// openTickets: a person's tickets are found without their binding, and turn once.
func openTickets(t *testing.T, b *backend) {
	clock := NewClock()
	db := Open(t, b.url(t), clock)
	k, other := db.Tickets("device"), db.Tickets("sms")
	open := func(k factors.Tickets, binding string, owner account.ID) factors.Ticket {
		t.Helper()
		clock.Advance(time.Millisecond)
		n, err := k.Open(bg, factors.Ticket{Binding: binding, Purpose: factors.SignIn, Account: owner, Data: []byte("asked"), ExpiresAt: Start.Add(time.Minute)}, nil)
		ok(t, err)
		return n
	}
	listed := func(owner account.ID) (bindings string) {
		t.Helper()
		list, err := k.ListOpen(bg, owner)
		ok(t, err)
		for _, n := range list {
			bindings += n.Binding
		}
		return bindings
	}
	one, two := open(k, "1", "a"), open(k, "2", "a")
	open(k, "3", "b")
	open(other, "4", "a")
	open(k, "5", "")
	if got := listed("a"); got != "21" {
		t.Errorf("of a: %q", got)
	}
	if got := listed(""); got != "" {
		t.Errorf("of nobody: %q", got)
	}

	want(t, "a turn of another factor", other.Turn(bg, one.ID, nil, []byte("yes"), nil), fault.ErrConflict)
	want(t, "a turn from elsewhere", k.Turn(bg, one.ID, []byte("x"), []byte("yes"), nil), fault.ErrConflict)
	want(t, "a turn of nothing", k.Turn(bg, "", nil, []byte("yes"), nil), fault.ErrConflict)
	once(t, 20, fault.ErrConflict, func(int) error { return k.Turn(bg, one.ID, nil, []byte("yes"), []byte("answered")) })
	got, err := k.Find(bg, "1", factors.SignIn)
	ok(t, err)
	if string(got.Secret) != "yes" || string(got.Data) != "answered" {
		t.Errorf("turned %+v", got)
	}
	_, right, err := k.Answer(bg, "1", factors.SignIn, "a", []byte("yes"), 9)
	ok(t, err)
	if !right {
		t.Error("what it was turned to is not its secret")
	}
	want(t, "a turn of a used one", k.Turn(bg, one.ID, []byte("yes"), nil, nil), fault.ErrConflict)
	if got := listed("a"); got != "2" {
		t.Errorf("with one used: %q", got)
	}
	clock.Advance(time.Minute)
	want(t, "a turn of an expired one", k.Turn(bg, two.ID, nil, []byte("yes"), nil), fault.ErrConflict)
	if got := listed("a"); got != "" {
		t.Errorf("expired: %q", got)
	}
}

// credentialByID finds a factor's own only.
func credentialByID(t *testing.T, b *backend) {
	c := b.db.Credentials("device")
	made, err := c.Create(bg, factors.Credential{Account: account.ID(uuid.NewString()), State: "active", Data: []byte("key")})
	ok(t, err)
	got, err := c.ByID(bg, made.ID)
	ok(t, err)
	if got.ID != made.ID || got.Account != made.Account || string(got.Data) != "key" || got.Version != 1 {
		t.Errorf("found %+v", got)
	}
	for _, no := range []string{"", uuid.NewString()} {
		_, err := c.ByID(bg, no)
		want(t, "no such id", err, fault.ErrNotFound)
	}
	_, err = b.db.Credentials("sms").ByID(bg, made.ID)
	want(t, "another factor's", err, fault.ErrNotFound)
}
