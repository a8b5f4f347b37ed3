package e2e

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/sim/push"
)

// Fox is a person's Firefox: a profile of its own, whose pushes come from the simulated push service. Its own service is the one thing that
// Chromium cannot be given.
type Fox struct {
	*marionette
	t    testing.TB
	wild bool // its errors do not count
}

// quiet lets Firefox do nothing of its own accord, leave the machine for nothing, and start at half the price. Notifications are allowed, and
// drawn by the browser itself: there is no desktop that would.
var quiet = map[string]any{
	"marionette.port": 0, "intl.accept_languages": "en-GB,en",
	"permissions.default.desktop-notification": 1, "alerts.useSystemBackend": false,
	"dom.push.connection.enabled": true, "dom.push.testing.allowInsecureServerURL": true, "dom.push.retryBaseInterval": 100,
	// Whatever is not on this machine is behind a proxy that is not there.
	"network.proxy.type": 1, "network.proxy.http": "127.0.0.1", "network.proxy.http_port": 9, "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": 9,
	"network.trr.mode": 5, "network.captive-portal-service.enabled": false, "network.connectivity-service.enabled": false, "services.settings.server": "data:,",
	"app.normandy.enabled": false, "app.shield.optoutstudies.enabled": false, "nimbus.rollouts.enabled": false, "datareporting.policy.dataSubmissionEnabled": false,
	"toolkit.telemetry.enabled": false, "toolkit.telemetry.unified": false, "browser.safebrowsing.malware.enabled": false, "browser.safebrowsing.phishing.enabled": false,
	"browser.startup.page": 0, "browser.startup.homepage": "about:blank", "browser.newtabpage.enabled": false, "browser.newtab.preload": false, "browser.aboutwelcome.enabled": false,
	"browser.search.update": false, "browser.backup.enabled": false, "browser.ml.enable": false, "identity.fxaccounts.enabled": false,
	"extensions.systemAddon.update.enabled": false, "extensions.getAddons.cache.enabled": false, "dom.ipc.processPrelaunch.enabled": false,
}

// VisitInFirefox opens one in English. Nothing of it leaves the machine.
func VisitInFirefox(t testing.TB, pushes string) *Fox {
	t.Helper()
	preferences := maps.Clone(quiet)
	preferences["dom.push.serverURL"] = strings.Replace(pushes, "http://", "ws://", 1) + push.LinePath
	f := &Fox{marionette: startFirefox(t, preferences), t: t}
	t.Cleanup(func() {
		if f.wild || t.Failed() {
			return
		}
		for _, p := range f.said() {
			t.Errorf("Firefox: %s", p)
		}
	})
	return f
}

func (f *Fox) do(what string, err error) {
	f.t.Helper()
	if err != nil {
		var page string
		_ = f.call("WebDriver:ExecuteScript", map[string]any{"script": "return location.href + '\\n' + document.documentElement.innerText", "args": []any{}}, &page)
		f.t.Fatalf("%s in Firefox: %v\n%s", what, err, page)
	}
}

// runs a function of the page that may answer later.
func runs[T any](f *Fox, what, function string, args ...any) (out T) {
	f.t.Helper()
	if args == nil {
		args = []any{}
	}
	answer := struct {
		V     *T      `json:"v"`
		Wrong *string `json:"wrong"`
	}{&out, nil}
	err := f.call("WebDriver:ExecuteAsyncScript", map[string]any{"args": args, "script": `const done = arguments[arguments.length - 1];
		(` + function + `)(...[...arguments].slice(0, -1)).then(v => done({v}), e => done({wrong: String(e)}))`}, &answer)
	if err == nil && answer.Wrong != nil {
		err = errors.New(*answer.Wrong)
	}
	f.do(what, err)
	return out
}

// within runs fn with the rights of the browser itself.
func (f *Fox) within(fn func()) {
	f.t.Helper()
	f.do("leave the page", f.call("Marionette:SetContext", map[string]any{"value": "chrome"}, nil))
	fn()
	f.do("enter the page", f.call("Marionette:SetContext", map[string]any{"value": "content"}, nil))
}

// said are the errors of scripts, and what the policy of a page forbade, in every window and worker.
func (f *Fox) said() (out []string) {
	f.within(func() {
		out = runs[[]string](f, "read the console", `async () => Services.console.getMessageArray().filter(m => m instanceof Ci.nsIScriptError &&
			(m.category.startsWith("CSP") || m.category.startsWith("content javascript") && !(m.flags & m.warningFlag))).map(m => m.category + ": " + m.message)`)
	})
	return out
}

// Open goes to an address.
func (f *Fox) Open(address string) *Fox {
	f.t.Helper()
	f.do("open "+address, f.call("WebDriver:Navigate", map[string]any{"url": address}, nil))
	return f
}

// text of the page; "" between two.
func (f *Fox) text() (text string) {
	_ = f.call("WebDriver:ExecuteScript", map[string]any{"script": `return document.documentElement?.innerText ?? ""`, "args": []any{}}, &text)
	return squeeze(text)
}

