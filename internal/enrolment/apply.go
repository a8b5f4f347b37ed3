package enrolment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
)

// Importer takes in people from files.
type Importer struct {
	Store Store
	Audit audit.Recorder
	// Password hashes a password for an account, outside any transaction; write stores it, inside one. It is not held to
	// the password rules.
	Password func(ctx context.Context, id account.ID, password string, temporary bool) (write func(context.Context) error, err error)
	Actor    string // of the audit events, "cli"
}

// Report says what Apply did, in the order of the file. It holds no personal data but account ids.
type Report struct{ Changes []Change }

// Change is what happened to one person.
type Change struct {
	Line    int
	Who     string // the number, masked
	ID      account.ID
	Created bool
	Members []string // what differs, by the members of the file; empty for an unchanged person
}

// newcomer is a person who had no account when the file was read, with the password ready to be written.
type newcomer struct {
	id    account.ID
	write func(context.Context) error
}

// Apply takes people in and writes what differs, all or nothing. It never deletes, and the second time it changes
// nothing: a password counts only for a person who is created by it.
func (i Importer) Apply(ctx context.Context, people []PersonFile, now time.Time) (Report, error) {
	now = now.UTC().Truncate(time.Microsecond)
	fresh := make([]newcomer, len(people))
	for n, p := range people {
		var err error
		if fresh[n], err = i.prepare(ctx, p, now); err != nil {
			return Report{}, err
		}
	}
	var report Report
	err := i.Store.Atomically(ctx, func(ctx context.Context) error {
		report = Report{} // the transaction may be tried again
		for n, p := range people {
			change, err := i.apply(ctx, p, fresh[n], now)
			if err != nil {
				return fmt.Errorf("line %d, %s: %w", p.Line, p.Masked(), err)
			}
			report.Changes = append(report.Changes, change)
		}
		return nil
	})
	if err != nil {
		return Report{}, err
	}
	return report, nil
}

// prepare gives a person without account an id and hashes the password: that takes time no transaction has.
func (i Importer) prepare(ctx context.Context, p PersonFile, now time.Time) (newcomer, error) {
	at := func(err error) error { return fmt.Errorf("line %d, %s: %w", p.Line, p.Masked(), err) }
	if p.Person.NationalID == "" {
		return newcomer{}, at(errors.New("a person without ID number"))
	}
	if born, err := time.Parse(time.DateOnly, p.Person.Birthdate); err == nil && born.After(now) {
		return newcomer{}, at(errors.New("birthdate lies in the future"))
	}
	_, err := i.Store.AccountByNationalID(ctx, p.Person.NationalID)
	switch {
	case err == nil:
		return newcomer{}, nil
	case !errors.Is(err, fault.ErrNotFound):
		return newcomer{}, at(err)
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return newcomer{}, at(err)
	}
	c := newcomer{id: account.ID(id.String())}
	if p.Password != "" {
		if c.write, err = i.Password(ctx, c.id, p.Password, p.Temporary); err != nil {
			return newcomer{}, at(err)
		}
	}
	return c, nil
}

var errMeanwhile = fault.Wrap(fault.Conflict, "", errors.New("somebody else changed the person at this moment, or another one has the ID number; try again"))

