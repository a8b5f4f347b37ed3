package e2e

import (
	"fmt"
	"testing"
)

// in is a sentence that is put together from several, in the language of the visit.
func (b *Browser) in(en, tr string) string {
	if b.how.Turkish {
		return tr
	}
	return en
}

// SignsIn types the first factor.
func (b *Browser) SignsIn(p Person) *Browser {
	b.t.Helper()
	return b.Type("national_id", p.NationalID).Type("password", p.Password).Submit()
}

// Confirms types the code that came to the phone.
func (b *Browser) Confirms(c *Country, p Person) *Browser {
	b.t.Helper()
	return b.Type("code", c.Code(p)).Submit()
}

func (b *Browser) bothSteps() string {
	return b.in("You signed in with your password and a code sent to your phone.", "Şifreniz ve telefonunuza gönderilen kod ile giriş yaptınız.")
}

func (b *Browser) passwordOnly() string {
	return b.in("You signed in with your password.", "Şifreniz ile giriş yaptınız.")
}

// sees fails unless the claims say all this.
func sees(t *testing.T, claims map[string]any, want map[string]string) {
	t.Helper()
	for name, w := range want {
		if got := fmt.Sprint(claims[name]); got != w {
			t.Errorf("%s = %s, want %s", name, got, w)
		}
	}
}

// inBothLanguages tells a story in English by day, and in Turkish in the dark.
func inBothLanguages(t *testing.T, story func(*testing.T, How)) {
	for name, how := range map[string]How{"English": {}, "Turkish": {Turkish: true, Dark: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, how)
		})
	}
}

func TestFirstSignIn(t *testing.T) {
	for name, how := range map[string]How{
		"English, on a desk":                      {},
		"Turkish, on a small phone, in the dark":  {Turkish: true, Dark: true, Width: 320, Height: 640},
		"without JavaScript":                      {NoScript: true},
		"Turkish, without JavaScript, on a phone": {Turkish: true, NoScript: true, Width: 360, Height: 720},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Found(t)
			ayse := who(t, "Ayşe")
			b := Visit(t, how)

			b.Open(c.Portal).Press("Sign in")
			b.At(c.Issuer+"/signin/").See("Sign in", "ID number", b.in("SSI Notification Portal", "SGK Bildirim Portalı"))
			b.Type("national_id", ayse.NationalID).Type("password", "not the password").Submit()
			b.See("The ID number or the password is wrong. Check them and try again.")
			b.SignsIn(ayse)
			b.See("Enter the code we sent to your phone ending 01")
			b.Confirms(c, ayse)

			b.At(c.Portal).See("Welcome", "Ayşe Yılmaz", b.bothSteps(), "Substantial: two steps")
			sees(t, b.Claims(c.Portal), map[string]string{"iss": c.Issuer, "aud": "ssi-portal", "acr": "urn:kapi:loa:substantial", "amr": "[pwd sms mca mfa]"})
			b.Press("My notifications").See("You see your notifications because you signed in with two steps.")
		})
	}
}

func TestSecondClientAsksNothing(t *testing.T) {
	t.Parallel()
	c := Found(t)
	ayse := who(t, "Ayşe")
	b := Visit(t, How{Unlooked: true})

	b.Open(c.Portal+"/login").SignsIn(ayse).Confirms(c, ayse).At(c.Portal)
	b.Open(c.Second + "/login")
	b.At(c.Second).See("Ayşe Yılmaz", b.bothSteps())

	first, second := b.Claims(c.Portal), b.Claims(c.Second)
	if first["sub"] == second["sub"] {
		t.Error("two institutions know the person by the same number")
	}
	for _, name := range []string{"amr", "acr", "auth_time"} {
		if fmt.Sprint(first[name]) != fmt.Sprint(second[name]) {
			t.Errorf("%s: %v at the first, %v at the second", name, first[name], second[name])
		}
	}
}

