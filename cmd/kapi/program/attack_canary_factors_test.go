package program_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// L1: what factors, recovery and contacts are given or make lies nowhere in the clear: not in the database and its files, not in the log, not in
// the metrics, and in no push; a text message holds no link.
func TestL1_CanariesOfFactors(t *testing.T) {
	posted(t, func(t *testing.T, k *testkapi.Kapi) {
		k.People(recoverable(1, `,"two_factor":true`))
		secrets := map[string]string{"e-mail": "deniz1@example.org", "new e-mail": "canary-address@example.net", "serial": "A12B34567", "phone": phoneOf(1), "ID number": number(1)}
		keep := func(name, v string) {
			t.Helper()
			if len(v) < 8 {
				t.Fatalf("%s is %q: nothing to look for", name, v)
			}
			secrets[name] = v
		}
		codes := 0
		fresh := func(path, second string) *testkapi.Browser {
			k.Clock.Add(16 * time.Minute)
			b := testkapi.NewBrowser(t).Open(k.URL + path)
			b.Submit(map[string]string{"national_id": number(1), "password": "the one I forgot now 1"})
			if second == "" {
				codes++
				second = k.Phone.Code(t, phoneOf(1), codes)
			}
			return b.Submit(map[string]string{"code": second})
		}
		// The key app: seed and link.
		b := fresh("/me/security/totp", "").Press("Set up a key")
		seed := strings.Join(printed(b), "")
		keep("seed", seed)
		app := appOf(t, seed)
		b.Submit(map[string]string{"code": app(k.Clock.Now())}).See("Your key is set up.")
		// Backup codes, one of them used.
		backup := printed(b.Open(k.URL + "/me/security/backup").Press("Make"))
		for _, code := range backup {
			keep("backup code "+code, code)
			keep("backup code without signs "+code, strings.ReplaceAll(code, "-", ""))
		}
		// A device: pairing code, subscription, its proofs and statements.
		pairing := b.Pairing(k)
		keep("pairing code", pairing)
		d := k.Device("Canary phone of Deniz")
		keep("name of the device", d.Name)
		token := "canary-token-" + devicetest.Random(12)
		keep("push token", token)
		d.Push = map[string]string{"kind": "fcm", "token": token}
		var proof string
		d.Bend = func(r *http.Request) { proof = r.Header.Get("Kapi-Device") }
		if a := d.Register(pairing); a.Status != http.StatusCreated {
			t.Fatalf("register: %d %s", a.Status, a.Body)
		}
		rp := k.RP("ssi", nil)
		k.Clock.Add(11 * time.Minute)
		desk := testkapi.NewBrowser(t).Open(rp.URL())
		desk.Submit(map[string]string{"national_id": number(1), "password": "the one I forgot now 1"})
		if strings.HasSuffix(desk.URL.Path, "/choose") {
			desk.Press("Registered device")
		}
		qr := readQR(t, desk, k)
		keep("QR code", qr)
		if a := desk.Approve(d); a.Status != http.StatusNoContent {
			t.Fatalf("approve: %d %s", a.Status, a.Body)
		}
		keep("proof of the device", proof[strings.LastIndexByte(proof, '.')+1:])
		rp.Answer(desk.Press("I have approved"))
		k.Clock.Add(time.Minute)
		used := testkapi.NewBrowser(t).Open(rp.URL())
		used.Submit(map[string]string{"national_id": number(1), "password": "the one I forgot now 1"})
		used.Open(k.URL + "/signin/" + strings.Split(used.URL.Path, "/")[2] + "/with/backup").Submit(map[string]string{"code": backup[0]})
		rp.Answer(used)
		// A new address: code and link.
		own := used.Open(k.URL + "/me/contact/email")
		own.Submit(map[string]string{"email": "canary-address@example.net", "kind": "citizen", "national_id": number(1), "birthdate": "31.01.1980"})
		mail := sent(t, k, "canary-address@example.net", "/me/contact/link?t=", 1)
		link, err := url.Parse(regexp.MustCompile(`\S+/me/contact/link\?t=\S+`).FindString(mail))
		if err != nil {
			t.Fatal(err)
		}
		keep("link of the address", link.Query().Get("t"))
		send(t, own, http.MethodGet, link.String(), nil)
		// The device lost: undo link and code.
		k.Clock.Add(16 * time.Minute)
		lost := testkapi.NewBrowser(t).Open(rp.URL())
		lost.Submit(map[string]string{"national_id": number(1), "password": "the one I forgot now 1"})
		lost.Open(k.URL + "/signin/" + strings.Split(lost.URL.Path, "/")[2] + "/lost").Press("Send a code to my phone")
		codes++
		lost.Submit(map[string]string{"code": k.Phone.Code(t, phoneOf(1), codes)}).See("Your registered device will be removed")
		undo, err := url.Parse(undoLink.FindString(sent(t, k, "deniz1@example.org", "/undo?link=", 1)))
		if err != nil {
			t.Fatal(err)
		}
		keep("undo link", undo.Query().Get("link"))
		send(t, nil, http.MethodGet, undo.String(), nil)
		// And a recovery.
		again := testkapi.NewBrowser(t)
		renewing(again.Open(k.URL+"/recover"), 1, nil)
		codes++
		recovery := k.Phone.Code(t, phoneOf(1), codes)
		again.Submit(map[string]string{"code": recovery}).Submit(map[string]string{"new_password": newPassword}).See("renewed")
		keep("new password", newPassword)
		settled(t, k)

		to, _ := json.Marshal(d.Push)
		pushes := k.Phone.Inbox(string(to))
		if len(pushes) == 0 {
			t.Error("nothing was pushed")
		}
		for _, p := range pushes {
			var m map[string]string
			if err := json.Unmarshal([]byte(p), &m); err != nil || len(m) != 2 {
				t.Errorf("pushed %s", p)
			}
		}
		for _, text := range append(k.Phone.Inbox(phoneOf(1)), k.Phone.Notices(phoneOf(1))...) {
			if strings.Contains(text, "://") {
				t.Errorf("a text message holds a link: %s", text)
			}
			secrets["message "+text] = text
		}
		metrics := httptest.NewRecorder()
		k.App().Metrics.ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		places := dump(t, k)
		places["log"], places["metrics"], places["pushes"] = []byte(k.Log.String()), metrics.Body.Bytes(), []byte(strings.Join(pushes, "\n"))
		for place, data := range places {
			if strings.HasSuffix(place, ".secret") {
				continue
			}
			for name, v := range secrets {
				if form := readable(data, v); form != "" {
					t.Errorf("%s is readable in %s (%s)", name, place, form)
				}
			}
		}
		// Six digits stand by chance among others, so they are looked for as a word.
		if regexp.MustCompile(`[^0-9A-Za-z_-]` + recovery + `[^0-9A-Za-z_-]`).MatchString(wordsOf(t, k.Log.String())) {
			t.Error("the code of the recovery is in the log")
		}
	})
}
