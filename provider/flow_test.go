package provider

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/signin"
)

func TestMainJob(t *testing.T) {
	k := newKit(t)
	out := k.signedIn("rp-basic", "scope", "openid profile email phone address")
	if got := out.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	claims := k.claimsOf(out.text("id_token"))
	at := float64(k.now().Unix())
	want := map[string]any{
		"iss": issuer, "sub": k.clients["rp-basic"].Subject(k.s.subject, ayse), "aud": "rp-basic", "azp": "rp-basic", "iat": at, "exp": at + 300,
		"auth_time": at, "nonce": "n-1", "acr": "urn:kapi:loa:substantial", "amr": []any{"pwd", "sms", "mca", "mfa"},
		"auth_steps": []any{map[string]any{"m": "password", "t": at}, map[string]any{"m": "sms", "t": at}},
		"sid":        claims["sid"], "at_hash": atHash("ES256", out.text("access_token")),
	}
	if !reflect.DeepEqual(claims, want) {
		t.Errorf("ID token\n got %v\nwant %v", claims, want)
	}
	if claims["sid"] == "" || out.fields["expires_in"] != 300.0 || out.text("token_type") != "Bearer" || out.fields["refresh_token"] != nil {
		t.Errorf("token response %s", out.Body)
	}
	info := k.userinfo(out.text("access_token"))
	wantInfo := map[string]any{
		"sub": claims["sub"], "name": "Ayşe Yılmaz", "given_name": "Ayşe", "family_name": "Yılmaz", "birthdate": "1985-04-23", "gender": "female", "locale": "tr",
		"email": "ayse@example.org", "email_verified": true, "phone_number": "+905550000001", "phone_number_verified": true,
		"phone_number_id_verified": true,
		"address":                  map[string]any{"street_address": "Atatürk Blv. 1", "locality": "Ankara", "postal_code": "06000", "country": "TR"},
	}
	if !reflect.DeepEqual(info.fields, wantInfo) {
		t.Errorf("userinfo\n got %v\nwant %v", info.fields, wantInfo)
	}
}

// The budget of the architecture: writes and reads of each request.
func TestStatementBudget(t *testing.T) {
	k := newKit(t)
	spent := func(name string, writes, reads int, fn func()) {
		t.Helper()
		k.writes, k.reads = 0, 0
		fn()
		if k.writes != writes || k.reads != reads {
			t.Errorf("%s: %d writes and %d reads, the budget is %d and %d", name, k.writes, k.reads, writes, reads)
		}
	}
	b := k.browser()
	v := ask("rp-basic", "https://rp1.example/cb", "scope", "openid profile offline_access")
	var tx signin.Transaction
	spent("discovery", 0, 0, func() { b.get("/.well-known/openid-configuration") })
	spent("keys", 0, 0, func() { b.get("/keys") })
	spent("authorize", 1, 0, func() { tx = b.begin(v) })
	b.prove(tx, k.password(ayse))
	var code string
	spent("callback", 3, 0, func() { code = b.answer(b.get("/authorize/callback?id=" + tx.ID)).Get("code") })
	var out reply
	spent("code", 3, 0, func() { out = k.redeem("rp-basic", "https://rp1.example/cb", code) })
	spent("userinfo", 0, 1, func() { k.userinfo(out.text("access_token")) })
	spent("userinfo, made up", 0, 0, func() { k.userinfo(strings.Repeat("A", 86)) })
	spent("introspect", 0, 1, func() { k.call("/oauth/introspect", "rp-basic", url.Values{"token": {out.text("access_token")}}) })
	spent("refresh", 3, 0, func() {
		k.call("/oauth/token", "rp-basic", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {out.text("refresh_token")}})
	})
	tx = b.begin(ask("rp-basic", "https://rp1.example/cb", "claims", `{"id_token":{"name":null,"email":null,"locale":null}}`))
	b.prove(tx, k.password(ayse))
	code = b.answer(b.get("/authorize/callback?id=" + tx.ID)).Get("code")
	spent("code, with claims about the person in the ID token", 3, 1, func() { out = k.redeem("rp-basic", "https://rp1.example/cb", code) })
	if id := k.claimsOf(out.text("id_token")); id["name"] != "Ayşe Yılmaz" || id["email"] != "ayse@example.org" || id["locale"] != "tr" {
		t.Errorf("%v", id)
	}
	spent("client_credentials", 0, 0, func() { out = k.call("/oauth/token", "rp-machine", url.Values{"grant_type": {"client_credentials"}}) })
	spent("introspect a client's own JWT", 0, 1, func() { k.call("/oauth/introspect", "rp-machine", url.Values{"token": {out.text("access_token")}}) })
	k.change("rp-machine", func(c *clients.Client) { c.AuthMethod = methodJWT })
	spent("client_credentials with private_key_jwt", 1, 0, func() { k.call("/oauth/token", "rp-machine", url.Values{"grant_type": {"client_credentials"}}) })
}

