package web

import (
	"net/http"
	"time"
)

// The cookies of an installation, by base.
const (
	BrowserCookie = "browser" // the secret that binds a sign-in to the browser that started it
	SessionCookie = "session" // single sign-on
	KnownCookie   = "known"   // a browser this person signed in with before
	LangCookie    = "lang"    // an earlier switch of the language
)

// Year is the life of the known-browser and the language cookies; the others end with the browser session.
const Year = 365 * 24 * time.Hour

// mostCookie bytes of a value are read; ours are far shorter.
const mostCookie = 512

// Cookies writes and reads all cookies of an installation: HttpOnly, SameSite=Lax, Path=/, no Domain. Secure is true for
// an https issuer and adds the __Host- prefix, which no subdomain and no plain-http page can write (RFC 6265bis §4.1.3.2).
type Cookies struct{ Secure bool }

// Name is the cookie's name on the wire.
func (c Cookies) Name(base string) string {
	if c.Secure {
		return "__Host-kapi-" + base
	}
	return "kapi-" + base
}

// Set writes a cookie; maxAge 0 lets it end with the browser session.
func (c Cookies) Set(w http.ResponseWriter, base, value string, maxAge time.Duration) {
	http.SetCookie(w, c.cookie(base, value, int(maxAge/time.Second)))
}

// Get returns the value, "" if there is none. Two cookies of one name with unequal values are read as none: one of them
// was planted, by a path or a neighbouring port, and nobody can tell which.
func (c Cookies) Get(r *http.Request, base string) string {
	var value string
	for i, k := range r.CookiesNamed(c.Name(base)) {
		if i > 0 && k.Value != value || len(k.Value) > mostCookie {
			return ""
		}
		value = k.Value
	}
	return value
}

// Clear makes the browser forget the cookie.
func (c Cookies) Clear(w http.ResponseWriter, base string) {
	http.SetCookie(w, c.cookie(base, "", -1))
}

func (c Cookies) cookie(base, value string, seconds int) *http.Cookie {
	return &http.Cookie{Name: c.Name(base), Value: value, Path: "/", MaxAge: seconds, Secure: c.Secure, HttpOnly: true,
		SameSite: http.SameSiteLaxMode}
}
