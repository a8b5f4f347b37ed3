package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func quietLog() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, tc := range map[string]struct {
		peer      string
		forwarded []string
		ip        string
		network   string
	}{
		"direct":                         {"192.0.2.1:1000", nil, "192.0.2.1", "192.0.2.1"},
		"a stranger's header is a story": {"192.0.2.1:1000", []string{"198.51.100.7"}, "192.0.2.1", "192.0.2.1"},
		"behind a proxy":                 {"10.0.0.1:1000", []string{"198.51.100.7"}, "198.51.100.7", "198.51.100.7"},
		"behind two proxies":             {"10.0.0.1:1000", []string{"203.0.113.9, 198.51.100.7, 10.0.0.2"}, "198.51.100.7", "198.51.100.7"},
		"two header lines":               {"10.0.0.1:1000", []string{"203.0.113.9", "198.51.100.7"}, "198.51.100.7", "198.51.100.7"},
		"with a port":                    {"10.0.0.1:1000", []string{"198.51.100.7:4711"}, "198.51.100.7", "198.51.100.7"},
		"unreadable":                     {"10.0.0.1:1000", []string{"198.51.100.7, <b>"}, "10.0.0.1", "10.0.0.1"},
		"empty":                          {"10.0.0.1:1000", []string{""}, "10.0.0.1", "10.0.0.1"},
		"IPv6 counts by /64":             {"[2001:db8:1:2:3:4:5:6]:1000", nil, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		"IPv4 in IPv6":                   {"[::ffff:192.0.2.1]:1000", nil, "192.0.2.1", "192.0.2.1"},
		"endless header":                 {"10.0.0.1:1000", []string{"203.0.113.9" + strings.Repeat(",10.0.0.2", 10000)}, "10.0.0.2", "10.0.0.2"},
		"no address":                     {"@", nil, "invalid IP", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var ip, network string
			h := Chain(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				ip, network = ClientIP(r.Context()).String(), Network(r.Context())
			}), Options{Trusted: trusted, Log: quietLog()})
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tc.peer
			for _, f := range tc.forwarded {
				r.Header.Add("X-Forwarded-For", f)
			}
			h.ServeHTTP(httptest.NewRecorder(), r)
			if ip != tc.ip || network != tc.network {
				t.Errorf("got %s, %s; want %s, %s", ip, network, tc.ip, tc.network)
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	ask := func(peer, id string) (seen, answered string) {
		h := Chain(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = RequestID(r.Context()) }),
			Options{Trusted: trusted, Log: quietLog()})
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = peer
		r.Header.Set("X-Request-Id", id)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return seen, w.Header().Get("X-Request-Id")
	}
	if seen, answered := ask("10.0.0.1:1", "proxy-id-1"); seen != "proxy-id-1" || answered != seen {
		t.Errorf("the proxy's id was not kept: %q, %q", seen, answered)
	}
	for _, id := range []string{"short", "with space and more", strings.Repeat("a", 65), "new\nline-id"} {
		if seen, _ := ask("10.0.0.1:1", id); seen == id || seen == "" {
			t.Errorf("id %q became %q", id, seen)
		}
	}
	a, _ := ask("192.0.2.1:1", "proxy-id-1")
	b, _ := ask("192.0.2.1:1", "proxy-id-1")
	if a == "proxy-id-1" || a == b {
		t.Errorf("strangers choose ids: %q, %q", a, b)
	}
}

func TestOutsideOfChain(t *testing.T) {
	ctx := context.Background()
	if RequestID(ctx) != "" || ClientIP(ctx).IsValid() || Network(ctx) != "" {
		t.Error("something out of nothing")
	}
	ctx = WithClient(ctx, "req", netip.MustParseAddr("::ffff:192.0.2.1"))
	if RequestID(ctx) != "req" || Network(ctx) != "192.0.2.1" {
		t.Errorf("got %s, %s", RequestID(ctx), Network(ctx))
	}
}

