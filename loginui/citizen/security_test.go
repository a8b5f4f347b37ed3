package citizen

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/secret"
)

func TestOverview(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	w.record("s0", ayse, audit.SigninCompleted, "ok", 30, map[string]string{"amr": "pwd"})
	b.get("/me").shows(200, "Security settings", "Notices", "No new notices")
	b.get("/me/security").shows(200, "Two-factor authentication", "Off", "Password", "Last changed on 4 Mar 2025", "Phone •••• 01", "Verified with your ID on 4 May 2025",
		"ayse@example.org, verified", "List of codes", "Not set up", "Access restrictions", "No way to sign in is closed", "1 open session", "Last sign-in before this one: 4 Mar 2026").
		hides("+905550000001")
	w.twoFactor(true)
	c := w.contacts[ayse]
	c.Phone.How, c.Phone.VerifiedAt = contact.ByNFC, noon
	c.Email.VerifiedAt = noon
	w.contacts[ayse] = c
	b.get("/me/security").shows(200, "On since 4 Feb 2026", "Verified with your ID card on 4 Mar 2026", "verified on 4 Mar 2026")
	c.Phone.BlockedAt, c.Email = noon, contact.Email{Address: "new@example.org"}
	w.contacts[ayse] = c
	b.get("/me/security").shows(200, "The SIM card was changed", "Not verified yet")
	w.contacts[ayse] = contact.Contacts{}
	delete(w.passwords, ayse)
	b.get("/me/security").shows(200, "No phone on record", "No e-mail address on record", "You have no password yet")
}

// strong gives the session a first factor that is as strong as a card, signed one by which the person signed.
func (w *world) strong(id string) { w.first(id, "card") }
func (w *world) signed(id string) { w.first(id, "sign") }

func (w *world) first(id, factor string) {
	s := w.sessions[id]
	s.Proofs = slices.Clone(s.Proofs)
	s.Proofs[0] = factors.Proof{Factor: factor, Account: s.Account, Stage: factors.First, Kinds: factors.Have | factors.Know, Channel: factors.Here, Level: acr.High, AMR: []string{"sc"}, At: s.Proofs[0].At}
	s.Level = acr.High
	w.sessions[id] = s
}

