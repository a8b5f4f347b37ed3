package program_test

import (
	"bytes"
	"context"
	"encoding/json"
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
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/testkapi"
	"github.com/kapi-id/kapi/internal/testpg"
)

// firstRelease is the last commit whose schema is 00001 alone and whose work was finished: passwords and codes by SMS, before registered
// devices, recovery, notices and everything else that has a migration of its own. It is the oldest program that any installation can
// have, so everything that was added since lies between it and the program under test.
const firstRelease = "c8e2ae0308fb61c57177b9c98296f00a123938d4"

// server is a kapi serve that a front sends to while it says that it is ready, as a load balancer does.
type server struct {
	name, url string
	cmd       *exec.Cmd
	log       *testkapi.Log
	gone      chan struct{}
	proxy     *httputil.ReverseProxy
	ready     atomic.Bool
	answered  atomic.Int64
}

// releases is one Postgres with servers of two releases behind one address, under the load of people who sign in.
type releases struct {
	t        *testing.T
	k        *testkapi.Kapi
	dir      string
	env      []string
	binaries map[string]string // by release: "old", "new"

	mu      sync.Mutex
	servers []*server
	only    string // the release that answers; "" = all that are ready, in turn
	turn    atomic.Int64

	state   atomic.Value // what is going on, for messages
	stories atomic.Int64 // finished
	asked   atomic.Int64 // whether to sign out, although an ID token said so
	people  atomic.Int64
	done    atomic.Bool
	workers sync.WaitGroup
}

const crowdSize = 240

// build makes both programs, the old one from the repository's own history.
func (r *releases) build() {
	t := r.t
	t.Helper()
	r.binaries = map[string]string{"old": filepath.Join(r.dir, "kapi-old"), "new": filepath.Join(r.dir, "kapi-new")}
	top, err := exec.CommandContext(t.Context(), "git", "rev-parse", "--show-toplevel").Output()
	root := strings.TrimSpace(string(top))
	if err == nil {
		err = exec.CommandContext(t.Context(), "git", "-C", root, "cat-file", "-e", firstRelease+"^{commit}").Run()
	}
	if err != nil {
		t.Skipf("SKIPPED, TWO RELEASES NOT TESTED: the history up to %s is not here (a shallow clone, or no repository at all): %v", firstRelease[:7], err)
	}
	source := filepath.Join(r.dir, "source")
	if err := os.Mkdir(source, 0o700); err != nil {
		t.Fatal(err)
	}
	archive, err := exec.CommandContext(t.Context(), "git", "-C", root, "archive", "--format=tar", firstRelease).Output()
	if err != nil {
		t.Fatal(err)
	}
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-C", source)
	unpack.Stdin = bytes.NewReader(archive)
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for release, from := range map[string]string{"old": source, "new": root} {
		c := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", r.binaries[release], "./cmd/kapi")
		c.Dir, c.Env = from, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", release, err, out)
		}
	}
}

// installed is a database of the old release with people and a client.
func installed(t *testing.T) *releases {
	r := &releases{t: t, dir: t.TempDir()}
	r.state.Store("building")
	r.build()
	front := httptest.NewServer(http.HandlerFunc(r.pass))
	t.Cleanup(front.Close)
	r.k = &testkapi.Kapi{T: t, URL: front.URL, Phone: &testkapi.Phone{}}
	inbox := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var text struct{ To, Text string }
		if err := json.NewDecoder(q.Body).Decode(&text); err != nil {
			t.Error(err)
		}
		_ = r.k.Phone.Send(q.Context(), notify.Message{To: text.To, Text: text.Text})
	}))
	t.Cleanup(inbox.Close)
	// Settings that both releases have: those of a new release are set when the last server of the old one is gone.
	r.env = []string{"KAPI_ISSUER=" + front.URL, "KAPI_DATABASE=" + testpg.URL(t), "KAPI_SECRET_FILE=" + filepath.Join(r.dir, "secret"),
		"KAPI_SMS=inbox:" + inbox.URL, "KAPI_TRUSTED_PROXIES=127.0.0.1", "KAPI_LOG_LEVEL=warn", "GOMAXPROCS=2", "HOME=" + r.dir}
	r.kapi("old", 0, "secret", "new", filepath.Join(r.dir, "secret"))
	r.kapi("old", 0, "migrate")
	var file []string
	for i := range crowdSize {
		file = append(file, somebody(5000+i, "the right one of all"))
	}
	r.apply("person", "["+strings.Join(file, ",")+"]")
	r.apply("client", `[{"client_id":"ssi","client_name":"The ssi service","client_secret":"`+releaseSecret+`","redirect_uris":["https://ssi.example/cb"],`+
		`"post_logout_redirect_uris":["https://ssi.example/bye"],"grant_types":["authorization_code","refresh_token"],"scope":"openid profile offline_access"}]`)
	t.Cleanup(r.stop)
	return r
}

