package visitor

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/htmlcheck"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/storage"
	"github.com/kapi-id/kapi/storage/storagetest"
)

func TestFirstPage(t *testing.T) {
	w := newWorld(t)
	path := w.start()
	w.says(w.get(path+"/with/door"), 200, "Sign in", "SSI Notification Portal", "vizite.example", "Back to the service")
	r := w.get(path) // where a sign-in begins the same page is shown without a detour
	w.says(r, 200, "Sign in", "SSI Notification Portal", "vizite.example", "Back to the service")
	f, err := r.Form(path + "/with/door")
	if err != nil || f.Submit != "Continue" || len(f.Fields) != 2 {
		t.Errorf("form %+v, %v", f, err)
	}
	for name, want := range map[string]string{"national_id": "username", "password": "current-password"} {
		if i, err := r.One("#" + name); err != nil || i.Attr("autocomplete") != want {
			t.Errorf("%s: %v %s", name, err, i.Attr("autocomplete"))
		}
	}
	if csp := r.Header().Get("Content-Security-Policy"); !strings.HasSuffix(csp, "form-action 'self' https://vizite.example") {
		t.Errorf("policy %s", csp)
	}
}

// A client's hint fills in an ID number and nothing else, and never beats what the person typed.
func TestLoginHint(t *testing.T) {
	w := newWorld(t)
	for hint, want := range map[string]string{"": "", "10000000146": "10000000146", "100 000 001 46": "10000000146",
		"10000000147": "", "ayse@example.org": "", "Call 0900 123": "", `"><script>`: ""} {
		path := w.start(func(a *signin.Ask) { a.LoginHint = hint }) + "/with/door"
		shown := func(r reply) string {
			i, err := r.One("#national_id")
			if err != nil {
				t.Fatal(err)
			}
			return i.Attr("value")
		}
		if got := shown(w.get(path)); got != want {
			t.Errorf("hint %q: the field holds %q, want %q", hint, got, want)
		}
		if got := shown(w.post(path, "national_id", "20000000282", "password", "wrong")); got != "20000000282" {
			t.Errorf("hint %q: what was typed became %q", hint, got)
		}
	}
}

func TestOneFactorReachesTheClient(t *testing.T) {
	w := newWorld(t)
	path := w.start()
	r := w.password(path, "right")
	w.leads(r, "/authorize/callback?id="+strings.TrimPrefix(path, "/signin/"))
	if len(w.jar["__Host-kapi-session"]) != 43 || w.jar["__Host-kapi-known"] == "" {
		t.Errorf("cookies %v", w.jar)
	}
	w.leads(w.get(path), "/authorize/callback?id="+strings.TrimPrefix(path, "/signin/"))
}

func TestWrongPassword(t *testing.T) {
	w := newWorld(t)
	path := w.start()
	r := w.password(path, "CANARY")
	w.says(r, 422, "There is a problem", "The ID number or the password is wrong. Check them and try again.")
	if i, _ := r.One("#national_id"); i.Attr("value") != string(w.person.Person.NationalID) {
		t.Error("the ID number must be typed again")
	}
	if a, err := r.One(".summary a"); err != nil || a.Attr("href") != "#national_id" {
		t.Errorf("summary %v", err)
	}
	if title, _ := r.One("title"); !strings.HasPrefix(title.Text(), "Error: Sign in") {
		t.Errorf("title %q", title.Text())
	}
	if strings.Contains(r.Body.String(), "CANARY") {
		t.Error("the password came back")
	}
	unknown := w.post(path+"/with/door", "national_id", unknownNumber(w), "password", "right")
	wrong := w.password(path, "no")
	if got, want := scrub(unknown), scrub(wrong); got != want {
		t.Errorf("an unknown number reads unlike a wrong password:\n%s\n%s", got, want)
	}
	if factors.ErrWrong.Field != "" {
		t.Error("the shared fault was written to")
	}
}

