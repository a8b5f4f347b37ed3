package provider

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/kapi-id/kapi/provider/keys"
)

// Keys signs and tells what others need to verify.
type Keys interface {
	// Sign makes a compact JWS of the claims as JSON, with the header members alg, typ and kid.
	Sign(ctx context.Context, alg, typ string, claims any) (jws string, err error)
	// Public lists every published key, also retired ones that may still stand below a living token; each with its
	// KeyID and Algorithm.
	Public() []jose.JSONWebKey
	// JWKS is the document of /keys with its entity tag, the same bytes until a key changes.
	JWKS() (body []byte, etag string)
}

var _ Keys = (*keys.Ring)(nil)

// Types of our JWTs (the typ header). They keep one kind from passing for another (RFC 8725 §3.11).
const (
	typID       = "JWT"
	typAccess   = "at+jwt" // RFC 9068 §2.1
	typUserinfo = "JWT"
)

// signing lists what we sign with and, apart from it, what clients may sign assertions with. The same four: no none, no
// HS*, no RSA1_5, nothing below 128 bits of strength but RS256, which old clients still need.
var signing = []jose.SignatureAlgorithm{jose.ES256, jose.PS256, jose.EdDSA, jose.RS256}

var errToken = errors.New("not a token of ours")

// verify reads a JWT that we signed: compact, one of our algorithms, a published key, the right type, and an object as
// its payload (a payload of null would leave every claim empty).
func (s *Server) verify(token, typ string, claims any) error {
	if len(token) > mostToken {
		return errToken
	}
	sig, err := jose.ParseSignedCompact(token, signing)
	if err != nil {
		return errToken
	}
	h := sig.Signatures[0].Protected
	if t, _ := h.ExtraHeaders[jose.HeaderType].(string); t != typ || h.KeyID == "" {
		return errToken
	}
	public := s.cfg.Keys.Public()
	i := slices.IndexFunc(public, func(k jose.JSONWebKey) bool { return k.KeyID == h.KeyID && k.Algorithm == h.Algorithm })
	if i < 0 {
		return errToken
	}
	payload, err := sig.Verify(public[i].Key)
	if err != nil {
		return errToken
	}
	return object(payload, claims)
}

// object decodes a JSON object, and only an object.
func object(payload []byte, into any) error {
	if p := bytes.TrimLeft(payload, " \t\r\n"); len(p) == 0 || p[0] != '{' {
		return errToken
	}
	if json.Unmarshal(payload, into) != nil {
		return errToken
	}
	return nil
}

// suits says whether a public key may be used with alg: the type of key decides, never the header alone, or a public RSA
// key would pass for an HMAC secret.
func suits(key any, alg string) bool {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return alg == string(jose.ES256) && k.Curve == elliptic.P256()
	case *rsa.PublicKey:
		bits := k.N.BitLen()
		return (alg == string(jose.RS256) || alg == string(jose.PS256)) && bits >= 2048 && bits <= 4096
	case ed25519.PublicKey:
		return alg == string(jose.EdDSA)
	}
	return false
}

// atHash is the left half of the hash that belongs to the algorithm (OpenID Connect Core §3.1.3.6; Ed25519 hashes with
// SHA-512).
func atHash(alg, token string) string {
	if alg == string(jose.EdDSA) {
		sum := sha512.Sum512([]byte(token))
		return base64.RawURLEncoding.EncodeToString(sum[:32])
	}
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
