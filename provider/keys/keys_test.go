package keys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/keyring"
	"github.com/kapi-id/kapi/internal/secret"
)

// table is a Store and Recorder in memory with a transaction that rolls back.
type table struct {
	mu     sync.Mutex
	rows   []keyring.Stored
	events []audit.Event
	down   error
}

func (t *table) SigningKeys(context.Context) ([]keyring.Stored, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.rows), t.down
}

func (t *table) CreateSigningKey(_ context.Context, k keyring.Stored) error {
	if slices.ContainsFunc(t.rows, func(r keyring.Stored) bool { return r.KID == k.KID }) {
		return fault.ErrConflict
	}
	k.Version = 1
	t.rows = append(t.rows, k)
	return nil
}

func (t *table) UpdateSigningKey(_ context.Context, k keyring.Stored) error {
	for i, r := range t.rows {
		if r.KID == k.KID && r.Version == k.Version {
			k.Version++
			t.rows[i] = k
			return nil
		}
	}
	return fault.ErrConflict
}

func (t *table) Record(_ context.Context, e audit.Event) error {
	if e.Name.Version() == 0 {
		return fmt.Errorf("unregistered event %q", e.Name)
	}
	t.events = append(t.events, e)
	return nil
}

func (t *table) Atomically(ctx context.Context, fn func(context.Context) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows, events := slices.Clone(t.rows), slices.Clone(t.events)
	if err := fn(ctx); err != nil {
		t.rows, t.events = rows, events
		return err
	}
	return nil
}

// fleet is replicas on one store with one clock.
type fleet struct {
	*table
	secret *secret.Ring
	now    time.Time
	t      testing.TB
	nodes  []*Ring
}

func newFleet(t testing.TB, n int) *fleet {
	f := &fleet{table: &table{}, secret: secret.Ephemeral(), now: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), t: t}
	for range n {
		f.nodes = append(f.nodes, f.start())
	}
	return f
}

