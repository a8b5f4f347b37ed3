package provider

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"golang.org/x/text/language"

	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/provider/keys"
)

const discoveryMaxAge = time.Hour

// metadata is the library's document with the members that it lacks or would leave out for being false.
type metadata struct {
	oidc.DiscoveryConfiguration
	RequestParameter bool     `json:"request_parameter_supported"`
	IssParameter     bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3
	Prompts          []string `json:"prompt_values_supported"`                        // Initiating User Registration 1.0 §4.1
	MTLS             *aliases `json:"mtls_endpoint_aliases,omitempty"`                // RFC 8705 §5
}

// aliases are the endpoints where a client can show a certificate.
type aliases struct {
	Token      string `json:"token_endpoint"`
	Introspect string `json:"introspection_endpoint"`
	Revoke     string `json:"revocation_endpoint"`
}

// describe says what is true of this provider, member by member (OpenID Connect Discovery §3, RFC 8414 §2). mtls and highest are
// those of Config.
func describe(issuer, mtls string, highest acr.Level) metadata {
	algs := make([]string, len(signing))
	for i, a := range signing {
		algs[i] = string(a)
	}
	confidential := []oidc.AuthMethod{oidc.AuthMethodBasic, oidc.AuthMethodPost, oidc.AuthMethodPrivateKeyJWT}
	var showing *aliases
	if mtls != "" {
		confidential = append(confidential, methodTLS)
		showing = &aliases{Token: mtls + pathToken, Introspect: mtls + pathIntrospect, Revoke: mtls + pathRevoke}
	}
	all := append(slices.Clip(confidential), oidc.AuthMethodNone)
	locales := oidc.Locales{language.Turkish, language.English}
	return metadata{
		DiscoveryConfiguration: oidc.DiscoveryConfiguration{
			Issuer:                issuer,
			AuthorizationEndpoint: issuer + pathAuthorize,
			TokenEndpoint:         issuer + pathToken,
			IntrospectionEndpoint: issuer + pathIntrospect,
			UserinfoEndpoint:      issuer + pathUserinfo,
			RevocationEndpoint:    issuer + pathRevoke,
			EndSessionEndpoint:    issuer + pathEndSession,
			JwksURI:               issuer + pathKeys,

			ScopesSupported:                   scopesSupported,
			ResponseTypesSupported:            []string{"code"},
			ResponseModesSupported:            []string{modeQuery, modeFormPost},
			GrantTypesSupported:               grantsSupported,
			ACRValuesSupported:                acr.Upto(highest),
			SubjectTypesSupported:             []string{"pairwise", "public"},
			IDTokenSigningAlgValuesSupported:  algs,
			UserinfoSigningAlgValuesSupported: algs,

			TokenEndpointAuthMethodsSupported:                  all,
			TokenEndpointAuthSigningAlgValuesSupported:         algs,
			RevocationEndpointAuthMethodsSupported:             all,
			RevocationEndpointAuthSigningAlgValuesSupported:    algs,
			IntrospectionEndpointAuthMethodsSupported:          confidential,
			IntrospectionEndpointAuthSigningAlgValuesSupported: algs,

			DisplayValuesSupported:        []oidc.Display{oidc.DisplayPage},
			ClaimTypesSupported:           []string{"normal"},
			ClaimsSupported:               claimsSupported(),
			ClaimsParameterSupported:      true,
			CodeChallengeMethodsSupported: []oidc.CodeChallengeMethod{oidc.CodeChallengeMethodS256},
			UILocalesSupported:            locales,
		},
		IssParameter: true,
		MTLS:         showing,
		Prompts:      []string{oidc.PromptNone, oidc.PromptLogin, oidc.PromptConsent, oidc.PromptSelectAccount},
	}
}

// document is a JSON text with its tag, ready to be sent.
type document struct {
	body []byte
	tag  string
}

func newDocument(v any) (document, error) {
	b, err := json.Marshal(v)
	return document{b, etag(b)}, err
}

func (d document) serve(w http.ResponseWriter, r *http.Request, life time.Duration) {
	h := w.Header()
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(life/time.Second)))
	h.Set("ETag", d.tag)
	if r.Header.Get("If-None-Match") == d.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(d.body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(d.body)
	}
}

func (s *Server) serveDiscovery(w http.ResponseWriter, r *http.Request) {
	if !publicDocument(w, r) {
		s.discovery.serve(w, r, discoveryMaxAge)
	}
}

func (s *Server) serveKeys(w http.ResponseWriter, r *http.Request) {
	if !publicDocument(w, r) {
		body, tag := s.cfg.Keys.JWKS()
		document{body, tag}.serve(w, r, keys.MaxAge)
	}
}

// Discovery is the document as op.Server has it.
func (s *Server) Discovery(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	return op.NewResponse(json.RawMessage(s.discovery.body)), nil
}

// Keys is the key set as op.Server has it.
func (s *Server) Keys(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	body, _ := s.cfg.Keys.JWKS()
	return op.NewResponse(json.RawMessage(body)), nil
}
