package storage

import (
	"context"
	"time"

	"github.com/kapi-id/kapi/internal/secret"
)

var _ secret.Store = (*DB)(nil)

type wrappedKey struct {
	Purpose   string `gorm:"primaryKey"`
	ID        int64  `gorm:"primaryKey"`
	Wrapped   []byte
	CreatedAt int64 `gorm:"autoCreateTime:false"`
}

func (wrappedKey) TableName() string { return "wrapped_keys" }

// WrappedKeys lists all keys.
func (db *DB) WrappedKeys(ctx context.Context) ([]secret.Wrapped, error) {
	g, err := db.model(ctx, true)
	if err != nil {
		return nil, err
	}
	var rows []wrappedKey
	if err := g.Order("purpose, id").Find(&rows).Error; err != nil {
		return nil, explain("list wrapped keys", err)
	}
	out := make([]secret.Wrapped, len(rows))
	for i, r := range rows {
		out[i] = secret.Wrapped{ID: uint32(r.ID), Purpose: secret.Purpose(r.Purpose), Key: r.Wrapped, CreatedAt: moment(r.CreatedAt)}
	}
	return out, nil
}

// AddWrappedKey stores a new key; fault.ErrConflict when the purpose has one of that ID.
func (db *DB) AddWrappedKey(ctx context.Context, w secret.Wrapped) error {
	if w.Purpose == "" || w.ID == 0 {
		return errEmpty("key purpose or id")
	}
	g, err := db.model(ctx, false)
	if err != nil {
		return err
	}
	return explain("add wrapped key", g.Create(&wrappedKey{
		Purpose: string(w.Purpose), ID: int64(w.ID), Wrapped: w.Key, CreatedAt: micros(w.CreatedAt.Truncate(time.Microsecond)),
	}).Error)
}
