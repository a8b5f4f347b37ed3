package provider

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
)

func TestT1_CORS(t *testing.T) {
	k := newKit(t)
	k.change("rp-basic", func(c *clients.Client) { c.BrowserOrigins = []string{"null"} }) // whatever a registration says
	for _, tc := range []struct {
		path, origin string
		allowed      bool
	}{
		{"/oauth/token", "https://spa.example", true},
		{"/userinfo", "https://spa.example", true},
		{"/oauth/revoke", "https://spa.example", true},
		{"/oauth/introspect", "https://spa.example", false},
		{"/authorize", "https://spa.example", false},
		{"/end_session", "https://spa.example", false},
		{"/oauth/token", "https://rp1.example", false},
		{"/oauth/token", "null", false},
		{"/oauth/token", "https://SPA.example", false},
		{"/oauth/token", "https://spa.example.evil.example", false},
		{"/oauth/token", "http://spa.example", false},
		{"/oauth/token", "https://spa.example:444", false},
		{"/oauth/token", "https://" + strings.Repeat("s", 600), false},
	} {
		for _, method := range []string{"OPTIONS", "POST"} {
			got := k.raw(method, tc.path, nil, func(r *http.Request) {
				r.Header.Set("Origin", tc.origin)
				r.Header.Set("Access-Control-Request-Method", "POST")
			}).Header()
			allow := got.Get("Access-Control-Allow-Origin")
			if (allow == tc.origin) != tc.allowed || (!tc.allowed && allow != "") || got.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s %s from %.40s: %q", method, tc.path, tc.origin, allow)
			}
			if tc.allowed && got.Get("Vary") != "Origin" {
				t.Errorf("%s %s: Vary %q", method, tc.path, got.Get("Vary"))
			}
		}
	}
	for _, path := range []string{"/keys", "/.well-known/openid-configuration"} {
		got := k.raw("OPTIONS", path, nil, func(r *http.Request) { r.Header.Set("Origin", "null") })
		if got.Code != 204 || got.Header().Get("Access-Control-Allow-Origin") != "*" || got.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %d %v", path, got.Code, got.Header())
		}
	}
}

func TestT2_TwoClientsShareNothing(t *testing.T) {
	k := newKit(t)
	k.change("rp-post", func(c *clients.Client) { c.JWTAccessToken = true })
	k.change("rp-jwtat", func(c *clients.Client) { c.Sector = "rp4.example" })
	b := k.browser()
	seen := map[string]string{}
	for _, client := range []string{"rp-basic", "rp-post", "rp-jwtat", "rp-spa"} {
		to := k.clients[client].RedirectURIs[0]
		tx := b.begin(ask(client, to, "scope", "openid profile offline_access"))
		b.prove(tx, k.password(ayse))
		s := k.sessions[k.transactions[tx.ID].Session]
		s.ID = "5f1c1d1e-3333-4333-8333-333333333333" // all of them in one session
		k.sessions[s.ID] = s
		got := k.transactions[tx.ID]
		got.Session = s.ID
		k.transactions[tx.ID] = got
		out := k.redeem(client, to, b.answer(b.get("/authorize/callback?id="+tx.ID)).Get("code"))
		id := k.claimsOf(out.text("id_token"))
		sid := id["sid"].(string)
		values := map[string]string{
			"sub": id["sub"].(string), "sid": sid, "half a sid": sid[:16], "the other half": sid[len(sid)-16:], "at_hash": id["at_hash"].(string), "refresh": out.text("refresh_token")[:4],
			"transaction": tx.ID,
		}
		if strings.Contains(out.text("access_token"), ".") {
			values["jti"] = k.claimsOf(out.text("access_token"))["jti"].(string)
		} else {
			values["access"] = out.text("access_token")[:4]
		}
		for name, v := range values {
			if other := seen[name+" "+v]; other != "" || v == "" {
				t.Errorf("%s and %s share %s %q", client, other, name, v)
			}
			seen[name+" "+v] = client
		}
	}
	// The same sector means the same person, by choice.
	if a, b := k.clients["rp-basic"], k.clients["rp-exempt"]; a.Subject(k.s.subject, ayse) != b.Subject(k.s.subject, ayse) || a.Subject(k.s.subject, ayse) == a.Subject(k.s.subject, mehmet) {
		t.Error("sub does not follow the sector and the person")
	}
}

