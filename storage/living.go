package storage

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
)

// The grant side is NULL for client_credentials; COALESCE keeps the scan plain. A grant's token needs its grant, its
// session, its account and its person to be there and good; the erased person has none.
const livingQuery = "SELECT t.grant_id, t.client, t.scopes, t.issued_at, t.expires_at, " +
	"COALESCE(g.account_id, ''), COALESCE(g.session_id, ''), COALESCE(g.session_ends, 0), g.facts, COALESCE(g.generation, 0), COALESCE(g.created_at, 0), " +
	"COALESCE(a.state, ''), COALESCE(a.ceiling, 0), COALESCE(a.two_factor, 0), COALESCE(a.two_factor_since, 0), COALESCE(a.locale, ''), COALESCE(a.created_at, 0), COALESCE(a.version, 0), " +
	"p.data, p.contacts " +
	"FROM access_tokens t LEFT JOIN grants g ON g.id = t.grant_id LEFT JOIN sessions s ON s.id = g.session_id " +
	"LEFT JOIN accounts a ON a.id = g.account_id LEFT JOIN people p ON p.account_id = g.account_id " +
	"WHERE t.hash = ? AND t.expires_at > ? AND t.revoked_at = 0 AND " +
	"(t.grant_id = '' OR (g.revoked_at = 0 AND g.session_ends > ? AND s.ended_at = 0 AND a.state = 'active'))"

// Living returns the access token with this hash if it and all it stands on are good at now; fault.ErrNotFound.
func (db *DB) Living(ctx context.Context, hash []byte, now time.Time) (l grant.Living, err error) {
	if len(hash) == 0 {
		return l, fault.ErrNotFound
	}
	var r grantRow
	var a accountRow
	var scopes string
	var issued, expires int64
	var person, contacts []byte
	us := micros(now)
	if err := db.row(ctx, "read access token", livingQuery, []any{hash, us, us}, into(
		&l.Access.Grant, &l.Client, &scopes, &issued, &expires,
		&r.owner, &r.g.Session, &r.sessionEnds, &r.facts, &r.g.Generation, &r.createdAt,
		&a.State, &a.Ceiling, &a.TwoFactor, &a.TwoFactorSince, &a.Locale, &a.CreatedAt, &a.Version, &person, &contacts)); err != nil {
		return grant.Living{}, err
	}
	l.Hash, l.Scopes, l.IssuedAt, l.ExpiresAt = hash, strings.Fields(scopes), moment(issued), moment(expires)
	if l.Access.Grant == "" {
		return l, nil
	}
	r.g.ID, r.g.Client, a.ID = l.Access.Grant, l.Client, r.owner
	if l.Grant, err = db.grant(&r); err != nil {
		return grant.Living{}, err
	}
	l.Account = a.account()
	if len(person) == 0 {
		return grant.Living{}, fault.Wrap(fault.NotFound, "", fmt.Errorf("storage: the person of account %s was erased", a.ID))
	}
	if err := db.unsealJSON("people.data", a.ID, person, &l.Person); err != nil {
		return grant.Living{}, err
	}
	l.Contacts, err = db.unsealContacts(l.Account.ID, contacts)
	return l, err
}
