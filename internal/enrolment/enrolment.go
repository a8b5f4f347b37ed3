// Package enrolment owns how people come into Kapi: today from a file of the civil registry (kapi person apply). Enter
// with ParsePeople and Apply. It refuses a file with one wrong line as a whole, an unknown member, and two-factor
// authentication without an ID-verified phone; and it never deletes anybody.
package enrolment

import (
	"context"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
)

// Record is all that is kept of one person.
type Record struct {
	Account  account.Account
	Person   account.Person
	Contacts contact.Contacts
}

// Store is what Apply needs of the database.
type Store interface {
	Atomically(ctx context.Context, fn func(context.Context) error) error
	AccountByNationalID(ctx context.Context, n account.NationalID) (account.Account, error) // fault.ErrNotFound
	Contacts(ctx context.Context, id account.ID) (contact.Contacts, error)
	// SavePerson creates r.Account with its ID when no account has that ID (created is true), else writes what differs:
	// the person, the contacts, and of the account TwoFactor, TwoFactorSince and Locale; State, Ceiling and CreatedAt of
	// an existing account stay. changed names what differed by the members of the file ("given_name", "phone",
	// "phone_grade", "two_factor", …); empty when nothing was written. fault.ErrConflict when another account has the
	// ID number.
	SavePerson(ctx context.Context, r Record) (changed []string, created bool, err error)
	contact.Voider
}
