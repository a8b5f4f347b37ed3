package clients

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

const (
	mostKeys = 20
	leastRSA = 2048 // bits; go-jose refuses more than 4096, whose signatures would be dear to check
	usable   = "EC (P-256, P-384, P-521), RSA (2048 to 4096 bits) and Ed25519 are"
)

// Members of a JWK (RFC 7517 §4, RFC 7518 §6). Every other is refused, the private ones with words of their own.
var (
	publicMembers  = []string{"kty", "kid", "use", "alg", "crv", "x", "y", "n", "e", "key_ops", "ext"}
	privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
)

// keySet reads jwks into c.keys and writes it back in one form.
func (c *checker) keySet() {
	var set struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	if len(c.doc.JWKS) == 0 {
		c.doc.JWKS = json.RawMessage(`{"keys":[]}`)
		return
	}
	var outer map[string]json.RawMessage
	if json.Unmarshal(c.doc.JWKS, &outer) != nil || outer == nil {
		c.bad("jwks", "must be {\"keys\":[{…}]}")
		return
	}
	for name := range outer {
		if name != "keys" {
			c.bad("jwks", "%+.60q is unknown; only keys may stand here", name)
			return
		}
	}
	if err := json.Unmarshal(c.doc.JWKS, &set); err != nil {
		c.bad("jwks.keys", "must be a list of keys: [{…}]")
		return
	}
	if len(set.Keys) > mostKeys {
		c.bad("jwks.keys", "%d keys, and no more than %d are allowed", len(set.Keys), mostKeys)
		return
	}
	keys := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for i, members := range set.Keys {
		k, err := publicKey(members, c.doc.AuthMethod == MethodTLS)
		if err == nil {
			switch same := func(o jose.JSONWebKey) bool { return o.KeyID == k.KeyID }; {
			case len(set.Keys) > 1 && k.KeyID == "":
				err = fmt.Errorf("needs a kid, since there are several keys")
			case slices.ContainsFunc(keys.Keys, same):
				err = fmt.Errorf("its kid stands twice")
			}
		}
		if err != nil {
			c.bad(fmt.Sprintf("jwks.keys[%d]", i), "%v", err)
			continue
		}
		keys.Keys = append(keys.Keys, k)
	}
	raw, err := json.Marshal(keys)
	if err != nil {
		c.bad("jwks", "cannot be written: %v", err)
		return
	}
	c.keys, c.doc.JWKS = keys, raw
	if len(keys.Keys) == 0 {
		c.keys = jose.JSONWebKeySet{}
	}
}

// publicKey judges one key, which must come with its certificate or without. Errors never hold a value of it.
func publicKey(members map[string]json.RawMessage, certified bool) (k jose.JSONWebKey, err error) {
	for name := range members {
		if slices.Contains(privateMembers, name) {
			return k, fmt.Errorf("holds private or symmetric key material (%s). This key is no secret any more: make a new pair and register only its public half", name)
		}
	}
	for name := range members {
		if !slices.Contains(publicMembers, name) && !(certified && name == "x5c") {
			return k, fmt.Errorf("%+.40q is unknown or not read; remove it", name)
		}
	}
	raw, err := json.Marshal(members)
	if err != nil || k.UnmarshalJSON(raw) != nil { // which also holds the key against the certificate's
		return k, fmt.Errorf("is no usable public key%s; %s", map[bool]string{true: ", or no fit for its x5c"}[certified], usable)
	}
	if certified && len(k.Certificates) != 1 { // what stands behind it in a chain would never be looked at
		return k, fmt.Errorf("needs x5c with one certificate, the client's own; kapi client jwk FILE writes it")
	}
	if len(k.KeyID) > 200 {
		return k, fmt.Errorf("its kid is longer than 200 bytes")
	}
	if k.Use != "" && k.Use != "sig" {
		return k, fmt.Errorf("its use is %+.20q; only keys that sign (\"sig\") are of use here", k.Use)
	}
	var algs []string
	switch key := k.Key.(type) {
	case *ecdsa.PublicKey:
		algs = []string{map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[key.Curve.Params().BitSize]}
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < leastRSA {
			return k, fmt.Errorf("an RSA key of %d bits; use %d or more", n, leastRSA)
		}
		if key.N.Bit(0) == 0 {
			return k, fmt.Errorf("its RSA modulus is even")
		}
		if key.E < 3 || key.E%2 == 0 {
			return k, fmt.Errorf("its RSA exponent is no odd number from 3 on")
		}
		algs = []string{"RS256", "PS256"}
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return k, fmt.Errorf("an Ed25519 key has 32 bytes")
		}
		algs = []string{"EdDSA"}
	default:
		return k, fmt.Errorf("is no public key that signs; %s", usable)
	}
	if k.Algorithm != "" && !slices.Contains(algs, k.Algorithm) {
		return k, fmt.Errorf("its alg is %+.20q, but such a key signs with %s", k.Algorithm, list(algs))
	}
	return k, nil
}
