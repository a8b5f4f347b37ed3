package call

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestDo(t *testing.T) {
	elsewhere := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere = true }))
	defer other.Close()
	hold := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			<-hold
		case "/moved":
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		case "/big":
			_, _ = w.Write(make([]byte, 4*Most))
		case "/reset":
			conn, _, _ := http.NewResponseController(w).Hijack()
			conn.Close()
		case "/busy":
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/504":
			w.WriteHeader(http.StatusGatewayTimeout)
		case "/500":
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer s.Close()
	defer close(hold)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	l.Close()
	for _, c := range []struct {
		url             string
		ok              bool
		certain, silent bool
		after           time.Duration
	}{
		{url: s.URL + "/fine", ok: true},
		{url: s.URL + "/big", ok: true},
		{url: closed + "/?to=%2B905550000001&text=654321", certain: true, silent: true},
		{url: s.URL + "/hang?to=%2B905550000001&text=654321", silent: true},
		{url: s.URL + "/reset?to=%2B905550000001&text=654321", silent: true},
		{url: s.URL + "/moved?text=654321", certain: true},
		{url: s.URL + "/busy", certain: true, after: 7 * time.Second},
		{url: s.URL + "/500", certain: true},
		{url: s.URL + "/504", silent: true},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		a, f := Do(Client(nil), r)
		cancel()
		if f == nil && a.Status != http.StatusOK {
			f = a.Failure()
		}
		switch {
		case c.ok:
			if f != nil || len(a.Body) > Most {
				t.Errorf("%s: %v, %d bytes", c.url, f, len(a.Body))
			}
		case f == nil:
			t.Errorf("%s: no failure", c.url)
		case f.Certain != c.certain || f.Silent != c.silent || f.RetryAfter != c.after || f.Final:
			t.Errorf("%s: %+v", c.url, f)
		case strings.Contains(f.Error(), "905550000001") || strings.Contains(f.Error(), "654321"):
			t.Errorf("the error repeats the message: %v", f)
		}
	}
	if elsewhere {
		t.Error("a redirect was followed")
	}
}
