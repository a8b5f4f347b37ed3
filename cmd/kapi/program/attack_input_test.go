package program_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// X2: giant and odd input at the whole server: 4xx, nothing stored, the heap where it was. It measures the heap of the
// process, so it does not run beside others.
func TestX2_OddInputAtTheDoor(t *testing.T) {
	k := testkapi.Start(t, testkapi.Options{})
	k.People(people)
	rp, db := k.RP("ssi", nil), owner(t, k)
	b := testkapi.NewBrowser(t)
	page := b.Open(rp.URL()).Target("national_id")
	rows := one[int64](t, db, "SELECT COUNT(*) FROM signin_transactions")
	mega := strings.Repeat("x", 1<<20)
	query := func(name, value string) string {
		u, _ := url.Parse(rp.URL())
		q := u.Query()
		q.Set(name, value)
		return q.Encode()
	}
	many := strings.Builder{}
	for i := range 100_000 {
		fmt.Fprintf(&many, "p%d=1&", i)
	}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	stop := peak()
	bodies := map[string]string{
		"ten megabytes": strings.Repeat("y", 10<<20), "a hundred thousand parameters": many.String(), "1 MB state": query("state", mega), "1 MB nonce": query("nonce", mega),
		"1 MB login_hint": query("login_hint", mega), "ten thousand scopes": query("scope", "openid "+strings.Repeat("s ", 10_000)),
		"a million locales": query("ui_locales", strings.Repeat("aa-", 1_000_000)), "deep claims": query("claims", strings.Repeat(`{"a":`, 50_000)+"1"+strings.Repeat("}", 50_000)),
		"one field a thousand times": strings.Repeat("password=x&", 1000), "half an escape": "password=%", "no UTF-8": "national_id=%ff%fe&password=%c3%28",
		"a NUL": "national_id=%00&password=%00", "a long password": "national_id=" + mehmet + "&password=" + strings.Repeat("p", 60_000),
	}
	for name, body := range bodies {
		for _, address := range []string{page, k.URL + "/authorize", k.URL + "/oauth/token", k.URL + "/oauth/introspect", k.URL + "/oauth/revoke", k.URL + "/userinfo", k.URL + "/language", k.URL + "/end_session", k.URL + "/me/password"} {
			if status := odd(t, b, http.MethodPost, address, body, "application/x-www-form-urlencoded"); status >= 500 || status < 300 && address != k.URL+"/end_session" {
				t.Errorf("%s to %s: %d", name, address, status)
			}
		}
		if len(body) < 1<<20 {
			if status := odd(t, b, http.MethodGet, k.URL+"/authorize?"+body, "", ""); status >= 500 || status < 300 {
				t.Errorf("%s in a query: %d", name, status)
			}
		}
	}
	for _, kind := range []string{"application/json", "multipart/form-data; boundary=x", "text/plain", strings.Repeat("x", 5000), "application/x-www-form-urlencoded; charset=utf-7; x=" + strings.Repeat("y", 1000)} {
		if status := odd(t, b, http.MethodPost, page, "{}", kind); status >= 500 {
			t.Errorf("as %.40s: %d", kind, status)
		}
	}
	for name, values := range map[string][]string{"Cookie": {"kapi-session=" + strings.Repeat("x", 8000)}, "Accept-Language": {strings.Repeat("tr-TR,", 3000)}, "X-Forwarded-For": {strings.Repeat("1.1.1.1,", 2000)},
		"Authorization": {"Basic " + strings.Repeat("A", 20_000)}, "User-Agent": {strings.Repeat("u", 20_000)}} {
		for _, path := range []string{"/me", "/oauth/token", "/authorize"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, k.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header[name] = values
			resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode >= 500 {
				t.Errorf("%s at %s: %d", name, path, resp.StatusCode)
			}
		}
	}
	if n := one[int64](t, db, "SELECT COUNT(*) FROM signin_transactions"); n > rows+30 {
		t.Errorf("odd requests stored %d rows", n-rows)
	}
	// The client of the test builds these giants in this same heap: what the server may keep of any is 64 KiB.
	if most := stop(); most > 2*before.HeapAlloc+128<<20 {
		t.Errorf("the heap grew from %d to %d MiB", before.HeapAlloc>>20, most>>20)
	}
	runtime.GC()
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	if after.HeapAlloc > before.HeapAlloc+32<<20 {
		t.Errorf("%d MiB stayed", (after.HeapAlloc-before.HeapAlloc)>>20)
	}
	if strings.Contains(k.Log.String(), `"msg":"panic"`) {
		t.Error("a handler panicked")
	}
	b.Open(rp.URL())
	signIn(k, b, mehmet, mehmetPassword, "", 0)
	rp.Answer(b)
}

