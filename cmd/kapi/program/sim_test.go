package program_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/sim/operator"
	"github.com/kapi-id/kapi/internal/testkapi"
)

const ayseMail, eventToken = "ayse@example.org", "a-token-of-the-operator-that-nobody-guesses"

const simPeople = `[
 {"national_id":"10000000146","kind":"citizen","given_name":"Ayşe","family_name":"Yılmaz","birthdate":"1985-04-23","locale":"en",
  "email":"ayse@example.org","email_verified":true,
  "phone":"+905550000001","phone_grade":"id_verified","password":"mavi kapı sabah 7","two_factor":true},
 {"national_id":"20000000282","kind":"citizen","given_name":"Mehmet","family_name":"Demir","birthdate":"1990-11-02","locale":"en",
  "phone":"+905550000002","phone_grade":"id_verified","password":"yeşil vapur akşam 3","two_factor":true},
 {"national_id":"40000000464","kind":"citizen","given_name":"Hasan","family_name":"Çelik","birthdate":"1951-06-14","password":"eski saat kulesi 5"}]`

// country is a Kapi with an operator that it asks.
type country struct {
	*testkapi.Kapi
	op   *operator.Operator
	desk *httptest.Server // where the operator is reached
	mail *testkapi.Phone
}

// eachSIM runs a test on both databases, with an operator and a mailbox.
func eachSIM(t *testing.T, test func(t *testing.T, k *country)) {
	t.Parallel()
	for _, postgres := range []bool{false, true} {
		t.Run(map[bool]string{false: "sqlite", true: "postgres"}[postgres], func(t *testing.T) {
			test(t, startSIM(t, postgres, nil))
		})
	}
}

func startSIM(t *testing.T, postgres bool, change func(*testkapi.Options)) *country {
	t.Helper()
	var clock atomic.Pointer[testkapi.Clock]
	c := &country{mail: &testkapi.Phone{}}
	c.op = operator.New(operator.Config{Client: "kapi", Secret: "s", Now: func() time.Time {
		if k := clock.Load(); k != nil {
			return k.Now()
		}
		return time.Now()
	}})
	server := httptest.NewServer(c.op)
	c.desk = server
	t.Cleanup(server.Close)
	o := testkapi.Options{
		Postgres: postgres, Factors: testkapi.Signature,
		Settings: map[string]string{
			"SIM_SWAP":   "http://kapi:s@" + strings.TrimPrefix(server.URL, "http://") + "/sim-swap/v2#token=" + server.URL + "/token",
			"SIM_EVENTS": "bearer:" + eventToken,
		},
		Channels: map[string][]notify.Route{"mail": {{Gateway: c.mail, Weight: 1}}},
	}
	if change != nil {
		change(&o)
	}
	c.Kapi = testkapi.Start(t, o)
	clock.Store(c.Clock)
	c.People(simPeople)
	c.Clock.Add(time.Hour)
	return c
}

// swap gives the number a new SIM card now; a minute later everybody may know.
func (c *country) swap(number string) {
	c.T.Helper()
	if err := c.op.Change(number, c.Clock.Now()); err != nil {
		c.T.Fatal(err)
	}
	c.Clock.Add(61 * time.Second)
}

var sixDigits = regexp.MustCompile(`\b[0-9]{6}\b`)

// mailed waits for the n-th mail with a code to the address and returns its code.
func (c *country) mailed(address string, n int) string {
	c.T.Helper()
	eventually(c.T, "a mail comes", func() bool { return len(c.mail.Inbox(address)) >= n })
	return sixDigits.FindString(c.mail.Inbox(address)[n-1])
}

// sign signs in with the strong factor, at a sign-in that has begun.
func sign(b *testkapi.Browser, number string) *testkapi.Browser {
	b.T.Helper()
	at := strings.Split(b.URL.Path, "/")
	return b.Open("/signin/" + at[2] + "/with/signature").Submit(map[string]string{"national_id": number, "signature": "signed"})
}

