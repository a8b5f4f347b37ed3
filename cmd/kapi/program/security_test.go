package program_test

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// Elif has everything by which people are told: an e-mail address and a proven phone.
const told = `[{"national_id":"10000000146","kind":"citizen","given_name":"Elif","family_name":"Aydın","birthdate":"1985-04-23","locale":"en",
  "phone":"+905550000009","phone_grade":"id_verified","email":"elif@example.org","email_verified":true,"password":"mavi kapı sabah 7"}]`

const elif, elifPassword, elifPhone, elifMail = "10000000146", "mavi kapı sabah 7", "+905550000009", "elif@example.org"

// seal is a first factor as strong as a signature: a badge whose proof reaches the top.
type seal struct{ *cell }

const sealPage = `{{define "heading"}}{{t "seal.heading"}}{{end}}
{{define "factor-page"}}{{template "input" (field . "national_id" "label" "seal.person")}}{{template "input" (field . "code" "label" "seal.code")}}{{end}}`

const sealWords = `{"factor.seal": {"tr": "Mühür", "en": "Seal"}, "seal.heading": {"tr": "Mührünüzle girin", "en": "Enter with your seal"},
 "seal.person": {"tr": "Kimlik no", "en": "ID number"}, "seal.code": {"tr": "Mühür kodu", "en": "Code of the seal"}}`

func (s seal) Verify(ctx context.Context, try factors.Try, answer factors.Answer) (factors.Proof, error) {
	p, err := s.cell.Verify(ctx, try, answer)
	if err == nil {
		p.Level, p.Kinds, p.AMR = acr.High, factors.Have|factors.Know, []string{"sc", "pin"}
	}
	return p, err
}

// withNotices runs a test in a Kapi with a mail gateway, where Elif has a seal.
func withNotices(t *testing.T, test func(t *testing.T, k *testkapi.Kapi)) {
	t.Parallel()
	for _, postgres := range []bool{false, true} {
		name := map[bool]string{false: "sqlite", true: "postgres"}[postgres]
		t.Run(name, func(t *testing.T) {
			var stamp *cell
			mail := &postbox{}
			k := testkapi.Start(t, testkapi.Options{Postgres: postgres, Channels: map[string][]notify.Route{"mail": {{Gateway: mail, Weight: 1}}},
				Factors: func(kit func(string) factors.Kit) []factors.Factor {
					stamp = &cell{kit: kit("seal"), info: factors.Info{Name: "seal", Stage: factors.First, Order: 80, Tries: slow, Level: acr.High, Signs: true},
						pages: fstest.MapFS{"page.html": {Data: []byte(sealPage)}, "words.json": {Data: []byte(sealWords)}}}
					return []factors.Factor{seal{stamp}}
				}})
			mail.Phone = k.Phone
			k.People(told)
			stamp.give(t, k, elif, cardCode)
			test(t, k)
		})
	}
}

// postbox is a mail gateway that puts what comes beside the texts.
type postbox struct{ *testkapi.Phone }

func (postbox) Name() string { return "postbox" }

// queued counts messages of a channel that ever left or wait, those with a code apart.
func queued(t *testing.T, k *testkapi.Kapi, channel string) int {
	t.Helper()
	return one[int](t, owner(t, k), "SELECT count(*) FROM outbox WHERE channel = '"+channel+"' AND ticket = ''")
}

var notMeLink = regexp.MustCompile(`https?://\S+/not-me\?t=\S+`)

