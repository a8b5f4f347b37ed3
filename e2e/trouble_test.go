package e2e

import (
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kapi-id/kapi/internal/sim/phone"
)

func TestWrongCodesToTheLockAndBack(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c := Found(t)
		ayse := who(t, "Ayşe")
		b := Visit(t, how)

		b.Open(c.Portal + "/login").SignsIn(ayse)
		code := c.Code(ayse)
		wrong := func(times int) {
			for range times {
				b.Type("code", other(code)).Submit()
			}
		}
		wrong(1)
		b.See("The code is wrong. You have 4 tries left.")
		wrong(3)
		b.See("The code is wrong. You have 1 try left.")
		wrong(1)
		b.See("A wrong code was entered 5 times and the code no longer works. Ask for a new code.")

		c.Pass(31 * time.Second)
		b.Reload().Press("Send the code again")
		code = c.Code(ayse)
		wrong(5)

		c.Pass(2 * time.Minute)
		b.Reload().Press("Send the code again").Confirms(c, ayse)
		b.At(c.Issuer).See("Too many wrong tries. Try again in 8 minutes or use another way.") // the right code too

		c.Pass(11 * time.Minute)
		b.Open(c.Portal+"/login").SignsIn(ayse).Confirms(c, ayse).At(c.Portal).See(b.bothSteps())
	})
}

// other is a code that is not this one.
func other(code string) string {
	last := byte('0' + (code[5]-'0'+1)%10)
	return code[:5] + string(last)
}

func TestWrongPasswordsToTheLockAndBack(t *testing.T) {
	t.Parallel()
	c := Found(t)
	mehmet := who(t, "Mehmet")
	b := Visit(t, How{Unlooked: true})

	b.Open(c.Portal + "/login")
	for range 6 {
		b.Type("national_id", mehmet.NationalID).Type("password", "not the password").Submit()
		b.See("The ID number or the password is wrong. Check them and try again.")
	}
	b.SignsIn(mehmet).At(c.Issuer).See("The ID number or the password is wrong.") // inside the lock, the right one looks wrong
	c.Pass(20 * time.Minute)
	b.SignsIn(mehmet).At(c.Portal).See(b.passwordOnly())
}

func TestGatewayDead(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c := Found(t)
		ayse := who(t, "Ayşe")
		c.GatewayDies()
		b := Visit(t, how)

		b.Open(c.Portal + "/login").SignsIn(ayse)
		b.Until("Codes cannot be sent right now. Use another way, or try again in a little while.")
		b.Press("Back to the service").At(c.Portal).See("The sign-in was cancelled")

		// The next person hears it at once, before any message is tried.
		maria := who(t, "Maria")
		next := Visit(t, how)
		next.Open(c.Portal + "/login").SignsIn(maria).See("Codes cannot be sent right now. Use another way, or try again in a little while.")

		c.GatewayReturns()
		c.Pass(61 * time.Second)
		next.Until("Enter the code we sent to your phone ending 06").Confirms(c, maria).At(c.Portal).See(next.bothSteps())
	})
}

// A gateway that takes a message and does not answer: the page says so within seconds, by itself, and keeps what was typed; without a
// script it says so when it is loaded again.
func TestGatewayHangs(t *testing.T) {
	for name, how := range map[string]How{
		"Turkish, on a small phone, in the dark": {Turkish: true, Dark: true, Width: 320, Height: 640}, "without JavaScript": {NoScript: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Found(t)
			if err := c.Phone.Set(phone.Hang); err != nil {
				t.Fatal(err)
			}
			const says = "Sending the code takes longer than usual. It may still come; if it does not, use another way or ask again."
			b := Visit(t, how).Open(c.Portal + "/login").SignsIn(who(t, "Ayşe")).See("Enter the code we sent to your phone ending 01")
			if how.NoScript {
				b.Until(says)
				return
			}
			b.Type("code", "12").Waits(says)
			if typed, err := step(b, chromedp.Evaluate[string](`document.querySelector("main [name=code]").value`)); err != nil || typed != "12" {
				t.Errorf("what was typed became %q, %v", typed, err)
			}
		})
	}
}

func TestTwoTabs(t *testing.T) {
	t.Parallel()
	c := Found(t)
	ayse := who(t, "Ayşe")
	left := Visit(t, How{Unlooked: true})
	left.Open(c.Portal + "/login")
	right := left.Tab().Open(c.Portal + "/login") // a sign-in of its own
	same := left.Tab().Open(left.Address())       // the same sign-in twice

	left.SignsIn(ayse).Confirms(c, ayse).At(c.Portal).See(left.bothSteps())
	right.SignsIn(ayse).At(c.Portal).See(right.bothSteps()) // the code of the other tab counts here too
	same.Type("national_id", ayse.NationalID).Type("password", ayse.Password).Submit()
	same.At(c.Issuer).See("This sign-in is complete", "Back to the service")
}

func TestBackButtonAndReload(t *testing.T) {
	t.Parallel()
	c := Found(t)
	ayse := who(t, "Ayşe")
	b := Visit(t, How{Unlooked: true})

	b.Open(c.Portal + "/login").Reload().SignsIn(ayse)
	b.Back() // to the password, which is not owed any more
	b.At(c.Issuer).See("Enter the code we sent to your phone ending 01").Reload()
	b.Confirms(c, ayse).At(c.Portal)
	b.Back().See("This sign-in is complete")
}

func TestLogout(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c := Found(t)
		ayse := who(t, "Ayşe")
		b := Visit(t, how)

		b.Open(c.Portal+"/login").SignsIn(ayse).Confirms(c, ayse).At(c.Portal)
		b.Press("Sign out").At(c.Portal).See("You are signed out")
		b.Open(c.Portal + "/login").At(c.Issuer + "/signin/").See("Sign in")

		// Without a proof of who asks, Kapi asks the person.
		c.Pass(time.Minute)
		b.SignsIn(ayse).Confirms(c, ayse).At(c.Portal)
		b.Open(c.Issuer + "/end_session").See("Do you want to sign out?").Press("Stay signed in").See("You are still signed in")
		b.Open(c.Portal + "/login").At(c.Portal)
		b.Open(c.Issuer + "/end_session").Press("Sign out").See("You are signed out")
		b.Open(c.Portal + "/login").At(c.Issuer + "/signin/")
	})
}
