package phone

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 2, 15, 4, 5, 123, time.UTC)

func newPhone(t *testing.T) (*Phone, *httptest.Server) {
	t.Helper()
	p := New(Config{Now: func() time.Time { return start }})
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	return p, s
}

// post delivers a message and returns the status.
func post(t *testing.T, s *httptest.Server, key, to, text string) (int, error) {
	t.Helper()
	body, _ := json.Marshal(map[string]string{"channel": "sms", "from": "KAPI", "to": to, "text": text})
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/inbox", strings.NewReader(string(body)))
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return resp.StatusCode, nil
}

func get(t *testing.T, s *httptest.Server, path string) (int, string) {
	t.Helper()
	resp, err := s.Client().Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(b))
}

func TestInbox(t *testing.T) {
	_, s := newPhone(t)
	if _, body := get(t, s, "/inbox?to=%2B905550000001"); body != "[]" {
		t.Fatalf("empty inbox %s", body)
	}
	for i, to := range []string{"+905550000001", "+905550000002", "+905550000001"} {
		if status, err := post(t, s, fmt.Sprint(i), to, fmt.Sprint("12345", i, " code")); status != http.StatusAccepted || err != nil {
			t.Fatalf("%d %v", status, err)
		}
	}
	want := `[{"at":"2026-01-02T15:04:05Z","channel":"sms","from":"KAPI","to":"+905550000001","text":"123450 code"},` +
		`{"at":"2026-01-02T15:04:05Z","channel":"sms","from":"KAPI","to":"+905550000001","text":"123452 code"}]`
	for _, to := range []string{"%2B905550000001", "+905550000001"} {
		if _, body := get(t, s, "/inbox?to="+to); body != want {
			t.Errorf("?to=%s:\n got %s\nwant %s", to, body, want)
		}
	}
	for _, body := range []string{"", "[]", `{"to":"+90"}`, `{"text":"x"}`, strings.Repeat("{", 1<<20)} {
		resp, err := s.Client().Post(s.URL+"/inbox", "application/json", strings.NewReader(body))
		if err != nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("body %.10q: %v %v", body, resp, err)
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	p, s := newPhone(t)
	for range 3 {
		if status, err := post(t, s, "same", "+1", "a"); status != http.StatusAccepted || err != nil {
			t.Fatalf("%d %v", status, err)
		}
	}
	if n := len(p.Inbox("+1")); n != 1 {
		t.Fatalf("%d messages of one key", n)
	}
	for range 2 {
		_, _ = post(t, s, "", "+1", "a")
	}
	if n := len(p.Inbox("+1")); n != 3 {
		t.Fatalf("%d messages: without a key each is kept", n)
	}
}

func TestTroubles(t *testing.T) {
	for _, c := range []struct {
		trouble Trouble
		status  int // 0 = the connection breaks
		kept    int
	}{
		{None, 202, 1}, {Refuse, 0, 0}, {Failing, 500, 0}, {Busy, 429, 0}, {Lost, 202, 0}, {Duplicate, 202, 2},
	} {
		t.Run(string(c.trouble), func(t *testing.T) {
			p, s := newPhone(t)
			if err := p.Set(c.trouble); err != nil {
				t.Fatal(err)
			}
			status, err := post(t, s, "k", "+1", "a")
			if status != c.status || (err != nil) != (c.status == 0) {
				t.Errorf("status %d, %v", status, err)
			}
			if n := len(p.Inbox("+1")); n != c.kept {
				t.Errorf("%d messages", n)
			}
		})
	}
	p, _ := newPhone(t)
	if p.Set("rain") == nil {
		t.Error("an unknown switch was turned")
	}
}

func TestHangEndsWithTheCaller(t *testing.T) {
	p, s := newPhone(t)
	_ = p.Set(Hang)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/inbox", strings.NewReader(`{"to":"+1","text":"a"}`))
	if resp, err := s.Client().Do(r); err == nil {
		t.Fatalf("answered %d", resp.StatusCode)
	}
	s.Close() // waits for the handler: it must have seen its caller go
	if len(p.Inbox("")) != 0 {
		t.Error("delivered")
	}
}

func TestBounds(t *testing.T) {
	p, _ := newPhone(t)
	for i := range mostKeys + 10 {
		p.keep(fmt.Sprint(i), Message{To: "+1", Text: fmt.Sprint(i)}, 1)
	}
	got := p.Inbox("")
	if len(got) != mostMessages || got[len(got)-1].Text != fmt.Sprint(mostKeys+9) || len(p.seen) != mostKeys || len(p.keys) != mostKeys {
		t.Fatalf("%d messages, %d keys", len(got), len(p.seen))
	}
	p.keep("long", Message{To: "+1", Text: strings.Repeat("ğ", mostText)}, 1)
	if m := p.Inbox("")[mostMessages-1]; len(m.Text) > mostText || strings.ContainsRune(m.Text, '\ufffd') {
		t.Fatalf("text of %d bytes", len(m.Text))
	}
}

func TestPage(t *testing.T) {
	p, s := newPhone(t)
	_, body := get(t, s, "/")
	if !strings.Contains(body, "No messages yet") {
		t.Error("no empty state")
	}
	p.keep("", Message{From: "KAPI", To: "+905550000001", Text: `<script>alert(1)</script> older`}, 1)
	p.keep("", Message{From: "KAPI", To: "+905550000002", Text: `654321 newer`}, 1)
	status, body := get(t, s, "/")
	if status != 200 || strings.Contains(body, "<script>alert") || !strings.Contains(body, "&lt;script&gt;alert(1)") {
		t.Errorf("%d, text not escaped", status)
	}
	if strings.Index(body, "654321 newer") > strings.Index(body, "older") {
		t.Error("newest is not first")
	}
	if _, body := get(t, s, "/list?to=%2B905550000002"); !strings.Contains(body, "654321") || strings.Contains(body, "older") || strings.Contains(body, "<html") {
		t.Errorf("list of one number: %s", body)
	}
	for path, kind := range map[string]string{"/style.css": "text/css; charset=utf-8", "/script.js": "text/javascript; charset=utf-8", "/": "text/html; charset=utf-8"} {
		resp, err := s.Client().Get(s.URL + path)
		if err != nil || resp.Header.Get("Content-Type") != kind || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %v %v", path, err, resp.Header)
		}
	}
	_ = p.Set(Failing)
	if _, body := get(t, s, "/"); !strings.Contains(body, "set to fail") {
		t.Error("the page does not say that the gateway fails")
	}
}

