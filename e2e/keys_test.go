package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"
)

// security opens a page of the security settings, signed in afresh.
func (b *Browser) security(c *Country, p Person, page string) *Browser {
	b.t.Helper()
	c.Pass(16 * time.Minute)
	b.Open(c.Issuer + "/me/security/" + page).SignsIn(p)
	if strings.HasSuffix(b.Address(), "/choose") {
		b.Press("Security code by SMS")
	}
	return b.Confirms(c, p).At(c.Issuer + "/me/security/" + page)
}

// prints are the texts of the page that are set as code.
func (b *Browser) prints() []string {
	b.t.Helper()
	out, err := step(b, chromedp.Evaluate[[]string](`[...document.querySelectorAll("main code")].map(e => e.textContent)`))
	b.do("read the codes", err)
	return out
}

func howsWithoutScript(t *testing.T, story func(*testing.T, How)) {
	for name, how := range map[string]How{"English": {}, "Turkish, small, in the dark": {Turkish: true, Dark: true, Width: 320, Height: 640}, "without JavaScript": {NoScript: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, how)
		})
	}
}

// A citizen sets up the key app and signs in with its codes.
func TestKeyApp(t *testing.T) {
	howsWithoutScript(t, func(t *testing.T, how How) {
		c, ayse := Found(t), who(t, "Ayşe")
		b := Visit(t, how)
		b.security(c, ayse, "totp").Press("Set up a key")
		b.See("1. Add the key to the app", "2. Enter the code that the app shows")
		if !b.Has("svg.qr path") {
			t.Error("there is no picture to scan")
		}
		seed := strings.Join(b.prints(), "")
		code := func() string {
			text, err := totp.GenerateCode(seed, c.now())
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		b.Type("code", "000000").Submit()
		if b.Has("main form [name=code]") { // but for one chance in a third of a million
			b.Type("code", code()).Submit()
		}
		b.See("Your key is set up.")
		b.Open(c.Issuer + "/me/security").See("e-Government Key")

		c.Pass(2 * time.Minute)
		citizen := Visit(t, how)
		citizen.Open(c.Portal + "/login").SignsIn(ayse).See("How shall we check that it is you?").Press("e-Government Key")
		citizen.See("Enter the code from your key app").Type("code", code()).Submit()
		citizen.At(c.Portal)
		sees(t, citizen.Claims(c.Portal), map[string]string{"acr": "urn:kapi:loa:substantial", "amr": "[pwd otp mfa]"})

		b.security(c, ayse, "totp").Press("Remove the key")
		b.See("Remove the key?").Submit().See("Your key was removed.")
	})
}

// A citizen prints backup codes and uses one on the day the phone is gone.
func TestBackupCodes(t *testing.T) {
	howsWithoutScript(t, func(t *testing.T, how How) {
		c, ayse := Found(t), who(t, "Ayşe")
		b := Visit(t, how)
		b.security(c, ayse, "backup").See("Backup codes are a last resort and easy to lose. Print them or write them down, and keep them in a safe place away from your phone.").Press("Make backup codes")
		b.See("Your backup codes", "These codes are shown only now. Print, download or write them down before you leave this page.")
		codes := b.prints()
		if len(codes) != 10 {
			t.Fatalf("%d codes", len(codes))
		}
		for _, button := range []string{"[data-print]", "[data-copy]", "[data-download]"} {
			if shown := b.Has("main " + button); shown == how.NoScript {
				t.Errorf("%s shown %v, though scripts run %v", button, shown, !how.NoScript)
			}
		}
		b.Press("I have kept the codes").See("10 of 10 codes left")

		citizen := Visit(t, how)
		citizen.Open(c.Portal + "/login").SignsIn(ayse).See("Enter the code we sent to your phone ending 01").Press("Backup code")
		citizen.See("Enter one of your backup codes").Type("code", "ABCD").Submit()
		citizen.See("A backup code has 16 letters and digits. Enter the code as it stands in your list.")
		citizen.Type("code", strings.ToLower(codes[4])).Submit().At(c.Portal)
		sees(t, citizen.Claims(c.Portal), map[string]string{"acr": "urn:kapi:loa:substantial", "amr": "[pwd backup mfa]"})
		b.Open(c.Issuer + "/me/security/backup").See("9 of 10 codes left")

		b.Press("Make new codes").See("Make new codes?").Submit().See("Your backup codes")
		late := Visit(t, how)
		late.Open(c.Portal+"/login").SignsIn(ayse).Press("Backup code").Type("code", codes[5]).Submit()
		late.See("The backup code is wrong. Check your list; an old list stops working once you have made a new one.")
	})
}

// gets a key: a virtual one, as a platform or a USB port has it.
func (b *Browser) gets(synced bool) webauthn.AuthenticatorID {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, webauthn.Enable, webauthn.EnableParams{})
	b.do("let the browser have keys", err)
	got, err := chromedp.Call(b.ctx, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{
		Protocol: webauthn.AuthenticatorProtocolCtap2, Transport: webauthn.AuthenticatorTransportUsb, HasUserVerification: true, IsUserVerified: true,
		AutomaticPresenceSimulation: true, DefaultBackupEligibility: synced, DefaultBackupState: synced,
	}})
	b.do("plug a key in", err)
	return got.AuthenticatorID
}

// A citizen adds a key and signs in by touching it.
func TestPasskey(t *testing.T) {
	for name, how := range map[string]How{"English": {}, "Turkish, in the dark": {Turkish: true, Dark: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, ayse := Found(t), who(t, "Ayşe")
			b := Visit(t, how)
			b.gets(how.Turkish)
			b.security(c, ayse, "webauthn").Press("Add a key")
			b.Type("name", "Masa").Press("Create the key").See("The key was added.", "Masa")
			if how.Turkish {
				b.See("Synced between your devices.")
			} else {
				b.See("Only on this one device.")
			}
			b.Press("Add another key").Type("name", "Same") // the key says itself that it is known here: no page comes
			_, err := step(b, chromedp.Steps(chromedp.Click(chromedp.CSS("main form:has([name=name]) button.primary")), chromedp.WaitVisible(chromedp.CSS("[data-webauthn-says]"))))
			b.do("the same key twice", err)
			b.See("This key is registered already.")
			b.Open(c.Portal + "/login?prompt=login").SignsIn(ayse).See("How shall we check that it is you?").Press("Security key or passkey")
			b.See("Confirm with your key").Press("Use your security key or passkey").At(c.Portal)
			sees(t, b.Claims(c.Portal), map[string]string{"acr": "urn:kapi:loa:substantial", "amr": "[pwd swk user mfa]"})

			without := Visit(t, How{Turkish: how.Turkish, NoScript: true})
			without.Open(c.Portal + "/login").SignsIn(ayse).Press("Security key or passkey")
			without.See("Security keys need JavaScript in your browser. Switch it on, or choose another way below.").Submit()
			without.See("Security keys need JavaScript in your browser. Switch it on, or choose another way below.").Press("Security code by SMS")
			without.Confirms(c, ayse).At(c.Portal)
		})
	}
}
