package provider

import (
	"net/http"
	"strings"
	"testing"

	"github.com/kapi-id/kapi/clients"
)

// P10: a sign-in that was parked at its end brings nothing out once the person has withdrawn what was agreed to in it, or before it.
func TestP10_ParkedBeyondTheConsent(t *testing.T) {
	for name, tc := range map[string]struct {
		policy    string
		consented bool
		status    int
	}{
		"agreed before":                 {"once", false, http.StatusGone},
		"agreed in it":                  {"always", true, http.StatusGone},
		"agreed because the client did": {"none", true, http.StatusGone},
		"never asked":                   {"none", false, http.StatusSeeOther},
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
			want := tc.status
			if !withdrawn {
				want = http.StatusSeeOther
			}
			if w.Code != want || strings.Contains(w.Header().Get("Location"), "code=") != (want == http.StatusSeeOther) {
				t.Errorf("%s, withdrawn %v: %d %s", name, withdrawn, w.Code, w.Header().Get("Location"))
			}
		}
	}
}
