package enrolment_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/storage/storagetest"
)

func (w *held) to(channel string) (to []string) {
	for _, m := range w.out {
		if m.Channel == channel {
			to = append(to, m.To)
		}
	}
	return to
}

// RC3: who changes a number or an address twice does not take the first one out of its owner's hands, and the one between is told as well.
func TestRC3_ChangedTwiceIsUndoneToTheFirst(t *testing.T) {
	w := newHeld(t)
	ctx := t.Context()
	c, err := w.db.Contacts(ctx, w.id)
	w.ok(err)
	first := c.Email
	w.ok(w.holds.EmailChanged(ctx, w.id, first, from))
	for _, next := range []string{"thief1@example.org", "thief2@example.org", "thief1@example.org"} {
		w.clock.Advance(time.Minute)
		w.out = nil
		w.ok(w.db.ChangeContacts(ctx, w.id, func(k *contact.Contacts) error { k.Email.Address = next; return nil }))
		w.ok(w.holds.EmailChanged(ctx, w.id, contact.Email{Address: next, Verified: true, VerifiedAt: w.clock.Now()}, from))
		if to := w.to("mail"); !slices.Contains(to, first.Address) || !slices.Contains(to, next) {
			t.Fatalf("told %v", to)
		}
	}
	h, err := w.holds.Look(ctx, w.link())
	w.ok(err)
	w.ok(w.holds.Undo(ctx, h, from))
	if c, _ := w.db.Contacts(ctx, w.id); c.Email.Address != first.Address || !c.Email.Verified {
		t.Errorf("%+v", c.Email)
	}

	// A number likewise; what is undone is over, and the next change begins anew.
	for i, number := range []string{"+905550000001", "+905550000008", "+905550000009"} {
		w.clock.Advance(time.Minute)
		w.out = nil
		w.ok(w.holds.PhoneChanged(ctx, w.id, contact.Phone{Number: number, Grade: contact.Verified}, from))
		if to := w.to("sms"); len(to) != i+1 || to[0] != "+905550000001" || !slices.Contains(to, number) {
			t.Fatalf("told %v", to)
		}
	}
	h, err = w.holds.Look(ctx, w.link())
	w.ok(err)
	if h.Data.Phone.Number != "+905550000001" {
		t.Errorf("%+v", h.Data)
	}
	w.ok(w.holds.Undo(ctx, h, from))
	w.out = nil
	w.ok(w.holds.PhoneChanged(ctx, w.id, contact.Phone{Number: "+905550000007", Grade: contact.Verified}, from))
	if to := w.to("sms"); !slices.Equal(to, []string{"+905550000007"}) {
		t.Errorf("told %v", to)
	}
}

// RC5: whoever stole the SIM card must not be sent the code that undoes what was done against it.
func TestRC5_NothingIsUndoneFromAChangedSIM(t *testing.T) {
	w := newHeld(t)
	ctx := t.Context()
	stolen := contact.Phone{Number: "+905550000001", Grade: contact.IDVerified, BlockedAt: storagetest.Start}
	w.ok(w.holds.PhoneChanged(ctx, w.id, stolen, from))
	w.ok(w.db.ChangeContacts(ctx, w.id, func(k *contact.Contacts) error { k.Phone.BlockedAt = storagetest.Start; return nil }))
	w.ok(w.holds.Recovered(ctx, w.id, from))
	if to := w.to("sms"); len(to) != 0 {
		t.Errorf("sent to %v", to)
	}
	if len(w.to("mail")) == 0 {
		t.Error("nobody is told")
	}
}
