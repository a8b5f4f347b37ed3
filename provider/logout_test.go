package provider

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
)

const bye = "https://rp1.example/bye"

// signedInHere signs a person in at rp-basic in this browser and returns the ID token.
func (b *browser) signedInHere(id account.ID) string {
	b.Helper()
	tx := b.begin(ask("rp-basic", "https://rp1.example/cb"))
	b.prove(tx, b.password(id))
	return b.redeem("rp-basic", "https://rp1.example/cb", b.answer(b.get("/authorize/callback?id="+tx.ID)).Get("code")).text("id_token")
}

// living counts sessions that were not ended.
func (k *kit) living() (n int) {
	for _, s := range k.sessions {
		if s.EndedAt.IsZero() {
			n++
		}
	}
	return n
}

func brief(location, text string) string {
	if location != "" {
		return location
	}
	first, _, _ := strings.Cut(text, "\n")
	return first
}

// The intent of each module of the RP-initiated logout plan, and of row "never another person's session".
func TestConformance_Logout(t *testing.T) {
	for _, tc := range []struct {
		name  string
		pairs func(hint, foreign, mehmets string) []string
		want  string // prefix of what the browser sees
		left  int    // sessions that live on, of two
		back  bool   // the cookie is gone
	}{
		{"rp-initiated-logout", func(h, _, _ string) []string {
			return []string{"id_token_hint", h, "post_logout_redirect_uri", bye, "state", "a b"}
		}, bye + "?state=a+b", 1, true},
		{"rp-initiated-logout-no-state", func(h, _, _ string) []string {
			return []string{"id_token_hint", h, "post_logout_redirect_uri", bye}
		}, bye, 1, true},
		{"rp-initiated-logout-no-post-logout-redirect-uri", func(h, _, _ string) []string { return []string{"id_token_hint", h, "state", "x"} }, "200 signed out", 1, true},
		{"with the right client_id", func(h, _, _ string) []string {
			return []string{"id_token_hint", h, "client_id", "rp-basic", "post_logout_redirect_uri", bye}
		}, bye, 1, true},
		{"rp-initiated-logout-no-params", func(_, _, _ string) []string { return nil }, "200 confirm ", 2, false},
		{"rp-initiated-logout-only-state", func(_, _, _ string) []string { return []string{"state", "x"} }, "200 confirm ", 2, false},
		{"rp-initiated-logout-no-id-token-hint", func(_, _, _ string) []string {
			return []string{"client_id", "rp-basic", "post_logout_redirect_uri", bye}
		}, "200 confirm ", 2, false},
		{"an address that nobody vouches for", func(_, _, _ string) []string { return []string{"post_logout_redirect_uri", "https://evil.example/"} }, "200 confirm ", 2, false},
		{"rp-initiated-logout-bad-post-logout-redirect-uri", func(h, _, _ string) []string {
			return []string{"id_token_hint", h, "post_logout_redirect_uri", bye + "/"}
		}, "400 page logout.return", 2, false},
		{"rp-initiated-logout-query-added-to-post-logout-redirect-uri", func(h, _, _ string) []string {
			return []string{"id_token_hint", h, "post_logout_redirect_uri", bye + "?x=1"}
		}, "400 page logout.return", 2, false},
		{"rp-initiated-logout-modified-id-token-hint", func(h, _, _ string) []string {
			return []string{"id_token_hint", h[:len(h)-6] + "AAAAAA", "post_logout_redirect_uri", bye}
		}, "400 page logout.hint", 2, false},
		{"rp-initiated-logout-bad-id-token-hint", func(_, _, _ string) []string { return []string{"id_token_hint", "x.bnVsbA.x"} }, "400 page logout.hint", 2, false},
		{"hint and client_id disagree", func(h, _, _ string) []string { return []string{"id_token_hint", h, "client_id", "rp-post"} }, "400 page logout.hint", 2, false},
		{"unknown client", func(_, _, _ string) []string { return []string{"client_id", "nobody"} }, "400 page logout.client", 2, false},
		{"hint of this person's other session", func(_, f, _ string) []string {
			return []string{"id_token_hint", f, "post_logout_redirect_uri", bye}
		}, "200 confirm ", 2, false},
		{"hint of another person", func(_, _, m string) []string {
			return []string{"id_token_hint", m, "post_logout_redirect_uri", bye}
		}, "200 confirm ", 2, false},
		{"parameter twice", nil, "400 page authorize.request", 2, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := newKit(t)
			other := k.browser()
			foreign := other.signedInHere(ayse)
			b := k.browser()
			mehmets := b.signedInHere(mehmet)
			for id, s := range k.sessions { // Mehmet has left this browser
				if s.Account == mehmet {
					delete(k.sessions, id)
				}
			}
			hint := b.signedInHere(ayse)
			k.pass(10 * time.Minute) // the hint has expired
			target := "/end_session?state=a&state=b"
			if tc.pairs != nil {
				v := url.Values{}
				for p := tc.pairs(hint, foreign, mehmets); len(p) > 0; p = p[2:] {
					v.Set(p[0], p[1])
				}
				target = "/end_session?" + v.Encode()
			}
			w := b.get(target)
			if got := brief(w.Header().Get("Location"), page(w)); !strings.HasPrefix(got, tc.want) || (strings.HasPrefix(tc.want, "https") && got != tc.want) {
				t.Errorf("sees %s", got)
			}
			if k.living() != tc.left || (b.cookies["__Host-kapi-session"] == "") != tc.back || k.count(audit.SessionEnded) != 2-tc.left {
				t.Errorf("%d sessions left, cookie %q, %d events", k.living(), b.cookies["__Host-kapi-session"], k.count(audit.SessionEnded))
			}
			if other.cookies["__Host-kapi-session"] == "" {
				t.Error("the other browser lost its session")
			}
		})
	}
}

