package provider

import (
	"net/http"
	"net/url"
	"strings"
)

// Response modes of the code flow.
const (
	modeQuery    = "query"
	modeFormPost = "form_post"
)

// answer is where the answer to an authorization request goes.
type answer struct {
	RedirectURI string `json:"to"`
	Mode        string `json:"mode"`
	State       string `json:"state,omitempty"`
}

// send brings the browser back to the client. iss stands in every answer, also in errors, so that a client of several
// providers sees who answers (RFC 9207).
func (s *Server) send(w http.ResponseWriter, r *http.Request, a answer, fields ...Field) {
	if a.State != "" {
		fields = append(fields, Field{"state", a.State})
	}
	fields = append(fields, Field{"iss", s.cfg.Issuer})
	noStore(w)
	if a.Mode == modeFormPost {
		s.cfg.Pages.FormPost(w, r, FormPost{Action: a.RedirectURI, Fields: fields})
		return
	}
	redirect(w, extend(a.RedirectURI, fields))
}

// deny answers with an OAuth error.
func (s *Server) deny(w http.ResponseWriter, r *http.Request, a answer, code, description string) {
	fields := []Field{{"error", code}}
	if description != "" {
		fields = append(fields, Field{"error_description", description})
	}
	s.send(w, r, a, fields...)
}

// extend adds fields to the query of a URI and leaves every byte that was there as it is (RFC 6749 §3.1.2).
func extend(uri string, fields []Field) string {
	var b strings.Builder
	b.WriteString(uri)
	separator := byte('?')
	if i := strings.IndexByte(uri, '?'); i >= 0 {
		separator = '&'
		if strings.HasSuffix(uri, "?") || strings.HasSuffix(uri, "&") {
			separator = 0
		}
	}
	for _, f := range fields {
		if separator != 0 {
			b.WriteByte(separator)
		}
		separator = '&'
		b.WriteString(f.Name)
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(f.Value))
	}
	return b.String()
}
