package device

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/internal/web"
)

const (
	base    = "/factors/" + Name // cut off the path before it comes here
	maxBody = 16 << 10           // bytes
)

// Headers of a request.
const (
	HeaderDevice = "Kapi-Device"
	HeaderApp    = "Kapi-App"
)

// call is a request that has proven itself.
type call struct {
	*http.Request
	device device
	body   []byte
	ctr    int64 // of a request that changes something
	moment
}

// Endpoints is the device API, docs/openapi/device.yaml. No cookie is looked at.
func (f *Factor) Endpoints() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/register", f.serve(f.register))
	for pattern, h := range map[string]func(call) (int, any, error){
		"GET /v1/me":                     f.showMe,
		"DELETE /v1/me":                  f.leave,
		"PUT /v1/push":                   f.setPush,
		"GET /v1/requests":               f.list,
		"POST /v1/scan":                  f.takeScan,
		"POST /v1/requests/{id}/approve": f.takeApproval,
		"POST /v1/requests/{id}/deny":    f.takeDenial,
	} {
		mux.Handle(pattern, f.serve(f.proven(h)))
	}
	mux.Handle("/", f.serve(func(*http.Request) (int, any, error) { return 0, nil, refuse(http.StatusNotFound, "unknown") }))
	return mux
}

// refusal is an answer that is no success (RFC 9457).
type refusal struct {
	status int
	word   string // of the type
	after  time.Duration
	more   map[string]any
	cause  error
}

func (r *refusal) Error() string { return r.word }
func (r *refusal) Unwrap() error { return r.cause }

func refuse(status int, word string) *refusal { return &refusal{status: status, word: word} }

// titles say what each type means.
var titles = map[string]string{
	"malformed":   "The request cannot be right.",
	"app":         "Kapi-App is missing or is no PLATFORM/VERSION.",
	"app_too_old": "This version of the app is too old.",
	"unproven":    "The request does not prove that it comes from the registered device.",
	"clock":       "The clock of the device is wrong by more than a minute.",
	"replayed":    "This request was made before.",
	"blocked":     "The device is blocked, because its key may have been copied.",
	"held":        "The ways to sign in cannot be changed before the time in until.",
	"two_factor":  "Two-factor authentication is off.",
	"unknown":     "There is no such thing.",
	"decided":     "The request was decided already.",
	"scanned":     "The QR code was scanned already.",
	"registered":  "The person has a registered device.",
	"over":        "The request has expired.",
	"number":      "The number is not the one on the screen. The request is over.",
	"statement":   "What was signed is not what was asked.",
	"many":        "Too many tries.",
	"internal":    "Something of ours is broken.",
	"unavailable": "Something we need is down.",
}

// refusalOf turns what went wrong into an answer.
func refusalOf(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	for target, as := range map[error]*refusal{
		errBlocked: refuse(http.StatusForbidden, "blocked"), errStatement: refuse(http.StatusUnprocessableEntity, "statement"),
		errNumber: refuse(http.StatusUnprocessableEntity, "number"), errUnknown: refuse(http.StatusNotFound, "unknown"),
		errDecided: refuse(http.StatusConflict, "decided"), errScanned: refuse(http.StatusConflict, "scanned"),
		errOver: refuse(http.StatusGone, "over"), errTaken: refuse(http.StatusConflict, "registered"),
	} {
		if errors.Is(err, target) {
			return as
		}
	}
	switch e := fault.Of(err); e.Kind {
	case fault.Throttled:
		return &refusal{status: http.StatusTooManyRequests, word: "many", after: e.RetryAfter, cause: err}
	case fault.Unavailable:
		return &refusal{status: http.StatusServiceUnavailable, word: "unavailable", after: e.RetryAfter, cause: err}
	case fault.NotFound: // deleted in this moment
		return refuse(http.StatusUnauthorized, "unproven")
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &refusal{status: http.StatusServiceUnavailable, word: "unavailable", cause: err}
	}
	return &refusal{status: http.StatusInternalServerError, word: "internal", cause: err}
}

// serve answers with JSON, or with a problem.
func (f *Factor) serve(h func(r *http.Request) (int, any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Date", f.now().Format(http.TimeFormat)) // the clock that iat is compared with
		status, v, err := h(r)
		if err != nil {
			f.problem(w, r, refusalOf(err))
			return
		}
		if v == nil {
			w.WriteHeader(status)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	})
}

func (f *Factor) problem(w http.ResponseWriter, r *http.Request, p *refusal) {
	body := map[string]any{"type": "urn:kapi:device:" + p.word, "title": titles[p.word], "status": p.status}
	if id := web.RequestID(r.Context()); id != "" {
		body["instance"] = id
	}
	maps.Copy(body, p.more)
	if p.status >= 500 {
		slog.Default().ErrorContext(r.Context(), "device API", "status", p.status, "err", p.cause)
	}
	if p.after > 0 {
		w.Header().Set("Retry-After", seconds(p.after))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(body)
}

// read takes the body, which is JSON where there is one.
func read16k(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	var big *http.MaxBytesError
	switch {
	case len(body) > maxBody || errors.As(err, &big):
		return nil, refuse(http.StatusRequestEntityTooLarge, "malformed")
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "malformed")
	}
	if len(body) == 0 {
		return nil, nil
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, refuse(http.StatusUnsupportedMediaType, "malformed")
	}
	return body, nil
}

