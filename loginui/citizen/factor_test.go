package citizen

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/session"
)

// listFactor is a second factor that people set up: a list with a name and a number of codes.
type listFactor struct {
	*world
	stopped []account.ID
	last    factors.Try
	mute    bool
	after   []string // of Info
	since   time.Time
}

var listPages = fstest.MapFS{
	"page.html": {Data: []byte(`{{define "heading"}}{{t "list.heading"}}{{end}}{{define "factor-page"}}{{end}}`)},
	"manage.html": {Data: []byte(`{{define "heading"}}{{t "list.heading"}}{{end}}{{define "factor-main"}}
<form class="task" method="post" action="{{.Host.Path}}/make" novalidate>{{template "input" (field . "title" "label" "list.title")}}<button class="primary">{{t "list.make"}}</button></form>{{end}}`)},
	"codes.html": {Data: []byte(`{{define "heading"}}{{t "list.codes"}}{{end}}{{define "factor-main"}}<p>{{.Data}}</p>{{end}}`)},
	"words.json": {Data: []byte(`{"factor.list":{"tr":"Liste","en":"List of codes"},"list.heading":{"tr":"Kod listesi","en":"Your list"},"list.title":{"tr":"Ad","en":"Title"},
"list.make":{"tr":"Yap","en":"Make a list"},"list.codes":{"tr":"Kodlar","en":"Your codes"},"list.made":{"tr":"Liste hazır.","en":"The list is ready."},
"list.left":{"tr":"{name}: {n} kod","en":"{name}: {n} codes left"},"list.empty":{"tr":"Bir ad yazın.","en":"Type a title."},"list.held":{"tr":"Bugün olmaz.","en":"Not today."}}`)},
}

func (f *listFactor) Info() factors.Info {
	return factors.Info{Name: "list", Stage: factors.Second, Order: 9, After: f.after}
}
func (f *listFactor) Pages() fs.FS { return listPages }
func (f *listFactor) Available(_ context.Context, id account.ID) (bool, error) {
	return f.lists[id] != "", nil
}
func (f *listFactor) Begin(context.Context, factors.Try) (factors.Challenge, error) {
	return factors.Challenge{Page: &factors.Page{}}, nil
}
func (f *listFactor) Verify(context.Context, factors.Try, factors.Answer) (factors.Proof, error) {
	return factors.Proof{}, factors.ErrWrong
}
func (f *listFactor) Stop(_ context.Context, id account.ID) error {
	f.stopped = append(f.stopped, id)
	return nil
}
func (f *listFactor) Standing(_ context.Context, id account.ID) (factors.Standing, error) {
	if f.mute {
		return factors.Standing{}, errors.New("away")
	}
	if f.lists[id] == "" {
		return factors.Standing{Possible: true}, nil
	}
	return factors.Standing{On: true, Possible: true, Key: "list.left", N: 2, Name: f.lists[id], Since: f.since, Warn: true, Used: noon.AddDate(0, 0, -1)}, nil
}
func (f *listFactor) Manage(_ context.Context, try factors.Try) (factors.Page, error) {
	f.last = try
	return factors.Page{Data: struct{}{}}, nil
}
func (f *listFactor) Act(_ context.Context, try factors.Try, act string, answer factors.Answer) (factors.Result, error) {
	f.last = try
	title := answer.Get("title")
	write := func(context.Context) error { f.lists[try.Account] = title; return nil }
	switch {
	case act == "peek":
		return factors.Result{Template: "codes", Page: factors.Page{Data: "only shown"}}, fault.New(fault.Invalid, "list.empty")
	case act == "unrecorded":
		return factors.Result{Commit: write}, nil
	case act == "drop":
		return factors.Result{Commit: func(context.Context) error { delete(f.lists, try.Account); return nil }, Event: audit.FactorRemoved, Done: "list.made"}, nil
	case act != "make":
		return factors.Result{}, fault.ErrNotFound
	case title == "":
		return factors.Result{}, fault.New(fault.Invalid, "list.empty").In("title")
	case title == "wrong":
		return factors.Result{}, factors.ErrWrong
	case title == "late":
		write = func(context.Context) error { return fault.New(fault.Denied, "list.held") }
	}
	return factors.Result{Template: "codes", Page: factors.Page{Data: "4711 4712"}, Done: "list.made", Commit: write, Event: audit.FactorSetUp,
		Details: map[string]string{"name": title}}, nil
}

