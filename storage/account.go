package storage

import (
	"context"
	"errors"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
)

var (
	_ account.Store = (*DB)(nil)
	_ contact.Store = (*DB)(nil)
)

// Columns of accounts a, in the order that accountRow scans them.
const accountColumns = "a.id, a.state, a.ceiling, a.two_factor, a.two_factor_since, a.proofs_since, a.locale, a.closed_firsts, a.created_at, a.version"

// The same, the person's key and contacts, where the account may be absent: its id is "" then. For reads that bring along
// whose they are.
const (
	accountBeside = "COALESCE(a.id, ''), COALESCE(a.state, ''), COALESCE(a.ceiling, 0), COALESCE(a.two_factor, 0), COALESCE(a.two_factor_since, 0), " +
		"COALESCE(a.proofs_since, 0), COALESCE(a.locale, ''), COALESCE(a.closed_firsts, ''), COALESCE(a.created_at, 0), COALESCE(a.version, 0), k.sealed, p.contacts"
	joinBeside = " LEFT JOIN person_keys k ON k.account_id = a.id LEFT JOIN people p ON p.account_id = a.id"
)

// beside is an account that came along with another row.
type beside struct {
	accountRow
	key, contacts []byte
}

func (b *beside) dest() []any { return append(b.accountRow.dest(), &b.key, &b.contacts) }

// learn remembers it for the request, so that what follows needs no read of its own.
func (db *DB) learn(ctx context.Context, b *beside) {
	if b.ID == "" {
		return
	}
	db.memoOf(ctx).learn(b.account(), b.contacts)
	if len(b.key) > 0 && db.tx(ctx) == nil {
		db.learnPersonKey(account.ID(b.ID), b.key)
	}
}

// accountRow is a row of accounts.
type accountRow struct {
	ID             string
	State          string
	Ceiling        int64
	TwoFactor      int64
	TwoFactorSince int64
	ProofsSince    int64
	Locale         string
	ClosedFirsts   string
	CreatedAt      int64 `gorm:"autoCreateTime:false"`
	Version        int64
}

func (accountRow) TableName() string { return "accounts" }

func (r *accountRow) dest() []any {
	return []any{&r.ID, &r.State, &r.Ceiling, &r.TwoFactor, &r.TwoFactorSince, &r.ProofsSince, &r.Locale, &r.ClosedFirsts, &r.CreatedAt, &r.Version}
}

func (r *accountRow) account() account.Account {
	return account.Account{
		ID: account.ID(r.ID), State: account.State(r.State), Ceiling: acr.Level(r.Ceiling), TwoFactor: r.TwoFactor != 0,
		TwoFactorSince: moment(r.TwoFactorSince), ProofsSince: moment(r.ProofsSince), Locale: r.Locale, Closed: account.Closed(r.ClosedFirsts), CreatedAt: moment(r.CreatedAt), Version: r.Version,
	}
}

func rowOf(a account.Account) accountRow {
	return accountRow{
		ID: string(a.ID), State: string(a.State), Ceiling: int64(a.Ceiling), TwoFactor: flag(a.TwoFactor),
		TwoFactorSince: micros(a.TwoFactorSince), Locale: a.Locale, ClosedFirsts: string(a.Closed), CreatedAt: micros(a.CreatedAt), Version: a.Version,
	}
}

// flag is a bool as stored.
func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// Account returns one account; fault.ErrNotFound.
func (db *DB) Account(ctx context.Context, id account.ID) (account.Account, error) {
	if id == "" {
		return account.Account{}, fault.ErrNotFound
	}
	if a, ok := db.memoOf(ctx).account(id); ok {
		return a, nil
	}
	return db.account(ctx, "SELECT "+accountColumns+", k.sealed, p.contacts FROM accounts a"+joinBeside+" WHERE a.id = ?", string(id))
}

