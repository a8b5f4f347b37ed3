package program_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// RC4: what a thief asked for in a session ends with it, a pairing code and the link of an e-mail too, which need no session.
func TestRC4_WhatAThiefAskedForEnds(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		thief := freshly(t, k)
		code := thief.Pairing(k)
		own := freshly(t, k)
		code2 := own.Pairing(k) // of two the newer is good
		k.Clock.Add(time.Second)
		if r := send(t, own, http.MethodPost, k.URL+"/me/not-me", url.Values{}); r.Status != http.StatusSeeOther {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		for _, c := range []string{code, code2} {
			if a := k.Device("a thief's").Register(c); a.Status != http.StatusNotFound {
				t.Errorf("registered after everything ended: %d %s", a.Status, a.Body)
			}
		}
	})
}

// RC5: a session with a second factor of a while ago is not made fresh by the password alone, on the way to unblocking.
func TestRC5_UnblockingMakesNoSecondFactorFresh(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		rp := k.RP("ssi", nil)
		b := freshly(t, k.Kapi)
		b.Open(k.URL + "/me/security").See("Security settings")
		k.swap(aysePhone)
		k.Clock.Add(16 * time.Minute)
		b.Open(k.URL + "/me/unblock").Submit(map[string]string{"national_id": ayse, "password": aysePassword})
		if b.URL.Path != "/me/unblock" {
			t.Fatalf("at %s (%d):\n%s", b.URL, b.Status, b.Text())
		}
		for _, path := range []string{"/me/security/totp", "/me/contact/email", "/me"} {
			if r := send(t, b, http.MethodGet, k.URL+path, nil); r.Status != http.StatusSeeOther || !strings.HasPrefix(r.Location, "/signin/") {
				t.Errorf("%s: %d to %s", path, r.Status, r.Location)
			}
		}
		if b.Open(rp.URL("max_age", "60")); b.Left() != nil {
			t.Errorf("a client gets %+v", rp.Answer(b).Claims)
		}
	})
}

// D3: who knows the password keeps the device busy from many browsers; at home it goes on.
func TestD3_TheOwnerGetsThrough(t *testing.T) {
	withDevice(t, func(t *testing.T, k *testkapi.Kapi, d *devicetest.Device) {
		rp, home := k.RP("ssi", nil), testkapi.NewBrowser(t)
		toDevice(t, home, rp)
		home.Approve(d)
		home.Press("I have approved")
		rp.Answer(home)
		home.Open(k.URL + "/me").Press("Sign out")
		for i := range 6 {
			b := testkapi.NewBrowser(t)
			b.Header.Set("User-Agent", fmt.Sprintf("attack/%d", i))
			b.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword})
		}
		if list, _ := d.List(); len(list) != 5 {
			t.Fatalf("%d wait", len(list))
		}
		toDevice(t, home, rp)
		if a := home.Approve(d); a.Status != http.StatusNoContent {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		home.Press("I have approved")
		rp.Answer(home)
	})
}
