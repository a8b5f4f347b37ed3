package provider

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/audit"
)

func TestP2_CodeReplay(t *testing.T) {
	k := newKit(t)
	for range 20 {
		code := k.browser().code(ask("rp-basic", "https://rp1.example/cb"))
		answers := race(50, func() reply { return k.redeem("rp-basic", "https://rp1.example/cb", code) })
		var won reply
		wins := 0
		for _, a := range answers {
			switch {
			case a.Code == 200:
				won = a
				wins++
			case a.Code != 400 || a.text("error") != "invalid_grant":
				t.Fatalf("%d %s", a.Code, a.Body)
			}
		}
		if wins != 1 {
			t.Fatalf("%d redemptions of one code", wins)
		}
		if got := k.userinfo(won.text("access_token")); got.Code != 401 {
			t.Fatalf("the winner's token still works: %d", got.Code)
		}
	}
	if got := k.count(audit.TokenReuse); got != 20*49 {
		t.Errorf("%d reuse events, want %d", got, 20*49)
	}
}

func TestP2_CodeReplay_Late(t *testing.T) {
	k := newKit(t)
	code := k.browser().code(ask("rp-basic", "https://rp1.example/cb", "scope", "openid offline_access"))
	first := k.redeem("rp-basic", "https://rp1.example/cb", code)
	k.pass(30 * time.Second)
	if again := k.redeem("rp-basic", "https://rp1.example/cb", code); again.text("error") != "invalid_grant" {
		t.Fatalf("%d %s", again.Code, again.Body)
	}
	if got := k.userinfo(first.text("access_token")); got.Code != 401 {
		t.Error("the access token outlived the reuse")
	}
	if got := k.refresh("rp-basic", first.text("refresh_token")); got.text("error") != "invalid_grant" {
		t.Error("the refresh token outlived the reuse")
	}
}