func TestClosePasswordSignIn(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	refused := func(by string) {
		t.Helper()
		b.get("/me/security/access").shows(200, "Password", "Open", "only after signing in with an e-signature or a mobile signature").hides("Close :")
		b.get("/me/security/access/password").to("/me/security/access")
		b.post("/me/security/access", "factor", "password", "state", "closed").shows(403, "only after signing in with an e-signature or a mobile signature")
		if w.accounts[ayse].Closed != "" || len(w.events) > 0 {
			t.Fatalf("closed from a session that a %s proved", by)
		}
	}
	refused("password")
	w.strong("s1")
	refused("card")
	w.signed("s1")
	w.session("thief", ayse, time.Hour, true) // by the password
	w.session("card", ayse, time.Hour, true)
	w.strong("card")
	other := w.sessions["thief"]
	other.ID, other.Account = "other", "mehmet"
	w.sessions["other"] = other
	w.deaf = true
	if b.post("/me/security/access", "factor", "password", "state", "closed"); !w.sessions["thief"].EndedAt.IsZero() {
		t.Error("a session was ended without a record")
	}
	w.deaf = false
	links := b.get("/me/security/access").shows(200, "Open", "Close").All("ul.rows a")
	if len(links) != 1 || links[0].Attr("href") != accessPath+"/password" { // not the way they came by
		t.Fatalf("%d links", len(links))
	}
	form := b.get("/me/security/access/password").shows(200, "Close this way to sign in?", "Password", "other sessions that were opened this way end", "To open it again", "Cancel")
	if w.accounts[ayse].Closed != "" {
		t.Fatal("looking at the question closed it")
	}
	for _, name := range []string{"sign", "code", "nothing"} {
		b.get("/me/security/access/" + name).to("/me/security/access")
	}
	b.get(b.submit(form, "/me/security/access", "state", "closed").to("/me/security/access?done=closed.")).shows(200, "This way to sign in is closed.", "Closed")
	e := w.events[0]
	if a := w.accounts[ayse]; !a.Closed.Has("password", false) || e.Name != audit.AccessChanged || e.Details["factor"] != "password" || e.Details["state"] != "closed" {
		t.Errorf("closed %q, %+v", a.Closed, e)
	}
	for id, ends := range map[string]bool{"thief": true, "s1": false, "card": false, "other": false} {
		if s := w.sessions[id]; s.EndedAt.IsZero() == ends {
			t.Errorf("session %s: ended %v, want %v", id, s.EndedAt, ends)
		}
	}
	b.post("/me/security/access", "factor", "password", "state", "closed").to("/me/security/access")
	if len(w.events) != 2 || w.events[1].Name != audit.SessionEnded || w.events[1].Session != "thief" || w.events[1].Subject != string(ayse) || w.events[1].Details["reason"] != "closed" {
		t.Errorf("closed twice, or no record of what it ended: %+v", w.events)
	}
	if w.voided != 1 {
		t.Errorf("what waited was voided %d times", w.voided)
	}
	b.get("/me/security").shows(200, "Closed: Password")
	b.submit(b.get("/me/security/access/password").shows(200, "Open this way to sign in?", "you can sign in this way again").hides("To open it again"), "/me/security/access", "state", "open").
		to("/me/security/access?done=open.")
	if a := w.accounts[ayse]; a.Closed.Has("password", false) {
		t.Errorf("closed %q", a.Closed)
	}
	for name, fields := range map[string][]string{"a second factor": {"factor", "code", "state", "closed"}, "none": {"state", "closed"}, "no state": {"factor", "password"}} {
		if a := b.post("/me/security/access", fields...); a.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", name, a.Code)
		}
	}
	w.hold = fault.New(fault.Denied, "list.held")
	b.post("/me/security/access", "factor", "password", "state", "closed").shows(403, "Not today.")
	w.hold, w.deaf = nil, true
	if b.post("/me/security/access", "factor", "password", "state", "closed"); w.accounts[ayse].Closed.Has("password", false) {
		t.Error("closed without a record")
	}
}