func TestStepUp(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c := Found(t)
		mehmet := who(t, "Mehmet")
		b := Visit(t, how)

		b.Open(c.Portal + "/login").SignsIn(mehmet)
		b.At(c.Portal).See(b.passwordOnly(), "Low: one step")
		low := b.Claims(c.Portal)

		b.Press("My notifications").See("This page shows data about your health. Sign in with two-factor authentication to see it.")
		b.Press("Continue").At(c.Issuer + "/signin/").See("Enter the code we sent to your phone ending 02")
		b.Confirms(c, mehmet)
		b.At(c.Portal + "/notifications").See("You see your notifications because you signed in with two steps.")
		high := b.Claims(c.Portal)
		sees(t, high, map[string]string{"acr": "urn:kapi:loa:substantial", "amr": "[pwd sms mca mfa]", "sub": fmt.Sprint(low["sub"])})
	})
}

func TestPageThatNeedsAFreshSignIn(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c := Found(t)
		mehmet := who(t, "Mehmet")
		b := Visit(t, how)

		b.Open(c.Portal + "/login").SignsIn(mehmet).At(c.Portal)
		before := b.Claims(c.Portal)["auth_time"].(float64)
		c.Pass(90e9)
		b.Press("Approve a document").See("Show once more that it is you before you approve. Each approval needs a fresh sign-in.")
		b.Press("Continue").At(c.Issuer + "/signin/").SeeNot("Mehmet Demir")
		b.SignsIn(mehmet)
		b.At(c.Portal + "/sign-document").Press("Approve").See("You have approved the document.")
		if after := b.Claims(c.Portal)["auth_time"].(float64); after < before+90 {
			t.Errorf("auth_time %v after %v: the sign-in is not fresh", after, before)
		}
	})
}

func TestForcedPasswordChange(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c := Found(t)
		zeynep := who(t, "Zeynep")
		b := Visit(t, how)

		b.Open(c.Portal + "/login").SignsIn(zeynep)
		b.See("Choose a new password")
		b.Type("new_password", "zeynep").Submit()
		b.See("There is a problem", "Use at least 15 characters.")
		b.Type("new_password", zeynep.Password).Submit().At(c.Issuer)
		fresh := zeynep
		fresh.Password = "kayık iskele poyraz 81"
		b.Type("new_password", fresh.Password).Submit()
		b.At(c.Portal).See(b.passwordOnly())

		other := Visit(t, how)
		other.Open(c.Portal + "/login").SignsIn(zeynep).See("The ID number or the password is wrong. Check them and try again.")
		other.SignsIn(fresh).At(c.Portal)
	})
}

func TestCancel(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c := Found(t)
		ayse := who(t, "Ayşe")
		b := Visit(t, how)

		b.Open(c.Portal + "/login").Press("Back to the service")
		b.At(c.Portal).Status(403).See("The sign-in was cancelled", "Nothing about you was shared with us. You can sign in again if you like.")
		b.Press("Try again").SignsIn(ayse).Press("Back to the service") // after the first step too
		b.At(c.Portal).See("The sign-in was cancelled")
		b.Press("Back to the portal").See("Incapacity notifications in one place")
		b.Open(c.Portal + "/login").At(c.Issuer).See("Sign in") // nothing of it is left
	})
}

func TestPersonWhoCannotReachWhatIsAsked(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c := Found(t)
		hasan := who(t, "Hasan") // has no phone
		b := Visit(t, how)

		b.Open(c.Portal + "/login").SignsIn(hasan).At(c.Portal).See("Low: one step")
		b.Press("My notifications").Press("Continue")
		b.At(c.Issuer).See("You need an ID-verified phone", "Go to a registration office with your ID card and your phone.")
		b.Submit()
		b.At(c.Portal).See("This page needs a stronger sign-in")
		b.Press("Back to the portal").See("Low: one step") // the portal's own session goes on
	})
}

func TestLanguageSwitchKeepsTheSignIn(t *testing.T) {
	t.Parallel()
	c := Found(t)
	ayse := who(t, "Ayşe")
	b := Visit(t, How{Unlooked: true})

	b.Open(c.Portal + "/login").See("Sign in").Press("Türkçe")
	b.At(c.Issuer + "/signin/").how.Turkish = true
	b.See("ID number", "SGK Bildirim Portalı")
	b.SignsIn(ayse).See("Enter the code we sent to your phone ending 01").Confirms(c, ayse).At(c.Portal)
}
