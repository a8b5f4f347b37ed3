package program_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// demo is a demo that runs.
type demo struct {
	t      *testing.T
	base   int
	text   string
	stop   func()
	people map[string][2]string // ID number and password, by given name
}

// paper is written by the demo and read by the test.
type paper struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.Write(b)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.String()
}

// ports finds n in a row that are free.
func ports(t *testing.T, n int) int {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		base, free := first.Addr().(*net.TCPAddr).Port, []net.Listener{first}
		for i := 1; i < n; i++ {
			if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+i)); err == nil {
				free = append(free, l)
			}
		}
		for _, l := range free {
			l.Close()
		}
		if len(free) == n {
			return base
		}
	}
	t.Fatal("no free ports in a row")
	return 0
}

func startDemo(t *testing.T, dir string) *demo {
	t.Helper()
	d, said, ended := &demo{t: t, base: ports(t, 4), people: map[string][2]string{}}, &paper{}, make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- program.Demo(ctx, dir, d.base, said) }()
	d.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%v\n%s", err, said)
		}
	})
	t.Cleanup(d.stop)
	for end := time.Now().Add(time.Minute); !strings.Contains(said.String(), "Ctrl-C stops all."); {
		select {
		case err := <-ended:
			ended <- nil                                                               // for stop
			if err != nil && strings.Contains(err.Error(), "address already in use") { // somebody else was faster
				return startDemo(t, t.TempDir())
			}
			t.Fatalf("%v\n%s", err, said)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(end) {
			t.Fatalf("does not start:\n%s", said)
		}
	}
	d.text = said.String()
	for _, m := range regexp.MustCompile(`(?m)^  (\d{11})  +(\S+)  +(\S+) \S+  .*\S  +\S`).FindAllStringSubmatch(d.text, -1) {
		d.people[m[3]] = [2]string{m[1], m[2]}
	}
	return d
}

func (d *demo) at(i int, path string) string {
	return fmt.Sprintf("http://localhost:%d%s", d.base+i, path)
}

// json asks the simulated phone.
func (d *demo) json(path string, v any) {
	d.t.Helper()
	r, err := http.Get(d.at(2, path))
	if err != nil {
		d.t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		d.t.Fatal(err)
	}
}

// code is the newest one that came to a number by a channel. Messages leave at once; the phone has it in a moment.
func (d *demo) code(number, channel string) string {
	d.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var inbox []struct{ Channel, Text string }
		d.json("/inbox?to="+url.QueryEscape(number), &inbox)
		for _, m := range slices.Backward(inbox) {
			if found := regexp.MustCompile(`\b\d{6}\b`).FindString(m.Text); m.Channel == channel && found != "" {
				return found
			}
		}
	}
	d.t.Fatalf("no code by %s came to %s", channel, number)
	return ""
}

// arrives goes to a page of the portal and signs in with the password.
func (d *demo) arrives(path, name string) *testkapi.Browser {
	d.t.Helper()
	p, ok := d.people[name]
	if !ok {
		d.t.Fatalf("the demo does not list %s:\n%s", name, d.text)
	}
	b := testkapi.NewBrowser(d.t)
	b.Roams = true
	b.Open(d.at(1, path))
	if path == "/" {
		b.Follow("Sign in")
	} else {
		b.Follow("Continue")
	}
	return b.Submit(map[string]string{"national_id": p[0], "password": p[1]})
}

func (d *demo) keyApp() string {
	d.t.Helper()
	var keys []struct{ Name, Code string }
	d.json("/keys", &keys)
	if len(keys) != 1 || keys[0].Name != "Deniz" {
		d.t.Fatalf("the key app shows %v", keys)
	}
	return keys[0].Code
}