func TestCallbackIsBoundToTheBrowserAndOnce(t *testing.T) {
	k := newKit(t)
	v := ask("rp-basic", "https://rp1.example/cb")
	victim, thief := k.browser(), k.browser()
	tx := victim.begin(v)
	thief.begin(v)
	victim.prove(tx, k.password(ayse))
	for name, w := range map[string]int{
		"other browser":  thief.get("/authorize/callback?id=" + tx.ID).Code,
		"no cookie":      k.browser().get("/authorize/callback?id=" + tx.ID).Code,
		"no id":          victim.get("/authorize/callback").Code,
		"unknown id":     victim.get("/authorize/callback?id=x").Code,
		"very long id":   victim.get("/authorize/callback?id=" + strings.Repeat("x", 4000)).Code,
		"not ready":      victim.get("/authorize/callback?id=" + victim.begin(v).ID).Code,
		"other method":   victim.post("/authorize/callback?id="+tx.ID, nil).Code - 405 + 410,
		"HEAD is no GET": victim.do(newRequest("HEAD", "/authorize/callback?id="+tx.ID)).Code - 405 + 410,
	} {
		if w != 410 {
			t.Errorf("%s: %d", name, w)
		}
	}
	if victim.answer(victim.get("/authorize/callback?id="+tx.ID)).Get("code") == "" {
		t.Error("no code for the right browser")
	}
	if w := victim.get("/authorize/callback?id=" + tx.ID); w.Code != 410 || w.Header().Get("Location") != "" {
		t.Errorf("second time: %d", w.Code)
	}
}

// A form posted from another site brings no Lax cookie; it must not cost the other tab its binding.
func TestAuthorizeByPostKeepsTheBrowser(t *testing.T) {
	k := newKit(t)
	b := k.browser()
	tx := b.begin(ask("rp-basic", "https://rp1.example/cb"))
	before := b.cookies["__Host-kapi-browser"]
	away := k.browser() // the same browser on a cross-site POST
	w := away.post("/authorize", ask("rp-basic", "https://rp1.example/cb", "state", "second"))
	to := w.Header().Get("Location")
	if w.Code != 303 || !strings.HasPrefix(to, "/authorize?") || len(w.Result().Cookies()) != 0 {
		t.Fatalf("%d %s %v", w.Code, to, w.Result().Cookies())
	}
	if w := b.get(to); !strings.HasPrefix(w.Header().Get("Location"), "/signin/") || b.cookies["__Host-kapi-browser"] != before {
		t.Errorf("%d %s", w.Code, w.Header().Get("Location"))
	}
	b.prove(tx, k.password(ayse))
	if b.answer(b.get("/authorize/callback?id="+tx.ID)).Get("code") == "" {
		t.Error("the first tab lost its binding")
	}
	if w := b.post("/authorize", ask("rp-basic", "https://rp1.example/cb")); !strings.HasPrefix(w.Header().Get("Location"), "/signin/") {
		t.Errorf("a POST with the cookie: %d %s", w.Code, w.Header().Get("Location"))
	}
}

