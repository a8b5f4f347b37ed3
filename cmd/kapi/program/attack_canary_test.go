package program_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/internal/testkapi"
	"github.com/kapi-id/kapi/internal/testpg"
)

// spoken is one answer of a server.
type spoken struct {
	Method, Path string
	Status       int
	Header       http.Header
	Body         string
}

// tape keeps every answer of every replica.
type tape struct {
	mu  sync.Mutex
	all []spoken
}

func record(k *testkapi.Kapi) *tape {
	tp := &tape{}
	for _, a := range k.Replicas {
		inner := a.Handler
		a.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			inner.ServeHTTP(rec, r)
			tp.mu.Lock()
			tp.all = append(tp.all, spoken{r.Method, r.URL.Path, rec.Code, rec.Header().Clone(), rec.Body.String()})
			tp.mu.Unlock()
			for name, values := range rec.Header() {
				w.Header()[name] = values
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
		})
	}
	return tp
}

// dump is the whole database in text or as its files, by name.
func dump(t *testing.T, k *testkapi.Kapi) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	if path, ok := strings.CutPrefix(k.Settings.Database, "sqlite:"); ok {
		files, err := filepath.Glob(path + "*")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if out[filepath.Base(f)], err = os.ReadFile(f); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	text, err := exec.CommandContext(ctx, filepath.Join(testpg.Shared(t).Bin, "pg_dump"), "--inserts", k.Settings.Database).Output()
	if err != nil {
		t.Fatal(err)
	}
	out["pg_dump"] = text
	return out
}

// readable says in which form a value stands in data, "" if in none.
func readable(data []byte, value string) string {
	for form, text := range map[string]string{
		"clear": value, "hex": hex.EncodeToString([]byte(value)), "base64": base64.RawStdEncoding.EncodeToString([]byte(value))[:len(value)],
		"base64url": base64.RawURLEncoding.EncodeToString([]byte(value))[:len(value)], "query": url.QueryEscape(value),
	} {
		if bytes.Contains(data, []byte(text)) {
			return form
		}
	}
	return ""
}

// canary is a person and a client that are told from all others, and what was given out.
type canary struct {
	number, password, fresh, given, family, phone, email, street string
	secrets                                                      map[string]string // never in a page, never at rest
	personal                                                     map[string]string // in pages of the person alone, never at rest
}

