package provider

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
)

// The endpoints, below the issuer.
const (
	pathDiscovery     = "/.well-known/openid-configuration"
	pathKeys          = "/keys"
	pathAuthorize     = "/authorize"
	pathCallback      = "/authorize/callback"
	pathRefused       = "/authorize/refused"
	pathToken         = "/oauth/token"
	pathIntrospect    = "/oauth/introspect"
	pathRevoke        = "/oauth/revoke"
	pathUserinfo      = "/userinfo"
	pathEndSession    = "/end_session"
	pathConfirmLogout = "/end_session/confirm"
	pathSignin        = "/signin/" // + transaction; drawn by the pages
)

// Config is what a Server is made of. Straight, Meter, Log, Now and Quota may be left out.
type Config struct {
	Issuer       string    // https, or http on loopback; no path, no trailing slash
	MTLS         string    // where clients can show certificates, in the same form; "" = nowhere
	Highest      acr.Level // that a sign-in can reach with the factors there are (factors.Registry.Highest)
	Clients      clients.Store
	Transactions signin.Store
	Grants       grant.Store
	Sessions     session.Store
	Audit        audit.Recorder
	Keys         Keys
	Ring         *secret.Ring
	Pages        Pages
	Cookies      web.Cookies
	// Straight ends a sign-in that shows no page (signin.Flow.Straight). nil = every sign-in goes by way of the pages.
	Straight func(ctx context.Context, t signin.Transaction, v signin.Visit, end func(context.Context, signin.Transaction) error) (ended bool, err error)
	// Quota is how many requests in a second one client may send to this replica, with a burst of twice as many. At
	// /authorize, where anybody can name any client, it holds per client and network. 0 = DefaultQuota, < 0 = no limit.
	Quota int
	// Meter is told of every answer at the machine endpoints: what ("authorization_code", "userinfo" …), the client ("" if
	// it is not known) and the outcome ("ok" or the OAuth error).
	Meter func(what, client, outcome string)
	Now   func() time.Time
	Log   *slog.Logger
}

// DefaultQuota in requests per second.
const DefaultQuota = 1000

// Pages draws what the provider has to show to people.
type Pages interface {
	// Failure shows an error that must not travel to a redirect URI, in a language of uiLocales if it can. What is no
	// *fault.Error is an internal one.
	Failure(w http.ResponseWriter, r *http.Request, uiLocales []string, err error)
	// FormPost sends the browser on with a POST (OAuth 2.0 Form Post Response Mode); its policy allows Action as form target.
	FormPost(w http.ResponseWriter, r *http.Request, p FormPost)
	// ConfirmLogout asks whether to sign out: a form of the hidden Fields to Action with the buttons confirm=yes and confirm=no.
	ConfirmLogout(w http.ResponseWriter, r *http.Request, p ConfirmLogout)
	// SignedOut is where a sign-out ends that has no address to go back to.
	SignedOut(w http.ResponseWriter, r *http.Request, p SignedOut)
}

// Field is a hidden field of a form.
type Field struct{ Name, Value string }

// FormPost is a form that submits itself to a client, in the order given.
type FormPost struct {
	Action string
	Fields []Field
}

// ConfirmLogout is the question whether to sign out.
type ConfirmLogout struct {
	Client    *clients.Client // who asks; nil if nobody said
	Action    string
	Fields    []Field
	Here      string // path and query that ask the same question again, in another language
	UILocales []string
}

// SignedOut tells how a sign-out ended.
type SignedOut struct {
	Client    *clients.Client // nil if nobody said
	Ended     bool            // false: the person chose to stay signed in
	UILocales []string
}

// Server is the OpenID provider.
type Server struct {
	op.UnimplementedServer
	cfg       Config
	discovery document
	quota     *quota // per client
	alarms    *quota // how many failed client authentications are written to the record
}

var _ op.Server = (*Server)(nil)