// Who may change what: by the way the session was proven, and by whether a way is closed for everybody at first.
func TestMayChangeAccess(t *testing.T) {
	registry, err := factors.NewRegistry(signFactor{})
	if err != nil {
		t.Fatal(err)
	}
	h := &Handler{Config{Factors: registry, Now: func() time.Time { return noon }}}
	session := func(first string, level acr.Level) me {
		m := me{}
		m.session.Proofs = []factors.Proof{{Factor: first, Stage: factors.First, Level: level, At: noon}, {Factor: "sms", Stage: factors.Second, Level: acr.High, At: noon}}
		return m
	}
	for _, tt := range []struct {
		name string
		m    me
		info factors.Info
		want string
	}{
		{"password by password", session("password", acr.Low), factors.Info{Name: "password"}, "me.access.signature"},
		{"password by card", session("card", acr.High), factors.Info{Name: "password"}, "me.access.signature"},
		{"password by signature", session("sign", acr.High), factors.Info{Name: "password"}, ""},
		{"password by a weak proof of who could sign", session("sign", acr.Low), factors.Info{Name: "password"}, "me.access.signature"},
		{"card by card", session("card", acr.High), factors.Info{Name: "card", Level: acr.High}, "me.access.own"},
		{"another card by card", session("card", acr.High), factors.Info{Name: "esign", Level: acr.High}, ""},
		{"card by password", session("password", acr.Low), factors.Info{Name: "card", Level: acr.High}, "me.access.strong"},
		{"bank by password", session("password", acr.Low), factors.Info{Name: "banking", Shut: true}, ""},
		{"bank by bank", session("banking", acr.Low), factors.Info{Name: "banking", Shut: true}, "me.access.own"},
		{"password by bank", session("banking", acr.Low), factors.Info{Name: "password"}, "me.access.signature"},
	} {
		err := h.mayChange(tt.m, tt.info)
		if (err == nil) != (tt.want == "") || err != nil && fault.Of(err).Key != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestNoticesList(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	b.get("/me/notices").shows(200, "There is nothing here yet.")
	for i := range rows + 5 {
		w.notices = append(w.notices, notice.Notice{ID: "00000000-0000-7000-8000-0000000000" + string(rune('a'+i%6)) + "1", Account: ayse, At: noon.Add(-time.Duration(i) * time.Minute), Key: "notice.factor_set_up",
			Network: "198.51.100.9", Agent: iphone, Details: map[string]string{"factor": "list"}})
	}
	w.notices = append(w.notices, notice.Notice{ID: "x", Account: mehmet, At: noon, Key: "notice.password"})
	w.notices[0].Key, w.notices[1].Key = "notice.sim_blocked", "notice.of_tomorrow"
	b.get("/me").shows(200, "25 new notices")
	b.send(http.MethodHead, "/me/notices", nil)
	first := b.get("/me/notices").shows(200, "A new way to sign in was added to your account: List of codes.", "198.51.100.9", "Safari, iPhone", "New", "It was not me",
		"call your mobile operator", "Something about the security of your account has changed.").hides("Your password was changed")
	if n := strings.Count(first.Body.String(), `action="/me/not-me"`); n != rows-1 {
		t.Errorf("%d buttons", n)
	}
	older := ""
	for _, a := range first.All("a") {
		if strings.HasPrefix(a.Attr("href"), "/me/notices?before=") {
			older = a.Attr("href")
		}
	}
	b.get("/me").shows(200, "No new notices")
	b.get(older).shows(200, "A new way", "Back to the newest")
	b.lang = "tr"
	b.get("/me/notices").shows(200, "Hesabınıza yeni bir giriş yöntemi eklendi: Liste.", "Bu ben değilim")
}

func TestItWasNotMe(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 20*time.Minute, false)) // no fresh sign-in is asked for
	w.session("s2", ayse, time.Hour, true)
	w.session("s3", mehmet, 0, true)
	w.record("s2", ayse, audit.SigninCompleted, "ok", 5, map[string]string{"amr": "pwd"})
	w.record("s1", ayse, audit.SigninCompleted, "ok", 3, map[string]string{"amr": "pwd"})
	page := b.get("/me/signins").shows(200, "It was not me")
	if n := strings.Count(page.Body.String(), `action="/me/not-me"`); n != 1 {
		t.Errorf("%d buttons: one for the other session, none for this one", n)
	}
	b.submit(page, "/me/not-me").to("/not-me/done")
	for id, ended := range map[string]bool{"s1": true, "s2": true, "s3": false} {
		if !w.sessions[id].EndedAt.IsZero() != ended {
			t.Errorf("%s ended %v", id, !ended)
		}
	}
	e := w.events[len(w.events)-1]
	if e.Name != audit.Disavowed || e.Subject != string(ayse) || e.Details["how"] != "page" || e.Network != "192.0.2.1" || len(w.list.stopped) != 1 || w.list.stopped[0] != ayse {
		t.Errorf("%+v, stopped %v", e, w.list.stopped)
	}
	if _, ok := b.cookies["kapi-session"]; ok {
		t.Error("the cookie is kept")
	}
	b.get("/not-me/done").shows(200, "You are signed out everywhere", "Now change your password", "Forgot your password?")
	b.post("/me/not-me").to("/signin/") // nobody is signed in
	w.deaf = true
	other := w.browser(w.session("s4", ayse, 0, true))
	if other.post("/me/not-me"); !w.sessions["s4"].EndedAt.IsZero() {
		t.Error("ended without a record")
	}
}

