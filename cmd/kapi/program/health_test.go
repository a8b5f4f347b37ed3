package program

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// kapi health asks the server that its settings describe, and only a good answer from itself is a good answer.
func TestHealth(t *testing.T) {
	answers := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/healthz":
			_, _ = io.WriteString(w, "ok\n")
		case r.URL.Path == "/readyz" && r.TLS != nil:
			_, _ = io.WriteString(w, "ready\n")
		case r.URL.Path == "/readyz":
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "not ready\n")
		default:
			t.Errorf("asked for %s", r.URL)
		}
	})
	plain, secure := httptest.NewServer(answers), httptest.NewTLSServer(answers)
	defer plain.Close()
	defer secure.Close()
	elsewhere := httptest.NewServer(http.RedirectHandler(plain.URL+"/healthz", http.StatusFound))
	defer elsewhere.Close()
	nobody := httptest.NewServer(nil)
	nobody.Close()
	address := func(s *httptest.Server) string { return "KAPI_LISTEN=" + s.Listener.Addr().String() }
	_, port, _ := strings.Cut(address(secure), ":")
	tls := []string{"KAPI_LISTEN=0.0.0.0:" + port, "KAPI_ISSUER=https://login.example.org", "KAPI_TLS_CERT=cert.pem", "KAPI_TLS_KEY=key.pem"}
	for _, tc := range []struct {
		name, args string
		env        []string
		out, err   string
	}{
		{"lives", "health", []string{address(plain)}, "ok\n", ""},
		{"by a flag", "health --listen " + plain.Listener.Addr().String(), nil, "ok\n", ""},
		{"not ready", "health --ready", []string{address(plain)}, "", `503 Service Unavailable: "not ready"`},
		{"behind its own certificate, on all addresses", "health --ready", tls, "ready\n", ""},
		{"sent elsewhere", "health", []string{address(elsewhere)}, "", "302"},
		{"nobody there", "health", []string{address(nobody)}, "", "refused"},
		{"settings that the server would refuse too", "health", []string{"KAPI_LISTEN=here"}, "", "want host:port"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, problems bytes.Buffer
			status := Main(strings.Fields(tc.args), tc.env, &out, &problems)
			if (status == 0) != (tc.err == "") || out.String() != tc.out || !strings.Contains(problems.String(), tc.err) {
				t.Errorf("status %d, %q, %q", status, out.String(), problems.String())
			}
		})
	}
}