func TestT2_ForeignTokens(t *testing.T) {
	k := newKit(t)
	for _, issued := range []string{"rp-basic", "rp-jwtat"} {
		out := k.signedIn(issued, "scope", "openid offline_access")
		unknown := k.call("/oauth/introspect", "rp-post", url.Values{"token": {"unknown"}})
		for _, token := range []string{out.text("access_token"), out.text("refresh_token"), out.text("id_token")} {
			got := k.call("/oauth/introspect", "rp-post", url.Values{"token": {token}})
			if got.Body.String() != unknown.Body.String() || got.Body.String() != `{"active":false}` {
				t.Errorf("introspection of a foreign token: %s", got.Body)
			}
			if got := k.call("/oauth/revoke", "rp-post", url.Values{"token": {token}}); got.Code != 200 || got.Body.Len() != 0 {
				t.Errorf("revocation of a foreign token: %d %s", got.Code, got.Body)
			}
		}
		if k.userinfo(out.text("access_token")).Code != 200 || k.refresh(issued, out.text("refresh_token")).Code != 200 {
			t.Errorf("rp-post revoked tokens of %s", issued)
		}
	}
}

// A client's own JWT has no row that would know its owner.
func TestT2_ForeignMachineToken(t *testing.T) {
	k := newKit(t)
	token := url.Values{"token": {k.call("/oauth/token", "rp-machine", url.Values{"grant_type": {"client_credentials"}}).text("access_token")}}
	k.call("/oauth/revoke", "rp-basic", token)
	if got := k.call("/oauth/introspect", "rp-machine", token); got.fields["active"] != true {
		t.Errorf("another client revoked it: %s", got.Body)
	}
	if got := k.call("/oauth/introspect", "rp-basic", token); got.fields["active"] != false {
		t.Errorf("another client sees it: %s", got.Body)
	}
}

// Each kind of our JWTs is good for one use, though one key signs them all.
func TestOneJWTIsNotAnother(t *testing.T) {
	k := newKit(t)
	out := k.signedIn("rp-jwtat")
	id, at := out.text("id_token"), out.text("access_token")
	info := k.userinfo(at).Body.String() // signed
	if _, err := k.s.hint(id); err != nil {
		t.Fatal(err)
	}
	if _, err := k.s.accessJWT(at); err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"access token": at, "userinfo": info, "null": forge(`{"alg":"ES256","kid":"key-ES256","typ":"JWT"}`, "null", make([]byte, 64))} {
		if _, err := k.s.hint(token); err == nil {
			t.Errorf("%s passes for an ID token", name)
		}
	}
	for name, token := range map[string]string{"ID token": id, "userinfo": info} {
		if _, err := k.s.accessJWT(token); err == nil || k.userinfo(token).Code != 401 {
			t.Errorf("%s passes for an access token", name)
		}
	}
	for _, typ := range []string{"", "JWT", "AT+JWT", "application/at+jwt"} {
		token, err := k.s.cfg.Keys.Sign(t.Context(), "ES256", typ, accessClaims{Issuer: issuer, ID: "j", Client: "rp-jwtat", Expires: 1 << 40})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.s.accessJWT(token); err == nil {
			t.Errorf("typ %q passes for an access token", typ)
		}
	}
	for _, payload := range []string{"null", "[]", `"x"`, "7", ""} {
		if object([]byte(payload), &accessClaims{}) == nil {
			t.Errorf("payload %s passes for an object", payload)
		}
	}
}

