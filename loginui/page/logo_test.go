package page

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/internal/fault"
)

var someHash = strings.Repeat("0123456789abcdef", 4)

func TestServiceHasItsLogo(t *testing.T) {
	p := hello(t)
	for logo, shown := range map[string]bool{
		someHash: true, "": false, "../../static/x": false, strings.ToUpper(someHash): false, someHash[1:]: false, someHash[:63] + `"`: false,
		"https://evil.example/logo.png": false, "javascript:alert(1)": false,
	} {
		_, n := show(t, p, "hello/hello", View{Lang: "en", Data: helloData{"x", noon}, Service: &Service{Name: "SSI portal", Address: "ssi.example", Logo: logo}})
		pictures, initials := n.All(".service img"), n.All(".service span.tile")
		if !shown {
			if len(pictures) != 0 || len(initials) != 1 || initials[0].Text() != "S" {
				t.Errorf("%q: %d pictures, %d initials", logo, len(pictures), len(initials))
			}
			continue
		}
		if len(pictures) != 1 || len(initials) != 0 {
			t.Fatalf("%q: %d pictures, %d initials", logo, len(pictures), len(initials))
		}
		// The name beside it says who it is: a reader must not hear it twice.
		img := pictures[0]
		if img.Attr("src") != "/logo/"+someHash+".png" || !n.Has("img[alt]") || img.Attr("alt") != "" || img.Attr("width") != "40" || img.Attr("height") != "40" {
			t.Errorf("<img src=%q alt=%q>", img.Attr("src"), img.Attr("alt"))
		}
		if name, err := n.One(".service strong"); err != nil || name.Text() != "SSI portal" {
			t.Errorf("name %v", err)
		}
	}
}

func TestLogos(t *testing.T) {
	p := hello(t)
	r := mux.NewRouter()
	r.Handle(Logo, p.Logos()).Methods(http.MethodGet, http.MethodHead)
	r.NotFoundHandler = http.HandlerFunc(p.NotFound)
	ask := func(method, path string, header ...string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, path, nil)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		return w
	}
	at := "/logo/" + someHash + ".png"
	if w := ask("GET", at); w.Code != 404 {
		t.Errorf("without logos: %d", w.Code)
	}
	asked := 0
	down := errors.New("database is away")
	p.LogoPNG = func(_ context.Context, hash string) ([]byte, error) {
		asked++
		switch hash {
		case someHash:
			return []byte("the picture"), nil
		case strings.Repeat("d", 64):
			return nil, down
		}
		return nil, fault.ErrNotFound
	}
	for _, tc := range []struct {
		method, path string
		status       int
	}{
		{"GET", at, 200}, {"HEAD", at, 200}, {"GET", "/logo/" + strings.Repeat("0", 64) + ".png", 404}, {"GET", "/logo/" + strings.Repeat("d", 64) + ".png", 500},
		{"GET", "/logo/" + someHash, 404}, {"GET", "/logo/" + someHash + ".svg", 404}, {"GET", "/logo/" + strings.ToUpper(someHash) + ".png", 404},
		{"GET", "/logo/" + someHash[1:] + ".png", 404}, {"GET", "/logo/", 404}, {"GET", "/logo/" + someHash + ".png/x", 404}, {"POST", at, 405},
	} {
		w := ask(tc.method, tc.path)
		if w.Code != tc.status {
			t.Errorf("%s %s: %d, want %d", tc.method, tc.path, w.Code, tc.status)
		}
		if tc.status != 200 && tc.status != 405 && w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: an error that is kept: %q", tc.method, tc.path, w.Header().Get("Cache-Control"))
		}
		if tc.status != 200 {
			continue
		}
		for name, want := range map[string]string{"Content-Type": "image/png", "X-Content-Type-Options": "nosniff", "Cache-Control": "public, max-age=31536000, immutable",
			"Content-Security-Policy": "default-src 'none'; sandbox", "Cross-Origin-Resource-Policy": "same-origin", "Set-Cookie": ""} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", tc.method, name, got, want)
			}
		}
		if body := w.Body.String(); (body == "the picture") != (tc.method == "GET") {
			t.Errorf("%s: %q", tc.method, body)
		}
	}
	if asked != 4 {
		t.Errorf("looked for %d, want 4: what is no hash is looked for nowhere", asked)
	}
}
