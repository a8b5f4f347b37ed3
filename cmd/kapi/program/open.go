package program

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact/reach"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/provider/keys"
	"github.com/kapi-id/kapi/storage"
)

// opened is the database with its keys: what every command begins with.
type opened struct {
	Settings
	db     *storage.DB
	ring   *secret.Ring
	clock  *clock
	now    func() time.Time // of clock
	log    *slog.Logger
	record *notice.Recorder // what is recorded of people, and told to them
	more   Lines            // of factors, from Options
	wake   func()           // the worker; nil without one
	push   factors.Pusher
	apps   string                     // the key that browsers subscribe to Web Push with; "" = there is none
	posts  func(endpoint string) bool // whether Web Push goes there; nil without Web Push
}

// open connects, brings an embedded schema up, and opens the keys. On Postgres an old schema is an error unless
// KAPI_AUTO_MIGRATE says otherwise.
func open(ctx context.Context, s Settings, o Options) (*opened, error) {
	x := &opened{Settings: s, clock: &clock{machine: machineClock(o.Now, s.TestClock), led: !s.sqlite()}, log: o.Log, more: o.Factors}
	x.now = x.clock.now
	if x.log == nil {
		x.log = slog.New(slog.DiscardHandler)
	}
	var err error
	x.db, err = storage.Open(ctx, storage.Config{URL: s.Database, Log: x.log, Now: x.now, Counter: o.Counter, Conns: o.Conns})
	if err != nil {
		return nil, err
	}
	x.clock.database = func(ctx context.Context) (time.Time, error) {
		if o.Database != nil {
			return o.Database(), nil
		}
		t, err := x.db.Clock(ctx)
		return t.Add(shift(s.TestClock)), err
	}
	err = x.unlock(ctx)
	if err == nil {
		x.record, err = x.telling()
	}
	if err != nil {
		x.db.Close()
		return nil, err
	}
	return x, nil
}

func (x *opened) unlock(ctx context.Context) error {
	if x.clock.led {
		if _, err := x.compareClocks(ctx); err != nil {
			return err
		}
	}
	pending, err := x.db.Pending(ctx)
	if err != nil {
		return err
	}
	switch {
	case pending == 0:
	case x.sqlite() || x.AutoMigrate:
		if err := x.db.Migrate(ctx); err != nil {
			return err
		}
	default:
		return fmt.Errorf("the database schema lacks %d migrations: run kapi migrate, or set KAPI_AUTO_MIGRATE=true", pending)
	}
	root, err := x.root()
	if err != nil {
		return err
	}
	if x.ring, err = secret.Open(ctx, root, x.db, x.now()); err != nil {
		return err
	}
	x.db.Unlock(x.ring)
	return nil
}

// compareClocks is clock.compare with a word in the log.
func (x *opened) compareClocks(ctx context.Context) (ahead time.Duration, err error) {
	ahead, err = x.clock.compare(ctx)
	if err == nil && ahead.Abs() > maxQuietSkew {
		x.log.Warn("this machine's clock differs from the database's", "seconds", ahead.Seconds())
	}
	return ahead, err
}

// keys opens the signing keys; actor is "cli" on the command line.
func (x *opened) keys(ctx context.Context, actor string) (*keys.Ring, error) {
	settle := keys.Settle
	if x.sqlite() {
		settle = 0
	}
	return keys.New(ctx, keys.Config{Store: x.db, Secret: x.ring, Audit: x.db, Now: x.now, Log: x.log, Actor: actor, Settle: settle})
}

// kit is what a factor may touch, narrowed to its name.
func (x *opened) kit(name string, phone factors.Messenger) factors.Kit {
	k := factors.Kit{
		Credentials: x.db.Credentials(name), Tickets: x.db.Tickets(name), Phone: phone, Push: x.push, Accounts: x.db, Issuer: x.Issuer, Now: x.now,
		Limits: &reach.Limits{Name: name, Throttle: x.db, Used: x.db, Now: x.now}, Audit: x.record, Atomically: x.db.Atomically,
	}
	if x.wake != nil { // what a factor sends goes out at once
		k.Tickets = reach.Waking(k.Tickets, x.wake)
		k.Atomically = reach.WakingAfter(k.Atomically, x.wake)
	}
	return k
}

// passwords is the password factor without a server around it.
func (x *opened) passwords(o password.Options) (*password.Factor, error) {
	if o.Profile.Name == "" {
		o.Profile = x.Passwords
	}
	return password.New(x.kit(password.Name, nil), x.ring, x.about, o)
}

// about is what a new password must not be made of.
func (x *opened) about(ctx context.Context, id account.ID) (password.Person, bool, error) {
	a, err := x.db.Account(ctx, id)
	if err != nil {
		return password.Person{}, false, err
	}
	p, err := x.db.Person(ctx, id)
	if err != nil {
		return password.Person{}, false, err
	}
	c, err := x.db.Contacts(ctx, id)
	return password.PersonOf(p, c.Phone.Number, c.Email.Address), a.TwoFactor, err
}

// logger writes one JSON line for each record. Attributes that would name a secret are the fault of whoever logs them; a test plants
// canaries and looks.
func logger(w io.Writer, level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo
	}
	return slog.New(requestIDs{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l})})
}

// requestIDs adds the request id to every record of a request that does not carry it: a name twice in one object is no
// JSON that every reader takes.
type requestIDs struct{ slog.Handler }

func (h requestIDs) Handle(ctx context.Context, r slog.Record) error {
	named := false
	r.Attrs(func(a slog.Attr) bool {
		named = a.Key == "request"
		return !named
	})
	if id := web.RequestID(ctx); id != "" && !named {
		r.AddAttrs(slog.String("request", id))
	}
	return h.Handler.Handle(ctx, r)
}

func (h requestIDs) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestIDs{h.Handler.WithAttrs(attrs)}
}

func (h requestIDs) WithGroup(name string) slog.Handler { return requestIDs{h.Handler.WithGroup(name)} }
