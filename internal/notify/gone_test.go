package notify

import (
	"context"
	"errors"
	"testing"
	"time"
)

// An address that is nobody's any more is told to whoever keeps it, once, and the message is given up.
func TestGone(t *testing.T) {
	g := &gate{name: "a", do: func(context.Context, int) error { return Gone(errors.New("410")) }}
	b := newBench(Route{Gateway: g, Weight: 1})
	var told []Message
	b.gone = func(_ context.Context, m Message) error {
		told = append(told, m)
		return errors.New("database away") // the next message finds out again
	}
	b.put(1)
	b.settle()
	if r := b.box.row(0); r.state != "closed" || r.reason != "gone" || len(told) != 1 || told[0].To != r.To || g.count() != 1 {
		t.Errorf("%+v, told %+v", b.box.row(0), told)
	}
	if b.States()["a"] != Closed {
		t.Error("one device less opened the breaker")
	}
}

// What is about one receiver alone leaves the breaker closed, however often, and is not tried before its time.
func TestReceiverAlone(t *testing.T) {
	g := &gate{name: "a", do: func(context.Context, int) error { return Later(errors.New("resting"), 7*time.Second) }}
	b := newBench(Route{Gateway: g, Weight: 1})
	b.put(40)
	b.settle()
	if b.States()["a"] != Closed || g.count() != 40 {
		t.Errorf("%s after %d", b.States()["a"], g.count())
	}
	if r := b.box.row(0); r.state != "due" || r.due.Sub(b.clock.now()) < 7*time.Second {
		t.Errorf("%+v", r)
	}
}

func TestPushChannel(t *testing.T) {
	for to, want := range map[string]string{
		`{"kind":"webpush","endpoint":"https://x"}`: "push-webpush", `{"kind":"fcm"}`: "push-fcm", `{"kind":"apns"}`: "push-apns", `{"kind":"hms"}`: "push-hms",
		`{"kind":"sms"}`: "push", `{"kind":"fcm"`: "push", "": "push", "+905550000001": "push",
	} {
		if got := PushChannel(to); got != want {
			t.Errorf("%s: %s", to, got)
		}
	}
}