// odd posts a body as it is. A server may cut the connection instead of reading on: that is 413 here.
func odd(t testing.TB, b *testkapi.Browser, method, address, body, kind string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		return http.StatusBadRequest // not even an address
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	client := http.Client{Jar: b.Client.Jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		return http.StatusRequestEntityTooLarge
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// X2: assertions that would cost more to check than to send, and key sets that would, are refused at the registration or
// before any arithmetic.
func TestX2_GiantKeysAndAssertions(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{})
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding
	jwk := func(n *big.Int, kid string) string {
		return fmt.Sprintf(`{"kty":"RSA","use":"sig","alg":"PS256","kid":%q,"n":%q,"e":"AQAB"}`, kid, b64.EncodeToString(n.Bytes()))
	}
	file := func(keys string) string {
		return `[{"client_id":"signer","redirect_uris":["https://signer.example/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks":{"keys":[` + keys + `]}}]`
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 16383)
	huge.Or(huge, big.NewInt(1))
	var thousands []string
	for i := range 10_000 {
		thousands = append(thousands, jwk(key.N, strconv.Itoa(i)))
	}
	for name, keys := range map[string]string{"RSA of 16384 bits": jwk(huge, "huge"), "RSA of 1024 bits": jwk(new(big.Int).Rsh(key.N, 1024), "small"), "ten thousand keys": strings.Join(thousands, ",")} {
		if err := k.App().ApplyClients(t.Context(), strings.NewReader(file(keys)), io.Discard); err == nil {
			t.Errorf("%s were registered", name)
		}
	}
	k.Clients(file(jwk(key.N, "right")))
	claims, _ := json.Marshal(map[string]any{"iss": "signer", "sub": "signer", "aud": k.URL, "jti": "x", "exp": k.Clock.Now().Add(time.Minute).Unix(), "deep": strings.Repeat("[", 100)})
	part := func(s string) string { return b64.EncodeToString([]byte(s)) }
	for name, assertion := range map[string]string{
		"a megabyte":            part(`{"alg":"PS256","kid":"right"}`) + "." + strings.Repeat("A", 1<<20) + ".AAAA",
		"fifty thousand bytes":  part(`{"alg":"PS256","kid":"right"}`) + "." + strings.Repeat("A", 50_000) + ".AAAA",
		"deep JSON":             part(`{"alg":"PS256","kid":"right"}`) + "." + part(strings.Repeat(`{"a":`, 3000)+"1"+strings.Repeat("}", 3000)) + ".AAAA",
		"deep header":           part(strings.Repeat(`{"a":`, 2000)+"1"+strings.Repeat("}", 2000)) + "." + part(string(claims)) + ".AAAA",
		"many dots":             strings.Repeat(".", 10_000),
		"a JWE":                 part(`{"alg":"dir","enc":"A256GCM","zip":"DEF"}`) + "...." + part("x"),
		"PBES2 with 10⁹ rounds": part(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":1000000000,"p2s":"AAAA"}`) + ".AAAA.AAAA.AAAA.AAAA",
		"a huge signature":      part(`{"alg":"PS256","kid":"right"}`) + "." + part(string(claims)) + "." + strings.Repeat("A", 10_000),
		"crit":                  part(`{"alg":"PS256","kid":"right","crit":["b64"],"b64":false}`) + "." + part(string(claims)) + ".AAAA",
	} {
		form := url.Values{"grant_type": {"authorization_code"}, "code": {strings.Repeat("c", 43)}, "client_id": {"signer"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}}
		if status := odd(t, testkapi.NewBrowser(t), http.MethodPost, k.URL+"/oauth/token", form.Encode(), "application/x-www-form-urlencoded"); status < 400 || status >= 500 {
			t.Errorf("%s: %d", name, status)
		}
		if r := send(t, nil, http.MethodGet, k.URL+"/userinfo", nil, "Authorization", "Bearer "+assertion[:min(len(assertion), 30_000)]); r.Status < 400 || r.Status >= 500 {
			t.Errorf("%s as an access token: %d", name, r.Status)
		}
	}
}
