package program_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// withDevice runs a test with two replicas on one Postgres and with one server on SQLite; Ayşe has a registered device.
func withDevice(t *testing.T, test func(t *testing.T, k *testkapi.Kapi, d *devicetest.Device)) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		test(t, k, freshly(t, k).Registered(k, "Ayşe's phone"))
	})
}

// freshly signs Ayşe, who has no device yet, in at her settings with a code by SMS.
func freshly(t *testing.T, k *testkapi.Kapi) *testkapi.Browser {
	t.Helper()
	k.Clock.Add(16 * time.Minute) // the limits of sends are another test
	b := testkapi.NewBrowser(t).Open(k.URL + "/me/security")
	before := len(textsWithCodes(k))
	b.Submit(map[string]string{"national_id": ayse, "password": aysePassword})
	eventually(t, "a code comes", func() bool { return len(textsWithCodes(k)) > before })
	codes := textsWithCodes(k)
	return b.Submit(map[string]string{"code": codes[len(codes)-1]})
}

// textsWithCodes are the codes that came to Ayşe's phone: notices begin with no digit.
func textsWithCodes(k *testkapi.Kapi) (codes []string) {
	for _, text := range k.Phone.Inbox(aysePhone) {
		if len(text) > 6 && strings.Trim(text[:6], "0123456789") == "" {
			codes = append(codes, text[:6])
		}
	}
	return codes
}

// toDevice brings a browser with the right password to the device.
func toDevice(t *testing.T, b *testkapi.Browser, rp *testkapi.RP) *testkapi.Browser {
	t.Helper()
	b.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword})
	if !strings.HasSuffix(b.URL.Path, "/with/device") {
		t.Fatalf("at %s (%d):\n%s", b.URL, b.Status, b.Text())
	}
	return b
}

// pushesTo are the texts that came to a device, of requests that wait.
func pushesTo(k *testkapi.Kapi, d *devicetest.Device) (texts []string) {
	to, _ := json.Marshal(d.Push)
	for _, text := range k.Phone.Inbox(string(to)) {
		if strings.Contains(text, "approval") {
			texts = append(texts, text)
		}
	}
	return texts
}

func stateOf(t *testing.T, b *testkapi.Browser) bool {
	t.Helper()
	r := send(t, b, http.MethodGet, b.URL.String()+"/state", nil)
	var s struct{ Over *bool }
	if err := json.Unmarshal([]byte(r.Body), &s); err != nil || s.Over == nil || r.Status != 200 {
		t.Fatalf("state: %d %s", r.Status, r.Body)
	}
	return *s.Over
}

// R160, R163, R164, R173: once through everything, without a script.
func TestR163_ApproveOnTheRegisteredDevice(t *testing.T) {
	withDevice(t, func(t *testing.T, k *testkapi.Kapi, d *devicetest.Device) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		toDevice(t, b, rp).See("Approve on your registered device", "Ayşe's phone", "Check the service and the place", "I have approved").DontSee("by SMS")
		if refresh := b.Reply.Get("Refresh"); refresh == "" || len(refresh) > 2 || refresh > "20" {
			t.Errorf("Refresh %q", refresh)
		}
		eventually(t, "a push comes", func() bool { return len(pushesTo(k, d)) > 0 })
		b.Press("I have approved").See("has not approved yet", "Approve on your registered device")
		if stateOf(t, b) {
			t.Error("over before the answer")
		}
		r := b.Waiting(d)
		if s := r.Show(); s.Service != "The ssi service" || s.Action != "signin" || s.Browser != "Firefox, Linux" || s.Place == "" || "http://"+s.Origin != k.URL {
			t.Errorf("the device shows %+v", s)
		}
		if a := b.Approve(d); a.Status != http.StatusNoContent {
			t.Fatalf("approve: %d %s", a.Status, a.Body)
		}
		if !stateOf(t, b) {
			t.Error("not over after the answer")
		}
		b.Press("I have approved")
		got := rp.Answer(b).Claims
		if got.ACR != "urn:kapi:loa:substantial" || strings.Join(got.AMR, " ") != "pwd swk user mca mfa" {
			t.Errorf("acr %s, amr %v", got.ACR, got.AMR)
		}
		if n := len(got.Steps); n != 2 || got.Steps[1].Method != "device" {
			t.Errorf("steps %+v", got.Steps)
		}
	})
}

