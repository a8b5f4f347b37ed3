package provider

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kapi-id/kapi/internal/fault"
)

// introspect is RFC 7662.
func (s *Server) introspect(w http.ResponseWriter, r *http.Request) (*op.Response, error) {
	form, err := body(w, r)
	if err != nil {
		return nil, err
	}
	return s.Introspect(r.Context(), requestOf(r, form, &op.IntrospectionRequest{
		ClientCredentials: &op.ClientCredentials{}, IntrospectionRequest: &oidc.IntrospectionRequest{Token: form.Get("token")},
	}))
}

// introspection is the answer about an access token (RFC 7662 §2.2), with the facts of the sign-in beside.
type introspection struct {
	Active   bool     `json:"active"`
	Scope    string   `json:"scope,omitempty"`
	Client   string   `json:"client_id,omitempty"`
	Type     string   `json:"token_type,omitempty"`
	Expires  int64    `json:"exp,omitempty"`
	Issued   int64    `json:"iat,omitempty"`
	Subject  string   `json:"sub,omitempty"`
	Audience string   `json:"aud,omitempty"`
	Issuer   string   `json:"iss,omitempty"`
	ID       string   `json:"jti,omitempty"`
	AuthTime int64    `json:"auth_time,omitempty"`
	ACR      string   `json:"acr,omitempty"`
	AMR      []string `json:"amr,omitempty"`
}

// Introspect answers about access tokens to the client they were given to. Everything else is not active: unknown, over,
// another client's (who must not learn that it exists, §4), and refresh tokens, which no resource server ever sees.
func (s *Server) Introspect(ctx context.Context, r *op.Request[op.IntrospectionRequest]) (*op.Response, error) {
	client, err := s.VerifyClient(ctx, &op.Request[op.ClientCredentials]{Header: r.Header, Form: r.Form})
	if err != nil {
		return nil, err
	}
	c := registration(client)
	if c.AuthMethod == methodNone {
		return nil, &refusal{is: oidc.ErrInvalidClient(), status: http.StatusUnauthorized}
	}
	if r.Data.Token == "" {
		return nil, oidc.ErrInvalidRequest().WithDescription("token is missing")
	}
	l, signed, err := s.living(ctx, r.Data.Token, s.cfg.Grants.Standing)
	s.cfg.Meter("introspect", c.ID, "ok")
	switch {
	case errors.Is(err, fault.ErrNotFound) || (err == nil && l.Client != c.ID):
		return op.NewResponse(&introspection{}), nil
	case err != nil:
		return nil, err
	}
	out := &introspection{
		Active: true, Scope: strings.Join(l.Scopes, " "), Client: c.ID, Type: oidc.BearerToken, Subject: c.ID, Audience: s.cfg.Issuer, Issuer: s.cfg.Issuer,
	}
	if l.Grant.ID != "" {
		out.Subject, out.AuthTime, out.ACR, out.AMR = l.Grant.Subject, l.Grant.AuthTime, l.Grant.ACR.String(), l.Grant.AMR
	}
	if signed != nil {
		out.ID, out.Expires, out.Issued = signed.ID, signed.Expires, signed.Issued
	} else {
		out.Expires, out.Issued = l.ExpiresAt.Unix(), l.IssuedAt.Unix()
	}
	return op.NewResponse(out), nil
}
