package provider

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/secret"
)

var errGrant = oidc.ErrInvalidGrant()

// CodeExchange redeems an authorization code: one transaction of three statements. Whoever comes second with a right
// request, even by a hair, has shown that the code is in two hands, and what the first one got dies too. A request that
// is wrong in client, redirect URI or verifier touches nothing, or a thief could burn the code of its owner.
func (s *Server) CodeExchange(ctx context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	if r.Data.Code == "" || r.Data.RedirectURI == "" {
		return nil, oidc.ErrInvalidRequest().WithDescription("code and redirect_uri must be given")
	}
	c, now := registration(r.Client), s.now()
	challenge, ok := challengeOf(r.Data.CodeVerifier)
	if !ok || len(r.Data.Code) != 43 { // secret.Token
		return nil, errGrant
	}
	var g grant.Grant
	var a access
	var reused bool
	err := s.cfg.Transactions.Atomically(ctx, func(ctx context.Context) (err error) {
		g, err = s.cfg.Grants.RedeemCode(ctx, c.ID, secret.Hash(r.Data.Code), r.Data.RedirectURI, challenge, c.Allows(string(oidc.GrantTypeRefreshToken)), now)
		if reused = errors.Is(err, fault.ErrConflict); reused {
			return s.reuse(ctx, c, g, "code")
		}
		if err != nil {
			return err
		}
		if err := failpoint.Here("code-consumed"); err != nil {
			return err
		}
		a = s.newToken(c, g, g.Scopes, now)
		return s.issue(ctx, c, g, a, oidc.GrantTypeCode)
	})
	switch {
	case errors.Is(err, fault.ErrNotFound):
		return nil, errGrant
	case err != nil:
		return nil, err
	case reused:
		return nil, errGrant
	}
	if err := failpoint.Here("token-written"); err != nil {
		return nil, err
	}
	return s.answerTokens(ctx, c, g, a, g.Nonce)
}

// challengeOf is S256 of a verifier (RFC 7636 §4.1, §4.6), "" for none: the stored challenge must be equal, so a verifier
// without a challenge fails as much as a challenge without a verifier.
func challengeOf(verifier string) (challenge string, ok bool) {
	if verifier == "" {
		return "", true
	}
	if len(verifier) < 43 || len(verifier) > 128 || strings.Trim(verifier, unreserved) != "" {
		return "", false
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64url.EncodeToString(sum[:]), true
}

const unreserved = tagLetters + "._~"
