package device_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/device"
	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

// still fails unless the request of a try waits as before, and then approves it.
func (b *bench) still(what string, try factors.Try, v device.View) {
	b.t.Helper()
	if _, err := b.verify(try, ""); key(err) != "device.waiting" {
		b.t.Errorf("%s: the request does not wait any more: %v", what, err)
	}
	if now := b.begin(try); now.Number != v.Number || now.Challenge != v.Challenge || !now.Waiting {
		b.t.Errorf("%s: the page changed to %+v", what, now)
	}
}

func TestD1_OnlyTheDeviceApproves(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	v := b.begin(try)
	r := b.waits(v)
	path := "/requests/" + r.ID + "/approve"
	stranger := b.phone("stranger's phone")
	stranger.ID = b.dev.ID
	victim := *b.dev.Copy()

	body := func(d *devicetest.Device, ctr int64) []byte {
		raw, err := json.Marshal(map[string]string{"statement": d.Statement(r.Challenge, "approve", v.Number, "list", ctr, nil)})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	good := body(b.dev, 100)
	proof := func(over map[string]any) string { return b.dev.Proof("POST", path, good, 100, over) }
	now := b.kit.Clock.Now().Unix()
	for name, p := range map[string]string{
		"no proof":            "",
		"words":               "yes, it is me",
		"another key":         stranger.Proof("POST", path, good, 100, nil),
		"another method":      proof(map[string]any{"htm": "GET"}),
		"another path":        proof(map[string]any{"htu": devicetest.Base + "/requests/AAAAAAAAAAAAAAAAAAAAAA/approve"}),
		"another body":        proof(map[string]any{"bh": devicetest.Encode(make([]byte, 32))}),
		"another issuer":      proof(map[string]any{"aud": "https://evil.example"}),
		"another device":      proof(map[string]any{"iss": "somebody-else-0000"}),
		"no counter":          proof(map[string]any{"ctr": nil}),
		"a negative counter":  proof(map[string]any{"ctr": -1}),
		"a counter too high":  proof(map[string]any{"ctr": 1 << 60}),
		"no jti":              proof(map[string]any{"jti": nil}),
		"a short jti":         proof(map[string]any{"jti": "short"}),
		"no time":             proof(map[string]any{"iat": nil}),
		"a member too many":   proof(map[string]any{"admin": true}),
		"of a minute ago":     proof(map[string]any{"iat": now - 61}),
		"of a minute to come": proof(map[string]any{"iat": now + 61}),
		"alg none":            unsigned(b.dev, path),
		"another type":        b.dev.Sign(map[string]any{"alg": "ES256", "typ": "kapi-approval+jwt", "kid": b.dev.ID}, map[string]any{"iss": b.dev.ID}),
		"a key of its own":    b.dev.Sign(map[string]any{"alg": "ES256", "typ": "kapi-device+jwt", "kid": b.dev.ID, "jwk": b.dev.JWK()}, map[string]any{"iss": b.dev.ID}),
		"no kid":              b.dev.Sign(map[string]any{"alg": "ES256", "typ": "kapi-device+jwt"}, map[string]any{"iss": b.dev.ID}),
		"a long one":          proof(map[string]any{"jti": strings.Repeat("x", 10000)}),
		"a statement":         b.dev.Statement(r.Challenge, "approve", v.Number, "list", 100, nil),
	} {
		a := b.dev.Send("POST", path, good, p)
		if a.Status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
		if want := map[bool]string{true: "clock", false: "unproven"}[strings.HasPrefix(name, "of a minute") || name == "no time"]; a.Problem() != want {
			t.Errorf("%s: %s", name, a.Problem())
		}
	}
	b.still("bent proofs", try, v)

	// A page of another site, with the person's cookies: no proof, nothing.
	b.dev.Bend = func(r *http.Request) {
		r.Header.Set("Cookie", "kapi_session=x; kapi_browser=y")
		r.Header.Set("Origin", "https://rp.example")
	}
	wants(t, "cookies", b.dev.Send("POST", path, good, ""), http.StatusUnauthorized, "unproven")
	b.dev.Bend = nil
	// No state by GET.
	wants(t, "GET", b.dev.Send("GET", path, nil, b.dev.Proof("GET", path, nil, 0, nil)), http.StatusNotFound, "unknown")
	// Two proofs, one good.
	b.dev.Bend = func(r *http.Request) { r.Header.Add("Kapi-Device", "x") }
	wants(t, "two proofs", b.dev.Send("POST", path, good, proof(nil)), http.StatusUnauthorized, "unproven")
	b.dev.Bend = nil
	// A good proof around a statement of somebody else.
	wants(t, "a stranger's statement", b.dev.Send("POST", path, body(stranger, 100), b.dev.Proof("POST", path, body(stranger, 100), 100, nil)), http.StatusUnauthorized, "unproven")
	b.dev.Ctr = 100
	b.still("other statements", try, v)

	// The statement of one request for another one, and under another id.
	try2 := at("t2", "b2")
	try2.Service = "Tax office"
	v2 := b.begin(try2)
	r2 := b.waits(v2)
	for what, s := range map[string]devicetest.Request{
		"another challenge": {ID: r.ID, Challenge: r2.Challenge, Number: true}, "another id": {ID: r2.ID, Challenge: r.Challenge, Number: true},
	} {
		wants(t, what, b.dev.Approve(s, v.Number), http.StatusUnprocessableEntity, "statement")
	}
	wants(t, "no such id", b.dev.Approve(devicetest.Request{ID: devicetest.Random(16), Challenge: r.Challenge, Number: true}, v.Number), http.StatusNotFound, "unknown")
	b.still("mixed up", try, v)
	b.still("mixed up", try2, v2)

	// Another person's device sees nothing of it and cannot approve it.
	theirs := registerFor(b, "a2")
	if list, a := theirs.List(); a.Status != 200 || len(list) != 0 {
		t.Errorf("another person sees %d requests", len(list))
	}
	wants(t, "another person", theirs.Approve(r, v.Number), http.StatusNotFound, "unknown")
	b.still("another person", try, v)

	// A request that was made is not made twice.
	ctr := b.dev.Next()
	once := body(b.dev, ctr)
	p := b.dev.Proof("POST", path, once, ctr, nil)
	wants(t, "good", b.dev.Send("POST", path, once, p), http.StatusNoContent, "")
	wants(t, "replayed", b.dev.Send("POST", path, once, p), http.StatusUnauthorized, "replayed")
	wants(t, "approved twice", b.dev.Approve(r, v.Number), http.StatusConflict, "decided")
	if _, err := b.verify(try, ""); err != nil {
		t.Errorf("after all: %v", err)
	}

	// A device that was deleted.
	wants(t, "leave", b.dev.Leave(), http.StatusNoContent, "")
	victim.Ctr = b.dev.Ctr
	wants(t, "deleted", victim.Approve(r2, v2.Number), http.StatusUnauthorized, "unproven")
	if _, a := victim.List(); a.Status != http.StatusUnauthorized {
		t.Errorf("a deleted device lists: %d", a.Status)
	}
	if _, err := b.verify(try2, ""); key(err) != "device.none" {
		t.Errorf("what waited for it: %v", err)
	}
	if n := len(b.kit.Record.Events(audit.DeviceApproved)); n != 1 {
		t.Errorf("%d approvals recorded", n)
	}
}

func unsigned(d *devicetest.Device, path string) string {
	return devicetest.Encode([]byte(`{"alg":"none","typ":"kapi-device+jwt","kid":"`+d.ID+`"}`)) + "." + devicetest.Encode([]byte(`{}`)) + "."
}

// registerFor registers a device for another person of the same Kapi.
func registerFor(b *bench, id account.ID) *devicetest.Device {
	b.t.Helper()
	r, err := b.f.Act(b.t.Context(), factors.Try{Binding: "enrol:" + string(id), Account: id}, "add", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	d := b.phone("their phone")
	if a := d.Register(r.Page.Data.(device.PairView).Code); a.Status != http.StatusCreated {
		b.t.Fatalf("%d %s", a.Status, a.Body)
	}
	return d
}

// A deleted device's approval counts no more, even where it was given before.
func TestD1_ApprovedThenDeleted(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	v := b.begin(try)
	wants(t, "approve", b.dev.Approve(b.waits(v), v.Number), http.StatusNoContent, "")
	wants(t, "leave", b.dev.Leave(), http.StatusNoContent, "")
	if _, err := b.verify(try, ""); key(err) != "device.none" {
		t.Errorf("redeemed after the deletion: %v", err)
	}
	b.registered(b.phone("a new one"))
	if _, err := b.verify(try, ""); err == nil {
		t.Error("redeemed under another device")
	}
}

func TestD2_SignedIsShownIsExecuted(t *testing.T) {
	b := newBench(t)
	for i, member := range []string{"txn", "nonce", "action", "service", "origin", "place", "browser", "time", "exp"} {
		b.kit.Clock.Advance(3 * time.Minute)
		try := at(fmt.Sprint("t", i), "b1")
		v := b.begin(try)
		r := b.waits(v)
		var c map[string]any
		if err := json.Unmarshal([]byte(r.Challenge), &c); err != nil || c[member] == nil {
			t.Fatalf("%s: %v %v", member, c, err)
		}
		if s, text := c[member].(string); text {
			c[member] = s + "!"
		} else {
			c[member] = c[member].(float64) + 1
		}
		raw, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		bent := r
		bent.Challenge = string(raw)
		wants(t, member, b.dev.Approve(bent, v.Number), http.StatusUnprocessableEntity, "statement")
		b.still(member, try, v)
	}
	b.kit.Clock.Advance(3 * time.Minute)
	try := at("last", "b1")
	v := b.begin(try)
	r := b.waits(v)
	same := r
	same.Challenge = strings.Replace(r.Challenge, ":", ": ", 1) // the same words in other bytes
	wants(t, "other bytes", b.dev.Approve(same, v.Number), http.StatusUnprocessableEntity, "statement")

	send := func(decision, number, door string, ctrOff int64, over map[string]any) devicetest.Answer {
		ctr := b.dev.Next()
		return b.dev.SendStatement(r.ID, "approve", map[string]any{"statement": b.dev.Statement(r.Challenge, decision, number, door, ctr+ctrOff, over)}, ctr)
	}
	for name, a := range map[string]devicetest.Answer{
		"a no":            send("deny", v.Number, "list", 0, nil),
		"another counter": send("approve", v.Number, "list", 1, nil),
		"the QR door":     send("approve", "", "qr", 0, nil),
		"the page's door": send("approve", "", "here", 0, nil),
		"no door":         send("approve", v.Number, "", 0, nil),
		"another issuer":  send("approve", v.Number, "list", 0, map[string]any{"aud": "https://evil.example"}),
		"another device":  send("approve", v.Number, "list", 0, map[string]any{"iss": "another-device-000"}),
		"of tomorrow":     send("approve", v.Number, "list", 0, map[string]any{"iat": b.kit.Clock.Now().Add(time.Hour).Unix()}),
		"of yesterday":    send("approve", v.Number, "list", 0, map[string]any{"iat": b.kit.Clock.Now().Add(-24 * time.Hour).Unix()}),
		"a member more":   send("approve", v.Number, "list", 0, map[string]any{"amount": 100}),
		"no challenge":    send("approve", v.Number, "list", 0, map[string]any{"challenge": nil}),
	} {
		wants(t, name, a, http.StatusUnprocessableEntity, "statement")
	}
	wants(t, "words", b.dev.SendStatement(r.ID, "approve", map[string]any{"statement": "yes"}, b.dev.Next()), http.StatusUnprocessableEntity, "statement")
	wants(t, "nothing", b.dev.SendStatement(r.ID, "approve", map[string]any{}, b.dev.Next()), http.StatusUnprocessableEntity, "statement")
	wants(t, "too much", b.dev.SendStatement(r.ID, "approve", map[string]any{"statement": "x", "also": 1}, b.dev.Next()), http.StatusBadRequest, "malformed")
	b.still("bent statements", try, v)
	wants(t, "good", b.dev.Approve(r, v.Number), http.StatusNoContent, "")
}

func TestD2_NumberHasOneTry(t *testing.T) {
	for name, number := range map[string]func(string) string{
		"another": other, "none": func(string) string { return "" }, "with a space": func(n string) string { return n + " " }, "as a word": func(string) string { return "forty" },
	} {
		t.Run(name, func(t *testing.T) {
			b, try := newBench(t), at("t1", "b1")
			v := b.begin(try)
			r := b.waits(v)
			wants(t, "wrong", b.dev.Approve(r, number(v.Number)), http.StatusUnprocessableEntity, "number")
			wants(t, "then right", b.dev.Approve(r, v.Number), http.StatusConflict, "decided")
			if _, err := b.verify(try, ""); key(err) != "device.wrong_number" {
				t.Errorf("redeemed: %v", err)
			}
			if now := b.begin(try); now.Waiting || now.End != "device.wrong_number" {
				t.Errorf("page %+v", now)
			}
			e := b.kit.Record.Events(audit.DeviceDenied)
			if len(e) != 1 || e[0].Details["reason"] != "number" || e[0].Outcome != "refused" {
				t.Errorf("recorded %+v", e)
			}
			// Asking again is a new request with a number of its own, and no reload asks.
			if err := b.f.Again(t.Context(), try); err != nil {
				t.Fatal(err)
			}
			again := b.begin(try)
			if !again.Waiting || again.Challenge == v.Challenge {
				t.Errorf("asked again %+v", again)
			}
			wants(t, "the new one", b.dev.Approve(b.waits(again), again.Number), http.StatusNoContent, "")
		})
	}
}

// The number never leaves by the push, nor by anything that the device is told.
func TestD2_NumberStaysOnTheScreen(t *testing.T) {
	b := newBench(t)
	for i := range 40 {
		b.kit.Clock.Advance(10 * time.Minute)
		v := b.begin(at(fmt.Sprint("t", i), "b1"))
		var told []string
		b.dev.Bodies = func(_ *http.Request, _ []byte, _ int, h http.Header, answer []byte) {
			var list struct{ Requests []map[string]any }
			if err := json.Unmarshal(answer, &list); err != nil || len(list.Requests) != 1 {
				t.Fatalf("%s", answer)
			}
			for _, m := range list.Requests {
				for name, v := range m {
					told = append(told, name+"="+fmt.Sprint(v))
				}
			}
		}
		b.dev.List()
		for _, s := range told {
			if strings.HasSuffix(s, "="+v.Number) || strings.Contains(s, `"number"`) || strings.Contains(s, `"`+v.Number+`"`) {
				t.Fatalf("told %s, the number is %s", s, v.Number)
			}
		}
		var text map[string]string
		push := b.kit.Push.Sent()[len(b.kit.Push.Sent())-1]
		if err := json.Unmarshal([]byte(push.Text), &text); err != nil || len(text) != 2 || text["kind"] != "approval" || len(text["id"]) != 22 {
			t.Fatalf("pushed %s", push.Text)
		}
	}
}

func TestD3_Fatigue(t *testing.T) {
	b := newBench(t)
	pushed := func() int { return len(b.kit.Push.Sent()) }
	for i := range 20 { // somebody with the right password, each time from elsewhere
		b.kit.Clock.Advance(20 * time.Second)
		try := at(fmt.Sprint("attack", i), fmt.Sprint("evil", i))
		try.Network = fmt.Sprintf("198.51.100.%d", i)
		if c, err := b.f.Begin(t.Context(), try); err != nil {
			t.Fatalf("%d: %v", i, err)
		} else if v := c.Page.Data.(device.View); v.Pushed != (i < 3) {
			t.Errorf("attempt %d: pushed %v", i, v.Pushed)
		}
	}
	if pushed() != 3 {
		t.Fatalf("%d pushes", pushed())
	}
	if e := b.kit.Record.Events(audit.PushPaused); len(e) != 1 || e[0].Subject != string(owner) {
		t.Errorf("recorded %+v", e)
	}
	// The person at a browser of theirs is pushed to as ever, and can approve.
	b.kit.Clock.Advance(2 * time.Minute)
	mine := at("mine", "home")
	mine.Known = true
	v := b.begin(mine)
	if !v.Pushed || pushed() != 4 {
		t.Errorf("the known browser: %+v, %d pushes", v.Pushed, pushed())
	}
	wants(t, "approve", b.dev.Approve(b.waits(v), v.Number), http.StatusNoContent, "")
	// From an unknown one the list still works.
	unknown := at("new laptop", "laptop")
	v = b.begin(unknown)
	if v.Pushed || !v.Waiting {
		t.Errorf("the unknown browser: %+v", v)
	}
	wants(t, "approve from the list", b.dev.Approve(b.waits(v), v.Number), http.StatusNoContent, "")
	b.kit.Clock.Advance(time.Hour)
	if v := b.begin(at("later", "laptop")); !v.Pushed {
		t.Error("no push after an hour")
	}
}

// Never more than three within ten minutes, however they are spread.
func TestD3_SlidingWindow(t *testing.T) {
	b := newBench(t)
	var at3 []time.Time
	for i := range 200 {
		b.kit.Clock.Advance(45 * time.Second)
		try := at(fmt.Sprint("t", i), fmt.Sprint("b", i))
		try.Service = try.Binding
		before := len(b.kit.Push.Sent())
		if _, err := b.f.Begin(t.Context(), try); err != nil {
			t.Fatal(err)
		}
		if len(b.kit.Push.Sent()) > before {
			at3 = append(at3, b.kit.Clock.Now())
		}
	}
	if len(at3) < 6 {
		t.Fatalf("%d pushes in two and a half hours", len(at3))
	}
	for i := 3; i < len(at3); i++ {
		if d := at3[i].Sub(at3[i-3]); d <= 10*time.Minute {
			t.Errorf("four pushes within %v", d)
		}
	}
}

func TestD3_ManyAtOnce(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			try := at(fmt.Sprint("t", i), fmt.Sprint("b", i))
			try.Agent = fmt.Sprint("agent ", i)
			_, _ = b.f.Begin(t.Context(), try)
		})
	}
	wg.Wait()
	if n := len(b.kit.Push.Sent()); n > 3 {
		t.Errorf("%d pushes", n)
	}
	list, a := b.dev.List()
	if a.Status != 200 || len(list) == 0 || len(list) > 5 {
		t.Errorf("%d on the list", len(list))
	}
}

