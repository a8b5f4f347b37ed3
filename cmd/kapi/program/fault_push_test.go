package program_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/sim/push"
	"github.com/kapi-id/kapi/internal/testkapi"
)

const (
	byPush = "Open the notification on your registered device"
	byList = "Open the Kapı app on your registered device and tap “Mobile Approval”"
)

// pushed is a Kapi whose person has a device that is reached by a real Web Push to a push service that fails on demand.
type pushed struct {
	*testkapi.Kapi
	service *push.Service
	server  *httptest.Server
	sub     map[string]string
	device  *devicetest.Device
	rp      *testkapi.RP
}

func withPush(t *testing.T, test func(t *testing.T, p *pushed)) {
	t.Parallel()
	o := testkapi.Options{Channels: map[string][]notify.Route{"push": nil}, Settings: map[string]string{"PUSH_HOSTS": "127.0.0.1"}}
	testkapi.Each(t, o, func(t *testing.T, k *testkapi.Kapi) {
		k.People(people)
		p := &pushed{Kapi: k, service: push.New(push.Config{Now: k.Clock.Now})}
		p.server = httptest.NewServer(p.service)
		t.Cleanup(func() { p.service.Close(); p.server.Close() })
		p.sub = p.service.Install(p.server.URL, "webpush")
		p.device = k.Device("Ayşe's phone")
		p.device.Push = p.sub
		if a := p.device.Register(freshly(t, k).Pairing(k)); a.Status != http.StatusCreated {
			t.Fatalf("register: %d %s", a.Status, a.Body)
		}
		p.rp = k.RP("ssi", nil)
		test(t, p)
	})
}

// The device is told at once that its push service is none that is posted to; the one that the settings name is taken.
func TestPushServiceThatIsNotListed(t *testing.T) {
	withPush(t, func(t *testing.T, p *pushed) {
		for endpoint, want := range map[string]int{
			"https://push.elsewhere.example/x": http.StatusBadRequest, "http://127.0.0.2/x": http.StatusBadRequest,
			"https://fcm.googleapis.com/fcm/send/x": http.StatusNoContent, p.sub["endpoint"]: http.StatusNoContent,
		} {
			sub := maps.Clone(p.sub)
			sub["endpoint"] = endpoint
			if a := p.device.SetPush(sub); a.Status != want || want >= 300 && a.Problem() != "malformed" {
				t.Errorf("%s: %d %s", endpoint, a.Status, a.Body)
			}
		}
	})
}

// arrived is how many pushes of requests came; notices are pushed too.
func (p *pushed) arrived() (n int) {
	for _, x := range p.service.Pushes() {
		if strings.Contains(x.Data, "approval") {
			n++
		}
	}
	return n
}

// quiet is how long somebody waits whose pushes are not to be too many: that is another test.
const quiet = 11 * time.Minute

// begin brings a new browser to the device, that much later.
func (p *pushed) begin(t *testing.T, later time.Duration) *testkapi.Browser {
	t.Helper()
	p.Clock.Add(later)
	return toDevice(t, testkapi.NewBrowser(t), p.rp)
}

// comes waits for the n-th push of a request; a notice may be tried first, so that it takes its turn.
func (p *pushed) comes(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprint("push ", n), func() bool {
		p.Clock.Add(20 * time.Millisecond)
		return p.arrived() == n
	})
}

