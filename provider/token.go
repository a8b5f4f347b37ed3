package provider

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/secret"
)

const (
	idTokenLife   = 5 * time.Minute
	accessDefault = 300 * time.Second
)

var grantsSupported = []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken, oidc.GrantTypeClientCredentials}

// token is the token endpoint (RFC 6749 §3.2): who asks, for which grant, may he, then the grant itself.
func (s *Server) token(w http.ResponseWriter, r *http.Request) (*op.Response, error) {
	form, err := body(w, r)
	if err != nil {
		return nil, err
	}
	c, err := s.VerifyClient(r.Context(), requestOf(r, form, &op.ClientCredentials{}))
	if err != nil {
		return nil, err
	}
	kind := oidc.GrantType(form.Get("grant_type"))
	switch {
	case kind == "":
		return nil, oidc.ErrInvalidRequest().WithDescription("grant_type is missing")
	case !contains(grantsSupported, kind):
		return nil, oidc.ErrUnsupportedGrantType()
	case !registration(c).Allows(string(kind)):
		return nil, oidc.ErrUnauthorizedClient().WithDescription("the client is not registered for this grant_type")
	}
	answer, err := s.exchange(r, form, kind, c)
	s.cfg.Meter(string(kind), c.GetID(), outcome(err))
	return answer, err
}

func (s *Server) exchange(r *http.Request, form url.Values, kind oidc.GrantType, c op.Client) (*op.Response, error) {
	ctx := r.Context()
	switch kind {
	case oidc.GrantTypeCode:
		return s.CodeExchange(ctx, clientRequestOf(r, form, c, &oidc.AccessTokenRequest{
			Code: form.Get("code"), RedirectURI: form.Get("redirect_uri"), CodeVerifier: form.Get("code_verifier"),
		}))
	case oidc.GrantTypeRefreshToken:
		return s.RefreshToken(ctx, clientRequestOf(r, form, c, &oidc.RefreshTokenRequest{
			RefreshToken: form.Get("refresh_token"), Scopes: spaced(form.Get("scope")),
		}))
	}
	return s.ClientCredentialsExchange(ctx, clientRequestOf(r, form, c, &oidc.ClientCredentialsRequest{Scope: spaced(form.Get("scope"))}))
}

func requestOf[T any](r *http.Request, form url.Values, data *T) *op.Request[T] {
	return &op.Request[T]{Method: r.Method, URL: r.URL, Header: r.Header, Form: form, PostForm: form, Data: data}
}

func clientRequestOf[T any](r *http.Request, form url.Values, c op.Client, data *T) *op.ClientRequest[T] {
	return &op.ClientRequest[T]{Request: requestOf(r, form, data), Client: c}
}

// access is an access token on its way: the hash goes into the database, the text to the client.
type access struct {
	grant.Access
	opaque string // the token, or
	jti    string // what a JWT will carry
}

// newToken makes the token that belongs to a grant, or to the client itself. It never outlives the session.
func (s *Server) newToken(c clients.Client, g grant.Grant, scopes []string, now time.Time) access {
	life := c.AccessTokenTTL
	if life <= 0 {
		life = accessDefault
	}
	a := access{Access: grant.Access{Grant: g.ID, Client: c.ID, Scopes: scopes, IssuedAt: now, ExpiresAt: now.Add(life)}}
	if !g.SessionEnds.IsZero() && g.SessionEnds.Before(a.ExpiresAt) {
		a.ExpiresAt = g.SessionEnds
	}
	if c.JWTAccessToken {
		a.jti = secret.Token()
		a.Hash = secret.Hash(a.jti)
	} else {
		a.opaque = s.newAccess()
		a.Hash = secret.Hash(a.opaque)
	}
	return a
}

// issue stores an access token and records that it was given; the other half of a redemption or a rotation, and one
// commit with it.
func (s *Server) issue(ctx context.Context, c clients.Client, g grant.Grant, a access, kind oidc.GrantType) error {
	if err := s.cfg.Grants.CreateAccess(ctx, a.Access); err != nil {
		return err
	}
	if err := failpoint.Here("token-write"); err != nil {
		return err
	}
	e := s.event(ctx, audit.TokenIssued, "ok", c, g)
	e.Details = map[string]string{"grant_type": string(kind)}
	return s.cfg.Audit.Record(ctx, e)
}

// reuse ends everything that came from a code or a refresh token that came twice: one of the two who hold it has stolen
// it (RFC 9700 §4.5, §4.14.2).
func (s *Server) reuse(ctx context.Context, c clients.Client, g grant.Grant, what string) error {
	if err := s.cfg.Grants.RevokeGrant(ctx, c.ID, g.ID, s.now()); err != nil {
		return err
	}
	e := s.event(ctx, audit.TokenReuse, "revoked", c, g)
	e.Details = map[string]string{"what": what}
	return s.cfg.Audit.Record(ctx, e)
}

