package push_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/apns"
	"github.com/kapi-id/kapi/internal/notify/gateway/fcm"
	"github.com/kapi-id/kapi/internal/notify/gateway/hms"
	"github.com/kapi-id/kapi/internal/notify/gateway/webpush"
	sim "github.com/kapi-id/kapi/internal/sim/push"
)

// What arrives at the app is the kind and the id; what the service learns is how long, how urgent, and what replaces what.
func TestArrives(t *testing.T) {
	each(t, func(t *testing.T, w *world, kind string, g notify.Gateway, m notify.Message) {
		if err := g.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		quiet := m
		quiet.Text = `{"kind":"notice","id":"7"}`
		if err := g.Send(t.Context(), quiet); err != nil {
			t.Fatal(err)
		}
		got := w.Pushes()
		if len(got) != 2 {
			t.Fatalf("%+v", got)
		}
		var data map[string]any
		if err := json.Unmarshal([]byte(got[0].Data), &data); err != nil {
			t.Fatal(err)
		}
		aps, _ := json.Marshal(data["aps"])
		delete(data, "aps")
		if b, _ := json.Marshal(data); string(b) != `{"id":"AbC_-123","kind":"approval"}` {
			t.Errorf("the app gets %s", b)
		}
		if kind == apns.Kind && string(aps) != `{"alert":{"loc-key":"push.approval","title-loc-key":"push.approval.title"},"sound":"default"}` {
			t.Errorf("the lock screen gets %s", aps)
		}
		if p := got[0]; p.Kind != kind || p.Seconds != 90 || !p.Urgent || p.Topic == "" || p.Topic == got[1].Topic || got[1].Urgent {
			t.Errorf("%+v", got)
		}
		if n := w.Tokens(); kind != webpush.Kind && n != 1 {
			t.Errorf("%d tokens for two pushes", n)
		}
	})
}

// The table of faults: what each means for the message, and for the gateway.
func TestO5_Answers(t *testing.T) {
	for _, c := range []struct {
		trouble sim.Trouble
		want    notify.Failure
	}{
		{sim.Gone, notify.Failure{Certain: true, Final: true, Gone: true}},
		{sim.Busy, notify.Failure{Certain: true, RetryAfter: 30 * time.Second}},
		{sim.Failing, notify.Failure{Certain: true}},
		{sim.Away, notify.Failure{Certain: true, RetryAfter: 30 * time.Second}},
		{sim.Hang, notify.Failure{Silent: true}},
		{sim.Drop, notify.Failure{Silent: true}},
		{sim.Redirect, notify.Failure{Certain: true}},
	} {
		t.Run(string(c.trouble), func(t *testing.T) {
			each(t, func(t *testing.T, w *world, kind string, g notify.Gateway, m notify.Message) {
				if err := g.Send(t.Context(), m); err != nil { // so that there is a token
					t.Fatal(err)
				}
				if err := w.Set(c.trouble); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.trouble == sim.Hang { // the time limit of the worker, once the service has the request
					before := w.Calls()
					go func() {
						for w.Calls() == before && ctx.Err() == nil {
							time.Sleep(time.Millisecond)
						}
						cancel()
					}()
				}
				f := failure(t, g.Send(ctx, m))
				text := f.Err.Error()
				got := *f
				got.Err = nil
				if got != c.want {
					t.Errorf("%+v, want %+v", got, c.want)
				}
				var s struct{ Endpoint, Token string }
				_ = json.Unmarshal([]byte(m.To), &s)
				if s.Token != "" && strings.Contains(text, s.Token) || s.Endpoint != "" && strings.Contains(text, s.Endpoint) {
					t.Errorf("an error that names the device: %s", text)
				}
				if len(w.Pushes()) != 1 {
					t.Errorf("%d arrived", len(w.Pushes()))
				}
			})
		})
	}
}

// Who is asked to wait waits, without asking again; then it goes on.
func TestWaits(t *testing.T) {
	each(t, func(t *testing.T, w *world, kind string, g notify.Gateway, m notify.Message) {
		other := w.message(w.Install(w.url, kind))
		if err := g.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		_ = w.Set(sim.Busy)
		failure(t, g.Send(t.Context(), m))
		_ = w.Set(sim.None)
		calls := w.Calls()
		w.pass(29 * time.Second)
		if f := failure(t, g.Send(t.Context(), m)); !f.Certain || f.Final || !f.Here || f.RetryAfter != time.Second {
			t.Errorf("%+v", f)
		}
		if w.Calls() != calls {
			t.Error("it asked again before the time")
		}
		if err := g.Send(t.Context(), other); err != nil {
			t.Errorf("another device has to wait too: %v", err)
		}
		w.pass(2 * time.Second)
		if err := g.Send(t.Context(), m); err != nil {
			t.Error(err)
		}
		_ = w.Set(sim.Away)
		failure(t, g.Send(t.Context(), m))
		_ = w.Set(sim.None)
		calls = w.Calls()
		if f := failure(t, g.Send(t.Context(), other)); !f.Here || w.Calls() != calls {
			t.Errorf("a service that is away is asked: %+v", f)
		}
		if r, ok := g.(notify.Ready); ok && r.Ready() {
			t.Error("ready while the service is away")
		}
		w.pass(31 * time.Second)
		if err := g.Send(t.Context(), other); err != nil {
			t.Error(err)
		}
	})
}

