package visitor

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
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

// A new password that a sign-in owes is stored together with its entry in the record and the step, or not at all: not when the person
// ended everything, switched something, or turned the page to another language while it was hashed.
func TestARenewalIsWholeOrNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		meanwhile func(w *world, path string, a account.Account) error
		then      string // what is owed afterwards, below the sign-in; "" = nothing
		said      int    // entries of a changed password
	}{
		"nothing happens": {func(*world, string, account.Account) error { return nil }, "", 1},
		"everything is ended": {func(w *world, _ string, a account.Account) error {
			return w.db.EndSessions(w.t.Context(), a.ID, "", w.clock.Now())
		}, "Password", 0},
		"the account changes": {func(w *world, _ string, a account.Account) error {
			a.Locale = "en"
			return w.db.UpdateAccount(w.t.Context(), a)
		}, "Choose a new password", 0},
		"the language is another": {func(w *world, path string, _ account.Account) error {
			w.post(path+"/language", "lang", "tr")
			return nil
		}, "Yeni şifrenizi belirleyin", 0},
		"the sign-in is given up":   {func(w *world, path string, _ account.Account) error { w.post(path + "/cancel"); return nil }, "", 0},
		"the record takes no entry": {func(w *world, _ string, _ account.Account) error { w.flow.Audit = dumb{}; return nil }, "Choose a new password", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			stored := secret.Hash("the new password")
			w.door.write = func(ctx context.Context) error {
				return w.db.UseOnce(ctx, "renewed", stored, w.clock.Now().Add(time.Hour))
			}
			path, id := w.start(), w.person.Account.ID
			w.leads(w.password(path, "old"), path+"/renew")
			before, err := w.db.Account(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			w.door.between = func() {
				if err := tc.meanwhile(w, path, before); err != nil {
					t.Error(err)
				}
			}
			r := w.post(path+"/renew", "new_password", "a good new password")
			w.flow.Audit = w.db
			events, err := w.db.EventsOf(t.Context(), string(id), []audit.Name{audit.PasswordChanged}, time.Time{}, 10)
			if err != nil || len(events) != tc.said {
				t.Errorf("the record holds %d, %v", len(events), err)
			}
			if again := w.db.UseOnce(t.Context(), "renewed", stored, w.clock.Now().Add(time.Hour)); (again == nil) != (tc.said == 0) {
				t.Errorf("stored: %v", again)
			}
			if has := w.jar["__Host-kapi-session"] != ""; has != (tc.said == 1) {
				t.Errorf("a session: %v", has)
			}
			if tc.then != "" {
				w.says(w.get(path), map[bool]int{true: 200, false: 303}[tc.then == "Password"])
				w.says(w.follow(path), 200, tc.then)
			}
			after, err := w.db.Account(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if tc.said == 1 {
				w.leads(r, "/authorize/callback?id="+strings.TrimPrefix(path, "/signin/"))
				// Whoever decided at the same time by the old one, such as whether it may stand alone, finds another account.
				before.TwoFactor = true
				if err := w.db.UpdateAccount(t.Context(), before); !errors.Is(err, fault.ErrConflict) || !after.ProofsSince.After(before.ProofsSince) {
					t.Errorf("an update by what was true before: %v; proofs since %v", err, after.ProofsSince)
				}
			}
		})
	}
}

// dumb is a record that takes nothing.
type dumb struct{}

func (dumb) Record(context.Context, audit.Event) error { return errors.New("the record is full") }

// follow opens a page and goes where it sends.
func (w *world) follow(path string) reply {
	w.t.Helper()
	r := w.get(path)
	for range 3 {
		if r.Code != http.StatusSeeOther {
			break
		}
		r = w.get(r.Header().Get("Location"))
	}
	return r
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
