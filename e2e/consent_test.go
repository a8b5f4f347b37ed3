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
		b.Open(c.Asking+"/login").SignsIn(ayse).Confirms(c, ayse).At(c.Asking) // once is enough
	})
}
