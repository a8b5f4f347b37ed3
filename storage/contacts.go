package storage

import (
	"bytes"
	"context"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
)

// noPhone stands in people.phone where there is no ID-verified number.
var noPhone = []byte{0}

// phoneIndex is what people.phone holds of contacts.
func (db *DB) phoneIndex(c contact.Contacts) []byte {
	if c.Phone.Number == "" || c.Phone.Grade != contact.IDVerified {
		return noPhone
	}
	return db.keys().Index("people.phone", c.Phone.Number)
}

// AccountsByPhone returns the accounts whose ID-verified number this is; a family may share one.
func (db *DB) AccountsByPhone(ctx context.Context, number string) (ids []account.ID, err error) {
	if number == "" {
		return nil, errEmpty("number")
	}
	err = db.rows(ctx, "find accounts by phone", "SELECT account_id FROM people WHERE phone = ? ORDER BY account_id LIMIT 100",
		[]any{db.keys().Index("people.phone", number)}, func(s scan) error {
			var id string
			err := s(&id)
			ids = append(ids, account.ID(id))
			return err
		})
	return ids, err
}

// IndexPhones fills in people.phone where an older program wrote the row, for up to n people, and returns for how many.
func (db *DB) IndexPhones(ctx context.Context, n int) (int, error) {
	type found struct {
		id     account.ID
		sealed []byte
	}
	var people []found
	err := db.rows(ctx, "list people without phone index", "SELECT account_id, contacts FROM people WHERE phone = ? LIMIT ?", []any{[]byte{}, int64(n)}, func(s scan) error {
		var f found
		err := s(&f.id, &f.sealed)
		people = append(people, found{f.id, bytes.Clone(f.sealed)})
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, p := range people {
		c, err := db.unsealContacts(p.id, p.sealed)
		if err != nil {
			return 0, err
		}
		// Whoever wrote meanwhile has filled it in already.
		if _, err := db.exec(ctx, "index phone", "UPDATE people SET phone = ? WHERE account_id = ? AND phone = ?", db.phoneIndex(c), string(p.id), []byte{}); err != nil {
			return 0, err
		}
	}
	return len(people), nil
}

// PartnerOnce remembers a partner's transaction with its outcome, in the transaction of ctx. The second time it returns what was
// remembered: digest says whether it is the same request.
func (db *DB) PartnerOnce(ctx context.Context, client string, transaction, digest []byte, outcome string, now time.Time) (before enrolment.Repeat, first bool, err error) {
	if client == "" || len(transaction) == 0 {
		return before, false, errEmpty("client or transaction")
	}
	n, err := db.exec(ctx, "remember partner request", "INSERT INTO partner_requests (client, transaction_id, digest, outcome, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
		client, transaction, digest, outcome, micros(now))
	if err != nil || n == 1 {
		return before, n == 1, err
	}
	before, err = db.PartnerBefore(ctx, client, transaction)
	return before, false, err
}

// PartnerBefore returns what was remembered of a partner's transaction; fault.ErrNotFound.
func (db *DB) PartnerBefore(ctx context.Context, client string, transaction []byte) (before enrolment.Repeat, err error) {
	if client == "" || len(transaction) == 0 {
		return before, fault.ErrNotFound
	}
	err = db.row(ctx, "read partner request", "SELECT digest, outcome FROM partner_requests WHERE client = ? AND transaction_id = ?", []any{client, transaction},
		into(&before.Digest, &before.Outcome))
	return before, err
}

var _ contact.Changer = (*DB)(nil)