func TestL1_Canaries(t *testing.T) {
	t.Parallel()
	testkapi.Each(t, testkapi.Options{}, func(t *testing.T, k *testkapi.Kapi) {
		c := canary{number: number(4711), password: "yellow seagull on a roof 7", fresh: "orange pelican at a pier 8", given: "Canarygiven", family: "Canaryfamily",
			phone: phoneOf(4711), email: "canary@mail.example", street: "Canary street 9"}
		c.personal = map[string]string{"ID number": c.number, "given name": c.given, "family name": c.family, "phone": c.phone, "e-mail": c.email, "street": c.street, "birthdate": "1971-03-09"}
		c.secrets = map[string]string{"password": c.password, "new password": c.fresh, "a wrong password": "purple heron in a pond 1"}
		k.People(fmt.Sprintf(`[{"national_id":%q,"kind":"citizen","given_name":%q,"family_name":%q,"birthdate":"1971-03-09","phone":%q,"phone_grade":"id_verified",
			"email":%q,"email_verified":true,"address":{"street_address":%q},"password":%q,"two_factor":true}]`, c.number, c.given, c.family, c.phone, c.email, c.street, c.password))
		tp := record(k)
		c.everything(t, k)
		c.panics(t, k)
		sealAll(t, k)

		logs := k.Log.String()
		for name, v := range c.personal {
			c.secrets["personal: "+name] = v
		}
		for _, texts := range k.Phone.Inbox(c.phone) {
			if strings.Contains(texts, "://") || !strings.Contains(texts, "Kap") {
				t.Errorf("a message holds a link or does not name the service: %s", texts)
			}
			c.secrets["message "+texts] = texts
			// Six digits stand by chance in hashes and times, so they are looked for as a word.
			if regexp.MustCompile(`[^0-9A-Za-z_-]` + texts[:6] + `[^0-9A-Za-z_-]`).MatchString(wordsOf(t, logs)) {
				t.Errorf("the code of %q is in the log", texts)
			}
		}
		root, err := os.ReadFile(k.Settings.SecretFile)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(string(root)))
		if err != nil {
			t.Fatal(err)
		}
		c.secrets["root key"], c.secrets["root key, raw"] = strings.TrimSpace(string(root)), string(raw)

		metrics := httptest.NewRecorder()
		k.App().Metrics.ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		places := dump(t, k)
		places["log"], places["metrics"] = []byte(logs), metrics.Body.Bytes()
		for _, args := range [][]string{{"client", "list"}, {"client", "show", "canary"}, {"keys", "list"}, {"audit", "verify"}} {
			var out, errs bytes.Buffer
			if status := program.Main(args, environ(k), &out, &errs); status != 0 {
				t.Errorf("kapi %s: %s", strings.Join(args, " "), errs.String())
			}
			places["kapi "+strings.Join(args, " ")] = append(out.Bytes(), errs.Bytes()...)
		}
		anchor, err := os.ReadFile(k.Settings.AuditAnchor)
		if err != nil {
			t.Fatal(err)
		}
		places["anchor"] = anchor
		for place, data := range places {
			if len(data) == 0 && !strings.HasSuffix(place, ".serve") && !strings.HasSuffix(place, ".migrate") && !strings.HasSuffix(place, ".secret") {
				t.Errorf("%s is empty: nothing was searched", place)
			}
			if strings.HasSuffix(place, ".secret") {
				continue
			}
			for name, v := range c.secrets {
				if form := readable(data, v); form != "" {
					t.Errorf("%s is readable in %s (%s)", name, place, form)
				}
			}
		}
		if !strings.Contains(logs, `"level":"DEBUG"`) || !strings.Contains(logs, `"msg":"panic"`) {
			t.Error("the log has no line of debug level, or none of the panic: nothing was searched")
		}
		c.answers(t, tp)
	})
}

