package push

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// world is a service with a project of FCM and an app of Huawei, as their senders reach it.
type world struct {
	*Service
	t   *testing.T
	srv *httptest.Server
	now time.Time
	key *rsa.PrivateKey
}

func newWorld(t *testing.T) *world {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, key: key, now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	w.Service = New(Config{Now: func() time.Time { return w.now }, FCM: &Google{Project: "kapi-test", Email: "kapi@kapi-test.example", Key: &key.PublicKey},
		HMS: &Huawei{App: "104", Secret: "s3cr3t"}})
	w.srv = httptest.NewTLSServer(w.Service)
	t.Cleanup(func() { w.Close(); w.srv.Close() })
	return w
}

func (w *world) post(path, kind, body string, header ...string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.srv.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	for i := 0; i+1 < len(header); i += 2 {
		if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	resp, err := w.srv.Client().Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

const formType = "application/x-www-form-urlencoded"

func accessToken(body string) string {
	var a struct {
		Token string `json:"access_token"`
	}
	_ = json.Unmarshal([]byte(body), &a)
	return a.Token
}

// google asks for an access token with an assertion in which one thing may be another.
func (w *world) google(key any, alg jose.SignatureAlgorithm, claims map[string]any) (int, string) {
	w.t.Helper()
	all := map[string]any{"iss": "kapi@kapi-test.example", "scope": "https://www.googleapis.com/auth/firebase.messaging", "aud": w.srv.URL + "/token",
		"iat": w.now.Unix(), "exp": w.now.Add(time.Hour).Unix()}
	for name, v := range claims {
		all[name] = v
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	b, _ := json.Marshal(all)
	jws, err := signer.Sign(b)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := jws.CompactSerialize()
	if err != nil {
		w.t.Fatal(err)
	}
	return w.post("/token", formType, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {text}}.Encode())
}

// Access tokens are given for what the documentation asks, and for nothing near it.
func TestAccessTokens(t *testing.T) {
	w := newWorld(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if status, body := w.google(w.key, jose.RS256, nil); status != 200 || accessToken(body) == "" {
		t.Fatalf("%d %s", status, body)
	}
	for name, ask := range map[string]func() (int, string){
		"another key":         func() (int, string) { return w.google(other, jose.RS256, nil) },
		"another kind of key": func() (int, string) { return w.google(ec, jose.ES256, nil) },
		"another algorithm":   func() (int, string) { return w.google(w.key, jose.PS256, nil) },
		"another account":     func() (int, string) { return w.google(w.key, jose.RS256, map[string]any{"iss": "x@y.example"}) },
		"another scope":       func() (int, string) { return w.google(w.key, jose.RS256, map[string]any{"scope": "openid"}) },
		"another audience": func() (int, string) {
			return w.google(w.key, jose.RS256, map[string]any{"aud": "https://x.example/token"})
		},
		"over": func() (int, string) { return w.google(w.key, jose.RS256, map[string]any{"exp": w.now.Unix()}) },
		"of the future": func() (int, string) {
			return w.google(w.key, jose.RS256, map[string]any{"iat": w.now.Add(2 * time.Minute).Unix()})
		},
		"for two hours": func() (int, string) {
			return w.google(w.key, jose.RS256, map[string]any{"exp": w.now.Add(2 * time.Hour).Unix()})
		},
		"Huawei, wrong secret": func() (int, string) {
			return w.post("/oauth2/v3/token", formType, "grant_type=client_credentials&client_id=104&client_secret=x")
		},
		"Huawei, another app": func() (int, string) {
			return w.post("/oauth2/v3/token", formType, "grant_type=client_credentials&client_id=105&client_secret=s3cr3t")
		},
	} {
		if status, body := ask(); status != http.StatusBadRequest || accessToken(body) != "" {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if w.Tokens() != 1 {
		t.Errorf("%d tokens", w.Tokens())
	}
}

// A push arrives at the app that is there, by a token that is good, and once for each request.
func TestFCM(t *testing.T) {
	w := newWorld(t)
	_, body := w.google(w.key, jose.RS256, nil)
	token := "Bearer " + accessToken(body)
	app := w.Install(w.srv.URL, "fcm")
	message := func(to, ttl, priority, more string) string {
		return `{"message":{"token":"` + to + `","data":{"kind":"notice"},"android":{"priority":"` + priority + `","ttl":"` + ttl + `","collapse_key":"c"}` + more + `}}`
	}
	good := message(app["token"], "90s", "HIGH", "")
	const at, kind = "/v1/projects/kapi-test/messages:send", "application/json"
	for name, tc := range map[string]struct {
		path, kind, body, token string
		status                  int
		says                    string
	}{
		"another project":    {"/v1/projects/x/messages:send", kind, good, token, 404, "404"},
		"no token":           {at, kind, good, "", 401, "UNAUTHENTICATED"},
		"a made-up token":    {at, kind, good, "Bearer x", 401, "UNAUTHENTICATED"},
		"no JSON":            {at, formType, good, token, 400, "INVALID_ARGUMENT"},
		"an unknown member":  {at, kind, message(app["token"], "90s", "HIGH", `,"notification":{}`), token, 400, "INVALID_ARGUMENT"},
		"no such app":        {at, kind, message("nobody", "90s", "HIGH", ""), token, 400, "message.token"},
		"a time in minutes":  {at, kind, message(app["token"], "2m", "HIGH", ""), token, 400, "message.android"},
		"a priority of ours": {at, kind, message(app["token"], "90s", "high", ""), token, 400, "message.android"},
		"an app of Huawei's": {at, kind, message(w.Install(w.srv.URL, "hms")["token"], "90s", "HIGH", ""), token, 400, "message.token"},
	} {
		if status, body := w.post(tc.path, tc.kind, tc.body, "Authorization", tc.token); status != tc.status || !strings.Contains(body, tc.says) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if len(w.Pushes()) != 0 {
		t.Fatalf("%+v", w.Pushes())
	}
	if status, body := w.post(at, kind, good, "Authorization", token); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if p := w.Pushes(); len(p) != 1 || p[0].To != app["token"] || p[0].Seconds != 90 || !p[0].Urgent || p[0].Data != `{"kind":"notice"}` || !p[0].At.Equal(w.now) {
		t.Errorf("%+v", p)
	}
	_ = w.Set(Lost)
	if status, _ := w.post(at, kind, good, "Authorization", token); status != http.StatusOK || len(w.Pushes()) != 1 {
		t.Errorf("lost: %d, %d pushes", status, len(w.Pushes()))
	}
	_ = w.Set(None)
	w.Remove(app)
	if status, body := w.post(at, kind, good, "Authorization", token); status != http.StatusNotFound || !strings.Contains(body, "UNREGISTERED") {
		t.Errorf("removed: %d %s", status, body)
	}
	w.now = w.now.Add(2 * time.Hour)
	if status, _ := w.post(at, kind, good, "Authorization", token); status != http.StatusUnauthorized {
		t.Errorf("a token that is over: %d", status)
	}
}

// What is kept is bounded: the oldest goes.
func TestBounds(t *testing.T) {
	s := New(Config{})
	defer s.Close()
	first := s.Install("http://127.0.0.1", "fcm")
	for range mostApps {
		s.Install("http://127.0.0.1", "fcm")
	}
	if _, there := s.find("fcm", first["token"]); there || len(s.apps) != mostApps || len(s.order) != mostApps {
		t.Errorf("%d apps, %d in order, the first is there: %t", len(s.apps), len(s.order), there)
	}
	for i := range mostPushes + 5 {
		s.deliver(Push{Seconds: i})
	}
	if p := s.Pushes(); len(p) != mostPushes || p[0].Seconds != 5 {
		t.Errorf("%d pushes, the first %d", len(p), p[0].Seconds)
	}
	if s.Set("made-up") == nil {
		t.Error("a switch that does not exist")
	}
	if s.Forget(); len(s.Pushes()) != 0 {
		t.Error("not forgotten")
	}
}

// The switches are turned here and not from another site.
func TestSwitchesAreOurs(t *testing.T) {
	w := newWorld(t)
	form := url.Values{"trouble": {string(Failing)}}.Encode()
	for name, header := range map[string][]string{"another site": {"Sec-Fetch-Site", "cross-site"}, "a name": {"Host", "push.example"}} {
		if status, _ := w.post("/trouble", formType, form, header...); status < 400 {
			t.Errorf("%s: %d", name, status)
		}
	}
	if w.trouble != None {
		t.Fatal("turned by a stranger")
	}
	if status, _ := w.post("/trouble", formType, form); status != http.StatusNoContent || w.trouble != Failing {
		t.Errorf("%d, %s", status, w.trouble)
	}
	if status, _ := w.post("/subscribe", formType, "kind=telex"); status != http.StatusBadRequest {
		t.Errorf("an unknown kind: %d", status)
	}
}
