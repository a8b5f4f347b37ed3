package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"
	"unicode"
)

// Defaults of Options.
const (
	MaxBody = 64 << 10 // bytes; a form or a token request is far below
	Timeout = 15 * time.Second
)

// Options of Chain; the zero value works.
type Options struct {
	Log     *slog.Logger   // slog.Default if nil
	Trusted []netip.Prefix // proxies whose X-Forwarded-For and X-Request-Id are believed
	// CertHost is the host, with its port unless that is 443, where a trusted proxy's Client-Cert is believed (RFC 9440). "" = nowhere.
	CertHost string
	MaxBody  int64         // bytes
	Timeout  time.Duration // of the request's context
	// Broken answers a request whose handler panicked before it wrote anything. The body is empty if nil.
	Broken http.HandlerFunc
	// Observe, if set, is told of every request after its answer, for metrics.
	Observe func(r *http.Request, status int, took time.Duration)
}

type contextKey struct{}

// passage is what the chain knows of one request.
type passage struct {
	id    string
	ip    netip.Addr
	shown shown
}

// RequestID is the id under which the request is logged and shown on error pages; "" outside of Chain.
func RequestID(ctx context.Context) string {
	if p, ok := ctx.Value(contextKey{}).(*passage); ok {
		return p.id
	}
	return ""
}

// ClientIP is the address of whoever asks, the zero Addr outside of Chain or where it cannot be known.
func ClientIP(ctx context.Context) netip.Addr {
	if p, ok := ctx.Value(contextKey{}).(*passage); ok {
		return p.ip
	}
	return netip.Addr{}
}

// Network is what counts as one place: the IPv4 address, or the /64 of an IPv6 address, since one household has 2⁶⁴ of
// those. "" where the address is not known.
func Network(ctx context.Context) string {
	ip := ClientIP(ctx)
	switch {
	case !ip.IsValid():
		return ""
	case ip.Is4():
		return ip.String()
	}
	p, err := ip.WithZone("").Prefix(64)
	if err != nil {
		return ""
	}
	return p.String()
}

// WithClient returns a context as Chain makes it, for work that does not come from a request and for tests.
func WithClient(ctx context.Context, requestID string, ip netip.Addr) context.Context {
	return context.WithValue(ctx, contextKey{}, &passage{id: requestID, ip: ip.Unmap()})
}

// Chain puts around next what every request passes: its id (also the answer's X-Request-Id), the client's address, the
// body and time limits, recovery, and one log line.
func Chain(next http.Handler, o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.MaxBody == 0 {
		o.MaxBody = MaxBody
	}
	if o.Timeout == 0 {
		o.Timeout = Timeout
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		p := o.identify(r)
		ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), contextKey{}, p), o.Timeout)
		defer cancel()
		r = r.WithContext(ctx)
		w.Header().Set("X-Request-Id", p.id)
		answer := &recorder{ResponseWriter: w}
		if r.ContentLength > o.MaxBody {
			// Says so before the body is read; MaxBytesReader holds those that do not announce their length.
			w.Header().Set("Connection", "close")
			answer.WriteHeader(http.StatusRequestEntityTooLarge)
			o.finish(r, p, answer, start)
			return
		}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(w, r.Body, o.MaxBody)
		}
		defer o.finish(r, p, answer, start)
		defer o.recover(answer, r, p)
		next.ServeHTTP(answer, r)
	})
}

func (o *Options) identify(r *http.Request) *passage {
	peer := peerOf(r)
	trusted := o.trusts(peer)
	p := &passage{ip: peer, shown: o.certificate(r, trusted)}
	if trusted {
		p.ip = o.forwarded(peer, r.Header.Values("X-Forwarded-For"))
		p.id = cleanID(r.Header.Get("X-Request-Id"))
	}
	if p.id == "" {
		var b [10]byte
		rand.Read(b[:])
		p.id = hex.EncodeToString(b[:])
	}
	return p
}

func (o *Options) recover(w *recorder, r *http.Request, p *passage) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	o.Log.LogAttrs(r.Context(), slog.LevelError, "panic", slog.String("request", p.id), slog.Any("panic", v),
		slog.String("stack", string(debug.Stack())))
	if w.status != 0 {
		// Part of the answer is out: cut the connection, or a half page would pass for a whole one.
		panic(http.ErrAbortHandler)
	}
	if o.Broken != nil {
		o.Broken(w, r)
		return
	}
	w.WriteHeader(http.StatusInternalServerError)
}

// finish writes the log line. The query is left out: it may carry codes and tokens.
func (o *Options) finish(r *http.Request, p *passage, w *recorder, start time.Time) {
	took := time.Since(start)
	status := w.status
	if status == 0 {
		status = http.StatusOK
	}
	if o.Observe != nil {
		o.Observe(r, status, took)
	}
	level := slog.LevelInfo
	switch {
	case status >= 500:
		level = slog.LevelError
	case quiet(r.URL.Path):
		level = slog.LevelDebug
	}
	if !o.Log.Enabled(r.Context(), level) {
		return
	}
	o.Log.LogAttrs(r.Context(), level, "request", slog.String("request", p.id), slog.String("method", r.Method),
		slog.String("path", plain(r.URL.Path)), slog.Int("status", status), slog.Int64("bytes", w.bytes),
		slog.Int64("us", took.Microseconds()), slog.String("network", Network(r.Context())))
}

// plain is a path as it may be printed: JSON escapes line ends, but leaves what else a terminal obeys (DEL, CSI, the marks
// that turn text around).
func plain(path string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, path[:min(len(path), 200)])
}

// quiet paths are asked for all day long by probes and by every page.
func quiet(path string) bool {
	return path == "/healthz" || path == "/readyz" || strings.HasPrefix(path, "/static/")
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Handle makes a handler of one that returns its error, which onError alone turns into an answer.
func Handle(h func(w http.ResponseWriter, r *http.Request) error, onError func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			onError(w, r, err)
		}
	})
}
