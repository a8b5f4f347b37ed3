package program_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// deaths are those of TestO1_DeathAtEachPoint beside a sign-in by password and SMS: while a registered device approves, while a person
// chooses a new password at sign-in or gets one for a forgotten one, and while somebody signs out.
type deaths struct {
	*mortal
	rp      *testkapi.RP
	holder  int // has a registered device
	device  *devicetest.Device
	written int // messages that a recovery writes
}

// renewed is how far beside the forgetful those are whose password is the office's.
const renewed = 10_000

// Points of the deaths, in the order in which each round meets them.
var (
	approvals  = []string{"approval-write", "approval-given", "approval-used"}
	renewals   = []string{"renew-write"}
	recoveries = []string{"recovery-proven", "recovery-write", "recovery-done"}
	logouts    = []string{"logout-write", "logout-written"}
)

// newDeaths registers the device of person; the people from forgetful on can recover.
func newDeaths(m *mortal, rp *testkapi.RP, person, forgetful, n int) *deaths {
	d := &deaths{mortal: m, rp: rp, holder: person}
	var file []string
	for i := range n {
		file = append(file, strings.TrimSuffix(strings.TrimPrefix(recoverable(forgetful+i, ""), "["), "]"))
	}
	m.k.People("[" + strings.Join(file, ",") + "]")
	m.pass(time.Minute)
	m.work()
	b := testkapi.NewBrowser(m.t)
	b.Open(m.k.URL + "/me/security").Submit(map[string]string{"national_id": number(person), "password": "the right one of all"})
	b.Submit(map[string]string{"code": m.k.Phone.Code(m.t, phoneOf(person), 1)})
	d.device = m.k.Device("The only phone")
	d.device.Push = nil
	if check := d.device.Bodies; check != nil {
		d.device.Bodies = func(r *http.Request, body []byte, status int, header http.Header, answer []byte) {
			if status != http.StatusBadGateway { // which is the front's
				check(r, body, status, header, answer)
			}
		}
	}
	if a := d.device.Register(b.Pairing(m.k)); a.Status != http.StatusCreated {
		m.t.Fatalf("register: %d %s", a.Status, a.Body)
	}
	m.end()
	return d
}

// again waits until n1 is dead, whose point the last request met, and opens the page at n2.
func (d *deaths) again(b *testkapi.Browser, page string) *testkapi.Browser {
	d.t.Helper()
	d.died()
	return b.Open(page)
}

// approve is a sign-in with the registered device: only what n1 committed counts at n2, and a yes that was used up and lost is asked for
// again.
func (d *deaths) approve(point string) {
	t := d.t
	t.Helper()
	sessions := func() int { return one[int](t, d.db, "SELECT count(*) FROM sessions") }
	d.pass(7 * time.Minute) // what was asked before is forgotten
	d.begin(point)
	standing := sessions()
	b := testkapi.NewBrowser(t)
	b.Open(d.rp.URL()).Submit(map[string]string{"national_id": number(d.holder), "password": "the right one of all"})
	page := b.URL.String()
	r := b.Waiting(d.device)
	said := d.device.Approve(r, b.Number())
	if dead := point != "approval-used"; dead != (said.Status == http.StatusBadGateway) {
		t.Fatalf("%s: the device got %d %s", point, said.Status, said.Body)
	}
	switch point {
	case "approval-write":
		d.again(b, page).Press("I have approved").See("has not approved yet")
		if n := sessions() - standing; n != 0 || b.Left() != nil {
			t.Fatalf("%s: %d sessions without an approval", point, n)
		}
		if a := b.Approve(d.device); a.Status != http.StatusNoContent {
			t.Errorf("%s: the device says it again and gets %d %s", point, a.Status, a.Body)
		}
	case "approval-given":
		d.again(b, page)
		list, _ := d.device.List()
		if a := d.device.Approve(r, "10"); len(list) != 0 || a.Status != http.StatusConflict {
			t.Errorf("%s: %d requests wait, and a second yes gets %d %s", point, len(list), a.Status, a.Body)
		}
	case "approval-used":
		b.Press("I have approved")
		if b.Status != http.StatusBadGateway {
			t.Fatalf("%s: %d %s", point, b.Status, b.Text())
		}
		d.again(b, page).See("This approval has been used")
		if n := sessions() - standing; n != 0 || b.Left() != nil {
			t.Fatalf("%s: %d sessions of a proof that was lost", point, n)
		}
		b.Press("Ask for approval again")
		if a := b.Approve(d.device); a.Status != http.StatusNoContent {
			t.Errorf("%s: the second approval gets %d %s", point, a.Status, a.Body)
		}
	}
	if point == "approval-given" {
		b.Press("Continue")
	} else {
		b.Press("I have approved")
	}
	got := d.rp.Answer(b).Claims
	if !slices.Equal(got.AMR, []string{"pwd", "swk", "user", "mca", "mfa"}) || got.ACR != substantial || sessions()-standing != 1 {
		t.Errorf("%s: amr %v, acr %s, %d sessions", point, got.AMR, got.ACR, sessions()-standing)
	}
	d.end()
}