// unblocking brings a browser to the page that unblocks.
func (c *country) unblocking(strongly bool) *testkapi.Browser {
	c.T.Helper()
	b := testkapi.NewBrowser(c.T).Open(c.URL + "/me/unblock")
	if strongly {
		sign(b, ayse)
	} else {
		b.Submit(map[string]string{"national_id": ayse, "password": aysePassword})
	}
	if b.URL.Path != "/me/unblock" {
		c.T.Fatalf("at %s (%d):\n%s", b.URL, b.Status, b.Text())
	}
	return b
}

// blocked fails unless a sign-in of Ayşe ends at the explanation, and no code goes out.
func (c *country) blocked(rp *testkapi.RP) *testkapi.Browser {
	c.T.Helper()
	before := len(c.Phone.Inbox(aysePhone))
	b := testkapi.NewBrowser(c.T)
	b.Open(rp.URL("prompt", "login")).Submit(map[string]string{"national_id": ayse, "password": aysePassword}).See("Your SIM card was changed", "Confirm my new SIM card")
	if len(c.Phone.Inbox(aysePhone)) != before {
		c.T.Error("a code went to a changed SIM card")
	}
	return b
}

// works fails unless Ayşe signs in with a code by SMS.
func (c *country) works(rp *testkapi.RP) {
	c.T.Helper()
	c.Clock.Add(11 * time.Minute) // the limits of sends are another test
	n := len(c.Phone.Inbox(aysePhone)) + 1
	b := testkapi.NewBrowser(c.T)
	b.Open(rp.URL())
	signIn(c.Kapi, b, ayse, aysePassword, aysePhone, n)
	if got := rp.Answer(b).Claims; got.ACR != substantial {
		c.T.Errorf("%+v", got)
	}
}

// Row RC5: the SIM card changes before the sign-in. Password and SMS are no way; the page offers the others; the session that unblocks
// can do nothing else.
func TestRC5_NoCodeToAChangedSIM(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		rp := k.RP("ssi", nil)
		k.works(rp)
		k.swap(aysePhone)
		b := k.blocked(rp)
		b.See("a code to your recovery e-mail address", "registration office", "ATM", "e-signature")
		// A voluntary client does not get by either: two-factor authentication is on.
		b.Press("Back to the service")
		if code, _ := rp.Refused(b); code != "unmet_authentication_requirements" {
			t.Errorf("error %q", code)
		}
		k.blocked(rp)
		// The restricted session: password alone.
		own := k.unblocking(false).See("Confirm your new SIM card", "a•••@example.org").DontSee("Send a code to my number")
		if own.Cookie("kapi-session") == "" || own.Cookie("kapi-known") != "" {
			t.Error("the session does not stand, or the browser counts as known")
		}
		r := send(t, own, http.MethodPost, k.URL+"/me/unblock/send", url.Values{"by": {"sms"}})
		if r.Status != http.StatusForbidden || !strings.Contains(r.Body, "This needs a sign-in by e-signature") {
			t.Errorf("a code by SMS after a password: %d", r.Status)
		}
		r = send(t, own, http.MethodPost, k.URL+"/me/unblock/code", url.Values{"by": {"sms"}, "code": {"123456"}})
		if r.Status == http.StatusSeeOther || len(k.Phone.Inbox(aysePhone)) != 1 {
			t.Errorf("%d to %s", r.Status, r.Location)
		}
		for _, path := range []string{"/me", "/me/security", "/me/password", "/me/two-factor", "/me/two-factor/off", "/me/sessions", "/me/signins", "/me/contact", "/me/contact/phone",
			"/me/contact/email", "/me/notices", "/me/security/access", "/me/sessions/others"} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				if r := send(t, own, method, k.URL+path, url.Values{}); r.Status < 400 && !(r.Status == http.StatusSeeOther && strings.HasPrefix(r.Location, "/signin/")) {
					t.Errorf("%s %s: %d to %s", method, path, r.Status, r.Location)
				}
			}
		}
		own.Open(k.URL + "/me").See("Your SIM card was changed")
		// Single sign-on does not adopt it for more than the first step.
		own.Open(rp.URL()).See("Your SIM card was changed")
		if own.Left() != nil {
			t.Error("single sign-on let it through")
		}
		silent := own.Open(rp.URL("prompt", "none"))
		if code, _ := rp.Refused(silent); code != "interaction_required" {
			t.Errorf("prompt=none: %q", code)
		}
		// The strong one may do its two things and no other.
		k.Clock.Add(time.Minute)
		s := k.unblocking(true).See("Send a code to my number")
		s.Open("/me/contact/phone").See("Mobile phone number")
		for _, path := range []string{"/me", "/me/password", "/me/contact/email", "/me/two-factor/off"} {
			if r := send(t, s, http.MethodGet, k.URL+path, nil); r.Status != http.StatusSeeOther || !strings.HasPrefix(r.Location, "/signin/") {
				t.Errorf("strong: %s: %d to %s", path, r.Status, r.Location)
			}
		}
	})
}

