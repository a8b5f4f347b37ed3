package provider

import (
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/signin"
)

// The intent of each module of the OpenID certification plans Basic OP and Form Post OP (suite 5.2.4), client
// registration static. The suite itself runs against a whole server; here each intent is held at the protocol's edge.
func TestConformance_Basic(t *testing.T) {
	to := "https://rp1.example/cb"
	// flow asks, signs in and redeems; it returns the parameters of the answer, the token response and the ID token.
	flow := func(k *kit, pairs ...string) (url.Values, reply, map[string]any) {
		b := k.browser()
		tx := b.begin(ask("rp-basic", to, pairs...))
		b.prove(tx, k.password(ayse), k.sms(ayse))
		got := b.deliver(b.get("/authorize/callback?id="+tx.ID).Result(), to)
		out := k.redeem("rp-basic", to, got.Get("code"))
		if out.Code != 200 {
			k.Fatalf("token: %d %s", out.Code, out.Body)
		}
		return got, out, k.claimsOf(out.text("id_token"))
	}
	fails := func(k *kit, want string, pairs ...string) {
		k.Helper()
		b := k.browser()
		if got := b.deliver(b.authorize(ask("rp-basic", to, pairs...)).Result(), to).Get("error"); got != want {
			k.Errorf("error %q, want %q", got, want)
		}
	}
	modules := []struct {
		name string
		do   func(k *kit, mode []string)
	}{
		{"server", func(k *kit, mode []string) {
			got, _, id := flow(k, mode...)
			if got.Get("iss") != issuer || id["iss"] != issuer {
				k.Errorf("%v %v", got, id)
			}
		}},
		{"response-type-missing", func(k *kit, mode []string) {
			fails(k, "invalid_request", append(mode, "response_type", "")...)
		}},
		{"userinfo-get", func(k *kit, mode []string) {
			_, out, id := flow(k, mode...)
			if info := k.userinfo(out.text("access_token")); info.Code != 200 || info.fields["sub"] != id["sub"] {
				k.Errorf("%d %s", info.Code, info.Body)
			}
		}},
		{"userinfo-post-header", func(k *kit, mode []string) {
			_, out, _ := flow(k, mode...)
			info := k.raw("POST", "/userinfo", nil, func(r *http.Request) { r.Header.Set("Authorization", "bearer "+out.text("access_token")) })
			if info.Code != 200 || info.text("sub") == "" {
				k.Errorf("%d %s", info.Code, info.Body)
			}
		}},
		{"userinfo-post-body", func(k *kit, mode []string) {
			_, out, _ := flow(k, mode...)
			if info := k.raw("POST", "/userinfo", url.Values{"access_token": {out.text("access_token")}}, nil); info.Code != 200 || info.text("sub") == "" {
				k.Errorf("%d %s", info.Code, info.Body)
			}
		}},
		{"ensure-request-without-nonce-succeeds-for-code-flow", func(k *kit, mode []string) {
			if _, _, id := flow(k, append(mode, "nonce", "")...); id["nonce"] != nil {
				k.Errorf("a nonce nobody sent: %v", id)
			}
		}},
		{"nonce is echoed", func(k *kit, mode []string) {
			if _, _, id := flow(k, append(mode, "nonce", "çok özel ☃")...); id["nonce"] != "çok özel ☃" {
				k.Errorf("%v", id)
			}
		}},
		{"ensure-request-without-state-succeeds", func(k *kit, mode []string) {
			if got, _, _ := flow(k, append(mode, "state", "")...); got.Has("state") {
				k.Errorf("a state nobody sent: %v", got)
			}
		}},
		{"scope-profile, -email, -address, -phone, -all", func(k *kit, mode []string) {
			for scope, want := range map[string][]string{
				"profile": {"birthdate", "family_name", "gender", "given_name", "locale", "name", "sub"}, "email": {"email", "email_verified", "sub"}, "address": {"address", "sub"},
				"phone": {"phone_number", "phone_number_id_verified", "phone_number_verified", "sub"}, "": {"sub"},
				"profile email address phone": {"address", "birthdate", "email", "email_verified", "family_name", "gender", "given_name", "locale", "name", "phone_number", "phone_number_id_verified", "phone_number_verified", "sub"},
			} {
				_, out, _ := flow(k, append(mode, "scope", "openid "+scope)...)
				info := k.userinfo(out.text("access_token"))
				got := slices.Sorted(keysOf(info.fields))
				if !slices.Equal(got, want) {
					k.Errorf("scope %q: %v", scope, got)
				}
			}
		}},
		{"display-page, display-popup, unknown parameters", func(k *kit, mode []string) {
			flow(k, append(mode, "display", "page", "extra", "foobar")...)
			flow(k, append(mode, "display", "popup")...)
		}},
		// What prompt and max_age do to a session is shown over the whole server: TestConformance_Sessions of the program. Here it is that the
		// core of sign-in is asked for it, and that nobody else is.
		{"prompt-login", func(k *kit, mode []string) {
			if a := k.browser().begin(ask("rp-basic", to, append(mode, "prompt", "login")...)).Ask; !a.Login || a.Silent || a.Consent || a.SelectAccount {
				k.Errorf("%+v", a)
			}
		}},
		{"prompt-none-not-logged-in, prompt-none-logged-in", func(k *kit, mode []string) {
			b := k.browser()
			tx := b.begin(ask("rp-basic", to, append(mode, "prompt", "none")...))
			if !tx.Ask.Silent {
				k.Error("prompt=none is lost")
			}
			tx.State, tx.Refusal.Error = signin.Refused, "login_required"
			k.transactions[tx.ID] = tx
			if got := b.deliver(b.get("/authorize/refused?id="+tx.ID).Result(), to); got.Get("error") != "login_required" {
				k.Errorf("%v", got)
			}
			at := k.now()
			k.s.cfg.Straight = func(ctx context.Context, t signin.Transaction, _ signin.Visit, end func(context.Context, signin.Transaction) error) (bool, error) {
				if !t.Ask.Silent {
					k.Error("prompt=none is lost")
				}
				t.State, t.Account, t.Ceiling, t.Session, t.SessionEnds = signin.Ready, ayse, acr.High, uuid.NewString(), k.now().Add(time.Hour)
				t.Proofs = []factors.Proof{k.password(ayse)}
				t.Proofs[0].At = at
				return true, end(ctx, t)
			}
			k.pass(time.Minute)
			got := b.deliver(b.authorize(ask("rp-basic", to, append(mode, "prompt", "none")...)).Result(), to)
			if id := k.claimsOf(k.redeem("rp-basic", to, got.Get("code")).text("id_token")); id["auth_time"] != float64(at.Unix()) {
				k.Errorf("%v", id)
			}
		}},
		{"max-age-1, max-age-10000", func(k *kit, mode []string) {
			for age, want := range map[string]int64{"1": 1, "10000": 10000} {
				b := k.browser()
				tx := b.begin(ask("rp-basic", to, append(mode, "max_age", age)...))
				if tx.Ask.MaxAge == nil || *tx.Ask.MaxAge != want {
					k.Errorf("max_age=%s became %v", age, tx.Ask.MaxAge)
				}
				proven := k.now()
				b.prove(tx, k.password(ayse))
				k.pass(time.Second)
				got := b.deliver(b.get("/authorize/callback?id="+tx.ID).Result(), to)
				if id := k.claimsOf(k.redeem("rp-basic", to, got.Get("code")).text("id_token")); id["auth_time"] != float64(proven.Unix()) {
					k.Errorf("%v", id)
				}
			}
		}},
		{"id-token-hint", func(k *kit, mode []string) {
			_, out, id := flow(k, mode...)
			k.pass(30 * 24 * time.Hour) // an expired hint still says who
			tx := k.browser().begin(ask("rp-basic", to, append(mode, "prompt", "none", "id_token_hint", out.text("id_token"))...))
			if tx.Ask.HintSubject != id["sub"] {
				k.Errorf("%+v", tx.Ask)
			}
		}},
		{"login-hint, ui-locales, claims-locales, ensure-request-with-acr-values-succeeds", func(k *kit, mode []string) {
			_, _, id := flow(k, append(mode, "login_hint", "buffy@example.com", "ui_locales", "se", "claims_locales", "se", "acr_values", "1 2")...)
			if id["acr"] != "urn:kapi:loa:substantial" {
				k.Errorf("%v", id)
			}
		}},
		{"codereuse, codereuse-30seconds", func(k *kit, mode []string) {
			b := k.browser()
			code := b.code(ask("rp-basic", to))
			out := k.redeem("rp-basic", to, code)
			for _, d := range []time.Duration{time.Second, 30 * time.Second} {
				k.pass(d)
				if again := k.redeem("rp-basic", to, code); again.text("error") != "invalid_grant" {
					k.Errorf("%d %s", again.Code, again.Body)
				}
			}
			if info := k.userinfo(out.text("access_token")); info.Code != 401 {
				k.Error("the token lives on")
			}
		}},
		{"ensure-registered-redirect-uri, redirect-uri-query-OK, -mismatch, -added", func(k *kit, mode []string) {
			for uri, ok := range map[string]bool{
				"https://rp2.example/cb?x=1": true, "https://rp2.example/cb?x=2": false, "https://rp2.example/cb?x=1&y=2": false, "https://rp2.example/cb": false,
			} {
				w := k.browser().authorize(ask("rp-post", uri, mode...))
				if (w.Code == 303) != ok || (!ok && w.Code != 400) {
					k.Errorf("%s: %d", uri, w.Code)
				}
			}
		}},
		{"ensure-post-request-succeeds", func(k *kit, mode []string) {
			b := k.browser()
			w := b.get(b.post("/authorize", ask("rp-basic", to, mode...)).Header().Get("Location"))
			if !strings.HasPrefix(w.Header().Get("Location"), "/signin/") {
				k.Errorf("%d %s", w.Code, w.Header().Get("Location"))
			}
		}},
		{"unsigned-request-object-supported-correctly-or-rejected-as-unsupported", func(k *kit, mode []string) {
			fails(k, "request_not_supported", append(mode, "request", "eyJhbGciOiJub25lIn0.e30.")...)
			fails(k, "request_uri_not_supported", append(mode, "request_uri", "https://rp1.example/r.jwt")...)
		}},
		{"claims-essential", func(k *kit, mode []string) {
			_, out, id := flow(k, append(mode, "claims", `{"userinfo":{"name":{"essential":true}},"id_token":{"email":{"essential":true}}}`)...)
			info := k.userinfo(out.text("access_token"))
			if info.fields["name"] != "Ayşe Yılmaz" || info.fields["email"] != nil || id["email"] != "ayse@example.org" || id["name"] != nil {
				k.Errorf("%v %v", info.fields, id)
			}
		}},
		{"ensure-request-object-with-redirect-uri, ensure-client-secret-post", func(k *kit, mode []string) {
			uri := "https://rp2.example/cb?x=1"
			b := k.browser()
			if out := k.redeem("rp-post", uri, b.code(ask("rp-post", uri))); out.Code != 200 {
				k.Errorf("%d %s", out.Code, out.Body)
			}
		}},
		{"refresh-token", func(k *kit, mode []string) {
			_, out, id := flow(k, append(mode, "scope", "openid offline_access", "prompt", "consent")...)
			again := k.refresh("rp-basic", out.text("refresh_token"))
			if next := k.claimsOf(again.text("id_token")); next["sub"] != id["sub"] || next["auth_time"] != id["auth_time"] {
				k.Errorf("%v", next)
			}
		}},
	}
	for _, m := range modules {
		t.Run(m.name, func(t *testing.T) { m.do(newKit(t), nil) })
	}
	for _, m := range modules {
		t.Run("form_post "+m.name, func(t *testing.T) { m.do(newKit(t), []string{"response_mode", "form_post"}) })
	}
}

