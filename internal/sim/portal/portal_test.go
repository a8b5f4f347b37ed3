package portal

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// op is a small OpenID provider. It answers every authorization request at once; the hooks bend its answers.
type op struct {
	*httptest.Server
	key      *ecdsa.PrivateKey
	now      time.Time
	asked    url.Values             // the last authorization request
	answer   func(q url.Values)     // of the authorization response
	claims   func(c map[string]any) // of the ID token
	sign     func(payload []byte) string
	userinfo map[string]any
	hash     func(accessToken string) string
	clients  map[string]string // secrets of further clients, by id
}

func newOP(t *testing.T) *op {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := &op{key: key, now: time.Date(2026, 4, 12, 9, 3, 0, 0, time.UTC), userinfo: map[string]any{"sub": "s-1", "name": "Ayşe <b>Yılmaz</b>"}, hash: atHash}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		reply(w, map[string]any{"issuer": o.URL, "authorization_endpoint": o.URL + "/authorize", "token_endpoint": o.URL + "/token", "jwks_uri": o.URL + "/keys",
			"userinfo_endpoint": o.URL + "/userinfo", "end_session_endpoint": o.URL + "/end", "id_token_signing_alg_values_supported": []string{"ES256"},
			"authorization_response_iss_parameter_supported": true})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		reply(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("GET /authorize", func(w http.ResponseWriter, r *http.Request) {
		o.asked = r.URL.Query()
		q := url.Values{"code": {"c-1"}, "state": {o.asked.Get("state")}, "iss": {o.URL}}
		if o.answer != nil {
			o.answer(q)
		}
		http.Redirect(w, r, o.asked.Get("redirect_uri")+"?"+q.Encode(), http.StatusSeeOther)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		verifier := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		right := id == "portal" && secret == "s%26cret" || o.clients[id] != "" && url.QueryEscape(o.clients[id]) == secret
		if !right || id != o.asked.Get("client_id") || r.FormValue("code") != "c-1" || o.asked.Get("code_challenge_method") != "S256" ||
			base64.RawURLEncoding.EncodeToString(verifier[:]) != o.asked.Get("code_challenge") {
			w.WriteHeader(http.StatusBadRequest)
			reply(w, map[string]string{"error": "invalid_grant"})
			return
		}
		c := map[string]any{"iss": o.URL, "sub": "s-1", "aud": "portal", "iat": o.now.Unix(), "exp": o.now.Add(time.Minute).Unix(), "auth_time": o.now.Unix(),
			"nonce": o.asked.Get("nonce"), "acr": acrSubstantial, "amr": []string{"pwd", "sms", "mca", "mfa"}, "at_hash": o.hash("at-1"), "azp": "portal",
			"auth_steps": []map[string]any{{"m": "password", "t": o.now.Unix()}, {"m": "sms", "t": o.now.Unix()}}}
		if o.claims != nil {
			o.claims(c)
		}
		payload, _ := json.Marshal(c)
		reply(w, map[string]any{"access_token": "at-1", "token_type": "Bearer", "expires_in": 300, "id_token": o.signed(t, payload)})
	})
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer at-1" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		reply(w, o.userinfo)
	})
	mux.HandleFunc("GET /end", func(w http.ResponseWriter, r *http.Request) {
		o.asked = r.URL.Query()
		http.Redirect(w, r, r.URL.Query().Get("post_logout_redirect_uri"), http.StatusSeeOther)
	})
	o.Server = httptest.NewServer(mux)
	t.Cleanup(o.Close)
	return o
}

func (o *op) signed(t *testing.T, payload []byte) string {
	if o.sign != nil {
		return o.sign(payload)
	}
	return sign(t, o.key, jose.ES256, payload)
}

