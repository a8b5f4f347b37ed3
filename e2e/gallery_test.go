package e2e

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/pquerna/otp/totp"

	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/internal/sim/operator"
)

var gallery = flag.String("gallery", "", "folder to write a picture of every page of sign-in and settings to")

// TestGallery takes a picture of every page that people meet around sign-in: in both languages, by day and in the dark, on the smallest
// phone and on a desk. Whoever changes a page looks at them: make gallery GALLERY=FOLDER. Each page is also inspected, as in every journey.
func TestGallery(t *testing.T) {
	if *gallery == "" {
		t.Skip("pictures are taken by make gallery")
	}
	for name, walk := range map[string]func(*testing.T, How){"factors": hangFactors, "settings": hangSettings, "app": hangApp, "recovery": hangRecovery, "sim": hangSIM, "reminder": remindsOfPassword} {
		t.Run(name, func(t *testing.T) {
			for _, how := range []How{{}, {Turkish: true}} {
				t.Run(how.lang(), func(t *testing.T) {
					t.Parallel()
					walk(t, how)
				})
			}
		})
	}
}

// hang takes the four pictures of the page at hand.
func (b *Browser) hang(name string) *Browser {
	b.t.Helper()
	for _, width := range []int64{320, 1280} {
		b.shape(width, 640)
		for _, dark := range []bool{false, true} {
			b.scheme(dark)
			light := map[bool]string{false: "light", true: "dark"}[dark]
			b.Screenshot(filepath.Join(*gallery, fmt.Sprintf("%s-%s-%d-%s.png", name, b.how.lang(), width, light)))
		}
	}
	b.shape(b.how.Width, b.how.Height)
	b.scheme(b.how.Dark)
	return b
}

// registers makes a phone the device of whoever is at the page that shows the pairing code.
func (b *Browser) registers(c *Country) *devicetest.Device {
	b.t.Helper()
	phone := devicetest.New(c.Issuer, c.now)
	phone.App = "android/1.0.0"
	if a := phone.Register(strings.Join(b.prints(), "")); a.Status != http.StatusCreated {
		b.t.Fatalf("register: %d %s", a.Status, a.Body)
	}
	return phone
}

func hangFactors(t *testing.T, how How) {
	c, ayse := Found(t), who(t, "Ayşe")
	b := Visit(t, how)
	own := c.Issuer + "/me/security/"
	b.security(c, ayse, "device").hang("device-none")
	b.Press("Register a device").hang("device-pair")
	phone := b.registers(c)
	b.Open(own + "device").hang("device-manage")
	b.Open(own + "totp").hang("totp-none")
	b.Press("Set up a key").hang("totp-setup")
	seed := strings.Join(b.prints(), "")
	b.Type("code", "12").Submit().hang("totp-setup-wrong")
	code, err := totp.GenerateCode(seed, c.now())
	b.do("make a code", err)
	b.Type("code", code).Submit().hang("totp-done")
	b.Press("Remove the key").hang("totp-remove")
	b.Open(own + "backup").hang("backup-none")
	b.Press("Make backup codes").hang("backup-codes")
	b.Press("I have kept the codes").hang("backup-manage")
	b.Press("Make new codes").hang("backup-renew")
	b.Open(own + "backup").Press("Delete the codes").hang("backup-remove")
	b.gets(false)
	b.Open(own + "webauthn").hang("webauthn-none")
	b.Press("Add a key").hang("webauthn-adding")
	b.Type("name", "Anahtarlığımdaki mavi").Press("Create the key").hang("webauthn-manage")
	b.Press("Rename").hang("webauthn-rename")
	b.Open(own + "webauthn").Press("Remove").hang("webauthn-remove")
	b.Open(strings.TrimSuffix(own, "/")).hang("security")
	b.Open(own + "access").hang("access")
	b.Open(own + "recovery").hang("reset")
	b.Open(own + "recovery/confirm?by=both").hang("reset-sure")
	b.Open(c.Issuer + "/me/services").hang("services-none")
	b.Open(c.Asking + "/login").Press("Share and continue").At(c.Asking)
	b.Open(c.Issuer + "/me/services").hang("services")
	b.Press("Withdraw permission").hang("services-withdraw")
	b.Open(c.Issuer + "/me").hang("account")
	b.Open(c.Issuer + "/me/notices").hang("notices")
	b.Open(c.Issuer + "/me/signins").hang("signins")
	b.Press("Sign out")

	c.Pass(time.Minute)
	v := Visit(t, how)
	v.Open(c.Portal + "/login").hang("signin").SignsIn(ayse).See("How shall we check that it is you?").hang("choose")
	at := strings.TrimSuffix(v.Address(), "/choose")
	v.Open(at + "/with/totp").hang("totp-ask")
	v.Type("code", "123").Submit().hang("totp-wrong")
	v.Open(at + "/with/webauthn").hang("webauthn-ask")
	v.Open(at + "/with/backup").hang("backup-ask")
	v.Type("code", "ABCD").Submit().hang("backup-wrong")
	v.Open(at + "/choose").Press("Registered device").hang("device-ask")
	v.Tap("Scan a QR code instead").hang("device-qr")
	if a := phone.Approve(waits(t, phone), v.number()); a.Status != http.StatusNoContent {
		t.Fatalf("approve: %d %s", a.Status, a.Body)
	}
	v.Arrives(c.Portal)
	v.Open(own + "device").hang("device-free").Press("Remove the registered device").hang("device-remove")
	c.Pass(time.Minute)
	v = Visit(t, how)
	v.Open(c.Portal + "/login").SignsIn(ayse)
	at = strings.TrimSuffix(v.Address(), "/choose")
	v.Open(at + "/lost").hang("lost")
	v.Submit().hang("lost-code")
	v.Confirms(c, ayse).hang("lost-done")
	v = Visit(t, how)
	v.Open(c.Portal + "/login").SignsIn(ayse).Press("Registered device")
	phone.Deny(waits(t, phone), "not_me")
	v.Waits("The owner of the registered device said that this sign-in is not theirs. No approval can be asked for from this browser for an hour.").hang("device-not-me")
}

