package simswap_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/contact/simswap"
	"github.com/kapi-id/kapi/internal/sim/operator"
)

const number = "+905550000001"

var start = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// bench is a client and the operator that it asks, over HTTP, on one clock.
type bench struct {
	*simswap.Client
	op     *operator.Operator
	server *httptest.Server
	now    atomic.Int64
	seen   chan http.Header
}

func (b *bench) clock() time.Time        { return time.Unix(0, b.now.Load()).UTC() }
func (b *bench) advance(d time.Duration) { b.now.Add(int64(d)) }

func newBench(t *testing.T, options string, hc *http.Client) *bench {
	t.Helper()
	b := &bench{seen: make(chan http.Header, 1000)}
	b.now.Store(start.UnixNano())
	b.op = operator.New(operator.Config{Client: "kapi", Secret: "s:e/c ret%", Now: b.clock})
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/sim-swap/") {
			b.seen <- r.Header
		}
		b.op.ServeHTTP(w, r)
	}))
	t.Cleanup(b.server.Close)
	var err error
	b.Client, err = simswap.Parse("http://kapi:s%3Ae%2Fc%20ret%25@"+strings.TrimPrefix(b.server.URL, "http://")+"/sim-swap/v2#token="+b.server.URL+"/token"+options,
		simswap.Config{Now: b.clock, HTTP: hc, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fast is a client that gives up sooner than people would.
func fast() *http.Client { return &http.Client{Timeout: 100 * time.Millisecond} }

func TestChangedOrNot(t *testing.T) {
	for _, options := range []string{"", "&use=check"} {
		b := newBench(t, options, nil)
		since := start.Add(-30 * time.Hour)
		if changed, _, err := b.Changed(t.Context(), number, since); err != nil || changed {
			t.Fatalf("%s: never changed: %v %v", options, changed, err)
		}
		_ = b.op.Change(number, start.Add(-40*time.Hour))
		b.advance(simswap.Fresh)
		if changed, _, err := b.Changed(t.Context(), number, since); err != nil || changed {
			t.Fatalf("%s: changed before: %v %v", options, changed, err)
		}
		_ = b.op.Change(number, start.Add(-20*time.Hour))
		b.advance(simswap.Fresh)
		if changed, at, err := b.Changed(t.Context(), number, since); err != nil || !changed || !at.After(since) {
			t.Fatalf("%s: changed after: %v %v %v", options, changed, at, err)
		}
		// The exact moment counts where the date is told.
		if options == "" {
			b.advance(simswap.Fresh)
			if changed, _, _ := b.Changed(t.Context(), number, start.Add(-20*time.Hour)); changed {
				t.Error("a change at the moment of the baseline is no news")
			}
			if changed, _, _ := b.Changed(t.Context(), number, start.Add(-20*time.Hour-time.Microsecond)); !changed {
				t.Error("a change a microsecond later is")
			}
		}
	}
}

// An answer is used for a minute and no longer, and one token for many questions.
func TestAnswersAndTokensAge(t *testing.T) {
	b := newBench(t, "", nil)
	ask := func() bool {
		t.Helper()
		changed, _, err := b.Changed(t.Context(), number, start.Add(-time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		return changed
	}
	for range 10 {
		ask()
	}
	if n := b.op.Asked(); n != 1 {
		t.Fatalf("%d questions for ten requests at once", n)
	}
	_ = b.op.Change(number, start.Add(time.Second))
	b.advance(simswap.Fresh - time.Microsecond)
	if ask() {
		t.Fatal("asked again too early")
	}
	b.advance(time.Microsecond)
	if !ask() {
		t.Fatal("an answer older than a minute was used")
	}
	b.op.Forget() // the operator takes the token no more, before its time
	b.advance(simswap.Fresh)
	if !ask() {
		t.Fatal("no new token was asked for")
	}
	b.advance(10 * time.Minute)
	if !ask() {
		t.Fatal("an expired token was used")
	}
	if h := <-b.seen; h.Get("x-correlator") == "" || !strings.HasPrefix(h.Get("Authorization"), "Bearer ") {
		t.Errorf("headers %v", h)
	}
}

// Row O5: whatever the operator does, it is "unknown", never "not changed", and soon.
func TestO5_OperatorInTrouble(t *testing.T) {
	for _, trouble := range []operator.Trouble{operator.Down, operator.Slow, operator.Denied, operator.NotFound, operator.Unfit, operator.Busy,
		operator.Failing, operator.Null, operator.Garbage, operator.Other, operator.NoToken} {
		for _, options := range []string{"", "&use=check"} {
			b := newBench(t, options, fast())
			if err := b.op.Set(trouble); err != nil {
				t.Fatal(err)
			}
			changed, _, err := b.Changed(t.Context(), number, start.Add(-time.Hour))
			if !errors.Is(err, simswap.ErrUnknown) || changed {
				t.Errorf("%s%s: changed %v, %v", trouble, options, changed, err)
			}
			asked := b.op.Asked()
			if _, _, err := b.Changed(t.Context(), number, start.Add(-time.Hour)); !errors.Is(err, simswap.ErrUnknown) || b.op.Asked() != asked {
				t.Errorf("%s%s: a page that asks twice waits twice", trouble, options)
			}
			// It is found out soon that the operator is back.
			_ = b.op.Set(operator.None)
			b.advance(5 * time.Second)
			if changed, _, err := b.Changed(t.Context(), number, start.Add(-time.Hour)); err != nil || changed {
				t.Errorf("%s%s, and back: %v %v", trouble, options, changed, err)
			}
		}
	}
}

// Row O5: a dead operator is asked three times, then rests a minute, then is asked once.
func TestO5_BreakerOfTheOperator(t *testing.T) {
	b := newBench(t, "", fast())
	_ = b.op.Set(operator.Down)
	for i := range 50 {
		_, _, _ = b.Changed(t.Context(), number+string(rune('0'+i%10)), start)
		b.advance(100 * time.Millisecond)
	}
	if n := b.op.Asked(); n > 4 || b.Up() { // 3, and what the transport repeats on a connection that broke
		t.Fatalf("asked %d times, up %v", n, b.Up())
	}
	_ = b.op.Set(operator.None)
	b.advance(time.Minute)
	if _, _, err := b.Changed(t.Context(), number, start); err != nil || !b.Up() {
		t.Fatalf("%v, up %v", err, b.Up())
	}
}

// Row O5: no more than a few requests wait for a slow operator, none longer than its time.
func TestO5_Bulkhead(t *testing.T) {
	release := make(chan struct{})
	var open, most atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"access_token":"t","token_type":"bearer","expires_in":300}`))
			return
		}
		if n := open.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer open.Add(-1)
		<-release
	}))
	defer s.Close()
	c, err := simswap.New(simswap.Config{Root: s.URL + "/sim-swap/v2", TokenURL: s.URL + "/token", ID: "a", Secret: "b", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if _, _, err := c.Changed(t.Context(), number+string(rune('0'+i%10))+string(rune('0'+i/10)), start); !errors.Is(err, simswap.ErrUnknown) {
				t.Errorf("%v", err)
			}
		})
	}
	for open.Load() < 16 && t.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	close(release) // before anybody gives up: an abandoned question would still count as open at the operator
	wg.Wait()
	if most.Load() != 16 {
		t.Errorf("%d questions at once", most.Load())
	}
}

func TestParseRefuses(t *testing.T) {
	for setting, want := range map[string]string{
		"https://op.example/sim-swap/v2#token=https://op.example/token":                       "CLIENT:SECRET@",
		"https://a:SECRET@op.example/sim-swap/v2":                                             "https addresses",
		"http://a:SECRET@op.example/sim-swap/v2#token=https://op.example/token":               "https addresses",
		"https://a:SECRET@op.example/sim-swap/v2#token=https://op.example/token&use=guess":    "use=date",
		"https://a:SECRET@op.example/sim-swap/v2#token=https://op.example/token&cache=1":      "once each",
		"https://a@op.example/sim-swap/v2#token=https://op.example/token":                     "secret",
		"https://a:SECRET@op.example/sim-swap/v2?x=1#token=https://op.example/token":          "https addresses",
		"https://a:SECRET@op.example/sim-swap/v2#token=https://a:SECRET@op.example/token":     "https addresses",
		"https://a:SECRET@op.example/sim-swap/v2#token=https://op.example/token&token=https:": "once each",
	} {
		_, err := simswap.Parse(setting, simswap.Config{Now: time.Now})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(strings.ReplaceAll(err.Error(), "CLIENT:SECRET@", ""), "SECRET") {
			t.Errorf("%s: %v", setting, err)
		}
	}
}
