//go:build !testclock

package program

import "time"

const testClockBuilt = false

// clock is the one clock of the program: UTC, to the microsecond, as the databases keep it.
func clock(string) func() time.Time {
	return func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
}
