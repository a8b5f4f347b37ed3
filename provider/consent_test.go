package provider

import (
	"net/http"
	"testing"

	"github.com/kapi-id/kapi/clients"
)

// P10: a sign-in that was parked at its end brings nothing out once the person has withdrawn what was agreed to in it, or before it.
func TestP10_ParkedBeyondTheConsent(t *testing.T) {
	for name, tc := range map[string]struct {
		policy    string
		consented bool
		error     string
	}{
		"agreed before":                 {"once", false, "access_denied"},
		"agreed in it":                  {"always", true, "access_denied"},
		"agreed because the client did": {"none", true, "access_denied"},
		"never asked":                   {"none", false, ""},
	} {
		k := newKit(t)
		k.change("rp-basic", func(c *clients.Client) { c.Consent = tc.policy })
		for _, withdrawn := range []bool{false, true} {
			b := k.browser()
			x := b.begin(ask("rp-basic", "https://rp1.example/cb"))
			x.Consented = tc.consented
			b.prove(x, k.password(ayse))
			k.withdrawn = withdrawn
			w := b.get("/authorize/callback?id=" + x.ID)
			got := b.answer(w)
			if refused := withdrawn && tc.error != ""; got.Get("error") != "" != refused || got.Has("code") == refused || refused && got.Get("error") != tc.error || got.Get("iss") == "" {
				t.Errorf("%s, withdrawn %v: %d %v", name, withdrawn, w.Code, got)
			}
			if again := b.get("/authorize/callback?id=" + x.ID); again.Code != http.StatusGone {
				t.Errorf("%s, withdrawn %v, again: %d", name, withdrawn, again.Code)
			}
		}
	}
}
