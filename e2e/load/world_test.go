package load

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/contact/reach"
	"github.com/kapi-id/kapi/internal/sim/phone"
	"github.com/kapi-id/kapi/internal/testpg"
)

const (
	serverEnv  = "KAPI_BENCH_SERVER"
	redirect   = "https://rp.example/cb"
	passphrase = "a password of the bench"
	people     = atOnce // of each sort: one of them for each visitor
)

func secretOf(client string) string { return "the secret of " + client + ", long enough for anybody" }

// serveBench is the measured process: the server as it runs, but for the password hash, which would hide everything else, and
// the minimum answer time, which costs no CPU.
func serveBench() int {
	for i := range reach.PerPerson { // few people sign in often here
		reach.PerPerson[i].N = 1_000_000
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if file := os.Getenv("BENCH_PROFILE"); file != "" { // of the measured process
		f, err := os.Create(file)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		defer f.Close()
		defer pprof.StopCPUProfile()
	}
	s, err := program.Resolve(nil, settingsOf(os.Environ()))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	a, err := program.New(ctx, s, program.Options{
		Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), Pause: func(context.Context, time.Duration) {}, Quota: -1,
		Password: password.Options{Cost: password.Cost{Memory: 64, Time: 1, Threads: 1}},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer a.Close()
	if files := os.Getenv(serverEnv); files != "1" {
		if err := apply(ctx, files, "clients*.json", a.ApplyClients); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := apply(ctx, files, "people*.json", a.ApplyPeople); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	if err := a.Refresh(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := a.Serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func apply(ctx context.Context, dir, pattern string, do func(context.Context, io.Reader, io.Writer) error) error {
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err == nil {
			err = do(ctx, f, io.Discard)
			f.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// settingsOf leaves out what is the bench's own.
func settingsOf(environ []string) (out []string) {
	for _, e := range environ {
		if !strings.HasPrefix(e, "KAPI_BENCH_") {
			out = append(out, e)
		}
	}
	return out
}

// server is a measured process.
type server struct {
	url, metrics string
	cmd          *exec.Cmd
	gone         chan struct{} // closed when it has ended
	started      time.Duration
}

func spawn(b *testing.B, database, dir string, env ...string) *server {
	b.Helper()
	s := &server{url: "http://127.0.0.1:" + freePort(b), metrics: "127.0.0.1:" + freePort(b)}
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	s.cmd = exec.Command(exe)
	s.cmd.Env = append(os.Environ(), append([]string{serverEnv + "=1", "KAPI_ISSUER=" + s.url, "KAPI_LISTEN=" + strings.TrimPrefix(s.url, "http://"),
		"KAPI_DATABASE=" + database, "KAPI_SECRET_FILE=" + secret, "KAPI_AUTO_MIGRATE=true", "KAPI_METRICS_LISTEN=" + s.metrics,
		"KAPI_TRUSTED_PROXIES=127.0.0.1"}, env...)...)
	s.cmd.Stderr = os.Stderr
	if _, err := os.Stat(secret); err != nil && !strings.HasPrefix(database, "sqlite:") {
		if err := program.NewSecret(secret); err != nil {
			b.Fatal(err)
		}
	}
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	s.gone = make(chan struct{})
	go func() { defer close(s.gone); _ = s.cmd.Wait() }()
	b.Cleanup(s.stop)
	for {
		resp, err := http.Get(s.url + "/healthz")
		if err == nil {
			resp.Body.Close()
			break
		}
		select {
		case <-s.gone:
			b.Fatal("the server ended")
		case <-time.After(time.Millisecond):
		}
	}
	s.started = time.Since(begin)
	return s
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.gone
}

func (s *server) cpu() time.Duration { return cpuOf(s.cmd.Process.Pid) }

// memory is the resident set without the pages of the binary.
func (s *server) memory(b *testing.B) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	m := regexp.MustCompile(`RssAnon:\s+(\d+) kB`).FindSubmatch(status)
	kb, err := strconv.Atoi(string(m[1]))
	if err != nil {
		b.Fatal(err)
	}
	return float64(kb) / 1024
}

// world is a server, its database and its people.
type world struct {
	*server
	B          *testing.B
	phone      *phone.Phone
	postmaster int // 0 on SQLite
	turn       atomic.Int64
}

// visitor is one person after the other at one browser.
type visitor struct {
	*world
	person       int // whose sign-ins it does
	client       *http.Client
	left         *url.URL
	access       string
	refreshToken string
}

func (w *world) visitor(person int) *visitor {
	v := &visitor{world: w, person: person}
	v.forget()
	return v
}

func start(b *testing.B, db string) *world {
	w := &world{B: b, phone: phone.New(phone.Config{})}
	inbox := httptest.NewServer(w.phone)
	b.Cleanup(inbox.Close)
	dir := b.TempDir()
	database := "sqlite:" + filepath.Join(dir, "kapi.db")
	if db == "postgres" {
		database = testpg.URL(b)
		w.postmaster = testpg.Shared(b).PID
	}
	if err := os.WriteFile(filepath.Join(dir, "clients.json"), []byte(fmt.Sprintf(`[
		{"client_id":"rp","client_name":"RP","client_secret":%q,"redirect_uris":[%q],"scope":"openid profile offline_access","grant_types":["authorization_code","refresh_token"]},
		{"client_id":"machine","client_name":"Machine","client_secret":%q,"grant_types":["client_credentials"],"kapi_access_token":"jwt"}]`,
		secretOf("rp"), redirect, secretOf("machine"))), 0o600); err != nil {
		b.Fatal(err)
	}
	if err := populate(dir); err != nil {
		b.Fatal(err)
	}
	w.server = spawn(b, database, dir, serverEnv+"="+dir, "KAPI_SMS=inbox:"+inbox.URL)
	w.settle()
	w.stop()
	if w.postmaster != 0 {
		testpg.Tidy(b, database)
	}
	for file := os.Getenv("BENCH_WAIT"); file != ""; time.Sleep(time.Second) {
		if _, err := os.Stat(file); err == nil {
			break
		}
	}
	w.server = spawn(b, database, dir, "KAPI_SMS=inbox:"+inbox.URL)
	return w
}

// settle waits until the server rests: the people it was given are events too, which it chains at its leisure.
func (w *world) settle() {
	for {
		before := w.measure()
		time.Sleep(2 * time.Second)
		if w.measure().since(before).statements < 20 {
			return
		}
	}
}

// forget is a new browser on the same connections.
func (w *visitor) forget() {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.B.Fatal(err)
	}
	var transport http.RoundTripper = &http.Transport{MaxIdleConnsPerHost: 2}
	if w.client != nil {
		transport = w.client.Transport
	}
	w.client = &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Host != via[0].URL.Host {
			w.left = r.URL
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

// last is the newest code of the n-th person.
func (w *world) last(n int) (m phone.Message) {
	if inbox := w.phone.Inbox(phoneOf(n)); len(inbox) > 0 {
		m = inbox[len(inbox)-1]
	}
	return m
}

// code waits for a newer code of the n-th person than had.
func (w *world) code(n int, had phone.Message) string {
	for range 5000 {
		if m := w.last(n); m != had {
			return m.Text[:6]
		}
		time.Sleep(time.Millisecond)
	}
	w.B.Fatalf("no code for person %d", n)
	return ""
}

// populate writes the people files: people without and with two-factor on, and as many others as are wanted, so many to
// a file that it stays below the limit of 32 MiB.
func populate(dir string) error {
	const each = 50_000
	more, _ := strconv.Atoi(os.Getenv("BENCH_PEOPLE"))
	all := 2*people + more
	for first := 0; first < all; first += each {
		var f strings.Builder
		for i := first; i < min(first+each, all); i++ {
			fmt.Fprintf(&f, `,{"national_id":%q,"kind":"citizen","given_name":"Deniz","family_name":"Kara","birthdate":"1980-01-01","phone":%q,"phone_grade":"id_verified"`, number(i), phoneOf(i))
			if i < 2*people {
				fmt.Fprintf(&f, `,"password":%q,"two_factor":%v`, passphrase, i >= people)
			}
			f.WriteByte('}')
		}
		name := filepath.Join(dir, fmt.Sprintf("people-%08d.json", first))
		if err := os.WriteFile(name, []byte("["+f.String()[1:]+"]"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func phoneOf(i int) string { return fmt.Sprintf("+90555%07d", i) }

// number is a valid ID number, another one for each i below 10⁸.
func number(i int) string {
	n := strconv.Itoa(200_000_000 + i)
	odd, even, sum := 0, 0, 0
	for j, c := range n {
		d := int(c - '0')
		sum += d
		if j%2 == 0 {
			odd += d
		} else {
			even += d
		}
	}
	ten := (7*odd - even + 100) % 10
	return fmt.Sprintf("%s%d%d", n, ten, (sum+ten)%10)
}

// usage is what has been spent so far.
type usage struct {
	server, database time.Duration
	statements       float64
}

var statementLine = regexp.MustCompile(`(?m)^kapi_database_statements_total\{kind="\w+"\} (\S+)$`)

func (w *world) measure() (u usage) {
	resp, err := http.Get("http://" + w.metrics + "/metrics")
	if err != nil {
		w.B.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.B.Fatal(err)
	}
	for _, m := range statementLine.FindAllSubmatch(body, -1) {
		n, _ := strconv.ParseFloat(string(m[1]), 64)
		u.statements += n
	}
	u.server = w.cpu()
	if w.postmaster != 0 {
		u.database = cpuOf(w.postmaster)
		for _, child := range childrenOf(w.postmaster) {
			u.database += cpuOf(child)
		}
	}
	return u
}

func (u usage) since(before usage) usage {
	return usage{u.server - before.server, u.database - before.database, u.statements - before.statements}
}

func (u usage) report(b *testing.B) {
	n := float64(b.N)
	b.ReportMetric(float64((u.server+u.database).Microseconds())/n, "cpu-µs/op")
	b.ReportMetric(float64(u.server.Microseconds())/n, "server-µs/op")
	b.ReportMetric(float64(u.database.Microseconds())/n, "database-µs/op")
	b.ReportMetric(u.statements/n, "statements/op")
	b.ReportMetric(0, "ns/op") // wall clock says nothing here
}

// cpuOf is the CPU time of a process, all threads, to the nanosecond (schedstat; rusage's own clock ticks are 10 ms).
func cpuOf(pid int) (sum time.Duration) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		ns, _, _ := strings.Cut(string(b), " ")
		n, _ := strconv.ParseInt(ns, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}

func childrenOf(pid int) (out []int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for f := range strings.FieldsSeq(string(b)) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, n)
		}
	}
	return out
}

func freePort(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
