package program_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/testkapi"
)

// resting lets a line rest: three calls without an answer open its breaker. It returns a sign-in whose code came by SMS instead. A person is
// sent five codes in a quarter of an hour, so the calls are waited for.
func resting(t *testing.T, k *country, gateway *testkapi.Phone, begin func(number, password string) *testkapi.Browser) (b *testkapi.Browser) {
	t.Helper()
	k.Clock.Add(16 * time.Minute)
	var calls atomic.Int64
	gateway.Fails(func(m notify.Message) error {
		calls.Add(1)
		return dead(m)
	})
	begin(ali, aliPassword)
	eventually(t, "the line is called", func() bool {
		k.Clock.Add(time.Second)
		return calls.Load() >= 3
	})
	eventually(t, "the line rests", func() bool {
		k.Clock.Add(11 * time.Second)
		b = begin(ali, aliPassword)
		return strings.Contains(b.Text(), "that came by SMS")
	})
	return b
}

// S2: the wrong answers and the messages of a person are counted over all lines of the number: who goes from one to the other and back has
// neither more tries nor more messages.
func TestS2_SwitchingTheLine(t *testing.T) {
	t.Parallel()
	for _, postgres := range []bool{false, true} {
		t.Run(map[bool]string{false: "sqlite", true: "postgres"}[postgres], func(t *testing.T) {
			t.Parallel()
			k, sim, messenger := lines(t, postgres)
			rp := k.RP("ssi", nil)
			begin := func(number, password string) *testkapi.Browser {
				b := testkapi.NewBrowser(t)
				return b.Open(rp.URL()).Submit(map[string]string{"national_id": number, "password": password})
			}
			// Five wrong ones that came as a SIM message …
			b := begin(ali, aliPassword).See("SIM message")
			right := sim.Code(t, aliPhone, 1)
			for range 5 {
				b.Submit(map[string]string{"code": otherCode(right)})
			}
			// … and five that came by SMS, after the SIM messages died: the person is locked, on every line.
			b = resting(t, k, sim, begin)
			var texts []string
			eventually(t, "a text comes", func() bool { texts = codesTo(k.Kapi, aliPhone); return len(texts) > 0 })
			right = texts[len(texts)-1]
			for range 5 {
				b.Submit(map[string]string{"code": otherCode(right)})
			}
			sim.Fails(nil)
			k.Clock.Add(2 * time.Minute)
			b = begin(ali, aliPassword)
			if r := send(t, b, http.MethodPost, b.URL.String(), url.Values{"code": {right}}); !strings.Contains(r.Body, "Too many wrong tries") {
				t.Errorf("after ten wrong ones on two lines: %d %s", r.Status, r.Location)
			}

			// Messages: over all lines together no more than one line would give.
			k.Clock.Add(time.Hour)
			db := owner(t, k.Kapi)
			count := func() int { return one[int](t, db, "SELECT COUNT(*) FROM outbox WHERE ticket <> ''") }
			before, begun := count(), k.Clock.Now()
			for i := 0; k.Clock.Now().Sub(begun) < 14*time.Minute; i++ {
				messenger.Fails(nil)
				sim.Fails(nil)
				switch i % 3 {
				case 1:
					messenger.Fails(dead)
				case 2:
					messenger.Fails(dead)
					sim.Fails(dead)
				}
				b := begin(fatma, fatmaPassword)
				send(t, b, http.MethodPost, b.URL.String()+"/again", url.Values{})
				k.Clock.Add(40 * time.Second)
			}
			if n := count() - before; n != 5 {
				t.Errorf("%d messages in a quarter of an hour, over three lines", n)
			}
		})
	}
}

// F3: while somebody enters ten wrong passwords a minute, the owner gets in: at home with the registered device, and anywhere with a strong
// first factor and the device; the strong one ends the lock.
func TestF3_DeviceAndStrongFactorBesideTheLock(t *testing.T) {
	t.Parallel()
	o := testkapi.Options{Factors: testkapi.Signature}
	testkapi.Each(t, o, func(t *testing.T, k *testkapi.Kapi) {
		k.People(people)
		d := freshly(t, k).Registered(k, "Ayşe's phone")
		rp, home := k.RP("ssi", nil), testkapi.NewBrowser(t)
		k.Clock.Add(11 * time.Minute)
		toDevice(t, home, rp)
		home.Approve(d)
		rp.Answer(home.Press("I have approved"))
		sent := len(textsWithCodes(k))

		attacker := testkapi.NewBrowser(t).Open(rp.URL())
		page := attacker.Target("national_id")
		for minute := range 60 {
			for range 10 {
				if r := send(t, attacker, http.MethodPost, page, url.Values{"national_id": {ayse}, "password": {"guess"}}); r.Status != http.StatusUnprocessableEntity {
					attacker = testkapi.NewBrowser(t).Open(rp.URL()) // the page had waited too long
					page = attacker.Target("national_id")
				}
				k.Clock.Add(6 * time.Second)
			}
			if minute%20 != 10 {
				continue
			}
			// Where nobody knows the browser the right password reads like a wrong one.
			strange := testkapi.NewBrowser(t).Open(rp.URL())
			strange.Submit(map[string]string{"national_id": ayse, "password": aysePassword}).See(wrongSignIn)
			home.Open(rp.URL("prompt", "login")).Submit(map[string]string{"national_id": ayse, "password": aysePassword})
			home.Approve(d)
			rp.Answer(home.Press("I have approved"))
			k.Clock.Add(time.Minute)
			abroad := testkapi.NewBrowser(t)
			sign(abroad.Open(rp.URL()), ayse)
			if !strings.HasSuffix(abroad.URL.Path, "/with/device") {
				t.Fatalf("at %s:\n%s", abroad.URL, abroad.Text())
			}
			list, _ := d.List()
			if len(list) == 0 {
				t.Fatal("nothing waits on the device")
			}
			if a := d.Approve(list[len(list)-1], abroad.Number()); a.Status != http.StatusNoContent {
				t.Fatalf("approve: %d %s", a.Status, a.Body)
			}
			if got := rp.Answer(abroad.Press("I have approved")).Claims; got.ACR != high {
				t.Errorf("%+v", got)
			}
			freed := testkapi.NewBrowser(t).Open(rp.URL())
			freed.Submit(map[string]string{"national_id": ayse, "password": aysePassword})
			if !strings.HasSuffix(freed.URL.Path, "/with/device") {
				t.Errorf("a strong sign-in leaves the lock: at %s", freed.URL)
			}
		}
		if n := len(textsWithCodes(k)) - sent; n != 0 {
			t.Errorf("the guesses sent %d codes", n)
		}
	})
}
