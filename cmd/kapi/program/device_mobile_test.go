package program_test

import (
	"net/http"
	"testing"

	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// R172: who signs in on a phone that is not the registered one is asked on that one, by a push to it and to no other; the phone in the hand
// cannot say yes by itself, with an app of its own or without.
func TestR172_AnotherMobile(t *testing.T) {
	withDevice(t, func(t *testing.T, k *testkapi.Kapi, d *devicetest.Device) {
		other := k.Device("another phone")
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		b.Header.Set("User-Agent", "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36")
		toDevice(t, b, rp).See("Approve on your registered device", "Ayşe's phone").DontSee("another phone")
		eventually(t, "a push to the registered one", func() bool { return len(pushesTo(k, d)) == 1 })
		settled(t, k)
		if n := len(pushesTo(k, other)); n != 0 {
			t.Errorf("%d pushes to the other one", n)
		}
		r, typed := b.Waiting(d), b.Number()
		if r.Show().Browser != "Chrome, Android" {
			t.Errorf("the device shows %+v", r.Show())
		}
		for _, id := range []string{devicetest.Random(16), d.ID} { // not registered at all, or in the name of the one that is
			other.ID = id
			if a := other.Approve(r, typed); a.Status != http.StatusUnauthorized {
				t.Errorf("the other one approves: %d %s", a.Status, a.Body)
			}
		}
		b.Press("I have approved").See("has not approved yet")
		if a := d.Approve(r, typed); a.Status != http.StatusNoContent {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		b.Press("I have approved")
		rp.Answer(b)
	})
}
