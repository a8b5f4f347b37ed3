package program_test

import (
	"context"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/testkapi"
	"github.com/kapi-id/kapi/storage"
)

// beside puts another server on the database of k, with its own options, and returns it.
func beside(t testing.TB, k *testkapi.Kapi, s program.Settings, p password.Options) *program.App {
	t.Helper()
	a, err := program.New(t.Context(), s, program.Options{
		Now: k.Clock.Now, Database: k.Clock.Now, Pause: func(context.Context, time.Duration) {}, Routes: []notify.Route{{Gateway: k.Phone, Weight: 1}}, Password: p, Counter: k.Counter,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// peak samples the heap until stop is called, which returns the most that was seen.
func peak() (stop func() uint64) {
	done, out := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		var m runtime.MemStats
		for {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			select {
			case <-done:
				out <- most
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(done)
		return <-out
	}
}

// TestX1_FloodOfThePages: sign-ins with the production cost of a hash. It measures the heap of the process, so it does not
// run beside others.
func TestX1_FloodOfThePages(t *testing.T) {
	const slots, queue, flood = 2, 4, 60
	k := testkapi.Start(t, testkapi.Options{})
	k.People(people)
	gate, holding := make(chan struct{}), atomic.Bool{}
	var hashes atomic.Int64
	var longest atomic.Int64
	a := beside(t, k, k.Settings, password.Options{
		Limits: password.Limits{Slots: slots, Queue: queue, After: func(d time.Duration) (<-chan time.Time, func()) {
			longest.Store(max(longest.Load(), int64(d)))
			return nil, func() {} // nobody's patience ends by the machine's clock
		}},
		Hooks: password.Hooks{Hashed: func() {
			hashes.Add(1)
			if holding.Load() {
				<-gate
			}
		}},
	})
	open := sync.OnceFunc(func() {
		holding.Store(false)
		close(gate)
	})
	t.Cleanup(open)
	rp := refreshing(k, "ssi")
	machine := k.RP("machine", map[string]any{"grant_types": []string{"client_credentials"}, "redirect_uris": nil, "post_logout_redirect_uris": nil})
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.Replicas[0].Handler = a.Handler
	signed := testkapi.NewBrowser(t)
	signed.Open(rp.URL())
	signIn(k, signed, mehmet, mehmetPassword, "", 0)
	token := rp.Answer(signed).RefreshToken

	// Every slot and every place in the queue is taken, and stays so: the rest is turned away with no hash begun.
	b := testkapi.NewBrowser(t)
	page := b.Open(rp.URL()).Target("national_id")
	post := func(i int) reply {
		return send(t, b, http.MethodPost, page, url.Values{"national_id": {number(i)}, "password": {"some password"}})
	}
	hashes.Store(0)
	holding.Store(true)
	var turned, waiting atomic.Int64
	var all sync.WaitGroup
	for i := range flood {
		all.Go(func() {
			switch r := post(i); {
			case r.Status == http.StatusServiceUnavailable && r.Header.Get("Retry-After") != "":
				turned.Add(1)
			case r.Status == http.StatusUnprocessableEntity || r.Status == http.StatusOK:
				waiting.Add(1)
			default:
				t.Errorf("%d %s", r.Status, r.Header.Get("Retry-After"))
			}
		})
	}
	eventually(t, "all but the slots and the queue are turned away", func() bool { return turned.Load() == flood-slots-queue })
	if hashes.Load() != slots {
		t.Errorf("%d hashes at once", hashes.Load())
	}
	// What needs no hash needs no slot.
	for range 5 {
		for name, status := range map[string]int{
			"keys": send(t, nil, http.MethodGet, k.URL+"/keys", nil).Status, "discovery": send(t, nil, http.MethodGet, k.URL+"/.well-known/openid-configuration", nil).Status,
			"client_credentials": machinePost(t, k, machine, "/oauth/token", url.Values{"grant_type": {"client_credentials"}}).Status,
			"ready":              send(t, nil, http.MethodGet, k.URL+"/readyz", nil).Status,
		} {
			if status != http.StatusOK {
				t.Errorf("%s during the flood: %d", name, status)
			}
		}
		r := refresh(t, k, rp, token)
		token = member(t, r.Body, "refresh_token")
	}
	signed.Open(rp.URL())
	rp.Answer(signed) // single sign-on too
	// Being turned away counts for nobody: no guess was made.
	for range 20 {
		if r := send(t, b, http.MethodPost, page, url.Values{"national_id": {hasan}, "password": {hasanPassword}}); r.Status != http.StatusServiceUnavailable {
			t.Fatalf("%d with every slot taken", r.Status)
		}
	}
	open()
	all.Wait()
	if waiting.Load() != slots+queue || hashes.Load() != slots+queue {
		t.Errorf("%d were answered with %d hashes", waiting.Load(), hashes.Load())
	}
	if d := time.Duration(longest.Load()); d <= 0 || d >= 2*time.Second {
		t.Errorf("somebody may wait for %v", d)
	}
	b.Open(rp.URL())
	signIn(k, b, hasan, hasanPassword, "", 0)
	rp.Answer(b)

	// With all gates open the memory stays where slots bound it: a garbage collector lets it grow to twice what lives.
	b = testkapi.NewBrowser(t)
	page = b.Open(rp.URL()).Target("national_id")
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	bound := 2*(before.HeapAlloc+slots*19<<20) + 64<<20
	// What lives is the question, not when a busy machine gets around to collecting; what lives above the bound stays there.
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(int64(bound) * 3 / 4))
	stop := peak()
	race(flood, func(i int) { post(1000 + i) })
	if most := stop(); most > bound {
		t.Errorf("the heap grew to %d MiB, the bound is %d", most>>20, bound>>20)
	}
}

// X3: requests that nobody answers are bounded in number by their life and in bytes by what is kept of them.
func TestX3_UnansweredRequests(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, db := k.RP("ssi", nil), owner(t, k)
		swept, err := storage.Open(t.Context(), storage.Config{URL: k.Settings.Database, Now: k.Clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		defer swept.Close()
		count := func() int64 { return one[int64](t, db, "SELECT COUNT(*) FROM signin_transactions") }
		const length = "LENGTH(id) + LENGTH(browser) + LENGTH(ask) + LENGTH(progress) + LENGTH(state) + 24"
		bytes := func(order string) int64 {
			return one[int64](t, db, "SELECT "+length+" AS n FROM signin_transactions ORDER BY n "+order+" LIMIT 1")
		}
		const together, hours = 20, 40
		hourly := together
		if rounds() > 20 {
			hourly = 75 * together // sixty thousand in all; more at one moment than the quota lets through would not be stored
		}
		most := int64(0)
		for range hours {
			for range hourly / together {
				race(together, func(i int) {
					n := 43
					if i == 0 { // and as much as a stranger can make us keep
						n = 2000
					}
					address := rp.OAuth.AuthCodeURL(strings.Repeat("s", n)) + "&nonce=" + strings.Repeat("n", n/4) + "&code_challenge_method=S256&code_challenge=" + strings.Repeat("c", 43) + "&login_hint=" + strings.Repeat("h", n/20)
					if r := send(t, nil, http.MethodGet, address, nil); r.Status != http.StatusSeeOther || !strings.HasPrefix(r.Location, "/signin/") {
						t.Errorf("%d %s", r.Status, r.Location)
					}
				})
			}
			k.Clock.Add(time.Hour)
			if _, err := swept.Sweep(t.Context(), k.Clock.Now()); err != nil {
				t.Fatal(err)
			}
			most = max(most, count())
		}
		// Half an hour of life and a day in which the page can still say that it is over.
		if most > int64(26*hourly) || most < int64(hourly) {
			t.Errorf("%d rows are kept of %d an hour", most, hourly)
		}
		// What institutions send takes less than a kilobyte, and so does the mean where one in twenty is as large as a stranger can make it.
		if least, largest, mean := bytes("ASC"), bytes("DESC"), one[float64](t, db, "SELECT AVG("+length+") FROM signin_transactions"); least >= 1000 || mean >= 1000 || largest >= 4000 {
			t.Errorf("a request takes %d bytes, the largest %d, the mean %.0f", least, largest, mean)
		}
		k.Clock.Add(25 * time.Hour)
		if _, err := swept.Sweep(t.Context(), k.Clock.Now()); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

// X3: a client beyond its quota is told so; another one notices nothing, and costs no statement more.
func TestX3_OneNoisyClient(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{})
	members := map[string]any{"grant_types": []string{"client_credentials"}, "redirect_uris": nil, "post_logout_redirect_uris": nil}
	noisy, quiet := k.RP("noisy", members), k.RP("quiet", members)
	k.Quiet()
	ask := func(rp *testkapi.RP) (reply, int64) {
		before := k.Counter.Statements()
		r := machinePost(t, k, rp, "/oauth/introspect", url.Values{"token": {strings.Repeat("t", 86)}})
		return r, k.Counter.Statements() - before
	}
	_, alone := ask(quiet)
	var refused atomic.Int64
	race(8, func(int) {
		for range 400 {
			if r, _ := ask(noisy); r.Status == http.StatusTooManyRequests {
				refused.Add(1)
				if r.Header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
		}
	})
	if n := refused.Load(); n != 8*400-2000 {
		t.Errorf("%d of 3200 at once were refused, 2000 are allowed", n)
	}
	for range 20 {
		if r, cost := ask(quiet); r.Status != http.StatusOK || cost != alone {
			t.Errorf("the quiet client: %d with %d statements, alone %d", r.Status, cost, alone)
		}
	}
	if r, cost := ask(noisy); r.Status != http.StatusTooManyRequests || cost != 0 {
		t.Errorf("a refused request: %d, %d statements", r.Status, cost)
	}
}
