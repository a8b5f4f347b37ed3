package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Restart starts the only replica anew, with further settings.
func (c *Country) Restart(settings ...string) {
	c.t.Helper()
	c.replicas[0].kill()
	path, err := binary()
	if err != nil {
		c.t.Fatal(err)
	}
	c.env = append(c.env, settings...)
	c.replicas[0] = c.serve(path)
	c.await(c.replicas[0])
}

// Tap presses what loads no page: the app goes from view to view by itself.
func (b *Browser) Tap(words string) *Browser {
	b.t.Helper()
	give := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, w := range b.spoken(words) {
			found, err := step(b, call[bool](`function(words) {
				document.querySelector("[data-e2e-press]")?.removeAttribute("data-e2e-press");
				const say = e => e.innerText.replace(/\s+/g, " ").trim();
				const all = [...document.querySelectorAll("a[href], button, summary")].filter(e => e.checkVisibility());
				const e = all.find(e => say(e) === words) || all.find(e => say(e).startsWith(words));
				e?.setAttribute("data-e2e-press", "");
				return !!e }`, w))
			b.do("look for "+w, err)
			if found {
				_, err := step(b, chromedp.Click(chromedp.CSS("[data-e2e-press]")))
				b.do("tap "+w, err)
				return b
			}
		}
		select {
		case <-give:
			b.t.Fatalf("nothing to tap that says %q\n%s", b.spoken(words), b.where())
		case <-tick.C:
		}
	}
}

// Waits until the page says this by itself, and inspects it then.
func (b *Browser) Waits(text string) *Browser {
	b.t.Helper()
	give := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		// Between two pages there is nothing to read.
		page, err := step(b, chromedp.Evaluate[string](`document.documentElement?.innerText ?? ""`))
		if err == nil && containsAny(squeeze(page), b.spoken(text)) {
			break
		}
		select {
		case <-give:
			b.t.Fatalf("the page never says %q\n%s", b.spoken(text), b.where())
		case <-tick.C:
		}
	}
	b.inspect()
	return b
}

// Over empties a field that was typed into on this page, for what is typed next: no page was loaded between.
func (b *Browser) Over(field string) *Browser {
	b.t.Helper()
	_, err := step(b, call[chromedp.Void](`function(name) { document.querySelector("main [name=" + name + "]").value = "" }`, field))
	b.do("empty "+field, err)
	return b
}

// number is the one that the page asks to be typed on the device.
func (b *Browser) number() string {
	b.t.Helper()
	n, err := step(b, chromedp.Evaluate[string](`document.querySelector(".number").innerText`))
	b.do("read the number", err)
	return strings.TrimSpace(n)
}

// becomesDevice opens the app in a phone's browser, signs in and says yes.
func (b *Browser) becomesDevice(c *Country, p Person) *Browser {
	b.t.Helper()
	b.Open(c.Issuer+"/app").Waits("Make this phone or browser your registered device, and approve your sign-ins on it.").Press("Sign in").SignsIn(p).Confirms(c, p)
	b.At(c.Issuer + "/app").Waits("Register this device?").Tap("Register this device")
	return b.Waits("This device is registered now.")
}

func (b *Browser) view(c *Country, name, says string) *Browser {
	b.t.Helper()
	_, err := step(b, call[chromedp.Void](`function(to) { location.hash = to }`, name))
	b.do("go to "+name, err)
	return b.Waits(says)
}

// asks starts a sign-in that the device has to approve.
func (b *Browser) asks(c *Country, p Person) *Browser {
	b.t.Helper()
	return b.Open(c.Portal + "/login").SignsIn(p).See("Approve on your registered device")
}

