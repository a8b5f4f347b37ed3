package provider

import (
	"net/http"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/kapi-id/kapi/internal/acr"
)

// tooLow is the challenge of RFC 9470 §3: the sign-in behind a token is weaker than what the client insists on by now, as
// after its cut-over date. The client sends the person to /authorize with these acr_values, and Kapi asks for what is missing.
func (s *Server) tooLow(least acr.Level) error {
	const code, description = "insufficient_user_authentication", "a stronger sign-in is required"
	return &refusal{
		is: &oidc.Error{ErrorType: code, Description: description}, status: http.StatusUnauthorized,
		challenge: `Bearer realm="` + s.cfg.Issuer + `", error="` + code + `", error_description="` + description + `", acr_values="` + least.String() + `"`,
	}
}
