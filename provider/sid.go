package provider

import (
	"crypto/hmac"
	"crypto/subtle"
	"fmt"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/secret"
)

// A sid names the session to one sector, always in the same words, and two sectors cannot compare theirs. It is a synthetic
// initialisation vector as in RFC 5297: half of it is a MAC over session and sector, the other half the session's id under a
// key stream drawn from that MAC. So only we can read which session a hint speaks of, without a row for each, and a changed
// sid opens to nothing.
const sidHalf = 16 // bytes

// sid returns the name of a session at a client.
func (s *Server) sid(c clients.Client, session string) (string, error) {
	id, err := uuid.Parse(session)
	if err != nil {
		return "", fmt.Errorf("provider: the id of a session is no UUID: %w", err)
	}
	sector := sidSector(c)
	out := make([]byte, 2*sidHalf)
	copy(out, s.cfg.Ring.MAC(secret.Tokens, "sid", id.String(), sector)[:sidHalf])
	subtle.XORBytes(out[sidHalf:], id[:], s.cfg.Ring.MAC(secret.Tokens, "sid stream", string(out[:sidHalf]), sector)[:sidHalf])
	return base64url.EncodeToString(out), nil
}

// sessionOf returns the session that a sid of this client names; "" for what we did not make, or made for another sector.
func (s *Server) sessionOf(c clients.Client, sid string) string {
	raw, err := base64url.DecodeString(sid)
	if err != nil || len(raw) != 2*sidHalf {
		return ""
	}
	sector, found := sidSector(c), ""
	for _, stream := range s.cfg.Ring.MACs(secret.Tokens, "sid stream", string(raw[:sidHalf]), sector) {
		var id uuid.UUID
		subtle.XORBytes(id[:], raw[sidHalf:], stream[:sidHalf])
		for _, mac := range s.cfg.Ring.MACs(secret.Tokens, "sid", id.String(), sector) {
			if hmac.Equal(mac[:sidHalf], raw[:sidHalf]) {
				found = id.String()
			}
		}
	}
	return found
}

// isFirstSID: it is the name that the first release gave the session, a mere MAC. Servers of that release may work beside this one, and
// their tokens are shown again for as long as clients keep them.
func (s *Server) isFirstSID(c clients.Client, sid, session string) bool {
	raw, err := base64url.DecodeString(sid)
	return err == nil && s.cfg.Ring.CheckMAC(secret.Tokens, raw, "sid", session, sidSector(c))
}

func sidSector(c clients.Client) string {
	if c.Sector == "" {
		return "client " + c.ID
	}
	return c.Sector
}