// R170, R171: in the browser that is the device the password is enough, and that is no second channel.
func TestR170_TheDeviceItself(t *testing.T) {
	withDevice(t, func(t *testing.T, k *testkapi.Kapi, d *devicetest.Device) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		toDevice(t, b, rp)
		b.Post(b.URL.String(), url.Values{"code": {d.Here(b.Challenge())}})
		got := rp.Answer(b).Claims
		if got.ACR != "urn:kapi:loa:substantial" || strings.Join(got.AMR, " ") != "pwd swk mfa" {
			t.Errorf("acr %s, amr %v", got.ACR, got.AMR)
		}
	})
}

// R174: seen and deleted at the settings. That it goes with two-factor authentication (R176) is TestTheDeviceHearsOfItsEnd.
func TestR174_SeenAndDeleted(t *testing.T) {
	withDevice(t, func(t *testing.T, k *testkapi.Kapi, d *devicetest.Device) {
		b := testkapi.NewBrowser(t).Open(k.URL + "/me/security/device")
		b.Submit(map[string]string{"national_id": ayse, "password": aysePassword})
		if a := b.Approve(d); a.Status != http.StatusNoContent {
			t.Fatalf("approve: %d %s", a.Status, a.Body)
		}
		b.Press("I have approved").See("Registered device", "Ayşe's phone", "Registered on")
		b.Press("Remove the registered device").See("Remove the registered device?", "Ayşe's phone")
		if a := d.Me(); a.Status != 200 {
			t.Errorf("asked, and gone: %d", a.Status)
		}
		b.Press("Remove").See("The registered device was removed.")
		everywhere(k, func(replica int) {
			if a := d.Me(); a.Status != http.StatusUnauthorized {
				t.Errorf("replica %d: %d %s", replica, a.Status, a.Body)
			}
		})
		// From here on codes go to the phone again.
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		b.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword})
		if !strings.HasSuffix(b.URL.Path, "/with/sms") {
			t.Errorf("at %s", b.URL)
		}
	})
}

func TestD1_ApproveWithoutTheKey(t *testing.T) {
	withDevice(t, func(t *testing.T, k *testkapi.Kapi, d *devicetest.Device) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		toDevice(t, b, rp)
		r := b.Waiting(d)
		statement := url.Values{"statement": {d.Statement(r.Challenge, "approve", b.Number(), "list", 50, nil)}}
		path := k.URL + devicetest.Base + "/requests/" + r.ID + "/approve"
		// With the cookies of the browser that waits, as a form from here or from elsewhere, and by GET.
		for what, x := range map[string]reply{
			"form":      send(t, b, http.MethodPost, path, statement, "Kapi-App", "web/1.0.0"),
			"from afar": send(t, b, http.MethodPost, path, statement, "Kapi-App", "web/1.0.0", "Origin", "https://rp.example", "Sec-Fetch-Site", "cross-site"),
			"get":       send(t, b, http.MethodGet, path, nil, "Kapi-App", "web/1.0.0"),
		} {
			if x.Status < 400 || x.Status >= 500 || x.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s: %d %s", what, x.Status, x.Body)
			}
		}
		// Another registered device: of a person of the same Kapi.
		k.People("[" + somebody(1, "kırmızı balık 9 deniz") + "]")
		k.Clock.Add(time.Minute)
		other := testkapi.NewBrowser(t).Open(k.URL + "/me/security")
		other.Submit(map[string]string{"national_id": number(1), "password": "kırmızı balık 9 deniz"})
		other.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 1)})
		theirs := other.Registered(k, "another phone")
		if list, a := theirs.List(); a.Status != 200 || len(list) != 0 {
			t.Errorf("another person sees %d", len(list))
		}
		if a := theirs.Approve(r, b.Number()); a.Status != http.StatusNotFound {
			t.Errorf("another device: %d %s", a.Status, a.Body)
		}
		thief := k.Device("thief")
		thief.ID = d.ID
		if a := thief.Approve(r, b.Number()); a.Status != http.StatusUnauthorized {
			t.Errorf("another key: %d %s", a.Status, a.Body)
		}
		if stateOf(t, b) {
			t.Fatal("something of this was an answer")
		}
		ctr := d.Next()
		body, _ := json.Marshal(map[string]string{"statement": d.Statement(r.Challenge, "approve", b.Number(), "list", ctr, nil)})
		proof := d.Proof("POST", "/requests/"+r.ID+"/approve", body, ctr, nil)
		everywhere(k, func(replica int) { // replayed at the other replica
			a := d.Send("POST", "/requests/"+r.ID+"/approve", body, proof)
			if want := map[bool]int{true: 204, false: 401}[replica == 0]; a.Status != want {
				t.Errorf("replica %d: %d %s", replica, a.Status, a.Body)
			}
		})
		b.Press("I have approved")
		rp.Answer(b)
		// The same approval completes nothing else.
		b2 := testkapi.NewBrowser(t)
		toDevice(t, b2, rp)
		if a := d.SendStatement(b2.Waiting(d).ID, "approve", map[string]any{"statement": d.Statement(r.Challenge, "approve", b2.Number(), "list", d.Next(), nil)}, d.Ctr); a.Status != http.StatusUnprocessableEntity {
			t.Errorf("an old statement: %d %s", a.Status, a.Body)
		}
		b2.Press("I have approved").See("has not approved yet")
	})
}

