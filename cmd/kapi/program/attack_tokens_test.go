package program_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// P2: of fifty redemptions at once on all replicas one is answered, and what it got is dead: the code was in two hands.
func TestP2_CodeReplayRace(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, b := refreshing(k, "ssi"), testkapi.NewBrowser(t)
		b.Open(rp.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		for round := range rounds() {
			b.Open(rp.URL())
			form := rp.Redemption(b)
			answers := make([]reply, 50)
			k.Clock.Add(time.Second) // or the quota of the client would be what is tested
			race(len(answers), func(i int) { answers[i] = machinePost(t, k, rp, "/oauth/token", form) })
			var won []reply
			for _, a := range answers {
				if a.Status == http.StatusOK {
					won = append(won, a)
				} else if a.Status != http.StatusBadRequest || oauthError(a) != "invalid_grant" {
					t.Fatalf("round %d: %d %s", round, a.Status, a.Body)
				}
			}
			if len(won) != 1 {
				t.Fatalf("round %d: %d redemptions of one code", round, len(won))
			}
			access, token := member(t, won[0].Body, "access_token"), member(t, won[0].Body, "refresh_token")
			everywhere(k, func(replica int) {
				if s := userinfo(t, k, access); s != http.StatusUnauthorized {
					t.Fatalf("round %d: the access token lives on replica %d: %d", round, replica, s)
				}
				if r := refresh(t, k, rp, token); oauthError(r) != "invalid_grant" {
					t.Fatalf("round %d: the refresh token lives on replica %d: %d %s", round, replica, r.Status, r.Body)
				}
			})
		}
		// The person's session did not suffer.
		b.Open(rp.URL())
		rp.Answer(b)
	})
}

func TestP2_CrossedCodes(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("one", map[string]any{"redirect_uris": []string{"https://one.example/cb", "https://one.example/other"}})
		thief, exempt := k.RP("two", nil), k.RP("exempt", map[string]any{"kapi_require_pkce": false, "redirect_uris": []string{"https://one.example/cb"}})
		b := testkapi.NewBrowser(t)
		b.Open(rp.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		right := rp.Redemption(b)
		with := func(name, value string) url.Values {
			v := maps.Clone(right)
			v[name] = []string{value}
			return v
		}
		without := maps.Clone(right)
		delete(without, "code_verifier")
		for name, tc := range map[string]struct {
			rp   *testkapi.RP
			form url.Values
		}{
			"another client":          {thief, right},
			"a client exempt of PKCE": {exempt, without},
			"another redirect URI":    {rp, with("redirect_uri", "https://one.example/other")},
			"a longer redirect URI":   {rp, with("redirect_uri", right.Get("redirect_uri")+"/")},
			"another verifier":        {rp, with("code_verifier", strings.Repeat("a", 43))},
			"no verifier":             {rp, without},
			"another code":            {rp, with("code", strings.Repeat("a", 43))},
			"the code's start":        {rp, with("code", right.Get("code")[:42])},
			"the code twice as long":  {rp, with("code", right.Get("code")+right.Get("code"))},
		} {
			everywhere(k, func(replica int) {
				if r := machinePost(t, k, tc.rp, "/oauth/token", tc.form); r.Status != http.StatusBadRequest || oauthError(r) != "invalid_grant" {
					t.Errorf("%s at replica %d: %d %s", name, replica, r.Status, r.Body)
				}
			})
		}
		// None of them burned it: it is good at the replica that did not make it, until its minute is over.
		at(k, 1, func() {
			if r := machinePost(t, k, rp, "/oauth/token", right); r.Status != http.StatusOK {
				t.Errorf("a wrong attempt burned the code: %d %s", r.Status, r.Body)
			}
		})
		b.Open(rp.URL())
		late := rp.Redemption(b)
		k.Clock.Add(61 * time.Second)
		if r := machinePost(t, k, rp, "/oauth/token", late); oauthError(r) != "invalid_grant" {
			t.Errorf("a code of a minute ago: %d %s", r.Status, r.Body)
		}
	})
}

