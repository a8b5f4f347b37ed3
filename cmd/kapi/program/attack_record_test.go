package program_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// verify runs kapi audit verify beside the server.
func verify(k *testkapi.Kapi, flags ...string) (status int, said string) {
	var out, errs bytes.Buffer
	status = program.Main(append([]string{"audit", "verify"}, flags...), environ(k), &out, &errs)
	return status, out.String() + errs.String()
}

// L2: the owner of the database cannot change what happened without kapi audit verify naming the place.
func TestL2_TheOwnerRewritesTheRecord(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, db := k.RP("ssi", nil), owner(t, k)
		happen := func() {
			for range 3 {
				b := testkapi.NewBrowser(t)
				b.Open(rp.URL())
				signIn(k, b, mehmet, "not this one at all", "", 0)
				signIn(k, b, mehmet, mehmetPassword, "", 0)
				rp.Answer(b)
			}
			sealAll(t, k)
		}
		happen()
		must(t, db, "CREATE TABLE older AS SELECT * FROM audit_log")
		happen()
		k.Quiet() // nothing is chained from here on
		must(t, db, "CREATE TABLE whole AS SELECT * FROM audit_log")
		if status, said := verify(k); status != 0 || !strings.Contains(said, "the record is whole") {
			t.Fatalf("the untouched record: %d %s", status, said)
		}
		if status, said := verify(k, "--without-anchor"); status != 0 || !strings.Contains(said, "0 anchor lines compared") {
			t.Fatalf("the chain alone: %d %s", status, said)
		}
		head, old := one[int64](t, db, "SELECT MAX(seq) FROM audit_log"), one[int64](t, db, "SELECT MAX(seq) FROM older")
		failed := one[int64](t, db, "SELECT MIN(seq) FROM audit_log WHERE name = 'signin.first' AND outcome = 'wrong' AND seq > 2")
		if head < old+6 || failed == 0 {
			t.Fatalf("%d entries, %d of them old, a failure at %d", head, old, failed)
		}
		for _, tc := range []struct {
			name, query string
			at          int64
		}{
			{"a failure becomes a success", "UPDATE audit_log SET outcome = 'ok' WHERE seq = %d", failed},
			{"another person did it", "UPDATE audit_log SET subject = 'somebody' WHERE seq = %d", failed},
			{"it was a second earlier", "UPDATE audit_log SET at = at - 1000000 WHERE seq = %d", failed},
			{"what was sealed is wiped", "UPDATE audit_log SET sealed = prev WHERE seq = %d", failed},
			{"one entry is deleted", "DELETE FROM audit_log WHERE seq = %d", failed},
			{"the first entry is deleted", "DELETE FROM audit_log WHERE seq = %d", 1},
			{"one is deleted and the rest moves up", "DELETE FROM audit_log WHERE seq = %d; UPDATE audit_log SET seq = -seq WHERE seq > %[1]d; UPDATE audit_log SET seq = -seq - 1 WHERE seq < 0", failed},
			{"two change places", "UPDATE audit_log SET seq = 0 WHERE seq = %d; UPDATE audit_log SET seq = %[1]d WHERE seq = %[1]d + 1; UPDATE audit_log SET seq = %[1]d + 1 WHERE seq = 0", failed},
			{"one is slipped in", "UPDATE audit_log SET seq = -seq WHERE seq >= %d; UPDATE audit_log SET seq = -seq + 1 WHERE seq < 0; INSERT INTO audit_log SELECT %[1]d, 'slipped', at, version, name, outcome, actor, subject, client, session, request, sealed, prev, hash FROM whole WHERE seq = %[1]d - 1", failed},
			{"the last five are cut", "DELETE FROM audit_log WHERE seq > %d - 1", head - 4},
			{"all is deleted", "DELETE FROM audit_log WHERE seq >= %d", 1},
			{"an older copy is restored", "DELETE FROM audit_log WHERE seq >= %d - " + fmt.Sprint(old) + "; INSERT INTO audit_log SELECT * FROM older WHERE seq NOT IN (SELECT seq FROM audit_log)", old + 1},
		} {
			for statement := range strings.SplitSeq(fmt.Sprintf(tc.query, tc.at), "; ") {
				must(t, db, statement)
			}
			status, said := verify(k)
			if named := regexp.MustCompile(`audit entry ([0-9]+)`).FindStringSubmatch(said); status != 1 || named == nil || named[1] != fmt.Sprint(tc.at) {
				t.Errorf("%s at entry %d: status %d: %s", tc.name, tc.at, status, said)
			}
			must(t, db, "DELETE FROM audit_log")
			must(t, db, "INSERT INTO audit_log SELECT * FROM whole")
			if status, said := verify(k); status != 0 {
				t.Fatalf("%s could not be put back: %s", tc.name, said)
			}
		}
	})
}

