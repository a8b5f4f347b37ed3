// Package reach owns how a person is reached without anybody learning the number: whether there is an ID-verified
// phone, how it ends, whether one more message may go out, and whether the channel works. Enter with Messenger, which
// factors see as factors.Messenger. It refuses a send above the limits of the person or of the network.
package reach

import (
	"context"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/throttle"
)

// Limits of sends, over all factors, services, sign-ins and browsers.
var (
	PerPerson  = []throttle.Window{{N: 2, Per: 10 * time.Second}, {N: 5, Per: 15 * time.Minute}, {N: 20, Per: 24 * time.Hour}}
	PerNetwork = []throttle.Window{{N: 25, Per: 5 * time.Minute}}
)

// Messenger implements factors.Messenger. Every field is required.
type Messenger struct {
	Contacts contact.Store
	Throttle throttle.Store
	Ring     *secret.Ring
	Channels interface{ Up(channel string) bool } // *notify.Worker
	Now      func() time.Time
}

var _ factors.Messenger = (*Messenger)(nil)

// Ending returns the last two digits of the ID-verified number; ok is false when there is none.
func (m *Messenger) Ending(ctx context.Context, id account.ID) (ending string, ok bool, err error) {
	c, err := m.Contacts.Contacts(ctx, id)
	if err != nil || c.Phone.Grade != contact.IDVerified || c.Phone.Number == "" {
		return "", false, err
	}
	return c.Phone.Ending(), true, nil
}

// Allow counts one send against the person, then against the network.
func (m *Messenger) Allow(ctx context.Context, id account.ID, network string) error {
	if id == "" {
		return fault.New(fault.Internal, "")
	}
	if err := m.hit(ctx, "send:person:"+string(id), PerPerson); err != nil {
		return err
	}
	if network == "" {
		return nil
	}
	return m.hit(ctx, "send:network:"+network, PerNetwork)
}

func (m *Messenger) hit(ctx context.Context, key string, ws []throttle.Window) error {
	wait, err := m.Throttle.Hit(ctx, key, ws, m.Now())
	if err != nil {
		return err
	}
	if wait > 0 {
		return fault.New(fault.Throttled, "send.wait").With("n", int((wait+time.Minute-1)/time.Minute)).After(wait)
	}
	return nil
}

// Up says whether the channel can deliver now.
func (m *Messenger) Up(channel string) bool { return m.Channels.Up(channel) }

// MAC binds a code to its purpose and place.
func (m *Messenger) MAC(parts ...string) []byte { return m.Ring.MAC(secret.Pepper, parts...) }
