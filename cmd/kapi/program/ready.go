package program

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/provider/keys"
)

// Readiness is found out by a write, and anybody may ask: the answer is good for readyFor, and one question at a time is put to
// the database.
const (
	readyFor  = time.Second
	readyWait = 5 * time.Second // longest look
)

// probe keeps the answer of look. The zero value is ready to use.
type probe struct {
	now func() time.Time // nil = the process's own: the clock of the installation is one of the things that are looked at

	mu      sync.Mutex
	at      time.Time
	err     error
	looking chan struct{} // closed when the look under way is over; nil = none is
}

// ask returns the last answer while it is good. Who comes during a look waits for it.
func (p *probe) ask(ctx context.Context, look func(context.Context) error) error {
	now := time.Now
	if p.now != nil {
		now = p.now
	}
	p.mu.Lock()
	if p.looking == nil && !p.at.IsZero() && now().Sub(p.at).Abs() < readyFor {
		defer p.mu.Unlock()
		return p.err
	}
	over := p.looking
	if over == nil {
		over = make(chan struct{})
		p.looking = over
		go p.look(look, now, over) // part of nobody's request: whoever asked first may go away while others wait
	}
	p.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-over:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *probe) look(look func(context.Context) error, now func() time.Time, over chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), readyWait)
	defer cancel()
	var err error
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.at, p.err, p.looking = now(), err, nil
		close(over)
	}()
	err = look(ctx)
}

// ready says whether a sign-in can complete here: the database takes a write, the clock is right, a key can sign, and the
// server is not about to stop.
func (a *App) ready(ctx context.Context) error {
	if a.draining.Load() {
		return errors.New("stopping")
	}
	return a.probe.ask(ctx, a.canSignIn)
}

func (a *App) canSignIn(ctx context.Context) error {
	if err := a.db.Ready(ctx, a.now()); err != nil {
		return err
	}
	if _, err := a.db.Account(ctx, "nobody"); !errors.Is(err, fault.ErrNotFound) { // a schema of another version would say so here
		return err
	}
	skew, err := a.clock.compare(ctx)
	if err != nil {
		return err
	}
	if skew.Abs() > maxSkew {
		return errors.New("the clock is wrong by " + skew.String())
	}
	_, err = a.keys.Sign(ctx, keys.Default, "JWT", struct{}{})
	return err
}

// health mounts /healthz (the process lives) and /readyz (a sign-in can complete).
func (a *App) health(r *mux.Router) {
	answer := func(w http.ResponseWriter, status int, word string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(word + "\n"))
	}
	r.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") }).Methods(http.MethodGet, http.MethodHead)
	r.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := a.ready(r.Context()); err != nil {
			a.log.WarnContext(r.Context(), "not ready", "err", err)
			answer(w, http.StatusServiceUnavailable, "not ready")
			return
		}
		answer(w, http.StatusOK, "ready")
	}).Methods(http.MethodGet, http.MethodHead)
}
