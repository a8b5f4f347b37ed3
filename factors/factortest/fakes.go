package factortest

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/throttle"
)

// Clock stands still until it is moved.
type Clock struct {
	mu sync.Mutex
	at time.Time
}

// NewClock starts at the given moment, cut to UTC microseconds as everything stored is.
func NewClock(at time.Time) *Clock { return &Clock{at: at.UTC().Truncate(time.Microsecond)} }

// Now is the moment the clock stands at.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

// Advance moves the clock forward.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Kit is a factors.Kit over memory. Its fields are the fakes themselves, so that a test can look behind and break them.
type Kit struct {
	Clock       *Clock
	Credentials *Credentials
	Tickets     *Tickets
	Phone       *Messenger
	Push        *Pusher
	Limits      *Limits
	Accounts    *Accounts
	Record      *Record
}

// NewKit makes an empty kit whose clock stands at now. It serves one factor; a test of two factors makes two.
func NewKit(now time.Time) *Kit {
	k := &Kit{Clock: NewClock(now)}
	k.Credentials = &Credentials{now: k.Clock.Now, rows: map[string]factors.Credential{}}
	k.Phone = &Messenger{now: k.Clock.Now, endings: map[account.ID]string{}}
	k.Accounts = &Accounts{rows: map[account.ID]account.Account{}}
	rand.Read(k.Phone.key[:])
	k.Push = &Pusher{now: k.Clock.Now}
	k.Limits = &Limits{now: k.Clock.Now, arrivals: map[string][]time.Time{}, used: map[string]time.Time{}}
	k.Record = &Record{}
	k.Tickets = &Tickets{now: k.Clock.Now, phone: k.Phone, rows: map[string]factors.Ticket{}, used: map[string]factors.Ticket{}}
	return k
}

// Factors returns the kit as a factor takes it.
func (k *Kit) Factors() factors.Kit {
	return factors.Kit{
		Credentials: k.Credentials, Tickets: k.Tickets, Phone: k.Phone, Push: k.Push, Limits: k.Limits, Accounts: k.Accounts, Issuer: Issuer, Now: k.Clock.Now,
		Audit: k.Record, Atomically: func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) },
	}
}

// Issuer is that of every kit.
const Issuer = "https://kapi.example"

// Credentials keeps rows as storage does: a version that each write moves, handles that are unique.
type Credentials struct {
	mu    sync.Mutex
	now   func() time.Time
	rows  map[string]factors.Credential
	last  int
	fail  error
	calls atomic.Int64
}

// Calls is how many statements were asked for so far.
func (c *Credentials) Calls() int64 { return c.calls.Load() }

// Fail makes every further call answer err, until it is nil again.
func (c *Credentials) Fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = err
}

func (c *Credentials) begin() (unlock func(), err error) {
	c.calls.Add(1)
	c.mu.Lock()
	if c.fail != nil {
		defer c.mu.Unlock()
		return nil, c.fail
	}
	return c.mu.Unlock, nil
}

func (c *Credentials) Of(ctx context.Context, id account.ID) ([]factors.Credential, error) {
	unlock, err := c.begin()
	if err != nil {
		return nil, err
	}
	defer unlock()
	var out []factors.Credential
	for _, r := range c.rows {
		if id != "" && r.Account == id {
			r.Data = slices.Clone(r.Data)
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b factors.Credential) int {
		if d := a.CreatedAt.Compare(b.CreatedAt); d != 0 {
			return d
		}
		return cmp.Or(len(a.ID)-len(b.ID), strings.Compare(a.ID, b.ID))
	})
	return out, nil
}

func (c *Credentials) ByHandle(ctx context.Context, handle string) (factors.Credential, error) {
	unlock, err := c.begin()
	if err != nil {
		return factors.Credential{}, err
	}
	defer unlock()
	for _, r := range c.rows {
		if handle != "" && r.Handle == handle {
			r.Data = slices.Clone(r.Data)
			return r, nil
		}
	}
	return factors.Credential{}, fault.ErrNotFound
}

