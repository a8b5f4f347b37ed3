package docs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// listing returns the fenced block of relying-party.md that is marked file=NAME.
func listing(t *testing.T, name string) string {
	t.Helper()
	page := read(t, "relying-party.md")
	found := regexp.MustCompile("(?ms)^```[a-z]+ file="+regexp.QuoteMeta(name)+"\n(.*?)^```$").FindAllStringSubmatch(page, -1)
	if len(found) != 1 {
		t.Fatalf("relying-party.md has %d listings file=%s, want one", len(found), name)
	}
	return found[0][1]
}

// site is a listing that runs, registered at a Kapi of its own.
type site struct {
	k    *testkapi.Kapi
	base string // its address
	env  []string
}

const (
	citizen = `[{"national_id":"10000000146","kind":"citizen","given_name":"Ayşe","family_name":"Yılmaz","birthdate":"1985-04-23",
  "phone":"+905550000001","phone_grade":"id_verified","password":"mavi kapı sabah 7","two_factor":true},
 {"national_id":"40000000464","kind":"citizen","given_name":"Hasan","family_name":"Çelik","birthdate":"1951-06-14","password":"eski saat kulesi 5"}]`
	citizenNumber, citizenPassword, citizenPhone = "10000000146", "mavi kapı sabah 7", "+905550000001"
	phoneless, phonelessPassword                 = "40000000464", "eski saat kulesi 5"
)

// register starts a Kapi and applies the registration of the page, with the address in it replaced by a free one.
func register(t *testing.T) site {
	t.Helper()
	listen := free(t)
	s := site{k: testkapi.Start(t, testkapi.Options{}), base: "http://" + listen}
	s.k.People(citizen)
	const written = "http://127.0.0.1:9000"
	file := listing(t, "ssi.json")
	if !strings.Contains(file, written) {
		t.Fatalf("the registration does not speak of %s", written)
	}
	var said bytes.Buffer
	if err := s.k.App().ApplyClients(t.Context(), strings.NewReader(strings.ReplaceAll(file, written, s.base)), &said); err != nil {
		t.Fatal(err)
	}
	if err := s.k.App().Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	printed := regexp.MustCompile(`(?s)^(\S+): created\n.*client_secret: (\S+)`).FindStringSubmatch(said.String())
	if printed == nil {
		t.Fatalf("apply printed no secret:\n%s", said.String())
	}
	s.env = []string{"ISSUER=" + s.k.URL, "CLIENT_ID=" + printed[1], "CLIENT_SECRET=" + printed[2], "BASE=" + s.base, "LISTEN=" + listen,
		"PASSPHRASE=a long passphrase, of words, for all servers"}
	return s
}

// free is a loopback address that nothing listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a program until the test ends and returns once it listens.
func (s site) start(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, &said, &said, time.Second
	cmd.Env = append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // the group: Apache has children
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(program), said.String())
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://")); err == nil {
			c.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended before it listened", program)
		case <-tick.C:
		}
	}
}

// tool finds a program, or skips loudly; with CI set it fails instead when must is true.
func tool(t *testing.T, must bool, name, mend string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, must, "%s is not here: %s", name, mend)
	}
	return path
}

func missing(t *testing.T, must bool, format string, args ...any) {
	t.Helper()
	if must && os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf("SKIPPED, A LISTING OF relying-party.md WAS NOT RUN: "+format, args...)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, dir, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	return cmd.CombinedOutput()
}

func TestListing_Go(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.go"), listing(t, "main.go"))
	for _, args := range [][]string{{"vet"}, {"build", "-o", filepath.Join(dir, "site")}} {
		if out, err := run(t, "..", "go", append(args, filepath.Join(dir, "main.go"))...); err != nil {
			t.Fatalf("go %s: %v\n%s", args[0], err, out)
		}
	}
	s := register(t)
	s.start(t, dir, filepath.Join(dir, "site"))
	s.journeys(t)
}

// openidClient is the version that is installed; the page asks for its major.
const openidClient = "openid-client@6.8.9"

