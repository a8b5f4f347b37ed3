package portal

import (
	"crypto/rand"
	"embed"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// Paths that a provider must know of: register BaseURL+CallbackPath as a redirect URI and BaseURL+SignedOutPath as a
// post-logout redirect URI.
const (
	CallbackPath  = "/callback"
	SignedOutPath = "/"
)

// Config says who the portal is and whom it trusts.
type Config struct {
	Issuer       string // of the provider, letter by letter as its discovery document names it
	ClientID     string
	ClientSecret string // sent with client_secret_basic
	BaseURL      string // of the portal itself, without a trailing slash
	Scopes       []string
	Now          func() time.Time // nil = time.Now
	Client       *http.Client     // for calls to the provider; nil = one with a time limit
	// Desks are further applications behind the same pages, each registered with a policy of its own; by name, see Desks.
	Desks map[string]Registration
}

// Registration of an application at the provider.
type Registration struct{ ClientID, ClientSecret string }

// The desks that the portal has pages for, by what the provider is to hold their sign-ins to.
const (
	Strict = "strict" // refuses codes by SMS and backup codes
	Since  = "since"  // two-factor authentication since a day in the past
	From   = "from"   // from a day in the future on
	Alone  = "alone"  // isolated: neither uses nor leaves a session
)

// Desks are their names, in the order of the home page.
func Desks() []string { return []string{Strict, Since, From, Alone} }

// Assurance levels as this portal understands them.
const (
	acrSubstantial = "urn:kapi:loa:substantial"
	acrHigh        = "urn:kapi:loa:high"
)

//go:embed pages/*.html pages/style.css pages/icon.svg
var files embed.FS

type portal struct {
	Config
	provider provider
	pending  shelf[login]
	sessions shelf[session]
	secure   bool
}

// New makes the portal. The provider need not run yet: it is looked up at the first sign-in.
func New(c Config) (http.Handler, error) {
	c.BaseURL = strings.TrimSuffix(c.BaseURL, "/")
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Client == nil {
		c.Client = &http.Client{Timeout: 10 * time.Second}
	}
	if len(c.Scopes) == 0 {
		c.Scopes = []string{oidc.ScopeOpenID, "profile"}
	}
	p := &portal{Config: c, secure: strings.HasPrefix(c.BaseURL, "https://")}
	p.provider = provider{issuer: c.Issuer, client: c.Client}
	p.pending = shelf[login]{life: 40 * time.Minute, most: 10_000, now: c.Now}
	p.sessions = shelf[session]{life: 8 * time.Hour, most: 10_000, now: c.Now}
	for name, r := range c.Desks {
		if _, ok := needs[deskPath(name)]; !ok || r.ClientID == "" {
			return nil, fmt.Errorf("portal: there is no desk %q, or it has no client id", name)
		}
	}
	for name, address := range map[string]string{"Issuer": c.Issuer, "BaseURL": c.BaseURL} {
		if u, err := url.Parse(address); err != nil || u.Host == "" || u.User != nil {
			return nil, fmt.Errorf("portal: %s %q is no address", name, address)
		}
	}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.home)
	mux.HandleFunc("GET /login", p.login)
	mux.HandleFunc("GET "+CallbackPath, p.callback)
	mux.HandleFunc("GET /claims.json", p.claims)
	mux.HandleFunc("GET /logout", p.logout)
	mux.HandleFunc("GET /notifications", p.notifications)
	mux.HandleFunc("GET /sign-document", p.document)
	mux.HandleFunc("POST /sign-document", p.signDocument)
	mux.HandleFunc("GET /desk/{name}", p.desk)
	mux.HandleFunc("GET /style.css", file)
	mux.HandleFunc("GET /icon.svg", file)
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		p.show(w, r, http.StatusNotFound, "message", message{Title: "notfound.title", Text: "notfound.text"})
	})
	return p.guard(http.NewCrossOriginProtection().Handler(mux)), nil
}

// guard sets what every answer carries: no script anywhere, no frame, nothing kept.
func (p *portal) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer") // the callback's address carries the code
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
		if lang := r.URL.Query().Get("lang"); r.Method == http.MethodGet && (lang == "tr" || lang == "en") {
			p.cookie(w, "portal-lang", lang, 365*24*time.Hour)
			http.Redirect(w, r, here(r), http.StatusSeeOther)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// here is the page a language switch comes back to. Only pages that can be asked for again: an answer of the provider
// cannot.
func here(r *http.Request) string {
	if _, ok := needs[r.URL.Path]; ok {
		return r.URL.Path
	}
	return "/"
}

// cookie names begin with "portal-": programs on other ports of localhost share the jar.
func (p *portal) cookie(w http.ResponseWriter, name, value string, life time.Duration) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: p.secure, SameSite: http.SameSiteLaxMode, MaxAge: int(life.Seconds())}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

func cookieOf(r *http.Request, name string) string {
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

func file(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(w, r, files, "pages"+r.URL.Path)
}

// token is 130 random bits.
func token() string { return rand.Text() }
