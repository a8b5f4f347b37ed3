package provider

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/secret"
)

// Tokens that only we read carry a MAC of ours in front: what a stranger makes up is refused before any statement runs, and
// nothing at their beginning is alike between two clients. The database knows only their hashes.

const (
	macSize     = 32
	accessSize  = 32 // random bytes of an access token
	refreshSize = 24 // grant id, generation
)

var base64url = base64.RawURLEncoding.Strict() // one spelling of each token

// newAccess makes an opaque access token: 86 characters.
func (s *Server) newAccess() string {
	var random [accessSize]byte
	rand.Read(random[:])
	return s.stamp("access", "", random[:])
}

// isAccess says whether we made the token.
func (s *Server) isAccess(token string) bool {
	_, ok := s.unstamp("access", "", token, accessSize)
	return ok
}

// refreshToken is derived from the grant and its generation, so that within the grace window the same successor can be
// given again though only its meaning is stored. 75 characters.
func (s *Server) refreshToken(client, grant string, generation int64) (string, error) {
	id, err := uuid.Parse(grant)
	if err != nil {
		return "", err
	}
	var body [refreshSize]byte
	copy(body[:], id[:])
	binary.BigEndian.PutUint64(body[16:], uint64(generation))
	return s.stamp("refresh", client, body[:]), nil
}

// readRefresh recovers grant and generation from a refresh token that we gave to this client.
func (s *Server) readRefresh(client, token string) (grant string, generation int64, ok bool) {
	body, ok := s.unstamp("refresh", client, token, refreshSize)
	if !ok {
		return "", 0, false
	}
	return uuid.UUID(body[:16]).String(), int64(binary.BigEndian.Uint64(body[16:])), true
}

func (s *Server) stamp(kind, client string, body []byte) string {
	return base64url.EncodeToString(append(s.cfg.Ring.MAC(secret.Tokens, kind, client, string(body)), body...))
}

func (s *Server) unstamp(kind, client, token string, size int) (body []byte, ok bool) {
	if len(token) != base64url.EncodedLen(macSize+size) {
		return nil, false
	}
	raw, err := base64url.DecodeString(token)
	if err != nil || len(raw) != macSize+size {
		return nil, false
	}
	mac, body := raw[:macSize], raw[macSize:]
	return body, s.cfg.Ring.CheckMAC(secret.Tokens, mac, kind, client, string(body))
}
