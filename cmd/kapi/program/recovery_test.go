package program_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/testkapi"
	recoverypages "github.com/kapi-id/kapi/loginui/recovery"
)

const (
	newPassword = "gümüş balık ırmakta 9"
	nothingSaid = "If what you entered matches our records"
)

// recoverable is a person with everything that a recovery can ask for.
func recoverable(i int, more string) string {
	return fmt.Sprintf(`[{"national_id":%q,"kind":"citizen","given_name":"Deniz","family_name":"Işık","birthdate":"1980-01-31","locale":"en",
"phone":%q,"phone_grade":"id_verified","email":"deniz%d@example.org","email_verified":true,"password":"the one I forgot now 1","documents":[{"type":"id_card","serial":"A12B34567"}]%s}]`,
		number(i), phoneOf(i), i, more)
}

// renewing walks to the code with what is right of a recoverable person, but for what change says.
func renewing(b *testkapi.Browser, i int, change map[string]string) *testkapi.Browser {
	b.T.Helper()
	f := map[string]string{"national_id": number(i), "birthdate": "31.01.1980", "family_name": "IŞIK", "document": "id_card", "serial": "a12b34567", "phone": phoneOf(i), "email": ""}
	for k, v := range change {
		f[k] = v
	}
	pick := func(names ...string) map[string]string {
		out := map[string]string{}
		for _, n := range names {
			out[n] = f[n]
		}
		return out
	}
	b.Submit(map[string]string{"reason": "forgot"}).See("Enter your ID number")
	b.Submit(pick("national_id")).See("Enter your identity details")
	b.Submit(pick("birthdate", "family_name", "document", "serial")).See("Enter your verified phone")
	return b.Submit(pick("phone", "email")).See(nothingSaid)
}

// posted runs a test on both databases, on Postgres with two replicas, with a mailbox beside the phone.
func posted(t *testing.T, test func(t *testing.T, k *testkapi.Kapi)) {
	t.Parallel()
	for _, replicas := range []int{1, 2} {
		t.Run(fmt.Sprint(replicas), func(t *testing.T) {
			box := &testkapi.Phone{}
			k := testkapi.Start(t, testkapi.Options{Replicas: replicas, Postgres: replicas > 1, Channels: map[string][]notify.Route{"mail": {{Gateway: box, Weight: 1}}}})
			boxes.Store(k, box)
			test(t, k)
		})
	}
}

var boxes sync.Map // *testkapi.Kapi → *testkapi.Phone, that takes the mail

// letters are all texts and mails that came to somebody.
func letters(k *testkapi.Kapi, to string) []string {
	all := append(k.Phone.Inbox(to), k.Phone.Notices(to)...)
	if box, ok := boxes.Load(k); ok {
		all = append(append(all, box.(*testkapi.Phone).Inbox(to)...), box.(*testkapi.Phone).Notices(to)...)
	}
	return all
}

// sent waits for the n-th message to somebody and returns it.
func sent(t testing.TB, k *testkapi.Kapi, to, with string, n int) string {
	t.Helper()
	var found []string
	eventually(t, with+" to "+to, func() bool {
		found = nil
		for _, text := range letters(k, to) {
			if strings.Contains(text, with) {
				found = append(found, text)
			}
		}
		return len(found) >= n
	})
	return found[n-1]
}

var (
	undoLink = regexp.MustCompile(`\S+/undo\?link=\S+`)
	undoCode = regexp.MustCompile(`[A-Z2-9]{4}-[A-Z2-9]{4}`)
)

func TestForgottenPassword(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		k.People(recoverable(1, ""))
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		b.Open(rp.URL()).Follow("Forgot your password?").See("The ssi service", "What has happened?")
		renewing(b, 1, nil).See("The ssi service")
		b.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 1)}).See("Set your new password", "The ssi service")
		b.Submit(map[string]string{"new_password": "short"}).See("There is a problem")
		if b.Status != http.StatusUnprocessableEntity {
			t.Errorf("status %d", b.Status)
		}
		b.Submit(map[string]string{"new_password": newPassword}).See("Your password has been renewed")
		if b.Cookie("kapi-session") != "" {
			t.Error("a session was opened")
		}
		b.Follow("Sign in").Submit(map[string]string{"national_id": number(1), "password": "the one I forgot now 1"}).See(wrongSignIn)
		b.Submit(map[string]string{"national_id": number(1), "password": newPassword})
		if got := rp.Answer(b).Claims; got.ACR != low {
			t.Errorf("acr %s", got.ACR)
		}
		sent(t, k, phoneOf(1), "Undo a change", 1)
		sent(t, k, "deniz1@example.org", "/undo?link=", 1)
	})
}

