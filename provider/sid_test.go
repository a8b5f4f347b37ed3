package provider

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/session"
)

// T2: a sid opens at its own sector and nowhere else, and changed by one bit to nothing.
func TestT2_SidOpensAtItsSectorAlone(t *testing.T) {
	k := newKit(t)
	one, same, other, native := k.clients["rp-basic"], k.clients["rp-exempt"], k.clients["rp-post"], clients.Client{ID: "app"}
	session := uuid.NewString()
	sid, err := k.s.sid(one, session)
	if err != nil || k.s.sessionOf(one, sid) != session || k.s.sessionOf(same, sid) != session {
		t.Fatalf("%s %v", sid, err)
	}
	for name, c := range map[string]clients.Client{"another sector": other, "a client without one": native} {
		foreign, _ := k.s.sid(c, session)
		if k.s.sessionOf(c, sid) != "" || k.s.sessionOf(one, foreign) != "" {
			t.Errorf("%s opens it", name)
		}
		if k.s.sessionOf(c, foreign) != session {
			t.Errorf("%s cannot open its own", name)
		}
	}
	raw, _ := base64url.DecodeString(sid)
	for i := range raw {
		bent := append([]byte(nil), raw...)
		bent[i] ^= 1
		if got := k.s.sessionOf(one, base64url.EncodeToString(bent)); got != "" {
			t.Errorf("byte %d changed: %s", i, got)
		}
	}
	id := uuid.MustParse(session)
	if strings.Contains(string(raw), string(id[:4])) {
		t.Error("the id stands in the sid")
	}
	if _, err := k.s.sid(one, "one-session"); err == nil {
		t.Error("what is no UUID was named")
	}
	for _, odd := range []string{"", "x", sid[1:], sid + "AA", strings.Repeat("A", 43)} {
		if got := k.s.sessionOf(one, odd); got != "" {
			t.Errorf("%q is %s", odd, got)
		}
	}
}

// O10: the sid of the first release is known where it belongs, and is no sid of ours.
func TestO10_SidOfTheFirstRelease(t *testing.T) {
	k := newKit(t)
	one, same, other := k.clients["rp-basic"], k.clients["rp-exempt"], k.clients["rp-post"]
	session := uuid.NewString()
	old := base64url.EncodeToString(k.s.cfg.Ring.MAC(secret.Tokens, "sid", session, sidSector(one)))
	if !k.s.isFirstSID(one, old, session) || !k.s.isFirstSID(same, old, session) {
		t.Error("not known")
	}
	ours, err := k.s.sid(one, session)
	if err != nil {
		t.Fatal(err)
	}
	if k.s.isFirstSID(other, old, session) || k.s.isFirstSID(one, old, uuid.NewString()) || k.s.isFirstSID(one, ours, session) || k.s.isFirstSID(one, "", session) || k.s.sessionOf(one, old) != "" {
		t.Error("known where it does not belong")
	}
}

// alone signs a person in at the isolated client rp-post: the session has no cookie. It returns the token response.
func (b *browser) alone(id account.ID) reply {
	b.Helper()
	uri := b.clients["rp-post"].RedirectURIs[0]
	tx := b.begin(ask("rp-post", uri, "scope", "openid offline_access"))
	cookie, had := b.cookies["__Host-kapi-session"]
	b.prove(tx, b.password(id))
	if b.cookies["__Host-kapi-session"] = cookie; !had {
		delete(b.cookies, "__Host-kapi-session")
	}
	s := b.sessions[b.transactions[tx.ID].Session]
	s.Client = "rp-post"
	b.sessions[s.ID] = s
	return b.redeem("rp-post", uri, b.answer(b.get("/authorize/callback?id="+tx.ID)).Get("code"))
}

