package provider

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
)

const (
	issuer   = "https://kapi.example"
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	password = "a client secret of at least 32 characters"
)

// sheets is Pages as plain text that tests can read.
type sheets struct{}

func (sheets) Failure(w http.ResponseWriter, _ *http.Request, uiLocales []string, err error) {
	f := fault.Of(err)
	w.Header().Set("Content-Language", strings.Join(uiLocales, " "))
	status := map[fault.Kind]int{fault.Invalid: 400, fault.Denied: 403, fault.Expired: 410, fault.Throttled: 429, fault.Unavailable: 503}[f.Kind]
	if status == 0 {
		status = 500
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "page "+f.Key)
}

func (sheets) FormPost(w http.ResponseWriter, _ *http.Request, p FormPost) {
	values := url.Values{}
	for _, f := range p.Fields {
		values.Add(f.Name, f.Value)
	}
	_, _ = io.WriteString(w, "form "+p.Action+" "+values.Encode())
}

func (sheets) ConfirmLogout(w http.ResponseWriter, _ *http.Request, p ConfirmLogout) {
	values := url.Values{}
	for _, f := range p.Fields {
		values.Add(f.Name, f.Value)
	}
	w.Header().Set("X-Here", p.Here)
	_, _ = io.WriteString(w, "confirm "+p.Action+" "+values.Encode())
}

func (sheets) SignedOut(w http.ResponseWriter, _ *http.Request, p SignedOut) {
	_, _ = io.WriteString(w, map[bool]string{true: "signed out", false: "still signed in"}[p.Ended])
}

// kit is a provider with people and clients, and a clock that stands still until it is moved.
type kit struct {
	testing.TB
	*memory
	s    *Server
	http http.Handler
	mu   sync.Mutex
	at   time.Time
	ring *secret.Ring
	// clientKey signs the assertions of rp-jwt.
	clientKey *ecdsa.PrivateKey
}

func (k *kit) now() time.Time { k.mu.Lock(); defer k.mu.Unlock(); return k.at }
func (k *kit) pass(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at = k.at.Add(d)
}

const ayse account.ID = "5f1c1d1e-1111-4111-8111-111111111111"
const mehmet account.ID = "5f1c1d1e-2222-4222-8222-222222222222"

func newKit(t testing.TB) *kit {
	k := &kit{TB: t, memory: newMemory(), at: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), ring: secret.Ephemeral()}
	k.clientKey, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.populate()
	var err error
	k.s, err = New(Config{
		Issuer: issuer, Highest: acr.High, Clients: k.memory, Transactions: k.memory, Grants: k.memory, Sessions: k.memory,
		Audit: k.memory, Keys: madeSigner(), Ring: k.ring, Pages: sheets{}, Cookies: web.Cookies{Secure: true},
		Quota: -1, Now: k.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	k.s.alarms = nil
	r := mux.NewRouter()
	k.s.Mount(r)
	k.http = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.ServeHTTP(w, q.WithContext(web.WithClient(q.Context(), "request-1", netip.MustParseAddr("192.0.2.7"))))
	})
	return k
}

