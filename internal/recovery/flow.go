package recovery

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/internal/words"
)

// Every answer takes at least this long, plus jitter, so that the time tells nothing.
const (
	minAnswer = 250 * time.Millisecond
	maxJitter = 85 * time.Millisecond
)

// Limits. The person is whoever has the typed ID number, known or not; a browser that the person signed in with before has counts of
// its own, which a stranger's tries do not touch. A network is slowed to what a busy office needs.
var (
	guesses    = throttle.Ladder{Free: 5, First: 10 * time.Minute, Most: time.Hour} // of details, and of the contact, in a row
	codes      = throttle.Ladder{Free: 10, First: 10 * time.Minute, Most: time.Hour}
	perNetwork = []throttle.Window{{N: 40, Per: 10 * time.Minute}, {N: 200, Per: 24 * time.Hour}}
	perNumber  = []throttle.Window{{N: 2, Per: 10 * time.Second}, {N: 5, Per: 15 * time.Minute}, {N: 20, Per: 24 * time.Hour}}
)

// Flow drives transactions. Every field is required but Knows, Later, Pause, Jitter and Log.
type Flow struct {
	Store     Store
	Sessions  Sessions
	Accounts  Accounts
	Tickets   factors.Tickets // of the name "recovery"
	Outbox    Outbox
	Reach     Reach
	Passwords Passwords
	Holds     Holds
	Throttle  throttle.Store
	// Audit records in silence, Told also tells the person. What happens before a code was right goes to the first, or the work of
	// telling would say that there is somebody to tell.
	Audit, Told audit.Recorder
	Index       func(place, value string) []byte // blind index
	// Unlocks are the counts of wrong passwords of a person, which a new password clears.
	Unlocks func(n account.NationalID, id account.ID) []string
	// Knows names the device whose known-device cookie knows the account, "" if it does not; nil = no browser is known.
	Knows func(cookie string, a account.Account) string
	Words *words.Catalogue
	Now   func() time.Time
	Log   *slog.Logger

	// Later runs what the browser does not wait for, so that neither time nor work of an answer says whether a code went out;
	// nil = a goroutine, a few at once.
	Later func(fn func(context.Context))
	// Pause waits for what is missing to the least answer time. nil = really wait.
	Pause func(ctx context.Context, d time.Duration)
	// Jitter is added to it. nil = 0 to 85 ms at random.
	Jitter func() time.Duration

	out sync.WaitGroup // what is on its way out
}

// Sessions ends what is open.
type Sessions interface {
	EndSessions(ctx context.Context, owner account.ID, keep string, at time.Time) error
}

// Accounts reads one account; fault.ErrNotFound.
type Accounts interface {
	Account(ctx context.Context, id account.ID) (account.Account, error)
}

// Outbox takes messages in the transaction of ctx.
type Outbox interface {
	Enqueue(ctx context.Context, m notify.Message) error
}

// Reach is how people are reached; *reach.Messenger stands behind it.
type Reach interface {
	// AllowNumber counts one send against the limits of the number and the network; fault.Throttled.
	AllowNumber(ctx context.Context, number, network string) error
	// Trusted is factors.Messenger.Trusted.
	Trusted(ctx context.Context, id account.ID) error
	Up(channel string) bool
	MAC(parts ...string) []byte
}

// Passwords makes a new one; the password factor stands behind it.
type Passwords interface {
	// Rules lists what a new password is held to.
	Rules(twoFactor bool) []PasswordRule
	// Renew checks and hashes outside any transaction. write stores the result, may run again, and runs inside of one. What
	// cannot stand is a *fault.Error in the field "new_password".
	Renew(ctx context.Context, id account.ID, password string, twoFactor bool) (write func(context.Context) error, err error)
}

// PasswordRule is one line of the list beside a new password: the sentence Key with the number N.
type PasswordRule struct {
	Key string
	N   any
}

// Holds freezes the factors of a person who recovered and tells the old channels how to undo it, in the transaction of ctx. The event
// says who, when and from where.
type Holds interface {
	Recovered(ctx context.Context, id account.ID, e audit.Event) error
}

// Visit is the request behind a step.
type Visit struct {
	Browser []byte // hash of the browser cookie's secret
	Known   string // the known-device cookie
	Network string
	Agent   string
	Request string
	Lang    string
}

// ErrNotOwed says that the step is not what is owed now: the pages show what is.
var ErrNotOwed = fault.New(fault.Conflict, "recovery.not_owed")

// nobody owns the codes that are right for no one. It is no account id, so no factor and no session can be of it.
const nobody account.ID = "nobody"

// Start begins a transaction for this browser. from is the sign-in to go back to, "" if none.
func (f *Flow) Start(ctx context.Context, reason Reason, from string, v Visit) (Transaction, error) {
	if !slices.Contains(Reasons, reason) || reason == NoSMS {
		return Transaction{}, fault.New(fault.Invalid, "recovery.reason.missing").In("reason")
	}
	if len(v.Browser) == 0 || len(from) > 64 {
		return Transaction{}, fault.New(fault.Invalid, "")
	}
	if err := f.slowed(ctx, v); err != nil {
		return Transaction{}, err
	}
	now := f.now()
	t := Transaction{ID: uuid.NewString(), Browser: v.Browser, State: Open, Progress: Progress{From: from, Reason: reason, Tries: map[string]int{}},
		CreatedAt: now, ExpiresAt: now.Add(Life), Version: 1}
	return t, f.Store.CreateRecovery(ctx, t)
}