func TestD2_SwapBehindTheApproval(t *testing.T) {
	withDevice(t, func(t *testing.T, k *testkapi.Kapi, d *devicetest.Device) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		toDevice(t, b, rp)
		r := b.Waiting(d)
		eventually(t, "a push", func() bool { return len(pushesTo(k, d)) > 0 }) // of a request that is over none goes out
		// The client's name changes after the push: what is shown and signed is what was asked then.
		k.RP("ssi", map[string]any{"client_name": "Your own bank"})
		if now := b.Waiting(d); now.Challenge != r.Challenge || now.Show().Service != "The ssi service" {
			t.Errorf("shown %+v", now.Show())
		}
		bent := r
		bent.Challenge = strings.Replace(r.Challenge, "The ssi service", "Your own bank", 1)
		if a := d.Approve(bent, b.Number()); a.Status != http.StatusUnprocessableEntity || a.Problem() != "statement" {
			t.Errorf("another name: %d %s", a.Status, a.Body)
		}
		if stateOf(t, b) {
			t.Error("it was an answer")
		}
		number := b.Number()
		wrong := map[bool]string{true: "11", false: "10"}[number == "10"]
		if a := d.Approve(r, wrong); a.Problem() != "number" {
			t.Errorf("a wrong number: %d %s", a.Status, a.Body)
		}
		if a := d.Approve(r, number); a.Status != http.StatusConflict {
			t.Errorf("a second try: %d %s", a.Status, a.Body)
		}
		b.Press("I have approved").See("was not the one on the screen", "Ask for approval again")
		b.Press("Ask for approval again").See("Approval was asked for again.")
		if a := b.Approve(d); a.Status != http.StatusNoContent {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		eventually(t, "two pushes", func() bool { return len(pushesTo(k, d)) >= 2 })
		for _, text := range pushesTo(k, d) {
			var m map[string]string
			if err := json.Unmarshal([]byte(text), &m); err != nil || len(m) != 2 || m["kind"] != "approval" || len(m["id"]) != 22 {
				t.Errorf("pushed %s", text)
			}
		}
		b.Press("I have approved")
		rp.Answer(b)
	})
}