// What the README promises to a newcomer, factor by factor.
func TestTheDemoShowsEachWay(t *testing.T) {
	t.Parallel()
	d := startDemo(t, t.TempDir())
	if len(d.people) != 12 {
		t.Errorf("%d people are listed:\n%s", len(d.people), d.text)
	}
	for _, name := range []string{"Zeynep", "Elif", "Can", "Ali"} {
		if d.people[name][0] == "" {
			t.Errorf("%s is not listed", name)
		}
	}
	d.arrives("/", "Ayşe").Submit(map[string]string{"code": d.code("+905550000001", "sms")}).See("your password and a code sent to your phone")
	d.arrives("/", "Maria").Submit(map[string]string{"code": d.code("+905550000006", "sms")}).See("your password and a code sent to your phone")
	d.arrives("/", "Fatma").Submit(map[string]string{"code": d.code("+905550000008", "messenger")}).See("your password and a code sent to your BiP")
	d.arrives("/", "Ali").Submit(map[string]string{"code": d.code("+905550000009", "sim")}).See("your password and a code sent to your phone")
	d.arrives("/", "Hasan").See("You signed in with your password.")
	d.arrives("/", "Zeynep").See("new password")
	d.arrives("/", "Kemal").See("SIM card")
	d.arrives("/notifications", "Elif").DontSee("You see your notifications")
	d.arrives("/notifications", "Mehmet").Submit(map[string]string{"code": d.code("+905550000002", "sms")}).See("You see your notifications")

	d.arrives("/", "Deniz").Press("e-Government Key").Submit(map[string]string{"code": d.keyApp()}).See("your password and the code of your key app")
	printed := regexp.MustCompile(`(?:[0-9A-Z]{4}-){3}[0-9A-Z]{4}`).FindAllString(d.text, -1)
	if len(printed) != 10 {
		t.Fatalf("%d backup codes are printed", len(printed))
	}
	d.arrives("/", "Emine").Follow("Backup code").See("backup code").Submit(map[string]string{"code": printed[4]}).See("your password and a backup code")
}

// What the README promises of a forgotten password and of a changed SIM card.
func TestTheDemoShowsWaysOut(t *testing.T) {
	t.Parallel()
	d := startDemo(t, t.TempDir())
	b := testkapi.NewBrowser(t).Open(d.at(0, "/recover"))
	b.Submit(map[string]string{"reason": "forgot"}).Submit(map[string]string{"national_id": d.people["Ayşe"][0]})
	b.Submit(map[string]string{"birthdate": "23.04.1985", "family_name": "Yılmaz", "document": "id_card", "serial": "A12B34567"})
	b.Submit(map[string]string{"phone": "0555 000 00 01", "email": ""}).Submit(map[string]string{"code": d.code("+905550000001", "sms")})
	b.Submit(map[string]string{"new_password": "gümüş balık ırmakta 9"}).See("Your password has been renewed")

	kemal := d.people["Kemal"]
	b = testkapi.NewBrowser(t).Open(d.at(0, "/me/unblock")).Submit(map[string]string{"national_id": kemal[0], "password": kemal[1]})
	b.Press("Send a code to my recovery address").Submit(map[string]string{"code": d.code("kemal@example.org", "mail")}).See("Your number has been unblocked")
	d.arrives("/", "Kemal").Submit(map[string]string{"code": d.code("+905550000007", "sms")}).See("a code sent to your phone")
}

// The desks of the portal show what a client's registration can ask for.
func TestTheDemoShowsPolicies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := startDemo(t, dir)
	d.arrives("/desk/strict", "Ayşe").DontSee("Enter the code").Press("Back to the service").See("This page needs a stronger sign-in")
	testkapi.NewBrowser(t).Open(d.at(1, "/desk/since")).See("to keep your access and your data safer", "keep your number up to date") // R211, R218
	d.arrives("/desk/since", "Mehmet").Submit(map[string]string{"code": d.code("+905550000002", "sms")}).See("The day has passed", "Substantial")
	d.arrives("/desk/from", "Hasan").See("That day has not come", "Low: one step")
	b := d.arrives("/", "Hasan").See("You signed in with your password.")
	b.Open("/desk/alone").Follow("Continue").See("Sign in").Submit(map[string]string{"national_id": d.people["Hasan"][0], "password": d.people["Hasan"][1]}).See("for the archive alone")
	b = d.arrives("/", "Hasan")
	b.Open("/desk/from").Follow("Continue").See("That day has not come") // single sign-on
	b.Open("/sign-document").Follow("Continue").See("Password")          // a fresh sign-in

	// A second start on the same data knows them all.
	d.stop()
	d = startDemo(t, dir)
	d.arrives("/desk/strict", "Deniz").Submit(map[string]string{"code": d.keyApp()}).See("a second step that this desk takes")
}
