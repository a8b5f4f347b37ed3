package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// Browser is a person's browser: one tab of its own, with its own cookies.
type Browser struct {
	t   testing.TB
	ctx context.Context
	how How

	mu       sync.Mutex
	console  []chromedp.ConsoleMessage
	tolerate *regexp.Regexp
	field    string // the form that was last typed into holds this field
	status   int64  // of the page's document
}

// How a person browses. The zero value reads English by daylight on a desk.
type How struct {
	Turkish  bool
	Dark     bool
	Width    int64 // pixels; 0 = 1024
	Height   int64 // pixels; 0 = 800
	NoScript bool
	Unlooked bool // pages are not inspected: for stories about something else than pages
}

func (h How) lang() string {
	if h.Turkish {
		return "tr"
	}
	return "en"
}

var chrome struct {
	once sync.Once
	ctx  context.Context
	err  error
}

// patience is how long a step of a browser may take before the journey is given up; it decides nothing else.
const patience = 40 * time.Second

// stopChrome is run by TestMain.
var stopChrome = func() {}

func chromium(t testing.TB) context.Context {
	t.Helper()
	chrome.once.Do(func() {
		path := ""
		for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
			if p, err := exec.LookPath(name); err == nil {
				path = p
				break
			}
		}
		if path == "" {
			chrome.err = exec.ErrNotFound
			return
		}
		opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.DisableGPU,
			chromedp.Flag("disable-component-update", true), chromedp.Flag("no-pings", true), chromedp.Flag("disable-domain-reliability", true),
			chromedp.Flag("disable-features", "BackForwardCache,Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider,InterestFeedContentSuggestions,CertificateTransparencyComponentUpdater"),
			// No name but localhost is looked up, and nothing reached but this machine: nothing of a test may leave it.
			chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1, EXCLUDE [::1], EXCLUDE ::1"))
		if chrome.err = film.show(nil); chrome.err != nil {
			return
		}
		opts = append(opts, chromedp.Flag("use-fake-device-for-media-stream", true), chromedp.Flag("use-fake-ui-for-media-stream", true),
			chromedp.Flag("use-file-for-fake-video-capture", film.path))
		if os.Geteuid() == 0 {
			opts = append(opts, chromedp.NoSandbox) // Chromium has no sandbox for root
		}
		actx, stopAllocator := chromedp.NewExecAllocator(context.Background(), opts...)
		ctx, stop := chromedp.NewContext(actx)
		stopChrome = func() { stop(); stopAllocator(); film.end() }
		chrome.ctx, chrome.err = ctx, chromedp.Do(ctx)
	})
	switch {
	case chrome.err == exec.ErrNotFound && os.Getenv("CI") == "":
		t.Skip("SKIPPED, NOT TESTED IN A BROWSER: no Chromium found (Debian: apt-get install chromium)")
	case chrome.err != nil:
		t.Fatalf("chromium: %v", chrome.err)
	}
	return chrome.ctx
}

// Visit opens a fresh browser.
func Visit(t testing.TB, how How) *Browser {
	t.Helper()
	ctx, cancel := chromedp.NewContext(chromium(t), chromedp.WithNewBrowserContext())
	b := &Browser{t: t, ctx: ctx, how: how}
	t.Cleanup(cancel)
	b.do("start", chromedp.Do(ctx))
	b.set()
	b.listen()
	t.Cleanup(func() {
		for _, p := range b.said("") {
			if !how.Unlooked {
				t.Error(p)
			}
		}
		if t.Failed() {
			b.evidence()
		}
	})
	return b
}

// Tab opens a second tab of the same browser: the same cookies.
func (b *Browser) Tab() *Browser {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	tab := &Browser{t: b.t, ctx: ctx, how: b.how}
	b.t.Cleanup(cancel)
	tab.do("open a tab", chromedp.Do(ctx))
	tab.set()
	tab.listen()
	return tab
}

func (b *Browser) set() {
	b.t.Helper()
	accept := "en-GB,en;q=0.9"
	if b.how.Turkish {
		accept = "tr-TR,tr;q=0.9"
	}
	_, err := chromedp.Call(b.ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": accept}})
	b.do("set the language", err)
	_, err = chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: b.how.NoScript})
	b.do("set scripts", err)
	b.shape(b.how.Width, b.how.Height)
	b.scheme(b.how.Dark)
}

func (b *Browser) shape(width, height int64) {
	b.t.Helper()
	if width == 0 {
		width = 1024
	}
	if height == 0 {
		height = 800
	}
	_, err := chromedp.Call(b.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 500})
	b.do("set the size", err)
}

func (b *Browser) scheme(dark bool) {
	b.t.Helper()
	value := "light"
	if dark {
		value = "dark"
	}
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: value}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	b.do("set the colours", err)
}

func (b *Browser) do(what string, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%s: %v\n%s", what, err, b.where())
	}
}

// step runs one thing with an end in time.
func step[T any](b *Browser, a chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, a)
}

// call calls a JavaScript function, from outside of the page's policy.
func call[T any](function string, arg string) chromedp.Action[T] {
	b, _ := json.Marshal(arg)
	return chromedp.Evaluate[T]("(" + function + ")(" + string(b) + ")")
}

// turn does what makes the browser load a page, waits for it, and inspects it.
func (b *Browser) turn(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	res, err := chromedp.RunResponse(ctx, steps...)
	b.do(what, err)
	b.field = ""
	b.status = 0
	if res != nil {
		b.status = res.Status
	}
	b.inspect()
}

// Open goes to an address.
func (b *Browser) Open(address string) *Browser {
	b.t.Helper()
	b.turn("open "+address, chromedp.Navigate(address))
	return b
}

// Reload asks for the page again.
func (b *Browser) Reload() *Browser {
	b.t.Helper()
	b.turn("reload", chromedp.Reload())
	return b
}

