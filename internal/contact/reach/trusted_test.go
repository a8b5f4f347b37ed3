package reach

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
)

// teller is an operator that says what a test wants.
type teller struct {
	changed time.Time
	err     error
	since   time.Time // asked last
	asked   int
}

func (o *teller) Changed(_ context.Context, _ string, since time.Time) (bool, time.Time, error) {
	o.asked++
	o.since = since
	return o.changed.After(since), o.changed, o.err
}

type owners map[account.ID]account.Account

func (o owners) Account(_ context.Context, id account.ID) (account.Account, error) {
	return o[id], nil
}

func TestRC5_Trusted(t *testing.T) {
	verifiedAt, since, unblocked := start.Add(-3*time.Hour), start.Add(-2*time.Hour), start.Add(-time.Hour)
	for _, c := range []struct {
		name    string
		phone   func(*contact.Phone)
		changed time.Time
		err     error
		reason  string // of the hindrance; "" = trusted
		since   time.Time
		asked   int
		blocks  int
	}{
		{name: "never changed", since: since, asked: 1},
		{name: "changed before two-factor authentication", changed: since, since: since, asked: 1},
		{name: "changed after", changed: since.Add(time.Microsecond), since: since, asked: 1, reason: factors.SIMChanged, blocks: 1},
		{name: "changed before it was accepted", phone: func(p *contact.Phone) { p.TrustedAt = unblocked }, changed: unblocked, since: unblocked, asked: 1},
		{name: "ID-verified anew afterwards", phone: func(p *contact.Phone) { p.VerifiedAt = unblocked }, changed: unblocked.Add(-time.Second), since: unblocked, asked: 1},
		{name: "the operator cannot tell", err: errors.New("?"), since: since, asked: 1, reason: factors.SIMUnknown},
		{name: "blocked already", phone: func(p *contact.Phone) { p.BlockedAt = start }, reason: factors.SIMChanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, m := newWorld()
			p := verified("+905550000001")
			p.VerifiedAt = verifiedAt
			if c.phone != nil {
				c.phone(&p)
			}
			w.phones["ayse"] = p
			o, blocks := &teller{changed: c.changed, err: c.err}, 0
			m.SIM, m.Accounts = o, owners{"ayse": {ID: "ayse", TwoFactor: true, TwoFactorSince: since}}
			m.Block = func(_ context.Context, id account.ID, number string, at time.Time) error {
				if id != "ayse" || number != p.Number || !at.Equal(c.changed) {
					t.Errorf("blocks %s %s at %v", id, number, at)
				}
				blocks++
				return nil
			}
			err := m.Trusted(t.Context(), "ayse")
			var h *factors.Hindrance
			if got := errors.As(err, &h); got != (c.reason != "") || got && h.Reason != c.reason || !got && err != nil {
				t.Errorf("%v, want %q", err, c.reason)
			}
			if o.asked != c.asked || !o.since.Equal(c.since) || blocks != c.blocks {
				t.Errorf("asked %d times since %v, blocked %d times", o.asked, o.since, blocks)
			}
			// What cannot be stored is no reason to trust.
			m.Block = func(context.Context, account.ID, string, time.Time) error { return errors.New("database away") }
			if c.blocks > 0 && m.Trusted(t.Context(), "ayse") == nil {
				t.Error("trusted because the block could not be stored")
			}
		})
	}
	// Without an operator nobody is asked; without a number there is nothing to ask.
	_, m := newWorld()
	if err := m.Trusted(t.Context(), "ayse"); err != nil {
		t.Error(err)
	}
	o := &teller{err: errors.New("?")}
	m.SIM, m.Accounts = o, owners{}
	if err := m.Trusted(t.Context(), "nobody"); err != nil || o.asked != 0 {
		t.Errorf("%v, asked %d times", err, o.asked)
	}
}
