package program_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// atTheCode brings a new browser to the code page of a person with two-factor on.
func atTheCode(t *testing.T, k *testkapi.Kapi, rp *testkapi.RP, number, password string) *testkapi.Browser {
	t.Helper()
	b := testkapi.NewBrowser(t)
	b.Open(rp.URL()).Submit(map[string]string{"national_id": number, "password": password})
	if !strings.HasSuffix(b.URL.Path, "/with/sms") {
		t.Fatalf("at %s:\n%s", b.URL, b.Text())
	}
	return b
}

// S1: distinct guesses in parallel with the right code always among them: few are compared, so few rounds are won.
func TestS1_CodeGuessingInParallel(t *testing.T) {
	t.Parallel()
	testkapi.Each(t, testkapi.Options{Replicas: 2}, guessCodes)
	t.Run("sqlite", func(t *testing.T) { guessCodes(t, testkapi.Start(t, testkapi.Options{})) })
}

func guessCodes(t *testing.T, k *testkapi.Kapi) {
	tries, most := 250, 3 // by chance 0.4 rounds are won
	if rounds() > 20 {
		tries, most = 1000, 5 // by chance 1
	}
	var file []string
	for i := range rounds() {
		file = append(file, somebody(i, "the right one of all"))
	}
	k.People("[" + strings.Join(file, ",") + "]")
	rp := k.RP("ssi", nil)
	won, random := 0, rand.New(rand.NewPCG(1, 2))
	for round := range rounds() {
		k.Clock.Add(6 * time.Minute) // the limits of sends are another test
		b := atTheCode(t, k, rp, number(round), "the right one of all")
		code := k.Phone.Code(t, phoneOf(round), 1)
		page := b.URL.String()
		place := random.IntN(tries)
		var through, compared atomic.Int64
		race(tries, func(i int) {
			guess := fmt.Sprintf("%06d", (round*7919+i*4409)%1_000_000)
			if i == place {
				guess = code
			}
			switch r := send(t, b, http.MethodPost, page, url.Values{"code": {guess}}); {
			case r.Status == http.StatusSeeOther && strings.Contains(r.Location, "/authorize/callback"):
				through.Add(1)
			case strings.Contains(r.Body, "The code is wrong"):
				compared.Add(1)
			}
		})
		if through.Load() > 1 {
			t.Fatalf("round %d: one code let %d through", round, through.Load())
		}
		// Where the right one came through, a loser of the race may have been shown a new challenge meanwhile.
		if n := compared.Load(); n > 5 && through.Load() == 0 {
			t.Fatalf("round %d: %d codes were compared", round, n)
		}
		won += int(through.Load())
	}
	// The right code stands at another place in each round, and five of all are compared.
	if won > most {
		t.Errorf("%d rounds of %d were won, at most %d may be", won, rounds(), most)
	}
}

func TestS1_WrongCodesToTheLockAndBack(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", nil)
		b := atTheCode(t, k, rp, ayse, aysePassword)
		right := k.Phone.Code(t, aysePhone, 1)
		wrong := "000000"
		if right == wrong {
			wrong = "000001"
		}
		for left := 4; left >= 1; left-- {
			b.Submit(map[string]string{"code": wrong}).See(fmt.Sprintf("You have %d", left))
		}
		b.Submit(map[string]string{"code": wrong})
		if b.Left() != nil {
			t.Fatal("let through")
		}
		// The challenge is over: the right code does not help any more.
		if r := send(t, b, http.MethodPost, b.URL.String(), url.Values{"code": {right}}); r.Status == http.StatusSeeOther && strings.Contains(r.Location, "callback") {
			t.Fatal("the right code works after five wrong ones")
		}
		// A while later a new sign-in works.
		k.Clock.Add(11 * time.Minute)
		again := atTheCode(t, k, rp, ayse, aysePassword)
		again.Submit(map[string]string{"code": k.Phone.Code(t, aysePhone, 2)})
		rp.Answer(again)
	})
}

