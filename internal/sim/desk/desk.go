// Package desk owns what the simulated outside parties share in front of their handlers, and the look of their pages. Enter with Front
// and Style. It refuses to be reached by the name of a web site (DNS rebinding) and to be changed from one (CSRF).
package desk

import (
	"embed"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

//go:embed style.css
var files embed.FS

// Style serves the style sheet of the pages.
func Style(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "style.css") }

// Front puts the guards and the headers of a page before a handler; what is the party's name in a refusal.
func Front(what string, next http.Handler) http.Handler {
	guarded := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "same-origin")
		if !local(r.Host) {
			http.Error(w, "this "+what+" has no domain name", http.StatusMisdirectedRequest)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// local: an address, or a name without a dot such as localhost or the name of a container.
func local(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	_, err = netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || !strings.Contains(host, ".")
}
