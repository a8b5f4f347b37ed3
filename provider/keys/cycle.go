package keys

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/keyring"
	"github.com/kapi-id/kapi/internal/secret"
)

// Ensure makes the first key of an algorithm where there is none, and returns when it may sign. Called when a client that
// wants the algorithm is registered, it spares that client's first person the wait.
func (r *Ring) Ensure(ctx context.Context, alg string) error {
	if !supported(alg) {
		return fmt.Errorf("keys: algorithm %q is none of %v", alg, Algorithms())
	}
	r.making.Lock()
	defer r.making.Unlock()
	if r.current().signing(alg, r.Now()) != nil {
		return nil
	}
	if err := r.Refresh(ctx); err != nil { // another replica may have made it
		return err
	}
	if r.current().of(alg) == nil {
		if err := r.create(ctx, alg, r.Settle); err != nil {
			return err
		}
	}
	k := r.current().of(alg)
	if k == nil {
		return fmt.Errorf("keys: there is no %s key and none can be made", alg)
	}
	// Until every replica publishes it. Not longer, though: the clock of whoever made it may be ahead of ours, and there is
	// no other key to sign with meanwhile.
	if d := min(k.ActivatesAt.Sub(r.Now()), r.Settle); d > 0 {
		if err := r.wait(ctx, d); err != nil {
			return err
		}
	}
	k.settled.Store(true)
	return nil
}

// create stores the first key of an algorithm, active after settle, and refreshes. Of two replicas that do so at once one
// is told of a conflict, and both use the one key.
func (r *Ring) create(ctx context.Context, alg string, settle time.Duration) error {
	rows, err := r.Store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("keys: read signing keys: %w", err)
	}
	if slices.ContainsFunc(rows, func(k keyring.Stored) bool { return k.Alg == alg && k.State == Active }) {
		return r.Refresh(ctx) // another replica made it since we looked: a second one would not collide with it
	}
	k, err := r.make(rows, alg)
	if err != nil {
		return err
	}
	now := r.Now()
	k.State, k.PublishedAt, k.ActivatesAt, k.RetiresAt = Active, now, now.Add(settle), now.Add(SignFor)
	if err := r.change(ctx, []keyring.Stored{k}, nil); err != nil && !errors.Is(err, fault.ErrConflict) {
		return err
	}
	return r.Refresh(ctx)
}

// make generates a key that is stored nowhere yet. Its id depends on the installation, the algorithm and how many keys
// there were, so that two who make the same next key collide in the store instead of making two.
func (r *Ring) make(rows []keyring.Stored, alg string) (keyring.Stored, error) {
	n := 1
	for _, row := range rows {
		if row.Alg == alg {
			n++
		}
	}
	mac := r.Secret.MAC(secret.Tokens, "signing_keys.kid", alg, strconv.Itoa(n))
	k := keyring.Stored{KID: base64.RawURLEncoding.EncodeToString(mac[:12]), Alg: alg, State: Created, CreatedAt: r.Now()}
	private, err := generate(alg)
	if err != nil {
		return k, err
	}
	k.Sealed, err = r.seal(k.KID, private)
	return k, err
}

// change writes new and changed keys and their audit events in one transaction.
func (r *Ring) change(ctx context.Context, created, updated []keyring.Stored) error {
	err := r.Store.Atomically(ctx, func(ctx context.Context) error {
		for i, k := range slices.Concat(created, updated) {
			write := r.Store.UpdateSigningKey
			if i < len(created) {
				write = r.Store.CreateSigningKey
			}
			if err := write(ctx, k); err != nil {
				return err
			}
			err := r.Audit.Record(ctx, audit.Event{
				At: r.Now(), Name: audit.SigningKeyChanged, Outcome: "ok", Actor: r.Actor,
				Details: map[string]string{"kid": k.KID, "alg": k.Alg, "state": k.State},
			})
			if err != nil {
				return err
			}
		}
		return failpoint.Here("key-write")
	})
	if err == nil {
		err = failpoint.Here("key-written")
	}
	if err != nil {
		return fmt.Errorf("keys: change signing keys: %w", err)
	}
	for _, k := range slices.Concat(created, updated) {
		r.Log.Info("signing key", "kid", k.KID, "alg", k.Alg, "state", k.State, "activates_at", k.ActivatesAt)
	}
	return nil
}

// Advance does what time demands: it publishes the successor of a key whose time is nearly over, activates it when every
// client can know it, and removes a retired key when its last token is over. The leader calls it every few seconds; two
// leaders do no harm, the slower one is told of a conflict.
func (r *Ring) Advance(ctx context.Context) error {
	rows, err := r.Store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("keys: read signing keys: %w", err)
	}
	now := r.Now()
	changed := false
	for _, alg := range Algorithms() {
		created, updated, err := r.due(rows, alg, now)
		if err != nil {
			return err
		}
		if len(created)+len(updated) == 0 {
			continue
		}
		changed = true
		if err := r.change(ctx, created, updated); err != nil && !errors.Is(err, fault.ErrConflict) {
			return err
		}
	}
	if !changed {
		return nil
	}
	return r.Refresh(ctx)
}

