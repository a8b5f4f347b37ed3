package storage

import (
	"context"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
)

// Credentials returns the credentials of one factor, as its Kit holds them.
func (db *DB) Credentials(factor string) factors.Credentials {
	if factor == "" {
		panic("storage: credentials of no factor")
	}
	return credentials{db, factor}
}

type credentials struct {
	db     *DB
	factor string
}

const credentialColumns = "id, account_id, handle, state, counter, data, created_at, expires_at, version"

func (c credentials) scan(s scan) (out factors.Credential, err error) {
	var owner string
	var handle *string
	var data []byte
	var created, expires int64
	if err := s(&out.ID, &owner, &handle, &out.State, &out.Counter, &data, &created, &expires, &out.Version); err != nil {
		return out, err
	}
	if handle != nil {
		out.Handle = *handle
	}
	out.Account, out.CreatedAt, out.ExpiresAt = account.ID(owner), moment(created), moment(expires)
	out.Data, err = c.db.keys().Unseal("credentials.data:"+out.ID, data)
	return out, err
}

// credentialRow is a credential as stored, sealed.
type credentialRow struct {
	factor, id, state                  string
	handle                             *string
	data                               []byte
	counter, created, expires, version int64
}

// Of returns a person's credentials of this factor, oldest first. Those of all factors are read together and remembered for the
// request, since each of them asks whether the person has one; see factors.Fresh.
func (c credentials) Of(ctx context.Context, id account.ID) (out []factors.Credential, err error) {
	if id == "" {
		return nil, nil
	}
	m := c.db.memoOf(ctx)
	all, ok := m.credentialsOf(id)
	if !ok || factors.IsFresh(ctx) {
		all = nil
		if err := c.db.rows(ctx, "list credentials", allCredentials, []any{string(id)}, func(s scan) error {
			var r credentialRow
			err := s(&r.factor, &r.id, &r.handle, &r.state, &r.counter, &r.data, &r.created, &r.expires, &r.version)
			all = append(all, r)
			return err
		}); err != nil {
			return nil, err
		}
		m.hold(id, all)
	}
	for _, r := range all {
		if r.factor != c.factor {
			continue
		}
		one := factors.Credential{ID: r.id, Account: id, State: r.state, Counter: r.counter, CreatedAt: moment(r.created), ExpiresAt: moment(r.expires), Version: r.version}
		if r.handle != nil {
			one.Handle = *r.handle
		}
		if one.Data, err = c.db.keys().Unseal("credentials.data:"+r.id, r.data); err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

const allCredentials = "SELECT factor, id, handle, state, counter, data, created_at, expires_at, version FROM credentials WHERE account_id = ? ORDER BY created_at, id"

// ByHandle finds a credential of this factor; fault.ErrNotFound, always for "".
func (c credentials) ByHandle(ctx context.Context, handle string) (out factors.Credential, err error) {
	if handle == "" {
		return out, fault.ErrNotFound
	}
	err = c.db.row(ctx, "read credential", "SELECT "+credentialColumns+" FROM credentials WHERE factor = ? AND handle = ?",
		[]any{c.factor, handle}, func(s scan) (err error) {
			out, err = c.scan(s)
			return err
		})
	return out, err
}

// ByID finds a credential of this factor; fault.ErrNotFound, always for "".
func (c credentials) ByID(ctx context.Context, id string) (out factors.Credential, err error) {
	if id == "" {
		return out, fault.ErrNotFound
	}
	err = c.db.row(ctx, "read credential", "SELECT "+credentialColumns+" FROM credentials WHERE id = ? AND factor = ?",
		[]any{id, c.factor}, func(s scan) (err error) {
			out, err = c.scan(s)
			return err
		})
	return out, err
}

// Create stores a credential; fault.ErrConflict when its ID or handle is taken.
func (c credentials) Create(ctx context.Context, n factors.Credential) (factors.Credential, error) {
	if n.Account == "" {
		return n, errEmpty("account id")
	}
	if n.ID == "" {
		n.ID = uuid.NewString()
	}
	if n.CreatedAt.IsZero() {
		n.CreatedAt = moment(micros(c.db.now()))
	}
	n.Version = 1
	release(ctx)
	var handle any
	if n.Handle != "" {
		handle = n.Handle
	}
	k, err := c.db.exec(ctx, "create credential", "INSERT INTO credentials (factor, "+credentialColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO NOTHING",
		c.factor, n.ID, string(n.Account), handle, n.State, n.Counter, c.db.keys().Seal("credentials.data:"+n.ID, n.Data), micros(n.CreatedAt), micros(n.ExpiresAt))
	return n, one(k, err)
}

// Update writes State, Counter, Data and ExpiresAt if Version is still the stored one; else fault.ErrConflict.
func (c credentials) Update(ctx context.Context, n factors.Credential) error {
	if n.ID == "" {
		return errEmpty("credential id")
	}
	release(ctx)
	return one(c.db.exec(ctx, "update credential", "UPDATE credentials SET state = ?, counter = ?, data = ?, expires_at = ?, version = version + 1 WHERE id = ? AND factor = ? AND version = ?",
		n.State, n.Counter, c.db.keys().Seal("credentials.data:"+n.ID, n.Data), micros(n.ExpiresAt), n.ID, c.factor, n.Version))
}

// Advance moves Counter forward; fault.ErrConflict when it is there or past already. It raises Version, so that an
// Update that was prepared before cannot move the counter back.
func (c credentials) Advance(ctx context.Context, id string, to int64) error {
	if id == "" {
		return errEmpty("credential id")
	}
	release(ctx)
	return one(c.db.exec(ctx, "advance credential", "UPDATE credentials SET counter = ?, version = version + 1 WHERE id = ? AND factor = ? AND counter < ?", to, id, c.factor, to))
}

// Delete removes a credential; one that is not there is no error.
func (c credentials) Delete(ctx context.Context, id string) error {
	if id == "" {
		return errEmpty("credential id")
	}
	release(ctx)
	return c.db.later(ctx, "delete credential", "DELETE FROM credentials WHERE id = ? AND factor = ?", id, c.factor)
}
