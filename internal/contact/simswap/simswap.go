// Package simswap owns the question to the operator whether a number's SIM card was changed (CAMARA SIM Swap API, two-legged). Enter
// with New and Client.Changed. It refuses to take silence, an error or an answer without meaning for "not changed": all of them are
// ErrUnknown; and to let a slow operator hold up more than a few requests, each no longer than two seconds.
package simswap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/notify/gateway/call"
)

// Numbers of the client.
const (
	timeout  = 2 * time.Second  // of one question, token and waiting included
	Fresh    = 60 * time.Second // an answer counts this long
	failFast = 5 * time.Second  // and a failure this long, so that one page asks once
	mostOpen = 16               // questions at once
	mostKept = 50_000           // answers
	mostAge  = 2400             // hours that "check" can look back
)

// ErrUnknown is the answer where the operator cannot tell, whatever the reason.
var ErrUnknown = errors.New("simswap: the operator cannot tell whether the SIM card was changed")

// Config of a client.
type Config struct {
	// Root is the address of the API with its version, e.g. "https://api.operator.example/sim-swap/v2".
	Root     string
	TokenURL string
	ID       string // of us as a client
	Secret   string
	Check    bool // ask "check" (yes or no, at most 100 days back) where the operator does not tell the date
	HTTP     *http.Client
	Now      func() time.Time
	Log      *slog.Logger
}

// Client asks.
type Client struct {
	c       Config
	breaker *notify.Breaker
	slots   chan struct{}

	mu      sync.Mutex
	token   string
	until   time.Time // of token
	answers map[string]answer

	asking chan struct{} // whoever asks for a token
}

// answer of the operator, or that there was none.
type answer struct {
	at      time.Time // of the question
	changed time.Time // the last change; zero = none that the operator knows of
	since   time.Time // with Check: what was asked
	swapped bool      // with Check
	failed  bool
}

// New checks the configuration.
func New(c Config) (*Client, error) {
	for _, address := range []string{c.Root, c.TokenURL} {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
			return nil, errors.New("simswap: want https addresses (http on loopback)")
		}
	}
	if c.ID == "" || c.Secret == "" {
		return nil, errors.New("simswap: client id and secret are missing")
	}
	if c.HTTP == nil {
		c.HTTP = call.Client(nil)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Root = strings.TrimRight(c.Root, "/")
	return &Client{c: c, breaker: notify.NewBreaker(c.Now), slots: make(chan struct{}, mostOpen), asking: make(chan struct{}, 1), answers: map[string]answer{}}, nil
}

// Parse reads the setting: https://CLIENT:SECRET@host/sim-swap/v2#token=https://host/token, with &use=check where the operator does
// not tell the date. No error repeats what was written.
func Parse(setting string, c Config) (*Client, error) {
	address, fragment, _ := strings.Cut(setting, "#")
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return nil, errors.New("want https://CLIENT:SECRET@host/sim-swap/v2#token=https://host/token, reserved characters percent-encoded")
	}
	o, err := url.ParseQuery(fragment)
	if err != nil {
		return nil, errors.New("what stands behind the # is no list of name=value")
	}
	for name, values := range o {
		if name != "token" && name != "use" || len(values) != 1 {
			return nil, errors.New("behind the # stand token=ADDRESS and use=date or use=check, once each")
		}
	}
	switch o.Get("use") {
	case "check":
		c.Check = true
	case "", "date":
	default:
		return nil, errors.New("use=date or use=check")
	}
	c.ID = u.User.Username()
	c.Secret, _ = u.User.Password()
	u.User = nil
	c.Root, c.TokenURL = u.String(), o.Get("token")
	return New(c)
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || host == "localhost"
}

// Up says whether the operator would be asked now.
func (c *Client) Up() bool { return c.breaker.Up() }

// Changed says whether the SIM card of the number was changed after since, and when; ErrUnknown where the operator cannot tell. An
// answer is at most a minute old.
func (c *Client) Changed(ctx context.Context, number string, since time.Time) (changed bool, at time.Time, err error) {
	now := c.c.Now()
	a, ok := c.kept(number, since, now)
	if !ok {
		if a, err = c.ask(ctx, number, since, now); err != nil {
			c.c.Log.WarnContext(ctx, "the operator cannot tell of a SIM card", "err", err)
			a = answer{failed: true}
		}
		a.at, a.since = now, since
		c.keep(number, a)
	}
	switch {
	case a.failed:
		return false, time.Time{}, ErrUnknown
	case c.c.Check:
		return a.swapped, since.Add(time.Microsecond), nil // at some moment since then: the earliest is the safest to assume
	}
	return a.changed.After(since), a.changed, nil
}

func (c *Client) kept(number string, since, now time.Time) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.answers[number]
	life := Fresh
	if a.failed {
		life = failFast
	}
	age := now.Sub(a.at)
	return a, ok && age >= 0 && age < life && (!c.c.Check || a.failed || a.since.Equal(since))
}

func (c *Client) keep(number string, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.answers) >= mostKept {
		clear(c.answers)
	}
	c.answers[number] = a
}

