package program_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// atContact brings a person with a password and no second factor to the page of phone and e-mail.
func (c *country) atContact(number, password string) *testkapi.Browser {
	c.T.Helper()
	b := testkapi.NewBrowser(c.T).Open(c.URL + "/me/contact")
	signIn(c.Kapi, b, number, password, "", 0)
	return b.See("My contact options")
}

func identity(fields map[string]string, number, birthdate string) map[string]string {
	fields["kind"], fields["national_id"], fields["birthdate"] = "citizen", number, birthdate
	return fields
}

const hasanPhone, hasanBorn = "+905550000044", "14.06.1951"

// R56–R63: typed, safety questions, code, verified; and R60: changed.
func TestContactOptions(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		b := k.atContact(hasan, hasanPassword).See("No phone on record", "No e-mail address on record")
		b.Follow("Add a number").Submit(identity(map[string]string{"phone": "0555 000 00 44"}, hasan, hasanBorn)).See("Enter the code we sent to your phone ending 44")
		b.Submit(map[string]string{"code": k.Phone.Code(t, hasanPhone, 1)}).See("Your number has been verified", "Verified with a code, not with your ID")
		// A code that was used, or that is another's, is none.
		b.Open("/me/contact/email").Submit(identity(map[string]string{"email": "hasan@example.org"}, hasan, "1951-06-14")).See("Enter the code we sent by e-mail", "hasan@example.org")
		b.Submit(map[string]string{"code": k.mailed("hasan@example.org", 1)}).See("Your e-mail address has been verified")
		// A new number stands beside the old one until it is proven as far.
		const ofPhone, ofMail = "telefon numarası kodla doğrulandı", "e-posta adresi doğrulandı"
		tellsOf(t, k.Phone, hasanPhone, ofPhone, 1)
		tellsOf(t, k.mail, "hasan@example.org", ofMail, 1)
		k.Clock.Add(time.Minute)
		b.Open("/me/contact/phone").Submit(identity(map[string]string{"phone": "+905550000045"}, hasan, hasanBorn)).See("phone ending 45")
		b.Open("/me/contact").See("ending 44", "ending 45", "Verify my mobile phone now")
		k.Phone.Code(t, "+905550000045", 1) // a code that is replaced before it left is never sent
		k.Clock.Add(31 * time.Second)
		b.Press("Verify my mobile phone now").See("phone ending 45")
		b.Submit(map[string]string{"code": k.Phone.Code(t, "+905550000045", 2)}).See("Your number has been verified", "ending 45").DontSee("ending 44")
		// The old one is told of that, and of what follows for a day; and so is an old address.
		tellsOf(t, k.Phone, hasanPhone, ofPhone, 2)
		k.Clock.Add(time.Minute)
		b.Open("/me/contact/email").Submit(identity(map[string]string{"email": "new@example.org"}, hasan, hasanBorn)).See("Enter the code we sent by e-mail", "new@example.org")
		b.Submit(map[string]string{"code": k.mailed("new@example.org", 1)}).See("Your e-mail address has been verified", "new@example.org").DontSee("hasan@example.org")
		tellsOf(t, k.mail, "hasan@example.org", ofMail, 2)
		tellsOf(t, k.Phone, hasanPhone, ofMail, 2)
		b.Open("/me/contact/phone/remove").See("Remove the number ending 45?").Press("Remove").See("Removed", "No phone on record")
		b.Open("/me/contact/email/remove").Press("Remove").See("Removed", "No e-mail address on record")
	})
}

// tellsOf waits until n messages that tell of something came to a number or an address with these words.
func tellsOf(t *testing.T, box *testkapi.Phone, to, what string, n int) {
	t.Helper()
	eventually(t, to+" is told: "+what, func() bool {
		seen := 0
		for _, m := range box.Notices(to) {
			if strings.Contains(m, what) {
				seen++
			}
		}
		if seen > n {
			t.Fatalf("%s is told %d times: %q", to, seen, box.Notices(to))
		}
		return seen == n
	})
}

