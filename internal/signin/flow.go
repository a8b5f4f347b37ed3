package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/throttle"
)

// Consents is what the consent rule reads and writes.
type Consents interface {
	Consent(ctx context.Context, id account.ID, client string) ([]string, error)
	// SaveConsent adds scopes to those agreed to before.
	SaveConsent(ctx context.Context, id account.ID, client string, scopes []string, now time.Time) error
}

// Flow drives transactions. Every field is required but Place, Pause, Jitter, Observe and Log.
type Flow struct {
	Store    Store
	Sessions session.Store
	Accounts account.Store
	Consents Consents
	Clients  clients.Store
	Factors  *factors.Registry
	Throttle throttle.Store
	Audit    audit.Recorder
	Keys     Keys
	Origin   string // host of the issuer, as shown to people
	Now      func() time.Time
	Log      *slog.Logger

	// Place turns a network into a place as people of lang name it; nil = factors show the network.
	Place func(network, lang string) string
	// Pause waits; the host asks it for what is missing to the minimum answer time. nil = really wait.
	Pause func(ctx context.Context, d time.Duration)
	// Jitter is added to the minimum answer time. nil = 0 to 85 ms at random.
	Jitter func() time.Duration
	// Observe hears of every answered factor, for metrics.
	Observe func(Observation)
}

// Observation is one answered factor.
type Observation struct{ Factor, Client, Outcome string }

// Keys makes the keyed values of a sign-in; *secret.Ring stands behind it.
type Keys interface {
	Subject(parts ...string) string              // clients.Client.Subject
	Index(place, value string) []byte            // blind index
	Known(parts ...string) []byte                // MAC of the known-device cookie
	CheckKnown(mac []byte, parts ...string) bool //
	NewToken() (token string, hash []byte)       // of a session
	HashToken(token string) []byte               //
}

// Visit is the request behind a step.
type Visit struct {
	Browser []byte // hash of the browser cookie's secret; nil if there is none
	Session string // token of the session cookie; ""
	Known   string // the known-device cookie; ""
	Network string
	Agent   string
	Request string
	Lang    string
}

// Outcome is what a completed sign-in gives to the browser.
type Outcome struct {
	SessionToken string // set the cookie; "" = leave it
	Known        string // set the cookie; "" = leave it
}

// New makes an open transaction for this browser. It stores nothing.
func New(ask Ask, browser []byte, now time.Time) Transaction {
	id, err := uuid.NewRandom()
	if err != nil {
		panic(err) // the system has no randomness: nothing may go on
	}
	return Transaction{ID: id.String(), Browser: browser, State: Open, Ask: ask, CreatedAt: now, ExpiresAt: now.Add(Life), Version: 1}
}

// Load returns the transaction if it belongs to the visiting browser. Faults: "signin.expired", "signin.other_browser".
func (f *Flow) Load(ctx context.Context, id string, v Visit) (Transaction, error) {
	if id == "" || len(id) > 64 {
		return Transaction{}, fault.New(fault.NotFound, "signin.expired")
	}
	t, err := f.Store.Transaction(ctx, id, f.Now())
	if errors.Is(err, fault.ErrNotFound) {
		return t, fault.New(fault.Expired, "signin.expired")
	}
	if err != nil {
		return t, err
	}
	if len(v.Browser) == 0 || subtle.ConstantTimeCompare(t.Browser, v.Browser) != 1 {
		return Transaction{}, fault.New(fault.Denied, "signin.other_browser")
	}
	return t, nil
}

// Client returns the registration behind a transaction; Kapi's own for Self.
func (f *Flow) Client(ctx context.Context, id string) (clients.Client, error) {
	if id == Self {
		return clients.Client{ID: Self, Name: map[string]string{"": "Kapi", "tr": "Kapı"}}, nil
	}
	return f.Clients.Client(ctx, id)
}

// state is a transaction with all that Next needs, loaded once per request.
type state struct {
	t       Transaction
	client  clients.Client
	account account.Account
	session session.Session // of this browser, where it was looked up and lives
	facts   Facts
	only    string // the one second factor that is asked whether it is available; "" = all are
	// owed is what changed and is not stored yet: it commits together with what settle decides, in one round trip.
	owed []func(context.Context) error
	// save writes the transaction in the same commit; nil = into the store. See Straight.
	save func(context.Context, Transaction) (version int64, err error)
}

