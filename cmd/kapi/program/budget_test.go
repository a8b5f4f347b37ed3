package program_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// The budget of database round trips. BEGIN and COMMIT are not counted, RETURNING is no read.
func TestStatementBudget(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", map[string]any{
			"grant_types": []string{"authorization_code", "refresh_token", "client_credentials"}, "scope": "openid profile offline_access",
		})
		machine := k.RP("machine", map[string]any{"grant_types": []string{"client_credentials"}, "redirect_uris": nil, "post_logout_redirect_uris": nil, "kapi_access_token": "jwt"})
		told := k.RP("told", map[string]any{"scope": "openid profile email"})
		rp.OAuth.Scopes = []string{"openid", "profile", "offline_access"}
		k.Quiet() // background work would be counted too
		spent := func(what string, reads, writes int64, do func()) {
			t.Helper()
			k.Counter.Reset()
			do()
			if r, w := k.Counter.Reads.Load(), k.Counter.Writes.Load(); r > reads || w > writes {
				t.Errorf("%s: %d reads and %d writes, the budget is %d and %d", what, r, w, reads, writes)
			}
		}
		get := func(path string) func() {
			return func() {
				if r := send(t, nil, http.MethodGet, k.URL+path, nil); r.Status != http.StatusOK {
					t.Errorf("%s: %d", path, r.Status)
				}
			}
		}
		spent("discovery", 0, 0, get("/.well-known/openid-configuration"))
		spent("keys", 0, 0, get("/keys"))

		b := testkapi.NewBrowser(t)
		var page string
		spent("authorize", 0, 1, func() { page = send(t, b, http.MethodGet, rp.URL(), nil).Location })
		b.Open(k.URL + page)
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		rp.Answer(b)

		// With single sign-on the callback can be looked at alone.
		page = send(t, b, http.MethodGet, rp.URL(), nil).Location
		callback := send(t, b, http.MethodGet, k.URL+page, nil).Location
		if !strings.Contains(callback, "/authorize/callback") {
			t.Fatalf("single sign-on went to %s", callback)
		}
		spent("callback", 0, 3, func() { send(t, b, http.MethodGet, resolve(k, callback), nil) })

		b.Open(rp.URL())
		form := rp.Redemption(b)
		var token reply
		spent("token: code", 0, 3, func() { token = machinePost(t, k, rp, "/oauth/token", form) })
		if token.Status != http.StatusOK {
			t.Fatalf("%d %s", token.Status, token.Body)
		}
		access, refresh := member(t, token.Body, "access_token"), member(t, token.Body, "refresh_token")
		spent("token: refresh", 0, 3, func() {
			token = machinePost(t, k, rp, "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}})
		})
		if token.Status != http.StatusOK {
			t.Fatalf("%d %s", token.Status, token.Body)
		}
		b.Open(told.URL("claims", `{"id_token":{"name":null,"email":null}}`))
		form = told.Redemption(b)
		spent("token: code, with claims about the person in the ID token", 1, 3, func() { token = machinePost(t, k, told, "/oauth/token", form) })
		if token.Status != http.StatusOK || jsonOf(t, string(segment(t, member(t, token.Body, "id_token"), 1)))["name"] == nil {
			t.Fatalf("%d %s", token.Status, token.Body)
		}
		spent("token: client_credentials, JWT", 0, 0, func() {
			token = machinePost(t, k, machine, "/oauth/token", url.Values{"grant_type": {"client_credentials"}})
		})
		if token.Status != http.StatusOK {
			t.Fatalf("%d %s", token.Status, token.Body)
		}
		spent("userinfo", 1, 0, func() {
			if userinfo(t, k, access) != http.StatusOK {
				t.Error("userinfo failed")
			}
		})
		spent("introspection", 1, 0, func() {
			if r := machinePost(t, k, rp, "/oauth/introspect", url.Values{"token": {access}}); !strings.Contains(r.Body, `"active":true`) {
				t.Error(r.Body)
			}
		})
	})
}
