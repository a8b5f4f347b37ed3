package program_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// load lets n people at a time sign in, again and again, until stop.
func (r *releases) load(n int) {
	for range n {
		r.workers.Go(func() {
			for !r.done.Load() && r.story() {
			}
		})
	}
}

// until lets the state last until n more people have come from the service to their own page and back.
func (r *releases) until(state string, n int64) {
	r.t.Helper()
	r.state.Store(state)
	target := r.stories.Load() + n + 3 // those that began before
	for r.stories.Load() < target {
		if r.t.Failed() {
			r.t.FailNow()
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.t.Logf("%s: %d stories", state, r.stories.Load())
}

// newcomer is somebody in a new browser in a network of their own.
func (r *releases) newcomer() (person int, b *testkapi.Browser, rp *testkapi.RP) {
	n := int(r.people.Add(1))
	b = testkapi.NewBrowser(r.t)
	b.Header.Set("X-Forwarded-For", fmt.Sprintf("198.51.%d.%d", 100+n/250, 1+n%250))
	rp = r.k.Known("ssi", releaseSecret, "https://ssi.example/cb", "ES256")
	rp.OAuth.Scopes = []string{"openid", "profile", "offline_access"}
	return 5000 + n%crowdSize, b, rp
}

// story is one person's: a sign-in with password and SMS, the tokens of it used and renewed, their own page, single sign-on, signing out.
func (r *releases) story() (whole bool) {
	began := r.state.Load()
	t, k := r.t, r.k
	defer func() {
		if !whole {
			t.Errorf("a story that began in %q broke in %q", began, r.state.Load())
		}
	}()
	person, b, rp := r.newcomer()
	b.Open(rp.URL())
	if person%3 == 0 {
		b.Submit(map[string]string{"national_id": number(person), "password": "not the right one"}).See(wrongSignIn)
	}
	before := len(k.Phone.Inbox(phoneOf(person)))
	b.Submit(map[string]string{"national_id": number(person), "password": "the right one of all"})
	if b.Left() != nil {
		t.Error("let in without a second factor")
		return false
	}
	b.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(person), before+1)})
	got := rp.Answer(b)
	if !slices.Equal(got.Claims.AMR, []string{"pwd", "sms", "mca", "mfa"}) || got.Claims.ACR != substantial {
		t.Errorf("amr %v, acr %s", got.Claims.AMR, got.Claims.ACR)
	}
	token, access := got.RefreshToken, got.AccessToken
	for range 3 {
		if s := userinfo(t, k, access); s != http.StatusOK {
			t.Errorf("userinfo %d", s)
		}
		a := refresh(t, k, rp, token)
		if a.Status != http.StatusOK {
			t.Errorf("refresh %d %s", a.Status, a.Body)
			return false
		}
		token, access = member(t, a.Body, "refresh_token"), member(t, a.Body, "access_token")
	}
	b.Open(k.URL + "/me").See("My account")
	b.Open(rp.URL())
	if again := rp.Answer(b); again.Claims.Subject != got.Claims.Subject {
		t.Errorf("another subject: %s", again.Claims.Subject)
	}
	b.Open(k.URL + "/end_session?id_token_hint=" + url.QueryEscape(got.IDToken))
	if strings.Contains(b.Body, `name="confirm"`) { // the old release does not know its session by the name that the new one gave it, and asks
		r.asked.Add(1)
		b.Submit(map[string]string{"confirm": "yes"})
	}
	if b.Status != http.StatusOK {
		t.Errorf("signing out: %d", b.Status)
	}
	if s, a := userinfo(t, k, access), refresh(t, k, rp, token); s != http.StatusUnauthorized || oauthError(a) != "invalid_grant" {
		t.Errorf("after signing out: userinfo %d, refresh %d %s", s, a.Status, a.Body)
	}
	r.stories.Add(1)
	return true
}