func (k *kit) populate() {
	for _, id := range []account.ID{ayse, mehmet} {
		k.accounts[id] = account.Account{ID: id, State: account.Active, Ceiling: acr.High, Locale: "tr"}
	}
	k.people[ayse] = account.Person{
		NationalID: "10000000146", Kind: account.Citizen, GivenName: "Ayşe", FamilyName: "Yılmaz", Birthdate: "1985-04-23", Gender: "female",
		Address: account.Address{StreetAddress: "Atatürk Blv. 1", Locality: "Ankara", PostalCode: "06000", Country: "TR"},
	}
	k.contacts[ayse] = contact.Contacts{
		Phone: contact.Phone{Number: "+905550000001", Grade: contact.IDVerified}, Email: contact.Email{Address: "ayse@example.org", Verified: true},
	}
	for _, c := range []clients.Client{
		{ID: "rp-basic", AuthMethod: methodBasic, RedirectURIs: []string{"https://rp1.example/cb"}, PostLogoutURIs: []string{"https://rp1.example/bye"}},
		{ID: "rp-post", AuthMethod: methodPost, RedirectURIs: []string{"https://rp2.example/cb?x=1"}, Sector: "rp2.example"},
		{ID: "rp-jwt", AuthMethod: methodJWT, RedirectURIs: []string{"https://rp3.example/cb"}, Sector: "rp3.example"},
		{ID: "rp-spa", AuthMethod: methodNone, RedirectURIs: []string{"https://spa.example/cb"}, Sector: "spa.example", BrowserOrigins: []string{"https://spa.example"}},
		{ID: "rp-app", AuthMethod: methodNone, Native: true, RedirectURIs: []string{"http://127.0.0.1/cb", "http://[::1]:1/cb", "com.example.app:/cb"}},
		{ID: "rp-exempt", AuthMethod: methodBasic, RedirectURIs: []string{"https://rp1.example/cb"}},
		{ID: "rp-jwtat", AuthMethod: methodBasic, RedirectURIs: []string{"https://rp4.example/cb"}, JWTAccessToken: true, UserinfoAlg: "ES256"},
		{ID: "rp-machine", AuthMethod: methodBasic, GrantTypes: []string{"client_credentials"}, Scopes: []string{"openid", "notices:read", "notices:write"}, JWTAccessToken: true},
	} {
		c.Secrets = []clients.Secret{{MAC: k.ring.MAC(secret.Tokens, "client_secret", c.ID, password)}}
		if c.GrantTypes == nil {
			c.GrantTypes = []string{"authorization_code", "refresh_token"}
			c.Scopes = []string{"openid", "profile", "email", "phone", "address", "offline_access"}
		}
		c.IDTokenAlg, c.Pairwise, c.RequirePKCE, c.MinACR = "ES256", true, c.ID != "rp-exempt", acr.Low
		if c.Sector == "" {
			c.Sector = "rp1.example"
		}
		c.JWKS.Keys = []jose.JSONWebKey{{Key: k.clientKey.Public(), KeyID: "client-1", Algorithm: "ES256", Use: "sig"}}
		k.clients[c.ID] = c
	}
}

// change edits a registration.
func (k *kit) change(id string, fn func(c *clients.Client)) {
	c := k.clients[id]
	fn(&c)
	k.clients[id] = c
}

// browser is a cookie jar without a network.
type browser struct {
	*kit
	cookies map[string]string
}

func (k *kit) browser() *browser { return &browser{k, map[string]string{}} }

func (b *browser) do(r *http.Request) *httptest.ResponseRecorder {
	for name, v := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: v})
	}
	w := httptest.NewRecorder()
	b.http.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return w
}

func (b *browser) get(target string) *httptest.ResponseRecorder {
	return b.do(httptest.NewRequest("GET", target, nil))
}

func (b *browser) post(target string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", target, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return b.do(r)
}

// ask are the parameters of an authorization request; pairs are added, "" removes.
func ask(client, redirect string, pairs ...string) url.Values {
	v := url.Values{
		"client_id": {client}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"openid"}, "state": {"s-1"},
		"nonce": {"n-1"}, "code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(pairs); i += 2 {
		if v.Del(pairs[i]); pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

func (b *browser) authorize(v url.Values) *httptest.ResponseRecorder {
	return b.get("/authorize?" + v.Encode())
}

// begin asks and returns the transaction.
func (b *browser) begin(v url.Values) signin.Transaction {
	b.Helper()
	w := b.authorize(v)
	id, ok := strings.CutPrefix(w.Header().Get("Location"), "/signin/")
	if w.Code != 303 || !ok {
		b.Fatalf("authorize: %d %s %s", w.Code, w.Header().Get("Location"), w.Body)
	}
	return b.transactions[id]
}

func (k *kit) password(id account.ID) factors.Proof {
	return factors.Proof{Factor: "password", Account: id, Stage: factors.First, Kinds: factors.Know, Channel: factors.Here, Level: acr.Low, AMR: []string{"pwd"}, At: k.now()}
}

func (k *kit) sms(id account.ID) factors.Proof {
	return factors.Proof{Factor: "sms", Account: id, Stage: factors.Second, Kinds: factors.Have, Channel: factors.Phone, Level: acr.Low, AMR: []string{"sms"}, At: k.now()}
}

// prove plays the sign-in pages: the person proves and the session stands in the browser's cookie.
func (b *browser) prove(t signin.Transaction, proofs ...factors.Proof) {
	t.State = signin.Ready
	t.Account, t.Proofs, t.Ceiling = proofs[0].Account, proofs, acr.High
	s := session.Session{ID: uuid.NewString(), Account: t.Account, Proofs: proofs, CreatedAt: b.now(), SeenAt: b.now(), ExpiresAt: b.now().Add(session.Life)}
	t.Session, t.SessionEnds = s.ID, s.ExpiresAt
	token := secret.Token()
	b.sessions[s.ID], b.tokens[string(secret.Hash(token))], b.transactions[t.ID] = s, s.ID, t
	b.cookies["__Host-kapi-session"] = token
}

// code signs in with password and SMS and returns the code of the redirect.
func (b *browser) code(v url.Values) string {
	b.Helper()
	t := b.begin(v)
	b.prove(t, b.password(ayse), b.sms(ayse))
	return b.answer(b.get("/authorize/callback?id=" + t.ID)).Get("code")
}

// answer reads the parameters of a redirect to a client.
func (b *browser) answer(w *httptest.ResponseRecorder) url.Values {
	b.Helper()
	u, err := url.Parse(w.Header().Get("Location"))
	if err != nil || w.Code != 303 || u.Host == "" {
		b.Fatalf("no redirect to a client: %d %q %s", w.Code, w.Header().Get("Location"), w.Body)
	}
	return u.Query()
}

// reply is a decoded JSON answer.
type reply struct {
	*httptest.ResponseRecorder
	fields map[string]any
}

func (r reply) text(name string) string { s, _ := r.fields[name].(string); return s }

// call posts as a client: with HTTP Basic for those registered so, in the form for the others.
func (k *kit) call(path, client string, form url.Values) reply {
	k.Helper()
	form = copied(form)
	var edit func(*http.Request)
	switch k.clients[client].AuthMethod {
	case methodBasic:
		edit = func(r *http.Request) { r.SetBasicAuth(client, url.QueryEscape(password)) }
	case methodPost:
		form.Set("client_id", client)
		form.Set("client_secret", password)
	case methodJWT:
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", k.assertion(client, nil))
	default:
		form.Set("client_id", client)
	}
	return k.raw("POST", path, form, edit)
}

func copied(in url.Values) url.Values {
	out := url.Values{}
	for n, v := range in {
		out[n] = v
	}
	return out
}

func (k *kit) raw(method, path string, form url.Values, edit func(*http.Request)) reply {
	k.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, path, body)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	k.http.ServeHTTP(w, r)
	out := reply{ResponseRecorder: w}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out.fields); err != nil {
			k.Fatalf("%s %s: %v in %s", method, path, err, w.Body)
		}
	}
	if w.Code >= 500 && k.broken == nil {
		k.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return out
}

