package citizen

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/signin"
)

func TestStrangersSignInAndComeBack(t *testing.T) {
	for _, path := range []string{"/me", "/me/signins?before=5", "/me/sessions", "/me/password", "/me/two-factor", "/me/sessions/others"} {
		t.Run(path, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser("")
			x := b.started(b.get(path))
			if string(x.Ask.Return) != `"`+path+`"` || x.Ask.MaxAge != nil {
				t.Fatalf("ask %+v, return %s", x.Ask, x.Ask.Return)
			}
			b.signedIn(x, ayse).to(path)
		})
	}
}

func TestWhoIsNobody(t *testing.T) {
	tests := []struct {
		name string
		mend func(*world)
	}{
		{"unknown token", func(w *world) { clear(w.tokens) }},
		{"ended session", func(w *world) {
			s := w.sessions["s1"]
			s.EndedAt = noon
			w.sessions["s1"] = s
		}},
		{"idle session", func(w *world) { w.now = w.now.Add(session.Idle) }},
		{"locked account", func(w *world) { w.accounts[ayse] = account.Account{ID: ayse, State: account.Locked} }},
		{"no account", func(w *world) { delete(w.accounts, ayse) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser(w.session("s1", ayse, 0, true))
			b.get("/me").shows(http.StatusOK)
			tt.mend(w)
			b.started(b.get("/me"))
		})
	}
}

func TestSessionClockMovesAtMostOnceAMinute(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	for range 3 {
		b.get("/me")
	}
	if w.touched != 0 {
		t.Fatalf("touched %d times within the minute", w.touched)
	}
	w.now = w.now.Add(touchEvery)
	b.get("/me")
	b.get("/me")
	if w.touched != 1 || !w.sessions["s1"].SeenAt.Equal(w.now) {
		t.Fatalf("touched %d times, seen %s", w.touched, w.sessions["s1"].SeenAt)
	}
}

func TestEnter(t *testing.T) {
	tests := []struct {
		name   string
		mend   func(*world, *browser, *signin.Transaction)
		status int
		to     string
		says   string
	}{
		{name: "ready", status: 303, to: "/me/sessions", mend: func(_ *world, _ *browser, x *signin.Transaction) { x.State = signin.Ready }},
		{name: "reload of a finished one", status: 303, to: "/me/sessions", mend: func(_ *world, _ *browser, x *signin.Transaction) { x.State = signin.Done }},
		{name: "still open", status: 303, to: "/signin/", mend: func(*world, *browser, *signin.Transaction) {}},
		{name: "cancelled", status: 200, says: "You cancelled the sign-in.", mend: func(_ *world, _ *browser, x *signin.Transaction) {
			x.State, x.Refusal = signin.Refused, signin.Refusal{Error: "access_denied", Description: "user_cancelled"}
		}},
		{name: "refused", status: 200, says: "could not be completed", mend: func(_ *world, _ *browser, x *signin.Transaction) {
			x.State, x.Refusal = signin.Refused, signin.Refusal{Error: "unmet_authentication_requirements"}
		}},
		{name: "expired", status: 410, says: "Sign in again", mend: func(w *world, _ *browser, x *signin.Transaction) { x.ExpiresAt = w.now }},
		{name: "of another browser", status: 403, mend: func(_ *world, b *browser, x *signin.Transaction) {
			x.State, b.cookies["kapi-browser"] = signin.Ready, "another"
		}},
		{name: "without a browser", status: 403, mend: func(_ *world, b *browser, x *signin.Transaction) {
			x.State = signin.Ready
			delete(b.cookies, "kapi-browser")
		}},
		{name: "of a client", status: 410, mend: func(_ *world, _ *browser, x *signin.Transaction) { x.State, x.Ask.Client = signin.Ready, "ssi" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser("")
			x := b.started(b.get("/me/sessions"))
			tt.mend(w, b, &x)
			w.transactions[x.ID] = x
			a := b.get("/me/enter?id=" + x.ID)
			if tt.to != "" {
				a.to(tt.to)
			} else {
				a.shows(tt.status, tt.says)
			}
			if got := w.transactions[x.ID]; got.State == signin.Done && x.State != signin.Done && tt.status >= 400 {
				t.Error("the transaction was used up")
			}
		})
	}
	t.Run("leads nowhere else", func(t *testing.T) {
		w := newWorld(t)
		b := w.browser("")
		x := b.started(b.get("/me"))
		for _, evil := range []string{`"https://evil.example/me"`, `"//evil.example/me"`, `"/mean"`, `"/me/../console"`, `"/\\evil.example"`, `"/authorize"`, `"/me\n"`, `5`} {
			x.State, x.Ask.Return = signin.Ready, []byte(evil)
			w.transactions[x.ID] = x
			if a := b.get("/me/enter?id=" + x.ID); a.Code != 500 || a.Result().Header.Get("Location") != "" {
				t.Errorf("%s: status %d to %q", evil, a.Code, a.Result().Header.Get("Location"))
			}
		}
	})
	t.Run("unknown", func(t *testing.T) { newWorld(t).browser("").get("/me/enter?id=nothing").shows(410, "expired") })
	t.Run("none", func(t *testing.T) { newWorld(t).browser("").get("/me/enter").shows(410, "expired") })
}

