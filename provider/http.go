package provider

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/web"
)

const (
	mostBody  = 64 << 10 // bytes of a form
	mostQuery = 8 << 10  // bytes of a query: what proxies and browsers carry
	mostToken = 16 << 10 // bytes of a token or an assertion
)

func contains[T comparable](list []T, v T) bool { return slices.Contains(list, v) }

// asOAuth returns the OAuth error inside err, nil if there is none.
func asOAuth(err error) *oidc.Error {
	var refused *refusal
	if errors.As(err, &refused) {
		return refused.is
	}
	var e *oidc.Error
	errors.As(err, &e)
	return e
}

// refusal is an OAuth error with the status and headers its place asks for.
type refusal struct {
	is        *oidc.Error
	status    int
	challenge string // WWW-Authenticate
}

func (e *refusal) Error() string { return e.is.Error() }
func (e *refusal) Unwrap() error { return e.is }

// jwt is an answer that is served as application/jwt.
type jwt string

// machine turns a handler of an endpoint that programs talk to into an http.HandlerFunc: nothing is cached, whatever comes
// back becomes JSON, and every error becomes an OAuth error without a word about the inside.
func (s *Server) machine(what string, h func(w http.ResponseWriter, r *http.Request) (*op.Response, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		noStore(w)
		answer, err := h(w, r)
		if err == nil {
			err = write(w, answer)
		}
		if err != nil {
			s.fail(w, r, what, err)
		}
	}
}

func noStore(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache") // RFC 6749 §5.1
	h.Set("X-Content-Type-Options", "nosniff")
}

func write(w http.ResponseWriter, answer *op.Response) error {
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	if token, ok := answer.Data.(jwt); ok {
		w.Header().Set("Content-Type", "application/jwt")
		_, _ = io.WriteString(w, string(token))
		return nil
	}
	if answer.Data == nil {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	body, err := json.Marshal(answer.Data)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
	return nil
}

// fail is the one place where an error of a machine endpoint becomes an answer.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, what string, err error) {
	e, status := s.outward(r, what, err)
	var refused *refusal
	if errors.As(err, &refused) && refused.challenge != "" {
		w.Header().Set("WWW-Authenticate", refused.challenge)
	}
	if f := fault.Of(err); f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter.Seconds()+0.999)))
	}
	if refused != nil && e.ErrorType == "" { // RFC 6750 §3.1: no error code where no token was sent
		w.WriteHeader(status)
		return
	}
	body, _ := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{string(e.ErrorType), e.Description})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// outward says what may be told of err and logs what may not.
func (s *Server) outward(r *http.Request, what string, err error) (*oidc.Error, int) {
	var refused *refusal
	if errors.As(err, &refused) {
		return refused.is, refused.status
	}
	var e *oidc.Error
	if errors.As(err, &e) && e.ErrorType != oidc.ServerError {
		if e.ErrorType == oidc.InvalidClient {
			return e, http.StatusUnauthorized
		}
		return e, http.StatusBadRequest
	}
	var unimplemented op.StatusError
	if errors.As(err, &unimplemented) {
		return oidc.ErrInvalidRequest(), http.StatusBadRequest
	}
	switch fault.KindOf(err) {
	case fault.Throttled:
		return &oidc.Error{ErrorType: "temporarily_unavailable", Description: "too many requests"}, http.StatusTooManyRequests
	case fault.Unavailable:
		return &oidc.Error{ErrorType: "temporarily_unavailable"}, http.StatusServiceUnavailable
	}
	s.cfg.Meter(what, "", "server_error")
	s.cfg.Log.LogAttrs(r.Context(), slog.LevelError, "request failed", slog.String("endpoint", what),
		slog.String("request", web.RequestID(r.Context())), slog.Any("err", err))
	return oidc.ErrServerError(), http.StatusInternalServerError
}

// body reads the parameters of a machine's POST: from the body alone and each once. Parameters in a query end up in logs
// and histories, so a request that has them there is refused even if they are right.
func body(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		q := r.URL.Query()
		if q.Has("client_secret") || q.Has("client_assertion") {
			return nil, oidc.ErrInvalidClient().WithDescription("credentials belong into the body or the Authorization header")
		}
		return nil, oidc.ErrInvalidRequest().WithDescription("parameters belong into the body")
	}
	return form(w, r)
}

func form(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, oidc.ErrInvalidRequest().WithDescription("the body must be application/x-www-form-urlencoded")
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
	if err != nil {
		return nil, oidc.ErrInvalidRequest().WithDescription("the body is too long or was cut")
	}
	return once(string(raw))
}

// once parses a query and refuses a parameter that is given twice (RFC 6749 §3.1, §3.2).
func once(raw string) (url.Values, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, oidc.ErrInvalidRequest().WithDescription("the parameters cannot be read")
	}
	for _, v := range values {
		if len(v) > 1 {
			return values, errTwice
		}
	}
	return values, nil
}

var errTwice = oidc.ErrInvalidRequest().WithDescription("a parameter is given more than once")