func TestLogoutConfirmation(t *testing.T) {
	k := newKit(t)
	b := k.browser()
	b.signedInHere(ayse)
	confirm := func(b *browser) (string, url.Values) {
		b.Helper()
		w := b.get("/end_session?client_id=rp-basic&state=s&post_logout_redirect_uri=" + url.QueryEscape(bye))
		text := strings.Split(w.Body.String(), " ")
		v, err := url.ParseQuery(text[len(text)-1])
		if err != nil || text[0] != "confirm" {
			b.Fatalf("%s %v", w.Body, err)
		}
		return text[1], v
	}
	action, v := confirm(b)
	for name, change := range map[string]func(url.Values){
		"no ticket":       func(v url.Values) { v.Del("ticket") },
		"other address":   func(v url.Values) { v.Del("post_logout_redirect_uri") },
		"other state":     func(v url.Values) { v.Set("state", "t") },
		"other client":    func(v url.Values) { v.Del("client_id"); v.Del("post_logout_redirect_uri") },
		"garbage":         func(v url.Values) { v.Set("ticket", "!") },
		"ticket of a MAC": func(v url.Values) { v.Set("ticket", base64url.EncodeToString(make([]byte, 32))) },
	} {
		bad := copied(v)
		bad.Set("confirm", "yes")
		if change(bad); b.post(action, bad).Code == 303 || k.living() != 1 {
			t.Errorf("%s signed out", name)
		}
	}
	stranger := k.browser()
	stranger.signedInHere(mehmet)
	_, strangers := confirm(stranger)
	strangers.Set("confirm", "yes")
	if w := b.post(action, strangers); w.Code != 410 || k.living() != 2 {
		t.Errorf("the ticket of another session: %d", w.Code)
	}
	r := newRequest("POST", action)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if w := b.do(r); w.Code != 403 {
		t.Errorf("cross-site: %d", w.Code)
	}
	v.Set("confirm", "no")
	if w := b.post(action, v); w.Body.String() != "still signed in" || k.living() != 2 {
		t.Errorf("no: %s", w.Body)
	}
	v.Set("confirm", "yes")
	w := b.post(action, v)
	if w.Header().Get("Location") != bye+"?state=s" || k.living() != 1 || b.cookies["__Host-kapi-session"] != "" {
		t.Errorf("yes: %d %s", w.Code, w.Header().Get("Location"))
	}
	if w := b.post(action, v); w.Header().Get("Location") != bye+"?state=s" || k.living() != 1 {
		t.Errorf("again: %d %s", w.Code, w.Header().Get("Location"))
	}
	events := k.events[len(k.events)-1]
	want := audit.Event{
		At: k.now(), Name: audit.SessionEnded, Outcome: "ok", Actor: string(ayse), Subject: string(ayse), Client: "rp-basic", Session: events.Session,
		Request: "request-1", Network: "192.0.2.7", Details: map[string]string{"how": "logout"},
	}
	if !reflect.DeepEqual(events, want) {
		t.Errorf("recorded %+v", events)
	}
}

func TestLogoutWithoutSession(t *testing.T) {
	k := newKit(t)
	b := k.browser()
	hint := b.signedInHere(ayse)
	k.pass(31 * time.Minute) // idle
	for name, want := range map[string]string{"": "200 signed out", "id_token_hint=" + hint + "&post_logout_redirect_uri=" + url.QueryEscape(bye): bye} {
		w := b.get("/end_session?" + name)
		if got := brief(w.Header().Get("Location"), page(w)); !strings.HasPrefix(got, want) {
			t.Errorf("%.20s: %s", name, got)
		}
	}
	// A cross-site POST brings no Lax cookie: it comes again as a GET that does.
	k2 := newKit(t)
	b = k2.browser()
	hint = b.signedInHere(ayse)
	away := k2.browser()
	to := away.post("/end_session", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye}}).Header().Get("Location")
	if w := b.get(to); w.Header().Get("Location") != bye || k2.living() != 0 {
		t.Errorf("%s: %d %s", to, w.Code, w.Header().Get("Location"))
	}
	hint = b.signedInHere(ayse)
	if w := b.post("/end_session", url.Values{"id_token_hint": {hint}}); w.Body.String() != "signed out" || k2.living() != 0 {
		t.Errorf("a POST with the cookie: %d %s", w.Code, w.Body)
	}
}
