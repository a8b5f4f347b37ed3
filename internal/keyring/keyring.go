// Package keyring owns the stored shape of a token signing key, where the database and the life cycle of keys meet.
// Enter with Store. It refuses nothing by itself: states and their order belong to provider/keys.
package keyring

import (
	"context"
	"time"
)

// Stored is one signing key as kept. Sealed is the private key, sealed by the life cycle, opaque to the store.
type Stored struct {
	KID, Alg, State                                          string
	Sealed                                                   []byte
	CreatedAt, PublishedAt, ActivatesAt, RetiresAt, RemoveAt time.Time // zero = not known yet
	Version                                                  int64
}

// Store keeps signing keys. SigningKeys lists all, oldest first. CreateSigningKey answers fault.ErrConflict when the KID
// is taken. UpdateSigningKey writes State, the times and Sealed (empty when the key is removed) if Version is still
// the stored one and raises it; else fault.ErrConflict.
type Store interface {
	SigningKeys(ctx context.Context) ([]Stored, error)
	CreateSigningKey(ctx context.Context, k Stored) error
	UpdateSigningKey(ctx context.Context, k Stored) error
}
