package provider

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/web"
)

// hint is an ID token that somebody shows again. It may be expired.
type hint struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Session  string `json:"sid"`
	Expires  int64  `json:"exp"`
}

// hint reads an id_token_hint: one of our ID tokens, as told from our other JWTs by its members.
func (s *Server) hint(token string) (h hint, err error) {
	if err := s.verify(token, typID, &h); err != nil {
		return h, err
	}
	if h.Issuer != s.cfg.Issuer || h.Subject == "" || h.Audience == "" || h.Session == "" || h.Expires == 0 {
		return h, errToken
	}
	return h, nil
}

// logout is a request to sign out (OpenID Connect RP-Initiated Logout 1.0 §2).
type logout struct {
	client  *clients.Client // nil: nobody said, or not to be known
	to      string          // registered address to go back to, ""
	state   string
	locales []string
	hint    hint
}

// endSession ends the session of this browser, or the one an isolated client names, and no other. It asks first unless the
// hint proves that the client speaks of exactly this session: otherwise any page could sign people out with an image tag, and
// the hint of one person would sign out the next one at the same screen.
func (s *Server) endSession(w http.ResponseWriter, r *http.Request) {
	noStore(w)
	params, err := s.parameters(w, r)
	if err != nil {
		s.unreadable(w, r, params, err)
		return
	}
	if r.Method == http.MethodPost && s.cfg.Cookies.Get(r, web.SessionCookie) == "" {
		s.again(w, r, pathEndSession, params) // as at /authorize: a cross-site POST brings no Lax cookie
		return
	}
	l, err := s.readLogout(r.Context(), params)
	if err != nil {
		s.cfg.Pages.Failure(w, r, spoken(params), err)
		return
	}
	own, named, err := s.isolated(r.Context(), l)
	if err != nil {
		s.cfg.Pages.Failure(w, r, l.locales, err)
		return
	}
	if named {
		if own.ID != "" && own.EndedAt.IsZero() {
			s.end(w, r, l, own)
		} else {
			s.signedOut(w, r, l) // it is over already
		}
		return
	}
	here, err := s.session(r)
	switch {
	case err != nil:
		s.cfg.Pages.Failure(w, r, l.locales, err)
	case here.ID != "" && s.proves(l, here): // idle or not: what clients hold of it ends too
		s.end(w, r, l, here)
	case !here.Alive(s.now()):
		s.signedOut(w, r, l)
	default:
		s.cfg.Pages.ConfirmLogout(w, r, s.question(l, here))
	}
}

// readLogout checks what is asked. A wrong hint, an unknown client and an address that is not registered are shown as
// errors; an address that nobody vouches for is dropped.
func (s *Server) readLogout(ctx context.Context, params url.Values) (*logout, error) {
	l := &logout{state: params.Get("state"), locales: locales(params.Get("ui_locales"))}
	id := params.Get("client_id")
	if token := params.Get("id_token_hint"); token != "" {
		var err error
		if l.hint, err = s.hint(token); err != nil || (id != "" && id != l.hint.Audience) {
			return nil, fault.New(fault.Invalid, "logout.hint")
		}
		id = l.hint.Audience
	}
	if id == "" {
		return l, nil
	}
	c, ok, err := s.client(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fault.New(fault.Invalid, "logout.client")
	}
	l.client = &c
	if l.to = params.Get("post_logout_redirect_uri"); l.to != "" && !contains(c.PostLogoutURIs, l.to) {
		return nil, fault.New(fault.Invalid, "logout.return")
	}
	if !isState(l.state) {
		return nil, fault.New(fault.Invalid, "authorize.request")
	}
	return l, nil
}

// isolated returns the session that was made for the client alone, if that is what the hint names. No browser has a cookie of
// such a session, and nobody else rests on it: the hint itself, which only the client and its person ever had, is the proof.
// A session of single sign-on is never ended so, or a leaked hint would sign out a person everywhere. named with the zero session:
// it is so long over that nothing is known of it.
func (s *Server) isolated(ctx context.Context, l *logout) (own session.Session, named bool, err error) {
	if l.client == nil || l.hint.Session == "" {
		return own, false, nil
	}
	id := s.sessionOf(*l.client, l.hint.Session)
	if id == "" {
		return own, false, nil
	}
	own, err = s.cfg.Sessions.SessionByID(ctx, id)
	switch {
	case errors.Is(err, fault.ErrNotFound):
		return session.Session{}, l.client.SSOIsolated, nil
	case err != nil:
		return session.Session{}, false, err
	case own.Client != l.client.ID, l.hint.Subject != l.client.Subject(s.subject, own.Account):
		return session.Session{}, false, nil
	}
	return own, true, nil
}

