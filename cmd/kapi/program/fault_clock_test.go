package program_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/testkapi"
	"github.com/kapi-id/kapi/provider/keys"
	"github.com/kapi-id/kapi/storage"
)

// withClock is another server on the database of k, on a machine with a clock of its own; nil is the database's own clock.
func withClock(t *testing.T, k *testkapi.Kapi, s program.Settings, now, database func() time.Time) *program.App {
	t.Helper()
	a, err := program.New(t.Context(), s, program.Options{
		Now: now, Database: database, Pause: func(context.Context, time.Duration) {}, Routes: []notify.Route{{Gateway: k.Phone, Weight: 1}},
		Log:      slog.New(slog.NewJSONHandler(k.Log, nil)),
		Password: password.Options{Cost: password.Cost{Memory: 64, Time: 1, Threads: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// alternating sends each request to the other server than the one before, and says where the next one goes.
func alternating(k *testkapi.Kapi, other *program.App) (next *atomic.Int64) {
	here, there := k.App().Handler, other.Handler
	next = &atomic.Int64{}
	k.App().Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if next.Add(1)%2 == 1 {
			here.ServeHTTP(w, r)
		} else {
			there.ServeHTTP(w, r)
		}
	})
	return next
}

// readiness is what a server says of itself, past the one that alternates.
func readiness(a *program.App) int {
	w := httptest.NewRecorder()
	a.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	return w.Code
}

// O6: a replica on a machine whose clock is wrong, either way: no code, session or token is refused at one replica that is
// good at the other, nothing is good twice, and the machine is told of; from two minutes on it is not ready.
func TestO6_ClockSkew(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{90 * time.Second, -90 * time.Second, 3 * time.Second, -time.Second, time.Hour, -time.Hour, 400 * 24 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			k := testkapi.Start(t, testkapi.Options{Postgres: true})
			k.People(people)
			other := withClock(t, k, k.Settings, func() time.Time { return k.Clock.Now().Add(skew) }, k.Clock.Now)
			work, stop := context.WithCancel(context.Background())
			other.Start(work) // what it has to send is due by its own clock
			t.Cleanup(func() {
				stop()
				other.Wait()
			})
			rp := refreshing(k, "ssi")
			if err := other.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := http.StatusOK
			if skew.Abs() > 2*time.Minute {
				want = http.StatusServiceUnavailable
			}
			if got := readiness(other); got != want {
				t.Errorf("readiness %d", got)
			}
			if told := strings.Contains(k.Log.String(), "clock differs"); told != (skew.Abs() > 2*time.Second) {
				t.Errorf("told of it: %t", told)
			}
			next := alternating(k, other)
			for round := range 4 { // the first request at one or at the other
				next.Store(int64(round))
				k.Clock.Add(20 * time.Minute)
				b := testkapi.NewBrowser(t)
				b.Open(rp.URL())
				signIn(k, b, ayse, aysePassword, aysePhone, round+1)
				form := rp.Redemption(b)
				k.Clock.Add(grant.CodeLife - 2*time.Second) // near to its end, everywhere
				r := machinePost(t, k, rp, "/oauth/token", form)
				if r.Status != http.StatusOK {
					t.Fatalf("round %d: a code that is good was refused: %d %s", round, r.Status, r.Body)
				}
				token, access := member(t, r.Body, "refresh_token"), member(t, r.Body, "access_token")
				for range 3 {
					if s := userinfo(t, k, access); s != http.StatusOK {
						t.Errorf("round %d: userinfo %d", round, s)
					}
					r := refresh(t, k, rp, token)
					if r.Status != http.StatusOK {
						t.Fatalf("round %d: refresh %d %s", round, r.Status, r.Body)
					}
					token, access = member(t, r.Body, "refresh_token"), member(t, r.Body, "access_token")
				}
				for range 2 { // at both
					if r := machinePost(t, k, rp, "/oauth/token", form); r.Status == http.StatusOK {
						t.Errorf("round %d: a code was good twice", round)
					}
				}
				if s := userinfo(t, k, access); s != http.StatusUnauthorized {
					t.Errorf("round %d: a replay revoked nothing: %d", round, s)
				}
				// The session is known at both.
				for range 2 {
					if r := send(t, b, http.MethodGet, k.URL+"/me", nil); r.Status != http.StatusOK {
						t.Errorf("round %d: the session is not known: %d", round, r.Status)
					}
				}
				// A code that is over is over at both, whichever made it.
				b.Open(rp.URL())
				form = rp.Redemption(b)
				k.Clock.Add(grant.CodeLife + 2*time.Second)
				for range 2 {
					if r := machinePost(t, k, rp, "/oauth/token", form); r.Status == http.StatusOK {
						t.Errorf("round %d: a code outlived its end", round)
					}
				}
			}
		})
	}
}

// O6: the clock of a running replica's machine is set, back or ahead: from its next look at the database on its time is right.
func TestO6_OneMachineJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{-10 * time.Minute, 10 * time.Minute, -90 * time.Second} {
		t.Run(jump.String(), func(t *testing.T) {
			k := testkapi.Start(t, testkapi.Options{Postgres: true})
			k.People(people)
			var off atomic.Int64
			other := withClock(t, k, k.Settings, func() time.Time { return k.Clock.Now().Add(time.Duration(off.Load())) }, k.Clock.Now)
			rp := refreshing(k, "ssi")
			if err := other.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			off.Store(int64(jump))
			ready := readiness(other) == http.StatusOK // a look at the database
			if want := jump.Abs() < 2*time.Minute; ready != want {
				t.Errorf("ready: %t", ready)
			}
			if got := other.Flow.Now(); !got.Equal(k.Clock.Now()) {
				t.Errorf("its time is %v, and ours %v", got, k.Clock.Now())
			}
			alternating(k, other)
			for range 4 {
				b := testkapi.NewBrowser(t)
				b.Open(rp.URL())
				signIn(k, b, mehmet, mehmetPassword, "", 0)
				rp.Answer(b)
			}
		})
	}
}

