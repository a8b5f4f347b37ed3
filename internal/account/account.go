// Package account owns who a person is to Kapi: the account (random id, state, ceiling), the person behind it as the
// civil registry knows him, and the ID number as a checked value. Enter with ParseNationalID and Store. It refuses to
// use the ID number as a key: a naturalised foreigner gets a new one and stays the same account.
package account

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/acr"
)

// ID is an account's identity, a random UUID made by us; "" is nobody.
type ID string

// State of an account.
type State string

const (
	Active   State = "active"
	Locked   State = "locked_by_office"
	Deceased State = "deceased"
)

// Kind of person, as the registry says; the digits of the number do not tell.
type Kind string

const (
	Citizen   Kind = "citizen"
	BlueCard  Kind = "blue_card"
	Foreigner Kind = "foreigner"
)

// Account is what a sign-in needs to know of a person, without a word of personal data.
type Account struct {
	ID             ID
	State          State
	Ceiling        acr.Level // the highest level the account may reach by its birth
	TwoFactor      bool
	TwoFactorSince time.Time
	ProofsSince    time.Time // all sessions were ended or the password changed then: what was proven before, in a sign-in under way, counts no more
	Locale         string    // "tr" or "en"; "" = unknown
	Closed         Closed
	CreatedAt      time.Time
	Version        int64
}

// Closed is which first factors a person closed, or opened where they are closed for everybody else: their names with a space
// between, those that were opened with "+" before. A closed one does not sign the person in.
type Closed string

// Has says whether the factor is closed; shut is what holds where the person said nothing.
func (c Closed) Has(factor string, shut bool) bool {
	for f := range strings.FieldsSeq(string(c)) {
		switch f {
		case factor:
			return true
		case "+" + factor:
			return false
		}
	}
	return shut
}

// With is c with the factor closed or opened.
func (c Closed) With(factor string, closed bool) Closed {
	kept := slices.DeleteFunc(strings.Fields(string(c)), func(f string) bool { return strings.TrimPrefix(f, "+") == factor })
	if !closed {
		factor = "+" + factor
	}
	return Closed(strings.Join(append(kept, factor), " "))
}

// Person is what the registry says. At rest every field is sealed; the ID number is found by a blind index.
type Person struct {
	NationalID NationalID `json:"national_id"`
	Kind       Kind       `json:"kind"`
	GivenName  string     `json:"given_name"`
	FamilyName string     `json:"family_name"`
	Birthdate  string     `json:"birthdate"` // YYYY-MM-DD
	Gender     string     `json:"gender,omitempty"`
	Address    Address    `json:"address"`
	Documents  []Document `json:"documents,omitempty"`
}

// Document is an identity document that is valid now. Whoever forgot a password is asked for its number.
type Document struct {
	Type   DocumentType `json:"type"`
	Serial string       `json:"serial"`
}

// DocumentType is a sort of identity document.
type DocumentType string

const (
	IDCard         DocumentType = "id_card"         // the card with a chip
	OldIDCard      DocumentType = "old_id_card"     // the paper one before it
	BlueCardPaper  DocumentType = "blue_card"       //
	Passport       DocumentType = "passport"        //
	DrivingLicence DocumentType = "driving_licence" //
)

// DocumentTypes in the order in which people are asked.
var DocumentTypes = []DocumentType{IDCard, OldIDCard, BlueCardPaper, Passport, DrivingLicence}

// Name is the full name as shown and as the name claim.
func (p Person) Name() string {
	if p.GivenName == "" || p.FamilyName == "" {
		return p.GivenName + p.FamilyName
	}
	return p.GivenName + " " + p.FamilyName
}

// Address is OpenID Connect Core §5.1.1.
type Address struct {
	StreetAddress string `json:"street_address,omitempty"`
	Locality      string `json:"locality,omitempty"`
	Region        string `json:"region,omitempty"`
	PostalCode    string `json:"postal_code,omitempty"`
	Country       string `json:"country,omitempty"`
}

// Store keeps accounts and people. Unknown ones are fault.ErrNotFound.
type Store interface {
	Account(ctx context.Context, id ID) (Account, error)
	AccountByNationalID(ctx context.Context, n NationalID) (Account, error)
	Person(ctx context.Context, id ID) (Person, error)
	// UpdateAccount writes a if its Version is still the stored one and raises it by one; else fault.ErrConflict.
	UpdateAccount(ctx context.Context, a Account) error
}
