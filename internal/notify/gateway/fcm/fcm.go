// Package fcm owns the gateway to Firebase Cloud Messaging, HTTP v1, for apps on Android. Enter with New and the key file of a service account.
// It refuses redirects, and sends data only: what a phone shows, its app decides.
package fcm

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
	"github.com/kapi-id/kapi/internal/notify/gateway/push"
)

// Kind of the subscriptions.
const Kind = "fcm"

// Scope of the access token.
const scope = "https://www.googleapis.com/auth/firebase.messaging"

// Config of a gateway.
type Config struct {
	Name    string
	Account []byte // the JSON key file of a service account
	Now     func() time.Time

	Base  string         // "" = https://fcm.googleapis.com
	Roots *x509.CertPool // nil = those of the system
}

// account is what of the key file counts.
type account struct {
	Type      string `json:"type"`
	ProjectID string `json:"project_id"`
	KeyID     string `json:"private_key_id"`
	Key       string `json:"private_key"`
	Email     string `json:"client_email"`
	TokenURI  string `json:"token_uri"`
}

// Gateway posts messages.
type Gateway struct {
	c      Config
	a      account
	key    crypto.Signer
	client *http.Client
	pass   *push.Pass
	rests  *push.Rests
}

var project = regexp.MustCompile(`^[a-z0-9:.-]{1,64}$`)

// New checks the configuration. No error repeats what the file says.
func New(c Config) (*Gateway, error) {
	g := &Gateway{c: c, client: push.Client(c.Roots), rests: &push.Rests{Now: c.Now}}
	if json.Unmarshal(c.Account, &g.a) != nil || g.a.Type != "service_account" || g.a.Email == "" || !project.MatchString(g.a.ProjectID) {
		return nil, errors.New("fcm: want the JSON key file of a service account")
	}
	if u, err := url.Parse(g.a.TokenURI); err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("fcm: token_uri is no https address")
	}
	var err error
	if g.key, err = push.ParseKey(g.a.Key); err != nil {
		return nil, fmt.Errorf("fcm: private_key: %w", err)
	}
	if _, ok := g.key.(*rsa.PrivateKey); !ok {
		return nil, errors.New("fcm: private_key is not RSA")
	}
	if g.c.Base == "" {
		g.c.Base = "https://fcm.googleapis.com"
	}
	g.pass = &push.Pass{Make: g.token, Now: c.Now}
	return g, nil
}

func (g *Gateway) Name() string { return g.c.Name }

// Ready: not while the service asked everybody to wait.
func (g *Gateway) Ready() bool { return g.rests.Left("") <= 0 }

// token trades a signed assertion for an access token (RFC 7523 §2.1).
func (g *Gateway) token(ctx context.Context) (string, time.Duration, *notify.Failure) {
	now := g.c.Now()
	assertion, err := push.Sign(g.key, g.a.KeyID, map[string]any{
		"iss": g.a.Email, "scope": scope, "aud": g.a.TokenURI, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	if err != nil {
		return "", 0, notify.NotSent(err, false)
	}
	return push.Grant(ctx, g.client, g.a.TokenURI, url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}})
}

// message of projects.messages.send.
type message struct {
	Token   string            `json:"token"`
	Data    map[string]string `json:"data"`
	Android android           `json:"android"`
}

type android struct {
	Priority string `json:"priority"`
	TTL      string `json:"ttl"`
	Collapse string `json:"collapse_key"`
}

// Send posts m.
func (g *Gateway) Send(ctx context.Context, m notify.Message) error {
	s, n, f := push.Read(m, Kind)
	if f == nil {
		f = g.rests.Wait(s.Token, "")
	}
	if f != nil {
		return f
	}
	priority := "NORMAL"
	if n.Urgent() {
		priority = "HIGH"
	}
	body := map[string]message{"message": {
		Token: s.Token, Data: map[string]string{"kind": n.Kind, "id": n.ID},
		Android: android{Priority: priority, TTL: fmt.Sprintf("%ds", push.Left(m, g.c.Now())/time.Second), Collapse: n.Kind},
	}}
	a, token, f := push.Post(ctx, g.client, g.pass, g.c.Base+"/v1/projects/"+g.a.ProjectID+"/messages:send", "application/json", body)
	if f != nil {
		return f
	}
	if f := g.answer(ctx, a, s, token); f != nil {
		return f
	}
	return nil
}

// answer reads the error codes of
// https://firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode. A 404 without UNREGISTERED is a wrong project, and no reason to give up a device.
func (g *Gateway) answer(ctx context.Context, a call.Answer, s push.Subscription, token string) *notify.Failure {
	code, field := read(a.Body)
	err := fmt.Errorf("status %d %s", a.Status, code)
	switch {
	case a.Status/100 == 2:
		return nil
	case a.Status == http.StatusNotFound && code == "UNREGISTERED",
		a.Status == http.StatusBadRequest && code == "INVALID_ARGUMENT" && field == "message.token":
		return notify.Gone(err)
	case a.Status == http.StatusBadRequest, a.Status == http.StatusForbidden && code == "SENDER_ID_MISMATCH":
		return notify.Refused(err)
	case a.Status == http.StatusUnauthorized:
		g.pass.Drop(ctx, token)
	}
	return g.rests.Heard(a, s.Token, "")
}

// codes that the log may repeat.
var codes = []string{"UNREGISTERED", "INVALID_ARGUMENT", "SENDER_ID_MISMATCH", "QUOTA_EXCEEDED", "UNAVAILABLE", "INTERNAL", "THIRD_PARTY_AUTH_ERROR"}

func read(body []byte) (code, field string) {
	var answer struct {
		Error struct {
			Details []struct {
				Code   string `json:"errorCode"`
				Fields []struct {
					Field string `json:"field"`
				} `json:"fieldViolations"`
			} `json:"details"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &answer) // an answer that is no JSON has no code
	for _, d := range answer.Error.Details {
		for _, c := range codes {
			if strings.EqualFold(d.Code, c) {
				code = c
			}
		}
		for _, f := range d.Fields {
			field = f.Field
		}
	}
	return code, field
}
