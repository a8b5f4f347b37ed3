package program_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// Row B1, R69: who closes the password in a session by signature throws out whoever came in by it: the session and what was given out in
// it, the step-up that waits for a code, the sign-in that has proven the password and no more, and the pairing code that was asked for. Each
// session that ends is in the record. "Sign out there" leaves as little behind.
func TestB1_AClosedWayLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	testkapi.Each(t, testkapi.Options{Factors: testkapi.Signature}, func(t *testing.T, k *testkapi.Kapi) {
		k.People(people)
		db := owner(t, k)
		mild := k.RP("mild", map[string]any{"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid offline_access"})
		strict, asks := k.RP("strict", map[string]any{"kapi_min_acr": "substantial"}), k.RP("asks", map[string]any{"kapi_consent": "always"})
		thief := testkapi.NewBrowser(t)
		thief.Open(mild.URL("scope", "openid offline_access"))
		signIn(k, thief, mehmet, mehmetPassword, "", 0)
		stolen := mild.Answer(thief)
		parked := testkapi.NewBrowser(t) // in another browser, no further than the question for consent
		parked.Open(asks.URL())
		signIn(k, parked, mehmet, mehmetPassword, "", 0)
		waits := parked.URL.String()
		thief.Open(strict.URL()).See("code")
		stepUp := thief.URL.String()
		code := k.Phone.Code(t, mehmetPhone, 1)

		k.Clock.Add(time.Minute)
		own := testkapi.NewBrowser(t)
		own.Open(k.URL + "/me/security/access").Follow("Signature").Submit(map[string]string{"national_id": mehmet, "signature": "signed"})
		r := send(t, own, http.MethodPost, k.URL+"/me/security/access", url.Values{"factor": {"password"}, "state": {"closed"}})
		if r.Status != http.StatusSeeOther || !strings.Contains(r.Location, "done=closed") {
			t.Fatalf("%d %s", r.Status, r.Location)
		}

		sealAll(t, k)
		if n := one[int64](t, db, "SELECT COUNT(*) FROM audit_log WHERE name = 'session.ended' AND session <> ''"); n != 1 {
			t.Errorf("%d sessions ended, by the record", n)
		}
		if got := userinfo(t, k, stolen.AccessToken); got != http.StatusUnauthorized {
			t.Errorf("the token still works: %d", got)
		}
		r = send(t, thief, http.MethodPost, stepUp, url.Values{"code": {code}})
		if strings.Contains(r.Location, "callback") {
			t.Errorf("the step-up went to %s", r.Location)
		}
		thief.Open(strings.TrimSuffix(stepUp, "/with/sms")).See("ID number")
		r = send(t, parked, http.MethodPost, waits, url.Values{"consent": {"yes"}})
		if strings.Contains(r.Location, "callback") {
			t.Errorf("the parked sign-in went to %s", r.Location)
		}
		parked.Open(strings.TrimSuffix(waits, "/consent")).See("ID number")
		own.Open(k.URL + "/me").See("My account")
	})
}

// Row B1: a pairing code that was asked for in a session is dead with it, in all the ways in which an owner ends a session elsewhere.
func TestB1_APairingCodeEndsWithItsSession(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		own, thief := me(k, t, ayse, aysePassword, aysePhone, 1), me(k, t, ayse, aysePassword, aysePhone, 2)
		code := thief.Pairing(k)
		list := send(t, own, http.MethodGet, k.URL+"/me/sessions", nil)
		there := regexp.MustCompile(`/me/sessions/[A-Za-z0-9_-]{20,}`).FindString(list.Body)
		if there == "" {
			t.Fatal("no other session on the page")
		}
		if r := send(t, own, http.MethodPost, k.URL+there, nil); r.Status != http.StatusSeeOther {
			t.Fatalf("%d", r.Status)
		}
		if a := k.Device("A thief's phone").Register(code); a.Status == http.StatusCreated {
			t.Error("registered with a code of an ended session")
		}
	})
}
