package program_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// mortal is an installation on one Postgres with two replicas: n1 is a process of a test build that dies at a point, n2 is
// ours and lives. A front sends everything to n1 while it lives.
type mortal struct {
	t      *testing.T
	k      *testkapi.Kapi
	binary string
	env    []string
	n2     *program.App
	said   testkapi.Log // by n2
	db     *sql.DB      // the owner's look, one for all rounds: each holds a connection

	shift time.Duration // of both replicas' clocks
	file  string        // that tells n1

	n1   *exec.Cmd
	log  *testkapi.Log
	gone chan struct{} // closed when n1 has ended
	to   atomic.Pointer[httputil.ReverseProxy]
	stop context.CancelFunc // of n2's work

	claimed bool // by n1, when it died: the newest message
}

func newMortal(t *testing.T) *mortal {
	dir := t.TempDir()
	m := &mortal{t: t, binary: filepath.Join(dir, "kapi"), file: filepath.Join(dir, "shift")}
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-tags", "testclock,failpoint", "-o", m.binary, "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// n1 hashes at the production cost, so n2 does.
	cost := password.Options{Cost: password.Cost{Memory: 19456, Time: 2, Threads: 1}}
	m.k = testkapi.Start(t, testkapi.Options{Postgres: true, Password: cost, Settings: map[string]string{"TRUSTED_PROXIES": "127.0.0.1"}})
	m.k.Quiet()
	m.db = owner(t, m.k)
	n2, err := program.New(t.Context(), m.k.Settings, program.Options{
		Now: m.k.Clock.Now, Database: m.k.Clock.Now, Pause: func(context.Context, time.Duration) {}, Routes: []notify.Route{{Gateway: m.k.Phone, Weight: 1}}, Password: cost,
		Log: slog.New(slog.NewTextHandler(&m.said, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	m.n2 = n2
	t.Cleanup(func() {
		n2.Close()
		if t.Failed() && m.log != nil {
			t.Logf("n1 said: %s\nn2 said: %s", m.log, &m.said)
		}
	})
	inbox := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var text struct{ To, Text string }
		if err := json.NewDecoder(r.Body).Decode(&text); err != nil {
			t.Error(err)
		}
		_ = m.k.Phone.Send(r.Context(), notify.Message{To: text.To, Text: text.Text})
	}))
	t.Cleanup(inbox.Close)
	s := m.k.Settings
	m.env = []string{"KAPI_ISSUER=" + s.Issuer, "KAPI_DATABASE=" + s.Database + "&application_name=n1", "KAPI_SECRET_FILE=" + s.SecretFile, "KAPI_AUDIT_ANCHOR=" + filepath.Join(dir, "anchor"),
		"KAPI_SMS=inbox:" + inbox.URL, "KAPI_TEST_CLOCK=" + m.file, "GOMAXPROCS=2", "HOME=" + dir, "KAPI_LOG_LEVEL=warn", "KAPI_TRUSTED_PROXIES=127.0.0.1"}
	m.k.App().Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p := m.to.Load(); p != nil {
			p.ServeHTTP(w, r)
			return
		}
		m.n2.Handler.ServeHTTP(w, r)
	})
	m.pass(0)
	t.Cleanup(m.end)
	return m
}

// pass lets time pass for both replicas. n2's clock stands still between two calls.
func (m *mortal) pass(d time.Duration) {
	m.shift += d
	if err := os.WriteFile(m.file+".new", []byte(m.shift.String()), 0o600); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(m.file+".new", m.file); err != nil {
		m.t.Fatal(err)
	}
	m.k.Clock.Add(time.Now().Add(m.shift).Sub(m.k.Clock.Now()))
}

