package visitor

import (
	"context"
	"testing"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/signin"
)

// RC4, B1: the person ends everything while an answer of somebody else, proven with what was true a moment ago, waits for its least time.
// No session comes out of it, and no proof that could be brought to an end later; nor by raising the session that is in the browser.
func TestNothingComesOutOfAnAnswerFromBeforeTheEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		meanwhile func(w *world, a account.Account) error
		consent   string
		found     bool // the browser holds a session that stays
	}{
		"everything is ended": {func(w *world, a account.Account) error {
			return w.db.EndSessions(w.t.Context(), a.ID, "", w.clock.Now())
		}, "none", false},
		"by a clock that is behind": {func(w *world, a account.Account) error {
			return w.db.EndSessions(w.t.Context(), a.ID, "", w.clock.Now().Add(-time.Hour))
		}, "none", false},
		"the password is changed": {func(w *world, a account.Account) error { return w.db.VoidProofs(w.t.Context(), a.ID, w.clock.Now()) }, "none", true},
		"the way is closed": {func(w *world, a account.Account) error {
			a.Closed = "door"
			return w.db.UpdateAccount(w.t.Context(), a)
		}, "none", true},
		"ended, and a consent is owed": {func(w *world, a account.Account) error {
			return w.db.EndSessions(w.t.Context(), a.ID, "", w.clock.Now())
		}, "always", false},
		"behind, and a consent is owed": {func(w *world, a account.Account) error {
			return w.db.VoidProofs(w.t.Context(), a.ID, w.clock.Now().Add(-time.Hour))
		}, "always", false},
		"changed, and a consent is owed": {func(w *world, a account.Account) error { return w.db.VoidProofs(w.t.Context(), a.ID, w.clock.Now()) }, "always", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *clients.Client) { c.Consent = tc.consent })
			id := w.person.Account.ID
			if tc.found {
				self := w.start()
				if w.password(self, "right"); tc.consent == "always" {
					w.post(self+"/consent", "consent", "yes")
				}
				if w.jar["__Host-kapi-session"] == "" {
					t.Fatal("nobody is signed in")
				}
			}
			had, token := w.living(id), w.jar["__Host-kapi-session"]
			path := w.start(func(a *signin.Ask) { a.Login = true })
			w.flow.Pause = func(context.Context, time.Duration) {
				a, err := w.db.Account(t.Context(), id)
				if err == nil {
					err = tc.meanwhile(w, a)
				}
				if err != nil {
					t.Error(err)
				}
			}
			w.password(path, "right")
			w.flow.Pause = func(context.Context, time.Duration) {}
			if tc.consent == "always" {
				w.post(path+"/consent", "consent", "yes")
			}
			if now := w.living(id); len(now) > len(had) || len(now) == 1 && now[0] != had[0] {
				t.Errorf("a session from before: %v, then %v", had, now)
			}
			if w.jar["__Host-kapi-session"] != token {
				t.Error("the browser was given a session")
			}
			w.says(w.get(path), 200, "Password")
		})
	}
}

// living names the living sessions of a person, each with when its person last proved something and its version.
func (w *world) living(id account.ID) (all []string) {
	w.t.Helper()
	list, err := w.db.SessionsOf(w.t.Context(), id, w.clock.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range list {
		all = append(all, s.ID+time.Duration(s.Version).String())
	}
	return all
}