// P10: forty refreshes at once move the family by one; a token of before then kills it, on every replica.
func TestP10_RefreshRace(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, b := refreshing(k, "ssi"), testkapi.NewBrowser(t)
		b.Open(rp.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		for round := range rounds() {
			b.Open(rp.URL())
			first := machinePost(t, k, rp, "/oauth/token", rp.Redemption(b))
			old, answers := member(t, first.Body, "refresh_token"), make([]reply, 40)
			race(len(answers), func(i int) { answers[i] = refresh(t, k, rp, old) })
			successors, access := map[string]bool{}, []string{member(t, first.Body, "access_token")}
			for _, a := range answers {
				if a.Status != http.StatusOK {
					t.Fatalf("round %d: %d %s", round, a.Status, a.Body)
				}
				successors[member(t, a.Body, "refresh_token")] = true
				access = append(access, member(t, a.Body, "access_token"))
			}
			if len(successors) != 1 || successors[old] {
				t.Fatalf("round %d: %d successors", round, len(successors))
			}
			k.Clock.Add(6 * time.Second)
			if r := refresh(t, k, rp, old); oauthError(r) != "invalid_grant" {
				t.Fatalf("round %d: used again after the grace: %d %s", round, r.Status, r.Body)
			}
			everywhere(k, func(replica int) {
				for token := range successors {
					if r := refresh(t, k, rp, token); oauthError(r) != "invalid_grant" {
						t.Fatalf("round %d: the successor lives on replica %d: %d %s", round, replica, r.Status, r.Body)
					}
				}
				for _, token := range []string{access[0], access[1], access[40]} {
					if s := userinfo(t, k, token); s != http.StatusUnauthorized {
						t.Fatalf("round %d: an access token lives on replica %d: %d", round, replica, s)
					}
				}
			})
		}
	})
}

// P10: what ends a person's standing ends the refresh tokens, at the next request and on every replica.
func TestP10_RefreshAfterTheEnd(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, db := refreshing(k, "ssi"), owner(t, k)
		for _, tc := range []struct {
			name string
			end  func(b *testkapi.Browser)
		}{
			{"locked by the office", func(*testkapi.Browser) { must(t, db, "UPDATE accounts SET state = 'locked_by_office'") }},
			{"deceased", func(*testkapi.Browser) { must(t, db, "UPDATE accounts SET state = 'deceased'") }},
			{"signed out", func(b *testkapi.Browser) { b.Open(k.URL + "/me").Press("Sign out") }},
			{"signed out from elsewhere", func(*testkapi.Browser) {
				k.Clock.Add(time.Second)
				me(k, t, mehmet, mehmetPassword, "", 0).Post("/me/sessions/others", url.Values{}).See("This browser")
			}},
			{"an idle hour", func(*testkapi.Browser) { k.Clock.Add(time.Hour) }},
			{"password changed elsewhere", func(*testkapi.Browser) {
				other := me(k, t, mehmet, mehmetPassword, "", 0)
				other.Open(k.URL + "/me/password").Submit(map[string]string{"password": mehmetPassword, "new_password": "sarı bisiklet tepede 9"}).See("Your password has been changed.")
			}},
		} {
			b := testkapi.NewBrowser(t)
			b.Open(rp.URL())
			signIn(k, b, mehmet, mehmetPassword, "", 0)
			got := rp.Answer(b)
			tc.end(b)
			everywhere(k, func(replica int) {
				if r := refresh(t, k, rp, got.RefreshToken); r.Status != http.StatusBadRequest || oauthError(r) != "invalid_grant" {
					t.Errorf("%s, replica %d: %d %s", tc.name, replica, r.Status, r.Body)
				}
				if s := userinfo(t, k, got.AccessToken); s != http.StatusUnauthorized {
					t.Errorf("%s, replica %d: userinfo %d", tc.name, replica, s)
				}
			})
			must(t, db, "UPDATE accounts SET state = 'active'")
		}
	})
}

