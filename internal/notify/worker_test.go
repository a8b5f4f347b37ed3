package notify

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func TestO4_Switches(t *testing.T) {
	for _, c := range []struct {
		name          string
		first         func(context.Context, int) error
		once          bool // the first gateway drops a second message with the same id
		state, reason string
		via           string
		firstCalls    int
		secondCalls   int
		outcome       time.Duration // least wait before it is due again
	}{
		{name: "works", state: "sent", via: "first", firstCalls: 1},
		{name: "refuse: second gateway", first: refuse, state: "sent", via: "second", firstCalls: 1, secondCalls: 1},
		{name: "500: second gateway", first: status500, state: "sent", via: "second", firstCalls: 1, secondCalls: 1},
		{name: "429: second gateway", first: status429, state: "sent", via: "second", firstCalls: 1, secondCalls: 1},
		{name: "hang: nobody can tell, so no other gateway and never again", first: hang, state: "closed", reason: "unsure", firstCalls: 1},
		{name: "hang where ids are remembered: once more there, not elsewhere", first: hang, once: true, state: "closed", reason: "unsure", firstCalls: 2},
		{name: "answer of no known kind is unsure", first: func(context.Context, int) error { return errors.New("?") }, state: "closed", reason: "unsure", firstCalls: 1},
		{name: "a panic is unsure", first: func(context.Context, int) error { panic("!") }, state: "closed", reason: "unsure", firstCalls: 1},
		{name: "a number one gateway refuses may be known to the other", first: badNumber, state: "sent", via: "second", firstCalls: 1, secondCalls: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			first, second := &gate{name: "first", do: c.first, once: c.once}, &gate{name: "second"}
			b := newBench(Route{Gateway: first, Weight: 1}, Route{Gateway: second})
			b.put(1)
			b.settle()
			r := b.box.row(0)
			if r.state != c.state || r.via != c.via || r.reason != c.reason {
				t.Fatalf("row %s via %q because %q, want %s via %q because %q", r.state, r.via, r.reason, c.state, c.via, c.reason)
			}
			if first.count() != c.firstCalls || second.count() != c.secondCalls {
				t.Fatalf("calls %d and %d, want %d and %d", first.count(), second.count(), c.firstCalls, c.secondCalls)
			}
		})
	}
}