func TestListing_Node(t *testing.T) {
	t.Parallel()
	node := tool(t, false, "node", "install Node 20 or newer")
	out, err := run(t, ".", node, "--version")
	major, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(out)), "v"), ".")
	if n, _ := strconv.Atoi(major); err != nil || n < 20 {
		missing(t, false, "Node is too old: %s %v", out, err)
	}
	asked := regexp.MustCompile("`npm install (openid-client@\\d+)`").FindStringSubmatch(read(t, "relying-party.md"))
	if asked == nil || !strings.HasPrefix(openidClient, asked[1]+".") {
		t.Fatalf("the page asks for %v, the test installs %s", asked, openidClient)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "package.json"), `{"private":true}`)
	npm := tool(t, true, "npm", "it comes with Node; on Debian it is a package of its own")
	if out, err := run(t, dir, npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--cache", filepath.Join(dir, "cache"), openidClient); err != nil {
		missing(t, true, "npm install: %v\n%s", err, out)
	}
	write(t, filepath.Join(dir, "app.mjs"), listing(t, "app.mjs"))
	s := register(t)
	s.start(t, dir, node, "app.mjs")
	s.journeys(t)
}

// apache is what surrounds the listing: a server like Debian's, with an application of ours behind it.
const apache = `ServerRoot %[1]s
ServerName 127.0.0.1
PidFile pid
Mutex file:%[1]s
ErrorLog log
Listen ${LISTEN}
LoadModule mpm_event_module %[2]s/mod_mpm_event.so
LoadModule authn_core_module %[2]s/mod_authn_core.so
LoadModule authz_core_module %[2]s/mod_authz_core.so
LoadModule authz_user_module %[2]s/mod_authz_user.so
LoadModule rewrite_module %[2]s/mod_rewrite.so
LoadModule proxy_module %[2]s/mod_proxy.so
LoadModule proxy_http_module %[2]s/mod_proxy_http.so
LoadModule auth_openidc_module %[2]s/mod_auth_openidc.so
%[3]s
ProxyPass / %[4]s/
Include kapi.conf
`

func TestListing_Apache(t *testing.T) {
	t.Parallel()
	server, modules := "/usr/sbin/apache2", "/usr/lib/apache2/modules"
	for _, path := range []string{server, modules + "/mod_auth_openidc.so"} {
		if _, err := os.Stat(path); err != nil {
			missing(t, false, "%v: apt-get install apache2 libapache2-mod-auth-openidc", err)
		}
	}
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claim := func(name string) string { return r.Header.Get("OIDC_CLAIM_" + name) }
		json.NewEncoder(w).Encode(claims{claim("sub"), claim("acr"), strings.Split(claim("amr"), ",")})
	}))
	t.Cleanup(application.Close)
	user := ""
	dir, err := os.MkdirTemp("", "kapi-apache-") // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if os.Geteuid() == 0 {
		user = "User www-data\nGroup www-data"
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	s := register(t)
	write(t, filepath.Join(dir, "kapi.conf"), listing(t, "kapi.conf"))
	write(t, filepath.Join(dir, "apache.conf"), fmt.Sprintf(apache, dir, modules, user, application.URL))
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("Apache's log:\n%s", log)
		}
	})
	s.start(t, dir, server, "-f", filepath.Join(dir, "apache.conf"), "-D", "FOREGROUND")
	s.journeys(t)
	t.Run("claims sent by a browser are dropped", func(t *testing.T) {
		b := s.browser(t)
		for _, name := range []string{"sub", "acr", "amr"} {
			b.Header["OIDC_CLAIM_"+name] = []string{"forged"}
		}
		s.signIn(t, b, 3)
		s.received(t, b)
	})
}

// claims as the sites show them.
type claims struct {
	Sub string   `json:"sub"`
	ACR string   `json:"acr"`
	AMR []string `json:"amr"`
}

