package push

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
)

// Pass is a token that opens a service for a while. Many calls share one; one of them makes it.
type Pass struct {
	// Make gets a new token and says how long it is good.
	Make func(ctx context.Context) (token string, life time.Duration, f *notify.Failure)
	// Least age at which Drop throws a token away; Apple counts changes.
	Least time.Duration
	Now   func() time.Time

	once        sync.Once
	turn        chan struct{}
	token       string
	made, until time.Time
}

func (p *Pass) lock(ctx context.Context) bool {
	p.once.Do(func() { p.turn = make(chan struct{}, 1) })
	select {
	case p.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// Get returns the token, a new one if the old one is over. Without one nothing was sent.
func (p *Pass) Get(ctx context.Context) (string, *notify.Failure) {
	if !p.lock(ctx) {
		return "", notify.NotSent(errors.New("no token in time"), true)
	}
	defer func() { <-p.turn }()
	now := p.Now()
	if p.token != "" && now.Before(p.until) && !now.Before(p.made) {
		return p.token, nil
	}
	token, life, f := p.Make(ctx)
	if f != nil {
		return "", certain(f)
	}
	p.token, p.made, p.until = token, now, now.Add(life)
	return token, nil
}

// certain: whatever became of a request for a token, the push itself did not leave.
func certain(f *notify.Failure) *notify.Failure {
	c := *f
	c.Certain, c.Final, c.Gone = true, false, false
	c.Err = fmt.Errorf("token: %w", f.Err)
	return &c
}

// Drop throws token away after the service refused it, unless it was replaced meanwhile or is too young.
func (p *Pass) Drop(ctx context.Context, token string) {
	if !p.lock(ctx) {
		return
	}
	defer func() { <-p.turn }()
	if p.token == token && p.Now().Sub(p.made) >= p.Least {
		p.token = ""
	}
}

// ParseKey reads a private key in PEM (PKCS #8): RSA of at least 2048 bits, or P-256. No error repeats any of it.
func ParseKey(text string) (crypto.Signer, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("no private key in PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("no private key in PKCS #8")
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() >= 2048 {
			return k, nil
		}
	case *ecdsa.PrivateKey:
		if k.Curve == elliptic.P256() {
			return k, nil
		}
	}
	return nil, errors.New("the private key is neither RSA of 2048 bits nor P-256")
}

// Sign makes a JWT: RS256 with an RSA key, ES256 with one of P-256 (RFC 7518 §3.3, §3.4).
func Sign(key crypto.Signer, kid string, claims map[string]any) (string, error) {
	alg := "RS256"
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		alg = "ES256"
	}
	header, err := json.Marshal(map[string]string{"alg": alg, "typ": "JWT", "kid": kid})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(text))
	var signature []byte
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			return "", err
		}
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	default:
		if signature, err = key.Sign(rand.Reader, sum[:], crypto.SHA256); err != nil {
			return "", err
		}
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