func sign(t *testing.T, key any, alg jose.SignatureAlgorithm, payload []byte) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func atHash(token string) string {
	h := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(h[:16])
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// visit is a browser at a portal.
type visit struct {
	t      *testing.T
	portal *httptest.Server
	client *http.Client
	lang   string
}

func open(t *testing.T, o *op) *visit { return openWith(t, o, func(*Config) {}) }

func openWith(t *testing.T, o *op, change func(*Config)) *visit {
	p := httptest.NewUnstartedServer(nil)
	base := "http://localhost:" + p.Listener.Addr().String()[strings.LastIndexByte(p.Listener.Addr().String(), ':')+1:]
	c := Config{Issuer: o.URL, ClientID: "portal", ClientSecret: "s&cret", BaseURL: base, Now: func() time.Time { return o.now }}
	change(&c)
	p.Config.Handler = site(t, c)
	p.Start()
	p.URL = base
	t.Cleanup(p.Close)
	return &visit{t: t, portal: p, client: browser(t), lang: "en"}
}

func site(t *testing.T, c Config) http.Handler {
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func browser(t *testing.T) *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}

// get follows all redirects.
func (v *visit) get(path string) (status int, at, body string) {
	return v.do(http.MethodGet, path, nil)
}

func (v *visit) do(method, path string, head http.Header) (status int, at, body string) {
	v.t.Helper()
	req, err := http.NewRequest(method, v.portal.URL+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	if head != nil {
		req.Header = head
	}
	req.Header.Set("Accept-Language", v.lang)
	res, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res.StatusCode, strings.TrimPrefix(res.Request.URL.String(), v.portal.URL), string(b)
}

func (v *visit) sees(path string, wantStatus int, wantAt string, words ...string) {
	v.t.Helper()
	status, at, body := v.get(path)
	if status != wantStatus || at != wantAt {
		v.t.Errorf("GET %s: %d at %q, want %d at %q", path, status, at, wantStatus, wantAt)
	}
	for _, w := range words {
		if !strings.Contains(body, w) {
			v.t.Errorf("GET %s: no %q in\n%s", path, w, body)
		}
	}
}

func TestSignInShowsTheClaimsInWords(t *testing.T) {
	o := newOP(t)
	v := open(t, o)
	v.sees("/", 200, "/", "Sign in")
	v.sees("/claims.json", 401, "/claims.json", "not_signed_in")
	v.sees("/login", 200, "/", "You signed in with your password and a code sent to your phone.", "Substantial: two steps",
		"12 April 2026, 12:03", "Ayşe &lt;b&gt;Yılmaz&lt;/b&gt;", "Sign out")
	status, _, body := v.get("/claims.json")
	var c map[string]any
	if err := json.Unmarshal([]byte(body), &c); err != nil || status != 200 || c["sub"] != "s-1" || c["nonce"] != o.asked.Get("nonce") {
		t.Errorf("claims: %d %s", status, body)
	}
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if len(o.asked.Get(name)) < 20 {
			t.Errorf("%s: %q", name, o.asked.Get(name))
		}
	}
	v.lang = "tr"
	v.sees("/", 200, "/", "şifreniz ve telefonunuza gönderilen kod ile giriş yaptınız.", "12 Nisan 2026, 12:03", `lang="tr"`)
	v.sees("/?lang=en", 200, "/", "You signed in with")
	v.sees("/", 200, "/", "You signed in with") // the switch is remembered
}

func TestLoginPassesOnWhatWasAsked(t *testing.T) {
	o := newOP(t)
	v := open(t, o)
	v.get("/login?acr=high+substantial&max_age=0&prompt=login+consent&to=https://evil.example/")
	for name, want := range map[string]string{"acr_values": "high substantial", "max_age": "0", "prompt": "login consent", "claims": "", "scope": "openid profile", "response_type": "code", "client_id": "portal"} {
		if got := o.asked.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if status, at, _ := v.get("/login?to=https://evil.example/"); status != 200 || at != "/" {
		t.Errorf("to: %d %s", status, at)
	}
	v.get("/login")
	if o.asked.Has("acr_values") || o.asked.Has("max_age") || o.asked.Has("prompt") || o.asked.Has("ui_locales") {
		t.Errorf("asked for too much: %v", o.asked)
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	claim := func(name string, value any) func(*op) {
		return func(o *op) {
			o.claims = func(c map[string]any) { c[name] = value }
		}
	}
	answer := func(name, value string) func(*op) {
		return func(o *op) {
			o.answer = func(q url.Values) {
				q.Del(name)
				if value != "" {
					q.Set(name, value)
				}
			}
		}
	}
	for name, tc := range map[string]struct {
		path   string
		bend   func(*op)
		status int
	}{
		"good":             {"/login", func(*op) {}, 200},
		"good max_age":     {"/login?max_age=60", func(*op) {}, 200},
		"another state":    {"/login", answer("state", "guess"), 400},
		"no state":         {"/login", answer("state", ""), 400},
		"another iss":      {"/login", answer("iss", "https://other.example"), 502},
		"no iss":           {"/login", answer("iss", ""), 502},
		"another code":     {"/login", answer("code", "c-2"), 502},
		"another nonce":    {"/login", claim("nonce", "n"), 502},
		"no nonce":         {"/login", claim("nonce", nil), 502},
		"another issuer":   {"/login", claim("iss", "https://other.example"), 502},
		"another audience": {"/login", claim("aud", "other"), 502},
		"audiences without azp": {"/login", func(o *op) {
			o.claims = func(c map[string]any) { c["aud"] = []string{"portal", "other"}; delete(c, "azp") }
		}, 502},
		"another azp":     {"/login", claim("azp", "other"), 502},
		"expired":         {"/login", claim("exp", 1_000_000_000), 502},
		"another at_hash": {"/login", func(o *op) { o.hash = func(string) string { return atHash("at-2") } }, 502},
		"no at_hash":      {"/login", claim("at_hash", nil), 502},
		"another key":     {"/login", func(o *op) { o.sign = func(p []byte) string { return sign(t, other, jose.ES256, p) } }, 502},
		"symmetric": {"/login", func(o *op) {
			o.sign = func(p []byte) string { return sign(t, []byte(strings.Repeat("s&cret", 6)), jose.HS256, p) }
		}, 502},
		"unsigned": {"/login", func(o *op) {
			o.sign = func(p []byte) string {
				return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(p) + "."
			}
		}, 502},
		"another person's userinfo": {"/login", func(o *op) { o.userinfo["sub"] = "s-2" }, 502},
		"too old for max_age":       {"/login?max_age=60", claim("auth_time", 1_700_000_000), 502},
		"too weak for the page":     {"/login?to=/notifications", claim("acr", "urn:kapi:loa:low"), 502},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOP(t)
			tc.bend(o)
			v := open(t, o)
			status, _, body := v.get(tc.path)
			if status != tc.status {
				t.Errorf("%d, want %d: %s", status, tc.status, body)
			}
			in, _, _ := v.get("/claims.json")
			if (in == 200) != (tc.status == 200) {
				t.Errorf("claims.json: %d after %d", in, status)
			}
		})
	}
}

// A stolen or forged link to the callback must not sign another browser in.
func TestAnswerBelongsToTheBrowserAndOnce(t *testing.T) {
	o := newOP(t)
	v := open(t, o)
	v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	location := func(client *http.Client, url string) string {
		res, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.Header.Get("Location")
	}
	answer := location(v.client, location(v.client, v.portal.URL+"/login"))
	if !strings.Contains(answer, CallbackPath+"?code=") {
		t.Fatal(answer)
	}
	victim := browser(t)
	victim.Get(v.portal.URL + "/")
	if res, _ := victim.Get(answer); res.StatusCode != http.StatusBadRequest {
		t.Errorf("another browser: %d", res.StatusCode)
	}
	answer = location(v.client, location(v.client, v.portal.URL+"/login"))
	if got := location(v.client, answer); got != "/" {
		t.Errorf("the browser itself: %q", got)
	}
	if res, _ := v.client.Get(answer); res.StatusCode != http.StatusBadRequest {
		t.Errorf("the second time: %d", res.StatusCode)
	}
}

func TestTwoTabsBothComplete(t *testing.T) {
	o := newOP(t)
	v := open(t, o)
	v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	var starts []string
	for range 2 {
		res, err := v.client.Get(v.portal.URL + "/login")
		if err != nil {
			t.Fatal(err)
		}
		starts = append(starts, res.Header.Get("Location"))
	}
	v.client.CheckRedirect = nil
	for _, s := range starts {
		res, err := v.client.Get(s)
		if err != nil {
			t.Fatal(err)
		}
		if res.Request.URL.Path != "/" || res.StatusCode != 200 {
			t.Errorf("%s: %d", res.Request.URL, res.StatusCode)
		}
	}
}

func TestErrorsInWords(t *testing.T) {
	o := newOP(t)
	v := open(t, o)
	for code, want := range map[string]struct {
		status int
		words  string
	}{
		"access_denied":                     {403, "The sign-in was cancelled"},
		"unmet_authentication_requirements": {403, "This page needs a stronger sign-in"},
		"login_required":                    {401, "You need to sign in"},
		"interaction_required":              {401, "You need to sign in"},
		"temporarily_unavailable":           {503, "not available right now"},
		"<script>alert(1)</script>":         {502, "&lt;script&gt;alert(1)"},
	} {
		o.answer = func(q url.Values) { q.Del("code"); q.Set("error", code) }
		status, _, body := v.get("/login?to=/notifications")
		if status != want.status || !strings.Contains(body, want.words) || strings.Contains(body, "<script") ||
			!strings.Contains(body, `href="/login?to=%2Fnotifications"`) || !strings.Contains(body, "Back to the portal") {
			t.Errorf("%s: %d %s", code, status, body)
		}
	}
}

func TestPageThatNeedsMore(t *testing.T) {
	o := newOP(t)
	v := open(t, o)
	v.sees("/notifications", 200, "/notifications", "Sign in with two-factor authentication", "/login?to=%2Fnotifications")
	o.claims = func(c map[string]any) { c["acr"] = "urn:kapi:loa:low" }
	v.sees("/login", 200, "/", "Low: one step")
	v.sees("/notifications", 200, "/notifications", "Sign in with two-factor authentication")
	o.claims = nil
	v.sees("/login?to=/notifications", 200, "/notifications", "2026-0412")
	if got, want := o.asked.Get("claims"), `{"id_token":{"acr":{"essential":true,"values":["urn:kapi:loa:substantial","urn:kapi:loa:high"]}}}`; got != want {
		t.Errorf("claims = %s", got)
	}
}

func TestEachSignatureNeedsAFreshSignIn(t *testing.T) {
	o := newOP(t)
	v := open(t, o)
	v.get("/login")
	v.sees("/sign-document", 200, "/sign-document", "Show once more that it is you")
	v.do(http.MethodPost, "/sign-document", nil)
	v.sees("/sign-document", 200, "/sign-document", "Show once more that it is you")
	v.sees("/login?to=/sign-document", 200, "/sign-document", "Approve</button>")
	if o.asked.Get("max_age") != "0" {
		t.Errorf("max_age = %q", o.asked.Get("max_age"))
	}
	if status, _, _ := v.do(http.MethodPost, "/sign-document", http.Header{"Sec-Fetch-Site": {"cross-site"}}); status != http.StatusForbidden {
		t.Errorf("a foreign site's form: %d", status)
	}
	v.sees("/sign-document", 200, "/sign-document", "Approve</button>")
	if status, _, body := v.do(http.MethodPost, "/sign-document", nil); status != 200 || !strings.Contains(body, "You have approved the document") {
		t.Errorf("%d %s", status, body)
	}
}

func TestLogoutEndsBothSessions(t *testing.T) {
	o := newOP(t)
	v := open(t, o)
	v.get("/login")
	v.sees("/logout", 200, SignedOutPath, "You are signed out")
	if o.asked.Get("id_token_hint") == "" || o.asked.Get("post_logout_redirect_uri") != v.portal.URL+SignedOutPath {
		t.Errorf("asked the provider: %v", o.asked)
	}
	v.sees("/claims.json", 401, "/claims.json")
	v.sees("/logout", 200, SignedOutPath)
	v.sees("/", 200, "/", "Incapacity notifications in one place") // it is said once
}

func TestAddressesThatAreNone(t *testing.T) {
	for _, c := range []Config{{}, {Issuer: "https://op.example"}, {Issuer: "op.example", BaseURL: "https://p.example"}, {Issuer: "https://op.example", BaseURL: "https://u:p@p.example"}} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

func TestProviderThatStartsLater(t *testing.T) {
	o := newOP(t)
	ready := make(chan struct{})
	v := open(t, o)
	real := o.Config.Handler
	tries := 0
	o.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/.well-known/") {
			if tries++; tries < 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			close(ready)
		}
		real.ServeHTTP(w, r)
	})
	v.sees("/", 200, "/")
	v.sees("/login", 200, "/", "You signed in with")
	<-ready
}

