package e2e

import (
	"testing"
	"time"
)

func TestConsent(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c := Found(t)
		ayse := who(t, "Ayşe")
		b := Visit(t, how)

		b.Open(c.Asking+"/login").SignsIn(ayse).Confirms(c, ayse)
		b.At(c.Issuer).See("Do you want to share your data?", "Your name, date of birth and gender")
		b.Press("Do not share").At(c.Asking).See("The sign-in was cancelled")
		c.Pass(time.Minute) // codes are not sent faster than a person types
		b.Press("Try again").SignsIn(ayse).Confirms(c, ayse).At(c.Issuer)
		b.Press("Share and continue").At(c.Asking).See("Ayşe Yılmaz")
		b.Press("Sign out").At(c.Asking)
		c.Pass(time.Minute)
		b.Open(c.Asking+"/login").SignsIn(ayse).Confirms(c, ayse).At(c.Asking) // once is enough

		// What was agreed to is taken back, and is asked for anew.
		b.Open(c.Issuer + "/me").See("Services you share data with").SeeNot("No service has your permission")
		b.Open(c.Issuer+"/me/services").See("Your name, date of birth and gender").Press("Withdraw permission").See("Withdraw your permission?", "What the service has received before stays with it; ask the service to delete it.")
		b.Submit().See("Your permission is withdrawn. The service can no longer ask for your data.", "There is nothing here yet. When a service asks to share your data and you agree, it will show up here.")
		b.Open(c.Asking + "/login").At(c.Issuer).See("Do you want to share your data?")
	})
}

// How a forgotten password is renewed changes after a question that says what follows.
func TestHowAPasswordIsRenewed(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c := Found(t)
		ayse := who(t, "Ayşe")
		b := Visit(t, how)
		b.Open(c.Issuer+"/me/security/recovery").SignsIn(ayse).Confirms(c, ayse).See("How is it renewed?")
		b.Pick("by", "both").Submit().See("Change how your password is renewed?", "Phone and e-mail", "From now on")
		b.Submit().See("Your choice was saved.")
	})
}

// Where the older rules of passwords are kept, a person is reminded to change theirs after three months, and goes on with the old one
// as easily; they are not asked again at the next sign-in.
func TestPasswordReminder(t *testing.T) {
	inBothLanguages(t, remindsOfPassword)
}

func remindsOfPassword(t *testing.T, how How) {
	c, mehmet := Found(t), who(t, "Mehmet")
	c.Restart("KAPI_PASSWORD_PROFILE=gateway-older")
	c.Pass(100 * 24 * time.Hour)
	b := Visit(t, how)
	b.Open(c.Portal + "/login").SignsIn(mehmet).See("Do you want to change your password?")
	if *gallery != "" {
		b.hang("password-reminder")
	}
	b.Press("Keep my old one").At(c.Portal)
	Visit(t, How{Turkish: how.Turkish, NoScript: true, Unlooked: true}).Open(c.Portal + "/login").SignsIn(mehmet).At(c.Portal)
}
