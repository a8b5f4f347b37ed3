// Package recovery owns how a person who forgot the password gets a new one: a stored transaction of its own, bound to the browser
// that began it, that a pure table of rules moves forward (Next), from the ID number over details of an identity document and the
// verified phone, and the e-mail address where the person chose so, to codes and the new password. Enter with Flow. It refuses to
// say anything of a person before a code was right: unknown people, foreigners, children, people without a verified phone and
// wrong details meet the same pages after the same work, and no code. It opens no session and leaves the second factor alone.
package recovery

import (
	"context"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
)

// Life is how long a person may take.
const Life = 30 * time.Minute

// State of a transaction: open → done or over.
type State string

const (
	Open State = "open"
	Done State = "done" // the new password stands
	Over State = "over" // it cannot go on; Progress.Stopped says why
)

// Reason is what the person says has happened.
type Reason string

const (
	Forgot   Reason = "forgot"
	Intruder Reason = "intruder" // somebody else got in
	Stuck    Reason = "stuck"    // cannot sign in
	NoSMS    Reason = "no_sms"   // cannot renew by SMS: nothing here helps, and no transaction begins
)

// Reasons in the order in which they are shown.
var Reasons = []Reason{Forgot, Intruder, Stuck, NoSMS}

// Why a transaction is over.
const (
	StoppedTries  = "tries"  // too many
	StoppedSIM    = "sim"    // the SIM card was changed, or the operator cannot tell
	StoppedPerson = "person" // the account was closed meanwhile
)

// Transaction is one recovery under way. Progress is sealed at rest.
type Transaction struct {
	ID      string
	Browser []byte // hash of the secret in the cookie of the browser that began it
	State   State
	Progress
	CreatedAt time.Time
	ExpiresAt time.Time
	Version   int64
}

// Progress is what the steps have added.
type Progress struct {
	From   string             `json:"from,omitempty"` // the sign-in it was begun from, to go back to
	Reason Reason             `json:"reason"`
	Kind   account.Kind       `json:"kind,omitempty"`
	Number account.NationalID `json:"number,omitempty"`
	// Detailed says that the details were typed, Right that they are those of the person. The pages know only the first.
	Detailed bool `json:"detailed,omitempty"`
	Right    bool `json:"right,omitempty"`
	// Phone and Email as typed; Account is set when they, too, are those of the person: only then is there a right code.
	Phone       string         `json:"phone,omitempty"`
	Email       string         `json:"email,omitempty"`
	Account     account.ID     `json:"account,omitempty"`
	PhoneProven bool           `json:"phone_proven,omitempty"`
	MailProven  bool           `json:"mail_proven,omitempty"`
	PhoneSent   time.Time      `json:"phone_sent,omitzero"` // when the code that proved the phone went out
	Tries       map[string]int `json:"tries,omitempty"`     // of each step that the person may take again
	Sends       int            `json:"sends,omitempty"`     // codes sent at the present step
	SentAt      time.Time      `json:"sent_at,omitzero"`
	CodeUntil   time.Time      `json:"code_until,omitzero"`
	Stopped     string         `json:"stopped,omitempty"`
	Lang        string         `json:"lang,omitempty"` // a switch made in this transaction
}

// Subject is all that is known of the person behind an ID number; the zero Subject where there is none.
type Subject struct {
	Account  account.Account
	Person   account.Person
	Contacts contact.Contacts
	Stopped  bool // the person undid a recovery a short while ago: no other one until that hold is over
}

// Store keeps transactions and finds people.
type Store interface {
	contact.Changer
	Atomically(ctx context.Context, fn func(context.Context) error) error
	// UpdateAccount writes a if its version is still the stored one; else fault.ErrConflict.
	UpdateAccount(ctx context.Context, a account.Account) error
	CreateRecovery(ctx context.Context, t Transaction) error
	// Recovery returns it in any state while it is not expired at now; fault.ErrNotFound.
	Recovery(ctx context.Context, id string, now time.Time) (Transaction, error)
	// SaveRecovery writes State and Progress if Version is still the stored one and the transaction open; else fault.ErrConflict. It
	// returns the new version.
	SaveRecovery(ctx context.Context, t Transaction) (int64, error)
	// RecoverySubject costs one read, whoever it is.
	RecoverySubject(ctx context.Context, n account.NationalID, now time.Time) (Subject, error)
	// VoidTickets closes every open code and pending request of the account, so that nothing that was asked for before is
	// answered after.
	VoidTickets(ctx context.Context, id account.ID, at time.Time) error
}