// Back presses the back button. The browser keeps no page in memory, so the server is asked again.
func (b *Browser) Back() *Browser {
	b.t.Helper()
	b.turn("back", chromedp.NavigateBack())
	return b
}

// Type fills the field of this name, key by key.
func (b *Browser) Type(field, text string) *Browser {
	b.t.Helper()
	sel := chromedp.CSS(fmt.Sprintf("main [name=%q]", field))
	_, err := step(b, chromedp.Steps(chromedp.Clear(sel), chromedp.SendKeys(sel, text)))
	b.do("type into "+field, err)
	b.field = field
	return b
}

// Submit presses the primary button: the first submit button of the form that was typed into, else of the page's first form.
func (b *Browser) Submit() *Browser {
	b.t.Helper()
	form := "main form"
	if b.field != "" {
		form = fmt.Sprintf("main form:has([name=%q])", b.field)
	}
	b.turn("submit", chromedp.Click(chromedp.CSS(form+` :is(button:not([type]), button[type=submit])`)))
	return b
}

// Press presses the button or follows the link with these words (in English; a Turkish visit presses their translation).
func (b *Browser) Press(words string) *Browser {
	b.t.Helper()
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
			b.turn("press "+w, chromedp.Click(chromedp.CSS("[data-e2e-press]")))
			return b
		}
	}
	b.t.Fatalf("nothing to press that says %q\n%s", b.spoken(words), b.where())
	return b
}

// Tick ticks a box.
func (b *Browser) Tick(field string) *Browser {
	b.t.Helper()
	_, err := step(b, chromedp.Click(chromedp.CSS(fmt.Sprintf("main input[type=checkbox][name=%q]", field))))
	b.do("tick "+field, err)
	b.field = field
	return b
}

// See demands that the page says all this, in the language of the visit.
func (b *Browser) See(texts ...string) *Browser {
	b.t.Helper()
	page := b.text()
	for _, text := range texts {
		if !containsAny(page, b.spoken(text)) {
			b.t.Fatalf("the page does not say %q\n%s", b.spoken(text), b.where())
		}
	}
	return b
}

// SeeNot demands that the page does not say this.
func (b *Browser) SeeNot(text string) *Browser {
	b.t.Helper()
	if containsAny(b.text(), b.spoken(text)) {
		b.t.Fatalf("the page says %q\n%s", text, b.where())
	}
	return b
}

// At demands that the browser is at an address that begins so.
func (b *Browser) At(prefix string) *Browser {
	b.t.Helper()
	if at := b.Address(); !strings.HasPrefix(at, prefix) {
		b.t.Fatalf("the browser is at %s, not at %s\n%s", at, prefix, b.where())
	}
	return b
}

// Status demands the status of the page's document.
func (b *Browser) Status(want int64) *Browser {
	b.t.Helper()
	if b.status != want {
		b.t.Fatalf("status %d, want %d\n%s", b.status, want, b.where())
	}
	return b
}

// Address is where the browser is.
func (b *Browser) Address() string {
	b.t.Helper()
	at, err := step(b, chromedp.Location())
	b.do("read the address", err)
	return at
}

// Has says whether the page has a visible element.
func (b *Browser) Has(css string) bool {
	b.t.Helper()
	found, err := step(b, call[bool](`function(css) { const e = document.querySelector(css); return !!e && e.checkVisibility() }`, css))
	b.do("look for "+css, err)
	return found
}

func (b *Browser) text() string {
	b.t.Helper()
	text, err := step(b, chromedp.Evaluate[string](`document.documentElement.innerText`))
	b.do("read the page", err)
	return squeeze(text)
}

var spaces = regexp.MustCompile(`\s+`)

func squeeze(s string) string { return strings.TrimSpace(spaces.ReplaceAllString(s, " ")) }

func containsAny(s string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}

// Screenshot writes the whole page as a PNG.
func (b *Browser) Screenshot(path string) *Browser {
	b.t.Helper()
	png, err := step(b, chromedp.FullScreenshot(100))
	b.do("take a screenshot", err)
	b.do("write the screenshot", os.WriteFile(path, png, 0o644))
	return b
}

// where describes the page for a failed journey.
func (b *Browser) where() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	at, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		return ""
	}
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.documentElement.innerText`))
	return fmt.Sprintf("at %s (%d):\n\t%s", at, b.status, strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n\t"))
}

// evidence keeps a picture of where a journey failed, if E2E_EVIDENCE names a folder.
func (b *Browser) evidence() {
	dir := os.Getenv("E2E_EVIDENCE")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	if png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100)); err == nil {
		path := filepath.Join(dir, url.PathEscape(b.t.Name())+".png")
		if os.WriteFile(path, png, 0o644) == nil {
			b.t.Logf("picture: %s", path)
		}
	}
}

// claimsOf asks an institution's /claims.json with the cookies of this browser, from outside of any page.
func claimsOf(site string) chromedp.Action[string] {
	return func(ctx context.Context, t *chromedp.Target) (string, error) {
		jar, err := cdp.Call(ctx, t, network.GetCookies, network.GetCookiesParams{URLs: []string{site}})
		if err != nil {
			return "", err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, site+"/claims.json", nil)
		if err != nil {
			return "", err
		}
		for _, c := range jar.Cookies {
			req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return string(body), err
	}
}

// Until reloads the page until it says this: for what a worker in the background finds out.
func (b *Browser) Until(text string) *Browser {
	b.t.Helper()
	give := time.After(patience)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for !containsAny(b.text(), b.spoken(text)) {
		select {
		case <-give:
			b.t.Fatalf("the page never says %q\n%s", b.spoken(text), b.where())
		case <-tick.C:
			b.Reload()
		}
	}
	return b
}
