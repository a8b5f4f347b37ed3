package program_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// With the gateway's older rules a password of three months is asked about at sign-in, once: the person keeps it, and is asked again after
// three more, or changes it. In both languages, without script.
func TestPasswordReminder(t *testing.T) {
	t.Parallel()
	const months = 93 * 24 * time.Hour
	o := testkapi.Options{Settings: map[string]string{"PASSWORD_PROFILE": "gateway-older"}}
	testkapi.Each(t, o, func(t *testing.T, k *testkapi.Kapi) {
		k.People(people)
		rp, db := k.RP("ssi", nil), owner(t, k)
		enters := func(word string, language string) *testkapi.Browser {
			t.Helper()
			b := testkapi.NewBrowser(t)
			b.Header.Set("Accept-Language", language)
			b.Open(rp.URL())
			signIn(k, b, mehmet, word, "", 0)
			return b
		}
		through := func(b *testkapi.Browser) {
			t.Helper()
			if b.Left() == nil {
				t.Fatalf("at %s: %s", b.URL, b.Text())
			}
			if got := rp.Answer(b).Claims; got.ACR != low {
				t.Errorf("%+v", got)
			}
		}
		through(enters(mehmetPassword, "en"))

		// What must be changed cannot be kept.
		b := testkapi.NewBrowser(t).Open(rp.URL())
		signIn(k, b, zeynep, zeynepPassword, "", 0)
		if strings.Contains(b.Body, `name="keep"`) {
			t.Error("a temporary password can be kept")
		}
		if b.Post(b.URL.String(), url.Values{"keep": {"yes"}}); b.Left() != nil {
			t.Error("a temporary password was kept")
		}

		k.Clock.Add(months)
		b = enters(mehmetPassword, "en").See("Do you want to change your password?", "has not changed for at least 3 months", "Keep my old one")
		page := b.URL.String()
		heal := failpoint(t, k, db, "INSERT", "audit_pending")
		if r := send(t, b, http.MethodPost, page, url.Values{"keep": {"yes"}}); r.Status < 500 {
			t.Errorf("kept without an entry: %d %s", r.Status, r.Location)
		}
		heal()
		b.Open(page).Submit(map[string]string{"new_password": "short"}).See("Use at least 8 characters.", "Keep my old one")
		through(b.Press("Keep my old one"))
		if n := one[int](t, db, "SELECT (SELECT count(*) FROM audit_log WHERE name = 'password.kept') + (SELECT count(*) FROM audit_pending WHERE name = 'password.kept')"); n != 1 {
			t.Errorf("%d entries", n)
		}
		through(enters(mehmetPassword, "en")) // not at each sign-in
		kept := enters(mehmetPassword, "en")
		through(kept)

		k.Clock.Add(months)
		tab := enters(mehmetPassword, "tr").See("Şifrenizi değiştirmek ister misiniz?", "Şifreniz en az 3 aydır değişmedi.", "Eski şifremi kullanmaya devam et")
		through(enters(mehmetPassword, "tr").Press("Eski şifremi kullanmaya devam et"))
		if tab.Press("Eski şifremi kullanmaya devam et"); tab.Left() == nil { // in two tabs
			t.Errorf("at %s: %s", tab.URL, tab.Text())
		}

		k.Clock.Add(months)
		b = enters(mehmetPassword, "tr").Submit(map[string]string{"new_password": "yeni-yol 7 tren"})
		through(b)
		through(enters("yeni-yol 7 tren", "tr"))
		enters(mehmetPassword, "en").See(wrongSignIn)
	})
}