func TestRefusedReachesTheClient(t *testing.T) {
	k := newKit(t)
	for _, mode := range []string{"", "form_post"} {
		b := k.browser()
		tx := b.begin(ask("rp-basic", "https://rp1.example/cb", "response_mode", mode))
		tx.State, tx.Refusal = signin.Refused, signin.Refusal{Error: "access_denied", Description: "user_cancelled"}
		k.transactions[tx.ID] = tx
		w := b.get("/authorize/refused?id=" + tx.ID)
		got := w.Body.String()
		if mode == "" {
			got = "form " + strings.Replace(w.Header().Get("Location"), "?", " ", 1)
		}
		fields, _ := url.ParseQuery(got[strings.LastIndex(got, " ")+1:])
		want := url.Values{"error": {"access_denied"}, "error_description": {"user_cancelled"}, "state": {"s-1"}, "iss": {issuer}}
		if !strings.HasPrefix(got, "form https://rp1.example/cb ") || !reflect.DeepEqual(fields, want) {
			t.Errorf("mode %q: %s", mode, got)
		}
	}
	if len(k.grants) != 0 {
		t.Error("a refusal made a grant")
	}
}

// Ask is what the sign-in core decides from: each parameter must arrive there as it was meant.
func TestWhatAuthorizeAsks(t *testing.T) {
	k := newKit(t)
	hint := k.signedIn("rp-basic").text("id_token")
	sub := k.clients["rp-basic"].Subject(k.s.subject, ayse)
	age := func(n int64) *int64 { return &n }
	k.change("rp-basic", func(c *clients.Client) { c.MFARequiredFrom = k.now().Add(time.Hour) })
	for _, tc := range []struct {
		name  string
		pairs []string
		want  signin.Ask
	}{
		{"nothing", nil, signin.Ask{}},
		{"acr_values: the weakest known", []string{"acr_values", "urn:other high substantial"}, signin.Ask{Want: acr.Substantial}},
		{"acr_values: all unknown", []string{"acr_values", "a b"}, signin.Ask{}},
		{"voluntary acr", []string{"claims", `{"id_token":{"acr":{"value":"urn:kapi:loa:high"}}}`}, signin.Ask{Want: acr.High}},
		{"essential acr", []string{"claims", `{"id_token":{"acr":{"essential":true,"values":["urn:kapi:loa:high","urn:kapi:loa:substantial"]}}}`}, signin.Ask{Must: acr.Substantial}},
		{"acr by a short word beside a name", []string{"claims", `{"id_token":{"acr":{"essential":true,"values":["low","urn:kapi:loa:substantial"]}}}`}, signin.Ask{Must: acr.Substantial}},
		{"voluntary acr by a short word", []string{"claims", `{"id_token":{"acr":{"values":["high"]}}}`}, signin.Ask{}},
		{"essential acr without a value", []string{"claims", `{"id_token":{"acr":{"essential":true},"auth_time":null}}`}, signin.Ask{}},
		{"prompt none", []string{"prompt", "none"}, signin.Ask{Silent: true}},
		{"prompts", []string{"prompt", "login consent select_account"}, signin.Ask{Login: true, Consent: true, SelectAccount: true}},
		{"max_age", []string{"max_age", "0"}, signin.Ask{MaxAge: age(0)}},
		{"id_token_hint", []string{"id_token_hint", hint}, signin.Ask{HintSubject: sub}},
		{"sub claim", []string{"claims", `{"id_token":{"sub":{"value":"` + sub + `"}}}`}, signin.Ask{HintSubject: sub}},
		{"hints", []string{"login_hint", "10000000146", "ui_locales", "tr <x> en", "display", "wap"}, signin.Ask{LoginHint: "10000000146", UILocales: []string{"tr", "en"}}},
		{"single claims are named to the person", []string{"claims", `{"userinfo":{"email":null,"national_id":null}}`}, signin.Ask{Scopes: []string{"openid", "email"}}},
		{"unknown scopes are left out", []string{"scope", "openid profile national_id nonsense profile"}, signin.Ask{Scopes: []string{"openid", "profile"}}},
		{"unknown parameters are ignored", []string{"foo", "bar", "resource", "x"}, signin.Ask{}},
	} {
		got := k.browser().begin(ask("rp-basic", "https://rp1.example/cb", tc.pairs...)).Ask
		got.Return = nil
		tc.want.Client, tc.want.Must = "rp-basic", max(tc.want.Must, acr.Low)
		if tc.want.Scopes == nil {
			tc.want.Scopes = []string{"openid"}
		}
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s\n got %+v\nwant %+v", tc.name, got, tc.want)
		}
	}
	k.pass(time.Hour)
	if got := k.browser().begin(ask("rp-basic", "https://rp1.example/cb")).Ask.Must; got != acr.Substantial {
		t.Errorf("after the cut-over date the client insists on %v", got)
	}
}

