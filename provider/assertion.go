package provider

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
)

const (
	assertionLife = 5 * time.Minute
	skew          = 90 * time.Second // of other people's clocks
	mostID        = 256              // bytes of a client_id or a jti
)

// assertion holds the claims of a client assertion (RFC 7523 §3, OpenID Connect Core §9).
type assertion struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	ID       string   `json:"jti"`
	Expires  float64  `json:"exp"`
	Issued   *float64 `json:"iat"`
	Before   *float64 `json:"nbf"`
}

// audience takes a string or a list of one: an assertion that is good at two places can be replayed at the other.
type audience string

func (a *audience) UnmarshalJSON(b []byte) error {
	var list []string
	if json.Unmarshal(b, &list) == nil {
		if len(list) != 1 {
			return errAudience
		}
		*a = audience(list[0])
		return nil
	}
	return json.Unmarshal(b, (*string)(a))
}

var errAudience = errors.New("aud must name one audience")

// claimedIssuer reads who a JWT says it is from, before anything is verified: only to find the registration whose keys
// must then fit.
func claimedIssuer(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, ok := strings.Cut(rest, ".")
	raw, err := base64url.DecodeString(payload)
	if !ok || len(token) > mostToken || err != nil {
		return ""
	}
	var a assertion
	if object(raw, &a) != nil || len(a.Issuer) > mostID {
		return ""
	}
	return a.Issuer
}

// assertionRight verifies a client assertion and uses its jti up. The write comes last, so that only the holder of the
// key can cause one.
func (s *Server) assertionRight(ctx context.Context, c clients.Client, token string, now time.Time) (bool, error) {
	payload, ok := verifyAssertion(c, token)
	if !ok {
		return false, nil
	}
	var a assertion
	if object(payload, &a) != nil || !a.holds(c.ID, s.cfg.Issuer, now) {
		return false, nil
	}
	until := now.Add(assertionLife + 2*skew)
	err := s.cfg.Grants.UseOnce(ctx, "client_assertion", secret.Hash(c.ID+"\x00"+a.ID), until)
	if errors.Is(err, fault.ErrConflict) {
		return false, nil
	}
	return err == nil, err
}

// verifyAssertion checks the signature with a registered key. What the header says of keys (jwk, jku, x5u, x5c) is never
// read; a header that tries is refused.
func verifyAssertion(c clients.Client, token string) ([]byte, bool) {
	if len(token) > mostToken {
		return nil, false
	}
	sig, err := jose.ParseSignedCompact(token, signing)
	if err != nil {
		return nil, false
	}
	h := sig.Signatures[0].Protected
	if h.JSONWebKey != nil || h.ExtraHeaders["jku"] != nil || h.ExtraHeaders["x5u"] != nil || h.ExtraHeaders["x5c"] != nil {
		return nil, false
	}
	key, ok := assertionKey(c.JWKS.Keys, h.KeyID, h.Algorithm)
	if !ok {
		return nil, false
	}
	payload, err := sig.Verify(key.Key)
	return payload, err == nil
}

// assertionKey finds the registered key: by kid, or the only one that suits where the header names none.
func assertionKey(keys []jose.JSONWebKey, kid, alg string) (jose.JSONWebKey, bool) {
	usable := func(k jose.JSONWebKey) bool {
		return (kid == "" || k.KeyID == kid) && k.Use != "enc" && (k.Algorithm == "" || k.Algorithm == alg) && suits(k.Key, alg)
	}
	i := slices.IndexFunc(keys, usable)
	if i < 0 || (kid == "" && slices.ContainsFunc(keys[i+1:], usable)) {
		return jose.JSONWebKey{}, false
	}
	return keys[i], true
}

// holds checks the claims: from and about the client, for us alone, short-lived and of this time.
func (a *assertion) holds(client, issuer string, now time.Time) bool {
	t, leeway := float64(now.Unix()), skew.Seconds()
	switch {
	case a.Issuer != client || a.Subject != client || string(a.Audience) != issuer:
		return false
	case a.ID == "" || len(a.ID) > mostID:
		return false
	case a.Expires <= t-leeway || a.Expires > t+assertionLife.Seconds()+leeway:
		return false
	case a.Issued != nil && (*a.Issued > t+leeway || a.Expires-*a.Issued > assertionLife.Seconds()):
		return false
	case a.Before != nil && *a.Before > t+leeway:
		return false
	}
	return true
}
