// Package testkapi is a complete Kapi for tests: the wiring that serve runs, on SQLite or on a real Postgres, as one
// server or as replicas behind one address, with a clock that tests move, a phone that receives the codes, relying parties of a
// foreign code base, and a browser without JavaScript. Enter with Start. It refuses to be used outside of tests.
package testkapi

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/cmd/kapi/program"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/testpg"
	"github.com/kapi-id/kapi/storage"
)

// Options of Start; the zero value is one server on SQLite.
type Options struct {
	Postgres bool
	Replicas int                       // 0 = 1; more need Postgres
	Factors  program.Lines             // of factors, beside the usual ones
	Settings map[string]string         // further ones, by name without KAPI_
	Gateway  notify.Gateway            // instead of the phone
	Channels map[string][]notify.Route // beside SMS and push, which are the phone's: "sim", "messenger", "mail"; none are there otherwise
	RealTime bool                      // the machine's clock and the real minimum answer time, for benchmarks
	Password password.Options          // Hooks.Hashed is taken
	Host     string                    // of the issuer; "" = the bare address, at which browsers offer no security keys
}

// Kapi is what Start started.
type Kapi struct {
	T        testing.TB
	URL      string // the issuer
	Clock    *Clock
	Phone    *Phone
	Log      *Log
	Replicas []*program.App
	Settings program.Settings
	Counter  *storage.Counter
	Hashes   *atomic.Int64             // Argon2id runs begun
	Paused   *atomic.Int64             // nanoseconds asked of the pause
	Pick     func(r *http.Request) int // which replica answers; round robin at first
	Pictures fs.FS                     // what kapi_logo of client files may name; nil = nothing
	stop     context.CancelFunc
}

// Clock is the one clock of a test.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is the test's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Add moves it.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Log collects what the servers log.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Start runs a Kapi until the test ends.
func Start(t testing.TB, o Options) *Kapi {
	t.Helper()
	k := &Kapi{T: t, Clock: &Clock{now: time.Now().UTC().Truncate(time.Second)}, Phone: &Phone{}, Log: &Log{},
		Counter: &storage.Counter{}, Hashes: &atomic.Int64{}, Paused: &atomic.Int64{}}
	var turn atomic.Int64
	k.Pick = func(*http.Request) int { return int(turn.Add(1)) }
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.Replicas[k.Pick(r)%len(k.Replicas)].Handler.ServeHTTP(w, r)
	}))
	k.URL = "http://" + front.Listener.Addr().String()
	if o.Host != "" {
		_, port, _ := net.SplitHostPort(front.Listener.Addr().String())
		k.URL = "http://" + net.JoinHostPort(o.Host, port)
	}
	dir := t.TempDir()
	database := "sqlite:" + filepath.Join(dir, "kapi.db")
	if o.Postgres {
		database = testpg.URL(t)
	}
	values := map[string]string{
		"ISSUER": k.URL, "LISTEN": front.Listener.Addr().String(), "SECRET_FILE": filepath.Join(dir, "secret"),
		"AUTO_MIGRATE": "true", "SMS": "inbox:http://127.0.0.1:9",
	}
	env := []string{"KAPI_DATABASE=" + database}
	for name, v := range o.Settings { // some may hold a secret, which no flag takes
		delete(values, name)
		env = append(env, "KAPI_"+name+"="+v)
	}
	s, err := program.Resolve(values, env)
	if err != nil {
		t.Fatal(err)
	}
	k.Settings = s
	if err := program.NewSecret(s.SecretFile); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	for range max(1, o.Replicas) {
		a, err := program.New(ctx, s, k.options(o))
		if err != nil {
			t.Fatal(err)
		}
		k.Replicas = append(k.Replicas, a)
		a.Start(ctx)
	}
	front.Start()
	t.Cleanup(func() {
		front.Close()
		stop()
		for _, a := range k.Replicas {
			a.Wait()
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return k
}

func (k *Kapi) options(o Options) program.Options {
	gateway := o.Gateway
	if gateway == nil {
		gateway = k.Phone
	}
	p := o.Password
	p.Hooks.Hashed = func() { k.Hashes.Add(1) }
	if p.Cost == (password.Cost{}) && !o.RealTime {
		p.Cost = password.Cost{Memory: 64, Time: 1, Threads: 1} // the work of hashing is not what most tests look at
	}
	po := program.Options{
		Log: slog.New(slog.NewJSONHandler(k.Log, &slog.HandlerOptions{Level: slog.LevelDebug})), Password: p, Counter: k.Counter,
		Factors: o.Factors, Routes: []notify.Route{{Gateway: gateway, Weight: 1}}, Channels: map[string][]notify.Route{"push": {{Gateway: gateway, Weight: 1}}},
	}
	maps.Copy(po.Channels, o.Channels)
	if !o.RealTime {
		po.Now, po.Database = k.Clock.Now, k.Clock.Now
		po.Pause = func(_ context.Context, d time.Duration) { k.Paused.Add(int64(d)) }
	}
	return po
}

// Quiet stops the background work of all replicas: nothing is sent, chained or swept from here on.
func (k *Kapi) Quiet() {
	k.stop()
	for _, a := range k.Replicas {
		a.Wait()
	}
}

// App is the first replica.
func (k *Kapi) App() *program.App { return k.Replicas[0] }

// People applies a people file.
func (k *Kapi) People(file string) {
	k.T.Helper()
	if err := k.App().ApplyPeople(context.Background(), strings.NewReader(file), io.Discard); err != nil {
		k.T.Fatal(err)
	}
}

// Clients applies a client file and makes every replica see it.
func (k *Kapi) Clients(file string) {
	k.T.Helper()
	if err := k.App().ApplyClientsIn(context.Background(), strings.NewReader(file), k.Pictures, io.Discard); err != nil {
		k.T.Fatal(err)
	}
	for _, a := range k.Replicas {
		if err := a.Refresh(context.Background()); err != nil {
			k.T.Fatal(err)
		}
	}
}

// Each runs a test on SQLite and on Postgres.
func Each(t *testing.T, o Options, test func(t *testing.T, k *Kapi)) {
	for _, postgres := range []bool{false, true} {
		name := "sqlite"
		if postgres {
			name = "postgres"
		}
		if o.Replicas > 1 && !postgres {
			continue // one server runs on an embedded file
		}
		t.Run(name, func(t *testing.T) {
			o := o
			o.Postgres = postgres
			test(t, Start(t, o))
		})
	}
}
