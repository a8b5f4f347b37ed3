package storage

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
)

var _ grant.Store = (*DB)(nil)

const grantColumns = "id, client, account_id, session_id, session_ends, facts, code, redirect_uri, challenge, code_expires, generation, rotated_at, refreshed_by, revoked_at, created_at"

// grantRow is a row of grants as scanned; facts are opened by grant.
type grantRow struct {
	g                                                                      grant.Grant
	owner                                                                  string
	facts                                                                  []byte
	sessionEnds, codeExpires, rotatedAt, refreshedBy, revokedAt, createdAt int64
}

func (r *grantRow) dest() []any {
	return []any{
		&r.g.ID, &r.g.Client, &r.owner, &r.g.Session, &r.sessionEnds, &r.facts, &r.g.Code.Hash, &r.g.Code.RedirectURI, &r.g.Code.Challenge,
		&r.codeExpires, &r.g.Generation, &r.rotatedAt, &r.refreshedBy, &r.revokedAt, &r.createdAt,
	}
}

func (db *DB) grant(r *grantRow) (grant.Grant, error) {
	g := r.g
	g.Account, g.SessionEnds, g.Code.ExpiresAt = account.ID(r.owner), moment(r.sessionEnds), moment(r.codeExpires)
	g.RotatedAt, g.RefreshedBy, g.RevokedAt, g.CreatedAt = moment(r.rotatedAt), moment(r.refreshedBy), moment(r.revokedAt), moment(r.createdAt)
	return g, db.unsealJSON("grants.facts", g.ID, r.facts, &g.Facts)
}

func (db *DB) oneGrant(ctx context.Context, op, query string, args []any, also ...any) (g grant.Grant, err error) {
	var r grantRow
	if err := db.row(ctx, op, query, args, into(append(r.dest(), also...)...)); err != nil {
		return g, err
	}
	return db.grant(&r)
}

// CreateGrant stores a grant with its code, while its session lasts; else fault.ErrConflict, which inside Atomically may show only at
// its end. The session stays locked until the commit, so whoever ends it meanwhile waits and then finds the grant to revoke: once the
// end is acknowledged no code comes out of it.
func (db *DB) CreateGrant(ctx context.Context, g grant.Grant) error {
	if g.ID == "" || g.Client == "" || g.Account == "" || g.Session == "" || len(g.Code.Hash) == 0 {
		return errEmpty("grant id, client, account, session or code")
	}
	facts, err := db.sealJSON("grants.facts", g.ID, g.Facts)
	if err != nil {
		return err
	}
	query := createGrant
	if db.dialect == postgres {
		query = createGrantLocking
	}
	return db.laterOne(ctx, "create grant", query,
		g.ID, g.Client, string(g.Account), g.Session, micros(g.SessionEnds), facts, g.Code.Hash, g.Code.RedirectURI, g.Code.Challenge,
		micros(g.Code.ExpiresAt), g.Generation, micros(g.RotatedAt), micros(g.RefreshedBy), micros(g.RevokedAt), micros(g.CreatedAt), g.Session)
}

const createGrant = "INSERT INTO grants (" + grantColumns + ", redeemed_at) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0 " +
	"FROM sessions WHERE id = ? AND ended_at = 0"

const createGrantLocking = createGrant + " FOR SHARE" // SQLite has one writer
// standing holds of a grant whose session was not ended and whose account is active. Grants of an ended session are
// revoked too; this closes the moment in which both happen at once.
const standing = "revoked_at = 0 AND session_ends > ? " +
	"AND EXISTS (SELECT 1 FROM sessions s WHERE s.id = grants.session_id AND s.ended_at = 0) " +
	"AND EXISTS (SELECT 1 FROM accounts a WHERE a.id = grants.account_id AND a.state = 'active')"

// RedeemCode consumes a code once; see grant.Store. A code shown again is a conflict even with a wrong verifier: whoever
// shows it has it.
func (db *DB) RedeemCode(ctx context.Context, client string, hash []byte, redirectURI, challenge string, refresh bool, now time.Time) (grant.Grant, error) {
	if client == "" || len(hash) == 0 {
		return grant.Grant{}, fault.ErrNotFound
	}
	us, generation, idle := micros(now), int64(0), int64(0)
	if refresh {
		generation, idle = 1, micros(now.Add(grant.RefreshIdle))
	}
	g, err := db.oneGrant(ctx, "redeem code", "UPDATE grants SET redeemed_at = ?, generation = ?, rotated_at = ?, "+
		"refreshed_by = CASE WHEN session_ends < ? THEN session_ends ELSE CAST(? AS BIGINT) END "+
		"WHERE code = ? AND client = ? AND redirect_uri = ? AND challenge = ? AND redeemed_at = 0 AND code_expires > ? AND "+standing+" RETURNING "+grantColumns,
		[]any{us, generation, us * generation, idle, idle, hash, client, redirectURI, challenge, us, us})
	if !errors.Is(err, fault.ErrNotFound) {
		return g, err
	}
	g, err = db.oneGrant(ctx, "read redeemed grant", "SELECT "+grantColumns+" FROM grants WHERE code = ? AND client = ? AND redeemed_at <> 0", []any{hash, client})
	if err != nil {
		return grant.Grant{}, err
	}
	return g, fault.ErrConflict
}

