package storagetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/storage"
)

func event(subject account.ID, name audit.Name, at time.Time) audit.Event {
	return audit.Event{
		At: at, Name: name, Outcome: "ok", Actor: string(subject), Subject: string(subject), Client: "rp1", Session: "s1", Request: "r1",
		Network: "192.0.2.7", Agent: "Browser/1.0", Details: map[string]string{"factor": "password"},
	}
}

// However many events one commit has, each is in the record once, as it was; and none of a commit that was undone.
func eventsTogether(t *testing.T, b *backend) {
	db := b.db
	for n := range 10 {
		for _, undone := range []bool{false, true} {
			id := Person(t, db).Account.ID
			var all []audit.Event
			err := db.Atomically(bg, func(ctx context.Context) error {
				all = nil // it may run twice
				for i := range n {
					e := event(id, audit.SigninFirst, Start.Add(time.Duration(i)*time.Second))
					e.ID, e.Details = uuid.NewString(), map[string]string{"n": strconv.Itoa(i)}
					all = append(all, e)
					if err := db.Record(ctx, e); err != nil {
						return err
					}
					if i == 6 { // a read, before which all that waits is sent
						if _, err := db.Account(ctx, id); err != nil {
							return err
						}
					}
				}
				if undone {
					return fault.ErrConflict
				}
				return nil
			})
			if undone {
				want(t, "undone", err, fault.ErrConflict)
				all = nil
			} else {
				ok(t, err)
			}
			got, err := db.EventsOf(bg, string(id), nil, Start.Add(time.Hour), 20)
			ok(t, err)
			slices.Reverse(got)
			if len(got) != len(all) || len(all) > 0 && !reflect.DeepEqual(got, all) {
				t.Errorf("%d events, undone %v:\n got %+v\nwant %+v", n, undone, got, all)
			}
		}
	}
}

func events(t *testing.T, b *backend) {
	clock := NewClock()
	db := Open(t, b.url(t), clock)
	id := Person(t, db).Account.ID
	names := []audit.Name{audit.SigninFirst, audit.SigninSecond, audit.SigninCompleted, audit.SigninFirst}
	for i, name := range names {
		ok(t, db.Record(bg, event(id, name, Start.Add(time.Duration(i)*time.Second))))
	}
	ok(t, db.Record(bg, event(Person(t, db).Account.ID, audit.SigninFirst, Start)))
	ok(t, db.Record(bg, audit.Event{Name: audit.ClientRefused, Outcome: "refused", Network: "192.0.2.9"}))
	if err := db.Record(bg, audit.Event{Name: "made.up", Outcome: "ok"}); err == nil {
		t.Error("an unregistered event was recorded")
	}
	got, err := db.EventsOf(bg, string(id), nil, time.Time{}, 10)
	ok(t, err)
	if len(got) != 1 { // the clock stands at the first one
		t.Errorf("%d events up to now", len(got))
	}
	end := Start.Add(time.Hour)
	list := func(names []audit.Name, before time.Time, n int) (out []string) {
		t.Helper()
		got, err := db.EventsOf(bg, string(id), names, before, n)
		ok(t, err)
		for _, e := range got {
			wanted := event(id, e.Name, e.At)
			wanted.ID = e.ID
			if !reflect.DeepEqual(e, wanted) {
				t.Errorf("event\n got %+v\nwant %+v", e, wanted)
			}
			out = append(out, fmt.Sprintf("%d%s", e.At.Sub(Start)/time.Second, e.Name))
		}
		return out
	}
	check := func() {
		t.Helper()
		for _, c := range []struct {
			got, want []string
		}{
			{list(nil, end, 10), []string{"3signin.first", "2signin.completed", "1signin.second", "0signin.first"}},
			{list(nil, end, 2), []string{"3signin.first", "2signin.completed"}},
			{list(nil, Start.Add(2*time.Second), 10), []string{"1signin.second", "0signin.first"}},
			{list([]audit.Name{audit.SigninFirst, audit.SigninSecond}, end, 10), []string{"3signin.first", "1signin.second", "0signin.first"}},
			{list([]audit.Name{audit.TokenReuse}, end, 10), nil},
		} {
			if !slices.Equal(c.got, c.want) {
				t.Errorf("events %v, want %v", c.got, c.want)
			}
		}
	}
	check()
	if n, err := db.UnsealedCount(bg); err != nil || n != 6 {
		t.Errorf("%d unsealed, %v", n, err)
	}
	s := audit.Sealer{Chain: db, Now: clock.Now}
	if n, err := s.Seal(bg); err != nil || n != 6 {
		t.Fatalf("sealed %d %v", n, err)
	}
	check()
	ok(t, db.Record(bg, event(id, audit.SessionEnded, Start.Add(9*time.Second)))) // half of the record is sealed
	if got := list(nil, end, 2); !slices.Equal(got, []string{"9session.ended", "3signin.first"}) {
		t.Errorf("across both: %v", got)
	}
	if none, err := db.EventsOf(bg, "", nil, end, 10); err != nil || none != nil {
		t.Errorf("of nobody: %v %v", none, err)
	}

	// No record, no change; no change, no record.
	errStop := errors.New("stop")
	r := Record()
	before, _ := db.UnsealedCount(bg)
	want(t, "rolled back", db.Atomically(bg, func(ctx context.Context) error {
		_, _, err := db.SavePerson(ctx, r)
		return errors.Join(err, db.Record(ctx, event(r.Account.ID, audit.PersonApplied, Start)), errStop)
	}), errStop)
	if after, _ := db.UnsealedCount(bg); after != before {
		t.Error("an event of a change that did not happen")
	}
	// The key made in that transaction must not be remembered: it was never stored.
	ok(t, db.Record(bg, event(r.Account.ID, audit.SigninFirst, Start)))
	if got, err := db.EventsOf(bg, string(r.Account.ID), nil, end, 1); err != nil || len(got) != 1 || got[0].Network != "192.0.2.7" {
		t.Errorf("an event sealed under a lost key: %+v %v", got, err)
	}
	if err := db.Atomically(bg, func(ctx context.Context) error {
		_, _, err := db.SavePerson(ctx, Record())
		return errors.Join(err, db.Record(ctx, audit.Event{Name: "made.up"}))
	}); err == nil {
		t.Error("a change without its record")
	}
}

