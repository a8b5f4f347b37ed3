// Package push owns the simulated push services of the demo and the tests: Web Push (RFC 8030, 8291, 8292), FCM HTTP v1, APNs and Huawei
// Push Kit, each held to what its documentation asks of a sender, decrypting what is encrypted, and failing on demand. A real Firefox can have its
// pushes from it too (LinePath): those it cannot read, only the browser can.
// Enter with New. It keeps everything in memory, bounded, and refuses what the real ones refuse. It belongs on loopback.
package push

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kapi-id/kapi/internal/sim/desk"
)

// Push as GET /pushes lists it.
type Push struct {
	At      time.Time `json:"at"`
	Kind    string    `json:"kind"` // webpush, fcm, apns or hms
	To      string    `json:"to"`   // the id of the subscription
	Data    string    `json:"data"` // what the app gets, decrypted; "" = a real browser's
	Seconds int       `json:"seconds"`
	Urgent  bool      `json:"urgent"`
	Topic   string    `json:"topic"`         // of those with one topic, an app that is off gets the last
	Ack     string    `json:"ack,omitempty"` // of a real browser, which keeps Data to itself: what it made of the push; "" = nothing yet

	version string // as that browser knows the push
}

// Trouble is a way to fail.
type Trouble string

// The switches.
const (
	None     Trouble = "none"
	Gone     Trouble = "gone" // the subscription is over
	Busy     Trouble = "429"
	Failing  Trouble = "500"
	Away     Trouble = "503" // with a time to wait
	Hang     Trouble = "hang"
	Drop     Trouble = "drop"     // the connection breaks without an answer, after the request
	Redirect Trouble = "redirect" // somebody else should get it
	Denied   Trouble = "denied"   // the sender's token is not good
	Lost     Trouble = "lost"     // accepted, never delivered
)

// Troubles lists all.
var Troubles = []Trouble{None, Gone, Busy, Failing, Away, Hang, Drop, Redirect, Denied, Lost}

// RetryAfter is what Busy and Away ask for.
const RetryAfter = 30 * time.Second

// Bounds of what is kept and taken.
const (
	mostPushes = 1000
	mostApps   = 1000
	mostBody   = 64 << 10
)

// Config of a service. Without the part of a kind, that kind takes nobody; Web Push takes everybody.
type Config struct {
	Now  func() time.Time // stamps the pushes; nil = the time of day
	FCM  *Google
	APNs *Apple
	HMS  *Huawei
	Show func(Push) // hears of each that was delivered; nil = nobody
}

// Service is the handler.
type Service struct {
	c     Config
	mux   *http.ServeMux
	front http.Handler
	over  chan struct{}

	mu      sync.Mutex
	apps    map[string]*app // by id
	order   []string
	pushes  []Push // oldest first
	trouble Trouble
	calls   int // requests that tried to push
	grants  map[string]time.Time
	made    int      // tokens given or seen
	seen    []string // provider tokens of APNs

	browsers map[string]*browser // by the id that they say hello with
	visitors []string            // their ids, oldest first
}

// app is one that can be pushed to.
type app struct {
	kind string
	key  *ecdh.PrivateKey // webpush
	auth []byte
	gone bool

	browser, channel string // webpush of a real browser, which has key and auth itself
	sender           string // base64url of the VAPID key that may push; "" = any
}

// New returns services without apps that work.
func New(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Service{c: c, mux: http.NewServeMux(), over: make(chan struct{}), apps: map[string]*app{}, trouble: None, grants: map[string]time.Time{},
		browsers: map[string]*browser{}}
	s.mux.HandleFunc("GET /pushes", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.Pushes()) })
	s.mux.HandleFunc("POST /subscribe", s.subscribe)
	s.mux.HandleFunc("POST /trouble", s.setTrouble)
	s.mux.HandleFunc("POST /push/{id}", s.webpush)
	s.mux.HandleFunc("GET "+LinePath, s.line)
	s.front = desk.Front("push service", s.mux)
	s.mux.HandleFunc("POST /token", s.googleToken)
	s.mux.HandleFunc("POST /v1/projects/{project}/messages:send", s.fcm)
	s.mux.HandleFunc("POST /3/device/{token}", s.apns)
	s.mux.HandleFunc("POST /oauth2/v3/token", s.huaweiToken)
	s.mux.HandleFunc("POST /v1/{app}/messages:send", s.hms)
	return s
}

