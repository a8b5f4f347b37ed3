package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kapi-id/kapi/factors/device/devicetest"
)

// Arrives waits until a script has brought the browser there.
func (b *Browser) Arrives(prefix string) *Browser {
	b.t.Helper()
	give := time.After(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !strings.HasPrefix(b.Address(), prefix) {
		select {
		case <-give:
			b.t.Fatalf("the browser stays at %s and never comes to %s\n%s", b.Address(), prefix, b.where())
		case <-tick.C:
		}
	}
	return b
}

// A citizen makes this browser the registered device; from then on the password is enough here (R168 to R171), and another
// browser waits for a yes (R172).
func TestThisBrowserIsMyDevice(t *testing.T) {
	for name, how := range map[string]How{"English": {}, "Turkish, small": {Turkish: true, Width: 320, Height: 640}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, ayse := Found(t), who(t, "Ayşe")
			b := Visit(t, how)
			b.security(c, ayse, "device").Press("Register a device")
			b.See("Register your device", "On your phone", "On this device")
			if !b.Has("svg.qr path") {
				t.Error("there is no picture to scan")
			}
			b.Press("Use this browser as my device").Arrives(c.Issuer + "/me/security/device")
			b.See("Registered on")
			b.Open(c.Issuer + "/me").Press("Sign out")

			c.Pass(5 * time.Minute)
			b.Open(c.Portal+"/login").Type("national_id", ayse.NationalID).Type("password", ayse.Password)
			_, err := step(b, chromedp.Click(chromedp.CSS("main form .primary"))) // the page in between goes on by itself
			b.do("submit", err)
			b.Arrives(c.Portal)
			sees(t, b.Claims(c.Portal), map[string]string{"acr": "urn:kapi:loa:substantial", "amr": "[pwd swk mfa]"})

			other := Visit(t, how)
			other.Open(c.Portal+"/login").SignsIn(ayse).See("Approve on your registered device", "I have approved – continue")
		})
	}
}

// A citizen approves on the phone what the browser asks; the browser goes on by itself, or, without a script, when asked to.
func TestApproveOnThePhone(t *testing.T) {
	howsWithoutScript(t, func(t *testing.T, how How) {
		c, ayse := Found(t), who(t, "Ayşe")
		b := Visit(t, how)
		b.security(c, ayse, "device").Press("Register a device")
		phone := devicetest.New(c.Issuer, c.now)
		phone.App = "android/1.0.0"
		if a := phone.Register(strings.Join(b.prints(), "")); a.Status != http.StatusCreated {
			t.Fatalf("register: %d %s", a.Status, a.Body)
		}
		c.Pass(time.Minute)
		citizen := Visit(t, how)
		citizen.Open(c.Portal+"/login").SignsIn(ayse).See("Approve on your registered device", "Ayşe's phone")
		number, err := step(citizen, chromedp.Evaluate[string](`document.querySelector(".number").textContent`))
		citizen.do("read the number", err)
		list, a := phone.List()
		if len(list) != 1 {
			t.Fatalf("%d wait: %d %s", len(list), a.Status, a.Body)
		}
		if a := phone.Approve(list[0], number); a.Status != http.StatusNoContent {
			t.Fatalf("approve: %d %s", a.Status, a.Body)
		}
		if how.NoScript {
			citizen.Press("I have approved")
		}
		citizen.Arrives(c.Portal)
		sees(t, citizen.Claims(c.Portal), map[string]string{"acr": "urn:kapi:loa:substantial", "amr": "[pwd swk user mca mfa]"})
	})
}
