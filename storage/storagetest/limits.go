package storagetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/storage"
)

func ladder(t *testing.T, b *backend) {
	db := b.db
	for name, l := range map[string]throttle.Ladder{
		"password": {Free: 5, First: time.Minute, Most: 15 * time.Minute, Disable: 12},
		"steep":    {Free: 1, First: time.Second, Most: 24 * time.Hour},
		"flat":     {Free: 3, First: time.Minute, Most: time.Minute},
		"no lock":  {Disable: 3},
		"nothing":  {},
	} {
		key, now := uuid.NewString(), Start
		for n := 1; n <= 45; n++ {
			v, err := db.Take(bg, key, l, now)
			ok(t, err)
			disabled := l.Disable > 0 && n >= l.Disable
			wanted := throttle.Verdict{Allowed: true, Failures: n, Disabled: disabled}
			if lock := l.Lock(n); lock > 0 {
				wanted.Until = now.Add(lock)
			}
			if v != wanted {
				t.Fatalf("%s, failure %d: %+v, want %+v", name, n, v, wanted)
			}
			if disabled {
				now = now.Add(100 * 24 * time.Hour)
				if v, err = db.Take(bg, key, l, now); err != nil || v.Allowed || !v.Disabled || v.Failures != n {
					t.Fatalf("%s, disabled: %+v %v", name, v, err)
				}
				break
			}
			if lock := l.Lock(n); lock > 0 {
				v, err := db.Take(bg, key, l, now.Add(lock-time.Microsecond))
				ok(t, err)
				if wanted.Allowed = false; v != wanted {
					t.Fatalf("%s, locked: %+v, want %+v", name, v, wanted)
				}
				now = now.Add(lock)
			}
		}
		other := uuid.NewString()
		_, err := db.Take(bg, other, l, now)
		ok(t, err)
		if locked, err := db.Locked(bg, key, other); err != nil || locked != (l.Lock(100) > 0 || l.Disable > 0) {
			t.Errorf("%s, locked: %v %v", name, locked, err)
		}
		ok(t, db.Clear(bg, key, other))
		if locked, err := db.Locked(bg, key, other); err != nil || locked {
			t.Errorf("%s, cleared and locked: %v %v", name, locked, err)
		}
		for _, k := range []string{key, other} {
			if v, err := db.Take(bg, k, l, now); err != nil || !v.Allowed || v.Failures != 1 {
				t.Errorf("%s, cleared: %+v %v", name, v, err)
			}
		}
	}
	// A try that was never compared is given back, with the lock that followed it.
	key, l := uuid.NewString(), throttle.Ladder{Free: 2, First: time.Hour, Most: time.Hour}
	for _, allowed := range []bool{true, true, false} {
		if v, err := db.Take(bg, key, l, Start); err != nil || v.Allowed != allowed {
			t.Errorf("before giving back: %+v %v", v, err)
		}
	}
	ok(t, db.GiveBack(bg, key))
	if v, err := db.Take(bg, key, l, Start); err != nil || !v.Allowed || v.Failures != 2 || !v.Until.Equal(Start.Add(time.Hour)) {
		t.Errorf("after giving back: %+v %v", v, err)
	}
	ok(t, db.GiveBack(bg, uuid.NewString()))
	ok(t, db.Clear(bg))
	if _, err := db.Take(bg, "k", throttle.Ladder{Free: 1, First: time.Hour, Most: time.Minute}, Start); err == nil {
		t.Error("a ladder whose longest lock is the shorter was taken")
	}
}

// ladderInParallel: F1, guesses at once are no more than guesses in a row.
func ladderInParallel(t *testing.T, b *backend) {
	l := throttle.Ladder{Free: 5, First: time.Minute, Most: time.Hour}
	key, now := uuid.NewString(), Start
	for round, allowed := range []int{5, 1, 1} {
		errRefused := errors.New("refused")
		good, bad := together(60, func(int) error {
			v, err := b.db.Take(bg, key, l, now)
			if err == nil && !v.Allowed {
				return errRefused
			}
			return err
		})
		if good != allowed {
			t.Errorf("round %d: %d guesses got through, want %d", round, good, allowed)
		}
		for _, err := range bad {
			if !errors.Is(err, errRefused) {
				t.Error(err)
			}
		}
		now = now.Add(l.Lock(5 + round))
	}
}

