package push_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	sim "github.com/kapi-id/kapi/internal/sim/push"
)

// told is what the push service tells a browser.
type told struct {
	Type     string            `json:"messageType"`
	UAID     string            `json:"uaid"`
	Status   int               `json:"status"`
	Channel  string            `json:"channelID"`
	Endpoint string            `json:"pushEndpoint"`
	Version  string            `json:"version"`
	Data     string            `json:"data"`
	Headers  map[string]string `json:"headers"`
}

// browser is one that talks to the service as Firefox does (the journeys hold the service against the real one).
type browser struct {
	t    *testing.T
	line *websocket.Conn
	uaid string
	key  *ecdh.PrivateKey
	auth []byte
}

func dial(w *world, origin, protocol string) (*websocket.Conn, error) {
	c, err := websocket.NewConfig(strings.Replace(w.url, "https://", "wss://", 1)+sim.LinePath, origin)
	if err != nil {
		return nil, err
	}
	c.TlsConfig = &tls.Config{RootCAs: w.roots}
	c.Protocol = []string{protocol}
	return websocket.DialConfig(c)
}

func (b *browser) connects(w *world) {
	b.t.Helper()
	var err error
	if b.line, err = dial(w, "wss://push.example/", "push-notification"); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { b.line.Close() })
	b.say(map[string]any{"messageType": "hello", "use_webpush": true, "uaid": b.uaid, "broadcasts": map[string]string{}})
	hello := b.hear()
	if hello.Type != "hello" || hello.Status != 200 || hello.UAID == "" {
		b.t.Fatalf("%+v", hello)
	}
	b.uaid = hello.UAID
}

func (b *browser) say(v any) {
	b.t.Helper()
	if err := websocket.JSON.Send(b.line, v); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) hear() (m told) {
	b.t.Helper()
	_ = b.line.SetReadDeadline(time.Now().Add(30 * time.Second))
	if err := websocket.JSON.Receive(b.line, &m); err != nil {
		b.t.Fatal(err)
	}
	return m
}

// quiet proves that nothing is on the line: the answer to a ping comes first.
func (b *browser) quiet() {
	b.t.Helper()
	b.say(struct{}{})
	if m := b.hear(); m.Type != "" {
		b.t.Errorf("heard %+v", m)
	}
}

const channel = "00000000-0000-4000-8000-000000000001"

func (b *browser) subscribes(w *world) map[string]string { return b.subscribesFor(w, w.sender) }

func (b *browser) subscribesFor(w *world, sender string) map[string]string {
	b.t.Helper()
	b.say(map[string]any{"messageType": "register", "channelID": channel, "key": sender + "="})
	m := b.hear()
	if m.Type != "register" || m.Status != 200 || m.Channel != channel || !strings.HasPrefix(m.Endpoint, w.url+"/push/") {
		b.t.Fatalf("%+v", m)
	}
	code := base64.RawURLEncoding.EncodeToString
	return map[string]string{"kind": "webpush", "endpoint": m.Endpoint, "p256dh": code(b.key.PublicKey().Bytes()), "auth": code(b.auth)}
}

// opens reads a notification and says that it did.
func (b *browser) opens(m told) string {
	b.t.Helper()
	body, err := base64.RawURLEncoding.DecodeString(m.Data)
	if err != nil || m.Type != "notification" || m.Channel != channel || m.Headers["encoding"] != "aes128gcm" {
		b.t.Fatalf("%.300v %v", m, err)
	}
	plain, err := sim.Decrypt(b.key, b.auth, body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.say(map[string]any{"messageType": "ack", "updates": []map[string]any{{"channelID": channel, "version": m.Version, "code": 100}}})
	return string(plain)
}

func newBrowser(t *testing.T, w *world) *browser {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, key: key, auth: make([]byte, 16)}
	rand.Read(b.auth)
	b.connects(w)
	return b
}

