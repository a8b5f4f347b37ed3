package program_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/oauth2"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// childEnv makes this test program the program that it tests. Its name does not begin like a setting.
const childEnv = "PROGRAM_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(program.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// process is an installation on SQLite whose server is a process of its own.
type process struct {
	t      *testing.T
	url    string
	env    []string
	dir    string
	server *exec.Cmd
	log    *bytes.Buffer
}

func install(t *testing.T) *process {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	p := &process{t: t, url: "http://" + address, dir: t.TempDir()}
	p.env = []string{childEnv + "=1", "KAPI_ISSUER=" + p.url, "KAPI_LISTEN=" + address, "KAPI_DATABASE=sqlite:" + filepath.Join(p.dir, "kapi.db"),
		"KAPI_SECRET_FILE=" + filepath.Join(p.dir, "secret"), "KAPI_SMS=inbox:http://127.0.0.1:9", "GOMAXPROCS=2"}
	p.kapi(0, "secret", "new", filepath.Join(p.dir, "secret"))
	file := filepath.Join(p.dir, "people.json")
	if err := os.WriteFile(file, []byte(people), 0o600); err != nil {
		t.Fatal(err)
	}
	p.kapi(0, "person", "apply", file)
	p.client("ssi")
	return p
}

// client registers a client with refresh tokens.
func (p *process) client(id string) {
	p.t.Helper()
	file := filepath.Join(p.dir, id+".json")
	text := fmt.Sprintf(`[{"client_id":%q,"client_secret":"a secret that is long enough for anybody","redirect_uris":["https://ssi.example/cb"],"grant_types":["authorization_code","refresh_token"],"scope":"openid profile offline_access","kapi_require_pkce":false}]`, id)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.kapi(0, "client", "apply", file)
}

// kapi runs a command as a process and returns what it said.
func (p *process) kapi(status int, args ...string) string {
	p.t.Helper()
	c := exec.CommandContext(p.t.Context(), os.Args[0], args...)
	c.Env, c.Dir = p.env, p.dir
	out, _ := c.CombinedOutput()
	if got := c.ProcessState.ExitCode(); got != status {
		p.t.Fatalf("kapi %s: status %d: %s", strings.Join(args, " "), got, out)
	}
	return string(out)
}

// serve starts the server and waits until it is ready.
func (p *process) serve() {
	p.t.Helper()
	p.log = &bytes.Buffer{}
	p.server = exec.CommandContext(p.t.Context(), os.Args[0], "serve")
	p.server.Env, p.server.Dir, p.server.Stderr = p.env, p.dir, p.log
	if err := p.server.Start(); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, "the server is ready", func() bool {
		r, err := http.Get(p.url + "/readyz")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	})
}

// kill ends the server as a power cut would.
func (p *process) kill() {
	if err := p.server.Process.Kill(); err != nil {
		p.t.Error(err)
	}
	_ = p.server.Wait()
}

func (p *process) post(path string, form url.Values) (status int, body string) {
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, ""
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("ssi", url.QueryEscape("a secret that is long enough for anybody"))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(b)
}

