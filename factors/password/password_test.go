package password

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/throttle"
)

const (
	ayse account.ID = "0199a000-0000-7000-8000-000000000001"
	good string     = "yağmurlu bir salı sabahı"
	bad  string     = "yağmurlu bir cuma sabahı"
)

// cheap keeps tests quick; what is measured with it is how often, never how long.
var cheap = Cost{Memory: 64, Time: 1, Threads: 1}

// bench is a factor with everything around it in sight.
type bench struct {
	*Factor
	kit     *factortest.Kit
	pepper  *peppers
	hashes  atomic.Int64
	refused atomic.Int64
	person  Person
	two     bool
	rehash  []error
}

func newBench(t *testing.T, o Options) *bench {
	t.Helper()
	return benchOn(t, factortest.NewKit(factortest.Start), o)
}

func benchOn(t *testing.T, kit *factortest.Kit, o Options) *bench {
	t.Helper()
	b := &bench{kit: kit, pepper: &peppers{Ring: secret.Ephemeral()},
		person: Person{NationalID: "10000000146", GivenName: "Ayşe", FamilyName: "Yılmaz", Birthdate: "1985-04-23",
			Phone: "+905550000001", Email: "ayse@example.org"}}
	if o.Cost == (Cost{}) {
		o.Cost = cheap
	}
	if o.Limits.Queue == 0 {
		o.Limits.Queue = 64
	}
	hashed := o.Hooks.Hashed
	o.Hooks = Hooks{
		Hashed: func() {
			b.hashes.Add(1)
			if hashed != nil {
				hashed()
			}
		},
		Refused: func() { b.refused.Add(1) },
		Rehash:  func(err error) { b.rehash = append(b.rehash, err) },
	}
	about := func(context.Context, account.ID) (Person, bool, error) { return b.person, b.two, nil }
	f, err := New(b.kit.Factors(), b.pepper, about, o)
	if err != nil {
		t.Fatal(err)
	}
	b.Factor = f
	return b
}

// peppers is a ring whose pepper key can be renewed.
type peppers struct {
	*secret.Ring
	older []*secret.Ring
}

func (p *peppers) renew() { p.older, p.Ring = append(p.older, p.Ring), secret.Ephemeral() }

func (p *peppers) Newest(secret.Purpose) uint32 { return uint32(len(p.older) + 1) }

func (p *peppers) MACUnder(of secret.Purpose, version uint32, parts ...string) []byte {
	all := append(p.older[:len(p.older):len(p.older)], p.Ring)
	if version < 1 || int(version) > len(all) {
		return nil
	}
	return all[version-1].MAC(of, parts...)
}

func (b *bench) set(t *testing.T, password string, temporary bool) {
	t.Helper()
	if err := b.Set(t.Context(), ayse, password, temporary); err != nil {
		t.Fatal(err)
	}
}

// row returns the stored credential of Ayşe, and writes it back changed.
func (b *bench) row(t *testing.T, change func(*factors.Credential)) factors.Credential {
	t.Helper()
	rows, err := b.kit.Credentials.Of(t.Context(), ayse)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if change != nil {
		change(&rows[0])
		if err := b.kit.Credentials.Update(t.Context(), rows[0]); err != nil {
			t.Fatal(err)
		}
	}
	return rows[0]
}

func (b *bench) signIn(id account.ID, password string) (factors.Proof, error) {
	return b.Verify(context.Background(), factors.Try{Binding: "t1", Purpose: factors.SignIn, Account: id, Lang: "tr"},
		factors.Answer{"national_id": {"10000000146"}, "password": {password}})
}

func wantKey(t *testing.T, what string, err error, key string) {
	t.Helper()
	if err == nil || fault.Of(err).Key != key {
		t.Errorf("%s: %v, want %s", what, err, key)
	}
}

func TestPasswordKeepsTheContract(t *testing.T) {
	factortest.Run(t, func(t *testing.T, kit *factortest.Kit) factortest.Subject {
		b := benchOn(t, kit, Options{})
		b.set(t, good, false)
		return factortest.Subject{Factor: b.Factor, Account: ayse,
			Right: func(*testing.T, factors.Try) factors.Answer { return factors.Answer{"password": {good}} },
			Wrong: func(*testing.T, factors.Try) factors.Answer { return factors.Answer{"password": {bad}} },
			Work:  func() int { return int(b.hashes.Load()) }}
	})
}

