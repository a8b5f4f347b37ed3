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
// session and its account to be there and good; for what is told of a person the person too: the erased one has none.
const (
	standingColumns = "t.grant_id, t.client, t.scopes, t.issued_at, t.expires_at, COALESCE(g.account_id, ''), COALESCE(g.session_id, ''), COALESCE(g.session_ends, 0), g.facts"
	standingJoin    = " FROM access_tokens t LEFT JOIN grants g ON g.id = t.grant_id LEFT JOIN sessions s ON s.id = g.session_id LEFT JOIN accounts a ON a.id = g.account_id"
	standingWhere   = " WHERE t.hash = ? AND t.expires_at > ? AND t.revoked_at = 0 AND " +
		"(t.grant_id = '' OR (g.revoked_at = 0 AND g.session_ends > ? AND s.ended_at = 0 AND a.state = 'active'))"

	standingQuery = "SELECT " + standingColumns + standingJoin + standingWhere
	livingQuery   = "SELECT " + standingColumns + ", COALESCE(a.locale, ''), p.data, p.contacts" + standingJoin + " LEFT JOIN people p ON p.account_id = g.account_id" + standingWhere
)

// Standing returns the access token with this hash and its grant if they and all they stand on are good at now; fault.ErrNotFound.
func (db *DB) Standing(ctx context.Context, hash []byte, now time.Time) (grant.Living, error) {
	return db.standing(ctx, standingQuery, hash, now)
}

// Living is Standing with what is known of the person.
func (db *DB) Living(ctx context.Context, hash []byte, now time.Time) (grant.Living, error) {
	var locale string
	var person, contacts []byte
	l, err := db.standing(ctx, livingQuery, hash, now, &locale, &person, &contacts)
	if err != nil || l.Access.Grant == "" {
		return l, err
	}
	id := l.Grant.Account
	if len(person) == 0 {
		return grant.Living{}, fault.Wrap(fault.NotFound, "", fmt.Errorf("storage: the person of account %s was erased", id))
	}
	if err := db.unsealJSON("people.data", string(id), person, &l.Person); err != nil {
		return grant.Living{}, err
	}
	l.Locale = locale
	l.Contacts, err = db.unsealContacts(id, contacts)
	return l, err
}

func (db *DB) standing(ctx context.Context, query string, hash []byte, now time.Time, also ...any) (l grant.Living, err error) {
	if len(hash) == 0 {
		return l, fault.ErrNotFound
	}
	var r grantRow
	var scopes string
	var issued, expires int64
	us := micros(now)
	dest := append([]any{&l.Access.Grant, &l.Client, &scopes, &issued, &expires, &r.owner, &r.g.Session, &r.sessionEnds, &r.facts}, also...)
	if err := db.row(ctx, "read access token", query, []any{hash, us, us}, into(dest...)); err != nil {
		return grant.Living{}, err
	}
	l.Hash, l.Scopes, l.IssuedAt, l.ExpiresAt = hash, strings.Fields(scopes), moment(issued), moment(expires)
	if l.Access.Grant == "" {
		return l, nil
	}
	r.g.ID, r.g.Client = l.Access.Grant, l.Client
	if l.Grant, err = db.grant(&r); err != nil {
		return grant.Living{}, err
	}
	return l, nil
}
