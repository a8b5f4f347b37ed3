package provider

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/web"
)

// Methods of client authentication (OpenID Connect Core §9).
const (
	methodBasic = string(oidc.AuthMethodBasic)
	methodPost  = string(oidc.AuthMethodPost)
	methodJWT   = string(oidc.AuthMethodPrivateKeyJWT)
	methodTLS   = clients.MethodTLS // RFC 8705 §2.2; a request of it says who it is with client_id alone, as those without a method do
	methodNone  = string(oidc.AuthMethodNone)
)

// credential is what a request says of its sender.
type credential struct{ method, client, secret string }

// VerifyClient authenticates the sender of a request by exactly the method the client is registered with.
func (s *Server) VerifyClient(ctx context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	cred, err := presented(r.Header, r.Form)
	if err != nil {
		return nil, s.stranger(ctx, r.Header, clients.Client{}, "malformed", err)
	}
	c, ok, err := s.client(ctx, cred.client)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, s.stranger(ctx, r.Header, clients.Client{}, "unknown", nil)
	case cred.method == methodNone && c.AuthMethod == methodTLS:
		cred.method = methodTLS
	case cred.method != c.AuthMethod:
		return nil, s.stranger(ctx, r.Header, c, "method", nil)
	}
	switch cred.method {
	case methodBasic, methodPost:
		ok = s.secretRight(c, cred.secret, s.now())
	case methodJWT:
		if ok, err = s.assertionRight(ctx, c, cred.secret, s.now()); err != nil {
			return nil, err
		}
	case methodTLS:
		ok = certificateRight(ctx, c, s.now())
	}
	if !ok {
		return nil, s.stranger(ctx, r.Header, c, "credential", nil)
	}
	if err := s.quota.within("client "+c.ID, s.now()); err != nil {
		return nil, err
	}
	return application{c}, nil
}

// presented finds the one method a request uses. RFC 6749 §2.3 forbids two; a client_id beside the others may only repeat
// who it is.
func presented(h http.Header, form url.Values) (credential, error) {
	id := form.Get("client_id")
	var found []credential
	if header := h.Values("Authorization"); len(header) > 0 {
		user, password, ok := basic(header[0])
		if !ok || len(header) > 1 {
			return credential{}, errCredential
		}
		found = append(found, credential{methodBasic, user, password})
	}
	if form.Has("client_secret") {
		found = append(found, credential{methodPost, id, form.Get("client_secret")})
	}
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		if form.Get("client_assertion_type") != oidc.ClientAssertionTypeJWTAssertion {
			return credential{}, errCredential
		}
		assertion := form.Get("client_assertion")
		found = append(found, credential{methodJWT, claimedIssuer(assertion), assertion})
	}
	switch {
	case len(found) == 0 && id != "":
		return credential{method: methodNone, client: id}, nil
	case len(found) != 1 || found[0].client == "" || (id != "" && id != found[0].client):
		return credential{}, errCredential
	}
	return found[0], nil
}

var errCredential = oidc.ErrInvalidClient().WithDescription("exactly one method of client authentication must be used")

// basic reads the header; both halves are form-encoded (RFC 6749 §2.3.1).
func basic(header string) (user, password string, ok bool) {
	r := http.Request{Header: http.Header{"Authorization": {header}}}
	if user, password, ok = r.BasicAuth(); !ok {
		return "", "", false
	}
	user, err := url.QueryUnescape(user)
	if err != nil {
		return "", "", false
	}
	if password, err = url.QueryUnescape(password); err != nil {
		return "", "", false
	}
	return user, password, true
}

// secretRight compares with every secret that is still good, in constant time; during a rotation there are two.
func (s *Server) secretRight(c clients.Client, given string, now time.Time) bool {
	right := false
	for _, stored := range c.Secrets {
		if stored.ExpiresAt.IsZero() || now.Before(stored.ExpiresAt) {
			right = s.cfg.Ring.CheckMAC(secret.Tokens, stored.MAC, "client_secret", c.ID, given) || right
		}
	}
	return right
}