func TestANewBrowserIsToldOfAndCanBeDisavowed(t *testing.T) {
	withNotices(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := refreshing(k, "ssi")
		b := testkapi.NewBrowser(t)
		b.Open(rp.URL())
		signIn(k, b, elif, elifPassword, "", 0)
		rp.Answer(b)
		mail := k.Phone.Told(t, elifMail, 1)
		for _, part := range []string{"Security notice: Your account was signed in to from a new browser", "127.0.0.1", "If this was you, there is nothing to do.", "It was not me"} {
			if !strings.Contains(mail, part) {
				t.Errorf("the mail does not say %q:\n%s", part, mail)
			}
		}
		// The browser is known from now on, also after signing out.
		b.Open(k.URL + "/me").See("1 new notice").Press("Sign out")
		b.Open(k.URL + "/me")
		signIn(k, b, elif, elifPassword, "", 0)
		b.See("My account").Follow("Notices").See("signed in to from a new browser", "It was not me")
		b.Open(k.URL + "/me").See("No new notices")
		if n, texts := queued(t, k, "mail"), queued(t, k, "sms"); n != 1 || texts != 0 {
			t.Errorf("%d mails and %d texts", n, texts)
		}

		// What stands and what is under way: a token, a session, a sign-in parked before its code, one whose code was not redeemed.
		tokens := machinePost(t, k, rp, "/oauth/token", rp.Redemption(b.Open(rp.URL())))
		if tokens.Status != http.StatusOK {
			t.Fatalf("%d %s", tokens.Status, tokens.Body)
		}
		parked := testkapi.NewBrowser(t)
		at := send(t, parked, http.MethodGet, rp.URL(), nil).Location
		ready := send(t, parked, http.MethodPost, k.URL+at+"/with/password", url.Values{"national_id": {elif}, "password": {elifPassword}}).Location
		if !strings.Contains(ready, "/authorize/callback") {
			t.Fatalf("went to %s", ready)
		}

		link := notMeLink.FindString(mail)
		if !strings.HasPrefix(link, k.URL) {
			t.Fatalf("link %q", link)
		}
		reader := testkapi.NewBrowser(t)
		for range 2 {
			reader.Open(link).See("Was it not you?")
		}
		if b.Open(k.URL + "/me").See("My account"); strings.Contains(k.Log.String(), link[strings.Index(link, "t=")+2:]) {
			t.Error("the token of the link is in the log")
		}
		reader.Press("It was not me").See("You are signed out everywhere", "Now change your password")
		b.Open(k.URL + "/me").See("Sign in").DontSee("My account")
		if r := machinePost(t, k, rp, "/oauth/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {member(t, tokens.Body, "refresh_token")}}); r.Status == http.StatusOK {
			t.Error("the refresh token lives")
		}
		if q := rp.Left(parked.Open(resolve(k, ready))); q.Get("error") != "access_denied" || q.Has("code") || q.Get("state") == "" {
			t.Errorf("a sign-in that had only to be answered went back with %v", q)
		}
		if parked.Open(resolve(k, ready)); parked.Left() != nil || parked.Status != http.StatusGone {
			t.Errorf("and again: %d %s", parked.Status, parked.URL)
		}
		reader.Open(link).See("This link no longer works")
		// The person hears of it by all ways, and the browser is new again.
		if text := k.Phone.Told(t, elifPhone, 1); !strings.Contains(text, "signed out everywhere") || strings.Contains(text, "http") {
			t.Errorf("text %q", text)
		}
		b.Open(k.URL + "/me")
		signIn(k, b, elif, elifPassword, "", 0)
		b.See("My account").Open(k.URL + "/me/signins").See("“It was not me” was pressed")
	})
}

func TestItWasNotMeFromTheHistory(t *testing.T) {
	withNotices(t, func(t *testing.T, k *testkapi.Kapi) {
		thief := me(k, t, elif, elifPassword, "", 0)
		k.Clock.Add(time.Minute)
		b := me(k, t, elif, elifPassword, "", 0)
		b.Follow("Sign-ins").See("It was not me").Press("It was not me").See("You are signed out everywhere")
		thief.Open(k.URL + "/me").See("Sign in").DontSee("My account")
		b.Open(k.URL + "/me/password").See("Sign in")
		signIn(k, b, elif, elifPassword, "", 0)
		b.See("Current password", "New password")
	})
}

// Every way is told, in the person's language; a text message has no link.
func TestAChangeIsToldByAllWays(t *testing.T) {
	withNotices(t, func(t *testing.T, k *testkapi.Kapi) {
		b := me(k, t, elif, elifPassword, "", 0)
		k.Phone.Told(t, elifMail, 1)
		b.Open(k.URL + "/me/password").Submit(map[string]string{"password": elifPassword, "new_password": "yeşil vapur akşam 3"}).See("Your password has been changed.")
		text, mail := k.Phone.Told(t, elifPhone, 1), k.Phone.Told(t, elifMail, 2)
		if !strings.Contains(text, "Your password was changed.") || strings.Contains(text, "http") || strings.Contains(text, "/not-me") {
			t.Errorf("text %q", text)
		}
		if !strings.HasPrefix(mail, "Security notice: Your password was changed\n") || notMeLink.FindString(mail) == "" {
			t.Errorf("mail %q", mail)
		}
		b.Open(k.URL + "/me/notices").See("Your password was changed.")
		if n := one[int](t, owner(t, k), "SELECT count(*) FROM outbox WHERE channel = 'push'"); n != 0 {
			t.Errorf("%d pushes wait for nobody", n)
		}
	})
}

