// Package enrolment owns how people come into Kapi: today from a file of the civil registry (kapi person apply). Enter
// with ParsePeople and Apply. It refuses a file with one wrong line as a whole, an unknown member, and two-factor
// authentication without an ID-verified phone; and it never deletes anybody.
package enrolment

import (
	"context"
	"slices"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
)

// Record is all that is kept of one person.
type Record struct {
	Account  account.Account
	Person   account.Person
	Contacts contact.Contacts
}

// Differences names what differs from old, by the members of the file.
func (r Record) Differences(old Record) (names []string) {
	differ := func(name string, yes bool) {
		if yes {
			names = append(names, name)
		}
	}
	a, b := old.Person, r.Person
	differ("national_id", a.NationalID != b.NationalID)
	differ("kind", a.Kind != b.Kind)
	differ("given_name", a.GivenName != b.GivenName)
	differ("family_name", a.FamilyName != b.FamilyName)
	differ("birthdate", a.Birthdate != b.Birthdate)
	differ("gender", a.Gender != b.Gender)
	differ("address", a.Address != b.Address)
	differ("documents", !slices.Equal(a.Documents, b.Documents))
	c, d := old.Contacts, r.Contacts
	differ("email", c.Email.Address != d.Email.Address)
	differ("email_verified", c.Email.Verified != d.Email.Verified)
	differ("phone", c.Phone.Number != d.Phone.Number)
	differ("phone_grade", c.Phone.Grade != d.Phone.Grade)
	differ("phone_operator", c.Phone.Operator != d.Phone.Operator)
	differ("phone_lines", !slices.Equal(c.Phone.Lines, d.Phone.Lines))
	differ("two_factor", old.Account.TwoFactor != r.Account.TwoFactor)
	differ("locale", old.Account.Locale != r.Account.Locale)
	return names
}

// Store is what Apply needs of the database.
type Store interface {
	Atomically(ctx context.Context, fn func(context.Context) error) error
	AccountByNationalID(ctx context.Context, n account.NationalID) (account.Account, error) // fault.ErrNotFound
	// PersonRecord reads all that is kept of one person. With take nobody else changes the person or the contacts until the transaction of
	// ctx ends, and a change of the account meanwhile shows in SavePerson.
	PersonRecord(ctx context.Context, id account.ID, take bool) (Record, error)
	// SavePerson creates r.Account with its ID when no account has that ID (created is true), else writes what differs:
	// the person, the contacts, and of the account TwoFactor, TwoFactorSince and Locale; State, Ceiling and CreatedAt of
	// an existing account stay. changed names what differed by the members of the file ("given_name", "phone",
	// "phone_grade", "two_factor", …); empty when nothing was written. fault.ErrConflict when another account has the
	// ID number, or where locale, two-factor authentication or the phone changes, of an account that is not of r.Account.Version any more.
	SavePerson(ctx context.Context, r Record) (changed []string, created bool, err error)
	contact.Voider
}
