// Package phone owns the simulated phone of the demo and the tests: it takes messages as an SMS gateway would, shows them
// on a page that renews itself, lists them for scripts, and fails on demand in the ways gateways fail. It has a key app too, which
// shows codes that change every 30 s. Enter with New.
// It keeps everything in memory, bounded, and refuses to be reached by the name of a web site (DNS rebinding) or changed
// from another origin, since what it shows are live codes.
package phone

import (
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/kapi-id/kapi/internal/sim/desk"
)

// Message as GET /inbox lists it.
type Message struct {
	At      time.Time `json:"at"`
	Channel string    `json:"channel"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Text    string    `json:"text"`
}

// Trouble is a way to fail.
type Trouble string

// The switches.
const (
	None      Trouble = "none"
	Refuse    Trouble = "refuse"    // the connection breaks without an answer
	Hang      Trouble = "hang"      // no answer for 30 s, no delivery
	Failing   Trouble = "500"       // the gateway says that it failed
	Busy      Trouble = "429"       // the gateway asks to wait
	Lost      Trouble = "lost"      // accepted, never delivered
	Duplicate Trouble = "duplicate" // delivered twice
)

// choice is a switch as the page names it.
type choice struct {
	Name Trouble
	Say  string
}

var troubles = []choice{
	{None, "Works"}, {Refuse, "Breaks the connection"}, {Hang, "Does not answer for 30 s"}, {Failing, "Answers 500"},
	{Busy, "Answers 429"}, {Lost, "Accepts, loses the message"}, {Duplicate, "Delivers twice"},
}

// Bounds of what is kept and taken.
const (
	mostMessages = 1000
	mostKeys     = 10_000
	mostBody     = 64 << 10
	mostText     = 1600
	mostField    = 64
	hangs        = 30 * time.Second
)

// Phone is the handler.
type Phone struct {
	now   func() time.Time
	mux   *http.ServeMux
	front http.Handler

	mu       sync.Mutex
	messages []Message // oldest first
	seen     map[string]bool
	keys     []string // in the order of seen
	trouble  Trouble
	apps     []Key // of the key app, in the order they were added
}

//go:embed page.html script.js
var files embed.FS

var pages = template.Must(template.ParseFS(files, "page.html"))

// Config of a phone.
type Config struct {
	Now func() time.Time // stamps the messages; nil = the time of day
}

// New returns an empty phone that works.
func New(c Config) *Phone {
	if c.Now == nil {
		c.Now = time.Now
	}
	p := &Phone{now: c.Now, mux: http.NewServeMux(), seen: map[string]bool{}, trouble: None}
	p.front = desk.Front("phone", p.mux)
	p.mux.HandleFunc("GET /{$}", p.show("page"))
	p.mux.HandleFunc("GET /list", p.show("list"))
	p.mux.HandleFunc("GET /inbox", p.list)
	p.mux.HandleFunc("POST /inbox", p.deliver)
	p.mux.HandleFunc("GET /keys", p.listKeys)
	p.mux.HandleFunc("POST /keys", p.takeKey)
	p.mux.HandleFunc("POST /trouble", p.setTrouble)
	p.mux.HandleFunc("POST /clear", p.clear)
	p.mux.HandleFunc("GET /style.css", desk.Style)
	p.mux.HandleFunc("GET /script.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "script.js") })
	return p
}

// ServeHTTP serves the page, the list, and the delivery endpoint.
func (p *Phone) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.front.ServeHTTP(w, r) }

// Set turns a switch.
func (p *Phone) Set(t Trouble) error {
	if !slices.ContainsFunc(troubles, func(c choice) bool { return c.Name == t }) {
		return fmt.Errorf("phone: no such trouble %q", t)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = t
	return nil
}

// Inbox returns the messages to a number, oldest first; all for "". It is never nil.
func (p *Phone) Inbox(to string) []Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []Message{}
	for _, m := range p.messages {
		if to == "" || m.To == to {
			out = append(out, m)
		}
	}
	return out
}

// number reads ?to=; an unescaped plus arrives as a space.
func number(r *http.Request) string {
	to := r.URL.Query().Get("to")
	if digits, ok := strings.CutPrefix(to, " "); ok {
		return "+" + digits
	}
	return to
}

func (p *Phone) list(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, p.Inbox(number(r)))
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// deliver is the gateway's endpoint: a Message without "at", and an Idempotency-Key that is kept once.
func (p *Phone) deliver(w http.ResponseWriter, r *http.Request) {
	var m Message
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBody))
	if err := d.Decode(&m); err != nil || m.To == "" || m.Text == "" {
		answer(w, http.StatusBadRequest, map[string]string{"error": "a JSON object with channel, from, to and text"})
		return
	}
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, mostBody)) // else the server does not see the caller go
	p.mu.Lock()
	trouble := p.trouble
	p.mu.Unlock()
	times := 1
	switch trouble {
	case Refuse:
		hangUp(w)
		return
	case Hang:
		select {
		case <-r.Context().Done():
		case <-time.After(hangs):
			answer(w, http.StatusGatewayTimeout, map[string]string{"error": "timeout"})
		}
		return
	case Failing:
		answer(w, http.StatusInternalServerError, map[string]string{"error": "internal"})
		return
	case Busy:
		w.Header().Set("Retry-After", "5")
		answer(w, http.StatusTooManyRequests, map[string]string{"error": "too many messages"})
		return
	case Lost:
		times = 0
	case Duplicate:
		times = 2
	}
	status := "accepted"
	if !p.keep(r.Header.Get("Idempotency-Key"), m, times) {
		status = "known"
	}
	answer(w, http.StatusAccepted, map[string]string{"status": status})
}

// keep stores m so many times unless its key was seen.
func (p *Phone) keep(key string, m Message, times int) bool {
	m.At = p.now().UTC().Truncate(time.Second)
	m.Text, m.Channel, m.From, m.To = cut(m.Text, mostText), cut(m.Channel, mostField), cut(m.From, mostField), cut(m.To, mostField)
	p.mu.Lock()
	defer p.mu.Unlock()
	if key = cut(key, 2*mostField); key != "" {
		if p.seen[key] {
			return false
		}
		p.seen[key] = true
		p.keys = append(p.keys, key)
		if len(p.keys) > mostKeys {
			delete(p.seen, p.keys[0])
			p.keys = p.keys[1:]
		}
	}
	for range times {
		p.messages = append(p.messages, m)
	}
	if over := len(p.messages) - mostMessages; over > 0 {
		p.messages = slices.Delete(p.messages, 0, over)
	}
	return true
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// hangUp resets the connection.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func (p *Phone) setTrouble(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, mostBody)
	if err := p.Set(Trouble(r.PostFormValue("trouble"))); err != nil {
		http.Error(w, "no such trouble", http.StatusBadRequest)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (p *Phone) clear(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.messages = nil
	p.mu.Unlock()
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// view is the data of page.html.
type view struct {
	To       string
	Messages []Message // newest first
	Numbers  []string
	Trouble  Trouble
	Troubles []choice
	Keys     []shown
	Wrong    bool // what was typed is no key
}

func (p *Phone) show(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { p.draw(w, r, name, http.StatusOK, false) }
}

func (p *Phone) draw(w http.ResponseWriter, r *http.Request, name string, status int, wrong bool) {
	to := number(r)
	v := view{To: to, Messages: p.Inbox(to), Troubles: troubles, Keys: p.shown(), Wrong: wrong}
	slices.Reverse(v.Messages)
	for _, m := range p.Inbox("") {
		if !slices.Contains(v.Numbers, m.To) {
			v.Numbers = append(v.Numbers, m.To)
		}
	}
	slices.Sort(v.Numbers)
	p.mu.Lock()
	v.Trouble = p.trouble
	p.mu.Unlock()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = pages.ExecuteTemplate(w, name, v)
}
