package provider

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/acr"
)

// A token from before the cut-over: userinfo asks for a stronger sign-in (RFC 9470), and no refresh carries the weak one
// across the date. The family is not dead: it only cannot be used here any more.
func TestCutOver(t *testing.T) {
	k := newKit(t)
	b, to := k.browser(), k.clients["rp-basic"].RedirectURIs[0]
	start := b.begin(ask("rp-basic", to, "scope", "openid profile offline_access"))
	b.prove(start, k.password(ayse))
	in := k.redeem("rp-basic", to, b.answer(b.get("/authorize/callback?id="+start.ID)).Get("code"))
	token, refresh := in.text("access_token"), in.text("refresh_token")
	if got := k.userinfo(token); got.Code != http.StatusOK {
		t.Fatalf("before: %d %s", got.Code, got.Body)
	}
	k.change("rp-basic", func(c *clients.Client) { c.MFARequiredFrom = k.now().Add(time.Minute) })
	if got := k.userinfo(token); got.Code != http.StatusOK {
		t.Fatalf("a minute before: %d %s", got.Code, got.Body)
	}
	k.pass(time.Minute)
	got := k.userinfo(token)
	challenge := got.Header().Get("WWW-Authenticate")
	if got.Code != http.StatusUnauthorized || !strings.HasPrefix(challenge, "Bearer ") ||
		!strings.Contains(challenge, `error="insufficient_user_authentication"`) || !strings.Contains(challenge, `acr_values="`+acr.Substantial.String()+`"`) {
		t.Errorf("after: %d %s", got.Code, challenge)
	}
	if got := k.refresh("rp-basic", refresh); got.Code != http.StatusBadRequest || got.text("error") != "invalid_grant" {
		t.Errorf("refresh: %d %s", got.Code, got.Body)
	}
	k.change("rp-basic", func(c *clients.Client) { c.MFARequiredFrom = time.Time{} })
	if got := k.refresh("rp-basic", refresh); got.Code != http.StatusOK {
		t.Errorf("put off: %d %s", got.Code, got.Body)
	}
}
