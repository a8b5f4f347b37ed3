package reach

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/throttle"
)

type world struct {
	throttle.Store
	phone contact.Phone
	hits  []string
	full  string // key that has no room
	up    bool
}

func (w *world) Contacts(context.Context, account.ID) (contact.Contacts, error) {
	return contact.Contacts{Phone: w.phone}, nil
}

func (w *world) Hit(_ context.Context, key string, ws []throttle.Window, _ time.Time) (time.Duration, error) {
	if key == w.full {
		return 90 * time.Second, nil
	}
	w.hits = append(w.hits, key)
	return 0, nil
}

func (w *world) Up(string) bool { return w.up }

func TestEnding(t *testing.T) {
	for _, tc := range []struct {
		phone contact.Phone
		want  string
		ok    bool
	}{
		{contact.Phone{Number: "+905550000001", Grade: contact.IDVerified}, "01", true},
		{contact.Phone{Number: "+905550000001", Grade: contact.Verified}, "", false},
		{contact.Phone{Number: "+905550000001", Grade: contact.Declared}, "", false},
		{contact.Phone{}, "", false},
	} {
		w := &world{phone: tc.phone}
		got, ok, err := (&Messenger{Contacts: w}).Ending(t.Context(), "a1")
		if err != nil || got != tc.want || ok != tc.ok {
			t.Errorf("%+v: %q %v %v", tc.phone, got, ok, err)
		}
	}
}

func TestAllow(t *testing.T) {
	for _, full := range []string{"", "send:person:a1", "send:network:192.0.2.1"} {
		w := &world{full: full}
		m := &Messenger{Throttle: w, Now: time.Now, Channels: w}
		err := m.Allow(t.Context(), "a1", "192.0.2.1")
		if f := fault.Of(err); full != "" && (f.Kind != fault.Throttled || f.RetryAfter != 90*time.Second || f.Args["n"] != 2) {
			t.Errorf("%s full: %v", full, err)
		}
		if full == "" && (err != nil || len(w.hits) != 2) {
			t.Errorf("%v %v", err, w.hits)
		}
	}
	if err := (&Messenger{}).Allow(t.Context(), "", "x"); !errors.Is(err, fault.New(fault.Internal, "")) {
		t.Errorf("nobody may be sent to: %v", err)
	}
}

func TestMAC(t *testing.T) {
	m := &Messenger{Ring: secret.Ephemeral()}
	if string(m.MAC("a", "bc")) == string(m.MAC("ab", "c")) {
		t.Error("the parts run together")
	}
}