// Row RC5: each way out works, once, and tells the person; a change that was accepted blocks no second time, the next one does.
func TestRC5_WaysOut(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		rp := k.RP("ssi", nil)
		bank := newBank(t, k, "bank")
		mails, ways := 0, 0
		for name, out := range map[string]func(t *testing.T){
			"email": func(t *testing.T) {
				b := k.unblocking(false).Press("Send a code to my recovery address").See("Enter the code we sent by e-mail")
				mails++
				code := k.mailed(ayseMail, mails)
				b.Submit(map[string]string{"code": otherCode(code)}).See("The code is wrong")
				b.Submit(map[string]string{"code": code}).See("Your number has been unblocked")
				if r := send(t, b, http.MethodPost, k.URL+"/me/unblock/code", url.Values{"by": {"mail"}, "code": {code}}); r.Status == http.StatusOK {
					t.Errorf("the code works twice: %d", r.Status)
				}
			},
			"strong": func(t *testing.T) {
				k.Clock.Add(16 * time.Minute)
				n := len(k.Phone.Inbox(aysePhone)) + 1
				k.unblocking(true).Press("Send a code to my number").Submit(map[string]string{"code": k.Phone.Code(t, aysePhone, n)}).See("Your number has been unblocked")
			},
			"partner": func(t *testing.T) {
				if status := bank.release(t, ayse, "t-"+fmt.Sprint(k.Clock.Now().Unix())); status != http.StatusNoContent {
					t.Fatalf("status %d", status)
				}
				if status := bank.release(t, ayse, "another"); status != http.StatusConflict {
					t.Errorf("nothing is blocked: %d", status)
				}
			},
			"office": func(t *testing.T) {
				if err := k.App().UnblockSIM(t.Context(), ayse, "form 2026/1"); err != nil {
					t.Fatal(err)
				}
				if out, status := k.command("person", "unblock-sim", ayse, "--reason", "form 2026/1"); status == 0 || !strings.Contains(out, "not blocked") {
					t.Errorf("twice: %d %s", status, out)
				}
			},
			"office vouches": func(t *testing.T) {
				if err := k.App().VouchPhone(t.Context(), ayse, aysePhone, "form 2026/2"); err != nil {
					t.Fatal(err)
				}
			},
		} {
			k.Clock.Add(time.Hour)
			k.swap(aysePhone)
			k.blocked(rp)
			out(t)
			if t.Failed() {
				t.Fatalf("by way of %s", name)
			}
			ways++
			tellsOf(t, k.mail, ayseMail, "Security codes go to your number again", ways)
			tellsOf(t, k.mail, ayseMail, "The SIM card of your phone was changed", ways)
			k.works(rp)
		}
	})
}

func otherCode(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

func (c *country) command(args ...string) (string, int) {
	var out bytes.Buffer
	status := program.Main(args, environ(c.Kapi), &out, &out)
	return out.String(), status
}

// Row RC5: between send and verify.
func TestRC5_ChangedWhileTheCodeIsOut(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		rp := k.RP("ssi", nil)
		b := atTheCode(t, k.Kapi, rp, ayse, aysePassword)
		code := k.Phone.Code(t, aysePhone, 1)
		k.swap(aysePhone)
		b.Submit(map[string]string{"code": code}).See("Your SIM card was changed")
		if b.Left() != nil || b.Cookie("kapi-session") != "" {
			t.Fatal("the code of a stolen number let somebody in")
		}
	})
}

