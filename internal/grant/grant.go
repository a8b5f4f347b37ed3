// Package grant owns what a client was given: one grant for each authorization, which is first a code, then a family of
// refresh tokens, and all along the parent of its access tokens. Enter with Store. It refuses to be raised: the facts
// of the sign-in are written once, and no refresh changes acr, amr or auth_time.
package grant

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/contact"
)

const (
	CodeLife    = 60 * time.Second // RFC 9700 §4.5, FAPI 2.0
	RefreshIdle = time.Hour        // unused for so long, the family is over
	Grace       = 5 * time.Second  // a lost answer: the same client gets the same successor again
)

// Step is one entry of the auth_steps claim.
type Step struct {
	Method string `json:"m"`
	Time   int64  `json:"t"` // seconds since 1970
}

// Grant is the fact each token is minted from.
type Grant struct {
	ID          string // a random UUID; leaves only inside refresh tokens, under a MAC
	Client      string
	Account     account.ID
	Session     string // session.Session.ID
	SessionEnds time.Time
	Facts
	Code        Code
	Generation  int64 // of the refresh family; 0 = no refresh token was given yet
	RotatedAt   time.Time
	RefreshedBy time.Time // idle limit of the family
	RevokedAt   time.Time
	CreatedAt   time.Time
}

// Facts are sealed at rest.
type Facts struct {
	Subject  string          `json:"sub"`
	Scopes   []string        `json:"scope"`
	Claims   json.RawMessage `json:"claims,omitempty"` // the claims request parameter as asked
	ACR      acr.Level       `json:"acr"`
	AMR      []string        `json:"amr"`
	Steps    []Step          `json:"steps"`
	AuthTime int64           `json:"auth_time"` // seconds since 1970
	Nonce    string          `json:"nonce,omitempty"`
}

// Code is the authorization code of a grant.
type Code struct {
	Hash        []byte // SHA-256 of the code
	RedirectURI string
	Challenge   string // S256; "" where the client need not and did not send one
	ExpiresAt   time.Time
}

// Access is one access token that was given out. Tokens of client_credentials have no grant.
type Access struct {
	Hash      []byte // SHA-256 of the opaque token, or of the jti of a JWT
	Grant     string
	Client    string
	Scopes    []string
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// Living is what one read tells of an access token that is good now.
type Living struct {
	Access
	Grant Grant // zero for client_credentials; of its times only SessionEnds is told
	// What follows is of the person; Standing leaves it out.
	Person   account.Person
	Contacts contact.Contacts
	Locale   string
}

// Consent is that a person agreed to share something with a client.
type Consent struct {
	Client string
	Scopes []string
	At     time.Time // when they last did
}

// Store keeps grants. Each method is one statement unless it says otherwise.
type Store interface {
	// CreateGrant stores a grant with its code. fault.ErrConflict if its session has ended; whoever ends it at the same time revokes the
	// grant too.
	CreateGrant(ctx context.Context, g Grant) error
	// RedeemCode consumes the code once, for exactly this client, redirect URI and challenge (RFC 6749 §4.1.3, RFC 7636
	// §4.6), and returns its grant. fault.ErrNotFound if nothing matches; fault.ErrConflict (with the grant) if it was
	// redeemed before by the same client, so that the caller revokes what it gave. Only the failing path reads.
	RedeemCode(ctx context.Context, client string, hash []byte, redirectURI, challenge string, refresh bool, now time.Time) (Grant, error)
	// Rotate moves the family from generation to generation+1 and returns the grant after it. fault.ErrConflict with
	// the stored grant if it stands elsewhere; fault.ErrNotFound if it is revoked, over, idle, its account is not active or its
	// session was ended. Only the failing path reads.
	Rotate(ctx context.Context, client, id string, generation int64, now time.Time) (Grant, error)
	// RevokeGrant ends a grant of this client and all its tokens; a foreign or unknown one is left alone without error.
	RevokeGrant(ctx context.Context, client, id string, now time.Time) error
	CreateAccess(ctx context.Context, a Access) error
	// Living returns the access token with this hash if it, its grant, session and account are good at now;
	// fault.ErrNotFound. One read.
	Living(ctx context.Context, hash []byte, now time.Time) (Living, error)
	// Standing is Living for whoever asks nothing about the person. One read.
	Standing(ctx context.Context, hash []byte, now time.Time) (Living, error)
	// RevokeAccess ends one token of this client; idempotent. For a JWT without a row it remembers the hash until expires.
	RevokeAccess(ctx context.Context, client string, hash []byte, expires, now time.Time) error
	// AccessRevoked says whether a JWT without a row was revoked. One read.
	AccessRevoked(ctx context.Context, hash []byte) (bool, error)
	// UseOnce remembers a one-time value (the jti of a client assertion) until expires; fault.ErrConflict the second time.
	UseOnce(ctx context.Context, kind string, hash []byte, expires time.Time) error
	// Consent returns the scopes the person agreed to for the client, nil if none. SaveConsent adds to them.
	Consent(ctx context.Context, id account.ID, client string) ([]string, error)
	SaveConsent(ctx context.Context, id account.ID, client string, scopes []string, now time.Time) error
	// HoldConsent is Consent inside a transaction that makes a grant: until it commits the consent cannot be withdrawn.
	HoldConsent(ctx context.Context, id account.ID, client string) ([]string, error)
}