// O6: the clock that leads is that of the database itself.
func TestO6_TheDatabaseLeads(t *testing.T) {
	t.Parallel()
	testkapi.Each(t, testkapi.Options{}, func(t *testing.T, k *testkapi.Kapi) {
		a := withClock(t, k, k.Settings, func() time.Time { return time.Now().Add(time.Hour) }, nil)
		// Wide enough for any machine, and far from an hour.
		if ahead := time.Until(a.Flow.Now()); strings.HasPrefix(k.Settings.Database, "postgres:") != (ahead < 30*time.Minute) {
			t.Errorf("%v ahead", ahead)
		}
	})
}

// O6: five guesses are five, whichever clock counts them.
func TestO6_GuessesAcrossClocks(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{Postgres: true})
	k.People(people)
	other := withClock(t, k, k.Settings, func() time.Time { return k.Clock.Now().Add(-90 * time.Second) }, k.Clock.Now)
	rp := k.RP("ssi", nil)
	if err := other.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	alternating(k, other)
	b := testkapi.NewBrowser(t)
	page := b.Open(rp.URL()).Target("national_id")
	before := k.Hashes.Load()
	for i := range 20 {
		send(t, b, http.MethodPost, page, url.Values{"national_id": {mehmet}, "password": {fmt.Sprint("wrong number ", i)}})
	}
	// The hashes of the other server are not counted here: of twenty that came in turn, at most five were begun in all.
	if n := k.Hashes.Load() - before; n > 3 {
		t.Errorf("%d comparisons at one of two servers", n)
	}
	for range 2 {
		if r := send(t, b, http.MethodPost, page, url.Values{"national_id": {mehmet}, "password": {mehmetPassword}}); r.Status == http.StatusSeeOther {
			t.Error("a clock that is behind opened the lock")
		}
	}
}