// changed says that the transaction must be saved, together with what also does.
func (s *state) changed(also ...func(context.Context) error) {
	s.owed = append(s.owed, func(ctx context.Context) error {
		for _, fn := range also {
			if err := fn(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// Owed decides what is owed now; on the first visit it adopts the session of the browser, and it carries out what needs no person:
// completing and refusing. Where nothing is owed any more the returned transaction is Ready or Refused.
func (f *Flow) Owed(ctx context.Context, t Transaction, v Visit) (Transaction, Step, Outcome, error) {
	s, err := f.load(ctx, t, v)
	if err != nil {
		return t, Step{}, Outcome{}, err
	}
	return f.settle(ctx, s, v)
}

func (f *Flow) settle(ctx context.Context, s *state, v Visit) (Transaction, Step, Outcome, error) {
	if s.t.State != Open {
		return s.t, Step{}, Outcome{}, nil
	}
	step := Next(s.t, s.facts)
	if (step.Do == Complete || step.Do == AskConsent) && s.aged() {
		return f.restart(ctx, s, v)
	}
	switch step.Do {
	case Complete:
		out, err := f.complete(ctx, s, v)
		if errors.Is(err, errSessionGone) {
			return f.restart(ctx, s, v)
		}
		return s.t, step, out, err
	case Refuse:
		err := f.refuse(ctx, s, v, step.Refusal)
		return s.t, step, Outcome{}, err
	}
	if len(s.owed) == 0 {
		return s.t, step, Outcome{}, nil
	}
	return s.t, step, Outcome{}, f.commit(ctx, s, &s.t)
}

// ownAge is how old what was proven in this very sign-in may be whatever max_age says: the person was asked, as it demands, and one who
// reads the consent page slowly would otherwise never come to an end of max_age=0.
const ownAge = 5 * time.Minute

// aged says that auth_time would be older than max_age allows, since a page waited long for an answer (OpenID Connect Core §3.1.2.1). What
// a later step proves counts, so it is asked where nothing more will be proven. Who is answered at once was looked at just now.
func (s *state) aged() bool {
	if s.t.Ask.MaxAge == nil || len(s.t.Proofs) == 0 || s.save != nil {
		return false
	}
	most := time.Duration(*s.t.Ask.MaxAge) * time.Second
	if len(s.t.Proofs) > s.t.Adopted {
		most = max(most, ownAge)
	}
	return s.facts.Now.Sub(AuthTime(s.t.Proofs)) > most
}

// restart forgets what came from a session that is gone, or is too old by now; the person is asked anew.
func (f *Flow) restart(ctx context.Context, s *state, v Visit) (Transaction, Step, Outcome, error) {
	s.t.Progress = Progress{Begun: true, Lang: s.t.Lang}
	s.account, s.session = account.Account{}, session.Session{}
	s.changed()
	if err := f.gather(ctx, s, v); err != nil {
		return s.t, Step{}, Outcome{}, err
	}
	return f.settle(ctx, s, v)
}

// change applies fn to the transaction if the step do is owed now, and settles what follows; both are stored at once.
func (f *Flow) change(ctx context.Context, t Transaction, v Visit, do Do, fn func(*state) error) (Transaction, Step, Outcome, error) {
	s, err := f.load(ctx, t, v)
	if err != nil {
		return t, Step{}, Outcome{}, err
	}
	if s.t.State != Open || Next(s.t, s.facts).Do != do {
		return f.settle(ctx, s, v) // a second tab, the back button: show what is owed instead
	}
	if err := fn(s); err != nil {
		return t, Step{}, Outcome{}, err
	}
	if err := f.gather(ctx, s, v); err != nil {
		return t, Step{}, Outcome{}, err
	}
	return f.settle(ctx, s, v)
}

// commit saves t together with what is owed. The version moves only once the commit stands, since the database may ask for
// the whole to be done again.
func (f *Flow) commit(ctx context.Context, s *state, t *Transaction) error {
	save := s.save
	if save == nil {
		save = f.Store.SaveTransaction
	}
	var version int64
	err := f.Store.Atomically(ctx, func(ctx context.Context) (err error) {
		for _, fn := range s.owed {
			if err := fn(ctx); err != nil {
				return err
			}
		}
		version, err = save(ctx, *t)
		return err
	})
	if err == nil {
		t.Version, s.owed = version, nil
	}
	return err
}

// Prefer remembers the factor the person chose for the step that is owed.
func (f *Flow) Prefer(ctx context.Context, t Transaction, v Visit, factor string) (Transaction, Step, Outcome, error) {
	s, err := f.load(ctx, t, v)
	if err != nil {
		return t, Step{}, Outcome{}, err
	}
	step := Next(s.t, s.facts)
	if s.t.State == Open && slices.Contains(step.Offers, factor) && (step.Do == AskFirst || step.Do == AskSecond) {
		s.t.Pending = factor
		s.changed()
	}
	return f.settle(ctx, s, v)
}

// Choose answers prompt=select_account: go on as the person of the session, or forget it for this transaction.
func (f *Flow) Choose(ctx context.Context, t Transaction, v Visit, same bool) (Transaction, Step, Outcome, error) {
	return f.change(ctx, t, v, ChooseAccount, func(s *state) error {
		s.t.Chosen = true
		if !same {
			s.t.Progress = Progress{Begun: true, Chosen: true, Lang: s.t.Lang}
			s.account = account.Account{}
		}
		s.changed()
		return nil
	})
}

// Stronger begins again with a first factor that reaches what is needed, where the person was told that what they proved does not. What
// was proven is forgotten for this transaction, since somebody else may come; the session of the browser stays, and takes the new proof
// if it is the same person.
func (f *Flow) Stronger(ctx context.Context, t Transaction, v Visit, factor string) (Transaction, Step, Outcome, error) {
	return f.change(ctx, t, v, Explain, func(s *state) error {
		if !slices.Contains(Next(s.t, s.facts).Offers, factor) {
			return fault.New(fault.Invalid, "")
		}
		s.t.Progress = Progress{Begun: true, Chosen: true, Lang: s.t.Lang, Pending: factor}
		s.account = account.Account{}
		s.changed()
		return nil
	})
}

// Accept takes note that the person knows the level is out of reach: a voluntary wish goes on, a need is refused.
func (f *Flow) Accept(ctx context.Context, t Transaction, v Visit) (Transaction, Step, Outcome, error) {
	return f.change(ctx, t, v, Explain, func(s *state) error {
		if r := Next(s.t, s.facts).Refusal; r.Error != "" {
			return f.refuse(ctx, s, v, r)
		}
		s.t.Accepted = true
		s.changed()
		return nil
	})
}

// AnswerConsent stores a yes and refuses with access_denied on a no.
func (f *Flow) AnswerConsent(ctx context.Context, t Transaction, v Visit, yes bool) (Transaction, Step, Outcome, error) {
	return f.change(ctx, t, v, AskConsent, func(s *state) error {
		if !yes {
			return f.refuse(ctx, s, v, Refusal{Error: errAccessDenied, Description: "consent_refused"})
		}
		s.t.Consented = true
		s.changed(func(ctx context.Context) error {
			if !s.t.Consented { // forgotten by restart: nobody is there any more who could have agreed
				return nil
			}
			if err := f.Consents.SaveConsent(ctx, s.t.Account, s.client.ID, s.t.Ask.Scopes, f.Now()); err != nil {
				return err
			}
			return f.record(ctx, audit.ConsentGiven, "ok", &s.t, v, nil)
		})
		return nil
	})
}

// Cancel ends the sign-in, at any step, with access_denied; or, where the person was just told that what the client needs
// is out of reach, with the error that says so.
func (f *Flow) Cancel(ctx context.Context, t Transaction, v Visit) (Transaction, error) {
	if t.State != Open {
		return t, nil
	}
	s, err := f.load(ctx, t, v)
	if err != nil {
		return t, err
	}
	r := Refusal{Error: errAccessDenied, Description: "user_cancelled"}
	if step := Next(s.t, s.facts); step.Do == Explain && step.Refusal.Error != "" {
		r = step.Refusal
	}
	err = f.refuse(ctx, s, v, r)
	return s.t, err
}

// Speak remembers a language switch made in this transaction.
func (f *Flow) Speak(ctx context.Context, t Transaction, lang string) error {
	if t.State != Open || (lang != "tr" && lang != "en") {
		return nil
	}
	t.Lang = lang
	_, err := f.Store.SaveTransaction(ctx, t)
	return err
}

func (f *Flow) refuse(ctx context.Context, s *state, v Visit, r Refusal) error {
	s.t.State, s.t.Refusal = Refused, r
	s.changed(func(ctx context.Context) error {
		return f.record(ctx, audit.SigninRefused, r.Error, &s.t, v, map[string]string{"error": r.Error})
	})
	return f.commit(ctx, s, &s.t)
}

func (f *Flow) record(ctx context.Context, name audit.Name, outcome string, t *Transaction, v Visit, details map[string]string) error {
	return f.Audit.Record(ctx, audit.Event{
		At: f.Now(), Name: name, Outcome: outcome, Actor: string(t.Account), Subject: string(t.Account), Client: t.Ask.Client,
		Session: t.Session, Request: v.Request, Network: v.Network, Agent: v.Agent, Details: details,
	})
}

func (f *Flow) log() *slog.Logger {
	if f.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return f.Log
}