func TestP2_CodeCrossing(t *testing.T) {
	k := newKit(t)
	to := "https://rp1.example/cb"
	k.change("rp-post", func(c *clients.Client) { c.RedirectURIs = append(c.RedirectURIs, to) })
	code := k.browser().code(ask("rp-basic", to))
	for name, got := range map[string]reply{
		"other client":       k.redeem("rp-post", to, code),
		"other redirect_uri": k.redeem("rp-basic", "https://rp1.example/cb2", code),
		"other verifier":     k.redeem("rp-basic", to, code, "code_verifier", strings.Repeat("v", 43)),
		"no verifier":        k.redeem("rp-basic", to, code, "code_verifier", ""),
		"no such code":       k.redeem("rp-basic", to, strings.Repeat("c", 43)),
		"code and more":      k.redeem("rp-basic", to, code+"A"),
	} {
		if got.Code != 400 || got.text("error") != "invalid_grant" {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	if got := k.redeem("rp-basic", to, code); got.Code != 200 {
		t.Errorf("wrong attempts burned the owner's code: %s", got.Body)
	}
	late := k.browser().code(ask("rp-basic", to))
	k.pass(61 * time.Second)
	if got := k.redeem("rp-basic", to, late); got.text("error") != "invalid_grant" {
		t.Errorf("after 61 s: %d %s", got.Code, got.Body)
	}
	if k.count(audit.TokenReuse) != 0 {
		t.Error("a wrong attempt counted as reuse")
	}
}

func TestP3_PKCEDowngrade(t *testing.T) {
	k := newKit(t)
	challenge := ask("x", "x").Get("code_challenge")
	for _, client := range []string{"rp-basic", "rp-exempt", "rp-spa"} {
		to := k.clients[client].RedirectURIs[0]
		for name, pairs := range map[string][]string{
			"no method":            {"code_challenge_method", ""},
			"plain":                {"code_challenge_method", "plain"},
			"S512":                 {"code_challenge_method", "S512"},
			"s256":                 {"code_challenge_method", "s256"},
			"method alone":         {"code_challenge", ""},
			"short challenge":      {"code_challenge", challenge[:42]},
			"long challenge":       {"code_challenge", challenge + "A"},
			"another spelling":     {"code_challenge", challenge[:42] + "N"},
			"verifier as it is":    {"code_challenge", strings.Repeat("~", 43)},
			"nothing for the rest": {"code_challenge", "", "code_challenge_method", ""},
		} {
			b := k.browser()
			w := b.authorize(ask(client, to, pairs...))
			if client == "rp-exempt" && name == "nothing for the rest" {
				if !strings.HasPrefix(w.Header().Get("Location"), "/signin/") {
					t.Errorf("an exempt client without PKCE: %s", w.Header().Get("Location"))
				}
				continue
			}
			if got := b.answer(w).Get("error"); got != "invalid_request" {
				t.Errorf("%s, %s: %q", client, name, got)
			}
		}
		for name, v := range map[string]string{"42": strings.Repeat("v", 42), "129": strings.Repeat("v", 129), "challenge": challenge, "odd": verifier[:42] + "!", "none": ""} {
			code := k.browser().code(ask(client, to))
			if got := k.redeem(client, to, code, "code_verifier", v); got.Code != 400 || got.text("error") != "invalid_grant" {
				t.Errorf("%s, verifier %s: %d %s", client, name, got.Code, got.Body)
			}
		}
	}
	to := "https://rp1.example/cb"
	for _, v := range []string{strings.Repeat("v", 42), strings.Repeat("v", 129), strings.Repeat("v", 43) + "+"} { // right but for their form
		sum := sha256.Sum256([]byte(v))
		code := k.browser().code(ask("rp-basic", to, "code_challenge", base64url.EncodeToString(sum[:])))
		if got := k.redeem("rp-basic", to, code, "code_verifier", v); got.text("error") != "invalid_grant" {
			t.Errorf("verifier of %d characters: %d %s", len(v), got.Code, got.Body)
		}
	}
	code := k.browser().code(ask("rp-exempt", to, "code_challenge", "", "code_challenge_method", ""))
	if got := k.redeem("rp-exempt", to, code); got.text("error") != "invalid_grant" {
		t.Errorf("a verifier without a challenge: %d %s", got.Code, got.Body)
	}
	if got := k.redeem("rp-exempt", to, code, "code_verifier", ""); got.Code != 200 {
		t.Errorf("an exempt client: %d %s", got.Code, got.Body)
	}
}

func TestP4_RedirectURIMutants(t *testing.T) {
	k := newKit(t)
	metered := map[string]int{}
	k.s.cfg.Meter = func(what, client, outcome string) { metered[what+" "+client+" "+outcome]++ }
	refused := func(client, uri string) {
		t.Helper()
		w := k.browser().get("/authorize?" + ask(client, uri).Encode())
		if w.Code != 400 || w.Header().Get("Location") != "" || w.Body.String() != "page authorize.redirect" || len(w.Result().Cookies()) != 0 {
			t.Errorf("%s %q: %d %s %s", client, uri, w.Code, w.Header().Get("Location"), w.Body)
		}
	}
	for _, uri := range []string{
		"", "https://rp1.example/CB", "HTTPS://rp1.example/cb", "https://RP1.example/cb", "https://rp1.example:443/cb", "https://rp1.example/cb/",
		"https://rp1.example/x/../cb", "https://rp1.example/%63b", "https://rp1.example/cb%2e", "https://rp1.example/cb?x=1", "https://rp1.example/cb?",
		"https://rp1.example/cb#", "https://rp1.example/cb#x", "https://user@rp1.example/cb", "https://rp1.example@evil.example/cb", "https://rp1.example\\@evil.example/cb",
		"https://rp1.example.evil.example/cb", "http://rp1.example/cb", "https://[2001:db8::1]/cb", "https://xn--rp1-example/cb", "javascript:alert(1)",
		"data:text/html,x", "https://rp1.example/cb\n", "https://rp1.example/cb ", "https://rp1.example/cb\x00", "//rp1.example/cb", "/cb", "https%3A%2F%2Frp1.example%2Fcb",
		"http://127.0.0.1:9000/cb",
	} {
		refused("rp-basic", uri)
	}
	for _, uri := range []string{
		"http://127.0.0.1:0/cb", "http://127.0.0.1:65536/cb", "http://127.0.0.1:080/cb", "http://127.0.0.1:+80/cb", "http://127.0.0.1:8080", "http://127.0.0.1:8080/cb?x",
		"http://127.0.0.1.evil.example/cb", "http://127.0.0.1@evil.example/cb", "http://127.0.0.1:1@evil.example/cb", "http://localhost:80/cb", "https://127.0.0.1:80/cb",
		"http://127.0.0.2/cb", "http://127.1:80/cb", "http://[::1]:80:80/cb", "http://[::1]evil/cb", "http://[::1%25lo]/cb", "com.example.app:/cb2", "http://127.0.0.1:/cb",
	} {
		refused("rp-app", uri)
	}
	// Anybody can send these, so they write nothing: no transaction, and no event either. They are metered.
	if len(k.transactions) != 0 || len(k.events) != 0 || k.writes != 0 || metered["authorize rp-basic invalid_request"] < 20 || metered["authorize rp-app invalid_request"] < 15 || len(metered) != 2 {
		t.Errorf("%d transactions, %d events, %d writes, metered %v", len(k.transactions), len(k.events), k.writes, metered)
	}
	for _, uri := range []string{"http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", "http://[::1]/cb", "http://[::1]:65535/cb", "com.example.app:/cb"} {
		if w := k.browser().authorize(ask("rp-app", uri)); w.Code != 303 {
			t.Errorf("%q of a native client: %d", uri, w.Code)
		}
	}
	w := k.browser().get("/authorize?" + ask("rp-basic", "https://rp1.example/cb").Encode() + "&redirect_uri=https%3A%2F%2Fevil.example%2F")
	if w.Code != 400 || w.Header().Get("Location") != "" {
		t.Errorf("a second redirect_uri: %d", w.Code)
	}
	for _, client := range []string{"", "nobody", strings.Repeat("x", 5000), "rp-basic'--"} {
		w := k.browser().get("/authorize?" + ask(client, "https://rp1.example/cb").Encode())
		if w.Code != 400 || w.Body.String() != "page authorize.client" {
			t.Errorf("client %.20q: %d %s", client, w.Code, w.Body)
		}
	}
}

// The answers differ in nothing: whoever guesses clients or secrets learns only that it was wrong.
func TestP6_ClientAuthentication(t *testing.T) {
	k := newKit(t)
	send := func(path string, form url.Values, edit func(*http.Request)) reply {
		form.Set("grant_type", "authorization_code")
		if path != "/oauth/token" {
			form.Set("token", "x")
		}
		return k.raw("POST", path, form, edit)
	}
	basicAuth := func(user, secret string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(user), url.QueryEscape(secret)) }
	}
	jwtForm := func(client, assertion string) url.Values {
		return url.Values{"client_id": {client}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}}
	}
	good := k.assertion("rp-jwt", nil)
	for _, path := range []string{"/oauth/token", "/oauth/revoke", "/oauth/introspect"} {
		post := func(form url.Values, edit func(*http.Request)) reply { return send(path, form, edit) }
		for name, got := range map[string]reply{
			"nothing":                      post(url.Values{}, nil),
			"unknown client":               post(url.Values{}, basicAuth("nobody", password)),
			"wrong secret":                 post(url.Values{}, basicAuth("rp-basic", password+"x")),
			"empty secret":                 post(url.Values{}, basicAuth("rp-basic", "")),
			"secret of another":            post(url.Values{}, basicAuth("rp-post", password)),
			"basic by a post client":       post(url.Values{}, basicAuth("rp-post", password)),
			"post by a basic client":       post(url.Values{"client_id": {"rp-basic"}, "client_secret": {password}}, nil),
			"post by a private_key_jwt":    post(url.Values{"client_id": {"rp-jwt"}, "client_secret": {password}}, nil),
			"none by a confidential one":   post(url.Values{"client_id": {"rp-basic"}}, nil),
			"secret by a public one":       post(url.Values{"client_id": {"rp-spa"}, "client_secret": {password}}, nil),
			"empty secret by a public one": post(url.Values{"client_id": {"rp-spa"}, "client_secret": {""}}, nil),
			"two methods":                  post(url.Values{"client_id": {"rp-basic"}, "client_secret": {password}}, basicAuth("rp-basic", password)),
			"assertion and secret":         post(jwtForm("rp-jwt", good), basicAuth("rp-jwt", password)),
			"client_id of another":         post(url.Values{"client_id": {"rp-post"}}, basicAuth("rp-basic", password)),
			"assertion of another":         post(jwtForm("rp-basic", good), nil),
			"bearer header":                post(url.Values{"client_id": {"rp-basic"}}, func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }),
			"two headers":                  post(url.Values{}, func(r *http.Request) { basicAuth("rp-basic", password)(r); r.Header.Add("Authorization", "Basic eDp5") }),
			"basic without a colon":        post(url.Values{}, func(r *http.Request) { r.Header.Set("Authorization", "Basic eHg=") }),
			"basic badly encoded":          post(url.Values{}, func(r *http.Request) { r.SetBasicAuth("rp-basic", "%zz") }),
			"secret in the query":          k.raw("POST", path+"?client_id=rp-post&client_secret="+url.QueryEscape(password), url.Values{"grant_type": {"x"}}, nil),
			"assertion in the query":       k.raw("POST", path+"?client_assertion=x", url.Values{"grant_type": {"x"}}, nil),
			"unknown assertion type":       post(url.Values{"client_assertion_type": {"x"}, "client_assertion": {good}}, nil),
			"assertion type alone":         post(url.Values{"client_id": {"rp-jwt"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}, nil),
		} {
			if got.Code != 401 || got.text("error") != "invalid_client" {
				t.Errorf("%s at %s: %d %s", name, path, got.Code, got.Body)
			}
		}
		if got := post(url.Values{}, basicAuth("rp-basic", "wrong")); !strings.HasPrefix(got.Header().Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: no challenge after a wrong Basic header", path)
		}
		if got := post(url.Values{"client_id": {"rp-post"}, "client_secret": {"wrong"}}, nil); got.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("%s: a challenge for a scheme that was not used", path)
		}
	}
	if got := send("/oauth/introspect", url.Values{"client_id": {"rp-spa"}}, nil); got.Code != 401 || got.text("error") != "invalid_client" {
		t.Errorf("introspection by a public one: %d %s", got.Code, got.Body)
	}
	// Each registered method is right at each endpoint, so that it is the method that was wrong above.
	for client, status := range map[string]int{"rp-basic": 200, "rp-post": 200, "rp-jwt": 200, "rp-spa": 401} {
		if got := k.call("/oauth/introspect", client, url.Values{"token": {"x"}}); got.Code != status {
			t.Errorf("introspection by %s: %d %s", client, got.Code, got.Body)
		}
		if got := k.call("/oauth/revoke", client, url.Values{"token": {"x"}}); got.Code != 200 {
			t.Errorf("revocation by %s: %d %s", client, got.Code, got.Body)
		}
	}
	if got := send("/oauth/token", url.Values{"client_id": {"rp-basic"}}, basicAuth("rp-basic", password)); got.text("error") != "invalid_request" {
		t.Errorf("the right secret: %d %s", got.Code, got.Body)
	}
	for _, e := range k.events {
		if e.Name == audit.ClientRefused && (e.Client == "" || e.Actor != "" || e.Outcome == "ok") {
			t.Errorf("%+v", e)
		}
	}
	if k.count(audit.ClientRefused) == 0 {
		t.Error("no failed authentication was recorded")
	}
}