// O10: the oldest release and this one on one database, under load, through every state of an upgrade and back: no request fails, nobody
// begins anew, and nobody is let in by less.
func TestO10_TwoReleases(t *testing.T) {
	if rounds() <= 20 {
		t.Skip("in the slow set: it builds the first release from the history")
	}
	t.Parallel()
	r := installed(t)
	old := r.serve("old")
	r.load(3)
	r.until("the old release alone", 6)

	r.state.Store("not migrated")
	if said := r.kapi("new", 1, "serve"); !strings.Contains(said, "kapi migrate") {
		t.Errorf("on the old schema the new release says %s", said)
	}
	r.until("not migrated", 6)

	r.state.Store("while it is migrated")
	r.kapi("new", 0, "migrate")
	r.until("the old release on the new schema", 12)
	if n := r.asked.Load(); n != 0 {
		t.Errorf("the old release alone asked %d times whether to sign out", n)
	}

	fresh := r.serve("new")
	answered := [2]int64{old.answered.Load(), fresh.answered.Load()}
	r.until("both releases", 24)
	r.kapi("new", 0, "keys", "rotate")
	r.until("both releases, a new key", 6)
	if a, b := old.answered.Load()-answered[0], fresh.answered.Load()-answered[1]; a < 100 || b < 100 {
		t.Errorf("%d requests to the old and %d to the new release", a, b)
	}

	// What only the new release knows is set up at the new release.
	r.route("new")
	r.state.Store("the new release in front of the old one")
	holder, b, rp := r.newcomer()
	n := len(r.k.Phone.Inbox(phoneOf(holder)))
	b.Open(r.k.URL + "/me/security").Submit(map[string]string{"national_id": number(holder), "password": "the right one of all"})
	b.Submit(map[string]string{"code": r.k.Phone.Code(t, phoneOf(holder), n+1)})
	device := b.Registered(r.k, "A phone")
	r.until("the new release in front of the old one", 6)

	// Back: the old release alone on what the new one wrote.
	r.route("")
	r.state.Store("rolling back")
	r.drain(fresh)
	r.until("rolled back", 12)
	b = testkapi.NewBrowser(t)
	b.Header.Set("X-Forwarded-For", "198.51.99.1")
	n = len(r.k.Phone.Inbox(phoneOf(holder)))
	b.Open(rp.URL()).Submit(map[string]string{"national_id": number(holder), "password": "the right one of all"})
	if b.Left() != nil {
		t.Error("who has a factor that the old release does not know is let in without any")
	}
	b.Submit(map[string]string{"code": r.k.Phone.Code(t, phoneOf(holder), n+1)})
	rp.Answer(b)
	r.state.Store("the old release is restarted on the new schema")
	second := r.serve("old")
	r.drain(old)
	r.until("the old release, restarted", 12)

	// And forward again, for good.
	fresh = r.serve("new")
	r.until("both releases again", 6)
	r.drain(second)
	asked := r.asked.Load()
	r.until("the new release alone", 6)
	if n := r.asked.Load() - asked; n != 0 {
		t.Errorf("the new release asked %d times whether to sign out", n)
	}
	r.done.Store(true)
	r.workers.Wait()
	b = testkapi.NewBrowser(t)
	b.Header.Set("X-Forwarded-For", "198.51.99.2")
	b.Open(rp.URL()).Submit(map[string]string{"national_id": number(holder), "password": "the right one of all"})
	if a := b.Approve(device); a.Status != http.StatusNoContent {
		t.Fatalf("approve: %d %s", a.Status, a.Body)
	}
	rp.Answer(b.Press("I have approved"))
	r.drain(fresh)
	for release, args := range map[string][]string{"old": {"audit", "verify"}, "new": {"audit", "verify", "--without-anchor"}} {
		if said := r.kapi(release, 0, args...); !strings.Contains(said, "the record is whole") {
			t.Errorf("the %s release says of the record: %s", release, said)
		}
	}
}