// Row RC5: whoever holds the new SIM card must not have verified an address of their own meanwhile.
func TestRC5_AddressVerifiedAfterTheChange(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		b := testkapi.NewBrowser(t).Open(k.URL + "/me/contact")
		signIn(k.Kapi, b, ayse, aysePassword, aysePhone, 1)
		if err := k.op.Change(aysePhone, k.Clock.Now()); err != nil { // nobody has noticed yet
			t.Fatal(err)
		}
		k.Clock.Add(time.Minute)
		b.Open("/me/contact/email").Submit(map[string]string{"email": "thief@example.com", "kind": "citizen", "national_id": ayse, "birthdate": "23.04.1985"})
		b.Submit(map[string]string{"code": k.mailed("thief@example.com", 1)}).See("Your e-mail address has been verified")
		k.Clock.Add(time.Minute)
		k.blocked(k.RP("ssi", nil))
		own := k.unblocking(false).See("no recovery address that was verified before").DontSee("Send a code to my recovery address")
		if r := send(t, own, http.MethodPost, k.URL+"/me/unblock/send", url.Values{"by": {"mail"}}); r.Status != http.StatusForbidden {
			t.Errorf("%d", r.Status)
		}
	})
}

// event posts a CloudEvent and returns the status.
func (c *country) event(token string, e any) int {
	c.T.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		c.T.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, c.URL+"/partner/v1/sim-events", bytes.NewReader(b))
	if err != nil {
		c.T.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/cloudevents+json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		c.T.Fatal(err)
	}
	return resp.StatusCode
}

// Row RC5: the operator tells at once; without proof of origin nobody is believed, and nothing is believed twice.
func TestRC5_Events(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		rp := k.RP("ssi", nil)
		k.works(rp) // the answer "not changed" is kept for a minute now
		e := k.op.NewEvent(aysePhone)
		for _, token := range []string{"", "x", eventToken + "x", eventToken[:len(eventToken)-1]} {
			if status := k.event(token, e); status != http.StatusUnauthorized {
				t.Fatalf("token %q: %d", token, status)
			}
		}
		k.works(rp)
		e = k.op.NewEvent(aysePhone)
		if status := k.event(eventToken, e); status != http.StatusNoContent {
			t.Fatalf("%d", status)
		}
		k.blocked(rp)
		k.Clock.Add(time.Second)
		if err := k.App().UnblockSIM(t.Context(), ayse, "x"); err != nil {
			t.Fatal(err)
		}
		k.Clock.Add(time.Minute)
		for _, again := range []operator.Event{e, {ID: "other", Source: e.Source, Type: e.Type, SpecVersion: "1.0", Time: e.Time, Data: e.Data},
			{ID: e.ID, Source: e.Source, Type: e.Type, SpecVersion: "1.0", Time: k.Clock.Now(), Data: e.Data}} { // an event is told once, whatever else it says
			if status := k.event(eventToken, again); status != http.StatusNoContent {
				t.Errorf("again: %d", status)
			}
		}
		k.works(rp)
		// What is no event of ours is refused, what is another's is nobody's.
		for want, bad := range map[int]operator.Event{
			http.StatusBadRequest: {ID: "1", Source: "s", Type: "com.example.other", SpecVersion: "1.0", Time: k.Clock.Now(), Data: e.Data},
			http.StatusNoContent:  {ID: "2", Source: "s", Type: operator.Swapped, SpecVersion: "1.0", Time: k.Clock.Now(), Data: operator.EventData{PhoneNumber: "+905559999999"}},
		} {
			if status := k.event(eventToken, bad); status != want {
				t.Errorf("%+v: %d", bad, status)
			}
		}
		for _, at := range []time.Time{k.Clock.Now().Add(time.Hour), {}} {
			if status := k.event(eventToken, operator.Event{ID: "3", Source: "s", Type: operator.Swapped, SpecVersion: "1.0", Time: at, Data: e.Data}); status != http.StatusBadRequest {
				t.Errorf("at %v: %d", at, status)
			}
		}
	})
}

