package program_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// RC4: everybody is told of a recovery, in each way that the person was reached by before it: by text message, at the address and at the
// one that took its place a while ago, and by a push to the registered device. The device stays, is asked as before, and answers nothing
// any more that was asked before.
func TestRC4_EverybodyIsTold(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		k.People(recoverable(1, `,"two_factor":true`))
		const before, now = "deniz1@example.org", "new1@example.org"
		rp := k.RP("ssi", nil)
		b := testkapi.NewBrowser(t).Open(k.URL + "/me/security")
		b.Submit(map[string]string{"national_id": number(1), "password": "the one I forgot now 1"})
		b.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 1)})
		d := b.Registered(k, "Deniz's phone")
		b.Open(k.URL + "/me/contact/email").Submit(identity(map[string]string{"email": now}, number(1), "31.01.1980")).See(now)
		b.Submit(map[string]string{"code": regexp.MustCompile(`\d{6}`).FindString(sent(t, k, now, "to verify this address", 1))}).See("Your e-mail address has been verified")

		k.Clock.Add(16 * time.Minute)
		thief := testkapi.NewBrowser(t).Open(rp.URL())
		thief.Submit(map[string]string{"national_id": number(1), "password": "the one I forgot now 1"})
		waits, typed := thief.Waiting(d), thief.Number()

		again := testkapi.NewBrowser(t)
		renewing(again.Open(k.URL+"/recover"), 1, nil)
		again.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 2)}).Submit(map[string]string{"new_password": newPassword}).See("renewed")
		settled(t, k)
		for _, to := range []string{phoneOf(1), before, now} {
			sent(t, k, to, "Your forgotten password was renewed", 1)
		}
		sent(t, k, phoneOf(1), "Undo a change", 1)
		for _, to := range []string{before, now} {
			sent(t, k, to, "Your Kapi password was renewed", 1)
		}
		id := one[string](t, owner(t, k), "SELECT id FROM notices WHERE key = 'notice.recovery_done'")
		to, _ := json.Marshal(d.Push)
		eventually(t, "a push", func() bool { return strings.Contains(strings.Join(k.Phone.Inbox(string(to)), "\n"), id) })

		if a := d.Approve(waits, typed); a.Status < 400 {
			t.Errorf("what waited is approved: %d", a.Status)
		}
		if thief.Press("I have approved"); thief.Left() != nil || thief.Cookie("kapi-session") != "" {
			t.Error("a parked sign-in came through")
		}
		own := testkapi.NewBrowser(t).Open(rp.URL())
		own.Submit(map[string]string{"national_id": number(1), "password": newPassword})
		confirmed(t, own, d, "I have approved")
		rp.Answer(own)
	})
}

// RC4: while the factors rest, neither phone nor e-mail address nor the way to renew a password changes, whatever is posted past the pages
// that say so; a day later it does.
func TestRC4_ContactsRestToo(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		k.People(recoverable(1, ""))
		b := testkapi.NewBrowser(t)
		renewing(b.Open(k.URL+"/recover"), 1, nil)
		b.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 1)}).Submit(map[string]string{"new_password": newPassword}).See("renewed")
		who := url.Values{"kind": {"citizen"}, "national_id": {number(1)}, "birthdate": {"31.01.1980"}}
		with := func(field, value string) url.Values {
			form := maps.Clone(who)
			form.Set(field, value)
			return form
		}
		posts := []struct {
			path string
			form url.Values
		}{
			{"/me/contact/phone", with("phone", "+905550000666")},
			{"/me/contact/email", with("email", "eve@example.org")},
			{"/me/security/recovery", url.Values{"by": {"both"}}},
			{"/me/contact/phone/remove", url.Values{}},
			{"/me/contact/email/remove", url.Values{}},
		}
		fresh := func() *testkapi.Browser {
			b := testkapi.NewBrowser(t).Open(k.URL + "/me/contact")
			return b.Submit(map[string]string{"national_id": number(1), "password": newPassword})
		}
		thief := fresh()
		for _, p := range posts {
			r := send(t, thief, http.MethodPost, k.URL+p.path, p.form)
			if r.Status != http.StatusForbidden || !strings.Contains(r.Body, "Your password was renewed by phone a short while ago") {
				t.Errorf("%s: %d to %s", p.path, r.Status, r.Location)
			}
		}
		if n := len(letters(k, "eve@example.org")) + len(letters(k, "+905550000666")); n > 0 {
			t.Errorf("%d messages to the thief", n)
		}
		thief.Open(k.URL+"/me/contact").See("deniz1@example.org", "ending "+phoneOf(1)[len(phoneOf(1))-2:]).DontSee("eve@example.org")
		k.Clock.Add(24*time.Hour + time.Second)
		own := fresh()
		for _, p := range posts {
			if r := send(t, own, http.MethodPost, k.URL+p.path, p.form); r.Status != http.StatusSeeOther {
				t.Errorf("%s a day later: %d\n%s", p.path, r.Status, r.Body)
			}
		}
	})
}
