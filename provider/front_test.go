package provider

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/signin"
)

// Server keeps its promises as an op.Server too: behind the library's own front, which is not mounted, every flow works,
// what is not offered is refused, and no token with a payload of null ends in a panic.
func TestServerBehindTheLibrarysFront(t *testing.T) {
	k := newKit(t)
	b := k.browser()
	code := b.code(ask("rp-basic", "https://rp1.example/cb", "scope", "openid offline_access"))
	e := func(path string) *op.Endpoint { return op.NewEndpoint(path) }
	k.http = op.RegisterServer(k.s, op.Endpoints{
		Authorization: e("authorize"), Token: e("oauth/token"), Introspection: e("oauth/introspect"), Userinfo: e("userinfo"), Revocation: e("oauth/revoke"),
		EndSession: e("end_session"), JwksURI: e("keys"), DeviceAuthorization: e("device"),
	}, op.WithServerCORSOptions(nil))
	out := k.redeem("rp-basic", "https://rp1.example/cb", code)
	if out.Code != 200 || k.claimsOf(out.text("id_token"))["sub"] == nil {
		t.Fatalf("code: %d %s", out.Code, out.Body)
	}
	next := k.refresh("rp-basic", out.text("refresh_token"))
	token := url.Values{"token": {next.text("access_token")}}
	for name, ok := range map[string]bool{
		"refresh":            next.Code == 200,
		"client_credentials": k.call("/oauth/token", "rp-machine", url.Values{"grant_type": {"client_credentials"}}).Code == 200,
		"userinfo":           k.userinfo(next.text("access_token")).text("sub") != "",
		"introspection":      k.call("/oauth/introspect", "rp-basic", token).fields["active"] == true,
		"wrong secret": k.raw("POST", "/oauth/token", url.Values{"grant_type": {"client_credentials"}}, func(r *http.Request) {
			r.SetBasicAuth("rp-machine", "wrong")
		}).text("error") == "invalid_client",
		"revocation":       k.call("/oauth/revoke", "rp-basic", token).Code == 200 && k.userinfo(next.text("access_token")).Code >= 400,
		"another's grant":  k.call("/oauth/token", "rp-basic", url.Values{"grant_type": {"client_credentials"}}).text("error") == "unauthorized_client",
		"discovery":        k.raw("GET", "/.well-known/openid-configuration", nil, nil).text("issuer") == issuer,
		"keys":             len(k.raw("GET", "/keys", nil, nil).fields["keys"].([]any)) == 4,
		"device grant":     k.call("/device", "rp-basic", nil).Code == 404,
		"authorize":        k.raw("GET", "/authorize?"+ask("rp-basic", "https://rp1.example/cb").Encode(), nil, nil).Code == 404,
		"end_session":      k.raw("GET", "/end_session", nil, nil).Code == 404,
		"a null userinfo":  k.userinfo("x.bnVsbA.x").Code >= 400,
		"a null token":     k.call("/oauth/introspect", "rp-basic", url.Values{"token": {"x.bnVsbA.x"}}).fields["active"] == false,
		"a null revoked":   k.call("/oauth/revoke", "rp-basic", url.Values{"token": {"x.bnVsbA.x"}}).Code == 200,
		"a null assertion": k.call("/oauth/token", "rp-basic", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {"x.bnVsbA.x"}}).text("error") == "unsupported_grant_type",
	} {
		if !ok {
			t.Errorf("%s fails", name)
		}
	}
	c := application{k.clients["rp-app"]}
	if c.ApplicationType() != op.ApplicationTypeNative || c.LoginURL("t") != "/signin/t" || !c.IsScopeAllowed("openid") || c.IsScopeAllowed("national_id") || c.AccessTokenType() != op.AccessTokenTypeBearer {
		t.Errorf("%+v", c)
	}
}