func TestTheLinkOfANotice(t *testing.T) {
	w := newWorld(t)
	w.session("s1", ayse, 0, true)
	w.session("s2", mehmet, 0, true)
	token := secret.Token()
	w.notices = []notice.Notice{{ID: "n", Account: ayse, At: noon, Token: secret.Hash(token), TokenUntil: noon.Add(notice.TokenLife)}}
	b := w.browser("")
	for range 2 { // a mail program looks at every link
		b.get("/not-me?t="+token).shows(200, "Was it not you?", "It was not me", "It was me, do nothing")
	}
	if len(w.events) > 0 || !w.sessions["s1"].EndedAt.IsZero() {
		t.Fatal("looking at the link did something")
	}
	page := b.get("/not-me?t=" + token)
	for _, header := range []string{"Content-Security-Policy", "Referrer-Policy"} {
		if page.Header().Get(header) == "" {
			t.Errorf("no %s", header)
		}
	}
	b.post("/not-me", "t", "guessed").shows(410, "This link no longer works")
	b.submit(page, "/not-me").to("/not-me/done")
	if w.sessions["s1"].EndedAt.IsZero() || !w.sessions["s2"].EndedAt.IsZero() {
		t.Error("the wrong sessions ended")
	}
	if e := w.events[0]; e.Name != audit.Disavowed || e.Details["how"] != "link" || e.Subject != string(ayse) || strings.Contains(e.Details["what"], token) {
		t.Errorf("%+v", e)
	}
	b.submit(page, "/not-me").shows(410, "This link no longer works")
	b.get("/not-me?t="+token).shows(410, "used")
	b.get("/not-me").shows(410)
	if len(w.events) != 1 {
		t.Errorf("%d events", len(w.events))
	}
	cross := b.send(http.MethodPost, "/not-me", map[string][]string{"t": {token}}, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
	if cross.Code != http.StatusForbidden {
		t.Errorf("from elsewhere: %d", cross.Code)
	}
}

// How a forgotten password is renewed changes after a question that names it and what follows.
func TestResetMethod(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	form := b.get("/me/security/recovery").shows(200, "How is it renewed?", "Continue")
	b.submit(form, resetPath+"/confirm", "by", "phone").to("/me/security/recovery?done=phone.") // as it is
	ask := b.get(b.submit(form, resetPath+"/confirm", "by", "both").to("/me/security/recovery/confirm?by=both")).shows(200, "Change how your password is renewed?", "Now Phone From now on Phone and e-mail", "If you cannot reach one of them", "Cancel")
	if w.contacts[ayse].ResetBoth || len(w.events) > 0 {
		t.Fatal("looking at the question changed it")
	}
	b.post("/me/security/recovery/confirm", "by", "pigeon").shows(422, "Choose how it is renewed.")
	b.post("/me/security/recovery", "by", "pigeon").shows(422, "Choose how it is renewed.")
	for _, old := range []string{"", "?by=phone", "?by=pigeon"} {
		b.get("/me/security/recovery/confirm" + old).to("/me/security/recovery")
	}
	w.hold = fault.New(fault.Denied, "list.held")
	b.get("/me/security/recovery/confirm?by=both").shows(200, "Not today.")
	b.submit(ask, "/me/security/recovery").shows(403, "Not today.")
	w.hold = nil
	b.get(b.submit(ask, "/me/security/recovery").to("/me/security/recovery?done=both.")).shows(200, "Your choice was saved.")
	if e := w.events; !w.contacts[ayse].ResetBoth || len(e) != 1 || e[0].Name != audit.RecoveryMethod || e[0].Details["by"] != "both" {
		t.Errorf("%+v %+v", w.contacts[ayse], e)
	}
	b.get("/me/security/recovery/confirm?by=phone").shows(200, "will be enough beside your identity details")
	c := w.contacts[ayse]
	c.ResetBoth, c.Email.Verified = false, false
	w.contacts[ayse] = c
	b.get("/me/security/recovery/confirm?by=both").to("/me/security/recovery")
	b.post("/me/security/recovery/confirm", "by", "both").shows(422, "This needs a verified e-mail address.")
	b.post("/me/security/recovery", "by", "both").shows(422, "This needs a verified e-mail address.")
	if len(w.events) != 1 {
		t.Errorf("%+v", w.events)
	}
}