func TestP6_SecretRotation(t *testing.T) {
	k := newKit(t)
	old := k.clients["rp-basic"].Secrets[0]
	old.ExpiresAt = k.now().Add(24 * time.Hour)
	k.change("rp-basic", func(c *clients.Client) {
		c.Secrets = []clients.Secret{{MAC: k.ring.MAC("token", "client_secret", c.ID, "another secret of at least 32 characters")}, old}
	})
	login := func(secret string) int {
		return k.raw("POST", "/oauth/introspect", url.Values{"token": {"x"}}, func(r *http.Request) { r.SetBasicAuth("rp-basic", url.QueryEscape(secret)) }).Code
	}
	if login("another secret of at least 32 characters") != 200 || login(password) != 200 {
		t.Error("both secrets are good during a rotation")
	}
	k.pass(24 * time.Hour)
	if login("another secret of at least 32 characters") != 200 || login(password) != 401 {
		t.Error("the old secret is over after 24 hours")
	}
}

func TestP6_ClientAssertions(t *testing.T) {
	k := newKit(t)
	rsaKey := madeSigner().keys["RS256"]
	k.change("rp-jwt", func(c *clients.Client) {
		c.JWKS.Keys = append(c.JWKS.Keys, jose.JSONWebKey{Key: rsaKey.Public(), KeyID: "client-rsa", Algorithm: "RS256"})
	})
	outside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a key was fetched from where the attacker said") }))
	defer outside.Close()
	der, _ := x509.MarshalPKIXPublicKey(rsaKey.Public())
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	attacker := madeSigner().keys["ES256"]
	standard := func(edit func(c map[string]any)) map[string]any {
		c := map[string]any{"iss": "rp-jwt", "sub": "rp-jwt", "aud": issuer, "jti": "j", "exp": k.now().Add(time.Minute).Unix()}
		if edit != nil {
			edit(c)
		}
		return c
	}
	sign := func(key any, alg string, header map[string]any) string {
		out, err := signWith(key, alg, standard(nil), header)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	claims := func(name string, v any) string {
		return k.assertion("rp-jwt", func(c, _ map[string]any) {
			if c[name] = v; v == nil {
				delete(c, name)
			}
		})
	}
	payload := `{"iss":"rp-jwt","sub":"rp-jwt","aud":"` + issuer + `","jti":"j","exp":` + "1900000000" + `}`
	replayed := k.assertion("rp-jwt", nil)
	at := func(d time.Duration) int64 { return k.now().Add(d).Unix() }
	send := func(a string) reply {
		return k.raw("POST", "/oauth/introspect", url.Values{
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {a}, "token": {"x"},
		}, nil)
	}
	if got := send(replayed); got.Code != 200 {
		t.Fatalf("a right assertion: %d %s", got.Code, got.Body)
	}
	k.writes = 0
	for name, a := range map[string]string{
		"HS256 with the public PEM":  sign(publicPEM, "HS256", map[string]any{"kid": "client-rsa"}),
		"HS256 with the DER":         sign(der, "HS256", map[string]any{"kid": "client-rsa"}),
		"none":                       forge(`{"alg":"none"}`, payload, nil),
		"None":                       forge(`{"alg":"None","kid":"client-1"}`, payload, nil),
		"r = s = 0":                  forge(`{"alg":"ES256","kid":"client-1"}`, payload, make([]byte, 64)),
		"no signature":               forge(`{"alg":"ES256","kid":"client-1"}`, payload, nil),
		"embedded jwk":               sign(attacker, "ES256", map[string]any{"jwk": jose.JSONWebKey{Key: attacker.Public()}}),
		"jku":                        sign(attacker, "ES256", map[string]any{"jku": outside.URL, "kid": "client-1"}),
		"x5u":                        sign(attacker, "ES256", map[string]any{"x5u": outside.URL, "kid": "client-1"}),
		"jku and the right key":      k.assertion("rp-jwt", func(_, h map[string]any) { h["jku"] = outside.URL }),
		"kid of a path":              sign(attacker, "ES256", map[string]any{"kid": "../../x"}),
		"kid of SQL":                 sign(attacker, "ES256", map[string]any{"kid": "' OR 1=1 --"}),
		"kid of the RSA key":         sign(k.clientKey, "ES256", map[string]any{"kid": "client-rsa"}),
		"PS256 by an RS256 key":      sign(rsaKey, "PS256", map[string]any{"kid": "client-rsa"}),
		"another's key":              sign(attacker, "ES256", map[string]any{"kid": "client-1"}),
		"critical extension":         forge(`{"alg":"ES256","kid":"client-1","crit":["x"],"x":1}`, payload, make([]byte, 64)),
		"payload null":               "x.bnVsbA.x",
		"JSON serialization":         `{"payload":"` + base64.RawURLEncoding.EncodeToString([]byte(payload)) + `","signatures":[]}`,
		"nested null":                forge(`{"alg":"ES256","kid":"client-1"}`, "null", make([]byte, 64)),
		"token endpoint as audience": claims("aud", issuer+"/oauth/token"),
		"other audience":             claims("aud", "https://evil.example"),
		"two audiences":              claims("aud", []string{issuer, "https://evil.example"}),
		"no audience":                claims("aud", nil),
		"empty audience":             claims("aud", []string{}),
		"exp + 48 h":                 claims("exp", at(48*time.Hour)),
		"exp + 48 h, no iat": k.assertion("rp-jwt", func(c, _ map[string]any) {
			delete(c, "iat")
			c["exp"] = at(48 * time.Hour)
		}),
		"life of 6 minutes": claims("exp", at(6*time.Minute)),
		"expired":           claims("exp", at(-2*time.Minute)),
		"no exp":            claims("exp", nil),
		"exp as text":       claims("exp", "1900000000"),
		"iat ahead":         claims("iat", at(2*time.Minute)),
		"old iat":           claims("iat", at(-10*time.Minute)),
		"nbf ahead":         claims("nbf", at(2*time.Minute)),
		"no jti":            claims("jti", nil),
		"long jti":          claims("jti", strings.Repeat("j", 257)),
		"other iss":         claims("iss", "rp-basic"),
		"other sub":         claims("sub", "rp-basic"),
		"too long":          claims("pad", strings.Repeat("x", mostToken)),
	} {
		if got := send(a); got.Code != 401 || got.text("error") != "invalid_client" {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	if n := len(k.once); n != 1 {
		t.Errorf("%d one-time values stored: strangers cause writes", n)
	}
	if got := send(replayed); got.Code != 401 || got.text("error") != "invalid_client" {
		t.Errorf("replay: %d %s", got.Code, got.Body)
	}
	for name, a := range map[string]string{
		"aud as a list of one": claims("aud", []string{issuer}),
		"no iat":               claims("iat", nil),
		"clock 80 s behind":    claims("iat", at(80*time.Second)),
		"RS256":                sign(rsaKey, "RS256", map[string]any{"kid": "client-rsa"}),
	} {
		if got := send(a); got.Code != 200 {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
	}
	k.change("rp-jwt", func(c *clients.Client) { c.JWKS.Keys = c.JWKS.Keys[:1] })
	if got := send(k.assertion("rp-jwt", func(_, h map[string]any) { delete(h, "kid") })); got.Code != 200 {
		t.Errorf("no kid and one key: %d %s", got.Code, got.Body)
	}
	k.change("rp-jwt", func(c *clients.Client) { c.JWKS.Keys = append(c.JWKS.Keys, c.JWKS.Keys[0]) })
	if got := send(k.assertion("rp-jwt", func(_, h map[string]any) { delete(h, "kid") })); got.Code != 401 {
		t.Errorf("no kid and two keys: %d %s", got.Code, got.Body)
	}
}

// race runs fn n times at once.
func race[T any](n int, fn func() T) []T {
	out := make([]T, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range out {
		wg.Go(func() {
			<-start
			out[i] = fn()
		})
	}
	close(start)
	wg.Wait()
	return out
}
