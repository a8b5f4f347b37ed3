package citizen

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/session"
)

const (
	oldWord = "correct horse battery staple"
	newWord = "a bicycle for the mountain"
)

func TestChangePassword(t *testing.T) {
	tests := []struct {
		name   string
		mend   func(*world)
		fields []string
		status int
		says   string
		ended  bool // the other session
	}{
		{name: "and sign out elsewhere", fields: []string{"password", oldWord, "new_password", newWord}, status: 303, ended: true},
		{name: "and stay signed in elsewhere", fields: []string{"password", oldWord, "new_password", newWord, "others", "no"}, status: 303},
		{name: "wrong current one", fields: []string{"password", "guess", "new_password", newWord}, status: 422, says: "The current password is wrong."},
		{name: "none of the current one", fields: []string{"new_password", newWord}, status: 422, says: "The current password is wrong."},
		{name: "too short", fields: []string{"password", oldWord, "new_password", "short"}, status: 422, says: "At least 15 characters."},
		{name: "no record, no change", mend: func(w *world) { w.deaf = true }, fields: []string{"password", oldWord, "new_password", newWord}, status: 500},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.browser(w.session("s1", ayse, 0, true))
			w.session("s2", ayse, time.Hour, true)
			w.session("s3", mehmet, 0, true)
			if tt.mend != nil {
				tt.mend(w)
			}
			version := w.accounts[ayse].Version
			form := b.get("/me/password").shows(200, "Current password", "New password", "At least 15 characters.", "Sign out everywhere else")
			a := b.submit(form, "/me/password", tt.fields...)
			changed := tt.status == http.StatusSeeOther
			if changed {
				b.get(a.to("/me?done=password.")).shows(200, "Your password has been changed.")
			} else {
				a.shows(tt.status, tt.says).hides("guess", newWord, oldWord)
			}
			if got := w.passwords[ayse] == newWord; got != changed {
				t.Errorf("changed %v, want %v", got, changed)
			}
			// Whoever decides at the same time by the old one, such as whether it may stand alone, must find another account.
			if got := w.accounts[ayse].Version > version; got != changed {
				t.Errorf("the account moved on %v, want %v", got, changed)
			}
			if got := !w.sessions["s2"].EndedAt.IsZero(); got != tt.ended {
				t.Errorf("other session ended %v, want %v", got, tt.ended)
			}
			if !w.sessions["s1"].EndedAt.IsZero() || !w.sessions["s3"].EndedAt.IsZero() {
				t.Error("a session ended that must not")
			}
			if changed != (len(w.events) > 0 && w.events[0].Name == audit.PasswordChanged) {
				t.Errorf("events %+v", w.events)
			}
		})
	}
}

// A session that was idle too long opens nothing, but the refresh tokens given out in it live until it is ended.
func TestChangedPasswordEndsIdleSessions(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	w.session("s2", ayse, time.Hour, true)
	idle := w.sessions["s2"]
	idle.SeenAt = w.now.Add(-session.Idle)
	w.sessions["s2"] = idle
	b.submit(b.get("/me/password"), "/me/password", "password", oldWord, "new_password", newWord).to("/me?done=password.")
	if w.sessions["s2"].EndedAt.IsZero() {
		t.Error("the idle session, and what was given out in it, is still good")
	}
}

func TestGuessingTheCurrentPassword(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	guess := func(old, chosen string) answer {
		return b.post("/me/password", "password", old, "new_password", chosen)
	}
	for range guesses.Free {
		guess("guess", newWord).shows(422)
		guess("guess", "short").shows(422) // breaks a rule: it must not give tries back
	}
	a := guess(oldWord, newWord).shows(429, "too many times")
	if a.Result().Header.Get("Retry-After") == "" || w.passwords[ayse] != oldWord {
		t.Error("the right one was taken while locked")
	}
	clear(w.tries)
	for range 2 * guesses.Free { // an outage is nobody's mistake
		guess(oldWord, "the database is away").shows(503)
	}
	guess(oldWord, newWord).to("/me?done=")
	if len(w.tries) != 0 {
		t.Errorf("tries %v are kept", w.tries)
	}
}