// everything runs the flows and keeps what is given out.
func (c *canary) everything(t *testing.T, k *testkapi.Kapi) {
	secret := "canary-client-secret-that-is-long-enough-for-all"
	rp := k.RP("canary", map[string]any{"client_secret": secret, "grant_types": []string{"authorization_code", "refresh_token"}, "kapi_consent": "always",
		"scope": "openid profile email phone address offline_access"})
	rp.Secret, rp.OAuth.ClientSecret = secret, secret
	rp.OAuth.Scopes = []string{"openid", "profile", "email", "phone", "address", "offline_access"}
	c.secrets["client secret"] = secret
	keep := func(name, v string) {
		if v == "" {
			t.Errorf("no %s to look for", name)
		}
		c.secrets[name] = v
	}
	b := testkapi.NewBrowser(t)
	agent := "CanaryAgent/1.0"
	keep("user agent", agent)
	b.Header.Set("User-Agent", agent)
	keep("login_hint", "canaryhint")
	address := rp.URL("login_hint", "canaryhint", "ui_locales", "en")
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	keep("state", u.Query().Get("state"))
	keep("nonce", u.Query().Get("nonce"))
	b.Open(address)
	b.Submit(map[string]string{"national_id": c.number, "password": "purple heron in a pond 1"}).See(wrongSignIn)
	b.Submit(map[string]string{"national_id": c.number, "password": c.password})
	code := k.Phone.Code(t, c.phone, 1)
	b.Submit(map[string]string{"code": other(code)}).See("The code is wrong")
	b.Submit(map[string]string{"code": code}).Submit(map[string]string{"consent": "yes"})
	form := rp.Redemption(b)
	keep("authorization code", form.Get("code"))
	keep("verifier", form.Get("code_verifier"))
	for _, name := range []string{"browser", "session", "known"} {
		keep("cookie "+name, b.Cookie("kapi-"+name))
	}
	first := machinePost(t, k, rp, "/oauth/token", form)
	access, token, id := member(t, first.Body, "access_token"), member(t, first.Body, "refresh_token"), member(t, first.Body, "id_token")
	keep("access token", access)
	keep("refresh token", token)
	keep("ID token's signature", id[strings.LastIndex(id, ".")+1:])
	if r := send(t, nil, http.MethodGet, k.URL+"/userinfo", nil, "Authorization", "Bearer "+access); !strings.Contains(r.Body, c.street) {
		t.Errorf("userinfo: %d %s", r.Status, r.Body)
	}
	userinfo(t, k, "a-canary-token-nobody-gave")
	keep("token nobody gave", "a-canary-token-nobody-gave")
	machinePost(t, k, rp, "/oauth/introspect", url.Values{"token": {access}})
	second := refresh(t, k, rp, token)
	keep("second access token", member(t, second.Body, "access_token"))
	keep("second refresh token", member(t, second.Body, "refresh_token"))
	k.Clock.Add(6 * time.Second)
	refresh(t, k, rp, token)                                                                    // reuse
	machinePost(t, k, rp, "/oauth/token", form)                                                 // replay
	machinePost(t, k, rp, "/oauth/token?client_secret="+secret+"&code="+form.Get("code"), form) // where it does not belong
	machinePost(t, k, rp, "/oauth/revoke", url.Values{"token": {access}})
	wrong := *rp
	wrong.Secret = "canary-wrong-client-secret"
	keep("wrong client secret", wrong.Secret)
	machinePost(t, k, &wrong, "/oauth/token", form)
	send(t, b, http.MethodGet, k.URL+"/userinfo?access_token="+access, nil)
	send(t, b, http.MethodGet, k.URL+"/authorize?client_id=canary&redirect_uri=https://canary-evil.example&state=canarystate2&login_hint="+c.number, nil)
	keep("state of a refused request", "canarystate2")

	// The person's own pages.
	b.Open(k.URL + "/me").Follow("Sign-ins")
	b.Open(k.URL + "/me/sessions")
	b.Open(k.URL + "/me/password").Submit(map[string]string{"password": "purple heron in a pond 1", "new_password": c.fresh})
	b.Submit(map[string]string{"password": c.password, "new_password": c.fresh}).See("has been changed")
	k.Clock.Add(time.Minute)
	b.Open(k.URL + "/me/two-factor/off").Press("Go on").Submit(map[string]string{"code": k.Phone.Code(t, c.phone, 2)}).See("is off")
	b.Open(rp.URL("response_mode", "form_post", "prompt", "consent")).Submit(map[string]string{"consent": "yes"})
	keep("cookie session of later", b.Cookie("kapi-session"))
	send(t, b, http.MethodGet, k.URL+"/end_session?state=canarystate3&id_token_hint="+id, nil)
	keep("state of a sign-out", "canarystate3")
}

// panics lets a sign-in break in the middle of an answer, with the password on the stack.
func (c *canary) panics(t *testing.T, k *testkapi.Kapi) {
	flow := k.App().Flow
	pause := flow.Pause
	flow.Pause = func(context.Context, time.Duration) { panic("a defect") }
	b := testkapi.NewBrowser(t).Open(k.URL + "/me")
	b.Submit(map[string]string{"national_id": c.number, "password": c.fresh})
	if b.Status != http.StatusInternalServerError {
		t.Errorf("a panic ended with %d", b.Status)
	}
	flow.Pause = pause
	if b = testkapi.NewBrowser(t).Open(k.URL + "/me"); b.Status != http.StatusOK {
		t.Errorf("after a panic: %d", b.Status)
	}
}

// languageForm is the field with which the switch of the language comes back to the address that the browser is at.
var languageForm = regexp.MustCompile(`<input[^>]*name="to"[^>]*>`)

