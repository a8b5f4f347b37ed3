package smpp

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/linxGnu/gosmpp/pdu"

	"github.com/kapi-id/kapi/internal/notify"
)

// start runs a real centre and returns the lines of its standard output.
func start(t *testing.T, cmd *exec.Cmd) <-chan string {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines
}

// run keeps g bound during the test.
func run(t *testing.T, g *Gateway) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

// until waits for a condition that the other side brings about; the test's own deadline is the only limit.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for !ok() {
		select {
		case <-t.Context().Done():
			t.Fatalf("%s: never", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func minute(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func message(to, text string) notify.Message {
	return notify.Message{ID: "1", Channel: "sms", To: to, Text: text, Deadline: time.Now().Add(5 * time.Minute)}
}

// The simulator that comes with the library's module is another code base in another language; it is compiled here, with only
// its ports, its address and its delay changed.
func TestAgainstCompiledCentre(t *testing.T) {
	gpp, err := exec.LookPath("g++")
	if err != nil {
		t.Skip("NOT TESTED against the compiled SMSC: g++ is missing (apt-get install g++)")
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/linxGnu/gosmpp").Output()
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "example", "smsc_simulator", "smsc.cpp"))
	if err != nil {
		t.Fatal(err)
	}
	port := free(t)
	code := string(src)
	for _, c := range [][2]string{
		{"INADDR_ANY", "htonl(INADDR_LOOPBACK)"}, {"int portSMPP = 2775", fmt.Sprint("int portSMPP = ", port)},
		{"int portAdmin = 8775", fmt.Sprint("int portAdmin = ", free(t))}, {"(3 + (rand() % 10)) * 1000000L", "0L"},
		{"int main(int argc, const char* argv[]) {", "int main(int argc, const char* argv[]) { setvbuf(stdout, NULL, _IOLBF, 0);"},
	} {
		if !strings.Contains(code, c[0]) {
			t.Fatalf("the simulator has changed: no %q", c[0])
		}
		code = strings.ReplaceAll(code, c[0], c[1])
	}
	tmp := t.TempDir()
	if err := os.WriteFile(filepath.Join(tmp, "smsc.cpp"), []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(gpp, "-w", "-o", filepath.Join(tmp, "smsc"), filepath.Join(tmp, "smsc.cpp")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := start(t, exec.Command(filepath.Join(tmp, "smsc")))
	for l := range lines {
		if strings.Contains(l, "Listening for admin") {
			break
		}
	}
	go func() {
		for range lines {
		}
	}()

	receipts := make(chan string, 10)
	g, err := New(Config{Name: "smpp", Address: fmt.Sprint("127.0.0.1:", port), User: "kapi", Password: "secret", From: "KAPI", Now: time.Now,
		OnReceipt: func(s string) { receipts <- s }})
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan *pdu.DeliverSM, 10)
	g.heard = func(d *pdu.DeliverSM) { heard <- d }
	run(t, g)
	until(t, "bound", g.Ready)
	for _, text := range []string{"123456 is your Kapi security code for SSI.", "123456 Türkçe ğüşıöç"} {
		if err := g.Send(minute(t), message("+905550000001", text)); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		echo := <-heard // it sends back what it took
		if got, err := echo.Message.GetMessage(); err != nil || got != text {
			t.Errorf("sent %q, the centre read %q %v", text, got, err)
		}
		if s := <-receipts; s != "DELIVRD" {
			t.Errorf("receipt %q", s)
		}
	}
	if f := failure(g.Send(minute(t), message("+333", "123456"))); f == nil || !f.Certain || f.Final {
		t.Errorf("ESME_RSUBMITFAIL: %+v", f)
	}
	if f := failure(g.Send(minute(t), message("+9055500", "123456"))); f == nil || !f.Final {
		t.Errorf("ESME_RINVDSTADR: %+v", f)
	}
}

func free(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// The npm package is a third code base; it is used where it is installed.
func TestAgainstNodeCentre(t *testing.T) {
	node, err := exec.LookPath("node")
	modules := os.Getenv("KAPI_TEST_NODE_MODULES")
	if _, e := os.Stat(filepath.Join(modules, "smpp")); err != nil || modules == "" || e != nil {
		t.Skip("NOT TESTED against the Node SMSC: set KAPI_TEST_NODE_MODULES to a node_modules folder with smpp@0.6.0-rc.4")
	}
	cmd := exec.Command(node, "testdata/smsc.js")
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	lines := start(t, cmd)
	next := func() map[string]any {
		t.Helper()
		var m map[string]any
		l, open := <-lines
		if err := json.Unmarshal([]byte(l), &m); err != nil || !open {
			t.Fatalf("%q: %v", l, err)
		}
		return m
	}
	address := fmt.Sprint("127.0.0.1:", next()["port"])
	var log strings.Builder
	receipts := make(chan string, 10)
	g, err := New(Config{Name: "smpp", Address: address, User: "kapi", Password: "s3cret!", SystemType: "OTP", From: "+905559990000", Now: time.Now,
		Log: textLog(&log), OnReceipt: func(s string) { receipts <- s }})
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, g)
	if m := next(); m["bind"] != "kapi" || m["type"] != "OTP" || m["version"] != float64(0x34) {
		t.Errorf("bind %v", m)
	}
	until(t, "bound", g.Ready)
	for text, coding := range map[string]float64{
		"123456 is your Kapi security code for SSI. (1) @ $ _ {x}": 0,
		strings.Repeat("1", 160):                                   0,
		"123456 kodunuz ğışİ":                                      8,
		strings.Repeat("ğ", 70):                                    8,
	} {
		before := time.Now()
		if err := g.Send(minute(t), message("+905550000001", text)); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		m := next()
		drop, _ := m["validity"].(string) // the package turns the relative time into a moment
		dropped, err := time.Parse(time.RFC3339, drop)
		if m["text"] != text || m["coding"] != coding || m["to"] != "905550000001" || m["ton"] != 1.0 || m["npi"] != 1.0 ||
			m["from"] != "905559990000" || m["from_ton"] != 1.0 || m["receipt"] != 1.0 ||
			err != nil || dropped.Before(before.Add(4*time.Minute)) {
			t.Errorf("%q arrived as %v", text, m)
		}
		if s := <-receipts; s != "DELIVRD" {
			t.Errorf("receipt %q", s)
		}
	}
	for to, want := range map[string]notify.Failure{
		"+90555000458": {Certain: true},              // ESME_RTHROTTLED
		"+90555000414": {Certain: true},              // ESME_RMSGQFUL
		"+9055500040B": {Certain: true, Final: true}, // refused by ourselves: no number
		"+90555000401": {Certain: true, Final: true}, // ESME_RINVMSGLEN
		"+90555000408": {Certain: true},              // ESME_RSYSERR
	} {
		f := failure(g.Send(minute(t), message(to, "123456")))
		if f == nil || f.Certain != want.Certain || f.Final != want.Final {
			t.Errorf("%s: %+v", to, f)
		}
		if !strings.HasSuffix(to, "B") {
			next()
		}
	}
	stop()
	if m := next(); m["unbind"] != true {
		t.Errorf("the end: %v", m)
	}
	if s := log.String(); strings.Contains(s, "123456") || strings.Contains(s, "90555") || strings.Contains(s, "s3cret") || !strings.Contains(s, "DELIVRD") {
		t.Errorf("log: %s", s)
	}
}
