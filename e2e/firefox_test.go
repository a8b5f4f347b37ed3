package e2e

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/kapi-id/kapi/internal/sim/push"
)

// A citizen signs in with Firefox: password and code, the pages' scripts on, and nothing that their policy forbids.
func TestFirstSignInInFirefox(t *testing.T) {
	t.Parallel()
	firefox(t)
	c, ayse := Found(t), who(t, "Ayşe")
	f := VisitInFirefox(t, "http://127.0.0.1:9")
	f.Open(c.Portal+"/login").SignsIn(ayse).Waits("Enter the code we sent to your phone ending 01").Confirms(c, ayse)
	f.Waits("Substantial: two steps").Waits("You signed in with your password and a code sent to your phone.")
	if at := runs[string](f, "read the address", `async () => location.href`); !strings.HasPrefix(at, c.Portal) {
		t.Errorf("the browser is at %s", at)
	}
	if said := f.said(); len(said) > 0 {
		t.Errorf("Firefox: %q", said)
	}
	// The ear hears: what a page must not do is told.
	f.Open(c.Issuer + "/help").Waits("Help")
	runs[bool](f, "break the policy", `async () => { const s = document.createElement("script"); s.textContent = "1"; document.body.append(s); return true }`)
	f.until("hear of the policy", func() bool { return len(f.said()) > 0 })
	f.wild = true
}

// A citizen's phone has the app in Firefox, the key that cannot be taken out of it, and the pushes of its own service: encrypted by kapi, opened by
// the browser, shown by the worker, and pressed on the screen. Nothing is played here but the push service.
func TestPhoneAppIsPushedInFirefox(t *testing.T) {
	t.Parallel()
	firefox(t)
	c, ayse := Found(t), who(t, "Ayşe")
	service := push.New(push.Config{Now: c.now})
	pushes := httptest.NewServer(service)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the push service has %+v", service.Pushes())
		}
		service.Close()
		pushes.Close()
	})
	c.Restart("KAPI_PUSH_HOSTS=127.0.0.1")

	phone := VisitInFirefox(t, pushes.URL)
	phone.Open(c.Issuer+"/app").Waits("Make this phone or browser your registered device, and approve your sign-ins on it.").Tap("Sign in").SignsIn(ayse).Confirms(c, ayse)
	phone.Waits("Register this device?").Tap("Register this device").Waits("This device is registered now.")
	if kept := runs[string](phone, "take the key", `async () => {
		const db = await new Promise(done => { const r = indexedDB.open("kapi", 1); r.onsuccess = () => done(r.result) });
		const me = await new Promise(done => { const r = db.transaction("device").objectStore("device").get("me"); r.onsuccess = () => done(r.result) });
		db.close();
		return me.privateKey.extractable + " " + await crypto.subtle.exportKey("pkcs8", me.privateKey).then(() => "exported", e => e.name) }`); kept != "false InvalidAccessError" {
		t.Errorf("the key: %s", kept)
	}
	phone.listens()
	phone.Tap("Switch notifications on").Waits("Notifications are on.")
	phone.view("home", "This is your registered device:")

	desk := Visit(t, How{Unlooked: true}).asks(c, ayse)
	const title, words = "Your approval is asked for", "Your approval is asked for|Tap to look. If you did not start it, do not approve."
	if said := phone.notification(); said != `["Your approval is asked for","Tap to look. If you did not start it, do not approve.","en","approval",{"kind":"approval"}]` {
		t.Errorf("the worker shows %s", said)
	}
	if said := phone.press(title); said != words {
		t.Errorf("on the screen stands %q", said)
	}
	phone.Waits("Number on the screen").Waits("SSI Notification Portal").Type("number", desk.number()).Tap("Approve").Waits("Approved. Go on on the other screen.")
	desk.Waits("Substantial: two steps").At(c.Portal)
	text := phone.heard()
	for line := range strings.Lines(text) {
		if !pushForm.MatchString(strings.TrimSuffix(line, "\n")) {
			t.Errorf("a push says %s", line)
		}
	}
	if !strings.Contains(text, `"approval"`) {
		t.Errorf("the pushes say %s", text)
	}
	first := approval(t, service)
	if first.Ack != push.AckShown || !first.Urgent {
		t.Errorf("the push service has %+v", first)
	}

	// The push service has lost its memory: the worker subscribes anew by itself, with no page of the app open; and the notification,
	// pressed, opens one.
	phone.Open("about:blank")
	told := c.told("/factors/device/v1/push")
	service.ForgetBrowsers()
	phone.until("subscribe anew", func() bool { return c.told("/factors/device/v1/push") > told })
	before := phone.windows()
	desk = Visit(t, How{Unlooked: true}).asks(c, ayse)
	if said := phone.press(title); said != words {
		t.Errorf("on the screen stands %q", said)
	}
	phone.enters(before).Waits("Number on the screen").Tap("Refuse").Waits("Refused. Nobody was signed in.")
	desk.Waits("It was refused on your registered device.")
	last := approval(t, service)
	if last.To == first.To || last.Ack != push.AckShown {
		t.Errorf("pushed to the old subscription: %v, and it was %q", last.To == first.To, last.Ack)
	}

	// The push service says that this subscription is over, and the app finds another.
	service.Remove(map[string]string{"token": last.To})
	desk.Press("Ask for approval again")
	phone.until("hear that pushes do not arrive", func() bool {
		phone.view("codes", "Back to the start") // asks for nothing, as often as it is looked at
		phone.view("device", "Registered on")
		return strings.Contains(phone.text(), "They do not arrive")
	})
	phone.view("home", "waiting for your approval").view("device", "Notifications On Switch notifications off")
	phone.Tap("Switch notifications off").Waits("Notifications are off.")
	if left := runs[bool](phone, "look for a subscription", `async () => !!await (await navigator.serviceWorker.getRegistration("/app")).pushManager.getSubscription()`); left {
		t.Error("the browser is still subscribed")
	}
}

// approval is the last push of that kind.
func approval(t *testing.T, s *push.Service) push.Push {
	t.Helper()
	for _, p := range slices.Backward(s.Pushes()) {
		if p.Topic == "approval" {
			return p
		}
	}
	t.Fatal("no approval was pushed")
	panic("not reached")
}

// told counts the requests to a path that kapi has answered.
func (c *Country) told(path string) (n int) {
	for _, r := range c.replicas {
		n += strings.Count(r.log.String(), `"path":"`+path+`"`)
	}
	return n
}
