package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact/reach"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/place"
	"github.com/kapi-id/kapi/internal/recovery"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/provider"
	"github.com/kapi-id/kapi/provider/keys"
	"github.com/kapi-id/kapi/storage"
)

// Options are what tests and the demo set beside the settings. The zero value is what serve uses.
type Options struct {
	Log      *slog.Logger
	Now      func() time.Time                           // this machine's clock
	Database func() time.Time                           // the database's clock; nil = its own
	Pause    func(ctx context.Context, d time.Duration) // the minimum answer time; nil = really wait
	Password password.Options
	Counter  *storage.Counter
	Conns    int
	Quota    int                       // of requests per client and second; 0 = the provider's own, < 0 = none
	Factors  Lines                     // of factors, beside the usual ones
	Routes   []notify.Route            // of SMS; nil = from KAPI_SMS
	Channels map[string][]notify.Route // of further channels, in place of those from the settings
}

// App is a complete Kapi: everything that serve runs, put together once.
type App struct {
	*opened
	Options
	Flow    *signin.Flow
	Handler http.Handler // everything but metrics
	Metrics http.Handler
	Router  *mux.Router // inside of Handler; tests walk it, so that no route escapes them

	keys     *keys.Ring
	clients  *storage.CachedClients
	password *password.Factor
	registry *factors.Registry
	reach    *reach.Messenger
	holds    *enrolment.Holds
	recovery *recovery.Flow
	worker   *notify.Worker
	metrics  *metrics
	cookies  web.Cookies
	place    func(network, lang string) string // nil without KAPI_GEO_FILE
	holder   string                            // of leases

	draining atomic.Bool
	probe    probe
	loops    sync.WaitGroup
}

// New opens the database and puts the parts together. Nothing runs before Start.
func New(ctx context.Context, s Settings, o Options) (*App, error) {
	if o.Counter == nil {
		o.Counter = &storage.Counter{}
	}
	x, err := open(ctx, s, o)
	if err != nil {
		return nil, err
	}
	a := &App{opened: x, Options: o, cookies: web.Cookies{Secure: s.secure()}, holder: secret.Token()}
	if err := a.build(ctx); err != nil {
		x.db.Close()
		return nil, err
	}
	return a, nil
}

func (a *App) build(ctx context.Context) error {
	var err error
	if a.GeoFile != "" {
		places, err := place.Open(a.GeoFile, a.now, a.log)
		if err != nil {
			return fmt.Errorf("KAPI_GEO_FILE: %w", err)
		}
		a.place = places.Of
	}
	if a.keys, err = a.opened.keys(ctx, ""); err != nil {
		return err
	}
	if a.clients, err = a.db.CachedClients(ctx); err != nil {
		return err
	}
	a.metrics = newMetrics(func() (int, int, int) { return a.password.Slots() }, a.Counter, a.db.Connections)
	o := a.Options.Password
	o.Hooks = password.Hooks{Hashed: both(o.Hooks.Hashed, a.metrics.hashes.Inc), Refused: a.metrics.refused.Inc, Rehash: a.rehashed}
	if a.password, err = a.passwords(o); err != nil {
		return err
	}
	routes, err := a.messages()
	if err != nil {
		return err
	}
	if err := a.askOperator(); err != nil {
		return err
	}
	registry, err := factors.NewRegistry(a.factors(a.password, a.reach)...)
	if err != nil {
		return err
	}
	sentences, err := catalogue(registry)
	if err != nil {
		return err
	}
	a.registry = registry
	a.tellAll(registry, sentences, routes)
	a.holds = a.heldBack(a.password, registry, sentences)
	a.Flow = &signin.Flow{
		Store: a.db, Sessions: a.db, Accounts: a.db, Consents: a.db, Clients: a.clients, Factors: registry, Throttle: a.db,
		Audit: a.record, Keys: keyed{a.ring}, Origin: a.host(), Now: a.now, Log: a.log, Place: a.place, Pause: a.Pause, Observe: a.metrics.observe,
	}
	return a.mount(registry, sentences)
}

// messages makes the worker and what factors may know of it.
func (a *App) messages() (map[string][]notify.Route, error) {
	routes, err := a.routes()
	if err != nil {
		return nil, err
	}
	a.worker = notify.New(notify.Options{
		Outbox: a.db, Routes: routes, Log: a.log, Now: a.now, Watch: a.metrics.watch(), Gone: a.forget,
	})
	for _, of := range routes {
		for _, r := range of {
			a.metrics.up.WithLabelValues(r.Gateway.Name()).Set(1)
		}
	}
	a.wake = a.worker.Wake
	a.reach = &reach.Messenger{Contacts: a.db, Throttle: a.db, Ring: a.ring, Channels: a.worker, Now: a.now, Caps: reach.Caps{Whole: reach.Budget(a.SendForecast)}}
	a.metrics.forecast(a.SendForecast)
	return routes, nil
}

