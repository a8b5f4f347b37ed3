package program_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// noticesTo are the pushes that told a device of something.
func noticesTo(k *testkapi.Kapi, push any) (n int) {
	to, _ := json.Marshal(push)
	for _, text := range k.Phone.Inbox(string(to)) {
		if strings.Contains(text, `"notice"`) {
			n++
		}
	}
	return n
}

// toldBy runs what changes something and waits until a push of it came to where the device is reached before.
func toldBy(t *testing.T, k *testkapi.Kapi, d *devicetest.Device, what string, want int, change func()) {
	t.Helper()
	settled(t, k)
	push := d.Push
	before := noticesTo(k, push)
	change()
	settled(t, k)
	if n := noticesTo(k, push) - before; n != want {
		t.Errorf("%s: %d pushes told of it, want %d", what, n, want)
	}
}

// confirmed approves on d what b waits for, and goes on.
func confirmed(t *testing.T, b *testkapi.Browser, d *devicetest.Device, button string) *testkapi.Browser {
	t.Helper()
	if a := b.Approve(d); a.Status != http.StatusNoContent {
		t.Fatalf("approve: %d %s", a.Status, a.Body)
	}
	return b.Press(button)
}

// Every change is told by push too, and above all to the device that goes: replaced, removed at the page or by itself, lost, or gone with
// two-factor authentication. A thief who gets at it must not be able to do so behind its owner's back.
func TestTheDeviceHearsOfItsEnd(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		b := freshly(t, k)
		first := k.Device("first")
		toldBy(t, k, first, "registered", 1, func() { first.Register(b.Pairing(k)) })

		k.Clock.Add(16 * time.Minute)
		b = testkapi.NewBrowser(t).Open(k.URL + "/me/password")
		b.Submit(map[string]string{"national_id": ayse, "password": aysePassword})
		confirmed(t, b, first, "I have approved")
		toldBy(t, k, first, "a change on the web", 1, func() {
			b.Submit(map[string]string{"password": aysePassword, "new_password": "yeşil vapur akşam 3"}).See("Your password has been changed.")
		})
		old := &devicetest.Device{Push: first.Push}
		toldBy(t, k, old, "another address, at the one before", 1, func() {
			first.Push = map[string]string{"kind": "fcm", "token": "moved-to-another"}
			if a := first.SetPush(first.Push); a.Status != http.StatusNoContent {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
		})
		toldBy(t, k, first, "the same address again", 0, func() { first.SetPush(first.Push) })

		second := k.Device("second")
		toldBy(t, k, first, "replaced", 1, func() {
			if a := second.Register(b.Pairing(k)); a.Status != http.StatusCreated {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
		})
		toldBy(t, k, second, "removed by its owner", 1, func() {
			b.Open(k.URL + "/me/security/device").Press("Remove the registered device").Press("Remove").See("The registered device was removed.")
		})
		third := b.Registered(k, "third")
		toldBy(t, k, third, "removed by itself", 1, func() { third.Leave() })

		fourth := b.Registered(k, "fourth")
		k.Clock.Add(16 * time.Minute)
		lost := testkapi.NewBrowser(t).Open(k.RP("ssi", nil).URL())
		lost.Submit(map[string]string{"national_id": ayse, "password": "yeşil vapur akşam 3"})
		codes := len(textsWithCodes(k))
		toldBy(t, k, fourth, "said to be lost", 1, func() {
			lost.Open(k.URL + "/signin/" + strings.Split(lost.URL.Path, "/")[2] + "/lost").Press("Send a code to my phone")
			eventually(t, "a code comes", func() bool { return len(textsWithCodes(k)) > codes })
			lost.Submit(map[string]string{"code": textsWithCodes(k)[codes]}).See("Your registered device will be removed")
		})
		k.Clock.Add(24*time.Hour + time.Minute)
		toldBy(t, k, fourth, "gone as lost", 1, func() {
			if err := k.App().CarryOut(t.Context()); err != nil {
				t.Fatal(err)
			}
			if a := fourth.Me(); a.Status != http.StatusUnauthorized {
				t.Errorf("it is there: %d %s", a.Status, a.Body)
			}
		})

		b = testkapi.NewBrowser(t).Open(k.URL + "/me/two-factor/off")
		codes = len(textsWithCodes(k))
		b.Submit(map[string]string{"national_id": ayse, "password": "yeşil vapur akşam 3"})
		eventually(t, "a code comes", func() bool { return len(textsWithCodes(k)) > codes })
		b.Submit(map[string]string{"code": textsWithCodes(k)[codes]})
		fifth := b.Registered(k, "fifth")
		// A code by SMS confirmed this session, and confirms no more while a device has a say (R176, the hold of a lost one).
		b.Open(k.URL + "/me/two-factor/off").Press("Go on")
		if !strings.Contains(b.URL.RawQuery, "method=device") {
			t.Fatalf("at %s", b.URL)
		}
		bySMS := strings.Replace(b.URL.String(), "method=device", "method=sms", 1)
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if r := send(t, b, method, bySMS, url.Values{}); r.Status != http.StatusSeeOther || !strings.HasSuffix(r.Location, "/me/two-factor/off") {
				t.Errorf("%s of a code by SMS beside the device: %d to %s", method, r.Status, r.Location)
			}
		}
		toldBy(t, k, fifth, "two-factor authentication off, and the device with it", 2, func() { confirmed(t, b, fifth, "Switch off").See("is off") })
		if a := fifth.Me(); a.Status != http.StatusUnauthorized {
			t.Errorf("it is there: %d %s", a.Status, a.Body)
		}
	})
}