// Tokens: renewed in time, thrown away when they are refused, and Apple's not too often.
func TestTokens(t *testing.T) {
	each(t, func(t *testing.T, w *world, kind string, g notify.Gateway, m notify.Message) {
		if kind == webpush.Kind {
			t.Skip("Web Push has none: each request is signed")
		}
		send := func() error {
			m.Deadline = w.now().Add(time.Minute)
			return g.Send(t.Context(), m)
		}
		for _, d := range []time.Duration{0, 19 * time.Minute, 20 * time.Minute, 19 * time.Minute, 45 * time.Minute, 45 * time.Minute} {
			w.pass(d)
			if err := send(); err != nil {
				t.Fatalf("after %s: %v", d, err)
			}
		}
		if want := map[string]int{"fcm": 2, "hms": 2, "apns": 3}[kind]; w.Tokens() != want {
			t.Errorf("%d tokens in two and a half hours, want %d", w.Tokens(), want)
		}
		before := w.Tokens()
		if kind == apns.Kind {
			w.pass(time.Minute)
			_ = w.Set(sim.Denied)
			f := failure(t, send())
			if !f.Certain || f.Final {
				t.Errorf("%+v", f)
			}
			_ = w.Set(sim.None)
			if err := send(); err != nil || w.Tokens() != before {
				t.Errorf("%v; a token of a minute was changed, which Apple punishes", err)
			}
			w.pass(25 * time.Minute)
			_ = w.Set(sim.Denied)
			failure(t, send())
			_ = w.Set(sim.None)
		} else {
			w.Revoke()
			if f := failure(t, send()); !f.Certain || f.Final {
				t.Errorf("%+v", f)
			}
		}
		if err := send(); err != nil || w.Tokens() != before+1 {
			t.Errorf("%v, %d tokens", err, w.Tokens()-before)
		}
	})
}

// While no token can be had nothing was sent, so that it may be tried again.
func TestNoToken(t *testing.T) {
	for _, kind := range []string{fcm.Kind, hms.Kind} {
		for _, trouble := range []sim.Trouble{sim.Failing, sim.Drop, sim.Busy, sim.Redirect, sim.Denied} {
			t.Run(kind+"/"+string(trouble), func(t *testing.T) {
				w := newWorld(t)
				_ = w.Set(trouble)
				f := failure(t, w.gateways[kind].Send(t.Context(), w.message(w.Install(w.url, kind))))
				if !f.Certain || f.Final || f.Gone || f.Silent != (trouble == sim.Drop) {
					t.Errorf("%+v", f)
				}
				if strings.Contains(f.Error(), "s3cr3t") {
					t.Error("the secret is in the error")
				}
			})
		}
	}
}

// A device that was thrown away is gone, and so is a subscription that never was one; what says more than a kind and an id never leaves.
func TestRefused(t *testing.T) {
	each(t, func(t *testing.T, w *world, kind string, g notify.Gateway, m notify.Message) {
		bad := m
		for _, text := range []string{"", "123456", `{"kind":"approval"}`, `{"kind":"approval","id":"1","number":"42"}`, `{"kind":"Approval!","id":"1"}`, note + note, `{"kind":"approval","id":"a b"}`} {
			bad.Text = text
			if f := failure(t, g.Send(t.Context(), bad)); !f.Final || f.Gone {
				t.Errorf("%q: %+v", text, f)
			}
		}
		bad = m
		for _, to := range []string{"", "{}", "+905550000001", `{"kind":"other"}`} {
			bad.To = to
			if f := failure(t, g.Send(t.Context(), bad)); !f.Gone {
				t.Errorf("%q: %+v", to, f)
			}
		}
		if w.Calls() != 0 {
			t.Fatal("somebody was asked")
		}
		sub := map[string]string{}
		_ = json.Unmarshal([]byte(m.To), &sub)
		w.Remove(sub)
		if f := failure(t, g.Send(t.Context(), m)); !f.Gone || !f.Certain {
			t.Errorf("%+v", f)
		}
		unknown := w.message(map[string]string{"kind": kind, "token": strings.Repeat("ab", 32)})
		if kind == webpush.Kind {
			sub["endpoint"] = w.url + "/push/nobody"
			unknown = w.message(sub)
		}
		if f := failure(t, g.Send(t.Context(), unknown)); !f.Gone {
			t.Errorf("%+v", f)
		}
	})
}

