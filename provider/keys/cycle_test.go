package keys

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kapi-id/kapi/internal/keyring"
)

// A whole rotation on two replicas, minute by minute: no signature fails, and a client that fetched the set from either
// replica up to MaxAge ago knows every key it meets. n2 looks at the store only every 13 minutes.
func TestRotation_NoClientMeetsAnUnknownKey(t *testing.T) {
	f := newFleet(t, 2)
	n1, n2 := f.nodes[0], f.nodes[1]
	oldKID := n1.Public()[0].KeyID
	fetched := map[string]time.Time{} // every set a client may hold, by when it was last to be had
	rotated, err := n1.Rotate(t.Context(), false)
	f.must(err)
	begin := f.now
	kids := map[string]bool{}
	for minute := range int((2*MaxAge + Keep) / time.Minute) {
		f.now = begin.Add(time.Duration(minute) * time.Minute)
		f.must(n1.Advance(t.Context()))
		f.must(n1.Refresh(t.Context()))
		if minute%13 == 0 {
			f.must(n2.Refresh(t.Context()))
		}
		fetched[string(body(n1))], fetched[string(body(n2))] = f.now, f.now
		if minute%15 != 0 {
			continue
		}
		for _, signer := range []*Ring{n1, n2} {
			token, err := signer.Sign(t.Context(), "ES256", "JWT", nil)
			f.must(err)
			jws, _ := jose.ParseSignedCompact(token, all)
			kids[jws.Signatures[0].Protected.KeyID] = true
			for set, at := range fetched {
				if f.now.Sub(at) > MaxAge {
					continue
				}
				if err := verify(token, "ES256", "JWT", []byte(set)); err != nil {
					t.Fatalf("minute %d, set of %s: %v", minute, at, err)
				}
			}
		}
		if minute == 60 {
			if again, err := n2.Rotate(t.Context(), false); err != nil || again[0].KID != rotated[0].KID {
				t.Fatalf("a second rotation beside the first: %v, %v", again, err)
			}
		}
	}
	if len(kids) != 2 || !kids[oldKID] || !kids[rotated[0].KID] {
		t.Errorf("signed with %v; want the old and the new key", kids)
	}
	if public := n1.Public(); len(public) != 1 || public[0].KeyID != rotated[0].KID {
		t.Errorf("published at the end: %v", public)
	}
	var states []string
	for _, e := range f.events {
		states = append(states, e.Details["state"])
	}
	if want := []string{Active, Published, Retired, Active, Removed}; !slices.Equal(states, want) {
		t.Errorf("events %v; want %v", states, want)
	}
	if len(f.rows[0].Sealed) != 0 {
		t.Error("the private part of a removed key is still there")
	}
}

// The emergency: the new key signs after Settle, when the other replica has looked; its set is what the client gets then.
func TestRotation_Now(t *testing.T) {
	f := newFleet(t, 2)
	n1, n2 := f.nodes[0], f.nodes[1]
	_, err := n1.Rotate(t.Context(), false) // a successor waits when the emergency comes
	f.must(err)
	f.must(n2.Refresh(t.Context()))
	waiting := f.rows[1].KID
	old := n1.Public()[0].KeyID
	began := f.now
	out, err := n1.Rotate(t.Context(), true)
	f.must(err)
	if len(out) != 1 || out[0].State != Active || f.now.Sub(began) != Settle {
		t.Fatalf("%+v after %s", out, f.now.Sub(began))
	}
	// n2 has published the new key but not heard yet that it is active: it signs with the old one, and each knows both.
	for _, signer := range f.nodes {
		for _, server := range f.nodes {
			f.must(f.check(signer, "ES256", server))
		}
	}
	token, _ := n1.Sign(t.Context(), "ES256", "JWT", nil)
	jws, _ := jose.ParseSignedCompact(token, all)
	if kid := jws.Signatures[0].Protected.KeyID; kid != out[0].KID {
		t.Errorf("n1 signs with %s; want %s", kid, out[0].KID)
	}
	f.must(n2.Refresh(t.Context()))
	var kids []string
	for _, k := range n2.Public() {
		kids = append(kids, k.KeyID)
	}
	if !slices.Equal(kids, []string{old, out[0].KID}) || slices.Contains(kids, waiting) {
		t.Errorf("published %v; want the old and the new key, not the one that waited", kids)
	}
}

// A key that others know leaves every set at once, and what it signed is worth nothing; the key that signs stays.
func TestRemove(t *testing.T) {
	f := newFleet(t, 2)
	n1, n2 := f.nodes[0], f.nodes[1]
	old := n1.Public()[0].KeyID
	if err := n1.Remove(t.Context(), old); err == nil || !strings.Contains(err.Error(), "signs now") {
		t.Errorf("the key that signs: %v", err)
	}
	if err := n1.Remove(t.Context(), "none"); err == nil {
		t.Error("no key, and no error")
	}
	stolen, err := n1.Sign(t.Context(), "ES256", "JWT", nil)
	f.must(err)
	_, err = n1.Rotate(t.Context(), true)
	f.must(err)
	f.must(n2.Refresh(t.Context()))
	f.must(verify(stolen, "ES256", "JWT", body(n2)))
	f.must(n1.Remove(t.Context(), old))
	f.must(n1.Remove(t.Context(), old)) // twice is once
	f.must(n2.Refresh(t.Context()))
	for _, n := range f.nodes {
		if _, known := n.Key(old); known || len(n.Public()) != 1 || verify(stolen, "ES256", "JWT", body(n)) == nil {
			t.Errorf("published %v, known %v", n.Public(), known)
		}
		f.must(f.check(n, "ES256", n2))
	}
	for _, row := range f.rows {
		if row.KID == old && len(row.Sealed) != 0 {
			t.Error("the private part is still there")
		}
	}
	if last := f.events[len(f.events)-1]; last.Details["kid"] != old || last.Details["state"] != Removed {
		t.Errorf("%+v", last)
	}
}

