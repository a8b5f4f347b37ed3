// Package hms owns the gateway to Huawei Push Kit, for apps on phones without Google's services. Enter with New and the id and secret of the
// app. It refuses redirects, and sends data only: what a phone shows, its app decides.
package hms

import (
	"context"
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
const Kind = "hms"

// Config of a gateway.
type Config struct {
	Name    string
	Account []byte // JSON: {"app_id": "…", "client_secret": "…"}
	Now     func() time.Time

	Base     string         // "" = https://push-api.cloud.huawei.com
	TokenURL string         // "" = https://oauth-login.cloud.huawei.com/oauth2/v3/token
	Roots    *x509.CertPool // nil = those of the system
}

// Gateway posts messages.
type Gateway struct {
	c       Config
	app     string
	secret  string
	client  *http.Client
	pass    *push.Pass
	rests   *push.Rests
	address string
}

var appID = regexp.MustCompile(`^[0-9]{1,20}$`)

// New checks the configuration. No error repeats the secret.
func New(c Config) (*Gateway, error) {
	var a struct {
		App    string `json:"app_id"`
		Secret string `json:"client_secret"`
	}
	if json.Unmarshal(c.Account, &a) != nil || !appID.MatchString(a.App) || a.Secret == "" {
		return nil, errors.New(`hms: want {"app_id": "…", "client_secret": "…"}`)
	}
	g := &Gateway{c: c, app: a.App, secret: a.Secret, client: push.Client(c.Roots), rests: &push.Rests{Now: c.Now}}
	if g.c.TokenURL == "" {
		g.c.TokenURL = "https://oauth-login.cloud.huawei.com/oauth2/v3/token"
	}
	if g.c.Base == "" {
		g.c.Base = "https://push-api.cloud.huawei.com"
	}
	g.address = g.c.Base + "/v1/" + g.app + "/messages:send"
	g.pass = &push.Pass{Make: g.token, Now: c.Now}
	return g, nil
}

func (g *Gateway) Name() string { return g.c.Name }

// Ready: not while the service asked everybody to wait.
func (g *Gateway) Ready() bool { return g.rests.Left("") <= 0 }

func (g *Gateway) token(ctx context.Context) (string, time.Duration, *notify.Failure) {
	return push.Grant(ctx, g.client, g.c.TokenURL, url.Values{"grant_type": {"client_credentials"}, "client_id": {g.app}, "client_secret": {g.secret}})
}

// body of messages:send.
type body struct {
	ValidateOnly bool    `json:"validate_only"`
	Message      message `json:"message"`
}

type message struct {
	Data    string   `json:"data"`
	Android android  `json:"android"`
	Token   []string `json:"token"`
}

type android struct {
	Urgency  string `json:"urgency"`
	TTL      string `json:"ttl"`
	Collapse int    `json:"collapse_key"`
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
	// Of those with one collapse key a phone that was off gets the last; -1 would be one key for everything.
	what := android{Urgency: "NORMAL", Collapse: 2}
	if n.Urgent() {
		what = android{Urgency: "HIGH", Collapse: 1}
	}
	what.TTL = fmt.Sprintf("%ds", push.Left(m, g.c.Now())/time.Second)
	a, token, f := push.Post(ctx, g.client, g.pass, g.address, "application/json; charset=UTF-8", body{Message: message{Data: string(n.JSON()), Android: what, Token: []string{s.Token}}})
	if f != nil {
		return f
	}
	if f := g.answer(ctx, a, s, token); f != nil {
		return f
	}
	return nil
}

// Codes of https://developer.huawei.com/consumer/en/doc/HMSCore-References/https-send-api-0000001050986197.
const (
	sent         = "80000000"
	someIllegal  = "80100000" // of our one token, that is all
	noAuth       = "80200001"
	authExpired  = "80200003"
	noPermission = "80300002"
	allInvalid   = "80300007"
	tooLarge     = "80300008"
)

// answer: the code counts, and comes with 200 as well as with other statuses.
func (g *Gateway) answer(ctx context.Context, a call.Answer, s push.Subscription, token string) *notify.Failure {
	var said struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(a.Body, &said) // an answer that is no JSON has no code
	if !appID.MatchString(said.Code) {
		said.Code = ""
	}
	err := fmt.Errorf("status %d code %s", a.Status, said.Code)
	switch said.Code {
	case sent:
		if a.Status/100 == 2 {
			return nil
		}
	case someIllegal, allInvalid:
		return notify.Gone(err)
	case noAuth, authExpired:
		g.pass.Drop(ctx, token)
		return notify.NotSent(err, false)
	case noPermission, tooLarge:
		return notify.Refused(err)
	default:
		if strings.HasPrefix(said.Code, "801") { // parameters that it does not like
			return notify.Refused(err)
		}
	}
	if a.Status/100 == 2 {
		return notify.NotSent(err, false)
	}
	if a.Status == http.StatusUnauthorized {
		g.pass.Drop(ctx, token)
	}
	return g.rests.Heard(a, s.Token, "")
}
