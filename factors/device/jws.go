package device

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"regexp"
	"strings"
)

// Types of what a device signs (RFC 8725 §3.11): one is never good for another.
const (
	typeRequest   = "kapi-device+jwt"
	typeStatement = "kapi-approval+jwt"
	typeRegister  = "kapi-register+jwt"
)

const maxJWS = 8 << 10 // characters

// jwk is a public P-256 key (RFC 7518 §6.2.1).
type jwk struct {
	Kty string `json:"kty"`
	Crv string `json:"crv"`
	X   string `json:"x"`
	Y   string `json:"y"`
}

var errKey = errors.New("device: no P-256 key")

// public refuses a point that is not on the curve.
func (k jwk) public() (*ecdsa.PublicKey, error) {
	x, err := b64.DecodeString(k.X)
	y, err2 := b64.DecodeString(k.Y)
	if err != nil || err2 != nil || k.Kty != "EC" || k.Crv != "P-256" || len(k.X) != 43 || len(k.Y) != 43 || len(x) != 32 || len(y) != 32 {
		return nil, errKey
	}
	p, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	if err != nil {
		return nil, errKey
	}
	return p, nil
}

// b64 takes one spelling of each value only.
var b64 = base64.RawURLEncoding.Strict()

// signed is a compact JWS (RFC 7515 §7.1) taken apart, its signature not looked at yet.
type signed struct {
	kid       string
	claims    []byte
	input     string
	signature []byte
}

var errJWS = errors.New("device: no such signed text")

// take takes a JWS apart. The header says alg, typ and kid and nothing else: no other algorithm, no key of the sender's choice, no
// extension (RFC 8725 §3.1). kid is absent where keyed is false.
func take(compact, typ string, keyed bool) (s signed, err error) {
	if len(compact) > maxJWS || strings.ContainsAny(compact, "\r\n") { // which encoding/base64 passes over
		return s, errJWS
	}
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return s, errJWS
	}
	var raw [3][]byte
	for i, p := range parts {
		if raw[i], err = b64.DecodeString(p); err != nil {
			return s, errJWS
		}
	}
	var h struct {
		Alg string  `json:"alg"`
		Typ string  `json:"typ"`
		Kid *string `json:"kid"`
	}
	if err := strict(raw[0], &h); err != nil || h.Alg != "ES256" || h.Typ != typ || (h.Kid != nil) != keyed || len(raw[2]) != 64 {
		return s, errJWS
	}
	if keyed {
		s.kid = *h.Kid
	}
	s.claims, s.signature, s.input = raw[1], raw[2], parts[0]+"."+parts[1]
	return s, nil
}

// by checks the signature and reads the claims, every one of them known.
func (s signed) by(key *ecdsa.PublicKey, claims any) error {
	sum := sha256.Sum256([]byte(s.input))
	r, t := new(big.Int).SetBytes(s.signature[:32]), new(big.Int).SetBytes(s.signature[32:])
	if !ecdsa.Verify(key, sum[:], r, t) {
		return errJWS
	}
	if strict(s.claims, claims) != nil {
		return errJWS
	}
	return nil
}

// strict reads one JSON object with known members and nothing behind it.
func strict(raw []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errJWS
	}
	return nil
}

// proof are the claims of Kapi-Device.
type proof struct {
	Iss string `json:"iss"`
	Aud string `json:"aud"`
	Htm string `json:"htm"`
	Htu string `json:"htu"`
	Iat int64  `json:"iat"`
	Jti string `json:"jti"`
	Bh  string `json:"bh"`
	Ctr int64  `json:"ctr"`
}

// statement is what a device says about a request.
type statement struct {
	Iss       string `json:"iss"`
	Aud       string `json:"aud"`
	Challenge string `json:"challenge"`
	Decision  string `json:"decision"`
	Number    string `json:"number"`
	Door      string `json:"door"`
	Ctr       int64  `json:"ctr"`
	Iat       int64  `json:"iat"`
}

// registration are the claims of the proof that a key is at hand.
type registration struct {
	Aud     string `json:"aud"`
	Pairing string `json:"pairing"`
	Iat     int64  `json:"iat"`
}

const maxCounter = 1<<53 - 1 // what JavaScript counts to

var (
	jtiForm = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)
	idForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)
)

// near says whether a moment the sender named is within the leeway of a clock.
func near(iat, now int64) bool { return iat >= now-leeway && iat <= now+leeway }

const leeway = 60 // seconds

func hashed(body []byte) string {
	sum := sha256.Sum256(body)
	return b64.EncodeToString(sum[:])
}
