package device_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/device"
	"github.com/kapi-id/kapi/factors/device/devicetest"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

// Who may replace and remove the device at once, by what the session was proven with.
func TestReplacing(t *testing.T) {
	password := factors.Proof{Factor: "password", Stage: factors.First, Level: acr.Low, Channel: factors.Here}
	second := func(name, channel string) factors.Proof {
		return factors.Proof{Factor: name, Stage: factors.Second, Level: acr.Low, Channel: channel}
	}
	for _, tc := range []struct {
		name   string
		proven []factors.Proof
		free   bool
	}{
		{"nothing", nil, false},
		{"a password", []factors.Proof{password}, false},
		{"a code by SMS", []factors.Proof{password, second("sms", factors.Phone)}, false},
		{"a code by the messenger", []factors.Proof{password, second("messenger", factors.Phone)}, false},
		{"the old device", []factors.Proof{password, second("device", device.Channel)}, true},
		{"the old device itself", []factors.Proof{password, second("device", factors.Here)}, true},
		{"a backup code", []factors.Proof{password, second("backup", factors.Here)}, true},
		{"a key app", []factors.Proof{password, second("totp", factors.Here)}, true},
		{"a security key", []factors.Proof{password, second("webauthn", factors.Here)}, true},
		{"a card", []factors.Proof{{Factor: "card", Stage: factors.First, Level: acr.High}}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			try := factors.Try{Binding: "enrol:s1", Account: owner, Proven: tc.proven}
			code, err := b.pair(tc.proven...)
			for _, act := range []string{"remove", "delete"} {
				if _, e := b.f.Act(t.Context(), try, act, nil); (e == nil) != tc.free {
					t.Errorf("%s: %v", act, e)
				}
			}
			page, e := b.f.Manage(t.Context(), try)
			if v := page.Data.(device.ManageView); e != nil || v.Free != tc.free || !v.On || !v.Possible {
				t.Errorf("page %+v %v", v, e)
			}
			if !tc.free {
				if key(err) != "device.held" {
					t.Errorf("add: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			fresh := b.phone("new")
			wants(t, "register", fresh.Register(code), http.StatusCreated, "")
			wants(t, "the old one", b.dev.Me(), http.StatusUnauthorized, "unproven")
			wants(t, "the new one", fresh.Me(), http.StatusOK, "")
			if e := b.kit.Record.Events(audit.FactorRemoved); len(e) != 1 || e[0].Details["reason"] != "replaced" {
				t.Errorf("recorded %+v", e)
			}
		})
	}
}

// A pairing code that was made before there was a device does not replace the one that came meanwhile.
func TestPairingReplacesOnlyWhatItWasMadeFor(t *testing.T) {
	b := newBench(t)
	code, err := b.f.PairingForTest(t.Context(), owner) // made for no device
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "register", b.phone("another").Register(code), http.StatusConflict, "registered")
	wants(t, "the one there is", b.dev.Me(), http.StatusOK, "")
}

func TestPairing(t *testing.T) {
	b := newBench(t)
	first, err := b.pair(strong...)
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.pair(strong...)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "an older code", b.phone("x").Register(first), http.StatusNotFound, "unknown")
	b.kit.Clock.Advance(device.Pairing)
	wants(t, "an old code", b.phone("x").Register(second), http.StatusNotFound, "unknown")
	third, err := b.pair(strong...)
	if err != nil {
		t.Fatal(err)
	}
	typed := strings.ToLower(third[:4] + " " + third[4:8] + "-" + third[8:])
	wants(t, "as people type it", b.phone("x").Register(typed), http.StatusCreated, "")
	wants(t, "twice", b.phone("y").Register(third), http.StatusNotFound, "unknown")
	for name, code := range map[string]string{"made up": strings.Repeat("A", 26), "short": "ABC", "odd letters": strings.Repeat("ü", 26), "none": ""} {
		if a := b.phone("z").Register(code); a.Status != http.StatusNotFound && a.Status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
}

func TestRegisterSaysWhatIsWrong(t *testing.T) {
	b := newBench(t)
	code, err := b.pair(strong...)
	if err != nil {
		t.Fatal(err)
	}
	d, thief := b.phone("x"), b.phone("thief")
	proof := func(key *devicetest.Device, claims map[string]any) string {
		all := map[string]any{"aud": d.Issuer, "pairing": code, "iat": b.kit.Clock.Now().Unix()}
		for k, v := range claims {
			all[k] = v
		}
		return key.Sign(map[string]any{"alg": "ES256", "typ": "kapi-register+jwt"}, all)
	}
	good := func() map[string]any {
		return map[string]any{"pairing": code, "name": "x", "platform": "web", "app_version": "1.0.0", "key": d.JWK(), "proof": proof(d, nil)}
	}
	off := d.JWK()
	off["y"] = devicetest.Encode(make([]byte, 32))
	for _, tc := range []struct {
		name    string
		bend    func(map[string]any)
		status  int
		problem string
	}{
		{"no name", func(m map[string]any) { m["name"] = " \u202e " }, 400, "malformed"},
		{"a long name", func(m map[string]any) { m["name"] = strings.Repeat("x", 61) }, 400, "malformed"},
		{"another platform", func(m map[string]any) { m["platform"] = "ios" }, 400, "malformed"},
		{"an odd version", func(m map[string]any) { m["app_version"] = "new" }, 400, "malformed"},
		{"no key", func(m map[string]any) { delete(m, "key") }, 400, "malformed"},
		{"a point off the curve", func(m map[string]any) { m["key"] = off }, 400, "malformed"},
		{"another curve", func(m map[string]any) { k := d.JWK(); k["crv"] = "P-384"; m["key"] = k }, 400, "malformed"},
		{"a private key too", func(m map[string]any) { k := d.JWK(); k["d"] = "x"; m["key"] = k }, 400, "malformed"},
		{"a member too many", func(m map[string]any) { m["account"] = "a2" }, 400, "malformed"},
		{"a push inside", func(m map[string]any) {
			m["push"] = map[string]string{"kind": "webpush", "endpoint": "https://169.254.169.254/latest", "p256dh": webPush["p256dh"], "auth": webPush["auth"]}
		}, 400, "malformed"},
		{"no proof", func(m map[string]any) { delete(m, "proof") }, 401, "unproven"},
		{"the proof of another key", func(m map[string]any) { m["proof"] = proof(thief, nil) }, 401, "unproven"},
		{"the proof of another code", func(m map[string]any) { m["proof"] = proof(d, map[string]any{"pairing": "x"}) }, 401, "unproven"},
		{"the proof for another issuer", func(m map[string]any) { m["proof"] = proof(d, map[string]any{"aud": "https://evil.example"}) }, 401, "unproven"},
		{"an old proof", func(m map[string]any) { m["proof"] = proof(d, map[string]any{"iat": b.kit.Clock.Now().Unix() - 61}) }, 401, "clock"},
	} {
		m := good()
		tc.bend(m)
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		wants(t, tc.name, d.Send("POST", "/register", raw, ""), tc.status, tc.problem)
	}
	wants(t, "no JSON", d.Send("POST", "/register", []byte("hello"), ""), 400, "malformed")
	wants(t, "nothing", d.Send("POST", "/register", nil, ""), 400, "malformed")
	wants(t, "two at once", d.Send("POST", "/register", []byte("{}{}"), ""), 400, "malformed")
	wants(t, "too long", d.Send("POST", "/register", []byte(`{"name":"`+strings.Repeat("x", 20<<10)+`"}`), ""), 413, "malformed")
	d.Bend = func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }
	wants(t, "no content type", d.Send("POST", "/register", []byte("{}"), ""), 415, "malformed")
	d.Bend = nil
	wants(t, "good after all", d.Register(code), 201, "")

	// With two-factor authentication off there is no device.
	code, err = b.pair(strong...)
	if err != nil {
		t.Fatal(err)
	}
	b.kit.Accounts.Put(account.Account{ID: owner, State: account.Active, Ceiling: acr.High})
	wants(t, "two-factor off", b.phone("y").Register(code), 403, "two_factor")
	if _, err := b.pair(strong...); key(err) != "device.needs_two_factor" {
		t.Errorf("a code without two-factor authentication: %v", err)
	}
	b.kit.Accounts.Put(account.Account{ID: owner, State: account.Locked, TwoFactor: true})
	wants(t, "a locked account", b.phone("y").Register(code), 404, "unknown")
}