func TestProofOfAPassword(t *testing.T) {
	b := newBench(t, Options{})
	b.set(t, good, false)
	p, err := b.signIn(ayse, good)
	if err != nil {
		t.Fatal(err)
	}
	if p.Kinds != factors.Know || p.Channel != factors.Here || len(p.AMR) != 1 || p.AMR[0] != "pwd" || p.Level.Short() != "low" || p.Renew {
		t.Errorf("proof = %+v", p)
	}
	// the same password as two other keyboards send it (NFD), and one that only looks alike
	if _, err := b.signIn(ayse, "yag\u0306murlu bir sali\u0301"); !errors.Is(err, factors.ErrWrong) {
		t.Errorf("another password: %v", err)
	}
	if _, err := b.signIn(ayse, strings.ReplaceAll(good, "ğ", "g\u0306")); err != nil {
		t.Errorf("decomposed letters: %v", err)
	}
}

// Row F2: who has no usable password costs and reads like a wrong one; the right password of a closed one too.
func TestF2_EqualWorkInEveryState(t *testing.T) {
	tests := []struct {
		name  string
		ready func(*testing.T, *bench) (account.ID, string)
	}{
		{"wrong", func(t *testing.T, b *bench) (account.ID, string) { b.set(t, good, false); return ayse, bad }},
		{"unknown", func(*testing.T, *bench) (account.ID, string) { return "", good }},
		{"no password", func(*testing.T, *bench) (account.ID, string) { return ayse, good }},
		{"disabled", func(t *testing.T, b *bench) (account.ID, string) {
			b.set(t, good, false)
			if err := b.Disable(t.Context(), ayse); err != nil {
				t.Fatal(err)
			}
			return ayse, good
		}},
		{"closed", func(t *testing.T, b *bench) (account.ID, string) {
			b.set(t, good, false)
			b.row(t, func(c *factors.Credential) { c.State = Closed })
			return ayse, good
		}},
		{"a state of tomorrow", func(t *testing.T, b *bench) (account.ID, string) {
			b.set(t, good, false)
			b.row(t, func(c *factors.Credential) { c.State = "cancelled" })
			return ayse, good
		}},
		{"temporary, expired", func(t *testing.T, b *bench) (account.ID, string) {
			b.set(t, good, true)
			b.kit.Clock.Advance(TemporaryLife)
			return ayse, good
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Options{})
			id, typed := tt.ready(t, b)
			hashes, calls := b.hashes.Load(), b.kit.Credentials.Calls()
			p, err := b.signIn(id, typed)
			if err != factors.ErrWrong {
				t.Errorf("answer = %v, %v; want exactly ErrWrong", p, err)
			}
			if n := b.hashes.Load() - hashes; n != 1 {
				t.Errorf("%d hashes, want 1", n)
			}
			if n := b.kit.Credentials.Calls() - calls; n != 1 {
				t.Errorf("%d statements, want 1", n)
			}
		})
	}
}

// Row F1, the factor's part: one comparison is one count of the hook, and nothing beside Verify compares. The host here is the
// ladder alone: one counter for the person, taken before each comparison.
func TestF1_ComparisonsAreCounted(t *testing.T) {
	b := newBench(t, Options{Limits: Limits{Slots: 4, Queue: 1000}})
	b.set(t, good, false)
	before := b.hashes.Load()
	ladder, taken := throttle.Ladder(b.Info().Tries), atomic.Int64{}
	var passed atomic.Int64
	var wg sync.WaitGroup
	barrier := make(chan struct{})
	for i := range 201 {
		wg.Go(func() {
			<-barrier
			if n := int(taken.Add(1)); n > 1 && ladder.Lock(n-1) > 0 {
				return // locked: the answer is that of a wrong one, with no hash
			}
			typed := bad
			if i == 150 && taken.Load() > int64(ladder.Free) {
				typed = good
			}
			if _, err := b.signIn(ayse, typed); err == nil {
				passed.Add(1)
			}
		})
	}
	close(barrier)
	wg.Wait()
	if n := b.hashes.Load() - before; n != int64(ladder.Free) {
		t.Errorf("%d comparisons in a row of 201, want %d", n, ladder.Free)
	}
	if passed.Load() > 1 {
		t.Errorf("%d passed", passed.Load())
	}
}

