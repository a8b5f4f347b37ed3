package signin

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/throttle"
)

// windows counts without forgetting: all happens in one moment.
type windows struct {
	throttle.Store
	hits map[string]int
}

func (w windows) Hit(_ context.Context, key string, ws []throttle.Window, _ time.Time) (time.Duration, error) {
	if w.hits[key]++; w.hits[key] > ws[0].N {
		return time.Hour, nil
	}
	return 0, nil
}

// F1: a network that tries a lot is slowed, by an IPv4 address, an IPv6 /64 and the /48 around it, and never stopped.
func TestF1_NetworksAreSlowed(t *testing.T) {
	for name, tc := range map[string]struct {
		network func(i int) string
		free    int // tries that are not slowed
	}{
		"one IPv4 address":           {func(int) string { return "192.0.2.7" }, 30},
		"many IPv4 addresses":        {func(i int) string { return fmt.Sprintf("192.0.2.%d", i) }, 1000},
		"one /64":                    {func(int) string { return "2001:db8:1:2::/64" }, 30},
		"as many /64 as a /48 holds": {func(i int) string { return fmt.Sprintf("2001:db8:1:%x::/64", i) }, 300},
		"many /48":                   {func(i int) string { return fmt.Sprintf("2001:db8:%x:1::/64", i) }, 1000},
		"nobody knows":               {func(int) string { return "" }, 1000},
	} {
		f := &Flow{Throttle: windows{hits: map[string]int{}}, Now: func() time.Time { return now }}
		free := 0
		for i := range 1000 {
			wait, err := f.slowed(t.Context(), tc.network(i))
			if err != nil || wait > 2*time.Second {
				t.Fatalf("%s: %v %v", name, wait, err)
			}
			if wait == 0 {
				free++
			}
		}
		if free != tc.free {
			t.Errorf("%s: %d of 1000 tries are not slowed, want %d", name, free, tc.free)
		}
	}
}
