package storagetest

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/throttle"
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
	hit("third at once", now, 5*time.Second, 5*time.Second)
	hit("a moment early", now.Add(5*time.Second-time.Microsecond), time.Microsecond, time.Millisecond)
	hit("third", now.Add(5*time.Second), 0, 0)
	hit("fourth", now.Add(10*time.Second), 0, 0)
	hit("fifth", now.Add(15*time.Second), 0, 0)
	hit("sixth is held by the second window", now.Add(20*time.Second), 2*time.Minute+39*time.Second, 2*time.Minute+40*time.Second)
	hit("sixth", now.Add(3*time.Minute), 0, 0)
	hit("long after", now.Add(48*time.Hour), 0, 0)
	for name, bad := range map[string][]throttle.Window{"none": nil, "five": make([]throttle.Window, 5), "empty": {{}}, "no time": {{N: 1}}} {
		if _, err := db.Hit(bg, key, bad, now); err == nil {
			t.Errorf("%s windows were taken", name)
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
