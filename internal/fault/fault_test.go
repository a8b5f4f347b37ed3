package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

func TestIs(t *testing.T) {
	wrong := New(Denied, "answer.wrong")
	for _, tc := range []struct {
		err, target error
		want        bool
	}{
		{New(NotFound, "a.b"), ErrNotFound, true},
		{New(NotFound, "a.b"), ErrConflict, false},
		{fmt.Errorf("store: %w", ErrConflict), ErrConflict, true},
		{Wrap(Denied, "sms.wrong", wrong), wrong, true},
		{New(Denied, "sms.wrong"), wrong, false},
		{io.EOF, ErrNotFound, false},
	} {
		if got := errors.Is(tc.err, tc.target); got != tc.want {
			t.Errorf("%v is %v: %v", tc.err, tc.target, got)
		}
	}
}

func TestOf(t *testing.T) {
	if Of(nil) != nil {
		t.Error("nothing is a fault")
	}
	if f := Of(io.EOF); f.Kind != Internal || f.Key != "" || !errors.Is(f, io.EOF) {
		t.Errorf("%+v", f)
	}
	f := Of(fmt.Errorf("x: %w", New(Throttled, "a.b").In("code").With("n", 3).After(time.Minute)))
	if f.Kind != Throttled || f.Field != "code" || f.Args["n"] != 3 || f.RetryAfter != time.Minute {
		t.Errorf("%+v", f)
	}
	if KindOf(errors.New("x")) != Internal || KindOf(ErrConflict) != Conflict {
		t.Error("kinds")
	}
}
