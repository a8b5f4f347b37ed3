package program_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/sim/operator"
	"github.com/kapi-id/kapi/internal/testkapi"
)

const linePeople = `[
 {"national_id":"70000000782","kind":"citizen","given_name":"Fatma","family_name":"Arslan","birthdate":"1994-07-21","locale":"en",
  "phone":"+905550000008","phone_grade":"id_verified","phone_operator":"turkcell","phone_lines":["messenger","sim"],"password":"sarı lale nehir 2","two_factor":true},
 {"national_id":"80000000828","kind":"citizen","given_name":"Ali","family_name":"Koç","birthdate":"1982-12-05","locale":"en",
  "phone":"+905550000009","phone_grade":"id_verified","phone_operator":"vodafone","phone_lines":["sim"],"password":"beyaz yelken rüzgar 6","two_factor":true}]`

const (
	fatma, fatmaPassword, fatmaPhone = "70000000782", "sarı lale nehir 2", "+905550000008"
	ali, aliPassword, aliPhone       = "80000000828", "beyaz yelken rüzgar 6", "+905550000009"
)

var dead = func(notify.Message) error { return notify.NotSent(errors.New("dead"), true) }

// lines starts a Kapi with a phone for each channel.
func lines(t *testing.T, postgres bool) (k *country, sim, messenger *testkapi.Phone) {
	sim, messenger = &testkapi.Phone{}, &testkapi.Phone{}
	k = startSIM(t, postgres, func(o *testkapi.Options) {
		o.Channels["sim"] = []notify.Route{{Gateway: sim, Weight: 1}}
		o.Channels["messenger"] = []notify.Route{{Gateway: messenger, Weight: 1}}
	})
	k.People(linePeople)
	k.Clock.Add(time.Minute)
	return k, sim, messenger
}

// Which of the three brings the code follows the account; the token says which it was.
func TestTheLineFollowsTheAccount(t *testing.T) {
	t.Parallel()
	k, sim, messenger := lines(t, false)
	rp := k.RP("ssi", nil)
	b := testkapi.NewBrowser(t)
	b.Open(rp.URL()).Submit(map[string]string{"national_id": fatma, "password": fatmaPassword}).See("Enter the code we sent in BiP to your phone ending 08")
	if strings.Contains(b.Text(), "Security code by SMS") {
		t.Error("SMS is offered beside the messenger")
	}
	b.Submit(map[string]string{"code": messenger.Code(t, fatmaPhone, 1)})
	if got := rp.Answer(b).Claims; strings.Join(got.AMR, " ") != "pwd oob mca mfa" || got.ACR != substantial || got.Steps[1].Method != "messenger" {
		t.Errorf("%+v", got)
	}
	b = testkapi.NewBrowser(t)
	b.Open(rp.URL()).Submit(map[string]string{"national_id": ali, "password": aliPassword}).See("phone ending 09", "SIM message")
	b.Submit(map[string]string{"code": sim.Code(t, aliPhone, 1)})
	if got := rp.Answer(b).Claims; strings.Join(got.AMR, " ") != "pwd sms mca mfa" || got.Steps[1].Method != "sms" {
		t.Errorf("%+v", got)
	}
	if len(k.Phone.Inbox(fatmaPhone))+len(k.Phone.Inbox(aliPhone)) != 0 {
		t.Error("a short message went out beside")
	}
	// A client that refuses SMS takes the messenger.
	strict := k.RP("strict", map[string]any{"kapi_refused_second": []string{"sms"}})
	k.Clock.Add(time.Minute)
	b = testkapi.NewBrowser(t)
	b.Open(strict.URL()).Submit(map[string]string{"national_id": ali, "password": aliPassword})
	if b.Left() != nil {
		t.Error("let through")
	}
}

