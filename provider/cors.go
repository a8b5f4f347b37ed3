package provider

import (
	"net/http"

	"github.com/kapi-id/kapi/internal/secret"
)

// cors lets scripts of registered browser clients read the answers. Never with credentials: cookies mean nothing at these
// endpoints. A preflight names no client, so the origins of all are one list; "null" is nobody's origin.
func (s *Server) cors(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		if origin := r.Header.Get("Origin"); origin != "" && s.browserOrigin(r, origin) {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
			if r.Method == http.MethodOptions {
				h.Set("Access-Control-Allow-Methods", "GET, POST")
				h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
				h.Set("Access-Control-Max-Age", "7200")
			}
		}
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next(w, r)
	}
}

func (s *Server) browserOrigin(r *http.Request, origin string) bool {
	if origin == "null" || len(origin) > 512 {
		return false
	}
	all, err := s.cfg.Clients.Clients(r.Context())
	if err != nil {
		return false
	}
	for _, c := range all {
		if contains(c.BrowserOrigins, origin) {
			return true
		}
	}
	return false
}

// publicDocument lets everybody read what holds no secret.
func publicDocument(w http.ResponseWriter, r *http.Request) (answered bool) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if r.Method != http.MethodOptions {
		return false
	}
	w.Header().Set("Access-Control-Allow-Methods", "GET")
	w.Header().Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// etag is strong: equal bytes, equal tag.
func etag(b []byte) string { return `"` + base64url.EncodeToString(secret.Hash(string(b))[:16]) + `"` }
