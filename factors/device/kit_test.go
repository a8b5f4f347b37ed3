package device_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/device"
	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/web"
)

const owner account.ID = "a1"

var webPush = map[string]string{
	"kind": "webpush", "endpoint": "https://push.example/s/1", "p256dh": strings.Repeat("A", 86) + "A", "auth": strings.Repeat("B", 21) + "A",
}

// bench is a factor over memory, with a person who has a device.
type bench struct {
	t   *testing.T
	kit *factortest.Kit
	f   *device.Factor
	api http.Handler
	dev *devicetest.Device
}

func newBench(t *testing.T) *bench {
	return benchOver(t, factortest.NewKit(factortest.Start), device.Options{})
}

func benchOver(t *testing.T, kit *factortest.Kit, o device.Options) *bench {
	t.Helper()
	b := &bench{t: t, kit: kit, f: device.New(kit.Factors(), o)}
	b.api = b.f.Endpoints()
	b.dev = b.phone("Ayşe's phone")
	b.dev.Push = webPush
	b.registered(b.dev)
	return b
}

// phone is an app that is not registered.
func (b *bench) phone(name string) *devicetest.Device {
	d := devicetest.New(factortest.Issuer, b.kit.Clock.Now)
	d.Handler, d.Name, d.Bodies = b.api, name, conforms(b.t)
	return d
}

// strong is a session that may do everything.
var strong = []factors.Proof{{Factor: "card", Stage: factors.First, Level: acr.High, Channel: factors.Here}}

// pair makes a pairing code in a session that was proven like this.
func (b *bench) pair(proven ...factors.Proof) (string, error) {
	r, err := b.f.Act(b.t.Context(), factors.Try{Binding: "enrol:s1", Purpose: factors.Enrol, Account: owner, Agent: "Firefox/1 Windows", Proven: proven}, "add", nil)
	if err != nil {
		return "", err
	}
	return r.Page.Data.(device.PairView).Code, nil
}

func (b *bench) registered(d *devicetest.Device) {
	b.t.Helper()
	code, err := b.pair(strong...)
	if err != nil {
		b.t.Fatal(err)
	}
	if a := d.Register(code); a.Status != http.StatusCreated {
		b.t.Fatalf("register: %d %s", a.Status, a.Body)
	}
}

// at is a try of a sign-in in a browser.
func at(signin, browser string) factors.Try {
	return factors.Try{
		Binding: signin, Purpose: factors.SignIn, Account: owner, Service: "SSI Notification Portal", Origin: "kapi.example", Network: "192.0.2.1",
		Place: "Ankara, Türkiye", Lang: "en", Agent: "Mozilla/5.0 (Windows NT 10.0) Firefox/130.0", Browser: browser,
	}
}

func (b *bench) begin(try factors.Try) device.View {
	b.t.Helper()
	c, err := b.f.Begin(b.t.Context(), try)
	if err != nil {
		b.t.Fatalf("Begin: %v", err)
	}
	return c.Page.Data.(device.View)
}

// waits is the request of a try as the device sees it.
func (b *bench) waits(v device.View) devicetest.Request {
	b.t.Helper()
	list, a := b.dev.List()
	if a.Status != http.StatusOK {
		b.t.Fatalf("list: %d %s", a.Status, a.Body)
	}
	for _, r := range list {
		if r.Challenge == v.Challenge {
			return r
		}
	}
	b.t.Fatalf("the request is not on the list of %d", len(list))
	return devicetest.Request{}
}

func (b *bench) verify(try factors.Try, code string) (factors.Proof, error) {
	a := factors.Answer{}
	if code != "" {
		a["code"] = []string{code}
	}
	return b.f.Verify(context.Background(), try, a)
}

func key(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Key
}

// wants fails unless the answer has the status and, where there is one, the problem.
func wants(t *testing.T, what string, a devicetest.Answer, status int, problem string) {
	t.Helper()
	if a.Status != status || a.Problem() != problem {
		t.Errorf("%s: %d %q, want %d %q: %s", what, a.Status, a.Problem(), status, problem, a.Body)
	}
}

