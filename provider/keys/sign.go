package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/go-jose/go-jose/v4"

	"github.com/kapi-id/kapi/internal/keyring"
)

// signer is one private key, ready to sign.
type signer struct {
	jwk     jose.JSONWebKey
	headers map[string]string // by typ: the protected header, encoded
	sign    func(input []byte) ([]byte, error)
	// settled is set when this replica waited long enough to use a first key whose time has not come by its clock.
	settled atomic.Bool
}

// types are the typ headers that are encoded in advance.
var types = []string{"JWT", "at+jwt", "logout+jwt", "token-introspection+jwt"}

var b64 = base64.RawURLEncoding

// Sign returns the claims as a compact JWS (RFC 7515 §7.1) with the algorithm's current key. typ is the header of that
// name, e.g. "JWT" or "at+jwt". It makes the first key of an algorithm nobody asked for before.
func (r *Ring) Sign(ctx context.Context, alg, typ string, claims any) (string, error) {
	k := r.current().signing(alg, r.Now())
	if k == nil {
		if err := r.Ensure(ctx, alg); err != nil {
			return "", err
		}
		if k = r.current().signing(alg, r.Now()); k == nil {
			return "", fmt.Errorf("keys: no %s key is ready to sign", alg)
		}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("keys: claims: %w", err)
	}
	header, ok := k.headers[typ]
	if !ok {
		if header, err = encodeHeader(alg, k.KID, typ); err != nil {
			return "", err
		}
	}
	const signature = 512 // room for RSA 3072 in base64; more only grows the slice
	out := make([]byte, 0, len(header)+1+b64.EncodedLen(len(payload))+1+signature)
	out = append(out, header...)
	out = append(out, '.')
	out = b64.AppendEncode(out, payload)
	sig, err := k.sign(out)
	if err != nil {
		return "", fmt.Errorf("keys: sign with %s: %w", k.KID, err)
	}
	out = append(out, '.')
	return string(b64.AppendEncode(out, sig)), nil
}

func encodeHeader(alg, kid, typ string) (string, error) {
	h, err := json.Marshal(struct {
		Alg string `json:"alg"`
		KID string `json:"kid"`
		Typ string `json:"typ,omitempty"`
	}{alg, kid, typ})
	if err != nil {
		return "", fmt.Errorf("keys: header: %w", err)
	}
	return b64.EncodeToString(h), nil
}

// generate makes a private key for the algorithm: P-256, RSA 3072 or Ed25519.
func generate(alg string) (crypto.Signer, error) {
	switch alg {
	case "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256", "PS256":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "EdDSA":
		_, k, err := ed25519.GenerateKey(rand.Reader)
		return k, err
	}
	return nil, fmt.Errorf("keys: algorithm %q is none of %v", alg, Algorithms())
}

func place(kid string) string { return "signing_keys.key:" + kid }

// seal is the private key as stored: PKCS #8, sealed for its own row.
func (r *Ring) seal(kid string, k crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, fmt.Errorf("keys: encode private key: %w", err)
	}
	return r.Secret.Seal(place(kid), der), nil
}

// open undoes seal.
func (r *Ring) open(row keyring.Stored) (*signer, error) {
	der, err := r.Secret.Unseal(place(row.KID), row.Sealed)
	if err != nil {
		return nil, fmt.Errorf("keys: signing key %s: %w", row.KID, err)
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("keys: signing key %s does not parse", row.KID) // never the parser's words on a private key
	}
	s, err := newSigner(row.Alg, row.KID, private)
	if err != nil {
		return nil, fmt.Errorf("keys: signing key %s: %w", row.KID, err)
	}
	return s, nil
}

func newSigner(alg, kid string, private any) (*signer, error) {
	s := &signer{headers: map[string]string{}}
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		if alg != "ES256" || k.Curve != elliptic.P256() {
			return nil, errMismatch
		}
		s.sign = func(input []byte) ([]byte, error) {
			sum := sha256.Sum256(input)
			x, y, err := ecdsa.Sign(rand.Reader, k, sum[:])
			if err != nil {
				return nil, err
			}
			sig := make([]byte, 64) // r ‖ s, 32 bytes each (RFC 7518 §3.4)
			x.FillBytes(sig[:32])
			y.FillBytes(sig[32:])
			return sig, nil
		}
	case *rsa.PrivateKey:
		switch alg {
		case "RS256":
			s.sign = func(input []byte) ([]byte, error) {
				sum := sha256.Sum256(input)
				return rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
			}
		case "PS256": // salt as long as the hash (RFC 7518 §3.5)
			opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
			s.sign = func(input []byte) ([]byte, error) {
				sum := sha256.Sum256(input)
				return rsa.SignPSS(rand.Reader, k, crypto.SHA256, sum[:], opts)
			}
		default:
			return nil, errMismatch
		}
	case ed25519.PrivateKey:
		if alg != "EdDSA" {
			return nil, errMismatch
		}
		s.sign = func(input []byte) ([]byte, error) { return ed25519.Sign(k, input), nil }
	default:
		return nil, errMismatch
	}
	s.jwk = jose.JSONWebKey{Key: private.(crypto.Signer).Public(), KeyID: kid, Algorithm: alg, Use: "sig"}
	for _, typ := range types {
		h, err := encodeHeader(alg, kid, typ)
		if err != nil {
			return nil, err
		}
		s.headers[typ] = h
	}
	return s, nil
}

var errMismatch = errors.New("the key is not of its algorithm")

func supported(alg string) bool { return slices.Contains(Algorithms(), alg) }