func TestForms(t *testing.T) {
	p, s := newPhone(t)
	send := func(path, origin, value string) int {
		r, _ := http.NewRequest(http.MethodPost, s.URL+path, strings.NewReader(url.Values{"trouble": {value}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := send("/trouble", s.URL, "lost"); got != http.StatusSeeOther || p.trouble != Lost {
		t.Errorf("%d, %s", got, p.trouble)
	}
	if got := send("/trouble", s.URL, "rain"); got != http.StatusBadRequest {
		t.Errorf("unknown: %d", got)
	}
	for _, path := range []string{"/trouble", "/clear", "/inbox"} {
		if got := send(path, "http://evil.example", "none"); got != http.StatusForbidden {
			t.Errorf("%s from another origin: %d", path, got)
		}
	}
	p.keep("", Message{To: "+1", Text: "a"}, 1)
	if got := send("/clear", s.URL, ""); got != http.StatusSeeOther || len(p.Inbox("")) != 0 {
		t.Errorf("clear: %d", got)
	}
}

func TestNoDomainName(t *testing.T) {
	p := New(Config{})
	for host, want := range map[string]int{
		"localhost:8082": 200, "127.0.0.1:8082": 200, "[::1]:8082": 200, "phone": 200, "evil.example": 421, "evil.example:8082": 421,
		"127.0.0.1.evil.example": 421,
	} {
		r := httptest.NewRequest(http.MethodGet, "/inbox", nil)
		r.Host = host
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", host, w.Code, want)
		}
	}
}