// P10, T2: once a person has withdrawn what they agreed to, the client has nothing of them any more, at the next request and on every replica;
// another client's tokens and the person's session go on, and the client gets what is agreed to anew and no more.
func TestP10_ConsentWithdrawn(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		asking := func(id string, jwt bool) *testkapi.RP {
			members := map[string]any{"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid profile email offline_access", "kapi_consent": "once"}
			if jwt {
				members["kapi_access_token"] = "jwt"
			}
			rp := k.RP(id, members)
			rp.OAuth.Scopes = []string{"openid", "profile", "offline_access"}
			return rp
		}
		for _, jwt := range []bool{false, true} {
			rp, other := asking(fmt.Sprintf("ssi%t", jwt), jwt), asking(fmt.Sprintf("other%t", jwt), jwt)
			home, work := testkapi.NewBrowser(t), testkapi.NewBrowser(t)
			var dead []testkapi.Tokens
			for i, b := range []*testkapi.Browser{home, work} {
				b.Open(rp.URL())
				signIn(k, b, mehmet, mehmetPassword, "", 0)
				if i == 0 {
					b.Press("Share and continue")
				}
				dead = append(dead, rp.Answer(b))
			}
			home.Open(other.URL()).Press("Share and continue")
			alive := other.Answer(home)
			code := rp.Redemption(home.Open(rp.URL()))

			name := fmt.Sprintf("The ssi%t service", jwt)
			page := home.Open(k.URL+"/me/services").See(name, fmt.Sprintf("The other%t service", jwt), "Your name, date of birth and gender")
			path := servicePath(t, page, name)
			ask := page.Open(k.URL+path).See("Withdraw your permission?", name)
			k.Clock.Add(time.Second)
			everywhere(k, func(replica int) { // looking at the question changed nothing
				if s := userinfo(t, k, dead[1].AccessToken); s != http.StatusOK {
					t.Fatalf("replica %d: %d", replica, s)
				}
			})
			ask.Press("Withdraw permission").See("Your permission is withdrawn.").DontSee(name)

			if r := machinePost(t, k, rp, "/oauth/token", code); oauthError(r) != "invalid_grant" {
				t.Errorf("a code from before: %d %s", r.Status, r.Body)
			}
			everywhere(k, func(replica int) {
				for i, got := range dead {
					if r := refresh(t, k, rp, got.RefreshToken); r.Status != http.StatusBadRequest || oauthError(r) != "invalid_grant" {
						t.Errorf("session %d, replica %d: refresh %d %s", i, replica, r.Status, r.Body)
					}
					if s := userinfo(t, k, got.AccessToken); s != http.StatusUnauthorized {
						t.Errorf("session %d, replica %d: userinfo %d", i, replica, s)
					}
					if r := machinePost(t, k, rp, "/oauth/introspect", url.Values{"token": {got.AccessToken}}); r.Body != `{"active":false}` {
						t.Errorf("session %d, replica %d: introspection %s", i, replica, r.Body)
					}
				}
				if s := userinfo(t, k, alive.AccessToken); s != http.StatusOK {
					t.Errorf("replica %d: another client's token: %d", replica, s)
				}
			})
			if r := refresh(t, k, other, alive.RefreshToken); r.Status != http.StatusOK {
				t.Errorf("another client's refresh: %d %s", r.Status, r.Body)
			}
			if r := send(t, work, http.MethodGet, rp.URL("prompt", "none"), nil); !strings.Contains(r.Location, "error=consent_required") {
				t.Errorf("asked silently: %d %s", r.Status, r.Location)
			}
			work.Open(k.URL + "/me/signins").See("Your permission to share data with a service was withdrawn: " + name)
		}
	})
}

// T2: a token that is given after a withdrawal tells what was agreed to anew, and nothing of what was agreed to before.
func TestT2_AfterConsentWithdrawn(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", map[string]any{"scope": "openid profile phone", "kapi_consent": "once"})
		b := testkapi.NewBrowser(t)
		told := func(scopes ...string) map[string]any {
			rp.OAuth.Scopes = scopes
			if b.Open(rp.URL()); strings.HasPrefix(b.URL.Path, "/signin/") && !strings.HasSuffix(b.URL.Path, "/consent") {
				signIn(k, b, mehmet, mehmetPassword, "", 0)
			}
			if !strings.HasSuffix(b.URL.Path, "/consent") {
				t.Fatalf("%v: nobody was asked: at %s", scopes, b.URL)
			}
			b.See("Do you want to share your data?").Press("Share and continue")
			got := rp.Answer(b)
			return jsonOf(t, send(t, nil, http.MethodGet, k.URL+"/userinfo", nil, "Authorization", "Bearer "+got.AccessToken).Body)
		}
		if got := told("openid", "profile", "phone"); got["phone_number"] == nil || got["family_name"] == nil {
			t.Fatalf("agreed to all: %v", got)
		}
		withdraw := func() {
			page := b.Open(k.URL + "/me/services")
			page.Open(k.URL + servicePath(t, page, "The ssi service")).Press("Withdraw permission").See("Your permission is withdrawn.")
		}
		withdraw()
		if got := told("openid", "profile"); got["phone_number"] != nil || got["family_name"] == nil {
			t.Errorf("agreed to the name alone: %v", got)
		}
		// What was withdrawn is asked for again, and a no leaves nothing.
		rp.OAuth.Scopes = []string{"openid", "profile", "phone"}
		b.Open(rp.URL()).See("Do you want to share your data?").Press("Do not share")
		if code, _ := rp.Refused(b); code != "access_denied" {
			t.Errorf("after a no: %s", code)
		}
		b.Open(k.URL + "/me/services").See("Your name, date of birth and gender").DontSee("Your phone number")
	})
}