func TestPhoneAppApproves(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c := Found(t)
		ayse := who(t, "Ayşe")
		small := how
		small.Width, small.Height = 360, 740
		phone := Visit(t, small).becomesDevice(c, ayse)
		phone.view(c, "home", "This is your registered device:")
		phone.view(c, "codes", "No keys yet. Scan the QR code, or type the key.")
		phone.view(c, "device", "Remove this device")
		phone.view(c, "scan", "Cannot scan it?")
		// A link with somebody else's pairing code must not take the device over.
		phone.view(c, "pair=00000000000000000000000000", "This device is registered already. To register it anew, remove it first.")
		if phone.Has("#pair-form") || strings.Contains(phone.Address(), "0000") {
			t.Error("a registered device can be registered for somebody else, or the code stays in the address")
		}
		phone.view(c, "approvals", "Nothing waits for your approval.")

		// By the number: nobody has to touch the other screen again.
		desk := Visit(t, how).asks(c, ayse)
		number := desk.number()
		phone.Waits("Number on the screen").See(desk.in("SSI Notification Portal", "SGK Bildirim Portalı"), "Chrome")
		phone.Type("number", "x").Tap("Approve").Waits("Type the two digits on the screen.")
		phone.Over("number").Type("number", number).Tap("Approve").Waits("Approved. Go on on the other screen.")
		desk.Waits("Substantial: two steps").At(c.Portal)
		amr := fmt.Sprint(desk.Claims(c.Portal)["amr"])
		for _, want := range []string{"pwd", "swk", "user", "mca", "mfa"} {
			if !strings.Contains(amr, want) {
				t.Errorf("amr %s without %s", amr, want)
			}
		}

		// By the QR code, with the camera. What is somebody else's code leads nowhere.
		desk = Visit(t, how).asks(c, ayse)
		desk.Tap("Scan a QR code instead")
		film.Lock()
		err := film.show(desk.QR())
		if err == nil {
			phone.view(c, "scan", "Is the screen that you scanned before you right now?")
			err = film.show(nil)
		}
		film.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		phone.See(desk.in("SSI Notification Portal", "SGK Bildirim Portalı")).SeeNot("Number on the screen")
		phone.Tap("Yes, it is. Approve").Waits("Approved. Go on on the other screen.")
		desk.Waits("Substantial: two steps").At(c.Portal)

		// No, and no, that was not me. The notification, pressed, opens the list.
		phone.view(c, "home", "This is your registered device:")
		desk = Visit(t, how).asks(c, ayse)
		_, err = step(phone, chromedp.Evaluate[bool](`navigator.serviceWorker.dispatchEvent(new MessageEvent("message", {data: {open: "push"}}))`))
		phone.do("press the notification", err)
		phone.Waits("Number on the screen").Tap("Refuse").Waits("Refused. Nobody was signed in.")
		desk.Waits("It was refused on your registered device. If it is you, ask for approval again below.").Press("Ask for approval again")
		phone.Waits("Number on the screen").Tap("It was not me").Waits("Somebody may know your password. Choose a new one now.")
		desk.Waits("The owner of the registered device said that this sign-in is not theirs. No approval can be asked for from this browser for an hour.")

		// In the browser that is the device the password is enough: nobody approves anything.
		phone.Open(c.Portal + "/login?prompt=login").SignsIn(ayse)
		phone.Waits("Substantial: two steps").At(c.Portal)
		sees(t, phone.Claims(c.Portal), map[string]string{"acr": "urn:kapi:loa:substantial", "amr": "[pwd swk mfa]"})

		// A device that is removed approves nothing any more; the code comes by SMS again.
		phone.Open(c.Issuer + "/app#device").Waits("Remove this device").Tap("Remove the registered device").Tap("Yes, remove the device").Waits("This device was removed.")
		c.Pass(time.Minute)
		Visit(t, How{Unlooked: true, Turkish: how.Turkish}).Open(c.Portal + "/login").SignsIn(ayse).See("Enter the code we sent to your phone ending 01")
	})
}