// answerTokens signs and answers; after the commit, so that no lock waits for a signature.
func (s *Server) answerTokens(ctx context.Context, c clients.Client, g grant.Grant, a access, nonce string) (*op.Response, error) {
	text, err := s.text(ctx, c, g, a)
	if err != nil {
		return nil, err
	}
	out := &oidc.AccessTokenResponse{
		AccessToken: text, TokenType: oidc.BearerToken, Scope: a.Scopes,
		ExpiresIn: uint64(a.ExpiresAt.Sub(a.IssuedAt) / time.Second),
	}
	if contains(a.Scopes, scopeOpenID) && g.ID != "" {
		if out.IDToken, err = s.idToken(ctx, c, g, a, text, nonce); err != nil {
			return nil, err
		}
	}
	if g.Generation > 0 && contains(g.Scopes, scopeOffline) && c.Allows(string(oidc.GrantTypeRefreshToken)) {
		if out.RefreshToken, err = s.refreshToken(c.ID, g.ID, g.Generation); err != nil {
			return nil, err
		}
	}
	return op.NewResponse(out), nil
}

// accessClaims of a JWT access token (RFC 9068 §2.2). The audience is the issuer: no resource server registers here.
type accessClaims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience string   `json:"aud"`
	Expires  int64    `json:"exp"`
	Issued   int64    `json:"iat"`
	ID       string   `json:"jti"`
	Client   string   `json:"client_id"`
	Scope    string   `json:"scope,omitempty"`
	AuthTime int64    `json:"auth_time,omitempty"`
	ACR      string   `json:"acr,omitempty"`
	AMR      []string `json:"amr,omitempty"`
}

// text is what the client gets: the opaque token, or a signed one. Without a grant the client speaks for itself and is
// the subject.
func (s *Server) text(ctx context.Context, c clients.Client, g grant.Grant, a access) (string, error) {
	if a.opaque != "" {
		return a.opaque, nil
	}
	claims := &accessClaims{
		Issuer: s.cfg.Issuer, Subject: c.ID, Audience: s.cfg.Issuer, Expires: a.ExpiresAt.Unix(), Issued: a.IssuedAt.Unix(), ID: a.jti,
		Client: c.ID, Scope: strings.Join(a.Scopes, " "),
	}
	if g.ID != "" {
		claims.Subject, claims.AuthTime, claims.ACR, claims.AMR = g.Subject, g.AuthTime, g.ACR.String(), g.AMR
	}
	return s.cfg.Keys.Sign(ctx, c.IDTokenAlg, typAccess, claims)
}

// idClaims of an ID token (OpenID Connect Core §2).
type idClaims struct {
	Issuer     string       `json:"iss"`
	Subject    string       `json:"sub"`
	Audience   string       `json:"aud"`
	Expires    int64        `json:"exp"`
	Issued     int64        `json:"iat"`
	AuthTime   int64        `json:"auth_time"`
	Nonce      string       `json:"nonce,omitempty"`
	ACR        string       `json:"acr"`
	AMR        []string     `json:"amr"`
	Steps      []grant.Step `json:"auth_steps"`
	Session    string       `json:"sid"`
	AtHash     string       `json:"at_hash"`
	Authorized string       `json:"azp"`
	about
}

// idToken is made from the facts of the grant alone: a refresh changes neither acr nor amr nor auth_time. Claims about the
// person are in it only where the claims parameter asked; that costs the one read that others do not pay: what userinfo would
// read for the access token just given.
func (s *Server) idToken(ctx context.Context, c clients.Client, g grant.Grant, a access, accessToken, nonce string) (string, error) {
	sid, err := s.sid(c, g.Session)
	if err != nil {
		return "", err
	}
	claims := &idClaims{
		Issuer: s.cfg.Issuer, Subject: g.Subject, Audience: c.ID, Expires: a.IssuedAt.Add(idTokenLife).Unix(), Issued: a.IssuedAt.Unix(),
		AuthTime: g.AuthTime, Nonce: nonce, ACR: g.ACR.String(), AMR: g.AMR, Steps: g.Steps, Session: sid,
		AtHash: atHash(c.IDTokenAlg, accessToken), Authorized: c.ID,
	}
	if asked := singleOf(g).IDToken; len(asked) > 0 {
		l, err := s.cfg.Grants.Living(ctx, a.Hash, a.IssuedAt)
		if errors.Is(err, fault.ErrNotFound) { // the session ended, or the account was closed, since the commit
			return "", errGrant
		}
		if err != nil {
			return "", err
		}
		claims.about = tell(c, knownOf(l), nil, asked)
	}
	return s.cfg.Keys.Sign(ctx, c.IDTokenAlg, typID, claims)
}

// outcome is err in the word of the protocol, for meters.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	if e := asOAuth(err); e != nil {
		return string(e.ErrorType)
	}
	return "server_error"
}