// Row X1: memory is bounded by the slots, whoever finds no place is told so at once, and nothing is begun for them.
func TestX1_FloodOfSignIns(t *testing.T) {
	const posts, hashSlots, queue = 2000, 2, 6
	var mu sync.Mutex
	var waits []time.Duration
	busy, gate := make(chan struct{}, posts), make(chan struct{})
	b := newBench(t, Options{
		Cost: DefaultCost, // production value: what is bounded must be what is run
		Limits: Limits{Slots: hashSlots, Queue: queue, Retry: 3 * time.Second, After: func(d time.Duration) (<-chan time.Time, func()) {
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, d)
			return nil, func() {} // time stands still: nobody is late
		}},
		Hooks: Hooks{Hashed: func() { busy <- struct{}{}; <-gate }},
	})
	results := make(chan error, posts)
	for range posts {
		go func() {
			_, err := b.signIn("", good)
			results <- err
		}()
	}
	for range hashSlots {
		<-busy // that many hashes are being computed, and stand still
	}
	for range posts - hashSlots - queue {
		err := <-results
		f := fault.Of(err)
		if f.Kind != fault.Unavailable || f.Key != "password.busy" || f.RetryAfter != 3*time.Second {
			t.Fatalf("excess answer = %v after %v", err, f.RetryAfter)
		}
	}
	if inUse, queued, all := b.Slots(); inUse != hashSlots || queued != queue || all != hashSlots {
		t.Errorf("load = %d in use, %d queued", inUse, queued)
	}
	if n := b.hashes.Load(); n != hashSlots {
		t.Errorf("%d hashes at once, want %d", n, hashSlots)
	}
	if n := b.kit.Credentials.Calls(); n > hashSlots {
		t.Errorf("%d statements for those without a slot", n-hashSlots)
	}
	close(gate)
	for range hashSlots + queue {
		if err := <-results; err != factors.ErrWrong {
			t.Errorf("one in the queue: %v", err)
		}
	}
	if n := b.hashes.Load(); n != hashSlots+queue {
		t.Errorf("%d hashes in all, want %d", n, hashSlots+queue)
	}
	if n := b.refused.Load(); n != posts-hashSlots-queue {
		t.Errorf("%d refusals counted", n)
	}
	for _, d := range waits {
		if d <= 0 || d >= 2*time.Second {
			t.Errorf("a wait of %v was asked of the clock", d)
		}
	}
	if len(waits) != queue {
		t.Errorf("%d waited, want %d", len(waits), queue)
	}
	if inUse, queued, _ := b.Slots(); inUse != 0 || queued != 0 {
		t.Errorf("afterwards %d in use, %d queued", inUse, queued)
	}
}

func TestX1_LongPasswordIsRefusedBeforeHashing(t *testing.T) {
	b := newBench(t, Options{})
	b.set(t, good, false)
	before, calls := b.hashes.Load(), b.kit.Credentials.Calls()
	_, err := b.signIn(ayse, strings.Repeat("a", 1<<20))
	wantKey(t, "1 MB", err, "password.too_long")
	_, err = b.signIn(ayse, "")
	wantKey(t, "nothing typed", err, "password.missing")
	if b.hashes.Load() != before || b.kit.Credentials.Calls() != calls {
		t.Error("work was done for it")
	}
	longest := strings.Repeat("a", MaxBytes)
	b.set(t, longest, false)
	if _, err := b.signIn(ayse, longest); err != nil {
		t.Errorf("the longest password: %v", err)
	}
	if _, err := b.signIn(ayse, longest[1:]); !errors.Is(err, factors.ErrWrong) {
		t.Errorf("one character less: %v", err)
	}
}

