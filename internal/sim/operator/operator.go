// Package operator owns the simulated mobile operator of the demo and the tests: it answers the CAMARA SIM Swap API behind a token
// endpoint, tells a subscriber of changes by CloudEvents, shows a page on which a SIM card is changed, and fails on demand in the ways
// operators fail. Enter with New. It keeps everything in memory, bounded, and refuses to be reached by the name of a web site (DNS
// rebinding) or changed from another origin.
package operator

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kapi-id/kapi/internal/sim/desk"
)

// Trouble is a way to fail.
type Trouble string

// The switches.
const (
	None     Trouble = "none"
	Down     Trouble = "down" // the connection breaks without an answer
	Slow     Trouble = "slow" // no answer for 30 s
	Denied   Trouble = "401"
	NotFound Trouble = "404"
	Unfit    Trouble = "422" // not a number of this operator
	Busy     Trouble = "429"
	Failing  Trouble = "500"
	Null     Trouble = "null"    // neither a date nor a period: it cannot tell
	Garbage  Trouble = "garbage" // bytes that are no JSON
	Other    Trouble = "other"   // JSON of another API
	NoToken  Trouble = "notoken" // the token endpoint refuses
)

// Choice is a switch as the page names it.
type Choice struct {
	Name Trouble
	Say  string
}

var troubles = []Choice{
	{None, "Works"}, {Down, "Breaks the connection"}, {Slow, "Does not answer for 30 s"}, {Denied, "Answers 401"}, {NotFound, "Answers 404"},
	{Unfit, "Answers 422"}, {Busy, "Answers 429"}, {Failing, "Answers 500"}, {Null, "Cannot tell"}, {Garbage, "Answers garbage"},
	{Other, "Answers something else"}, {NoToken, "Gives no token"},
}

// Bounds of what is kept and taken.
const (
	mostNumbers = 10_000
	mostTokens  = 1000
	mostBody    = 64 << 10
	hangs       = 30 * time.Second
	tokenLife   = 5 * time.Minute
	period      = 120 // days that the operator looks back
)

// Config of an operator.
type Config struct {
	Client, Secret string           // of whoever may ask
	Now            func() time.Time // nil = the time of day
	// Sink is where changes are told, with SinkToken as bearer token; "" = nowhere.
	Sink, SinkToken string
	Source          string // of the events; "" = "urn:operator:demo"
}

// Operator is the handler.
type Operator struct {
	c     Config
	mux   *http.ServeMux
	front http.Handler

	mu      sync.Mutex
	changed map[string]time.Time // by number
	tokens  map[string]time.Time // ends
	trouble Trouble
	events  int
	asked   int
	sent    string // how the last event went
}

//go:embed page.html
var files embed.FS

var pages = template.Must(template.ParseFS(files, "page.html"))

// New returns an operator that works and knows of no change.
func New(c Config) *Operator {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Source == "" {
		c.Source = "urn:operator:demo"
	}
	o := &Operator{c: c, mux: http.NewServeMux(), changed: map[string]time.Time{}, tokens: map[string]time.Time{}, trouble: None}
	o.mux.HandleFunc("GET /{$}", o.show)
	o.front = desk.Front("operator", o.mux)
	o.mux.HandleFunc("GET /style.css", desk.Style)
	o.mux.HandleFunc("POST /change", o.change)
	o.mux.HandleFunc("POST /trouble", o.setTrouble)
	o.mux.HandleFunc("POST /token", o.token)
	o.mux.HandleFunc("POST /sim-swap/v2/retrieve-date", o.api(o.date))
	o.mux.HandleFunc("POST /sim-swap/v2/check", o.api(o.check))
	return o
}

// ServeHTTP serves the page, the API and the token endpoint.
func (o *Operator) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.front.ServeHTTP(w, r) }

// Set turns a switch.
func (o *Operator) Set(t Trouble) error {
	if !slices.ContainsFunc(troubles, func(c Choice) bool { return c.Name == t }) {
		return fmt.Errorf("operator: no such trouble %q", t)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trouble = t
	return nil
}

// Asked is how many questions about a number came so far.
func (o *Operator) Asked() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

// Forget makes all tokens void.
func (o *Operator) Forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.tokens)
}

var e164 = regexp.MustCompile(`^\+[1-9][0-9]{4,14}$`)

