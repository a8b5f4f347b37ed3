package notify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// box is an outbox in memory with the promises of Outbox. It outlives the workers that are killed on it.
type box struct {
	mu     sync.Mutex
	rows   []*row
	fail   int   // so many answers of Sent and Failed are errors
	claims int   // calls of Claim
	broken error // returned by Claim beside what it claimed
}

type row struct {
	Message
	state   string // due, sending, sent, closed
	due     time.Time
	claimed time.Time
	via     string
	reason  string
	used    bool // its ticket was used or replaced
}

func (b *box) Enqueue(_ context.Context, m Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = append(b.rows, &row{Message: m, state: "due", due: m.CreatedAt})
	return nil
}

func (b *box) Claim(_ context.Context, n int, except []string, now time.Time) ([]Message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims++
	var out []Message
	for _, r := range b.rows {
		switch {
		case r.state == "sending" && now.Sub(r.claimed) > Hold:
			r.state, r.reason = "closed", "unknown"
		case r.state != "due":
		case r.used:
			r.state, r.reason = "closed", "used"
		case !now.Before(r.Deadline):
			r.state, r.reason = "closed", "expired"
		case r.due.After(now) || len(out) == n || slices.Contains(except, r.Channel):
		default:
			r.state, r.claimed = "sending", now
			r.Attempts++
			out = append(out, r.Message)
		}
	}
	return out, b.broken
}

func (b *box) Sent(_ context.Context, id, gateway string, _ time.Time) error {
	return b.end(id, func(r *row) { r.state, r.via = "sent", gateway })
}

func (b *box) Failed(_ context.Context, id string, next time.Time, reason string, _ time.Time) error {
	return b.end(id, func(r *row) {
		r.reason = reason
		if r.state, r.due = "due", next; next.IsZero() {
			r.state = "closed"
		}
	})
}

func (b *box) end(id string, fn func(*row)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail > 0 {
		b.fail--
		return errors.New("database away")
	}
	for _, r := range b.rows {
		if r.ID == id && r.state == "sending" {
			fn(r)
		}
	}
	return nil
}

func (b *box) Age(_ context.Context, now time.Time) (age time.Duration, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rows {
		if r.state == "due" {
			age = max(age, now.Sub(r.due))
		}
	}
	return age, nil
}

// row returns a copy of the i-th.
func (b *box) row(i int) row {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *b.rows[i]
}

// gate is a gateway that does what its switch says.
type gate struct {
	name string
	once bool
	do   func(ctx context.Context, call int) error

	mu    sync.Mutex
	calls []string
}

func (g *gate) Name() string     { return g.name }
func (g *gate) Idempotent() bool { return g.once }

func (g *gate) Send(ctx context.Context, m Message) error {
	g.mu.Lock()
	g.calls = append(g.calls, m.ID)
	n := len(g.calls)
	g.mu.Unlock()
	if g.do == nil {
		return nil
	}
	return g.do(ctx, n)
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.calls)
}

// switches of the table of faults.
func refuse(context.Context, int) error { return NotSent(errors.New("connection refused"), true) }
func status500(context.Context, int) error {
	return NotSent(errors.New("status 500"), false)
}
func status429(context.Context, int) error { return Busy(errors.New("status 429"), 7*time.Second) }
func badNumber(context.Context, int) error { return Refused(errors.New("no such number")) }
func hang(ctx context.Context, _ int) error {
	<-ctx.Done()
	return Unsure(ctx.Err())
}

type bench struct {
	*Worker
	box   *box
	clock *clock
}

func newBench(routes ...Route) *bench {
	b := &bench{box: &box{}, clock: newClock()}
	b.Worker = New(Options{
		Outbox: b.box, Routes: map[string][]Route{"sms": routes}, Now: b.clock.now, Timeout: 10 * time.Millisecond,
	})
	return b
}

// put enqueues n codes that live five minutes.
func (b *bench) put(n int) {
	for range n {
		_ = b.box.Enqueue(context.Background(), Message{
			ID: fmt.Sprint("m", len(b.box.rows)), Channel: "sms", To: "+905550000001", Text: "123456 …",
			CreatedAt: b.clock.now(), Deadline: b.clock.now().Add(5 * time.Minute),
		})
	}
}

// settle runs rounds until the outbox gives nothing more.
func (b *bench) settle() {
	for b.round(context.Background()) {
		b.wg.Wait()
	}
	b.wg.Wait()
}