// Every error of an authorization request that may be told to the client, in both response modes.
func TestAuthorizeErrors(t *testing.T) {
	k := newKit(t)
	foreign := k.signedIn("rp-post").text("id_token")
	at := k.signedIn("rp-jwtat").text("access_token")
	for _, tc := range []struct {
		name, want string
		pairs      []string
	}{
		{"no response_type", "invalid_request", []string{"response_type", ""}},
		{"implicit", "unsupported_response_type", []string{"response_type", "id_token"}},
		{"hybrid", "unsupported_response_type", []string{"response_type", "code id_token"}},
		{"none", "unsupported_response_type", []string{"response_type", "none"}},
		{"request object", "request_not_supported", []string{"request", "e30.e30."}},
		{"request_uri", "request_uri_not_supported", []string{"request_uri", "https://rp1.example/r"}},
		{"registration", "registration_not_supported", []string{"registration", "{}"}},
		{"no openid", "invalid_scope", []string{"scope", "profile"}},
		{"no scope", "invalid_scope", []string{"scope", ""}},
		{"prompt none and login", "invalid_request", []string{"prompt", "none login"}},
		{"unknown prompt", "invalid_request", []string{"prompt", "create"}},
		{"negative max_age", "invalid_request", []string{"max_age", "-1"}},
		{"no number", "invalid_request", []string{"max_age", "1e3"}},
		{"claims null", "invalid_request", []string{"claims", "null"}},
		{"claims no object", "invalid_request", []string{"claims", `[1]`}},
		{"claims of a wrong shape", "invalid_request", []string{"claims", `{"id_token":{"acr":7}}`}},
		{"claims too long", "invalid_request", []string{"claims", `{"x":"` + strings.Repeat("x", mostClaims) + `"}`}},
		{"essential acr nobody knows", "unmet_authentication_requirements", []string{"claims", `{"id_token":{"acr":{"essential":true,"value":"urn:other"}}}`}},
		{"essential acr by a short word", "unmet_authentication_requirements", []string{"claims", `{"id_token":{"acr":{"essential":true,"value":"high"}}}`}},
		{"hint garbage", "invalid_request", []string{"id_token_hint", "x.y.z"}},
		{"hint null payload", "invalid_request", []string{"id_token_hint", "x.bnVsbA.x"}},
		{"hint of another client", "invalid_request", []string{"id_token_hint", foreign}},
		{"hint is an access token", "invalid_request", []string{"id_token_hint", at}},
		{"nonce too long", "invalid_request", []string{"nonce", strings.Repeat("n", mostNonce+1)}},
		{"nonce with a line feed", "invalid_request", []string{"nonce", "a\nb"}},
	} {
		for _, mode := range []string{"query", "form_post"} {
			b := k.browser()
			w := b.authorize(ask("rp-basic", "https://rp1.example/cb", append(tc.pairs, "response_mode", mode)...))
			fields := url.Values{}
			if mode == "query" {
				fields = b.answer(w)
			} else if text, ok := strings.CutPrefix(w.Body.String(), "form https://rp1.example/cb "); ok && w.Header().Get("Location") == "" {
				fields, _ = url.ParseQuery(text)
			}
			if fields.Get("error") != tc.want || fields.Get("state") != "s-1" || fields.Get("iss") != issuer || fields.Has("code") {
				t.Errorf("%s by %s: %v", tc.name, mode, fields)
			}
		}
	}
	if len(k.transactions) != 2 {
		t.Errorf("%d transactions, want the two that worked", len(k.transactions))
	}
}

