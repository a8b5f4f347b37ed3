package recovery

import (
	"time"

	"github.com/kapi-id/kapi/internal/throttle"
)

// What the tests outside of the package need to know of it.
const (
	MostTries = mostTries
	FirstWait = time.Duration(firstWait)
)

// WithoutNetworkLimit lifts the limit of networks for one test.
func WithoutNetworkLimit() (again func()) {
	was := perNetwork
	perNetwork = []throttle.Window{{N: 1_000_000, Per: time.Hour}}
	return func() { perNetwork = was }
}
