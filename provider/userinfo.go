package provider

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/secret"
)

// userinfo reads the token from the header or from a POST form, never from a query (RFC 6750 §2, RFC 9700 §4.3.2).
func (s *Server) userinfo(w http.ResponseWriter, r *http.Request) (*op.Response, error) {
	token, err := s.bearer(w, r)
	if err != nil {
		return nil, err
	}
	return s.UserInfo(r.Context(), requestOf(r, nil, &oidc.UserInfoRequest{AccessToken: token}))
}

func (s *Server) bearer(w http.ResponseWriter, r *http.Request) (string, error) {
	var found []string
	for _, h := range r.Header.Values("Authorization") {
		scheme, token, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", s.unbearable(http.StatusUnauthorized, "", "")
		}
		found = append(found, strings.TrimSpace(token))
	}
	if r.URL.Query().Has("access_token") {
		return "", s.unbearable(http.StatusBadRequest, "invalid_request", "a token does not belong into a query")
	}
	if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "" {
		values, err := form(w, r)
		if err != nil {
			return "", s.unbearable(http.StatusBadRequest, "invalid_request", "the body cannot be read")
		}
		if values.Has("access_token") {
			found = append(found, values.Get("access_token"))
		}
	}
	switch len(found) {
	case 0:
		return "", s.unbearable(http.StatusUnauthorized, "", "")
	case 1:
		return found[0], nil
	}
	return "", s.unbearable(http.StatusBadRequest, "invalid_request", "the token is given twice")
}

// unbearable is an error of RFC 6750 §3. Without a token there is no error code, only the challenge.
func (s *Server) unbearable(status int, code, description string) error {
	challenge := `Bearer realm="` + s.cfg.Issuer + `"`
	if code != "" {
		challenge += `, error="` + code + `", error_description="` + description + `"`
	}
	e := &oidc.Error{Description: description}
	switch code {
	case "invalid_request":
		e.ErrorType = oidc.InvalidRequest
	case "invalid_token":
		e.ErrorType = "invalid_token"
	case "insufficient_scope":
		e.ErrorType = "insufficient_scope"
	}
	return &refusal{is: e, status: status, challenge: challenge}
}

// userinfoClaims of a signed answer (OpenID Connect Core §5.3.2).
type userinfoClaims struct {
	Issuer   string `json:"iss,omitempty"`
	Audience string `json:"aud,omitempty"`
	Subject  string `json:"sub"`
	about
}

// UserInfo tells what the token's scopes allow, with one read.
func (s *Server) UserInfo(ctx context.Context, r *op.Request[oidc.UserInfoRequest]) (*op.Response, error) {
	l, _, err := s.living(ctx, r.Data.AccessToken, s.cfg.Grants.Living)
	if errors.Is(err, fault.ErrNotFound) {
		return nil, s.unbearable(http.StatusUnauthorized, "invalid_token", "the token is unknown, expired or revoked")
	}
	if err != nil {
		return nil, err
	}
	c, ok, err := s.client(ctx, l.Client)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, s.unbearable(http.StatusUnauthorized, "invalid_token", "the token is unknown, expired or revoked")
	case l.Grant.ID == "" || !contains(l.Scopes, scopeOpenID):
		return nil, s.unbearable(http.StatusForbidden, "insufficient_scope", "the token was not given for openid")
	}
	if least := c.Least(s.now()); l.Grant.ACR < least {
		return nil, s.tooLow(least)
	}
	if err := s.quota.within("client "+c.ID, s.now()); err != nil {
		return nil, err
	}
	claims := &userinfoClaims{Subject: l.Grant.Subject, about: tell(c, knownOf(l), l.Scopes, singleOf(l.Grant).Userinfo)}
	s.cfg.Meter("userinfo", c.ID, "ok")
	if c.UserinfoAlg == "" {
		return op.NewResponse(claims), nil
	}
	claims.Issuer, claims.Audience = s.cfg.Issuer, c.ID
	signed, err := s.cfg.Keys.Sign(ctx, c.UserinfoAlg, typUserinfo, claims)
	return op.NewResponse(jwt(signed)), err
}

// living returns what a token stands for, if it is good now: fault.ErrNotFound otherwise. One read, and none for what we
// did not make. A JWT of a client for itself has no row; only its revocation has.
func (s *Server) living(ctx context.Context, token string, read func(context.Context, []byte, time.Time) (grant.Living, error)) (grant.Living, *accessClaims, error) {
	now := s.now()
	if s.isAccess(token) {
		l, err := read(ctx, secret.Hash(token), now)
		return l, nil, err
	}
	claims, err := s.accessJWT(token)
	if err != nil || now.Unix() >= claims.Expires {
		return grant.Living{}, nil, fault.ErrNotFound
	}
	hash := secret.Hash(claims.ID)
	if claims.own() {
		revoked, err := s.cfg.Grants.AccessRevoked(ctx, hash)
		if revoked {
			err = fault.ErrNotFound
		}
		return grant.Living{Access: grant.Access{Hash: hash, Client: claims.Client, Scopes: spaced(claims.Scope)}}, claims, err
	}
	l, err := read(ctx, hash, now)
	return l, claims, err
}

// accessJWT verifies a JWT access token of ours; it may have expired.
func (s *Server) accessJWT(token string) (*accessClaims, error) {
	var claims accessClaims
	if err := s.verify(token, typAccess, &claims); err != nil {
		return nil, err
	}
	if claims.ID == "" || claims.Client == "" || claims.Issuer != s.cfg.Issuer {
		return nil, errToken
	}
	return &claims, nil
}

// own: a token of client_credentials, the only kind without an acr.
func (a *accessClaims) own() bool { return a.ACR == "" && a.Subject == a.Client }