func TestStaleSignInIsAskedForAgain(t *testing.T) {
	w := newWorld(t)
	other := session.Session{ID: "s2"}
	token := w.session("s1", ayse, 16*time.Minute, true)
	w.session("s2", ayse, time.Hour, false)
	h := &Handler{Config{Keys: keys{}}}
	handle := "/me/sessions/" + h.handle(other)
	w.consents[ayse] = []grant.Consent{{Client: "ssi", Scopes: []string{"openid"}, At: noon}}
	consent := w.browser(token).get("/me/services").All("ul.rows a")[0].Attr("href")
	w.signed("s1") // and would be strong enough for all of it
	tests := []struct{ method, path, back string }{
		{"GET", "/me/password", "/me/password"},
		{"POST", "/me/password", "/me/password"},
		{"GET", handle, handle},
		{"POST", handle, handle},
		{"POST", "/me/sessions/others", "/me/sessions/others"},
		{"GET", "/me/two-factor/on", "/me/two-factor/on"},
		{"POST", "/me/two-factor/on", "/me/two-factor/on"},
		{"POST", "/me/two-factor/on/code", "/me/two-factor/on"},
		{"POST", "/me/two-factor/off/again", "/me/two-factor/off"},
		{"GET", "/me/security/access", "/me/security/access"},
		{"GET", "/me/security/access/password", "/me/security/access/password"},
		{"POST", "/me/security/access", "/me/security/access"},
		{"GET", "/me/security/recovery", "/me/security/recovery"},
		{"GET", "/me/security/recovery/confirm?by=both", "/me/security/recovery/confirm?by=both"},
		{"POST", "/me/security/recovery/confirm", "/me/security/recovery"},
		{"POST", "/me/security/recovery", "/me/security/recovery"},
		{"GET", "/me/security/list", "/me/security/list"},
		{"POST", "/me/security/list/make", "/me/security/list"},
		{"GET", consent, consent},
		{"POST", consent, consent},
		{"GET", "/me/two-factor/off/code?said=x&method=code", "/me/two-factor/off/code?said=x&method=code"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			b := w.browser(token)
			x := b.started(b.send(tt.method, tt.path, url.Values{"new_password": {"a new and longer password"}, "password": {oldWord}, "factor": {"password"}, "state": {"closed"}, "by": {"both"}, "title": {"mine"}}))
			var path string
			if end, err := w.flow.FinishSelf(t.Context(), x.ID, signin.Visit{Browser: x.Browser}); err == nil {
				path = end.Path
			}
			if path != tt.back || x.Ask.MaxAge == nil || *x.Ask.MaxAge != 900 || x.Ask.Want != acr.None {
				t.Errorf("back to %q, ask %+v", path, x.Ask)
			}
		})
	}
	if !w.sessions["s2"].EndedAt.IsZero() || w.passwords[ayse] != oldWord || len(w.events) != 0 || w.accounts[ayse].Closed != "" || w.contacts[ayse].ResetBoth || w.lists[ayse] != "" ||
		len(w.consents[ayse]) != 1 {
		t.Error("something was changed")
	}
	w.browser(token).get("/me").shows(http.StatusOK) // looking needs no more than a living session
}

