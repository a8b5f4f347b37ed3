package provider

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/fault"
)

// Refused says why a machine may not: the status, and the WWW-Authenticate header (RFC 6750 §3).
type Refused struct {
	Status    int
	Challenge string
	Code      string
}

func (e *Refused) Error() string { return e.Code }

// Machine returns the client whose access token, given to itself by client_credentials with the scope, the request carries. A token
// that a person stands behind is none, nor is one of a client that proves itself with less than its own key. The token of a client with a certificate is good only where the
// certificate is shown again, so that a stolen one is worth nothing (RFC 8705 §3). Otherwise *Refused.
func (s *Server) Machine(r *http.Request, scope string) (clients.Client, error) {
	refused := func(status int, code string) error {
		challenge := `Bearer realm="` + s.cfg.Issuer + `"`
		if code != "" {
			challenge += `, error="` + code + `"`
		}
		return &Refused{Status: status, Challenge: challenge, Code: code}
	}
	kind, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(kind, "Bearer") || token == "" || len(token) > mostToken || len(r.Header.Values("Authorization")) != 1 {
		return clients.Client{}, refused(http.StatusUnauthorized, "")
	}
	c, scopes, err := s.machineToken(r.Context(), token)
	switch {
	case errors.Is(err, fault.ErrNotFound):
		return c, refused(http.StatusUnauthorized, "invalid_token")
	case err != nil:
		return c, err
	case c.AuthMethod == methodTLS && !certificateRight(r.Context(), c, s.now()):
		return c, refused(http.StatusUnauthorized, "invalid_token")
	case !contains(scopes, scope) || !contains(c.Scopes, scope) || !clients.ByKey(c.AuthMethod):
		return c, refused(http.StatusForbidden, "insufficient_scope")
	}
	if err := s.quota.within("client "+c.ID, s.now()); err != nil {
		return c, refused(http.StatusTooManyRequests, "temporarily_unavailable")
	}
	return c, nil
}

func (s *Server) machineToken(ctx context.Context, token string) (clients.Client, []string, error) {
	l, _, err := s.living(ctx, token, s.cfg.Grants.Standing)
	if err != nil {
		return clients.Client{}, nil, err
	}
	if l.Grant.ID != "" { // a person's
		return clients.Client{}, nil, fault.ErrNotFound
	}
	c, ok, err := s.client(ctx, l.Client)
	if err == nil && !ok {
		err = fault.ErrNotFound
	}
	return c, l.Scopes, err
}