func windows(t *testing.T, b *backend) {
	db := b.db
	key, now := uuid.NewString(), Start
	ws := []throttle.Window{{N: 2, Per: 10 * time.Second}, {N: 5, Per: 15 * time.Minute}, {N: 20, Per: 24 * time.Hour}}
	hit := func(what string, at time.Time, least, most time.Duration) {
		t.Helper()
		wait, err := db.Hit(bg, key, ws, at)
		ok(t, err)
		if wait < least || wait > most {
			t.Errorf("%s: wait %v, want %v to %v", what, wait, least, most)
		}
	}
	hit("first", now, 0, 0)
	hit("second", now, 0, 0)
	hit("third at once", now, 10*time.Second, 10*time.Second)
	hit("a moment early", now.Add(10*time.Second-time.Microsecond), time.Microsecond, time.Millisecond)
	hit("third", now.Add(10*time.Second), 0, 0)
	hit("fourth, by a clock that is behind", now.Add(9*time.Second), time.Second, time.Second)
	hit("fourth", now.Add(12*time.Second), 0, 0)
	hit("fifth", now.Add(20*time.Second), 0, 0)
	hit("sixth is held by the second window", now.Add(3*time.Minute), 12*time.Minute, 12*time.Minute)
	hit("as told, but for a moment", now.Add(15*time.Minute-time.Microsecond), time.Microsecond, time.Millisecond)
	hit("sixth, as told", now.Add(15*time.Minute), 0, 0)
	hit("long after", now.Add(48*time.Hour), 0, 0)
	for name, bad := range map[string][]throttle.Window{"none": nil, "five": make([]throttle.Window, 5), "empty": {{}}, "no time": {{N: 1}}} {
		if _, err := db.Hit(bg, key, bad, now); err == nil {
			t.Errorf("%s windows were taken", name)
		}
	}
}

// windowsStrict: whenever anybody asks, and whatever the clocks of the replicas say, no stretch of a window holds more than it may; and
// who waits as long as told is let through.
func windowsStrict(t *testing.T, b *backend) {
	for name, ws := range map[string][]throttle.Window{
		"sends to a person":  {{N: 2, Per: 10 * time.Second}, {N: 5, Per: 15 * time.Minute}, {N: 20, Per: 24 * time.Hour}},
		"sends of a network": {{N: 25, Per: 5 * time.Minute}},
		"many":               {{N: 41, Per: time.Minute}, {N: 7, Per: 3 * time.Second}},
		"of many":            {{N: 50, Per: time.Minute}, {N: 101, Per: 7 * time.Minute}},
		"one":                {{N: 1, Per: time.Hour}},
	} {
		seed := rand.Uint64()
		rnd := rand.New(rand.NewPCG(seed, 1))
		key, now := uuid.NewString(), Start
		var let []time.Time
		steps := []time.Duration{time.Millisecond, time.Second, ws[0].Per / time.Duration(ws[0].N), ws[len(ws)-1].Per / time.Duration(ws[len(ws)-1].N)}
		for range 400 {
			at := now.Add(time.Duration(rnd.Int64N(2_000_000)) * time.Microsecond).Truncate(time.Microsecond) // replicas differ
			wait, err := b.db.Hit(bg, key, ws, at)
			ok(t, err)
			switch {
			case wait == 0:
				let = append(let, at)
			case rnd.IntN(3) == 0:
				now = at.Add(wait) // exactly as told
				if again, err := b.db.Hit(bg, key, ws, now); err != nil || again > 0 {
					t.Fatalf("%s, seed %d: told to wait %v, then %v more, %v", name, seed, wait, again, err)
				}
				let = append(let, now)
			}
			now = now.Add(time.Duration(rnd.Int64N(int64(steps[rnd.IntN(len(steps))]) + 1)))
		}
		slices.SortFunc(let, time.Time.Compare)
		for _, w := range ws {
			for i := range let {
				if i+w.N < len(let) && let[i+w.N].Sub(let[i]) < w.Per {
					t.Fatalf("%s, seed %d: %d within %v, %d in %v are allowed", name, seed, w.N+1, let[i+w.N].Sub(let[i]), w.N, w.Per)
				}
			}
		}
		if len(let) < 3 {
			t.Errorf("%s: only %d were let through", name, len(let))
		}
	}
}