// session returns the session of this browser unless it was ended or is past its end; it may be idle. The zero one if there is none.
func (s *Server) session(r *http.Request) (session.Session, error) {
	token := s.cfg.Cookies.Get(r, web.SessionCookie)
	if token == "" {
		return session.Session{}, nil
	}
	here, err := s.cfg.Sessions.SessionByToken(r.Context(), secret.Hash(token))
	if errors.Is(err, fault.ErrNotFound) || (err == nil && (!here.EndedAt.IsZero() || !s.now().Before(here.ExpiresAt))) {
		return session.Session{}, nil
	}
	return here, err
}

// proves: the hint names this session and this person at this client.
func (s *Server) proves(l *logout, here session.Session) bool {
	if l.client == nil || l.hint.Session == "" || l.hint.Subject != l.client.Subject(s.subject, here.Account) {
		return false
	}
	return s.sessionOf(*l.client, l.hint.Session) == here.ID || s.isFirstSID(*l.client, l.hint.Session, here.ID)
}

// question carries the checked request through the confirmation page, tied to the session it was asked for.
func (s *Server) question(l *logout, here session.Session) ConfirmLogout {
	q := ConfirmLogout{Client: l.client, Action: pathConfirmLogout, UILocales: l.locales}
	id := ""
	if l.client != nil {
		id = l.client.ID
		q.Fields = append(q.Fields, Field{"client_id", id})
	}
	if l.to != "" {
		q.Fields = append(q.Fields, Field{"post_logout_redirect_uri", l.to})
	}
	if l.state != "" {
		q.Fields = append(q.Fields, Field{"state", l.state})
	}
	again := url.Values{}
	for _, f := range q.Fields {
		again.Set(f.Name, f.Value)
	}
	if q.Here = pathEndSession; len(again) > 0 {
		q.Here += "?" + again.Encode()
	}
	ticket := base64url.EncodeToString(s.cfg.Ring.MAC(secret.Cookie, "logout", here.ID, id, l.to, l.state))
	q.Fields = append(q.Fields, Field{"ticket", ticket})
	return q
}

// confirmLogout takes the answer of the confirmation page.
func (s *Server) confirmLogout(w http.ResponseWriter, r *http.Request) {
	noStore(w)
	params, err := s.parameters(w, r)
	if err != nil {
		s.unreadable(w, r, params, err)
		return
	}
	params.Del("id_token_hint")
	l, err := s.readLogout(r.Context(), params)
	if err != nil {
		s.cfg.Pages.Failure(w, r, spoken(params), err)
		return
	}
	here, err := s.session(r)
	if err != nil {
		s.cfg.Pages.Failure(w, r, l.locales, err)
		return
	}
	if !here.Alive(s.now()) {
		s.signedOut(w, r, l)
		return
	}
	ticket, err := base64url.DecodeString(params.Get("ticket"))
	if err != nil || !s.cfg.Ring.CheckMAC(secret.Cookie, ticket, "logout", here.ID, params.Get("client_id"), l.to, l.state) {
		s.cfg.Pages.Failure(w, r, l.locales, errExpired) // another session signed in meanwhile
		return
	}
	if params.Get("confirm") != "yes" {
		s.cfg.Pages.SignedOut(w, r, SignedOut{Client: l.client, UILocales: l.locales})
		return
	}
	s.end(w, r, l, here)
}

// end ends the session with all its grants, records it in the same commit, and goes on to where the client wants.
func (s *Server) end(w http.ResponseWriter, r *http.Request, l *logout, here session.Session) {
	var c clients.Client
	if l.client != nil {
		c = *l.client
	}
	now := s.now()
	err := s.cfg.Transactions.Atomically(r.Context(), func(ctx context.Context) error {
		if err := s.cfg.Sessions.EndSession(ctx, here.Account, here.ID, now); err != nil {
			return err
		}
		if err := s.cfg.Audit.Record(ctx, s.endedBy(r, c, here, now)); err != nil {
			return err
		}
		return failpoint.Here("logout-write")
	})
	if err == nil {
		err = failpoint.Here("logout-written")
	}
	if err != nil {
		s.cfg.Pages.Failure(w, r, l.locales, err)
		return
	}
	if here.Client == "" {
		s.cfg.Cookies.Clear(w, web.SessionCookie)
	}
	s.signedOut(w, r, l)
}

func (s *Server) endedBy(r *http.Request, c clients.Client, here session.Session, now time.Time) audit.Event {
	e := s.event(r.Context(), audit.SessionEnded, "ok", c, grant.Grant{Account: here.Account, Session: here.ID})
	e.At, e.Actor, e.Agent = now, string(here.Account), cut(r.UserAgent(), 256)
	e.Details = map[string]string{"how": "logout"}
	return e
}

func (s *Server) signedOut(w http.ResponseWriter, r *http.Request, l *logout) {
	if l.to == "" {
		s.cfg.Pages.SignedOut(w, r, SignedOut{Client: l.client, Ended: true, UILocales: l.locales})
		return
	}
	var fields []Field
	if l.state != "" {
		fields = []Field{{"state", l.state}}
	}
	redirect(w, extend(l.to, fields))
}