// waits is the one request that waits for the phone.
func waits(t *testing.T, phone *devicetest.Device) devicetest.Request {
	t.Helper()
	list, a := phone.List()
	if len(list) != 1 {
		t.Fatalf("%d wait: %d %s", len(list), a.Status, a.Body)
	}
	return list[0]
}

func hangSettings(t *testing.T, how How) {
	c, ayse := Found(t), who(t, "Ayşe")
	c.Restart("KAPI_MAIL=inbox:http://" + c.gateway.Listener.Addr().String())
	b := Visit(t, how)
	me := c.Issuer + "/me"
	b.security(c, ayse, "access")
	b.Open(me + "/contact").hang("contact")
	b.Open(me + "/contact/phone").hang("contact-phone")
	b.Type("phone", "12").Submit().hang("contact-phone-wrong")
	b.Open(me + "/contact/phone/remove").hang("contact-phone-remove")
	b.Open(me + "/contact/email").hang("contact-email")
	b.Type("email", "ayse.yilmaz@example.com").Type("national_id", ayse.NationalID).Type("birthdate", "23.04.1985").Submit().hang("contact-email-code")
	b.Open(me + "/contact").hang("contact-waiting")
	b.Open(me + "/two-factor").hang("two-factor")
	b.Press("Switch off two-factor authentication").hang("two-factor-off")
	b.Submit().hang("two-factor-off-code")
	b.Open(me + "/password").hang("password")
	b.Open(me + "/sessions").hang("sessions")
	b.Open(me + "/unblock").hang("unblock-free")
	b.Open(c.Issuer + "/help").hang("help")
	c.Pass(29 * time.Minute)
	b.Open(me + "/idle").hang("idle-late")

	c.Pass(time.Hour)
	b.Open(me + "/idle").hang("idle-over")

	mehmet := Visit(t, how)
	mehmet.Open(me + "/two-factor").SignsIn(who(t, "Mehmet")).hang("two-factor-none")
	mehmet.Press("Switch on two-factor authentication").hang("two-factor-on")
	mehmet.Open(me + "/security").hang("security-bare")
	mehmet.Open(me + "/security/backup").hang("backup-impossible")
	mehmet.Open(me + "/security/device").hang("device-impossible")
	elif := Visit(t, how)
	elif.Open(me + "/security").SignsIn(who(t, "Elif")).hang("security-elif")
	elif.Open(me + "/notices").hang("notices-few")
	for _, name := range []string{"Fatma", "Ali"} {
		v := Visit(t, how)
		v.Open(c.Portal + "/login").SignsIn(who(t, name)).hang("code-" + strings.ToLower(name))
	}
}

func hangApp(t *testing.T, how How) {
	c, ayse := Found(t), who(t, "Ayşe")
	small := how
	small.Width, small.Height = 360, 740
	phone := Visit(t, small)
	phone.Open(c.Issuer + "/app").Waits("Make this phone or browser your registered device, and approve your sign-ins on it.").hang("app-out")
	phone.view(c, "pair", "With a pairing code").hang("app-pair")
	phone.view(c, "home", "Make this phone or browser your registered device, and approve your sign-ins on it.").Press("Sign in").SignsIn(ayse).Confirms(c, ayse)
	phone.Waits("Register this device?").hang("app-ask")
	phone.Tap("Register this device").Waits("This device is registered now.").hang("app-registered")
	phone.view(c, "approvals", "Nothing waits for your approval.").hang("app-none")
	desk := Visit(t, how).asks(c, ayse).hang("device-ask-web")
	phone.Waits("Number on the screen").hang("app-approve")
	phone.Type("number", "x").Tap("Approve").Waits("Type the two digits on the screen.").hang("app-approve-wrong")
	phone.Over("number").Type("number", desk.number()).Tap("Approve").Waits("Approved. Go on on the other screen.").hang("app-approved")
	desk = Visit(t, how).asks(c, ayse)
	phone.Waits("Number on the screen").Tap("It was not me").Waits("Somebody may know your password. Choose a new one now.").hang("app-not-me")
	phone.view(c, "codes", "No keys yet. Scan the QR code, or type the key.").hang("app-no-codes")
	phone.Type("label", "e-Devlet").Type("seed", "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ").Tap("Add").Waits("The key was added.").hang("app-codes")
	phone.Tap("Remove").hang("app-codes-remove")
	phone.view(c, "device", "Remove this device").hang("app-device")
	phone.Tap("Remove the registered device").hang("app-device-remove")
	phone.view(c, "scan", "Cannot scan it?").hang("app-scan")
	phone.view(c, "home", "This is your registered device:").hang("app-home")
	other := Visit(t, small)
	other.Open(c.Issuer + "/app").Waits("Make this phone or browser your registered device, and approve your sign-ins on it.").Press("Sign in").SignsIn(ayse)
	other.hang("device-ask-other")
}