func TestSettingUpAFactor(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	b.get("/me/security").shows(200, "Security settings", "List of codes", "Not set up")
	form := b.get("/me/security/list").shows(200, "Your list", "Back to security settings", "Sign out")
	if l := w.list.last; l.Purpose != factors.Enrol || l.Binding != "enrol:s1" || l.Account != ayse || l.Person != "Ayşe Yılmaz" || l.Origin != "kapi.example" || l.Network != "192.0.2.1" {
		t.Errorf("try %+v", l)
	}
	b.submit(form, "/me/security/list/make").shows(422, "Type a title.", "There is a problem")
	b.submit(form, "/me/security/list/make", "title", "wrong").shows(403, "The code is wrong.", "Your list")
	late := b.submit(form, "/me/security/list/make", "title", "late").shows(403, "Not today.", "Your list")
	if strings.Contains(late.Body.String(), "4711") {
		t.Error("codes are shown that were not stored")
	}
	if len(w.events) != 0 || len(w.lists) != 0 {
		t.Fatalf("a form that failed changed %v, recorded %+v", w.lists, w.events)
	}
	a := b.submit(form, "/me/security/list/make", "title", "Home").shows(200, "Your codes", "4711", "The list is ready.")
	if a.Header().Get("Cache-Control") != "no-store" || a.Header().Get("Content-Security-Policy") == "" {
		t.Errorf("headers %v", a.Header())
	}
	e := w.events[0]
	if w.lists[ayse] != "Home" || e.Name != audit.FactorSetUp || e.Details["factor"] != "list" || e.Details["name"] != "Home" || e.Session != "s1" || e.Subject != string(ayse) {
		t.Errorf("lists %v, event %+v", w.lists, e)
	}
	b.get("/me/security").shows(200, "Home: 2 codes left", "last used on 3 Mar 2026")
	b.lang = "tr"
	b.get("/me/security").shows(200, "Güvenlik ayarları", "Home: 2 kod")
	b.lang = "en"

	done := b.post("/me/security/list/drop").to("/me/security/list?said=")
	b.get(done).shows(200, "The list is ready.")
	b.get("/me/security/list?said=x.list.made").shows(200, "Your list").hides("ready")
	b.get(strings.Replace(done, "list.made", "list.codes", 1)).hides("Your codes")
	if len(w.lists) != 0 || w.events[1].Name != audit.FactorRemoved || w.events[1].Details["factor"] != "list" {
		t.Errorf("lists %v, events %+v", w.lists, w.events)
	}
	b.post("/me/security/list/peek").shows(400, "only shown", "Type a title.")
	b.get("/me/security/list/make").to("/me/security/list")
}

func TestSettingUpNeedsARecordAndAFreshSignIn(t *testing.T) {
	for name, tt := range map[string]struct {
		mend   func(*world)
		path   string
		status int
	}{
		"no record, no change":       {func(w *world) { w.deaf = true }, "/me/security/list/make", 500},
		"a change without an event":  {nil, "/me/security/list/unrecorded", 500},
		"an act that nobody knows":   {nil, "/me/security/list/destroy", 404},
		"a factor that nobody knows": {nil, "/me/security/nothing/make", 404},
		"one that is not set up":     {nil, "/me/security/code/make", 404},
		"while changes are held":     {func(w *world) { w.hold = fault.New(fault.Denied, "list.held") }, "/me/security/list/make", 403},
		"old":                        {func(w *world) { w.session("s1", ayse, freshness+time.Second, true) }, "/me/security/list/make", 303},
		"weaker than the account":    {func(w *world) { w.twoFactor(true); w.session("s1", ayse, 0, false) }, "/me/security/list/make", 303},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser(w.session("s1", ayse, 0, true))
			if tt.mend != nil {
				tt.mend(w)
			}
			a := b.post(tt.path, "title", "Home")
			if a.Code != tt.status || len(w.lists) > 0 || len(w.events) > 0 {
				t.Errorf("status %d, lists %v, events %+v: %s", a.Code, w.lists, w.events, a.Text())
			}
			if tt.status == http.StatusSeeOther { // and comes back to the page with the form, not to the act
				if started := b.started(a); string(started.Ask.Return) != `"/me/security/list"` {
					t.Errorf("comes back to %s", started.Ask.Return)
				}
				if got := b.get("/me/security/list"); got.Code != http.StatusSeeOther {
					t.Errorf("the page itself: %d", got.Code)
				}
			}
			if tt.status == http.StatusForbidden {
				a.shows(403, "Not today.", "Your list")
			}
		})
	}
}

func TestSettingUpFromElsewhereIsRefused(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	a := b.send(http.MethodPost, "/me/security/list/make", url.Values{"title": {"Home"}}, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
	if a.Code != http.StatusForbidden || len(w.lists) > 0 {
		t.Errorf("status %d, lists %v", a.Code, w.lists)
	}
}

func TestAFactorThatCannotTellTakesNoOtherDown(t *testing.T) {
	w := newWorld(t)
	w.list.mute = true
	w.browser(w.session("s1", ayse, 0, true)).get("/me/security").shows(200, "List of codes", "cannot be found out right now")
}

// held is what Config.Held is in tests.
func (w *world) held(context.Context, account.ID, session.Session) error { return w.hold }

// What is on hold says so before anybody sends anything, on each page that changes something, in both languages; and once, where a form
// was sent all the same.
func TestAHoldIsSaidBeforeTheForm(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	w.strong("s1")
	pages := []string{"/me/security", "/me/security/access", "/me/security/list", "/me/two-factor", "/me/two-factor/on"}
	const en, tr = "Not today.", "Bugün olmaz."
	for _, path := range pages {
		b.get(path).hides(en)
	}
	w.hold = fault.New(fault.Denied, "list.held")
	for _, path := range pages {
		page := b.get(path).shows(200, en)
		if at := strings.Index(page.Body.String(), en); at < 0 || strings.Contains(page.Body.String()[:at], "<form class=\"task\"") {
			t.Errorf("%s: said after the form", path)
		}
	}
	b.lang = "tr"
	for _, path := range pages {
		b.get(path).shows(200, tr)
	}
	b.lang = "en"
	sent := b.post("/me/security/access", "factor", "password", "state", "closed").shows(403, en)
	if n := strings.Count(sent.Body.String(), en); n != 1 {
		t.Errorf("said %d times", n)
	}
	w.hold = fault.New(fault.Internal, "")
	if a := b.get("/me/security"); a.Code != 500 {
		t.Errorf("a hold that cannot be looked up: %d", a.Code)
	}
}
