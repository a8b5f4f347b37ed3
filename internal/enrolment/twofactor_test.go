package enrolment

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// switchboard is a database of one person: what fn wrote is lost when fn fails.
type switchboard struct {
	account account.Account
	phone   contact.Phone
	events  []audit.Event
	failing error // of Record
	racing  bool  // somebody else writes the account between read and write
}

func (b *switchboard) Atomically(ctx context.Context, fn func(context.Context) error) error {
	before, events := b.account, len(b.events)
	err := fn(ctx)
	if err != nil {
		b.account, b.events = before, b.events[:events]
	}
	return err
}

func (b *switchboard) Account(_ context.Context, id account.ID) (account.Account, error) {
	if id != b.account.ID {
		return account.Account{}, fault.ErrNotFound
	}
	return b.account, nil
}

func (b *switchboard) UpdateAccount(_ context.Context, a account.Account) error {
	if a.Version != b.account.Version || b.racing {
		return fault.ErrConflict
	}
	a.Version++
	b.account = a
	return nil
}

func (b *switchboard) Contacts(context.Context, account.ID) (contact.Contacts, error) {
	return contact.Contacts{Phone: b.phone}, nil
}

func (b *switchboard) Record(_ context.Context, e audit.Event) error {
	if b.failing != nil {
		return b.failing
	}
	b.events = append(b.events, e)
	return nil
}

func newSwitchboard(on bool) *switchboard {
	b := &switchboard{
		account: account.Account{ID: "ayse", State: account.Active, TwoFactor: on, Version: 3},
		phone:   contact.Phone{Number: "+905550000001", Grade: contact.IDVerified},
	}
	if on {
		b.account.TwoFactorSince = noon.Add(-time.Hour)
	}
	return b
}

func (b *switchboard) twoFactor(alone bool) *TwoFactor {
	return &TwoFactor{Store: b, Audit: b, Now: func() time.Time { return noon },
		PasswordAlone: func(context.Context, account.ID) (bool, error) { return alone, nil }}
}

func proof() factors.Proof {
	return factors.Proof{Factor: "sms", Account: "ayse", Stage: factors.Second, Kinds: factors.Have, Channel: factors.Phone, At: noon}
}

func TestTurnOn(t *testing.T) {
	tests := []struct {
		name   string
		mend   func(*switchboard, *Switching)
		key    string
		failed error
	}{
		{name: "all there", mend: func(*switchboard, *Switching) {}},
		{name: "five minutes old", mend: func(_ *switchboard, s *Switching) { s.Proof.At = noon.Add(-ProofAge) }},
		{name: "no phone", key: "two_factor.no_phone", mend: func(b *switchboard, _ *Switching) { b.phone = contact.Phone{} }},
		{name: "a phone that is only verified", key: "two_factor.no_phone", mend: func(b *switchboard, _ *Switching) { b.phone.Grade = contact.Verified }},
		{name: "terms not accepted", key: "two_factor.terms", mend: func(_ *switchboard, s *Switching) { s.Terms = "" }},
		{name: "no proof", key: "two_factor.proof", mend: func(_ *switchboard, s *Switching) { s.Proof = factors.Proof{} }},
		{name: "old proof", key: "two_factor.proof", mend: func(_ *switchboard, s *Switching) { s.Proof.At = noon.Add(-ProofAge - time.Second) }},
		{name: "proof from tomorrow", key: "two_factor.proof", mend: func(_ *switchboard, s *Switching) { s.Proof.At = noon.Add(24 * time.Hour) }},
		{name: "proof of somebody else", key: "two_factor.proof", mend: func(_ *switchboard, s *Switching) { s.Proof.Account = "mehmet" }},
		{name: "proof of a first factor", key: "two_factor.proof", mend: func(_ *switchboard, s *Switching) { s.Proof.Stage = factors.First }},
		{name: "proof that did not come by phone", key: "two_factor.proof", mend: func(_ *switchboard, s *Switching) { s.Proof.Channel = factors.Here }},
		{name: "on already", key: "two_factor.already_on", mend: func(b *switchboard, _ *Switching) { b.account.TwoFactor = true }},
		{name: "locked account", key: "two_factor.account", mend: func(b *switchboard, _ *Switching) { b.account.State = account.Locked }},
		{name: "somebody was faster", failed: fault.ErrConflict, mend: func(b *switchboard, _ *Switching) { b.racing = true }},
		{name: "no record, no change", failed: errBroken, mend: func(b *switchboard, _ *Switching) { b.failing = errBroken }},
		{name: "nobody", failed: fault.New(fault.Internal, ""), mend: func(_ *switchboard, s *Switching) { s.Account = "" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newSwitchboard(false)
			s := Switching{Account: "ayse", Proof: proof(), Terms: "1", Event: audit.Event{Session: "s1", Network: "192.0.2.1"}}
			tt.mend(b, &s)
			before := b.account
			err := b.twoFactor(true).On(t.Context(), s)
			if tt.key == "" && tt.failed == nil {
				if err != nil || !b.account.TwoFactor || !b.account.TwoFactorSince.Equal(noon) || b.account.Version != 4 {
					t.Fatalf("On = %v, account %+v", err, b.account)
				}
				e := b.events[0]
				if e.Name != audit.TwoFactorOn || e.Subject != "ayse" || e.Actor != "ayse" || e.Session != "s1" || e.Details["terms"] != "1" || e.Details["factor"] != "sms" {
					t.Errorf("event %+v", e)
				}
				return
			}
			checkRefused(t, err, tt.key, tt.failed)
			if b.account != before || len(b.events) != 0 {
				t.Errorf("something was written: %+v, %d events", b.account, len(b.events))
			}
		})
	}
}

