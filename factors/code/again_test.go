package code

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/throttle"
)

// Row S2: asking again gains neither tries nor time, and only the newest code is good.
func TestS2_AgainGainsNothing(t *testing.T) {
	b := newBench(t)
	b.begin(t)
	until := factortest.Start.Add(Life)
	first := b.code(t)
	for range 3 {
		_ = b.verify(t, other(first, 1))
	}
	b.kit.Clock.Advance(30 * time.Second)
	if err := b.Again(t.Context(), b.try); err != nil {
		t.Fatal(err)
	}
	page := b.begin(t)
	if v := page.Data.(View); !v.Until.Equal(until) {
		t.Errorf("lives until %v, want %v", v.Until, until)
	}
	if m := b.kit.Phone.Sent()[1]; !m.Deadline.Equal(until) {
		t.Errorf("message may leave until %v", m.Deadline)
	}
	second := b.code(t)
	if second != first {
		err := b.verify(t, first)
		if key(err) != "code.wrong" || fault.Of(err).Args["n"] != 1 {
			t.Fatalf("older code: %v %v", err, fault.Of(err).Args)
		}
		if err := b.verify(t, other(second, 1)); key(err) != "code.spent" {
			t.Fatalf("fifth try: %v", err)
		}
		if err := b.verify(t, second); key(err) != "code.spent" {
			t.Fatalf("sixth try: %v", err)
		}
	}
}

func TestS2_NewestOnlyAndUntilTheFirstEnd(t *testing.T) {
	b := newBench(t)
	b.begin(t)
	b.kit.Clock.Advance(90 * time.Second)
	if err := b.Again(t.Context(), b.try); err != nil {
		t.Fatal(err)
	}
	b.kit.Clock.Advance(Life - 90*time.Second - time.Microsecond)
	if _, err := b.Tickets().Find(t.Context(), b.try.Binding, b.try.Purpose); err != nil {
		t.Fatalf("just before the end: %v", err)
	}
	b.kit.Clock.Advance(time.Microsecond)
	if err := b.verify(t, b.code(t)); key(err) != "code.expired" {
		t.Fatalf("at the end of the first code's life: %v", err)
	}
}

func (b *bench) Tickets() factors.Tickets { return b.kit.Tickets }

func TestS2_WaitGrows(t *testing.T) {
	b := newBench(t)
	for i, want := range []time.Duration{30 * time.Second, 60 * time.Second, 120 * time.Second, 90 * time.Second} {
		page := b.begin(t)
		wait := page.Resend.Sub(b.kit.Clock.Now())
		if wait != want { // the fourth would live under a minute: the wait is for the end and a fresh code
			t.Fatalf("wait %d is %v, want %v", i, wait, want)
		}
		b.kit.Clock.Advance(wait - time.Second)
		err := b.Again(t.Context(), b.try)
		if key(err) != "code.wait" || fault.Of(err).RetryAfter != time.Second || fault.Of(err).Args["n"] != 1 {
			t.Fatalf("a second early: %v", err)
		}
		b.kit.Clock.Advance(time.Second)
		if err := b.Again(t.Context(), b.try); err != nil {
			t.Fatalf("in time: %v", err)
		}
	}
	if v := b.begin(t).Data.(View); !v.Until.Equal(b.kit.Clock.Now().Add(Life)) {
		t.Fatal("after the end a fresh challenge begins")
	}
}

func TestS2_AgainInParallel(t *testing.T) {
	b := newBench(t)
	b.begin(t)
	for range 2 {
		_ = b.verify(t, other(b.code(t), 1))
	}
	b.kit.Clock.Advance(time.Minute)
	b.phone.windows = []throttle.Window{{N: 2, Per: 10 * time.Second}}
	var wg sync.WaitGroup
	var ok atomic.Int64
	for range 50 {
		wg.Go(func() {
			switch err := b.Again(context.Background(), b.try); {
			case err == nil:
				ok.Add(1)
			case fault.KindOf(err) != fault.Throttled:
				t.Errorf("again: %v", err)
			}
		})
	}
	wg.Wait()
	if n := len(b.kit.Phone.Sent()) - 1; n < 1 || n > 2 {
		t.Fatalf("%d messages by 50 parallel requests (%d accepted)", n, ok.Load())
	}
	if err := b.verify(t, other(b.code(t), 1)); fault.Of(err).Args["n"] != 2 {
		t.Fatalf("after two wrong tries, 50 requests and a third: %v %v", err, fault.Of(err).Args)
	}
	if err := b.verify(t, b.code(t)); err != nil {
		t.Fatalf("newest code: %v", err)
	}
}

