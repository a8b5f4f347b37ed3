package throttle

import (
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	l := Ladder{Free: 5, First: 30 * time.Second, Most: time.Hour, Disable: 100}
	for n, want := range map[int]time.Duration{
		1: 0, 4: 0, 5: 30 * time.Second, 6: time.Minute, 7: 2 * time.Minute, 11: 32 * time.Minute, 12: time.Hour, 99: time.Hour, 1_000_000: time.Hour,
	} {
		if got := l.Lock(n); got != want {
			t.Errorf("after %d failures: %v, want %v", n, got, want)
		}
	}
	if (Ladder{}).Lock(50) != 0 {
		t.Error("the zero ladder locks")
	}
}
