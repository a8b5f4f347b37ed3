package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// marionette drives Firefox by its own remote protocol: JSON arrays behind their length, over TCP.
type marionette struct {
	mu   sync.Mutex
	conn net.Conn
	in   *bufio.Reader
	last int
}

// wrong is what the browser could not do.
type wrong struct {
	Kind    string `json:"error"`
	Message string `json:"message"`
}

func (w *wrong) Error() string { return w.Kind + ": " + w.Message }

func (m *marionette) read() ([]byte, error) {
	head, err := m.in.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(head, ":"))
	if err != nil || n < 0 || n > 64<<20 {
		return nil, fmt.Errorf("marionette: a message of length %q", head)
	}
	text := make([]byte, n)
	_, err = io.ReadFull(m.in, text)
	return text, err
}

// call runs one command and reads what it returned into out, unless that is nil.
func (m *marionette) call(command string, params, out any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if params == nil {
		params = struct{}{}
	}
	m.last++
	text, err := json.Marshal([]any{0, m.last, command, params})
	if err != nil {
		return err
	}
	if err := m.conn.SetDeadline(time.Now().Add(starting)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(m.conn, "%d:%s", len(text), text); err != nil {
		return err
	}
	if text, err = m.read(); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	var answer [4]json.RawMessage
	var id int
	var refused *wrong
	if err := errors.Join(json.Unmarshal(text, &answer), json.Unmarshal(answer[1], &id), json.Unmarshal(answer[2], &refused)); err != nil || id != m.last {
		return fmt.Errorf("%s: %.200s: %w", command, text, err)
	}
	if refused != nil {
		return refused
	}
	if out == nil {
		return nil
	}
	var value struct {
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(answer[3], &value); err != nil || value.Value == nil {
		return json.Unmarshal(answer[3], out)
	}
	return json.Unmarshal(value.Value, out)
}

// firefox is the program, if there is one.
func firefox(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"firefox-esr", "firefox"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("no Firefox found (Debian: apt-get install firefox-esr)")
	}
	t.Skip("SKIPPED, NOT TESTED IN FIREFOX: no Firefox found (Debian: apt-get install firefox-esr)")
	return ""
}

// starting is how long a command, and the first of all above, may take before the journey is given up; it decides nothing else. The first
// waits until the browser has built itself, which takes seconds where the machine is busy with other browsers.
const starting = 3 * patience

// meet starts the conversation.
func meet(t testing.TB, conn net.Conn) *marionette {
	t.Helper()
	m := &marionette{conn: conn, in: bufio.NewReader(conn)}
	if _, err := m.read(); err != nil { // it introduces itself
		t.Fatal(err)
	}
	err := m.call("WebDriver:NewSession", nil, nil)
	if err == nil {
		err = m.call("WebDriver:SetTimeouts", map[string]any{"script": patience.Milliseconds(), "pageLoad": patience.Milliseconds()}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// startFirefox starts one with a profile of its own and these preferences, and ends it with the test.
func startFirefox(t testing.TB, preferences map[string]any) *marionette {
	t.Helper()
	path := firefox(t)
	profile := t.TempDir()
	var user strings.Builder
	for name, value := range preferences {
		v, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&user, "user_pref(%q, %s);\n", name, v)
	}
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(user.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	said := &journal{}
	cmd := exec.Command(path, "--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile", profile)
	cmd.Env = append(os.Environ(), "HOME="+profile, "MOZ_CRASHREPORTER_DISABLE=1", "DBUS_SESSION_BUS_ADDRESS=disabled:")
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = 10 * time.Second // its own processes hold the pipes a little longer
	dieWithUs(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { _ = cmd.Wait(); close(gone) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-gone
		if t.Failed() {
			t.Logf("Firefox wrote:\n%s", said)
		}
	})
	give := time.After(starting)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if port, err := os.ReadFile(filepath.Join(profile, "MarionetteActivePort")); err == nil {
			if conn, err := net.Dial("tcp", "127.0.0.1:"+strings.TrimSpace(string(port))); err == nil {
				t.Cleanup(func() { conn.Close() })
				return meet(t, conn)
			}
		}
		select {
		case <-give:
			t.Fatalf("Firefox does not start:\n%s", said)
		case <-gone:
			t.Fatalf("Firefox ended:\n%s", said)
		case <-tick.C:
		}
	}
}