func TestD3_SameRequestsCoalesce(t *testing.T) {
	b := newBench(t)
	first := at("t1", "b1")
	v1 := b.begin(first)
	second := at("t2", "b1") // the same service, place and browser: asked for twice
	v2 := b.begin(second)
	if n := len(b.kit.Push.Sent()); n != 1 {
		t.Errorf("%d pushes", n)
	}
	list, _ := b.dev.List()
	if len(list) != 1 || list[0].Challenge != v2.Challenge {
		t.Errorf("%d on the list", len(list))
	}
	if v := b.begin(first); v.Waiting || v.End != "device.replaced" || v.Final {
		t.Errorf("the older page %+v", v)
	}
	// The approval of the newer one is good there only.
	wants(t, "approve", b.dev.Approve(list[0], v2.Number), http.StatusNoContent, "")
	if _, err := b.verify(first, ""); key(err) != "device.replaced" {
		t.Errorf("the older one: %v", err)
	}
	if _, err := b.verify(second, ""); err != nil {
		t.Errorf("the newer one: %v", err)
	}
	_ = v1
	other := at("t3", "b1")
	other.Service = "Tax office"
	b.begin(other)
	if n := len(b.kit.Push.Sent()); n != 2 {
		t.Errorf("%d pushes after another service", n)
	}
}