// A replica that never looks goes on with what it has; and what it signs stays known everywhere until it is over.
func TestRotation_StaleReplica(t *testing.T) {
	f := newFleet(t, 2)
	n1, n2 := f.nodes[0], f.nodes[1]
	_, err := n1.Rotate(t.Context(), false)
	f.must(err)
	f.now = f.now.Add(MaxAge)
	f.must(n1.Advance(t.Context()))
	f.now = f.now.Add(Keep - time.Minute)
	f.must(n1.Advance(t.Context()))
	f.must(f.check(n2, "ES256", n1))
	f.down = errors.New("database gone")
	if err := n2.Refresh(t.Context()); err == nil {
		t.Error("no error from a dead store")
	}
	f.must(f.check(n2, "ES256", n2))
	f.down, f.rows = nil, nil
	if err := n2.Refresh(t.Context()); !errors.Is(err, errEmpty) || len(body(n2)) == 0 {
		t.Errorf("an emptied table emptied the key set: %v", err)
	}
}

// A leader whose clock is a day ahead activates too early; replicas with the right time go on with the old key.
func TestSignerRefusesKeyBeforeItsTime(t *testing.T) {
	f := newFleet(t, 2)
	n1, n2 := f.nodes[0], f.nodes[1]
	rotated, err := n1.Rotate(t.Context(), false)
	f.must(err)
	right := f.now
	f.now = right.Add(MaxAge)
	f.must(n1.Advance(t.Context()))
	f.must(n2.Refresh(t.Context()))
	f.now = right.Add(time.Hour)
	if k := n2.current().signing("ES256", f.now); k == nil || k.KID == rotated[0].KID || k.State != Retired {
		t.Fatalf("signs with %+v before its time", k)
	}
	f.must(f.check(n2, "ES256", n1))
	f.now = right.Add(MaxAge)
	if k := n2.current().signing("ES256", f.now); k.KID != rotated[0].KID {
		t.Error("does not sign with the new key when its time has come")
	}
}

// O6: a first key made by a replica whose clock is 90 s ahead is used all the same, after Settle and no longer.
func TestO6_FirstKeyOfAReplicaAhead(t *testing.T) {
	f := newFleet(t, 2)
	n1, n2 := f.nodes[0], f.nodes[1]
	f.now = f.now.Add(90 * time.Second)
	f.must(f.check(n1, "EdDSA", n1))
	f.now = f.now.Add(-90 * time.Second)
	f.must(n2.Refresh(t.Context()))
	began := f.now
	for range 3 {
		f.must(f.check(n2, "EdDSA", n1))
	}
	if waited := f.now.Sub(began); waited != Settle {
		t.Errorf("waited %s; want %s once", waited, Settle)
	}
	f.now = f.now.Add(-10 * time.Minute)
	f.must(f.check(n2, "EdDSA", n1))
}

func TestAdvance_SixMonths(t *testing.T) {
	f := newFleet(t, 2)
	n1, n2 := f.nodes[0], f.nodes[1]
	born := f.now
	step := func(at time.Duration, want string) {
		t.Helper()
		f.now = born.Add(at)
		f.must(n1.Advance(t.Context()))
		f.must(n2.Advance(t.Context())) // a second leader changes nothing
		var states []string
		for _, r := range f.rows {
			states = append(states, r.State)
		}
		if got := strings.Join(states, " "); got != want {
			t.Errorf("after %s: %s; want %s", at, got, want)
		}
	}
	step(SignFor-MaxAge-time.Second, "active")
	step(SignFor-MaxAge, "active published")
	step(SignFor-time.Second, "active published")
	step(SignFor, "retired active")
	step(SignFor+Keep-time.Second, "retired active")
	step(SignFor+Keep, "removed active")
	step(2*SignFor-MaxAge, "removed active published")

	f.rows = append(f.rows, keyring.Stored{KID: "by-hand", Alg: "EdDSA", State: Created, Version: 1})
	f.rows[len(f.rows)-1].Sealed = must(n1.seal("by-hand", must(generate("EdDSA"))))
	step(2*SignFor-MaxAge+time.Second, "removed active published published")
	step(2*SignFor+time.Second, "removed retired active active")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Two leaders in the same moment: one change, and no error.
func TestAdvance_TwoLeaders(t *testing.T) {
	for range 20 {
		f := newFleet(t, 3)
		for _, at := range []time.Duration{SignFor - MaxAge, SignFor, SignFor + Keep} {
			f.now = f.nodes[0].current().keys[0].CreatedAt.Add(at)
			var wg sync.WaitGroup
			for _, n := range f.nodes {
				wg.Go(func() {
					if err := n.Advance(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		if len(f.rows) != 2 || len(f.events) != 5 {
			t.Fatalf("%d keys, %d events; want 2 and 5", len(f.rows), len(f.events))
		}
	}
}
