package program

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/code"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/loginui"
	phoneapp "github.com/kapi-id/kapi/loginui/app"
	"github.com/kapi-id/kapi/loginui/citizen"
	"github.com/kapi-id/kapi/loginui/page"
	recoverypages "github.com/kapi-id/kapi/loginui/recovery"
	"github.com/kapi-id/kapi/loginui/visitor"
	"github.com/kapi-id/kapi/provider"
	"github.com/kapi-id/kapi/storage"
)

// mount makes the pages and the provider and puts them under one router. A missing sentence or a broken template of any
// of them stops the start here.
func (a *App) mount(registry *factors.Registry, sentences *words.Catalogue) error {
	pages, err := a.makePages(registry, sentences)
	if err != nil {
		return err
	}
	visitors, err := visitor.New(visitor.Config{Pages: pages, Flow: a.Flow, Forgot: recoverypages.StartPath, Lost: a.lost})
	if err != nil {
		return err
	}
	citizens, err := citizen.New(citizen.Config{
		Pages: pages, Signin: a.Flow, Factors: registry, Sessions: a.db, People: a.db, Contacts: a.db, Record: recordOf{a.record, a.db}, Notices: a.db, Atomically: a.db.Atomically,
		TwoFactor:  &enrolment.TwoFactor{Store: a.db, Audit: a.record, PasswordAlone: a.passwordAlone, Drop: dropAll(registry), Now: a.now},
		Contacting: a.contacts(a.reach, a.holds, sentences, a.worker.Wake), PhonePath: citizen.ContactPath, EmailPath: citizen.ContactPath,
		Held: a.heldFor, VoidTickets: a.db.VoidTickets, Reset: a.db, Consents: a.db,
		Passwords: passwordsOf{a.password}, Throttle: a.db, Keys: keyed{a.ring}, Cookies: a.cookies, PhoneFactor: "sms", Place: a.place, Now: a.now,
	})
	if err != nil {
		return err
	}
	phone, err := phoneapp.New(phoneapp.Config{Pages: pages, Enter: citizens.EnterAt(phoneapp.Path), Reader: appReader(citizens, registry)})
	if err != nil {
		return err
	}
	a.recovery = a.recoveries(registry, sentences)
	recoveries, err := a.recoveryPages(pages, a.recovery)
	if err != nil {
		return err
	}
	server, err := provider.New(provider.Config{
		Issuer: a.Issuer, MTLS: a.MTLS, Highest: registry.Highest(), Clients: a.clients, Transactions: a.db, Grants: a.db, Sessions: a.db, Audit: a.record,
		Keys: a.keys, Ring: a.ring, Pages: shown{visitors}, Cookies: a.cookies, Straight: a.Flow.Straight, Quota: a.Quota, Meter: a.metrics.meter, Now: a.now, Log: a.log,
	})
	if err != nil {
		return err
	}
	partners, err := a.partners(server)
	if err != nil {
		return err
	}
	r := mux.NewRouter()
	r.Use(a.metrics.timed, remembering)
	a.health(r)
	server.Mount(r)
	partners.Mount(r)
	a.machines(r, registry)
	loginui.Mount(r, pages, visitors, citizens, phone, recoveries)
	a.Router = r
	a.Handler = web.Chain(a.apart(r), web.Options{Log: a.log, Trusted: a.TrustedProxies, CertHost: a.headerHost(), Broken: pages.Broken})
	a.Metrics = a.metrics.handler()
	return nil
}

// catalogue holds every sentence of the program.
func catalogue(registry *factors.Registry) (*words.Catalogue, error) {
	sources := []fs.FS{page.Words(), visitor.Words(), citizen.Words(), recoverypages.Words(), phoneapp.Words(), notice.Words(), provider.Words, code.Words(), enrolment.ContactWords()}
	for _, f := range registry.All(0) {
		sources = append(sources, f.Pages())
	}
	return words.Load(sources...)
}

func (a *App) makePages(registry *factors.Registry, catalogue *words.Catalogue) (*page.Pages, error) {
	return page.New(page.Config{
		Catalogue: catalogue, Cookies: a.cookies, Issuer: a.Issuer, Operator: a.Operator, LogoPNG: a.clients.Logo, Now: a.now, Log: a.log,
		Sources: append([]page.Source{visitor.Source(), citizen.Source(), recoverypages.Source(), phoneapp.Source()}, visitor.FactorSources(registry, citizen.FactorHost, citizen.Host)...),
	})
}

// remembering lets one request read an account once.
func remembering(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(storage.Remember(r.Context())))
	})
}

// passwordAlone: may the person's password stand without two-factor authentication? True where there is none.
func (a *App) passwordAlone(ctx context.Context, id account.ID) (bool, error) {
	s, err := a.password.Describe(ctx, id)
	return s.Alone || s.State == password.None, err
}

// dropAll takes away what goes when two-factor authentication is switched off, of every factor that has such a thing.
func dropAll(registry *factors.Registry) func(context.Context, account.ID) error {
	return func(ctx context.Context, id account.ID) error {
		for _, f := range registry.All(0) {
			if d, ok := f.(factors.Dropper); ok {
				if err := d.Drop(ctx, id); err != nil {
					return fmt.Errorf("%s: %w", f.Info().Name, err)
				}
			}
		}
		return nil
	}
}

// shown draws the provider's pages with the visitor's: neither knows the other.
type shown struct{ *visitor.Visitor }

func fields(in []provider.Field) []visitor.Field {
	out := make([]visitor.Field, len(in))
	for i, f := range in {
		out[i] = visitor.Field(f)
	}
	return out
}

func (s shown) FormPost(w http.ResponseWriter, r *http.Request, p provider.FormPost) {
	s.Visitor.FormPost(w, r, p.Action, fields(p.Fields))
}

func (s shown) ConfirmLogout(w http.ResponseWriter, r *http.Request, p provider.ConfirmLogout) {
	s.Visitor.ConfirmLogout(w, r, p.Client, p.Action, fields(p.Fields), p.Here, p.UILocales)
}

func (s shown) SignedOut(w http.ResponseWriter, r *http.Request, p provider.SignedOut) {
	s.Visitor.SignedOut(w, r, p.Client, p.Ended, p.UILocales)
}

// passwordsOf gives the citizen's pages the password factor in their own words.
type passwordsOf struct{ *password.Factor }

func (p passwordsOf) Describe(ctx context.Context, id account.ID) (citizen.PasswordStatus, error) {
	s, err := p.Factor.Describe(ctx, id)
	exists := s.State != password.None
	return citizen.PasswordStatus{Exists: exists, ChangedAt: s.ChangedAt, Alone: s.Alone || !exists}, err
}

func (p passwordsOf) Rules(twoFactor bool) []citizen.PasswordRule {
	var out []citizen.PasswordRule
	for _, r := range p.Factor.Rules(twoFactor) {
		out = append(out, citizen.PasswordRule{Key: r.Key, N: r.N})
	}
	return out
}

func (p passwordsOf) Check(ctx context.Context, c citizen.PasswordChange) error {
	return p.Factor.Check(ctx, p.change(c))
}

func (p passwordsOf) Prepare(ctx context.Context, c citizen.PasswordChange) (func(context.Context) error, error) {
	prepared, err := p.Factor.Prepare(ctx, p.change(c))
	if err != nil {
		return nil, err
	}
	return prepared.Write, nil
}

func (p passwordsOf) change(c citizen.PasswordChange) password.Change {
	return password.Change{Account: c.Account, Old: c.Old, New: c.New, WithoutOld: c.WithoutOld, Alone: !c.TwoFactor}
}
