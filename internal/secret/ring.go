// Package secret owns the keys that are not signing keys: the root key in its file, the keys per purpose that it wraps
// in the database, sealing, blind indexes, MACs, and the random tokens whose hashes are stored. Enter with NewRoot,
// ReadRoot and Open. It refuses to guess: a root that does not open every stored key is an error, never a reason to make
// a new one, and a value sealed at one place does not open at another.
package secret

import (
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
)

// Purpose keeps keys apart: what is good for one use is good for no other.
type Purpose string

const (
	Seal    Purpose = "seal"    // encryption at rest
	Index   Purpose = "index"   // blind indexes
	Pepper  Purpose = "pepper"  // of password hashes and one-time codes
	Subject Purpose = "subject" // the sub claim; never rotates, or every pairwise sub would change
	Tokens  Purpose = "token"   // client secrets, refresh tokens
	Cookie  Purpose = "cookie"  // values handed to browsers
	Push    Purpose = "push"    // the key that browsers bind push subscriptions to; never rotates, or none of them would be reached
)

// Purposes lists all, each of which has at least one key in a Ring.
var Purposes = []Purpose{Seal, Index, Pepper, Subject, Tokens, Cookie, Push}

// Wrapped is a key as stored: 32 bytes sealed under the root. ID is its version, counted from 1 within its purpose.
type Wrapped struct {
	ID        uint32
	Purpose   Purpose
	Key       []byte
	CreatedAt time.Time
}

// Store keeps wrapped keys. AddWrappedKey answers fault.ErrConflict when the purpose has a key of that ID already: of
// two processes that start at once on an empty database one makes the key and both use it.
type Store interface {
	WrappedKeys(ctx context.Context) ([]Wrapped, error)
	AddWrappedKey(ctx context.Context, w Wrapped) error
}

// ErrSealed is the answer to a sealed value that does not open: another place, another key, or changed.
var ErrSealed = errors.New("secret: sealed value does not open here")

// keyring of one purpose, by version. The highest version is the one in use.
type versions struct {
	newest uint32
	keys   map[uint32][]byte
}

// Ring holds the opened keys. It never changes, so it is safe for concurrent use.
type Ring struct {
	by    map[Purpose]versions
	boxes map[uint32]*Box // of Seal
}

// Open reads and unwraps the stored keys and makes those that are missing.
func Open(ctx context.Context, root Root, store Store, now time.Time) (*Ring, error) {
	kek, err := root.wrapper()
	if err != nil {
		return nil, err
	}
	for range 3 { // a second look after losing the race to make a key; more would be a broken store
		stored, err := store.WrappedKeys(ctx)
		if err != nil {
			return nil, fmt.Errorf("secret: read wrapped keys: %w", err)
		}
		keys := map[Purpose]map[uint32][]byte{}
		for _, w := range stored {
			key, err := kek.Open(nil, nil, w.Key, wrapPlace(w.Purpose, w.ID))
			if err != nil || len(key) != 32 {
				return nil, fmt.Errorf("secret: the root key does not open the stored key %s/%d: is this the right KAPI_SECRET_FILE for this database?", w.Purpose, w.ID)
			}
			if keys[w.Purpose] == nil {
				keys[w.Purpose] = map[uint32][]byte{}
			}
			keys[w.Purpose][w.ID] = key
		}
		if len(keys[Subject]) > 1 {
			return nil, errors.New("secret: there is more than one subject key; every pairwise sub would be in doubt")
		}
		made, err := makeMissing(ctx, kek, store, keys, now)
		if err != nil {
			return nil, err
		}
		if made {
			return newRing(keys)
		}
	}
	return nil, errors.New("secret: the store neither takes nor shows a key")
}

// makeMissing adds a first key to each purpose without one; false when somebody else was faster.
func makeMissing(ctx context.Context, kek cipher.AEAD, store Store, keys map[Purpose]map[uint32][]byte, now time.Time) (bool, error) {
	for _, p := range Purposes {
		if len(keys[p]) > 0 {
			continue
		}
		key := random()
		w := Wrapped{ID: 1, Purpose: p, Key: kek.Seal(nil, nil, key, wrapPlace(p, 1)), CreatedAt: now}
		switch err := store.AddWrappedKey(ctx, w); {
		case errors.Is(err, fault.ErrConflict):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("secret: store a new %s key: %w", p, err)
		}
		keys[p] = map[uint32][]byte{1: key}
	}
	return true, nil
}

