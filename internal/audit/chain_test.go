package audit

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
)

// fakeChain is a Chain in memory; rows is the table, which the tests tamper with as its owner could.
type fakeChain struct {
	mu   sync.Mutex
	rows []Entry
	// between runs once, after a reader saw the head and before it appends.
	between func()
}

func (c *fakeChain) record(entries ...Entry) { c.rows = append(c.rows, entries...) }

func (c *fakeChain) Unsealed(_ context.Context, n int) ([]Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Entry
	for _, e := range c.rows {
		if e.Seq == 0 {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) })
	return out[:min(n, len(out))], nil
}

func (c *fakeChain) UnsealedCount(ctx context.Context) (int64, error) {
	all, err := c.Unsealed(ctx, len(c.rows))
	return int64(len(all)), err
}

func (c *fakeChain) AppendSealed(ctx context.Context, entries []Entry) error {
	if f := c.between; f != nil {
		c.between = nil
		f()
	}
	head, _ := c.Head(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if head.Seq != entries[0].Seq-1 || head.Seq > 0 && !bytes.Equal(head.Hash, entries[0].Prev) {
		return fault.ErrConflict
	}
	rows := slices.Clone(c.rows)
	for _, e := range entries {
		i := slices.IndexFunc(rows, func(r Entry) bool { return r.ID == e.ID })
		if i < 0 || rows[i].Seq != 0 {
			return fault.ErrConflict
		}
		rows[i].Seq, rows[i].Prev, rows[i].Hash = e.Seq, e.Prev, e.Hash
	}
	c.rows = rows
	return nil
}

func (c *fakeChain) Entries(_ context.Context, after int64, n int) ([]Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []Entry
	for _, e := range c.rows {
		if e.Seq > after && e.Seq != 0 {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.ID, b.ID)) })
	return out[:min(n, len(out))], nil
}

func (c *fakeChain) Head(context.Context) (Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var head Entry
	for _, e := range c.rows {
		if e.Seq > head.Seq {
			head = e
		}
	}
	return head, nil
}

// row finds the sealed entry at a place.
func (c *fakeChain) row(seq int64) *Entry {
	for i := range c.rows {
		if c.rows[i].Seq == seq {
			return &c.rows[i]
		}
	}
	return &Entry{}
}

var start = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func entry(i int) Entry {
	return Entry{
		ID: fmt.Sprintf("018f-%06d", i), At: start.Add(time.Duration(i) * time.Second), Version: 1,
		Name: string(SigninCompleted), Outcome: "ok", Actor: "acc-1", Subject: "acc-1", Client: "portal",
		Session: "s-1", Request: fmt.Sprintf("r-%d", i), Sealed: []byte{1, 2, byte(i)},
	}
}

// world is a chain of n sealed entries with its sealer and anchor, and a clock.
type world struct {
	chain  *fakeChain
	sealer *Sealer
	now    time.Time
}

