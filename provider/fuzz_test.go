package provider

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kapi-id/kapi/clients"
)

// Whatever the query is, the answer is our page, the registered redirect URI, or a sign-in; and what is stored can be
// read back.
func FuzzAuthorize(f *testing.F) {
	good := ask("rp-basic", "https://rp1.example/cb")
	f.Add(good.Encode())
	f.Add(good.Encode() + "&state=twice")
	f.Add(good.Encode() + "&claims=%7B%22id_token%22%3A%7B%22acr%22%3A%7B%22essential%22%3Atrue%2C%22values%22%3A%5B%22low%22%5D%7D%7D%7D&prompt=none&max_age=0")
	f.Add("client_id=rp-app&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Fcb&response_mode=form_post&state=%00&id_token_hint=x.bnVsbA.x")
	f.Add("%zz&;=;&client_id")
	k := newKit(f)
	f.Fuzz(func(t *testing.T, query string) {
		clear(k.transactions)
		r := httptest.NewRequest("GET", "/authorize", nil)
		r.URL.RawQuery = query
		w := httptest.NewRecorder()
		k.http.ServeHTTP(w, r)
		to := w.Header().Get("Location")
		registered := false
		for _, c := range k.clients {
			for _, uri := range c.RedirectURIs {
				registered = registered || strings.HasPrefix(to, uri)
			}
			q, _ := url.ParseQuery(query)
			registered = registered || (c.Native && strings.HasPrefix(to, q.Get("redirect_uri")) && redirectRegistered(c, q.Get("redirect_uri")))
		}
		switch {
		case w.Code >= 500:
			t.Fatalf("%d %s", w.Code, w.Body)
		case to == "" && w.Code == 303, strings.ContainsAny(to, "\r\n"):
			t.Fatalf("%d to %q", w.Code, to)
		case strings.HasPrefix(to, "/signin/"):
			if len(k.transactions) != 1 {
				t.Fatal("a sign-in without a transaction")
			}
		case to != "" && (!registered || len(k.transactions) != 0):
			t.Fatalf("sent to %q with %d transactions", to, len(k.transactions))
		}
	})
}

// A redirect URI passes only if it is registered byte by byte, or differs from a loopback one in the port alone.
func FuzzRedirectMatch(f *testing.F) {
	for _, uri := range []string{"http://127.0.0.1:8080/cb", "http://[::1]/cb", "http://127.0.0.1.evil/cb", "http://127.0.0.1:1@evil/cb", "com.example.app:/cb", "http://127.0.0.1:00080/cb"} {
		f.Add(uri)
	}
	web := clients.Client{RedirectURIs: []string{"https://rp1.example/cb", "http://127.0.0.1/cb"}}
	native := clients.Client{Native: true, RedirectURIs: []string{"http://127.0.0.1/cb", "http://[::1]:99/cb"}}
	f.Fuzz(func(t *testing.T, uri string) {
		if redirectRegistered(web, uri) != contains(web.RedirectURIs, uri) {
			t.Fatalf("a web client's %q", uri)
		}
		if !redirectRegistered(native, uri) {
			return
		}
		u, err := url.Parse(uri)
		if err != nil || u.Scheme != "http" || (u.Hostname() != "127.0.0.1" && u.Hostname() != "::1") || u.Path != "/cb" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("a native client's %q", uri)
		}
	})
}

// No assertion passes that was not signed with the client's key, and none causes a write before that is certain.
func FuzzClientAssertion(f *testing.F) {
	k := newKit(f)
	good := k.assertion("rp-jwt", nil)
	for _, a := range []string{good, good[:len(good)-3], "x.bnVsbA.x", "..", forge(`{"alg":"none"}`, `{"iss":"rp-jwt","sub":"rp-jwt"}`, nil), forge(`{"alg":"ES256","jwk":{}}`, `null`, make([]byte, 64))} {
		f.Add(a)
	}
	f.Fuzz(func(t *testing.T, a string) {
		k.TB = t
		k.writes = 0
		got := k.raw("POST", "/oauth/introspect", url.Values{
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {a}, "token": {"x"},
		}, nil)
		if _, signed := verifyAssertion(k.clients["rp-jwt"], a); signed {
			return // the seed itself, in this or another spelling of the same bytes
		}
		if got.Code != 401 || got.text("error") != "invalid_client" || len(k.once) > 1 {
			t.Fatalf("%q: %d %s", a, got.Code, got.Body)
		}
	})
}

// Tokens of ours have one spelling; nothing else is taken for one.
func FuzzRefreshToken(f *testing.F) {
	k := newKit(f)
	good, err := k.s.refreshToken("rp-basic", "5f1c1d1e-3333-4333-8333-333333333333", 7)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:74] + "B")
	f.Add(k.s.newAccess())
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		g, generation, ok := k.s.readRefresh("rp-basic", token)
		if ok != (token == good) || ok && (g != "5f1c1d1e-3333-4333-8333-333333333333" || generation != 7) {
			t.Fatalf("%q: %v %s %d", token, ok, g, generation)
		}
		if _, _, ok := k.s.readRefresh("rp-post", token); ok {
			t.Fatalf("%q is good for another client", token)
		}
	})
}

// The claims parameter never lets a claim through that the registration does not hold.
func FuzzClaims(f *testing.F) {
	f.Add(`{"userinfo":{"national_id":null,"email":{"essential":true}},"id_token":{"acr":{"values":["low",7,null]}}}`)
	f.Add(`null`)
	f.Add(`{"id_token":{"acr":null,"sub":{"value":{}}}}`)
	c := clients.Client{Scopes: []string{"openid", "email"}}
	f.Fuzz(func(t *testing.T, raw string) {
		asked, ok := parseClaims(raw)
		if !ok {
			return
		}
		for _, name := range append(names(asked.Userinfo, c), names(asked.IDToken, c)...) {
			if name != "email" && name != "email_verified" {
				t.Fatalf("%q opens %s", raw, name)
			}
		}
		asked.IDToken["acr"].level()
		for _, text := range asked.IDToken["sub"].texts() {
			if !utf8.ValidString(text) {
				t.Fatalf("%q", text)
			}
		}
	})
}