func TestTwoStepsAreWantedWhereTwoFactorIsOn(t *testing.T) {
	w := newWorld(t)
	w.accounts[ayse] = account.Account{ID: ayse, State: account.Active, Ceiling: acr.High, TwoFactor: true, TwoFactorSince: w.now, Version: 1}
	b := w.browser(w.session("s1", ayse, time.Minute, false)) // signed in before it was switched on elsewhere
	if x := b.started(b.get("/me/password")); x.Ask.Want != acr.Substantial {
		t.Errorf("wants %v", x.Ask.Want)
	}
	b = w.browser(w.session("s2", ayse, time.Minute, true))
	b.get("/me/password").shows(http.StatusOK)
	// An account that cannot reach two steps is not sent round and round.
	w.accounts[ayse] = account.Account{ID: ayse, State: account.Active, Ceiling: acr.Low, TwoFactor: true, TwoFactorSince: w.now, Version: 1}
	b = w.browser(w.session("s3", ayse, time.Minute, false))
	b.get("/me/password").shows(http.StatusOK)
}

// A second factor that somebody set up guards what can be changed, also where two-factor authentication is off: who has the password
// alone must neither remove it nor add one.
func TestASecondFactorIsWantedWhereOneIsSetUp(t *testing.T) {
	changes := []string{"/me/password", "/me/security/list", "/me/security/access", "/me/two-factor/on", "/me/sessions/others"}
	tests := []struct {
		name string
		mend func(*world)
		want acr.Level // None = the password is enough
	}{
		{"none", func(*world) {}, acr.None},
		{"a list", func(w *world) { w.lists[ayse] = "mine" }, acr.Substantial},
		{"a list that cannot tell", func(w *world) { w.lists[ayse], w.list.mute = "mine", true }, acr.Substantial},
		{"somebody else's", func(w *world) { w.lists[mehmet] = "mine" }, acr.None},
		{"a list that does not follow the password", func(w *world) { w.lists[ayse], w.list.after = "mine", []string{"card"} }, acr.None},
		{"a list that follows it", func(w *world) { w.lists[ayse], w.list.after = "mine", []string{"password"} }, acr.Substantial},
		{"the account reaches no more", func(w *world) {
			w.lists[ayse] = "mine"
			w.accounts[ayse] = account.Account{ID: ayse, State: account.Active, Ceiling: acr.Low, Version: 1}
		}, acr.None},
		{"set up here a moment ago", func(w *world) { w.setUp("s1", time.Minute) }, acr.None},
		{"set up here a while ago", func(w *world) { w.setUp("s1", 16*time.Minute) }, acr.Substantial},
		{"set up elsewhere a moment ago", func(w *world) { w.setUp("s2", time.Minute) }, acr.Substantial},
		{"another was set up here", func(w *world) {
			w.setUp("s1", time.Minute)
			w.events[0].Details = map[string]string{"factor": "key"}
		}, acr.Substantial},
		{"one from before was renewed elsewhere since", func(w *world) {
			w.setUp("s1", 10*time.Minute)
			w.list.since = w.now.Add(-time.Minute)
		}, acr.Substantial},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			alone, both, old := w.session("s1", ayse, 0, false), w.session("s2", ayse, 0, true), w.session("s3", ayse, 16*time.Minute, true)
			w.session("s4", ayse, 0, false)
			w.strong("s4")
			tt.mend(w)
			for _, path := range changes {
				b := w.browser(alone)
				if a := b.get(path); tt.want == acr.None {
					a.shows(http.StatusOK)
				} else if x := b.started(a); x.Ask.Want != tt.want || x.Ask.Login {
					t.Errorf("%s: %+v", path, x.Ask)
				}
				w.browser(both).get(path).shows(http.StatusOK)
				w.browser("token-of-s4").get(path).shows(http.StatusOK) // stronger than two steps by itself
			}
			// Of two steps one may be recent by itself: both are owed.
			s := w.sessions["s3"]
			s.Proofs[0].At = w.now
			w.sessions["s3"] = s
			b := w.browser(old)
			if a := b.get("/me/password"); tt.want == acr.None && tt.name != "set up here a moment ago" {
				a.shows(http.StatusOK)
			} else if x := b.started(a); x.Ask.Want != acr.Substantial || !x.Ask.Login {
				t.Errorf("an old second step: %+v", x.Ask)
			}
			w.browser(alone).get("/me/security").shows(http.StatusOK) // looking needs no more
		})
	}
}

