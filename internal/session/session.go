// Package session owns the single sign-on session: which person a browser is, by which proofs, until when. Enter with
// Store. It refuses to lengthen itself: 30 minutes idle (15 at high), 12 hours in all, whatever happens.
package session

import (
	"context"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
)

// NIST SP 800-63B-4 §2.2.3: AAL2 allows 24 h and 1 h; we hold half.
const (
	Life     = 12 * time.Hour
	Idle     = 30 * time.Minute
	IdleHigh = 15 * time.Minute
)

// Session of one person in one browser. ID is stable and stays inside; the cookie's token changes at each change of
// privilege and is stored as a hash.
type Session struct {
	ID        string
	Account   account.ID
	Proofs    []factors.Proof
	Level     acr.Level
	CreatedAt time.Time
	SeenAt    time.Time
	ExpiresAt time.Time // absolute
	EndedAt   time.Time // zero while it lives
	Network   string    // sealed at rest
	Agent     string    // user agent, cut to 256 bytes, sealed at rest
	Version   int64
	// Client is set where the session was made for one isolated client alone; such a session has no cookie. "" = single sign-on.
	Client string // sealed at rest
	// Held says that clients can still refresh what they were given in it; only SessionsOf finds that out.
	Held bool
}

// AuthTime is when the person last proved something (auth_time, OpenID Connect Core §2).
func (s Session) AuthTime() time.Time { return LastProof(s.Proofs) }

// LastProof returns the time of the latest proof; zero for none.
func LastProof(ps []factors.Proof) (at time.Time) {
	for _, p := range ps {
		if p.At.After(at) {
			at = p.At
		}
	}
	return at
}

// Alive says whether the session may be used at now.
func (s Session) Alive(now time.Time) bool { return s.EndedAt.IsZero() && now.Before(s.Until()) }

// Until is when the session is over if nobody uses it any more.
func (s Session) Until() time.Time {
	idle := Idle
	if s.Level == acr.High {
		idle = IdleHigh
	}
	if until := s.SeenAt.Add(idle); until.Before(s.ExpiresAt) {
		return until
	}
	return s.ExpiresAt
}

// Store keeps sessions. tokenHash is secret.Hash of the cookie's token.
type Store interface {
	// CreateSession stores a session while its account still is what it was when the proofs were judged: as is the account as it was read
	// then. fault.ErrConflict if it is not active any more, has changed, or its proofs were voided; inside a transaction perhaps only at its end.
	// Once an end of all sessions, or of what was proven, is acknowledged, no session comes out of a proof from before it.
	CreateSession(ctx context.Context, s Session, tokenHash []byte, as account.Account) error
	// SessionByToken returns the session whose current token it is, alive or not; fault.ErrNotFound.
	SessionByToken(ctx context.Context, tokenHash []byte) (Session, error)
	// SessionByID returns a session, alive or not; fault.ErrNotFound.
	SessionByID(ctx context.Context, id string) (Session, error)
	// RotateSession writes Proofs, Level, SeenAt, Network and Agent under a new token if Version is still the stored one and the session
	// has not ended, and its account is what it was, as with CreateSession; else fault.ErrConflict.
	RotateSession(ctx context.Context, s Session, tokenHash []byte, as account.Account) error
	// TouchSession moves SeenAt forward; it does nothing to an ended one.
	TouchSession(ctx context.Context, id string, seen time.Time) error
	// EndSession ends one session of the account, and with it every grant made in it. Ending twice is no error; a session of
	// somebody else is fault.ErrNotFound.
	EndSession(ctx context.Context, owner account.ID, id string, at time.Time) error
	// EndSessions ends all sessions of the account but one ("" = none kept) and their grants, and voids what was proven in
	// sign-ins still under way (account.Account.ProofsSince), and every open code, link and request of the account.
	EndSessions(ctx context.Context, owner account.ID, keep string, at time.Time) error
	// VoidProofs ends no session, but voids what was proven in sign-ins still under way, as EndSessions does. ProofsSince becomes at, or
	// a moment later than it was where that is no later.
	VoidProofs(ctx context.Context, owner account.ID, at time.Time) error
	// SessionsOf lists the living sessions and the idle ones that are Held, newest first.
	SessionsOf(ctx context.Context, owner account.ID, now time.Time) ([]Session, error)
}