// answers: secrets stand only where they belong, personal data in no answer but the person's own.
func (c *canary) answers(t *testing.T, tp *tape) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	if len(tp.all) < 40 {
		t.Fatalf("%d answers were kept", len(tp.all))
	}
	for _, s := range tp.all {
		header, body := s.Header.Clone(), languageForm.ReplaceAllString(s.Body, "")
		where := fmt.Sprintf("%s %s (%d)", s.Method, s.Path, s.Status)
		for name, v := range c.secrets {
			may := strings.HasPrefix(name, "personal: ") && s.Status < 300
			switch {
			case strings.HasSuffix(name, "token"), strings.Contains(name, "signature"):
				may = may || s.Path == "/oauth/token" && s.Status == http.StatusOK
			case name == "personal: ID number", name == "login_hint":
				may = may || strings.HasPrefix(s.Path, "/signin/") && s.Status < 500 // the field they were typed into
			}
			if !may && strings.Contains(body, v) {
				t.Errorf("%s is in the body of %s", name, where)
			}
			for h, values := range header {
				if h == "Location" && s.Path == "/authorize/callback" && (name == "authorization code" || name == "state") || h == "Set-Cookie" && strings.HasPrefix(name, "cookie ") {
					continue
				}
				if h == "Location" && s.Path == "/end_session" && name == "state of a sign-out" {
					continue
				}
				if h == "Location" && s.Path == "/authorize/callback" && strings.HasPrefix(name, "state") {
					continue
				}
				if slices.ContainsFunc(values, func(x string) bool { return strings.Contains(x, v) || strings.Contains(x, url.QueryEscape(v)) }) {
					t.Errorf("%s is in the header %s of %s", name, h, where)
				}
			}
		}
	}
}

// wordsOf is every text of the log, without the numbers of its own.
func wordsOf(t testing.TB, log string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(log) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("no JSON: %v: %q", err, line)
		}
		for name, v := range m {
			if s, ok := v.(string); ok && name != "time" {
				out.WriteString(" " + s + " ")
			}
		}
	}
	return out.String()
}

// environ is what the commands beside the server are told.
func environ(k *testkapi.Kapi) []string {
	return []string{"KAPI_ISSUER=" + k.URL, "KAPI_DATABASE=" + k.Settings.Database, "KAPI_SECRET_FILE=" + k.Settings.SecretFile, "KAPI_AUDIT_ANCHOR=" + k.Settings.AuditAnchor}
}

// L1: what a browser or a client sends cannot begin a line of its own in the log, nor colour a terminal.
func TestL1_OneLogLine(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", nil)
		for _, evil := range []string{"x\r\n{\"level\":\"ERROR\",\"msg\":\"forged\"}", "\x1b[31mred\x1b[0m", `","msg":"forged`, "\u2028forged", "a\x00b\x7f", "\u009b31mred", "\u202egnp.exe"} {
			b := testkapi.NewBrowser(t)
			r := send(t, b, http.MethodGet, rp.URL("state", evil, "nonce", evil, "login_hint", evil, "ui_locales", evil), nil)
			if strings.HasPrefix(r.Location, "https://ssi.example/") { // refused at once; the rest goes to a request that stands
				r = send(t, b, http.MethodGet, rp.URL(), nil)
			}
			page := resolve(k, r.Location)
			send(t, b, http.MethodGet, page, nil)
			send(t, b, http.MethodPost, page+"/with/password", url.Values{"national_id": {evil}, "password": {evil}})
			send(t, b, http.MethodGet, k.URL+"/"+url.PathEscape(evil), nil)
			send(t, b, http.MethodGet, k.URL+"/signin/"+url.PathEscape(evil)+"/with/"+url.PathEscape(evil), nil)
			send(t, nil, http.MethodPost, k.URL+"/oauth/token", url.Values{"grant_type": {evil}, "client_id": {evil}, "client_secret": {evil}})
			if !strings.ContainsAny(evil, "\r\n\x00\x1b\x7f") {
				send(t, b, http.MethodGet, page, nil, "User-Agent", evil, "X-Request-Id", evil, "X-Forwarded-For", evil)
			}
		}
		log := k.Log.String()
		for line := range strings.Lines(log) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil || m["msg"] == "forged" {
				t.Errorf("a line that nobody wrote: %q", line)
			}
		}
		if i := strings.IndexFunc(log, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%+q reached the log", log[max(0, i-100):i+3])
		}
		if n := strings.Count(log, `"msg":"request"`); n < 25 {
			t.Errorf("%d requests in the log", n)
		}
	})
}