// setUp puts a list there that was made in a session some time ago.
func (w *world) setUp(session string, ago time.Duration) {
	w.lists[ayse], w.list.since = "mine", w.now.Add(-ago)
	w.events = append(w.events, audit.Event{At: w.list.since, Name: audit.FactorSetUp, Outcome: "ok", Subject: string(ayse), Session: session, Details: map[string]string{"factor": "list"}})
}

// TestX1_CrossSitePost (a foreign page cannot act for the reader).
func TestX1_CrossSitePost(t *testing.T) {
	w := newWorld(t)
	token := w.session("s1", ayse, 0, true)
	w.session("s2", ayse, 0, true)
	for _, path := range []string{"/me/sign-out", "/me/sessions/others", "/me/password", "/me/two-factor/on", "/me/two-factor/off", "/me/two-factor/on/code", "/me/two-factor/on/again"} {
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site"}} {
			b := w.browser(token)
			b.send(http.MethodPost, path, url.Values{}, header...).shows(http.StatusForbidden)
			if b.cookies["kapi-session"] == "" {
				t.Errorf("%s: the session cookie is gone", path)
			}
		}
	}
	if len(w.events) != 0 || !w.sessions["s1"].EndedAt.IsZero() || !w.sessions["s2"].EndedAt.IsZero() {
		t.Error("something was done")
	}
	for _, path := range []string{"/me/sign-out", "/me/two-factor/on/again"} {
		if a := w.browser(token).get(path); a.Code != http.StatusMethodNotAllowed {
			t.Errorf("GET %s: %d", path, a.Code)
		}
	}
}