func TestD3_NotMe(t *testing.T) {
	b := newBench(t)
	evil := at("t1", "evil")
	evil.Network = "198.51.100.1"
	v := b.begin(evil)
	more := at("t2", "evil")
	more.Service = "Tax office"
	b.begin(more)
	approved := at("t3", "evil")
	approved.Service = "Land registry"
	va := b.begin(approved)
	wants(t, "a slip", b.dev.Approve(b.waits(va), va.Number), http.StatusNoContent, "")

	wants(t, "not me", b.dev.Deny(b.waits(v), "not_me"), http.StatusNoContent, "")
	for _, try := range []factors.Try{evil, more, approved} {
		if _, err := b.verify(try, ""); key(err) != "device.not_me" {
			t.Errorf("%s: %v", try.Binding, err)
		}
		if now := b.begin(try); now.Waiting || !now.Final || now.End != "device.not_me" {
			t.Errorf("%s: page %+v", try.Binding, now)
		}
		if err := b.f.Again(t.Context(), try); key(err) != "device.not_me" {
			t.Errorf("%s: asked again: %v", try.Binding, err)
		}
	}
	if list, _ := b.dev.List(); len(list) != 0 {
		t.Errorf("%d still wait", len(list))
	}
	if e := b.kit.Record.Events(audit.DeviceDenied); len(e) != 1 || e[0].Details["reason"] != "not_me" || e[0].Details["service"] != evil.Service {
		t.Errorf("recorded %+v", e)
	}
	if e := b.kit.Record.Events(audit.PushPaused); len(e) != 1 || e[0].Details["reason"] != "not_me" {
		t.Errorf("recorded %+v", e)
	}
	pushes := len(b.kit.Push.Sent())
	// The browser that asked cannot ask again, in a new sign-in either, even where it became a known one.
	again := at("t4", "evil")
	again.Known = true
	if v := b.begin(again); v.Waiting || v.End != "device.browser_blocked" || !v.Final {
		t.Errorf("the browser asks anew: %+v", v)
	}
	// Another unknown one reaches the list, without a push; a known one is as ever.
	if v := b.begin(at("t5", "b5")); !v.Waiting || v.Pushed {
		t.Errorf("another browser: %+v", v)
	}
	home := at("t6", "home")
	home.Known, home.Service = true, "Pension fund"
	if v := b.begin(home); !v.Waiting || !v.Pushed {
		t.Errorf("the known browser: %+v", v)
	}
	if n := len(b.kit.Push.Sent()); n != pushes+1 {
		t.Errorf("%d pushes more", n-pushes)
	}
	b.kit.Clock.Advance(time.Hour)
	if v := b.begin(at("t7", "evil")); !v.Waiting || !v.Pushed {
		t.Errorf("after an hour: %+v", v)
	}
}

