package reach

import (
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/kapi-id/kapi/internal/throttle"
)

// Caps are a brake on pumping: somebody who earns from each message makes Kapi send many to numbers of one block, mostly abroad.
// They are counted in memory, in each process by itself: they only ever say no, and a rough no is enough.
type Caps struct {
	Home    int             // calling code of the country without a cap of its own; 0 = 90
	Block   throttle.Window // of ten thousand neighbouring numbers at home; zero = 3000 an hour
	Away    throttle.Window // of such a block in any other country; zero = 100 an hour
	Country throttle.Window // of all of another country; zero = 500 an hour
	// Whole is of all numbers together, those at home among them; zero = no cap. Only who runs Kapi knows how many are usual, and a cap that
	// is too low shuts everybody out: see Budget.
	Whole throttle.Window

	mu   sync.Mutex
	next map[string]time.Time // theoretical arrival time of the next send, by key
}

// Budget is the cap of all numbers together where forecast a day are usual: four times as many. At twice as many the alarm rings
// (deploy/alerts.yaml), so that somebody looks before people are refused.
func Budget(forecast int) throttle.Window {
	if forecast <= 0 {
		return throttle.Window{}
	}
	return throttle.Window{N: 4 * forecast, Per: 24 * time.Hour}
}

// Neighbouring numbers have all but the last four digits in common.
const blockDigits = 4

// mostKeys bounds the memory; what is over is forgotten first, and above it everything is refused for a while.
const mostKeys = 50_000

func or(w, usual throttle.Window) throttle.Window {
	if w.N <= 0 || w.Per <= 0 {
		return usual
	}
	return w
}

// hit counts one send to number and says how long to wait if it is one too many; then nothing was counted.
func (c *Caps) hit(number string, country int, now time.Time) time.Duration {
	home := c.Home
	if home == 0 {
		home = 90
	}
	block := "b" + number[:max(len(number)-blockDigits, 0)]
	windows := map[string]throttle.Window{block: or(c.Block, throttle.Window{N: 3000, Per: time.Hour})}
	if country != home {
		windows[block] = or(c.Away, throttle.Window{N: 100, Per: time.Hour})
		windows["c"+strconv.Itoa(country)] = or(c.Country, throttle.Window{N: 500, Per: time.Hour})
	}
	if c.Whole.N > 0 && c.Whole.Per > 0 {
		windows["w"] = c.Whole
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.room(len(windows), now) {
		return time.Minute
	}
	return c.take(windows, now)
}

// take counts in all windows or in none (generic cell rate algorithm).
func (c *Caps) take(windows map[string]throttle.Window, now time.Time) (wait time.Duration) {
	for key, w := range windows {
		gap := w.Per / time.Duration(w.N)
		if at := c.next[key]; at.After(now) {
			wait = max(wait, at.Sub(now)-(w.Per-gap))
		}
	}
	if wait > 0 {
		return wait
	}
	for key, w := range windows {
		at := c.next[key]
		if at.Before(now) {
			at = now
		}
		c.next[key] = at.Add(w.Per / time.Duration(w.N))
	}
	return 0
}

// room makes place for n keys.
func (c *Caps) room(n int, now time.Time) bool {
	if c.next == nil {
		c.next = map[string]time.Time{}
	}
	if len(c.next)+n <= mostKeys {
		return true
	}
	maps.DeleteFunc(c.next, func(_ string, at time.Time) bool { return !at.After(now) })
	return len(c.next)+n <= mostKeys
}