func newWorld(t *testing.T) *world {
	w := &world{chain: &fakeChain{}, now: start}
	w.sealer = &Sealer{
		Chain: w.chain, Anchor: &Anchor{Path: filepath.Join(t.TempDir(), "anchor")},
		Now: func() time.Time { return w.now }, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	return w
}

// grow records up to entry number n, sealing after each and anchoring each minute, which is every 20th entry.
func (w *world) grow(t *testing.T, n int) {
	t.Helper()
	for i := len(w.chain.rows); i < n; i++ {
		w.chain.record(entry(i + 1))
		w.now = w.now.Add(3 * time.Second)
		if err := w.sealer.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) verify(t *testing.T) Result {
	t.Helper()
	r, err := Verify(t.Context(), w.chain, w.sealer.Anchor.Path, w.now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// reseal recomputes the chain from a place on, as somebody who knows how would.
func (c *fakeChain) reseal(from int64) {
	head := *c.row(from - 1)
	for i := from; ; i++ {
		e := c.row(i)
		if e.Seq == 0 {
			return
		}
		*e = e.after(head)
		head = *e
	}
}

func TestL2_AuditTampering(t *testing.T) {
	const size = 100
	for _, tc := range []struct {
		name   string
		tamper func(t *testing.T, w *world)
		bad    int64 // 0 = nothing wrong
		why    string
	}{
		{"untouched", func(*testing.T, *world) {}, 0, ""},
		{"content edited", func(_ *testing.T, w *world) { w.chain.row(37).Outcome = "refused" }, 37, "changed after"},
		{"sealed fields edited", func(_ *testing.T, w *world) { w.chain.row(37).Sealed = []byte("x") }, 37, "changed after"},
		{"time edited", func(_ *testing.T, w *world) { e := w.chain.row(1); e.At = e.At.Add(time.Microsecond) }, 1, "changed after"},
		{"hash edited", func(_ *testing.T, w *world) { w.chain.row(50).Hash = make([]byte, 32) }, 50, "changed after"},
		{"content and its hash edited", func(_ *testing.T, w *world) {
			e := w.chain.row(37)
			e.Actor = "acc-2"
			e.Hash = e.sum()
		}, 38, "does not continue entry 37"},
		{"last entry and its hash edited after an anchor", func(t *testing.T, w *world) {
			if err := w.sealer.Anchor.Append(*w.chain.row(size), w.now); err != nil {
				t.Fatal(err)
			}
			e := w.chain.row(size)
			e.Actor = "acc-2"
			e.Hash = e.sum()
		}, size, "rewritten"},
		{"chain recomputed from an edit on", func(_ *testing.T, w *world) {
			w.chain.row(37).Actor = "acc-2"
			w.chain.reseal(37)
		}, 41, "rewritten somewhere after entry 21"},
		{"deleted", func(_ *testing.T, w *world) {
			w.chain.rows = slices.DeleteFunc(w.chain.rows, func(e Entry) bool { return e.Seq == 37 })
		}, 37, "missing: after entry 36 comes entry 38"},
		{"first deleted", func(_ *testing.T, w *world) {
			w.chain.rows = slices.DeleteFunc(w.chain.rows, func(e Entry) bool { return e.Seq == 1 })
		}, 1, "missing"},
		{"unsealed again", func(_ *testing.T, w *world) { w.chain.row(37).Seq = 0 }, 37, "missing"},
		{"two swapped", func(_ *testing.T, w *world) {
			a, b := w.chain.row(37), w.chain.row(38)
			a.Seq, b.Seq = b.Seq, a.Seq
		}, 37, "changed after"},
		{"two swapped with all but their content", func(_ *testing.T, w *world) {
			a, b := w.chain.row(37), w.chain.row(38)
			a.Seq, b.Seq, a.Prev, b.Prev, a.Hash, b.Hash = b.Seq, a.Seq, b.Prev, a.Prev, b.Hash, a.Hash
		}, 37, "changed after"},
		{"one slipped in", func(_ *testing.T, w *world) {
			for i := range w.chain.rows {
				if w.chain.rows[i].Seq >= 37 {
					w.chain.rows[i].Seq++
				}
			}
			w.chain.record(entry(1000).after(*w.chain.row(36)))
		}, 38, "changed after"},
		{"last five cut", func(_ *testing.T, w *world) {
			w.chain.rows = slices.DeleteFunc(w.chain.rows, func(e Entry) bool { return e.Seq > size-5 && e.Seq <= size })
		}, 0, ""}, // the last anchor stands at 81: nothing vouches for what came in the last minute
		{"tail cut through an anchor", func(_ *testing.T, w *world) {
			w.chain.rows = slices.DeleteFunc(w.chain.rows, func(e Entry) bool { return e.Seq > 78 })
		}, 79, "ends at entry 78, but entry 81 was anchored"},
		{"all cut", func(_ *testing.T, w *world) { w.chain.rows = nil }, 1, "ends at entry 0"},
		{"older copy restored and grown on", func(t *testing.T, w *world) {
			w.chain.rows = slices.DeleteFunc(w.chain.rows, func(e Entry) bool { return e.Seq > 60 })
			for i := range 60 {
				w.chain.record(entry(2000 + i))
			}
			if _, err := (&Sealer{Chain: w.chain, Now: w.sealer.Now}).Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, 61, "rewritten somewhere after entry 41"},
		{"forked: two entries at one place", func(_ *testing.T, w *world) {
			w.chain.record(entry(5000).after(*w.chain.row(36)))
		}, 37, "forks here"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.grow(t, size)
			tc.tamper(t, w)
			r := w.verify(t)
			switch {
			case tc.bad == 0 && r.Bad != nil:
				t.Fatalf("found %v in a record that is whole", r.Bad)
			case tc.bad == 0:
			case r.Bad == nil:
				t.Fatal("nothing found")
			case r.Bad.Seq != tc.bad || !strings.Contains(r.Bad.Reason, tc.why):
				t.Fatalf("found %v; want entry %d, %q", r.Bad, tc.bad, tc.why)
			}
		})
	}
}

// A tail cut between two anchor lines is invisible to verify alone, but not to the sealer that is running.
func TestL2_TailCutWithinTheMinute(t *testing.T) {
	w := newWorld(t)
	w.grow(t, 100)
	w.chain.rows = slices.DeleteFunc(w.chain.rows, func(e Entry) bool { return e.Seq > 95 })
	w.chain.record(entry(300))
	if err := w.sealer.Tick(t.Context()); err == nil || !strings.Contains(err.Error(), "ended at entry 100") {
		t.Fatalf("the sealer grew over the cut: %v", err)
	}
	if r := w.verify(t); r.Bad == nil || r.Bad.Seq != 96 {
		t.Fatalf("verify found %v; want entry 96", r.Bad)
	}
}

func TestL2_ForkAcrossABatch(t *testing.T) {
	w := newWorld(t)
	for i := range 3 * batch {
		w.chain.record(entry(i + 1))
	}
	if n, err := w.sealer.Seal(t.Context()); err != nil || n != 3*batch {
		t.Fatal(n, err)
	}
	for _, at := range []int64{batch, 2*batch - 1, 2 * batch, 3 * batch} {
		before := slices.Clone(w.chain.rows)
		w.chain.record(entry(9000).after(*w.chain.row(at - 1)))
		if r := w.verify(t); r.Bad == nil || r.Bad.Seq != at {
			t.Errorf("fork at %d: found %v", at, r.Bad)
		}
		w.chain.rows = before
	}
	if r := w.verify(t); r.Bad != nil || r.Entries != 3*batch || r.Head.Seq != 3*batch {
		t.Errorf("whole chain: %+v", r)
	}
}

// Two replicas that both believe to lead: one wins each round, the chain stays one.
func TestL2_TwoSealers(t *testing.T) {
	w := newWorld(t)
	other := &Sealer{Chain: w.chain, Now: w.sealer.Now}
	for i := range 40 {
		w.chain.record(entry(i + 1))
	}
	w.chain.between = func() {
		if n, err := other.Seal(t.Context()); err != nil || n != 40 {
			t.Errorf("the faster sealer: %d, %v", n, err)
		}
	}
	if n, err := w.sealer.Seal(t.Context()); err != nil || n != 0 {
		t.Errorf("the slower sealer: %d, %v; want 0 and no error", n, err)
	}
	var wg sync.WaitGroup
	w.chain.record(entry(41), entry(42), entry(43))
	for _, s := range []*Sealer{w.sealer, other} {
		wg.Go(func() {
			for range 10 {
				if _, err := s.Seal(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if r := w.verify(t); r.Bad != nil || r.Entries != 43 || r.Unsealed != 0 {
		t.Errorf("%+v", r)
	}
}

// An entry of a transaction that began before a sealed one and committed after it is sealed behind it.
func TestSeal_LateCommit(t *testing.T) {
	w := newWorld(t)
	w.chain.record(entry(5), entry(6))
	if _, err := w.sealer.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.chain.record(entry(3))
	r := w.verify(t)
	if r.Bad != nil || r.Unsealed != 1 || !r.Oldest.Equal(entry(3).At) {
		t.Fatalf("before sealing: %+v", r)
	}
	if n, err := w.sealer.Seal(t.Context()); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if r := w.verify(t); r.Bad != nil || r.Entries != 3 || r.Head.ID != entry(3).ID {
		t.Fatalf("after sealing: %+v", r)
	}
}

func TestCanonical(t *testing.T) {
	base := entry(1).after(Entry{})
	// Golden: another hash for the same entry would make every stored chain look tampered with.
	if got, want := fmt.Sprintf("%x", base.Hash), "86c1fcad2f6dda44db1880407ae5c47c85d05e2e1cc17bf67d9d6d55c12dbe0b"; got != want {
		t.Errorf("hash %s; want %s", got, want)
	}
	// Every field counts, and none can flow into its neighbour.
	for name, change := range map[string]func(*Entry){
		"seq": func(e *Entry) { e.Seq++ }, "id": func(e *Entry) { e.ID += "x" }, "at": func(e *Entry) { e.At = e.At.Add(time.Microsecond) },
		"version": func(e *Entry) { e.Version++ }, "name": func(e *Entry) { e.Name += "x" }, "outcome": func(e *Entry) { e.Outcome += "x" },
		"actor": func(e *Entry) { e.Actor += "x" }, "subject": func(e *Entry) { e.Subject += "x" }, "client": func(e *Entry) { e.Client += "x" },
		"session": func(e *Entry) { e.Session += "x" }, "request": func(e *Entry) { e.Request += "x" }, "sealed": func(e *Entry) { e.Sealed = append(slices.Clone(e.Sealed), 0) },
		"prev": func(e *Entry) { e.Prev = make([]byte, 31) },
		"flow": func(e *Entry) { e.Actor, e.Subject = e.Actor+e.Subject, "" },
	} {
		e := base
		change(&e)
		if bytes.Equal(e.sum(), base.Hash) {
			t.Errorf("%s: same hash", name)
		}
	}
	local := base
	local.At = base.At.In(time.FixedZone("TRT", 3*3600))
	local.Sealed = slices.Clone(base.Sealed)
	if !bytes.Equal(local.sum(), base.Hash) {
		t.Error("the same instant in another zone has another hash")
	}
}

// L2: an anchor that is gone is no reason to trust the chain, unless the record is minutes old.
func TestL2_TheAnchorIsGone(t *testing.T) {
	w := newWorld(t)
	w.sealer.Anchor = nil
	w.grow(t, 3)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("v1 2 half a li"), 0o600); err != nil {
		t.Fatal(err)
	}
	began := w.chain.row(1).At
	for _, tc := range []struct {
		path string
		age  time.Duration
		bad  bool
	}{
		{filepath.Join(t.TempDir(), "none"), 5 * time.Minute, false},
		{filepath.Join(t.TempDir(), "none"), 5*time.Minute + time.Second, true},
		{empty, time.Hour, true},
		{"", time.Hour, false}, // nobody wanted one
	} {
		r, err := Verify(t.Context(), w.chain, tc.path, began.Add(tc.age))
		if err != nil || (r.Bad != nil) != tc.bad || len(r.Notes) == 0 || r.Entries != 3 {
			t.Errorf("%q after %v: %+v, %v", tc.path, tc.age, r, err)
		}
		if tc.bad && (r.Bad.Seq != 3 || !strings.Contains(r.Bad.Error(), tc.path)) {
			t.Errorf("%v", r.Bad)
		}
	}
	if r, err := Verify(t.Context(), &fakeChain{}, filepath.Join(t.TempDir(), "none"), began.Add(time.Hour)); err != nil || r.Bad != nil || r.Entries != 0 {
		t.Fatalf("empty: %+v, %v", r, err)
	}
}

func TestVersions(t *testing.T) {
	if SigninFirst.Version() != 1 || Name("made.up").Version() != 0 {
		t.Error("a registered name has a version, another has none")
	}
}

func BenchmarkSum(b *testing.B) {
	e := entry(1).after(Entry{})
	b.ReportAllocs()
	for b.Loop() {
		e.sum()
	}
}
