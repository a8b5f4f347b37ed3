package program_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	virtual "github.com/descope/virtualwebauthn"
	"github.com/pquerna/otp/totp"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// withKeys runs a test with two replicas on one Postgres and with one server on SQLite, at an address at which browsers offer keys.
func withKeys(t *testing.T, test func(t *testing.T, k *testkapi.Kapi)) {
	t.Parallel()
	for _, o := range []testkapi.Options{{Replicas: 2, Postgres: true, Host: "localhost"}, {Host: "localhost"}} {
		name := "sqlite"
		if o.Postgres {
			name = "postgres"
		}
		t.Run(name, func(t *testing.T) {
			k := testkapi.Start(t, o)
			k.People(people)
			test(t, k)
		})
	}
}

// atSecurity opens a page of Ayşe's security settings, freshly signed in with the newest text message.
func atSecurity(t *testing.T, k *testkapi.Kapi, page string) *testkapi.Browser {
	t.Helper()
	k.Clock.Add(16 * time.Minute) // the limits of sends are another test
	b := testkapi.NewBrowser(t).Open(k.URL + "/me/security/" + page)
	before := codesTo(k, aysePhone)
	b.Submit(map[string]string{"national_id": ayse, "password": aysePassword})
	if strings.HasSuffix(b.URL.Path, "/choose") {
		b.Press("Security code by SMS")
	}
	var codes []string
	eventually(t, "a code comes", func() bool {
		codes = codesTo(k, aysePhone)
		return len(codes) > len(before)
	})
	b.Submit(map[string]string{"code": codes[len(codes)-1]})
	if b.URL.Path != "/me/security/"+page {
		t.Fatalf("at %s:\n%s", b.URL, b.Text())
	}
	return b
}

// codesTo are the codes among the texts to a number: notices begin with no digit.
func codesTo(k *testkapi.Kapi, number string) (codes []string) {
	for _, text := range k.Phone.Inbox(number) {
		if len(text) > 6 && strings.Trim(text[:6], "0123456789") == "" {
			codes = append(codes, text[:6])
		}
	}
	return codes
}

// atFactor brings a new browser past Ayşe's password to a second step.
func atFactor(t *testing.T, k *testkapi.Kapi, rp *testkapi.RP, factor string, params ...string) *testkapi.Browser {
	t.Helper()
	b := testkapi.NewBrowser(t)
	b.Open(rp.URL(params...)).Submit(map[string]string{"national_id": ayse, "password": aysePassword})
	id := strings.Split(b.URL.Path, "/")[2]
	b.Open(k.URL + "/signin/" + id + "/with/" + factor)
	if !strings.HasSuffix(b.URL.Path, "/with/"+factor) {
		t.Fatalf("at %s:\n%s", b.URL, b.Text())
	}
	return b
}

var codeElement = regexp.MustCompile(`<code>([^<]+)</code>`)

// printed are the texts of the page's code elements.
func printed(b *testkapi.Browser) (out []string) {
	for _, m := range codeElement.FindAllStringSubmatch(b.Body, -1) {
		out = append(out, html.UnescapeString(m[1]))
	}
	return out
}