// O6: a clock that differs from the database's is told of at two seconds and refused at two minutes.
func TestO6_Readiness(t *testing.T) {
	t.Parallel()
	testkapi.Each(t, testkapi.Options{}, func(t *testing.T, k *testkapi.Kapi) {
		for _, tc := range []struct {
			skew  time.Duration
			ready int
		}{{0, 200}, {100 * time.Second, 200}, {-100 * time.Second, 200}, {140 * time.Second, 503}, {-140 * time.Second, 503}, {time.Hour, 503}, {13 * 365 * 24 * time.Hour, 503}} {
			a := withClock(t, k, k.Settings, func() time.Time { return time.Now().Add(tc.skew) }, nil)
			w := httptest.NewRecorder()
			a.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
			if w.Code != tc.ready {
				t.Errorf("%v off: %d", tc.skew, w.Code)
			}
			w = httptest.NewRecorder()
			a.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
			if w.Code != http.StatusOK {
				t.Errorf("%v off: a wrong clock is no reason to kill the process: %d", tc.skew, w.Code)
			}
		}
	})
}

// O6: the clock jumps back by ten minutes in the middle of everything.
func TestO6_JumpBack(t *testing.T) {
	each(t, func(t *testing.T, k *testkapi.Kapi) {
		rp, two := refreshing(k, "ssi"), k.RP("two", nil)
		half := atTheCode(t, k, two, ayse, aysePassword)
		code := k.Phone.Code(t, aysePhone, 1)
		b := testkapi.NewBrowser(t)
		b.Open(rp.URL())
		signIn(k, b, mehmet, mehmetPassword, "", 0)
		form := rp.Redemption(b)
		first := machinePost(t, k, rp, "/oauth/token", form)
		old := member(t, first.Body, "refresh_token")
		token := member(t, refresh(t, k, rp, old).Body, "refresh_token")
		k.Clock.Add(-10 * time.Minute)
		half.Submit(map[string]string{"code": code})
		two.Answer(half)
		again := refresh(t, k, rp, token)
		if again.Status != http.StatusOK {
			t.Errorf("the family was lost: %d %s", again.Status, again.Body)
		}
		// What was used stays used.
		if r := refresh(t, k, rp, old); r.Status == http.StatusOK {
			t.Error("a refresh token from before the last came back")
		}
		if r := machinePost(t, k, rp, "/oauth/token", form); oauthError(r) != "invalid_grant" {
			t.Errorf("a code came back: %d %s", r.Status, r.Body)
		}
		if r := send(t, half, http.MethodPost, half.URL.String(), url.Values{"code": {code}}); strings.Contains(r.Location, "code=") {
			t.Error("a security code came back")
		}
		me(k, t, hasan, hasanPassword, "", 0)
	})
}

