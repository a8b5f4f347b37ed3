package program_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/testkapi"
)

// mark is the label of the goroutines that a test started: other tests run beside it.
const mark = "town"

// marked puts the test's name on the goroutine of the test and on all that come from it.
func marked(t *testing.T) {
	pprof.SetGoroutineLabels(pprof.WithLabels(t.Context(), pprof.Labels(mark, t.Name())))
}

// burden is what a Kapi holds at a moment.
type burden struct{ goroutines, connections int }

var stack = regexp.MustCompile(`(?m)^(\d+) @.*\n# labels: (.*)$`)

// load counts the goroutines of a marked test and the database connections that are in use.
func (x *town) load(t *testing.T) (b burden) {
	t.Helper()
	var dump bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&dump, 1); err != nil {
		t.Fatal(err)
	}
	for _, m := range stack.FindAllStringSubmatch(dump.String(), -1) {
		if strings.Contains(m[2], strconv.Quote(mark)+":"+strconv.Quote(t.Name())) {
			n, err := strconv.Atoi(m[1])
			if err != nil {
				t.Fatal(err)
			}
			b.goroutines += n
		}
	}
	if b.goroutines == 0 {
		t.Fatalf("no goroutine of this test in\n%.2000s", dump.String())
	}
	w := httptest.NewRecorder()
	x.App().Metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	_, rest, ok := strings.Cut(w.Body.String(), "\nkapi_database_connections ")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(line)
	if !ok || err != nil {
		t.Fatalf("no number of connections: %v", err)
	}
	b.connections = n
	return b
}

// idle is load without the connections that are kept for the next call, as soon as it falls no more.
func (x *town) idle(t *testing.T) (least burden) {
	t.Helper()
	least = x.load(t)
	for still := 0; still < 5; still++ {
		http.DefaultClient.CloseIdleConnections() // of browsers and devices
		for _, v := range x.vendors {
			v.CloseClientConnections()
		}
		x.desk.CloseClientConnections()
		time.Sleep(5 * time.Millisecond)
		if b := x.load(t); b.over(least, -1, 0) == "" {
			least, still = b, -1
		}
	}
	return least
}

// over says what is more than it was by more than these; "" = nothing.
func (b burden) over(was burden, goroutines, connections int) string {
	switch {
	case b.goroutines > was.goroutines+goroutines:
		return fmt.Sprintf("%d goroutines, before %d", b.goroutines, was.goroutines)
	case b.connections > was.connections+connections:
		return fmt.Sprintf("%d connections in use, before %d", b.connections, was.connections)
	}
	return ""
}

func (b burden) within(t *testing.T, when string, was burden, goroutines, connections int) {
	t.Helper()
	if more := b.over(was, goroutines, connections); more != "" {
		t.Errorf("%s: %s", when, more)
	}
}

// back waits until no more is held than before the trouble; a few goroutines come and go.
func (x *town) back(t *testing.T, was burden) {
	t.Helper()
	var more string
	for range 300 {
		if more = x.idle(t).over(was, 8, 0); more == "" {
			return
		}
	}
	t.Errorf("what the trouble brought stays: %s", more)
}

// heap in bytes, of what is still in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Row O5: every vendor hangs, dies or talks nonsense at once while many people come at once. Each page is there at once, what hangs is bounded, and when they are
// back goroutines, database connections and heap are what they were. Runs alone, since the heap is everybody's.
func TestO5_NothingStaysBehind(t *testing.T) {
	marked(t)
	x := newTown(t)
	const crowd = 30
	vendors := []string{"sms", "sim", "messenger", "mail", "push", "operator"}
	var most burden
	wave := func(name string) {
		t.Helper()
		people := make([]*testkapi.Browser, crowd)
		numbers := make([]string, crowd)
		addresses := make([]string, crowd)
		for i := range people {
			numbers[i] = number(x.one([]string{"", linesOfSIM, linesOfBiP}[i%3]))
			people[i], addresses[i] = x.visit(name), x.rp.URL()
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			race(crowd, func(i int) {
				for range 1000 { // a busy machine sends some of a crowd away
					if people[i].Open(addresses[i]).Status != http.StatusServiceUnavailable {
						break
					}
					time.Sleep(50 * time.Millisecond)
				}
				people[i].Submit(map[string]string{"national_id": numbers[i], "password": holderPassword})
				if people[i].Status >= 500 && people[i].Status != http.StatusServiceUnavailable {
					t.Errorf("%s: %d", name, people[i].Status)
				}
			})
		}()
		for {
			b := x.load(t)
			most = burden{max(most.goroutines, b.goroutines), max(most.connections, b.connections)}
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	restore := func() {
		t.Helper()
		x.Clock.Add(11 * time.Minute)
		for _, v := range vendors {
			x.trouble(v, "")
		}
		x.settledAll(t)
	}
	for range 2 {
		wave("usual") // whatever is made once is made
	}
	restore()
	was, held := x.idle(t), heap()
	usual := most
	most = burden{}
	before := map[string]int64{}
	for _, v := range vendors {
		before[v] = x.calls(v)
	}
	for round := range 3 {
		for _, v := range vendors {
			mode := []string{"slow", "dead", "wrong"}[round]
			if v == "operator" && mode != "wrong" { // without its word nothing is sent at all
				mode = ""
			}
			x.trouble(v, mode)
		}
		wave("in trouble")
		x.Clock.Add(time.Minute)
	}
	most.within(t, "in the trouble", usual, 3*16*5, 8) // 16 calls at once to each of three, with both ends of their connections
	restore()
	for _, v := range []string{"sms", "sim", "messenger"} {
		if x.calls(v) == before[v] {
			t.Errorf("nobody needed %s", v)
		}
	}
	x.back(t, was)
	now := heap()
	if now > held+(8<<20) {
		t.Errorf("the heap grew from %d to %d KiB", held>>10, now>>10)
	}
	t.Logf("goroutines %d, in a crowd %d, in trouble %d; heap %d KiB, then %d KiB", was.goroutines, usual.goroutines, most.goroutines, held>>10, now>>10)
	for _, w := range ways {
		x.Clock.Add(time.Minute)
		w.signIn(x, w.name+" after")
	}
}
