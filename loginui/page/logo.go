package page

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/internal/fault"
)

// Logo is where logos of services are served, by the hash of their content: what is there never changes.
const Logo = "/logo/{hash:[0-9a-f]{64}}.png"

// logoPath is the address of a logo, "" for what is no hash.
func logoPath(hash string) string {
	if len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "" {
		return ""
	}
	return "/logo/" + hash + ".png"
}

// Logos serves the logos at Logo. They were painted by us at the registration; still the answer says that it is a picture
// and nothing else, for whoever opens it by itself.
func (p *Pages) Logos() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hash := mux.Vars(r)["hash"]
		if p.LogoPNG == nil {
			p.NotFound(w, r)
			return
		}
		png, err := p.LogoPNG(r.Context(), hash)
		switch {
		case errors.Is(err, fault.ErrNotFound):
			p.NotFound(w, r)
			return
		case err != nil:
			p.Fault(w, r, err)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "image/png")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(png))
	})
}
