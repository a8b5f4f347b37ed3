package reach

import (
	"context"
	"errors"
	"testing"

	"github.com/kapi-id/kapi/factors"
)

type opening struct {
	factors.Tickets
	err error
}

func (o opening) Open(_ context.Context, t factors.Ticket, _ *factors.Message) (factors.Ticket, error) {
	t.ID = "made"
	return t, o.err
}

func TestWaking(t *testing.T) {
	for _, tc := range []struct {
		m    *factors.Message
		err  error
		want int
	}{{&factors.Message{}, nil, 1}, {nil, nil, 0}, {&factors.Message{}, errors.New("not committed"), 0}} {
		woken := 0
		got, err := Waking(opening{err: tc.err}, func() { woken++ }).Open(t.Context(), factors.Ticket{}, tc.m)
		if woken != tc.want || got.ID != "made" || !errors.Is(err, tc.err) {
			t.Errorf("%+v: woken %d times, %v %v", tc, woken, got, err)
		}
	}
}
