package citizen

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/loginui/page"
)

var noon = time.Date(2026, 3, 4, 9, 0, 0, 0, time.UTC) // 12:00 in Türkiye

const (
	ayse   account.ID = "ayse"
	mehmet account.ID = "mehmet"

	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1"
)

// world is an installation in memory. A failing Atomically takes back what was written, as a database does.
type world struct {
	t            *testing.T
	now          time.Time
	router       *mux.Router
	pages        *page.Pages
	accounts     map[account.ID]account.Account
	people       map[account.ID]account.Person
	contacts     map[account.ID]contact.Contacts
	sessions     map[string]session.Session // by id
	tokens       map[string]string          // hex of the hash → id
	transactions map[string]signin.Transaction
	events       []audit.Event
	passwords    map[account.ID]string
	tries        map[string]int
	touched      int
	flow         *signin.Flow
	code         *codeFactor
	list         *listFactor
	notices      []notice.Notice
	lists        map[account.ID]string // of the list factor
	consents     map[account.ID][]grant.Consent
	hold         error // of changes
	deaf         bool  // the audit record fails
	voided       int   // how often open tickets were
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: noon, accounts: map[account.ID]account.Account{}, people: map[account.ID]account.Person{}, contacts: map[account.ID]contact.Contacts{},
		sessions: map[string]session.Session{}, tokens: map[string]string{}, transactions: map[string]signin.Transaction{},
		passwords: map[account.ID]string{}, tries: map[string]int{}}
	w.code = &codeFactor{world: w}
	w.lists, w.consents = map[account.ID]string{}, map[account.ID][]grant.Consent{}
	w.list = &listFactor{world: w}
	for id, name := range map[account.ID]string{ayse: "Ayşe", mehmet: "Mehmet"} {
		w.accounts[id] = account.Account{ID: id, State: account.Active, Ceiling: acr.High, Version: 1}
		w.people[id] = account.Person{NationalID: "10000000146", Kind: account.Citizen, GivenName: name, FamilyName: "Yılmaz"}
		w.contacts[id] = contact.Contacts{
			Phone: contact.Phone{Number: "+905550000001", Grade: contact.IDVerified, VerifiedAt: noon.AddDate(0, -10, 0)},
			Email: contact.Email{Address: strings.ToLower(string(id)) + "@example.org", Verified: true},
		}
		w.passwords[id] = "correct horse battery staple"
	}
	registry, err := factors.NewRegistry(passwordFactor{w}, signFactor{passwordFactor{w}}, w.code, w.list)
	if err != nil {
		t.Fatal(err)
	}
	record := &recordOf{w}
	w.flow = &signin.Flow{Store: transactionsOf{w}, Sessions: sessionsOf{w}, Accounts: accountsOf{w}, Clients: clientsOf{}, Factors: registry,
		Throttle: triesOf{w}, Audit: record, Keys: keys{}, Origin: "kapi.example", Now: w.clock, Pause: func(context.Context, time.Duration) {}}
	catalogue, err := words.Load(page.Words(), Words(), notice.Words(), w.code.Pages(), w.list.Pages(), rules)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := page.New(page.Config{Catalogue: catalogue, Issuer: "http://kapi.example", Now: w.clock, Log: slog.New(slog.DiscardHandler),
		Sources: []page.Source{Source(), {Name: "code", FS: w.code.Pages(), Hosts: []string{Host}}, {Name: "list", FS: w.list.Pages(), Hosts: []string{FactorHost}}}})
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{Pages: pages, Signin: w.flow, Factors: registry, Held: w.held, Sessions: sessionsOf{w}, People: accountsOf{w}, Contacts: accountsOf{w}, Record: record, Notices: noticesOf{w}, Consents: consentsOf{w}, Reset: accountsOf{w},
		VoidTickets: func(_ context.Context, id account.ID, _ time.Time) error {
			if id != ayse {
				return fault.ErrNotFound
			}
			w.voided++
			return nil
		},
		Atomically: w.atomically, Passwords: passwordsOf{w}, Throttle: triesOf{w}, Keys: keys{}, PhoneFactor: "code", Now: w.clock,
		TwoFactor: &enrolment.TwoFactor{Store: accountsOf{w}, Audit: record, Now: w.clock, PasswordAlone: func(_ context.Context, id account.ID) (bool, error) {
			return len(w.passwords[id]) >= 15, nil
		}}})
	if err != nil {
		t.Fatal(err)
	}
	w.pages, w.router = pages, mux.NewRouter()
	h.Mount(w.router)
	return w
}