// Row RC3: no contact counts before it proved control, a code is good for one number, account, purpose and session, and identity details
// cannot be guessed.
func TestRC3_ContactProvesControl(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		k.People(`[{"national_id":"50000000500","kind":"citizen","given_name":"E","family_name":"Ş","birthdate":"2001-09-08","password":"turuncu bulut 44 ada"}]`)
		const elif, elifPassword, victim = "50000000500", "turuncu bulut 44 ada", "+905550000077"
		a := k.atContact(hasan, hasanPassword)
		// Identity details first: wrong ones change nothing and send nothing, and after five tries nothing is compared.
		for i := range 7 {
			a.Open("/me/contact/phone").Submit(identity(map[string]string{"phone": hasanPhone}, hasan, "15.06.1951"))
			if want := map[bool]string{true: "do not match", false: "too many times"}[i < 5]; !strings.Contains(a.Text(), want) {
				t.Fatalf("try %d: %s", i, a.Text())
			}
		}
		a.Open("/me/contact/phone").Submit(identity(map[string]string{"phone": hasanPhone}, hasan, hasanBorn)).See("too many times")
		k.Clock.Add(time.Hour)
		if len(k.Phone.Inbox(hasanPhone)) != 0 {
			t.Fatal("a code went out")
		}
		a = k.atContact(hasan, hasanPassword)
		a.Open("/me/contact/phone").Submit(identity(map[string]string{"phone": hasanPhone}, hasan, hasanBorn))
		code := k.Phone.Code(t, hasanPhone, 1)
		// A's code cannot verify V's number: it was for the number that waits now.
		a.Open("/me/contact/phone").Submit(identity(map[string]string{"phone": victim}, hasan, hasanBorn))
		forVictim := k.Phone.Code(t, victim, 1)
		if code != forVictim {
			a.Submit(map[string]string{"code": code}).See("The code is wrong")
		}
		// Nor the code for one account that of another, even for the same number.
		e := k.atContact(elif, elifPassword)
		k.Clock.Add(time.Minute)
		e.Open("/me/contact/phone").Submit(identity(map[string]string{"phone": victim}, elif, "08.09.2001"))
		if mine := k.Phone.Code(t, victim, 2); mine != forVictim {
			a.Submit(map[string]string{"code": mine}).See("The code is wrong")
		}
		// A code for a number is none for an address.
		k.Clock.Add(time.Minute)
		e.Open("/me/contact/email").Submit(identity(map[string]string{"email": "elif@example.org"}, elif, "08.09.2001"))
		if number, address := k.Phone.Code(t, victim, 2), k.mailed("elif@example.org", 1); number != address {
			e.Submit(map[string]string{"code": number}).See("The code is wrong")
		}
		// The code that is out belongs to its number even where the next one cannot be sent.
		k.Clock.Add(16 * time.Minute)
		a, e = k.atContact(hasan, hasanPassword), k.atContact(elif, elifPassword)
		n := len(k.Phone.Inbox(hasanPhone)) + 1
		a.Open("/me/contact/phone").Submit(identity(map[string]string{"phone": hasanPhone}, hasan, hasanBorn))
		code = k.Phone.Code(t, hasanPhone, n)
		for range 3 {
			e.Open("/me/contact").Press("Verify my mobile phone now")
		}
		a.Open("/me/contact/phone").Submit(identity(map[string]string{"phone": victim}, hasan, hasanBorn)).See("Too many codes were asked for")
		a.Open("/me/contact/phone/code").See("phone ending 77").Submit(map[string]string{"code": code}).See("The code is wrong")
		// Declared is no phone for anything: neither for two-factor authentication nor as a second step.
		if e.Open("/me/two-factor").See("Off"); strings.Contains(e.Text(), "Switch on") && strings.Contains(e.Body, `href="/me/two-factor/on"`) {
			t.Error("two-factor authentication with a number that was only typed")
		}
		// Another site cannot act for the reader.
		r := send(t, a, http.MethodPost, k.URL+"/me/contact/phone/remove", url.Values{}, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
		if r.Status < 400 {
			t.Errorf("cross-site: %d", r.Status)
		}
		// Guesses are counted for the person, whatever they are at.
		k.Clock.Add(16 * time.Minute)
	})
}

