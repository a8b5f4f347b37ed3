package storage

import (
	"context"
	"errors"
	"sync"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
)

// personKeys remembers the opened keys of people, who usually cause several events in a row. It serves writing only:
// whoever reads events asks the database, so that an erased person is unreadable at once.
type personKeys struct {
	mu    sync.RWMutex
	boxes map[account.ID]*secret.Box
}

// mostPersonKeys bounds the memory: about 1 KiB each.
const mostPersonKeys = 8192

func newPersonKeys() *personKeys { return &personKeys{boxes: map[account.ID]*secret.Box{}} }

func (k *personKeys) get(id account.ID) *secret.Box {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.boxes[id]
}

func (k *personKeys) put(id account.ID, box *secret.Box) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for old := range k.boxes { // a random half goes when it is full
		if len(k.boxes) < mostPersonKeys {
			break
		}
		delete(k.boxes, old)
	}
	k.boxes[id] = box
}

func (k *personKeys) drop(id account.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.boxes, id)
}

// learnPersonKey caches a key that was read along with something else. One that does not open is met again, and told,
// by whoever needs it.
func (db *DB) learnPersonKey(id account.ID, sealed []byte) {
	if db.persons.get(id) != nil {
		return
	}
	if box, err := db.openPersonKey(id, sealed); err == nil {
		db.persons.put(id, box)
	}
}

func (db *DB) openPersonKey(id account.ID, sealed []byte) (*secret.Box, error) {
	key, err := db.keys().Unseal("person_keys.sealed:"+string(id), sealed)
	if err != nil {
		return nil, err
	}
	return secret.NewBox(key)
}

// madePersonKey remembers a key made in the transaction of ctx: for the transaction now, for others when it commits.
func (db *DB) madePersonKey(ctx context.Context, id account.ID, key []byte) error {
	box, err := secret.NewBox(key)
	if err != nil {
		return err
	}
	if t := db.tx(ctx); t != nil {
		if t.made == nil {
			t.made = map[account.ID]*secret.Box{}
		}
		t.made[id] = box
		return nil
	}
	db.persons.put(id, box)
	return nil
}

// personKey returns the key that seals events about the person, made now if there is none.
func (db *DB) personKey(ctx context.Context, id account.ID) (*secret.Box, error) {
	if t := db.tx(ctx); t != nil && t.made[id] != nil {
		return t.made[id], nil
	}
	if box := db.persons.get(id); box != nil {
		return box, nil
	}
	read := func() (*secret.Box, error) {
		var sealed []byte
		if err := db.row(ctx, "read person key", "SELECT sealed FROM person_keys WHERE account_id = ?", []any{string(id)}, into(&sealed)); err != nil {
			return nil, err
		}
		return db.openPersonKey(id, sealed)
	}
	box, err := read()
	if errors.Is(err, fault.ErrNotFound) {
		key := secret.NewKey()
		n, err := db.exec(ctx, "create person key", "INSERT INTO person_keys (account_id, sealed, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
			string(id), db.keys().Seal("person_keys.sealed:"+string(id), key), micros(db.now()))
		if err != nil {
			return nil, err
		}
		if n == 1 {
			if err := db.madePersonKey(ctx, id, key); err != nil {
				return nil, err
			}
			return secret.NewBox(key)
		}
		box, err = read() // somebody else was faster
		if err != nil {
			return nil, err
		}
		db.persons.put(id, box)
		return box, nil
	}
	if err != nil {
		return nil, err
	}
	db.persons.put(id, box)
	return box, nil
}

// ForgetPerson deletes the person's key: the personal fields of every event about the person are unreadable from then
// on, in each backup that does not hold the key too, and the chain of the record stays verifiable. Other replicas may
// still write, but not read, with the key they remember.
func (db *DB) ForgetPerson(ctx context.Context, id account.ID) error {
	if id == "" {
		return errEmpty("account id")
	}
	if t := db.tx(ctx); t != nil {
		delete(t.made, id)
	}
	_, err := db.exec(ctx, "forget person", "DELETE FROM person_keys WHERE account_id = ?", string(id))
	db.afterCommit(ctx, func() { db.persons.drop(id) })
	return err
}