// certificateRight says whether the connection shows a certificate that the client is registered with, byte by byte, in the time it is good
// for. Its names and its issuer say nothing: who adds a certificate to a registration vouches for it.
func certificateRight(ctx context.Context, c clients.Client, now time.Time) bool {
	shown, err := web.ClientCertificate(ctx)
	if err != nil || now.Before(shown.NotBefore) || now.After(shown.NotAfter) {
		return false
	}
	return slices.ContainsFunc(c.JWKS.Keys, func(k jose.JSONWebKey) bool {
		return len(k.Certificates) == 1 && k.Certificates[0].Equal(shown)
	})
}

// stranger is the answer to every failed authentication. Each one is metered. Into the record goes what concerns a
// registered client, ten at once and then one a minute for each client and network and replica: a stranger must be able
// neither to fill the disk nor to hide behind a flood of his own. The log has the rest at debug level.
func (s *Server) stranger(ctx context.Context, h http.Header, c clients.Client, reason string, told error) error {
	s.cfg.Meter("client", c.ID, reason)
	s.cfg.Log.LogAttrs(ctx, slog.LevelDebug, "client refused", slog.String("request", web.RequestID(ctx)),
		slog.String("client", c.ID), slog.String("reason", reason))
	if c.ID != "" && s.alarms.take(c.ID+" "+web.Network(ctx), s.now()) == 0 {
		e := s.event(ctx, audit.ClientRefused, reason, c, grant.Grant{})
		e.Actor = ""
		if err := s.cfg.Audit.Record(ctx, e); err != nil {
			return err
		}
	}
	e, ok := told.(*oidc.Error)
	if !ok {
		e = oidc.ErrInvalidClient()
	}
	refused := &refusal{is: e, status: http.StatusUnauthorized}
	if strings.HasPrefix(strings.ToLower(h.Get("Authorization")), "basic ") { // RFC 6749 §5.2
		refused.challenge = `Basic realm="` + s.cfg.Issuer + `", charset="UTF-8"`
	}
	return refused
}

// application is a registration as op.Client sees it. The library's own flows are not mounted, so most of it only tells
// the truth to whoever asks.
type application struct{ clients.Client }

func registration(c op.Client) clients.Client { return c.(application).Client }

func (a application) GetID() string                    { return a.ID }
func (a application) RedirectURIs() []string           { return a.Client.RedirectURIs }
func (a application) PostLogoutRedirectURIs() []string { return a.PostLogoutURIs }
func (a application) AuthMethod() oidc.AuthMethod      { return oidc.AuthMethod(a.Client.AuthMethod) }
func (a application) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (a application) LoginURL(id string) string            { return pathSignin + id }
func (a application) IDTokenLifetime() time.Duration       { return idTokenLife }
func (a application) DevMode() bool                        { return false }
func (a application) IsScopeAllowed(scope string) bool     { return contains(a.Scopes, scope) }
func (a application) IDTokenUserinfoClaimsAssertion() bool { return false }
func (a application) ClockSkew() time.Duration             { return 0 }

func (a application) ApplicationType() op.ApplicationType {
	if a.Native {
		return op.ApplicationTypeNative
	}
	return op.ApplicationTypeWeb
}

func (a application) GrantTypes() (out []oidc.GrantType) {
	for _, g := range a.Client.GrantTypes {
		out = append(out, oidc.GrantType(g))
	}
	return out
}

func (a application) AccessTokenType() op.AccessTokenType {
	if a.JWTAccessToken {
		return op.AccessTokenTypeJWT
	}
	return op.AccessTokenTypeBearer
}

func (a application) RestrictAdditionalIdTokenScopes() func([]string) []string { return none }

func (a application) RestrictAdditionalAccessTokenScopes() func([]string) []string { return none }

func none([]string) []string { return nil }
