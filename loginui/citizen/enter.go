package citizen

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/loginui/page"
)

const (
	// freshness is how old the sign-in may be for a change (OWASP ASVS 7.5.1).
	freshness = 15 * time.Minute
	// touchEvery bounds the writes of a reader who only looks around.
	touchEvery = time.Minute
)

// me is the reader: signed in, and the account active.
type me struct {
	session session.Session
	account account.Account
	visit   signin.Visit
	// restricted: the second factor is missing, because the SIM card was changed; see mayRestricted.
	restricted bool
}

type action func(w http.ResponseWriter, r *http.Request, m me) error

// signedIn lets f run for a living session, and sends everybody else to sign in and come back.
func (h *Handler) signedIn(f action) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		m, ok, err := h.reader(r)
		if err != nil {
			return err
		}
		if !ok {
			return h.start(w, r, signin.SelfAsk{})
		}
		h.watch(w, r, m)
		return f(w, r, m)
	}
}

// fresh lets f run if the sign-in is recent, at the strongest level of the account; else the reader signs in again and comes
// back to the page, not to what was submitted.
func (h *Handler) fresh(f action) action {
	return func(w http.ResponseWriter, r *http.Request, m me) error {
		ask := signin.SelfAsk{MaxAge: freshness}
		lately := h.lately(m)
		if m.account.TwoFactor || signin.Reached(lately, m.account.Ceiling) < acr.Substantial && h.hasSecond(r.Context(), m) {
			ask.Want = min(acr.Substantial, m.account.Ceiling)
		}
		// One step of two may be recent by itself, as where a client asked for a second one: both are owed.
		by := func(stage factors.Stage) bool {
			return slices.ContainsFunc(lately, func(p factors.Proof) bool { return p.Stage == stage })
		}
		low := m.session.Level < ask.Want // the second step was never taken: it alone is owed
		ask.Anew = !by(factors.First) || ask.Want >= acr.Substantial && !m.restricted && !low && !by(factors.Second)
		if ask.Anew || low {
			return h.start(w, r, ask)
		}
		return f(w, r, m)
	}
}

// hasSecond says whether the reader has set up a second factor that can be asked for now, such as a key app, whether or not two-factor
// authentication is on: else whoever knows the password could remove it, or add one of their own. One that was set up in this
// session a moment ago is not asked for yet: its code would be the one just typed.
func (h *Handler) hasSecond(ctx context.Context, m me) bool {
	for _, name := range h.Signin.Confirmers(ctx, m.account) {
		x := h.Factors.Get(name)
		f, ok := x.(factors.Enroller)
		if !ok || !slices.ContainsFunc(m.session.Proofs, func(p factors.Proof) bool {
			return p.Stage == factors.First && (x.Info().After == nil || slices.Contains(x.Info().After, p.Factor))
		}) {
			continue // of nobody's making, as a code by SMS is; or not asked for after this first one, and whoever waits for it waits for ever
		}
		s, err := f.Standing(ctx, m.account.ID)
		if err != nil { // it can confirm, so it is there
			h.Pages.Log.ErrorContext(ctx, "factor cannot tell how it stands", "factor", name, "err", err)
		}
		if (err != nil || s.On) && !h.justSetUp(ctx, m, name, s.Since) {
			return true
		}
	}
	return false
}

// justSetUp says whether this very session set up, within the time that a sign-in is fresh, the factor that stands since then; a factor that
// does not tell since when (zero) is taken at the record's word.
func (h *Handler) justSetUp(ctx context.Context, m me, factor string, since time.Time) bool {
	now := h.Now()
	if !since.IsZero() && now.Sub(since) > freshness {
		return false
	}
	events, err := h.Record.EventsOf(ctx, string(m.account.ID), []audit.Name{audit.FactorSetUp}, time.Time{}, chunk)
	if err != nil {
		h.Pages.Log.ErrorContext(ctx, "cannot tell where a factor was set up", "factor", factor, "err", err)
	}
	return slices.ContainsFunc(events, func(e audit.Event) bool {
		return e.Session == m.session.ID && e.Details["factor"] == factor && now.Sub(e.At) <= freshness && (since.IsZero() || e.At.Sub(since).Abs() < time.Minute)
	})
}

// reader finds who is asking. The clock of the session moves at most once a minute, and not for a page that asked for itself.
func (h *Handler) reader(r *http.Request) (m me, ok bool, err error) {
	m, ok, err = h.look(r)
	if now := h.Now(); ok && !unattended(r) && now.Sub(m.session.SeenAt) >= touchEvery {
		err = h.Sessions.TouchSession(r.Context(), m.session.ID, now)
		m.session.SeenAt = now
	}
	return m, ok && err == nil, err
}