// F3: whoever is guessed at hears of it once a day, and pays no text message for it.
func TestF3_TheOwnerIsTold(t *testing.T) {
	withNotices(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", nil)
		for range 60 {
			attacker := testkapi.NewBrowser(t)
			page := attacker.Open(rp.URL()).Target("national_id")
			for range 3 {
				send(t, attacker, http.MethodPost, page, url.Values{"national_id": {elif}, "password": {"wrong"}})
			}
			k.Clock.Add(time.Minute)
		}
		mail := k.Phone.Told(t, elifMail, 1)
		if !strings.Contains(mail, "too many wrong tries") || notMeLink.MatchString(mail) {
			t.Errorf("mail %q", mail)
		}
		if mails, texts := queued(t, k, "mail"), queued(t, k, "sms"); mails != 1 || texts != 0 {
			t.Errorf("%d mails and %d texts in an hour", mails, texts)
		}
	})
}

func TestAClosedPasswordReadsLikeAWrongOne(t *testing.T) {
	withNotices(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", nil)
		b := me(k, t, elif, elifPassword, "", 0)
		b.Open(k.URL+"/me/security/access").See("Password", "only after signing in with an e-signature or a mobile signature").DontSee("nobody can sign in this way")

		parked := testkapi.NewBrowser(t) // past the password, when it was still open
		consenting := k.RP("asks", map[string]any{"kapi_consent": "once", "scope": "openid profile"})
		parked.Open(consenting.URL("scope", "openid profile"))
		signIn(k, parked, elif, elifPassword, "", 0)
		parked.See("Do you want to share your data?")

		strong := testkapi.NewBrowser(t).Open(k.URL + "/me")
		strong.Follow("Seal").Submit(map[string]string{"national_id": elif, "code": cardCode}).See("My account")
		strong.Follow("Security settings").Follow("Access restrictions").See("You are signed in this way now")
		strong.Follow("Close").See("Close this way to sign in?", "nobody can sign in this way").Press("Close").See("This way to sign in is closed.")
		if text := k.Phone.Told(t, elifPhone, 1); !strings.Contains(text, "Signing in this way was closed: Password.") {
			t.Errorf("text %q", text)
		}

		answer := func(password string) (reply, int64) {
			x := testkapi.NewBrowser(t)
			page := x.Open(rp.URL()).Target("national_id")
			k.Hashes.Store(0)
			r := send(t, x, http.MethodPost, page, url.Values{"national_id": {elif}, "password": {password}})
			r.Body = regexp.MustCompile(`/signin/[0-9a-f-]{36}|[0-9a-f-]{36}`).ReplaceAllString(r.Body, "")
			return r, k.Hashes.Load()
		}
		right, work := answer(elifPassword)
		wrong, same := answer("not at all this one")
		if right.Status != wrong.Status || right.Body != wrong.Body || work != same || work == 0 || !strings.Contains(right.Body, wrongSignIn) {
			t.Errorf("%d and %d, %d and %d hashes, bodies alike: %v", right.Status, wrong.Status, work, same, right.Body == wrong.Body)
		}
		mails := k.Phone.Notices(elifMail)
		for len(mails) < 5 && !strings.Contains(strings.Join(mails, "\n"), "a way that you have closed") {
			mails = append(mails, k.Phone.Told(t, elifMail, len(mails)+1))
		}
		if !strings.Contains(strings.Join(mails, "\n"), "Somebody tried to sign in by a way that you have closed: Password. They did not get in.") {
			t.Errorf("mails %q", mails)
		}
		// What the password proved before counts no more, neither in a sign-in under way nor in an open session, which may be the thief's
		// for whom it was closed; the session that closed it stays.
		parked.Open(parked.URL.String()).See("Password").DontSee("share your data")
		b.Open(k.URL + "/me").See("Sign in").DontSee("My account")
		strong.Open(k.URL + "/me").See("My account")

		strong.Open(k.URL + "/me/security/access").Follow("Open").See("Open this way to sign in?").Press("Open").See("This way to sign in is open.")
		again := testkapi.NewBrowser(t).Open(k.URL + "/me")
		signIn(k, again, elif, elifPassword, "", 0)
		again.See("My account").Open(k.URL+"/me/signins").See("Signing in this way was closed: Password.", "Try by a way that is closed: refused")
	})
}