// RC1: the second factor is still asked for, and no step is jumped over with whatever address, method or body.
func TestRC1_TheSecondFactorStays(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		k.People(recoverable(1, `,"two_factor":true`))
		rp, b := k.RP("ssi", nil), testkapi.NewBrowser(t)
		b.Open(k.URL + "/recover").Submit(map[string]string{"reason": "forgot"})
		id := b.URL.Path[len("/recover/"):strings.LastIndex(b.URL.Path, "/")]
		for _, step := range []string{"details", "contact", "code", "mail", "password", "done", "over"} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodHead} {
				for _, form := range []url.Values{nil, {}, {"new_password": {"jumped over all of it"}, "code": {"123456"}, "phone": {phoneOf(1)}, "birthdate": {"31.01.1980"}}} {
					if method == http.MethodGet && form != nil {
						continue
					}
					r := send(t, b, method, k.URL+"/recover/"+id+"/"+step, form)
					if r.Status == 200 || r.Status >= 500 || r.Status == 303 && !strings.HasSuffix(r.Location, "/recover/"+id) {
						t.Errorf("%s %s: %d %s", method, step, r.Status, r.Location)
					}
				}
			}
		}
		b.Open(k.URL + "/recover")
		renewing(b, 1, nil)
		b.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 1)}).Submit(map[string]string{"new_password": newPassword}).See("renewed")
		b.Open(rp.URL()).Submit(map[string]string{"national_id": number(1), "password": newPassword})
		if b.Left() != nil || !strings.HasSuffix(b.URL.Path, "/with/sms") {
			t.Fatalf("the second step was not asked: %s", b.URL)
		}
		b.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 2)})
		rp.Answer(b)
	})
}

// RC1: somebody else's code opens nothing: another browser, another recovery, another person.
func TestRC1_AnothersCode(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		k.People(recoverable(1, ""))
		k.People(recoverable(2, ""))
		a, v := testkapi.NewBrowser(t), testkapi.NewBrowser(t)
		renewing(a.Open(k.URL+"/recover"), 1, nil)
		hers := k.Phone.Code(t, phoneOf(1), 1)
		renewing(v.Open(k.URL+"/recover"), 2, nil)
		mine := k.Phone.Code(t, phoneOf(2), 1)
		if hers != mine {
			v.Submit(map[string]string{"code": hers}).See("The code is wrong")
		}
		thief := testkapi.NewBrowser(t)
		thief.Open(k.URL + "/")
		if r := send(t, thief, http.MethodPost, v.URL.String(), url.Values{"code": {mine}}); r.Status != 403 {
			t.Errorf("another browser: %d", r.Status)
		}
		v.Submit(map[string]string{"code": mine}).See("Set your new password")
		if r := send(t, thief, http.MethodPost, v.URL.String(), url.Values{"new_password": {newPassword}}); r.Status != 403 {
			t.Errorf("another browser: %d", r.Status)
		}
		// Sent from another site (RC3).
		if r := send(t, v, http.MethodPost, v.URL.String(), url.Values{"new_password": {newPassword}}, "Sec-Fetch-Site", "cross-site"); r.Status != 403 {
			t.Errorf("from another site: %d", r.Status)
		}
	})
}

// RC1: a thousand guesses over two replicas at a code with the right one among them; five are compared.
func TestRC1_CodeGuessesInParallel(t *testing.T) {
	posted(t, guessRecoveryCodes)
}

