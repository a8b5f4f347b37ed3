package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/sim/phone"
	"github.com/kapi-id/kapi/internal/sim/portal"
	"github.com/kapi-id/kapi/internal/testpg"
)

// binary is kapi as it is released, but with a clock that a story can move. It is built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kapi-e2e-")
	if err != nil {
		return "", err
	}
	cleanBinary = func() { os.RemoveAll(dir) }
	path := filepath.Join(dir, "kapi")
	build := exec.Command("go", "build", "-tags", "testclock", "-o", path, "../cmd/kapi")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// cleanBinary is run by TestMain.
var cleanBinary = func() {}

// Person of the example people.
type Person struct {
	NationalID string `json:"national_id"`
	Name       string `json:"given_name"`
	Password   string `json:"password"`
	Phone      string `json:"phone"`
}

// Country is everything that a story needs: kapi, a phone, and two institutions.
type Country struct {
	Issuer string
	Portal string // the SSI notification portal
	Second string // another institution, with a cookie jar of its own
	Asking string // a third one, whose people are asked for their consent
	Phone  *phone.Phone

	t        testing.TB
	dir      string
	env      []string // of every kapi process
	gateway  *httptest.Server
	replicas []*replica
	turn     atomic.Int64
	shift    atomic.Int64 // of all clocks, nanoseconds

	mu   sync.Mutex
	read map[string]int // texts that were read, by number
}

type replica struct {
	*exec.Cmd
	address string
	log     *journal
	dead    atomic.Bool
	gone    chan struct{} // closed when the process has ended
	served  atomic.Int64
}

// journal is what a process wrote.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// Found makes a country on an embedded database.
func Found(t testing.TB) *Country { return found(t, "", 1) }

// FoundOnPostgres makes a country of several replicas on one Postgres, behind a balancer that goes round.
func FoundOnPostgres(t testing.TB, replicas int) *Country { return found(t, testpg.URL(t), replicas) }

func found(t testing.TB, postgres string, replicas int, more ...string) *Country {
	t.Helper()
	chromium(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	c := &Country{t: t, dir: t.TempDir(), read: map[string]int{}}
	c.Phone = phone.New(phone.Config{Now: c.now})
	handset := c.gatewayStarts("127.0.0.1:0")

	// Everybody needs to know the addresses of the others before anything runs.
	issuer := httptest.NewUnstartedServer(nil)
	c.Issuer = at("localhost", issuer.Listener)
	c.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "KAPI_ISSUER=" + c.Issuer, "KAPI_SECRET_FILE=" + filepath.Join(c.dir, "secret"),
		"KAPI_SMS=inbox:http://" + handset, "KAPI_TEST_CLOCK=" + filepath.Join(c.dir, "clock"), "KAPI_TRUSTED_PROXIES=127.0.0.1", "KAPI_LOG_LEVEL=info"}
	if postgres == "" {
		postgres = "sqlite:" + filepath.Join(c.dir, "kapi.db")
	}
	c.env = append(c.env, "KAPI_DATABASE="+postgres)
	for _, setting := range more {
		c.env = append(c.env, strings.ReplaceAll(setting, "PHONE", handset))
	}
	c.Pass(0)
	c.institutions()
	c.kapi("secret", "new", filepath.Join(c.dir, "secret"))
	c.kapi("migrate")
	c.kapi("client", "apply", c.file("clients.json", c.clients()))
	c.kapi("person", "apply", "../cmd/kapi/program/demo_people.json")
	for range replicas {
		c.replicas = append(c.replicas, c.serve(path))
	}
	issuer.Config.Handler = c.balancer()
	issuer.Start()
	t.Cleanup(issuer.Close)
	for _, r := range c.replicas {
		c.await(r)
	}
	return c
}

func (c *Country) now() time.Time {
	return time.Now().UTC().Add(time.Duration(c.shift.Load()))
}

// Pass lets time pass on the clocks of kapi and of the institutions.
func (c *Country) Pass(d time.Duration) {
	c.t.Helper()
	total := time.Duration(c.shift.Add(int64(d)))
	path := filepath.Join(c.dir, "clock")
	if err := os.WriteFile(path+".new", []byte(total.String()), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil { // a reader sees the old or the new one
		c.t.Fatal(err)
	}
}

// gatewayStarts lets the phone take messages at an address.
func (c *Country) gatewayStarts(address string) string {
	c.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		c.t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: c.Phone}}
	s.Start()
	c.t.Cleanup(s.Close)
	c.gateway = s
	return l.Addr().String()
}

// GatewayDies: nobody listens any more where messages are taken.
func (c *Country) GatewayDies() { c.gateway.Close() }

// GatewayReturns at the address where it was.
func (c *Country) GatewayReturns() { c.gatewayStarts(c.gateway.Listener.Addr().String()) }

func at(host string, l net.Listener) string {
	return fmt.Sprintf("http://%s:%d", host, l.Addr().(*net.TCPAddr).Port)
}

const portalSecret = "a secret of the portals in the journeys"

// institutions start the relying parties. The second one has another host name, so that the two keep their cookies apart.
func (c *Country) institutions() {
	c.t.Helper()
	start := func(host, id string) string {
		s := httptest.NewUnstartedServer(nil)
		base := at(host, s.Listener)
		h, err := portal.New(portal.Config{Issuer: c.Issuer, ClientID: id, ClientSecret: portalSecret, BaseURL: base, Now: c.now})
		if err != nil {
			c.t.Fatal(err)
		}
		s.Config.Handler = h
		s.Start()
		c.t.Cleanup(s.Close)
		return base
	}
	c.Portal, c.Second, c.Asking = start("localhost", "ssi-portal"), start("127.0.0.1", "second"), start("127.0.0.1", "asking")
}

