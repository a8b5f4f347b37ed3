package program

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/kapi-id/kapi/internal/web"
)

type serveCmd struct{ configured }

func (serveCmd) Help() string {
	return `Refuses to start on anything unknown or inconsistent. On SQLite one server runs on a file; on Postgres any number of
replicas share a database, a root key and nothing else.

Example:
  KAPI_ISSUER=https://login.example.org KAPI_DATABASE_FILE=/etc/kapi/database KAPI_SECRET_FILE=/etc/kapi/secret kapi serve`
}

func (c serveCmd) Run(ctx context.Context, con *console) error {
	s, err := c.settings(con)
	if err != nil {
		return err
	}
	a, err := New(ctx, s, Options{Log: logger(con.err, s.LogLevel)})
	if err != nil {
		return err
	}
	defer a.Close()
	collectLess()
	return a.serve(ctx, drainWait)
}

// collectLess trades memory under load, a few tens of MiB, for the seventh of the CPU (in a profile of sign-ins) that collecting a heap of 8 MiB again and again
// costs. GOGC in the environment wins.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// drainWait is how long load balancers have to see that readiness is off.
const drainWait = 5 * time.Second

// Serve is what kapi serve does with an App, for a program around one.
func (a *App) Serve(ctx context.Context) error {
	collectLess()
	return a.serve(ctx, 0)
}

// serve listens until ctx ends, then drains. It holds the embedded database alone.
func (a *App) serve(ctx context.Context, drain time.Duration, more ...*http.Server) error {
	release, err := a.db.Exclusive()
	if err != nil {
		return err
	}
	defer release()
	main := web.NewServer(a.Listen, a.Handler)
	if a.TLSCert != "" {
		cert, err := loadCertificate(a.TLSCert, a.TLSKey, a.now, a.log)
		if err != nil {
			return fmt.Errorf("KAPI_TLS_CERT and KAPI_TLS_KEY: %w", err)
		}
		a.metrics.serves(cert)
		main.TLSConfig = cert.config()
		if a.MTLSListen != "" {
			more = append(more, a.mtlsServer(cert))
		}
	}
	servers := append([]*http.Server{main}, more...)
	if a.MetricsListen != "" {
		m := http.NewServeMux()
		m.Handle("GET /metrics", a.Metrics)
		servers = append(servers, web.NewServer(a.MetricsListen, m))
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.Start(work)
	a.loops.Go(debug.FreeOSMemory) // what putting the pages together left behind: more than all that stays
	defer a.Wait()
	defer stop()
	a.log.Info("serving", "issuer", a.Issuer, "listen", a.Listen, "database", a.db.Dialect(), "version", version)
	return web.Run(ctx, web.Drain{Begin: func() { a.draining.Store(true) }, Wait: drain}, servers...)
}
