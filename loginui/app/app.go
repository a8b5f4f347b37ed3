package app

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/loginui/page"
)

//go:embed shell.html *.js *.css *.json *.png *.svg LICENSE-jsqr.txt
var files embed.FS

// Path of the app; nothing of it lies elsewhere but its assets.
const Path = "/app"

// Version is what the app calls itself in Kapi-App. Raise it with every change of what it says to the device API; KAPI_APP_MIN_VERSION
// is compared with it.
const Version = "1.0.0"

// Words is the catalogue source of the app.
func Words() fs.FS { return files }

// Source is the source of the app's pages.
func Source() page.Source {
	return page.Source{Name: "app", FS: files, Samples: map[string]any{"shell.html": shellData{}}}
}

// Reader is what the shell may know of who is signed in.
type Reader struct {
	SignedIn  bool   `json:"signed_in"`
	TwoFactor bool   `json:"two_factor"`
	Device    string `json:"device"` // name of the registered device; "" = none
}

// Config of New; all fields are required.
type Config struct {
	Pages *page.Pages
	// Enter leads through a sign-in, where nobody is signed in, and then to Path.
	Enter func(w http.ResponseWriter, r *http.Request) error
	// Reader finds who is signed in; nobody is no error.
	Reader func(r *http.Request) (Reader, error)
}

// Handler serves the app.
type Handler struct {
	Config
	worker    []byte
	manifests map[string][]byte // by language
}

type shellData struct{ Issuer, Version string }

// New checks the configuration and makes what never changes.
func New(c Config) (*Handler, error) {
	if c.Pages == nil || c.Enter == nil || c.Reader == nil {
		return nil, errors.New("app: something is missing from the configuration")
	}
	h := &Handler{Config: c, manifests: map[string][]byte{}}
	var err error
	if h.worker, err = h.makeWorker(); err != nil {
		return nil, err
	}
	for _, lang := range words.Languages {
		if h.manifests[lang], err = h.makeManifest(lang); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Mount adds the routes of the app.
func (h *Handler) Mount(r *mux.Router) {
	get := func(path string, show http.Handler) {
		r.Handle(path, show).Methods(http.MethodGet, http.MethodHead)
	}
	get(Path, h.Pages.Get(h.shell))
	get(Path+"/sign-in", h.Pages.Get(h.Enter))
	get(Path+"/state", h.Pages.Get(h.state))
	get(Path+"/worker.js", h.static("text/javascript; charset=utf-8", func(*http.Request) []byte { return h.worker }))
	get(Path+"/manifest.webmanifest", h.static("application/manifest+json", func(r *http.Request) []byte { return h.manifests[h.Pages.Lang(r, "", nil)] }))
}

// shell is the one page that may use the camera.
func (h *Handler) shell(w http.ResponseWriter, r *http.Request) error {
	return h.Pages.Render(w, r, http.StatusOK, "app/shell", page.View{Here: Path, Camera: true, Data: shellData{h.Pages.Issuer, Version}})
}

func (h *Handler) state(w http.ResponseWriter, r *http.Request) error {
	reader, err := h.Reader(r)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	w.Header().Set("Vary", "Cookie")
	w.Header().Set("Date", h.Pages.Now().UTC().Format(http.TimeFormat)) // the clock that codes of the key app are compared with
	return json.NewEncoder(w).Encode(reader)
}

// static serves what is ours and may be asked for again any time. The policy is the worker's own: it loads our scripts, asks us, and shows our
// icon on a notification (Firefox fetches that by the worker's policy).
func (h *Handler) static(kind string, body func(*http.Request) []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Type", kind)
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		head.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'")
		head.Set("Service-Worker-Allowed", Path)
		head.Set("Cache-Control", "no-cache")
		head.Set("Vary", "Cookie, Accept-Language")
		b := body(r)
		head.Set("Content-Length", fmt.Sprint(len(b)))
		if r.Method != http.MethodHead {
			_, _ = w.Write(b) // the reader went away
		}
	})
}

