package provider

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// signer is an in-memory Keys with one key for each algorithm.
type signer struct {
	keys   map[string]crypto.Signer
	public []jose.JSONWebKey
	jwks   []byte
}

var madeSigner = sync.OnceValue(func() *signer {
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	ps, _ := rsa.GenerateKey(rand.Reader, 2048)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	s := &signer{keys: map[string]crypto.Signer{"ES256": ec, "RS256": rs, "PS256": ps, "EdDSA": ed}}
	for alg, k := range s.keys {
		s.public = append(s.public, jose.JSONWebKey{Key: k.Public(), KeyID: "key-" + alg, Algorithm: alg, Use: "sig"})
	}
	s.jwks, _ = json.Marshal(jose.JSONWebKeySet{Keys: s.public})
	return s
})

func (s *signer) Public() []jose.JSONWebKey { return s.public }
func (s *signer) JWKS() ([]byte, string)    { return s.jwks, etag(s.jwks) }

func (s *signer) Sign(_ context.Context, alg, typ string, claims any) (string, error) {
	if ec, ok := s.keys[alg].(*ecdsa.PrivateKey); ok {
		return signES256(ec, `{"alg":"ES256","kid":"key-ES256","typ":"`+typ+`"}`, claims)
	}
	return signWith(s.keys[alg], alg, claims, map[string]any{"typ": typ, "kid": "key-" + alg})
}

// signES256 is quick enough to measure what surrounds it.
func signES256(k *ecdsa.PrivateKey, header string, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64url.EncodeToString([]byte(header)) + "." + base64url.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
	if err != nil {
		return "", err
	}
	var raw [64]byte
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return text + "." + base64url.EncodeToString(raw[:]), nil
}

func signWith(key any, alg string, claims any, headers map[string]any) (string, error) {
	o := &jose.SignerOptions{}
	for name, v := range headers {
		o.WithHeader(jose.HeaderKey(name), v)
	}
	js, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, o)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	sig, err := js.Sign(payload)
	if err != nil {
		return "", err
	}
	return sig.CompactSerialize()
}