// Ephemeral makes a ring of random keys that nobody stores, for tests.
func Ephemeral() *Ring {
	keys := map[Purpose]map[uint32][]byte{}
	for _, p := range Purposes {
		keys[p] = map[uint32][]byte{1: random()}
	}
	r, err := newRing(keys)
	if err != nil {
		panic(err) // 32-byte keys always make a ring
	}
	return r
}

func newRing(keys map[Purpose]map[uint32][]byte) (*Ring, error) {
	r := &Ring{by: map[Purpose]versions{}, boxes: map[uint32]*Box{}}
	for p, all := range keys {
		v := versions{keys: all}
		for id, key := range all {
			v.newest = max(v.newest, id)
			if p == Seal {
				box, err := NewBox(key)
				if err != nil {
					return nil, err
				}
				r.boxes[id] = box
			}
		}
		r.by[p] = v
	}
	return r, nil
}

// Seal encrypts plain with the newest key: 4 bytes key id, nonce, ciphertext, tag (32 bytes more than plain). Place is
// "table.column:rowid" and must be the same at Unseal, so that a value moved to another row does not open.
func (r *Ring) Seal(place string, plain []byte) []byte {
	id := r.by[Seal].newest
	out := make([]byte, 4, 4+Overhead+len(plain))
	binary.BigEndian.PutUint32(out, id)
	return r.boxes[id].seal(out, place, plain)
}

// Unseal opens what Seal made at the same place; ErrSealed otherwise.
func (r *Ring) Unseal(place string, sealed []byte) ([]byte, error) {
	if len(sealed) < 4 {
		return nil, ErrSealed
	}
	box := r.boxes[binary.BigEndian.Uint32(sealed)]
	if box == nil {
		return nil, fmt.Errorf("%w: unknown key id %d", ErrSealed, binary.BigEndian.Uint32(sealed))
	}
	return box.Unseal(place, sealed[4:])
}

// Index is the blind index of a value: 32 bytes, equal for equal values at the same place only. The caller normalises.
func (r *Ring) Index(place, value string) []byte { return r.MAC(Index, place, value) }

// MAC is HMAC-SHA256 under the newest key of the purpose over the parts, each with its length in front, so that
// ("ab","c") and ("a","bc") differ.
func (r *Ring) MAC(p Purpose, parts ...string) []byte {
	v := r.by[p]
	return mac(v.keys[v.newest], parts)
}

// MACs is MAC under every version of the purpose's key, for what is opened by a MAC instead of compared with one.
func (r *Ring) MACs(p Purpose, parts ...string) (out [][]byte) {
	for _, key := range r.by[p].keys {
		out = append(out, mac(key, parts))
	}
	return out
}

// CheckMAC says in constant time whether mac was made by MAC under any version of the purpose's key.
func (r *Ring) CheckMAC(p Purpose, given []byte, parts ...string) bool {
	ok := false
	for _, key := range r.by[p].keys {
		ok = hmac.Equal(given, mac(key, parts)) || ok
	}
	return ok
}

func mac(key []byte, parts []string) []byte {
	if len(key) == 0 {
		panic("secret: a MAC was asked for a purpose that has no key") // an empty key would be everybody's key
	}
	h := hmac.New(sha256.New, key)
	var n [8]byte
	var buf [128]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(append(buf[:0], p...))
	}
	return h.Sum(nil)
}

// Token is a new random token: 256 bits as 43 characters of base64url.
func Token() string { return base64.RawURLEncoding.EncodeToString(random()) }

// Hash is what is stored of a token: SHA-256, enough for a value with 256 bits of its own.
func Hash(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

func random() []byte {
	b := make([]byte, 32)
	rand.Read(b) // never fails: crypto/rand ends the program instead
	return b
}
