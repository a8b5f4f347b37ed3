package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
)

// Times of the worker.
const (
	sendTimeout = 5 * time.Second        // of one call
	keep        = 20 * time.Second       // of all calls for one claimed message; well within Hold
	poll        = time.Second            // between looks at the outbox when nobody wakes the worker
	firstRetry  = 500 * time.Millisecond // about, before the second attempt; doubled by each
	lastRetry   = 20 * time.Second
	claimMost   = 64
	defaultMost = 16
)

// Route is a gateway with its share of the traffic.
type Route struct {
	Gateway Gateway
	Weight  int // share among the routes that are up; 0 = only when the others cannot
	Most    int // calls at once; 0 = 16
}

// Watch hears what the worker does, for metrics and log; nil members are skipped. No call gets a number or a text.
type Watch struct {
	// Sent: one call ended after took; outcome is "sent", "not_sent", "refused", "unsure".
	Sent func(channel, gateway, outcome string, took time.Duration)
	// Closed: a message will not be tried again; reason is "expired", "refused", "gone", "unsure" or "no_route".
	Closed func(channel, reason string)
	// Turned: the breaker of a gateway changed its state.
	Turned func(gateway string, s State)
	// Age of the oldest due message, at each look.
	Age func(time.Duration)
}

// Options of a Worker.
type Options struct {
	Outbox  Outbox
	Routes  map[string][]Route // by channel, most preferred first
	Log     *slog.Logger
	Now     func() time.Time
	Watch   Watch
	Timeout time.Duration // of one call; 0 = 5 s
	// Gone hears that nobody is at the address of a message any more, so that whoever keeps it may say so; nil = nobody listens.
	Gone func(ctx context.Context, m Message) error
}

// Worker takes messages from the outbox and hands them to gateways. One runs in each process.
type Worker struct {
	outbox  Outbox
	lines   map[string][]*line
	log     *slog.Logger
	now     func() time.Time
	watch   Watch
	timeout time.Duration
	gone    func(ctx context.Context, m Message) error

	wake   chan struct{}
	flying atomic.Int64
	aloft  map[string]*atomic.Int64 // by channel; the map never changes
	astray atomic.Int64
	wg     sync.WaitGroup
}

// line is a route at work.
type line struct {
	Route
	breaker *Breaker
	slots   chan struct{}
	state   atomic.Value // State last told to Watch
}

// New returns a worker that does nothing before Run.
func New(o Options) *Worker {
	w := &Worker{
		outbox: o.Outbox, lines: map[string][]*line{}, aloft: map[string]*atomic.Int64{}, log: o.Log, now: o.Now, watch: o.Watch,
		timeout: o.Timeout, gone: o.Gone, wake: make(chan struct{}, 1),
	}
	if w.timeout <= 0 {
		w.timeout = sendTimeout
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	for channel, routes := range o.Routes {
		w.aloft[channel] = &atomic.Int64{}
		for _, r := range routes {
			if r.Most <= 0 {
				r.Most = defaultMost
			}
			l := &line{Route: r, breaker: NewBreaker(o.Now), slots: make(chan struct{}, r.Most)}
			l.state.Store(Closed)
			w.lines[channel] = append(w.lines[channel], l)
		}
	}
	return w
}

// Wake makes the worker look at the outbox now: call it after the commit that enqueued. It never blocks.
func (w *Worker) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Up says whether a gateway of the channel would be called now, from the breakers alone.
func (w *Worker) Up(channel string) bool {
	for _, l := range w.lines[channel] {
		if l.up() {
			return true
		}
	}
	return false
}

// States of the breakers by gateway name, for readiness and a status page.
func (w *Worker) States() map[string]State {
	out := map[string]State{}
	for _, lines := range w.lines {
		for _, l := range lines {
			out[l.Gateway.Name()] = l.breaker.State()
		}
	}
	return out
}

// Run works until ctx ends; then it takes nothing new and waits for the calls under way.
func (w *Worker) Run(ctx context.Context) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx)) // connections outlive the calls under way
	var runners sync.WaitGroup
	for _, lines := range w.lines {
		for _, l := range lines {
			if r, ok := l.Gateway.(Runner); ok {
				runners.Go(func() { r.Run(running) })
			}
		}
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for ctx.Err() == nil {
		more := w.round(ctx)
		if more {
			continue
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-tick.C:
			w.look(ctx)
		}
	}
	w.wg.Wait()
	stop()
	runners.Wait()
}