// code gets an authorization code by single sign-on; "" when the server died on it.
func (p *process) code(b *testkapi.Browser) string {
	rp := oauth2.Config{ClientID: "ssi", RedirectURL: "https://ssi.example/cb", Scopes: []string{"openid", "offline_access"}, Endpoint: oauth2.Endpoint{AuthURL: p.url + "/authorize"}}
	// Not b's own client, which remembers where it was sent: several work with its cookies at once.
	client := http.Client{Jar: b.Client.Jar, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Host != via[0].URL.Host {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	resp, err := client.Get(rp.AuthCodeURL(oauth2.GenerateVerifier()))
	if err != nil {
		return ""
	}
	resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		return ""
	}
	return to.Query().Get("code")
}

// ledger is what the server acknowledged.
type ledger struct {
	mu                      sync.Mutex
	codes, revoked, rotated []string
	alive                   []string
}

func (l *ledger) add(list *[]string, v string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*list = append(*list, v)
}

// work is one client at work until the server dies or n rounds are over.
func (p *process) work(b *testkapi.Browser, l *ledger, n int) {
	for range n {
		code := p.code(b)
		if code == "" {
			return
		}
		redeem := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"https://ssi.example/cb"}}
		status, body := p.post("/oauth/token", redeem)
		if status != http.StatusOK {
			if status >= 500 {
				p.t.Errorf("token: %d %s", status, body)
			}
			return
		}
		l.add(&l.codes, code)
		token, access := member(p.t, body, "refresh_token"), member(p.t, body, "access_token")
		l.add(&l.alive, access)
		if status, _ = p.post("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}); status != http.StatusOK {
			return
		}
		l.add(&l.rotated, token)
		status, body = p.post("/oauth/token", url.Values{"grant_type": {"authorization_code"}, "code": {p.code(b)}, "redirect_uri": {"https://ssi.example/cb"}})
		if status != http.StatusOK {
			return
		}
		gone := member(p.t, body, "refresh_token")
		if status, _ = p.post("/oauth/revoke", url.Values{"token": {gone}}); status != http.StatusOK {
			return
		}
		l.add(&l.revoked, gone)
	}
}

// O10: kill -9 of a real server under load, again and again: what was acknowledged is there, nothing is damaged, nothing
// is mended by hand.
func TestO10_KilledServer(t *testing.T) {
	t.Parallel()
	p := install(t)
	p.serve()
	b := testkapi.NewBrowser(t)
	b.Open(p.url + "/me").Submit(map[string]string{"national_id": mehmet, "password": mehmetPassword}).See("My account")
	var all ledger
	kills := 4
	if rounds() > 20 {
		kills = 200
	}
	for round := range kills {
		var l ledger
		var workers sync.WaitGroup
		for range 3 {
			workers.Go(func() { p.work(b, &l, 1000) })
		}
		eventually(t, "the server is under load", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.revoked) >= 2+round%5
		})
		p.kill()
		workers.Wait()
		p.serve()
		for _, token := range l.alive {
			if _, body := p.post("/oauth/introspect", url.Values{"token": {token}}); !strings.Contains(body, `"active":true`) {
				t.Fatalf("kill %d: an access token that was given out is not known: %s", round, body)
			}
		}
		for _, token := range append(l.revoked, all.revoked[max(0, len(all.revoked)-3):]...) {
			if status, body := p.post("/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}); status != http.StatusBadRequest {
				t.Fatalf("kill %d: a revoked token is back: %d %s", round, status, body)
			}
		}
		for _, code := range l.codes {
			if status, body := p.post("/oauth/token", url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"https://ssi.example/cb"}}); status != http.StatusBadRequest {
				t.Fatalf("kill %d: a code was good twice: %d %s", round, status, body)
			}
		}
		all.codes, all.revoked, all.rotated = append(all.codes, l.codes...), append(all.revoked, l.revoked...), append(all.rotated, l.rotated...)
	}
	p.kill()
	k := &testkapi.Kapi{Settings: program.Settings{Database: "sqlite:" + filepath.Join(p.dir, "kapi.db")}}
	db := owner(t, k)
	if verdict := one[string](t, db, "PRAGMA integrity_check"); verdict != "ok" {
		t.Error(verdict)
	}
	if mode := one[string](t, db, "PRAGMA journal_mode"); mode != "wal" {
		t.Errorf("journal mode %s", mode)
	}
	if said := p.kapi(0, "audit", "verify"); !strings.Contains(said, "the record is whole") {
		t.Error(said)
	}
	if len(all.codes) < 3*kills || len(all.revoked) < 2*kills {
		t.Errorf("%d codes and %d revocations under %d kills", len(all.codes), len(all.revoked), kills)
	}
}