func (c *Credentials) ByID(ctx context.Context, id string) (factors.Credential, error) {
	unlock, err := c.begin()
	if err != nil {
		return factors.Credential{}, err
	}
	defer unlock()
	r, ok := c.rows[id]
	if !ok {
		return r, fault.ErrNotFound
	}
	r.Data = slices.Clone(r.Data)
	return r, nil
}

func (c *Credentials) Create(ctx context.Context, n factors.Credential) (factors.Credential, error) {
	unlock, err := c.begin()
	if err != nil {
		return n, err
	}
	defer unlock()
	for _, r := range c.rows {
		if n.Handle != "" && r.Handle == n.Handle {
			return n, fault.ErrConflict
		}
	}
	if n.ID == "" {
		c.last++
		n.ID = "credential-" + strconv.Itoa(c.last)
	} else if _, taken := c.rows[n.ID]; taken {
		return n, fault.ErrConflict
	}
	if n.CreatedAt.IsZero() {
		n.CreatedAt = c.now()
	}
	n.Version = 1
	n.Data = slices.Clone(n.Data)
	c.rows[n.ID] = n
	return n, nil
}

func (c *Credentials) Update(ctx context.Context, n factors.Credential) error {
	unlock, err := c.begin()
	if err != nil {
		return err
	}
	defer unlock()
	r, ok := c.rows[n.ID]
	if !ok || r.Version != n.Version {
		return fault.ErrConflict
	}
	r.State, r.Counter, r.Data, r.ExpiresAt = n.State, n.Counter, slices.Clone(n.Data), n.ExpiresAt
	r.Version++
	c.rows[n.ID] = r
	return nil
}

func (c *Credentials) Advance(ctx context.Context, id string, to int64) error {
	unlock, err := c.begin()
	if err != nil {
		return err
	}
	defer unlock()
	r, ok := c.rows[id]
	if !ok || r.Counter >= to {
		return fault.ErrConflict
	}
	r.Counter = to
	r.Version++
	c.rows[id] = r
	return nil
}

func (c *Credentials) Delete(ctx context.Context, id string) error {
	unlock, err := c.begin()
	if err != nil {
		return err
	}
	defer unlock()
	delete(c.rows, id)
	return nil
}

// Tickets keeps at most one open ticket for each binding and purpose, and hands messages to the fake phone.
type Tickets struct {
	mu    sync.Mutex
	now   func() time.Time
	phone *Messenger
	rows  map[string]factors.Ticket // open ones only
	used  map[string]factors.Ticket // by binding and purpose
	last  int
	calls atomic.Int64
}

// Calls is how many statements were asked for so far.
func (s *Tickets) Calls() int64 { return s.calls.Load() }

func (s *Tickets) Open(ctx context.Context, t factors.Ticket, m *factors.Message) (factors.Ticket, error) {
	s.calls.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.free(t) {
		return t, fault.ErrConflict
	}
	t.Replaces = ""
	maps.DeleteFunc(s.rows, func(_ string, o factors.Ticket) bool {
		return o.Binding == t.Binding && o.Purpose == t.Purpose
	})
	delete(s.used, place(t.Binding, t.Purpose))
	s.last++
	t.ID = "ticket-" + strconv.Itoa(s.last)
	if t.CreatedAt.IsZero() {
		t.CreatedAt = s.now()
	}
	t.Secret, t.Data = slices.Clone(t.Secret), slices.Clone(t.Data)
	s.rows[t.ID] = t
	if m != nil {
		s.phone.record(t.ID, *m)
	}
	return t, nil
}

// free says whether t may go where it wants to.
func (s *Tickets) free(t factors.Ticket) bool {
	if t.Replaces == "" {
		return true
	}
	if u := s.used[place(t.Binding, t.Purpose)]; s.now().Before(u.ExpiresAt) {
		return u.ID == t.Replaces
	}
	for _, o := range s.rows {
		if o.Binding == t.Binding && o.Purpose == t.Purpose && s.now().Before(o.ExpiresAt) {
			return o.ID == t.Replaces && o.Tries <= t.Tries
		}
	}
	return true
}

