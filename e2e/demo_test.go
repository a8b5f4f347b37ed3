package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The README's first command, as a stranger uses it: he reads what it prints and follows it.
func TestDemoAsAStrangerMeetsIt(t *testing.T) {
	t.Parallel()
	chromium(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	base := fourPorts(t)
	demo := exec.Command(path, "demo", "--listen-base", fmt.Sprint(base))
	demo.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=" + t.TempDir()}
	said := &journal{}
	demo.Stdout, demo.Stderr = said, said
	dieWithUs(demo)
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- demo.Wait() }()
	t.Cleanup(func() { demo.Process.Kill() })
	text := waitFor(t, said, "Ctrl-C stops all.")
	address := regexp.MustCompile(`(?m)^ *(.*\S) +(http://localhost:\d+)`).FindAllStringSubmatch(text, -1)
	if len(address) != 5 {
		t.Fatalf("the demo prints %d addresses:\n%s", len(address), text)
	}
	site, handset := address[0][2], address[1][2]
	person := regexp.MustCompile(`(?m)^ *(10000000146) +(.*?)  +Ayşe Yılmaz +(\+\d+)`).FindStringSubmatch(text)
	if person == nil {
		t.Fatalf("the demo does not print Ayşe:\n%s", text)
	}

	b := Visit(t, How{})
	b.Open(site).Press("Sign in").SignsIn(Person{NationalID: person[1], Password: person[2]})
	b.Type("code", demoCode(t, handset, person[3])).Submit()
	b.At(site).See("You signed in with your password and a code sent to your phone.")
	phone := Visit(t, How{Unlooked: true}) // the phone speaks one language
	phone.Open(handset).See("is your", "Simulated phone")

	if err := demo.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Ctrl-C: %v\n%s", err, said)
		}
	case <-time.After(patience):
		t.Fatalf("Ctrl-C does not stop the demo\n%s", said)
	}
}

// fourPorts in a row that are free now.
func fourPorts(t *testing.T) int {
	t.Helper()
	for range 100 {
		first, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port, free := first.Addr().(*net.TCPAddr).Port, true
		first.Close()
		for i := range 4 {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+i))
			if free = free && err == nil; err == nil {
				defer l.Close()
			}
		}
		if free {
			return port
		}
	}
	t.Fatal("no four free ports in a row")
	return 0
}

// waitFor polls what a process wrote.
func waitFor(t *testing.T, j *journal, text string) string {
	t.Helper()
	give := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(j.String(), text) {
		select {
		case <-give:
			t.Fatalf("it never says %q:\n%s", text, j)
		case <-tick.C:
		}
	}
	return j.String()
}

// demoCode reads the newest code from the phone's machine-readable inbox.
func demoCode(t *testing.T, handset, number string) string {
	t.Helper()
	give := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		res, err := http.Get(handset + "/inbox?to=" + strings.ReplaceAll(number, "+", "%2B"))
		if err != nil {
			t.Fatal(err)
		}
		var texts []struct{ Channel, From, To, Text string }
		err = json.NewDecoder(res.Body).Decode(&texts)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if n := len(texts); n > 0 {
			if m := texts[n-1]; m.Channel != "sms" || m.To != number {
				t.Fatalf("the inbox holds %+v", m)
			}
			return texts[n-1].Text[:6]
		}
		select {
		case <-give:
			t.Fatal("no code came")
		case <-tick.C:
		}
	}
}
