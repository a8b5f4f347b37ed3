package citizen

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/session"
)

// Two minutes before an unused session ends its page becomes a warning, with a button that goes on; without it the session ends
// and the page says so. No script takes part.
func TestIdleWarning(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	leaves := func(a answer, after time.Duration, to string) {
		t.Helper()
		if want := fmt.Sprintf("%d; url=%s", int(after.Seconds()), to); a.Result().Header.Get("Refresh") != want {
			t.Fatalf("Refresh %q, want %q", a.Result().Header.Get("Refresh"), want)
		}
	}
	warning := "/me/idle?to=%2Fme%2Fsignins%3Fbefore%3D5"
	leaves(b.get("/me/signins?before=5"), session.Idle-warnFor, warning)
	w.now = w.now.Add(session.Idle - warnFor)
	seen := w.sessions["s1"].SeenAt
	a := b.get(warning).shows(http.StatusOK, "You are about to be signed out", "Stay signed in")
	if got := a.Result().Header.Get("Refresh"); got != "121" {
		t.Errorf("the warning looks again after %q", got)
	}
	if !w.sessions["s1"].SeenAt.Equal(seen) {
		t.Fatal("the warning counts as use")
	}
	b.submit(a, "/me/idle").to("/me/signins?before=5")
	if !w.sessions["s1"].SeenAt.Equal(w.now) {
		t.Fatal("the button does not lengthen the session")
	}
	leaves(b.get("/me/signins?before=5"), session.Idle-warnFor, warning)

	// Used in another tab meanwhile: this one goes back to where it was, which is no use of the session.
	w.now = w.now.Add(20 * time.Minute)
	b.get("/me")
	seen = w.sessions["s1"].SeenAt
	w.now = w.now.Add(8 * time.Minute)
	back := b.get(warning).to("/me/signins?before=5&unattended=1")
	leaves(b.get(back), session.Idle-warnFor-8*time.Minute, warning)
	if !w.sessions["s1"].SeenAt.Equal(seen) || !seen.Equal(w.now.Add(-8*time.Minute)) {
		t.Error("two tabs keep each other alive")
	}
	w.now = seen.Add(session.Idle)
	b.get(warning).shows(http.StatusOK, "You have been signed out", "Sign in again").hides("Stay signed in")
	b.started(b.get("/me/signins?before=5"))
	b.started(b.post("/me/idle", "to", "/me/signins"))
}

// At the end of the twelve hours no button helps, and none is shown.
func TestIdleWarningOfTheLastMinutes(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, session.Life-90*time.Second, true))
	if a := b.get("/me").shows(http.StatusOK); a.Result().Header.Get("Refresh") != "" {
		t.Error("the last minutes cannot be used")
	}
	b.get("/me/idle?to=/me").shows(http.StatusOK, "A session lasts 12 hours at most").hides("Stay signed in")
}

func TestIdleLeadsNowhereElse(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	for _, to := range []string{"//evil.example", "https://evil.example/me", "/authorize?x=1", "/me/../authorize", "/me/%2e%2e/authorize", "/meow", "/me/idle?to=x", "/me/sign-out", "", "\\", "/me\r\nSet-Cookie: a=b"} {
		if got := b.post("/me/idle", "to", to).to("/me"); got != "/me" {
			t.Errorf("%q leads to %q", to, got)
		}
	}
	if a := b.send(http.MethodPost, "/me/idle", nil, "Sec-Fetch-Site", "cross-site"); a.Code != http.StatusForbidden {
		t.Errorf("another site may keep the session alive: %d", a.Code)
	}
}

// An idle session in which an application still refreshes is on the list, and can be ended there.
func TestIdleSessionsThatAreHeld(t *testing.T) {
	w := newWorld(t)
	b := w.browser(w.session("s1", ayse, 0, true))
	w.session("s2", ayse, 0, true)
	s := w.sessions["s2"]
	s.SeenAt, s.Held = w.now.Add(-session.Idle), true
	w.sessions["s2"] = s
	a := b.get("/me/sessions").shows(http.StatusOK, "Still used by an application")
	links := a.All("td.act a")
	if len(links) != 1 {
		t.Fatalf("%d sessions can be ended", len(links))
	}
	path := links[0].Attr("href")
	b.submit(b.get(path).shows(http.StatusOK), path).to("/me/sessions")
	if w.sessions["s2"].EndedAt.IsZero() {
		t.Error("it goes on")
	}
	b.get("/me/sessions").hides("Still used by an application")
}