func TestBodyLimit(t *testing.T) {
	h := Chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		var tooLong *http.MaxBytesError
		if errors.As(err, &tooLong) {
			w.WriteHeader(http.StatusTeapot)
		}
	}), Options{MaxBody: 10, Log: quietLog()})
	for name, tc := range map[string]struct {
		body      string
		announced bool
		want      int
	}{
		"fits":                  {"0123456789", true, 200},
		"announced and too big": {"0123456789a", true, 413},
		"too big in silence":    {"0123456789a", false, 418},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", strings.NewReader(tc.body))
			if !tc.announced {
				r.ContentLength = -1
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tc.want {
				t.Errorf("status %d, want %d", w.Code, tc.want)
			}
		})
	}
}

func TestX2_PanicEndsOnlyItsRequest(t *testing.T) {
	var log bytes.Buffer
	h := Chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/late":
			io.WriteString(w, "half a page")
			http.NewResponseController(w).Flush()
			panic("late")
		case "/early":
			panic("early")
		}
		io.WriteString(w, "fine")
	}), Options{
		Log:    slog.New(slog.NewJSONHandler(&log, nil)),
		Broken: func(w http.ResponseWriter, r *http.Request) { http.Error(w, RequestID(r.Context()), 500) },
	})
	s := httptest.NewServer(h)
	defer s.Close()
	res, err := http.Get(s.URL + "/early")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != 500 || strings.TrimSpace(string(body)) != res.Header.Get("X-Request-Id") {
		t.Errorf("early panic: %d %q", res.StatusCode, body)
	}
	if res, err := http.Get(s.URL + "/late"); err == nil {
		if _, err := io.ReadAll(res.Body); err == nil {
			t.Error("a half page passed for a whole one")
		}
	}
	if res, err := http.Get(s.URL + "/"); err != nil || res.StatusCode != 200 {
		t.Errorf("the next request: %v %v", res, err)
	}
	if !strings.Contains(log.String(), `"panic":"early"`) || !strings.Contains(log.String(), "chain_test.go") {
		t.Errorf("log: %s", log.String())
	}
}

func TestLogLine(t *testing.T) {
	var log bytes.Buffer
	var observed int
	h := Chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(303) }), Options{
		Log:     slog.New(slog.NewJSONHandler(&log, nil)),
		Observe: func(_ *http.Request, status int, _ time.Duration) { observed = status },
	})
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/authorize?state=SECRET", nil))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/healthz", nil))
	line := log.String()
	if strings.Contains(line, "SECRET") || strings.Count(line, "\n") != 1 || observed != 303 ||
		!strings.Contains(line, `"path":"/authorize"`) || !strings.Contains(line, `"status":303`) {
		t.Errorf("log %q, observed %d", line, observed)
	}
}

func TestRequestHasAnEnd(t *testing.T) {
	h := Chain(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		w.WriteHeader(http.StatusServiceUnavailable)
	}), Options{Timeout: time.Millisecond, Log: quietLog()})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 503 {
		t.Errorf("status %d", w.Code)
	}
}

func TestHandle(t *testing.T) {
	h := Handle(func(http.ResponseWriter, *http.Request) error { return errors.New("no") },
		func(w http.ResponseWriter, _ *http.Request, err error) { http.Error(w, err.Error(), http.StatusTeapot) })
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 418 || strings.TrimSpace(w.Body.String()) != "no" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func FuzzForwarded(f *testing.F) {
	f.Add("198.51.100.7, 10.0.0.2", "abc-12345")
	o := Options{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	f.Fuzz(func(t *testing.T, forwarded, id string) {
		if ip := o.forwarded(netip.MustParseAddr("10.0.0.1"), []string{forwarded}); !ip.IsValid() || ip.Is4In6() || ip.Zone() != "" {
			t.Errorf("address %v", ip)
		}
		if strings.ContainsAny(cleanID(id), "\r\n\" ") {
			t.Errorf("id %q", id)
		}
	})
}
