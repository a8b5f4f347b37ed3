package program_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// A client that is isolated has a session of its own in no cookie. Signing out there ends it and nothing else.
func TestIsolatedClientSignsOut(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("alone", map[string]any{
			"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid profile offline_access", "kapi_sso_isolated": true,
		})
		rp.OAuth.Scopes = []string{"openid", "profile", "offline_access"}
		shared := refreshing(k, "shared")
		b := testkapi.NewBrowser(t)
		b.Open(shared.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		sso := shared.Answer(b)
		cookie := b.Cookie("kapi-session")
		enter := func() testkapi.Tokens {
			b.Open(rp.URL()).See("Password")
			signIn(k, b, mehmet, mehmetPassword, "", 0)
			return rp.Answer(b)
		}
		first, second := enter(), enter()
		if first.Claims.SID == second.Claims.SID || b.Cookie("kapi-session") != cookie {
			t.Fatal("the sign-ins are not isolated")
		}
		leave := func() {
			t.Helper()
			bye := "https://alone.example/bye"
			out := send(t, b, http.MethodGet, k.URL+"/end_session?"+url.Values{"id_token_hint": {first.IDToken}, "post_logout_redirect_uri": {bye}}.Encode(), nil)
			if out.Location != bye {
				t.Errorf("%d %s %s", out.Status, out.Location, out.Body)
			}
		}
		leave()
		if r := refresh(t, k, rp, first.RefreshToken); r.Status != http.StatusBadRequest {
			t.Errorf("the refresh token outlives the sign-out: %d %s", r.Status, r.Body)
		}
		if userinfo(t, k, first.AccessToken) != http.StatusUnauthorized {
			t.Error("the access token outlives the sign-out")
		}
		leave() // it is over: nothing is asked, nothing else ends
		if r := refresh(t, k, rp, second.RefreshToken); r.Status != http.StatusOK {
			t.Errorf("another sign-in at the client ended: %d %s", r.Status, r.Body)
		}
		if r := refresh(t, k, shared, sso.RefreshToken); r.Status != http.StatusOK || b.Cookie("kapi-session") != cookie {
			t.Errorf("single sign-on ended: %d %s", r.Status, r.Body)
		}
	})
}