// scrub leaves what a stranger could compare: the page without the number that was typed.
func scrub(r reply) string {
	i, _ := r.One("#national_id")
	return strings.ReplaceAll(r.Body.String(), i.Attr("value"), "")
}

// unknownNumber is a number like any other, which nobody has.
func unknownNumber(w *world) string {
	for _, n := range []string{"10000000146", "10000000078"} {
		if n != string(w.person.Person.NationalID) {
			return n
		}
	}
	panic("unreachable")
}

func TestFirstFormErrors(t *testing.T) {
	w := newWorld(t)
	path := w.start()
	w.says(w.post(path+"/with/door", "national_id", "123", "password", "right"), 422, "ID number must have 11 digits")
	w.says(w.password(path, ""), 422, "Enter your password.")
	r := w.password(path, "busy")
	w.says(r, 503, "Very busy.")
	if r.Header().Get("Retry-After") != "3" || !r.Has("#national_id") {
		t.Errorf("busy: %v", r.Header())
	}
}

func TestOnlySecondStepIsShownDirectly(t *testing.T) {
	w := newWorld(t)
	w.twoFactor()
	path := w.start()
	w.leads(w.password(path, "right"), path+"/with/sms")
	r := w.get(path + "/with/sms")
	w.says(r, 200, "Code sent to 01", "Problems with the code?", "Did your SIM card change?", "You can send it again at 08:06")
	if f, err := r.Form(path + "/with/sms"); err != nil || f.Submit != "Continue" {
		t.Errorf("%+v %v", f, err)
	}
	if again, err := r.One("form#again"); err != nil || !hasAttr(again, "hidden") {
		t.Errorf("sending again is offered too early: %v", err)
	}
	if w.sms.asked.Service != "SSI Notification Portal" || w.sms.asked.Lang != "en" || w.sms.asked.Origin != "kapi.example" {
		t.Errorf("the factor was told %+v", w.sms.asked)
	}
	w.clock.Advance(time.Minute)
	if again, _ := w.get(path + "/with/sms").One("form#again"); hasAttr(again, "hidden") {
		t.Error("sending again is not offered")
	}
	w.says(w.post(path+"/with/sms", "code", "111111"), 422, "The code is wrong. You have 4 tries left.")
	r = w.post(path+"/with/sms", "code", "000000")
	w.says(r, 422, "The code is wrong. Check it and try again.")
	if i, _ := r.One("#code"); i.Attr("value") != "" {
		t.Error("a code came back")
	}
	w.leads(w.post(path+"/with/sms", "code", "123456"), "/authorize/callback?id="+strings.TrimPrefix(path, "/signin/"))
}

func hasAttr(n htmlcheck.Node, name string) bool {
	return n.Node != nil && n.Has("["+name+"]") || has(n, name)
}

