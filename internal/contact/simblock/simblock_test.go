package simblock

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
)

var t0 = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

const someone, mobile = account.ID("5f1c1d1e-1111-4111-8111-111111111111"), "+905550000001"

// book is one person's contacts and the record; what fails is rolled back.
type book struct {
	a         account.Account
	c         contact.Contacts
	events    []audit.Event
	unwritten bool // the record cannot be written
	voided    []string
}

func (b *book) VoidProofs(_ context.Context, id account.ID, _ time.Time) error {
	b.voided = append(b.voided, "proofs of "+string(id))
	return nil
}

func (b *book) VoidTickets(_ context.Context, id account.ID, _ time.Time) error {
	b.voided = append(b.voided, "tickets of "+string(id))
	return nil
}

func (b *book) Atomically(ctx context.Context, fn func(context.Context) error) error {
	c, events := b.c, b.events
	err := fn(ctx)
	if err != nil {
		b.c, b.events = c, events
	}
	return err
}

func (b *book) Account(_ context.Context, id account.ID) (account.Account, error) {
	if id != b.a.ID {
		return account.Account{}, fault.ErrNotFound
	}
	return b.a, nil
}

func (b *book) Contacts(context.Context, account.ID) (contact.Contacts, error) { return b.c, nil }

func (b *book) ChangeContacts(_ context.Context, id account.ID, fn func(*contact.Contacts) error) error {
	if id != b.a.ID {
		return fault.ErrNotFound
	}
	return fn(&b.c)
}

func (b *book) Record(_ context.Context, e audit.Event) error {
	if b.unwritten {
		return errors.New("the record cannot be written")
	}
	b.events = append(b.events, e)
	return nil
}

func newBook() (*book, *Keeper) {
	b := &book{a: account.Account{ID: someone, CreatedAt: t0.Add(-100 * time.Hour)}, c: contact.Contacts{Phone: contact.Phone{Number: mobile, Grade: contact.IDVerified}}}
	return b, &Keeper{Store: b, Audit: b, Now: func() time.Time { return t0.Add(123 * time.Nanosecond) }}
}