// begin starts n1, which dies at the point.
func (m *mortal) begin(point string) {
	m.t.Helper()
	address := ""
	for address == "" {
		address = m.start(point)
	}
	m.to.Store(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: address})
			r.Out.Host = r.In.Host
			r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
		},
		ModifyResponse: func(r *http.Response) error { // all or nothing: a browser that gets half a page loads it again
			b, err := io.ReadAll(r.Body)
			r.Body.Close()
			r.Body = io.NopCloser(bytes.NewReader(b))
			return err
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
}

// start starts n1 at a free port and returns where it serves; "" when somebody else was faster to take the port.
func (m *mortal) start(point string) (address string) {
	m.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	address = l.Addr().String()
	l.Close()
	m.log, m.gone, m.claimed = &testkapi.Log{}, make(chan struct{}), false
	n1 := exec.Command(m.binary, "serve")
	n1.Env = append(slices.Clone(m.env), "KAPI_LISTEN="+address, "KAPI_FAIL="+point+":kill")
	n1.Stderr = m.log
	if err := n1.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.n1 = n1
	go func(gone chan struct{}) {
		_ = n1.Wait()
		m.to.Store(nil)
		close(gone)
	}(m.gone)
	for {
		select {
		case <-m.gone:
			if strings.Contains(m.log.String(), "address already in use") {
				return ""
			}
			m.t.Fatalf("n1 ended before it served: %s", m.log)
		case <-time.After(10 * time.Millisecond):
		}
		if serves("http://"+address, m.k.URL) {
			return address
		}
	}
}

// serves says whether the server at an address is that of the issuer: whoever was faster to take the port may be a kapi too.
func serves(address, issuer string) bool {
	r, err := http.Get(address + "/.well-known/openid-configuration")
	if err != nil {
		return false
	}
	defer r.Body.Close()
	var said struct{ Issuer string }
	return json.NewDecoder(r.Body).Decode(&said) == nil && said.Issuer == issuer
}