// A transaction of Kapi's own pages, one of an unregistered client, and one that ended without a person give no code.
func TestCallbackRefusesWhatItDidNotBegin(t *testing.T) {
	k := newKit(t)
	self := k.clients["rp-basic"]
	self.ID = signin.Self
	k.clients[signin.Self] = self // even if somebody registers the name
	for name, spoil := range map[string]func(tx *signin.Transaction){
		"Kapi's own pages":   func(tx *signin.Transaction) { tx.Ask.Client = signin.Self },
		"client gone":        func(tx *signin.Transaction) { tx.Ask.Client = "gone" },
		"address gone":       func(tx *signin.Transaction) { tx.Ask.Return = []byte(`{"answer":{"to":"https://rp1.example/old"}}`) },
		"no record":          func(tx *signin.Transaction) { tx.Ask.Return = nil },
		"no proofs":          func(tx *signin.Transaction) { tx.Proofs = nil },
		"no session":         func(tx *signin.Transaction) { tx.Session = "" },
		"two people":         func(tx *signin.Transaction) { tx.Proofs = append(tx.Proofs, k.sms(mehmet)) },
		"over":               func(tx *signin.Transaction) { tx.ExpiresAt = k.now() },
		"answered":           func(tx *signin.Transaction) { tx.State = signin.Done },
		"second proof alone": func(tx *signin.Transaction) { tx.Proofs = tx.Proofs[:0]; tx.Proofs = append(tx.Proofs, k.sms(ayse)) },
	} {
		b := k.browser()
		tx := b.begin(ask("rp-basic", "https://rp1.example/cb"))
		b.prove(tx, k.password(ayse))
		tx = k.transactions[tx.ID]
		spoil(&tx)
		k.transactions[tx.ID] = tx
		if w := b.get("/authorize/callback?id=" + tx.ID); w.Code < 400 || w.Header().Get("Location") != "" || len(k.grants) != 0 {
			t.Errorf("%s: %d %s", name, w.Code, w.Header().Get("Location"))
		}
	}
}

func TestRegistrationDecides(t *testing.T) {
	k := newKit(t)
	k.change("rp-basic", func(c *clients.Client) { c.GrantTypes = []string{"client_credentials"} })
	b := k.browser()
	if got := b.answer(b.authorize(ask("rp-basic", "https://rp1.example/cb"))).Get("error"); got != "unauthorized_client" {
		t.Errorf("authorize without the grant: %q", got)
	}
	for _, mode := range []string{"fragment", "query.jwt", "web_message"} {
		if got := b.answer(b.authorize(ask("rp-exempt", "https://rp1.example/cb", "response_mode", mode))); got.Get("error") != "invalid_request" || got.Get("state") != "s-1" {
			t.Errorf("response_mode %s: %v", mode, got)
		}
	}
	k.change("rp-exempt", func(c *clients.Client) { c.Pairwise, c.Sector, c.AccessTokenTTL = false, "", 60e9 })
	out := k.signedIn("rp-exempt")
	id := k.claimsOf(out.text("id_token"))
	if !strings.HasPrefix(id["sub"].(string), "pb_") || id["sid"] == "" || out.fields["expires_in"] != 60.0 {
		t.Errorf("%v %s", id, out.Body)
	}
	if out.fields["refresh_token"] != nil || k.signedIn("rp-exempt", "scope", "openid offline_access").text("refresh_token") == "" {
		t.Error("a refresh token is for offline_access")
	}
	k.change("rp-exempt", func(c *clients.Client) { c.GrantTypes = c.GrantTypes[:1] })
	if out := k.signedIn("rp-exempt", "scope", "openid offline_access"); out.fields["refresh_token"] != nil || out.text("scope") != "openid" {
		t.Errorf("without the grant: %s", out.Body)
	}
}

