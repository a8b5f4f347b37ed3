package enrolment_test

import (
	"context"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/testpg"
	"github.com/kapi-id/kapi/storage/storagetest"
)

// A recovery and a word that the device is lost, at once on PostgreSQL: whichever commits later sees the other, and the device stays for two days.
func TestRC4_LostBesideARecovery(t *testing.T) {
	for _, recoveredFirst := range []bool{true, false} {
		w := newHeldOver(t, testpg.URL(t))
		w.since = storagetest.Start.Add(-time.Hour)
		second, reads := make(chan error, 1), make(chan struct{}, 8)
		lost := func() error { _, err := w.holds.Lost(t.Context(), w.id, from); return err }
		recovered := func() error { return w.holds.Recovered(t.Context(), w.id, from) }
		first, other := lost, recovered
		if recoveredFirst {
			first, other = recovered, lost
		}
		store := &pausing{HoldStore: w.holds.Store}
		store.placed = func() { // the first has placed its hold, and has not committed
			store.placed, store.reads = nil, reads
			go func() { second <- other() }()
			waits, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // for the first to be over, and looks then
			defer cancel()
			for range map[bool]int{true: 2, false: 1}[recoveredFirst] {
				select {
				case <-reads: // it has looked already
				case <-waits.Done():
				}
			}
		}
		w.holds.Store = store
		w.ok(first())
		w.ok(<-second)
		h, err := w.db.OpenHold(t.Context(), w.id, enrolment.HoldDevice, w.clock.Now())
		if due := storagetest.Start.Add(2 * enrolment.HoldLife); err != nil || !h.Due.Equal(due) {
			t.Errorf("recovered first %v: %+v %v, want %v", recoveredFirst, h, err, due)
		}
	}
}

// pausing does something once a hold is placed, in the transaction that placed it, and says when holds are read.
type pausing struct {
	enrolment.HoldStore
	placed func()
	reads  chan struct{}
}

func (p *pausing) PlaceHold(ctx context.Context, h enrolment.Hold, token, code []byte) error {
	err := p.HoldStore.PlaceHold(ctx, h, token, code)
	if p.placed != nil {
		p.placed()
	}
	return err
}

func (p *pausing) OpenHold(ctx context.Context, id account.ID, what string, now time.Time) (enrolment.Hold, error) {
	h, err := p.HoldStore.OpenHold(ctx, id, what, now)
	if p.reads != nil {
		p.reads <- struct{}{}
	}
	return h, err
}