func parse(body []byte, to any) error {
	if strict(body, to) != nil {
		return refuse(http.StatusBadRequest, "malformed")
	}
	return nil
}

// proven lets h run for a request that proves itself (row D1): signed by the registered device, for this method, path, body and
// moment, once, and, where it changes something, under a counter that was never used.
func (f *Factor) proven(h func(call) (int, any, error)) func(*http.Request) (int, any, error) {
	return func(r *http.Request) (int, any, error) {
		if _, err := f.app(r); err != nil {
			return 0, nil, err
		}
		body, err := read16k(r)
		if err != nil {
			return 0, nil, err
		}
		c := call{Request: r, body: body, moment: momentOf(r)}
		p, err := f.prove(&c)
		if err != nil {
			return 0, nil, err
		}
		ctx := r.Context()
		if err := f.kit.Limits.Once(ctx, c.device.ID+":"+p.Jti, time.Unix(p.Iat+2*leeway, 0)); err != nil {
			if errors.Is(err, fault.ErrConflict) {
				return 0, nil, refuse(http.StatusUnauthorized, "replayed")
			}
			return 0, nil, err
		}
		if c.device.State != active {
			return 0, nil, errBlocked
		}
		if r.Method != http.MethodGet {
			c.ctr = p.Ctr
			if c.device, err = f.count(ctx, c.device, p.Ctr, c.moment); err != nil {
				return 0, nil, err
			}
		}
		return h(c)
	}
}

func (f *Factor) prove(c *call) (p proof, err error) {
	unproven := refuse(http.StatusUnauthorized, "unproven")
	values := c.Header.Values(HeaderDevice)
	if len(values) != 1 {
		return p, unproven
	}
	s, err := take(values[0], typeRequest, true)
	if err != nil || !idForm.MatchString(s.kid) {
		return p, unproven
	}
	c.device, err = f.byID(c.Context(), s.kid)
	if errors.Is(err, fault.ErrNotFound) {
		return p, unproven
	}
	if err != nil {
		return p, err
	}
	if s.by(c.device.key, &p) != nil {
		return p, unproven
	}
	changes := c.Method != http.MethodGet
	switch {
	case p.Iss != c.device.ID, p.Aud != f.kit.Issuer, p.Htm != c.Method, p.Htu != base+c.URL.Path, p.Bh != hashed(c.body), !jtiForm.MatchString(p.Jti),
		changes && (p.Ctr < 1 || p.Ctr > maxCounter), !changes && p.Ctr != 0:
		return p, unproven
	case !near(p.Iat, f.now().Unix()):
		return p, refuse(http.StatusUnauthorized, "clock")
	}
	return p, nil
}

func momentOf(r *http.Request) moment {
	return moment{network: web.Network(r.Context()), agent: r.UserAgent(), request: web.RequestID(r.Context())}
}

type pushView struct {
	Kind      string `json:"kind"`
	Reachable bool   `json:"reachable"`
	Paused    string `json:"paused_until,omitempty"`
}

type lostView struct {
	Since   string `json:"since"`
	Removal string `json:"removal"`
}

type deviceView struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Platform string    `json:"platform"`
	Since    string    `json:"since"`
	Used     string    `json:"last_use,omitempty"`
	Push     pushView  `json:"push"`
	WebPush  string    `json:"web_push_key,omitempty"`
	Lost     *lostView `json:"lost,omitempty"`
	Issuer   string    `json:"issuer"`
	Time     int64     `json:"server_time"`
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (f *Factor) showMe(c call) (int, any, error) {
	o, err := f.owned(c.Context(), c.device.Account)
	if err != nil {
		return 0, nil, err
	}
	d := c.device
	v := deviceView{
		ID: d.ID, Name: d.Name, Platform: d.Platform, Since: stamp(d.CreatedAt), Push: pushView{Kind: NoPush}, WebPush: f.opts.WebPushKey,
		Issuer: f.kit.Issuer, Time: f.now().Unix(),
	}
	if d.Used != 0 {
		v.Used = stamp(d.used())
	}
	if d.Push != nil {
		v.Push.Kind, v.Push.Reachable = d.Push.Kind, !d.Gone
	}
	if o.log.paused(f.now()) {
		v.Push.Paused = stamp(second(o.log.Paused))
	}
	if said, goes, err := f.leaving(c.Context(), d); err != nil {
		return 0, nil, err
	} else if !goes.IsZero() {
		v.Lost = &lostView{stamp(said), stamp(goes)}
	}
	return http.StatusOK, v, nil
}