// A wrong project, app or topic is the operator's mistake: no device is given up for it.
func TestOthersMistakes(t *testing.T) {
	w := newWorld(t)
	wrong, err := hms.New(hms.Config{Name: "hms", Account: []byte(`{"app_id":"104000000","client_secret":"another"}`), Base: w.url, TokenURL: w.url + "/oauth2/v3/token", Now: w.now})
	if err != nil {
		t.Fatal(err)
	}
	if f := failure(t, wrong.Send(t.Context(), w.message(w.Install(w.url, "hms")))); f.Gone || !f.Certain { // not even its certificate is known
		t.Errorf("%+v", f)
	}
	_ = w.Set(sim.None)
	g := w.gateways["fcm"]
	m := w.message(w.Install(w.url, "fcm"))
	if err := g.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	_ = w.Set(sim.Denied) // SENDER_ID_MISMATCH
	if f := failure(t, g.Send(t.Context(), m)); f.Gone || !f.Final {
		t.Errorf("%+v", f)
	}
	sub := w.Install(w.url, "apns")
	sub["topic"] = "org.other.app"
	if f := failure(t, w.gateways["apns"].Send(t.Context(), w.message(sub))); !f.Gone {
		t.Errorf("a device chose the topic: %+v", f)
	}
	sub["topic"], sub["token"] = "", "../../3/device/0"
	if f := failure(t, w.gateways["apns"].Send(t.Context(), w.message(sub))); !f.Gone {
		t.Errorf("a token became a path: %+v", f)
	}
}

// The simulation itself refuses what the real ones refuse, so that passing it says something.
func TestSimulationIsStrict(t *testing.T) {
	w := newWorld(t)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}}} // HTTP/1.1
	sub := w.Install(w.url, "webpush")
	post := func(url string, header map[string]string, body string) int {
		r, _ := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
		for k, v := range header {
			r.Header.Set(k, v)
		}
		resp, err := client.Do(r)
		if err != nil {
			return 0
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if s := post(sub["endpoint"], map[string]string{"TTL": "60", "Content-Encoding": "aes128gcm"}, "x"); s != http.StatusForbidden {
		t.Errorf("web push without VAPID: %d", s)
	}
	if s := post(w.url+"/v1/projects/kapi-test/messages:send", map[string]string{"Content-Type": "application/json"}, `{"message":{}}`); s != http.StatusUnauthorized {
		t.Errorf("fcm without a token: %d", s)
	}
	if s := post(w.url+"/3/device/00", nil, `{}`); s != 0 {
		t.Errorf("apns over HTTP/1.1: %d", s)
	}
	if s := post(w.url+"/v1/104000000/messages:send", nil, `{}`); s != http.StatusUnauthorized {
		t.Errorf("hms without a token: %d", s)
	}
	if len(w.Pushes()) != 0 {
		t.Error("something arrived")
	}
}

// What is no configuration stops the start and is not repeated.
func TestConfigurations(t *testing.T) {
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	account := func(change map[string]string) []byte {
		a := map[string]string{
			"type": "service_account", "project_id": "p", "private_key": inPEM(t, rsaKey()), "client_email": "a@p.example", "token_uri": "https://oauth2.googleapis.com/token",
		}
		maps.Copy(a, change)
		b, _ := json.Marshal(a)
		return b
	}
	google := func(change map[string]string) error {
		_, err := fcm.New(fcm.Config{Account: account(change)})
		return err
	}
	apple := func(change func(*apns.Config)) error {
		c := apns.Config{Key: []byte(inPEM(t, ec)), KeyID: "ABCDE12345", Team: "ABCDE12345", Topics: []string{"org.example.kapi"}}
		change(&c)
		_, err := apns.New(c)
		return err
	}
	huawei := func(text string) error {
		_, err := hms.New(hms.Config{Account: []byte(text)})
		return err
	}
	for name, err := range map[string]error{
		"fcm": google(nil), "apns": apple(func(*apns.Config) {}), "hms": huawei(`{"app_id":"1","client_secret":"hush"}`),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"a person's account":        google(map[string]string{"type": "authorized_user"}),
		"a project that is a path":  google(map[string]string{"project_id": "../x"}),
		"tokens in clear":           google(map[string]string{"token_uri": "http://oauth2.googleapis.com/token"}),
		"no key":                    google(map[string]string{"private_key": "hush"}),
		"a key of P-256 for google": google(map[string]string{"private_key": inPEM(t, ec)}),
		"RSA for apple":             apple(func(c *apns.Config) { c.Key = []byte(inPEM(t, rsaKey())) }),
		"no key for apple":          apple(func(c *apns.Config) { c.Key = []byte("hush") }),
		"no key id":                 apple(func(c *apns.Config) { c.KeyID = "" }),
		"no team":                   apple(func(c *apns.Config) { c.Team = "hush" }),
		"no topic":                  apple(func(c *apns.Config) { c.Topics = nil }),
		"a topic that is none":      apple(func(c *apns.Config) { c.Topics = []string{"a b"} }),
		"no json":                   huawei("hush"),
		"an app that is a path":     huawei(`{"app_id":"1/../2","client_secret":"hush"}`),
		"no secret":                 huawei(`{"app_id":"1"}`),
	} {
		if err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