func TestD5_QRRelay(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	v := b.begin(try)
	if v.QR.Path == "" || v.QR.Size < 29 {
		t.Fatalf("no picture: %+v", v.QR)
	}
	code := scanCode(t, b, try)
	if len(code) != 22 {
		t.Errorf("a code of %d characters", len(code))
	}
	// Phones that are not the one.
	stranger := b.phone("not registered")
	stranger.ID = devicetest.Random(16)
	_, a := stranger.Scan(code)
	wants(t, "an unregistered phone", a, http.StatusUnauthorized, "unproven")
	theirs := registerFor(b, "a2")
	_, a = theirs.Scan(code)
	wants(t, "another person's phone", a, http.StatusNotFound, "unknown")
	_, a = b.dev.Scan(devicetest.Random(16))
	wants(t, "a made-up code", a, http.StatusNotFound, "unknown")
	_, a = b.dev.Scan("")
	wants(t, "no code", a, http.StatusNotFound, "unknown")

	// Too old: the picture that was shown at the beginning, a minute later.
	b.kit.Clock.Advance(time.Minute)
	_, a = b.dev.Scan(code)
	wants(t, "a picture of a minute ago", a, http.StatusNotFound, "unknown")
	fresh := scanCode(t, b, try)
	if fresh == code {
		t.Error("the picture does not change")
	}
	b.kit.Clock.Advance(29 * time.Second)
	r, a := b.dev.Scan(fresh)
	wants(t, "a fresh one", a, http.StatusOK, "")
	if s := r.Show(); s.Service != try.Service || s.Place != try.Place || s.Browser != "Firefox, Windows" || s.Origin != try.Origin {
		t.Errorf("the phone shows %+v", s)
	}
	if r.Number {
		t.Error("a number is asked for after a scan")
	}
	// Once: a second scanner, the same photo again.
	_, a = b.dev.Copy().Scan(fresh)
	if a.Status != http.StatusConflict || a.Problem() != "scanned" {
		t.Errorf("a second scanner: %d %s", a.Status, a.Body)
	}
	b.dev.Ctr += 5
	if now := b.begin(try); !now.Scanned || now.QR.Path != "" || !now.Waiting {
		t.Errorf("the page still shows a picture: %+v", now)
	}
	// What was scanned is not approved by the list's door.
	ctr := b.dev.Next()
	wants(t, "the list's door", b.dev.SendStatement(r.ID, "approve", map[string]any{"statement": b.dev.Statement(r.Challenge, "approve", v.Number, "list", ctr, nil)}, ctr),
		http.StatusUnprocessableEntity, "statement")
	wants(t, "approve", b.dev.Approve(r, ""), http.StatusNoContent, "")
	_, a = b.dev.Scan(fresh)
	wants(t, "after the approval", a, http.StatusConflict, "decided")

	// The approval lands only in the browser that began.
	elsewhere := at("t2", "b2")
	if _, err := b.verify(elsewhere, ""); key(err) != "device.expired" {
		t.Errorf("another browser: %v", err)
	}
	p, err := b.verify(try, "")
	if err != nil || p.Channel != device.Channel {
		t.Errorf("%+v %v", p, err)
	}
}

