//go:build !testclock

package program

import "time"

const testClockBuilt = false

// shift is how far the test of a test build moves time: never here.
func shift(string) time.Duration { return 0 }