// renew is a sign-in with a password from the office, which owes a new one: it is stored with its entry in the record and with what else goes
// with it, or not at all.
func (d *deaths) renew(point string, person int) {
	t, k := d.t, d.k
	t.Helper()
	const office = "482915"
	k.People(fmt.Sprintf(`[{"national_id":%q,"kind":"citizen","given_name":"Zeynep","family_name":"Kaya","birthdate":"1978-01-30","locale":"en","password":%q,"password_temporary":true}]`,
		number(person), office))
	changed := func() int {
		return one[int](t, d.db, "SELECT (SELECT count(*) FROM audit_log WHERE name = 'password.changed') + (SELECT count(*) FROM audit_pending WHERE name = 'password.changed')")
	}
	d.pass(time.Minute)
	d.begin(point)
	entries := changed()
	b := testkapi.NewBrowser(t)
	b.Open(d.rp.URL()).Submit(map[string]string{"national_id": number(person), "password": office})
	page := b.See("Choose a new password").URL.String()
	if b.Submit(map[string]string{"new_password": newPassword}); b.Status != http.StatusBadGateway {
		t.Fatalf("%s: %d %s", point, b.Status, b.Text())
	}
	d.again(b, page).See("Choose a new password")
	in := testkapi.NewBrowser(t).Open(k.URL + "/me")
	in.Submit(map[string]string{"national_id": number(person), "password": office}).See("Choose a new password")
	if n := changed() - entries; n != 0 {
		t.Errorf("%s: %d entries of a password that was not stored", point, n)
	}
	b.Submit(map[string]string{"new_password": newPassword})
	d.rp.Answer(b)
	if n := changed() - entries; n != 1 {
		t.Errorf("%s: %d entries of a password that was stored once", point, n)
	}
	in.Open(k.URL + "/me").Submit(map[string]string{"national_id": number(person), "password": office}).See(wrongSignIn)
	d.end()
}