// L2: a decision that cannot be written down does not happen. The store of the record fails, everything else works.
func TestL2_NothingWithoutItsEntry(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, db := refreshing(k, "ssi"), owner(t, k)
		once := k.RP("once", map[string]any{"kapi_consent": "once"})
		fails := func(what string, r reply) {
			t.Helper()
			if r.Status < 500 || strings.Contains(r.Location, "code=") || strings.Contains(r.Header.Get("Set-Cookie"), "session") {
				t.Errorf("%s without an entry: %d %s %v", what, r.Status, r.Location, r.Header.Values("Set-Cookie"))
			}
		}
		b := testkapi.NewBrowser(t)
		page := b.Open(rp.URL()).Target("national_id")
		right := url.Values{"national_id": {mehmet}, "password": {mehmetPassword}}
		heal := failpoint(t, k, db, "INSERT", "audit_pending")
		fails("a right password", send(t, b, http.MethodPost, page, right))
		if b.Cookie("kapi-session") != "" {
			t.Error("a session without an entry")
		}
		fails("a wrong password", send(t, b, http.MethodPost, page, url.Values{"national_id": {mehmet}, "password": {"not this one at all"}}))
		heal()
		b.Open(page)
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		form := rp.Redemption(b)

		heal = failpoint(t, k, db, "INSERT", "audit_pending")
		fails("a code", machinePost(t, k, rp, "/oauth/token", form))
		heal()
		first := machinePost(t, k, rp, "/oauth/token", form) // not burned
		token := member(t, first.Body, "refresh_token")
		there := me(k, t, mehmet, mehmetPassword, "", 0)
		heal = failpoint(t, k, db, "INSERT", "audit_pending")
		fails("a refresh", refresh(t, k, rp, token))
		straight := send(t, b, http.MethodGet, rp.URL(), nil)
		for strings.HasPrefix(straight.Location, "/") { // what ends in the request that began it goes nowhere
			straight = send(t, b, http.MethodGet, k.URL+straight.Location, nil)
		}
		fails("single sign-on", straight)
		fails("a new password", send(t, b, http.MethodPost, k.URL+"/me/password", url.Values{"password": {mehmetPassword}, "new_password": {"sarı bisiklet tepede 9"}}))
		fails("ending the other sessions", send(t, b, http.MethodPost, k.URL+"/me/sessions/others", url.Values{}))
		fails("a revocation", machinePost(t, k, rp, "/oauth/revoke", url.Values{"token": {token}}))
		heal()
		if r := refresh(t, k, rp, token); r.Status != http.StatusOK {
			t.Errorf("the refresh token suffered: %d %s", r.Status, r.Body)
		}
		there.Open(k.URL + "/me").See("My account") // still there
		me(k, t, mehmet, mehmetPassword, "", 0)     // the password is the old one

		own := testkapi.NewBrowser(t)
		own.Open(rp.URL())
		signIn(k, own, zeynep, zeynepPassword, "", 0)
		renew := own.URL.String()
		heal = failpoint(t, k, db, "INSERT", "audit_pending")
		fails("a new password that a sign-in owes", send(t, own, http.MethodPost, renew, url.Values{"new_password": {"gökyüzü altında çay"}}))
		heal()
		k.Clock.Add(time.Minute)
		late := testkapi.NewBrowser(t)
		late.Open(k.URL + "/me")
		signIn(k, late, zeynep, zeynepPassword, "", 0) // the envelope's is still the one
		late.See("Choose a new password")
		own.Open(renew).Submit(map[string]string{"new_password": "gökyüzü altında çay"})
		rp.Answer(own)

		b.Open(once.URL()).See("Do you want to share your data?")
		consent := b.URL.String()
		heal = failpoint(t, k, db, "INSERT", "audit_pending")
		fails("a consent", send(t, b, http.MethodPost, consent, url.Values{"consent": {"yes"}}))
		fails("a refusal", send(t, b, http.MethodPost, consent, url.Values{"consent": {"no"}}))
		heal()
		if n := one[int64](t, db, "SELECT COUNT(*) FROM consents"); n != 0 {
			t.Errorf("%d consents without an entry", n)
		}
		b.Open(consent).Submit(map[string]string{"consent": "yes"})
		once.Answer(b)

		list := b.Open(k.URL + "/me/services")
		heal = failpoint(t, k, db, "INSERT", "audit_pending")
		fails("a withdrawn consent", send(t, b, http.MethodPost, k.URL+servicePath(t, list, "The once service"), url.Values{}))
		heal()
		if n := one[int64](t, db, "SELECT COUNT(*) FROM consents"); n != 1 {
			t.Errorf("%d consents after a withdrawal without an entry", n)
		}
	})
}
