package push

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
)

// Many calls at once make one token; one that cannot be made in time keeps nobody beyond their time.
func TestPassIsShared(t *testing.T) {
	var mu sync.Mutex
	made := 0
	p := &Pass{Now: time.Now, Make: func(context.Context) (string, time.Duration, *notify.Failure) {
		mu.Lock()
		defer mu.Unlock()
		made++
		return "t", time.Hour, nil
	}}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if got, f := p.Get(t.Context()); got != "t" || f != nil {
				t.Error(got, f)
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("made %d", made)
	}
	stuck := &Pass{Now: time.Now, Make: func(ctx context.Context) (string, time.Duration, *notify.Failure) {
		<-ctx.Done()
		return "", 0, notify.Unsure(ctx.Err())
	}}
	ctx, cancel := context.WithCancel(t.Context())
	for range 5 {
		wg.Go(func() {
			if _, f := stuck.Get(ctx); f == nil || !f.Certain || !f.Silent {
				t.Errorf("%+v", f)
			}
		})
	}
	cancel()
	wg.Wait()
}

// A clock that was put back does not make an old token new.
func TestPassAndTheClock(t *testing.T) {
	now, made := time.Now(), 0
	p := &Pass{Now: func() time.Time { return now }, Make: func(context.Context) (string, time.Duration, *notify.Failure) {
		made++
		return "t", time.Hour, nil
	}}
	for _, d := range []time.Duration{0, time.Minute, -2 * time.Hour} {
		now = now.Add(d)
		if _, f := p.Get(t.Context()); f != nil {
			t.Fatal(f)
		}
	}
	if made != 2 {
		t.Errorf("made %d", made)
	}
}

// However many places are asked to wait, and for however long, the memory is bounded and nobody waits for more than an hour.
func TestRestsAreBounded(t *testing.T) {
	now := time.Now()
	r := &Rests{Now: func() time.Time { return now }}
	for i := range mostRests + 10 {
		r.Rest(strings.Repeat("x", i%7)+string(rune(i)), 1000*time.Hour)
	}
	if n := len(r.until); n > mostRests {
		t.Errorf("%d places", n)
	}
	if d := r.Left("x" + string(rune(1))); d > longest {
		t.Errorf("%s", d)
	}
	if f := r.Heard(call.Answer{Status: 429}, "one", "all"); f.RetryAfter != usual || r.Left("one") != usual || r.Left("all") != 0 {
		t.Errorf("%+v", f)
	}
}

// What a key file holds stays out of the errors.
func TestParseKey(t *testing.T) {
	for _, text := range []string{"", "hush-hush", "-----BEGIN PRIVATE KEY-----\naHVzaC1odXNo\n-----END PRIVATE KEY-----\n"} {
		if _, err := ParseKey(text); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzRead: a subscription comes from a stranger. Whatever it is, what leaves is a kind and an id.
func FuzzRead(f *testing.F) {
	f.Add(`{"kind":"fcm","token":"a"}`, `{"kind":"approval","id":"1"}`)
	f.Add(`{"kind":"fcm","token":1}`, `{"kind":"approval","id":"1","number":"42"}`)
	f.Add(`[]`, `{"kind":"approval","id":"1"} {}`)
	f.Add(`{"KIND":"fcm"}`, `{"ID":"1","Kind":"x"}`)
	f.Fuzz(func(t *testing.T, to, text string) {
		s, n, failed := Read(notify.Message{To: to, Text: text}, "fcm")
		if failed != nil {
			if !failed.Final || !failed.Certain || errors.Unwrap(failed) == nil {
				t.Errorf("%+v", failed)
			}
			return
		}
		if s.Kind != "fcm" || !kindForm.MatchString(n.Kind) || !idForm.MatchString(n.ID) || len(n.JSON()) > 128 {
			t.Errorf("%+v %+v", s, n)
		}
	})
}