func (c *Country) clients() any {
	client := func(id, en, tr, base string) map[string]any {
		return map[string]any{"client_id": id, "client_name": en, "client_name#tr": tr, "client_secret": portalSecret, "institution": en,
			"redirect_uris": []string{base + portal.CallbackPath}, "post_logout_redirect_uris": []string{base + portal.SignedOutPath}, "scope": "openid profile"}
	}
	asking := client("asking", "Third Institution", "Üçüncü Kurum", c.Asking)
	asking["kapi_consent"] = "once"
	own := client("ssi-portal", "SSI Notification Portal", "SGK Bildirim Portalı", c.Portal)
	own["kapi_logo"] = c.logo()
	return []any{own, client("second", "Second Institution", "İkinci Kurum", c.Second), asking}
}

func (c *Country) file(name string, content any) string {
	c.t.Helper()
	b, err := json.Marshal(content)
	if err != nil {
		c.t.Fatal(err)
	}
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// logo puts the picture of the demo beside the files of this country, and says its name.
func (c *Country) logo() string {
	c.t.Helper()
	b, err := os.ReadFile("../cmd/kapi/program/demo_logo.png")
	if err == nil {
		err = os.WriteFile(filepath.Join(c.dir, "logo.png"), b, 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return "logo.png"
}

// kapi runs a command of the program to its end.
func (c *Country) kapi(args ...string) string {
	c.t.Helper()
	path, err := binary()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = c.env
	dieWithUs(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("kapi %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// serve starts a replica. What it wrote must be free of errors and of secrets in the end.
func (c *Country) serve(path string, env ...string) *replica {
	c.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	r := &replica{Cmd: exec.Command(path, "serve"), address: l.Addr().String(), log: &journal{}, gone: make(chan struct{})}
	l.Close()
	r.Env = append(append(env, c.env...), "KAPI_LISTEN="+r.address)
	r.Stdout, r.Stderr = r.log, r.log
	dieWithUs(r.Cmd)
	if err := r.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() { r.Wait(); close(r.gone) }()
	c.t.Cleanup(func() {
		r.kill()
		c.readJournal(r.log.String())
	})
	return r
}

func (r *replica) kill() {
	if !r.dead.Swap(true) {
		r.Process.Kill()
		<-r.gone
	}
}

func (c *Country) readJournal(text string) {
	c.t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if strings.Contains(line, `"level":"ERROR"`) || strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "kapi:") {
			c.t.Errorf("kapi logged: %s", line)
		}
	}
	for _, p := range people(c.t) {
		for _, secret := range []string{p.Password, p.NationalID, strings.TrimPrefix(p.Phone, "+")} {
			if len(secret) >= 10 && strings.Contains(text, secret) { // fewer digits occur by chance
				c.t.Errorf("kapi logged %s's %q", p.Name, secret)
			}
		}
	}
	if c.t.Failed() {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		c.t.Logf("the end of kapi's log:\n%s", strings.Join(lines[max(0, len(lines)-25):], "\n"))
	}
}

// await polls until a replica can complete sign-ins.
func (c *Country) await(r *replica) {
	c.t.Helper()
	give := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for last := ""; ; {
		res, err := http.Get("http://" + r.address + "/readyz")
		if err == nil {
			b, _ := io.ReadAll(io.LimitReader(res.Body, 2000))
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
			last = res.Status + " " + string(b)
		} else {
			last = err.Error()
		}
		select {
		case <-give:
			c.t.Fatalf("a replica is not ready: %s", last)
		case <-r.gone:
			c.t.Fatal("a replica ended")
		case <-tick.C:
		}
	}
}

// people are the example people, by given name.
func people(t testing.TB) map[string]Person {
	t.Helper()
	b, err := os.ReadFile("../cmd/kapi/program/demo_people.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []Person
	if err := json.Unmarshal(b, &list); err != nil {
		t.Fatal(err)
	}
	named := map[string]Person{}
	for _, p := range list {
		named[p.Name] = p
	}
	return named
}

// who is an example person.
func who(t testing.TB, name string) Person {
	t.Helper()
	p, ok := people(t)[name]
	if !ok {
		t.Fatalf("nobody is called %s", name)
	}
	return p
}

// Text waits for the next text to a number that no story has read yet.
func (c *Country) Text(number string) string {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	give := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if inbox := c.Phone.Inbox(number); len(inbox) > c.read[number] {
			c.read[number]++
			return inbox[c.read[number]-1].Text
		}
		select {
		case <-give:
			c.t.Fatalf("no text came to %s", number)
		case <-tick.C:
		}
	}
}

// Code waits for the next text with a code and returns the code.
func (c *Country) Code(p Person) string {
	c.t.Helper()
	for {
		text := c.Text(p.Phone)
		if code, _, _ := strings.Cut(text, " "); len(code) == 6 && strings.Trim(code, "0123456789") == "" {
			return code
		}
	}
}

// Claims are what an institution learned in this browser.
func (b *Browser) Claims(site string) map[string]any {
	b.t.Helper()
	text, err := step(b, claimsOf(site))
	b.do("read the claims", err)
	var claims map[string]any
	if err := json.Unmarshal([]byte(text), &claims); err != nil {
		b.t.Fatalf("%s/claims.json: %v: %s", site, err, text)
	}
	return claims
}