// A number in use as the second factor stays it until the new one is ID-verified, which a strong sign-in and a code do (R141).
func TestPhoneGrades(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		const newNumber = "+905550000099"
		rp := k.RP("ssi", nil)
		b := testkapi.NewBrowser(t).Open(k.URL + "/me/contact")
		signIn(k.Kapi, b, ayse, aysePassword, aysePhone, 1)
		k.Clock.Add(time.Minute)
		b.Open("/me/contact/phone").Submit(identity(map[string]string{"phone": newNumber}, ayse, "23.04.1985"))
		b.Submit(map[string]string{"code": k.Phone.Code(t, newNumber, 1)}).See("ending 01", "ending 99", "Until the new number is verified with your ID")
		k.works(rp) // with the old number
		// A password and a code to the old phone are no proof of identity, however often they are given.
		b.Open("/me/contact/phone/remove").See("ending 99").Press("Remove")
		b.Open("/me/contact/phone/remove").Press("Remove").See("Two-factor authentication uses this number")
		// Strong sign-in, then the code: now it takes the place.
		k.Clock.Add(time.Hour)
		s := testkapi.NewBrowser(t).Open(k.URL + "/me/contact")
		n := len(k.Phone.Inbox(aysePhone)) + 1
		sign(s, ayse)
		s.Submit(map[string]string{"code": k.Phone.Code(t, aysePhone, n)}).See("My contact options")
		k.Clock.Add(time.Minute)
		thief := atTheCode(t, k.Kapi, rp, ayse, aysePassword)
		early := k.Phone.Code(t, aysePhone, n+1)
		s.Open("/me/contact/phone").Submit(identity(map[string]string{"phone": newNumber}, ayse, "23.04.1985")).See("You signed in with a strong method")
		s.Submit(map[string]string{"code": k.Phone.Code(t, newNumber, 2)}).See("Verified with your ID", "ending 99").DontSee("ending 01")
		// Whoever has the old one and the password gets nowhere with the code that came to it before.
		thief.Submit(map[string]string{"code": early})
		if thief.Left() != nil || thief.Cookie("kapi-session") != "" {
			t.Error("a code to the number of before let somebody in")
		}
		k.Clock.Add(11 * time.Minute)
		last := testkapi.NewBrowser(t)
		last.Open(rp.URL())
		signIn(k.Kapi, last, ayse, aysePassword, newNumber, 3)
		rp.Answer(last)
	})
}

var mailedLink = regexp.MustCompile(`https?://\S+/me/contact/link\?t=\S+`)

// Row RC2: the link is built from the configuration, whatever a request says of the host; it works once, by POST, for a day, and not
// after a newer one or another address.
// postLink does what the button of the page behind a link does.
func postLink(t *testing.T, b *testkapi.Browser, link string) reply {
	t.Helper()
	path, query, _ := strings.Cut(link, "?")
	form, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	return send(t, b, http.MethodPost, path, form)
}