func TestD5_OneScanner(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	b.begin(try)
	code := scanCode(t, b, try)
	var ok, scanned atomic.Int64
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			body, _ := json.Marshal(map[string]string{"code": code})
			ctr := int64(1000 + i)
			switch a := b.dev.Send("POST", "/scan", body, b.dev.Proof("POST", "/scan", body, ctr, nil)); {
			case a.Status == http.StatusOK:
				ok.Add(1)
			case a.Problem() == "scanned" || a.Problem() == "blocked":
				scanned.Add(1) // a counter that came late looks like a copy: also no second scanner
			default:
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	wg.Wait()
	if ok.Load() > 1 || ok.Load()+scanned.Load() != 20 {
		t.Errorf("%d scanners", ok.Load())
	}
}

func TestD7_RegisterInParallel(t *testing.T) {
	for _, way := range []string{"one code", "a code each"} {
		t.Run(way, func(t *testing.T) {
			kit := factortest.NewKit(factortest.Start)
			b := &bench{t: t, kit: kit, f: device.New(kit.Factors(), device.Options{})}
			b.api = b.f.Endpoints()
			codes := make([]string, 20)
			for i := range codes {
				if i > 0 && way == "one code" {
					codes[i] = codes[0]
					continue
				}
				// Two sessions of the person can hold a code each only where they asked in the same moment.
				code, err := b.f.PairingForTest(t.Context(), owner)
				if err != nil {
					t.Fatal(err)
				}
				codes[i] = code
			}
			var in atomic.Int64
			var wg sync.WaitGroup
			for i := range codes {
				wg.Go(func() {
					d := b.phone(fmt.Sprint("phone ", i))
					switch a := d.Register(codes[i]); {
					case a.Status == http.StatusCreated:
						in.Add(1)
					case a.Status == http.StatusNotFound || a.Status == http.StatusConflict:
					default:
						t.Errorf("%d %s", a.Status, a.Body)
					}
				})
			}
			wg.Wait()
			if in.Load() != 1 || len(kit.Record.Events(audit.FactorSetUp)) != 1 {
				t.Errorf("%d registered, %d recorded", in.Load(), len(kit.Record.Events(audit.FactorSetUp)))
			}
		})
	}
}

// A copy of the key gives itself away by the counter.
func TestD7_Clone(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	clone := b.dev.Copy()
	wants(t, "the owner goes on", b.dev.SetPush(webPush), http.StatusNoContent, "")
	wants(t, "and on", b.dev.SetPush(webPush), http.StatusNoContent, "")
	v := b.begin(try)
	r := b.waits(v)
	wants(t, "the copy", clone.Approve(r, v.Number), http.StatusForbidden, "blocked")
	if _, err := b.verify(try, ""); key(err) != "device.none" {
		t.Errorf("redeemed: %v", err)
	}
	e := b.kit.Record.Events(audit.DeviceBlocked)
	if len(e) != 1 || e[0].Subject != string(owner) || e[0].Details["reason"] != "counter" {
		t.Errorf("recorded %+v", e)
	}
	// Which of the two is the thief's nobody knows: neither has a say.
	wants(t, "the owner", b.dev.SetPush(webPush), http.StatusForbidden, "blocked")
	if ok, err := b.f.Available(t.Context(), owner); ok || err != nil {
		t.Errorf("available %v %v", ok, err)
	}
	if _, err := b.f.Begin(t.Context(), at("t2", "b1")); key(err) != "device.none" {
		t.Errorf("Begin: %v", err)
	}
	if s, err := b.f.Standing(t.Context(), owner); err != nil || s.On || !s.Warn || s.Key != "device.line_blocked" {
		t.Errorf("standing %+v %v", s, err)
	}
	if len(b.kit.Record.Events(audit.DeviceBlocked)) != 1 {
		t.Error("recorded twice")
	}
	// Registered anew it works again, and the old key stays out.
	fresh := b.phone("new")
	b.registered(fresh)
	wants(t, "the new one", fresh.Me(), http.StatusOK, "")
	wants(t, "the old one", b.dev.Me(), http.StatusUnauthorized, "unproven")
}

// The same on the page: a copy that signs silently with a number that was used.
func TestD7_CloneInTheBrowser(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	clone := b.dev.Copy()
	wants(t, "the owner goes on", b.dev.SetPush(webPush), http.StatusNoContent, "")
	v := b.begin(try)
	_, err := b.verify(try, clone.Here(v.Challenge))
	if key(err) != "device.copied" || !isWrong(err) {
		t.Errorf("the copy: %v", err)
	}
	if len(b.kit.Record.Events(audit.DeviceBlocked)) != 1 {
		t.Error("not recorded")
	}
}

func isWrong(err error) bool { return err != nil && fault.KindOf(err) == fault.Denied }

// The counter decides by one write: of many with one number one goes through, and the device is blocked.
func TestD7_CounterInParallel(t *testing.T) {
	b := newBench(t)
	b.isolate()
	var ok atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			body, _ := json.Marshal(webPush)
			if a := b.dev.Send("PUT", "/push", body, b.dev.Proof("PUT", "/push", body, 7, nil)); a.Status == http.StatusNoContent {
				ok.Add(1)
			} else if a.Problem() != "blocked" && a.Status != http.StatusUnauthorized {
				t.Errorf("%d %s", a.Status, a.Body)
			}
		})
	}
	wg.Wait()
	if ok.Load() > 1 {
		t.Errorf("%d went through with one number", ok.Load())
	}
	if n := len(b.kit.Record.Events(audit.DeviceBlocked)); n != 1 {
		t.Errorf("recorded %d times", n)
	}
}