func TestAccountPage(t *testing.T) {
	w := newWorld(t)
	w.accounts[ayse] = account.Account{ID: ayse, State: account.Active, TwoFactor: true, TwoFactorSince: noon.AddDate(0, -1, 0)}
	w.record("mehmet's", mehmet, audit.SigninCompleted, "ok", 1, map[string]string{"amr": "pwd"})
	w.record("old", ayse, audit.SigninCompleted, "ok", 60, map[string]string{"amr": "pwd"})
	w.record("", ayse, audit.SigninFirst, "wrong", 50, map[string]string{"factor": "password"})
	w.record("", ayse, audit.SigninSecond, "locked", 40, map[string]string{"factor": "code"})
	w.record("", ayse, audit.SigninFirst, "ok", 1, map[string]string{"factor": "password"})
	w.record("s1", ayse, audit.SigninCompleted, "ok", 0, map[string]string{"amr": "pwd"})
	b := w.browser(w.session("s1", ayse, 0, true))
	a := b.get("/me").shows(http.StatusOK, "Ayşe Yılmaz", "100••••••46", "ending 46", "•••• 01", "Verified with your ID on 4 May 2025", "ayse@example.org", "On since 4 Feb 2026",
		"1 open session", "Last sign-in before this one: 4 Mar 2026, 11:00", "There were 2 failed tries", "Sign out", "Last changed on 4 Mar 2025")
	a.hides("10000000146", "+90555", "Mehmet")
	b.lang = "tr"
	b.get("/me").shows(http.StatusOK, "Hesabım", "sonu 46", "Kimliğinizle doğrulandı: 04.05.2025", "04.02.2026 tarihinden beri", "2 başarısız deneme", "Çıkış yap")

	t.Run("empty", func(t *testing.T) {
		w := newWorld(t)
		w.contacts[ayse] = contact.Contacts{}
		delete(w.passwords, ayse)
		w.browser(w.session("s1", ayse, 0, true)).get("/me").shows(http.StatusOK, "No phone on record", "No e-mail address on record", "You have no password yet",
			"This is your first sign-in on record", "Two-factor authentication Off").hides("failed tries")
	})
	t.Run("a flood of tries hides nothing", func(t *testing.T) {
		w := newWorld(t)
		w.record("old", ayse, audit.SigninCompleted, "ok", 600, map[string]string{"amr": "pwd"})
		for i := range 300 {
			w.record("", ayse, audit.SigninFirst, "wrong", i, map[string]string{"factor": "password"})
		}
		w.browser(w.session("s1", ayse, 0, true)).get("/me").shows(200, "60+ failed tries", "Last sign-in before this one: 4 Mar 2026, 02:00")
	})
	t.Run("many services in one session", func(t *testing.T) {
		w := newWorld(t)
		for i := range 2 * chunk {
			w.record("s1", ayse, audit.SigninCompleted, "ok", i, map[string]string{"amr": "pwd"})
		}
		w.browser(w.session("s1", ayse, 0, true)).get("/me").shows(200).hides("first sign-in", "failed")
	})
	t.Run("nobody else can say that something was done", func(t *testing.T) {
		h := &Handler{Config{Keys: keys{}}}
		mark := h.mark(session.Session{ID: "s1"}, "done", "password")
		b.lang = "en"
		b.get("/me?done=password."+mark).shows(200, "Your password has been changed")
		other := h.mark(session.Session{ID: "s2"}, "done", "password")
		for _, said := range []string{"password", "password.", "password." + other, "on." + mark, "password.%00"} {
			b.get("/me?done=" + said).hides("has been changed")
		}
	})
}

// record puts an event there, some minutes ago, by the browser of firefox.
func (w *world) record(sid string, owner account.ID, name audit.Name, outcome string, minutesAgo int, details map[string]string) {
	w.events = append(w.events, audit.Event{At: w.now.Add(-time.Duration(minutesAgo) * time.Minute), Name: name, Outcome: outcome, Actor: string(owner), Subject: string(owner),
		Client: "ssi", Session: sid, Network: "192.0.2.1", Agent: firefox, Details: details})
}

func TestSignOut(t *testing.T) {
	w := newWorld(t)
	token := w.session("s1", ayse, time.Hour, true) // however old the sign-in
	b := w.browser(token)
	b.submit(b.get("/me"), "/me/sign-out").to("/me/signed-out")
	if w.sessions["s1"].EndedAt.IsZero() || b.cookies["kapi-session"] != "" {
		t.Fatal("still signed in")
	}
	if len(w.events) != 1 || w.events[0].Name != audit.SessionEnded || w.events[0].Session != "s1" {
		t.Fatalf("events %+v", w.events)
	}
	b.get("/me/signed-out").shows(200, "You are signed out", "Sign in again")
	b.post("/me/sign-out").to("/me/signed-out") // twice is no error

	w.deaf = true
	b = w.browser(w.session("s2", ayse, 0, true))
	b.post("/me/sign-out").shows(500)
	if !w.sessions["s2"].EndedAt.IsZero() || b.cookies["kapi-session"] == "" {
		t.Error("without a record there must be no change")
	}
	b.get("/me/signed-out").to("/me")
}