func guessRecoveryCodes(t *testing.T, k *testkapi.Kapi) {
	k.People(recoverable(1, ""))
	b := testkapi.NewBrowser(t)
	renewing(b.Open(k.URL+"/recover"), 1, nil)
	right := k.Phone.Code(t, phoneOf(1), 1)
	var compared, other atomic.Int64
	race(200, func(i int) {
		guess := fmt.Sprintf("%06d", i)
		if guess == right {
			guess = "999999"
		}
		switch r := send(t, b, http.MethodPost, b.URL.String(), url.Values{"code": {guess}}); {
		case strings.Contains(r.Body, "You have") && strings.Contains(r.Body, "left"):
			compared.Add(1)
		case r.Status == 422 || r.Status == 429:
			other.Add(1)
		default:
			t.Errorf("%d %s", r.Status, r.Location)
		}
	})
	if compared.Load() != 4 || compared.Load()+other.Load() != 200 { // the fifth says that no tries are left
		t.Errorf("%d compared, %d refused", compared.Load(), other.Load())
	}
	if r := send(t, b, http.MethodPost, b.URL.String(), url.Values{"code": {right}}); r.Status == 303 {
		t.Error("the right one works after the guesses")
	}
}

// F2: pages, headers, cookies and lengths tell nothing of who is who.
func TestF2_RecoveryTellsNothing(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		k.People(recoverable(1, ""))
		k.People(strings.Replace(recoverable(2, ""), `"citizen"`, `"foreigner"`, 1))
		k.People(strings.Replace(recoverable(3, ""), "1980-01-31", time.Now().AddDate(-10, 0, 0).Format(time.DateOnly), 1))
		k.People(strings.Replace(recoverable(4, ""), "id_verified", "declared", 1))
		id := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)
		moving := regexp.MustCompile(`\d\d:\d\d|data-seconds="\d+"|/static/[^"]+`)
		var want []string
		for _, i := range []int{1, 2, 3, 4, 5} { // the fifth is nobody
			k.Clock.Add(time.Hour)
			b := testkapi.NewBrowser(t)
			var got []string
			note := func() {
				h := b.Reply.Clone()
				h.Del("Date")
				h.Del("X-Request-Id")
				got = append(got, fmt.Sprint(b.Status, h, moving.ReplaceAllString(id.ReplaceAllString(b.Body, "ID"), "…")))
			}
			renewing(b.Open(k.URL+"/recover"), i, nil)
			note()
			if i == 1 {
				k.Phone.Code(t, phoneOf(1), 1)
			}
			b.Submit(map[string]string{"code": "000000"})
			note()
			if want == nil {
				want = got
			}
			for n := range got {
				if strings.ReplaceAll(got[n], number(i), "N") != strings.ReplaceAll(want[n], number(1), "N") {
					t.Errorf("person %d, page %d:\n%s\nthe others:\n%s", i, n, got[n], want[n])
				}
			}
		}
		for _, i := range []int{2, 3, 4, 5} {
			if n := len(k.Phone.Inbox(phoneOf(i))); n > 0 {
				t.Errorf("%d codes to person %d", n, i)
			}
		}
	})
}

// RC3: an address or a number that is not proven recovers nothing, and where both were chosen one is not enough.
func TestRC3_ContactsProveThemselves(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		k.People(recoverable(1, ""))
		b := testkapi.NewBrowser(t)
		b.Open(k.URL + "/me/security/recovery").Submit(map[string]string{"national_id": number(1), "password": "the one I forgot now 1"})
		b.Submit(map[string]string{"by": "both"}).See("Change how your password is renewed?").Press("Save").See("Your choice was saved")
		if n := one[int64](t, owner(t, k), "SELECT (SELECT COUNT(*) FROM audit_pending WHERE name = 'recovery.method') + (SELECT COUNT(*) FROM audit_log WHERE name = 'recovery.method')"); n != 1 {
			t.Errorf("%d events", n)
		}
		renewing(testkapi.NewBrowser(t).Open(k.URL+"/recover"), 1, nil)
		k.Clock.Add(time.Minute)
		renewing(testkapi.NewBrowser(t).Open(k.URL+"/recover"), 1, map[string]string{"email": "eve@example.org"})
		k.Clock.Add(time.Minute)
		c := testkapi.NewBrowser(t)
		renewing(c.Open(k.URL+"/recover"), 1, map[string]string{"email": "Deniz1@example.org"})
		code := k.Phone.Code(t, phoneOf(1), 1)
		if n := len(k.Phone.Inbox(phoneOf(1))); n != 1 {
			t.Errorf("%d codes for one recovery of three", n)
		}
		c.Submit(map[string]string{"code": code}).See("Enter the code sent to your e-mail")
		mail := sent(t, k, "Deniz1@example.org", "security code", 1)
		c.Submit(map[string]string{"code": regexp.MustCompile(`\d{6}`).FindString(mail)}).See("Set your new password")
		c.Submit(map[string]string{"new_password": newPassword}).See("renewed")
		if n := len(letters(k, "eve@example.org")); n > 0 {
			t.Error("somebody else got mail")
		}
		// Without a verified address nobody can choose both.
		k.People(strings.Replace(recoverable(2, ""), `"email_verified":true`, `"email_verified":false`, 1))
		d := testkapi.NewBrowser(t)
		d.Open(k.URL + "/me/security/recovery").Submit(map[string]string{"national_id": number(2), "password": "the one I forgot now 1"})
		d.Submit(map[string]string{"by": "both"}).See("This needs a verified e-mail address").DontSee("was saved")
	})
}