func TestSetPasswordAfterAnotherSignIn(t *testing.T) {
	w := newWorld(t)
	delete(w.passwords, ayse)
	b := w.browser(w.session("s1", ayse, 0, true))
	s := w.sessions["s1"]
	s.Proofs[0].Factor = "esign"
	w.sessions["s1"] = s
	form := b.get("/me/password").shows(200, "Set a password", "free of charge")
	if form.Has("#password") {
		t.Error("a current password is asked for")
	}
	b.submit(form, "/me/password", "new_password", newWord).to("/me?done=")
	if w.passwords[ayse] != newWord {
		t.Error("not set")
	}
	form = b.get("/me/password").shows(200, "Change password", "You signed in without a password")
	b.submit(form, "/me/password", "new_password", oldWord).to("/me?done=")
}

func TestPasswordRulesMayChangeMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.twoFactor(true)
	b := w.browser(w.session("s1", ayse, 0, true))
	b.get("/me/password").shows(200, "At least 8 characters.")
	h := passwordsOf{w}
	write, err := h.Prepare(t.Context(), PasswordChange{Account: ayse, Old: oldWord, New: "twelve chars"})
	if err != nil {
		t.Fatal(err)
	}
	w.twoFactor(false) // in another tab, between the check and the commit
	c := &Handler{Config{People: accountsOf{w}, Atomically: w.atomically}}
	if err := c.store(t.Context(), me{account: w.accounts[ayse]}, PasswordChange{Account: ayse, TwoFactor: true}, write, false); err == nil || w.passwords[ayse] != oldWord {
		t.Errorf("a short password stands alone: %v", err)
	}
}

func (w *world) twoFactor(on bool) {
	a := w.accounts[ayse]
	a.TwoFactor, a.TwoFactorSince, a.Ceiling = on, time.Time{}, acr.High
	if on {
		a.TwoFactorSince = w.now.AddDate(0, -1, 0)
	}
	w.accounts[ayse] = a
}

func TestSwitchOn(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, false))
	b.get("/me/two-factor").shows(200, "Off", "Codes go to your phone ending 01.", "Switch on two-factor authentication")
	terms := b.get("/me/two-factor/on").shows(200, "I have read this and accept it", "ending 01")

	f := url.Values{}
	b.send(http.MethodPost, "/me/two-factor/on", f).shows(422, "The terms are not accepted.")
	if w.code.sent != 0 {
		t.Fatal("a code was sent without a yes")
	}
	path := b.submit(terms, "/me/two-factor/on", "terms", "yes").to("/me/two-factor/on/code?")
	page := b.get(path).shows(200, "Enter the code", "Switch on")
	if w.code.sent != 1 || w.code.last.Purpose != factors.TwoFactor || strings.Contains(w.code.last.Binding, "off") || w.code.last.Account != ayse {
		t.Fatalf("%d codes, last %+v", w.code.sent, w.code.last)
	}
	b.get(path)
	if w.code.sent != 1 {
		t.Error("a reload sent another code")
	}
	again := b.submit(page, "/me/two-factor/on/again").to("/me/two-factor/on/code?")
	if w.code.sent != 2 || again != path+"&sent=1" {
		t.Errorf("%d codes, back to %s", w.code.sent, again)
	}
	b.get(again).shows(200, "We sent a new code.")
	wrong := b.submit(page, "/me/two-factor/on/code", "code", "000000").shows(422, "The code is wrong.")
	if w.accounts[ayse].TwoFactor || w.events[0].Name != audit.SigninSecond || w.events[0].Outcome != "wrong" {
		t.Fatalf("events %+v", w.events)
	}
	done := b.submit(wrong, "/me/two-factor/on/code", "code", "123456").to("/me/two-factor?done=on.")
	b.get(done).shows(200, "On since 4 Mar 2026")
	a := w.accounts[ayse]
	last := w.events[len(w.events)-1]
	if !a.TwoFactor || !a.TwoFactorSince.Equal(noon) || last.Name != audit.TwoFactorOn || last.Details["terms"] != Terms || last.Session != "s1" || last.Network != "192.0.2.1" {
		t.Errorf("account %+v, event %+v", a, last)
	}
	// The code counts in this session, under a new token: the old one is worth nothing, and a change needs no further step.
	s := w.sessions["s1"]
	if s.Level != acr.Substantial || len(s.Proofs) != 2 || s.Version != 1 {
		t.Errorf("session %+v", s)
	}
	b.get("/me/two-factor/off").shows(200)
	w.browser("token-of-s1").get("/me").to("/signin/")
}