// deliver reads what reaches the client, by redirect or by form.
func (b *browser) deliver(r *http.Response, to string) url.Values {
	b.Helper()
	text := r.Header.Get("Location")
	if text == "" {
		raw := make([]byte, 1<<16)
		n, _ := r.Body.Read(raw)
		text = strings.Replace(strings.TrimPrefix(string(raw[:n]), "form "), " ", "?", 1)
	}
	at, query, _ := strings.Cut(text, "?")
	values, err := url.ParseQuery(query)
	if at != to || err != nil {
		b.Fatalf("the client gets %d %q", r.StatusCode, text)
	}
	return values
}

func keysOf(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

var update = flag.Bool("update", false, "write the golden files")

// oidcc-config-certification: the document holds exactly what is true.
func TestConformance_Config(t *testing.T) {
	k := newKit(t)
	got := k.raw("GET", "/.well-known/openid-configuration", nil, nil)
	pretty, _ := json.MarshalIndent(got.fields, "", "  ")
	pretty = append(pretty, '\n')
	if *update {
		if err := os.WriteFile("testdata/discovery.json", pretty, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/discovery.json")
	if err != nil || string(want) != string(pretty) {
		t.Errorf("discovery differs from testdata/discovery.json (%v):\n%s", err, pretty)
	}
	for name, value := range map[string]string{"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=3600", "Content-Type": "application/json", "Access-Control-Allow-Credentials": ""} {
		if got.Header().Get(name) != value {
			t.Errorf("%s: %q", name, got.Header().Get(name))
		}
	}
	// Every endpoint it names answers, and every scope and claim exists.
	for name, v := range got.fields {
		if u, ok := v.(string); ok && strings.HasSuffix(name, "_endpoint") || name == "jwks_uri" {
			path := strings.TrimPrefix(u, issuer)
			if a, b := k.raw("GET", path, nil, nil).Code, k.raw("POST", path, url.Values{}, nil).Code; a == 404 || b == 404 || (a == 405 && b == 405) {
				t.Errorf("%s %s: %d %d", name, path, a, b)
			}
		}
	}
	for _, alg := range got.fields["id_token_signing_alg_values_supported"].([]any) {
		k.change("rp-basic", func(c *clients.Client) {
			c.IDTokenAlg, c.UserinfoAlg, c.JWTAccessToken = alg.(string), alg.(string), true
		})
		out := k.signedIn("rp-basic")
		id := k.claimsOf(out.text("id_token"))
		info := k.userinfo(out.text("access_token"))
		if id["at_hash"] != atHash(alg.(string), out.text("access_token")) || info.Header().Get("Content-Type") != "application/jwt" {
			t.Errorf("%v: %v %v", alg, id, info.Header())
		}
		if c := k.claimsOf(info.Body.String()); c["sub"] != id["sub"] || c["iss"] != issuer || c["aud"] != "rp-basic" {
			t.Errorf("%v: %v", alg, c)
		}
	}
	for _, path := range []string{"/.well-known/openid-configuration", "/keys"} {
		first := k.raw("GET", path, nil, nil)
		tag := first.Header().Get("ETag")
		again := k.raw("GET", path, nil, func(r *http.Request) { r.Header.Set("If-None-Match", tag) })
		if tag == "" || again.Code != 304 || again.Body.Len() != 0 || k.raw("PUT", path, nil, nil).Code != 405 {
			t.Errorf("%s: tag %q, then %d", path, tag, again.Code)
		}
	}
}

func TestUserinfoErrors(t *testing.T) {
	k := newKit(t)
	out := k.signedIn("rp-basic")
	token := out.text("access_token")
	bearer := func(tokens ...string) func(*http.Request) {
		return func(r *http.Request) {
			for _, v := range tokens {
				r.Header.Add("Authorization", "Bearer "+v)
			}
		}
	}
	machine := k.call("/oauth/token", "rp-machine", url.Values{"grant_type": {"client_credentials"}}).text("access_token")
	for _, tc := range []struct {
		name, method, path string
		form               url.Values
		edit               func(*http.Request)
		status             int
		code               string
	}{
		{"no token", "GET", "/userinfo", nil, nil, 401, ""},
		{"other scheme", "GET", "/userinfo", nil, func(r *http.Request) { r.SetBasicAuth("a", "b") }, 401, ""},
		{"query", "GET", "/userinfo?access_token=" + token, nil, nil, 400, "invalid_request"},
		{"query beside a header", "GET", "/userinfo?access_token=" + token, nil, bearer(token), 400, "invalid_request"},
		{"header and body", "POST", "/userinfo", url.Values{"access_token": {token}}, bearer(token), 400, "invalid_request"},
		{"two headers", "GET", "/userinfo", nil, bearer(token, token), 400, "invalid_request"},
		{"body twice", "POST", "/userinfo", url.Values{"access_token": {token, token}}, nil, 400, "invalid_request"},
		{"JSON body", "POST", "/userinfo", url.Values{}, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }, 400, "invalid_request"},
		{"garbage", "GET", "/userinfo", nil, bearer("garbage"), 401, "invalid_token"},
		{"payload null", "GET", "/userinfo", nil, bearer("x.bnVsbA.x"), 401, "invalid_token"},
		{"alg none", "GET", "/userinfo", nil, bearer(forge(`{"alg":"none","typ":"at+jwt"}`, `{"sub":"x"}`, nil)), 401, "invalid_token"},
		{"ID token", "GET", "/userinfo", nil, bearer(out.text("id_token")), 401, "invalid_token"},
		{"client's own", "GET", "/userinfo", nil, bearer(machine), 403, "insufficient_scope"},
	} {
		got := k.raw(tc.method, tc.path, tc.form, tc.edit)
		challenge := got.Header().Get("WWW-Authenticate")
		if got.Code != tc.status || got.text("error") != tc.code || !strings.HasPrefix(challenge, `Bearer realm="`+issuer+`"`) ||
			strings.Contains(challenge, "error=") != (tc.code != "") || got.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s %q", tc.name, got.Code, got.Body, challenge)
		}
	}
	k.pass(5*time.Minute - 1)
	if got := k.userinfo(token); got.Code != 200 {
		t.Errorf("just before the end: %d", got.Code)
	}
	k.pass(1)
	if got := k.userinfo(token); got.Code != 401 || got.text("error") != "invalid_token" {
		t.Errorf("expired: %d %s", got.Code, got.Body)
	}
}

// national_id only for clients that are approved for it, and no longer than they are.
func TestNationalIDNeedsApproval(t *testing.T) {
	k := newKit(t)
	asked := []string{"scope", "openid national_id", "claims", `{"userinfo":{"national_id":{"essential":true}},"id_token":{"national_id":null}}`}
	out := k.signedIn("rp-basic", asked...)
	if info, id := k.userinfo(out.text("access_token")), k.claimsOf(out.text("id_token")); info.fields["national_id"] != nil || id["national_id"] != nil || out.text("scope") != "openid" {
		t.Errorf("a client without approval got %v %v", info.fields, id)
	}
	k.change("rp-basic", func(c *clients.Client) { c.Scopes = append(c.Scopes, "national_id") })
	out = k.signedIn("rp-basic", asked...)
	info, id := k.userinfo(out.text("access_token")), k.claimsOf(out.text("id_token"))
	if info.fields["national_id"] != "10000000146" || info.fields["person_type"] != "citizen" || id["national_id"] != "10000000146" || id["person_type"] != nil {
		t.Errorf("an approved client got %v %v", info.fields, id)
	}
	k.change("rp-basic", func(c *clients.Client) { c.Scopes = c.Scopes[:len(c.Scopes)-1] })
	if info := k.userinfo(out.text("access_token")); info.fields["national_id"] != nil {
		t.Errorf("the approval is gone, the claim is not: %v", info.fields)
	}
	k.people[mehmet] = account.Person{GivenName: "Mehmet"}
	if a := tell(k.clients["rp-basic"], known{Person: k.people[mehmet]}, []string{"profile", "phone", "email", "address"}, nil); !reflect.DeepEqual(a, about{Name: "Mehmet", GivenName: "Mehmet"}) {
		t.Errorf("claims without a value: %+v", a)
	}
}

// The table of amr and acr through the whole protocol.
func TestP14_HonestClaims(t *testing.T) {
	k := newKit(t)
	b := k.browser()
	first := k.password(ayse)
	for _, tc := range []struct {
		name    string
		ceiling acr.Level
		second  bool
		acr     string
		amr     []any
	}{
		{"password", acr.High, false, "low", []any{"pwd"}},
		{"password and SMS", acr.High, true, "substantial", []any{"pwd", "sms", "mca", "mfa"}},
		{"password and SMS of an account that may not reach it", acr.Low, true, "low", []any{"pwd", "sms", "mca", "mfa"}},
	} {
		tx := b.begin(ask("rp-basic", "https://rp1.example/cb", "acr_values", "high", "scope", "openid offline_access"))
		b.prove(tx, first)
		tx = k.transactions[tx.ID]
		tx.Ceiling = tc.ceiling
		k.pass(7 * time.Second)
		if tc.second {
			tx.Proofs = append(tx.Proofs, k.sms(ayse))
		}
		k.transactions[tx.ID] = tx
		at := signin.AuthTime(tx.Proofs).Unix()
		k.pass(11 * time.Second)
		out := k.redeem("rp-basic", "https://rp1.example/cb", b.answer(b.get("/authorize/callback?id="+tx.ID)).Get("code"))
		k.pass(time.Minute)
		again := k.refresh("rp-basic", out.text("refresh_token"))
		for _, token := range []string{out.text("id_token"), again.text("id_token")} {
			id := k.claimsOf(token)
			if id["acr"] != "urn:kapi:loa:"+tc.acr || !reflect.DeepEqual(id["amr"], tc.amr) || id["auth_time"] != float64(at) || len(id["auth_steps"].([]any)) != len(tx.Proofs) {
				t.Errorf("%s: %v", tc.name, id)
			}
		}
		in := k.call("/oauth/introspect", "rp-basic", url.Values{"token": {again.text("access_token")}})
		if in.fields["acr"] != "urn:kapi:loa:"+tc.acr || !reflect.DeepEqual(in.fields["amr"], tc.amr) || in.fields["auth_time"] != float64(at) {
			t.Errorf("%s: introspection %s", tc.name, in.Body)
		}
	}
	// Whatever the sign-in says, nobody gets a code below what he insists on.
	tx := b.begin(ask("rp-basic", "https://rp1.example/cb", "claims", `{"id_token":{"acr":{"essential":true,"value":"urn:kapi:loa:high"}}}`))
	b.prove(tx, first, k.sms(ayse))
	if got := b.answer(b.get("/authorize/callback?id=" + tx.ID)); got.Get("error") != "unmet_authentication_requirements" || got.Has("code") {
		t.Errorf("%v", got)
	}
}