// look is reader without a trace.
func (h *Handler) look(r *http.Request) (m me, ok bool, err error) {
	ctx := r.Context()
	m.visit = h.visit(r)
	if m.visit.Session == "" {
		return m, false, nil
	}
	now := h.Now()
	m.session, err = h.Sessions.SessionByToken(ctx, h.Keys.HashToken(m.visit.Session))
	if errors.Is(err, fault.ErrNotFound) || err == nil && !m.session.Alive(now) {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	m.account, err = h.People.Account(ctx, m.session.Account)
	if errors.Is(err, fault.ErrNotFound) || err == nil && m.account.State != account.Active {
		return m, false, nil
	}
	if err != nil {
		return m, false, err
	}
	m.restricted = signin.Restricted(m.account, m.session.Proofs)
	return m, !m.restricted || mayRestricted(r.URL.Path, h.asker(m)), nil
}

func (h *Handler) visit(r *http.Request) signin.Visit {
	v := signin.Visit{
		Session: h.Cookies.Get(r, web.SessionCookie), Known: h.Cookies.Get(r, web.KnownCookie), Network: web.Network(r.Context()),
		Agent: r.UserAgent(), Request: web.RequestID(r.Context()), Lang: h.Pages.Lang(r, "", nil),
	}
	v.Agent = v.Agent[:min(len(v.Agent), 256)]
	if b := h.Cookies.Get(r, web.BrowserCookie); b != "" {
		v.Browser = h.Keys.HashToken(b)
	}
	return v
}

// start begins a sign-in that comes back to the page that was asked for; after a POST, to the page with its form.
func (h *Handler) start(w http.ResponseWriter, r *http.Request, ask signin.SelfAsk) error {
	v := h.visit(r)
	if len(v.Browser) == 0 {
		token := secret.Token()
		h.Cookies.Set(w, web.BrowserCookie, token, 0)
		v.Browser = h.Keys.HashToken(token)
	}
	if ask.Path == "" {
		ask.Path = comeBack(r)
	}
	t, err := h.Signin.StartSelf(r.Context(), ask, v)
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/signin/"+url.PathEscape(t.ID), http.StatusSeeOther)
	return nil
}

// comeBack is the page that was asked for; for a POST, the page with its form.
func comeBack(r *http.Request) string {
	if q, ok := forms[r.URL.Path]; ok && r.Method == http.MethodPost {
		return q(r)
	}
	if mux.Vars(r)["act"] != "" && r.Method == http.MethodPost {
		return parent(r.URL.Path)
	}
	if r.URL.RawQuery != "" && len(r.URL.RawQuery) < 500 {
		return r.URL.RequestURI()
	}
	return r.URL.Path
}

// forms whose page is at another address than what they post to, or needs something that was posted.
var forms = map[string]func(*http.Request) string{
	"/me/idle": func(r *http.Request) string { return inside(r.PostForm.Get("to")) },
	"/me/password": func(r *http.Request) string {
		if r.PostForm.Get("for") == forOff {
			return passwordForOff
		}
		return "/me/password"
	},
	resetPath + "/confirm":     func(*http.Request) string { return resetPath },
	"/me/two-factor/on/code":   func(*http.Request) string { return "/me/two-factor/on" },
	"/me/two-factor/off/code":  func(*http.Request) string { return "/me/two-factor/off" },
	"/me/two-factor/on/again":  func(*http.Request) string { return "/me/two-factor/on" },
	"/me/two-factor/off/again": func(*http.Request) string { return "/me/two-factor/off" },
}

// enter is where a sign-in to these pages comes back to.
func (h *Handler) enter(w http.ResponseWriter, r *http.Request) error {
	id := r.URL.Query().Get("id")
	end, err := h.Signin.FinishSelf(r.Context(), id, h.visit(r))
	switch {
	case errors.Is(err, fault.New(fault.Expired, "")), errors.Is(err, fault.ErrNotFound):
		return h.Pages.Render(w, r, http.StatusGone, "citizen/refused", page.View{Data: refusedData{Reason: "expired", Again: "/me"}})
	case err != nil:
		return err
	case end.Open:
		http.Redirect(w, r, "/signin/"+url.PathEscape(id), http.StatusSeeOther)
	case end.Refusal.Error != "":
		_, signedIn, err := h.reader(r)
		if err != nil {
			return err
		}
		d := refusedData{Reason: "refused", Again: end.Path, SignedIn: signedIn}
		if end.Refusal.Description == "user_cancelled" {
			d.Reason = "cancelled"
		}
		return h.Pages.Render(w, r, http.StatusOK, "citizen/refused", page.View{Data: d})
	default:
		http.Redirect(w, r, end.Path, http.StatusSeeOther)
	}
	return nil
}

type refusedData struct {
	Reason   string // "cancelled", "refused" or "expired"
	Again    string // path
	SignedIn bool   // the session from before still stands
}

// signOut ends this session and what was given out in it. Nothing is asked: it is the one act that can only make things safer.
func (h *Handler) signOut(w http.ResponseWriter, r *http.Request) error {
	m, ok, err := h.reader(r)
	if err != nil {
		return err
	}
	if ok {
		err := h.Atomically(r.Context(), func(ctx context.Context) error {
			if err := h.Sessions.EndSession(ctx, m.account.ID, m.session.ID, h.Now()); err != nil {
				return err
			}
			return h.Record.Record(ctx, h.event(m, audit.SessionEnded, map[string]string{"reason": "self"}))
		})
		if err != nil {
			return err
		}
	}
	h.Cookies.Clear(w, web.SessionCookie)
	http.Redirect(w, r, "/me/signed-out", http.StatusSeeOther)
	return nil
}

func (h *Handler) signedOut(w http.ResponseWriter, r *http.Request) error {
	if _, ok, err := h.reader(r); err != nil || ok {
		if err == nil {
			http.Redirect(w, r, "/me", http.StatusSeeOther) // an old tab, after another sign-in
		}
		return err
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/signed-out", page.View{})
}
