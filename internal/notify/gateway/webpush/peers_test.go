package webpush

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
)

// The npm package is a foreign browser and push service; it is used where it is installed.
func TestAgainstNodeService(t *testing.T) {
	node, err := exec.LookPath("node")
	modules := os.Getenv("KAPI_TEST_NODE_MODULES")
	if _, e := os.Stat(filepath.Join(modules, "web-push-testing")); err != nil || modules == "" || e != nil {
		t.Skip("NOT TESTED against the Node push service: set KAPI_TEST_NODE_MODULES to a node_modules folder with web-push-testing@1.2.2")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	cmd := exec.Command(node, "testdata/service.js", fmt.Sprint(port))
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); !strings.Contains(line, "running") {
		t.Fatalf("%q %v", line, err)
	}
	base := fmt.Sprintf("http://localhost:%d", port)
	ask := func(path string, in any, out any) int {
		t.Helper()
		b, _ := json.Marshal(in)
		resp, err := http.Post(base+path, "application/json", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if out != nil {
			if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
				t.Fatal(err)
			}
		}
		return resp.StatusCode
	}
	g := made(t, Config{Hosts: []string{"localhost"}, Loopback: true})
	var sub struct {
		Data struct {
			Endpoint   string
			ClientHash string
			Keys       struct{ P256dh, Auth string }
		}
	}
	if s := ask("/subscribe", map[string]string{"userVisibleOnly": "true", "applicationServerKey": g.c.Key.Public()}, &sub); s != http.StatusOK {
		t.Fatalf("subscribe: %d", s)
	}
	to, _ := json.Marshal(map[string]string{"kind": Kind, "endpoint": sub.Data.Endpoint, "p256dh": sub.Data.Keys.P256dh, "auth": sub.Data.Keys.Auth})
	m := notify.Message{To: string(to), Text: `{"kind":"approval","id":"AbC_-1"}`, Deadline: time.Now().Add(time.Minute)}
	if err := g.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Data struct{ Messages []string }
	}
	ask("/get-notifications", map[string]string{"clientHash": sub.Data.ClientHash}, &got)
	if len(got.Data.Messages) != 1 || strings.TrimRight(got.Data.Messages[0], "\x00") != m.Text {
		t.Errorf("the browser reads %q", got.Data.Messages)
	}
	// A subscription for another key is refused, and says nothing about the device.
	other := made(t, Config{Hosts: []string{"localhost"}, Loopback: true})
	if other.c.Key, err = NewKey(func(int) []byte { return []byte(strings.Repeat("z", 32)) }); err != nil {
		t.Fatal(err)
	}
	var f *notify.Failure
	if err := other.Send(t.Context(), m); !errors.As(err, &f) || !f.Final || f.Gone {
		t.Errorf("%+v", err)
	}
	if s := ask("/expire-subscription/"+sub.Data.ClientHash, struct{}{}, nil); s != http.StatusOK {
		t.Fatalf("expire: %d", s)
	}
	if err := g.Send(t.Context(), m); !errors.As(err, &f) || !f.Gone {
		t.Errorf("%+v", err)
	}
}