// Load returns the transaction if it belongs to the visiting browser. Faults: "recovery.expired", "recovery.other_browser".
func (f *Flow) Load(ctx context.Context, id string, v Visit) (Transaction, error) {
	if id == "" || len(id) > 64 {
		return Transaction{}, fault.New(fault.NotFound, "recovery.expired")
	}
	t, err := f.Store.Recovery(ctx, id, f.now())
	if errors.Is(err, fault.ErrNotFound) {
		return t, fault.New(fault.Expired, "recovery.expired")
	}
	if err != nil {
		return t, err
	}
	if len(v.Browser) == 0 || subtle.ConstantTimeCompare(t.Browser, v.Browser) != 1 {
		return Transaction{}, fault.New(fault.Denied, "recovery.other_browser")
	}
	if t.Tries == nil {
		t.Tries = map[string]int{}
	}
	return t, nil
}

// Owed decides what is owed now. The account is read only where a code has proven it.
func (f *Flow) Owed(ctx context.Context, t Transaction) (Step, error) {
	facts := Facts{Now: f.now()}
	if t.PhoneProven && t.State == Open {
		a, err := f.Accounts.Account(ctx, t.Account)
		if err != nil && !errors.Is(err, fault.ErrNotFound) {
			return Step{}, err
		}
		facts.Account = a
	}
	return Next(t, facts), nil
}

// owing is Owed for a handler of one step.
func (f *Flow) owing(ctx context.Context, t Transaction, do Do) error {
	step, err := f.Owed(ctx, t)
	if err == nil && step.Do != do {
		err = ErrNotOwed
	}
	return err
}

// Speak remembers a language switch made in this transaction.
func (f *Flow) Speak(ctx context.Context, t Transaction, lang string) error {
	if t.State != Open || lang != "tr" && lang != "en" {
		return nil
	}
	t.Lang = lang
	_, err := f.Store.SaveRecovery(ctx, t)
	return err
}

// save stores t with an event and with what also does, at once.
func (f *Flow) save(ctx context.Context, t *Transaction, e audit.Event, also ...func(context.Context) error) error {
	record := f.Audit
	if e.Name == audit.RecoveryDone {
		record = f.Told
	}
	var version int64
	err := f.Store.Atomically(ctx, func(ctx context.Context) (err error) {
		if version, err = f.Store.SaveRecovery(ctx, *t); err != nil {
			return err
		}
		for _, fn := range also {
			if err := fn(ctx); err != nil {
				return err
			}
		}
		return record.Record(ctx, e)
	})
	if err == nil {
		t.Version = version
	}
	return err
}

func (f *Flow) event(v Visit, name audit.Name, outcome string, subject account.ID, details map[string]string) audit.Event {
	return audit.Event{At: f.now(), Name: name, Outcome: outcome, Subject: string(subject), Request: v.Request, Network: v.Network, Agent: v.Agent, Details: details}
}

// slowed counts a step against the network.
func (f *Flow) slowed(ctx context.Context, v Visit) error {
	if v.Network == "" {
		return nil
	}
	wait, err := f.Throttle.Hit(ctx, "recovery:network:"+v.Network, perNetwork, f.now())
	if err != nil || wait == 0 {
		return err
	}
	return fault.New(fault.Throttled, "recovery.network").With("n", int(wait/time.Minute)+1).After(wait)
}

// key is the count of one sort of guess at one ID number, whoever has it; that of a known browser is its own.
func (f *Flow) key(kind string, n account.NationalID, device string) string {
	key := "recovery:" + kind + ":" + hex.EncodeToString(f.Index("throttle", string(n)))
	if device != "" {
		key += ":" + device
	}
	return key
}

// device names the visiting browser if the person signed in with it before; "" for any other.
func (f *Flow) device(v Visit, a account.Account) string {
	if f.Knows == nil || a.ID == "" {
		return ""
	}
	return f.Knows(v.Known, a)
}

// subject reads the person behind a number, and whether the browser is known to them: one read, whoever it is.
func (f *Flow) subject(ctx context.Context, n account.NationalID, v Visit) (s Subject, device string, err error) {
	if s, err = f.Store.RecoverySubject(ctx, n, f.now()); err != nil {
		return s, "", err
	}
	return s, f.device(v, s.Account), nil
}

// rest asks the pause for what is missing to the least answer time.
func (f *Flow) rest(ctx context.Context, began time.Time) {
	jitter := time.Duration(rand.Int64N(int64(maxJitter)))
	if f.Jitter != nil {
		jitter = f.Jitter()
	}
	missing := minAnswer + jitter - f.Now().Sub(began)
	if missing <= 0 {
		return
	}
	if f.Pause != nil {
		f.Pause(ctx, missing)
		return
	}
	timer := time.NewTimer(missing)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (f *Flow) now() time.Time { return f.Now().UTC().Truncate(time.Microsecond) }

func (f *Flow) log() *slog.Logger {
	if f.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return f.Log
}
