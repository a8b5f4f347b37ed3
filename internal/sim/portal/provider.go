package portal

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// provider is the OpenID provider, as its discovery document describes it.
type provider struct {
	issuer string
	client *http.Client

	mu    sync.Mutex
	found *found
}

type found struct {
	*oidc.Provider
	EndSession string `json:"end_session_endpoint"`
	SendsIss   bool   `json:"authorization_response_iss_parameter_supported"`
}

// discover reads the discovery document once, and waits a few seconds for a provider that starts beside the portal.
func (p *provider) discover(ctx context.Context) (*found, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.client), 5*time.Second)
	defer cancel()
	again := time.NewTicker(150 * time.Millisecond)
	defer again.Stop()
	for {
		op, err := oidc.NewProvider(ctx, p.issuer)
		if err == nil {
			f := &found{Provider: op}
			if err := op.Claims(f); err != nil {
				return nil, err
			}
			p.found = f
			return f, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-again.C:
		}
	}
}

// registration of a desk, or of the portal itself for "".
func (p *portal) registration(desk string) Registration {
	if desk == "" {
		return Registration{p.ClientID, p.ClientSecret}
	}
	return p.Desks[desk]
}

// open says whether a desk was registered; "" always is.
func (p *portal) open(desk string) bool {
	_, ok := p.Desks[desk]
	return desk == "" || ok
}

// oauth is a registration at the provider. The secret goes in the header: client_secret_basic.
func (p *portal) oauth(op *found, desk string) *oauth2.Config {
	r := p.registration(desk)
	endpoint := op.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	return &oauth2.Config{ClientID: r.ClientID, ClientSecret: r.ClientSecret, Endpoint: endpoint, RedirectURL: p.BaseURL + CallbackPath, Scopes: p.Scopes}
}

// idClaims are the claims of the ID token that the portal acts on.
type idClaims struct {
	Subject  string   `json:"sub"`
	ACR      string   `json:"acr"`
	AMR      []string `json:"amr"`
	AuthTime int64    `json:"auth_time"`
	AZP      string   `json:"azp"`
	Steps    []struct {
		Method string `json:"m"`
		Time   int64  `json:"t"`
	} `json:"auth_steps"`
}

// redeem exchanges the code and checks the ID token. Beyond signature, iss, aud and exp, which the library checks, it
// holds the token to what was asked for (OpenID Connect Core §3.1.3.7, items 4–6 and 11–13).
func (p *portal) redeem(ctx context.Context, op *found, code string, l login) (session, error) {
	ctx = oidc.ClientContext(ctx, p.Client)
	me := p.registration(l.desk).ClientID
	tokens, err := p.oauth(op, l.desk).Exchange(ctx, code, oauth2.VerifierOption(l.verifier))
	if err != nil {
		return session{}, fmt.Errorf("code exchange: %w", err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := op.VerifierContext(ctx, &oidc.Config{ClientID: me, Now: p.Now}).Verify(ctx, raw)
	if err != nil {
		return session{}, err
	}
	s := session{IDToken: raw}
	if err := errors.Join(id.Claims(&s.Claims), id.Claims(&s.Payload)); err != nil {
		return session{}, err
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(l.nonce)) != 1 {
		return session{}, errors.New("the ID token has another nonce")
	}
	if err := id.VerifyAccessToken(tokens.AccessToken); err != nil {
		return session{}, err
	}
	if (len(id.Audience) > 1 || s.Claims.AZP != "") && s.Claims.AZP != me {
		return session{}, errors.New("the ID token was issued to another party")
	}
	if err := l.met(s.Claims); err != nil {
		return session{}, err
	}
	info, err := op.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err != nil {
		return session{}, err
	}
	if info.Subject != id.Subject { // OpenID Connect Core §5.3.2: else tokens were swapped
		return session{}, errors.New("userinfo speaks of another person")
	}
	return s, info.Claims(&s.Person)
}

// met says whether the sign-in is what this login had to have.
func (l login) met(c idClaims) error {
	if need := needs[l.to]; len(need.acr) > 0 && !slices.Contains(need.acr, c.ACR) {
		return fmt.Errorf("the sign-in reached %q, the page needs more", c.ACR)
	}
	// auth_time counts whole seconds; five more are left for clocks that differ.
	if l.maxAge >= 0 && c.AuthTime < l.started.Add(-time.Duration(l.maxAge)*time.Second).Unix()-5 {
		return errors.New("the sign-in is older than max_age")
	}
	return nil
}

// essentialACR is the claims parameter that makes one of these levels a condition (OpenID Connect Core §5.5.1.1).
func essentialACR(levels []string) string {
	b, _ := json.Marshal(map[string]any{"id_token": map[string]any{"acr": map[string]any{"essential": true, "values": levels}}})
	return string(b)
}