func TestBrowserIsPushed(t *testing.T) {
	w := newWorld(t)
	g, b := w.gateways["webpush"], newBrowser(t, w)
	b.quiet()
	sub := b.subscribes(w)
	m := w.message(sub)
	if err := g.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if text := b.opens(b.hear()); text != note {
		t.Errorf("the browser reads %s", text)
	}
	b.quiet() // by then it is acknowledged
	if got := w.Pushes(); len(got) != 1 || got[0].Ack != sim.AckShown || got[0].Data != "" || !got[0].Urgent || got[0].Seconds != 90 || !strings.HasSuffix(sub["endpoint"], got[0].To) {
		t.Errorf("%+v", got)
	}

	// Away: the last of a topic waits, until its time is over, and comes with the next hello.
	b.line.Close()
	w.until(t, b.uaid)
	for _, text := range []string{`{"kind":"approval","id":"1"}`, `{"kind":"approval","id":"2"}`, `{"kind":"notice","id":"3"}`} {
		m.Text = text
		if err := g.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	m.Text, m.Deadline = `{"kind":"notice","id":"4"}`, w.now().Add(900*time.Millisecond) // TTL 0
	if err := g.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	b.connects(w)
	for _, want := range []string{`{"kind":"approval","id":"2"}`, `{"kind":"notice","id":"3"}`} {
		if text := b.opens(b.hear()); text != want {
			t.Errorf("the browser reads %s, want %s", text, want)
		}
	}
	b.quiet()
	b.line.Close()
	w.until(t, b.uaid)
	if err := g.Send(t.Context(), w.message(sub)); err != nil {
		t.Fatal(err)
	}
	w.pass(2 * time.Minute)
	b.connects(w)
	b.quiet()

	// Over, by the browser's word and by the loss of the service's memory.
	b.say(map[string]any{"messageType": "unregister", "channelID": channel, "code": 200})
	if r := b.hear(); r.Type != "unregister" || r.Status != 200 {
		t.Errorf("%+v", r)
	}
	if f := failure(t, g.Send(t.Context(), w.message(sub))); !f.Gone {
		t.Errorf("%+v", f)
	}
	sub = b.subscribes(w)
	old := b.uaid
	w.ForgetBrowsers()
	if f := failure(t, g.Send(t.Context(), w.message(sub))); !f.Gone {
		t.Errorf("%+v", f)
	}
	if b.connects(w); b.uaid == old {
		t.Error("a forgotten browser is known")
	}
}

// until waits until the service knows that the browser is away.
func (w *world) until(t *testing.T, uaid string) {
	t.Helper()
	give := time.After(30 * time.Second)
	for w.Connected(uaid) {
		select {
		case <-give:
			t.Fatal("the line is still there")
		case <-time.After(time.Millisecond):
		}
	}
}

// A subscription is for one sender (RFC 8292 §4.2), and the line for browsers.
func TestBrowserIsPushedByNobodyElse(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t, w)
	sub := b.subscribesFor(w, newWorld(t).sender)
	if f := failure(t, w.gateways["webpush"].Send(t.Context(), w.message(sub))); !f.Final || f.Gone {
		t.Errorf("%+v", f)
	}
	b.quiet()
	for name, c := range map[string]struct{ origin, protocol string }{
		"a page":           {"https://evil.example", "push-notification"},
		"another protocol": {"wss://push.example/", "chat"},
	} {
		if line, err := dial(w, c.origin, c.protocol); err == nil {
			line.Close()
			t.Errorf("%s has a line", name)
		}
	}
	stranger := &browser{t: t}
	var err error
	if stranger.line, err = dial(w, "wss://push.example/", "push-notification"); err != nil {
		t.Fatal(err)
	}
	stranger.say(map[string]any{"messageType": "register", "channelID": channel, "key": w.sender})
	var m told
	_ = stranger.line.SetReadDeadline(time.Now().Add(30 * time.Second))
	if err := websocket.JSON.Receive(stranger.line, &m); err == nil {
		t.Errorf("a browser that did not say hello hears %+v", m)
	}
}

// The switches work on a browser too.
func TestBrowserMeetsTrouble(t *testing.T) {
	w := newWorld(t)
	b := newBrowser(t, w)
	sub := b.subscribes(w)
	for trouble, status := range map[sim.Trouble]int{sim.Busy: 429, sim.Failing: 500, sim.Away: 503, sim.Denied: 401} {
		if err := w.Set(trouble); err != nil {
			t.Fatal(err)
		}
		b.say(map[string]any{"messageType": "register", "channelID": channel, "key": w.sender})
		if m := b.hear(); m.Status != status || m.Endpoint != "" {
			t.Errorf("%s: %+v", trouble, m)
		}
	}
	_ = w.Set(sim.None)
	b.say(map[string]any{"messageType": "register", "channelID": "mine", "key": w.sender})
	if m := b.hear(); m.Status != http.StatusBadRequest {
		t.Errorf("%+v", m)
	}
	_ = w.Set(sim.Lost)
	if err := w.gateways["webpush"].Send(t.Context(), w.message(sub)); err != nil {
		t.Fatal(err)
	}
	b.quiet()
	_ = w.Set(sim.Gone)
	if f := failure(t, w.gateways["webpush"].Send(t.Context(), w.message(sub))); !f.Gone {
		t.Errorf("%+v", f)
	}
	_ = w.Set(sim.None)
	if err := w.gateways["webpush"].Send(t.Context(), w.message(sub)); err != nil {
		t.Fatal(err)
	}
	b.opens(b.hear())
}