// AccountByNationalID finds an account by the blind index of the number it has now; fault.ErrNotFound.
func (db *DB) AccountByNationalID(ctx context.Context, n account.NationalID) (account.Account, error) {
	if n == "" {
		return account.Account{}, fault.ErrNotFound
	}
	return db.account(ctx, "SELECT "+accountColumns+", k.sealed, p.contacts FROM people p JOIN accounts a ON a.id = p.account_id "+
		"LEFT JOIN person_keys k ON k.account_id = a.id WHERE p.national_id = ?", db.numberIndex(n))
}

// numberIndex is the blind index of an ID number.
func (db *DB) numberIndex(n account.NationalID) []byte {
	return db.keys().Index("people.national_id", string(n))
}

// account also brings along the person's key and contacts, so that what follows in the request needs no read of its own.
func (db *DB) account(ctx context.Context, query string, arg any) (account.Account, error) {
	var b beside
	if err := db.row(ctx, "read account", query, []any{arg}, into(b.dest()...)); err != nil {
		return account.Account{}, err
	}
	db.learn(ctx, &b)
	return b.account(), nil
}

// UpdateAccount writes a if its Version is still the stored one; else fault.ErrConflict.
func (db *DB) UpdateAccount(ctx context.Context, a account.Account) error {
	if a.ID == "" {
		return errEmpty("account id")
	}
	forget(ctx, a.ID)
	r := rowOf(a)
	n, err := db.exec(ctx, "update account", "UPDATE accounts SET state = ?, ceiling = ?, two_factor = ?, two_factor_since = ?, locale = ?, closed_firsts = ?, version = version + 1 "+
		"WHERE id = ? AND version = ?", r.State, r.Ceiling, r.TwoFactor, r.TwoFactorSince, r.Locale, r.ClosedFirsts, r.ID, r.Version)
	return one(n, err)
}

// one is fault.ErrConflict unless exactly one row changed.
func one(n int64, err error) error {
	if err == nil && n != 1 {
		return fault.ErrConflict
	}
	return err
}

// Person returns what the registry says of an account; fault.ErrNotFound.
func (db *DB) Person(ctx context.Context, id account.ID) (account.Person, error) {
	var p account.Person
	if id == "" {
		return p, fault.ErrNotFound
	}
	var sealed []byte
	if err := db.row(ctx, "read person", "SELECT data FROM people WHERE account_id = ?", []any{string(id)}, into(&sealed)); err != nil {
		return p, err
	}
	return p, db.unsealJSON("people.data", string(id), sealed, &p)
}

// contactsJSON is contact.Contacts as stored.
type contactsJSON struct {
	Phone      string        `json:"phone,omitempty"`
	Grade      contact.Grade `json:"grade,omitempty"`
	VerifiedAt int64         `json:"verified_at,omitempty"`
	Email      string        `json:"email,omitempty"`
	Verified   bool          `json:"email_verified,omitempty"`

	How       string   `json:"how,omitempty"`
	Operator  string   `json:"operator,omitempty"`
	Lines     []string `json:"lines,omitempty"`
	BlockedAt int64    `json:"blocked_at,omitempty"`
	SwappedAt int64    `json:"swapped_at,omitempty"`
	TrustedAt int64    `json:"trusted_at,omitempty"`

	EmailAt  int64  `json:"email_verified_at,omitempty"`
	NewEmail string `json:"new_email,omitempty"`
	OldPhone string `json:"old_phone,omitempty"`
	OldEmail string `json:"old_email,omitempty"`
	OldUntil int64  `json:"old_until,omitempty"`

	ResetBoth bool `json:"reset_both,omitempty"`

	NewPhone *contactsJSON `json:"new_phone,omitempty"` // its phone members only
}

func phoneJSON(p contact.Phone) contactsJSON {
	return contactsJSON{Phone: p.Number, Grade: p.Grade, VerifiedAt: micros(p.VerifiedAt), How: p.How, Operator: p.Operator, Lines: p.Lines,
		BlockedAt: micros(p.BlockedAt), SwappedAt: micros(p.SwappedAt), TrustedAt: micros(p.TrustedAt)}
}