// Row O4: SIM messages or the messenger dead: SMS takes their place, and only there.
func TestO4_AnotherLineIsDead(t *testing.T) {
	t.Parallel()
	k, sim, messenger := lines(t, false)
	rp := k.RP("ssi", nil)
	for _, who := range []struct {
		number, password, phone string
		gateway                 *testkapi.Phone
	}{{fatma, fatmaPassword, fatmaPhone, messenger}, {ali, aliPassword, aliPhone, sim}} {
		var calls atomic.Int64
		who.gateway.Fails(func(m notify.Message) error {
			calls.Add(1)
			return dead(m)
		})
		// Whoever comes first finds the gateway dead; after three calls without an answer the breaker opens.
		first := testkapi.NewBrowser(t)
		first.Open(rp.URL()).Submit(map[string]string{"national_id": who.number, "password": who.password})
		eventually(t, "the breaker opens", func() bool {
			k.Clock.Add(time.Second)
			return calls.Load() >= 3
		})
		eventually(t, "the page offers another line", func() bool {
			k.Clock.Add(11 * time.Second)
			first = testkapi.NewBrowser(t)
			first.Open(rp.URL()).Submit(map[string]string{"national_id": who.number, "password": who.password})
			return strings.Contains(first.Text(), "that came by SMS") || who.gateway == messenger && strings.Contains(first.Text(), "SIM message")
		})
		by, at := k.Phone, who.phone
		if who.gateway == messenger {
			by = sim
		}
		first.Submit(map[string]string{"code": by.Code(t, at, 1)})
		rp.Answer(first)
		k.Clock.Add(16 * time.Minute)
	}
	if len(sim.Inbox(aliPhone))+len(messenger.Inbox(fatmaPhone)) != 0 {
		t.Error("a dead one delivered")
	}
	k.works(rp) // who has neither notices nothing
}

// Row O4: no e-mail: the pages say so, nothing else stops, and what was asked for before goes out once when it is back.
func TestO4_MailIsDead(t *testing.T) {
	t.Parallel()
	k := startSIM(t, false, nil)
	rp := k.RP("ssi", nil)
	k.mail.Fails(dead)
	b := k.atContact(hasan, hasanPassword)
	b.Open("/me/contact/email").Submit(identity(map[string]string{"email": "hasan@example.org"}, hasan, hasanBorn)).See("Enter the code we sent by e-mail")
	eventually(t, "the page says so", func() bool {
		k.Clock.Add(5 * time.Second)
		r := send(t, b, http.MethodPost, k.URL+"/me/contact/email/send", url.Values{})
		return r.Status == http.StatusServiceUnavailable && strings.Contains(r.Body, "E-mail cannot be sent right now")
	})
	k.works(rp)
	if len(k.mail.Inbox("hasan@example.org")) != 0 {
		t.Fatal("delivered")
	}
}

// Row O5: the operator cannot tell: no code is sent, the page says so at once, sign-ins without SMS go on, and it ends by itself.
func TestO5_OperatorDead(t *testing.T) {
	t.Parallel()
	for _, trouble := range []operator.Trouble{operator.Down, operator.Denied, operator.Unfit, operator.Failing, operator.Busy, operator.Null, operator.Garbage, operator.Other, operator.NoToken} {
		t.Run(string(trouble), func(t *testing.T) {
			t.Parallel()
			k := startSIM(t, false, nil)
			rp := k.RP("ssi", nil)
			if err := k.op.Set(trouble); err != nil {
				t.Fatal(err)
			}
			b := testkapi.NewBrowser(t)
			b.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword}).See("We cannot send a code right now", "Your operator cannot tell us")
			if len(k.Phone.Inbox(aysePhone)) != 0 {
				t.Error("unknown was taken for not changed")
			}
			// Unknown opens no restricted session: there is nothing to unblock.
			c := testkapi.NewBrowser(t).Open(k.URL + "/me/unblock")
			c.Submit(map[string]string{"national_id": ayse, "password": aysePassword}).See("We cannot send a code right now")
			if c.Cookie("kapi-session") != "" {
				t.Error("a session without the second factor")
			}
			other := testkapi.NewBrowser(t)
			other.Open(rp.URL())
			signIn(k.Kapi, other, hasan, hasanPassword, "", 0)
			rp.Answer(other)
			if k.Paused.Load() > int64(10*time.Second) {
				t.Errorf("the pause was asked for %v", time.Duration(k.Paused.Load()))
			}
			_ = k.op.Set(operator.None)
			k.Clock.Add(2 * time.Minute)
			k.works(rp)
			// The same between send and verify: the code is not lost, it can be typed when the operator is back.
			k.Clock.Add(2 * time.Minute)
			n := len(k.Phone.Inbox(aysePhone)) + 1
			late := testkapi.NewBrowser(t)
			late.Open(rp.URL()).Submit(map[string]string{"national_id": ayse, "password": aysePassword})
			code, page := k.Phone.Code(t, aysePhone, n), late.URL.String()
			_ = k.op.Set(trouble)
			k.op.Forget() // a token that is still good would hide that there are no new ones
			k.Clock.Add(61 * time.Second)
			late.Submit(map[string]string{"code": code})
			if late.Left() != nil {
				t.Fatal("let through without an answer of the operator")
			}
			_ = k.op.Set(operator.None)
			k.Clock.Add(70 * time.Second)
			late.Open(page).Submit(map[string]string{"code": code})
			rp.Answer(late)
		})
	}
}