// During a recovery's hold neither the terms nor a code that was sent before it switch anything.
func TestSwitchOnIsHeld(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, false))
	terms := b.get("/me/two-factor/on")
	w.hold = fault.New(fault.Denied, "list.held")
	b.submit(terms, "/me/two-factor/on", "terms", "yes").shows(403, "Not today.")
	if w.code.sent != 0 {
		t.Error("a code was sent")
	}
	w.hold = nil
	page := b.get(b.submit(terms, "/me/two-factor/on", "terms", "yes").to("/me/two-factor/on/code?"))
	w.hold = fault.New(fault.Denied, "list.held")
	b.submit(page, "/me/two-factor/on/code", "code", "123456").shows(403, "Not today.")
	if w.accounts[ayse].TwoFactor || len(w.events) != 0 {
		t.Errorf("switched on: %+v", w.events)
	}
	w.hold = nil
	b.submit(page, "/me/two-factor/on/code", "code", "123456").to("/me/two-factor?done=on.")
}

func TestSwitchOnIsNotForEverybody(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	h := &Handler{Config{Keys: keys{}}}
	said := h.mark(session.Session{ID: "s1"}, "said", "on", Terms)
	for name, path := range map[string]string{
		"terms not accepted":          "/me/two-factor/on/code?method=code",
		"accepted in another session": "/me/two-factor/on/code?method=code&said=" + h.mark(session.Session{ID: "s2"}, "said", "on", Terms),
		"an older version":            "/me/two-factor/on/code?method=code&said=" + h.mark(session.Session{ID: "s1"}, "said", "on", "0"),
		"said for the other way":      "/me/two-factor/on/code?method=code&said=" + h.mark(session.Session{ID: "s1"}, "said", "off", Terms),
		"with a first factor":         "/me/two-factor/on/code?method=password&said=" + said,
		"with no factor":              "/me/two-factor/on/code?method=nothing&said=" + said,
	} {
		t.Run(name, func(t *testing.T) {
			b.get(path).to("/me/two-factor/on")
			u, err := url.Parse(path)
			if err != nil {
				t.Fatal(err)
			}
			form := u.Query()
			form.Set("code", "123456")
			b.send(http.MethodPost, "/me/two-factor/on/code", form).to("/me/two-factor/on")
			b.send(http.MethodPost, "/me/two-factor/on/again", form).to("/me/two-factor/on")
		})
	}
	t.Run("a phone that is not ID-verified", func(t *testing.T) {
		w.contacts[ayse] = contact.Contacts{Phone: contact.Phone{Number: "+905550000001", Grade: contact.Verified}}
		b.get("/me/two-factor").shows(200, "Your phone must be verified with your ID first", "PTT").hides(`href="/me/two-factor/on"`)
		b.get("/me/two-factor/on").to("/me/two-factor")
		b.post("/me/two-factor/on", "terms", "yes").to("/me/two-factor")
		b.post("/me/two-factor/on/code", "said", said, "method", "code", "code", "123456").shows(409)
	})
	if w.code.sent != 0 || w.accounts[ayse].TwoFactor || len(w.events) != 0 {
		t.Errorf("%d codes, account %+v, events %+v", w.code.sent, w.accounts[ayse], w.events)
	}
}