// look tells the age of the oldest due message.
func (w *Worker) look(ctx context.Context) {
	if w.watch.Age == nil {
		return
	}
	if age, err := w.outbox.Age(ctx, w.now()); err == nil {
		w.watch.Age(age)
	}
}

// round claims as much as can be sent at once and starts sending; more says that the outbox may hold still more.
func (w *Worker) round(ctx context.Context) (more bool) {
	n, except := w.room()
	if n <= 0 {
		return false // each call that ends wakes the worker, and so does the poll after a breaker's rest
	}
	ms, err := w.outbox.Claim(ctx, n, except, w.now())
	if err != nil && ctx.Err() == nil {
		w.log.Error("outbox: claim", "error", err)
	}
	for _, m := range ms {
		w.flying.Add(1)
		w.of(m.Channel).Add(1)
		w.wg.Go(func() {
			defer w.Wake()
			defer w.flying.Add(-1)
			defer w.of(m.Channel).Add(-1)
			w.deliver(context.WithoutCancel(ctx), m)
		})
	}
	return err == nil && len(ms) == n
}

// of counts what is under way in a channel; channels without a route share one count.
func (w *Worker) of(channel string) *atomic.Int64 {
	if n := w.aloft[channel]; n != nil {
		return n
	}
	return &w.astray
}

// room is how many messages may be claimed now, and of which channels none: a resting channel claims nothing, a half-open one a
// single message, and one whose gateway hangs no more than it has calls for, so that its backlog holds up no other.
func (w *Worker) room() (most int, except []string) {
	if len(w.lines) == 0 { // what commands queued is closed all the same
		return claimMost - int(w.flying.Load()), nil
	}
	for channel, lines := range w.lines {
		n := 0
		for _, l := range lines {
			switch {
			case !l.up():
			case l.breaker.State() == HalfOpen:
				n++
			default:
				n += l.Most
			}
		}
		switch n -= int(w.of(channel).Load()); {
		case n <= 0:
			except = append(except, channel)
		case most == 0 || n < most: // whatever is claimed, it fits
			most = n
		}
	}
	return min(most, claimMost), except
}

// deliver hands m to the gateways of its channel in turn until one takes it or nobody can tell.
func (w *Worker) deliver(ctx context.Context, m Message) {
	ctx, cancel := context.WithTimeout(ctx, keep)
	defer cancel()
	if err := failpoint.Here("message-claimed"); err != nil {
		return // held until notify.Hold is over, as after a death
	}
	var last *Failure
	refused := true
	for _, l := range w.order(m.Channel) {
		if !w.now().Before(m.Deadline) {
			w.close(ctx, m, "expired")
			return
		}
		f, called := w.try(ctx, l, m)
		if !called {
			refused = false
			continue
		}
		if f == nil {
			w.sent(ctx, m, l)
			return
		}
		w.log.Warn("outbox: not sent", "id", m.ID, "channel", m.Channel, "gateway", l.Gateway.Name(), "certain", f.Certain, "error", f.Err)
		if !f.Certain {
			w.close(ctx, m, "unsure")
			return
		}
		if f.Gone {
			w.forget(ctx, m)
			return
		}
		refused = refused && f.Final
		last = f
	}
	switch {
	case len(w.lines[m.Channel]) == 0:
		w.close(ctx, m, "no_route")
	case last != nil && refused:
		w.close(ctx, m, "refused")
	default:
		w.back(ctx, m, last)
	}
}

// try calls one gateway; an unsure answer is asked again where a second message with the same id is dropped.
func (w *Worker) try(ctx context.Context, l *line, m Message) (f *Failure, called bool) {
	for range 2 {
		g, ok := w.call(ctx, l, m)
		if !ok {
			return f, f != nil
		}
		f = g
		if f == nil || f.Certain {
			return f, true
		}
		if i, ok := l.Gateway.(Idempotent); !ok || !i.Idempotent() {
			return f, true
		}
	}
	return f, true
}

// call is one call with its own time limit, slot and breaker; called is false when the gateway rests.
func (w *Worker) call(ctx context.Context, l *line, m Message) (f *Failure, called bool) {
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return nil, false
	}
	if !l.ready() || !w.now().Before(m.Deadline) { // the wait for a slot, or a first call, may have taken what was left
		return nil, false
	}
	done, ok := l.breaker.Begin()
	if !ok {
		return nil, false
	}
	w.turned(l) // half-open, when this is the call that finds out
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	begun := w.now()
	f = send(ctx, l.Gateway, m)
	result, outcome := verdict(f)
	done(result)
	w.turned(l)
	if w.watch.Sent != nil {
		w.watch.Sent(m.Channel, l.Gateway.Name(), outcome, w.now().Sub(begun))
	}
	return f, true
}

