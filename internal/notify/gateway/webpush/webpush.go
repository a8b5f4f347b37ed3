// Package webpush owns the gateway to the push services of browsers: RFC 8030 over RFC 8291 (encryption) and RFC 8292 (VAPID). Enter with New
// and NewKey. The address that it posts to comes from whoever registered a device, so it refuses hosts that are no push
// service, plain HTTP, redirects, and names that lead to an address inside (SSRF).
package webpush

import (
	"context"
	"crypto/ecdh"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	webpush "github.com/SherClockHolmes/webpush-go"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
	"github.com/kapi-id/kapi/internal/notify/gateway/push"
)

// Kind of the subscriptions.
const Kind = "webpush"

// Key says to push services who we are (RFC 8292 §2). Browsers bind subscriptions to it, so that it must not change.
type Key struct{ private, public []byte }

// NewKey makes the key of seeds of 32 random bytes, which draw returns by number; one in 2³² does not make a key, and the next does.
func NewKey(draw func(n int) []byte) (Key, error) {
	for n := range 8 {
		k, err := ecdh.P256().NewPrivateKey(draw(n))
		if err == nil {
			return Key{k.Bytes(), k.PublicKey().Bytes()}, nil
		}
	}
	return Key{}, errors.New("webpush: the seeds make no key")
}

// Public is the applicationServerKey that a browser subscribes with: base64url of 65 bytes.
func (k Key) Public() string { return base64.RawURLEncoding.EncodeToString(k.public) }

// String hides the key from every %v and %s.
func (Key) String() string { return "webpush.Key" }

// GoString hides the key from %#v.
func (Key) GoString() string { return "webpush.Key" }

// Hosts of the push services of the browsers there are: Chrome, Firefox, Safari, Edge.
var Hosts = []string{"fcm.googleapis.com", "updates.push.services.mozilla.com", "web.push.apple.com", "*.push.apple.com", "*.notify.windows.com"}

// Config of a gateway.
type Config struct {
	Name    string
	Key     Key
	Contact string   // https or mailto: whom a push service may ask (RFC 8292 §2.1)
	Hosts   []string // beside the usual ones: "push.example.org", "*.example.org"
	Now     func() time.Time

	// Loopback lets endpoints be on this machine, in plain HTTP too: for a demo and for tests.
	Loopback bool
	Roots    *x509.CertPool // nil = those of the system
}

// Gateway posts messages.
type Gateway struct {
	c      Config
	guard  *guard
	client *http.Client
	rests  *push.Rests
}

// New checks the configuration.
func New(c Config) (*Gateway, error) {
	if len(c.Key.public) == 0 {
		return nil, errors.New("webpush: the key is missing")
	}
	if !strings.HasPrefix(c.Contact, "https://") && !strings.HasPrefix(c.Contact, "mailto:") {
		return nil, errors.New("webpush: the contact is neither https nor mailto")
	}
	g := &Gateway{c: c, guard: &guard{loopback: c.Loopback}, client: push.Client(c.Roots), rests: &push.Rests{Now: c.Now}}
	for _, h := range append(append([]string{}, Hosts...), c.Hosts...) {
		if !CheckHost(h) {
			return nil, errors.New("webpush: want hosts like push.example.org or *.example.org")
		}
		g.guard.hosts = append(g.guard.hosts, h)
	}
	g.client.Transport.(*http.Transport).DialContext = g.guard.dial
	return g, nil
}

func (g *Gateway) Name() string { return g.c.Name }

// Takes says whether the gateway posts to an endpoint.
func (g *Gateway) Takes(endpoint string) bool {
	_, ok := g.guard.endpoint(endpoint)
	return ok
}

// Send encrypts m for the browser and posts it.
func (g *Gateway) Send(ctx context.Context, m notify.Message) error {
	s, n, f := push.Read(m, Kind)
	if f != nil {
		return f
	}
	host, ok := g.guard.endpoint(s.Endpoint)
	if !ok {
		return notify.Gone(errors.New("the endpoint is at no push service"))
	}
	if f = g.post(ctx, m, s, n, host); f != nil {
		return g.apart(f, host)
	}
	return nil
}

// apart: of a *. in the list somebody may pick a host that never answers; that must not open the breaker for everybody.
func (g *Gateway) apart(f *notify.Failure, host string) *notify.Failure {
	if slices.Contains(g.guard.hosts, host) {
		return f
	}
	alone := *f
	alone.Here = true
	if f.Silent {
		g.rests.Rest("host:"+host, time.Minute)
	}
	return &alone
}

func (g *Gateway) post(ctx context.Context, m notify.Message, s push.Subscription, n push.Note, host string) *notify.Failure {
	if f := g.rests.Wait(s.Endpoint, "host:"+host); f != nil {
		return f
	}
	urgency := webpush.UrgencyNormal
	if n.Urgent() {
		urgency = webpush.UrgencyHigh
	}
	c := &carrier{client: g.client}
	_, err := webpush.SendNotificationWithContext(ctx, n.JSON(), &webpush.Subscription{
		Endpoint: s.Endpoint, Keys: webpush.Keys{P256dh: s.P256DH, Auth: s.Auth},
	}, &webpush.Options{
		HTTPClient: c, Subscriber: strings.TrimPrefix(g.c.Contact, "mailto:"), TTL: int(push.Left(m, g.c.Now()) / time.Second), Urgency: urgency,
		Topic:          n.Kind, // what a browser that was off gets is the last of each kind (RFC 8030 §5.4)
		VAPIDPublicKey: g.c.Key.Public(), VAPIDPrivateKey: base64.RawURLEncoding.EncodeToString(g.c.Key.private),
	})
	switch {
	case c.failure != nil:
		return c.failure
	case !c.sent: // the library says nothing of the subscription in its errors, but may one day
		return notify.Gone(errors.New("the keys of the subscription are none"))
	case err != nil:
		return notify.Unsure(err)
	}
	return g.answer(c.answer, s, host)
}

// answer (RFC 8030 §5, §7.3, §8.4). What a subscription may bring about by itself must not count against the gateway.
func (g *Gateway) answer(a call.Answer, s push.Subscription, host string) *notify.Failure {
	err := fmt.Errorf("status %d", a.Status)
	switch a.Status {
	case http.StatusNotFound, http.StatusGone:
		return notify.Gone(err)
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestEntityTooLarge:
		return notify.Refused(err) // 403: it was made for another key
	}
	if a.Status/100 == 2 {
		return nil
	}
	return g.rests.Heard(a, s.Endpoint, "host:"+host)
}

// carrier is the HTTP client of the library; it keeps what became of the one request.
type carrier struct {
	client  *http.Client
	sent    bool
	answer  call.Answer
	failure *notify.Failure
}

func (c *carrier) Do(r *http.Request) (*http.Response, error) {
	c.sent = true
	r.Header.Set("User-Agent", "kapi")
	if c.answer, c.failure = call.Do(c.client, r); c.failure != nil {
		return nil, c.failure
	}
	return &http.Response{StatusCode: c.answer.Status, Header: c.answer.Header, Body: io.NopCloser(strings.NewReader(""))}, nil
}