// RC4: what somebody else had is dead after a recovery, everybody is told, and the factors rest for a day.
func TestRC4_RecoveryEndsEverything(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		k.People(recoverable(1, `,"two_factor":true`))
		rp := refreshing(k, "mailer")
		thief := testkapi.NewBrowser(t)
		thief.Open(rp.URL()).Submit(map[string]string{"national_id": number(1), "password": "the one I forgot now 1"})
		thief.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 1)})
		tokens := rp.Answer(thief)
		thief.Open(k.URL + "/me").See("My account")
		k.Clock.Add(time.Minute)
		parked := testkapi.NewBrowser(t)
		parked.Open(rp.URL()).Submit(map[string]string{"national_id": number(1), "password": "the one I forgot now 1"})
		parkedCode := k.Phone.Code(t, phoneOf(1), 2)

		k.Clock.Add(time.Minute)
		owner := testkapi.NewBrowser(t)
		owner.Open(k.URL + "/recover")
		renewing(owner, 1, nil)
		owner.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 3)}).Submit(map[string]string{"new_password": newPassword}).See("renewed")

		everywhere(k, func(replica int) {
			thief.Open(k.URL + "/me").DontSee("My account")
			if s := userinfo(t, k, tokens.AccessToken); s != 401 {
				t.Errorf("replica %d: userinfo %d", replica, s)
			}
			if r := refresh(t, k, rp, tokens.RefreshToken); oauthError(r) != "invalid_grant" {
				t.Errorf("replica %d: refresh %d %s", replica, r.Status, r.Body)
			}
		})
		if r := send(t, parked, http.MethodPost, parked.URL.String(), url.Values{"code": {parkedCode}}); strings.Contains(r.Location, "callback") {
			t.Error("a parked sign-in came through")
		}
		sent(t, k, phoneOf(1), "Undo a change", 1)
		sent(t, k, "deniz1@example.org", "/undo?link=", 1)

		// The thief knows the new password, say, and the phone: nothing is switched off for a day.
		k.Clock.Add(time.Minute)
		thief.Open(k.URL + "/me/two-factor/off").Submit(map[string]string{"national_id": number(1), "password": newPassword})
		thief.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 4)})
		for _, path := range []string{"/me/two-factor/off", "/me/security", "/me/security/device", "/me/security/totp", "/me/security/webauthn", "/me/security/backup", "/me/security/access", "/me/security/recovery", "/me/contact", "/me/contact/phone"} {
			thief.Open(k.URL+path).See("Your password was renewed by phone a short while ago", "cannot be changed until") // before anything is sent
		}
		off := func() reply { return send(t, thief, http.MethodPost, k.URL+"/me/two-factor/off", url.Values{}) }
		if r := off(); r.Status != 403 || !strings.Contains(r.Body, "Your password was renewed by phone a short while ago") {
			t.Errorf("%d", r.Status)
		}
		k.Clock.Add(24*time.Hour + time.Second)
		k.Clock.Add(0)
		thief.Open(k.URL + "/me/two-factor/off").Submit(map[string]string{"national_id": number(1), "password": newPassword})
		thief.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 5)})
		if r := off(); r.Status != 303 {
			t.Errorf("a day later: %d", r.Status)
		}
	})
}

