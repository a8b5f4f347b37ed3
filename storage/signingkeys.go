package storage

import (
	"context"

	"github.com/kapi-id/kapi/internal/keyring"
)

var _ keyring.Store = (*DB)(nil)

type signingKey struct {
	KID         string `gorm:"column:kid;primaryKey"`
	Alg         string
	State       string
	Sealed      []byte
	CreatedAt   int64 `gorm:"autoCreateTime:false"`
	PublishedAt int64
	ActivatesAt int64
	RetiresAt   int64
	RemoveAt    int64
	Version     int64
}

func (signingKey) TableName() string { return "signing_keys" }

// SigningKeys lists all keys, oldest first.
func (db *DB) SigningKeys(ctx context.Context) ([]keyring.Stored, error) {
	g, err := db.model(ctx, true)
	if err != nil {
		return nil, err
	}
	var rows []signingKey
	if err := g.Order("created_at, kid").Find(&rows).Error; err != nil {
		return nil, explain("list signing keys", err)
	}
	out := make([]keyring.Stored, len(rows))
	for i, r := range rows {
		out[i] = keyring.Stored{
			KID: r.KID, Alg: r.Alg, State: r.State, Sealed: r.Sealed, CreatedAt: moment(r.CreatedAt), PublishedAt: moment(r.PublishedAt),
			ActivatesAt: moment(r.ActivatesAt), RetiresAt: moment(r.RetiresAt), RemoveAt: moment(r.RemoveAt), Version: r.Version,
		}
	}
	return out, nil
}

// CreateSigningKey stores a new key; fault.ErrConflict when its KID is taken.
func (db *DB) CreateSigningKey(ctx context.Context, k keyring.Stored) error {
	if k.KID == "" {
		return errEmpty("key id")
	}
	return db.Atomically(ctx, func(ctx context.Context) error {
		g, err := db.model(ctx, false)
		if err != nil {
			return err
		}
		if err := g.Create(&signingKey{
			KID: k.KID, Alg: k.Alg, State: k.State, Sealed: k.Sealed, CreatedAt: micros(k.CreatedAt), PublishedAt: micros(k.PublishedAt),
			ActivatesAt: micros(k.ActivatesAt), RetiresAt: micros(k.RetiresAt), RemoveAt: micros(k.RemoveAt), Version: 1,
		}).Error; err != nil {
			return explain("create signing key", err)
		}
		return db.changed(ctx, TopicSigningKeys)
	})
}

// UpdateSigningKey moves a key through its life if Version is still the stored one; else fault.ErrConflict. A removed
// key may come with an empty Sealed, which wipes it.
func (db *DB) UpdateSigningKey(ctx context.Context, k keyring.Stored) error {
	if k.KID == "" {
		return errEmpty("key id")
	}
	sealed := k.Sealed
	if sealed == nil {
		sealed = []byte{}
	}
	return db.Atomically(ctx, func(ctx context.Context) error {
		if err := one(db.exec(ctx, "update signing key", "UPDATE signing_keys SET state = ?, sealed = ?, published_at = ?, activates_at = ?, retires_at = ?, remove_at = ?, version = version + 1 "+
			"WHERE kid = ? AND version = ?", k.State, sealed, micros(k.PublishedAt), micros(k.ActivatesAt), micros(k.RetiresAt), micros(k.RemoveAt), k.KID, k.Version)); err != nil {
			return err
		}
		return db.changed(ctx, TopicSigningKeys)
	})
}
