//go:build testclock

package program

import (
	"os"
	"strings"
	"time"
)

const testClockBuilt = true

// clock adds the duration that the file holds (e.g. "-2h5m") to the real time. The file is read at each look, so that a
// test moves the clocks of several replicas while they run. An unreadable file stops nothing but the shift.
func clock(file string) func() time.Time {
	return func() time.Time {
		now := time.Now().UTC().Truncate(time.Microsecond)
		b, err := os.ReadFile(file)
		if file == "" || err != nil {
			return now
		}
		d, err := time.ParseDuration(strings.TrimSpace(string(b)))
		if err != nil {
			return now
		}
		return now.Add(d)
	}
}