// windowsOfTwo: two replicas on one database count together, in any race: five in fifteen minutes, and five in the next.
func windowsOfTwo(t *testing.T, b *backend) {
	url := b.url(t)
	replicas := []*storage.DB{Open(t, url, b.clock), Open(t, url, b.clock)}
	ws := []throttle.Window{{N: 5, Per: 15 * time.Minute}, {N: 12, Per: 24 * time.Hour}}
	errRefused := errors.New("refused")
	for round, want := range []int{5, 5, 2, 0} {
		at := Start.Add(time.Duration(round) * 15 * time.Minute)
		good, bad := together(40, func(i int) error {
			wait, err := replicas[i%2].Hit(bg, "one key", ws, at)
			if err == nil && wait > 0 {
				return errRefused
			}
			return err
		})
		for _, err := range bad {
			if !errors.Is(err, errRefused) {
				t.Error(err)
			}
		}
		if good != want {
			t.Errorf("round %d: %d got through, want %d", round, good, want)
		}
	}
}

// windowsAtOnce: a full window is full from the first event on, not little by little.
func windowsAtOnce(t *testing.T, b *backend) {
	for n := 1; n <= throttle.Exact+3; n += 6 {
		key, w := uuid.NewString(), throttle.Window{N: n, Per: time.Hour}
		let := 0
		for range 2 * n {
			wait, err := b.db.Hit(bg, key, []throttle.Window{w}, Start)
			ok(t, err)
			if wait == 0 {
				let++
			}
		}
		if want := map[bool]int{true: n, false: w.Burst()}[n <= throttle.Exact]; let != want {
			t.Errorf("%d of %d at once, want %d", let, n, want)
		}
	}
}

func windowsInParallel(t *testing.T, b *backend) {
	key := uuid.NewString()
	ws := []throttle.Window{{N: 7, Per: time.Minute}, {N: 30, Per: time.Hour}}
	var waited atomic.Int64
	good, bad := together(60, func(int) error {
		wait, err := b.db.Hit(bg, key, ws, Start)
		if err == nil && wait > 0 {
			waited.Add(1)
			return fault.New(fault.Throttled, "")
		}
		return err
	})
	if good != 7 || waited.Load() != 53 {
		t.Errorf("%d allowed, %d told to wait, %v", good, waited.Load(), bad)
	}
	// None of the refused counted in the second window: 23 of 30 are left for those who come slowly.
	for i := range 23 {
		if wait, err := b.db.Hit(bg, key, ws, Start.Add(time.Minute+time.Duration(i)*9*time.Second)); err != nil || wait > 0 {
			t.Fatalf("event %d: wait %v %v", 8+i, wait, err)
		}
	}
}

// sweptWhileTaken: a count that moves on while the old ones are deleted stays.
func sweptWhileTaken(t *testing.T, b *backend) {
	db := Open(t, b.url(t), b.clock)
	l, late := throttle.Ladder{Free: 9, First: time.Minute, Most: time.Minute}, Start.Add(25*time.Hour)
	for _, key := range []string{"taken", "left"} {
		ok(t, second(db.Take(bg, key, l, Start)))
	}
	counted, counter := storage.CountStatements(bg)
	swept := make(chan error, 1)
	var n int64
	ok(t, db.Atomically(bg, func(ctx context.Context) error {
		v, err := db.Take(ctx, "taken", l, late)
		if err != nil || v.Failures != 2 {
			t.Fatal(v, err)
		}
		go func() {
			var err error
			n, err = db.Sweep(counted, late)
			swept <- err
		}()
		// Until it waits for the row, its thirteenth table's, or for the one writer.
		for more, most := 50, 3000; more > 0 && most > 0; most-- {
			if err := second(db.Lease(ctx, "nothing", "x", 0, Start)); err != nil {
				return err
			}
			if counter.Writes.Load() >= 13 {
				more--
			}
		}
		return nil
	}))
	ok(t, <-swept)
	if n != 1 {
		t.Errorf("%d rows", n)
	}
	for key, failures := range map[string]int{"taken": 3, "left": 1} {
		if v, err := db.Take(bg, key, l, late); err != nil || v.Failures != failures {
			t.Errorf("%s: %+v %v", key, v, err)
		}
	}
}