func (s site) browser(t *testing.T) *testkapi.Browser {
	b := testkapi.NewBrowser(t)
	b.Roams = true
	b.Header.Set("Accept", "text/html,application/xhtml+xml") // mod_auth_openidc redirects only who can read the page
	return b
}

// signIn goes from the site through Kapi and back, with the n-th code of the phone.
func (s site) signIn(t *testing.T, b *testkapi.Browser, n int) {
	t.Helper()
	b.Open(s.base + "/login").See("SSI Notification Portal").Submit(map[string]string{"national_id": citizenNumber, "password": citizenPassword})
	b.Submit(map[string]string{"code": s.k.Phone.Code(t, citizenPhone, n)})
}

// received fails unless the page shown is the site's and its claims are those of a password and a code.
func (s site) received(t *testing.T, b *testkapi.Browser) claims {
	t.Helper()
	var got claims
	if err := json.Unmarshal([]byte(b.Body), &got); err != nil || b.Status != http.StatusOK || "http://"+b.URL.Host != s.base {
		t.Fatalf("%s (%d) %v:\n%s", b.URL, b.Status, err, b.Body)
	}
	if got.ACR != "urn:kapi:loa:substantial" || !slices.Equal(got.AMR, []string{"pwd", "sms", "mca", "mfa"}) || !strings.HasPrefix(got.Sub, "pw_") {
		t.Errorf("%+v", got)
	}
	return got
}

// refused fails unless the page shown is the site's, says why, and does not say who somebody is.
func (s site) refused(t *testing.T, b *testkapi.Browser, why string) {
	t.Helper()
	if "http://"+b.URL.Host != s.base {
		t.Fatalf("at %s (%d), not at the site:\n%s", b.URL, b.Status, b.Text())
	}
	if b.Status < 400 || strings.Contains(b.Body, "pw_") || strings.Contains(b.Body, "urn:kapi:") || !strings.Contains(b.Body, why) {
		t.Errorf("%s (%d) is no refusal with %q:\n%s", b.URL, b.Status, why, b.Body)
	}
}

// journeys are what every site must get right.
func (s site) journeys(t *testing.T) {
	t.Run("sign-in", func(t *testing.T) {
		b := s.browser(t)
		s.signIn(t, b, 1)
		s.received(t, b)
	})
	s.k.Clock.Add(time.Minute) // between two codes for one phone
	t.Run("cancel", func(t *testing.T) {
		b := s.browser(t)
		b.Open(s.base + "/login").Press("Back to the service")
		s.refused(t, b, "access_denied")
	})
	t.Run("too low", func(t *testing.T) {
		b := s.browser(t)
		b.Open(s.base + "/login").Submit(map[string]string{"national_id": phoneless, "password": phonelessPassword}).See("phone").Press("Continue")
		s.refused(t, b, "")
		if b.Status != http.StatusForbidden && b.Status != http.StatusUnauthorized {
			t.Errorf("status %d", b.Status)
		}
	})
	t.Run("a forged answer", func(t *testing.T) {
		b := s.browser(t)
		b.Roams = false
		if b.Open(s.base + "/login"); b.Left() == nil { // at the address of Kapi
			t.Fatalf("not sent to Kapi: %d\n%s", b.Status, b.Body)
		}
		b.Open(b.Left().String())
		b.Submit(map[string]string{"national_id": citizenNumber, "password": citizenPassword})
		b.Submit(map[string]string{"code": s.k.Phone.Code(t, citizenPhone, 2)})
		answer := b.Left()
		if answer == nil || answer.Query().Get("code") == "" {
			t.Fatalf("no answer: %v", answer)
		}
		stranger := s.browser(t)
		stranger.Open(answer.String())
		s.refused(t, stranger, "") // another browser: login CSRF
		q := answer.Query()
		q.Set("state", "forged")
		forged := url.URL{Scheme: answer.Scheme, Host: answer.Host, Path: answer.Path, RawQuery: q.Encode()}
		b.Open(forged.String())
		s.refused(t, b, "")
	})
	s.k.Clock.Add(time.Minute)
}