// servicePath is the page that asks whether to withdraw what a service may know.
func servicePath(t testing.TB, list *testkapi.Browser, name string) string {
	t.Helper()
	for _, part := range strings.Split(list.Body, `<li class="stack">`)[1:] {
		if strings.Contains(part, name) {
			_, after, _ := strings.Cut(part, `href="/me/services/`)
			handle, _, ok := strings.Cut(after, `"`)
			if ok {
				return "/me/services/" + handle
			}
		}
	}
	t.Fatalf("%s is not among the services:\n%s", name, list.Text())
	return ""
}

// T2: two institutions put everything on the table that they got for one person in one session.
func TestT2_TwoInstitutionsCompare(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		members := func(jwt bool) map[string]any {
			m := map[string]any{"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid profile phone offline_access"}
			if jwt {
				m["kapi_access_token"] = "jwt"
			}
			return m
		}
		for _, jwt := range []bool{false, true} {
			b := testkapi.NewBrowser(t)
			var all []map[string]string
			var rps []*testkapi.RP
			var tokens []testkapi.Tokens
			for i, id := range []string{"one", "two"} {
				rp := k.RP(fmt.Sprintf("%s%t", id, jwt), members(jwt))
				rp.OAuth.Scopes = []string{"openid", "profile", "phone", "offline_access"}
				at := b.Open(rp.URL()).URL
				if i == 0 {
					signIn(k, b, mehmet, mehmetPassword, "", 0)
				}
				got := rp.Answer(b)
				seen := map[string]string{"access_token": got.AccessToken, "refresh_token": got.RefreshToken, "id_token": got.IDToken, "transaction": at.Path}
				for name, v := range got.Raw {
					seen["id_token "+name] = fmt.Sprint(v)
				}
				info := send(t, nil, http.MethodGet, k.URL+"/userinfo", nil, "Authorization", "Bearer "+got.AccessToken)
				for name, v := range jsonOf(t, info.Body) {
					seen["userinfo "+name] = fmt.Sprint(v)
				}
				for name, values := range info.Header {
					seen["header "+name] = strings.Join(values, ",")
				}
				if jwt {
					for name, v := range jsonOf(t, string(segment(t, got.AccessToken, 1))) {
						seen["access "+name] = fmt.Sprint(v)
					}
				}
				all, rps, tokens = append(all, seen), append(rps, rp), append(tokens, got)
			}
			for name, v := range all[0] {
				if all[1][name] == v && name != "access aud" && !slices.Contains(common, name[strings.LastIndex(name, " ")+1:]) {
					t.Errorf("both have %s %q", name, v)
				}
			}
			for _, name := range []string{"id_token sub", "id_token sid", "id_token at_hash", "userinfo sub"} {
				if all[0][name] == "" || all[0][name] == all[1][name] {
					t.Errorf("%s: %q and %q", name, all[0][name], all[1][name])
				}
			}
			if all[0]["header Etag"] != "" {
				t.Error("an ETag tells that two answers are about one person")
			}
			// Nothing of the first is worth anything to the second.
			for _, token := range []string{tokens[0].AccessToken, tokens[0].RefreshToken, tokens[0].IDToken} {
				if r := machinePost(t, k, rps[1], "/oauth/introspect", url.Values{"token": {token}}); r.Status != http.StatusOK || r.Body != `{"active":false}` {
					t.Errorf("introspection of a foreign token: %d %s", r.Status, r.Body)
				}
				if r := machinePost(t, k, rps[1], "/oauth/revoke", url.Values{"token": {token}}); r.Status != http.StatusOK || r.Body != "" {
					t.Errorf("revocation of a foreign token: %d %s", r.Status, r.Body)
				}
			}
			if r := refresh(t, k, rps[1], tokens[0].RefreshToken); oauthError(r) != "invalid_grant" {
				t.Errorf("a foreign refresh token: %d %s", r.Status, r.Body)
			}
			if userinfo(t, k, tokens[0].AccessToken) != http.StatusOK || refresh(t, k, rps[0], tokens[0].RefreshToken).Status != http.StatusOK {
				t.Error("a foreign client revoked a token")
			}
		}
	})
}

// common is what two institutions may see alike: the person's own data as far as both may have it, times, levels, and what
// is the same for everybody.
var common = []string{
	"iss", "acr", "amr", "auth_time", "auth_steps", "iat", "exp", "nbf", "name", "given_name", "family_name", "birthdate", "gender", "locale", "updated_at",
	"phone_number", "phone_number_verified", "phone_number_id_verified", "scope", "Content-Type", "Content-Length", "Cache-Control", "Pragma", "X-Content-Type-Options", "Date", "Vary",
}
