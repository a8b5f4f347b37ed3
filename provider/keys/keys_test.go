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
