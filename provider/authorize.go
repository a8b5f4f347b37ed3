package provider

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
)

// request is an authorization request while it is checked. A check reads params and writes what it found.
type request struct {
	*Server
	ctx    context.Context
	now    time.Time
	params url.Values
	twice  error // a parameter stands twice

	client clients.Client
	answer answer
	record record
	ask    signin.Ask
}

// record is what the answer needs of the request; it travels in signin.Ask.Return, sealed at rest.
type record struct {
	Answer    answer   `json:"answer"`
	Scopes    []string `json:"scopes"`
	Nonce     string   `json:"nonce,omitempty"`
	Challenge string   `json:"challenge,omitempty"`
	Claims    single   `json:"claims,omitzero"`
}

// check is one rule. A rule that fails before it is certain where the answer may go is shown on our own page with the
// sentence page; every later one is told to the client.
type check struct {
	name string
	page string
	do   func(q *request) error
}

// checks in the order in which they are made. The first three must hold before anything may leave for a redirect URI.
var checks = []check{
	{"client_id", "authorize.client", clientID},
	{"redirect_uri", "authorize.redirect", redirectURI},
	{"quota", "authorize.busy", withinQuota},
	{"response_mode", "", responseMode},
	{"state", "", state},
	{"each parameter once", "", eachOnce},
	{"request objects", "", requestObjects},
	{"response_type", "", responseType},
	{"grant_type", "", mayUseCode},
	{"code_challenge", "", codeChallenge},
	{"scope", "", scope},
	{"nonce", "", nonce},
	{"prompt", "", prompt},
	{"max_age", "", maxAge},
	{"claims", "", claimsParameter},
	{"acr_values", "", acrValues},
	{"id_token_hint", "", idTokenHint},
	{"login_hint, ui_locales", "", hints},
}

// authorize begins a sign-in: one write, no read; and ends it where the session of this browser is enough, or nobody may be asked
// (OpenID Connect Core §3.1.2.1).
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	noStore(w)
	params, err := s.parameters(w, r)
	if err != nil && !errors.Is(err, errTwice) {
		s.unreadable(w, r, params, err)
		return
	}
	if r.Method == http.MethodPost && s.browser(r) == "" {
		// A form posted by another site comes without our Lax cookies. Made a GET it brings them, and we do not replace
		// the cookie that binds the sign-ins of the other tabs.
		s.again(w, r, pathAuthorize, params)
		return
	}
	q := &request{Server: s, ctx: r.Context(), now: s.now(), params: params, twice: err}
	for _, c := range checks {
		if err := c.do(q); err != nil {
			s.turnAway(w, r, q, c, err)
			return
		}
	}
	q.record.Answer = q.answer
	if q.ask.Return, err = json.Marshal(q.record); err != nil {
		s.unable(w, r, q.ask, q.answer, err)
		return
	}
	t := signin.New(q.ask, secret.Hash(s.bind(w, r)), q.now)
	if s.straight(w, r, t) {
		return
	}
	if err := s.cfg.Transactions.CreateTransaction(r.Context(), t); err != nil {
		s.unable(w, r, q.ask, q.answer, err)
		return
	}
	redirect(w, pathSignin+t.ID)
}

// unable is for what we could not serve. A client that wants no page (prompt=none) is told (RFC 6749 §4.1.2.1), as far as it is
// certain where the answer goes; where a person is in front of the browser, our page says when to try again, and the client
// hears of it no sooner than they gave up.
func (s *Server) unable(w http.ResponseWriter, r *http.Request, q signin.Ask, a answer, err error) {
	if !q.Silent || a.RedirectURI == "" {
		s.cfg.Pages.Failure(w, r, q.UILocales, err)
		return
	}
	e, _ := s.outward(r, "authorize", err) // logs what the client is not told
	if e.ErrorType != oidc.ServerError {   // counted there
		s.cfg.Meter("authorize", q.Client, string(e.ErrorType))
	}
	s.deny(w, r, a, string(e.ErrorType), e.Description)
}

// turnAway says no: on our page, or to the client. Only an *oidc.Error goes to the client.
func (s *Server) turnAway(w http.ResponseWriter, r *http.Request, q *request, c check, err error) {
	var e *oidc.Error
	switch {
	case fault.Of(err).Kind == fault.Throttled, !errors.As(err, &e):
		q.ask.UILocales = spoken(q.params)
		q.ask.Silent = q.only("prompt") == oidc.PromptNone // the check of prompt comes later
		s.unable(w, r, q.ask, q.answer, err)
	case c.page != "":
		s.cfg.Meter("authorize", q.client.ID, string(e.ErrorType))
		s.cfg.Pages.Failure(w, r, spoken(q.params), fault.Wrap(fault.Invalid, c.page, err))
	default:
		s.cfg.Meter("authorize", q.client.ID, string(e.ErrorType))
		s.deny(w, r, q.answer, string(e.ErrorType), e.Description)
	}
}

// browser returns the secret that binds transactions to this browser, "" if it has none of ours.
func (s *Server) browser(r *http.Request) string {
	value := s.cfg.Cookies.Get(r, web.BrowserCookie)
	if len(value) != 43 { // secret.Token
		return ""
	}
	return value
}

// bind returns the secret of this browser and gives it one if it has none.
func (s *Server) bind(w http.ResponseWriter, r *http.Request) string {
	value := s.browser(r)
	if value == "" {
		value = secret.Token()
		s.cfg.Cookies.Set(w, web.BrowserCookie, value, 0)
	}
	return value
}