// The key app, with a key of the standard's own vectors (RFC 6238, appendix B): the seed cannot be read back, the code can.
func TestPhoneAppMakesCodes(t *testing.T) {
	c := Found(t)
	b := Visit(t, How{Width: 360, Height: 740})
	b.Open(c.Issuer + "/app#codes").Waits("No keys yet. Scan the QR code, or type the key.")
	b.Type("label", "e-Devlet").Type("seed", "not a key").Tap("Add").Waits("The key is not valid.")
	b.Over("seed").Type("seed", "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ").Tap("Add").Waits("The key was added.")
	code, err := step(b, chromedp.Evaluate[string](`(async () => {
		const { code } = await import(document.querySelector("script[src*='/app-']").src.replace("script.js", "totp.js"));
		const db = await new Promise(done => { const r = indexedDB.open("kapi-app", 1); r.onsuccess = () => done(r.result) });
		const all = await new Promise(done => { const r = db.transaction("codes").objectStore("codes").getAll(); r.onsuccess = () => done(r.result) });
		db.close();
		const e = all[0];
		const out = await crypto.subtle.exportKey("raw", e.key).then(() => "exported", () => "kept");
		return [out, JSON.stringify(e).includes("GEZD"), (await code(e, 59)).code, (await code({...e, digits: 8}, 1111111109)).code, (await code({...e, digits: 8}, 20000000000)).code].join(" ")
	})()`, chromedp.EvalAwaitPromise))
	b.do("ask for codes", err)
	if code != "kept false 287082 07081804 65353130" {
		t.Errorf("codes %s", code)
	}
	if shown := b.number(); !regexp.MustCompile(`^\d{3} \d{3}$`).MatchString(shown) {
		t.Errorf("the page shows %q", shown)
	}
	b.Tap("Remove").Tap("Yes, remove it").Waits("The key was removed.").See("No keys yet.")
	b.readsByItself(c)
	// A pairing code that nobody gave out; and then the app is too old for any.
	b.view(c, "pair", "With a pairing code")
	b.Type("pairing", strings.Repeat("0", 26)).Tap("Register this device").Waits("The pairing code is not valid. Check it, or get a new one.")
	c.Restart("KAPI_APP_MIN_VERSION=web=9.0.0")
	b.Tap("Register this device").Waits("This version is not safe enough any more.")
}

// readsByItself: phones have a reader of QR codes in the browser, Chromium on Linux has none. The story's stands for it, and the one that the app
// brings along stays where it is. What reads pictures of codes for real are the stories with a film.
func (b *Browser) readsByItself(c *Country) {
	b.t.Helper()
	_, err := step(b, chromedp.Evaluate[chromedp.Void](`(() => {
		globalThis.BarcodeDetector = class {
			static getSupportedFormats = async () => ["ean_13", "qr_code"];
			constructor({ formats }) { if (String(formats) !== "qr_code") throw new Error("formats " + formats) }
			async detect(picture) {
				if (!(picture instanceof HTMLCanvasElement) || !picture.width) throw new Error("what is this?");
				return [{ rawValue: "otpauth://totp/Kapi:Reader?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Kapi" }];
			}
		} })()`))
	b.do("have a reader", err)
	b.view(c, "scan", "The key was added.").See("Reader")
	brought, err := step(b, chromedp.Evaluate[bool](`"jsQR" in globalThis`))
	b.do("look for the other reader", err)
	if brought {
		b.t.Error("the app loads its reader though the browser has one")
	}
}

// The app is the e-Government Key (R125 to R127): it scans the picture of the settings, and its code is good there, though the phone's clock
// is wrong.
func TestPhoneAppIsTheKey(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		c, ayse := Found(t), who(t, "Ayşe")
		desk := Visit(t, how)
		desk.security(c, ayse, "totp").Press("Set up a key")
		small := how
		small.Width, small.Height = 320, 640
		phone := Visit(t, small)
		film.Lock()
		err := film.show(desk.QR())
		if err == nil {
			phone.Open(c.Issuer + "/app#scan").Waits("The key was added.")
			err = film.show(nil)
		}
		film.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		desk.Type("code", strings.ReplaceAll(phone.number(), " ", "")).Submit().See("Your key is set up.")
	})
}
