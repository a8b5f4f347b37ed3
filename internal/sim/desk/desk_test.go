package desk

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestFront(t *testing.T) {
	front := Front("phone", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for _, c := range []struct {
		host, site string
		want       int
	}{
		{"localhost:8082", "", http.StatusNoContent},
		{"127.0.0.1:8082", "same-origin", http.StatusNoContent},
		{"[::1]:8082", "", http.StatusNoContent},
		{"kapi-phone", "", http.StatusNoContent},
		{"rebound.example:8082", "", http.StatusMisdirectedRequest},
		{"127.0.0.1.evil.example", "", http.StatusMisdirectedRequest},
		{"localhost:8082", "cross-site", http.StatusForbidden},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
		r.Host = c.host
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		front.ServeHTTP(w, r)
		if w.Code != c.want || w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s %s: %d %v", c.host, c.site, w.Code, w.Header())
		}
	}
}
