package provider

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
)

// RefreshToken rotates a family by one conditional write. Of many at once with the same token one moves it; the others,
// for grant.Grace, are taken for one client that lost an answer and get the same successor. After that a token that was
// used before means theft, and the family dies (RFC 9700 §4.14.2).
func (s *Server) RefreshToken(ctx context.Context, r *op.ClientRequest[oidc.RefreshTokenRequest]) (*op.Response, error) {
	if r.Data.RefreshToken == "" {
		return nil, oidc.ErrInvalidRequest().WithDescription("refresh_token is missing")
	}
	c, now := registration(r.Client), s.now()
	id, generation, ok := s.readRefresh(c.ID, r.Data.RefreshToken)
	if !ok {
		return nil, errGrant
	}
	var g grant.Grant
	var a access
	var reused bool
	err := s.cfg.Transactions.Atomically(ctx, func(ctx context.Context) (err error) {
		reused = false
		g, err = s.cfg.Grants.Rotate(ctx, c.ID, id, generation, now)
		switch {
		case errors.Is(err, fault.ErrConflict):
			if !lostAnswer(g, generation, now) {
				reused = true
				return s.reuse(ctx, c, g, "refresh_token")
			}
		case err != nil:
			return err
		}
		if g.ACR < c.Least(now) { // the client has asked for more since: no refresh carries the weaker sign-in on
			return errGrant
		}
		if err := failpoint.Here("refresh-rotate"); err != nil {
			return err
		}
		scopes, err := narrowed(g.Scopes, r.Data.Scopes)
		if err != nil {
			return err // and the rotation is undone
		}
		a = s.newToken(c, g, scopes, now)
		return s.issue(ctx, c, g, a, oidc.GrantTypeRefreshToken)
	})
	switch {
	case errors.Is(err, fault.ErrNotFound):
		return nil, errGrant
	case err != nil:
		return nil, err
	case reused:
		return nil, errGrant
	}
	if err := failpoint.Here("refresh-rotated"); err != nil {
		return nil, err
	}
	return s.answerTokens(ctx, c, g, a, "") // no nonce: it belonged to the sign-in (OpenID Connect Core §12.2)
}

// lostAnswer: the family stands one further than the token, since a moment ago, and is still good.
func lostAnswer(g grant.Grant, generation int64, now time.Time) bool {
	return g.Generation == generation+1 && now.Sub(g.RotatedAt) <= grant.Grace && g.RevokedAt.IsZero() && now.Before(g.SessionEnds)
}

// narrowed returns the scopes asked for if all were granted, all that were granted if none is asked for (RFC 6749 §6).
func narrowed(granted, asked []string) ([]string, error) {
	if len(asked) == 0 {
		return granted, nil
	}
	if slices.ContainsFunc(asked, func(v string) bool { return !contains(granted, v) }) {
		return nil, oidc.ErrInvalidScope().WithDescription("a refresh cannot widen the scope")
	}
	return asked, nil
}