// redeem posts a code with the verifier of ask.
func (k *kit) redeem(client, redirect, code string, pairs ...string) reply {
	k.Helper()
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {verifier}}
	for i := 0; i < len(pairs); i += 2 {
		if v.Del(pairs[i]); pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return k.call("/oauth/token", client, v)
}

// signedIn runs the whole flow for a client and returns its token response.
func (k *kit) signedIn(client string, pairs ...string) reply {
	k.Helper()
	to := k.clients[client].RedirectURIs[0]
	out := k.redeem(client, to, k.browser().code(ask(client, to, pairs...)))
	if out.Code != 200 {
		k.Fatalf("token: %d %s", out.Code, out.Body)
	}
	return out
}

func (k *kit) userinfo(token string) reply {
	return k.raw("GET", "/userinfo", nil, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
}

// claimsOf verifies a JWT with the published key set and returns its claims.
func (k *kit) claimsOf(token string) map[string]any {
	k.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(k.raw("GET", "/keys", nil, nil).Body.Bytes(), &set); err != nil {
		k.Fatal(err)
	}
	sig, err := jose.ParseSignedCompact(token, signing)
	if err != nil {
		k.Fatal(err)
	}
	payload, err := sig.Verify(set)
	if err != nil {
		k.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		k.Fatal(err)
	}
	return claims
}

// assertion is a right client assertion, but for what edit changes.
func (k *kit) assertion(client string, edit func(claims, header map[string]any)) string {
	k.Helper()
	claims := map[string]any{
		"iss": client, "sub": client, "aud": issuer, "jti": secret.Token(), "iat": k.now().Unix(), "exp": k.now().Add(time.Minute).Unix(),
	}
	header := map[string]any{"kid": "client-1"}
	if edit != nil {
		edit(claims, header)
	}
	token, err := signWith(k.clientKey, "ES256", claims, header)
	if err != nil {
		k.Fatal(err)
	}
	return token
}

// forge makes a compact JWS from parts, whether or not a library would.
func forge(header, payload string, signature []byte) string {
	e := base64.RawURLEncoding.EncodeToString
	return e([]byte(header)) + "." + e([]byte(payload)) + "." + e(signature)
}

var errBroken = errors.New("the canary of the database driver")

func newRequest(method, target string) *http.Request { return httptest.NewRequest(method, target, nil) }

// page is what somebody sees: status, body and headers in one text.
func page(w *httptest.ResponseRecorder) string {
	var head strings.Builder
	_ = w.Header().Write(&head)
	return strconv.Itoa(w.Code) + " " + w.Body.String() + "\n" + head.String()
}