func TestIntrospectionAndRevocation(t *testing.T) {
	for _, client := range []string{"rp-basic", "rp-jwtat"} {
		k := newKit(t)
		out := k.signedIn(client, "scope", "openid profile offline_access")
		token := out.text("access_token")
		look := func(token string) map[string]any {
			return k.call("/oauth/introspect", client, url.Values{"token": {token}, "token_type_hint": {"nonsense"}}).fields
		}
		at := float64(k.now().Unix())
		want := map[string]any{
			"active": true, "scope": "openid profile offline_access", "client_id": client, "token_type": "Bearer", "exp": at + 300, "iat": at,
			"sub": k.clients[client].Subject(k.s.subject, ayse), "aud": issuer, "iss": issuer, "auth_time": at, "acr": "urn:kapi:loa:substantial",
			"amr": []any{"pwd", "sms", "mca", "mfa"},
		}
		if client == "rp-jwtat" {
			claims := k.claimsOf(token)
			want["jti"] = claims["jti"]
			if claims["scope"] != "openid profile offline_access" || claims["aud"] != issuer || claims["client_id"] != client || claims["acr"] != "urn:kapi:loa:substantial" || claims["sub"] != want["sub"] {
				t.Errorf("at+jwt %v", claims)
			}
		}
		if got := look(token); !reflect.DeepEqual(got, want) {
			t.Errorf("introspection\n got %v\nwant %v", got, want)
		}
		for name, other := range map[string]string{"refresh token": out.text("refresh_token"), "ID token": out.text("id_token"), "garbage": "x.bnVsbA.x"} {
			if got := look(other); !reflect.DeepEqual(got, map[string]any{"active": false}) {
				t.Errorf("%s: %v", name, got)
			}
		}
		if got := k.call("/oauth/introspect", client, nil); got.text("error") != "invalid_request" {
			t.Errorf("no token: %s", got.Body)
		}
		k.call("/oauth/revoke", client, url.Values{"token": {token}, "token_type_hint": {"refresh_token"}})
		if got := look(token); got["active"] != false || k.userinfo(token).Code != 401 {
			t.Errorf("a revoked token is %v", got)
		}
		next := k.refresh(client, out.text("refresh_token"))
		if next.Code != 200 {
			t.Errorf("the revocation of an access token ended the family: %s", next.Body)
		}
		k.call("/oauth/revoke", client, url.Values{"token": {next.text("refresh_token")}})
		if k.userinfo(next.text("access_token")).Code != 401 || k.refresh(client, next.text("refresh_token")).Code != 400 {
			t.Error("tokens live on without their refresh token")
		}
		if again := k.call("/oauth/revoke", client, url.Values{"token": {next.text("refresh_token")}}); again.Code != 200 {
			t.Errorf("twice: %d", again.Code)
		}
		if k.count(audit.TokenRevoked) != 3 {
			t.Errorf("%d events", k.count(audit.TokenRevoked))
		}
	}
	k := newKit(t)
	spa := k.signedIn("rp-spa").text("access_token")
	if got := k.call("/oauth/revoke", "rp-spa", url.Values{"token": {spa}}); got.Code != 200 || k.userinfo(spa).Code != 401 {
		t.Errorf("a public client revokes its own: %d", got.Code)
	}
}