// The code of the SMS undoes it too, for the one whose it is, and few guesses are let through.
func TestRC4_UndoneByCode(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		k.People(strings.Replace(recoverable(1, ""), `"email_verified":true`, `"email_verified":false`, 1))
		b := testkapi.NewBrowser(t)
		renewing(b.Open(k.URL+"/recover"), 1, nil)
		b.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 1)}).Submit(map[string]string{"new_password": newPassword}).See("renewed")
		code := undoCode.FindString(sent(t, k, phoneOf(1), "Undo a change", 1))
		c := testkapi.NewBrowser(t)
		c.Open(k.URL + "/help").Follow("Enter the undo code").See("Undo a change")
		c.Submit(map[string]string{"national_id": number(2), "code": code}).See("does not belong to this ID number")
		c.Submit(map[string]string{"national_id": number(1), "code": "x"}).See("eight letters and digits")
		c.Submit(map[string]string{"national_id": number(1), "code": strings.ToLower(code)}).See("The change was undone", "new password is switched off")
		c.Open(k.URL + "/undo").Submit(map[string]string{"national_id": number(1), "code": code}).See("was used")
		b.Open(k.URL + "/me").Submit(map[string]string{"national_id": number(1), "password": newPassword}).See(wrongSignIn)
		// Nobody can do it again at once.
		k.Clock.Add(time.Hour)
		renewing(testkapi.NewBrowser(t).Open(k.URL+"/recover"), 1, nil)
		// A day later the owner can.
		k.Clock.Add(24 * time.Hour)
		d := testkapi.NewBrowser(t)
		renewing(d.Open(k.URL+"/recover"), 1, nil)
		d.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 2)}).See("Set your new password")
		if n := len(k.Phone.Inbox(phoneOf(1))); n != 2 {
			t.Errorf("%d codes", n)
		}
		// Guesses, of one person's code.
		var compared sync.Map
		race(60, func(i int) {
			r := send(t, nil, http.MethodPost, k.URL+"/undo", url.Values{"national_id": {number(3)}, "code": {fmt.Sprintf("ABCD23%02d", i)}}, "X-Forwarded-For", fmt.Sprint("198.51.100.", i))
			compared.Store(i, r.Status)
		})
		seen := map[int]int{}
		compared.Range(func(_, v any) bool { seen[v.(int)]++; return true })
		if seen[422] > 10+30 || seen[200] > 0 || seen[429] == 0 {
			t.Errorf("%v", seen)
		}
	})
}

// Nothing of a recovery lies in the clear in the database or the log.
func TestL1_RecoverySecrets(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		k.People(recoverable(1, ""))
		b := testkapi.NewBrowser(t)
		renewing(b.Open(k.URL+"/recover"), 1, nil)
		code := k.Phone.Code(t, phoneOf(1), 1)
		b.Submit(map[string]string{"code": code}).Submit(map[string]string{"new_password": newPassword}).See("renewed")
		mail := sent(t, k, "deniz1@example.org", "/undo?link=", 1)
		link := undoLink.FindString(mail)
		send(t, nil, http.MethodGet, link, nil)
		u, _ := url.Parse(link)
		secrets := []string{u.Query().Get("link"), strings.ReplaceAll(undoCode.FindString(mail), "-", ""), newPassword, "A12B34567", "1980-01-31", number(1)}
		for _, s := range secrets {
			if strings.Contains(k.Log.String(), s) {
				t.Errorf("%q is in the log", s)
			}
		}
		db := owner(t, k)
		for _, table := range []string{"recoveries", "holds"} {
			rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table)
			if err != nil {
				t.Fatal(err)
			}
			columns, _ := rows.Columns()
			seen := 0
			for rows.Next() {
				seen++
				values := make([]any, len(columns))
				for i := range values {
					values[i] = new(any)
				}
				if err := rows.Scan(values...); err != nil {
					t.Fatal(err)
				}
				for i := range values {
					v := *(values[i].(*any))
					text := fmt.Sprint(v)
					if raw, ok := v.([]byte); ok {
						text = string(raw)
					}
					if slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(text, s) }) {
						t.Errorf("%s.%s holds a secret", table, columns[i])
					}
				}
			}
			rows.Close()
			if seen == 0 {
				t.Errorf("%s is empty", table)
			}
		}
	})
}