// Parameters given twice are refused, and those that say where the answer goes are refused on our own page.
func TestParametersOnce(t *testing.T) {
	k := newKit(t)
	base := ask("rp-basic", "https://rp1.example/cb", "response_mode", "query").Encode()
	for name := range ask("rp-basic", "x", "response_mode", "query", "unknown", "u") {
		b := k.browser()
		w := b.get("/authorize?" + base + "&" + url.Values{name: {"second"}}.Encode())
		switch name {
		case "client_id", "redirect_uri":
			if w.Code != 400 || w.Header().Get("Location") != "" {
				t.Errorf("%s: %d %s", name, w.Code, w.Header().Get("Location"))
			}
		case "unknown":
			if !strings.HasPrefix(w.Header().Get("Location"), "/signin/") {
				t.Errorf("one unknown parameter: %d %s", w.Code, w.Header().Get("Location"))
			}
		default:
			q := b.answer(w)
			if q.Get("error") != "invalid_request" || (name == "state") == q.Has("state") {
				t.Errorf("%s: %v", name, q)
			}
		}
	}
	for _, name := range []string{"grant_type", "code", "redirect_uri", "code_verifier", "x"} {
		r := k.raw("POST", "/oauth/token", url.Values{"grant_type": {"authorization_code"}, "code": {"c"}, "redirect_uri": {"r"}, "code_verifier": {"v"}, name: {"a", "b"}},
			func(r *http.Request) { r.SetBasicAuth("rp-basic", url.QueryEscape(password)) })
		if r.Code != 400 || r.text("error") != "invalid_request" {
			t.Errorf("token %s twice: %d %s", name, r.Code, r.Body)
		}
	}
}

// state is what the client compares: it comes back byte by byte or the request is refused.
func TestStateEchoedExactly(t *testing.T) {
	k := newKit(t)
	for _, state := range []string{"a b+c%20&d=e#f", "çğış ☃ 𝄞", `"<script>`, strings.Repeat("s", mostState)} {
		b := k.browser()
		tx := b.begin(ask("rp-post", "https://rp2.example/cb?x=1", "state", state))
		b.prove(tx, k.password(ayse))
		w := b.get("/authorize/callback?id=" + tx.ID)
		if !strings.HasPrefix(w.Header().Get("Location"), "https://rp2.example/cb?x=1&code=") {
			t.Errorf("the registered query was changed: %s", w.Header().Get("Location"))
		}
		if got := b.answer(w).Get("state"); got != state {
			t.Errorf("state %q came back as %q", state, got)
		}
	}
	for _, state := range []string{"\xff\xfe", "a\x00b", strings.Repeat("s", mostState+1)} {
		b := k.browser()
		if q := b.answer(b.authorize(ask("rp-basic", "https://rp1.example/cb", "state", state))); q.Get("error") != "invalid_request" || q.Has("state") {
			t.Errorf("state %.20q: %v", state, q)
		}
	}
}

// Nothing of the inside reaches a client, whatever breaks.
func TestInternalErrorsStayInside(t *testing.T) {
	k := newKit(t)
	b := k.browser()
	code := b.code(ask("rp-basic", "https://rp1.example/cb"))
	out := k.signedIn("rp-basic")
	tx := b.begin(ask("rp-basic", "https://rp1.example/cb"))
	b.prove(tx, k.password(ayse))
	k.broken = errBroken
	for name, got := range map[string]string{
		"authorize":  page(b.authorize(ask("rp-basic", "https://rp1.example/cb"))),
		"callback":   page(b.get("/authorize/callback?id=" + tx.ID)),
		"logout":     page(b.get("/end_session")),
		"token":      page(k.redeem("rp-basic", "https://rp1.example/cb", code).ResponseRecorder),
		"userinfo":   page(k.userinfo(out.text("access_token")).ResponseRecorder),
		"introspect": page(k.call("/oauth/introspect", "rp-basic", url.Values{"token": {out.text("access_token")}}).ResponseRecorder),
		"revoke":     page(k.call("/oauth/revoke", "rp-basic", url.Values{"token": {out.text("access_token")}}).ResponseRecorder),
	} {
		if !strings.HasPrefix(got, "500 ") || strings.Contains(got, "canary") {
			t.Errorf("%s: %s", name, got)
		}
	}
	k.broken = nil
	if r := k.redeem("rp-basic", "https://rp1.example/cb", code); r.Code != 200 {
		t.Errorf("a failure burned the code: %s", r.Body)
	}
}