func (a *App) rehashed(err error) {
	if err != nil {
		a.log.Error("a stored password hash could not be renewed", "err", err)
	}
}

func both(fs ...func()) func() {
	return func() {
		for _, f := range fs {
			if f != nil {
				f()
			}
		}
	}
}

// keyed gives the sign-in its keyed values.
type keyed struct{ ring *secret.Ring }

func (k keyed) Subject(parts ...string) string {
	return provider.Subject(k.ring, parts...)
}
func (k keyed) Index(place, value string) []byte { return k.ring.Index(place, value) }
func (k keyed) Known(parts ...string) []byte     { return k.ring.MAC(secret.Cookie, parts...) }
func (k keyed) HashToken(token string) []byte    { return secret.Hash(token) }
func (k keyed) CheckKnown(mac []byte, parts ...string) bool {
	return k.ring.CheckMAC(secret.Cookie, mac, parts...)
}
func (k keyed) NewToken() (string, []byte) {
	t := secret.Token()
	return t, secret.Hash(t)
}

// Start runs what goes on beside requests, until ctx ends: sending, following changes, and, while this process holds the
// lease, chaining the record, sweeping and moving the signing keys along. Wait returns when all of it has stopped.
func (a *App) Start(ctx context.Context) {
	a.loops.Go(func() { a.worker.Run(ctx) })
	a.loops.Go(func() {
		a.db.Watch(ctx, func(topic string) {
			switch topic {
			case "clients":
				a.complain("clients", a.clients.Refresh(ctx))
			case "signing_keys":
				a.complain("signing keys", a.keys.Refresh(ctx))
			}
		})
	})
	sealer := &audit.Sealer{Chain: a.db, Anchor: &audit.Anchor{Path: a.AuditAnchor}, Now: a.now, Log: a.log}
	a.every(ctx, time.Second, "seal", sealer.Tick)
	a.every(ctx, 5*time.Second, "keys", a.keys.Advance)
	a.every(ctx, 10*time.Second, "holds", a.holds.CarryOut)
	a.every(ctx, time.Minute, "phones", a.indexPhones)
	a.every(ctx, time.Minute, "sweep", func(ctx context.Context) error {
		n, err := a.db.Sweep(ctx, a.now())
		a.metrics.swept.Add(float64(n))
		return err
	})
	a.every(ctx, 10*time.Second, "", a.look)
}

// Wait returns when everything that Start began has stopped, and what requests left behind is done.
func (a *App) Wait() {
	a.loops.Wait()
	a.recovery.Wait()
}

// Close closes the database.
func (a *App) Close() error { return a.db.Close() }

// every runs fn in each period, where lease is not "" only in the process that holds it.
func (a *App) every(ctx context.Context, period time.Duration, lease string, fn func(context.Context) error) {
	a.loops.Go(func() {
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if lease != "" {
				mine, err := a.db.Lease(ctx, lease, a.holder, max(3*period, 10*time.Second), a.now())
				if err != nil || !mine {
					a.complain(lease, err)
					continue
				}
			}
			a.complain(lease, fn(ctx))
		}
	})
}

func (a *App) complain(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		a.log.Error("background work failed", "work", what, "err", err)
	}
}

// look measures the clock against the database's and how the record stands.
func (a *App) look(ctx context.Context) error {
	skew, err := a.compareClocks(ctx)
	if err != nil {
		return err
	}
	a.metrics.clockSkew.Set(skew.Seconds())
	unsealed, err := a.db.UnsealedCount(ctx)
	if err != nil {
		return err
	}
	head, err := a.db.Head(ctx)
	if err != nil {
		return err
	}
	a.metrics.sealed(unsealed, head.At, a.now())
	return nil
}

// ApplyClients, for a file that names no pictures, ApplyClientsIn and ApplyPeople are what the commands of that name do;
// Refresh makes this replica see changes at once.
func (a *App) ApplyClients(ctx context.Context, r io.Reader, out io.Writer) error {
	return a.applyClients(ctx, r, nil, out)
}

func (a *App) ApplyClientsIn(ctx context.Context, r io.Reader, folder fs.FS, out io.Writer) error {
	return a.applyClients(ctx, r, folder, out)
}

func (a *App) ApplyPeople(ctx context.Context, r io.Reader, out io.Writer) error {
	return a.applyPeople(ctx, r, a.password, out)
}

func (a *App) Refresh(ctx context.Context) error {
	return errors.Join(a.clients.Refresh(ctx), a.keys.Refresh(ctx))
}
