package program

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kapi-id/kapi/storage"
)

// Each gauge of the hash slots shows its own number.
func TestHashSlotsAreShown(t *testing.T) {
	m := newMetrics(func() (int, int, int) { return 3, 21, 8 }, &storage.Counter{}, func() int { return 5 })
	w := httptest.NewRecorder()
	m.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{"\nkapi_hash_slots_used 3\n", "\nkapi_hash_slots_queue 21\n", "\nkapi_hash_slots 8\n", "\nkapi_database_connections 5\n"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %q", want)
		}
	}
}