// died waits until n1 is dead, by its point and nothing else, and lets n2 work.
func (m *mortal) died() {
	m.t.Helper()
	eventually(m.t, "n1 dies", func() bool {
		select {
		case <-m.gone:
			return true
		default:
			return false
		}
	})
	if state := m.n1.ProcessState; state.Exited() {
		m.t.Fatalf("n1 ended with %d: %s", state.ExitCode(), m.log)
	}
	// What n1 had sent before it died the database still finishes.
	eventually(m.t, "the database notices", func() bool {
		return one[int](m.t, m.db, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'n1'") == 0
	})
	// The newest message is of the sign-in under way. One that n1 had claimed nobody will send any more, since nobody can
	// know that it did not.
	m.claimed = one[int](m.t, m.db, "SELECT count(*) FROM outbox WHERE state = 'sending' AND created_at = (SELECT max(created_at) FROM outbox)") > 0
	m.pass(0)
	m.work()
}

// work lets n2 send, until end.
func (m *mortal) work() {
	work, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.n2.Start(work)
}

// end kills what is left of a round.
func (m *mortal) end() {
	if m.n1 != nil {
		_ = m.n1.Process.Kill()
		<-m.gone
		m.n1 = nil
	}
	if m.stop != nil {
		m.stop()
		m.n2.Wait()
		m.stop = nil
	}
}

// fate is a point with what the person meets at n2.
type fate struct {
	point  string
	asked  string // at n2, first: "password", "code", "new code", "nothing" (through), or "" where the person is through already
	worker bool   // dies beside the requests
}

var fates = []fate{
	{"try-counted", "password", false},
	{"password-right", "password", false},
	{"code-stored", "code", false},
	{"message-claimed", "code", true},
	{"message-sent", "code", true},
	{"code-right", "new code", false},
	{"session-write", "new code", false},
	{"grant-write", "nothing", false},
	{"code-consumed", "", false},
	{"token-write", "", false},
	{"token-written", "", false},
	{"refresh-rotate", "", false},
	{"refresh-rotated", "", false},
}

// O1: n1 dies at each named point of a sign-in, by kill -9: the person and the client go on at n2, from the last thing that was
// committed; nothing counts that was not proved, and no message goes out twice.
func TestO1_DeathAtEachPoint(t *testing.T) {
	t.Parallel()
	m := newMortal(t)
	rounds := 1
	if os.Getenv("KAPI_SLOW_TESTS") != "" {
		rounds = 50
	}
	crowd(m.k, rounds*len(fates)+2)
	rp := refreshing(m.k, "ssi")
	if err := m.n2.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := newDeaths(m, rp, 5000+rounds*len(fates)+1, 20_000, rounds*len(recoveries))
	for round := range rounds {
		for i, f := range fates {
			m.pass(time.Minute)
			m.begin(f.point)
			m.meet(rp, 5000+round*len(fates)+i, f)
			m.end()
		}
		other.round(20_000 + round*len(recoveries))
	}
	m.guesses(rp, 5000+rounds*len(fates))
	m.keys(rp, 5000)
}

// meet is one sign-in through a death.
func (m *mortal) meet(rp *testkapi.RP, person int, f fate) {
	t, k := m.t, m.k
	t.Helper()
	sessions := func() int { return one[int](t, m.db, "SELECT count(*) FROM sessions") }
	standing, asked, texts := sessions(), "", 0
	b := testkapi.NewBrowser(t)
	page := b.Open(rp.URL()).URL.String()
	dead := false
	through := func(what string) { // n2 owes this to the person
		if dead && asked == "" {
			asked = what
		}
	}
	inbox := func() []string { return k.Phone.Inbox(phoneOf(person)) }
	for range 12 {
		if f.worker && !dead && strings.Contains(b.Body, `name="code"`) {
			m.died()
			dead = true
			b.Open(page)
		}
		if b.Left() != nil {
			through("nothing")
			break
		}
		if n := sessions(); n != standing && b.Status < 500 {
			t.Fatalf("%s: %d sessions before the sign-in is complete: %s", f.point, n-standing, b.Text())
		}
		switch {
		case b.Status == http.StatusBadGateway:
			m.died()
			dead = true
			b.Open(page)
			continue
		case strings.Contains(b.Body, `name="national_id"`):
			through("password")
			b.Submit(map[string]string{"national_id": number(person), "password": "the right one of all"})
		case strings.Contains(b.Body, `name="code"`):
			through("code")
			if dead && m.claimed && texts == 0 && len(inbox()) == 0 { // it is lost
				texts = 1
				m.pass(46 * time.Second)
				b.Press("Send the code again")
				continue
			}
			texts = max(texts, 1)
			eventually(t, f.point+": a code comes", func() bool { return len(inbox()) >= texts })
			b.Submit(map[string]string{"code": inbox()[len(inbox())-1][:6]})
		case strings.Contains(b.Text(), "You need a new code"):
			through("new code")
			texts = 2
			m.pass(46 * time.Second)
			b.Press("Send the code again")
		default:
			t.Fatalf("%s: at %s (%d): %s", f.point, b.URL, b.Status, b.Text())
		}
		if b.Status < 500 && b.Left() == nil {
			page = b.URL.String()
		}
	}
	if asked != f.asked {
		t.Errorf("%s: at n2 the person was asked for %q first, want %q", f.point, asked, f.asked)
	}
	if n := sessions() - standing; n != 1 {
		t.Errorf("%s: %d sessions of one sign-in", f.point, n)
	}
	tokens := m.redeem(rp, b, f)
	if tokens.Claims.ACR != substantial || !slices.Equal(tokens.Claims.AMR, []string{"pwd", "sms", "mca", "mfa"}) || len(tokens.Claims.Steps) != 2 {
		t.Errorf("%s: acr %s, amr %v, steps %v", f.point, tokens.Claims.ACR, tokens.Claims.AMR, tokens.Claims.Steps)
	}
	next := refresh(t, k, rp, tokens.RefreshToken)
	if next.Status == http.StatusBadGateway {
		m.died()
		next = refresh(t, k, rp, tokens.RefreshToken)
	}
	if r := refresh(t, k, rp, member(t, next.Body, "refresh_token")); r.Status != http.StatusOK {
		t.Errorf("%s: refresh %d %s", f.point, r.Status, r.Body)
	}
	select {
	case <-m.gone:
	default:
		t.Errorf("%s: n1 lives", f.point)
	}
	if got := len(inbox()); got > max(texts, 1) {
		t.Errorf("%s: %d messages", f.point, got)
	}
}

// redeem gets the tokens: a client whose request was lost sends it again, and begins anew where it was lost on the way back.
func (m *mortal) redeem(rp *testkapi.RP, b *testkapi.Browser, f fate) testkapi.Tokens {
	m.t.Helper()
	form := rp.Redemption(b)
	r := machinePost(m.t, m.k, rp, "/oauth/token", form)
	if r.Status == http.StatusBadGateway {
		m.died()
		r = machinePost(m.t, m.k, rp, "/oauth/token", form)
		if f.point == "token-written" {
			if oauthError(r) != "invalid_grant" {
				m.t.Errorf("%s: a code was good twice: %d %s", f.point, r.Status, r.Body)
			}
			b.Open(rp.URL()) // single sign-on
			r = machinePost(m.t, m.k, rp, "/oauth/token", rp.Redemption(b))
		}
	}
	if r.Status != http.StatusOK {
		m.t.Fatalf("%s: %d %s", f.point, r.Status, r.Body)
	}
	return tokensOf(m.t, rp, r)
}

// guesses: the try that n1 died on is counted.
func (m *mortal) guesses(rp *testkapi.RP, person int) {
	t := m.t
	t.Helper()
	m.pass(time.Minute)
	b := testkapi.NewBrowser(t)
	page := b.Open(rp.URL()).URL.String()
	for i := range 5 {
		if i == 4 {
			m.begin("try-counted")
		}
		b.Open(page).Submit(map[string]string{"national_id": number(person), "password": fmt.Sprint("not this one at all ", i)})
	}
	m.died()
	b.Open(page).Submit(map[string]string{"national_id": number(person), "password": "the right one of all"}).See(wrongSignIn)
	m.end()
}

// keys: the command dies while it changes the signing keys. What was signed, and is signed, can be verified, and the command
// can be given again.
func (m *mortal) keys(rp *testkapi.RP, person int) {
	t, k := m.t, m.k
	t.Helper()
	rotate := func(fail string) *os.ProcessState {
		c := exec.CommandContext(t.Context(), m.binary, "keys", "rotate", "--now")
		c.Env = m.env
		if fail != "" {
			c.Env = append(slices.Clone(m.env), "KAPI_FAIL="+fail)
		}
		out, _ := c.CombinedOutput()
		if fail == "" && c.ProcessState.ExitCode() != 0 {
			t.Errorf("kapi keys rotate: %s", out)
		}
		return c.ProcessState
	}
	m.work()
	b, before := testkapi.NewBrowser(t), len(k.Phone.Inbox(phoneOf(person)))
	m.pass(time.Minute)
	b.Open(rp.URL()).Submit(map[string]string{"national_id": number(person), "password": "the right one of all"})
	b.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(person), before+1)})
	rp.Answer(b)
	for _, fail := range []string{"key-write:kill", "key-written:kill", ""} {
		if state := rotate(fail); fail != "" && state.Exited() {
			t.Errorf("%s: the command lived on", fail)
		}
		if err := m.n2.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.pass(time.Minute)
		b.Open(rp.URL())
		rp.Answer(b) // verifies with the keys that are published
	}
	if n := one[int](t, m.db, "SELECT count(*) FROM signing_keys WHERE alg = 'ES256' AND state = 'active'"); n != 1 {
		t.Errorf("%d keys sign", n)
	}
	m.end()
}
