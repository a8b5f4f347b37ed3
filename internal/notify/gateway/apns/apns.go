// Package apns owns the gateway to the Apple Push Notification service: HTTP/2 with a token of the provider. Enter with New and the key
// that Apple's developer pages give out. It refuses redirects, topics it was not configured for, and tokens that are none.
package apns

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
	"github.com/kapi-id/kapi/internal/notify/gateway/push"
)

// Kind of the subscriptions.
const Kind = "apns"

// A provider token is good for an hour, and may not be changed more often than every 20 minutes.
const (
	life  = 50 * time.Minute
	least = 20 * time.Minute
)

// Config of a gateway.
type Config struct {
	Name   string
	Key    []byte   // the .p8 file: a P-256 key in PEM
	KeyID  string   // 10 characters
	Team   string   // 10 characters
	Topics []string // bundle ids, the usual one first
	Now    func() time.Time

	Base  string         // "" = https://api.push.apple.com
	Roots *x509.CertPool // nil = those of the system
}

// Gateway posts messages.
type Gateway struct {
	c      Config
	key    crypto.Signer
	client *http.Client
	pass   *push.Pass
	rests  *push.Rests
}

var (
	ident = regexp.MustCompile(`^[A-Z0-9]{10}$`)
	topic = regexp.MustCompile(`^[A-Za-z0-9.-]{1,128}$`)
	token = regexp.MustCompile(`^[0-9A-Fa-f]{32,200}$`) // it becomes part of a path
)

// New checks the configuration. No error repeats the key.
func New(c Config) (*Gateway, error) {
	g := &Gateway{c: c, client: push.Client(c.Roots), rests: &push.Rests{Now: c.Now}}
	var err error
	if g.key, err = push.ParseKey(string(c.Key)); err != nil {
		return nil, fmt.Errorf("apns: %w", err)
	}
	if _, ok := g.key.(*ecdsa.PrivateKey); !ok {
		return nil, errors.New("apns: the key is not of P-256")
	}
	if !ident.MatchString(c.KeyID) || !ident.MatchString(c.Team) {
		return nil, errors.New("apns: the key id and the team are ten characters each")
	}
	if len(c.Topics) == 0 || slices.ContainsFunc(c.Topics, func(t string) bool { return !topic.MatchString(t) }) {
		return nil, errors.New("apns: want the bundle ids of the apps")
	}
	if g.c.Base == "" {
		g.c.Base = "https://api.push.apple.com"
	}
	g.pass = &push.Pass{Make: g.provider, Least: least, Now: c.Now}
	return g, nil
}

func (g *Gateway) Name() string { return g.c.Name }

// Ready: not while the service asked everybody to wait.
func (g *Gateway) Ready() bool { return g.rests.Left("") <= 0 }

// provider signs a token of ours.
func (g *Gateway) provider(context.Context) (string, time.Duration, *notify.Failure) {
	t, err := push.Sign(g.key, g.c.KeyID, map[string]any{"iss": g.c.Team, "iat": g.c.Now().Unix()})
	if err != nil {
		return "", 0, notify.NotSent(err, false)
	}
	return t, life, nil
}

// payload: the app has the sentences in its own languages; nothing of a person is in it.
type payload struct {
	APS aps `json:"aps"`
	push.Note
}

type aps struct {
	Alert struct {
		Title string `json:"title-loc-key"`
		Body  string `json:"loc-key"`
	} `json:"alert"`
	Sound string `json:"sound"`
}

// Send posts m.
func (g *Gateway) Send(ctx context.Context, m notify.Message) error {
	s, n, f := push.Read(m, Kind)
	switch {
	case f != nil:
		return f
	case !token.MatchString(s.Token):
		return notify.Gone(errors.New("no device token"))
	case s.Topic == "":
		s.Topic = g.c.Topics[0]
	case !slices.Contains(g.c.Topics, s.Topic): // a device does not choose for which app we speak
		return notify.Gone(errors.New("the topic of another app"))
	}
	if f := g.rests.Wait(s.Token, ""); f != nil {
		return f
	}
	p := payload{Note: n, APS: aps{Sound: "default"}}
	p.APS.Alert.Title, p.APS.Alert.Body = "push."+n.Kind+".title", "push."+n.Kind
	body, err := json.Marshal(p)
	if err != nil {
		return notify.Refused(err)
	}
	pass, f := g.pass.Get(ctx)
	if f != nil {
		return f
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.c.Base+"/3/device/"+s.Token, bytes.NewReader(body))
	if err != nil {
		return notify.NotSent(errors.New("the request cannot be made"), false)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "bearer "+pass)
	r.Header.Set("Apns-Topic", s.Topic)
	r.Header.Set("Apns-Push-Type", "alert")
	r.Header.Set("Apns-Priority", map[bool]string{true: "10", false: "5"}[n.Urgent()])
	r.Header.Set("Apns-Expiration", strconv.FormatInt(m.Deadline.Unix(), 10))
	r.Header.Set("Apns-Collapse-Id", n.Kind)
	if id, err := uuid.Parse(m.ID); err == nil {
		r.Header.Set("Apns-Id", id.String())
	}
	a, f := call.Do(g.client, r)
	if f != nil {
		return f
	}
	if f := g.answer(ctx, a, s, pass); f != nil {
		return f
	}
	return nil
}

// answer reads the reasons of
// https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns.
func (g *Gateway) answer(ctx context.Context, a call.Answer, s push.Subscription, pass string) *notify.Failure {
	reason := read(a.Body)
	err := fmt.Errorf("status %d %s", a.Status, reason)
	switch {
	case a.Status/100 == 2:
		return nil
	case a.Status == http.StatusGone, a.Status == http.StatusBadRequest && reason == "BadDeviceToken":
		return notify.Gone(err)
	case a.Status == http.StatusBadRequest, a.Status == http.StatusRequestEntityTooLarge:
		return notify.Refused(err)
	case a.Status == http.StatusForbidden && reason == "ExpiredProviderToken":
		g.pass.Drop(ctx, pass)
	case a.Status == http.StatusTooManyRequests && reason == "TooManyProviderTokenUpdates": // ours, not this device's
		return notify.Busy(err, time.Minute)
	}
	return g.rests.Heard(a, s.Token, "")
}

// reasons that the log may repeat, and that mean something here.
var reasons = []string{
	"BadDeviceToken", "Unregistered", "ExpiredToken", "DeviceTokenNotForTopic", "TopicDisallowed", "BadTopic", "ExpiredProviderToken", "InvalidProviderToken",
	"MissingProviderToken", "TooManyProviderTokenUpdates", "TooManyRequests", "InternalServerError", "ServiceUnavailable", "Shutdown",
}

func read(body []byte) string {
	var answer struct {
		Reason string `json:"reason"`
	}
	_ = json.Unmarshal(body, &answer) // an answer that is no JSON has no reason
	if !slices.Contains(reasons, answer.Reason) {
		return ""
	}
	return answer.Reason
}
