package app

import (
	"encoding/json"
	"image/png"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/htmlcheck"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/loginui/page"
)

// site is the app with somebody signed in, or an error.
type site struct {
	*mux.Router
	pages  *page.Pages
	reader Reader
	err    error
}

func newSite(t *testing.T) *site {
	t.Helper()
	catalogue, err := words.Load(page.Words(), Words())
	if err != nil {
		t.Fatal(err)
	}
	pages, err := page.New(page.Config{Catalogue: catalogue, Sources: []page.Source{Source()}, Cookies: web.Cookies{}, Issuer: "http://localhost:8080", Now: time.Now,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{Router: mux.NewRouter(), pages: pages}
	h, err := New(Config{Pages: pages, Enter: func(w http.ResponseWriter, r *http.Request) error {
		http.Redirect(w, r, "/signin/t1", http.StatusSeeOther)
		return nil
	}, Reader: func(*http.Request) (Reader, error) { return s.reader, s.err }})
	if err != nil {
		t.Fatal(err)
	}
	s.PathPrefix(page.Static).Handler(pages.Assets())
	h.Mount(s.Router)
	return s
}

func (s *site) get(path, lang string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Header.Set("Accept-Language", lang)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestShell(t *testing.T) {
	s := newSite(t)
	for lang, want := range map[string]string{"tr": "Kapı uygulaması", "en": "The Kapı app"} {
		w := s.get(Path, lang)
		body := w.Body.String()
		if w.Code != 200 || !strings.Contains(body, want) {
			t.Fatalf("%s: %d %s", lang, w.Code, body)
		}
		if bad := htmlcheck.Rules(body); len(bad) > 0 {
			t.Errorf("%s: %v", lang, bad)
		}
		head := w.Header()
		if p := head.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none';") || strings.Contains(p, "unsafe") || strings.Contains(p, "http") {
			t.Errorf("policy %q", p)
		}
		if p := head.Get("Permissions-Policy"); !strings.Contains(p, "camera=(self)") || !strings.Contains(p, "microphone=()") {
			t.Errorf("permissions %q", p)
		}
		n, err := htmlcheck.Parse(body)
		if err != nil {
			t.Fatal(err)
		}
		if len(n.All("noscript")) != 1 {
			t.Error("nobody says what to do without a script")
		}
		for _, e := range n.All("link") {
			if a := s.get(e.Attr("href"), lang); a.Code != 200 {
				t.Errorf("%s: %d", e.Attr("href"), a.Code)
			}
		}
	}
	// What the shell says does not depend on who asks: the service worker keeps it.
	out := s.get(Path, "en").Body.String()
	s.reader = Reader{SignedIn: true, TwoFactor: true, Device: "Ayşe’s phone"}
	if s.get(Path, "en").Body.String() != out {
		t.Error("the shell tells who is signed in")
	}
}

func TestState(t *testing.T) {
	s := newSite(t)
	for _, want := range []Reader{{}, {SignedIn: true, TwoFactor: true, Device: "Ayşe’s phone"}} {
		s.reader = want
		w := s.get(Path+"/state", "en")
		var got Reader
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got != want {
			t.Errorf("%v %v, want %v", got, err, want)
		}
		head := w.Header()
		if at, err := http.ParseTime(head.Get("Date")); err != nil || time.Since(at).Abs() > time.Minute {
			t.Errorf("the clock says %v %v", at, err)
		}
		if w.Code != 200 || head.Get("Cache-Control") != "no-store" || head.Get("Cross-Origin-Resource-Policy") != "same-origin" || head.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%d %v", w.Code, head)
		}
	}
	s.err = fault.New(fault.Unavailable, "")
	if w := s.get(Path+"/state", "en"); w.Code != 503 {
		t.Errorf("status %d", w.Code)
	}
	if w := s.get(Path+"/sign-in", "en"); w.Code != 303 || w.Header().Get("Location") != "/signin/t1" {
		t.Errorf("sign-in: %d %v", w.Code, w.Header())
	}
	for _, path := range []string{Path + "/", Path + "/x", Path + "/state/x"} {
		if w := s.get(path, "en"); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestManifest(t *testing.T) {
	s := newSite(t)
	for lang, name := range map[string]string{"tr": "Mobil Onay", "en": "Mobile Approval"} {
		w := s.get(Path+"/manifest.webmanifest", lang)
		var m struct {
			Name, Lang, Display string
			Start               string `json:"start_url"`
			Scope               string
			Icons               []struct{ Src, Sizes, Type, Purpose string }
			Shortcuts           []struct{ Name, URL string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		if w.Header().Get("Content-Type") != "application/manifest+json" || m.Lang != lang || m.Start != Path || m.Scope != "/" || m.Display != "standalone" || m.Name == "" || m.Shortcuts[0].Name != name {
			t.Errorf("%v %+v", w.Header(), m)
		}
		sizes := map[string]bool{}
		for _, i := range m.Icons {
			sizes[i.Sizes+" "+i.Purpose] = true
			a := s.get(i.Src, lang)
			if a.Code != 200 || a.Header().Get("Content-Type") != i.Type {
				t.Errorf("%s: %d %v", i.Src, a.Code, a.Header())
			}
			if i.Type != "image/png" {
				continue
			}
			c, err := png.DecodeConfig(a.Body)
			if want, _, _ := strings.Cut(i.Sizes, "x"); err != nil || c.Width != c.Height || want != "192" && want != "512" || (want == "192") != (c.Width == 192) {
				t.Errorf("%s: %v %v", i.Src, c, err)
			}
		}
		for _, want := range []string{"192x192 any", "512x512 any", "512x512 maskable"} { // what browsers ask of an app that can be installed
			if !sizes[want] {
				t.Errorf("no icon %s", want)
			}
		}
	}
}

func TestWorker(t *testing.T) {
	s := newSite(t)
	w := s.get(Path+"/worker.js", "en")
	head, body := w.Header(), w.Body.String()
	if w.Code != 200 || !strings.HasPrefix(head.Get("Content-Type"), "text/javascript") || head.Get("Service-Worker-Allowed") != Path || head.Get("Cache-Control") != "no-cache" ||
		head.Get("Content-Security-Policy") != "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'" {
		t.Errorf("%d %v", w.Code, head)
	}
	if s.get(Path+"/worker.js", "tr").Body.String() != body {
		t.Error("the worker changes with the language of the reader")
	}
	for _, path := range regexp.MustCompile(`/static/[^"]+`).FindAllString(body, -1) {
		if a := s.get(path, "en"); a.Code != 200 || !strings.Contains(a.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d", path, a.Code)
		}
	}
	for _, said := range []string{"Your approval is asked for", "Onayınız bekleniyor", "Something changed in your account", "Hesabınızda bir değişiklik oldu"} {
		if !strings.Contains(body, said) {
			t.Errorf("the worker cannot say %q", said)
		}
	}
}

// Every module is cached for times without a network, but for jsQR and the worker itself.
func TestEveryModuleIsOffline(t *testing.T) {
	names, err := fs.Glob(files, "*.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !slices.Contains(offline, "app/"+name) && name != "jsqr.js" && name != "worker.js" {
			t.Errorf("%s is missing without a network", name)
		}
	}
}

var (
	wanted  = regexp.MustCompile(`\bword\("([A-Za-z]+)"|"((?:err|said|action)[A-Z][A-Za-z]*)"|\bfacts\.([a-zA-Z]+)`)
	chosen  = regexp.MustCompile(`[?:] ?"(push[A-Z][a-zA-Z]*)"|= "(push[A-Z][a-zA-Z]*)"`)
	given   = regexp.MustCompile(` data-([a-z-]+)="`)
	element = regexp.MustCompile(`\$\("([a-zA-Z-]+)"\)`)
	shown   = regexp.MustCompile(`\b(?:fill\([a-z]+, )\{([^}]+)\}`)
)

// Whatever a script asks of the shell is there: words (which page.New checked in both languages), elements, and places to fill.
func TestScriptsFindWhatTheyAskFor(t *testing.T) {
	s := newSite(t)
	body := s.get(Path, "en").Body.String()
	block := body[strings.Index(body, `<div id="words"`):]
	block = block[:strings.Index(block, "</div>")]
	have, used := map[string]bool{}, map[string]bool{}
	for _, m := range given.FindAllStringSubmatch(block, -1) {
		have[camel(m[1])] = true
	}
	names, err := fs.Glob(files, "*.js")
	if err != nil || len(names) < 8 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		if name == "jsqr.js" || name == "worker.js" {
			continue
		}
		b, err := files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		js := string(b)
		for _, m := range append(wanted.FindAllStringSubmatch(js, -1), chosen.FindAllStringSubmatch(js, -1)...) {
			key := strings.Join(m[1:], "")
			used[key] = true
			if !have[key] {
				t.Errorf("%s asks for the words %s", name, key)
			}
		}
		for _, m := range element.FindAllStringSubmatch(js, -1) {
			if !strings.Contains(body, `id="`+m[1]+`"`) {
				t.Errorf("%s asks for the element %s", name, m[1])
			}
		}
		for _, m := range shown.FindAllStringSubmatch(js, -1) {
			for part := range strings.SplitSeq(m[1], ",") {
				if at, _, ok := strings.Cut(strings.TrimSpace(part), ":"); ok && regexp.MustCompile(`^[a-z]+$`).MatchString(at) && !strings.Contains(body, `data-show="`+at+`"`) {
					t.Errorf("%s fills %s", name, at)
				}
			}
		}
		if strings.Contains(js, "innerHTML") || strings.Contains(js, "eval(") {
			t.Errorf("%s makes markup or code out of text", name)
		}
	}
	for key := range have {
		if !used[key] {
			t.Errorf("no script uses the words %s", key)
		}
	}
}

func camel(kebab string) string {
	var b strings.Builder
	for i, part := range strings.Split(kebab, "-") {
		if i > 0 {
			part = strings.ToUpper(part[:1]) + part[1:]
		}
		b.WriteString(part)
	}
	return b.String()
}

func TestNewRefusesAnIncompleteConfiguration(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("made of nothing")
	}
}
