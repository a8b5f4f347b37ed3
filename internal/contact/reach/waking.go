package reach

import (
	"context"

	"github.com/kapi-id/kapi/factors"
)

// Waking returns tickets that wake the sender (notify.Worker.Wake) once a message has been committed with one of them, so
// that a code leaves at once and not at the worker's next look.
func Waking(t factors.Tickets, wake func()) factors.Tickets { return waking{t, wake} }

type waking struct {
	factors.Tickets
	wake func()
}

func (w waking) Open(ctx context.Context, t factors.Ticket, m *factors.Message) (factors.Ticket, error) {
	t, err := w.Tickets.Open(ctx, t, m)
	if err == nil && m != nil {
		w.wake()
	}
	return t, err
}

// WakingAfter returns atomically so that it wakes the sender after each commit.
func WakingAfter(atomically func(context.Context, func(context.Context) error) error, wake func()) func(context.Context, func(context.Context) error) error {
	return func(ctx context.Context, fn func(context.Context) error) error {
		err := atomically(ctx, fn)
		if err == nil {
			wake()
		}
		return err
	}
}
