package storage

import (
	"context"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/session"
)

var _ session.Store = (*DB)(nil)

const sessionColumns = "id, account_id, level, created_at, seen_at, expires_at, ended_at, data, version"

// sessionJSON is what of a session is sealed.
type sessionJSON struct {
	Proofs  []factors.Proof `json:"proofs,omitempty"`
	Network string          `json:"network,omitempty"`
	Agent   string          `json:"agent,omitempty"`
	Client  string          `json:"client,omitempty"`
}

func (db *DB) scanSession(s scan) (session.Session, error) {
	var id, owner string
	var level, created, seen, expires, ended, version int64
	var data []byte
	if err := s(&id, &owner, &level, &created, &seen, &expires, &ended, &data, &version); err != nil {
		return session.Session{}, err
	}
	var j sessionJSON
	if err := db.unsealJSON("sessions.data", id, data, &j); err != nil {
		return session.Session{}, err
	}
	return session.Session{
		ID: id, Account: account.ID(owner), Proofs: j.Proofs, Level: acr.Level(level), CreatedAt: moment(created), SeenAt: moment(seen),
		ExpiresAt: moment(expires), EndedAt: moment(ended), Network: j.Network, Agent: j.Agent, Version: version, Client: j.Client,
	}, nil
}

func (db *DB) sealSession(s session.Session) ([]byte, error) {
	return db.sealJSON("sessions.data", s.ID, sessionJSON{s.Proofs, s.Network, s.Agent, s.Client})
}

// CreateSession stores a new session, found by the hash of its token from now on, while its account is as it was judged; see session.Store.
// The account stays locked until the commit, so whoever ends everything meanwhile waits and then finds the session to end.
func (db *DB) CreateSession(ctx context.Context, s session.Session, tokenHash []byte, as account.Account) error {
	if s.ID == "" || s.Account == "" || len(tokenHash) == 0 {
		return errEmpty("session id, account or token")
	}
	if as.ID != s.Account {
		return fault.ErrConflict
	}
	data, err := db.sealSession(s)
	if err != nil {
		return err
	}
	return db.laterOne(ctx, "create session", "INSERT INTO sessions (id, account_id, token, level, created_at, seen_at, expires_at, ended_at, data, version) "+
		"SELECT ?, id, ?, ?, ?, ?, ?, ?, ?, 1 "+db.judged(), s.ID, tokenHash, int64(s.Level), micros(s.CreatedAt), micros(s.SeenAt),
		micros(s.ExpiresAt), micros(s.EndedAt), data, string(as.ID), as.Version, micros(as.ProofsSince))
}

// judged names the account if it still is what it was when a proof was judged, and keeps it so until the commit.
func (db *DB) judged() string {
	const from = "FROM accounts WHERE id = ? AND state = 'active' AND version = ? AND proofs_since = ?"
	if db.dialect == postgres {
		return from + " FOR SHARE" // SQLite has one writer
	}
	return from
}

// sessionByToken brings along whose session it is.
const sessionByToken = "SELECT s.id, s.account_id, s.level, s.created_at, s.seen_at, s.expires_at, s.ended_at, s.data, s.version, " + accountBeside +
	" FROM sessions s LEFT JOIN accounts a ON a.id = s.account_id" + joinBeside + " WHERE s.token = ?"

// SessionByToken returns the session whose current token it is, alive or not; fault.ErrNotFound.
func (db *DB) SessionByToken(ctx context.Context, tokenHash []byte) (out session.Session, err error) {
	if len(tokenHash) == 0 {
		return out, fault.ErrNotFound
	}
	var b beside
	err = db.row(ctx, "read session", sessionByToken, []any{tokenHash}, func(s scan) (err error) {
		out, err = db.scanSession(func(to ...any) error { return s(append(to, b.dest()...)...) })
		return err
	})
	if err == nil {
		db.learn(ctx, &b)
	}
	return out, err
}

// SessionByID returns a session, alive or not; fault.ErrNotFound.
func (db *DB) SessionByID(ctx context.Context, id string) (out session.Session, err error) {
	if id == "" {
		return out, fault.ErrNotFound
	}
	err = db.row(ctx, "read session by id", "SELECT "+sessionColumns+" FROM sessions WHERE id = ?", []any{id}, func(s scan) (err error) {
		out, err = db.scanSession(s)
		return err
	})
	return out, err
}