var link = regexp.MustCompile(`http://localhost:\d+/\S+`)

// linked waits for a mail with a link to this page.
func (c *Country) linked(address, page string) string {
	c.t.Helper()
	for {
		for _, l := range link.FindAllString(c.Text(address), -1) {
			if strings.Contains(l, page) {
				return l
			}
		}
	}
}

func hangRecovery(t *testing.T, how How) {
	c, ayse := Found(t), who(t, "Ayşe")
	c.Restart("KAPI_MAIL=inbox:http://" + c.gateway.Listener.Addr().String())
	b := Visit(t, how)
	b.Open(c.Issuer + "/recover").hang("recover")
	b.Submit().hang("recover-wrong")
	_, err := step(b, chromedp.Click(chromedp.CSS("main input[type=radio]")))
	b.do("pick", err)
	b.Submit().hang("recover-identity")
	b.Type("national_id", ayse.NationalID).Submit().hang("recover-details")
	b.Type("birthdate", "23.04.1985").Type("family_name", "Yılmaz").Type("serial", "A12B34567").Submit().hang("recover-contact")
	b.Type("phone", "0555 000 00 01").Submit().hang("recover-code")
	b.Type("code", c.Code(ayse)).Submit().hang("recover-password")
	b.Type("new_password", "123").Submit().hang("recover-password-wrong")
	b.Type("new_password", "kayık iskele poyraz 81").Submit().hang("recover-done")
	b.Open(c.Issuer + "/recover/other").hang("recover-other")
	b.Open(c.Issuer + "/undo").hang("undo-code")
	b.Submit().hang("undo-code-wrong")
	undo := c.linked("ayse@example.org", "/undo")
	ayse.Password = "kayık iskele poyraz 81"
	c.Pass(time.Hour)
	Visit(t, how).Open(c.Portal+"/login").SignsIn(ayse).Confirms(c, ayse).At(c.Portal)
	notMe := c.linked("ayse@example.org", "/not-me")
	b.Open(notMe).hang("not-me")
	b.Submit().hang("disavowed")
	b.Open(notMe).hang("not-me-over")
	b.Open(undo).hang("undo")
	b.Submit().hang("undone")
}

func hangSIM(t *testing.T, how How) {
	c, ayse := Found(t), who(t, "Ayşe")
	op := operator.New(operator.Config{Client: "kapi", Secret: "s", Now: c.now})
	s := httptest.NewServer(op)
	t.Cleanup(s.Close)
	c.Restart("KAPI_MAIL=inbox:http://"+c.gateway.Listener.Addr().String(), "KAPI_SIM_SWAP=http://kapi:s@"+strings.TrimPrefix(s.URL, "http://")+"/sim-swap/v2#token="+s.URL+"/token")
	c.Pass(time.Hour)
	b := Visit(t, how)
	if err := op.Set(operator.Failing); err != nil {
		t.Fatal(err)
	}
	b.Open(c.Portal + "/login").SignsIn(ayse).hang("explain-operator")
	if err := op.Set(operator.None); err != nil {
		t.Fatal(err)
	}
	if err := op.Change(ayse.Phone, c.now()); err != nil {
		t.Fatal(err)
	}
	c.Pass(2 * time.Minute)
	v := Visit(t, how)
	v.Open(c.Portal + "/login").SignsIn(ayse).hang("explain-sim")
	v.Press("Confirm my new SIM card").hang("unblock-signin")
	v.SignsIn(ayse).hang("unblock")
	v.Press("Send a code to my recovery address").hang("unblock-code")
	v.Type("code", c.sixDigits("ayse@example.org")).Submit().hang("unblocked")
}

var six = regexp.MustCompile(`\b\d{6}\b`)

// sixDigits waits for the next message with a code, wherever it stands in it.
func (c *Country) sixDigits(address string) string {
	c.t.Helper()
	for {
		if code := six.FindString(c.Text(address)); code != "" {
			return code
		}
	}
}