func TestHeadersAndCookies(t *testing.T) {
	o := newOP(t)
	v := open(t, o)
	res, err := v.client.Get(v.portal.URL + "/login")
	if err != nil {
		t.Fatal(err)
	}
	csp := res.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "script-src") {
		t.Errorf("CSP: %s", csp)
	}
	h := site(t, Config{Issuer: o.URL, BaseURL: "https://portal.example"})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/login", nil))
	for _, c := range w.Result().Cookies() {
		if !strings.HasPrefix(c.Name, "portal-") || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("cookie %v", c)
		}
	}
	if len(w.Result().Cookies()) == 0 {
		t.Error("no cookie binds the sign-in to the browser")
	}
	if status, _, _ := v.get("/nowhere"); status != 404 {
		t.Errorf("an unknown page: %d", status)
	}
}

// A desk is an application of its own: it asks as its own client, and another's session does not open it.
func TestDesksAreApplicationsOfTheirOwn(t *testing.T) {
	o := newOP(t)
	asked := func() string { return o.asked.Get("client_id") }
	o.clients = map[string]string{"alone-1": "alone secret", "strict-1": "strict secret"}
	o.claims = func(c map[string]any) { c["aud"], c["azp"] = asked(), asked() }
	desks := map[string]Registration{Alone: {"alone-1", "alone secret"}, Strict: {"strict-1", "strict secret"}}
	v := openWith(t, o, func(c *Config) { c.Desks = desks })
	v.sees("/", http.StatusOK, "/", "The archive", "The doctors&#39; desk")
	if _, _, body := v.get("/"); strings.Contains(body, "e-Vizite") {
		t.Error("a desk that was not registered is on the page")
	}
	v.sees("/desk/since", http.StatusNotFound, "/desk/since", "Page not found")
	v.sees("/login", http.StatusOK, "/", "You signed in with")
	if asked() != "portal" {
		t.Errorf("the portal asked as %s", asked())
	}
	v.sees("/desk/alone", http.StatusOK, "/desk/alone", "you sign in here anew")
	v.sees("/login?to=/desk/alone", http.StatusOK, "/desk/alone", "for the archive alone", "You signed in with your password and a code sent to your phone.")
	if asked() != "alone-1" || o.asked.Get("claims") != "" {
		t.Errorf("the archive asked as %s for %s", asked(), o.asked.Get("claims"))
	}
	v.sees("/desk/strict", http.StatusOK, "/desk/strict", "neither an SMS code nor a backup code")
	v.sees("/login?to=/desk/strict", http.StatusOK, "/desk/strict", "a second step that this desk takes")
	if !strings.Contains(o.asked.Get("claims"), acrSubstantial) {
		t.Errorf("the strict desk asked for %s", o.asked.Get("claims"))
	}
	v.get("/logout")
	if asked() != "strict-1" {
		t.Errorf("the session of the strict desk was ended as %s", asked())
	}
	// A token of another application is none.
	o.claims = func(c map[string]any) { c["aud"], c["azp"] = "portal", "portal" }
	if status, _, body := v.get("/login?to=/desk/alone"); status != http.StatusBadGateway || !strings.Contains(body, "could not be completed") {
		t.Errorf("a token of another application: %d", status)
	}
	for _, wrong := range []map[string]Registration{{"nowhere": {"x", "y"}}, {Alone: {}}} {
		if _, err := New(Config{Issuer: o.URL, ClientID: "portal", BaseURL: "http://localhost:1", Desks: wrong}); err == nil {
			t.Errorf("%v was taken", wrong)
		}
	}
}