func (s *Tickets) Find(ctx context.Context, binding string, p factors.Purpose) (factors.Ticket, error) {
	s.calls.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.rows {
		if t.Binding == binding && t.Purpose == p && s.now().Before(t.ExpiresAt) {
			return t, nil
		}
	}
	if u := s.used[place(binding, p)]; s.now().Before(u.ExpiresAt) {
		return factors.Ticket{Tries: u.Tries, Replaces: u.ID}, fault.ErrConflict
	}
	return factors.Ticket{}, fault.ErrNotFound
}

func place(binding string, p factors.Purpose) string { return string(p) + " " + binding }

func (s *Tickets) Try(ctx context.Context, id string, most int) (factors.Ticket, error) {
	s.calls.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.rows[id]
	if !ok || !s.now().Before(t.ExpiresAt) || t.Tries >= most {
		return factors.Ticket{}, fault.ErrNotFound
	}
	t.Tries++
	s.rows[id] = t
	return t, nil
}

func (s *Tickets) Answer(ctx context.Context, binding string, p factors.Purpose, id account.ID, secret []byte, most int) (factors.Ticket, bool, error) {
	s.calls.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.rows {
		if t.Binding != binding || t.Purpose != p || t.Account != id || len(secret) == 0 || !s.now().Before(t.ExpiresAt) || t.Tries >= most {
			continue
		}
		t.Tries++
		s.rows[t.ID] = t
		right := hmac.Equal(t.Secret, secret)
		if right {
			delete(s.rows, t.ID)
			s.used[place(binding, p)] = t
		}
		return t, right, nil
	}
	if s.now().Before(s.used[place(binding, p)].ExpiresAt) {
		return factors.Ticket{}, false, fault.ErrConflict
	}
	return factors.Ticket{}, false, fault.ErrNotFound
}

func (s *Tickets) Use(ctx context.Context, id string) error {
	s.calls.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.rows[id]
	if !ok {
		return fault.ErrConflict
	}
	delete(s.rows, id)
	s.used[place(t.Binding, t.Purpose)] = t
	return nil
}

func (s *Tickets) ListOpen(ctx context.Context, id account.ID) ([]factors.Ticket, error) {
	s.calls.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []factors.Ticket
	for _, t := range s.rows {
		if id != "" && t.Account == id && s.now().Before(t.ExpiresAt) {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b factors.Ticket) int {
		if d := b.CreatedAt.Compare(a.CreatedAt); d != 0 {
			return d
		}
		return cmp.Or(len(b.ID)-len(a.ID), strings.Compare(b.ID, a.ID))
	})
	return out[:min(len(out), 50)], nil
}

func (s *Tickets) Turn(ctx context.Context, id string, from, to, data []byte) error {
	s.calls.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.rows[id]
	if !ok || !s.now().Before(t.ExpiresAt) || !hmac.Equal(t.Secret, from) {
		return fault.ErrConflict
	}
	t.Secret, t.Data = slices.Clone(to), slices.Clone(data)
	s.rows[id] = t
	return nil
}

// Pusher keeps the pushes that would have left.
type Pusher struct {
	mu   sync.Mutex
	now  func() time.Time
	sent []factors.PushMessage
	down bool
}

// Break opens or closes the breaker.
func (p *Pusher) Break(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Sent returns all pushes so far, oldest first.
func (p *Pusher) Sent() []factors.PushMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sent)
}

func (p *Pusher) Send(ctx context.Context, m factors.PushMessage) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.Dedupe != "" && slices.ContainsFunc(p.sent, func(o factors.PushMessage) bool { return o.Dedupe == m.Dedupe }) {
		return nil
	}
	p.sent = append(p.sent, m)
	return nil
}

func (p *Pusher) Up(string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.down
}

// Limits counts as throttle.Store does, but exactly: at most N events in any Per.
type Limits struct {
	mu       sync.Mutex
	now      func() time.Time
	arrivals map[string][]time.Time
	used     map[string]time.Time
}

func (l *Limits) Hit(ctx context.Context, key string, ws []throttle.Window) (wait time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for _, w := range ws {
		var within []time.Time
		for _, at := range l.arrivals[key] {
			if at.After(now.Add(-w.Per)) {
				within = append(within, at)
			}
		}
		if len(within) >= w.N {
			wait = max(wait, within[len(within)-w.N].Add(w.Per).Sub(now))
		}
	}
	if wait == 0 {
		l.arrivals[key] = append(l.arrivals[key], now)
	}
	return wait, nil
}

