//go:build testclock

package program

import (
	"os"
	"strings"
	"time"
)

const testClockBuilt = true

// shift is the duration that the file holds (e.g. "-2h5m"). It moves this machine's time and the database's alike, since a
// test that lets a day pass lets it pass everywhere. The file is read at each look, so that time moves for several replicas
// while they run. An unreadable file stops nothing but the shift.
func shift(file string) time.Duration {
	if file == "" {
		return 0
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	d, err := time.ParseDuration(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	return d
}
