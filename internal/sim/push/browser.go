package push

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/websocket"
)

// A real browser keeps one line open to its push service and hears of everything over it. This is the one that Firefox speaks, the
// protocol of Mozilla's autopush, over a WebSocket at LinePath: hello, register, notification, ack, unregister and the empty object as
// a ping. Point Firefox there with dom.push.serverURL and dom.push.testing.allowInsecureServerURL.

// LinePath is where a browser connects.
const LinePath = "/line"

// What a browser says of a push that it got (Push.Ack).
const (
	AckShown  = "shown" // decrypted, and given to the service worker
	AckSealed = "undecryptable"
	AckFailed = "failed"
)

var acks = map[int]string{100: AckShown, 101: AckSealed, 102: AckFailed}

// Bounds of what is kept of browsers.
const (
	mostBrowsers = 100
	mostWaiting  = 50
)

// browser is one that connected once; what it subscribed to stays while it is away.
type browser struct {
	line    *websocket.Conn // nil = away
	waiting []parcel        // oldest first; not acknowledged
}

// parcel is a message on its way to a browser.
type parcel struct {
	note  note
	topic string
	until time.Time
}

// note and the rest are the messages of the protocol.
type note struct {
	Type    string            `json:"messageType"`
	Channel string            `json:"channelID"`
	Version string            `json:"version"`
	Data    string            `json:"data"`
	Headers map[string]string `json:"headers"`
}

type heard struct {
	Type    string `json:"messageType"`
	UAID    string `json:"uaid"`
	Channel string `json:"channelID"`
	Key     string `json:"key"` // base64url of the only sender that may push
	Updates []struct {
		Channel string `json:"channelID"`
		Version string `json:"version"`
		Code    int    `json:"code"`
	} `json:"updates"`
}

// line takes a browser's connection. A web page cannot open one: what it sends has its site as the origin, the browser itself does not.
func (s *Service) line(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor != 1 {
		http.Error(w, "want HTTP/1.1", http.StatusHTTPVersionNotSupported)
		return
	}
	if origin := r.Header.Get("Origin"); origin != "" && !strings.HasPrefix(origin, "ws://") && !strings.HasPrefix(origin, "wss://") {
		http.Error(w, "for browsers, not for pages", http.StatusForbidden)
		return
	}
	websocket.Server{
		Handshake: func(c *websocket.Config, _ *http.Request) error {
			if !slices.Contains(c.Protocol, "push-notification") {
				return errors.New("want push-notification")
			}
			c.Protocol = []string{"push-notification"}
			return nil
		},
		Handler: func(c *websocket.Conn) { s.talk(c, base(r)) },
	}.ServeHTTP(w, r)
}