func TestSessions(t *testing.T) {
	w := newWorld(t)
	token := w.session("s1", ayse, 0, true)
	w.session("s2", ayse, 2*time.Hour, false)
	w.session("s3", ayse, 3*time.Hour, true)
	b := w.browser(token)
	a := b.get("/me/sessions").shows(200, "Safari, iPhone", "192.0.2.7", "4 Mar 2026, 10:00", "One step", "Two steps", "This browser", "Sign out everywhere else")
	a.hides(`"s1"`, `/s2`, "token-of")
	links := a.All(".act a")
	if len(links) != 2 {
		t.Fatalf("%d sessions can be ended, want the 2 others", len(links))
	}
	path := links[0].Attr("href")
	ask := b.get(path).shows(200, "Sign out there?", "Safari, iPhone", "can no longer use your account")
	done := b.submit(ask, path).to("/me/sessions?done=there.")
	b.get(done).shows(200, "That session has been signed out.")
	if w.sessions["s2"].EndedAt.IsZero() || !w.sessions["s3"].EndedAt.IsZero() || !w.sessions["s1"].EndedAt.IsZero() {
		t.Fatalf("the wrong one was ended: %+v", w.sessions)
	}
	if w.voided != 1 {
		t.Error("what waited for an answer still waits")
	}
	if e := w.events[0]; e.Name != audit.SessionEnded || e.Session != "s2" || e.Subject != string(ayse) || e.Details["reason"] != "there" {
		t.Errorf("event %+v", e)
	}
	b.post(path).shows(404, "has already ended") // a second tab

	all := b.get("/me/sessions/others").shows(200, "This ends 1 session")
	b.get(b.submit(all, "/me/sessions/others").to("/me/sessions?done=others.")).shows(200, "You have been signed out everywhere else.", "You have no other open session.")
	if w.sessions["s3"].EndedAt.IsZero() || !w.sessions["s1"].EndedAt.IsZero() {
		t.Errorf("sessions %+v", w.sessions)
	}
	if e := w.events[1]; e.Details["reason"] != "others" || e.Details["count"] != "1" {
		t.Errorf("event %+v", e)
	}
	b.get("/me/sessions/others").to("/me/sessions")
	b.post("/me/sessions/others").to("/me/sessions")
	if len(w.events) != 2 {
		t.Error("nothing ended, yet it was recorded")
	}
}

// An address made of anything but an own session's handle is nothing.
func TestSomebodyElsesSession(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	w.session("s2", mehmet, 0, true)
	h := &Handler{Config{Keys: keys{}}}
	for name, handle := range map[string]string{
		"another person's handle": h.handle(session.Session{ID: "s2"}), "another person's id": "s2", "own id": "s1",
		"own session, which is for signing out": h.handle(session.Session{ID: "s1"}), "nonsense": "%00", "nobody's": h.handle(session.Session{}),
	} {
		t.Run(name, func(t *testing.T) {
			b.get("/me/sessions/" + handle).shows(404)
			b.post("/me/sessions/" + handle).shows(404)
		})
	}
	if !w.sessions["s2"].EndedAt.IsZero() || !w.sessions["s1"].EndedAt.IsZero() || len(w.events) != 0 {
		t.Error("a session was ended")
	}
	b.post("/me/sessions/others").to("/me/sessions")
	if !w.sessions["s2"].EndedAt.IsZero() {
		t.Error("another person's session was ended")
	}
	b.get("/me/sessions").hides(h.handle(session.Session{ID: "s2"}))
}

func TestNewWantsEverything(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("an empty configuration was taken")
	}
	w := newWorld(t)
	if a := w.browser("").get("/me/other"); a.Code != http.StatusNotFound || strings.Contains(a.Text(), "Ayşe") {
		t.Errorf("status %d", a.Code)
	}
}