// New makes a Server; it fails on an issuer that cannot be one and on a missing part.
func New(c Config) (*Server, error) {
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || c.Issuer != u.Scheme+"://"+u.Host {
		return nil, errors.New("provider: the issuer must be an absolute URL without path, query and trailing slash")
	}
	if c.Clients == nil || c.Transactions == nil || c.Grants == nil || c.Sessions == nil ||
		c.Audit == nil || c.Keys == nil || c.Ring == nil || c.Pages == nil || c.Highest == acr.None {
		return nil, errors.New("provider: a part of the configuration is missing")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Meter == nil {
		c.Meter = func(string, string, string) {}
	}
	if c.Quota == 0 {
		c.Quota = DefaultQuota
	}
	s := &Server{cfg: c, quota: newQuota(c.Quota, 2*c.Quota, time.Second), alarms: newQuota(1, 10, time.Minute)}
	if s.discovery, err = newDocument(describe(c.Issuer, c.MTLS, c.Highest)); err != nil {
		return nil, err
	}
	return s, nil
}

// Mount puts the endpoints on r; the router answers 404 and 405 for all else.
func (s *Server) Mount(r *mux.Router) {
	get, post := http.MethodGet, http.MethodPost

	r.HandleFunc(pathDiscovery, s.serveDiscovery).Methods(get, http.MethodHead, http.MethodOptions)
	r.HandleFunc(pathKeys, s.serveKeys).Methods(get, http.MethodHead, http.MethodOptions)

	r.HandleFunc(pathAuthorize, s.authorize).Methods(get, post)
	r.HandleFunc(pathCallback, s.finish).Methods(get)
	r.HandleFunc(pathRefused, s.finish).Methods(get)

	r.HandleFunc(pathToken, s.cors(s.machine("token", s.token))).Methods(post, http.MethodOptions)
	r.HandleFunc(pathUserinfo, s.cors(s.machine("userinfo", s.userinfo))).Methods(get, post, http.MethodOptions)
	r.HandleFunc(pathRevoke, s.cors(s.machine("revoke", s.revoke))).Methods(post, http.MethodOptions)
	r.HandleFunc(pathIntrospect, s.machine("introspect", s.introspect)).Methods(post)

	r.HandleFunc(pathEndSession, s.endSession).Methods(get, post)
	// The only POST here that a page of ours sends; a forged one from another site is stopped before it is read.
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.cfg.Pages.Failure(w, r, nil, fault.New(fault.Denied, "form.cross_origin"))
	}))
	r.Handle(pathConfirmLogout, guard.Handler(http.HandlerFunc(s.confirmLogout))).Methods(post)
}

// now is the injected clock in the precision that every database keeps.
func (s *Server) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }

// client returns a registration; ok is false where there is none.
func (s *Server) client(ctx context.Context, id string) (c clients.Client, ok bool, err error) {
	if id == "" || len(id) > 256 {
		return c, false, nil
	}
	c, err = s.cfg.Clients.Client(ctx, id)
	if errors.Is(err, fault.ErrNotFound) {
		return c, false, nil
	}
	return c, err == nil && c.ID == id, err
}

// event fills in what every event of this package has.
func (s *Server) event(ctx context.Context, name audit.Name, outcome string, c clients.Client, g grant.Grant) audit.Event {
	return audit.Event{
		At: s.now(), Name: name, Outcome: outcome, Actor: "client:" + c.ID, Subject: string(g.Account), Client: c.ID,
		Session: g.Session, Request: web.RequestID(ctx), Network: web.Network(ctx),
	}
}

// redirect is always a 303, so that no browser repeats a POST with a password or a hint (RFC 9700 §4.12). The body stays
// empty: the address may carry a code.
func redirect(w http.ResponseWriter, to string) {
	h := w.Header()
	h.Set("Location", to)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
}

// spaced splits a space-delimited list, each entry once.
func spaced(s string) []string {
	var out []string
	for _, v := range strings.Fields(s) {
		if len(out) < 100 && !contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}
