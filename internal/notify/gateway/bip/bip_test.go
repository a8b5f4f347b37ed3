package bip

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
)

var message = notify.Message{ID: "0198c0de-0000-7000-8000-000000000001", Channel: "messenger", To: "+905550000001", Text: "123456 \"kod\" <&>"}

// The request is the one of the interface, to the letter.
func TestShape(t *testing.T) {
	var got map[string]any
	var user, password string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ = r.BasicAuth()
		b, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(b, &got)
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer s.Close()
	g, err := New(Config{Name: "messenger-bip", Address: s.URL + "/send", User: "kapi", Password: "p:w", Receiver: Number})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(got)
	want := `{"composition":{"list":[{"message":"123456 \"kod\" \u003c\u0026\u003e","type":0}]},"receiver":{"address":"905550000001","type":2},"txnid":"0198c0de-0000-7000-8000-000000000001"}`
	if string(b) != want || user != "kapi" || password != "p:w" {
		t.Errorf("%s as %s %s, want %s", b, user, password, want)
	}
}

func TestO4_Answers(t *testing.T) {
	for _, c := range []struct {
		name           string
		answer         http.HandlerFunc
		certain, final bool
	}{
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, true, false},
		{"401", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, true, false},
		{"429", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }, true, false},
		{"404", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, true, true},
		{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, true, false},
		{"cut off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false, false},
		{"hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // else the server does not see the caller go
				c.answer(w, r)
			}))
			defer s.Close()
			g, err := New(Config{Name: "b", Address: s.URL, User: "u", Password: "SECRETPASSWORD"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			err = g.Send(ctx, message)
			var f *notify.Failure
			if !errors.As(err, &f) || f.Certain != c.certain || f.Final != c.final {
				t.Fatalf("%+v", err)
			}
			for _, secret := range []string{"SECRETPASSWORD", "905550000001", "123456"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error repeats %s: %v", secret, err)
				}
			}
		})
	}
	g, err := New(Config{Name: "b", Address: "http://127.0.0.1:1", User: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	var f *notify.Failure
	if err := g.Send(t.Context(), message); !errors.As(err, &f) || !f.Certain || !f.Silent {
		t.Errorf("nobody listens: %+v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []Config{
		{Address: "http://bip.example/send", User: "u", Password: "p"}, {Address: "https://u:p@bip.example/send", User: "u", Password: "p"},
		{Address: "https://bip.example/send"}, {Address: "ftp://127.0.0.1/", User: "u", Password: "p"}, {Address: "::", User: "u", Password: "p"},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v", c)
		}
	}
}
