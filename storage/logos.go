package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"

	"github.com/kapi-id/kapi/internal/fault"
)

// ClientLogo reads the PNG of a client's logo, empty if it has none; fault.ErrNotFound.
func (db *DB) ClientLogo(ctx context.Context, id string) (png []byte, err error) {
	if id == "" {
		return nil, fault.ErrNotFound
	}
	err = db.row(ctx, "read logo", "SELECT logo FROM clients WHERE id = ?", []any{id}, into(&png))
	return png, err
}

// mostPictures bounds what is kept in memory of logos, in bytes.
const mostPictures = 16 << 20

// pictures are logos by hash that were asked for before.
type pictures struct {
	mu   sync.Mutex
	kept map[string][]byte
	size int
}

func (p *pictures) get(hash string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kept[hash]
}

// keep begins anew when there are too many: an institution's picture is read again at the next request.
func (p *pictures) keep(hash string, png []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.size+len(png) > mostPictures {
		p.kept, p.size = nil, 0
	}
	if p.kept == nil {
		p.kept = map[string][]byte{}
	}
	if p.kept[hash] == nil {
		p.kept[hash] = png
		p.size += len(png)
	}
}

// Logo returns the PNG of a registered logo by its hash, not to be changed; fault.ErrNotFound. A hash that no client has
// costs no statement, and one that some have costs one, now and then.
func (c *CachedClients) Logo(ctx context.Context, hash string) ([]byte, error) {
	id, ok := c.all.Load().logos[hash]
	if !ok {
		return nil, fault.ErrNotFound
	}
	if png := c.pictures.get(hash); png != nil {
		return png, nil
	}
	png, err := c.db.ClientLogo(ctx, id)
	if err != nil {
		return nil, err
	}
	// The address is for ever: what another process put there meanwhile is not this picture.
	if sum := sha256.Sum256(png); hex.EncodeToString(sum[:]) != hash {
		return nil, fault.ErrNotFound
	}
	c.pictures.keep(hash, png)
	return png, nil
}