// until asks ready until it says yes.
func (f *Fox) until(what string, ready func() bool) {
	f.t.Helper()
	give := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-give:
			f.do(what, fmt.Errorf("never"))
		case <-tick.C:
		}
	}
}

// Waits until the page says this.
func (f *Fox) Waits(text string) *Fox {
	f.t.Helper()
	f.until("wait for "+text, func() bool { return strings.Contains(f.text(), text) })
	return f
}

// at waits for the element that a function of the page finds, and does something to it.
func (f *Fox) at(what, command, function, arg string, more map[string]any) *Fox {
	f.t.Helper()
	f.until(what, func() bool {
		var found map[string]string // the id of the element, under the name that the standard gives it
		_ = f.call("WebDriver:ExecuteScript", map[string]any{"script": "return (" + function + ")(...arguments)", "args": []any{arg}}, &found)
		for _, id := range found {
			more["id"] = id
			return f.call(command, more, nil) == nil // it may have gone, or be moving
		}
		return false
	})
	return f
}

// Type fills the field of this name, key by key.
func (f *Fox) Type(field, text string) *Fox {
	f.t.Helper()
	return f.at("type into "+field, "WebDriver:ElementSendKeys", `name => document.querySelector("main [name=" + name + "]")`, field, map[string]any{"text": text})
}

// Tap presses the button or follows the link with these words.
func (f *Fox) Tap(words string) *Fox {
	f.t.Helper()
	return f.at("tap "+words, "WebDriver:ElementClick", `words => {
		const say = e => e.innerText.replace(/\s+/g, " ").trim();
		const all = [...document.querySelectorAll("a[href], button")].filter(e => e.checkVisibility());
		return all.find(e => say(e) === words) || all.find(e => say(e).startsWith(words)) }`, words, map[string]any{})
}

// SignsIn types the first factor, and Confirms the code that came to the phone.
func (f *Fox) SignsIn(p Person) *Fox {
	f.t.Helper()
	return f.Type("national_id", p.NationalID).Type("password", p.Password).Tap("Continue")
}

func (f *Fox) Confirms(c *Country, p Person) *Fox {
	f.t.Helper()
	return f.Type("code", c.Code(p)).Tap("Continue")
}

// notification waits for that of an approval and returns it as the page can read it.
func (f *Fox) notification() string {
	f.t.Helper()
	return runs[string](f, "wait for a notification", `async () => {
		const r = await navigator.serviceWorker.getRegistration("/app");
		for (;;) {
			const [n] = await r.getNotifications({tag: "approval"});
			if (n) return JSON.stringify([n.title, n.body, n.lang, n.tag, n.data]);
			await new Promise(rest => setTimeout(rest, 50));
		} }`)
}

// press clicks the notification with this title on the screen and returns what stands on it.
func (f *Fox) press(title string) (words string) {
	f.t.Helper()
	f.within(func() {
		words = runs[string](f, "press the notification", `async title => {
			for (;;) {
				for (const w of Services.wm.getEnumerator("alert:alert")) {
					const box = w.document.readyState === "complete" && w.document.getElementById("alertBox");
					if (!box || !box.getBoundingClientRect().width) continue;
					const words = ["alertTitleLabel", "alertTextLabel"].map(id => w.document.getElementById(id)).map(e => e.value || e.textContent);
					if (words[0] !== title) continue;
					box.click();
					return words.join("|");
				}
				await new Promise(rest => setTimeout(rest, 50));
			} }`, title)
	})
	return words
}

// view goes to a view of the app and waits until it says this.
func (f *Fox) view(name, says string) *Fox {
	f.t.Helper()
	runs[bool](f, "go to "+name, `async to => { location.hash = to; return true }`, name)
	return f.Waits(says)
}

// listens keeps what the browser makes of every push for a page, decrypted, before it gives it to the worker.
func (f *Fox) listens() {
	f.t.Helper()
	f.within(func() {
		runs[bool](f, "listen to pushes", `async () => {
			Services.obs.addObserver(subject => Services.prefs.setStringPref("journey.pushes",
				Services.prefs.getStringPref("journey.pushes", "") + subject.QueryInterface(Ci.nsIPushMessage).data.text() + "\n"), "push-message");
			return true }`)
	})
}

// heard are those pushes, one a line.
func (f *Fox) heard() (text string) {
	f.t.Helper()
	f.within(func() {
		text = runs[string](f, "read the pushes", `async () => Services.prefs.getStringPref("journey.pushes", "")`)
	})
	return text
}

// windows are the tabs that are open.
func (f *Fox) windows() (all []string) {
	f.t.Helper()
	f.do("count the windows", f.call("WebDriver:GetWindowHandles", nil, &all))
	return all
}

// enters goes to the tab that was opened since.
func (f *Fox) enters(before []string) *Fox {
	f.t.Helper()
	f.until("wait for a new window", func() bool { return len(f.windows()) > len(before) })
	for _, w := range f.windows() {
		if !slices.Contains(before, w) {
			f.do("go to the new window", f.call("WebDriver:SwitchToWindow", map[string]any{"handle": w}, nil))
		}
	}
	return f
}
