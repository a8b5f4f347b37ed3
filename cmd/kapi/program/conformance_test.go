package program_test

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/kapi-id/kapi/internal/testkapi"
)

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// The modules of the OpenID certification plans Basic OP and Form Post OP (suite 5.2.4) whose intent is what a session does: what was proven
// when, and whether a page came between. The others are held at the protocol's edge, by the provider's TestConformance_Basic.
func TestConformance_Sessions(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{})
	k.People(people)
	rp := k.RP("suite", nil)
	for _, mode := range []string{"query", "form_post"} {
		t.Run(mode, func(t *testing.T) {
			b := testkapi.NewBrowser(t)
			// asks returns what the client is told without a page, nil where a page comes.
			asks := func(pairs ...string) url.Values {
				t.Helper()
				b.Open(rp.URL(append(pairs, "response_mode", mode)...))
				return tellsClient(t, b, rp, mode)
			}
			redeems := func(got url.Values) testkapi.Tokens {
				t.Helper()
				token, err := rp.OAuth.Exchange(t.Context(), got.Get("code"), oauth2.VerifierOption(rp.Verifies()))
				if err != nil {
					t.Fatal(err)
				}
				return rp.Verify(token, "")
			}
			signs := func() testkapi.Tokens {
				t.Helper()
				b.Submit(map[string]string{"national_id": mehmet, "password": mehmetPassword})
				return redeems(tellsClient(t, b, rp, mode))
			}
			if got := asks("prompt", "none"); got.Get("error") != "login_required" || got.Has("code") {
				t.Errorf("prompt-none-not-logged-in: %v", got)
			}
			if got := asks(); got != nil {
				t.Fatalf("nobody is signed in, and the client hears %v", got)
			}
			first := signs()
			k.Clock.Add(2 * time.Second)
			for name, pairs := range map[string][]string{
				"prompt-none-logged-in": {"prompt", "none"},
				"max-age-10000":         {"max_age", "10000"},
				"id-token-hint":         {"prompt", "none", "id_token_hint", first.IDToken},
			} {
				got := asks(pairs...)
				if got == nil {
					t.Fatalf("%s: a page\n%s", name, b.Text())
				}
				if again := redeems(got).Claims; again.Subject != first.Claims.Subject || again.AuthTime != first.Claims.AuthTime {
					t.Errorf("%s: %+v\nat first %+v", name, again, first.Claims)
				}
			}
			for name, pairs := range map[string][]string{"prompt-login": {"prompt", "login"}, "max-age-1": {"max_age", "1"}} {
				if got := asks(pairs...); got != nil {
					t.Fatalf("%s: the client hears %v", name, got)
				}
				b.See("Password")
				if again := signs().Claims; again.Subject != first.Claims.Subject || again.AuthTime != k.Clock.Now().Unix() || again.AuthTime <= first.Claims.AuthTime {
					t.Errorf("%s: %+v\nat first %+v", name, again, first.Claims)
				}
				k.Clock.Add(2 * time.Second)
			}
			if got := asks("prompt", "none", "max_age", "1"); got.Get("error") != "login_required" {
				t.Errorf("silently, and it is too long ago: %v", got)
			}
		})
	}
}

// tellsClient is the answer that the browser takes to the client, by redirect or by a form, nil where it stands at another page.
func tellsClient(t *testing.T, b *testkapi.Browser, rp *testkapi.RP, mode string) url.Values {
	t.Helper()
	if mode == "query" {
		if b.Left() == nil {
			return nil
		}
		return rp.Left(b)
	}
	if b.Left() != nil || b.Status != http.StatusOK {
		t.Fatalf("by redirect: %v (%d)", b.Left(), b.Status)
	}
	fields := url.Values{}
	for _, f := range hidden.FindAllStringSubmatch(b.Body, -1) {
		fields.Add(f[1], f[2])
	}
	if !fields.Has("iss") {
		return nil
	}
	return fields
}
