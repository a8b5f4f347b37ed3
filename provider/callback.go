package provider

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
)

// finish answers the client, once, in the browser that started: what a sign-in ended as decides between a code and an
// error, not which of the two exits was taken. One transaction of three statements, no read but of a consent. Whoever opens the address in
// another browser, or again, meets a page (session fixation at the client, RFC 9700 §4.7).
func (s *Server) finish(w http.ResponseWriter, r *http.Request) {
	noStore(w)
	id, browser := r.URL.Query().Get("id"), s.browser(r)
	if id == "" || len(id) > 64 || browser == "" {
		s.cfg.Pages.Failure(w, r, nil, errExpired)
		return
	}
	e := s.newEnding(r)
	err := s.cfg.Transactions.Atomically(r.Context(), func(ctx context.Context) (err error) {
		if e.t, err = s.cfg.Transactions.FinishTransaction(ctx, id, secret.Hash(browser), e.now); err != nil {
			return err
		}
		return s.conclude(ctx, e)
	})
	if e.grant.ID != "" && (errors.Is(err, fault.ErrNotFound) || errors.Is(err, fault.ErrConflict)) {
		err = s.cfg.Transactions.Atomically(r.Context(), func(ctx context.Context) error {
			if _, err := s.cfg.Transactions.FinishTransaction(ctx, id, secret.Hash(browser), e.now); err != nil {
				return err // answered by the same address, opened twice at once
			}
			return s.lapse(ctx, e)
		})
	}
	s.answer(w, r, e, err)
}

// lapse refuses what was ready: since its last page the session has ended, or the person has withdrawn the consent. The client hears of
// it, so that nobody is left on a page without a way back.
func (s *Server) lapse(ctx context.Context, e *ending) error {
	e.refusal = signin.Refusal{Error: string(oidc.AccessDenied), Description: "The session of the sign-in has ended, or the consent was withdrawn."}
	event := s.event(ctx, audit.SigninRefused, e.refusal.Error, e.client, e.grant)
	event.Actor, event.Agent = string(e.grant.Account), e.agent
	return s.cfg.Audit.Record(ctx, event)
}

// straight answers at once where no page has to be shown, for it is all the browser would be sent around for. The transaction is
// the same, moved by the same rules and concluded by the same function; it only lives no longer than this request. ended is false where
// the pages are to decide.
func (s *Server) straight(w http.ResponseWriter, r *http.Request, t signin.Transaction) (ended bool) {
	if s.cfg.Straight == nil {
		return false
	}
	e := s.newEnding(r)
	e.t = t
	v := signin.Visit{
		Browser: t.Browser, Session: s.cfg.Cookies.Get(r, web.SessionCookie), Network: web.Network(r.Context()), Agent: e.agent,
		Request: web.RequestID(r.Context()),
	}
	ended, err := s.cfg.Straight(r.Context(), t, v, func(ctx context.Context, t signin.Transaction) error {
		e.t = t
		return s.conclude(ctx, e)
	})
	gone := errors.Is(err, fault.ErrConflict) || e.grant.ID != "" && errors.Is(err, fault.ErrNotFound)
	if err == nil && !ended || gone { // the session ended just now, or the consent: the pages find none
		return false
	}
	s.answer(w, r, e, err)
	return true
}

// answer tells the client how it ended, or the person that it did not.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, e *ending, err error) {
	switch {
	case errors.Is(err, fault.ErrNotFound), errors.Is(err, fault.ErrConflict): // answered before; the client is gone
		s.cfg.Pages.Failure(w, r, e.t.Ask.UILocales, errExpired)
	case err != nil:
		if e.record.Answer.RedirectURI == "" { // it failed before it was concluded
			_ = json.Unmarshal(e.t.Ask.Return, &e.record) // nothing there: our page
		}
		s.unable(w, r, e.t.Ask, e.record.Answer, err)
	case e.refusal.Error != "":
		s.cfg.Meter("authorize", e.t.Ask.Client, e.refusal.Error)
		s.deny(w, r, e.record.Answer, e.refusal.Error, e.refusal.Description)
	default:
		s.cfg.Meter("authorize", e.t.Ask.Client, "ok")
		s.send(w, r, e.record.Answer, Field{"code", e.code})
	}
}

var errExpired = fault.New(fault.Expired, "authorize.expired")

// ending is how a transaction ends.
type ending struct {
	id    string // of the grant
	code  string
	agent string
	now   time.Time

	t       signin.Transaction
	record  record
	refusal signin.Refusal
	client  clients.Client
	grant   grant.Grant // that is made of it; zero until nothing but the session and the consent stand in its way
}