// An approval is good once, and one answer of many counts.
func TestD7_RedeemOnce(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	v := b.begin(try)
	wants(t, "approve", b.dev.Approve(b.waits(v), v.Number), http.StatusNoContent, "")
	var ok atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := b.verify(try, "")
			if err == nil {
				ok.Add(1)
			} else if fault.KindOf(err) == fault.Internal {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if ok.Load() != 1 {
		t.Errorf("redeemed %d times", ok.Load())
	}
}

func TestD7_OneAnswerCounts(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	v := b.begin(try)
	r := b.waits(v)
	var answers []string
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			st := b.dev.Statement(r.Challenge, []string{"approve", "deny"}[i%2], map[int]string{0: v.Number}[i%2], "list", 9, nil)
			var err error
			if i%2 == 0 {
				err = b.f.ApproveForTest(t.Context(), b.dev.ID, r.ID, st, 9)
			} else {
				err = b.f.DenyForTest(t.Context(), b.dev.ID, r.ID, "cancel", st, 9)
			}
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				answers = append(answers, []string{"yes", "no"}[i%2])
			}
		})
	}
	wg.Wait()
	if len(answers) != 1 {
		t.Fatalf("%d answers counted: %v", len(answers), answers)
	}
	_, err := b.verify(try, "")
	if (err == nil) != (answers[0] == "yes") {
		t.Errorf("%s, then %v", answers[0], err)
	}
	names := []audit.Name{audit.DeviceApproved, audit.DeviceDenied}
	if n := slices.IndexFunc(names, func(n audit.Name) bool { return len(b.kit.Record.Events(n)) == 1 }); n < 0 {
		t.Error("not recorded")
	}
}