func TestD3_PushFatigue(t *testing.T) {
	withDevice(t, func(t *testing.T, k *testkapi.Kapi, d *devicetest.Device) {
		rp := k.RP("ssi", nil)
		home := testkapi.NewBrowser(t) // becomes a known browser
		toDevice(t, home, rp)
		home.Approve(d)
		home.Press("I have approved")
		rp.Answer(home)
		k.Clock.Add(11 * time.Minute)
		approvals := func() int { return len(pushesTo(k, d)) }
		before := approvals()

		// Somebody with the right password, twenty times.
		for i := range 20 {
			k.Clock.Add(10 * time.Second)
			last := testkapi.NewBrowser(t)
			last.Header.Set("User-Agent", fmt.Sprintf("attack/%d", i))
			last.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword})
			settled(t, k) // before the clock is past what waits
		}
		if n := approvals() - before; n == 0 || n > 3 {
			t.Errorf("%d pushes", n)
		}
		list, _ := d.List()
		if len(list) == 0 || len(list) > 5 {
			t.Fatalf("%d wait", len(list))
		}
		// "It was not me": nothing waits any more, and the browser that asked is told and kept out.
		if a := d.Deny(list[0], "not_me"); a.Status != http.StatusNoContent {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		if list, _ := d.List(); len(list) != 0 {
			t.Errorf("%d still wait", len(list))
		}
		// At home everything is as ever, the push included.
		before = approvals()
		k.Clock.Add(time.Minute)
		home.Open(k.URL + "/me")
		home.Press("Sign out")
		if strings.Contains(home.Text(), "Sign out?") {
			home.Press("Sign out")
		}
		toDevice(t, home, rp)
		eventually(t, "a push for the known browser", func() bool { return approvals() > before })
		home.Approve(d)
		home.Press("I have approved")
		rp.Answer(home)
	})
}

// settled waits until nothing that is due is left in the outbox, nor on its way.
func settled(t *testing.T, k *testkapi.Kapi) {
	t.Helper()
	unsent(t, k, "state = 'sending' OR closed_at = 0 AND due_at <= "+fmt.Sprint(k.Clock.Now().UnixMicro()))
}

// unsent waits until the outbox holds no message like this.
func unsent(t *testing.T, k *testkapi.Kapi, like string) {
	t.Helper()
	db := owner(t, k)
	defer db.Close()
	eventually(t, "no message is left with "+like, func() bool { return one[int64](t, db, "SELECT COUNT(*) FROM outbox WHERE "+like) == 0 })
}