// due decides what is to be changed of one algorithm at now.
func (r *Ring) due(rows []keyring.Stored, alg string, now time.Time) (created, updated []keyring.Stored, err error) {
	active, next := lead(rows, alg)
	for _, k := range rows {
		switch {
		case k.Alg != alg:
		case k.State == Created: // stored by hand, or by a release that published in a second step
			k.State, k.PublishedAt, k.ActivatesAt = Published, now, now.Add(MaxAge)
			updated = append(updated, k)
		case k.State == Retired && !now.Before(k.RemoveAt):
			k.State, k.Sealed = Removed, nil
			updated = append(updated, k)
		}
	}
	switch {
	case next != nil && next.State == Published && !now.Before(next.ActivatesAt):
		updated = append(updated, activate(active, *next, now)...)
	case next == nil && active != nil && !now.Before(active.RetiresAt.Add(-MaxAge)):
		k, err := r.make(rows, alg)
		if err != nil {
			return nil, nil, err
		}
		k.State, k.PublishedAt, k.ActivatesAt = Published, now, now.Add(MaxAge)
		created = append(created, k)
	}
	return created, updated, nil
}

// lead returns the active key of an algorithm and its successor, nil where there is none.
func lead(rows []keyring.Stored, alg string) (active, next *keyring.Stored) {
	for i := range rows {
		switch k := &rows[i]; {
		case k.Alg != alg:
		case k.State == Active:
			active = k
		case next == nil && (k.State == Published || k.State == Created):
			next = k
		}
	}
	return active, next
}

// activate hands over from active (nil = none) to next.
func activate(active *keyring.Stored, next keyring.Stored, now time.Time) []keyring.Stored {
	next.State, next.RetiresAt = Active, now.Add(SignFor)
	if active == nil {
		return []keyring.Stored{next}
	}
	old := *active
	old.State, old.RetiresAt, old.RemoveAt = Retired, now, now.Add(Keep)
	return []keyring.Stored{old, next}
}

// Rotate replaces the key of every algorithm in use and returns the new ones. Without at once, the successor is published
// now and signs after MaxAge; one that waits already stays. At once is the emergency: a new key signs as soon as every
// replica publishes it, and a waiting successor, which may be known to whoever knew the old key, is thrown away. The old
// key stays published for what it signed; clients that cache the set meet a key id they have to fetch.
func (r *Ring) Rotate(ctx context.Context, atOnce bool) ([]Key, error) {
	rows, err := r.Store.SigningKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("keys: read signing keys: %w", err)
	}
	var out []Key
	var waiting []string
	for _, alg := range Algorithms() {
		active, next := lead(rows, alg)
		switch {
		case active == nil && next == nil:
			continue
		case next != nil && !atOnce:
			out = append(out, shown(*next))
			continue
		}
		k, err := r.make(rows, alg)
		if err != nil {
			return out, err
		}
		now := r.Now()
		k.State, k.PublishedAt, k.ActivatesAt = Published, now, now.Add(MaxAge)
		var dropped []keyring.Stored
		if atOnce {
			k.ActivatesAt = now.Add(r.Settle)
			for _, row := range rows {
				if row.Alg == alg && (row.State == Published || row.State == Created) {
					row.State, row.RemoveAt, row.Sealed = Removed, now, nil
					dropped = append(dropped, row)
				}
			}
			waiting = append(waiting, k.KID)
		}
		if err := r.change(ctx, []keyring.Stored{k}, dropped); err != nil {
			return out, conflict(err)
		}
		out = append(out, shown(k))
	}
	if len(waiting) > 0 {
		if err := r.wait(ctx, r.Settle); err != nil {
			return out, err
		}
		if err := r.Advance(ctx); err != nil { // the leader may be faster; both are right
			return out, err
		}
		if out, err = r.only(ctx, waiting); err != nil {
			return out, err
		}
	}
	return out, r.Refresh(ctx)
}

// Remove takes a key out of the published set before its time, and its private part out of the store: whoever got hold of it can make
// nothing more that clients accept, once they have fetched the set anew. What it signed ends with it. The key that signs has to be rotated
// first.
func (r *Ring) Remove(ctx context.Context, kid string) error {
	rows, err := r.Store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("keys: read signing keys: %w", err)
	}
	i := slices.IndexFunc(rows, func(k keyring.Stored) bool { return k.KID == kid })
	switch {
	case i < 0:
		return fmt.Errorf("there is no key %q", kid)
	case rows[i].State == Active:
		return fmt.Errorf("key %s signs now; put another in its place first, with kapi keys rotate --now", kid)
	case rows[i].State == Removed:
		return nil
	}
	rows[i].State, rows[i].RemoveAt, rows[i].Sealed = Removed, r.Now(), nil
	if err := r.change(ctx, nil, rows[i:i+1]); err != nil {
		return conflict(err)
	}
	return r.Refresh(ctx)
}

// only lists the keys of these ids as they are now.
func (r *Ring) only(ctx context.Context, kids []string) ([]Key, error) {
	all, err := r.List(ctx)
	return slices.DeleteFunc(all, func(k Key) bool { return !slices.Contains(kids, k.KID) }), err
}

func conflict(err error) error {
	if errors.Is(err, fault.ErrConflict) {
		return fmt.Errorf("somebody else rotates keys at this moment; look at the list and try again: %w", err)
	}
	return err
}