func TestClientCredentials(t *testing.T) {
	k := newKit(t)
	get := func(pairs ...string) reply {
		v := url.Values{"grant_type": {"client_credentials"}}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return k.call("/oauth/token", "rp-machine", v)
	}
	out := get()
	claims := k.claimsOf(out.text("access_token"))
	at := float64(k.now().Unix())
	want := map[string]any{"iss": issuer, "sub": "rp-machine", "aud": issuer, "exp": at + 300, "iat": at, "jti": claims["jti"], "client_id": "rp-machine", "scope": "notices:read notices:write"}
	if !reflect.DeepEqual(claims, want) || out.fields["id_token"] != nil || out.fields["refresh_token"] != nil || len(k.events) != 0 {
		t.Errorf("%v %s %v", claims, out.Body, k.events)
	}
	if got := get("scope", "notices:read"); got.text("scope") != "notices:read" {
		t.Errorf("narrower: %s", got.Body)
	}
	for _, scope := range []string{"notices:delete", "openid", "notices:read profile"} {
		if got := get("scope", scope); got.text("error") != "invalid_scope" {
			t.Errorf("scope %s: %s", scope, got.Body)
		}
	}
	// They speak of no person: beside the grant for people, no sign-in brings them.
	k.change("rp-basic", func(c *clients.Client) {
		c.Scopes, c.GrantTypes = append(slices.Clone(c.Scopes), "notices:read"), append(slices.Clone(c.GrantTypes), "client_credentials")
	})
	if got := k.signedIn("rp-basic", "scope", "openid notices:read"); got.text("scope") != "openid" {
		t.Errorf("by a sign-in: %s", got.Body)
	}
	if got := k.call("/oauth/token", "rp-basic", url.Values{"grant_type": {"client_credentials"}}); got.text("scope") != "notices:read" {
		t.Errorf("of a client with both grants: %s", got.Body)
	}
	k.change("rp-basic", func(c *clients.Client) { c.GrantTypes = c.GrantTypes[:2] })
	token := url.Values{"token": {out.text("access_token")}}
	if got := k.call("/oauth/introspect", "rp-machine", token); got.fields["active"] != true || got.text("sub") != "rp-machine" || got.fields["amr"] != nil {
		t.Errorf("%s", got.Body)
	}
	k.call("/oauth/revoke", "rp-machine", token)
	if got := k.call("/oauth/introspect", "rp-machine", token); got.fields["active"] != false {
		t.Errorf("revoked: %s", got.Body)
	}
	if got := k.call("/oauth/token", "rp-basic", url.Values{"grant_type": {"client_credentials"}}); got.text("error") != "unauthorized_client" {
		t.Errorf("not registered for it: %s", got.Body)
	}
	k.change("rp-spa", func(c *clients.Client) { c.GrantTypes = append(slices.Clone(c.GrantTypes), "client_credentials") })
	if got := k.call("/oauth/token", "rp-spa", url.Values{"grant_type": {"client_credentials"}}); got.text("error") != "unauthorized_client" {
		t.Errorf("a public client: %s", got.Body)
	}
	k.change("rp-machine", func(c *clients.Client) { c.JWTAccessToken = false })
	opaque := get()
	if got := k.call("/oauth/introspect", "rp-machine", url.Values{"token": {opaque.text("access_token")}}); got.fields["active"] != true || strings.Contains(opaque.text("access_token"), ".") {
		t.Errorf("opaque: %s", got.Body)
	}
}

func TestOtherGrantsAreRefused(t *testing.T) {
	k := newKit(t)
	for grantType, want := range map[string]string{
		"": "invalid_request", "password": "unsupported_grant_type", "implicit": "unsupported_grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer": "unsupported_grant_type",
		"urn:ietf:params:oauth:grant-type:token-exchange": "unsupported_grant_type", "urn:ietf:params:oauth:grant-type:device_code": "unsupported_grant_type", "authorization_code ": "unsupported_grant_type",
	} {
		if got := k.call("/oauth/token", "rp-basic", url.Values{"grant_type": {grantType}, "assertion": {"x.bnVsbA.x"}, "subject_token": {"x.bnVsbA.x"}}); got.Code != 400 || got.text("error") != want {
			t.Errorf("%q: %d %s", grantType, got.Code, got.Body)
		}
	}
}