var errBroken = errors.New("broken")

func checkRefused(t *testing.T, err error, key string, failed error) {
	t.Helper()
	if failed != nil && !errors.Is(err, failed) {
		t.Errorf("error %v, want %v", err, failed)
	}
	if key != "" && (err == nil || fault.Of(err).Key != key) {
		t.Errorf("error %v, want %s", err, key)
	}
}

// What goes with two-factor authentication goes in the same transaction, and only then.
func TestTurnOffDropsWhatGoesWithIt(t *testing.T) {
	for _, failing := range []error{nil, errors.New("the device cannot be removed")} {
		b := newSwitchboard(true)
		f := b.twoFactor(true)
		var dropped []account.ID
		f.Drop = func(_ context.Context, id account.ID) error {
			dropped = append(dropped, id)
			return failing
		}
		if err := f.Off(t.Context(), Switching{Account: "nobody", Proof: proof()}); err == nil || len(dropped) != 0 {
			t.Errorf("refused, and yet dropped %v: %v", dropped, err)
		}
		err := f.Off(t.Context(), Switching{Account: "ayse", Proof: proof()})
		if !errors.Is(err, failing) || len(dropped) != 1 || dropped[0] != "ayse" || b.account.TwoFactor != (failing != nil) {
			t.Errorf("Off = %v, dropped %v, on %v", err, dropped, b.account.TwoFactor)
		}
	}
}

func TestTurnOff(t *testing.T) {
	tests := []struct {
		name  string
		alone bool
		mend  func(*switchboard, *Switching)
		key   string
	}{
		{name: "all there", alone: true, mend: func(*switchboard, *Switching) {}},
		{name: "by a factor here", alone: true, mend: func(_ *switchboard, s *Switching) { s.Proof.Channel = factors.Here }},
		{name: "without a phone", alone: true, mend: func(b *switchboard, _ *Switching) { b.phone = contact.Phone{} }},
		{name: "short password", key: "two_factor.password_short", mend: func(*switchboard, *Switching) {}},
		{name: "no proof", alone: true, key: "two_factor.proof", mend: func(_ *switchboard, s *Switching) { s.Proof = factors.Proof{} }},
		{name: "old proof", alone: true, key: "two_factor.proof", mend: func(_ *switchboard, s *Switching) { s.Proof.At = noon.Add(-time.Hour) }},
		{name: "proof of somebody else", alone: true, key: "two_factor.proof", mend: func(_ *switchboard, s *Switching) { s.Proof.Account = "mehmet" }},
		{name: "off already", alone: true, key: "two_factor.already_off", mend: func(b *switchboard, _ *Switching) { b.account.TwoFactor = false }},
		{name: "dead", alone: true, key: "two_factor.account", mend: func(b *switchboard, _ *Switching) { b.account.State = account.Deceased }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newSwitchboard(true)
			s := Switching{Account: "ayse", Proof: proof()}
			tt.mend(b, &s)
			before := b.account
			err := b.twoFactor(tt.alone).Off(t.Context(), s)
			if tt.key != "" {
				checkRefused(t, err, tt.key, nil)
				if b.account != before || len(b.events) != 0 {
					t.Errorf("something was written: %+v, %d events", b.account, len(b.events))
				}
				return
			}
			if err != nil || b.account.TwoFactor || !b.account.TwoFactorSince.IsZero() || len(b.events) != 1 || b.events[0].Name != audit.TwoFactorOff {
				t.Fatalf("Off = %v, account %+v, events %+v", err, b.account, b.events)
			}
		})
	}
}
