package program_test

import (
	"net/http"
	"testing"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// userinfo returns the status of /userinfo for an access token.
func userinfo(t *testing.T, k *testkapi.Kapi, token string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, k.URL+"/userinfo", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