// Hints tell who somebody is. A form that is made a GET, because a cross-site POST brings no Lax cookies, keeps them out of
// the address; the address is good for a minute and at its own place.
func TestL1_HintsStayOutOfAddresses(t *testing.T) {
	k := newKit(t)
	b := k.browser()
	hint := b.signedInHere(ayse)
	v := ask("rp-basic", "https://rp1.example/cb", "login_hint", "10000000146", "id_token_hint", hint)
	bare := func(to string) {
		t.Helper()
		u, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		sealed, _ := base64url.DecodeString(u.Query().Get("parked"))
		for _, secret := range []string{"10000000146", hint, "login_hint", "id_token_hint"} {
			if strings.Contains(to, secret) || strings.Contains(string(sealed), secret) {
				t.Errorf("%.60s… holds %.20s…", to, secret)
			}
		}
	}
	away := k.browser() // the same browser without its cookies
	to := away.post("/authorize", v).Header().Get("Location")
	bare(to)
	if id, ok := strings.CutPrefix(b.get(to).Header().Get("Location"), "/signin/"); !ok || b.transactions[id].Ask.LoginHint != "10000000146" || b.transactions[id].Ask.HintSubject == "" {
		t.Errorf("the parameters are lost: %+v", b.transactions[id].Ask)
	}
	twice := url.Values{"client_id": v["client_id"], "redirect_uri": v["redirect_uri"], "scope": {"openid", "openid"}}
	if w := b.get(away.post("/authorize", twice).Header().Get("Location")); b.answer(w).Get("error") != "invalid_request" {
		t.Errorf("what stands twice: %s", page(w))
	}
	out := away.post("/end_session", url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye}}).Header().Get("Location")
	bare(out)
	parked := strings.TrimPrefix(to, "/authorize?")
	for name, address := range map[string]string{
		"at another place": "/end_session?" + parked, "changed": to[:len(to)-4] + "AAAA", "cut": to[:len(to)/2], "no base64": "/authorize?parked=!", "empty": "/authorize?parked=",
	} {
		if w := b.get(address); w.Code != 410 || k.living() != 1 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	k.pass(61 * time.Second)
	if w := b.get(to); w.Code != 410 {
		t.Errorf("a minute later: %d", w.Code)
	}
	long := copied(v)
	long.Set("login_hint", strings.Repeat("x", mostQuery))
	if w := away.post("/authorize", long); w.Code != 400 {
		t.Errorf("too long: %d", w.Code)
	}
}

// What is shown before it is known where an answer may go speaks the language that was asked for, too.
func TestOwnErrorsSpeakTheLanguage(t *testing.T) {
	k := newKit(t)
	b := k.browser()
	b.signedInHere(ayse)
	for name, w := range map[string]interface{ Result() *http.Response }{
		"unknown client":       b.authorize(ask("nobody", "https://rp1.example/cb", "ui_locales", "en tr")),
		"unknown client, POST": b.post("/authorize", ask("nobody", "https://rp1.example/cb", "ui_locales", "en tr")),
		"unknown redirect":     b.authorize(ask("rp-basic", "https://evil.example/cb", "ui_locales", "en tr")),
		"logout":               b.get("/end_session?client_id=nobody&ui_locales=en+tr"),
		"logout, unreadable":   b.get("/end_session?state=a&state=b&ui_locales=en+tr"),
	} {
		if got := w.Result().Header.Get("Content-Language"); got != "en tr" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// The language switch of the question whether to sign out comes back to the question, without the hint.
func TestLogoutQuestionInAnotherLanguage(t *testing.T) {
	k := newKit(t)
	stranger, b := k.browser(), k.browser()
	hint := stranger.signedInHere(ayse)
	b.signedInHere(mehmet)
	w := b.get("/end_session?" + url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {bye}, "state": {"s"}}.Encode())
	here := w.Header().Get("X-Here")
	if here != "/end_session?client_id=rp-basic&post_logout_redirect_uri="+url.QueryEscape(bye)+"&state=s" {
		t.Errorf("%s leads to %s", brief("", page(w)), here)
	}
	if again := b.get(here); !strings.HasPrefix(again.Body.String(), "confirm ") || again.Body.String() != w.Body.String() {
		t.Errorf("%s\n%s", again.Body, w.Body)
	}
}
