package program

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kapi-id/kapi/internal/web"
)

// Every line of a request names it, and names it once: the same key twice is no JSON that every reader takes.
func TestLog_RequestNamedOnce(t *testing.T) {
	var out bytes.Buffer
	log := logger(&out, "debug")
	h := web.Chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.InfoContext(r.Context(), "without")
		log.With("client", "rp").InfoContext(r.Context(), "with attributes", "n", 1)
		log.LogAttrs(r.Context(), slog.LevelInfo, "named already", slog.String("request", web.RequestID(r.Context())), slog.Int("n", 1))
		io.WriteString(w, "ok")
	}), web.Options{Log: log})
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 { // with the line of the request itself
		t.Fatalf("lines: %s", &out)
	}
	for _, l := range lines {
		if n := strings.Count(l, `"request":"`); n != 1 {
			t.Errorf("%d request ids in %s", n, l)
		}
	}
	log.Info("outside of a request")
	if l := out.String()[strings.LastIndex(strings.TrimSpace(out.String()), "\n")+1:]; strings.Contains(l, `"request"`) {
		t.Errorf("a request id outside of a request: %s", l)
	}
}