// What we cannot serve is told to a client that wants no page, wherever it fails; where a person looks at the browser, or it is
// not certain where the answer goes, it stays on our page (RFC 6749 §4.1.2.1).
func TestUnable(t *testing.T) {
	const to = "https://rp1.example/cb"
	away := fault.Wrap(fault.Unavailable, "", errBroken)
	fails := map[string]func(k *kit, err error){
		"the transaction is not stored": func(k *kit, err error) { k.broken = err },
		"the session is not read": func(k *kit, err error) {
			k.s.cfg.Straight = func(context.Context, signin.Transaction, signin.Visit, func(context.Context, signin.Transaction) error) (bool, error) {
				return false, err
			}
		},
		"it is concluded badly": func(k *kit, err error) {
			k.s.cfg.Straight = func(ctx context.Context, t signin.Transaction, _ signin.Visit, end func(context.Context, signin.Transaction) error) (bool, error) {
				t.State, k.broken = signin.Ready, err
				t.Account, t.Session, t.Proofs = ayse, "s", []factors.Proof{k.password(ayse)}
				t.Ceiling = acr.High
				return true, end(ctx, t)
			}
		},
		"the quota": func(k *kit, _ error) {
			k.s.quota = newQuota(1, 1, time.Hour)
			k.browser().authorize(ask("rp-basic", to))
		},
	}
	for name, fail := range fails {
		for _, mode := range []string{"query", "form_post"} {
			for _, tc := range []struct {
				err  error
				want string
			}{{away, "temporarily_unavailable"}, {errBroken, "server_error"}} {
				if name == "the quota" {
					tc.want = "temporarily_unavailable"
				}
				k := newKit(t)
				fail(k, tc.err)
				b := k.browser()
				w := b.authorize(ask("rp-basic", to, "prompt", "none", "response_mode", mode))
				fields := url.Values{}
				if text, ok := strings.CutPrefix(w.Body.String(), "form "+to+" "); ok {
					fields, _ = url.ParseQuery(text)
				} else if mode == "query" {
					fields = b.answer(w)
				}
				if fields.Get("error") != tc.want || fields.Get("state") != "s-1" || fields.Get("iss") != issuer || fields.Has("code") || strings.Contains(page(w), "canary") {
					t.Errorf("%s, %v by %s: %s", name, tc.err, mode, page(w))
				}
				k = newKit(t)
				fail(k, tc.err)
				if w := k.browser().authorize(ask("rp-basic", to, "response_mode", mode)); w.Code < 429 || w.Header().Get("Location") != "" || !strings.HasPrefix(w.Body.String(), "page ") {
					t.Errorf("%s, with a person there: %s", name, page(w))
				}
				if w := k.browser().authorize(ask("rp-basic", "https://evil.example/", "prompt", "none")); w.Code != 400 || w.Header().Get("Location") != "" {
					t.Errorf("%s, to somewhere else: %s", name, page(w))
				}
			}
		}
	}
}

func TestEventsOfAFlow(t *testing.T) {
	k := newKit(t)
	k.signedIn("rp-basic")
	var got []string
	for _, e := range k.events {
		got = append(got, string(e.Name)+" "+e.Outcome+" "+e.Client+" "+e.Subject+" "+e.Network+" "+e.Request)
		if e.At != k.now() || e.Session == "" {
			t.Errorf("%+v", e)
		}
	}
	want := []string{
		string(audit.GrantIssued) + " ok rp-basic " + string(ayse) + " 192.0.2.7 request-1",
		string(audit.TokenIssued) + " ok rp-basic " + string(ayse) + " 192.0.2.7 request-1",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("events %q", got)
	}
}