// keyApp sets up Ayşe's key and returns the app.
func keyApp(t *testing.T, k *testkapi.Kapi) func(at time.Time) string {
	t.Helper()
	b := atSecurity(t, k, "totp")
	b.Press("Set up a key").See("Add the key to the app", "Enter the code that the app shows")
	seed := strings.Join(printed(b), "")
	if len(seed) != 32 {
		t.Fatalf("the key %q", seed)
	}
	app := func(at time.Time) string {
		code, err := totp.GenerateCode(seed, at)
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	b.Submit(map[string]string{"code": app(k.Clock.Now())}).See("Your key is set up.", "Not used yet")
	k.Clock.Add(2 * time.Minute)
	return app
}

// through counts the answers that lead to the relying party.
func through(n *atomic.Int64, r reply) {
	if r.Status == http.StatusSeeOther && strings.Contains(r.Location, "/authorize/callback") {
		n.Add(1)
	}
}

// S3: one step of the key app is good for one sign-in, whichever replica is asked, and never again.
func TestS3_KeyAppAcrossReplicas(t *testing.T) {
	withKeys(t, func(t *testing.T, k *testkapi.Kapi) {
		app, rp := keyApp(t, k), k.RP("ssi", nil)
		b := atFactor(t, k, rp, "totp")
		b.See("Enter the code from your key app", "Security code by SMS")
		b.Submit(map[string]string{"code": app(k.Clock.Now().Add(10 * time.Minute))}).See("You have 4 tries left.")
		b.Submit(map[string]string{"code": app(k.Clock.Now())})
		if got := rp.Answer(b).Claims; got.ACR != substantial || !slices.Equal(got.AMR, []string{"pwd", "otp", "mfa"}) || got.Steps[1].Method != "totp" {
			t.Errorf("%+v", got)
		}
		k.Clock.Add(time.Minute)
		code := app(k.Clock.Now())
		b = atFactor(t, k, rp, "totp")
		b.Submit(map[string]string{"code": code})
		rp.Answer(b)
		for _, move := range []time.Duration{0, 30 * time.Second, -60 * time.Second} { // again, in the tolerance, with the clock turned back
			k.Clock.Add(move)
			everywhere(k, func(int) {
				late := atFactor(t, k, rp, "totp")
				late.Submit(map[string]string{"code": code}).See("This code has been used.")
			})
		}
		k.Clock.Add(3 * time.Minute)
		code = app(k.Clock.Now())
		const n = 20
		browsers := make([]*testkapi.Browser, n)
		for i := range n {
			browsers[i] = atFactor(t, k, rp, "totp")
		}
		var won atomic.Int64
		race(n, func(i int) {
			through(&won, send(t, browsers[i], http.MethodPost, browsers[i].URL.String(), url.Values{"code": {code}}))
		})
		if won.Load() != 1 {
			t.Errorf("one code let %d through", won.Load())
		}
	})
}

// S1: of many guesses at the key app's code few are compared.
func TestS1_KeyAppGuessing(t *testing.T) {
	withKeys(t, func(t *testing.T, k *testkapi.Kapi) {
		app, rp := keyApp(t, k), k.RP("ssi", nil)
		b := atFactor(t, k, rp, "totp")
		right := app(k.Clock.Now())
		near := map[string]bool{right: true, app(k.Clock.Now().Add(-30 * time.Second)): true, app(k.Clock.Now().Add(30 * time.Second)): true}
		var compared, refused, won atomic.Int64
		race(100, func(i int) {
			guess := fmt.Sprintf("%06d", i*7919)
			if near[guess] {
				return
			}
			r := send(t, b, http.MethodPost, b.URL.String(), url.Values{"code": {guess}})
			through(&won, r)
			switch {
			case strings.Contains(r.Body, "The code is wrong"):
				compared.Add(1)
			case strings.Contains(r.Body, "A wrong code was entered 5 times"), strings.Contains(r.Body, "Too many wrong tries"):
				refused.Add(1)
			default:
				t.Errorf("%d %s", r.Status, r.Location)
			}
		})
		if won.Load() != 0 || compared.Load() > 5 || compared.Load() == 0 || refused.Load() == 0 {
			t.Errorf("%d compared, %d refused, %d won", compared.Load(), refused.Load(), won.Load())
		}
		if r := send(t, b, http.MethodPost, b.URL.String(), url.Values{"code": {right}}); strings.Contains(r.Location, "callback") {
			t.Error("the right code works after five wrong ones")
		}
		// Two challenges are ten wrong answers of the person: a lock over all browsers, and an end to it.
		other := atFactor(t, k, rp, "totp")
		for i := range 5 {
			other.Submit(map[string]string{"code": fmt.Sprintf("%06d", 999_999-i)})
		}
		third := atFactor(t, k, rp, "totp")
		third.Submit(map[string]string{"code": right}).See("Too many wrong tries.")
		k.Clock.Add(11 * time.Minute)
		third = atFactor(t, k, rp, "totp")
		third.Submit(map[string]string{"code": app(k.Clock.Now())})
		rp.Answer(third)
	})
}

// backupCodes makes a set for Ayşe.
func backupCodes(t *testing.T, k *testkapi.Kapi) []string {
	t.Helper()
	b := atSecurity(t, k, "backup")
	if b.Press("Make"); strings.HasSuffix(b.URL.Path, "/renew") {
		b.Press("Make new codes")
	}
	b.See("Your backup codes", "These codes are shown only now.", "easy to lose")
	codes := printed(b)
	if len(codes) != 10 {
		t.Fatalf("%d codes:\n%s", len(codes), b.Text())
	}
	b.Open(k.URL + "/me/security/backup").See("10 of 10 codes left").DontSee(codes[0])
	return codes
}

// S3: a backup code lets one through, and a new set ends the old.
func TestS3_BackupCodesAcrossReplicas(t *testing.T) {
	withKeys(t, func(t *testing.T, k *testkapi.Kapi) {
		codes, rp := backupCodes(t, k), k.RP("ssi", nil)
		b := testkapi.NewBrowser(t)
		b.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword})
		b.See(secondStep).Follow("Backup code").See("Enter one of your backup codes", "You have 10 codes left.") // a link, not a choice to make first
		b.Submit(map[string]string{"code": strings.ToLower(strings.ReplaceAll(codes[9], "-", " "))})
		if got := rp.Answer(b).Claims; got.ACR != substantial || !slices.Equal(got.AMR, []string{"pwd", "backup", "mfa"}) || got.Steps[1].Method != "backup" {
			t.Errorf("%+v", got)
		}
		const n = 50
		browsers := make([]*testkapi.Browser, n)
		for i := range n {
			browsers[i] = atFactor(t, k, rp, "backup")
		}
		var won atomic.Int64
		race(n, func(i int) {
			through(&won, send(t, browsers[i], http.MethodPost, browsers[i].URL.String(), url.Values{"code": {codes[0]}}))
		})
		if won.Load() != 1 {
			t.Errorf("one code let %d through", won.Load())
		}
		everywhere(k, func(int) {
			k.Clock.Add(11 * time.Minute) // the losers counted as wrong answers
			atFactor(t, k, rp, "backup").Submit(map[string]string{"code": codes[0]}).See("This backup code has been used.")
		})
		fresh := backupCodes(t, k)
		everywhere(k, func(int) {
			k.Clock.Add(11 * time.Minute)
			atFactor(t, k, rp, "backup").Submit(map[string]string{"code": codes[1]}).See("The backup code is wrong.")
		})
		k.Clock.Add(11 * time.Minute)
		b = atFactor(t, k, rp, "backup")
		b.Submit(map[string]string{"code": fresh[1]})
		rp.Answer(b)
	})
}

