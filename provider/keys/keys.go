// Package keys owns the keys that sign tokens: their life (created → published → active → retired → removed), the key
// set that clients fetch, and the signature itself.
//
// A key is made sealed into the database and published in the key set; only when every client that caches the set has had
// time to see it (MaxAge) does it sign; and when it no longer signs it stays published until the last token it signed is
// over. So a rotation fails no request and shows no client an unknown key, on any number of replicas. The first key of an
// algorithm and a rotation by --now cannot wait that long; they wait Settle, until every replica publishes the key, and
// leave it to clients to fetch the set again when they meet a new key id, as they must (OpenID Connect Core §10.1.1).
//
// Enter with New; serve JWKS, sign with Sign, call Refresh every two seconds and on each change feed, and let the leader
// call Advance. The package refuses to sign with a key before its time, with "none" and with symmetric algorithms.
package keys

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/keyring"
	"github.com/kapi-id/kapi/internal/secret"
)

const (
	// MaxAge is how long a client may cache the key set (Cache-Control: max-age at /keys).
	MaxAge = 24 * time.Hour
	// SignFor is how long a key signs before the leader replaces it.
	SignFor = 180 * 24 * time.Hour
	// LongestToken is how long a signature is of use: an ID token is a hint as long as its session (12 h).
	LongestToken = 12 * time.Hour
	// Keep is how long a key stays published after it signed for the last time.
	Keep = LongestToken + MaxAge
	// Settle is how long another replica may at most lag behind the store: it looks every two seconds.
	Settle = 3 * time.Second
)

// States of a key, in order.
const (
	Created   = "created"   // stored, known to nobody
	Published = "published" // in the key set
	Active    = "active"    // signs; at most one of an algorithm
	Retired   = "retired"   // in the key set for what it signed
	Removed   = "removed"
)

// Default is the algorithm every installation has a key of; keys of the others are made when somebody first asks.
const Default = "ES256"

// Algorithms lists what can be signed with, the default first.
func Algorithms() []string { return []string{"ES256", "RS256", "PS256", "EdDSA"} }

// Store is the key table, written in the same transaction as the audit event.
type Store interface {
	keyring.Store
	Atomically(ctx context.Context, fn func(context.Context) error) error
}

// Config is what a Ring needs.
type Config struct {
	Store  Store
	Secret *secret.Ring
	Audit  audit.Recorder
	Now    func() time.Time
	Log    *slog.Logger
	// Actor of the audit events: "cli" on the command line, "" in the server.
	Actor string
	// Settle is 0 where a single server runs (SQLite), the constant Settle where there may be several.
	Settle time.Duration
}

// Ring holds the opened keys in memory. It is safe for concurrent use.
type Ring struct {
	Config
	wait func(ctx context.Context, d time.Duration) error // a timer, or the test's clock

	set     atomic.Pointer[set]
	refresh sync.Mutex // a read that began earlier must not replace what a later one found
	making  sync.Mutex // of first keys
}

// set is one view of the stored keys. It never changes.
type set struct {
	keys []*key // oldest first, without created and removed ones
	body []byte
	etag string
}

// key is an opened key. Only the stored part is replaced, with the whole key, when its row changes.
type key struct {
	keyring.Stored
	*signer
}

// New loads the keys and makes the first one of an empty store.
func New(ctx context.Context, c Config) (*Ring, error) {
	r := &Ring{Config: c, wait: sleep}
	if err := r.Refresh(ctx); err != nil && !errors.Is(err, errEmpty) {
		return nil, err
	}
	if r.current().of(Default) == nil {
		// No replica serves before it has this key, so nobody has to be waited for.
		if err := r.create(ctx, Default, 0); err != nil {
			return nil, err
		}
	}
	return r, nil
}

var errEmpty = errors.New("keys: the store shows no signing key")

func (r *Ring) current() *set {
	if s := r.set.Load(); s != nil {
		return s
	}
	return &set{}
}