const releaseSecret = "a secret that is long enough for anybody"

func (r *releases) apply(what, text string) {
	r.t.Helper()
	file := filepath.Join(r.dir, what+".json")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.kapi("old", 0, what, "apply", file)
}

// kapi runs a command of a release and returns what it said.
func (r *releases) kapi(release string, status int, args ...string) string {
	r.t.Helper()
	c := exec.CommandContext(r.t.Context(), r.binaries[release], args...)
	c.Env = append(slices.Clone(r.env), "KAPI_AUDIT_ANCHOR="+filepath.Join(r.dir, "anchor"))
	out, _ := c.CombinedOutput()
	if got := c.ProcessState.ExitCode(); got != status {
		r.t.Fatalf("%s: kapi %s of the %s release: status %d: %s", r.state.Load(), strings.Join(args, " "), release, got, out)
	}
	return string(out)
}

// pass sends a request to one of the servers that are ready, to each in turn.
func (r *releases) pass(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	var able []*server
	for _, s := range r.servers {
		if s.ready.Load() && (r.only == "" || r.only == s.name) {
			able = append(able, s)
		}
	}
	r.mu.Unlock()
	if len(able) == 0 {
		r.t.Errorf("%s: nobody is ready", r.state.Load())
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	s := able[int(r.turn.Add(1))%len(able)]
	s.answered.Add(1)
	s.proxy.ServeHTTP(w, q)
}

func (r *releases) route(only string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.only = only
}

// serve starts a server of a release and waits until it is ready.
func (r *releases) serve(release string) *server {
	r.t.Helper()
	for {
		s := r.start(release)
		for !s.ready.Load() {
			select {
			case <-s.gone:
			case <-time.After(10 * time.Millisecond):
				continue
			}
			break
		}
		switch {
		case s.ready.Load():
			return s
		case !strings.Contains(s.log.String(), "address already in use"):
			r.t.Fatalf("%s: the %s release does not serve: %s", r.state.Load(), release, s.log)
		}
	}
}

func (r *releases) start(release string) *server {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	s := &server{name: release, url: "http://" + address, log: &testkapi.Log{}, gone: make(chan struct{})}
	s.proxy = &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: address})
			p.Out.Host = p.In.Host
			p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
		},
		ErrorHandler: func(w http.ResponseWriter, q *http.Request, err error) {
			r.t.Errorf("%s: %s %s at the %s release: %v", r.state.Load(), q.Method, q.URL.Path, release, err)
			w.WriteHeader(http.StatusBadGateway)
		},
		ModifyResponse: func(a *http.Response) error {
			if a.StatusCode >= 500 {
				r.t.Errorf("%s: %s %s at the %s release: %d: %s", r.state.Load(), a.Request.Method, a.Request.URL.Path, release, a.StatusCode, s.log)
			}
			return nil
		},
	}
	s.cmd = exec.Command(r.binaries[release], "serve")
	s.cmd.Env = append(slices.Clone(r.env), "KAPI_LISTEN="+address, "KAPI_AUDIT_ANCHOR="+filepath.Join(r.dir, "anchor-"+l.Addr().String()))
	s.cmd.Stderr = s.log
	if err := s.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait()
		s.ready.Store(false)
		close(s.gone)
	}()
	go func() { // what a load balancer does
		ours := false
		for {
			select {
			case <-s.gone:
				return
			case <-time.After(100 * time.Millisecond):
			}
			if ours = ours || serves(s.url, r.k.URL); !ours {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			q, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/readyz", nil)
			a, err := http.DefaultClient.Do(q)
			if err == nil {
				a.Body.Close()
			}
			s.ready.Store(err == nil && a.StatusCode == http.StatusOK)
			cancel()
		}
	}()
	r.mu.Lock()
	r.servers = append(r.servers, s)
	r.mu.Unlock()
	return s
}

// drain ends a server as an orchestrator does, and waits.
func (r *releases) drain(s *server) {
	r.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	<-s.gone
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		r.t.Errorf("%s: the %s release ended with %d: %s", r.state.Load(), s.name, code, s.log)
	}
}

// stop ends everything.
func (r *releases) stop() {
	r.done.Store(true)
	r.workers.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.servers {
		_ = s.cmd.Process.Kill()
		<-s.gone
	}
}
