package reach

import (
	"context"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/throttle"
)

// Push implements factors.Pusher. Every field is required.
type Push struct {
	Outbox interface {
		Enqueue(ctx context.Context, m notify.Message) error
	} // notify.Outbox
	Channels interface{ Up(channel string) bool } // *notify.Worker
}

// Send puts a push into the outbox.
func (p *Push) Send(ctx context.Context, m factors.PushMessage) error {
	return p.Outbox.Enqueue(ctx, notify.Message{
		Channel: notify.PushChannel(m.To), Dedupe: m.Dedupe, Account: m.Account, To: m.To, Text: m.Text, Ticket: m.Ticket, Deadline: m.Deadline,
		CreatedAt: m.After, // from when on it is due
	})
}

// Up says whether pushes to a subscription can be delivered now.
func (p *Push) Up(to string) bool { return p.Channels.Up(notify.PushChannel(to)) }

// Limits implements factors.Limits for the factor Name. Every field is required.
type Limits struct {
	Name     string
	Throttle throttle.Store
	Used     interface {
		UseOnce(ctx context.Context, kind string, hash []byte, expires time.Time) error
	}
	Now func() time.Time
}

// Hit counts one event.
func (l *Limits) Hit(ctx context.Context, key string, ws []throttle.Window) (time.Duration, error) {
	return l.Throttle.Hit(ctx, "factor:"+l.Name+":"+key, ws, l.Now())
}

// Once takes a value that is good once.
func (l *Limits) Once(ctx context.Context, value string, until time.Time) error {
	return l.Used.UseOnce(ctx, "factor:"+l.Name, secret.Hash(value), until)
}