// S1: a hundred wrong codes in a row switch the key app off until it is set up anew.
func TestS1_KeyAppIsSwitchedOffAndRebound(t *testing.T) {
	withKeys(t, func(t *testing.T, k *testkapi.Kapi) {
		app, rp := keyApp(t, k), k.RP("ssi", nil)
		for i := range 100 {
			if i >= 10 {
				k.Clock.Add(11 * time.Minute)
			}
			b := atFactor(t, k, rp, "totp")
			b.Submit(map[string]string{"code": app(k.Clock.Now().Add(time.Hour))}).See("The code is wrong.")
		}
		k.Clock.Add(time.Hour)
		b := atFactor(t, k, rp, "totp")
		b.Submit(map[string]string{"code": app(k.Clock.Now())}).See("This way was switched off after too many wrong tries.")
		fresh := atSecurity(t, k, "totp")
		fresh.Press("Set up a key on a new phone").See("the old one stops working")
		seed := strings.Join(printed(fresh), "")
		code := func() string {
			c, err := totp.GenerateCode(seed, k.Clock.Now())
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		fresh.Submit(map[string]string{"code": code()}).See("Your new key is set up.")
		k.Clock.Add(time.Minute)
		b = atFactor(t, k, rp, "totp")
		b.Submit(map[string]string{"code": code()})
		rp.Answer(b)
	})
}

// Backup codes go with two-factor authentication, on every replica and for good.
func TestBackupCodesGoWithTwoFactor(t *testing.T) {
	withKeys(t, func(t *testing.T, k *testkapi.Kapi) {
		codes, db := backupCodes(t, k), owner(t, k)
		b := atSecurity(t, k, "backup")
		k.Clock.Add(time.Minute)
		b.Open(k.URL + "/me/two-factor/off").Press("Go on")
		b.Follow("Backup code").Submit(map[string]string{"code": codes[0]}).See("is off")
		if n := one[int64](t, db, "SELECT COUNT(*) FROM credentials WHERE factor = 'backup'"); n != 0 {
			t.Errorf("%d sets are left", n)
		}
		b.Open(k.URL + "/me/security").See("Switch two-factor authentication on first.")
	})
}

// usbKey is a security key in Ayşe's hand.
type usbKey struct {
	virtual.Authenticator
	virtual.Credential
	rp virtual.RelyingParty
}

var dataOptions = regexp.MustCompile(`data-options="([^"]+)"`)

// optionsOf is the challenge on the page.
func optionsOf(t *testing.T, b *testkapi.Browser) string {
	t.Helper()
	m := dataOptions.FindStringSubmatch(b.Body)
	if m == nil {
		t.Fatalf("no challenge at %s:\n%s", b.URL, b.Text())
	}
	return html.UnescapeString(m[1])
}

func newKey(k *testkapi.Kapi) *usbKey {
	c := virtual.NewCredential(virtual.KeyTypeEC2)
	for len(c.Key.AttestationData()) != 77 { // the virtual key drops leading zeros of its coordinates
		c = virtual.NewCredential(virtual.KeyTypeEC2)
	}
	return &usbKey{virtual.NewAuthenticator(), c, virtual.RelyingParty{ID: "localhost", Origin: k.URL}}
}

func (u *usbKey) answer(t *testing.T, b *testkapi.Browser) string {
	t.Helper()
	o, err := virtual.ParseAssertionOptions(optionsOf(t, b))
	if err != nil {
		t.Fatal(err)
	}
	if u.Counter > 0 {
		u.Counter++
	}
	return virtual.CreateAssertionResponse(u.rp, u.Authenticator, u.Credential, *o)
}

func (u *usbKey) register(t *testing.T, k *testkapi.Kapi, name string) *testkapi.Browser {
	t.Helper()
	b := atSecurity(t, k, "webauthn")
	b.Press("Add a")
	o, err := virtual.ParseAttestationOptions(optionsOf(t, b))
	if err != nil {
		t.Fatal(err)
	}
	u.Options.UserHandle = []byte(o.UserID)
	b.Submit(map[string]string{"name": name, "credential": virtual.CreateAttestationResponse(u.rp, u.Authenticator, u.Credential, *o)})
	return b.See("The key was added.", name, "Only on this one device.")
}

// S6: the ceremony over two replicas: one challenge, one answer, one sign-in.
func TestS6_KeysAcrossReplicas(t *testing.T) {
	withKeys(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, u := k.RP("ssi", nil), newKey(k)
		u.Counter = 7
		settings := u.register(t, k, "Key at home")
		b := atFactor(t, k, rp, "webauthn")
		b.See("Confirm with your key", "Use your security key or passkey", "Security code by SMS")
		b.Submit(map[string]string{"credential": ""}).See("Security keys need JavaScript")
		foreign := newKey(k)
		b.Submit(map[string]string{"credential": foreign.answer(t, b)}).See("This key did not confirm for your account.")
		b.Submit(map[string]string{"credential": u.answer(t, b)})
		if got := rp.Answer(b).Claims; got.ACR != substantial || !slices.Equal(got.AMR, []string{"pwd", "swk", "user", "mfa"}) || got.Steps[1].Method != "webauthn" {
			t.Errorf("%+v", got)
		}

		b = atFactor(t, k, rp, "webauthn")
		answer := u.answer(t, b)
		var won atomic.Int64
		race(20, func(int) {
			through(&won, send(t, b, http.MethodPost, b.URL.String(), url.Values{"credential": {answer}}))
		})
		if won.Load() != 1 {
			t.Errorf("one answer let %d through", won.Load())
		}
		one, two := atFactor(t, k, rp, "webauthn"), atFactor(t, k, rp, "webauthn")
		two.Submit(map[string]string{"credential": u.answer(t, one)}).See("This key did not confirm for your account.")
		one.Submit(map[string]string{"credential": answer}).See("This key did not confirm for your account.")
		for _, origin := range []string{"http://127.0.0.1" + k.URL[strings.LastIndexByte(k.URL, ':'):], "http://login.localhost" + k.URL[strings.LastIndexByte(k.URL, ':'):], "https://localhost"} {
			u.rp.Origin = origin
			one.Submit(map[string]string{"credential": u.answer(t, one)}).See("This key did not confirm for your account.")
		}
		u.rp.Origin = k.URL
		old := atFactor(t, k, rp, "webauthn")
		k.Clock.Add(6 * time.Minute)
		old.Submit(map[string]string{"credential": u.answer(t, old)}).See("This page has waited too long.")

		// A copy of the key with a lower counter: refused from then on, told, and out of the list.
		u.Counter = 2
		everywhere(k, func(i int) {
			page := atFactor(t, k, rp, "sms")
			id := strings.Split(page.URL.Path, "/")[2]
			if page.Open(k.URL + "/signin/" + id + "/with/webauthn"); i > 0 {
				if strings.HasSuffix(page.URL.Path, "/with/webauthn") {
					t.Error("a key that may have a copy is still offered")
				}
				return
			}
			page.Submit(map[string]string{"credential": u.answer(t, page)}).DontSee("Confirm with your key")
			if page.Left() != nil {
				t.Error("the copy of a key got in")
			}
		})
		settings.Open(k.URL + "/me/security/webauthn").See("There may be a copy of this key")
	})
}