// O10: one server works on a file; other commands work beside it, and it sees what they change.
func TestO10_OneServerOnAFile(t *testing.T) {
	t.Parallel()
	p := install(t)
	p.serve()
	defer p.kill()
	if said := p.kapi(1, "serve"); !strings.Contains(said, "another kapi serve works on") {
		t.Errorf("the second server said %s", said)
	}
	for name, mode := range map[string]os.FileMode{"kapi.db": 0o600, "secret": 0o600} {
		if info, err := os.Stat(filepath.Join(p.dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	ask := func(client string) int {
		return send(t, nil, http.MethodGet, p.url+"/authorize?client_id="+client+"&response_type=code&scope=openid&redirect_uri="+url.QueryEscape("https://ssi.example/cb"), nil).Status
	}
	if ask("later") != http.StatusBadRequest {
		t.Fatal("a client that nobody registered")
	}
	p.client("later")
	eventually(t, "the server sees the new client", func() bool { return ask("later") == http.StatusSeeOther })
	keys := func() string {
		r, err := http.Get(p.url + "/keys")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return string(b)
	}
	before := keys()
	p.kapi(0, "keys", "rotate", "--now")
	eventually(t, "the server publishes the new key", func() bool { return keys() != before })
	for _, args := range [][]string{{"client", "list"}, {"client", "show", "later"}, {"keys", "list"}, {"audit", "verify"}, {"client", "rotate-secret", "later"}} {
		p.kapi(0, args...)
	}
	b := testkapi.NewBrowser(t)
	b.Open(p.url + "/me").Submit(map[string]string{"national_id": mehmet, "password": mehmetPassword}).See("My account")
}

// postgresOwner is a connection to the server of k's database, outside of that database.
func postgresOwner(t *testing.T, k *testkapi.Kapi) (sqlOf func(query string), name string) {
	t.Helper()
	u, err := url.Parse(k.Settings.Database)
	if err != nil {
		t.Fatal(err)
	}
	name = strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	outside := *k
	outside.Settings.Database = u.String()
	db := owner(t, &outside)
	return func(query string) {
		if _, err := db.ExecContext(context.WithoutCancel(t.Context()), query); err != nil {
			t.Error(err)
		}
	}, name
}

// O10, O3: the database is gone in the middle of everything: 503 with Retry-After, keys are served, and all goes on
// without a restart when it is back.
func TestO10_DatabaseGone(t *testing.T) {
	t.Parallel()
	testkapi.Each(t, testkapi.Options{Replicas: 2}, func(t *testing.T, k *testkapi.Kapi) {
		k.People(people)
		rp := refreshing(k, "ssi")
		outside, name := postgresOwner(t, k)
		b := testkapi.NewBrowser(t)
		b.Open(rp.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		got := rp.Answer(b)
		token := got.RefreshToken
		half := atTheCode(t, k, rp, ayse, aysePassword)
		code := k.Phone.Code(t, aysePhone, 1)
		fresh := testkapi.NewBrowser(t)
		page := fresh.Open(rp.URL()).Target("national_id")
		b.Open(rp.URL())
		redeem := rp.Redemption(b)

		gone := false
		back := func() {
			if gone {
				outside("ALTER DATABASE " + name + " ALLOW_CONNECTIONS true")
			}
			gone = false
		}
		t.Cleanup(back)
		gone = true
		outside("ALTER DATABASE " + name + " ALLOW_CONNECTIONS false")
		outside("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '" + name + "'")
		everywhere(k, func(replica int) {
			for what, r := range map[string]reply{
				"authorize": send(t, b, http.MethodGet, rp.URL(), nil), "page": send(t, fresh, http.MethodGet, page, nil),
				"password": send(t, fresh, http.MethodPost, page, url.Values{"national_id": {hasan}, "password": {hasanPassword}}),
				"code":     send(t, half, http.MethodPost, half.URL.String(), url.Values{"code": {code}}),
				"token":    machinePost(t, k, rp, "/oauth/token", redeem), "refresh": refresh(t, k, rp, token), "own page": send(t, b, http.MethodGet, k.URL+"/me", nil),
				"introspection": machinePost(t, k, rp, "/oauth/introspect", url.Values{"token": {got.AccessToken}}),
				"userinfo":      send(t, nil, http.MethodGet, k.URL+"/userinfo", nil, "Authorization", "Bearer "+got.AccessToken),
			} {
				if r.Status != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
					t.Errorf("%s at %d without a database: %d, Retry-After %q", what, replica, r.Status, r.Header.Get("Retry-After"))
				}
				if strings.Contains(r.Body, name) || strings.Contains(r.Body, "SQLSTATE") || len(r.Header.Values("Set-Cookie")) > 0 && what != "authorize" {
					t.Errorf("%s at %d tells %s", what, replica, r.Body)
				}
			}
			for path, status := range map[string]int{"/keys": 200, "/.well-known/openid-configuration": 200, "/healthz": 200, "/readyz": 503, "/help": 200} {
				if r := send(t, nil, http.MethodGet, k.URL+path, nil); r.Status != status {
					t.Errorf("%s at %d without a database: %d", path, replica, r.Status)
				}
			}
		})
		back()
		everywhere(k, func(int) {
			eventually(t, "the replica is ready again", func() bool { return send(t, nil, http.MethodGet, k.URL+"/readyz", nil).Status == http.StatusOK })
		})
		if r := machinePost(t, k, rp, "/oauth/token", redeem); r.Status != http.StatusOK {
			t.Errorf("the code is burned: %d %s", r.Status, r.Body)
		}
		if r := refresh(t, k, rp, token); r.Status != http.StatusOK {
			t.Errorf("the refresh token is lost: %d %s", r.Status, r.Body)
		}
		if r := send(t, half, http.MethodPost, half.URL.String(), url.Values{"code": {code}}); !strings.Contains(r.Location, "/authorize/callback") {
			t.Errorf("the code of the person is lost: %d %s", r.Status, r.Location)
		}
		fresh.Open(page)
		signIn(k, fresh, hasan, hasanPassword, "", 0)
		if fresh.Left() == nil {
			t.Errorf("the sign-in is lost: %s", fresh.Text())
		}
	})
}

// O10: a row that somebody holds is waited for until the statement's deadline and no longer; everybody else goes on.
func TestO10_HotRow(t *testing.T) {
	t.Parallel()
	testkapi.Each(t, testkapi.Options{Replicas: 2}, func(t *testing.T, k *testkapi.Kapi) {
		k.People(people)
		rp, db := refreshing(k, "ssi"), owner(t, k)
		b := testkapi.NewBrowser(t)
		b.Open(rp.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		held := rp.Answer(b).RefreshToken
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), "UPDATE grants SET generation = generation"); err != nil {
			t.Fatal(err)
		}
		const many = 60 // more than both replicas have connections
		answers := make([]reply, many)
		var others []int
		var all sync.WaitGroup
		all.Go(func() { race(many, func(i int) { answers[i] = refresh(t, k, rp, held) }) })
		for range 20 {
			others = append(others, send(t, nil, http.MethodGet, k.URL+"/keys", nil).Status, send(t, nil, http.MethodGet, k.URL+"/healthz", nil).Status)
		}
		all.Wait()
		for _, r := range answers {
			if r.Status != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
				t.Fatalf("a held row: %d %s", r.Status, r.Body)
			}
		}
		for _, status := range others {
			if status != http.StatusOK {
				t.Errorf("others meanwhile: %d", status)
			}
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if r := refresh(t, k, rp, held); r.Status != http.StatusOK {
			t.Errorf("the token suffered: %d %s", r.Status, r.Body)
		}
		// The connections came back: a full sign-in works at each replica.
		everywhere(k, func(int) {
			fresh := testkapi.NewBrowser(t)
			fresh.Open(rp.URL())
			signIn(k, fresh, hasan, hasanPassword, "", 0)
			rp.Answer(fresh)
		})
	})
}