// S2: neither a new browser nor another service nor parallel resends get more messages than a person is worth.
func TestS2_Pumping(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		one, two := k.RP("one", nil), k.RP("two", nil)
		for i := range 10 {
			rp := one
			if i%2 == 1 {
				rp = two
			}
			b := testkapi.NewBrowser(t)
			b.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword})
			page := b.URL.String()
			race(10, func(int) { send(t, b, http.MethodPost, page+"/again", url.Values{}) })
			k.Clock.Add(12 * time.Second)
		}
		k.Phone.Code(t, aysePhone, 1)
		if n := len(k.Phone.Inbox(aysePhone)); n > 5 {
			t.Errorf("%d messages in two minutes", n)
		}
	})
}

// S2: a code that was sent again replaces the old one, and its life and tries go on.
func TestS2_OnlyTheNewestCode(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", nil)
		b := atTheCode(t, k, rp, ayse, aysePassword)
		old := k.Phone.Code(t, aysePhone, 1)
		k.Clock.Add(45 * time.Second)
		b.Open(b.URL.String()).Press("Send the code again")
		newest := k.Phone.Code(t, aysePhone, 2)
		if old != newest {
			b.Submit(map[string]string{"code": old}).See("The code is wrong")
		}
		k.Clock.Add(5 * time.Minute)
		b.Submit(map[string]string{"code": newest})
		if b.Left() != nil {
			t.Fatal("sending again made the code live longer")
		}
	})
}

// S5: from each state, every later address with every method and odd body: the current step or a refusal, never a session.
func TestS5_StepSkipping(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp := k.RP("ssi", map[string]any{"kapi_consent": "always"})
		begun := testkapi.NewBrowser(t)
		begun.Open(rp.URL())
		half := atTheCode(t, k, rp, ayse, aysePassword)
		for name, b := range map[string]*testkapi.Browser{"nothing proven": begun, "one factor proven": half} {
			id := strings.Split(b.URL.Path, "/")[2]
			base := k.URL + "/signin/" + id
			for _, path := range []string{base + "/with/sms", base + "/with/password", base + "/with/none", base + "/with/../consent", base + "/consent", base + "/renew",
				base + "/explain", base + "/account", base + "/choose", k.URL + "/authorize/callback?id=" + id, k.URL + "/authorize/refused?id=" + id, k.URL + "/me/enter?id=" + id} {
				for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
					for _, form := range []url.Values{nil, {}, {"code": {""}}, {"code": {"000000", "000000"}}, {"code[]": {"000000"}}, {"otp": {""}}, {"code": {"\x00"}},
						{"consent": {"yes"}}, {"method": {"none"}}, {"national_id": {ayse}, "password": {""}}, {"new_password": {"a new password of mine"}}} {
						if form != nil && method != http.MethodPost {
							continue
						}
						r := send(t, b, method, path, form, "X-Http-Method-Override", "POST")
						if r.Status >= 500 {
							t.Fatalf("%s: %s %s %v: %d", name, method, path, form, r.Status)
						}
						if strings.Contains(r.Location, "code=") || strings.Contains(r.Location, "/authorize/callback") {
							t.Fatalf("%s: %s %s %v went to %s", name, method, path, form, r.Location)
						}
						if b.Cookie("kapi-session") != "" {
							t.Fatalf("%s: %s %s %v made a session", name, method, path, form)
						}
					}
				}
			}
			r := send(t, b, http.MethodPost, base+"/with/sms", nil, "Content-Type", "application/json")
			if r.Status < 400 && r.Status != http.StatusSeeOther {
				t.Errorf("%s: JSON for a form: %d", name, r.Status)
			}
		}
		// Both go on where they were.
		half.Submit(map[string]string{"code": k.Phone.Code(t, aysePhone, 1)}).Submit(map[string]string{"consent": "yes"})
		rp.Answer(half)
	})
}
