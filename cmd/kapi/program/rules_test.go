package program_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

const withoutChip = `[
 {"national_id":"99000000110","kind":"foreigner","given_name":"Maria","family_name":"Silva","birthdate":"1988-03-17","locale":"en","password":"quiet harbour lamp 9"},
 {"national_id":"40000000464","kind":"citizen","given_name":"Hasan","family_name":"Çelik","birthdate":"1951-06-14","locale":"en","password":"eski saat kulesi 5",
  "documents":[{"type":"old_id_card","serial":"A01123456"}]}]`

// R141, R142, R189 to R191 and R193 to R195: who is a foreigner, or has no chip card and no NFC, declares a number, signs in with a
// signature, types the code that comes to the number, and may switch two-factor authentication on. A password alone proves no number.
func TestR189_ForeignersAndPeopleWithoutAChipCard(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		k.People(withoutChip)
		for _, who := range []struct{ kind, number, password, born, phone string }{
			{"foreigner", "99000000110", "quiet harbour lamp 9", "17.03.1988", "+905550000061"},
			{"citizen", hasan, hasanPassword, hasanBorn, "+905550000062"},
		} {
			details := map[string]string{"phone": who.phone, "kind": who.kind, "national_id": who.number, "birthdate": who.born}
			b := k.atContact(who.number, who.password)
			b.Open("/me/contact/phone").Submit(details)
			b.Submit(map[string]string{"code": k.Phone.Code(t, who.phone, 1)}).See("Verified with a code, not with your ID")
			if b.Open("/me/two-factor").See("Off"); leadsTo(b, "/me/two-factor/on") {
				t.Errorf("%s: two-factor authentication with a number that a password vouches for", who.kind)
			}
			k.Clock.Add(time.Hour)
			s := testkapi.NewBrowser(t).Open(k.URL + "/me/contact")
			sign(s, who.number).See("My contact options")
			s.Open("/me/contact").Press("Verify my mobile phone")
			s.Submit(map[string]string{"code": k.Phone.Code(t, who.phone, 2)}).See("Verified with your ID")
			k.Clock.Add(time.Minute)
			s.Open("/me/two-factor/on").Post("/me/two-factor/on", map[string][]string{"terms": {"yes"}})
			s.Submit(map[string]string{"code": k.Phone.Code(t, who.phone, 3)}).See("Two-factor authentication is on.")
			k.Clock.Add(time.Minute)
			rp := k.RP("ssi-"+who.kind, nil)
			last := testkapi.NewBrowser(t)
			last.Open(rp.URL())
			signIn(k.Kapi, last, who.number, who.password, who.phone, 4)
			if got := rp.Answer(last).Claims; got.ACR != substantial {
				t.Errorf("%s: acr %s", who.kind, got.ACR)
			}
		}
	})
}

// leadsTo says whether the page leads there.
func leadsTo(b *testkapi.Browser, path string) bool {
	return strings.Contains(b.Body, `href="`+path+`"`)
}
