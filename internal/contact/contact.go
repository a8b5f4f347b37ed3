// Package contact owns a person's phone numbers and e-mail addresses and how far each is proven. Enter with Store. It
// refuses to merge the grades: a verified phone renews a password, only an ID-verified one is a second factor.
package contact

import (
	"context"
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

// Phone is a mobile number in E.164, e.g. "+905550000001".
type Phone struct {
	Number     string
	Grade      Grade
	VerifiedAt time.Time
}

// Ending is what may be shown of a number before the person is fully signed in: its last two digits.
func (p Phone) Ending() string {
	if len(p.Number) < 2 {
		return ""
	}
	return p.Number[len(p.Number)-2:]
}

// Email is an address and whether a code sent there came back.
type Email struct {
	Address  string
	Verified bool
}

// Contacts of one account; the zero values where there is none.
type Contacts struct {
	Phone Phone
	Email Email
}

// Store reads contacts; an account without any has the zero Contacts.
type Store interface {
	Contacts(ctx context.Context, id account.ID) (Contacts, error)
}
