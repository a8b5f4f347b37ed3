package storage

import (
	"context"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
)

// ConsentsOf lists what the person agreed to, the newest first.
func (db *DB) ConsentsOf(ctx context.Context, id account.ID) (out []grant.Consent, err error) {
	if id == "" {
		return nil, nil
	}
	err = db.rows(ctx, "list consents", "SELECT client, scopes, agreed_at FROM consents WHERE account_id = ? ORDER BY agreed_at DESC, client", []any{string(id)}, func(s scan) error {
		var c grant.Consent
		var scopes string
		var at int64
		if err := s(&c.Client, &scopes, &at); err != nil {
			return err
		}
		c.Scopes, c.At = strings.Fields(scopes), moment(at)
		out = append(out, c)
		return nil
	})
	return out, err
}

// WithdrawConsent takes a consent back and ends every grant that the client has of the person, from whichever session: codes, refresh tokens and
// access tokens are dead at their next request. fault.ErrNotFound if there is none. The consent goes first: whoever is just making
// a grant holds it (HoldConsent), so that the grant is either there to be ended or never made.
func (db *DB) WithdrawConsent(ctx context.Context, id account.ID, client string, at time.Time) error {
	if id == "" || client == "" {
		return fault.ErrNotFound
	}
	return db.Atomically(ctx, func(ctx context.Context) error {
		n, err := db.exec(ctx, "withdraw consent", "DELETE FROM consents WHERE account_id = ? AND client = ?", string(id), client)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.ErrNotFound
		}
		return db.later(ctx, "end grants of consent", "UPDATE grants SET revoked_at = ? WHERE client = ? AND account_id = ? AND revoked_at = 0 "+
			"AND session_id IN (SELECT id FROM sessions WHERE account_id = ?)", micros(at), client, string(id), string(id))
	})
}

// HoldConsent is Consent for whoever makes a grant on its strength, inside a transaction: it cannot be withdrawn until that
// commits.
func (db *DB) HoldConsent(ctx context.Context, id account.ID, client string) ([]string, error) {
	if db.dialect == postgres {
		return db.consent(ctx, id, client, " FOR SHARE") // SQLite has one writer
	}
	return db.consent(ctx, id, client, "")
}