func (l *Limits) Once(ctx context.Context, value string, until time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, used := l.used[value]; used {
		return fault.ErrConflict
	}
	l.used[value] = until
	return nil
}

// Record keeps the events that were recorded.
type Record struct {
	mu     sync.Mutex
	events []audit.Event
}

func (r *Record) Record(ctx context.Context, e audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return nil
}

// Events returns those of a name, oldest first; of all names with "".
func (r *Record) Events(name audit.Name) (out []audit.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if name == "" || e.Name == name {
			out = append(out, e)
		}
	}
	return out
}

// Late says whether the message of a ticket has not left; see Messenger.Hold.
func (s *Tickets) Late(ctx context.Context, id string) (bool, error) {
	s.calls.Add(1)
	s.phone.mu.Lock()
	defer s.phone.mu.Unlock()
	return s.phone.held && slices.ContainsFunc(s.phone.sent, func(m Sent) bool { return m.Ticket == id }), nil
}

// Sent is one message as it would have left.
type Sent struct {
	At     time.Time
	Ticket string
	factors.Message
}

// Messenger is a phone network of one switch: numbers by their ending, a breaker, and everything that was sent.
type Messenger struct {
	mu      sync.Mutex
	now     func() time.Time
	key     [32]byte
	endings map[account.ID]string
	sent    []Sent
	lines   map[account.ID][]string
	down    bool
	refuse  error
	suspect error
	held    bool
}

// Give gives a person an ID-verified number with this ending; "" takes it away.
func (m *Messenger) Give(id account.ID, ending string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ending == "" {
		delete(m.endings, id)
		return
	}
	m.endings[id] = ending
}

// Line says by which channels a person with a number can be reached, best first; without it, by "sms".
func (m *Messenger) Line(id account.ID, channels ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lines == nil {
		m.lines = map[account.ID][]string{}
	}
	m.lines[id] = channels
}

// Hold makes messages not leave; false lets them.
func (m *Messenger) Hold(held bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = held
}

// Suspect makes Trusted answer err, such as a *factors.Hindrance; nil trusts again.
func (m *Messenger) Suspect(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.suspect = err
}

// Break opens or closes the breaker of every channel.
func (m *Messenger) Break(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

// Refuse makes Allow answer err; nil allows again.
func (m *Messenger) Refuse(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refuse = err
}

// Sent returns all messages so far, oldest first.
func (m *Messenger) Sent() []Sent {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.sent)
}

func (m *Messenger) record(ticket string, msg factors.Message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent = append(m.sent, Sent{At: m.now(), Ticket: ticket, Message: msg})
}

func (m *Messenger) Ending(ctx context.Context, id account.ID) (string, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.endings[id]
	return e, ok, nil
}

func (m *Messenger) Allow(ctx context.Context, id account.ID, network string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refuse
}

func (m *Messenger) Up(channel string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.down
}

func (m *Messenger) MAC(parts ...string) []byte {
	h := hmac.New(sha256.New, m.key[:])
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

func (m *Messenger) Lines(ctx context.Context, id account.ID) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.endings[id] == "":
		return nil, nil
	case m.lines[id] != nil:
		return slices.Clone(m.lines[id]), nil
	}
	return []string{"sms"}, nil
}

func (m *Messenger) Trusted(ctx context.Context, id account.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.suspect
}

// Accounts are what factors may know of accounts. One that was never put is active with two-factor authentication on.
type Accounts struct {
	mu   sync.Mutex
	rows map[account.ID]account.Account
}

// Put sets an account.
func (a *Accounts) Put(x account.Account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rows[x.ID] = x
}

func (a *Accounts) Account(ctx context.Context, id account.ID) (account.Account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if x, ok := a.rows[id]; ok {
		return x, nil
	}
	return account.Account{ID: id, State: account.Active, Ceiling: acr.High, TwoFactor: true}, nil
}
