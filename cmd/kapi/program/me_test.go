package program_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// me opens the person's own pages in a new browser and signs in there.
func me(k *testkapi.Kapi, t *testing.T, number, password, phone string, n int) *testkapi.Browser {
	t.Helper()
	b := testkapi.NewBrowser(t).Open(k.URL + "/me")
	signIn(k, b, number, password, phone, n)
	return b.See("My account")
}

func TestMyAccountTellsWhatHappened(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		stranger := testkapi.NewBrowser(t).Open(k.URL + "/me")
		signIn(k, stranger, mehmet, "not this one at all", "", 0)
		stranger.See(wrongSignIn)
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		b.Open(rp.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		rp.Answer(b)
		b.Open(k.URL+"/me").See("Mehmet Demir", "200••••••82", "•••• 02", "Verified with your ID", "There was 1 failed try").DontSee(mehmet)
		b.Follow("Sign-ins").See("Signed in", "password", "The ssi service", "Failed try", "127.0.0.1")
		other := me(k, t, ayse, aysePassword, aysePhone, 1)
		other.Open(k.URL+"/me/signins").See("security code by SMS", "Kapi").DontSee("Failed try")
		other.DontSee("The ssi service")
	})
}

func TestSignOutThere(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, there := k.RP("ssi", nil), testkapi.NewBrowser(t)
		there.Open(rp.URL())
		signIn(k, there, mehmet, mehmetPassword, "", 0)
		rp.Answer(there)
		k.Clock.Add(20 * time.Minute)
		stranger := me(k, t, hasan, hasanPassword, "", 0)
		here := me(k, t, mehmet, mehmetPassword, "", 0)
		here.Follow("Sessions").See("This browser").Follow("Sign out there").See("Sign out there?")
		stranger.Open(here.URL.String()).See("There is no such session") // the address is worth nothing to others
		here.Press("Sign out there").See("That session has been signed out.", "You have no other open session.")
		there.Open(rp.URL()).See("Sign in") // no single sign-on any more
		stranger.Open(k.URL + "/me").See("My account")
	})
}

func TestChangeMyPassword(t *testing.T) {
	const fresh = "sarı bisiklet tepede 9"
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		there := me(k, t, mehmet, mehmetPassword, "", 0)
		b := me(k, t, mehmet, mehmetPassword, "", 0)
		k.Clock.Add(16 * time.Minute)
		b.Open(k.URL + "/me/password").See("Sign in") // too long ago for a change
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		b.See("Change password", "Use at least 15 characters.")
		b.Submit(map[string]string{"password": "not this one at all", "new_password": fresh}).See("The current password is wrong.")
		b.Submit(map[string]string{"password": mehmetPassword, "new_password": "mehmet demir 1990 ok"}).See("Do not use your name")
		b.Submit(map[string]string{"password": mehmetPassword, "new_password": fresh}).See("Your password has been changed.")
		there.Open(k.URL + "/me").See("Sign in").DontSee("My account")
		b.Open(k.URL+"/me/signins").See("Password changed", "All other sessions were signed out")
		signIn(k, there, mehmet, mehmetPassword, "", 0)
		there.See(wrongSignIn)
		signIn(k, there, mehmet, fresh, "", 0)
		there.See("My account")
	})
}

func TestTwoFactorOnAndOff(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		b := me(k, t, mehmet, mehmetPassword, "", 0)
		b.Follow("Two-factor").Follow("Switch on").Press("Send a code").See("The terms are not accepted.")
		if n := len(k.Phone.Inbox(mehmetPhone)); n != 0 {
			t.Fatalf("%d codes without a yes", n)
		}
		b.Post("/me/two-factor/on", url.Values{"terms": {"yes"}}).See(codeIsTwo) // ticked
		code := k.Phone.Code(t, mehmetPhone, 1)
		b.Submit(map[string]string{"code": other(code)}).See("The code is wrong. You have 4 tries left.")
		b.Submit(map[string]string{"code": code}).See("Two-factor authentication is on.")
		b.Open(k.URL + "/me/security/device").See("Registered device").DontSee(codeIsTwo) // the code counts as the second step
		b.Open(k.URL + "/me/two-factor")

		next := testkapi.NewBrowser(t).Open(k.URL + "/me")
		next.Submit(map[string]string{"national_id": mehmet, "password": mehmetPassword}).See(codeIsTwo)
		next.Submit(map[string]string{"code": code}).See("The code is wrong.") // it was for something else
		next.Submit(map[string]string{"code": k.Phone.Code(t, mehmetPhone, 2)}).See("My account", "On since")

		// A short password, while two steps protect it; it must grow before they go.
		next.Follow("Password").See("Use at least 8 characters.")
		next.Submit(map[string]string{"password": mehmetPassword, "new_password": "kWz7 pjqT"}).See("Your password has been changed.")
		next.Follow("Two-factor").Follow("Switch off").See("You need a longer password first").Follow("Change password")
		next.Submit(map[string]string{"password": "kWz7 pjqT", "new_password": "eşikteki-41"}).See("Use at least 15 characters.")
		next.Submit(map[string]string{"password": "kWz7 pjqT", "new_password": "eşikteki kara kedi 41"}).See("Switch off two-factor authentication?")
		k.Clock.Add(time.Minute) // codes are rationed
		next.Press("Go on").See(codeIsTwo)
		next.Submit(map[string]string{"code": k.Phone.Code(t, mehmetPhone, 3)}).See("Two-factor authentication is off.")
		last := testkapi.NewBrowser(t).Open(k.URL + "/me")
		signIn(k, last, mehmet, "eşikteki kara kedi 41", "", 0)
		last.See("My account").Follow("Sign-ins").See("switched on", "switched off")
	})
}

// other is a code that is not this one.
func other(code string) string {
	return strings.Map(func(r rune) rune { return '0' + (r-'0'+1)%10 }, code)
}

func TestWithoutAProvenPhone(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		b := me(k, t, hasan, hasanPassword, "", 0)
		b.See("No phone on record").Follow("Two-factor").See("Your phone must be verified with your ID first")
		b.Open(k.URL + "/me/two-factor/on").See("Your phone must be verified with your ID first")
		b.Press("Sign out").See("You are signed out")
		b.Open(k.URL + "/me").See("Sign in").DontSee("Hasan")
	})
}

func TestCancelledOwnSignIn(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		b := testkapi.NewBrowser(t).Open(k.URL + "/me/sessions")
		b.Press("Back to the service").See("You cancelled the sign-in.").Follow("Try again")
		signIn(k, b, hasan, hasanPassword, "", 0)
		b.See("Sessions", "This browser")
	})
}
