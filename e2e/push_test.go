package e2e

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/serviceworker"
	"github.com/chromedp/chromedp"

	"github.com/kapi-id/kapi/internal/sim/push"
)

// asked is call of a function that answers later.
func asked[T any](function string, arg string) chromedp.Action[T] {
	b, _ := json.Marshal(arg)
	return chromedp.Evaluate[T]("("+function+")("+string(b)+")", chromedp.EvalAwaitPromise)
}

// takesPushes allows notifications, opens the app and returns its service worker.
func (b *Browser) takesPushes(c *Country) (id serviceworker.RegistrationID) {
	b.t.Helper()
	_, err := chromedp.CallBrowser(b.ctx, browser.SetPermission, browser.SetPermissionParams{Permission: &browser.PermissionDescriptor{Name: "notifications"},
		Setting: browser.PermissionSettingGranted, BrowserContextID: chromedp.FromContext(b.ctx).BrowserContextID})
	b.do("allow notifications", err)
	b.Open(c.Issuer + "/app").Waits("Make this phone or browser your registered device, and approve your sign-ins on it.")
	registrations := chromedp.Events(b.ctx, serviceworker.WorkerRegistrationUpdated)
	_, err = chromedp.Call(b.ctx, serviceworker.Enable, struct{}{})
	b.do("watch the service worker", err)
	_, err = step(b, chromedp.Evaluate[bool](`navigator.serviceWorker.ready.then(r => !!r.active)`, chromedp.EvalAwaitPromise))
	b.do("wait for the service worker", err)
	for e, err := range registrations {
		b.do("find the service worker", err)
		for _, r := range e.Registrations {
			if r.ScopeURL == c.Issuer+"/app" {
				return r.RegistrationID
			}
		}
	}
	b.t.Fatal("there is no service worker")
	return ""
}

// pushed lets a push arrive and returns the notification of this kind: title, text and language.
func (b *Browser) pushed(c *Country, id serviceworker.RegistrationID, data, kind string) string {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, serviceworker.DeliverPushMessage, serviceworker.DeliverPushMessageParams{Origin: c.Issuer, RegistrationID: id, Data: data})
	b.do("push", err)
	said, err := step(b, asked[string](`async function(kind) {
		const r = await navigator.serviceWorker.ready;
		let said;
		for (;;) {
			const n = (await r.getNotifications()).find(n => n.tag === kind);
			if (n && said) await new Promise(rest => setTimeout(rest, 50)); // still closing: it would take the next one of its tag with it
			else if (n) { said = [n.title, n.body, n.lang].join("|"); n.close() }
			else if (said) return said;
			else await new Promise(rest => setTimeout(rest, 50));
		} }`, kind))
	b.do("read the notification", err)
	return said
}

// A push shows that something waits, in the language of the app, and nothing else; without a network the app still opens.
func TestPhoneAppIsPushed(t *testing.T) {
	inBothLanguages(t, func(t *testing.T, how How) {
		how.Unlooked = true
		c := Found(t)
		phone := Visit(t, how)
		id := phone.takesPushes(c)
		notice := phone.in("Something changed in your account|Tap to see what it was.|en", "Hesabınızda bir değişiklik oldu|Ne olduğunu görmek için dokunun.|tr")
		for data, want := range map[string]string{
			`{"kind":"approval","id":"x"}`: phone.in("Your approval is asked for|Tap to look. If you did not start it, do not approve.|en", "Onayınız bekleniyor|Bakmak için dokunun. Siz başlatmadıysanız onaylamayın.|tr"),
			`{"kind":"notice","id":"x"}`:   notice,
			`broken`:                       notice,
		} {
			kind := "notice"
			if strings.Contains(data, "approval") {
				kind = "approval"
			}
			if said := phone.pushed(c, id, data, kind); said != want {
				t.Errorf("push %s says %q, want %q", data, said, want)
			}
		}
		phone.Reload() // the language of a visit is a header here, which the service worker learns with the page
		for _, r := range c.replicas {
			r.kill()
		}
		phone.Tolerate("Failed to load resource")
		phone.Open(c.Issuer + "/app#codes").Waits("No keys yet. Scan the QR code, or type the key.")
		phone.view(c, "home", "There is no internet connection. Try again once there is.")
	})
}