func TestSwitchOff(t *testing.T) {
	w := newWorld(t)
	w.twoFactor(true)
	b := w.browser(w.session("s1", ayse, 0, true))
	b.get("/me/two-factor").shows(200, "On since 4 Feb 2026", "Switch off two-factor authentication")
	ask := b.get("/me/two-factor/off").shows(200, "anybody who knows your password can enter your account")
	path := b.submit(ask, "/me/two-factor/off").to("/me/two-factor/off/code?")
	page := b.get(path).shows(200, "Enter the code", "Switch off")

	// A code for one thing is no good for another.
	said := (&Handler{Config{Keys: keys{}}}).mark(session.Session{ID: "s1"}, "said", "on", Terms)
	b.post("/me/two-factor/on/code", "said", said, "method", "code", "code", "123456").to("/me/two-factor/on")

	w.deaf = true
	b.submit(page, "/me/two-factor/off/code", "code", "123456").shows(500)
	if !w.accounts[ayse].TwoFactor {
		t.Fatal("without a record there must be no change")
	}
	w.deaf = false
	b.get(b.submit(page, "/me/two-factor/off/code", "code", "123456").to("/me/two-factor?done=off.")).shows(200, "Two-factor authentication is off.")
	if w.accounts[ayse].TwoFactor || w.events[len(w.events)-1].Name != audit.TwoFactorOff {
		t.Errorf("account %+v, events %+v", w.accounts[ayse], w.events)
	}
	b.get("/me/two-factor/off").to("/me/two-factor")
	b.get(path).to("/me/two-factor/off")
}

func TestTooManyWrongCodes(t *testing.T) {
	w := newWorld(t)
	w.twoFactor(true)
	b := w.browser(w.session("s1", ayse, 0, true))
	page := b.get(b.post("/me/two-factor/off").to("/me/two-factor/off/code?"))
	for range 3 {
		b.submit(page, "/me/two-factor/off/code", "code", "000000").shows(422)
	}
	b.submit(page, "/me/two-factor/off/code", "code", "123456").shows(429, "Wait 2 minutes.")
	if !w.accounts[ayse].TwoFactor {
		t.Error("switched off")
	}
	// The same count as at sign-in: neither place gives the other fresh tries.
	if w.tries["second:code:ayse"] != 3 {
		t.Errorf("tries %v", w.tries)
	}
}

func TestSwitchOffNeedsALongPassword(t *testing.T) {
	w := newWorld(t)
	w.twoFactor(true)
	w.passwords[ayse] = "eightish"
	b := w.browser(w.session("s1", ayse, 0, true))
	b.get("/me/two-factor/off").shows(200, "You need a longer password first").hides(`action="/me/two-factor/off"`)
	b.post("/me/two-factor/off").to("/me/two-factor/off")
	said := (&Handler{Config{Keys: keys{}}}).mark(session.Session{ID: "s1"}, "said", "off", Terms)
	page := b.get("/me/two-factor/off/code?method=code&said=" + said)
	b.submit(page, "/me/two-factor/off/code", "code", "123456").shows(403, "too short to stand alone")
	if !w.accounts[ayse].TwoFactor {
		t.Fatal("switched off with a short password")
	}
	form := b.get("/me/password?for=off").shows(200, "At least 15 characters.")
	b.submit(form, "/me/password", "password", "eightish", "new_password", "twelve chars").shows(422, "At least 15 characters.")
	b.submit(form, "/me/password", "password", "eightish", "new_password", newWord).to("/me/two-factor/off")
	b.get("/me/two-factor/off").shows(200, "Go on and switch it off")
}

func TestSwitchOffWithoutASecondFactor(t *testing.T) {
	w := newWorld(t)
	w.twoFactor(true)
	w.contacts[ayse] = contact.Contacts{}
	b := w.browser(w.session("s1", ayse, 0, true))
	b.get("/me/two-factor/off").shows(200, "You have no way to confirm the second step").hides(`action="/me/two-factor/off"`)
	b.post("/me/two-factor/off").to("/me/two-factor/off")
}

func TestAccountsThatAreClosedMeanwhile(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, false))
	page := b.get(b.post("/me/two-factor/on", "terms", "yes").to("/me/two-factor/on/code?"))
	w.accounts[ayse] = account.Account{ID: ayse, State: account.Locked, Version: 2}
	b.started(b.submit(page, "/me/two-factor/on/code", "code", "123456"))
	if w.accounts[ayse].TwoFactor {
		t.Error("switched on")
	}
}
