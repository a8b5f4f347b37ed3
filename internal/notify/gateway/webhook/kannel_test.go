package webhook

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
)

// Kannel is a real gateway with an HTTP interface: what deploy/sms/kannel.json sends goes through its smsbox and bearerbox to
// a centre, which is Kannel's own fake one.
func TestAgainstKannel(t *testing.T) {
	bearerbox, err := look("bearerbox")
	smsbox, err2 := look("smsbox")
	if err != nil || err2 != nil {
		t.Skip("NOT TESTED against Kannel: it is missing (apt-get install kannel)")
	}
	dir := t.TempDir()
	admin, box, sms, centre := port(t), port(t), port(t), port(t)
	conf := filepath.Join(dir, "kannel.conf")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("kannel.conf", fmt.Sprintf(`group = core
admin-port = %d
admin-interface = 127.0.0.1
smsbox-port = %d
smsbox-interface = 127.0.0.1
admin-password = admin
log-level = 2

group = smsc
smsc = fake
smsc-id = fake
port = %d
connect-allow-ip = 127.0.0.1

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = %d
sendsms-interface = 127.0.0.1
log-level = 2

group = sendsms-user
username = kapi
password = "p&ss w%%rd"
`, admin, box, centre, sms))
	for _, cmd := range []*exec.Cmd{exec.Command(bearerbox, "-v", "4", conf), exec.Command(smsbox, "-v", "4", conf)} {
		cmd.Dir = dir
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		answering(t, map[string]int{bearerbox: box, smsbox: sms}[cmd.Path])
	}
	conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", centre))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	write("sms-user", "kapi\n")
	write("sms-password", "p&ss w%rd\n")
	b, err := os.ReadFile("../../../../deploy/sms/kannel.json")
	if err != nil {
		t.Fatal(err)
	}
	tpl, err := Parse(b, func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) })
	if err != nil {
		t.Fatal(err)
	}
	g, err := New("kannel", fmt.Sprintf("http://127.0.0.1:%d/cgi-bin/sendsms", sms), "KAPI", tpl, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	m := notify.Message{ID: "1", To: "+905550000001", Text: "123456 is your code for A&B? 100% sure + more.", Deadline: time.Now().Add(5 * time.Minute)}
	if err := g.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if want := "KAPI +905550000001 text " + m.Text; err != nil || !strings.Contains(line, want) {
		t.Errorf("the centre got %q, want %q %v", line, want, err)
	}
	write("sms-password", "wrong")
	if tpl, err = Parse(b, func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, name)) }); err != nil {
		t.Fatal(err)
	}
	if g, err = New("kannel", fmt.Sprintf("http://127.0.0.1:%d/cgi-bin/sendsms", sms), "KAPI", tpl, time.Now); err != nil {
		t.Fatal(err)
	}
	if err := g.Send(t.Context(), m); err == nil {
		t.Error("a wrong password counts as success")
	}
}

// look also finds what Debian keeps for root.
func look(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	return exec.LookPath("/usr/sbin/" + name)
}

func port(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// answering waits until something listens; the test's own deadline is the only limit.
func answering(t *testing.T, port int) {
	t.Helper()
	for {
		if conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			conn.Close()
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("nothing listens on %d", port)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
