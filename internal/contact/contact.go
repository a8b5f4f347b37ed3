// Package contact owns a person's phone numbers and e-mail addresses and how far each is proven. Enter with Store. It
// refuses to merge the grades: a verified phone renews a password, only an ID-verified one is a second factor.
package contact

import (
	"context"
	"errors"
	"time"

	"github.com/kapi-id/kapi/internal/account"
)

// Grade says how far a phone or an address is proven to be the person's.
type Grade string

const (
	Declared   Grade = "declared"    // typed
	Verified   Grade = "verified"    // a code came back
	IDVerified Grade = "id_verified" // proven with the ID card, a strong sign-in or at an office
)

// What proved that a number is the person's: Phone.How.
const (
	ByCode   = "sms"    // a code came back: no more than verified
	ByStrong = "strong" // a strong sign-in, and a code
	ByOffice = "office" // a clerk, who saw the person
	ByNFC    = "nfc"    // the ID card's chip
	ByFile   = "file"   // the person file says so
)

// Phone is a mobile number in E.164, e.g. "+905550000001".
type Phone struct {
	Number     string
	Grade      Grade
	VerifiedAt time.Time
	How        string    // what proved it; "" = not said
	Operator   string    // as the person file says, e.g. "turkcell"; "" = unknown
	Lines      []string  // channels besides SMS that the subscription has, best first: "messenger", "sim"
	BlockedAt  time.Time // the SIM card was changed: no code goes there until it is unblocked; zero = it may be used
	SwappedAt  time.Time // while it is blocked: the latest change of the SIM card, where that is not the one of BlockedAt
	TrustedAt  time.Time // of what last unblocked it: a change of the SIM card before this moment is known and accepted
}

// Ending is what may be shown of a number before the person is fully signed in: its last two digits.
func (p Phone) Ending() string {
	if len(p.Number) < 2 {
		return ""
	}
	return p.Number[len(p.Number)-2:]
}

// Email is an address and whether a code sent there came back. A verified one is a recovery address.
type Email struct {
	Address    string
	Verified   bool
	VerifiedAt time.Time
}

// Contacts of one account; the zero values where there is none.
type Contacts struct {
	Phone Phone
	Email Email
	// NewPhone and NewEmail were declared to take the place of the others, and do so only once they are proven: a new phone when it
	// is ID-verified, a new address when a code sent there came back.
	NewPhone Phone
	NewEmail Email
	// OldEmail and OldPhone were replaced until the given moment's hold is over; notices and the undo link go there too.
	OldPhone, OldEmail string
	OldUntil           time.Time
	// ResetBoth: a forgotten password is renewed with codes to the phone and to the e-mail address; else the phone is enough.
	ResetBoth bool
}

// Store reads contacts; an account without any has the zero Contacts.
type Store interface {
	Contacts(ctx context.Context, id account.ID) (Contacts, error)
}

// Changer also changes them: fn is given what is stored and changes it, in the transaction of ctx or one of its own; it may run
// twice. fault.ErrNotFound for an account without a person.
type Changer interface {
	Store
	ChangeContacts(ctx context.Context, id account.ID, fn func(*Contacts) error) error
}

// Voider ends what a number was relied on for; *storage.DB is one.
type Voider interface {
	// VoidProofs voids what was proven in sign-ins and recoveries still under way.
	VoidProofs(ctx context.Context, id account.ID, at time.Time) error
	// VoidTickets closes every open code and pending request of the account.
	VoidTickets(ctx context.Context, id account.ID, at time.Time) error
}

// Void ends both, in the transaction of ctx. It goes with each change of whom a number stands for: another number, a new proof of the same
// one, an accepted change of its SIM card. A code that is out was sent to whoever had the number before.
func Void(ctx context.Context, v Voider, id account.ID, at time.Time) error {
	return errors.Join(v.VoidProofs(ctx, id, at), v.VoidTickets(ctx, id, at))
}