// send makes a panic of a gateway an unsure answer: it must end neither the process nor the worker.
func send(ctx context.Context, g Gateway, m Message) (f *Failure) {
	defer func() {
		if p := recover(); p != nil {
			f = Unsure(fmt.Errorf("gateway %s panicked: %v", g.Name(), p))
		}
	}()
	return failureOf(g.Send(ctx, m))
}

// order returns the routes of the channel: one of those that share the traffic first, chosen by weight, then the rest as given.
func (w *Worker) order(channel string) []*line {
	lines := w.lines[channel]
	total := 0
	for _, l := range lines {
		if l.up() {
			total += l.Weight
		}
	}
	if total == 0 {
		return lines
	}
	pick := rand.IntN(total)
	for i, l := range lines {
		if !l.up() {
			continue
		}
		if pick -= l.Weight; pick < 0 {
			out := append([]*line{l}, lines[:i]...)
			return append(out, lines[i+1:]...)
		}
	}
	return lines
}

// sent closes m. If that cannot be stored the row stays marked as sending and is later closed as unknown: it is never
// sent a second time.
func (w *Worker) sent(ctx context.Context, m Message, l *line) {
	w.store(ctx, m, func(ctx context.Context) error {
		if err := failpoint.Here("message-sent"); err != nil {
			return err
		}
		return w.outbox.Sent(ctx, m.ID, l.Gateway.Name(), w.now())
	})
}

// forget gives m up and tells that its address is nobody's.
func (w *Worker) forget(ctx context.Context, m Message) {
	w.close(ctx, m, "gone")
	if w.gone == nil {
		return
	}
	if err := w.gone(ctx, m); err != nil { // the next message finds out again
		w.log.Error("outbox: an address that is nobody's could not be marked", "id", m.ID, "channel", m.Channel, "error", err)
	}
}

// close gives m up.
func (w *Worker) close(ctx context.Context, m Message, reason string) {
	if w.watch.Closed != nil {
		w.watch.Closed(m.Channel, reason)
	}
	w.store(ctx, m, func(ctx context.Context) error { return w.outbox.Failed(ctx, m.ID, time.Time{}, reason, w.now()) })
}

// back returns m to the queue, due after a jittered wait, or gives it up when that would be too late.
func (w *Worker) back(ctx context.Context, m Message, f *Failure) {
	wait := min(firstRetry<<min(max(m.Attempts-1, 0), 10), lastRetry)
	wait = wait/2 + rand.N(wait)
	reason := "no gateway is up"
	if f != nil {
		wait = max(wait, min(f.RetryAfter, breakerRest))
		reason = "not sent"
	}
	now := w.now()
	next := now.Add(wait)
	if !next.Before(m.Deadline) {
		w.close(ctx, m, "expired")
		return
	}
	w.store(ctx, m, func(ctx context.Context) error { return w.outbox.Failed(ctx, m.ID, next, reason, now) })
	time.AfterFunc(wait, w.Wake)
}

// store tells the outbox, trying again a few times since the call to the gateway cannot be undone. A message that somebody has closed since, or
// took over because this machine stood still for longer than it had claimed it, stays as they left it.
func (w *Worker) store(ctx context.Context, m Message, fn func(context.Context) error) {
	ctx = context.WithoutCancel(ctx)
	var errs error
	for range 3 {
		err := fn(ctx)
		if err == nil {
			return
		}
		if errors.Is(err, fault.ErrConflict) {
			w.log.Warn("outbox: closed by another meanwhile", "id", m.ID)
			return
		}
		errs = errors.Join(errs, err)
	}
	w.log.Error("outbox: store", "id", m.ID, "error", errs)
}

// turned tells Watch and the log about a new state of the breaker.
func (w *Worker) turned(l *line) {
	s := l.breaker.State()
	if l.state.Swap(s) == s {
		return
	}
	w.log.Warn("outbox: breaker", "gateway", l.Gateway.Name(), "state", string(s))
	if w.watch.Turned != nil {
		w.watch.Turned(l.Gateway.Name(), s)
	}
}

func (l *line) ready() bool {
	r, ok := l.Gateway.(Ready)
	return !ok || r.Ready()
}

func (l *line) up() bool { return l.ready() && l.breaker.Up() }
