package program_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

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
		// Browsers in which the people have signed in before: a new one is told of.
		known, second := me(k, t, mehmet, mehmetPassword, "", 0).Press("Sign out"), me(k, t, ayse, aysePassword, aysePhone, 1).Press("Sign out")
		k.Clock.Add(time.Minute)
		// a sign-in whose code has arrived
		begun := send(t, second, http.MethodGet, rp.URL(), nil).Location
		second.Open(k.URL + begun)
		second.Submit(map[string]string{"national_id": ayse, "password": aysePassword}).See(secondStep)
		code := k.Phone.Code(t, aysePhone, 2)
		two := int64(2) // events of one commit
		if strings.HasPrefix(k.Settings.Database, "postgres") {
			two = 1
		}
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

		b := known
		var page string
		spent("authorize", 0, 1, func() { page = send(t, b, http.MethodGet, rp.URL(), nil).Location })
		spent("first page", 1, 0, func() {
			if r := send(t, b, http.MethodGet, k.URL+page, nil); r.Status != http.StatusOK {
				t.Errorf("first page: %d", r.Status)
			}
		})
		led := func(to string, r reply) {
			t.Helper()
			if r.Status != http.StatusSeeOther || !strings.Contains(r.Location, to) {
				t.Errorf("%d to %q, want %s: %s", r.Status, r.Location, to, r.Body)
			}
		}
		// A try is counted before it is compared and forgotten when it was right; the network's is counted too.
		spent("password", 3, 7, func() {
			led("/authorize/callback", send(t, b, http.MethodPost, k.URL+page+"/with/password", url.Values{"national_id": {mehmet}, "password": {mehmetPassword}}))
		})
		// One read beside the sign-in's own: of the credentials of all second factors. The code is counted, compared and used up by
		// one statement.
		spent("code", 2, 7, func() {
			led("/authorize/callback", send(t, second, http.MethodPost, k.URL+begun+"/with/sms", url.Values{"code": {code}}))
		})
		stranger := testkapi.NewBrowser(t)
		strange := send(t, stranger, http.MethodGet, rp.URL(), nil).Location
		// Which is told of: a count, a line in the person's list, and where the person's app is reached.
		spent("password, in a new browser", 4, 9, func() {
			led("/authorize/callback", send(t, stranger, http.MethodPost, k.URL+strange+"/with/password", url.Values{"national_id": {mehmet}, "password": {mehmetPassword}}))
		})
		third := testkapi.NewBrowser(t)
		other := send(t, third, http.MethodGet, rp.URL(), nil).Location
		spent("password before a code", 3, 5, func() {
			led("/with/sms", send(t, third, http.MethodPost, k.URL+other+"/with/password", url.Values{"national_id": {ayse}, "password": {aysePassword}}))
		})
		k.Clock.Add(time.Minute) // two codes of one person at once would be one too many
		spent("page that sends a code", 3, 5, func() {
			if r := send(t, third, http.MethodGet, k.URL+other+"/with/sms", nil); r.Status != http.StatusOK {
				t.Errorf("code page: %d", r.Status)
			}
		})
		b.Open(k.URL + page)

		// Single sign-on is one request, and no transaction is at rest: the session is moved on once a minute, then comes the grant, and
		// the two events. They are one statement where statements travel together, as on Postgres.
		spent("single sign-on", 1, 2+two, func() { led("code=", send(t, b, http.MethodGet, rp.URL(), nil)) })
		spent("single sign-on, asked silently", 1, 1+two, func() { led("code=", send(t, b, http.MethodGet, rp.URL("prompt", "none"), nil)) })
		spent("silently refused", 0, 0, func() {
			led("login_required", send(t, testkapi.NewBrowser(t), http.MethodGet, rp.URL("prompt", "none"), nil))
		})
		spent("authorize with a session that is not enough", 1, 1, func() {
			page = send(t, b, http.MethodGet, rp.URL("prompt", "select_account"), nil).Location
		})
		b.Open(k.URL + page)
		var callback string
		spent("the session chosen", 2, 2, func() {
			callback = send(t, b, http.MethodPost, k.URL+page+"/account", url.Values{"account": {"same"}}).Location
		})
		if !strings.Contains(callback, "/authorize/callback") {
			t.Fatalf("the choice led to %s", callback)
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