func (s *Server) newEnding(r *http.Request) *ending {
	return &ending{id: uuid.NewString(), code: secret.Token(), agent: cut(r.UserAgent(), 256), now: s.now()}
}

// conclude turns the finished transaction into a grant with a code, or into a refusal.
func (s *Server) conclude(ctx context.Context, e *ending) error {
	e.record, e.refusal, e.grant = record{}, signin.Refusal{}, grant.Grant{}
	if e.t.Ask.Client == signin.Self || json.Unmarshal(e.t.Ask.Return, &e.record) != nil {
		return fault.ErrNotFound // not a transaction that /authorize began
	}
	c, ok, err := s.client(ctx, e.t.Ask.Client)
	if err != nil {
		return err
	}
	if !ok || !redirectRegistered(c, e.record.Answer.RedirectURI) {
		return fault.ErrNotFound // the registration went away meanwhile
	}
	if e.t.State == signin.Refused {
		e.refusal = e.t.Refusal
		return nil
	}
	reached := signin.Reached(e.t.Proofs, e.t.Ceiling)
	switch {
	case e.t.State != signin.Ready || reached == acr.None || e.t.Account == "" || e.t.Session == "":
		return errors.New("a ready transaction without proofs, account or session")
	case reached < e.t.Ask.Must: // the rules of a sign-in should not let this happen; nobody gets less than he insists on
		e.refusal.Error = errUnmet
	}
	g := s.grantOf(c, e, reached)
	if e.refusal.Error != "" {
		event := s.event(ctx, audit.SigninRefused, errUnmet, c, g)
		event.Actor, event.Agent = string(g.Account), e.agent
		return s.cfg.Audit.Record(ctx, event)
	}
	e.client, e.grant = c, g
	if err := s.agreed(ctx, c, e.t); err != nil {
		return err
	}
	if err := s.cfg.Grants.CreateGrant(ctx, g); err != nil {
		return err
	}
	if err := failpoint.Here("grant-write"); err != nil {
		return err
	}
	event := s.event(ctx, audit.GrantIssued, "ok", c, g)
	event.Actor, event.Agent = string(g.Account), e.agent
	event.Details = map[string]string{"acr": reached.Short()}
	return s.cfg.Audit.Record(ctx, event)
}

// agreed: a sign-in that was parked at its end must not bring out what the person withdrew meanwhile (row P10). One read, where consent was
// asked for or remembered; until the commit it cannot be withdrawn.
func (s *Server) agreed(ctx context.Context, c clients.Client, t signin.Transaction) error {
	if c.Consent != "once" && !t.Consented {
		return nil
	}
	held, err := s.cfg.Grants.HoldConsent(ctx, t.Account, c.ID)
	if err == nil && slices.ContainsFunc(t.Ask.Scopes, func(scope string) bool { return !slices.Contains(held, scope) }) {
		err = fault.ErrNotFound
	}
	return err
}

// grantOf writes down the facts of the sign-in; every token of this grant is made from them and from nothing else.
func (s *Server) grantOf(c clients.Client, e *ending, reached acr.Level) grant.Grant {
	return grant.Grant{
		ID: e.id, Client: c.ID, Account: e.t.Account, Session: e.t.Session, SessionEnds: e.t.SessionEnds, CreatedAt: e.now,
		Facts: grant.Facts{
			Subject: c.Subject(s.subject, e.t.Account), Scopes: e.record.Scopes, Claims: e.record.Claims.raw(), ACR: reached,
			AMR: signin.Methods(e.t.Proofs), Steps: signin.Steps(e.t.Proofs), AuthTime: signin.AuthTime(e.t.Proofs).Unix(),
			Nonce: e.record.Nonce,
		},
		Code: grant.Code{
			Hash: secret.Hash(e.code), RedirectURI: e.record.Answer.RedirectURI, Challenge: e.record.Challenge, ExpiresAt: e.now.Add(grant.CodeLife),
		},
	}
}

// Subject is the MAC that clients.Client.Subject asks for: 160 bits in 40 hexadecimal digits. Whoever compares a sub with
// ours must make it by this function; it never changes, or every sub would.
func Subject(ring *secret.Ring, parts ...string) string {
	return hex.EncodeToString(ring.MAC(secret.Subject, parts...)[:20])
}

func (s *Server) subject(parts ...string) string { return Subject(s.cfg.Ring, parts...) }

func cut(s string, most int) string { return strings.ToValidUTF8(s[:min(len(s), most)], "") }
