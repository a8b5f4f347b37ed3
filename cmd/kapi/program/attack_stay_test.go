package program_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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

// R141: a strong sign-in of a while ago makes no phone ID-verified, nor closes a way to sign in, after the password alone.
func TestR141_AStrongSignInAgesToo(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		b := testkapi.NewBrowser(t).Open(k.URL + "/me/contact")
		sign(b, hasan)
		b.Open("/me/contact/phone").See("You signed in with a strong method")
		for range 2 {
			k.Clock.Add(10 * time.Minute)
			b.Open(k.URL + "/me")
		}
		b.Open("/me/contact/phone").Submit(map[string]string{"national_id": hasan, "password": hasanPassword}).See("Mobile phone number").DontSee("You signed in with a strong method")
		b.Submit(identity(map[string]string{"phone": "+905550000077"}, hasan, hasanBorn))
		b.Submit(map[string]string{"code": k.Phone.Code(t, "+905550000077", 1)}).DontSee("Verified with your ID")
		if r := send(t, b, http.MethodPost, k.URL+"/me/security/access", url.Values{"factor": {"password"}, "state": {"closed"}}); r.Status == http.StatusSeeOther {
			t.Errorf("the password was closed: to %s", r.Location)
		}
	})
}

// RC4: who wants a change to stand does not keep its victim from undoing it by guessing wrong.
func TestRC4_NobodyIsKeptFromUndoing(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		guess := func(from string) int {
			r := httptest.NewRequest(http.MethodPost, k.URL+"/undo", strings.NewReader(url.Values{"national_id": {ayse}, "code": {"ABCD2345"}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.RemoteAddr = from + ":4321"
			w := httptest.NewRecorder()
			k.App().Handler.ServeHTTP(w, r)
			return w.Code
		}
		for range 12 {
			guess("198.51.100.7")
		}
		if status := guess("198.51.100.7"); status != http.StatusTooManyRequests {
			t.Errorf("guesses are not counted: %d", status)
		}
		if status := guess("203.0.113.9"); status != http.StatusUnprocessableEntity {
			t.Errorf("the victim is locked out: %d", status)
		}
	})
}

// ASVS 7.5.1: a second factor alone, asked for by a client, makes a session of hours ago no fresh one.
func TestB1_OneStepOfTwoIsNotFresh(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", nil)
		own := me(k, t, mehmet, mehmetPassword, "", 0)
		own.Open(k.URL + "/me/password").See("Change password")
		k.Clock.Add(20 * time.Minute)
		own.Open(rp.URL("acr_values", substantial)).Submit(map[string]string{"code": k.Phone.Code(t, mehmetPhone, 1)})
		if got := rp.Answer(own).Claims; got.ACR != substantial {
			t.Fatalf("%+v", got)
		}
		own.Open(k.URL + "/me/password")
		if !strings.HasPrefix(own.URL.Path, "/signin/") {
			t.Fatalf("changed with a code by SMS and a cookie: at %s", own.URL)
		}
		own.Submit(map[string]string{"national_id": mehmet, "password": mehmetPassword})
		if own.URL.Path != "/me/password" {
			t.Errorf("at %s (%d):\n%s", own.URL, own.Status, own.Text())
		}
	})
}

// RC5: the bank saw the person before the SIM card was stolen; its request, held up or sent again, does not unblock the thief's.
func TestRC5_SeenBeforeTheChange(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		rp, b := k.RP("ssi", nil), newBank(t, k, "bank")
		seen := b.body(ayse, "t1")
		if status, _ := b.post(t, b.token(t), seen); status != http.StatusConflict {
			t.Errorf("not blocked: %d", status)
		}
		k.Clock.Add(time.Minute)
		k.swap(aysePhone)
		k.blocked(rp)
		if status, _ := b.post(t, b.token(t), seen); status != http.StatusConflict {
			t.Errorf("unblocked by what was seen before: %d", status)
		}
		k.blocked(rp)
		if status := b.release(t, ayse, "t2"); status != http.StatusNoContent {
			t.Errorf("seen afterwards: %d", status)
		}
	})
}