func (j contactsJSON) phone() contact.Phone {
	return contact.Phone{Number: j.Phone, Grade: j.Grade, VerifiedAt: moment(j.VerifiedAt), How: j.How, Operator: j.Operator, Lines: j.Lines,
		BlockedAt: moment(j.BlockedAt), SwappedAt: moment(j.SwappedAt), TrustedAt: moment(j.TrustedAt)}
}

// Contacts returns phone and e-mail; the zero Contacts for an account without any.
func (db *DB) Contacts(ctx context.Context, id account.ID) (contact.Contacts, error) {
	sealed, err := db.sealedContacts(ctx, id)
	if err != nil {
		return contact.Contacts{}, err
	}
	return db.unsealContacts(id, sealed)
}

// sealedContacts are the contacts as stored: each change seals them anew.
func (db *DB) sealedContacts(ctx context.Context, id account.ID) (sealed []byte, err error) {
	if id == "" {
		return nil, nil
	}
	if sealed, ok := db.memoOf(ctx).contactsOf(id); ok {
		return sealed, nil
	}
	err = db.row(ctx, "read contacts", "SELECT contacts FROM people WHERE account_id = ?", []any{string(id)}, into(&sealed))
	if errors.Is(err, fault.ErrNotFound) {
		return nil, nil
	}
	return sealed, err
}

// ChangeContacts reads, changes and writes the contacts in one transaction; see contact.Changer. The row is taken first, so that
// two changes at once follow one another.
func (db *DB) ChangeContacts(ctx context.Context, id account.ID, fn func(*contact.Contacts) error) error {
	if id == "" {
		return errEmpty("account id")
	}
	return db.Atomically(ctx, func(ctx context.Context) error {
		forget(ctx, id)
		var sealed []byte
		if err := db.row(ctx, "take contacts", "UPDATE people SET contacts = contacts WHERE account_id = ? RETURNING contacts", []any{string(id)}, into(&sealed)); err != nil {
			return err
		}
		c, err := db.unsealContacts(id, sealed)
		if err != nil {
			return err
		}
		if err := fn(&c); err != nil {
			return err
		}
		if sealed, err = db.sealContacts(id, c); err != nil {
			return err
		}
		return db.later(ctx, "change contacts", "UPDATE people SET contacts = ?, phone = ? WHERE account_id = ?", sealed, db.phoneIndex(c), string(id))
	})
}

func (db *DB) sealContacts(id account.ID, c contact.Contacts) ([]byte, error) {
	j := phoneJSON(c.Phone)
	j.Email, j.Verified, j.EmailAt, j.NewEmail = c.Email.Address, c.Email.Verified, micros(c.Email.VerifiedAt), c.NewEmail.Address
	j.OldPhone, j.OldEmail, j.OldUntil = c.OldPhone, c.OldEmail, micros(c.OldUntil)
	j.ResetBoth = c.ResetBoth
	if c.NewPhone.Number != "" {
		n := phoneJSON(c.NewPhone)
		j.NewPhone = &n
	}
	return db.sealJSON("people.contacts", string(id), j)
}

func (db *DB) unsealContacts(id account.ID, sealed []byte) (contact.Contacts, error) {
	var j contactsJSON
	if len(sealed) == 0 {
		return contact.Contacts{}, nil
	}
	if err := db.unsealJSON("people.contacts", string(id), sealed, &j); err != nil {
		return contact.Contacts{}, err
	}
	c := contact.Contacts{
		Phone: j.phone(), Email: contact.Email{Address: j.Email, Verified: j.Verified, VerifiedAt: moment(j.EmailAt)},
		NewEmail: contact.Email{Address: j.NewEmail}, OldPhone: j.OldPhone, OldEmail: j.OldEmail, OldUntil: moment(j.OldUntil),
		ResetBoth: j.ResetBoth,
	}
	if j.NewPhone != nil {
		c.NewPhone = j.NewPhone.phone()
	}
	return c, nil
}