func TestRC2_EmailLinks(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		b := k.atContact(hasan, hasanPassword)
		link := func(address string, n int) string {
			eventually(t, "a mail comes", func() bool { return len(k.mail.Inbox(address)) >= n })
			return mailedLink.FindString(k.mail.Inbox(address)[n-1])
		}
		b.Open("/me/contact/email").Submit(identity(map[string]string{"email": "hasan@example.org"}, hasan, hasanBorn))
		older := link("hasan@example.org", 1)
		k.Clock.Add(time.Minute)
		// Nobody's header gets into it.
		for name, v := range map[string]string{"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example", "X-Original-URL": "//evil.example"} {
			b.Header.Set(name, v)
		}
		b.Open("/me/contact").Press("Verify my e-mail address now")
		newer := link("hasan@example.org", 2)
		if !strings.HasPrefix(newer, k.URL+"/me/contact/link?t=") || strings.Contains(strings.Join(k.mail.Inbox("hasan@example.org"), ""), "evil.example") {
			t.Fatalf("the link leads to %s", newer)
		}
		elsewhere := testkapi.NewBrowser(t) // the mail is read on another machine
		elsewhere.Open(older)
		if elsewhere.Status != http.StatusGone {
			t.Errorf("the older link: %d", elsewhere.Status)
		}
		for range 3 { // a scanner looks
			elsewhere.Open(newer).See("Verify this e-mail address?", "hasan@example.org")
		}
		b.Open("/me/contact").See("Not verified yet")
		var through atomic.Int64
		race(20, func(int) {
			if r := postLink(t, elsewhere, newer); r.Status == http.StatusOK {
				through.Add(1)
			}
		})
		if through.Load() != 1 {
			t.Errorf("the link worked %d times", through.Load())
		}
		b.Open("/me/contact").DontSee("Not verified yet")
		// A day and a second later, and after the address was changed, it is dead.
		for _, c := range []struct {
			what string
			then func()
		}{
			{"late", func() { k.Clock.Add(24*time.Hour + time.Second) }},
			{"another address", func() {
				k.Clock.Add(time.Minute)
				b.Open("/me/contact/email/remove").Press("Remove")
			}},
			{"altered", func() {}},
		} {
			k.Clock.Add(16 * time.Minute)
			b = k.atContact(hasan, hasanPassword)
			address := strings.ReplaceAll(c.what, " ", "-") + "@example.org"
			b.Open("/me/contact/email").Submit(identity(map[string]string{"email": address}, hasan, hasanBorn))
			l := link(address, 1)
			c.then()
			if c.what == "altered" {
				l = l[:len(l)-1] + string(l[len(l)-1]^1)
			}
			if r := postLink(t, elsewhere, l); r.Status == http.StatusOK {
				t.Errorf("%s: the link works", c.what)
			}
		}
	})
}

// Messages to numbers and addresses that need not be anybody's are bounded by number, by person and by network (row S2).
func TestS2_ContactCodes(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		b := k.atContact(hasan, hasanPassword)
		b.Open("/me/contact/phone").Submit(identity(map[string]string{"phone": hasanPhone}, hasan, hasanBorn))
		k.Phone.Code(t, hasanPhone, 1)
		for range 20 {
			race(5, func(int) { send(t, b, http.MethodPost, k.URL+"/me/contact/phone/send", url.Values{}) })
			k.Clock.Add(10 * time.Second)
		}
		if n := one[int](t, owner(t, k.Kapi), "SELECT count(*) FROM outbox WHERE ticket <> ''"); n < 4 || n > 5 { // five in a quarter of an hour; of two at one moment one is sent
			t.Errorf("%d messages to one number in four minutes", n)
		}
		k.Clock.Add(time.Hour)
		b = k.atContact(hasan, hasanPassword)
		sent := 0
		for i := range 30 {
			b.Open("/me/contact/phone").Submit(identity(map[string]string{"phone": phoneOf(i)}, hasan, hasanBorn))
			if strings.Contains(b.URL.RawQuery, "sent=1") {
				sent++
			} else {
				b.See("Too many codes were asked for")
			}
			k.Clock.Add(15 * time.Second)
		}
		if sent != 6 { // in a quarter of an hour
			t.Errorf("one person had %d messages sent to thirty numbers in eight minutes", sent)
		}
		// Guessing is bounded over all codes.
		k.Clock.Add(16 * time.Minute)
		b = k.atContact(hasan, hasanPassword)
		b.Open("/me/contact").Press("Verify my mobile phone now")
		for range 14 {
			send(t, b, http.MethodPost, k.URL+"/me/contact/phone/code", url.Values{"code": {"000000"}})
		}
		k.Clock.Add(time.Minute)
		b.Open("/me/contact").Press("Verify my mobile phone now").Submit(map[string]string{"code": "000001"})
		if !strings.Contains(b.Text(), "tries left") && !strings.Contains(b.Text(), "Too many wrong codes") {
			t.Error(b.Text())
		}
	})
}