// start adds a replica. Waiting moves the clock and lets the others look at the store, as they do every two seconds.
func (f *fleet) start() *Ring {
	f.t.Helper()
	r, err := New(context.Background(), Config{
		Store: f.table, Secret: f.secret, Audit: f.table, Now: func() time.Time { return f.now },
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Settle: Settle,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	r.wait = func(_ context.Context, d time.Duration) error {
		f.now = f.now.Add(d)
		for _, other := range f.nodes {
			if other != r {
				f.must(other.Refresh(context.Background()))
			}
		}
		return nil
	}
	return r
}

func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

var all = []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA}

// check signs at one replica and then verifies with the key set of another, as a client does that knows nothing but that
// set.
func (f *fleet) check(signer *Ring, alg string, server *Ring) error {
	token, err := signer.Sign(context.Background(), alg, "JWT", map[string]any{"sub": "x"})
	if err != nil {
		return err
	}
	return verify(token, alg, "JWT", body(server))
}

func verify(token, alg, typ string, body []byte) error {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(body, &set); err != nil {
		return err
	}
	jws, err := jose.ParseSignedCompact(token, all)
	if err != nil {
		return err
	}
	h := jws.Signatures[0].Protected
	if h.Algorithm != alg || h.ExtraHeaders["typ"] != typ {
		return fmt.Errorf("header %+v; want alg %s, typ %s", h, alg, typ)
	}
	found := set.Key(h.KeyID)
	if len(found) != 1 || found[0].Algorithm != alg || found[0].Use != "sig" || !found[0].IsPublic() {
		return fmt.Errorf("unknown key %q in %s", h.KeyID, body)
	}
	_, err = jws.Verify(found[0])
	return err
}

func body(r *Ring) []byte { b, _ := r.JWKS(); return b }

func TestSign(t *testing.T) {
	f := newFleet(t, 1)
	r := f.nodes[0]
	for _, alg := range Algorithms() {
		for _, typ := range []string{"JWT", "at+jwt", "odd+jwt"} {
			token, err := r.Sign(t.Context(), alg, typ, struct {
				Sub string `json:"sub"`
			}{"a<b>&ş"})
			f.must(err)
			if err := verify(token, alg, typ, body(r)); err != nil {
				t.Errorf("%s %s: %v", alg, typ, err)
			}
			payload, _ := b64.DecodeString(strings.Split(token, ".")[1])
			var claims map[string]string
			if json.Unmarshal(payload, &claims) != nil || claims["sub"] != "a<b>&ş" {
				t.Errorf("claims %s", payload)
			}
		}
	}
	if len(r.Public()) != 4 {
		t.Errorf("%d public keys; want 4, each made once", len(r.Public()))
	}
	for _, alg := range []string{"", "none", "HS256", "RS1", "es256"} {
		if token, err := r.Sign(t.Context(), alg, "JWT", nil); err == nil {
			t.Errorf("signed %q: %s", alg, token)
		}
	}
	if _, err := r.Sign(t.Context(), "ES256", "JWT", func() {}); err == nil {
		t.Error("signed what is no JSON")
	}
}

func TestSealedAtRest(t *testing.T) {
	f := newFleet(t, 1)
	if _, err := f.nodes[0].open(f.rows[0]); err != nil {
		t.Fatal(err)
	}
	moved := f.rows[0]
	moved.KID = "other"
	if _, err := f.nodes[0].open(moved); !errors.Is(err, secret.ErrSealed) {
		t.Errorf("a private key moved to another row opened: %v", err)
	}
	wrong := f.rows[0]
	wrong.Alg = "EdDSA"
	if _, err := f.nodes[0].open(wrong); err == nil {
		t.Error("an EC key opened as EdDSA")
	}
	f.nodes[0].Secret = secret.Ephemeral()
	if _, err := New(t.Context(), f.nodes[0].Config); err == nil {
		t.Error("started with keys that do not open")
	}
}

// The first key is active at once; one made later waits until the other replica has it, and is made once.
func TestFirstKeyOfAnAlgorithm(t *testing.T) {
	f := newFleet(t, 2)
	n1, n2 := f.nodes[0], f.nodes[1]
	began := f.now
	f.must(f.check(n1, "ES256", n2))
	f.must(f.check(n2, "ES256", n1))
	if !f.now.Equal(began) {
		t.Error("the first key had to be waited for")
	}
	f.must(f.check(n1, "EdDSA", n1))
	if got := f.now.Sub(began); got != Settle {
		t.Errorf("waited %s; want %s", got, Settle)
	}
	f.must(f.check(n1, "EdDSA", n2))
	f.must(f.check(n2, "EdDSA", n1))
	if len(f.rows) != 2 {
		t.Errorf("%d keys; want 2", len(f.rows))
	}
	if err := n1.Ensure(t.Context(), "HS256"); err == nil {
		t.Error("made a symmetric key")
	}
}

// Two replicas that make the same first key at once make one.
func TestFirstKeyRace(t *testing.T) {
	for range 20 {
		f := newFleet(t, 0)
		var wg sync.WaitGroup
		rings := make([]*Ring, 4)
		for i := range rings {
			wg.Go(func() { rings[i] = f.start() })
		}
		wg.Wait()
		if len(f.rows) != 1 || len(f.events) != 1 {
			t.Fatalf("%d keys, %d events; want one of each", len(f.rows), len(f.events))
		}
		for _, r := range rings {
			f.must(f.check(r, "ES256", rings[0]))
		}
	}
}

// A whole rotation on two replicas, minute by minute: no signature fails, and a client that fetched the set from either
// replica up to MaxAge ago knows every key it meets. n2 looks at the store only every 13 minutes.
func TestRotation_NoClientMeetsAnUnknownKey(t *testing.T) {
	f := newFleet(t, 2)
	n1, n2 := f.nodes[0], f.nodes[1]
	oldKID := n1.Public()[0].KeyID
	caches := map[time.Time][][]byte{}
	var signed []string
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
			caches[f.now] = [][]byte{body(n1), body(n2)}
		}
		if minute%60 != 0 {
			continue
		}
		for _, signer := range []*Ring{n1, n2} {
			token, err := signer.Sign(t.Context(), "ES256", "JWT", nil)
			f.must(err)
			signed = append(signed, token)
			jws, _ := jose.ParseSignedCompact(token, all)
			kids[jws.Signatures[0].Protected.KeyID] = true
			for at, sets := range caches {
				if f.now.Sub(at) > MaxAge {
					delete(caches, at)
					continue
				}
				for _, set := range sets {
					if err := verify(token, "ES256", "JWT", set); err != nil {
						t.Fatalf("minute %d, set of %s: %v", minute, at, err)
					}
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

func TestJWKS(t *testing.T) {
	f := newFleet(t, 2)
	n1, n2 := f.nodes[0], f.nodes[1]
	b1, e1 := n1.JWKS()
	b2, e2 := n2.JWKS()
	if string(b1) != string(b2) || e1 != e2 || !strings.HasPrefix(e1, `"`) {
		t.Error("two replicas serve different sets")
	}
	if strings.Contains(string(b1), `"d"`) {
		t.Error("a private key is published")
	}
	f.must(n1.Refresh(t.Context()))
	if b, e := n1.JWKS(); &b[0] != &b1[0] || e != e1 {
		t.Error("nothing changed, but the set was built again")
	}
	_, err := n1.Rotate(t.Context(), false)
	f.must(err)
	if _, e := n1.JWKS(); e == e1 {
		t.Error("another set under the same entity tag")
	}
	kid := n1.Public()[1].KeyID
	if k, ok := n1.Key(kid); !ok || k.KeyID != kid {
		t.Error("a published key is not found")
	}
	if _, ok := n1.Key("../../x"); ok {
		t.Error("found a key that is none")
	}
	list, err := n1.List(t.Context())
	f.must(err)
	text := must(json.Marshal(list))
	if len(list) != 2 || strings.Contains(strings.ToLower(string(text)), "sealed") {
		t.Errorf("list %s", text)
	}
}

// Signing goes on while the set is swapped under it.
func TestSignDuringRefresh(t *testing.T) {
	f := newFleet(t, 1)
	r := f.nodes[0]
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if err := f.check(r, "ES256", r); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 20 {
		if _, err := r.Rotate(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		f.must(r.Refresh(t.Context()))
	}
	wg.Wait()
}

func BenchmarkSign(b *testing.B) {
	f := newFleet(b, 1)
	claims := struct {
		Iss, Sub, Aud, Nonce, Sid, ACR string
		AMR                            []string
		Exp, Iat, AuthTime             int64
	}{"https://id.example", "pw_0123456789abcdef", "portal", "n-0S6_WzA2Mj", "sid", "urn:kapi:loa:substantial", []string{"pwd", "sms", "mca", "mfa"}, 1, 2, 3}
	for _, alg := range Algorithms() {
		f.must(f.nodes[0].Ensure(b.Context(), alg))
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.nodes[0].Sign(b.Context(), alg, "JWT", claims); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
