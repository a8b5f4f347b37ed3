package provider

import (
	"context"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/grant"
)

// ClientCredentialsExchange gives a client a token for itself (RFC 6749 §4.4): no person, no ID token, no refresh token,
// no amr. As a JWT it touches no database; success is metered and not recorded.
func (s *Server) ClientCredentialsExchange(ctx context.Context, r *op.ClientRequest[oidc.ClientCredentialsRequest]) (*op.Response, error) {
	c := registration(r.Client)
	if c.AuthMethod == methodNone { // §4.4: only confidential clients
		return nil, oidc.ErrUnauthorizedClient().WithDescription("a public client cannot use client_credentials")
	}
	scopes, err := ownScopes(c, r.Data.Scope)
	if err != nil {
		return nil, err
	}
	a := s.newToken(c, grant.Grant{}, scopes, s.now())
	if a.opaque != "" {
		if err := s.cfg.Grants.CreateAccess(ctx, a.Access); err != nil {
			return nil, err
		}
	}
	return s.answerTokens(ctx, c, grant.Grant{}, a, "")
}

// ownScopes: registered ones that do not speak of a person; all of them where none is asked for.
func ownScopes(c clients.Client, asked []string) ([]string, error) {
	var own []string
	for _, v := range c.Scopes {
		if !contains(scopesSupported, v) {
			own = append(own, v)
		}
	}
	if len(asked) == 0 {
		return own, nil
	}
	for _, v := range asked {
		if !contains(own, v) {
			return nil, oidc.ErrInvalidScope().WithDescription("a scope is not registered for the client itself")
		}
	}
	return asked, nil
}
