package device_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/device"
	"github.com/kapi-id/kapi/internal/audit"
)

var errAway = errors.New("database away")

// away cannot write once.
type away struct {
	factors.Tickets
	failed bool
}

func (a *away) Turn(ctx context.Context, id string, from, to, data []byte) error {
	if !a.failed {
		a.failed = true
		return errAway
	}
	return a.Tickets.Turn(ctx, id, from, to, data)
}

// Row D7: a lower number is a copy, also one that nobody used: it would be how a copy that jumped ahead lets the device go on below it.
func TestD7_ALowerNumberThatNobodyUsed(t *testing.T) {
	b := newBench(t)
	clone := b.dev.Copy()
	for range 40 {
		clone.Next()
	}
	wants(t, "the copy jumps ahead", clone.SetPush(webPush), http.StatusNoContent, "")
	wants(t, "the device goes on", b.dev.SetPush(webPush), http.StatusForbidden, "blocked")
	if len(b.kit.Record.Events(audit.DeviceBlocked)) != 1 {
		t.Error("not recorded")
	}
}

// A form that is sent again, at once or after the database failed, is no copy: the number is counted together with what it was for.
func TestD7_TheSameFormAgainIsNoCopy(t *testing.T) {
	t.Run("after a failure", func(t *testing.T) {
		b := newBench(t)
		kit := b.kit.Factors()
		kit.Tickets = &away{Tickets: kit.Tickets}
		kit.Atomically = func(ctx context.Context, fn func(context.Context) error) error {
			rows, err := b.kit.Credentials.Of(ctx, owner)
			if err != nil {
				return err
			}
			failed := fn(ctx)
			if failed == nil {
				return nil
			}
			for _, c := range rows { // nothing is written
				now, err := b.kit.Credentials.ByID(ctx, c.ID)
				if err != nil {
					return err
				}
				c.Version = now.Version
				if err := b.kit.Credentials.Update(ctx, c); err != nil {
					return err
				}
			}
			return failed
		}
		b.f = device.New(kit, device.Options{})
		try := at("t1", "b1")
		statement := b.dev.Here(b.begin(try).Challenge)
		if _, err := b.verify(try, statement); !errors.Is(err, errAway) {
			t.Fatalf("%v", err)
		}
		if p, err := b.verify(try, statement); err != nil || p.Channel != factors.Here {
			t.Errorf("sent again: %+v %v", p, err)
		}
		if n := len(b.kit.Record.Events(audit.DeviceBlocked)); n != 0 {
			t.Error("the device was blocked")
		}
	})
	t.Run("at once", func(t *testing.T) {
		for range 20 {
			b, try := newBench(t), at("t1", "b1")
			statement := b.dev.Here(b.begin(try).Challenge)
			var wg sync.WaitGroup
			start := make(chan struct{})
			for range 4 {
				wg.Go(func() {
					<-start
					if _, err := b.verify(try, statement); key(err) == "device.copied" {
						t.Error("taken for a copy")
					}
				})
			}
			close(start)
			wg.Wait()
			if n := len(b.kit.Record.Events(audit.DeviceBlocked)); n != 0 {
				t.Fatal("the device was blocked")
			}
		}
	})
}