// ask puts the question, within the time and the number of questions that one operator may take.
func (c *Client) ask(ctx context.Context, number string, since, now time.Time) (answer, error) {
	done, ok := c.breaker.Begin()
	if !ok {
		return answer{}, errors.New("the operator rests after failures")
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil { // it came too late, with a slot or without
		done(notify.Good) // it was not asked
		return answer{}, errors.New("too many questions at once")
	}
	a, result, err := c.question(ctx, number, since, now)
	done(result)
	return a, err
}

// question is one call; with a token that the operator does not take any more, one further with a new one.
func (c *Client) question(ctx context.Context, number string, since, now time.Time) (answer, notify.Result, error) {
	path, body := "/retrieve-date", map[string]any{"phoneNumber": number}
	if c.c.Check {
		hours := int(math.Ceil(now.Sub(since).Hours()))
		path, body["maxAge"] = "/check", min(max(hours, 1), mostAge)
	}
	b, err := json.Marshal(body)
	if err != nil {
		return answer{}, notify.Good, err
	}
	for last := false; ; last = true {
		token, result, err := c.bearer(ctx, now)
		if err != nil {
			return answer{}, result, err
		}
		status, reply, err := c.post(ctx, c.c.Root+path, "application/json", b, func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("x-correlator", uuid.NewString())
		})
		switch {
		case err != nil:
			return answer{}, notify.Silent, err
		case status == http.StatusUnauthorized && !last:
			c.forget(token)
			continue
		}
		return c.read(status, reply)
	}
}

// read makes an answer of a reply. What is about this number alone is no failure of the operator.
func (c *Client) read(status int, reply []byte) (answer, notify.Result, error) {
	if status != http.StatusOK {
		result := notify.Bad
		if status == http.StatusBadRequest || status == http.StatusNotFound || status == http.StatusUnprocessableEntity {
			result = notify.Good
		}
		var e struct {
			Code string `json:"code"`
		}
		_ = json.Unmarshal(reply, &e)
		return answer{}, result, fmt.Errorf("status %d %s", status, word(e.Code))
	}
	var said struct {
		Swapped *bool   `json:"swapped"`
		Latest  *string `json:"latestSimChange"`
		Period  *int    `json:"monitoredPeriod"`
	}
	if err := json.Unmarshal(reply, &said); err != nil {
		return answer{}, notify.Bad, errors.New("the answer is no JSON of the API")
	}
	switch {
	case c.c.Check && said.Swapped == nil:
		return answer{}, notify.Bad, errors.New("the answer does not say swapped")
	case c.c.Check:
		return answer{swapped: *said.Swapped}, notify.Good, nil
	case said.Latest == nil && said.Period == nil:
		return answer{}, notify.Good, errors.New("neither a date nor a period")
	case said.Latest == nil:
		if *said.Period <= 0 {
			return answer{}, notify.Good, errors.New("a period of nothing")
		}
		return answer{}, notify.Good, nil // not within the time the operator looks back
	}
	at, err := time.Parse(time.RFC3339, *said.Latest)
	if err != nil || at.IsZero() {
		return answer{}, notify.Bad, errors.New("the date is none")
	}
	return answer{changed: at}, notify.Good, nil
}

// word keeps an error code of the API out of trouble in a log.
func word(s string) string {
	if len(s) > 60 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_.0123456789") != "" {
		return ""
	}
	return s
}

// bearer returns a token of ours, a new one shortly before the old one ends (RFC 6749 §4.4).
func (c *Client) bearer(ctx context.Context, now time.Time) (string, notify.Result, error) {
	if t := c.held(now); t != "" {
		return t, notify.Good, nil
	}
	select {
	case c.asking <- struct{}{}:
		defer func() { <-c.asking }()
	case <-ctx.Done():
		return "", notify.Silent, errors.New("no token in time")
	}
	if t := c.held(now); t != "" {
		return t, notify.Good, nil
	}
	scope := "sim-swap:retrieve-date"
	if c.c.Check {
		scope = "sim-swap:check"
	}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}.Encode()
	status, reply, err := c.post(ctx, c.c.TokenURL, "application/x-www-form-urlencoded", []byte(form), func(r *http.Request) {
		r.SetBasicAuth(url.QueryEscape(c.c.ID), url.QueryEscape(c.c.Secret)) // RFC 6749 §2.3.1
	})
	if err != nil {
		return "", notify.Silent, err
	}
	var said struct {
		Token   string      `json:"access_token"`
		Type    string      `json:"token_type"`
		Expires json.Number `json:"expires_in"`
	}
	if status != http.StatusOK || json.Unmarshal(reply, &said) != nil || said.Token == "" || !strings.EqualFold(said.Type, "bearer") || strings.ContainsAny(said.Token, " \r\n") {
		return "", notify.Bad, fmt.Errorf("no token: status %d", status)
	}
	seconds, err := strconv.Atoi(said.Expires.String())
	if err != nil || seconds <= 0 {
		seconds = 60 // RFC 6749 §5.1: recommended only
	}
	life := time.Duration(min(seconds, 3600)) * time.Second
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token, c.until = said.Token, now.Add(life-min(life/10, 30*time.Second))
	return c.token, notify.Good, nil
}

func (c *Client) held(now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.until) {
		return c.token
	}
	return ""
}

func (c *Client) forget(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == token {
		c.token, c.until = "", time.Time{}
	}
}

// post sends a request and reads the answer; no error holds an address, which has no secret but is nobody's business.
func (c *Client) post(ctx context.Context, address, kind string, body []byte, head func(*http.Request)) (status int, reply []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return 0, nil, errors.New("the request cannot be made")
	}
	r.Header.Set("Content-Type", kind)
	r.Header.Set("Accept", "application/json")
	head(r)
	resp, err := c.c.HTTP.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return 0, nil, err
	}
	defer resp.Body.Close()
	reply, err = io.ReadAll(io.LimitReader(resp.Body, call.Most))
	return resp.StatusCode, reply, err
}