// Change gives the number a new SIM card at a moment, and tells nobody.
func (o *Operator) Change(number string, at time.Time) error {
	if !e164.MatchString(number) {
		return errors.New("operator: a number is written +905550000001")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.changed) >= mostNumbers {
		clear(o.changed)
	}
	o.changed[number] = at.UTC()
	return nil
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// fail is an error of the API.
func fail(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, map[string]any{"status": status, "code": code, "message": message})
}

// token is the token endpoint (RFC 6749 §4.4).
func (o *Operator) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostBody)
	id, secret, _ := r.BasicAuth()
	id, _ = url.QueryUnescape(id) // RFC 6749 §2.3.1
	secret, _ = url.QueryUnescape(secret)
	if r.ParseForm() != nil || r.PostForm.Get("grant_type") != "client_credentials" {
		answer(w, http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	right := subtle.ConstantTimeCompare([]byte(id), []byte(o.c.Client)) & subtle.ConstantTimeCompare([]byte(secret), []byte(o.c.Secret))
	if right != 1 || o.trouble == NoToken {
		answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	scope := r.PostForm.Get("scope")
	if scope != "sim-swap:retrieve-date" && scope != "sim-swap:check" {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_scope"})
		return
	}
	if len(o.tokens) >= mostTokens {
		clear(o.tokens)
	}
	var b [24]byte
	rand.Read(b[:])
	token := base64.RawURLEncoding.EncodeToString(b[:])
	o.tokens[scope+" "+token] = o.c.Now().Add(tokenLife)
	answer(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": int(tokenLife / time.Second), "scope": scope})
}

// question is the body of both calls.
type question struct {
	Number string `json:"phoneNumber"`
	MaxAge *int   `json:"maxAge"`
}

// api wraps a call of the API: its switches, its token, its body.
func (o *Operator) api(f func(w http.ResponseWriter, scope string, q question)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if c := r.Header.Get("x-correlator"); c != "" {
			w.Header().Set("x-correlator", c)
		}
		var q question
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBody))
		d.DisallowUnknownFields()
		wrong := d.Decode(&q) != nil
		_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, mostBody)) // else the server does not see the caller go
		o.mu.Lock()
		o.asked++
		trouble := o.trouble
		o.mu.Unlock()
		if o.misbehave(w, r, trouble) {
			return
		}
		scope := "sim-swap:" + r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		switch {
		case !o.authorized(r, scope):
			fail(w, http.StatusUnauthorized, "UNAUTHENTICATED", "Request not authenticated due to missing, invalid, or expired credentials.")
		case wrong || q.Number != "" && !e164.MatchString(q.Number):
			fail(w, http.StatusBadRequest, "INVALID_ARGUMENT", "Client specified an invalid argument.")
		case q.Number == "": // with a two-legged token the number must be named
			fail(w, http.StatusUnprocessableEntity, "MISSING_IDENTIFIER", "The device cannot be identified.")
		case q.MaxAge != nil && (*q.MaxAge < 1 || *q.MaxAge > 2400):
			fail(w, http.StatusBadRequest, "OUT_OF_RANGE", "Client specified an invalid range.")
		default:
			f(w, scope, q)
		}
	}
}

func (o *Operator) authorized(r *http.Request, scope string) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	o.mu.Lock()
	defer o.mu.Unlock()
	end, known := o.tokens[scope+" "+token]
	return ok && known && o.c.Now().Before(end)
}

// misbehave answers as the switch says; false = as usual.
func (o *Operator) misbehave(w http.ResponseWriter, r *http.Request, t Trouble) bool {
	switch t {
	case Down:
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	case Slow:
		select {
		case <-r.Context().Done():
		case <-time.After(hangs):
			fail(w, http.StatusGatewayTimeout, "TIMEOUT", "Request timeout exceeded.")
		}
	case Denied:
		fail(w, http.StatusUnauthorized, "UNAUTHENTICATED", "Request not authenticated due to missing, invalid, or expired credentials.")
	case NotFound:
		fail(w, http.StatusNotFound, "IDENTIFIER_NOT_FOUND", "Device identifier not found.")
	case Unfit:
		fail(w, http.StatusUnprocessableEntity, "SERVICE_NOT_APPLICABLE", "The service is not available for the provided identifier.")
	case Busy:
		w.Header().Set("Retry-After", "5")
		fail(w, http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "Rate limit reached.")
	case Failing:
		fail(w, http.StatusInternalServerError, "INTERNAL", "Unknown server error.")
	case Null:
		answer(w, http.StatusOK, map[string]any{"latestSimChange": nil})
	case Garbage:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("<html>\x00\xff not JSON"))
	case Other:
		answer(w, http.StatusOK, map[string]any{"devicePhoneNumberVerified": true})
	default:
		return false
	}
	return true
}