func (i Importer) apply(ctx context.Context, p PersonFile, c newcomer, now time.Time) (Change, error) {
	a, err := i.Store.AccountByNationalID(ctx, p.Person.NationalID)
	exists := err == nil
	if err != nil && !errors.Is(err, fault.ErrNotFound) {
		return Change{}, err
	}
	if exists != (c.id == "") {
		return Change{}, errMeanwhile
	}
	// Born from the registry, not from a bank: no level is out of reach.
	old := Record{Account: account.Account{ID: c.id, State: account.Active, Ceiling: acr.High, CreatedAt: now}}
	if exists {
		if old, err = i.Store.PersonRecord(ctx, a.ID, false); err != nil {
			return Change{}, err
		}
	}
	r, err := merge(p, old.Account, old.Contacts, now)
	if err != nil {
		return Change{}, err
	}
	if exists {
		if len(r.Differences(old)) == 0 {
			return Change{Line: p.Line, Who: p.Masked(), ID: a.ID}, nil
		}
		// A block of the SIM card, or whatever else was changed since it was read, must not be overwritten. Who changes nothing is not taken:
		// a file may be long, and who is taken waits for its end.
		if old, err = i.Store.PersonRecord(ctx, a.ID, true); err != nil {
			return Change{}, err
		}
		if r, err = merge(p, old.Account, old.Contacts, now); err != nil {
			return Change{}, err
		}
	}
	changed, created, err := i.Store.SavePerson(ctx, r)
	if errors.Is(err, fault.ErrConflict) {
		return Change{}, errMeanwhile
	}
	if err != nil {
		return Change{}, err
	}
	if created == exists {
		return Change{}, fault.ErrConflict
	}
	if created && c.write != nil {
		if err := c.write(ctx); err != nil {
			return Change{}, err
		}
	}
	if was, is := old.Contacts.Phone, r.Contacts.Phone; exists && (was.Number != is.Number || !was.VerifiedAt.Equal(is.VerifiedAt)) {
		if err := contact.Void(ctx, i.Store, r.Account.ID, now); err != nil {
			return Change{}, err
		}
	}
	change := Change{Line: p.Line, Who: p.Masked(), ID: r.Account.ID, Created: created, Members: changed}
	return change, i.record(ctx, change, old.Account.TwoFactor, r.Account.TwoFactor, now)
}

// merge is what is stored of a person after the file.
func merge(p PersonFile, a account.Account, held contact.Contacts, now time.Time) (Record, error) {
	r := Record{Account: a, Person: p.Person, Contacts: held}
	if p.Locale != "" {
		r.Account.Locale = p.Locale
	}
	if e := p.Contacts.Email; e.Address != "" && (e.Address != held.Email.Address || e.Verified != held.Email.Verified) {
		if e.Verified {
			e.VerifiedAt = now
		}
		r.Contacts.Email = e
	}
	if phone := p.Contacts.Phone; phone.Number != "" {
		r.Contacts.Phone = mergePhone(phone, held.Phone, now)
	}
	if p.TwoFactor != nil && *p.TwoFactor != a.TwoFactor {
		r.Account.TwoFactor, r.Account.TwoFactorSince = *p.TwoFactor, time.Time{}
		if *p.TwoFactor {
			r.Account.TwoFactorSince = now
		}
	}
	if r.Account.TwoFactor && r.Contacts.Phone.Grade != contact.IDVerified {
		return r, errors.New("two-factor authentication is on, and the file takes away the ID-verified phone it needs; keep phone_grade id_verified or write \"two_factor\": false")
	}
	return r, nil
}

// mergePhone: what the file says of another number or another grade replaces what is held, with its history; operator and lines
// of the same number are news of the operator, which take nothing away.
func mergePhone(said, held contact.Phone, now time.Time) contact.Phone {
	if said.Number == held.Number && said.Grade == held.Grade {
		if said.Operator != "" || said.Lines != nil {
			held.Operator, held.Lines = said.Operator, said.Lines
		}
		return held
	}
	if said.Grade != contact.Declared {
		said.VerifiedAt, said.How = now, contact.ByFile
	}
	return said
}

func (i Importer) record(ctx context.Context, c Change, before, after bool, now time.Time) error {
	if !c.Created && len(c.Members) == 0 {
		return nil
	}
	what := "changed"
	if c.Created {
		what = "created"
	}
	events := []audit.Event{{Name: audit.PersonApplied, Details: map[string]string{"change": what, "members": strings.Join(c.Members, " ")}}}
	if before != after {
		name := audit.TwoFactorOff
		if after {
			name = audit.TwoFactorOn
		}
		events = append(events, audit.Event{Name: name, Details: map[string]string{"by": "person apply"}})
	}
	for _, e := range events {
		e.At, e.Outcome, e.Actor, e.Subject = now, "ok", i.Actor, string(c.ID)
		if err := i.Audit.Record(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// WriteTo prints the report, without personal data.
func (r Report) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	for _, c := range r.Changes {
		switch {
		case c.Created:
			fmt.Fprintf(&b, "%s: created\n", c.Who)
		case len(c.Members) == 0:
			fmt.Fprintf(&b, "%s: unchanged\n", c.Who)
		default:
			fmt.Fprintf(&b, "%s: changed: %s\n", c.Who, strings.Join(slices.Sorted(slices.Values(c.Members)), ", "))
		}
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}