// recover renews a forgotten password: it is renewed wholly, with the sessions ended, the factors held and the messages written, or not at
// all; and what was proven goes no further than what was stored of it.
func (d *deaths) recover(point string, person int) {
	t, k := d.t, d.k
	t.Helper()
	const old = "the one I forgot now 1"
	count := func(of string) int {
		return one[int](t, d.db, "SELECT count(*) FROM "+of)
	}
	d.pass(time.Minute)
	before := testkapi.NewBrowser(t) // a session that a thief may have
	before.Open(k.URL + "/me").Submit(map[string]string{"national_id": number(person), "password": old}).See("My account")
	// whole says how far it came: everything or nothing.
	holds, messages := count("holds"), count("outbox WHERE ticket = ''")
	whole := func(want bool) {
		t.Helper()
		d.pass(2 * time.Second) // n2's clock stands, and n1 measured its own: what is proven now comes after what n1 wrote
		in := testkapi.NewBrowser(t).Open(k.URL + "/me")
		r := send(t, before, http.MethodGet, k.URL+"/me", nil)
		newHolds, written := count("holds")-holds, count("outbox WHERE ticket = ''")-messages
		known := strings.Contains(in.Submit(map[string]string{"national_id": number(person), "password": newPassword}).Text(), "My account")
		if lives := r.Status == http.StatusOK; known != want || lives == want || (newHolds == 1) != want || (written > 0) != want {
			t.Errorf("%s: renewed %t, the old session lives %t, %d holds, %d messages; %d %s", point, known, lives, newHolds, written, in.Status, in.Text())
		}
		if want && d.written == 0 {
			d.written = written
		}
		if want && written != d.written {
			t.Errorf("%s: %d messages, elsewhere %d", point, written, d.written)
		}
	}
	d.begin(point)
	b := testkapi.NewBrowser(t)
	b.Header.Set("X-Forwarded-For", fmt.Sprintf("198.51.%d.%d", person%20_000/250, 1+person%250)) // one network recovers a few times a day
	renewing(b.Open(k.URL+"/recover"), person, nil)
	page := b.URL.String()
	code := k.Phone.Code(t, phoneOf(person), 1)
	b.Submit(map[string]string{"code": code})
	if point == "recovery-proven" {
		if b.Status != http.StatusBadGateway {
			t.Fatalf("%s: %d %s", point, b.Status, b.Text())
		}
		d.again(b, page).Submit(map[string]string{"code": code}).See("This code was used")
		at := strings.TrimSuffix(page, "/code")
		for _, r := range []reply{send(t, b, http.MethodGet, at+"/password", nil), send(t, b, http.MethodPost, at+"/password", url.Values{"new_password": {newPassword}})} {
			if r.Status != http.StatusSeeOther {
				t.Errorf("%s: the next step answers %d", point, r.Status)
			}
		}
		d.pass(46 * time.Second)
		b.Open(page).Press("Send the code again")
		b.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(person), 2)})
	}
	page = b.See("Set your new password").URL.String()
	if point == "recovery-proven" {
		whole(false)
	}
	b.Submit(map[string]string{"new_password": newPassword})
	switch point {
	case "recovery-write":
		d.again(b, page).See("Set your new password")
		whole(false)
		b.Submit(map[string]string{"new_password": newPassword})
	case "recovery-done":
		d.again(b, page)
	}
	b.See("Your password has been renewed")
	whole(true)
	testkapi.NewBrowser(t).Open(k.URL + "/me").Submit(map[string]string{"national_id": number(person), "password": old}).See(wrongSignIn)
	d.end()
}

// signOut ends a session at the wish of a client: with all that hangs on it, or not at all.
func (d *deaths) signOut(point string, person int) {
	t, k := d.t, d.k
	t.Helper()
	d.pass(time.Minute)
	b := testkapi.NewBrowser(t)
	b.Open(d.rp.URL()).Submit(map[string]string{"national_id": number(person), "password": newPassword})
	got := d.rp.Answer(b)
	d.begin(point)
	end := k.URL + "/end_session?id_token_hint=" + url.QueryEscape(got.IDToken)
	if b.Open(end); b.Status != http.StatusBadGateway {
		t.Fatalf("%s: %d %s", point, b.Status, b.Text())
	}
	d.died()
	token := got.RefreshToken
	// stands says what is left of the session.
	stands := func(want bool) {
		t.Helper()
		r := refresh(t, k, d.rp, token)
		if r.Status == http.StatusOK {
			token = member(t, r.Body, "refresh_token")
		}
		me, user := send(t, b, http.MethodGet, k.URL+"/me", nil).Status, userinfo(t, k, got.AccessToken)
		if refreshed := r.Status == http.StatusOK; refreshed != want || (me == http.StatusOK) != want || (user == http.StatusOK) != want {
			t.Errorf("%s: refresh %d, own page %d, userinfo %d", point, r.Status, me, user)
		}
	}
	stands(point == "logout-write")
	if b.Open(end); b.Status != http.StatusOK {
		t.Errorf("%s: signing out again: %d %s", point, b.Status, b.Text())
	}
	stands(false)
	d.end()
}

// round meets every point once; the people are nobody else's.
func (d *deaths) round(person int) {
	for _, point := range approvals {
		d.approve(point)
	}
	for i, point := range renewals {
		d.renew(point, person+renewed+i)
	}
	for i, point := range recoveries {
		d.recover(point, person+i)
	}
	for i, point := range logouts {
		d.signOut(point, person+i)
	}
}
