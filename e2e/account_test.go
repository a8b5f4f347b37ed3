package e2e

import (
	"testing"
	"time"
)

func TestOwnPages(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c := Found(t)
		mehmet := who(t, "Mehmet")
		b := Visit(t, how)

		b.Open(c.Issuer + "/me").At(c.Issuer + "/signin/").SignsIn(mehmet)
		b.At(c.Issuer+"/me").See("My account", "Mehmet Demir", "Off", "This is your first sign-in on record")

		// Two-factor authentication is switched on with a code that shows that the phone is at hand.
		b.Press("Two-factor authentication").Press("Switch on two-factor authentication")
		b.Submit().See("The terms are not accepted. Tick the box to go on.")
		b.Tick("terms").Submit().See("Enter the code we sent to your phone ending 02")
		b.Type("code", "000000").Submit().See("There is a problem")
		b.Type("code", c.Code(mehmet)).Submit()
		b.See("Two-factor authentication is on. From your next sign-in you will be asked for a security code.")

		// Another browser signs in with two steps, and is signed out from here.
		c.Pass(time.Minute) // codes are not sent faster than a person types
		other := Visit(t, How{Unlooked: true})
		other.Open(c.Issuer+"/me").SignsIn(mehmet).Confirms(c, mehmet).At(c.Issuer + "/me").See("2 open sessions")
		c.Pass(time.Minute)
		b.Open(c.Issuer + "/me/sessions").See("This browser").Press("Sign out there")
		b.See("Sign out there?").Submit().See("That session has been signed out.")
		other.Reload().At(c.Issuer + "/signin/")

		b.Open(c.Issuer+"/me/signins").See("Signed in", "Two-factor authentication switched on", "Another session was signed out")

		// A change needs a sign-in that is not older than 15 minutes.
		c.Pass(16 * time.Minute)
		b.Open(c.Issuer+"/me/password").At(c.Issuer+"/signin/").SignsIn(mehmet).Confirms(c, mehmet)
		b.At(c.Issuer+"/me/password").Type("password", mehmet.Password).Type("new_password", "mehmet").Submit().See("There is a problem")
		b.Type("password", mehmet.Password).Type("new_password", "kayık iskele poyraz 81").Submit()
		b.See("Your password has been changed. Use the new one from now on.")

		c.Pass(time.Minute)
		b.Press("Two-factor authentication").Press("Switch off two-factor authentication").Submit()
		b.Type("code", c.Code(mehmet)).Submit()
		b.See("Two-factor authentication is off. Your account is now protected by your password alone.")
		b.Open(c.Issuer + "/me").Press("Sign out").See("You are signed out")
		b.Open(c.Issuer + "/me").At(c.Issuer + "/signin/")
	})
}

func TestPersonWithoutAProvenPhoneCannotSwitchOn(t *testing.T) {
	t.Parallel()
	c := Found(t)
	b := Visit(t, How{})
	b.Open(c.Issuer + "/me").SignsIn(who(t, "Elif")).Press("Two-factor authentication")
	b.See("Off", "Your phone must be verified with your ID first")
}

// Pages that no story comes by.
func TestPagesForEverybody(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c := Found(t)
		b := Visit(t, how)
		b.Open(c.Issuer + "/").See("The gate to public services")
		b.Press("Help").See("The security code does not come")
		b.Press("What we know about you").Press("Who runs this")
		b.Open(c.Issuer + "/nowhere").Status(404).See("There is no such page")
		b.Open(c.Issuer + "/authorize?client_id=nobody").Status(400)
		b.Open(c.Issuer + "/signin/00000000-0000-0000-0000-000000000000").See("Go to the start page")
		b.Open(c.Portal + "/nowhere").Status(404).See("Page not found")
	})
}
