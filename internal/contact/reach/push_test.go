package reach

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/throttle"
)

type queue struct {
	sent []notify.Message
	down string
}

func (q *queue) Enqueue(_ context.Context, m notify.Message) error {
	q.sent = append(q.sent, m)
	return nil
}

func (q *queue) Up(channel string) bool { return channel != q.down }

func TestPush(t *testing.T) {
	q := &queue{}
	p := &Push{Outbox: q, Channels: q}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	m := factors.PushMessage{Account: "a1", To: `{"kind":"fcm"}`, Text: "look", Ticket: "t1", Dedupe: "d", After: at, Deadline: at.Add(time.Minute)}
	if err := p.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	want := notify.Message{Channel: "push-fcm", Account: "a1", To: m.To, Text: "look", Ticket: "t1", Dedupe: "d", CreatedAt: at, Deadline: at.Add(time.Minute)}
	if len(q.sent) != 1 || q.sent[0] != want {
		t.Errorf("queued %+v", q.sent)
	}
	if !p.Up(m.To) {
		t.Error("down")
	}
	q.down = "push-fcm"
	if p.Up(m.To) || !p.Up(`{"kind":"webpush"}`) {
		t.Error("one kind of push service is not another")
	}
}

type counter struct {
	throttle.Store
	keys []string
	used map[string]bool
}

func (c *counter) Hit(_ context.Context, key string, _ []throttle.Window, _ time.Time) (time.Duration, error) {
	c.keys = append(c.keys, key)
	return time.Second, nil
}

func (c *counter) UseOnce(_ context.Context, kind string, hash []byte, _ time.Time) error {
	name := kind + string(hash)
	if c.used[name] {
		return fault.ErrConflict
	}
	c.used[name] = true
	return nil
}

// Factors that count the same do not count together.
func TestLimits(t *testing.T) {
	c := &counter{used: map[string]bool{}}
	one, two := &Limits{Name: "one", Throttle: c, Used: c, Now: time.Now}, &Limits{Name: "two", Throttle: c, Used: c, Now: time.Now}
	for _, l := range []*Limits{one, two} {
		if wait, err := l.Hit(t.Context(), "key", nil); wait != time.Second || err != nil {
			t.Errorf("%v %v", wait, err)
		}
		if err := l.Once(t.Context(), "value", time.Time{}); err != nil {
			t.Error(err)
		}
		if err := l.Once(t.Context(), "value", time.Time{}); !errors.Is(err, fault.ErrConflict) {
			t.Errorf("twice: %v", err)
		}
	}
	if len(c.keys) != 2 || c.keys[0] == c.keys[1] {
		t.Errorf("counted under %q", c.keys)
	}
}

func TestWakingAfter(t *testing.T) {
	for _, want := range []error{nil, errors.New("not committed")} {
		woken := 0
		err := WakingAfter(func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }, func() { woken++ })(t.Context(), func(context.Context) error { return want })
		if !errors.Is(err, want) || (woken == 1) != (want == nil) {
			t.Errorf("%v: woken %d times, %v", want, woken, err)
		}
	}
}