// Rotate moves a refresh family one generation on; see grant.Store.
func (db *DB) Rotate(ctx context.Context, client, id string, generation int64, now time.Time) (grant.Grant, error) {
	if client == "" || id == "" || generation <= 0 {
		return grant.Grant{}, fault.ErrNotFound
	}
	us, idle := micros(now), micros(now.Add(grant.RefreshIdle))
	g, err := db.oneGrant(ctx, "rotate grant", "UPDATE grants SET generation = generation + 1, rotated_at = ?, "+
		"refreshed_by = CASE WHEN session_ends < ? THEN session_ends ELSE CAST(? AS BIGINT) END "+
		"WHERE id = ? AND client = ? AND generation = ? AND refreshed_by > ? AND "+standing+" RETURNING "+grantColumns,
		[]any{us, idle, idle, id, client, generation, us, us})
	if !errors.Is(err, fault.ErrNotFound) {
		return g, err
	}
	g, err = db.oneGrant(ctx, "read rotated grant", "SELECT "+grantColumns+" FROM grants WHERE id = ? AND client = ? AND generation > 0 AND generation <> ? AND refreshed_by > ? AND "+standing,
		[]any{id, client, generation, us, us})
	if err != nil {
		return grant.Grant{}, err
	}
	return g, fault.ErrConflict
}

// RevokeGrant ends a grant of this client and, since they ask for it, all its tokens.
func (db *DB) RevokeGrant(ctx context.Context, client, id string, now time.Time) error {
	if client == "" || id == "" {
		return errEmpty("client or grant id")
	}
	return db.later(ctx, "revoke grant", "UPDATE grants SET revoked_at = ? WHERE id = ? AND client = ? AND revoked_at = 0", micros(now), id, client)
}

// CreateAccess stores an access token.
func (db *DB) CreateAccess(ctx context.Context, a grant.Access) error {
	if len(a.Hash) == 0 || a.Client == "" {
		return errEmpty("token hash or client")
	}
	return db.later(ctx, "create access token", "INSERT INTO access_tokens (hash, grant_id, client, scopes, issued_at, expires_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?, 0)",
		a.Hash, a.Grant, a.Client, strings.Join(a.Scopes, " "), micros(a.IssuedAt), micros(a.ExpiresAt))
}

// RevokeAccess ends one token of this client. A JWT without a row gets one, so that its revocation is remembered until
// it expires; an opaque token without a row (expires is zero, or over) needs none.
func (db *DB) RevokeAccess(ctx context.Context, client string, hash []byte, expires, now time.Time) error {
	if client == "" || len(hash) == 0 {
		return errEmpty("client or token hash")
	}
	if !expires.After(now) {
		return db.later(ctx, "revoke access token", "UPDATE access_tokens SET revoked_at = ? WHERE hash = ? AND client = ? AND revoked_at = 0", micros(now), hash, client)
	}
	return db.later(ctx, "revoke access token", "INSERT INTO access_tokens (hash, grant_id, client, scopes, issued_at, expires_at, revoked_at) VALUES (?, '', ?, '', 0, ?, ?) "+
		"ON CONFLICT (hash) DO UPDATE SET revoked_at = excluded.revoked_at WHERE access_tokens.client = excluded.client AND access_tokens.revoked_at = 0",
		hash, client, micros(expires), micros(now))
}

// AccessRevoked says whether a JWT was revoked.
func (db *DB) AccessRevoked(ctx context.Context, hash []byte) (bool, error) {
	if len(hash) == 0 {
		return true, nil
	}
	var at int64
	err := db.row(ctx, "read revocation", "SELECT revoked_at FROM access_tokens WHERE hash = ?", []any{hash}, into(&at))
	if errors.Is(err, fault.ErrNotFound) {
		return false, nil
	}
	return at != 0, err
}

// UseOnce remembers a one-time value; fault.ErrConflict the second time.
func (db *DB) UseOnce(ctx context.Context, kind string, hash []byte, expires time.Time) error {
	if kind == "" || len(hash) == 0 {
		return errEmpty("kind or hash")
	}
	return one(db.exec(ctx, "use once", "INSERT INTO used_once (kind, hash, expires_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", kind, hash, micros(expires)))
}

// Consent returns the scopes the person agreed to for the client, nil if none.
func (db *DB) Consent(ctx context.Context, id account.ID, client string) ([]string, error) {
	return db.consent(ctx, id, client, "")
}

func (db *DB) consent(ctx context.Context, id account.ID, client, lock string) ([]string, error) {
	if id == "" || client == "" {
		return nil, nil
	}
	var scopes string
	err := db.row(ctx, "read consent", "SELECT scopes FROM consents WHERE account_id = ? AND client = ?"+lock, []any{string(id), client}, into(&scopes))
	if errors.Is(err, fault.ErrNotFound) {
		return nil, nil
	}
	return strings.Fields(scopes), err
}

// SaveConsent adds to them: who agrees to something else has not taken back what they agreed to before.
func (db *DB) SaveConsent(ctx context.Context, id account.ID, client string, scopes []string, now time.Time) error {
	if id == "" || client == "" {
		return errEmpty("account id or client")
	}
	return db.Atomically(ctx, func(ctx context.Context) error {
		var had string // taken, so that whoever withdraws it, or adds to it, at the same time comes before or after
		err := db.row(ctx, "take consent", "UPDATE consents SET agreed_at = ? WHERE account_id = ? AND client = ? RETURNING scopes", []any{micros(now), string(id), client}, into(&had))
		if err != nil && !errors.Is(err, fault.ErrNotFound) {
			return err
		}
		all := strings.Fields(had)
		for _, s := range scopes {
			if !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
		return db.later(ctx, "save consent", "INSERT INTO consents (account_id, client, scopes, agreed_at) VALUES (?, ?, ?, ?) "+
			"ON CONFLICT (account_id, client) DO UPDATE SET scopes = excluded.scopes, agreed_at = excluded.agreed_at",
			string(id), client, strings.Join(all, " "), micros(now))
	})
}