// Refresh reads the stored keys and takes over what changed. On an error the ring goes on with what it has.
func (r *Ring) Refresh(ctx context.Context) error {
	r.refresh.Lock()
	defer r.refresh.Unlock()
	rows, err := r.Store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("keys: read signing keys: %w", err)
	}
	old := r.current()
	next := &set{}
	for _, row := range rows {
		if row.State == Created || row.State == Removed {
			continue
		}
		known := old.find(row.KID)
		if known == nil {
			s, err := r.open(row)
			if err != nil {
				return err
			}
			known = &key{signer: s}
		}
		next.keys = append(next.keys, &key{Stored: row, signer: known.signer})
	}
	if len(next.keys) == 0 {
		return errEmpty // an emptied table must not empty the key set that clients see
	}
	if slices.EqualFunc(old.keys, next.keys, func(a, b *key) bool { return a.KID == b.KID && a.Version == b.Version && a.State == b.State }) {
		return nil
	}
	if next.body, err = json.Marshal(jose.JSONWebKeySet{Keys: next.public()}); err != nil {
		return fmt.Errorf("keys: write key set: %w", err)
	}
	sum := sha256.Sum256(next.body)
	next.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	r.set.Store(next)
	return nil
}

// JWKS is the key set as served at /keys, with its entity tag. The caller must not change body.
func (r *Ring) JWKS() (body []byte, etag string) {
	s := r.current()
	return s.body, s.etag
}

// Public lists the published keys, for checking signatures of our own.
func (r *Ring) Public() []jose.JSONWebKey { return r.current().public() }

// Key returns the published key of that id.
func (r *Ring) Key(kid string) (jose.JSONWebKey, bool) {
	k := r.current().find(kid)
	if k == nil {
		return jose.JSONWebKey{}, false
	}
	return k.jwk, true
}

func (s *set) find(kid string) *key {
	for _, k := range s.keys {
		if k.KID == kid {
			return k
		}
	}
	return nil
}

func (s *set) public() []jose.JSONWebKey {
	out := make([]jose.JSONWebKey, len(s.keys))
	for i, k := range s.keys {
		out[i] = k.jwk
	}
	return out
}

// of returns the active key of the algorithm, due or not; nil for none.
func (s *set) of(alg string) *key {
	for _, k := range s.keys {
		if k.Alg == alg && k.State == Active {
			return k
		}
	}
	return nil
}

// signing returns the key to sign with at now: the active one, or while that is not due by this replica's clock, the one
// before it, which is still published; nil when there is none.
func (s *set) signing(alg string, now time.Time) *key {
	var best *key
	for _, k := range s.keys {
		if k.Alg != alg || k.State == Published || now.Before(k.ActivatesAt) && !k.settled.Load() {
			continue
		}
		if best == nil || k.State == Active || best.State != Active && k.ActivatesAt.After(best.ActivatesAt) {
			best = k
		}
	}
	return best
}

// Key as listed: what is stored, without the private part.
type Key struct {
	KID         string    `json:"kid"`
	Alg         string    `json:"alg"`
	State       string    `json:"state"`
	CreatedAt   time.Time `json:"created_at"`
	PublishedAt time.Time `json:"published_at,omitzero"`
	ActivatesAt time.Time `json:"activates_at,omitzero"`
	RetiresAt   time.Time `json:"retires_at,omitzero"`
	RemoveAt    time.Time `json:"remove_at,omitzero"`
}

func shown(k keyring.Stored) Key {
	return Key{k.KID, k.Alg, k.State, k.CreatedAt, k.PublishedAt, k.ActivatesAt, k.RetiresAt, k.RemoveAt}
}

// List reads all keys from the store, by algorithm, oldest first, the removed ones too.
func (r *Ring) List(ctx context.Context) ([]Key, error) {
	rows, err := r.Store.SigningKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("keys: read signing keys: %w", err)
	}
	out := make([]Key, len(rows))
	for i, row := range rows {
		out[i] = shown(row)
	}
	slices.SortStableFunc(out, func(a, b Key) int { return strings.Compare(a.Alg, b.Alg) })
	return out, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