// pushForm is all that a push may say: that an approval is asked for, or that there is a notice, and an id that means nothing (22 random
// characters, or a UUID).
var pushForm = regexp.MustCompile(`^\{"kind":"(approval","id":"[A-Za-z0-9_-]{22}|notice","id":"[0-9a-f-]{36})"\}$`)

// A push from the server opens the list, without a word of what waits; and an address that the push service knows no more is
// replaced by the app itself. Chromium cannot subscribe without a push service of its own, so the subscription is the story's.
func TestPhoneAppByPush(t *testing.T) {
	t.Parallel()
	c := Found(t)
	ayse := who(t, "Ayşe")
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	auth := make([]byte, 16)
	rand.Read(auth)
	var gone atomic.Bool
	posts, refused := make(chan []byte, 20), make(chan string, 20)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(io.LimitReader(r.Body, 5000))
		switch {
		case r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Authorization"), "vapid t=") || r.Header.Get("Content-Encoding") != "aes128gcm" || r.Header.Get("TTL") == "":
			t.Errorf("%s %v", r.Method, r.Header)
		case gone.Load():
			select {
			case refused <- r.URL.Path:
			default:
			}
			w.WriteHeader(http.StatusGone)
			return
		}
		if text, err := push.Decrypt(key, auth, b); err != nil {
			t.Error(err)
		} else if strings.Contains(string(text), "approval") {
			posts <- text
		}
		w.WriteHeader(http.StatusCreated)
	}))
	defer service.Close()

	c.Restart("KAPI_PUSH_HOSTS=127.0.0.1")
	phone := Visit(t, How{Unlooked: true})
	id := phone.takesPushes(c)
	phone.becomesDevice(c, ayse).See("Off")
	arg, _ := json.Marshal(map[string]string{"endpoint": service.URL + "/push/", "key": base64.StdEncoding.EncodeToString(key.PublicKey().Bytes()), "auth": base64.StdEncoding.EncodeToString(auth)})
	_, err = step(phone, call[chromedp.Void](`function(arg) {
		const { endpoint, key, auth } = JSON.parse(arg), bytes = s => Uint8Array.from(atob(s), c => c.charCodeAt(0)).buffer;
		let n = 0, current = null;
		PushManager.prototype.getSubscription = async () => current;
		PushManager.prototype.subscribe = async o => {
			if (!o.userVisibleOnly || typeof o.applicationServerKey !== "string") throw new Error("how?");
			return current = { endpoint: endpoint + ++n, getKey: k => bytes(k === "p256dh" ? key : auth), unsubscribe: async () => { current = null; return true } };
		};
	}`, string(arg)))
	phone.do("be a push service", err)
	phone.Tap("Switch notifications on").Waits("Notifications are on.")

	desk := Visit(t, How{Unlooked: true}).asks(c, ayse)
	number := desk.number()
	text := receive(t, posts)
	if !pushForm.Match(text) { // what it must not say is not searched for: the id may hold any two letters or digits by chance
		t.Errorf("the push tells too much: %s", text)
	}
	if said := phone.pushed(c, id, string(text), "approval"); !strings.HasPrefix(said, "Your approval is asked for|") {
		t.Errorf("the notification says %q", said)
	}
	_, err = step(phone, chromedp.Evaluate[bool](`navigator.serviceWorker.dispatchEvent(new MessageEvent("message", {data: {open: "push"}}))`))
	phone.do("press the notification", err)
	phone.Waits("Number on the screen").Type("number", number).Tap("Approve").Waits("Approved. Go on on the other screen.")
	desk.Waits("Substantial: two steps").At(c.Portal)

	gone.Store(true)
	Visit(t, How{Unlooked: true}).asks(c, ayse)
	if path := receive(t, refused); path != "/push/1" {
		t.Errorf("pushed to %s", path)
	}
	phone.until(c, "They do not arrive")
	gone.Store(false)
	phone.view(c, "home", "waiting for your approval") // by then the app has subscribed anew
	phone.view(c, "device", "Notifications On Switch notifications off")
}

// until looks at the view of the device until it says this.
func (b *Browser) until(c *Country, text string) {
	b.t.Helper()
	give := time.After(patience)
	for !containsAny(b.text(), b.spoken(text)) {
		select {
		case <-give:
			b.t.Fatalf("the app never says %q\n%s", text, b.where())
		default:
			b.view(c, "approvals", "Back to the start")
			b.view(c, "device", "Registered on")
		}
	}
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	panic("not reached")
}