func has(n htmlcheck.Node, name string) bool {
	if n.Node == nil {
		return false
	}
	for _, a := range n.Node.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

func TestLockedSecondStepSaysHowLong(t *testing.T) {
	w := newWorld(t)
	w.twoFactor()
	path := w.start()
	w.password(path, "right")
	for range 3 {
		w.post(path+"/with/sms", "code", "111111")
	}
	r := w.post(path+"/with/sms", "code", "123456")
	w.says(r, 429, "Too many wrong tries. Try again in")
	if r.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestSendAgain(t *testing.T) {
	w := newWorld(t)
	w.twoFactor()
	path := w.start()
	w.password(path, "right")
	w.leads(w.post(path+"/with/sms/again"), path+"/with/sms?sent=1")
	w.says(w.get(path+"/with/sms?sent=1"), 200, "We sent a new code.")
	w.sms.again = fault.New(fault.Throttled, "sms.down").After(20 * time.Second)
	r := w.post(path + "/with/sms/again")
	w.says(r, 429, "Messages cannot be sent.", "Code sent to 01")
	if w.sms.sent != 1 || r.Header().Get("Retry-After") != "20" {
		t.Errorf("sent %d, %v", w.sms.sent, r.Header())
	}
	w.leads(w.post(path+"/with/door/again"), path) // this one does not send
}

func TestSeveralSecondSteps(t *testing.T) {
	w := newWorld(t)
	w.twoFactor()
	w.app.has = true
	path := w.start()
	w.leads(w.password(path, "right"), path+"/choose")
	r := w.get(path + "/choose")
	w.says(r, 200, "How shall we check that it is you?", "sms code", "app code")
	if b := r.All("button[name=method]"); len(b) != 2 || b[0].Attr("value") != "sms" {
		t.Errorf("%d ways", len(b))
	}
	w.leads(w.post(path+"/choose", "method", "nonsense"), path+"/choose")
	w.leads(w.post(path+"/choose", "method", "app"), path+"/with/app")
	w.leads(w.get(path), path+"/with/app")
	r = w.get(path + "/with/app")
	if a, err := r.One(".ways a"); err != nil || a.Attr("href") != path+"/with/sms" || a.Text() != "sms code" {
		t.Errorf("other way: %q %v", a.Text(), err)
	}
	w.leads(w.get(path+"/with/door"), path) // was done already
	w.leads(w.get(path+"/with/none"), path)
}

func TestTroubleShowsTheOtherWaysFirst(t *testing.T) {
	w := newWorld(t)
	w.twoFactor()
	w.app.has = true
	path := w.start()
	w.password(path, "right")
	w.sms.trouble = "sms.down"
	body := w.get(path + "/with/sms")
	w.says(body, 200, "This way does not work right now", "Messages cannot be sent.")
	if ways, form := strings.Index(body.Body.String(), "/with/app"), strings.Index(body.Body.String(), `id="code"`); ways < 0 || form < ways {
		t.Errorf("other ways at %d, form at %d", ways, form)
	}
	w.sms.begin = fault.New(fault.Unavailable, "sms.down").After(time.Minute)
	r := w.get(path + "/with/sms")
	w.says(r, 503, "This way does not work right now", "app code", "Try this way again")
	if r.Has("#code") || r.Header().Get("Retry-After") != "60" {
		t.Error("a form that cannot work")
	}
	w.sms.begin = errors.New("SECRET DETAIL")
	r = w.get(path + "/with/sms")
	w.says(r, 500, "Something is broken on our side", "Back to the service")
	if strings.Contains(r.Body.String(), "SECRET") {
		t.Error("detail leaked")
	}
}

func TestPhoneOutOfReach(t *testing.T) {
	w := newWorld(t)
	w.sms.has = false
	path := w.start(func(a *signin.Ask) { a.Want = acr.Substantial })
	w.leads(w.password(path, "right"), path+"/explain")
	r := w.get(path + "/explain")
	w.says(r, 200, "You need an ID-verified phone", "registration office", "You can go on now")
	w.leads(w.post(path+"/explain"), "/authorize/callback?id="+strings.TrimPrefix(path, "/signin/"))

	path = w.start(func(a *signin.Ask) { a.Must, a.Login = acr.Substantial, true })
	w.leads(w.password(path, "right"), path+"/explain")
	r = w.get(path + "/explain")
	if f, err := r.Form(path + "/explain"); err != nil || f.Submit != "Back to the service" {
		t.Errorf("%+v %v", f, err)
	}
	w.leads(w.post(path+"/explain"), "/authorize/refused?id="+strings.TrimPrefix(path, "/signin/"))
}

func TestForcedPasswordChange(t *testing.T) {
	w := newWorld(t)
	path := w.start()
	w.leads(w.password(path, "old"), path+"/renew")
	r := w.get(path + "/renew")
	w.says(r, 200, "Choose a new password")
	if i, err := r.One("#new_password"); err != nil || i.Attr("autocomplete") != "new-password" {
		t.Errorf("field: %v", err)
	}
	w.says(w.post(path+"/renew", "new_password", "short"), 422, "The password is short.")
	w.leads(w.get(path+"/consent"), path+"/renew") // nothing goes past it
	w.leads(w.post(path+"/renew", "new_password", "a long new phrase"), "/authorize/callback?id="+strings.TrimPrefix(path, "/signin/"))
}

func TestConsent(t *testing.T) {
	w := newWorld(t, func(c *clients.Client) { c.Consent = "always" })
	path := w.start()
	w.leads(w.password(path, "right"), path+"/consent")
	r := w.get(path + "/consent")
	w.says(r, 200, "SSI Notification Portal of Social Security asks for this", "Your name, date of birth and gender", "Your phone number")
	if strings.Contains(r.Node.Text(), "ID number") {
		t.Error("more is listed than is asked for")
	}
	if f, err := r.Form(path + "/consent"); err != nil || f.Submit != "Share and continue" {
		t.Errorf("%+v %v", f, err)
	}
	w.says(w.post(path+"/consent", "consent", "maybe"), 400)
	w.leads(w.post(path+"/consent", "consent", "no"), "/authorize/refused?id="+strings.TrimPrefix(path, "/signin/"))
	path = w.start(func(a *signin.Ask) { a.Login = true })
	w.password(path, "right")
	w.leads(w.post(path+"/consent", "consent", "yes"), "/authorize/callback?id="+strings.TrimPrefix(path, "/signin/"))
}

// The session that the sign-in stood on ends, perhaps from another device, while its consent page is open.
func TestConsentAfterTheSessionEnded(t *testing.T) {
	w := newWorld(t, func(c *clients.Client) { c.Consent = "once" })
	first := w.start()
	w.password(first, "right")
	w.leads(w.post(first+"/consent", "consent", "yes"), "/authorize/callback?id="+strings.TrimPrefix(first, "/signin/"))
	path := w.start(func(a *signin.Ask) { a.Scopes = append(a.Scopes, "email") })
	w.leads(w.get(path), path+"/consent")
	id := w.person.Account.ID
	if err := w.db.EndSessions(t.Context(), id, "", w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	w.leads(w.post(path+"/consent", "consent", "yes"), path+"/with/door")
	if agreed, err := w.db.Consent(t.Context(), id, w.client.ID); err != nil || slices.Contains(agreed, "email") {
		t.Errorf("agreed to %v by nobody, %v", agreed, err)
	}
	w.leads(w.password(path, "right"), path+"/consent")
}

// Whoever signs in at a browser where somebody else is signed in ends that session, and the record of its owner says so.
func TestAnotherPersonEndsTheSession(t *testing.T) {
	w := newWorld(t)
	w.password(w.start(), "right")
	first := w.person
	w.person = storagetest.Record()
	if _, _, err := w.db.SavePerson(t.Context(), w.person); err != nil {
		t.Fatal(err)
	}
	path := w.start(func(a *signin.Ask) { a.Login = true })
	w.leads(w.password(path, "right"), "/authorize/callback?id="+strings.TrimPrefix(path, "/signin/"))
	if left, err := w.db.SessionsOf(t.Context(), first.Account.ID, w.clock.Now()); err != nil || len(left) != 0 {
		t.Errorf("%d sessions of the first person live on, %v", len(left), err)
	}
	events, err := w.db.EventsOf(t.Context(), string(first.Account.ID), []audit.Name{audit.SessionEnded}, time.Time{}, 10)
	if err != nil || len(events) != 1 || events[0].Session == "" || strings.Contains(fmt.Sprint(events[0]), string(w.person.Account.ID)) {
		t.Errorf("the record says %+v, %v", events, err)
	}
}

// again is a database whose transactions all lose once.
type again struct{ *storage.DB }

func (db again) Atomically(ctx context.Context, fn func(context.Context) error) error {
	lost := errors.New("lost")
	err := db.DB.Atomically(ctx, func(ctx context.Context) error { return errors.Join(fn(ctx), lost) })
	if err == nil || !errors.Is(err, lost) {
		return errors.New("the transaction was not taken back")
	}
	return db.DB.Atomically(ctx, fn)
}

func TestATransactionThatRunsTwiceIsMeteredOnce(t *testing.T) {
	w := newWorld(t)
	var seen []signin.Observation
	w.flow.Store, w.flow.Observe = again{w.db}, func(o signin.Observation) { seen = append(seen, o) }
	path := w.start(func(a *signin.Ask) { a.Want = acr.Substantial })
	w.leads(w.password(path, "right"), path+"/with/sms")
	w.says(w.post(path+"/with/sms", "code", "000000"), 422)
	w.leads(w.post(path+"/with/sms", "code", "123456"), "/authorize/callback?id="+strings.TrimPrefix(path, "/signin/"))
	want := []signin.Observation{{Factor: "door", Client: "rp", Outcome: "ok"}, {Factor: "sms", Client: "rp", Outcome: "wrong"}, {Factor: "sms", Client: "rp", Outcome: "ok"}}
	if !slices.Equal(seen, want) {
		t.Errorf("metered %+v, want %+v", seen, want)
	}
}

func TestChooseAccount(t *testing.T) {
	w := newWorld(t)
	w.password(w.start(), "right")
	again := func(a *signin.Ask) { a.SelectAccount = true }
	path := w.start(again)
	w.leads(w.get(path), path+"/account")
	w.says(w.get(path+"/account"), 200, "Continue as Ayşe Yılmaz", "Sign in as somebody else")
	w.leads(w.post(path+"/account", "account", "same"), "/authorize/callback?id="+strings.TrimPrefix(path, "/signin/"))
	path = w.start(again)
	w.leads(w.post(path+"/account", "account", "other"), path+"/with/door")
}

func TestCancelAtAnyStep(t *testing.T) {
	w := newWorld(t)
	path := w.start()
	f, err := w.get(path + "/with/door").Form(path + "/cancel")
	if err != nil || f.Submit != "Back to the service" {
		t.Errorf("%+v %v", f, err)
	}
	w.leads(w.post(path+"/cancel"), "/authorize/refused?id="+strings.TrimPrefix(path, "/signin/"))
	w.leads(w.post(path+"/with/door", "national_id", "10000000146", "password", "right"), path)
}

func TestKapisOwnSignIn(t *testing.T) {
	w := newWorld(t)
	self := func(a *signin.Ask) { a.Client, a.Return = signin.Self, []byte(`"/me"`) }
	path := w.start(self)
	w.says(w.get(path+"/with/door"), 200, "Kapi", "kapi.example")
	w.leads(w.password(path, "right"), "/me/enter?id="+strings.TrimPrefix(path, "/signin/"))
	path = w.start(self)
	w.leads(w.post(path+"/cancel"), "/me/enter?id="+strings.TrimPrefix(path, "/signin/"))
}

func TestLanguage(t *testing.T) {
	w := newWorld(t)
	path := w.start(func(a *signin.Ask) { a.UILocales = []string{"tr"} })
	r := w.get(path + "/with/door")
	w.says(r, 200, "Giriş yap", "SGK Bildirim", "Hizmete geri dön")
	f, err := r.Form(path + "/language")
	if err != nil || f.Submit != "English" {
		t.Fatalf("%+v %v", f, err)
	}
	w.header["Referer"] = "https://kapi.example" + path + "/with/door"
	w.leads(w.post(path+"/language", "lang", "en"), path+"/with/door")
	w.header["Referer"] = "https://evil.example/elsewhere"
	w.leads(w.post(path+"/language", "lang", "en"), path)
	w.says(w.get(path+"/with/door"), 200, "Sign in")
	if w.jar["__Host-kapi-lang"] != "en" {
		t.Errorf("cookies %v", w.jar)
	}
	w.says(w.post(path+"/language", "lang", "xx"), 400)
}

func TestPagesOfASignInThatIsOver(t *testing.T) {
	w := newWorld(t)
	path := w.start()
	w.says(w.get("/signin/00000000-0000-4000-8000-000000000000"), 410, "This page has expired", "start again")
	own := w.jar["__Host-kapi-browser"]
	w.jar["__Host-kapi-browser"] = secret.Token()
	for _, r := range []reply{w.get(path), w.get(path + "/with/door"), w.password(path, "right"), w.post(path + "/cancel")} {
		w.says(r, 403, "This sign-in did not begin in this browser")
	}
	w.jar["__Host-kapi-browser"] = own
	w.password(path, "right")
	id := strings.TrimPrefix(path, "/signin/")
	if _, err := w.db.FinishTransaction(t.Context(), id, secret.Hash(own), w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	for _, r := range []reply{w.get(path), w.get(path + "/with/door"), w.password(path, "right")} {
		w.says(r, 200, "This sign-in is complete", "Back to the service")
		if a, err := r.One(".service a"); err != nil || a.Attr("href") != "https://vizite.example" {
			t.Errorf("way back: %v %s", err, a.Attr("href"))
		}
	}
	w.clock.Advance(signin.Life + time.Second)
	w.says(w.get(path), 410, "This page has expired")
}

func TestBackButtonAndTwoTabs(t *testing.T) {
	w := newWorld(t)
	w.twoFactor()
	path := w.start()
	w.leads(w.password(path, "right"), path+"/with/sms")
	w.leads(w.password(path, "right"), path)                             // the first form again, from the back button
	w.leads(w.post(path+"/consent", "consent", "yes"), path+"/with/sms") // not owed
	w.leads(w.get(path+"/renew"), path)
	w.leads(w.get(path+"/explain"), path+"/with/sms")
}

func TestB2_ForeignForms(t *testing.T) {
	w := newWorld(t)
	path := w.start()
	for _, to := range []string{"/with/door", "/with/door/again", "/choose", "/account", "/explain", "/renew", "/consent", "/cancel", "/language"} {
		r := httptest.NewRequest("POST", "https://kapi.example"+path+to, strings.NewReader("a=b"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "https://vizite.example")
		r.AddCookie(w.cookie())
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, r)
		if rec.Code != 403 || !strings.Contains(rec.Body.String(), "form") && !strings.Contains(rec.Body.String(), "Form") {
			t.Errorf("%s: %d", to, rec.Code)
		}
	}
}

// A page that waits asks every few seconds: only its own factor is asked whether it can be used, since another may ask an operator for that.
func TestAPollAsksOneFactor(t *testing.T) {
	w := newWorld(t)
	w.app.has = true
	path := w.start(func(a *signin.Ask) { a.Want = acr.Substantial })
	w.leads(w.password(path, "right"), path+"/choose")
	state := func() string { return strings.TrimSpace(w.get(path + "/with/app/state").Body.String()) }
	w.app.looked, w.sms.looked = 0, 0
	if got := state(); got != `{"over":false}` {
		t.Error(got)
	}
	if w.app.looked != 1 || w.sms.looked != 0 {
		t.Errorf("the factor was asked %d times, another %d times", w.app.looked, w.sms.looked)
	}
	w.app.over = true
	if got := state(); got != `{"over":true}` {
		t.Errorf("answered: %s", got)
	}
	w.app.over, w.app.has = false, false
	if got := state(); got != `{"over":true}` {
		t.Errorf("not to be used any more: %s", got)
	}
	w.app.has = true
	w.leads(w.post(path+"/with/sms", "code", "123456"), "/authorize/callback?id="+strings.TrimPrefix(path, "/signin/"))
	if got := state(); got != `{"over":true}` {
		t.Errorf("signed in by another tab: %s", got)
	}
}
