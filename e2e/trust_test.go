package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"

	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/internal/sim/operator"
)

// Equipped is a country with e-mail, pushes and a mobile operator that is asked about SIM cards.
func Equipped(t testing.TB) (*Country, *operator.Operator) {
	t.Helper()
	var c *Country
	op := operator.New(operator.Config{Client: "kapi", Secret: "s", Now: func() time.Time {
		if c == nil {
			return time.Now()
		}
		return c.now()
	}})
	server := httptest.NewServer(op)
	t.Cleanup(server.Close)
	c = found(t, "", 1, "KAPI_MAIL=inbox:http://PHONE", "KAPI_PUSH=inbox:http://PHONE",
		"KAPI_SIM_SWAP=http://kapi:s@"+strings.TrimPrefix(server.URL, "http://")+"/sim-swap/v2#token="+server.URL+"/token")
	return c, op
}

// Pick chooses one of several.
func (b *Browser) Pick(field, value string) *Browser {
	b.t.Helper()
	_, err := step(b, chromedp.Click(chromedp.CSS(fmt.Sprintf("main input[type=radio][name=%q][value=%q]", field, value))))
	b.do("pick "+value, err)
	b.field = field
	return b
}

var codeInMail = regexp.MustCompile(`(?m)^\s*([0-9]{6})\s*$`)

// Mailed waits for the next mail with a code.
func (c *Country) Mailed(address string) string {
	c.t.Helper()
	for {
		if m := codeInMail.FindStringSubmatch(c.Text(address)); m != nil {
			return m[1]
		}
	}
}

// With waits for the next message to a number or address that holds this.
func (c *Country) With(to, words string) string {
	c.t.Helper()
	for {
		if text := c.Text(to); strings.Contains(text, words) {
			return text
		}
	}
}

// changesSIM gives the number of a person a new SIM card, and time to everybody to hear of it.
func (c *Country) changesSIM(op *operator.Operator, p Person) {
	c.t.Helper()
	if err := op.Change(p.Phone, c.now()); err != nil {
		c.t.Fatal(err)
	}
	c.Pass(2 * time.Minute)
}

// The SIM card of a citizen changes: no code goes there, from the sign-in until it is confirmed by e-mail, or at an office.
func TestSIMCardChanged(t *testing.T) {
	for name, how := range map[string]How{"English, without JavaScript": {NoScript: true}, "Turkish, small, in the dark": {Turkish: true, Dark: true, Width: 320, Height: 640}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, op := Equipped(t)
			ayse := who(t, "Ayşe")
			b := Visit(t, how)
			c.changesSIM(op, ayse)
			b.Open(c.Portal+"/login").SignsIn(ayse).See("Your SIM card was changed", "a code to your recovery e-mail address, verified before the change")
			b.Press("Confirm my new SIM card").SignsIn(ayse).At(c.Issuer+"/me/unblock").See("Confirm your new SIM card", "Go to a registration office with your ID card.")
			b.SeeNot("Send a code to my number")
			b.Press("Send a code to my recovery address")
			code := c.Mailed("ayse@example.org")
			b.Type("code", other(code)).Submit().See("The code is wrong. You have 4 tries left.")
			b.Type("code", code).Submit().See("Your number has been unblocked. You can receive security codes again.")
			// This session was for that alone.
			b.Open(c.Issuer + "/me").At(c.Issuer + "/signin/")
			c.Code(ayse) // which that asked for
			c.Pass(time.Minute)
			b.Open(c.Portal+"/login").Confirms(c, ayse).At(c.Portal).See(b.bothSteps())

			c.Pass(time.Hour)
			c.changesSIM(op, ayse)
			again := Visit(t, how)
			again.Open(c.Portal + "/login").SignsIn(ayse).See("Your SIM card was changed").Press("Back to the service").At(c.Portal)
			c.kapi("person", "unblock-sim", ayse.NationalID, "--reason", "form 2026/1")
			c.Pass(2 * time.Minute)
			again.Open(c.Portal+"/login").SignsIn(ayse).Confirms(c, ayse).At(c.Portal).See(again.bothSteps())
		})
	}
}