// A request belongs to the device it was made for: one that was registered meanwhile neither sees nor approves it, and what the device
// before it approved is worth nothing.
func TestD1_RequestOfTheDeviceBefore(t *testing.T) {
	b := newBench(t)
	waits, approved := at("t1", "b1"), at("t2", "b2")
	approved.Service = "Tax office"
	v, va := b.begin(waits), b.begin(approved)
	r := b.waits(v)
	wants(t, "approve", b.dev.Approve(b.waits(va), va.Number), http.StatusNoContent, "")
	if err := b.kit.Credentials.Delete(t.Context(), b.dev.ID); err != nil { // in the moment between two writes
		t.Fatal(err)
	}
	fresh := b.phone("new")
	b.registered(fresh)
	if list, a := fresh.List(); a.Status != 200 || len(list) != 0 {
		t.Errorf("the new device sees %d", len(list))
	}
	wants(t, "the new device", fresh.Approve(r, v.Number), http.StatusNotFound, "unknown")
	for _, try := range []factors.Try{waits, approved} {
		if _, err := b.verify(try, ""); key(err) != "device.none" {
			t.Errorf("%s: %v", try.Binding, err)
		}
	}
}

// between does something after the answer was seen and before it is used.
type between struct {
	factors.Tickets
	do func()
}

func (w between) Answer(ctx context.Context, binding string, p factors.Purpose, id account.ID, secret []byte, most int) (factors.Ticket, bool, error) {
	w.do()
	return w.Tickets.Answer(ctx, binding, p, id, secret, most)
}

// "Not me" in the very moment in which an approval is redeemed.
func TestD3_NotMeInTheLastMoment(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	v := b.begin(try)
	wants(t, "approve", b.dev.Approve(b.waits(v), v.Number), http.StatusNoContent, "")
	kit := b.kit.Factors()
	kit.Tickets = between{kit.Tickets, func() {
		if err := b.f.Stop(t.Context(), owner); err != nil {
			t.Error(err)
		}
	}}
	if p, err := device.New(kit, device.Options{}).Verify(t.Context(), try, factors.Answer{}); key(err) != "device.refused" {
		t.Errorf("%+v %v", p, err)
	}
}