// Each parser of what strangers send meets what it should not: 4xx, nothing stored, no panic.
func TestX2_OddInput(t *testing.T) {
	k := newKit(t)
	long := strings.Repeat("x", 1<<20)
	many := url.Values{}
	for i := range 100_000 {
		many.Set(fmt.Sprint("p", i), "1")
	}
	deep := strings.Repeat("[", 2000) + strings.Repeat("]", 2000)
	for name, v := range map[string]url.Values{
		"long state": ask("rp-basic", "https://rp1.example/cb", "state", long), "long nonce": ask("rp-basic", "https://rp1.example/cb", "nonce", long),
		"long hint": ask("rp-basic", "https://rp1.example/cb", "login_hint", long), "many": many, "long scope": ask("rp-basic", "https://rp1.example/cb", "scope", "openid "+strings.Repeat("s ", 10_000)),
		"deep claims": ask("rp-basic", "https://rp1.example/cb", "claims", `{"id_token":`+deep+`}`), "locales": ask("rp-basic", "https://rp1.example/cb", "ui_locales", strings.Repeat("tr-", 100_000)),
	} {
		for how, w := range map[string]int{"GET": k.browser().authorize(v).Code, "POST": k.browser().post("/authorize", v).Code} {
			if w != 400 && !(name == "deep claims") {
				t.Errorf("%s by %s: %d", name, how, w)
			}
		}
	}
	if len(k.transactions) != 0 {
		t.Errorf("%d transactions", len(k.transactions))
	}
	// The hints are dropped where they are too long to keep, the request goes on.
	tx := k.browser().begin(ask("rp-basic", "https://rp1.example/cb", "login_hint", strings.Repeat("h", 300), "ui_locales", strings.Repeat("aa bb cc dd ", 50), "scope", "openid "+strings.Repeat("s ", 1000)))
	if tx.Ask.LoginHint != "" || len(tx.Ask.UILocales) > mostLocales || len(tx.Ask.Scopes) != 1 {
		t.Errorf("%+v", tx.Ask)
	}
	for _, path := range []string{"/oauth/token", "/oauth/introspect", "/oauth/revoke", "/userinfo"} {
		for name, edit := range map[string]func(*http.Request){
			"JSON":      func(r *http.Request) { r.Header.Set("Content-Type", "application/json") },
			"no type":   func(r *http.Request) { r.Header.Set("Content-Type", "%%") },
			"multipart": func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") },
		} {
			if got := k.raw("POST", path, url.Values{"client_id": {"rp-spa"}}, edit); got.Code != 400 {
				t.Errorf("%s as %s: %d", path, name, got.Code)
			}
		}
		if got := k.raw("POST", path, url.Values{"token": {long}, "client_id": {"rp-spa"}}, nil); got.Code != 400 {
			t.Errorf("%s with a megabyte: %d", path, got.Code)
		}
		if got := k.raw("POST", path, nil, func(r *http.Request) {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Body = http.NoBody
		}); got.Code != 401 {
			t.Errorf("%s with nothing: %d", path, got.Code)
		}
		if got := k.raw("PUT", path, nil, nil); got.Code != 405 {
			t.Errorf("PUT %s: %d", path, got.Code)
		}
	}
}

func TestX3_QuotaOfOneClientLeavesTheOthers(t *testing.T) {
	k := newKit(t)
	k.s.quota = newQuota(10, 20, time.Second)
	machine := func(client string) int {
		return k.call("/oauth/introspect", client, url.Values{"token": {"x"}}).Code
	}
	refused := 0
	for range 200 {
		if got := machine("rp-basic"); got == 429 {
			refused++
		}
		if got := k.browser().get("/authorize?" + ask("rp-basic", "https://rp1.example/cb").Encode()).Code; got == 429 {
			refused++
		}
	}
	if refused != 2*180 {
		t.Errorf("%d of 400 requests refused, want all beyond two bursts of 20", refused)
	}
	if len(k.transactions) != 20 {
		t.Errorf("%d transactions", len(k.transactions))
	}
	k.writes, k.reads = 0, 0
	if machine("rp-post") != 200 || k.browser().authorize(ask("rp-post", "https://rp2.example/cb?x=1")).Code != 303 || k.writes != 1 || k.reads != 0 {
		t.Errorf("another client pays: %d writes, %d reads", k.writes, k.reads)
	}
	got := k.call("/oauth/introspect", "rp-basic", url.Values{"token": {"x"}})
	if got.Header().Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", got.Header().Get("Retry-After"))
	}
	k.pass(100 * time.Millisecond)
	if machine("rp-basic") != 200 || machine("rp-basic") != 429 {
		t.Error("the quota does not refill")
	}
}