// RotateSession writes what a new proof changed under a new token; fault.ErrConflict, inside Atomically perhaps only at
// its end, when the session moved on or ended, or its account is not as it was judged.
func (db *DB) RotateSession(ctx context.Context, s session.Session, tokenHash []byte, as account.Account) error {
	if s.ID == "" || len(tokenHash) == 0 {
		return errEmpty("session id or token")
	}
	if as.ID != s.Account {
		return fault.ErrConflict
	}
	data, err := db.sealSession(s)
	if err != nil {
		return err
	}
	return db.laterOne(ctx, "rotate session", "UPDATE sessions SET token = ?, level = ?, seen_at = ?, data = ?, version = version + 1 "+
		"WHERE id = ? AND version = ? AND ended_at = 0 AND account_id = (SELECT id "+db.judged()+")", tokenHash, int64(s.Level), micros(s.SeenAt), data,
		s.ID, s.Version, string(as.ID), as.Version, micros(as.ProofsSince))
}

// TouchSession moves SeenAt forward; it does nothing to an ended session.
func (db *DB) TouchSession(ctx context.Context, id string, seen time.Time) error {
	if id == "" {
		return errEmpty("session id")
	}
	return db.later(ctx, "touch session", "UPDATE sessions SET seen_at = ? WHERE id = ? AND ended_at = 0 AND seen_at < ?", micros(seen), id, micros(seen))
}

// EndSession ends one session of the owner and the grants made in it.
func (db *DB) EndSession(ctx context.Context, owner account.ID, id string, at time.Time) error {
	if owner == "" || id == "" {
		return fault.ErrNotFound
	}
	return db.Atomically(ctx, func(ctx context.Context) error {
		n, err := db.exec(ctx, "end session", "UPDATE sessions SET ended_at = CASE WHEN ended_at = 0 THEN CAST(? AS BIGINT) ELSE ended_at END WHERE id = ? AND account_id = ?",
			micros(at), id, string(owner))
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.ErrNotFound
		}
		return db.later(ctx, "end grants of session", "UPDATE grants SET revoked_at = ? WHERE session_id = ? AND revoked_at = 0", micros(at), id)
	})
}

// EndSessions ends all sessions of the owner but keep, and the grants made in them, and closes every open ticket: a pairing code or the
// link of an e-mail that a thief asked for in a session needs that session no more. The proofs go first: that takes the account, so a
// session that is being made (CreateSession) is either there to be ended, or finds its proofs void.
func (db *DB) EndSessions(ctx context.Context, owner account.ID, keep string, at time.Time) error {
	if owner == "" {
		return errEmpty("account id")
	}
	forget(ctx, owner)
	return db.Atomically(ctx, func(ctx context.Context) error {
		if err := db.VoidProofs(ctx, owner, at); err != nil {
			return err
		}
		var ids []any
		err := db.rows(ctx, "end sessions", "UPDATE sessions SET ended_at = ? WHERE account_id = ? AND id <> ? AND ended_at = 0 RETURNING id",
			[]any{micros(at), string(owner), keep}, func(s scan) error {
				var id string
				err := s(&id)
				ids = append(ids, id)
				return err
			})
		if err != nil {
			return err
		}
		if err := db.VoidTickets(ctx, owner, at); err != nil || len(ids) == 0 {
			return err
		}
		return db.later(ctx, "end grants of sessions", "UPDATE grants SET revoked_at = ? WHERE session_id IN ("+marks(len(ids))+") AND revoked_at = 0",
			append([]any{micros(at)}, ids...)...)
	})
}

// VoidProofs voids what was proven in sign-ins still under way. Its moment always moves on, however the clocks of two replicas stand, since
// what was read before is told from what is true by it.
func (db *DB) VoidProofs(ctx context.Context, owner account.ID, at time.Time) error {
	if owner == "" {
		return errEmpty("account id")
	}
	forget(ctx, owner)
	return db.later(ctx, "void proofs", "UPDATE accounts SET proofs_since = CASE WHEN proofs_since < ? THEN CAST(? AS BIGINT) ELSE proofs_since + 1 END WHERE id = ?",
		micros(at), micros(at), string(owner))
}

// SessionsOf lists the living sessions of the owner, and the idle ones in which a client can still refresh, newest first.
func (db *DB) SessionsOf(ctx context.Context, owner account.ID, now time.Time) (out []session.Session, err error) {
	if owner == "" {
		return nil, nil
	}
	us := micros(now)
	err = db.rows(ctx, "list sessions", "SELECT "+sessionColumns+", CASE WHEN EXISTS (SELECT 1 FROM grants g WHERE g.session_id = sessions.id AND g.revoked_at = 0 "+
		"AND g.generation > 0 AND g.refreshed_by > ?) THEN 1 ELSE 0 END "+
		"FROM sessions WHERE account_id = ? AND ended_at = 0 AND expires_at > ? ORDER BY created_at DESC, id DESC",
		[]any{us, string(owner), us}, func(s scan) error {
			var held int64
			one, err := db.scanSession(func(dest ...any) error { return s(append(dest, &held)...) })
			if one.Held = held != 0; err == nil && (one.Held || one.Alive(now)) {
				out = append(out, one)
			}
			return err
		})
	return out, err
}