// A citizen has forgotten the password, renews it, and is still asked for the second step; finds a sign-in that was somebody else's and
// ends everything.
func TestForgottenPasswordAndItWasNotMe(t *testing.T) {
	howsWithoutScript(t, func(t *testing.T, how How) {
		if how == (How{}) {
			onlySlowly(t) // the two others pass every page of it
		}
		c, _ := Equipped(t)
		ayse := who(t, "Ayşe")
		b := Visit(t, how)
		b.Open(c.Portal + "/login").Press("Forgot your password?").See("What has happened?")
		b.Submit().See("Choose what has happened.")
		b.Pick("reason", "forgot").Submit().See("Enter your ID number").Type("national_id", ayse.NationalID).Submit()
		b.See("Enter your identity details").Type("birthdate", "23.04.1985").Type("family_name", "yılmaz").Pick("document", "id_card").Type("serial", "A12B34567").Submit()
		b.See("Enter your verified phone").Type("phone", "0555 000 00 01").Submit()
		b.See("Enter the code sent to your phone")
		code := c.Code(ayse)
		b.Type("code", other(code)).Submit().See("The code is wrong. You have 4 tries left.")
		b.Type("code", code).Submit().See("Set your new password")
		b.Type("new_password", "x").Submit().See("There is a problem")
		fresh := ayse
		fresh.Password = "kayık iskele poyraz 81"
		b.Type("new_password", fresh.Password).Submit().See("Your password has been renewed", "If two-factor authentication is on, the second step is still asked for when you sign in.")
		c.Pass(time.Minute)
		b.Open(c.Portal + "/login").SignsIn(ayse).See("The ID number or the password is wrong. Check them and try again.")
		b.SignsIn(fresh).See("Enter the code we sent to your phone ending 01").Confirms(c, fresh).At(c.Portal).See(b.bothSteps())
		if text := c.With("ayse@example.org", "/undo?link="); !strings.Contains(text, c.Issuer+"/undo?link=") {
			t.Errorf("the mail says %q", text)
		}

		c.Pass(2 * time.Minute)
		own := Visit(t, how)
		own.Open(c.Issuer+"/me/signins").SignsIn(fresh).Confirms(c, fresh).At(c.Issuer + "/me/signins").See("It was not me")
		own.Press("It was not me").See("You are signed out everywhere")
		b.Open(c.Issuer + "/me").At(c.Issuer + "/signin/").See("Sign in")
		own.Open(c.Issuer + "/me").At(c.Issuer + "/signin/")
	})
}