func (o *Operator) date(w http.ResponseWriter, _ string, q question) {
	o.mu.Lock()
	at, ok := o.changed[q.Number]
	o.mu.Unlock()
	if !ok || o.c.Now().Sub(at) > period*24*time.Hour {
		answer(w, http.StatusOK, map[string]any{"latestSimChange": nil, "monitoredPeriod": period})
		return
	}
	answer(w, http.StatusOK, map[string]any{"latestSimChange": at.Format(time.RFC3339Nano)})
}

func (o *Operator) check(w http.ResponseWriter, _ string, q question) {
	hours := 240
	if q.MaxAge != nil {
		hours = *q.MaxAge
	}
	o.mu.Lock()
	at, ok := o.changed[q.Number]
	o.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"swapped": ok && o.c.Now().Sub(at) <= time.Duration(hours)*time.Hour})
}

// Event is the CloudEvent of a change, as it is sent.
type Event struct {
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	SpecVersion string    `json:"specversion"`
	ContentType string    `json:"datacontenttype"`
	Time        time.Time `json:"time"`
	Data        EventData `json:"data"`
}

// EventData says whose card it was.
type EventData struct {
	SubscriptionID string `json:"subscriptionId"`
	PhoneNumber    string `json:"phoneNumber"`
}

// Swapped is the type of the event.
const Swapped = "org.camaraproject.sim-swap-subscriptions.v0.swapped"

// NewEvent makes the event of a change of now.
func (o *Operator) NewEvent(number string) Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events++
	var b [8]byte
	rand.Read(b[:])
	return Event{ID: fmt.Sprintf("%x-%d", b, o.events), Source: o.c.Source, Type: Swapped, SpecVersion: "1.0", ContentType: "application/json",
		Time: o.c.Now().UTC().Truncate(time.Second), Data: EventData{SubscriptionID: "1", PhoneNumber: number}}
}

// Tell sends an event to the sink and returns the status of the answer.
func (o *Operator) Tell(ctx context.Context, e Event) (int, error) {
	if o.c.Sink == "" {
		return 0, nil
	}
	b, err := json.Marshal(e)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.c.Sink, bytes.NewReader(b))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/cloudevents+json")
	r.Header.Set("Authorization", "Bearer "+o.c.SinkToken)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// change gives a number a new card from the page.
func (o *Operator) change(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostBody)
	number := strings.TrimSpace(r.PostFormValue("number"))
	if err := o.Change(number, o.c.Now()); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.PostFormValue("tell") == "yes" && o.c.Sink != "" {
		status, err := o.Tell(r.Context(), o.NewEvent(number))
		sent := fmt.Sprintf("The event was answered with %d.", status)
		if err != nil {
			sent = "The event could not be delivered."
		}
		o.mu.Lock()
		o.sent = sent
		o.mu.Unlock()
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (o *Operator) setTrouble(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostBody)
	if err := o.Set(Trouble(r.PostFormValue("trouble"))); err != nil {
		http.Error(w, "no such trouble", http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// card is one number on the page.
type card struct {
	Number  string
	Changed time.Time
}

func (o *Operator) show(w http.ResponseWriter, _ *http.Request) {
	o.mu.Lock()
	v := struct {
		Cards    []card
		Trouble  Trouble
		Troubles []Choice
		Asked    int
		Sent     string
		Tells    bool
	}{Trouble: o.trouble, Troubles: troubles, Asked: o.asked, Sent: o.sent, Tells: o.c.Sink != ""}
	for _, number := range slices.Sorted(maps.Keys(o.changed)) {
		v.Cards = append(v.Cards, card{number, o.changed[number]})
	}
	o.mu.Unlock()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = pages.ExecuteTemplate(w, "page.html", v)
}