// R176 and what else ends a device.
func TestR176_Drop(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	code, err := b.pair(strong...)
	if err != nil {
		t.Fatal(err)
	}
	b.begin(try)
	if err := b.f.Drop(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	wants(t, "the device", b.dev.Me(), 401, "unproven")
	wants(t, "the code", b.phone("x").Register(code), 404, "unknown")
	if ok, _ := b.f.Available(t.Context(), owner); ok {
		t.Error("still available")
	}
	if _, err := b.verify(try, ""); key(err) != "device.none" {
		t.Errorf("what waited: %v", err)
	}
	if err := b.f.Drop(t.Context(), owner); err != nil {
		t.Errorf("nothing to drop: %v", err)
	}
	if s, err := b.f.Standing(t.Context(), owner); err != nil || s.On || !s.Possible || s.Key != "" {
		t.Errorf("standing %+v %v", s, err)
	}
}

// A device that was said to be lost works until it goes, or who took over a phone line could silence it; it shows what was said.
func TestLost(t *testing.T) {
	var said, goes time.Time
	b := benchOver(t, factortest.NewKit(factortest.Start), device.Options{Leaving: func(context.Context, account.ID) (time.Time, time.Time, error) { return said, goes, nil }})
	shown := func() (lost *struct{ Since, Removal time.Time }) {
		t.Helper()
		var me struct {
			Lost *struct{ Since, Removal time.Time }
		}
		if err := json.Unmarshal(b.dev.Me().Body, &me); err != nil {
			t.Fatal(err)
		}
		return me.Lost
	}
	page := func() device.ManageView {
		t.Helper()
		p, err := b.f.Manage(t.Context(), factors.Try{Account: owner, Proven: strong})
		if err != nil {
			t.Fatal(err)
		}
		return p.Data.(device.ManageView)
	}
	if shown() != nil || page().Lost {
		t.Error("lost from the start")
	}
	said, goes = b.kit.Clock.Now(), b.kit.Clock.Now().Add(24*time.Hour)
	if l := shown(); l == nil || !l.Since.Equal(said) || !l.Removal.Equal(goes) {
		t.Errorf("the device shows %+v", l)
	}
	if v := page(); !v.Lost || !v.Removal.Equal(goes) {
		t.Errorf("the page %+v", v)
	}
	if s, err := b.f.Standing(t.Context(), owner); err != nil || !s.On || !s.Warn || s.Key != "device.line_lost" {
		t.Errorf("standing %+v %v", s, err)
	}
	v := b.begin(at("t1", "b1"))
	wants(t, "approve", b.dev.Approve(b.waits(v), v.Number), 204, "")
	said = said.Add(-time.Second) // of a device before this one
	if shown() != nil || page().Lost {
		t.Error("lost by what was said of another one")
	}
	if err := b.f.Drop(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	wants(t, "gone", b.dev.Me(), 401, "unproven")
}

// Only the one that was meant goes, and its going is recorded once.
func TestOnlyTheLostDeviceGoes(t *testing.T) {
	b := newBench(t)
	removed := func() (n int) {
		for _, e := range b.kit.Record.Events(audit.FactorRemoved) {
			if n++; e.Details["reason"] != "lost" {
				t.Errorf("%+v", e)
			}
		}
		return n
	}
	for _, id := range []string{"", "another"} {
		if err := b.f.DropLost(t.Context(), owner, id); err != nil {
			t.Fatal(err)
		}
		wants(t, "dropped "+id, b.dev.Me(), 200, "")
	}
	for range 2 {
		if err := b.f.DropLost(t.Context(), owner, b.dev.ID); err != nil {
			t.Fatal(err)
		}
		wants(t, "gone", b.dev.Me(), 401, "unproven")
	}
	if n := removed(); n != 1 {
		t.Errorf("recorded %d times", n)
	}
}

func TestOwner(t *testing.T) {
	b := newBench(t)
	try := factors.Try{Binding: "enrol:s1", Account: owner, Proven: strong}
	if id, at, err := b.f.Registered(t.Context(), owner); err != nil || id != b.dev.ID || !at.Equal(factortest.Start) {
		t.Errorf("%s since %v %v", id, at, err)
	}
	s, err := b.f.Standing(t.Context(), owner)
	if err != nil || !s.On || s.Name != "Ayşe's phone" || s.Key != "device.line" || !s.Since.Equal(factortest.Start) || !s.Used.IsZero() {
		t.Errorf("standing %+v %v", s, err)
	}
	res, err := b.f.Act(t.Context(), try, "remove", nil)
	if err != nil || res.Template != "remove" || res.Commit != nil {
		t.Errorf("asked %+v %v", res, err)
	}
	res, err = b.f.Act(t.Context(), try, "delete", nil)
	if err != nil || res.Event != audit.FactorRemoved || res.Commit == nil {
		t.Fatalf("deleted %+v %v", res, err)
	}
	wants(t, "before the commit", b.dev.Me(), 200, "")
	for range 2 { // it may run twice
		if err := res.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, "after the commit", b.dev.Me(), 401, "unproven")
	if _, err := b.f.Act(t.Context(), try, "delete", nil); key(err) != "device.no_device" {
		t.Errorf("deleted twice: %v", err)
	}
	for _, act := range []string{"", "approve", "Add"} {
		if _, err := b.f.Act(t.Context(), try, act, nil); !errors.Is(err, fault.ErrNotFound) {
			t.Errorf("%q: %v", act, err)
		}
	}
	if _, err := b.f.Act(t.Context(), factors.Try{}, "add", nil); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("nobody adds: %v", err)
	}
}

func TestExpiry(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	v := b.begin(try)
	r := b.waits(v)
	b.kit.Clock.Advance(device.Life)
	wants(t, "late", b.dev.Approve(r, v.Number), http.StatusGone, "over")
	wants(t, "a late no", b.dev.Deny(r, "cancel"), http.StatusGone, "over")
	if list, _ := b.dev.List(); len(list) != 0 {
		t.Errorf("%d wait", len(list))
	}
	if over, err := b.f.Over(t.Context(), try); !over || err != nil {
		t.Errorf("over %v %v", over, err)
	}
	if _, err := b.verify(try, ""); key(err) != "device.expired" {
		t.Errorf("late: %v", err)
	}
	c, err := b.f.Begin(t.Context(), try) // a reload asks for nothing
	if err != nil || c.Wait != 0 || c.Page.Resend.IsZero() || c.Page.Data.(device.View).End != "device.expired" || len(b.kit.Push.Sent()) != 1 {
		t.Errorf("a late page %+v %v", c.Page, err)
	}
	if err := b.f.Again(t.Context(), try); err != nil {
		t.Fatal(err)
	}
	if again := b.begin(try); !again.Waiting || !again.Pushed || len(b.kit.Push.Sent()) != 2 {
		t.Errorf("asked again %+v", again)
	}
	if err := b.f.Again(t.Context(), try); err != nil || len(b.kit.Push.Sent()) != 2 {
		t.Errorf("asked again while it waits: %v", err)
	}
	b.kit.Clock.Advance(device.Memory)
	if over, err := b.f.Over(t.Context(), try); !over || err != nil {
		t.Errorf("forgotten, over %v %v", over, err)
	}
	if _, err := b.verify(try, ""); key(err) != "device.expired" {
		t.Errorf("forgotten: %v", err)
	}
}

func TestDeny(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	v := b.begin(try)
	r := b.waits(v)
	ctr := b.dev.Next()
	wants(t, "no reason", b.dev.SendStatement(r.ID, "deny", map[string]any{"reason": "number", "statement": b.dev.Statement(r.Challenge, "deny", "", "list", ctr, nil)}, ctr), 400, "malformed")
	ctr = b.dev.Next()
	wants(t, "a yes", b.dev.SendStatement(r.ID, "deny", map[string]any{"reason": "cancel", "statement": b.dev.Statement(r.Challenge, "approve", "", "list", ctr, nil)}, ctr), 422, "statement")
	b.still("no no", try, v)
	wants(t, "no", b.dev.Deny(r, "cancel"), 204, "")
	wants(t, "twice", b.dev.Deny(r, "cancel"), 409, "decided")
	wants(t, "then yes", b.dev.Approve(r, v.Number), 409, "decided")
	if _, err := b.verify(try, ""); key(err) != "device.refused" {
		t.Errorf("redeemed: %v", err)
	}
	// A plain no is no alarm: the same browser may ask again, and pushes go on.
	if err := b.f.Again(t.Context(), try); err != nil {
		t.Fatal(err)
	}
	if v := b.begin(try); !v.Waiting || !v.Pushed {
		t.Errorf("asked again: %+v", v)
	}
	if len(b.kit.Record.Events(audit.PushPaused)) != 0 {
		t.Error("paused")
	}
}

func TestStop(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	b.begin(try)
	if err := b.f.Stop(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	if _, err := b.verify(try, ""); key(err) != "device.not_me" {
		t.Errorf("what waited: %v", err)
	}
	if v := b.begin(at("t2", "b2")); !v.Waiting || v.Pushed {
		t.Errorf("afterwards: %+v", v)
	}
	if err := b.f.Stop(t.Context(), "nobody"); err != nil {
		t.Error(err)
	}
}

// Where the sender posts to some hosts only, no other is taken, by either door.
func TestPushHosts(t *testing.T) {
	listed := func(endpoint string) bool { return strings.HasPrefix(endpoint, "https://push.example/") }
	b := benchOver(t, factortest.NewKit(factortest.Start), device.Options{WebPush: listed})
	web := map[string]string{"kind": "webpush", "endpoint": "https://elsewhere.example/s/1", "p256dh": webPush["p256dh"], "auth": webPush["auth"]}
	wants(t, "another host", b.dev.SetPush(web), 400, "malformed")
	if to, err := b.f.Reach(t.Context(), owner); err != nil || !strings.Contains(to, webPush["endpoint"]) {
		t.Errorf("pushes go to %q, %v", to, err)
	}
	wants(t, "a listed one", b.dev.SetPush(webPush), 204, "")
	wants(t, "another kind", b.dev.SetPush(map[string]string{"kind": "fcm", "token": "x"}), 204, "")
	d := b.phone("another")
	d.Push = web
	code, err := b.pair(strong...)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "registered with it", d.Register(code), 400, "malformed")
}

func TestPushAddress(t *testing.T) {
	b := newBench(t)
	key, auth := webPush["p256dh"], webPush["auth"]
	web := func(endpoint string) map[string]string {
		return map[string]string{"kind": "webpush", "endpoint": endpoint, "p256dh": key, "auth": auth}
	}
	long := strings.Repeat("x", 1025)
	for _, tc := range []struct {
		name string
		push any
		good bool
	}{
		{"web", web("https://updates.push.example/wpush/v2/abc"), true},
		{"web with a port", web("https://push.example:443/x"), true},
		{"fcm", map[string]string{"kind": "fcm", "token": "abc:DEF-1"}, true},
		{"apns", map[string]string{"kind": "apns", "token": "00ff", "topic": "org.example.kapi"}, true},
		{"hms", map[string]string{"kind": "hms", "token": "x"}, true},
		{"none", map[string]string{"kind": "none"}, true},
		{"no kind", map[string]string{"token": "x"}, false},
		{"another kind", map[string]string{"kind": "sms", "token": "x"}, false},
		{"http", web("http://push.example/x"), false},
		{"this machine", web("http://127.0.0.1/x"), false},
		{"this machine by name", web("https://localhost/x"), false},
		{"a machine inside", web("https://10.0.0.7/x"), false},
		{"a name inside", web("https://metadata/x"), false},
		{"an IPv6 address", web("https://[fd00::1]/x"), false},
		{"another port", web("https://push.example:6379/x"), false},
		{"a user", web("https://a:b@push.example/x"), false},
		{"another scheme", web("file:///etc/passwd"), false},
		{"no address", web(""), false},
		{"a long address", web("https://push.example/" + long), false},
		{"a short key", map[string]string{"kind": "webpush", "endpoint": "https://push.example/x", "p256dh": "AAAA", "auth": auth}, false},
		{"no secret", map[string]string{"kind": "webpush", "endpoint": "https://push.example/x", "p256dh": key}, false},
		{"a long token", map[string]string{"kind": "fcm", "token": long}, false},
		{"a token with a line end", map[string]string{"kind": "fcm", "token": "a\nb"}, false},
		{"no token", map[string]string{"kind": "apns"}, false},
		{"an odd topic", map[string]string{"kind": "apns", "token": "x", "topic": "a b"}, false},
		{"both", map[string]string{"kind": "fcm", "token": "x", "endpoint": "https://push.example/x"}, false},
		{"a member too many", map[string]string{"kind": "fcm", "token": "x", "url": "y"}, false},
	} {
		status, problem := 204, ""
		if !tc.good {
			status, problem = 400, "malformed"
		}
		wants(t, tc.name, b.dev.SetPush(tc.push), status, problem)
	}

	// Where a push service says that it is gone, the device is not pushed to until it says where it is now.
	wants(t, "again", b.dev.SetPush(webPush), 204, "")
	to, err := b.f.Reach(t.Context(), owner)
	if err != nil || !strings.Contains(to, webPush["endpoint"]) {
		t.Fatalf("%q %v", to, err)
	}
	for _, other := range []string{"", "x", `{"kind":"fcm","token":"old"}`} {
		if err := b.f.Gone(t.Context(), owner, other); err != nil {
			t.Error(err)
		}
	}
	if again, _ := b.f.Reach(t.Context(), owner); again != to {
		t.Error("another subscription's end was taken for this one's")
	}
	if err := b.f.Gone(t.Context(), owner, to); err != nil {
		t.Fatal(err)
	}
	if to, err := b.f.Reach(t.Context(), owner); err != nil || to != "" {
		t.Errorf("%q %v", to, err)
	}
	if v := b.begin(at("t1", "b1")); v.Pushed || !v.Waiting {
		t.Errorf("pushed to nowhere: %+v", v)
	}
	var me struct{ Push struct{ Reachable bool } }
	if err := json.Unmarshal(b.dev.Me().Body, &me); err != nil || me.Push.Reachable {
		t.Errorf("%+v %v", me, err)
	}
	// And where the push service is down, the page says so and the list works.
	wants(t, "again", b.dev.SetPush(webPush), 204, "")
	b.kit.Push.Break(true)
	if v := b.begin(at("t2", "b2")); v.Pushed || !v.Waiting {
		t.Errorf("pushed into the void: %+v", v)
	}
}

// R128: an app that is too old is told where a newer one is.
func TestR128_MinimumVersion(t *testing.T) {
	least, err := device.ParseMinimum("1.2.0,android=2.0.0,ios=0.0.0")
	if err != nil {
		t.Fatal(err)
	}
	links, err := device.ParseLinks("android=https://store.example/kapi")
	if err != nil {
		t.Fatal(err)
	}
	kit := factortest.NewKit(factortest.Start)
	b := &bench{t: t, kit: kit, f: device.New(kit.Factors(), device.Options{Minimum: least, Links: links})}
	b.api = b.f.Endpoints()
	b.dev = b.phone("x")
	b.dev.App = "web/1.2.0"
	b.registered(b.dev)
	for app, want := range map[string]string{
		"web/1.2.0": "", "web/1.10.0": "", "web/2.0.0": "", "ios/0.0.1": "", "web/1.1.9": "https://kapi.example/app", "huawei/0.9.0": "https://kapi.example/app",
		"android/1.99.99": "https://store.example/kapi", "android/2.0.0": "",
	} {
		b.dev.App = app
		for what, a := range map[string]devicetest.Answer{"me": b.dev.Me(), "register": b.dev.Register("x")} {
			var p struct{ Link, Minimum string }
			if err := json.Unmarshal(a.Body, &p); err != nil {
				t.Fatal(err)
			}
			if (a.Status == http.StatusUpgradeRequired) != (want != "") || p.Link != want {
				t.Errorf("%s as %s: %d %s", what, app, a.Status, a.Body)
			}
		}
	}
	for _, app := range []string{"", "web", "web/", "web/1", "web/1.2", "web/1.2.0.0", "web/v1.2.0", "symbian/9.9.9", "web/999999.0.0", "web/1.2.0 "} {
		b.dev.App = app
		if app == "web/1.2.0 " {
			continue // net/http trims it
		}
		wants(t, app, b.dev.Me(), http.StatusBadRequest, "app")
	}
	for _, s := range []string{"", "1", "x=1.0.0", "web=1", "1.0.0,2.0.0", "web=1.0.0,web=2.0.0"} {
		if _, err := device.ParseMinimum(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
	for _, s := range []string{"", "https://x.example", "web=http://x.example", "x=https://x.example"} {
		if _, err := device.ParseLinks(s); err == nil {
			t.Errorf("%q was taken", s)
		}
	}
}

// More than five requests at once are no person's.
func TestManyRequests(t *testing.T) {
	b := newBench(t)
	for i := range 5 {
		try := at(fmt.Sprint("t", i), fmt.Sprint("b", i))
		try.Service = try.Binding
		b.begin(try)
	}
	try := at("t9", "b9")
	try.Service = "one more"
	c, err := b.f.Begin(t.Context(), try)
	if err != nil {
		t.Fatal(err)
	}
	if v := c.Page.Data.(device.View); v.Waiting || v.End != "device.many" || !c.Page.Resend.After(b.kit.Clock.Now()) {
		t.Errorf("page %+v %v", v, c.Page.Resend)
	}
	if err := b.f.Again(t.Context(), try); fault.KindOf(err) != fault.Throttled {
		t.Errorf("Again: %v", err)
	}
	b.kit.Clock.Advance(device.Life)
	if v := b.begin(try); !v.Waiting {
		t.Errorf("later %+v", v)
	}
}

// What a service calls itself cannot dress up as something else on the phone.
func TestShownTextIsPlain(t *testing.T) {
	b, try := newBench(t), at("t1", "b1")
	try.Service, try.Agent = "Bank\u202e\u0000\n  evil \ufeff"+strings.Repeat("x", 200), "\u202eodd\nagent"+strings.Repeat("y", 200)
	s := b.waits(b.begin(try)).Show()
	if len([]rune(s.Service)) > 80 || !strings.HasPrefix(s.Service, "Bank evil") || len([]rune(s.Browser)) > 40 || strings.ContainsAny(s.Service+s.Browser, "\u202e\n\u0000\ufeff") {
		t.Errorf("shown %q, %q", s.Service, s.Browser)
	}
}

// Every status that the contract names is met here, but for those of things that break.
func TestContractIsWhole(t *testing.T) {
	TestD1_OnlyTheDeviceApproves(t)
	TestExpiry(t)
	TestRegisterSaysWhatIsWrong(t)
	TestPairingReplacesOnlyWhatItWasMadeFor(t)
	TestR128_MinimumVersion(t)
	TestD5_QRRelay(t)
	TestDeny(t)
	TestD7_Clone(t)
	b := newBench(t)
	every := []struct{ method, path string }{
		{"GET", "/me"}, {"DELETE", "/me"}, {"PUT", "/push"}, {"GET", "/requests"}, {"POST", "/scan"}, {"POST", "/requests/x/approve"}, {"POST", "/requests/x/deny"},
	}
	state := func(c struct{ method, path string }) int64 {
		if c.method == "GET" {
			return 0
		}
		return b.dev.Next()
	}
	send := func(c struct{ method, path string }, body []byte) devicetest.Answer {
		return b.dev.Send(c.method, c.path, body, b.dev.Proof(c.method, c.path, body, state(c), nil))
	}
	for _, c := range every {
		b.dev.Send(c.method, c.path, nil, "")
		if c.path != "/me" && c.path != "/requests" {
			send(c, []byte("{]"))
			send(c, []byte(`{"x":"`+strings.Repeat("x", 20<<10)+`"}`))
			b.dev.Bend = func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }
			send(c, []byte("{}"))
			b.dev.Bend = nil
		}
		b.dev.App = "old"
		send(c, nil)
		b.dev.App = "web/1.0.0"
	}
	least, _ := device.ParseMinimum("2.0.0")
	old := device.New(b.kit.Factors(), device.Options{Minimum: least})
	b.dev.Handler = old.Endpoints()
	for _, c := range every {
		send(c, nil)
	}
	b.dev.Handler = b.api
	b.dev.Deny(devicetest.Request{ID: devicetest.Random(16)}, "cancel")
	b.dev.Ctr = 0
	b.dev.SetPush(webPush) // a number that was used
	for _, c := range every {
		send(c, nil)
	}
	if missing := contract.Missing("429", "500", "503"); len(missing) > 0 {
		t.Errorf("never met:\n%s", strings.Join(missing, "\n"))
	}
}

// The check itself bites.
func TestContractBites(t *testing.T) {
	r, _ := http.NewRequest("GET", "https://kapi.example"+devicetest.Base+"/requests", nil)
	r.Header.Set("Kapi-App", "web/1.0.0")
	b := newBench(t)
	r.Header.Set("Kapi-Device", b.dev.Proof("GET", "/requests", nil, 0, nil))
	header := http.Header{"Content-Type": {"application/json"}}
	for body, good := range map[string]bool{
		`{"requests":[]}`: true, `{}`: false, `{"requests":{}}`: false, `{"requests":[],"more":1}`: false, `{"requests":[{"id":"x"}]}`: false, `[]`: false, ``: false,
	} {
		if err := contract.Check(r, nil, 200, header, []byte(body)); (err == nil) != good {
			t.Errorf("%s: %v", body, err)
		}
	}
	if contract.Check(r, nil, 204, header, nil) == nil || contract.Check(r, nil, 200, http.Header{"Content-Type": {"text/html"}}, []byte(`{"requests":[]}`)) == nil {
		t.Error("another status or content type passes")
	}
	r.Header.Set("Kapi-Device", b.dev.Proof("GET", "/requests", nil, 0, map[string]any{"more": 1}))
	if contract.Check(r, nil, 200, header, []byte(`{"requests":[]}`)) == nil {
		t.Error("a proof with a claim too many passes")
	}
}

// A register flood from one network is slowed.
func TestRegisterFlood(t *testing.T) {
	b := newBench(t)
	seen := map[int]int{}
	for range 30 {
		seen[b.fromNetwork("198.51.100.9", func() devicetest.Answer { return b.phone("x").Register(strings.Repeat("A", 26)) }).Status]++
	}
	if seen[http.StatusNotFound] != 20 || seen[http.StatusTooManyRequests] != 10 {
		t.Errorf("answers %v", seen)
	}
}
