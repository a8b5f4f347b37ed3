package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
)

var _ enrolment.Store = (*DB)(nil)

// SavePerson creates or updates one person in one transaction; see enrolment.Store. A change of ID number keeps the
// account and closes the old number in its history.
func (db *DB) SavePerson(ctx context.Context, r enrolment.Record) (changed []string, created bool, err error) {
	if r.Account.ID == "" {
		return nil, false, errEmpty("account id")
	}
	forget(ctx, r.Account.ID)
	if r.Person.NationalID == "" {
		return nil, false, errEmpty("ID number")
	}
	err = db.Atomically(ctx, func(ctx context.Context) (err error) {
		changed, created = nil, false
		old, err := db.record(ctx, r.Account.ID)
		switch {
		case errors.Is(err, fault.ErrNotFound):
			created = true
			return db.createPerson(ctx, r)
		case err != nil:
			return err
		}
		if changed = r.Differences(old); len(changed) == 0 {
			return nil
		}
		return db.updatePerson(ctx, old, r)
	})
	if err != nil {
		return nil, false, err
	}
	return changed, created, nil
}

// PersonRecord reads what SavePerson writes; see enrolment.Store.
func (db *DB) PersonRecord(ctx context.Context, id account.ID, take bool) (enrolment.Record, error) {
	if id == "" {
		return enrolment.Record{}, fault.ErrNotFound
	}
	if take {
		if err := db.laterOne(ctx, "take person", "UPDATE people SET contacts = contacts WHERE account_id = ?", string(id)); err != nil {
			return enrolment.Record{}, err
		}
	}
	return db.record(ctx, id)
}

// record reads account, person and contacts in one statement.
func (db *DB) record(ctx context.Context, id account.ID) (enrolment.Record, error) {
	var a accountRow
	var person, contacts []byte
	if err := db.row(ctx, "read person record", "SELECT "+accountColumns+", p.data, p.contacts FROM accounts a LEFT JOIN people p ON p.account_id = a.id WHERE a.id = ?",
		[]any{string(id)}, into(append(a.dest(), &person, &contacts)...)); err != nil {
		return enrolment.Record{}, err
	}
	r := enrolment.Record{Account: a.account()}
	if len(person) == 0 {
		return r, fmt.Errorf("storage: the person of account %s was erased", id)
	}
	if err := db.unsealJSON("people.data", string(id), person, &r.Person); err != nil {
		return r, err
	}
	var err error
	r.Contacts, err = db.unsealContacts(id, contacts)
	return r, err
}

func (db *DB) createPerson(ctx context.Context, r enrolment.Record) error {
	if r.Account.CreatedAt.IsZero() {
		r.Account.CreatedAt = db.now()
	}
	a := rowOf(r.Account)
	if err := db.later(ctx, "create account", "INSERT INTO accounts (id, state, ceiling, two_factor, two_factor_since, locale, created_at, version) VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
		a.ID, a.State, a.Ceiling, a.TwoFactor, a.TwoFactorSince, a.Locale, a.CreatedAt); err != nil {
		return err
	}
	data, contacts, err := db.sealPerson(r.Account.ID, r.Person, r.Contacts)
	if err != nil {
		return err
	}
	if err := db.later(ctx, "create person", "INSERT INTO people (account_id, national_id, data, contacts, phone) VALUES (?, ?, ?, ?, ?)",
		a.ID, db.numberIndex(r.Person.NationalID), data, contacts, db.phoneIndex(r.Contacts)); err != nil {
		return err
	}
	if err := db.addNumber(ctx, r.Account.ID, r.Person.NationalID, r.Account.CreatedAt); err != nil {
		return err
	}
	key := secret.NewKey()
	if err := db.later(ctx, "create person key", "INSERT INTO person_keys (account_id, sealed, created_at) VALUES (?, ?, ?)",
		a.ID, db.keys().Seal("person_keys.sealed:"+a.ID, key), a.CreatedAt); err != nil {
		return err
	}
	return db.madePersonKey(ctx, r.Account.ID, key)
}

func (db *DB) sealPerson(id account.ID, p account.Person, c contact.Contacts) (data, contacts []byte, err error) {
	if data, err = db.sealJSON("people.data", string(id), p); err != nil {
		return nil, nil, err
	}
	contacts, err = db.sealContacts(id, c)
	return data, contacts, err
}

func (db *DB) updatePerson(ctx context.Context, old, r enrolment.Record) error {
	id := string(r.Account.ID)
	data, contacts, err := db.sealPerson(r.Account.ID, r.Person, r.Contacts)
	if err != nil {
		return err
	}
	if err := db.later(ctx, "update person", "UPDATE people SET national_id = ?, data = ?, contacts = ?, phone = ? WHERE account_id = ?",
		db.numberIndex(r.Person.NationalID), data, contacts, db.phoneIndex(r.Contacts), id); err != nil {
		return err
	}
	if old.Person.NationalID != r.Person.NationalID {
		now := db.now()
		if err := db.later(ctx, "close ID number", "UPDATE national_ids SET until_at = ? WHERE account_id = ? AND until_at = 0", micros(now), id); err != nil {
			return err
		}
		if err := db.addNumber(ctx, r.Account.ID, r.Person.NationalID, now); err != nil {
			return err
		}
	}
	was, is := old.Contacts.Phone, r.Contacts.Phone
	if old.Account.TwoFactor == r.Account.TwoFactor && old.Account.Locale == r.Account.Locale && was.Number == is.Number && was.Grade == is.Grade {
		return nil
	}
	since := r.Account.TwoFactorSince
	if old.Account.TwoFactor == r.Account.TwoFactor {
		since = old.Account.TwoFactorSince
	}
	// Of the version that r was made of, not the one that stands: whoever switched two-factor authentication meanwhile did so by the phone
	// that was there, and for good reason.
	n, err := db.exec(ctx, "update account", "UPDATE accounts SET two_factor = ?, two_factor_since = ?, locale = ?, version = version + 1 WHERE id = ? AND version = ?",
		flag(r.Account.TwoFactor), micros(since), r.Account.Locale, id, r.Account.Version)
	return one(n, err)
}

func (db *DB) addNumber(ctx context.Context, id account.ID, n account.NationalID, since time.Time) error {
	index := db.numberIndex(n)
	return db.later(ctx, "add ID number", "INSERT INTO national_ids (account_id, national_id, since_at, until_at, number) VALUES (?, ?, ?, 0, ?) "+
		"ON CONFLICT (account_id, national_id) DO UPDATE SET since_at = excluded.since_at, until_at = 0",
		string(id), index, micros(since), db.keys().Seal(fmt.Sprintf("national_ids.number:%s/%x", id, index[:8]), []byte(n)))
}