// offline are the files that the app needs without a network, beside the shell.
var offline = []string{"page/kapi.css", "page/kapi.js", "page/key.js", "page/mark.svg", "page/inter-latin.woff2", "page/inter-latin-ext.woff2",
	"app/style.css", "app/script.js", "app/api.js", "app/approve.js", "app/codes.js", "app/device.js", "app/page.js", "app/scan.js", "app/store.js", "app/totp.js", "app/icon-192.png"}

type workerConfig struct {
	Issuer  string                       `json:"issuer"`
	Version string                       `json:"version"`
	Cache   string                       `json:"cache"`
	Files   []string                     `json:"files"`
	Icon    string                       `json:"icon"`
	Badge   string                       `json:"badge"`
	Words   map[string]map[string]notice `json:"words"` // by language and kind
}

type notice struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

// makeWorker writes the service worker: its parts lie under addresses that change with their content, so it changes with them, and
// browsers that hold an old one notice.
func (h *Handler) makeWorker() ([]byte, error) {
	say := h.Pages.Catalogue.Text
	c := workerConfig{Issuer: h.Pages.Issuer, Version: Version, Words: map[string]map[string]notice{}}
	for _, name := range offline {
		c.Files = append(c.Files, h.Pages.Asset(name))
	}
	c.Icon, c.Badge = h.Pages.Asset("app/icon-192.png"), h.Pages.Asset("app/badge-96.png")
	key, run := h.Pages.Asset("page/key.js"), h.Pages.Asset("app/worker.js")
	if slices.Contains(append(c.Files, c.Icon, c.Badge, key, run), "") {
		return nil, errors.New("app: a file of the service worker is not there")
	}
	cut := func(asset string) string { return strings.TrimPrefix(path.Dir(asset), page.Static) }
	c.Cache = "kapi-" + cut(run) + "-" + cut(key)
	for _, lang := range words.Languages {
		c.Words[lang] = map[string]notice{
			"approval": {say(lang, "app.push_approval", nil), say(lang, "app.push_approval_text", nil)},
			"notice":   {say(lang, "app.push_notice", nil), say(lang, "app.push_notice_text", nil)},
		}
	}
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "// The service worker of the app; see loginui/app/worker.js.\nimport * as key from %q;\nimport { run } from %q;\nrun(key, %s);\n", key, run, b)
	return out.Bytes(), nil
}

type icon struct {
	Src     string `json:"src"`
	Sizes   string `json:"sizes"`
	Type    string `json:"type"`
	Purpose string `json:"purpose"`
}

type shortcut struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

// makeManifest writes the web app manifest. Its scope is the whole site: sign-in and settings stay in the app's own window.
func (h *Handler) makeManifest(lang string) ([]byte, error) {
	say := func(key string) string { return h.Pages.Catalogue.Text(lang, key, nil) }
	return json.MarshalIndent(struct {
		ID         string     `json:"id"`
		Name       string     `json:"name"`
		ShortName  string     `json:"short_name"`
		Lang       string     `json:"lang"`
		Dir        string     `json:"dir"`
		About      string     `json:"description"`
		Start      string     `json:"start_url"`
		Scope      string     `json:"scope"`
		Display    string     `json:"display"`
		Background string     `json:"background_color"`
		Theme      string     `json:"theme_color"`
		Icons      []icon     `json:"icons"`
		Shortcuts  []shortcut `json:"shortcuts"`
	}{
		Path, say("page.kapi"), say("page.kapi"), lang, words.Direction(lang), say("app.about"), Path, "/", "standalone", "#eef1f0", "#0e6173",
		[]icon{
			{h.Pages.Asset("app/icon.svg"), "any", "image/svg+xml", "any"},
			{h.Pages.Asset("app/icon-192.png"), "192x192", "image/png", "any"},
			{h.Pages.Asset("app/icon-512.png"), "512x512", "image/png", "any"},
			{h.Pages.Asset("app/maskable-512.png"), "512x512", "image/png", "maskable"},
		},
		[]shortcut{{say("app.approvals"), Path + "#approvals"}, {say("app.scan"), Path + "#scan"}, {say("app.codes"), Path + "#codes"}},
	}, "", " ")
}