// close closes the open code, as whoever ends a session of the person does.
func (b *bench) close(t *testing.T) {
	t.Helper()
	open, err := b.Tickets().Find(t.Context(), b.try.Binding, b.try.Purpose)
	if err == nil {
		err = b.Tickets().Use(t.Context(), open.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Neither does a try that comes while the next code is on its way.
func TestS2_NoTryIsLostOnTheWay(t *testing.T) {
	b := newBench(t)
	b.begin(t)
	b.kit.Clock.Advance(firstWait)
	b.phone.asked = func() {
		for range 4 {
			_ = b.verify(t, other(b.code(t), 1))
		}
	}
	if err := b.Again(t.Context(), b.try); err != nil {
		t.Fatal(err)
	}
	if err := b.verify(t, other(b.code(t), 1)); key(err) != "code.spent" {
		t.Fatalf("fifth wrong try: %v", err)
	}
}

// Nor one that comes while the page is asked for a second time.
func TestS2_NoTryIsLostAtTheBeginning(t *testing.T) {
	for name, before := range map[string]func(b *bench){
		"the first code": func(*bench) {},
		"the code of somebody else, who began in this browser": func(b *bench) {
			b.kit.Phone.Give("somebody else", "02")
			b.try.Account = "somebody else"
			b.begin(t)
			b.try.Account = ayse
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			before(b)
			b.phone.asked = func() {
				b.phone.asked = nil
				b.begin(t)
				for range 4 {
					_ = b.verify(t, other(b.code(t), 1))
				}
			}
			if v := b.begin(t).Data.(View); !v.Open || v.Used {
				t.Fatalf("the page of whoever was slower: %+v", v)
			}
			if err := b.verify(t, other(b.code(t), 1)); key(err) != "code.spent" {
				t.Fatalf("fifth wrong try: %v", err)
			}
			if v := b.begin(t).Data.(View); !v.Spent {
				t.Fatalf("%+v", v)
			}
		})
	}
}

// Nor one that comes while the next code follows a closed one.
func TestS2_NoTryIsLostAfterAClosedCode(t *testing.T) {
	b := newBench(t)
	b.begin(t)
	b.close(t)
	b.phone.asked = func() {
		b.phone.asked = nil
		if err := b.Again(t.Context(), b.try); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			_ = b.verify(t, other(b.code(t), 1))
		}
	}
	if err := b.Again(t.Context(), b.try); err != nil {
		t.Fatal(err)
	}
	if err := b.verify(t, other(b.code(t), 1)); key(err) != "code.spent" {
		t.Fatalf("fifth wrong try: %v", err)
	}
}

// Nor closing the code from elsewhere.
func TestS2_AClosedCodeGivesNoMoreTries(t *testing.T) {
	b := newBench(t)
	b.begin(t)
	for range 3 {
		_ = b.verify(t, other(b.code(t), 1))
	}
	b.close(t)
	if err := b.Again(t.Context(), b.try); err != nil {
		t.Fatal(err)
	}
	if err := b.verify(t, other(b.code(t), 1)); fault.Of(err).Args["n"] != 1 {
		t.Fatalf("fourth wrong try: %v %v", err, fault.Of(err).Args)
	}
}

func TestS2_LimitsOnThePage(t *testing.T) {
	b := newBench(t)
	b.kit.Phone.Refuse(fault.New(fault.Throttled, "").After(7 * time.Minute))
	page := b.begin(t)
	if page.Trouble != "code.limit" || page.Data.(View).Open || !page.Resend.Equal(factortest.Start.Add(7*time.Minute)) {
		t.Errorf("page %+v", page)
	}
	for wait, want := range map[time.Duration]string{7 * time.Minute: "code.limit_minutes", 20 * time.Hour: "code.limit_hours"} {
		b.kit.Phone.Refuse(fault.New(fault.Throttled, "").After(wait))
		err := b.Again(t.Context(), b.try)
		if key(err) != want || fault.Of(err).RetryAfter != wait || fault.KindOf(err) != fault.Throttled {
			t.Errorf("%v: %v", wait, err)
		}
	}
	if len(b.kit.Phone.Sent()) != 0 {
		t.Error("sent beyond the limit")
	}
	b.kit.Phone.Refuse(errors.New("database away"))
	if _, err := b.Begin(t.Context(), b.try); fault.KindOf(err) != fault.Internal {
		t.Errorf("a defect is no limit: %v", err)
	}
	b.kit.Phone.Refuse(nil)
	b.begin(t)
	if !slices.Equal(b.phone.networks[len(b.phone.networks)-1:], []string{"192.0.2.1"}) {
		t.Errorf("counted for %q", b.phone.networks)
	}
}

// A refused resend leaves the code that is on its way good.
func TestRefusedResendKeepsTheCode(t *testing.T) {
	b := newBench(t)
	b.begin(t)
	b.kit.Clock.Advance(time.Minute)
	b.kit.Phone.Refuse(fault.New(fault.Throttled, "").After(time.Minute))
	if err := b.Again(t.Context(), b.try); fault.KindOf(err) != fault.Throttled {
		t.Fatalf("Again: %v", err)
	}
	if err := b.verify(t, b.code(t)); err != nil {
		t.Fatal(err)
	}
}