func chain(t *testing.T, b *backend) {
	db := Open(t, b.url(t), b.clock)
	id := Person(t, db).Account.ID
	if head, err := db.Head(bg); err != nil || !reflect.DeepEqual(head, audit.Entry{}) {
		t.Errorf("head of nothing: %+v %v", head, err)
	}
	for i := range 9 {
		ok(t, db.Record(bg, event(id, audit.SigninFirst, Start.Add(time.Duration(9-i)*time.Second))))
	}
	waiting, err := db.Unsealed(bg, 5)
	ok(t, err)
	if len(waiting) != 5 {
		t.Fatalf("%d waiting", len(waiting))
	}
	link := func(es []audit.Entry, head audit.Entry) []audit.Entry {
		out := slices.Clone(es)
		for i := range out {
			if i > 0 && out[i].At.Before(out[i-1].At) {
				t.Error("not by time")
			}
			out[i].Seq, out[i].Prev = head.Seq+1, head.Hash
			if head.Seq == 0 {
				out[i].Prev = make([]byte, 32)
			}
			sum := sha256.Sum256(append([]byte(out[i].ID), out[i].Prev...))
			out[i].Hash = sum[:]
			head = out[i]
		}
		return out
	}
	linked := link(waiting, audit.Entry{})
	once(t, 6, fault.ErrConflict, func(int) error { return db.AppendSealed(bg, linked) })
	head, err := db.Head(bg)
	ok(t, err)
	if !reflect.DeepEqual(head, linked[4]) {
		t.Errorf("head\n got %+v\nwant %+v", head, linked[4])
	}
	got, err := db.Entries(bg, 0, 100)
	ok(t, err)
	if !reflect.DeepEqual(got, linked) {
		t.Errorf("chain %+v", got)
	}
	if got, err = db.Entries(bg, 2, 2); err != nil || len(got) != 2 || got[0].Seq != 3 {
		t.Errorf("part of it %+v %v", got, err)
	}
	rest, err := db.Unsealed(bg, 100)
	ok(t, err)
	if len(rest) != 4 {
		t.Fatalf("%d left", len(rest))
	}
	wrong := link(rest, audit.Entry{Seq: head.Seq, Hash: make([]byte, 32)})
	want(t, "another head", db.AppendSealed(bg, wrong), fault.ErrConflict)
	gap := link(rest, audit.Entry{Seq: head.Seq + 1, Hash: head.Hash})
	want(t, "a gap", db.AppendSealed(bg, gap), fault.ErrConflict)
	gone := link(append(slices.Clone(rest), audit.Entry{ID: "gone", At: Start.Add(time.Hour), Name: string(audit.SigninFirst)}), head)
	want(t, "an entry that does not wait", db.AppendSealed(bg, gone), fault.ErrConflict)
	if n, _ := db.UnsealedCount(bg); n != 4 {
		t.Errorf("%d left after refused appends", n)
	}
	ok(t, db.AppendSealed(bg, link(rest, head)))
	ok(t, db.AppendSealed(bg, nil))

	// Two sealers and a writer at once: every event is chained once, without gaps.
	good, bad := together(4, func(i int) error {
		s := audit.Sealer{Chain: db, Now: b.clock.Now}
		for range 10 {
			var err error
			if i < 2 {
				_, err = s.Seal(bg)
			} else {
				err = db.Record(bg, event(id, audit.SigninSecond, Start))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if good != 4 {
		t.Error(bad)
	}
	s := audit.Sealer{Chain: db, Now: b.clock.Now}
	_, err = s.Seal(bg)
	ok(t, err)
	all, err := db.Entries(bg, 0, 1000)
	ok(t, err)
	seen := map[string]bool{}
	for i, e := range all {
		if e.Seq != int64(i+1) || seen[e.ID] {
			t.Fatalf("entry %d has number %d, seen before: %v", i, e.Seq, seen[e.ID])
		}
		seen[e.ID] = true
	}
	if len(all) != 29 {
		t.Errorf("%d entries of 29", len(all))
	}
}

func erasure(t *testing.T, b *backend) {
	url := b.url(t)
	db, replica := Open(t, url, b.clock), Open(t, url, b.clock)
	id := Person(t, db).Account.ID
	for _, d := range []*storage.DB{db, replica} {
		ok(t, d.Record(bg, event(id, audit.SigninFirst, Start)))
	}
	read := func(d *storage.DB) (out []audit.Event) {
		t.Helper()
		out, err := d.EventsOf(bg, string(id), nil, Start.Add(time.Hour), 10)
		ok(t, err)
		return out
	}
	for _, e := range read(db) {
		if e.Network == "" {
			t.Error("not readable before")
		}
	}
	ok(t, db.ForgetPerson(bg, id))
	ok(t, db.Record(bg, event(id, audit.SigninFirst, Start)))
	for _, d := range []*storage.DB{db, replica} {
		all := read(d)
		if len(all) != 3 {
			t.Fatalf("%d events", len(all))
		}
		readable := 0
		for _, e := range all {
			if e.Network != "" || e.Agent != "" || len(e.Details) > 0 {
				readable++
			}
		}
		if readable != 1 { // the one recorded after
			t.Errorf("%d events are readable", readable)
		}
	}
}