func notThe(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

// Who has lost the registered device says so with a code to the ID-verified phone; everybody is told; after
// a day without objection the device is gone and SMS is offered again.
func TestLostDevice(t *testing.T) {
	withDevice(t, func(t *testing.T, k *testkapi.Kapi, d *devicetest.Device) {
		rp := k.RP("ssi", nil)
		say := func() {
			k.Clock.Add(16 * time.Minute)
			b := toDevice(t, testkapi.NewBrowser(t), rp)
			before := len(textsWithCodes(k))
			b.Follow("I have lost my registered device").See("Have you lost your registered device?").Press("Send a code to my phone")
			eventually(t, "a code comes", func() bool { return len(textsWithCodes(k)) > before })
			codes := textsWithCodes(k)
			code := codes[len(codes)-1]
			b.Submit(map[string]string{"code": notThe(code)}).See("The code is wrong")
			// It is no code for signing in.
			if r := send(t, b, http.MethodPost, strings.Replace(b.URL.String(), "/lost/code", "/with/sms", 1), url.Values{"code": {code}}); strings.Contains(r.Location, "callback") {
				t.Fatal("the code of the loss signed in")
			}
			b.Submit(map[string]string{"code": code}).See("Your registered device will be removed")
			b.Follow("Back to the sign-in")
			if !strings.HasSuffix(b.URL.Path, "/with/device") {
				t.Errorf("at %s: the device is still the second step", b.URL)
			}
		}
		say()
		code := undoCode.FindString(sent(t, k, aysePhone, "cihazınızın kaybolduğu", 1))
		// Objected: it stays.
		o := testkapi.NewBrowser(t)
		o.Open(k.URL + "/undo").Submit(map[string]string{"national_id": ayse, "code": code}).See("Your registered device stays registered")
		k.Clock.Add(24*time.Hour + time.Minute)
		if err := k.App().CarryOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		toDevice(t, testkapi.NewBrowser(t), rp)

		say()
		k.Clock.Add(23 * time.Hour)
		if err := k.App().CarryOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		toDevice(t, testkapi.NewBrowser(t), rp)
		k.Clock.Add(time.Hour + time.Minute)
		if err := k.App().CarryOut(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := testkapi.NewBrowser(t)
		b.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword})
		if !strings.HasSuffix(b.URL.Path, "/with/sms") {
			t.Errorf("at %s:\n%s", b.URL, b.Text())
		}
		if r := d.Me(); r.Status == http.StatusOK {
			t.Error("the device still speaks")
		}
		// Told once, and of nothing else that did not happen.
		settled(t, k)
		if n := one[int64](t, owner(t, k), "SELECT (SELECT COUNT(*) FROM audit_pending WHERE name = 'factor.removed') + (SELECT COUNT(*) FROM audit_log WHERE name = 'factor.removed')"); n != 1 {
			t.Errorf("%d devices removed, by the record", n)
		}
		removed := 0
		for _, text := range k.Phone.Notices(aysePhone) {
			if strings.Contains(text, "giriş yöntemi silindi") {
				removed++
			}
			if strings.Contains(text, "bekleyen bir değişiklik") {
				t.Errorf("told: %s", text)
			}
		}
		if removed != 1 {
			t.Errorf("told %d times", removed)
		}
	})
}

// Who guesses at somebody's details until they rest does not keep the owner out of the browser they sign in with.
func TestAStrangerCannotDenyRecovery(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		k.People(recoverable(1, ""))
		own := testkapi.NewBrowser(t)
		own.Open(k.URL + "/me").Submit(map[string]string{"national_id": number(1), "password": "the one I forgot now 1"}).See("My account")
		for i := range 6 {
			stranger := testkapi.NewBrowser(t)
			renewing(stranger.Open(k.URL+recoverypages.StartPath("")), 1, map[string]string{"serial": "A12B30000", "phone": fmt.Sprintf("+90555000098%d", i)})
		}
		own.Open(k.URL + recoverypages.StartPath(""))
		renewing(own, 1, nil).Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), 1)}).See("Set your new password")
	})
}
