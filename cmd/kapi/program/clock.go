package program

import (
	"context"
	"sync/atomic"
	"time"
)

// Differences between this machine's clock and the database's.
const (
	maxQuietSkew = 2 * time.Second
	maxSkew      = 120 * time.Second
)

// clock is the one clock of the process: UTC, to the microsecond, as the databases keep it. Where replicas share a
// database that has a clock of its own, that one leads, so that what one replica writes is not over, nor still to come, for
// another whose machine is wrong. Between two looks at it the machine says only how much time has passed.
type clock struct {
	machine  func() instant
	database func(ctx context.Context) (time.Time, error)
	led      bool // false on SQLite, which reads the machine's clock
	since    atomic.Pointer[comparison]
}

// instant is a look at the machine: the time of day, which somebody may set, and how long the process has run, which nobody
// can, but which may stand still while the machine sleeps.
type instant struct {
	wall time.Time
	ran  time.Duration
}

// comparison is what both showed at once.
type comparison struct {
	instant
	database time.Time
}

// machineClock reads the machine; now is nil but in tests. file is KAPI_TEST_CLOCK.
func machineClock(now func() time.Time, file string) func() instant {
	if now == nil {
		start := time.Now()
		return func() instant {
			t, d := time.Now(), shift(file)
			return instant{t.Round(0).Add(d), t.Sub(start) + d}
		}
	}
	start := now()
	return func() instant {
		t := now()
		return instant{t, t.Sub(start)}
	}
}

// now goes on from the last comparison by the longer of the two measures of time: a clock that was set back, or a machine
// that slept, brings nothing back to life that is over.
func (c *clock) now() time.Time {
	at := c.machine()
	return c.at(at).UTC().Truncate(time.Microsecond)
}

func (c *clock) at(i instant) time.Time {
	s := c.since.Load()
	if s == nil {
		return i.wall
	}
	return s.database.Add(max(i.ran-s.ran, i.wall.Sub(s.wall)))
}

// compare looks at both clocks and says how far the machine's is ahead, whatever has been made good. Differences that the
// look itself can make, or that do not matter, move nothing, so that time never runs back for them.
func (c *clock) compare(ctx context.Context) (ahead time.Duration, err error) {
	before := c.machine()
	theirs, err := c.database(ctx)
	if err != nil {
		return 0, err
	}
	after := c.machine()
	half := (after.ran - before.ran) / 2
	middle := instant{before.wall.Add(half), before.ran + half}
	if c.led && (c.since.Load() == nil || c.at(middle).Sub(theirs).Abs() > maxQuietSkew+half) {
		c.since.Store(&comparison{middle, theirs})
	}
	return middle.wall.Sub(theirs), nil
}
