package testkapi

import (
	"context"
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// RP is a relying party on a foreign code base. It lives outside: the browser stops at its redirect URI, and the test hands the
// address over with Answer.
type RP struct {
	k        *Kapi
	T        testing.TB
	ID       string
	Secret   string
	OAuth    oauth2.Config
	Verifier *oidc.IDTokenVerifier
	state    string
	nonce    string
	pkce     string
}

// Claims of an ID token.
type Claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	ACR      string   `json:"acr"`
	AMR      []string `json:"amr"`
	AuthTime int64    `json:"auth_time"`
	Nonce    string   `json:"nonce"`
	SID      string   `json:"sid"`
	AZP      string   `json:"azp"`
	IssuedAt int64    `json:"iat"`
	Expires  int64    `json:"exp"`
	Steps    []struct {
		Method string `json:"m"`
		Time   int64  `json:"t"`
	} `json:"auth_steps"`
}

// Tokens are what an RP got.
type Tokens struct {
	*oauth2.Token
	IDToken string
	Claims  Claims
	Raw     map[string]any // all claims of the ID token
}

// RP registers a client with these members beside the usual ones and returns it.
func (k *Kapi) RP(id string, members map[string]any) *RP {
	k.T.Helper()
	secret := "a secret of " + id + " that is long enough for anybody"
	redirect := "https://" + id + ".example/cb"
	file := map[string]any{
		"client_id": id, "client_name": "The " + id + " service", "client_secret": secret, "redirect_uris": []string{redirect},
		"post_logout_redirect_uris": []string{"https://" + id + ".example/bye"}, "scope": "openid profile",
	}
	for name, v := range members {
		file[name] = v
		if v == nil {
			delete(file, name)
		}
	}
	b, err := json.Marshal([]any{file})
	if err != nil {
		k.T.Fatal(err)
	}
	k.Clients(string(b))
	alg, _ := file["id_token_signed_response_alg"].(string)
	if alg == "" {
		alg = "ES256"
	}
	if u, ok := file["redirect_uris"].([]string); ok {
		redirect = u[0]
	}
	return k.Known(id, secret, redirect, alg)
}

// Known is a relying party that was registered by other means than RP.
func (k *Kapi) Known(id, secret, redirect, alg string) *RP {
	keySet := oidc.NewRemoteKeySet(context.Background(), k.URL+"/keys")
	return &RP{
		k: k, T: k.T, ID: id, Secret: secret,
		OAuth: oauth2.Config{
			ClientID: id, ClientSecret: secret, RedirectURL: redirect, Scopes: []string{"openid", "profile"},
			Endpoint: oauth2.Endpoint{AuthURL: k.URL + "/authorize", TokenURL: k.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInHeader},
		},
		Verifier: oidc.NewVerifier(k.URL, keySet, &oidc.Config{ClientID: id, SupportedSigningAlgs: []string{alg}, Now: k.now}),
	}
}

func (k *Kapi) now() time.Time {
	if k.Clock == nil {
		return time.Now()
	}
	return k.Clock.Now()
}

// URL is a new authorization request with these further parameters, in pairs.
func (r *RP) URL(params ...string) string {
	r.state, r.nonce, r.pkce = oauth2.GenerateVerifier(), oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	opts := []oauth2.AuthCodeOption{oidc.Nonce(r.nonce), oauth2.S256ChallengeOption(r.pkce)}
	for i := 0; i+1 < len(params); i += 2 {
		opts = append(opts, oauth2.SetAuthURLParam(params[i], params[i+1]))
	}
	return r.OAuth.AuthCodeURL(r.state, opts...)
}

// Left returns the parameters with which the browser came back, after checking state and iss.
func (r *RP) Left(b *Browser) url.Values {
	r.T.Helper()
	left := b.Left()
	if left == nil {
		r.T.Fatalf("still at %s (%d):\n%s", b.URL, b.Status, b.Text())
	}
	if got := left.Scheme + "://" + left.Host + left.Path; got != r.OAuth.RedirectURL {
		r.T.Fatalf("left to %s, want %s", got, r.OAuth.RedirectURL)
	}
	q := left.Query()
	if q.Get("state") != r.state {
		r.T.Fatalf("state %q, want %q", q.Get("state"), r.state)
	}
	if q.Get("iss") != r.k.URL { // RFC 9207
		r.T.Fatalf("iss %q, want %q", q.Get("iss"), r.k.URL)
	}
	return q
}

// Refused returns the OAuth error with which the browser came back.
func (r *RP) Refused(b *Browser) (code, description string) {
	r.T.Helper()
	q := r.Left(b)
	return q.Get("error"), q.Get("error_description")
}

// Answer redeems the code with which the browser came back and verifies the ID token.
func (r *RP) Answer(b *Browser) Tokens {
	r.T.Helper()
	q := r.Left(b)
	if q.Get("code") == "" {
		r.T.Fatalf("no code: %v", q)
	}
	token, err := r.OAuth.Exchange(context.Background(), q.Get("code"), oauth2.VerifierOption(r.pkce))
	if err != nil {
		r.T.Fatal(err)
	}
	return r.Verify(token, r.nonce)
}

// Redemption is the token request for the code with which the browser came back.
func (r *RP) Redemption(b *Browser) url.Values {
	r.T.Helper()
	return url.Values{"grant_type": {"authorization_code"}, "code": {r.Left(b).Get("code")}, "redirect_uri": {r.OAuth.RedirectURL}, "code_verifier": {r.pkce}}
}

// Verifies is the PKCE verifier of the last request.
func (r *RP) Verifies() string { return r.pkce }

// Verify checks the ID token of a token response.
func (r *RP) Verify(token *oauth2.Token, nonce string) Tokens {
	r.T.Helper()
	out := Tokens{Token: token}
	out.IDToken, _ = token.Extra("id_token").(string)
	id, err := r.Verifier.Verify(context.Background(), out.IDToken)
	if err != nil {
		r.T.Fatal(err)
	}
	if nonce != "" && id.Nonce != nonce {
		r.T.Fatalf("nonce %q, want %q", id.Nonce, nonce)
	}
	if err := id.VerifyAccessToken(token.AccessToken); id.AccessTokenHash != "" && err != nil {
		r.T.Fatal(err)
	}
	if err := id.Claims(&out.Claims); err != nil {
		r.T.Fatal(err)
	}
	if err := id.Claims(&out.Raw); err != nil {
		r.T.Fatal(err)
	}
	return out
}
