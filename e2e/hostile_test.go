package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// T1: what an institution calls itself is text. Every page is inspected for scripts and for reports of its policy, as in
// every other story; here the name tries to be more than a name.
func TestT1_HostileNames(t *testing.T) {
	c := Found(t)
	ayse := who(t, "Ayşe")
	names := []string{
		`<script>document.title="owned"</script>`,
		`"><img src=x onerror="document.title='owned'">`,
		`'-document.title="owned"-'`,
		`{{.Lang}} ${7*7} <svg onload=alert(1)>`,
		`javascript:alert(1)`,
	}
	var clients []any
	for i, name := range names {
		clients = append(clients, map[string]any{
			"client_id": fmt.Sprintf("hostile-%d", i), "client_name": name, "client_name#tr": name, "client_secret": portalSecret,
			"redirect_uris": []string{c.Portal + "/callback"}, "scope": "openid profile", "kapi_consent": "always",
		})
	}
	c.kapi("client", "apply", c.file("hostile.json", clients))
	ask := func(i int) string {
		return c.Issuer + "/authorize?" + url.Values{"client_id": {fmt.Sprintf("hostile-%d", i)}, "response_type": {"code"}, "scope": {"openid profile"},
			"redirect_uri": {c.Portal + "/callback"}, "code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"}}.Encode()
	}
	c.knows(ask(0))
	b := Visit(t, How{})
	for i, name := range names {
		b.Open(ask(i)).At(c.Issuer + "/signin/").See(name)
		for _, planted := range []string{"img[src=x]", "svg[onload]", "[onerror]"} {
			if b.Has(planted) {
				t.Errorf("%s became %s", name, planted)
			}
		}
	}
	b.SignsIn(ayse).Confirms(c, ayse).See(`javascript:alert(1)`) // and on the consent page

	// The picture of an honest one is seen under the same policy; where there is none its initial stands.
	b = Visit(t, How{}).Open(c.Portal + "/login")
	width, err := step(b, call[int](`function(css) { const img = document.querySelector(css); return img?.complete ? img.naturalWidth : 0 }`, ".service img"))
	if b.do("look at the logo", err); width != 128 {
		t.Errorf("a logo of %d pixels", width)
	}
	if b.Open(c.Second + "/login"); b.Has(".service img") || !b.Has(".service span.tile") {
		t.Error("a service without a logo has no initial")
	}
}

// knows waits until the running server has seen what a command changed beside it, which takes up to two seconds.
func (c *Country) knows(authorize string) {
	c.t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for range 600 {
		resp, err := client.Get(authorize)
		if err != nil {
			c.t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusSeeOther {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.t.Fatalf("the server never knew the client of %s", authorize)
}