// ServeHTTP serves the protocols, the list and the switches, but not by the name of a web site (DNS rebinding).
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostBody)
	s.front.ServeHTTP(w, r)
}

// Close ends what hangs.
func (s *Service) Close() { close(s.over) }

// Set turns a switch.
func (s *Service) Set(t Trouble) error {
	if !slices.Contains(Troubles, t) {
		return fmt.Errorf("push: no such trouble %q", t)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trouble = t
	return nil
}

// Pushes returns what was delivered, oldest first; never nil.
func (s *Service) Pushes() []Push {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Push{}, s.pushes...)
}

// Forget empties the list.
func (s *Service) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pushes = nil
}

// Calls counts the requests that tried to push, however they ended.
func (s *Service) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Tokens counts the access tokens that were given out and the provider tokens that were seen.
func (s *Service) Tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.made
}

// Install is what an app does: it gets a subscription. base is the address of this service; kind is webpush, fcm, apns or hms.
func (s *Service) Install(base, kind string) map[string]string {
	a, name := &app{kind: kind}, random(32)
	sub := map[string]string{"kind": kind, "token": name}
	if kind == "webpush" {
		key, err := ecdh.P256().GenerateKey(rand.Reader)
		if err != nil {
			panic(err) // of a curve that is there
		}
		a.key, a.auth = key, make([]byte, 16)
		rand.Read(a.auth)
		sub = map[string]string{
			"kind": kind, "endpoint": base + "/push/" + name, "p256dh": base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()),
			"auth": base64.RawURLEncoding.EncodeToString(a.auth),
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(name, a)
	return sub
}

// add keeps an app. The caller holds the lock.
func (s *Service) add(name string, a *app) {
	s.apps[name] = a
	if s.order = append(s.order, name); len(s.order) > mostApps {
		delete(s.apps, s.order[0])
		s.order = s.order[1:]
	}
}

// Remove is what happens when a person throws the app away: its subscription is over.
func (s *Service) Remove(subscription map[string]string) {
	id := subscription["token"]
	if e := subscription["endpoint"]; e != "" {
		id = e[strings.LastIndexByte(e, '/')+1:]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.apps[id]; a != nil {
		a.gone = true
	}
}

func (s *Service) subscribe(w http.ResponseWriter, r *http.Request) {
	kind := r.PostFormValue("kind")
	if kind == "" {
		kind = "webpush"
	}
	if !slices.Contains([]string{"webpush", "fcm", "apns", "hms"}, kind) {
		http.Error(w, "kind is webpush, fcm, apns or hms", http.StatusBadRequest)
		return
	}
	answer(w, http.StatusCreated, s.Install(base(r), kind))
}

func (s *Service) setTrouble(w http.ResponseWriter, r *http.Request) {
	if err := s.Set(Trouble(r.PostFormValue("trouble"))); err != nil {
		http.Error(w, "no such trouble", http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// fails does what the switch says after a good request; refuse writes the answer of this protocol for gone, 429, 500, 503 and denied.
func (s *Service) fails(w http.ResponseWriter, r *http.Request, gone bool, refuse func(Trouble)) bool {
	s.mu.Lock()
	s.calls++
	t := s.trouble
	s.mu.Unlock()
	if gone {
		t = Gone
	}
	switch t {
	case None, Lost:
		return false
	case Hang:
		select {
		case <-r.Context().Done():
		case <-s.over:
		case <-time.After(30 * time.Second):
		}
		panic(http.ErrAbortHandler)
	case Drop:
		panic(http.ErrAbortHandler)
	case Redirect:
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	case Busy, Away:
		w.Header().Set("Retry-After", fmt.Sprint(int(RetryAfter.Seconds())))
	}
	refuse(t)
	return true
}

// deliver keeps a push.
func (s *Service) deliver(p Push) {
	p.At = s.c.Now().UTC().Truncate(time.Second)
	s.mu.Lock()
	lost := s.trouble == Lost
	if !lost {
		s.pushes = append(s.pushes, p)
		if over := len(s.pushes) - mostPushes; over > 0 {
			s.pushes = slices.Delete(s.pushes, 0, over)
		}
	}
	s.mu.Unlock()
	if !lost && s.c.Show != nil {
		s.c.Show(p)
	}
}

// find returns the app of that id and kind, nil if there is none.
func (s *Service) find(kind, id string) (a app, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.apps[id]
	if p == nil || p.kind != kind {
		return a, false
	}
	return *p, true
}