// The asking browser, told apart by what it keeps, is blocked by "not me".
func TestD3_NotMeBlocksTheBrowser(t *testing.T) {
	withDevice(t, func(t *testing.T, k *testkapi.Kapi, d *devicetest.Device) {
		rp, evil := k.RP("ssi", nil), testkapi.NewBrowser(t)
		toDevice(t, evil, rp)
		settled(t, k)
		before := len(k.Phone.Notices(aysePhone))
		if a := d.Deny(evil.Waiting(d), "not_me"); a.Status != http.StatusNoContent {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		evil.Press("I have approved").See("said that this sign-in is not theirs").DontSee("Ask for approval again")
		toDevice(t, evil, rp).See("No approval can be asked for from this browser now").DontSee("I have approved")
		if list, _ := d.List(); len(list) != 0 {
			t.Errorf("%d wait", len(list))
		}
		eventually(t, "the person is told", func() bool {
			return len(k.Phone.Notices(aysePhone)) > before
		})
	})
}

func TestD5_QRRelayed(t *testing.T) {
	withDevice(t, func(t *testing.T, k *testkapi.Kapi, d *devicetest.Device) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		toDevice(t, b, rp).See("Scan a QR code instead")
		code := readQR(t, b, k)
		stranger := k.Device("not registered")
		stranger.ID = devicetest.Random(16)
		if _, a := stranger.Scan(code); a.Status != http.StatusUnauthorized {
			t.Errorf("an unregistered phone: %d", a.Status)
		}
		k.Clock.Add(61 * time.Second)
		if _, a := d.Scan(code); a.Status != http.StatusNotFound {
			t.Errorf("a picture of a minute ago: %d %s", a.Status, a.Body)
		}
		code = readQR(t, b.Open(b.URL.String()), k)
		var ok atomic.Int64
		var got devicetest.Request
		everywhere(k, func(int) { // the second scanner asks the other replica
			if r, a := d.Scan(code); a.Status == http.StatusOK {
				ok.Add(1)
				got = r
			} else if a.Problem() != "scanned" {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
		if ok.Load() != 1 {
			t.Fatalf("%d scanners", ok.Load())
		}
		if s := got.Show(); s.Service != "The ssi service" || s.Browser != "Firefox, Linux" || s.Place == "" {
			t.Errorf("the phone shows %+v", s)
		}
		b.Open(b.URL.String()).See("The QR code was scanned")
		if a := d.Approve(got, ""); a.Status != http.StatusNoContent {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		// The session lands only where the sign-in began.
		thief := testkapi.NewBrowser(t).Open(b.URL.String())
		if thief.Status < 400 {
			t.Errorf("another browser at this address: %d\n%s", thief.Status, thief.Text())
		}
		b.Press("I have approved")
		rp.Answer(b)
	})
}

func TestD7_LifeCycle(t *testing.T) {
	both(t, func(t *testing.T, k *testkapi.Kapi) {
		// Twenty phones with one pairing code: one is in.
		code := freshly(t, k).Pairing(k)
		phones := make([]*devicetest.Device, 20)
		var in atomic.Int64
		var d *devicetest.Device
		race(len(phones), func(i int) {
			p := k.Device(fmt.Sprint("phone ", i))
			switch a := p.Register(code); a.Status {
			case http.StatusCreated:
				in.Add(1)
				d = p
			case http.StatusNotFound, http.StatusConflict:
			default:
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
		if in.Load() != 1 {
			t.Fatalf("%d registered", in.Load())
		}
		// An approval is redeemed once, whoever is asked.
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		toDevice(t, b, rp)
		if a := b.Approve(d); a.Status != http.StatusNoContent {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		var through atomic.Int64
		page := b.URL.String()
		race(50, func(int) {
			if r := send(t, b, http.MethodPost, page, url.Values{}); r.Status == http.StatusSeeOther && strings.Contains(r.Location, "/authorize/callback") {
				through.Add(1)
			}
		})
		// In one statement: events move from the one table to the other all the time.
		if n := one[int64](t, owner(t, k), "SELECT (SELECT COUNT(*) FROM audit_pending WHERE name = 'signin.completed') + (SELECT COUNT(*) FROM audit_log WHERE name = 'signin.completed')"); n != 2 {
			t.Errorf("%d sign-ins completed, %d answers led on", n, through.Load())
		}
		// The app's backup on a second phone: the counter gives it away, on every replica.
		copied := d.Copy()
		d.SetPush(d.Push)
		everywhere(k, func(replica int) {
			want := "blocked"
			if a := copied.SetPush(d.Push); a.Problem() != want {
				t.Errorf("replica %d: the copy: %d %s", replica, a.Status, a.Body)
			}
			if a := d.Me(); a.Problem() != want {
				t.Errorf("replica %d: the original: %d %s", replica, a.Status, a.Body)
			}
		})
	})
}

// Delete → the next signature fails on both replicas.
func TestD7_Deleted(t *testing.T) {
	withDevice(t, func(t *testing.T, k *testkapi.Kapi, d *devicetest.Device) {
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		toDevice(t, b, rp)
		r, number := b.Waiting(d), b.Number()
		if a := d.Leave(); a.Status != http.StatusNoContent {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		everywhere(k, func(replica int) {
			if a := d.Approve(r, number); a.Status != http.StatusUnauthorized {
				t.Errorf("replica %d: %d %s", replica, a.Status, a.Body)
			}
		})
		if !stateOf(t, b) {
			t.Error("the page goes on waiting")
		}
	})
}

// R128: a minimum version is a setting.
func TestR128_AppTooOld(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{Settings: map[string]string{"APP_MIN_VERSION": "web=1.2.0,android=0.9.0", "APP_LINKS": "android=https://store.example/kapi"}})
	d := k.Device("old")
	d.App = "web/1.1.9"
	a := d.Register(strings.Repeat("A", 26))
	var p struct{ Link, Minimum string }
	if err := json.Unmarshal(a.Body, &p); err != nil || a.Status != http.StatusUpgradeRequired || p.Link != k.URL+"/app" || p.Minimum != "1.2.0" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