// Strangers who fail to be a client leave a bounded trace, and the memory of the limits is bounded too.
func TestX3_StrangersFillNothing(t *testing.T) {
	k := newKit(t)
	k.s.alarms = newQuota(1, 10, time.Minute)
	for i := range 500 {
		k.raw("POST", "/oauth/token", url.Values{"client_id": {"rp-post"}, "client_secret": {fmt.Sprint(i)}}, nil)
		k.raw("POST", "/oauth/token", url.Values{"client_id": {fmt.Sprint("nobody-", i)}, "client_secret": {"x"}}, nil)
	}
	if n := k.count(audit.ClientRefused); n != 10 {
		t.Errorf("%d events of 1000 failures, want 10", n)
	}
	k.pass(time.Minute)
	k.raw("POST", "/oauth/token", url.Values{"client_id": {"rp-post"}, "client_secret": {"x"}}, nil)
	if n := k.count(audit.ClientRefused); n != 11 {
		t.Errorf("%d events a minute later", n)
	}
}

// A flood of keys pushes out those that were not used for longest. It lets nobody through uncounted, neither a newcomer nor
// whoever is over the limit already, and the memory stays bounded and comes back.
func TestX3_FloodOfKeysIsCounted(t *testing.T) {
	q, now := newQuota(1, 10, time.Minute), newKit(t).now()
	spend := func(key string) (n int) {
		for range 50 {
			if q.take(key, now) == 0 {
				n++
			}
		}
		return n
	}
	if n := spend("loud"); n != 10 {
		t.Fatalf("%d events of one key", n)
	}
	for i := range 3 * mostKeys {
		if q.take(fmt.Sprint(i), now) != 0 {
			t.Fatal("a newcomer was refused")
		}
		if i%1000 == 0 && q.take("loud", now) == 0 {
			t.Fatalf("behind %d others the loud one passes", i)
		}
		if n := len(q.young) + len(q.old); n > mostKeys {
			t.Fatalf("%d keys in memory", n)
		}
	}
	if n := spend("late"); n != 10 {
		t.Errorf("%d events of a key that came when the memory was full", n)
	}
	for range 2 {
		now = now.Add(10 * time.Minute)
		q.take("x", now)
	}
	if n := len(q.young) + len(q.old); n > 2 {
		t.Errorf("%d keys are kept though none is in debt", n)
	}
}

// What is stored of one request stays near a kilobyte, whatever is sent.
func TestX3_StoredRequestIsSmall(t *testing.T) {
	k := newKit(t)
	b := k.browser()
	v := ask("rp-basic", "https://rp1.example/cb", "scope", "openid profile email phone address offline_access "+strings.Repeat("x ", 500), "ui_locales", strings.Repeat("tr-TR-x ", 100),
		"claims", `{"userinfo":{"a":`+strings.Repeat("[", 900)+strings.Repeat("]", 900)+`}}`)
	if w := b.authorize(v); b.answer(w).Get("error") != "invalid_request" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	v.Set("claims", `{"userinfo":{"unknown":{"value":"`+strings.Repeat("x", 3000)+`"}}}`)
	tx := b.begin(v)
	if n := len(tx.Ask.Return) + len(strings.Join(append(tx.Ask.UILocales, tx.Ask.Scopes...), " ")); n > 700 {
		t.Errorf("%d bytes: %s", n, tx.Ask.Return)
	}
}

func TestNewRefuses(t *testing.T) {
	k := newKit(t)
	good := k.s.cfg
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "kapi.example", "https://kapi.example/", "https://kapi.example/x", "ftp://kapi.example", "https://kapi.example?x", "https://u@kapi.example", "https://kapi.example#"} {
		c := good
		c.Issuer = bad
		if _, err := New(c); err == nil {
			t.Errorf("issuer %q was taken", bad)
		}
	}
	c := good
	c.Keys = nil
	if _, err := New(c); err == nil {
		t.Error("no keys")
	}
	c = good
	c.Highest = acr.None
	if _, err := New(c); err == nil {
		t.Error("no level can be reached")
	}
	if s, _ := New(Config{Issuer: good.Issuer, Highest: good.Highest, Clients: good.Clients, Transactions: good.Transactions, Grants: good.Grants, Sessions: good.Sessions, Audit: good.Audit, Keys: good.Keys, Ring: good.Ring, Pages: good.Pages, Cookies: web.Cookies{}}); s == nil || s.cfg.Quota != DefaultQuota {
		t.Error("the zero values do not work")
	}
	if signin.Self != "kapi" {
		t.Error("conclude refuses transactions of Kapi's own pages by this name")
	}
}
