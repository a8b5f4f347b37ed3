package storage

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/fault"
)

var (
	_ clients.Store = (*DB)(nil)
	_ clients.Store = (*CachedClients)(nil)
)

// clientRow is a row of clients; Data is the registration as JSON, which holds MACs of secrets and nothing personal. Logo
// is read by itself: registrations are kept in memory, and pictures are large.
type clientRow struct {
	ID        string `gorm:"primaryKey"`
	Data      []byte
	Version   int64
	UpdatedAt int64 `gorm:"autoUpdateTime:false"`
	Logo      []byte
}

var withoutLogo = []string{"id", "data", "version", "updated_at"}

func (clientRow) TableName() string { return "clients" }

func (r clientRow) client() (c clients.Client, err error) {
	if err = json.Unmarshal(r.Data, &c); err != nil {
		return c, fmt.Errorf("storage: client %s: %w", r.ID, err)
	}
	c.ID, c.Version = r.ID, r.Version
	return c, nil
}

// Client reads one registration; fault.ErrNotFound.
func (db *DB) Client(ctx context.Context, id string) (c clients.Client, err error) {
	if id == "" {
		return c, fault.ErrNotFound
	}
	g, err := db.model(ctx, true)
	if err != nil {
		return c, err
	}
	var r clientRow
	if err := g.Select(withoutLogo).Where("id = ?", id).Take(&r).Error; err != nil {
		return c, explain("read client", err)
	}
	return r.client()
}

// Clients reads all registrations, by id.
func (db *DB) Clients(ctx context.Context) ([]clients.Client, error) {
	g, err := db.model(ctx, true)
	if err != nil {
		return nil, err
	}
	var rows []clientRow
	if err := g.Select(withoutLogo).Order("id").Find(&rows).Error; err != nil {
		return nil, explain("list clients", err)
	}
	out := make([]clients.Client, len(rows))
	for i, r := range rows {
		if out[i], err = r.client(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// SaveClient stores a new client (Version 0) or a changed one if its Version is still the stored one; else
// fault.ErrConflict. A logo without its PNG, as it was read, stays as it is stored. Every cache hears of it.
func (db *DB) SaveClient(ctx context.Context, c clients.Client) error {
	if c.ID == "" {
		return errEmpty("client id")
	}
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("storage: client %s: %w", c.ID, err)
	}
	keep := c.Logo.Hash != "" && c.Logo.PNG == nil
	if keep && c.Version == 0 {
		return fmt.Errorf("storage: client %s: a new logo without its picture", c.ID)
	}
	logo, png := "excluded.logo", c.Logo.PNG
	if keep {
		logo = "clients.logo"
	}
	if png == nil {
		png = []byte{} // NULL is not empty
	}
	return db.Atomically(ctx, func(ctx context.Context) error {
		if err := one(db.exec(ctx, "save client", "INSERT INTO clients (id, data, version, updated_at, logo) VALUES (?, ?, 1, ?, ?) ON CONFLICT (id) DO UPDATE SET "+
			"data = excluded.data, version = clients.version + 1, updated_at = excluded.updated_at, logo = "+logo+" WHERE clients.version = ?",
			c.ID, data, micros(db.now()), png, c.Version)); err != nil {
			return err
		}
		return db.changed(ctx, TopicClients)
	})
}

// CachedClients holds all registrations in memory: reading costs no statement. It follows changes when its Changed is
// called from Watch.
type CachedClients struct {
	db   *DB
	all  atomic.Pointer[registered]
	ctx  context.Context
	wake chan struct{}
	mu   sync.Mutex // of Refresh

	pictures pictures
}

// registered is what one look at the table found.
type registered struct {
	clients map[string]clients.Client
	logos   map[string]string // hash → id of a client that has it
}

// CachedClients reads all registrations and keeps them up to date, while Watch tells it to, until ctx ends.
func (db *DB) CachedClients(ctx context.Context) (*CachedClients, error) {
	c := &CachedClients{db: db, ctx: ctx, wake: make(chan struct{}, 1)}
	if err := c.Refresh(ctx); err != nil {
		return nil, err
	}
	go c.follow()
	return c, nil
}

// Changed makes the cache read again soon when the topic is TopicClients. It never blocks: hand it to Watch.
func (c *CachedClients) Changed(topic string) {
	if topic != TopicClients {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *CachedClients) follow() {
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-c.wake:
		}
		for c.Refresh(c.ctx) != nil { // the database is away: what is known stands until it is back
			again := time.NewTimer(time.Second)
			select {
			case <-c.ctx.Done():
				again.Stop()
				return
			case <-again.C:
			}
		}
	}
}

// Refresh reads all registrations now. One at a time: what an earlier one read must not replace what a later one read.
func (c *CachedClients) Refresh(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	list, err := c.db.Clients(ctx)
	if err != nil {
		c.db.log.Warn("storage: clients not refreshed", "error", err)
		return err
	}
	all := registered{make(map[string]clients.Client, len(list)), map[string]string{}}
	for _, one := range list {
		all.clients[one.ID] = one
		if one.Logo.Hash != "" {
			all.logos[one.Logo.Hash] = one.ID
		}
	}
	c.all.Store(&all)
	return nil
}

// Client returns one registration, not to be changed; fault.ErrNotFound.
func (c *CachedClients) Client(_ context.Context, id string) (clients.Client, error) {
	one, ok := c.all.Load().clients[id]
	if !ok {
		return clients.Client{}, fault.ErrNotFound
	}
	return one, nil
}

// Clients returns all registrations, by id.
func (c *CachedClients) Clients(context.Context) ([]clients.Client, error) {
	all := c.all.Load().clients
	out := make([]clients.Client, 0, len(all))
	for _, one := range all {
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b clients.Client) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// SaveClient writes through; this cache knows the change as soon as it has committed.
func (c *CachedClients) SaveClient(ctx context.Context, one clients.Client) error {
	if err := c.db.SaveClient(ctx, one); err != nil {
		return err
	}
	c.db.afterCommit(ctx, func() {
		if c.Refresh(context.WithoutCancel(ctx)) != nil {
			c.Changed(TopicClients)
		}
	})
	return nil
}
