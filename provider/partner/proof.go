package partner

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Prover says whether a request comes from who it should.
type Prover interface {
	Proves(r *http.Request, now time.Time) bool
}

const leastToken = 32 // characters of a token that nobody guesses

// ParseProof reads the setting: bearer:TOKEN, which the operator sends with each event as it was given to it (the sinkCredential of
// a subscription), or jwks:FILE#iss=ISSUER, the keys by which the operator signs a JWT for each. No error repeats a token.
func ParseProof(setting, audience string) (Prover, error) {
	if token, ok := strings.CutPrefix(setting, "bearer:"); ok {
		if len(token) < leastToken || strings.ContainsAny(token, " \t\r\n") {
			return nil, errors.New("bearer: wants a random token of at least 32 characters")
		}
		return bearer(sha256.Sum256([]byte(token))), nil
	}
	rest, ok := strings.CutPrefix(setting, "jwks:")
	if !ok {
		return nil, errors.New("want bearer:TOKEN or jwks:FILE#iss=ISSUER")
	}
	file, fragment, _ := strings.Cut(rest, "#")
	o, err := url.ParseQuery(fragment)
	if err != nil || len(o) != 1 || o.Get("iss") == "" {
		return nil, errors.New("jwks: wants #iss=ISSUER behind the file")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := signed{issuer: o.Get("iss"), audience: audience}
	if err := json.Unmarshal(b, &s.keys); err != nil || len(s.keys.Keys) == 0 {
		return nil, errors.New("jwks: the file holds no key set")
	}
	for _, k := range s.keys.Keys {
		if !k.Valid() || !k.IsPublic() {
			return nil, errors.New("jwks: the file must hold public keys only")
		}
	}
	return s, nil
}

func token(r *http.Request) string {
	if len(r.Header.Values("Authorization")) != 1 {
		return ""
	}
	kind, t, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") || len(t) > 8<<10 {
		return ""
	}
	return t
}

// bearer is the hash of a shared token.
type bearer [sha256.Size]byte

func (b bearer) Proves(r *http.Request, _ time.Time) bool {
	t := sha256.Sum256([]byte(token(r)))
	return subtle.ConstantTimeCompare(t[:], b[:]) == 1
}

// signed are keys of the operator.
type signed struct {
	keys             jose.JSONWebKeySet
	issuer, audience string
}

var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.PS256, jose.RS256, jose.EdDSA}

// mostLife of a JWT that proves the origin of one event.
const mostLife = 5 * time.Minute

func (s signed) Proves(r *http.Request, now time.Time) bool {
	t := token(r)
	sig, err := jose.ParseSignedCompact(t, algorithms)
	if t == "" || err != nil {
		return false
	}
	h := sig.Signatures[0].Protected
	for _, k := range s.keys.Keys {
		if h.KeyID != "" && k.KeyID != h.KeyID || k.Algorithm != "" && k.Algorithm != h.Algorithm {
			continue
		}
		payload, err := sig.Verify(k.Key) // keys in the header are never read
		if err == nil {
			return s.holds(payload, now)
		}
	}
	return false
}

func (s signed) holds(payload []byte, now time.Time) bool {
	var c struct {
		Issuer   string          `json:"iss"`
		Audience json.RawMessage `json:"aud"`
		Expires  float64         `json:"exp"`
		Issued   *float64        `json:"iat"`
	}
	if json.Unmarshal(payload, &c) != nil {
		return false
	}
	var one string
	many := []string{}
	if json.Unmarshal(c.Audience, &one) == nil {
		many = []string{one}
	} else if json.Unmarshal(c.Audience, &many) != nil {
		return false
	}
	at, leeway := float64(now.Unix()), skew.Seconds()
	return c.Issuer == s.issuer && slices.Contains(many, s.audience) && c.Expires > at-leeway && c.Expires <= at+mostLife.Seconds()+leeway &&
		(c.Issued == nil || *c.Issued <= at+leeway)
}