// Somebody has the right password of a citizen with a registered device and asks again and again: three pushes, then none, and the owner gets in
// at home. Then the device is lost: said with a code, objected to, said again, and gone after a day. The overview knows of everything.
func TestDeviceUnderAttackAndLost(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		if !how.Turkish {
			onlySlowly(t)
		}
		c, _ := Equipped(t)
		ayse := who(t, "Ayşe")
		home := Visit(t, how)
		home.security(c, ayse, "totp").Press("Set up a key")
		seed := strings.Join(home.prints(), "")
		code, err := totp.GenerateCode(seed, c.now())
		if err != nil {
			t.Fatal(err)
		}
		home.Type("code", code).Submit().See("Your key is set up.")
		home.Open(c.Issuer + "/me/security/backup").Press("Make backup codes").See("Your backup codes")
		home.Open(c.Issuer + "/me/security/device").Press("Register a device")
		phone := devicetest.New(c.Issuer, c.now)
		phone.App = "android/1.0.0"
		phone.Push = map[string]string{"kind": "fcm", "token": "the-token-of-a-phone"}
		if a := phone.Register(strings.Join(home.prints(), "")); a.Status != http.StatusCreated {
			t.Fatalf("register: %d %s", a.Status, a.Body)
		}
		home.Open(c.Issuer+"/me/security").See("Security settings", "Registered device", "e-Government Key", "Backup code", "10 of 10 codes left", "ayse@example.org")
		pushes := func() (n int) {
			for _, m := range c.Phone.Inbox("fcm …" + "-a-phone") {
				if strings.Contains(m.Text, "approval") {
					n++
				}
			}
			return n
		}
		c.Pass(11 * time.Minute)
		thief := Visit(t, how)
		for i := range 5 {
			c.Pass(20 * time.Second)
			thief.forgets().Open(c.Portal + "/login").SignsIn(ayse)
			thief.toDevice().See("Approve on your registered device")
			if i == 4 {
				thief.See("Open the Kapı app on your registered device and tap “Mobile Approval”.").SeeNot("Open the notification on your registered device.")
			}
		}
		list, a := phone.List()
		if n := pushes(); n > 3 || len(list) == 0 {
			t.Errorf("%d pushes, %d wait (%d)", n, len(list), a.Status)
		}
		if a := phone.Deny(list[0], "not_me"); a.Status != http.StatusNoContent {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		thief.Open(c.Portal + "/login").SignsIn(ayse)
		c.Pass(time.Minute)
		home.Open(c.Portal + "/login?prompt=login").SignsIn(ayse)
		home.toDevice().See("Approve on your registered device", "Open the notification on your registered device.")
		waiting, _ := phone.List()
		if len(waiting) != 1 {
			t.Fatalf("%d wait", len(waiting))
		}
		if a := phone.Approve(waiting[0], home.number()); a.Status != http.StatusNoContent {
			t.Fatalf("approve: %d %s", a.Status, a.Body)
		}
		home.Arrives(c.Portal)

		lose := func() string {
			t.Helper()
			c.Pass(16 * time.Minute)
			b := Visit(t, how)
			b.Open(c.Portal + "/login").SignsIn(ayse)
			b.toDevice().Press("I have lost my registered device").See("Have you lost your registered device?").Press("Send a code to my phone")
			b.Confirms(c, ayse).See("Your registered device will be removed")
			return c.With("ayse@example.org", "/undo?link=")
		}
		link := regexp.MustCompile(`\S+/undo\?link=\S+`)
		objects := Visit(t, how)
		objects.Open(link.FindString(lose())).Submit().See("Your registered device stays registered.")
		c.Pass(25 * time.Hour)
		if me := phone.Me(); me.Status != http.StatusOK {
			t.Errorf("objected, and gone: %d %s", me.Status, me.Body)
		}
		lose()
		c.Pass(24*time.Hour + time.Minute)
		give := time.After(patience)
		for phone.Me().Status == http.StatusOK { // what is due is carried out every ten seconds
			select {
			case <-give:
				t.Fatal("the lost device is never removed")
			case <-time.After(200 * time.Millisecond):
			}
		}
		after := Visit(t, how)
		after.Open(c.Portal+"/login").SignsIn(ayse).Press("Security code by SMS").Confirms(c, ayse).At(c.Portal).See(after.bothSteps())
	})
}

// toDevice chooses the device where there are other ways too.
func (b *Browser) toDevice() *Browser {
	b.t.Helper()
	if strings.HasSuffix(b.Address(), "/choose") {
		b.Press("Registered device")
	}
	return b
}

// forgets its cookies, as a browser that was never here.
func (b *Browser) forgets() *Browser {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, network.ClearBrowserCookies, struct{}{})
	b.do("forget", err)
	return b
}

// onlySlowly leaves a long story in a further guise to make slow.
func onlySlowly(t *testing.T) {
	t.Helper()
	if os.Getenv("KAPI_SLOW_TESTS") == "" {
		t.Skip("in make slow")
	}
}
