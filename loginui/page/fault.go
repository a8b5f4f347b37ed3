package page

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/web"
)

// statuses by kind.
var statuses = map[fault.Kind]int{
	fault.Internal: http.StatusInternalServerError, fault.Invalid: http.StatusBadRequest, fault.Denied: http.StatusForbidden,
	fault.NotFound: http.StatusNotFound, fault.Conflict: http.StatusConflict, fault.Expired: http.StatusGone,
	fault.Throttled: http.StatusTooManyRequests, fault.Unavailable: http.StatusServiceUnavailable,
}

// Status is the HTTP status of a fault.
func Status(f *fault.Error) int {
	switch f.Key {
	case keyTooLarge:
		return http.StatusRequestEntityTooLarge
	case keyMediaType:
		return http.StatusUnsupportedMediaType
	case keyMethod:
		return http.StatusMethodNotAllowed
	}
	return statuses[f.Kind]
}

// faultData is the Data of page/fault.
type faultData struct {
	Kind     string // of the fault
	Heading  string // key
	Sentence string
	Minutes  int // until it may work again; 0 = not known
	Defect   bool
}

// Fault is the one way from an error to an answer: status, page and log line. Only the log gets what a fault wraps.
func (p *Pages) Fault(w http.ResponseWriter, r *http.Request, err error) {
	p.FaultIn(w, r, err, View{})
}

// FaultIn is Fault on a page that knows the service being entered.
func (p *Pages) FaultIn(w http.ResponseWriter, r *http.Request, err error, v View) {
	f := p.Settle(w, r, err)
	if v.Lang == "" {
		v.Lang = p.Lang(r, "", nil)
	}
	kind := f.Kind.String()
	d := faultData{Kind: kind, Heading: "fault." + kind, Sentence: p.Sentence(v.Lang, f), Defect: f.Kind == fault.Internal || f.Kind == fault.Unavailable}
	if own := f.Key + ".heading"; p.Catalogue.Has(own) {
		d.Heading = own
	}
	if f.RetryAfter > time.Minute {
		d.Minutes = int((f.RetryAfter + time.Minute - 1) / time.Minute)
	}
	v.Data, v.Err, v.Refresh = d, nil, 0
	if err := p.Render(w, r, Status(f), "page/fault", v); err != nil {
		// New ran this page in both languages; what is left is to say nothing more than the status does.
		p.Log.ErrorContext(r.Context(), "error page failed", "request", web.RequestID(r.Context()), "err", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

// Settle logs an error, sets Retry-After, and returns what may be shown of it, for pages that show a fault in a place of
// their own.
func (p *Pages) Settle(w http.ResponseWriter, r *http.Request, err error) *fault.Error {
	f := expected(err)
	if f.RetryAfter <= 0 && f.Kind == fault.Unavailable {
		again := *f
		again.RetryAfter = 30 * time.Second
		f = &again
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
	level := slog.LevelInfo
	switch f.Kind {
	case fault.Internal:
		level = slog.LevelError
	case fault.Unavailable:
		level = slog.LevelWarn
	}
	if errors.Is(err, context.Canceled) {
		level = slog.LevelInfo // the reader went away
	}
	p.Log.LogAttrs(r.Context(), level, "fault", slog.String("request", web.RequestID(r.Context())), slog.String("kind", f.Kind.String()),
		slog.String("key", f.Key), slog.Any("err", err))
	return f
}

// expected finds the fault in an error; what ran out of time is unavailable rather than broken.
func expected(err error) *fault.Error {
	f := fault.Of(err)
	if f.Kind == fault.Internal && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return fault.Wrap(fault.Unavailable, "", err)
	}
	return f
}

// NotFound answers every path that no route has.
func (p *Pages) NotFound(w http.ResponseWriter, r *http.Request) {
	p.Fault(w, r, fault.New(fault.NotFound, ""))
}

// WrongMethod answers a path that has a route, but not for this method.
func (p *Pages) WrongMethod(w http.ResponseWriter, r *http.Request) {
	p.Fault(w, r, fault.New(fault.NotFound, keyMethod))
}

// Broken answers a request whose handler panicked, see web.Options.
func (p *Pages) Broken(w http.ResponseWriter, r *http.Request) {
	p.FaultIn(w, r, fault.New(fault.Internal, ""), View{})
}