func TestBaseline(t *testing.T) {
	at := func(h int) time.Time { return t0.Add(time.Duration(h) * time.Hour) }
	for name, tc := range map[string]struct {
		created, twoFactor, verified, trusted, want time.Time
	}{
		"only an account":          {at(1), time.Time{}, time.Time{}, time.Time{}, at(1)},
		"two-factor last":          {at(1), at(4), at(2), at(3), at(4)},
		"verified last":            {at(1), at(2), at(4), at(3), at(4)},
		"accepted last":            {at(1), at(2), at(3), at(4), at(4)},
		"an account made the last": {at(4), at(1), at(2), at(3), at(4)},
	} {
		a, p := account.Account{CreatedAt: tc.created, TwoFactorSince: tc.twoFactor}, contact.Phone{VerifiedAt: tc.verified, TrustedAt: tc.trusted}
		if got := Baseline(a, p); !got.Equal(tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestBlock(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(b *book)
		number  string
		changed time.Time
		blocks  bool
	}{
		"a change that is news":        {nil, mobile, t0, true},
		"at the baseline itself":       {nil, mobile, t0.Add(-100 * time.Hour), false},
		"just after it":                {nil, mobile, t0.Add(-100*time.Hour + time.Microsecond), true},
		"before two-factor":            {func(b *book) { b.a.TwoFactorSince = t0.Add(time.Second) }, mobile, t0, false},
		"before the number's proof":    {func(b *book) { b.c.Phone.VerifiedAt = t0.Add(time.Second) }, mobile, t0, false},
		"accepted before":              {func(b *book) { b.c.Phone.TrustedAt = t0 }, mobile, t0, false},
		"another number by now":        {nil, "+905550000002", t0, false},
		"a number of a lower grade":    {func(b *book) { b.c.Phone.Grade = contact.Verified }, mobile, t0, false},
		"blocked already for it":       {func(b *book) { b.c.Phone.BlockedAt = t0 }, mobile, t0, false},
		"blocked for a later one":      {func(b *book) { b.c.Phone.BlockedAt = t0.Add(time.Second) }, mobile, t0, false},
		"the record cannot be written": {func(b *book) { b.unwritten = true }, mobile, t0, false},
	} {
		t.Run(name, func(t *testing.T) {
			b, k := newBook()
			if tc.change != nil {
				tc.change(b)
			}
			before := b.c.Phone.BlockedAt
			err := k.Block(t.Context(), someone, tc.number, tc.changed, ByEvent, audit.Event{Actor: "operator"})
			if (err != nil) != b.unwritten {
				t.Fatal(err)
			}
			switch {
			case tc.blocks && (!b.c.Phone.BlockedAt.Equal(tc.changed) || len(b.events) != 1):
				t.Errorf("%+v, %v", b.c.Phone, b.events)
			case tc.blocks:
				e := b.events[0]
				if e.Name != audit.SIMBlocked || e.Subject != string(someone) || e.Actor != "operator" || e.Details["by"] != ByEvent || !e.At.Equal(t0) {
					t.Errorf("%+v", e)
				}
			case !b.c.Phone.BlockedAt.Equal(before) || len(b.events) != 0:
				t.Errorf("%+v, %v", b.c.Phone, b.events)
			}
		})
	}
	_, k := newBook()
	if err := k.Block(t.Context(), "nobody", mobile, t0, ByQuery, audit.Event{}); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
}

// A change that comes while the number is blocked is not forgotten: whom somebody saw before it does not unblock, the first change stays
// that by which an address is too new, and one that nobody told of blocks again.
func TestChangedAgainWhileBlocked(t *testing.T) {
	at := func(m int) time.Time { return t0.Add(time.Duration(m) * time.Minute) }
	b, k := newBook()
	now := at(0)
	k.Now = func() time.Time { return now }
	block := func(m int) {
		t.Helper()
		if err := k.Block(t.Context(), someone, mobile, at(m), ByEvent, audit.Event{}); err != nil {
			t.Fatal(err)
		}
	}
	unblock := func(seen int) error {
		return k.UnblockSeen(t.Context(), someone, ByPartner, at(seen), audit.Event{}, nil)
	}
	block(0)
	now = at(5)
	block(5)
	block(3) // told late
	block(5) // told twice
	if p := b.c.Phone; !p.BlockedAt.Equal(at(0)) || !p.SwappedAt.Equal(at(5)) || len(b.events) != 2 {
		t.Fatalf("%+v, %d events", p, len(b.events))
	}
	now = at(8)
	if err := unblock(4); !errors.Is(err, ErrNotBlocked) {
		t.Fatalf("seen before the second change: %v", err)
	}
	if err := k.UnblockSeen(t.Context(), someone, ByPartner, time.Time{}, audit.Event{}, nil); !errors.Is(err, ErrNotBlocked) {
		t.Fatalf("never seen: %v", err)
	}
	if err := unblock(6); err != nil {
		t.Fatal(err)
	}
	if p := b.c.Phone; !p.BlockedAt.IsZero() || !p.SwappedAt.IsZero() || !p.TrustedAt.Equal(at(6)) {
		t.Fatalf("%+v", p)
	}
	if block(5); !b.c.Phone.BlockedAt.IsZero() {
		t.Error("the accepted one blocks again")
	}
	if block(7); !b.c.Phone.BlockedAt.Equal(at(7)) {
		t.Error("a change after the person was seen counts as accepted")
	}
	// Whoever sees the person now has seen all there is; nobody has seen them tomorrow.
	if err := unblock(600); err != nil || !b.c.Phone.TrustedAt.Equal(at(8)) {
		t.Errorf("%v, %+v", err, b.c.Phone)
	}
}

func TestUnblock(t *testing.T) {
	for name, tc := range map[string]struct {
		blocked, seen time.Time
		want          error
	}{
		"blocked":                {t0, time.Time{}, nil},
		"not blocked":            {time.Time{}, time.Time{}, ErrNotBlocked},
		"not blocked, and seen":  {time.Time{}, t0, ErrNotBlocked},
		"seen after the change":  {t0.Add(-time.Minute), t0, nil},
		"seen at the change":     {t0, t0, nil},
		"seen before the change": {t0, t0.Add(-time.Microsecond), ErrNotBlocked},
	} {
		t.Run(name, func(t *testing.T) {
			b, k := newBook()
			b.c.Phone.BlockedAt = tc.blocked
			var err error
			if tc.seen.IsZero() {
				err = k.Unblock(t.Context(), someone, ByOffice, audit.Event{Actor: "cli"}, map[string]string{"reason": "form 7"})
			} else {
				err = k.UnblockSeen(t.Context(), someone, ByOffice, tc.seen, audit.Event{Actor: "cli"}, map[string]string{"reason": "form 7"})
			}
			if !errors.Is(err, tc.want) {
				t.Fatalf("%v, want %v", err, tc.want)
			}
			if tc.want != nil {
				if !b.c.Phone.BlockedAt.Equal(tc.blocked) || !b.c.Phone.TrustedAt.IsZero() || len(b.events) != 0 {
					t.Errorf("%+v, %v", b.c.Phone, b.events)
				}
				return
			}
			if !b.c.Phone.BlockedAt.IsZero() || !b.c.Phone.TrustedAt.Equal(t0) || len(b.events) != 1 || len(b.voided) != 2 {
				t.Fatalf("%+v, %v, %v", b.c.Phone, b.events, b.voided)
			}
			if e := b.events[0]; e.Name != audit.SIMUnblocked || e.Details["how"] != ByOffice || e.Details["reason"] != "form 7" || e.Actor != "cli" {
				t.Errorf("%+v", e)
			}
			// The change is known from now on: the same one blocks no second time, the next one does.
			if err := k.Block(t.Context(), someone, mobile, tc.blocked, ByQuery, audit.Event{}); err != nil || !b.c.Phone.BlockedAt.IsZero() {
				t.Errorf("the same change: %v, %+v", err, b.c.Phone)
			}
			if err := k.Block(t.Context(), someone, mobile, t0.Add(time.Hour), ByQuery, audit.Event{}); err != nil || b.c.Phone.BlockedAt.IsZero() {
				t.Errorf("the next change: %v, %+v", err, b.c.Phone)
			}
		})
	}
	b, k := newBook()
	b.c.Phone.BlockedAt, b.unwritten = t0, true
	if err := k.Unblock(t.Context(), someone, ByMail, audit.Event{}, nil); err == nil || b.c.Phone.BlockedAt.IsZero() {
		t.Errorf("unblocked without a record: %v", err)
	}
}
