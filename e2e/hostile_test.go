package e2e

import (
	"fmt"
	"net/url"
	"testing"
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
	for i, name := range names {
		id := fmt.Sprintf("hostile-%d", i)
		c.kapi("client", "apply", c.file(id+".json", []any{map[string]any{
			"client_id": id, "client_name": name, "client_name#tr": name, "client_secret": portalSecret,
			"redirect_uris": []string{c.Portal + "/callback"}, "scope": "openid profile", "kapi_consent": "always",
		}}))
	}
	ask := func(i int) string {
		return c.Issuer + "/authorize?" + url.Values{"client_id": {fmt.Sprintf("hostile-%d", i)}, "response_type": {"code"}, "scope": {"openid profile"},
			"redirect_uri": {c.Portal + "/callback"}, "code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"}}.Encode()
	}
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
}
