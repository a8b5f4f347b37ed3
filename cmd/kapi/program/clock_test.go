package program

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// machine is a machine and a database with clocks that a test moves.
type machine struct {
	world   time.Duration // true time since the beginning
	set     time.Duration // how far the wall clock was set wrong
	slept   time.Duration // how long the machine slept
	latency time.Duration // of a look at the database
	down    bool
}

var beginning = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func (m *machine) now() time.Time { return beginning.Add(m.world) }

func (m *machine) clock() *clock {
	return &clock{led: true,
		machine: func() instant { return instant{m.now().Add(m.set), m.world - m.slept} },
		database: func(context.Context) (time.Time, error) {
			if m.down {
				return time.Time{}, errors.New("down")
			}
			m.world += m.latency / 2
			t := m.now()
			m.world += m.latency / 2
			return t, nil
		}}
}

func TestO6_ClockFollowsTheDatabase(t *testing.T) {
	look := func(c *clock) time.Duration {
		ahead, err := c.compare(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return ahead
	}
	for _, tc := range []struct {
		name   string
		happen func(m *machine, c *clock)
		off    time.Duration // at most, before another look at the database
		ahead  time.Duration // as told by that look
	}{
		{"nothing", func(m *machine, _ *clock) { m.world += time.Hour }, 0, 90 * time.Second},
		{"set back", func(m *machine, _ *clock) { m.set -= 10 * time.Minute; m.world += time.Second }, 0, 90*time.Second - 10*time.Minute},
		{"set back, and in time", func(m *machine, _ *clock) { m.set = 0; m.world += time.Second }, 0, 0},
		{"slept", func(m *machine, _ *clock) { m.slept += 2 * time.Hour; m.world += 2 * time.Hour }, 0, 90 * time.Second},
		{"set ahead", func(m *machine, _ *clock) { m.set += time.Hour; m.world += time.Second }, time.Hour, time.Hour + 90*time.Second},
		{"a slow look", func(m *machine, c *clock) { m.latency = 4 * time.Second; look(c); m.latency = 0 }, 0, 90 * time.Second},
		{"the database is down", func(m *machine, c *clock) {
			m.down = true
			if _, err := c.compare(t.Context()); err == nil {
				t.Error("nobody was told")
			}
			m.down = false
			m.world += time.Minute
		}, 0, 90 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := &machine{set: 90 * time.Second}
			c := m.clock()
			if ahead := look(c); ahead != 90*time.Second || !c.now().Equal(m.now()) {
				t.Fatalf("%v ahead, %v at %v", ahead, c.now(), m.now())
			}
			tc.happen(m, c)
			if off := c.now().Sub(m.now()); off < 0 || off > tc.off {
				t.Errorf("%v off before the next look", off)
			}
			if ahead := look(c); ahead != tc.ahead {
				t.Errorf("told to be %v ahead, not %v", ahead, tc.ahead)
			}
			if !c.now().Equal(m.now()) {
				t.Errorf("%v at %v", c.now(), m.now())
			}
		})
	}
}

// Looks that are off by as much as a network makes them never turn time back.
func TestO6_ClockNeverRunsBack(t *testing.T) {
	m := &machine{set: -90 * time.Second}
	c := m.clock()
	inner := c.database
	c.database = func(ctx context.Context) (time.Time, error) {
		at, err := inner(ctx)
		return at.Add(time.Duration(rand.Int64N(int64(maxQuietSkew))) - maxQuietSkew/2), err
	}
	last := time.Time{}
	for range 10_000 {
		m.latency = time.Duration(rand.Int64N(int64(2 * time.Second)))
		if _, err := c.compare(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.world += time.Duration(rand.Int64N(int64(time.Second)))
		now := c.now()
		if now.Before(last) {
			t.Fatalf("%v after %v", now, last)
		}
		if off := now.Sub(m.now()).Abs(); off > 2*maxQuietSkew {
			t.Fatalf("%v off", off)
		}
		last = now
	}
}

// Where the database has no clock of its own the machine's is followed, set as it may be.
func TestO6_ClockOfTheMachine(t *testing.T) {
	m := &machine{set: time.Hour}
	c := m.clock()
	c.led = false
	if ahead, err := c.compare(t.Context()); err != nil || ahead != time.Hour {
		t.Errorf("%v %v", ahead, err)
	}
	m.set = 0
	if !c.now().Equal(m.now()) {
		t.Errorf("%v at %v", c.now(), m.now())
	}
	if got := machineClock(nil, "")(); time.Since(got.wall).Abs() > time.Hour || got.ran < 0 {
		t.Errorf("%+v", got)
	}
}
