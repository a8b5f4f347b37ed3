package provider

import (
	"context"
	"net/http"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/secret"
)

// revoke is RFC 7009.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) (*op.Response, error) {
	form, err := body(w, r)
	if err != nil {
		return nil, err
	}
	c, err := s.VerifyClient(r.Context(), requestOf(r, form, &op.ClientCredentials{}))
	if err != nil {
		return nil, err
	}
	answer, err := s.Revocation(r.Context(), clientRequestOf(r, form, c, &oidc.RevocationRequest{Token: form.Get("token")}))
	s.cfg.Meter("revoke", c.GetID(), outcome(err))
	return answer, err
}

// Revocation ends a token of the client: a refresh token with its whole grant, an access token alone. What we did not
// make, or made for another client, gets the same 200 (§2.2) and causes no statement. token_type_hint is not needed: the
// kinds cannot be mistaken for one another.
func (s *Server) Revocation(ctx context.Context, r *op.ClientRequest[oidc.RevocationRequest]) (*op.Response, error) {
	token := r.Data.Token
	if token == "" {
		return nil, oidc.ErrInvalidRequest().WithDescription("token is missing")
	}
	c := registration(r.Client)
	if id, _, ok := s.readRefresh(c.ID, token); ok {
		return s.revoked(ctx, c, "refresh_token", func(ctx context.Context, now time.Time) error {
			return s.cfg.Grants.RevokeGrant(ctx, c.ID, id, now)
		})
	}
	if s.isAccess(token) {
		return s.revoked(ctx, c, "access_token", func(ctx context.Context, now time.Time) error {
			return s.cfg.Grants.RevokeAccess(ctx, c.ID, secret.Hash(token), time.Time{}, now)
		})
	}
	claims, err := s.accessJWT(token)
	if err != nil || claims.Client != c.ID || s.now().Unix() >= claims.Expires {
		return op.NewResponse(nil), nil
	}
	return s.revoked(ctx, c, "access_token", func(ctx context.Context, now time.Time) error {
		return s.cfg.Grants.RevokeAccess(ctx, c.ID, secret.Hash(claims.ID), time.Unix(claims.Expires, 0).UTC(), now)
	})
}

func (s *Server) revoked(ctx context.Context, c clients.Client, kind string, end func(context.Context, time.Time) error) (*op.Response, error) {
	now := s.now()
	err := s.cfg.Transactions.Atomically(ctx, func(ctx context.Context) error {
		if err := end(ctx, now); err != nil {
			return err
		}
		e := s.event(ctx, audit.TokenRevoked, "ok", c, grant.Grant{})
		e.Details = map[string]string{"kind": kind}
		return s.cfg.Audit.Record(ctx, e)
	})
	return op.NewResponse(nil), err
}