// leave is what the device may change by itself, as at the page of its owner but for the fresh sign-in, for which the key stands: it takes
// away its own say, in a moment in which that may be taken away, and everybody is told.
func (f *Factor) leave(c call) (int, any, error) {
	if len(c.body) > 0 {
		return 0, nil, refuse(http.StatusBadRequest, "malformed")
	}
	err := f.kit.Atomically(c.Context(), func(ctx context.Context) error {
		if err := f.mayLeave(ctx, c.device.Account); err != nil {
			return err
		}
		return f.remove(ctx, c.device, "device", c.moment)
	})
	return http.StatusNoContent, nil, err
}

func (f *Factor) mayLeave(ctx context.Context, id account.ID) error {
	if f.opts.Held == nil {
		return nil
	}
	err := f.opts.Held(ctx, id)
	if err == nil || fault.KindOf(err) != fault.Denied {
		return err
	}
	r := refuse(http.StatusForbidden, "held")
	if until, ok := fault.Of(err).Args["time"].(time.Time); ok {
		r.more = map[string]any{"until": stamp(until)}
	}
	return r
}

func (f *Factor) setPush(c call) (int, any, error) {
	var s Subscription
	if err := parse(c.body, &s); err != nil {
		return 0, nil, err
	}
	where, err := f.subscription(&s)
	if err != nil {
		return 0, nil, err
	}
	moved := false
	err = f.change(c.Context(), c.device.Account, func(d *device) error {
		if d.ID != c.device.ID {
			return fault.ErrNotFound
		}
		moved = !same(d.Push, where)
		d.Push, d.Gone = where, false
		return nil
	}, func(ctx context.Context) error {
		if !moved {
			return nil
		}
		return f.record(ctx, c.moment, audit.FactorChanged, "ok", c.device.Account, map[string]string{"factor": Name, "what": "push", "name": c.device.Name})
	})
	return http.StatusNoContent, nil, err
}

func same(a, b *Subscription) bool { return a == b || a != nil && b != nil && *a == *b }

// subscription is what is kept of one; nil for none.
func (f *Factor) subscription(s *Subscription) (*Subscription, error) {
	switch {
	case s == nil || *s == Subscription{Kind: NoPush}:
		return nil, nil
	case s.check(f.loopback()) != nil, s.Kind == WebPush && f.opts.WebPush != nil && !f.opts.WebPush(s.Endpoint):
		return nil, refuse(http.StatusBadRequest, "malformed")
	}
	return s, nil
}

type requestView struct {
	ID        string `json:"id"`
	Challenge string `json:"challenge"`
	Number    bool   `json:"number"`
	Expires   int64  `json:"expires_at"`
	Time      int64  `json:"server_time"`
}

func (f *Factor) view(r request) requestView {
	return requestView{ID: r.Txn, Challenge: r.Challenge, Number: !r.scanned(), Expires: r.Exp, Time: f.now().Unix()}
}

// polls of one device: the app asks every three seconds while the list is shown.
var polls = []throttle.Window{{N: 40, Per: time.Minute}}

func (f *Factor) list(c call) (int, any, error) {
	wait, err := f.kit.Limits.Hit(c.Context(), "poll:"+c.device.ID, polls)
	if err != nil {
		return 0, nil, err
	}
	if wait > 0 {
		return 0, nil, fault.New(fault.Throttled, "").After(wait)
	}
	all, err := f.requests(c.Context(), c.device.Account)
	if err != nil {
		return 0, nil, err
	}
	out := []requestView{}
	for _, r := range all {
		if r.Device == c.device.ID && r.waiting(f.now()) && len(out) < 2*mostOpen { // of known and of unknown browsers
			out = append(out, f.view(r))
		}
	}
	return http.StatusOK, map[string]any{"requests": out}, nil
}

func (f *Factor) takeScan(c call) (int, any, error) {
	var in struct {
		Code string `json:"code"`
	}
	if err := parse(c.body, &in); err != nil {
		return 0, nil, err
	}
	r, err := f.scan(c.Context(), c.device, in.Code)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, f.view(r), nil
}

func (f *Factor) takeApproval(c call) (int, any, error) {
	var in struct {
		Statement string `json:"statement"`
	}
	if err := parse(c.body, &in); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, f.approve(c.Context(), c.device, c.PathValue("id"), in.Statement, c.ctr, c.moment)
}

func (f *Factor) takeDenial(c call) (int, any, error) {
	var in struct {
		Reason    string `json:"reason"`
		Statement string `json:"statement"`
	}
	if err := parse(c.body, &in); err != nil {
		return 0, nil, err
	}
	if in.Reason != endedCancel && in.Reason != endedNotMe {
		return 0, nil, refuse(http.StatusBadRequest, "malformed")
	}
	return http.StatusNoContent, nil, f.deny(c.Context(), c.device, c.PathValue("id"), in.Reason, in.Statement, c.ctr, c.moment)
}
