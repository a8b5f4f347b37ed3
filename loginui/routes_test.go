package loginui

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/internal/htmlcheck"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/loginui/page"
	"github.com/kapi-id/kapi/loginui/visitor"
)

// audience is one page at /here.
type audience struct{ pages *page.Pages }

func (a audience) Mount(r *mux.Router) {
	r.Handle("/here", a.pages.Get(func(w http.ResponseWriter, r *http.Request) error {
		return a.pages.Render(w, r, http.StatusOK, "visitor/help", page.View{})
	})).Methods(http.MethodGet)
}

func TestMount(t *testing.T) {
	catalogue, err := words.Load(page.Words(), visitor.Words())
	if err != nil {
		t.Fatal(err)
	}
	src := visitor.Source()
	pages, err := page.New(page.Config{Catalogue: catalogue, Sources: []page.Source{src}, Cookies: web.Cookies{}, Issuer: "http://localhost:8080", Now: time.Now,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r := mux.NewRouter()
	Mount(r, pages, audience{pages})
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		req := httptest.NewRequest(method, path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req)
		return w
	}
	here := ask("GET", "/here", "")
	n, err := htmlcheck.Parse(here.Body.String())
	if err != nil || here.Code != 200 {
		t.Fatal(err, here.Code)
	}
	// Whatever a page links of ours is there, under an address that may be kept.
	for _, e := range append(n.All("link"), n.All("script")...) {
		w := ask("GET", e.Attr("href")+e.Attr("src"), "")
		if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Body.Len() == 0 {
			t.Errorf("%s%s: %d %v", e.Attr("href"), e.Attr("src"), w.Code, w.Header())
		}
	}
	for _, tc := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/nowhere", "", 404}, {"POST", "/here", "a=b", 405}, {"GET", "/language", "", 405}, {"POST", "/language", "lang=en&to=/here", 303},
		{"GET", "/static/page-1/none.css", "", 404}, {"GET", "/static/../../etc/passwd", "", 301},
	} {
		w := ask(tc.method, tc.path, tc.body)
		if w.Code != tc.status {
			t.Errorf("%s %s: %d, want %d", tc.method, tc.path, w.Code, tc.status)
		}
		if bad := htmlcheck.Rules(w.Body.String()); w.Code >= 400 && len(bad) > 0 {
			t.Errorf("%s %s: %v", tc.method, tc.path, bad)
		}
	}
}
