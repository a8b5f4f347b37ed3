package visitor

import (
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/signin"
)

// max_age is kept when the answer goes out, not only when the session was looked at: a page may have waited for half an hour.
func TestMaxAgeWhenTheAnswerGoesOut(t *testing.T) {
	for name, tc := range map[string]struct {
		client clients.Client
		before time.Duration // how old the session is that is there; 0 = there is none
		age    int64
		ask    func(*signin.Ask)
		wait   time.Duration // on the page that is owed
		page   string        // where it is
		pairs  []string      // what is sent there then
		to     string        // "" = to the service
	}{
		"consent in time":                {clients.Client{Consent: "always"}, 50 * time.Second, 60, nil, 10 * time.Second, "consent", []string{"consent", "yes"}, ""},
		"consent too late":               {clients.Client{Consent: "always"}, 50 * time.Second, 60, nil, 11 * time.Second, "consent", []string{"consent", "yes"}, "with/door"},
		"a choice too late":              {clients.Client{Consent: "none"}, 50 * time.Second, 60, func(a *signin.Ask) { a.SelectAccount = true }, 11 * time.Second, "account", []string{"account", "same"}, "with/door"},
		"what the second step proves":    {clients.Client{Consent: "none"}, 50 * time.Second, 60, func(a *signin.Ask) { a.Want = acr.Substantial }, 11 * time.Second, "with/sms", []string{"code", "123456"}, ""},
		"proven here, max_age=0":         {clients.Client{Consent: "always"}, 0, 0, nil, 5 * time.Minute, "consent", []string{"consent", "yes"}, ""},
		"proven here, but long ago":      {clients.Client{Consent: "always"}, 0, 0, nil, 5*time.Minute + time.Second, "consent", []string{"consent", "yes"}, "with/door"},
		"proven here, within a long age": {clients.Client{Consent: "always"}, 0, 600, nil, 10 * time.Minute, "consent", []string{"consent", "yes"}, ""},
		"proven here, beyond it":         {clients.Client{Consent: "always"}, 0, 600, nil, 10*time.Minute + time.Second, "consent", []string{"consent", "yes"}, "with/door"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *clients.Client) { c.Consent = tc.client.Consent })
			if tc.before > 0 {
				first := w.start()
				w.password(first, "right")
				w.post(first+"/consent", "consent", "yes")
				w.clock.Advance(tc.before)
			}
			agreed, _ := w.db.Consent(t.Context(), w.person.Account.ID, "rp")
			path := w.start(func(a *signin.Ask) {
				a.MaxAge, a.Scopes = &tc.age, append(a.Scopes, "email")
				if tc.ask != nil {
					tc.ask(a)
				}
			})
			r := w.get(path)
			if tc.before == 0 {
				r = w.password(path, "right")
			}
			w.leads(r, path+"/"+tc.page)
			w.clock.Advance(tc.wait)
			r = w.post(path+"/"+tc.page, tc.pairs...)
			done := "/authorize/callback?id=" + strings.TrimPrefix(path, "/signin/")
			if tc.to == "" {
				w.leads(r, done)
				return
			}
			w.leads(r, path+"/"+tc.to)
			if now, err := w.db.Consent(t.Context(), w.person.Account.ID, "rp"); err != nil || len(now) != len(agreed) {
				t.Errorf("agreed to %v by nobody, %v", now, err)
			}
			r = w.password(path, "right") // whoever signs in again is asked no third time
			if tc.client.Consent == "always" {
				w.leads(r, path+"/consent")
				r = w.post(path+"/consent", "consent", "yes")
			}
			w.leads(r, done)
		})
	}
}

// A consent page that is shown is not for nothing: whose sign-in is too old by now is asked for it first.
func TestMaxAgeBeforeTheConsentIsShown(t *testing.T) {
	w := newWorld(t, func(c *clients.Client) { c.Consent = "always" })
	age := int64(600)
	path := w.start(func(a *signin.Ask) { a.MaxAge = &age })
	w.leads(w.password(path, "right"), path+"/consent")
	w.clock.Advance(11 * time.Minute)
	w.leads(w.get(path+"/consent"), path+"/with/door")
}

// A service that asks for a little more, and then for what it had, asks the person once for each.
func TestConsentOnceIsForAll(t *testing.T) {
	w := newWorld(t, func(c *clients.Client) { c.Consent = "once" })
	asks := func(scopes ...string) string {
		return w.start(func(a *signin.Ask) { a.Scopes = append([]string{"openid"}, scopes...) })
	}
	path := asks("profile", "email")
	w.leads(w.password(path, "right"), path+"/consent")
	w.post(path+"/consent", "consent", "yes")
	path = asks("profile", "phone")
	w.leads(w.get(path), path+"/consent")
	w.post(path+"/consent", "consent", "yes")
	for _, scopes := range [][]string{{"profile", "email"}, {"profile", "phone"}, {"email", "phone"}} {
		path = asks(scopes...)
		w.leads(w.get(path), "/authorize/callback?id="+strings.TrimPrefix(path, "/signin/"))
	}
}
