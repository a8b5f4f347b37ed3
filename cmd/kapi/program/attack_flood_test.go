package program_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/testkapi"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/storage"
)

// beside puts another server on the database of k, with its own options, and returns it.
func beside(t testing.TB, k *testkapi.Kapi, s program.Settings, p password.Options) *program.App {
	t.Helper()
	a, err := program.New(t.Context(), s, program.Options{
		Now: k.Clock.Now, Pause: func(context.Context, time.Duration) {}, Routes: []notify.Route{{Gateway: k.Phone, Weight: 1}}, Password: p, Counter: k.Counter,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// peak samples the heap until stop is called, which returns the most that was seen.
func peak() (stop func() uint64) {
	done, out := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		var m runtime.MemStats
		for {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			select {
			case <-done:
				out <- most
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(done)
		return <-out
	}
}

// TestX1_FloodOfThePages: sign-ins with the production cost of a hash. It measures the heap of the process, so it does not
// run beside others.
func TestX1_FloodOfThePages(t *testing.T) {
	const slots, queue, flood = 2, 4, 60
	k := testkapi.Start(t, testkapi.Options{})
	k.People(people)
	gate, holding := make(chan struct{}), atomic.Bool{}
	var hashes atomic.Int64
	var longest atomic.Int64
	a := beside(t, k, k.Settings, password.Options{
		Limits: password.Limits{Slots: slots, Queue: queue, After: func(d time.Duration) (<-chan time.Time, func()) {
			longest.Store(max(longest.Load(), int64(d)))
			return nil, func() {} // nobody's patience ends by the machine's clock
		}},
		Hooks: password.Hooks{Hashed: func() {
			hashes.Add(1)
			if holding.Load() {
				<-gate
			}
		}},
	})
	open := sync.OnceFunc(func() {
		holding.Store(false)
		close(gate)
	})
	t.Cleanup(open)
	rp := refreshing(k, "ssi")
	machine := k.RP("machine", map[string]any{"grant_types": []string{"client_credentials"}, "redirect_uris": nil, "post_logout_redirect_uris": nil})
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.Replicas[0].Handler = a.Handler
	signed := testkapi.NewBrowser(t)
	signed.Open(rp.URL())
	signIn(k, signed, mehmet, mehmetPassword, "", 0)
	token := rp.Answer(signed).RefreshToken

	// Every slot and every place in the queue is taken, and stays so: the rest is turned away with no hash begun.
	b := testkapi.NewBrowser(t)
	page := b.Open(rp.URL()).URL.String()
	post := func(i int) reply {
		return send(t, b, http.MethodPost, page, url.Values{"national_id": {number(i)}, "password": {"some password"}})
	}
	hashes.Store(0)
	holding.Store(true)
	var turned, waiting atomic.Int64
	var all sync.WaitGroup
	for i := range flood {
		all.Go(func() {
			switch r := post(i); {
			case r.Status == http.StatusServiceUnavailable && r.Header.Get("Retry-After") != "":
				turned.Add(1)
			case r.Status == http.StatusUnprocessableEntity || r.Status == http.StatusOK:
				waiting.Add(1)
			default:
				t.Errorf("%d %s", r.Status, r.Header.Get("Retry-After"))
			}
		})
	}
	eventually(t, "all but the slots and the queue are turned away", func() bool { return turned.Load() == flood-slots-queue })
	if hashes.Load() != slots {
		t.Errorf("%d hashes at once", hashes.Load())
	}
	// What needs no hash needs no slot.
	for range 5 {
		for name, status := range map[string]int{
			"keys": send(t, nil, http.MethodGet, k.URL+"/keys", nil).Status, "discovery": send(t, nil, http.MethodGet, k.URL+"/.well-known/openid-configuration", nil).Status,
			"client_credentials": machinePost(t, k, machine, "/oauth/token", url.Values{"grant_type": {"client_credentials"}}).Status,
			"ready":              send(t, nil, http.MethodGet, k.URL+"/readyz", nil).Status,
		} {
			if status != http.StatusOK {
				t.Errorf("%s during the flood: %d", name, status)
			}
		}
		r := refresh(t, k, rp, token)
		token = member(t, r.Body, "refresh_token")
	}
	signed.Open(rp.URL())
	rp.Answer(signed) // single sign-on too
	// Being turned away counts for nobody: no guess was made.
	for range 20 {
		if r := send(t, b, http.MethodPost, page, url.Values{"national_id": {hasan}, "password": {hasanPassword}}); r.Status != http.StatusServiceUnavailable {
			t.Fatalf("%d with every slot taken", r.Status)
		}
	}
	open()
	all.Wait()
	if waiting.Load() != slots+queue || hashes.Load() != slots+queue {
		t.Errorf("%d were answered with %d hashes", waiting.Load(), hashes.Load())
	}
	if d := time.Duration(longest.Load()); d <= 0 || d >= 2*time.Second {
		t.Errorf("somebody may wait for %v", d)
	}
	b.Open(rp.URL())
	signIn(k, b, hasan, hasanPassword, "", 0)
	rp.Answer(b)

	// With all gates open the memory stays where slots bound it: a garbage collector lets it grow to twice what lives.
	b = testkapi.NewBrowser(t)
	page = b.Open(rp.URL()).URL.String()
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	stop := peak()
	race(flood, func(i int) { post(1000 + i) })
	bound := 2*(before.HeapAlloc+slots*19<<20) + 64<<20
	if most := stop(); most > bound {
		t.Errorf("the heap grew to %d MiB, the bound is %d", most>>20, bound>>20)
	}
}

// X2: giant and odd input at the whole server: 4xx, nothing stored, the heap where it was. It measures the heap of the
// process, so it does not run beside others.
func TestX2_OddInputAtTheDoor(t *testing.T) {
	k := testkapi.Start(t, testkapi.Options{})
	k.People(people)
	rp, db := k.RP("ssi", nil), owner(t, k)
	b := testkapi.NewBrowser(t)
	page := b.Open(rp.URL()).URL.String()
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

// X2: connections that send slowly, or nothing, do not keep others out, and end by themselves. The limits are those of
// the server, made shorter for the test; that the real ones are set is another test's.
func TestX2_SlowConnections(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{})
	server := web.NewServer("", k.App().Handler)
	if server.ReadHeaderTimeout <= 0 || server.ReadTimeout <= 0 || server.MaxHeaderBytes <= 0 {
		t.Fatal("no limits")
	}
	server.ReadHeaderTimeout, server.ReadTimeout = server.ReadHeaderTimeout/20, server.ReadTimeout/20
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	defer server.Close()
	address := l.Addr().String()
	var slow []net.Conn
	for i := range 300 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begin := []string{"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", "POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\na=", ""}[i%3]
		if _, err := io.WriteString(c, begin); err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
	}
	resp, err := http.Get("http://" + address + "/keys")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("others are kept out: %v", err)
	}
	resp.Body.Close()
	for i, c := range slow {
		// The read ends when the server ends the connection; without its limits only this deadline would.
		if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); err != nil && os.IsTimeout(err) {
			t.Fatalf("connection %d lives for ever", i)
		}
	}
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go io.Copy(c, io.MultiReader(strings.NewReader("GET / HTTP/1.1\r\nHost: x\r\nX-A: "), io.LimitReader(zeros{}, 1<<20)))
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a megabyte of headers: %d", resp.StatusCode)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("0"), len(p))), nil }

// X3: requests that nobody answers are bounded in number by their life and in bytes by what is kept of them.
func TestX3_UnansweredRequests(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, db := k.RP("ssi", nil), owner(t, k)
		swept, err := storage.Open(t.Context(), storage.Config{URL: k.Settings.Database, Now: k.Clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		defer swept.Close()
		count := func() int64 { return one[int64](t, db, "SELECT COUNT(*) FROM signin_transactions") }
		bytes := func(order string) int64 {
			return one[int64](t, db, "SELECT LENGTH(id) + LENGTH(browser) + LENGTH(ask) + LENGTH(progress) + LENGTH(state) + 24 AS n FROM signin_transactions ORDER BY n "+order+" LIMIT 1")
		}
		const hourly, hours = 20, 40
		most := int64(0)
		for range hours {
			race(hourly, func(i int) {
				n := 43
				if i == 0 { // and as much as a stranger can make us keep
					n = 2000
				}
				address := rp.OAuth.AuthCodeURL(strings.Repeat("s", n)) + "&nonce=" + strings.Repeat("n", n/4) + "&code_challenge_method=S256&code_challenge=" + strings.Repeat("c", 43) + "&login_hint=" + strings.Repeat("h", n/20)
				if r := send(t, nil, http.MethodGet, address, nil); r.Status != http.StatusSeeOther || !strings.HasPrefix(r.Location, "/signin/") {
					t.Errorf("%d %s", r.Status, r.Location)
				}
			})
			k.Clock.Add(time.Hour)
			if _, err := swept.Sweep(t.Context(), k.Clock.Now()); err != nil {
				t.Fatal(err)
			}
			most = max(most, count())
		}
		// Half an hour of life and a day in which the page can still say that it is over.
		if most > 26*hourly || most < hourly {
			t.Errorf("%d rows are kept of %d an hour", most, hourly)
		}
		if least, largest := bytes("ASC"), bytes("DESC"); least >= 1000 || largest >= 4000 {
			t.Errorf("a request takes %d bytes, the largest %d", least, largest)
		}
		k.Clock.Add(25 * time.Hour)
		if _, err := swept.Sweep(t.Context(), k.Clock.Now()); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

// X3: a client beyond its quota is told so; another one notices nothing, and costs no statement more.
func TestX3_OneNoisyClient(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{})
	members := map[string]any{"grant_types": []string{"client_credentials"}, "redirect_uris": nil, "post_logout_redirect_uris": nil}
	noisy, quiet := k.RP("noisy", members), k.RP("quiet", members)
	k.Quiet()
	ask := func(rp *testkapi.RP) (reply, int64) {
		before := k.Counter.Statements()
		r := machinePost(t, k, rp, "/oauth/introspect", url.Values{"token": {strings.Repeat("t", 86)}})
		return r, k.Counter.Statements() - before
	}
	_, alone := ask(quiet)
	var refused atomic.Int64
	race(8, func(int) {
		for range 400 {
			if r, _ := ask(noisy); r.Status == http.StatusTooManyRequests {
				refused.Add(1)
				if r.Header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
		}
	})
	if n := refused.Load(); n != 8*400-2000 {
		t.Errorf("%d of 3200 at once were refused, 2000 are allowed", n)
	}
	for range 20 {
		if r, cost := ask(quiet); r.Status != http.StatusOK || cost != alone {
			t.Errorf("the quiet client: %d with %d statements, alone %d", r.Status, cost, alone)
		}
	}
	if r, cost := ask(noisy); r.Status != http.StatusTooManyRequests || cost != 0 {
		t.Errorf("a refused request: %d, %d statements", r.Status, cost)
	}
}