// gauge reads a metric of the server.
func (p *pushed) gauge(t *testing.T, name string) string {
	t.Helper()
	w := httptest.NewRecorder()
	p.App().Metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

const (
	unsure = `kapi_messages_total{channel="push-webpush",gateway="push-webpush",outcome="unsure"}`
	up     = `kapi_gateway_up{gateway="push-webpush"}`
)

// doors: with or without pushes the list and the page of the waiting browser work, and so does everybody who has no device.
func (p *pushed) doors(t *testing.T, b *testkapi.Browser) {
	t.Helper()
	if a := b.Approve(p.device); a.Status != http.StatusNoContent {
		t.Fatalf("approve: %d %s", a.Status, a.Body)
	}
	b.Press("I have approved")
	if got := p.rp.Answer(b).Claims; strings.Join(got.AMR, " ") != "pwd swk user mca mfa" {
		t.Errorf("amr %v", got.AMR)
	}
	other := testkapi.NewBrowser(t)
	other.Open(p.rp.URL())
	signIn(p.Kapi, other, mehmet, mehmetPassword, "", 0)
	p.rp.Answer(other)
}

// pushForm is all that a push may say: 22 random characters, or a UUID, that mean nothing to anybody else.
var pushForm = regexp.MustCompile(`^\{"kind":"(approval","id":"[A-Za-z0-9_-]{22}|notice","id":"[0-9a-f-]{36})"\}$`)

// Row O5: the push service dead in every way: the page says so at once and names the list, the device's other doors work, nobody
// else notices, nothing is sent late or twice, and it comes back by itself.
func TestO5_PushDown(t *testing.T) {
	withPush(t, func(t *testing.T, p *pushed) {
		b := p.begin(t, quiet).See(byPush, "No notification?")
		p.comes(t, 1)
		for _, x := range p.service.Pushes() {
			if !pushForm.MatchString(x.Data) { // the ids may hold any two letters or digits by chance, so nothing is searched for
				t.Errorf("a push says %s", x.Data)
			}
		}
		p.doors(t, b)
		for _, trouble := range []push.Trouble{push.Drop, push.Hang} {
			if err := p.service.Set(trouble); err != nil {
				t.Fatal(err)
			}
			// The first ones to come find out; from then on nobody is told to wait for a notification.
			later := quiet
			for range 3 {
				before := p.gauge(t, unsure)
				page := p.begin(t, later)
				if strings.Contains(page.Text(), byList) {
					break // a notice found out before
				}
				eventually(t, "nobody can tell what became of it", func() bool { return p.gauge(t, unsure) != before })
				p.doors(t, page.See(byPush))
				later = time.Second
			}
			eventually(t, "the breaker opens", func() bool { return p.gauge(t, up) == "0" })
			calls := p.service.Calls()
			p.doors(t, p.begin(t, time.Second).See(byList).DontSee(byPush).DontSee("No notification?"))
			if p.service.Calls() != calls {
				t.Errorf("%s: a push service that rests is asked", trouble)
			}
			if n := p.arrived(); n != 1 {
				t.Fatalf("%s delivered %d", trouble, n)
			}
			unsent(t, p.Kapi, "state = 'sending'") // a call that still hangs would find out once more when it ends
			_ = p.service.Set(push.None)
			b := p.begin(t, quiet).See(byPush)
			p.comes(t, 2) // this one, and none of those before: nobody could tell of them, or their time was over
			p.doors(t, b)
			eventually(t, "the breaker closes", func() bool { return p.gauge(t, up) == "1" })
			p.service.Forget()
			b = p.begin(t, quiet).See(byPush)
			p.comes(t, 1)
			p.doors(t, b)
		}
		// Where it says that it failed, the push certainly did not go out, and is tried again in its time.
		_ = p.service.Set(push.Failing)
		tried := p.service.Calls()
		b = p.begin(t, quiet).See(byPush)
		eventually(t, "it was tried", func() bool { return p.service.Calls() > tried })
		_ = p.service.Set(push.None)
		p.comes(t, 2)
		p.doors(t, b)
	})
}

// A device that the push service knows no more: the owner is told, no push is tried meanwhile, and its app can come back.
func TestO5_DeviceUnreachable(t *testing.T) {
	withPush(t, func(t *testing.T, p *pushed) {
		p.service.Remove(p.sub)
		p.doors(t, p.begin(t, quiet)) // the push of it finds out, or a notice before it
		const said = "Notifications do not reach this device"
		mine := testkapi.NewBrowser(t).Open(p.URL + "/me/security/device")
		mine.Submit(map[string]string{"national_id": ayse, "password": aysePassword})
		if a := mine.Approve(p.device); a.Status != http.StatusNoContent {
			t.Fatalf("approve: %d %s", a.Status, a.Body)
		}
		mine.Press("I have approved")
		eventually(t, "the owner is told", func() bool { return strings.Contains(mine.Open(p.URL+"/me/security/device").Text(), said) })
		if me := string(p.device.Me().Body); !strings.Contains(me, `"reachable":false`) {
			t.Errorf("the app is told %s", me)
		}
		if me := string(p.device.Me().Body); !regexp.MustCompile(`"web_push_key":"[A-Za-z0-9_-]{87}"`).MatchString(me) {
			t.Errorf("a browser cannot subscribe with %s", me)
		}
		calls := p.service.Calls()
		p.doors(t, p.begin(t, quiet).See(byList).DontSee(byPush))
		if p.service.Calls() != calls {
			t.Error("a device that is gone was pushed to")
		}
		if a := p.device.SetPush(p.service.Install(p.server.URL, "webpush")); a.Status >= 300 {
			t.Fatalf("push: %d %s", a.Status, a.Body)
		}
		b := p.begin(t, quiet).See(byPush)
		p.comes(t, 1)
		p.doors(t, b)
		mine = testkapi.NewBrowser(t).Open(p.URL + "/me/security/device")
		mine.Submit(map[string]string{"national_id": ayse, "password": aysePassword})
		if a := mine.Approve(p.device); a.Status != http.StatusNoContent {
			t.Fatalf("approve: %d %s", a.Status, a.Body)
		}
		mine.Press("I have approved").See("Ayşe's phone").DontSee(said)
	})
}
