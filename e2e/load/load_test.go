package load

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"
)

// operations of docs/performance.md. Each do is one of them; prepare makes what it needs beforehand, unmeasured.
var operations = []struct {
	name    string
	prepare func(w *visitor)
	do      func(w *visitor)
}{
	{"discovery", nil, func(w *visitor) { w.get("/.well-known/openid-configuration") }},
	{"keys", nil, func(w *visitor) { w.get("/keys") }},
	{"client_credentials", nil, func(w *visitor) { w.token("machine", url.Values{"grant_type": {"client_credentials"}}) }},
	{"userinfo", (*visitor).signedIn, func(w *visitor) { w.userinfo() }},
	{"introspection", (*visitor).signedIn, func(w *visitor) { w.post("rp", "/oauth/introspect", url.Values{"token": {w.access}}) }},
	{"refresh", (*visitor).signedIn, func(w *visitor) { w.refresh() }},
	{"sign-in, password", nil, func(w *visitor) { w.signIn("plain") }},
	{"sign-in, password and SMS", nil, func(w *visitor) { w.signIn("twofactor") }},
	{"sign-in, single sign-on", (*visitor).signedIn, func(w *visitor) { w.sso() }},
}

// atOnce visitors keep the server busy: a server that is woken for each request would mostly be measured waking up.
const atOnce = 8

// BenchmarkOperations measures on SQLite and on Postgres. BENCH_PEOPLE is how many people there are besides. With BENCH_WAIT nothing is measured
// before that file is there: many people take long to make, and then the machine may be busy.
func BenchmarkOperations(b *testing.B) {
	for _, db := range []string{"sqlite", "postgres"} {
		b.Run(db, func(b *testing.B) {
			w := start(b, db)
			for _, op := range operations {
				b.Run(strings.ReplaceAll(op.name, " ", "_"), func(b *testing.B) {
					w.B = b
					visitors := make([]*visitor, atOnce)
					for i := range visitors {
						visitors[i] = w.visitor(i)
						if op.prepare != nil {
							op.prepare(visitors[i])
						}
						op.do(visitors[i]) // statements prepared, connections open
					}
					before := w.measure()
					var left atomic.Int64
					left.Store(int64(b.N))
					var done sync.WaitGroup
					for _, v := range visitors {
						done.Go(func() {
							for left.Add(-1) >= 0 {
								op.do(v)
							}
						})
					}
					done.Wait()
					w.measure().since(before).report(b)
				})
			}
		})
	}
}

// BenchmarkStart measures how long a server takes until it answers, and the memory it then rests with.
func BenchmarkStart(b *testing.B) {
	for range b.N {
		s := spawn(b, "sqlite:"+b.TempDir()+"/kapi.db", b.TempDir())
		b.ReportMetric(float64(s.cpu().Milliseconds()), "cpu-ms")
		time.Sleep(3 * time.Second) // at rest: what is reported is the memory, not the time
		b.ReportMetric(s.memory(b), "MiB")
		b.ReportMetric(float64(s.started.Microseconds())/1000, "start-ms")
		s.stop()
	}
}

func (w *visitor) get(path string) string {
	return w.do(http.MethodGet, w.url+path, nil)
}

func (w *visitor) post(client, path string, form url.Values) string {
	return w.do(http.MethodPost, w.url+path, form, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(client+":"+secretOf(client))))
}

func (w *visitor) token(client string, form url.Values) map[string]any {
	var m map[string]any
	if err := json.Unmarshal([]byte(w.post(client, "/oauth/token", form)), &m); err != nil {
		w.B.Fatal(err)
	}
	return m
}

func (w *visitor) userinfo() {
	w.do(http.MethodGet, w.url+"/userinfo", nil, "Authorization", "Bearer "+w.access)
}

func (w *visitor) refresh() {
	m := w.token("rp", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {w.refreshToken}})
	w.refreshToken, _ = m["refresh_token"].(string)
}

func (w *visitor) signedIn() { w.signIn("plain") }

var formAction = regexp.MustCompile(`action="(/signin/[^"]+/with/[a-z]+)"`)

// signIn is a person in a fresh browser: the portal's redirect, the pages, the code, the token.
func (w *visitor) signIn(sort string) {
	w.forget()
	pkce := oauth2.GenerateVerifier()
	page := w.do(http.MethodGet, w.authorize(pkce), nil)
	n, turn := w.person, int(w.turn.Add(1))
	if sort == "twofactor" {
		n += people
	}
	had := w.last(n)
	// Each browser of the bench is another network, as it would be in a country.
	answer := w.do(http.MethodPost, w.url+action(w, page), url.Values{"national_id": {number(n)}, "password": {passphrase}}, "X-Forwarded-For", network(turn))
	if sort == "twofactor" {
		w.do(http.MethodPost, w.url+action(w, answer), url.Values{"code": {w.code(n, had)}})
	}
	w.redeem(pkce)
}

func (w *visitor) sso() {
	pkce := oauth2.GenerateVerifier()
	w.do(http.MethodGet, w.authorize(pkce), nil)
	w.redeem(pkce)
}

func (w *visitor) authorize(pkce string) string {
	return w.url + "/authorize?" + url.Values{
		"client_id": {"rp"}, "response_type": {"code"}, "redirect_uri": {redirect}, "scope": {"openid profile offline_access"}, "state": {"s"}, "nonce": {"n"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(pkce)}, "code_challenge_method": {"S256"},
	}.Encode()
}

func (w *visitor) redeem(pkce string) {
	if w.left == nil || w.left.Query().Get("code") == "" {
		w.B.Fatalf("no code: %v", w.left)
	}
	m := w.token("rp", url.Values{"grant_type": {"authorization_code"}, "code": {w.left.Query().Get("code")}, "redirect_uri": {redirect}, "code_verifier": {pkce}})
	w.access, _ = m["access_token"].(string)
	w.refreshToken, _ = m["refresh_token"].(string)
}

func action(w *visitor, page string) string {
	m := formAction.FindStringSubmatch(page)
	if m == nil {
		w.B.Fatalf("no form in:\n%s", page)
	}
	return m[1]
}

// do follows redirects inside the server; w.left is where it was sent outside.
func (w *visitor) do(method, address string, form url.Values, headers ...string) string {
	r, err := http.NewRequestWithContext(context.Background(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		w.B.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w.left = nil
	resp, err := w.client.Do(r)
	if err != nil {
		w.B.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.B.Fatal(err)
	}
	if resp.StatusCode >= 400 {
		w.B.Fatalf("%s %s: %d %s", method, address, resp.StatusCode, body)
	}
	return string(body)
}

func network(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255) }

func TestMain(m *testing.M) {
	if os.Getenv(serverEnv) != "" {
		os.Exit(serveBench())
	}
	os.Exit(m.Run())
}