// F2: somebody without keys does not learn from the address of the step whether there are any.
func TestF2_NoKeysNoDifference(t *testing.T) {
	withKeys(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", nil)
		at := func(factor string) reply {
			b := testkapi.NewBrowser(t)
			b.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword})
			return send(t, b, http.MethodGet, k.URL+"/signin/"+strings.Split(b.URL.Path, "/")[2]+"/with/"+factor, nil)
		}
		for _, factor := range []string{"webauthn", "totp", "backup"} {
			have, none := at(factor), at("nothing")
			if have.Status != none.Status || strings.Count(have.Location, "/") != strings.Count(none.Location, "/") {
				t.Errorf("%s: %d %s, and %d %s where there is no such way", factor, have.Status, have.Location, none.Status, none.Location)
			}
		}
	})
}

// Who has the password alone changes nothing where a key app is set up, also with two-factor authentication off; the owner who has just set it
// up goes on with what they were doing.
func TestAKeyAppGuardsTheSettings(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		thief := me(k, t, mehmet, mehmetPassword, "", 0)
		b := me(k, t, mehmet, mehmetPassword, "", 0).Open(k.URL + "/me/security/totp").Press("Set up a key")
		app := appOf(t, strings.Join(printed(b), ""))
		b.Submit(map[string]string{"code": app(k.Clock.Now())}).See("Your key is set up.")
		if b.Open(k.URL + "/me/contact/email"); b.URL.Path != "/me/contact/email" {
			t.Errorf("whoever set it up a moment ago is asked for it: at %s", b.URL.Path)
		}
		for _, path := range []string{"/me/security/totp/remove", "/me/security/webauthn/add", "/me/contact/email", "/me/password", "/me/security/recovery", "/me/two-factor/on"} {
			r := send(t, thief, http.MethodPost, k.URL+path, url.Values{"new_password": {newPassword}, "by": {"phone"}})
			if r.Status != http.StatusSeeOther || !strings.HasPrefix(r.Location, "/signin/") {
				t.Errorf("POST %s with the password alone: %d %s", path, r.Status, r.Location)
			}
		}
		thief.Open(k.URL + "/me/security/totp")
		if !strings.Contains(thief.URL.Path, "/signin/") {
			t.Fatalf("at %s:\n%s", thief.URL, thief.Text())
		}
		k.Clock.Add(time.Minute) // the owner, at the thief's browser: the key app opens the page
		if !strings.HasSuffix(thief.URL.Path, "/with/totp") {
			thief.Press("e-Government Key")
		}
		thief.Submit(map[string]string{"code": app(k.Clock.Now())})
		if thief.URL.Path != "/me/security/totp" {
			t.Errorf("after the code at %s:\n%s", thief.URL, thief.Text())
		}
	})
}