// Signing out at an isolated client ends the session that was made for it, with its refresh family, and no other: neither
// the browser's own, nor another person's, nor one that is not isolated.
func TestLogoutOfAnIsolatedClient(t *testing.T) {
	k := newKit(t)
	k.change("rp-post", func(c *clients.Client) { c.SSOIsolated, c.PostLogoutURIs = true, []string{"https://rp2.example/bye"} })
	b, m := k.browser(), k.browser()
	sso := b.signedInHere(ayse)
	first, second := b.alone(ayse), b.alone(ayse)
	foreign := m.alone(mehmet)
	refreshes := func(r reply) bool { return k.refresh("rp-post", r.text("refresh_token")).Code == 200 }
	leave := func(b *browser, hint string) string {
		w := b.get("/end_session?" + url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {"https://rp2.example/bye"}}.Encode())
		return brief(w.Header().Get("Location"), page(w))
	}
	if k.living() != 4 {
		t.Fatalf("%d sessions", k.living())
	}
	if got := leave(b, first.text("id_token")); got != "https://rp2.example/bye" || k.living() != 3 || k.count(audit.SessionEnded) != 1 {
		t.Fatalf("%s, %d sessions, %d events", got, k.living(), k.count(audit.SessionEnded))
	}
	e := k.events[len(k.events)-1]
	if e.Name != audit.SessionEnded || e.Client != "rp-post" || e.Subject != string(ayse) || k.sessions[e.Session].EndedAt.IsZero() {
		t.Errorf("%+v", e)
	}
	if refreshes(first) || !refreshes(second) || !refreshes(foreign) {
		t.Error("what was given out in the ended session, and only that, should be over")
	}
	if k.userinfo(first.text("access_token")).Code != 401 || k.userinfo(second.text("access_token")).Code != 200 {
		t.Error("the access token outlives its session")
	}
	if b.cookies["__Host-kapi-session"] == "" {
		t.Error("the browser's own session lost its cookie")
	}
	// Again: it is over, nothing is asked, nothing ends.
	if got := leave(b, first.text("id_token")); got != "https://rp2.example/bye" || k.living() != 3 || k.count(audit.SessionEnded) != 1 {
		t.Errorf("again: %s, %d sessions", got, k.living())
	}
	// Idle, with a refresh family that lives on.
	k.pass(40 * time.Minute)
	if got := leave(k.browser(), second.text("id_token")); got != "https://rp2.example/bye" || k.living() != 2 {
		t.Errorf("idle: %s, %d sessions", got, k.living())
	}
	// Swept since.
	for id, s := range k.sessions {
		if s.Client != "" && s.Account == ayse {
			delete(k.sessions, id)
		}
	}
	if got := leave(b, first.text("id_token")); got != "https://rp2.example/bye" || k.living() != 2 {
		t.Errorf("swept: %s, %d sessions", got, k.living())
	}
	// A client that became isolated later does not end the single sign-on session by a hint alone.
	k.change("rp-basic", func(c *clients.Client) { c.SSOIsolated = true })
	w := k.browser().get("/end_session?" + url.Values{"id_token_hint": {sso}}.Encode())
	if k.living() != 2 {
		t.Errorf("a hint ended a session of single sign-on: %s", page(w))
	}
}

// Sid and subject of a hint must agree: a client of the same sector cannot end what is not its own.
func TestLogoutOfAnotherClientsIsolatedSession(t *testing.T) {
	k := newKit(t)
	k.change("rp-post", func(c *clients.Client) { c.SSOIsolated = true })
	k.change("rp-jwt", func(c *clients.Client) { c.SSOIsolated, c.Sector = true, "rp2.example" })
	b := k.browser()
	b.alone(ayse)
	var own session.Session
	for _, s := range k.sessions {
		own = s
	}
	sid, _ := k.s.sid(k.clients["rp-jwt"], own.ID)
	for name, h := range map[string]hint{
		"another client of the sector": {Audience: "rp-jwt", Session: sid, Subject: k.clients["rp-jwt"].Subject(k.s.subject, ayse)},
		"another person":               {Audience: "rp-post", Session: sid, Subject: k.clients["rp-post"].Subject(k.s.subject, mehmet)},
	} {
		c := k.clients[h.Audience]
		if _, named, err := k.s.isolated(t.Context(), &logout{client: &c, hint: h}); named || err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A hint that proves the browser's own session ends it also when it is idle: clients may still refresh in it.
func TestLogoutOfAnIdleSession(t *testing.T) {
	k := newKit(t)
	b := k.browser()
	hint := b.signedInHere(ayse)
	k.pass(31 * time.Minute)
	if w := b.get("/end_session?id_token_hint=" + hint); w.Body.String() != "signed out" || k.living() != 0 || k.count(audit.SessionEnded) != 1 {
		t.Errorf("%s, %d sessions", w.Body, k.living())
	}
}