func TestO4_RetryUntilTheDeadline(t *testing.T) {
	g := &gate{name: "only", do: status500}
	b := newBench(Route{Gateway: g, Weight: 1})
	b.put(1)
	end := b.clock.now().Add(5 * time.Minute)
	var waits []time.Duration
	for b.box.row(0).state != "closed" {
		if !b.clock.now().Before(end) {
			t.Fatalf("still %s after the deadline", b.box.row(0).state)
		}
		before := b.clock.now()
		b.settle()
		if r := b.box.row(0); r.state == "due" {
			waits = append(waits, r.due.Sub(before))
			b.clock.t = r.due
		}
	}
	if r := b.box.row(0); r.reason != "expired" {
		t.Fatalf("closed because %q", r.reason)
	}
	if len(waits) < 8 || waits[0] >= time.Second || slices.Max(waits) < 10*time.Second || slices.Max(waits) > 30*time.Second {
		t.Fatalf("waits %v: want short ones first, none above one and a half times 20 s", waits)
	}
	calls := g.count()
	b.clock.t = end.Add(time.Hour)
	b.settle()
	if g.count() != calls {
		t.Fatal("a closed message was sent again")
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	b := newBench(Route{Gateway: &gate{name: "only", do: status429}, Weight: 1})
	b.put(1)
	b.settle()
	if r := b.box.row(0); r.state != "due" || r.due.Sub(b.clock.now()) < 7*time.Second {
		t.Fatalf("%s, due in %v: the gateway asked for 7 s", r.state, r.due.Sub(b.clock.now()))
	}
}

func TestFinalRefusalIsNotTriedAgain(t *testing.T) {
	b := newBench(Route{Gateway: &gate{name: "a", do: badNumber}, Weight: 1}, Route{Gateway: &gate{name: "b", do: badNumber}})
	b.put(1)
	b.settle()
	if r := b.box.row(0); r.state != "closed" || r.reason != "refused" {
		t.Fatalf("%s because %q", r.state, r.reason)
	}
	if !b.Up("sms") {
		t.Fatal("a bad number is no fault of the gateways")
	}
}

func TestO4_NeverExpiredNorUsed(t *testing.T) {
	g := &gate{name: "only"}
	b := newBench(Route{Gateway: g, Weight: 1})
	b.put(3)
	b.box.rows[1].used = true
	b.box.rows[2].Deadline = b.clock.now()
	b.settle()
	if !slices.Equal(g.calls, []string{"m0"}) {
		t.Fatalf("sent %v", g.calls)
	}
	// It expires between the claim and the second gateway.
	slow := &gate{name: "slow", do: func(context.Context, int) error {
		b.clock.add(10 * time.Minute)
		return refuse(t.Context(), 0)
	}}
	second := &gate{name: "second"}
	b2 := newBench(Route{Gateway: slow, Weight: 1}, Route{Gateway: second})
	b2.clock, b2.Worker.now = b.clock, b.clock.now
	b2.put(1)
	b2.settle()
	if r := b2.box.row(0); r.state != "closed" || r.reason != "expired" || second.count() != 0 {
		t.Fatalf("%s because %q, second gateway called %d times", r.state, r.reason, second.count())
	}
	// It expires during a call that brings no answer: the same gateway is not asked again, though it would drop a second one.
	silent := &gate{name: "silent", once: true, do: func(context.Context, int) error {
		b.clock.add(10 * time.Minute)
		return Unsure(errors.New("no answer"))
	}}
	b3 := newBench(Route{Gateway: silent, Weight: 1})
	b3.clock, b3.Worker.now = b.clock, b.clock.now
	b3.put(1)
	b3.settle()
	if r := b3.box.row(0); r.state != "closed" || silent.count() != 1 {
		t.Fatalf("%s because %q after %d calls", r.state, r.reason, silent.count())
	}
}

func TestO4_BacklogOfTenThousandDropsStale(t *testing.T) {
	g := &gate{name: "only"}
	b := newBench(Route{Gateway: g, Weight: 1})
	b.put(10_000)
	b.clock.add(5 * time.Minute)
	b.put(5)
	b.settle()
	if g.count() != 5 {
		t.Fatalf("%d calls, want those of the 5 fresh codes", g.count())
	}
	for i := range b.box.rows {
		if want := map[bool]string{true: "sent", false: "closed"}[i >= 10_000]; b.box.row(i).state != want {
			t.Fatalf("row %d is %s", i, b.box.row(i).state)
		}
	}
}

func TestO4_KilledWorkersMessageIsNeverSentAgain(t *testing.T) {
	reached, g := make(chan struct{}), &gate{name: "only"}
	g.do = func(ctx context.Context, call int) error {
		close(reached)
		select {} // the process dies here: the gateway has the message, the outbox does not know
	}
	b := newBench(Route{Gateway: g, Weight: 1})
	b.put(1)
	b.round(context.Background())
	<-reached

	next := newBench(Route{Gateway: &gate{name: "only"}, Weight: 1})
	next.box, next.Worker.outbox = b.box, b.box
	heir := next.lines["sms"][0].Gateway.(*gate)
	for range 20 {
		next.settle()
		next.clock.add(10 * time.Second)
	}
	if heir.count() != 0 {
		t.Fatal("a second worker sent what the killed one may have sent")
	}
	if r := b.box.row(0); r.state != "closed" || r.reason != "unknown" {
		t.Fatalf("%s because %q", r.state, r.reason)
	}
}

func TestClaimedBeforeAnError(t *testing.T) {
	g := &gate{name: "only"}
	b := newBench(Route{Gateway: g, Weight: 1})
	b.put(2)
	b.box.broken = errors.New("database away")
	b.settle()
	if g.count() != 2 || b.box.row(1).state != "sent" {
		t.Fatalf("%d sent: what was claimed is lost when the claim then fails", g.count())
	}
}

func TestSentButNotStored(t *testing.T) {
	g := &gate{name: "only"}
	b := newBench(Route{Gateway: g, Weight: 1})
	b.put(2)
	b.box.fail = 2 // the first two answers are lost, the third try holds
	b.settle()
	if r := b.box.row(0); r.state != "sent" {
		t.Fatalf("%s: a short outage must not lose the record", r.state)
	}
	b.box.fail = 1000
	b.put(1)
	b.settle()
	b.box.fail = 0
	b.clock.add(2 * Hold)
	b.settle()
	if g.count() != 3 {
		t.Fatalf("%d calls for 3 messages", g.count())
	}
	if r := b.box.row(2); r.reason != "unknown" {
		t.Fatalf("%s because %q", r.state, r.reason)
	}
}

func TestO4_BreakerOpensAndHalfOpens(t *testing.T) {
	var ok atomic.Bool
	g := &gate{name: "only", do: func(ctx context.Context, n int) error {
		if ok.Load() {
			return nil
		}
		return refuse(ctx, n)
	}}
	b := newBench(Route{Gateway: g, Weight: 1})
	var turned []State
	b.watch.Turned = func(_ string, s State) { turned = append(turned, s) }
	b.put(1)
	for b.Up("sms") {
		b.clock.t = later(b.clock.t, b.box.row(0).due)
		b.settle()
	}
	if g.count() != 3 {
		t.Fatalf("the page learnt of a dead gateway after %d calls, want 3", g.count())
	}
	if waited := b.clock.now().Sub(b.box.row(0).CreatedAt); waited > 3*time.Second {
		t.Fatalf("the page learnt of a dead gateway after %v", waited)
	}
	claims := b.box.claims
	b.put(5)
	b.clock.add(59 * time.Second)
	b.settle()
	if g.count() != 3 || b.box.claims != claims {
		t.Fatalf("%d calls and %d claims while the gateway rests", g.count()-3, b.box.claims-claims)
	}
	b.clock.add(time.Second)
	b.settle()
	if g.count() != 4 || b.Up("sms") {
		t.Fatalf("%d probes, up %v", g.count()-3, b.Up("sms"))
	}
	ok.Store(true)
	b.clock.add(time.Minute)
	b.settle()
	b.settle()
	if g.count() != 4+6 || !b.Up("sms") {
		t.Fatalf("%d calls after the gateway came back, up %v", g.count()-4, b.Up("sms"))
	}
	if want := []State{Open, HalfOpen, Open, HalfOpen, Closed}; !slices.Equal(turned, want) {
		t.Fatalf("turned %v, want %v", turned, want)
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// asleep is a gateway that knows itself that it has no connection.
type asleep struct {
	gate
	up atomic.Bool
}

func (a *asleep) Ready() bool { return a.up.Load() }

func TestReadyGateway(t *testing.T) {
	a, standby := &asleep{gate: gate{name: "a"}}, &gate{name: "standby"}
	b := newBench(Route{Gateway: a, Weight: 1})
	b.put(1)
	b.settle()
	if b.Up("sms") || a.count() != 0 || b.box.claims != 0 {
		t.Fatal("called without a connection")
	}
	a.up.Store(true)
	b.settle()
	if !b.Up("sms") || a.count() != 1 {
		t.Fatal("not called with a connection")
	}
	a.up.Store(false)
	c := newBench(Route{Gateway: a, Weight: 1}, Route{Gateway: standby})
	c.put(1)
	c.settle()
	if standby.count() != 1 || a.count() != 1 {
		t.Fatal("the standby did not step in")
	}
}

func TestWeights(t *testing.T) {
	x, y, z := &gate{name: "x"}, &gate{name: "y"}, &gate{name: "z"}
	b := newBench(Route{Gateway: x, Weight: 3}, Route{Gateway: y, Weight: 1}, Route{Gateway: z})
	b.put(2000)
	b.settle()
	// 1500 of 2000 expected, standard deviation 19: eight of them is never reached.
	if x.count() < 1350 || x.count() > 1650 || x.count()+y.count() != 2000 || z.count() != 0 {
		t.Fatalf("shares %d, %d, %d of 2000", x.count(), y.count(), z.count())
	}
}

func TestBulkhead(t *testing.T) {
	var now, most atomic.Int64
	release := make(chan struct{})
	g := &gate{name: "only", do: func(context.Context, int) error {
		n := now.Add(1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		<-release
		now.Add(-1)
		return nil
	}}
	b := newBench(Route{Gateway: g, Weight: 1, Most: 3})
	b.put(10)
	for b.round(context.Background()) {
	}
	if n := b.flying.Load(); n != 3 {
		t.Fatalf("%d claimed at once, want 3", n)
	}
	close(release)
	b.wg.Wait()
	b.settle()
	if most.Load() > 3 || g.count() != 10 {
		t.Fatalf("%d calls at once, %d in all", most.Load(), g.count())
	}
}

// A channel whose gateway hangs, with a backlog, takes no room from another.
func TestO5_AHungChannelHoldsUpNoOther(t *testing.T) {
	release := make(chan struct{})
	mail := &gate{name: "mail", do: func(context.Context, int) error { <-release; return nil }}
	sms := &gate{name: "sms"}
	b := newBench(Route{Gateway: sms, Weight: 1})
	b.Worker = New(Options{Outbox: b.box, Now: b.clock.now, Timeout: time.Minute,
		Routes: map[string][]Route{"sms": {{Gateway: sms, Weight: 1}}, "mail": {{Gateway: mail, Weight: 1, Most: 4}}}})
	b.put(200)
	for _, r := range b.box.rows {
		r.Channel = "mail"
	}
	b.put(20) // behind all of them
	defer b.wg.Wait()
	defer close(release)
	for range 100_000 {
		b.round(context.Background())
		if sms.count() == 20 {
			if n, claimed := mail.count(), b.of("mail").Load(); n > 4 || claimed > 4 { // what is claimed and waits is lost when the process dies
				t.Fatalf("%d calls at once of the gateway that hangs, %d messages claimed for it", n, claimed)
			}
			return
		}
		runtime.Gosched()
	}
	t.Fatalf("%d of 20 codes were sent while the other channel hangs", sms.count())
}

func TestChannelWithoutRoute(t *testing.T) {
	b := newBench(Route{Gateway: &gate{name: "only"}, Weight: 1})
	b.put(1)
	b.box.rows[0].Channel = "pigeon"
	b.settle()
	if r := b.box.row(0); r.state != "closed" || r.reason != "no_route" || b.Up("pigeon") {
		t.Fatalf("%s because %q", r.state, r.reason)
	}
}

// Where nothing can be sent at all, what others queued does not pile up.
func TestNoRouteAtAll(t *testing.T) {
	b := newBench()
	b.put(200)
	b.settle()
	for i := range 200 {
		if r := b.box.row(i); r.state != "closed" || r.reason != "no_route" {
			t.Fatalf("%d: %s because %q", i, r.state, r.reason)
		}
	}
}

// runner is a gateway with a connection of its own.
type runner struct {
	gate
	ran, ended chan struct{}
}

func (r *runner) Run(ctx context.Context) {
	close(r.ran)
	<-ctx.Done()
	close(r.ended)
}

func TestRunDrains(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	g := &runner{ran: make(chan struct{}), ended: make(chan struct{})}
	g.gate = gate{name: "only", do: func(ctx context.Context, _ int) error {
		close(begun)
		<-release
		select {
		case <-g.ended:
			return errors.New("the connection was closed under a call")
		default:
			return ctx.Err()
		}
	}}
	b := newBench(Route{Gateway: g, Weight: 1})
	b.Worker.timeout = time.Minute
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { b.Run(ctx); close(over) }()
	<-g.ran
	b.put(1)
	b.Wake()
	<-begun
	stop()
	close(release)
	<-over
	<-g.ended
	if r := b.box.row(0); r.state != "sent" {
		t.Fatalf("%s because %q: the call under way was cut", r.state, r.reason)
	}
	b.put(1)
	if r := b.box.row(1); r.state != "due" {
		t.Fatal("claimed after the end")
	}
}
