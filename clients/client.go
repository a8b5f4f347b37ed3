// Package clients owns the applications that may ask: their registration, their policy and their secrets. Enter with
// Client, ParseFile and Store. It refuses what it does not know: an unknown member of a file is an error, and so is a
// registration that could not work or would be unsafe.
package clients

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
)

// Client is one registered application (names of RFC 7591 §2 where it has them).
type Client struct {
	ID              string
	Name            map[string]string // by language, "" is the default
	Institution     string
	Native          bool   // application_type native: loopback redirect ports may differ (RFC 8252 §7.3)
	AuthMethod      string // client_secret_basic, client_secret_post, private_key_jwt, self_signed_tls_client_auth, none
	Secrets         []Secret
	RedirectURIs    []string
	PostLogoutURIs  []string
	GrantTypes      []string
	Scopes          []string
	IDTokenAlg      string // ES256, RS256, PS256, EdDSA
	UserinfoAlg     string // "" = JSON
	Pairwise        bool
	Sector          string // host of the redirect URIs (OpenID Connect Core §8.1)
	JWKS            jose.JSONWebKeySet
	RequirePKCE     bool
	Consent         string // none, once, always
	MinACR          acr.Level
	JWTAccessToken  bool
	AccessTokenTTL  time.Duration
	FormActions     []string // further origins a form may lead to
	AllowedFirst    []string // nil = all
	RefusedSecond   []string
	MFARequiredFrom time.Time // zero = never
	SSOIsolated     bool
	BrowserOrigins  []string        // for CORS at token and userinfo: the origins of the redirect URIs of clients with method none
	Logo            Logo            `json:",omitzero"`
	Raw             json.RawMessage // the file's object, secret removed, for show and for "what changed"
	Version         int64
}

// Secret is a client secret as stored: secrets are long and random, so a keyed hash is enough and costs nothing.
type Secret struct {
	MAC       []byte    `json:"mac"`
	ExpiresAt time.Time `json:"exp,omitzero"` // zero = no end; set on the old one by a rotation
	// Withdrawn: it was ended at once, for others may know it. It is kept to know it again, so that no file brings it back.
	Withdrawn bool `json:"withdrawn,omitempty"`
}

// MethodTLS is mutual TLS with a certificate that is registered itself, as x5c in jwks (RFC 8705 §2.2). Who issued it is of no
// matter; it is revoked by removing it from the registration.
const MethodTLS = "self_signed_tls_client_auth"

// ByKey says whether a client of the method proves itself by a private key that never leaves it.
func ByKey(method string) bool { return method == "private_key_jwt" || method == MethodTLS }

// Allows says whether the client is registered for the grant type.
func (c Client) Allows(grantType string) bool { return slices.Contains(c.GrantTypes, grantType) }

// DisplayName returns the name in lang, else the default one.
func (c Client) DisplayName(lang string) string {
	if n := c.Name[lang]; n != "" {
		return n
	}
	return c.Name[""]
}

// Address is what the pages show below the name: the host of the first redirect URI.
func (c Client) Address() string {
	if len(c.RedirectURIs) == 0 {
		return ""
	}
	u, err := url.Parse(c.RedirectURIs[0])
	if err != nil {
		return ""
	}
	return u.Host
}

// Least is the level the client insists on at now: its minimum, and substantial from its cut-over date on.
func (c Client) Least(now time.Time) acr.Level {
	if !c.MFARequiredFrom.IsZero() && !now.Before(c.MFARequiredFrom) {
		return max(c.MinACR, acr.Substantial)
	}
	return c.MinACR
}

// TakesFirst and TakesSecond say whether the client accepts a factor of that name.
func (c Client) TakesFirst(factor string) bool {
	return c.AllowedFirst == nil || slices.Contains(c.AllowedFirst, factor)
}
func (c Client) TakesSecond(factor string) bool { return !slices.Contains(c.RefusedSecond, factor) }

// Subject is the sub claim of a person at this client: public subjects are MAC("public", account), pairwise ones
// MAC(sector, account) under the subject key, which never rotates (OpenID Connect Core §8.1).
func (c Client) Subject(mac func(parts ...string) string, id account.ID) string {
	if c.Pairwise {
		return "pw_" + mac("pairwise", c.Sector, string(id))
	}
	return "pb_" + mac("public", string(id))
}

// Store keeps the registrations; the one given to the provider is a cache that follows changes within seconds.
type Store interface {
	Client(ctx context.Context, id string) (Client, error) // fault.ErrNotFound
	Clients(ctx context.Context) ([]Client, error)         // by id
	SaveClient(ctx context.Context, c Client) error
}