func TestRehashOnSignIn(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	b := benchOn(t, kit, Options{})
	b.set(t, good, false)
	stored := func() (r record, h hash) {
		if err := json.Unmarshal(b.row(t, nil).Data, &r); err != nil {
			t.Fatal(err)
		}
		h, err := parse(r.Hash)
		if err != nil {
			t.Fatal(err)
		}
		return r, h
	}
	first, _ := stored()
	if _, err := b.signIn(ayse, good); err != nil || len(b.rehash) != 0 {
		t.Fatalf("a present hash: %v, %d rehashes", err, len(b.rehash))
	}

	b.pepper.renew()
	kit.Clock.Advance(time.Hour)
	if _, err := b.signIn(ayse, bad); !errors.Is(err, factors.ErrWrong) || len(b.rehash) != 0 {
		t.Errorf("a wrong answer: %v, %d rehashes", err, len(b.rehash))
	}
	if _, err := b.signIn(ayse, good); err != nil {
		t.Fatalf("after a renewed pepper key: %v", err)
	}
	second, h := stored()
	if h.Pepper != 2 || second.Hash == first.Hash || !second.ChangedAt.Equal(first.ChangedAt) || second.Long != first.Long {
		t.Errorf("record %+v under pepper %d", second, h.Pepper)
	}

	dear := cheap
	dear.Time = 2
	c := benchOn(t, kit, Options{Cost: dear})
	c.pepper = b.pepper
	c.hasher.pepper = b.pepper
	if _, err := c.signIn(ayse, good); err != nil {
		t.Fatalf("after a change of cost: %v", err)
	}
	if _, h := stored(); h.Cost != dear {
		t.Errorf("cost stays %+v", h.Cost)
	}
	if len(c.rehash) != 1 || c.rehash[0] != nil {
		t.Errorf("rehashes: %v", c.rehash)
	}
	if _, err := c.signIn(ayse, good); err != nil || len(c.rehash) != 1 {
		t.Errorf("a second time: %v, %d rehashes", err, len(c.rehash))
	}
}

// A hash is good for one account and under its own pepper key only.
func TestAStolenOrMovedHashOpensNothing(t *testing.T) {
	b := newBench(t, Options{})
	b.set(t, good, false)
	const other account.ID = "0199a000-0000-7000-8000-000000000002"
	if err := b.Set(t.Context(), other, bad, false); err != nil {
		t.Fatal(err)
	}
	mine := b.row(t, nil).Data
	rows, _ := b.kit.Credentials.Of(t.Context(), other)
	rows[0].Data = mine
	if err := b.kit.Credentials.Update(t.Context(), rows[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := b.signIn(other, good); !errors.Is(err, factors.ErrWrong) {
		t.Errorf("a hash moved to another account: %v", err)
	}
	b.pepper.Ring = secret.Ephemeral()
	if _, err := b.signIn(ayse, good); !errors.Is(err, factors.ErrWrong) {
		t.Errorf("without the pepper: %v", err)
	}
}

func TestADamagedRecordSaysNothingOfItself(t *testing.T) {
	for _, data := range []string{`{"hash":"$argon2id$secret`, `{"hash":"$2b$10$abcdefsecret"}`, ``} {
		b := newBench(t, Options{})
		b.set(t, good, false)
		b.row(t, func(c *factors.Credential) { c.Data = []byte(data) })
		_, err := b.signIn(ayse, good)
		if fault.KindOf(err) != fault.Internal || err == nil {
			t.Errorf("%q: %v", data, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error quotes the record: %v", err)
		}
	}
}

func TestStoreFailureIsNoWrongAnswer(t *testing.T) {
	b := newBench(t, Options{})
	b.set(t, good, false)
	b.kit.Credentials.Fail(errors.New("disk gone"))
	if _, err := b.signIn(ayse, good); err == nil || errors.Is(err, factors.ErrWrong) {
		t.Errorf("sign-in = %v", err)
	}
	if inUse, _, _ := b.Slots(); inUse != 0 {
		t.Error("the slot is lost")
	}
}

func TestNewRefuses(t *testing.T) {
	kit := factortest.NewKit(factortest.Start).Factors()
	for _, o := range []Options{
		{Cost: Cost{Memory: 4, Time: 1, Threads: 1}}, {Cost: Cost{Memory: 19456, Time: 0, Threads: 1}},
		{Cost: Cost{Memory: 1 << 21, Time: 1, Threads: 1}}, {Limits: Limits{Slots: -1}},
	} {
		if _, err := New(kit, secret.Ephemeral(), nil, o); err == nil {
			t.Errorf("New took %+v", o)
		}
	}
}