// scanCode reads the QR code of the page, as a camera would, from what it says.
func scanCode(t *testing.T, b *bench, try factors.Try) string {
	t.Helper()
	code, err := b.f.ScanCode(t.Context(), try)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func other(number string) string {
	var n int
	fmt.Sscan(number, &n)
	return fmt.Sprint(10 + (n-10+1)%90)
}

func TestContract(t *testing.T) {
	factortest.Run(t, func(t *testing.T, kit *factortest.Kit) factortest.Subject {
		b := benchOver(t, kit, device.Options{})
		return factortest.Subject{
			Factor: b.f, Account: owner, Spent: true,
			Right: func(t *testing.T, try factors.Try) factors.Answer {
				v := b.begin(try)
				r := b.waits(v)
				if a := b.dev.Approve(r, v.Number); a.Status != http.StatusNoContent {
					t.Fatalf("approve: %d %s", a.Status, a.Body)
				}
				return factors.Answer{}
			},
			Wrong: func(t *testing.T, try factors.Try) factors.Answer {
				return factors.Answer{"code": {b.phone("another").Here("nothing")}}
			},
		}
	})
}

// A sign-in by push, step by step.
func TestR163_Push(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	v := b.begin(try)
	if !v.Waiting || !v.Pushed || len(v.Number) != 2 || v.Name != "Ayşe's phone" || !v.Until.Equal(factortest.Start.Add(device.Life)) {
		t.Fatalf("page %+v", v)
	}
	sent := b.kit.Push.Sent()
	if len(sent) != 1 {
		t.Fatalf("%d pushes", len(sent))
	}
	r := b.waits(v)
	var to map[string]string
	if err := json.Unmarshal([]byte(sent[0].To), &to); err != nil || to["endpoint"] != webPush["endpoint"] {
		t.Errorf("pushed to %v %v", to, err)
	}
	if want := `{"id":"` + r.ID + `","kind":"approval"}`; sent[0].Text != want {
		t.Errorf("the push says %s, want %s", sent[0].Text, want)
	}
	if !sent[0].Deadline.Equal(v.Until) {
		t.Errorf("it may leave until %v", sent[0].Deadline)
	}
	s := r.Show()
	if s.Txn != r.ID || s.Action != "signin" || s.Service != try.Service || s.Origin != try.Origin || s.Place != try.Place || s.Browser != "Firefox, Windows" ||
		s.Exp-s.Time != int64(device.Life/time.Second) || len(s.Nonce) != 43 {
		t.Errorf("shown %+v", s)
	}
	if over, err := b.f.Over(t.Context(), try); over || err != nil {
		t.Errorf("over %v %v", over, err)
	}
	if _, err := b.verify(try, ""); key(err) != "device.waiting" || fault.KindOf(err) != fault.Invalid {
		t.Errorf("before the answer: %v", err)
	}
	wants(t, "approve", b.dev.Approve(r, v.Number), http.StatusNoContent, "")
	if over, err := b.f.Over(t.Context(), try); !over || err != nil {
		t.Errorf("over %v %v", over, err)
	}
	if v := b.begin(try); !v.Approved || v.Number != "" {
		t.Errorf("page after the answer %+v", v)
	}
	p, err := b.verify(try, "")
	if err != nil {
		t.Fatal(err)
	}
	if p.Channel != device.Channel || p.Kinds != factors.Have || strings.Join(p.AMR, " ") != "swk user" || p.Level != acr.Low {
		t.Errorf("proof %+v", p)
	}
	if _, err := b.verify(try, ""); !isConflict(err) {
		t.Errorf("again: %v", err)
	}
	if v := b.begin(try); v.End != "device.used" {
		t.Errorf("page after all %+v", v)
	}
}

func isConflict(err error) bool { return fault.KindOf(err) == fault.Conflict && err != nil }

// R170, R171: in the browser that is the device the password is enough.
func TestR170_SameDevice(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	v := b.begin(try)
	if v.Device != b.dev.ID || v.Issuer != b.dev.Issuer || v.Challenge == "" {
		t.Fatalf("page %+v", v)
	}
	if after := b.kit.Push.Sent()[0].After; !after.After(factortest.Start) {
		t.Errorf("the push does not wait: %v", after)
	}
	p, err := b.verify(try, b.dev.Here(v.Challenge))
	if err != nil {
		t.Fatal(err)
	}
	if p.Channel != factors.Here || strings.Join(p.AMR, " ") != "swk" {
		t.Errorf("proof %+v", p)
	}
	// What was signed by itself is no push that was asked for: others stay possible.
	for i := range 3 {
		b.kit.Clock.Advance(time.Minute)
		try := at(fmt.Sprint("u", i), "b1")
		try.Service = try.Binding // not the same again
		if v := b.begin(try); !v.Pushed {
			t.Errorf("push %d is missing", i)
		}
	}
}

// fromNetwork lets fn's requests come from an address, as the chain around the handler says.
func (b *bench) fromNetwork(ip string, fn func() devicetest.Answer) devicetest.Answer {
	plain := b.api
	defer func() { b.api = plain }()
	b.api = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plain.ServeHTTP(w, r.WithContext(web.WithClient(r.Context(), "r1", netip.MustParseAddr(ip))))
	})
	return fn()
}