// A command's environment names no gateway and the person is told all the same, by text and in the app: the server sends.
func TestCommandsTell(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		freshly(t, k.Kapi).Registered(k.Kapi, "Ayşe's phone")
		texts := len(k.Phone.Notices(aysePhone))
		told := func(channel string) int {
			return one[int](t, owner(t, k.Kapi), "SELECT count(*) FROM outbox WHERE ticket = '' AND dedupe LIKE 'notice:%' AND channel LIKE '"+channel+"%'")
		}
		sms, push := told("sms"), told("push-")
		if out, status := k.command("person", "vouch-phone", ayse, aysePhone, "--reason", "form 8"); status != 0 {
			t.Fatal(out)
		}
		if s, p := told("sms"), told("push-"); s != sms+1 || p != push+1 {
			t.Errorf("%d texts and %d pushes", s-sms, p-push)
		}
		k.Phone.Told(t, aysePhone, max(texts, sms)+1)
	})
}

// The office's commands say what they did, and what was wrong, and the record keeps why.
func TestOfficeCommands(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		for _, c := range []struct {
			args []string
			out  string
			ok   bool
		}{
			{[]string{"vouch-phone", hasan, "0555 000 00 04", "--reason", "form 7"}, "ID-verified", true},
			{[]string{"vouch-phone", hasan, "12", "--reason", "form 7"}, "no mobile number", false},
			{[]string{"vouch-phone", hasan, "+905550000004"}, "reason", false},
			{[]string{"vouch-phone", hasan, "+905550000004", "--reason", " "}, "200 characters", false},
			{[]string{"vouch-phone", "10000000145", "+905550000004", "--reason", "x"}, "no ID number", false},
			{[]string{"vouch-phone", number(7), "+905550000004", "--reason", "x"}, "no such person", false},
			{[]string{"unblock-sim", hasan, "--reason", "x"}, "not blocked", false},
			{[]string{"unblock-sim", number(7), "--reason", "x"}, "no such person", false},
		} {
			if out, status := k.command(append([]string{"person"}, c.args...)...); (status == 0) != c.ok || !strings.Contains(out, c.out) {
				t.Errorf("%v: %d %s", c.args, status, out)
			}
		}
		b := testkapi.NewBrowser(t).Open(k.URL + "/me/contact")
		signIn(k.Kapi, b, hasan, hasanPassword, "", 0)
		b.See("ending 04", "at a registration office")
	})
}

// Row RC5: the SIM card was changed and the registered device is blocked, so that neither opens the account. A strong sign-in may remove
// the device, and register no other: it is one factor.
func TestRC5_RemoveTheDevice(t *testing.T) {
	eachSIM(t, func(t *testing.T, k *country) {
		d := freshly(t, k.Kapi).Registered(k.Kapi, "Ayşe's phone")
		copied := d.Copy()
		d.SetPush(d.Push)
		if a := copied.SetPush(d.Push); a.Problem() != "blocked" {
			t.Fatalf("the copy: %d %s", a.Status, a.Body)
		}
		k.swap(aysePhone)
		device := k.URL + "/me/security/device"
		weak := k.unblocking(false).DontSee("Remove my registered device")
		for path, method := range map[string]string{device: http.MethodGet, device + "/remove": http.MethodPost, device + "/delete": http.MethodPost} {
			if r := send(t, weak, method, path, url.Values{}); r.Status < 400 && !(r.Status == http.StatusSeeOther && strings.HasPrefix(r.Location, "/signin/")) {
				t.Errorf("after a password: %s %s: %d to %s", method, path, r.Status, r.Location)
			}
		}
		k.Clock.Add(time.Minute)
		b := k.unblocking(true).See("Remove my registered device").Open(device).See("Ayşe's phone").DontSee("Register another device")
		if r := send(t, b, http.MethodPost, device+"/add", url.Values{}); r.Status < 400 && !(r.Status == http.StatusSeeOther && strings.HasPrefix(r.Location, "/signin/")) {
			t.Errorf("a device is registered with one factor: %d to %s", r.Status, r.Location)
		}
		b.Open(device).Press("Remove the registered device").Press("Remove").See("The registered device was removed.")
		b.Open(k.URL + "/me/unblock").See("Confirm your new SIM card").DontSee("Remove my registered device")
	})
}