// base is the address of this service as the request knows it.
func base(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// talk serves one connection to its end.
func (s *Service) talk(c *websocket.Conn, base string) {
	defer c.Close()
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-s.over:
			c.Close()
		case <-done:
		}
	}()
	c.MaxPayloadBytes = mostBody
	var who string
	for {
		var text []byte
		if websocket.Message.Receive(c, &text) != nil {
			break
		}
		var in heard
		if json.Unmarshal(text, &in) != nil {
			break
		}
		if in.Type == "hello" && who == "" {
			who = s.greet(c, in.UAID)
			continue
		}
		if in.Type != "" && who == "" {
			break // a stranger
		}
		if !s.heed(c, who, base, in) {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.browsers[who]; b != nil && b.line == c {
		b.line = nil
	}
}

// greet knows a browser again, or takes it in, and hands it what waited.
func (s *Service) greet(c *websocket.Conn, uaid string) string {
	s.mu.Lock()
	b := s.browsers[uaid]
	if b == nil {
		uaid = random(16)
		b = &browser{}
		s.browsers[uaid] = b
		if s.visitors = append(s.visitors, uaid); len(s.visitors) > mostBrowsers {
			delete(s.browsers, s.visitors[0])
			s.visitors = s.visitors[1:]
		}
	}
	s.mu.Unlock()
	say(c, map[string]any{"messageType": "hello", "status": http.StatusOK, "uaid": uaid, "use_webpush": true, "broadcasts": map[string]string{}})
	s.mu.Lock()
	b.line = c // from here on the browser can be pushed to
	now := s.c.Now()
	b.waiting = slices.DeleteFunc(b.waiting, func(p parcel) bool { return p.until.Before(now) })
	waited := slices.Clone(b.waiting)
	s.mu.Unlock()
	for _, p := range waited {
		say(c, p.note)
	}
	return uaid
}

// heed answers one message; false ends the connection.
func (s *Service) heed(c *websocket.Conn, who, base string, in heard) bool {
	switch in.Type {
	case "": // a ping
		return say(c, struct{}{})
	case "register":
		return s.register(c, who, base, in)
	case "unregister":
		s.mu.Lock()
		for _, a := range s.apps {
			if a.browser == who && a.channel == in.Channel {
				a.gone = true
			}
		}
		s.mu.Unlock()
		return say(c, map[string]any{"messageType": "unregister", "channelID": in.Channel, "status": http.StatusOK})
	case "ack":
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, u := range in.Updates {
			s.acknowledge(who, u.Version, acks[u.Code])
		}
	}
	return true // broadcasts and what else there is are not for us
}

// register makes a subscription for one sender. The switches fail it as they fail a push; those that only a push can meet let it be.
func (s *Service) register(c *websocket.Conn, who, base string, in heard) bool {
	s.mu.Lock()
	t := s.trouble
	s.mu.Unlock()
	answer := map[string]any{"messageType": "register", "channelID": in.Channel}
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(in.Key, "="))
	switch status := map[Trouble]int{Busy: 429, Failing: 500, Away: 503, Denied: 401}[t]; {
	case t == Hang:
		return true
	case t == Drop:
		return false
	case status != 0:
		answer["status"] = status
		return say(c, answer)
	case !uuidForm.MatchString(in.Channel) || err != nil:
		answer["status"] = http.StatusBadRequest
		return say(c, answer)
	}
	name := random(32)
	s.mu.Lock()
	s.add(name, &app{kind: "webpush", browser: who, channel: in.Channel, sender: base64.RawURLEncoding.EncodeToString(key)})
	s.mu.Unlock()
	answer["status"], answer["pushEndpoint"] = http.StatusOK, base+"/push/"+name
	return say(c, answer)
}

// acknowledge notes what the browser made of a push. The caller holds the lock.
func (s *Service) acknowledge(who, version, ack string) {
	b := s.browsers[who]
	if b == nil {
		return // forgotten
	}
	n := len(b.waiting)
	b.waiting = slices.DeleteFunc(b.waiting, func(p parcel) bool { return p.note.Version == version })
	if len(b.waiting) == n {
		return // another browser's, or told twice
	}
	for i := range s.pushes {
		if s.pushes[i].version == version {
			s.pushes[i].Ack = ack
		}
	}
}

// post gives a browser what only it can read; p is what the list will hold.
func (s *Service) post(a app, body []byte, p Push) {
	now := s.c.Now()
	p.version = random(16)
	s.deliver(p)
	s.mu.Lock()
	b := s.browsers[a.browser]
	if s.trouble == Lost || b == nil || b.line == nil && p.Seconds == 0 { // TTL 0: now or never (RFC 8030 §5.2)
		s.mu.Unlock()
		return
	}
	n := note{Type: "notification", Channel: a.channel, Version: p.version, Data: base64.RawURLEncoding.EncodeToString(body), Headers: map[string]string{"encoding": "aes128gcm"}}
	if p.Topic != "" { // what waits under this topic is replaced (RFC 8030 §5.4)
		b.waiting = slices.DeleteFunc(b.waiting, func(old parcel) bool { return old.topic == p.Topic && old.note.Channel == a.channel })
	}
	b.waiting = append(b.waiting, parcel{n, p.Topic, now.Add(time.Duration(p.Seconds) * time.Second)})
	if over := len(b.waiting) - mostWaiting; over > 0 {
		b.waiting = slices.Delete(b.waiting, 0, over)
	}
	c := b.line
	s.mu.Unlock()
	if c != nil {
		say(c, n)
	}
}

// ForgetBrowsers is what happens to browsers when their push service loses its memory: the lines break, no id is known any more, and all that they
// subscribed to is over.
func (s *Service) ForgetBrowsers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.browsers {
		if b.line != nil {
			b.line.Close()
		}
	}
	clear(s.browsers)
	s.visitors = nil
	for _, a := range s.apps {
		if a.browser != "" {
			a.gone = true
		}
	}
}

// Connected says whether a browser of this id is on the line.
func (s *Service) Connected(uaid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.browsers[uaid]
	return b != nil && b.line != nil
}

// say sends one message; false = the line is dead.
func say(c *websocket.Conn, v any) bool {
	_ = c.SetWriteDeadline(time.Now().Add(5 * time.Second))
	return websocket.JSON.Send(c, v) == nil
}

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}