// Row D7: the owner of a device that was blocked as a copy, who has nothing else but the phone, registers another one.
func TestD7_BlockedAndOnlyAPhone(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		d := freshly(t, k).Registered(k, "Ayşe's phone")
		copied := d.Copy()
		d.SetPush(d.Push)
		toldBy(t, k, d, "blocked", 1, func() {
			if a := copied.SetPush(d.Push); a.Problem() != "blocked" {
				t.Fatalf("the copy: %d %s", a.Status, a.Body)
			}
		})
		b := freshly(t, k)
		b.Open(k.URL+"/me/security/device").See("This device is blocked", "Register another device", "Remove the registered device").DontSee("If you can use none of them")
		fresh := b.Registered(k, "another")
		if a := d.Me(); a.Status != http.StatusUnauthorized {
			t.Errorf("the blocked one: %d %s", a.Status, a.Body)
		}
		// The new one has a say, which a code by SMS does not take away.
		b.Open(k.URL+"/me/security/device").See("another", "If you can use none of them").DontSee("Register another device")
		if a := fresh.Me(); a.Status != http.StatusOK {
			t.Errorf("the new one: %d %s", a.Status, a.Body)
		}
	})
}

// A device does not give itself up while a renewed password holds the ways to sign in, and a pairing code dies with its session.
func TestTheDeviceIsHeldToo(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		k.People(recoverable(1, `,"two_factor":true`))
		b := testkapi.NewBrowser(t).Open(k.URL + "/me/security")
		b.Submit(map[string]string{"national_id": number(1), "password": "the one I forgot now 1"})
		b.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 1)})
		code := b.Pairing(k)
		b.Open(k.URL + "/me").Press("Sign out")
		if a := k.Device("late").Register(code); a.Problem() != "unknown" {
			t.Errorf("after its session: %d %s", a.Status, a.Body)
		}
		k.Clock.Add(16 * time.Minute)
		b = testkapi.NewBrowser(t).Open(k.URL + "/me/security")
		b.Submit(map[string]string{"national_id": number(1), "password": "the one I forgot now 1"})
		b.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 2)})
		d := b.Registered(k, "Deniz's phone")
		k.Clock.Add(16 * time.Minute)
		again := testkapi.NewBrowser(t)
		renewing(again.Open(k.URL+"/recover"), 1, nil)
		again.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 3)}).Submit(map[string]string{"new_password": newPassword}).See("renewed")
		a := d.Leave()
		if want := k.Clock.Now().Add(24 * time.Hour).Format(time.RFC3339); a.Status != http.StatusForbidden || a.Problem() != "held" || !strings.Contains(string(a.Body), want) {
			t.Errorf("held: %d %s, want until %s", a.Status, a.Body, want)
		}
		k.Clock.Add(24*time.Hour + time.Second)
		if a := d.Leave(); a.Status != http.StatusNoContent {
			t.Errorf("a day later: %d %s", a.Status, a.Body)
		}
	})
}
