package storage

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/secret"
)

var _ notice.Store = (*DB)(nil)

// noticeJSON is what of a notice is sealed under the key of the person, so that erasing the person erases it.
type noticeJSON struct {
	Network string            `json:"network,omitempty"`
	Agent   string            `json:"agent,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

// AddNotice puts a notice into the person's own list; see notice.Store.
func (db *DB) AddNotice(ctx context.Context, n notice.Notice) error {
	if n.ID == "" || n.Account == "" {
		return errEmpty("notice id or account")
	}
	box, err := db.personKey(ctx, n.Account)
	if err != nil {
		return err
	}
	plain, err := json.Marshal(noticeJSON{n.Network, n.Agent, n.Details})
	if err != nil {
		return err
	}
	var token any
	if len(n.Token) > 0 {
		token = n.Token
	}
	return db.later(ctx, "add notice", "INSERT INTO notices (id, account_id, at, key, data, read_at, token, token_until, token_used_at) VALUES (?, ?, ?, ?, ?, 0, ?, ?, 0)",
		n.ID, string(n.Account), micros(n.At), n.Key, box.Seal("notices.data:"+n.ID, plain), token, micros(n.TokenUntil))
}

// NoticesOf returns a person's notices before a moment (zero = now), newest first. Fields of a person who was erased stay empty.
func (db *DB) NoticesOf(ctx context.Context, id account.ID, before time.Time, n int) (out []notice.Notice, err error) {
	if id == "" || n <= 0 {
		return nil, nil
	}
	box, err := db.readerOf(ctx, id)
	if err != nil {
		return nil, err
	}
	if before.IsZero() {
		before = db.now().Add(time.Microsecond)
	}
	err = db.rows(ctx, "list notices", "SELECT id, at, key, data, read_at FROM notices WHERE account_id = ? AND at < ? ORDER BY at DESC, id DESC LIMIT ?",
		[]any{string(id), micros(before), int64(n)}, func(s scan) error {
			one := notice.Notice{Account: id}
			var at, read int64
			var data []byte
			if err := s(&one.ID, &at, &one.Key, &data, &read); err != nil {
				return err
			}
			one.At, one.ReadAt = moment(at), moment(read)
			if box != nil {
				plain, err := box.Unseal("notices.data:"+one.ID, data)
				switch {
				case errors.Is(err, secret.ErrSealed): // under a key that was erased
				case err != nil:
					return err
				default:
					var j noticeJSON
					if err := json.Unmarshal(plain, &j); err != nil {
						return err
					}
					one.Network, one.Agent, one.Details = j.Network, j.Agent, j.Details
				}
			}
			out = append(out, one)
			return nil
		})
	return out, err
}

// readerOf opens what is sealed under a person's key; nil for one who was erased. It asks the database each time.
func (db *DB) readerOf(ctx context.Context, id account.ID) (sealer, error) {
	var key []byte
	err := db.row(ctx, "read person key", "SELECT sealed FROM person_keys WHERE account_id = ?", []any{string(id)}, into(&key))
	if errors.Is(err, fault.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return db.openPersonKey(id, key)
}

// mostUnread bounds the count: nobody needs to know of more.
const mostUnread = 100

// UnreadNotices is how many the person has not looked at, at most 100.
func (db *DB) UnreadNotices(ctx context.Context, id account.ID) (int, error) {
	if id == "" {
		return 0, nil
	}
	var n int64
	err := db.row(ctx, "count notices", "SELECT COUNT(*) FROM (SELECT 1 FROM notices WHERE account_id = ? AND read_at = 0 LIMIT 100) AS unread", []any{string(id)}, into(&n))
	return int(min(n, mostUnread)), err
}

// ReadNotices says that the person has looked at all of them up to a moment.
func (db *DB) ReadNotices(ctx context.Context, id account.ID, until, now time.Time) error {
	if id == "" {
		return errEmpty("account id")
	}
	return db.later(ctx, "read notices", "UPDATE notices SET read_at = ? WHERE account_id = ? AND read_at = 0 AND at <= ?", micros(now), string(id), micros(until))
}

// NoticeToken says whose link it is, if it may still be used; fault.ErrNotFound.
func (db *DB) NoticeToken(ctx context.Context, hash []byte, now time.Time) (account.ID, error) {
	if len(hash) == 0 {
		return "", fault.ErrNotFound
	}
	var owner string
	err := db.row(ctx, "read notice token", "SELECT account_id FROM notices WHERE token = ? AND token_used_at = 0 AND token_until > ?", []any{hash, micros(now)}, into(&owner))
	return account.ID(owner), err
}

// UseNoticeToken uses up the link, once; fault.ErrNotFound.
func (db *DB) UseNoticeToken(ctx context.Context, hash []byte, now time.Time) (account.ID, error) {
	if len(hash) == 0 {
		return "", fault.ErrNotFound
	}
	var owner string
	err := db.row(ctx, "use notice token", "UPDATE notices SET token_used_at = ? WHERE token = ? AND token_used_at = 0 AND token_until > ? RETURNING account_id",
		[]any{micros(now), hash, micros(now)}, into(&owner))
	return account.ID(owner), err
}