// O6: the second half of the 32-bit century is over.
func TestO6_Year2039(t *testing.T) {
	t.Parallel()
	k := testkapi.Start(t, testkapi.Options{})
	s := k.Settings
	s.Database = "sqlite:" + filepath.Join(t.TempDir(), "later.db")
	k.Clock.Add(time.Date(2039, 2, 1, 0, 0, 0, 0, time.UTC).Sub(k.Clock.Now()))
	later := withClock(t, k, s, k.Clock.Now, nil)
	if err := later.ApplyPeople(t.Context(), strings.NewReader(people), &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	rp := refreshing(k, "ssi")
	if err := later.ApplyClients(t.Context(), strings.NewReader(`[{"client_id":"ssi","client_secret":"`+rp.Secret+`","redirect_uris":["https://ssi.example/cb"],"grant_types":["authorization_code","refresh_token"],"scope":"openid profile offline_access"}]`), &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	if err := later.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.App().Handler = later.Handler
	b := testkapi.NewBrowser(t)
	b.Open(rp.URL())
	signIn(k, b, mehmet, mehmetPassword, "", 0)
	got := rp.Answer(b)
	if time.Unix(got.Claims.Expires, 0).UTC().Year() != 2039 || time.Unix(got.Claims.AuthTime, 0).UTC().Year() != 2039 {
		t.Errorf("%+v", got.Claims)
	}
	if r := refresh(t, k, rp, got.RefreshToken); r.Status != http.StatusOK {
		t.Errorf("%d %s", r.Status, r.Body)
	}
}

// leading moves the keys along as the leader does every few seconds, and lets every replica see it.
func leading(t *testing.T, k *testkapi.Kapi) func() {
	t.Helper()
	db, err := storage.Open(t.Context(), storage.Config{URL: k.Settings.Database, Now: k.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	root, err := secret.ReadRoot(k.Settings.SecretFile)
	if err != nil {
		t.Fatal(err)
	}
	sealing, err := secret.Open(t.Context(), root, db, k.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	db.Unlock(sealing)
	ring, err := keys.New(t.Context(), keys.Config{Store: db, Secret: sealing, Audit: db, Now: k.Clock.Now, Log: slog.New(slog.DiscardHandler), Settle: keys.Settle})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := ring.Advance(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, a := range k.Replicas {
			if err := a.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// keyCache is a client that keeps the key set for as long as it may and never asks out of turn.
type keyCache struct {
	mu      sync.Mutex
	kids    map[string]bool
	fetched time.Time
}

func (c *keyCache) knows(t *testing.T, k *testkapi.Kapi, kid string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := k.Clock.Now(); c.kids == nil || now.Sub(c.fetched) >= 24*time.Hour {
		var set struct {
			Keys []struct {
				KID string `json:"kid"`
			} `json:"keys"`
		}
		if err := json.Unmarshal([]byte(send(t, nil, http.MethodGet, k.URL+"/keys", nil).Body), &set); err != nil {
			t.Error(err)
		}
		c.kids, c.fetched = map[string]bool{}, now
		for _, key := range set.Keys {
			c.kids[key.KID] = true
		}
	}
	return c.kids[kid]
}

// O10: keys rotate while two replicas work: no request fails and no client meets a key that it could not know.
func TestO10_KeysRotateUnderLoad(t *testing.T) {
	t.Parallel()
	testkapi.Each(t, testkapi.Options{Replicas: 2}, func(t *testing.T, k *testkapi.Kapi) {
		k.People(people)
		rp := refreshing(k, "ssi")
		b := testkapi.NewBrowser(t)
		used := map[string]bool{}
		cache := &keyCache{}
		// work gets tokens from both replicas and verifies each with a foreign library and with a strict cache.
		work := func(strict bool) {
			t.Helper()
			b.Open(rp.URL())
			if b.Left() == nil {
				signIn(k, b, mehmet, mehmetPassword, "", 0)
			}
			got := rp.Answer(b)
			token := got.RefreshToken
			for range 3 {
				var header struct {
					KID string `json:"kid"`
				}
				if err := json.Unmarshal(segment(t, got.IDToken, 0), &header); err != nil {
					t.Fatal(err)
				}
				used[header.KID] = true
				if strict && !cache.knows(t, k, header.KID) {
					t.Fatalf("a token is signed by %s, which a client that caches for a day cannot know", header.KID)
				}
				r := refresh(t, k, rp, token)
				if r.Status != http.StatusOK {
					t.Fatalf("%d %s", r.Status, r.Body)
				}
				got = tokensOf(t, rp, r)
				token = got.RefreshToken
			}
		}
		work(true)
		rotate := func(args ...string) {
			t.Helper()
			var out, errs bytes.Buffer
			if status := program.Main(append([]string{"keys", "rotate"}, args...), environ(k), &out, &errs); status != 0 {
				t.Errorf("kapi keys rotate: %s", errs.String())
			}
		}
		rotate()
		leader := leading(t, k)
		for range 27 {
			k.Clock.Add(time.Hour)
			leader()
			work(true)
		}
		if len(used) != 2 {
			t.Errorf("%d keys signed; the new one should after a day", len(used))
		}

		// At once: clients that look when they meet a key they do not know, as they must, notice nothing.
		done := make(chan struct{})
		go func() {
			defer close(done)
			rotate("--now")
		}()
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
				work(false)
			}
		}
		k.Clock.Add(time.Minute)
		eventually(t, "the emergency key signs", func() bool { work(false); return len(used) == 3 })
	})
}
