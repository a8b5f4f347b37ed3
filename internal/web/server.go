package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// MostConns is how many connections a server has open at once; further ones wait to be accepted until others end, which
// they do by the limits below, however many a stranger holds.
const MostConns = 8192

// NewServer makes a server with all limits set: slow headers, slow bodies, slow readers and idle connections each have
// their end. addr is HOST:PORT.
func NewServer(addr string, h http.Handler) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second, // more than Timeout, so that a request that ran out of time can still say so
		IdleTimeout:       90 * time.Second,
		MaxHeaderBytes:    32 << 10,
		// Streams that were reset count until their handler has ended (CVE-2023-44487).
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 100},
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
}

// Drain is how the servers stop.
type Drain struct {
	Begin func()        // readiness says no from here on
	Wait  time.Duration // until load balancers have seen that; requests are still answered
	Limit time.Duration // for requests under way, afterwards; 0 = 25 s, more than a request may take (Timeout)
}

// Run serves until ctx is done, then drains. It binds all addresses before it serves any, so that a taken port stops the
// start and not half of it. A server whose TLSConfig is set speaks TLS.
func Run(ctx context.Context, d Drain, servers ...*http.Server) error {
	bound := make([]Bound, 0, len(servers))
	for _, s := range servers {
		l, err := net.Listen("tcp", s.Addr)
		if err != nil {
			for _, b := range bound {
				b.Listener.Close()
			}
			return fmt.Errorf("cannot listen on %s: %w", s.Addr, err)
		}
		bound = append(bound, Bound{Server: s, Listener: l})
	}
	return Serve(ctx, d, bound...)
}

// Bound is a server with the listener it serves.
type Bound struct {
	Server   *http.Server
	Listener net.Listener
	Most     int // connections at once; 0 = MostConns
}

// Serve is Run on listeners that are bound already.
func Serve(ctx context.Context, d Drain, bound ...Bound) error {
	ended := make(chan error, len(bound))
	for _, b := range bound {
		go func() { ended <- b.serve() }()
	}
	var failed error
	select {
	case <-ctx.Done():
		d.wait()
	case failed = <-ended:
	}
	return errors.Join(failed, d.stop(bound))
}

func (b Bound) serve() error {
	if b.Most == 0 {
		b.Most = MostConns
	}
	l := netutil.LimitListener(b.Listener, b.Most)
	var err error
	if b.Server.TLSConfig != nil {
		err = b.Server.ServeTLS(l, "", "")
	} else {
		err = b.Server.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (d Drain) wait() {
	if d.Begin != nil {
		d.Begin()
	}
	if d.Wait > 0 {
		<-time.After(d.Wait)
	}
}

// stop lets requests under way finish, all servers at once, and cuts what is left at the limit.
func (d Drain) stop(bound []Bound) error {
	if d.Limit == 0 {
		d.Limit = 25 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.Limit)
	defer cancel()
	errs := make(chan error, len(bound))
	for _, b := range bound {
		go func() {
			err := b.Server.Shutdown(ctx)
			if err != nil {
				b.Server.Close()
			}
			errs <- err
		}()
	}
	var all error
	for range bound {
		all = errors.Join(all, <-errs)
	}
	return all
}
