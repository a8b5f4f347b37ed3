// Package reach owns how a person is reached without anybody learning the number: whether there is an ID-verified phone, how
// it ends, whether one more message may go out, and whether the channel works. Enter with Messenger, which factors see as
// factors.Messenger. It refuses a send above the limits of the number, of the network, of a block of numbers, of a
// country or of the whole, whichever factor, service, sign-in or browser asks.
package reach

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/contact/simblock"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/throttle"
)

// Limits of sends. A person is counted by the ID-verified number, so that several accounts with one phone share its limit;
// a number changes only with proof of identity, so changing it is no way around.
var (
	PerPerson  = []throttle.Window{{N: 2, Per: 10 * time.Second}, {N: 5, Per: 15 * time.Minute}, {N: 20, Per: 24 * time.Hour}}
	PerNetwork = []throttle.Window{{N: 25, Per: 5 * time.Minute}}
)

// Messenger implements factors.Messenger. Every field is required but Caps and those for SIM cards.
type Messenger struct {
	Contacts contact.Store
	Throttle throttle.Store
	Ring     *secret.Ring
	Channels interface{ Up(channel string) bool } // *notify.Worker
	Now      func() time.Time
	Caps     Caps // zero = the usual ones

	// SIM asks the operator whether the card behind a number was changed; nil = nobody is asked, and only what is stored counts.
	SIM      SIM
	Accounts factors.Accounts // with SIM
	// Block stores that the card was changed, with its record; with SIM.
	Block func(ctx context.Context, id account.ID, number string, changed time.Time) error
}

// SIM is the question to the operator; *simswap.Client asks it. Any error is "unknown".
type SIM interface {
	Changed(ctx context.Context, number string, since time.Time) (changed bool, at time.Time, err error)
}

var _ factors.Messenger = (*Messenger)(nil)

// Ending returns the last two digits of the ID-verified number; ok is false when there is none.
func (m *Messenger) Ending(ctx context.Context, id account.ID) (ending string, ok bool, err error) {
	p, err := m.phone(ctx, id)
	return p.Ending(), p.Number != "", err
}

// phone returns the ID-verified phone, the zero Phone if there is none.
func (m *Messenger) phone(ctx context.Context, id account.ID) (contact.Phone, error) {
	if id == "" {
		return contact.Phone{}, nil
	}
	c, err := m.Contacts.Contacts(ctx, id)
	if err != nil || c.Phone.Grade != contact.IDVerified {
		return contact.Phone{}, err
	}
	return c.Phone, nil
}

// Allow counts one send against the number, then the network, then its block, its country and the whole. The number comes first: one person
// who asks again and again must not use up what others behind the same address may have sent.
func (m *Messenger) Allow(ctx context.Context, id account.ID, network string) error {
	p, err := m.phone(ctx, id)
	if err != nil {
		return err
	}
	if p.Number == "" {
		return fault.New(fault.NotFound, "")
	}
	return m.allow(ctx, p.Number, network)
}

func (m *Messenger) allow(ctx context.Context, number, network string) error {
	if err := m.hit(ctx, "send:number:"+hex.EncodeToString(m.Ring.Index("send", number)), PerPerson); err != nil {
		return err
	}
	if network != "" {
		if err := m.hit(ctx, "send:network:"+network, PerNetwork); err != nil {
			return err
		}
	}
	return throttled(m.Caps.hit(number, country(number), m.Now()))
}

func (m *Messenger) hit(ctx context.Context, key string, ws []throttle.Window) error {
	wait, err := m.Throttle.Hit(ctx, key, ws, m.Now())
	if err != nil {
		return err
	}
	return throttled(wait)
}

func throttled(wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	return fault.New(fault.Throttled, "").After(wait)
}

// country is the calling code of an E.164 number, e.g. 90; 0 for what is none.
func country(number string) int {
	n, err := phonenumbers.Parse(number, "")
	if err != nil {
		return 0
	}
	return int(n.GetCountryCode())
}

// Up says whether the channel can deliver now.
func (m *Messenger) Up(channel string) bool { return m.Channels.Up(channel) }

// MAC binds a code to its purpose and place.
func (m *Messenger) MAC(parts ...string) []byte { return m.Ring.MAC(secret.Pepper, parts...) }

// Lines are the channels by which a code can reach the ID-verified number, best first.
func (m *Messenger) Lines(ctx context.Context, id account.ID) ([]string, error) {
	p, err := m.phone(ctx, id)
	if err != nil || p.Number == "" {
		return nil, err
	}
	return append(slices.Clone(p.Lines), "sms"), nil
}

// Trusted says whether the number may be relied on now. That of a verified number is asked too: a new password for a forgotten one comes
// by it.
func (m *Messenger) Trusted(ctx context.Context, id account.ID) error {
	if id == "" {
		return nil
	}
	c, err := m.Contacts.Contacts(ctx, id)
	p := c.Phone
	if p.Grade != contact.IDVerified && p.Grade != contact.Verified {
		p = contact.Phone{}
	}
	switch {
	case err != nil:
		return err
	case !p.BlockedAt.IsZero():
		return &factors.Hindrance{Reason: factors.SIMChanged}
	case m.SIM == nil || p.Number == "":
		return nil
	}
	a, err := m.Accounts.Account(ctx, id)
	if err != nil {
		return err
	}
	changed, at, err := m.SIM.Changed(ctx, p.Number, simblock.Baseline(a, p))
	switch {
	case err != nil: // unknown is never "not changed"
		return &factors.Hindrance{Reason: factors.SIMUnknown}
	case !changed:
		return nil
	}
	if err := m.Block(ctx, id, p.Number, at); err != nil {
		return err
	}
	return &factors.Hindrance{Reason: factors.SIMChanged}
}

// AllowNumber counts one send to a number that need not be anybody's yet, against the same limits.
func (m *Messenger) AllowNumber(ctx context.Context, number, network string) error {
	if number == "" {
		return fault.New(fault.NotFound, "")
	}
	return m.allow(ctx, number, network)
}

// AllowAddress counts one e-mail to an address: as many as messages to a number, and as many from a network.
func (m *Messenger) AllowAddress(ctx context.Context, address, network string) error {
	if address == "" {
		return fault.New(fault.NotFound, "")
	}
	if err := m.hit(ctx, "send:address:"+hex.EncodeToString(m.Ring.Index("send", strings.ToLower(address))), PerPerson); err != nil {
		return err
	}
	if network == "" {
		return nil
	}
	return m.hit(ctx, "send:network:"+network, PerNetwork)
}