func (w *world) clock() time.Time { return w.now }

func (w *world) atomically(ctx context.Context, fn func(context.Context) error) error {
	accounts, sessions, passwords, events, lists := cloned(w.accounts), cloned(w.sessions), cloned(w.passwords), slices.Clone(w.events), cloned(w.lists)
	tokens, consents := cloned(w.tokens), cloned(w.consents)
	err := fn(ctx)
	if err != nil {
		w.accounts, w.sessions, w.passwords, w.events, w.lists = accounts, sessions, passwords, events, lists
		w.tokens, w.consents = tokens, consents
	}
	return err
}

func cloned[K comparable, V any](m map[K]V) map[K]V {
	out := map[K]V{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// first and second proofs as the factors would give them.
func proofs(id account.ID, at time.Time, second bool) []factors.Proof {
	list := []factors.Proof{{Factor: "password", Account: id, Stage: factors.First, Kinds: factors.Know, Channel: factors.Here, Level: acr.Low, AMR: []string{"pwd"}, At: at}}
	if second {
		list = append(list, factors.Proof{Factor: "code", Account: id, Stage: factors.Second, Kinds: factors.Have, Channel: factors.Phone, Level: acr.Low, AMR: []string{"sms"}, At: at})
	}
	return list
}

// session puts a living session there, proven ago, and returns its token.
func (w *world) session(id string, owner account.ID, ago time.Duration, second bool) (token string) {
	at := w.now.Add(-ago)
	s := session.Session{ID: id, Account: owner, Proofs: proofs(owner, at, second), CreatedAt: at, SeenAt: w.now, ExpiresAt: at.Add(session.Life), Network: "192.0.2.7", Agent: iphone}
	s.Level = signin.Reached(s.Proofs, acr.High)
	w.sessions[id] = s
	token = "token-of-" + id
	w.tokens[hex.EncodeToString(secret.Hash(token))] = id
	return token
}

// codeFactor is a second factor as the SMS is: its code is always 123456.
type codeFactor struct {
	*world
	sent int
	last factors.Try
}

var codePages = fstest.MapFS{
	"page.html": {Data: []byte(`{{define "heading"}}{{t "code.heading"}}{{end}}
{{define "factor-page"}}{{template "input" (field . "code" "label" "code.code" "autocomplete" "one-time-code" "inputmode" "numeric")}}{{end}}`)},
	"words.json": {Data: []byte(`{"factor.code":{"tr":"Kod","en":"Code by phone"},"factor.password":{"tr":"Şifre","en":"Password"},"code.heading":{"tr":"Kodu girin","en":"Enter the code"},
"factor.sign":{"tr":"İmza","en":"Signature"},"code.code":{"tr":"Kod","en":"Security code"},"code.down":{"tr":"Kapalı.","en":"Codes cannot be sent now."}}`)},
}

// rules are the sentences of the password rules and of sign-in, which belong to their own packages.
var rules = fstest.MapFS{"words.json": {Data: []byte(`{"rule.length":{"tr":"En az {n} karakter.","en":"At least {n} characters."},
"old.wrong":{"tr":"Eski yanlış.","en":"The current password is wrong."},"answer.locked":{"tr":"{n} dakika bekleyin.","en":"Wait {n} minutes."}}`)}}

func (f *codeFactor) Info() factors.Info {
	return factors.Info{Name: "code", Stage: factors.Second, Order: 1, Tries: factors.Tries{Free: 3, First: time.Minute, Most: time.Minute}}
}
func (f *codeFactor) Pages() fs.FS { return codePages }
func (f *codeFactor) Available(_ context.Context, id account.ID) (bool, error) {
	return f.contacts[id].Phone.Grade == contact.IDVerified, nil
}
func (f *codeFactor) Begin(_ context.Context, try factors.Try) (factors.Challenge, error) {
	if f.last.Binding != try.Binding || f.last.Purpose != try.Purpose {
		f.sent++
	}
	f.last = try
	return factors.Challenge{Page: &factors.Page{Data: struct{}{}, Resend: f.now.Add(30 * time.Second)}}, nil
}
func (f *codeFactor) Again(_ context.Context, try factors.Try) error {
	if try.Purpose != factors.TwoFactor || try.Binding != f.last.Binding {
		return errors.New("another code")
	}
	f.sent++
	return nil
}
func (f *codeFactor) Verify(_ context.Context, try factors.Try, a factors.Answer) (factors.Proof, error) {
	if a.Get("code") != "123456" || try.Binding != f.last.Binding || try.Purpose != f.last.Purpose {
		return factors.Proof{}, factors.ErrWrong
	}
	return proofs(try.Account, f.now, true)[1], nil
}

// passwordFactor is there because a registry has a first factor too.
type passwordFactor struct{ *world }

func (passwordFactor) Info() factors.Info {
	return factors.Info{Name: "password", Stage: factors.First}
}
func (passwordFactor) Pages() fs.FS { return os.DirFS("../../factors/password") }
func (passwordFactor) Begin(context.Context, factors.Try) (factors.Challenge, error) {
	return factors.Challenge{}, nil
}
func (passwordFactor) Verify(context.Context, factors.Try, factors.Answer) (factors.Proof, error) {
	return factors.Proof{}, factors.ErrWrong
}

// signFactor is a first factor by which people sign.
type signFactor struct{ passwordFactor }

func (signFactor) Info() factors.Info {
	return factors.Info{Name: "sign", Stage: factors.First, Level: acr.High, Signs: true}
}

// passwordsOf holds passwords to length alone.
type passwordsOf struct{ *world }

func (p passwordsOf) Describe(_ context.Context, id account.ID) (PasswordStatus, error) {
	word, ok := p.passwords[id]
	return PasswordStatus{Exists: ok, ChangedAt: noon.AddDate(-1, 0, 0), Alone: !ok || len(word) >= 15}, nil
}
func least(twoFactor bool) int {
	if twoFactor {
		return 8
	}
	return 15
}
func (p passwordsOf) Rules(twoFactor bool) []PasswordRule {
	return []PasswordRule{{Key: "rule.length", N: least(twoFactor)}}
}
func (p passwordsOf) Check(_ context.Context, c PasswordChange) error {
	if len(c.New) < least(c.TwoFactor) {
		return fault.New(fault.Invalid, "rule.length").With("n", least(c.TwoFactor)).In("new_password")
	}
	return nil
}
func (p passwordsOf) Prepare(_ context.Context, c PasswordChange) (func(context.Context) error, error) {
	if !c.WithoutOld && p.passwords[c.Account] != c.Old {
		return nil, fault.Wrap(fault.Denied, "old.wrong", factors.ErrWrong).In("password")
	}
	if c.New == "the database is away" {
		return nil, fault.New(fault.Unavailable, "")
	}
	return func(context.Context) error { p.passwords[c.Account] = c.New; return nil }, nil
}

type accountsOf struct{ *world }

func (a accountsOf) Atomically(ctx context.Context, fn func(context.Context) error) error {
	return a.atomically(ctx, fn)
}
func (a accountsOf) Account(_ context.Context, id account.ID) (account.Account, error) {
	if x, ok := a.accounts[id]; ok {
		return x, nil
	}
	return account.Account{}, fault.ErrNotFound
}
func (a accountsOf) AccountByNationalID(context.Context, account.NationalID) (account.Account, error) {
	return account.Account{}, fault.ErrNotFound
}
func (a accountsOf) Person(_ context.Context, id account.ID) (account.Person, error) {
	return a.people[id], nil
}
func (a accountsOf) UpdateAccount(_ context.Context, x account.Account) error {
	if a.accounts[x.ID].Version != x.Version {
		return fault.ErrConflict
	}
	x.Version++
	a.accounts[x.ID] = x
	return nil
}
func (a accountsOf) Contacts(_ context.Context, id account.ID) (contact.Contacts, error) {
	return a.contacts[id], nil
}

func (a accountsOf) ChangeContacts(_ context.Context, id account.ID, change func(*contact.Contacts) error) error {
	c := a.contacts[id]
	err := change(&c)
	if err == nil {
		a.contacts[id] = c
	}
	return err
}

type sessionsOf struct{ *world }

func (s sessionsOf) CreateSession(context.Context, session.Session, []byte, account.Account) error {
	return errors.New("not here")
}
func (s sessionsOf) RotateSession(_ context.Context, x session.Session, hash []byte, _ account.Account) error {
	old := s.sessions[x.ID]
	if old.Version != x.Version || !old.EndedAt.IsZero() || x.ID == "" {
		return fault.ErrConflict
	}
	maps.DeleteFunc(s.tokens, func(_, id string) bool { return id == x.ID })
	x.Version++
	s.sessions[x.ID], s.tokens[hex.EncodeToString(hash)] = x, x.ID
	return nil
}
func (s sessionsOf) SessionByToken(_ context.Context, hash []byte) (session.Session, error) {
	id, ok := s.tokens[hex.EncodeToString(hash)]
	if !ok {
		return session.Session{}, fault.ErrNotFound
	}
	return s.sessions[id], nil
}
func (s sessionsOf) SessionByID(context.Context, string) (session.Session, error) {
	return session.Session{}, errors.New("not here")
}
func (s sessionsOf) VoidProofs(_ context.Context, owner account.ID, at time.Time) error {
	a := s.accounts[owner]
	a.ProofsSince = at
	s.accounts[owner] = a
	return nil
}
func (s sessionsOf) TouchSession(_ context.Context, id string, seen time.Time) error {
	x := s.sessions[id]
	x.SeenAt = seen
	s.sessions[id] = x
	s.touched++
	return nil
}
func (s sessionsOf) EndSession(_ context.Context, owner account.ID, id string, at time.Time) error {
	x, ok := s.sessions[id]
	if !ok || x.Account != owner {
		return fault.ErrNotFound
	}
	x.EndedAt = at
	s.sessions[id] = x
	return nil
}
func (s sessionsOf) EndSessions(ctx context.Context, owner account.ID, keep string, at time.Time) error {
	for id, x := range s.sessions {
		if x.Account == owner && id != keep && x.EndedAt.IsZero() {
			x.EndedAt = at
			s.sessions[id] = x
		}
	}
	return s.VoidProofs(ctx, owner, at)
}
func (s sessionsOf) SessionsOf(_ context.Context, owner account.ID, now time.Time) (list []session.Session, err error) {
	for _, x := range s.sessions {
		if x.Account == owner && (x.Alive(now) || x.Held && x.EndedAt.IsZero() && now.Before(x.ExpiresAt)) {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b session.Session) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

type transactionsOf struct{ *world }

func (s transactionsOf) Atomically(ctx context.Context, fn func(context.Context) error) error {
	return s.atomically(ctx, fn)
}
func (s transactionsOf) CreateTransaction(_ context.Context, t signin.Transaction) error {
	s.transactions[t.ID] = t
	return nil
}
func (s transactionsOf) Transaction(_ context.Context, id string, now time.Time) (signin.Transaction, error) {
	t, ok := s.transactions[id]
	if !ok || !now.Before(t.ExpiresAt) {
		return t, fault.ErrNotFound
	}
	return t, nil
}
func (s transactionsOf) SaveTransaction(_ context.Context, t signin.Transaction) (int64, error) {
	t.Version++
	s.transactions[t.ID] = t
	return t.Version, nil
}
func (s transactionsOf) FinishTransaction(_ context.Context, id string, browser []byte, _ time.Time) (signin.Transaction, error) {
	t, ok := s.transactions[id]
	if !ok || !bytes.Equal(t.Browser, browser) || t.State != signin.Ready && t.State != signin.Refused {
		return t, fault.ErrNotFound
	}
	done := t
	done.State = signin.Done
	s.transactions[id] = done
	return t, nil
}

type recordOf struct{ *world }

func (r recordOf) Record(_ context.Context, e audit.Event) error {
	if r.deaf {
		return errors.New("the record is away")
	}
	r.events = append(r.events, e)
	return nil
}
func (r recordOf) EventsOf(_ context.Context, subject string, names []audit.Name, before time.Time, n int) (list []audit.Event, err error) {
	for _, e := range r.events {
		if e.Subject == subject && (names == nil || slices.Contains(names, e.Name)) && (before.IsZero() || e.At.Before(before)) {
			list = append(list, e)
		}
	}
	slices.SortStableFunc(list, func(a, b audit.Event) int { return b.At.Compare(a.At) })
	return list[:min(n, len(list))], nil
}

type noticesOf struct{ *world }

func (s noticesOf) NoticesOf(_ context.Context, id account.ID, before time.Time, n int) (list []notice.Notice, err error) {
	for _, x := range s.notices {
		if x.Account == id && (before.IsZero() || x.At.Before(before)) {
			list = append(list, x)
		}
	}
	slices.SortStableFunc(list, func(a, b notice.Notice) int { return b.At.Compare(a.At) })
	return list[:min(n, len(list))], nil
}
func (s noticesOf) UnreadNotices(_ context.Context, id account.ID) (n int, err error) {
	for _, x := range s.notices {
		if x.Account == id && x.ReadAt.IsZero() {
			n++
		}
	}
	return n, nil
}
func (s noticesOf) ReadNotices(_ context.Context, id account.ID, until, now time.Time) error {
	for i, x := range s.notices {
		if x.Account == id && x.ReadAt.IsZero() && !x.At.After(until) {
			s.notices[i].ReadAt = now
		}
	}
	return nil
}
func (s noticesOf) NoticeToken(_ context.Context, hash []byte, now time.Time) (account.ID, error) {
	for _, x := range s.notices {
		if bytes.Equal(x.Token, hash) && now.Before(x.TokenUntil) {
			return x.Account, nil
		}
	}
	return "", fault.ErrNotFound
}
func (s noticesOf) UseNoticeToken(_ context.Context, hash []byte, now time.Time) (account.ID, error) {
	for i, x := range s.notices {
		if bytes.Equal(x.Token, hash) && now.Before(x.TokenUntil) {
			s.notices[i].TokenUntil = now
			return x.Account, nil
		}
	}
	return "", fault.ErrNotFound
}

type consentsOf struct{ *world }

func (s consentsOf) ConsentsOf(_ context.Context, id account.ID) ([]grant.Consent, error) {
	return s.consents[id], nil
}
func (s consentsOf) WithdrawConsent(_ context.Context, id account.ID, client string, _ time.Time) error {
	i := slices.IndexFunc(s.consents[id], func(c grant.Consent) bool { return c.Client == client })
	if i < 0 {
		return fault.ErrNotFound
	}
	s.consents[id] = slices.Delete(slices.Clone(s.consents[id]), i, i+1)
	return nil
}

type triesOf struct{ *world }

func (s triesOf) Take(_ context.Context, key string, l throttle.Ladder, now time.Time) (throttle.Verdict, error) {
	if s.tries[key] >= l.Free {
		return throttle.Verdict{Failures: s.tries[key], Until: now.Add(l.First)}, nil
	}
	s.tries[key]++
	return throttle.Verdict{Allowed: true, Failures: s.tries[key]}, nil
}
func (s triesOf) GiveBack(_ context.Context, key string) error { s.tries[key]--; return nil }
func (s triesOf) Clear(_ context.Context, names ...string) error {
	for _, k := range names {
		delete(s.tries, k)
	}
	return nil
}
func (s triesOf) Hit(context.Context, string, []throttle.Window, time.Time) (time.Duration, error) {
	return 0, nil
}

type clientsOf struct{}

func (clientsOf) Client(_ context.Context, id string) (clients.Client, error) {
	if id == "ssi" {
		return clients.Client{ID: id, Name: map[string]string{"": "SSI Portal", "tr": "SGK Portalı"}}, nil
	}
	return clients.Client{}, fault.ErrNotFound
}
func (clientsOf) Clients(context.Context) ([]clients.Client, error) { return nil, nil }
func (clientsOf) SaveClient(context.Context, clients.Client) error  { return nil }

type keys struct{}

func (keys) Subject(parts ...string) string        { return hex.EncodeToString(sum(parts)) }
func (keys) Index(place, value string) []byte      { return sum([]string{place, value}) }
func (keys) Known(parts ...string) []byte          { return sum(parts) }
func (keys) CheckKnown(m []byte, p ...string) bool { return bytes.Equal(m, sum(p)) }
func (keys) NewToken() (string, []byte)            { t := secret.Token(); return t, secret.Hash(t) }
func (keys) HashToken(token string) []byte         { return secret.Hash(token) }

func sum(parts []string) []byte {
	b := sha256.Sum256([]byte("key\x00" + strings.Join(parts, "\x00")))
	return b[:]
}
