package password

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
)

// Change is a person's wish for a new password.
type Change struct {
	Account account.ID
	Old     string // the current one, as typed
	New     string
	// WithoutOld says that the session proves the person otherwise, by a strong first factor. It must be said; an empty
	// form field does not mean it.
	WithoutOld bool
	// Alone holds the new one to the rules for those without two-factor authentication, before that is switched off.
	Alone    bool
	Services []string // names of what is being entered, which the new one may not hold

	renews bool // a sign-in that owes a new one, or reminds of it
}

// Prepared is a new password that needs only to be written.
type Prepared struct {
	f   *Factor
	row factors.Credential // an ID and Version where there was one
}

// Prepare checks a change against the rules and hashes it, outside any transaction. A wrong Old is factors.ErrWrong,
// which the host counts as it counts at sign-in. Hashes: one for the old, one for the new, one for each past one.
func (f *Factor) Prepare(ctx context.Context, c Change) (*Prepared, error) {
	if err := f.Check(ctx, c); err != nil {
		return nil, err
	}
	release, err := f.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	old, found, err := f.read(ctx, c.Account)
	if err != nil {
		return nil, err
	}
	if err := f.mayChange(c, old, found); err != nil {
		return nil, err
	}
	next := record{}
	if found {
		if err := f.isNew(c, old); err != nil {
			return nil, err
		}
		next.Past = f.past(old)
	}
	row := old.Credential
	row.Account, row.Handle = c.Account, string(c.Account)
	row.ExpiresAt = time.Time{}
	if row.State != Closed {
		row.State = Active
	}
	return f.seal(row, next, c.New)
}

// Check is the part of Prepare that costs no hash: what cannot be right whoever asks, and the rules. The host asks it
// before it counts a try of the current password.
func (f *Factor) Check(ctx context.Context, c Change) error {
	if c.Account == "" {
		return errors.New("password: a change for nobody")
	}
	if !c.WithoutOld {
		if err := readable(c.Old, "password"); err != nil {
			return err
		}
		if equal(c.Old, c.New) {
			return fault.New(fault.Invalid, "password.rule.same").In("new_password")
		}
	}
	if err := writable(c.New); err != nil {
		return err
	}
	who, twoFactor, err := f.about(ctx, c.Account)
	if err != nil {
		return err
	}
	who.Services = append(slices.Clip(who.Services), c.Services...)
	if broken := f.profile.Broken(c.New, who, twoFactor && !c.Alone); len(broken) > 0 {
		return broken[0].fault()
	}
	return nil
}

// mayChange decides whether the one who asks may replace the stored password.
func (f *Factor) mayChange(c Change, old credential, found bool) error {
	if c.renews && !f.mayRenew(old, found) {
		return errMeanwhile(nil)
	}
	if c.WithoutOld {
		return nil
	}
	stored := f.dummy
	if found {
		stored = old.hash
	}
	ok, err := f.hasher.matches(stored, c.Account, c.Old)
	switch {
	case err != nil:
		return err
	case !ok || !found:
		return fault.Wrap(fault.Denied, "password.old_wrong", factors.ErrWrong).In("password")
	case old.State == Disabled || !old.usable(f.now()) && old.State != Closed:
		return fault.New(fault.Denied, "password.disabled") // the owner is signed in and may know
	}
	return nil
}

// mayRenew: a temporary password opens one change only. Who still stands on the change page in another browser when it
// happens, as a thief of the envelope might, is too late.
func (f *Factor) mayRenew(old credential, found bool) bool {
	return found && old.State != Disabled && (f.due(old, f.now()) || f.reminds(old, f.now()))
}

// isNew refuses the current password, and the past ones where the profile does.
func (f *Factor) isNew(c Change, old credential) error {
	var stored []string
	if c.WithoutOld {
		stored = append(stored, old.record.Hash)
	}
	for i, s := range append(stored, f.keep(old.Past)...) {
		h, err := parse(s)
		if err != nil {
			return err
		}
		same, err := f.hasher.matches(h, c.Account, c.New)
		if err != nil {
			return err
		}
		if same && i < len(stored) {
			return fault.New(fault.Invalid, "password.rule.same").In("new_password")
		}
		if same {
			return fault.New(fault.Invalid, "password.rule.past").With("n", f.profile.Past).In("new_password")
		}
	}
	return nil
}

// past is what the next password's record remembers: this one and those before it.
func (f *Factor) past(old credential) []string {
	if f.profile.Past == 0 || old.State == Temporary {
		return f.keep(old.Past)
	}
	return f.keep(append([]string{old.record.Hash}, old.Past...))
}

// keep cuts a list of past hashes to what, with the current one, the profile compares.
func (f *Factor) keep(past []string) []string { return past[:min(len(past), max(f.profile.Past-1, 0))] }

// Change is Prepare and Write, for a caller with nothing to commit beside it.
func (f *Factor) Change(ctx context.Context, c Change) error {
	p, err := f.Prepare(ctx, c)
	if err != nil {
		return err
	}
	return p.Write(ctx)
}

// Write stores the new password if nobody changed the old one since Prepare, else fault.Conflict. It is quick and may
// run, and run again, inside a transaction with the audit event and the end of other sessions.
func (p *Prepared) Write(ctx context.Context) (err error) {
	if p.row.ID == "" {
		_, err = p.f.kit.Credentials.Create(ctx, p.row)
	} else {
		err = p.f.kit.Credentials.Update(ctx, p.row)
	}
	if errors.Is(err, fault.ErrConflict) {
		return errMeanwhile(err)
	}
	return err
}

func errMeanwhile(err error) error {
	return fault.Wrap(fault.Conflict, "password.changed_meanwhile", err)
}

// PrepareSet makes ready a password given by the office or a file; it is not held to the rules, only to be hashable. A
// temporary one lives TemporaryLife and must be changed at its first use. Set opens what was closed or disabled.
func (f *Factor) PrepareSet(ctx context.Context, id account.ID, password string, temporary bool) (*Prepared, error) {
	if id == "" {
		return nil, errors.New("password: a password for nobody")
	}
	if err := writable(password); err != nil {
		return nil, err
	}
	release, err := f.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	old, found, err := f.read(ctx, id)
	if err != nil {
		return nil, err
	}
	next := record{}
	if found {
		next.Past = f.past(old)
	}
	row := old.Credential
	row.Account, row.Handle, row.State, row.ExpiresAt = id, string(id), Active, time.Time{}
	if temporary {
		row.State, row.ExpiresAt = Temporary, f.now().Add(TemporaryLife)
	}
	return f.seal(row, next, password)
}

// Set is PrepareSet and Write.
func (f *Factor) Set(ctx context.Context, id account.ID, password string, temporary bool) error {
	p, err := f.PrepareSet(ctx, id, password, temporary)
	if err != nil {
		return err
	}
	return p.Write(ctx)
}

// seal hashes the password into the record and the record into the row.
func (f *Factor) seal(row factors.Credential, r record, password string) (*Prepared, error) {
	h, err := f.hasher.make(row.Account, password)
	if err != nil {
		return nil, err
	}
	r.Hash = h.String()
	r.Long = length(password) >= NIST.Least
	r.ChangedAt = f.now()
	if row.ID == "" {
		row.CreatedAt = r.ChangedAt
	}
	if row.Data, err = json.Marshal(r); err != nil {
		return nil, err
	}
	return &Prepared{f: f, row: row}, nil
}

// Disable switches the person's password off; the host calls it when the count of wrong answers in a row reaches
// Info().Tries.Disable. Without a password, or with one that is off already, it does nothing. It may run inside the
// transaction of the audit event.
func (f *Factor) Disable(ctx context.Context, id account.ID) error {
	c, found, err := f.read(ctx, id)
	if err != nil || !found || c.State == Disabled {
		return err
	}
	c.State = Disabled
	return f.kit.Credentials.Update(ctx, c.Credential)
}

// Status is what the security page shows.
type Status struct {
	// State is Active, Temporary, Disabled, Closed, or "none", or "expired" for a temporary one whose time is over.
	State     string
	ChangedAt time.Time // zero with "none"
	ExpiresAt time.Time // zero but for a temporary one
	// Alone says that it may stand without two-factor authentication. Where it may not, switching that off must ask
	// for a new password first, held to the rules with TwoFactor false.
	Alone  bool
	Renew  bool // the profile wants a new one before the next sign-in completes
	Remind bool // the profile wants the person asked, who may keep the old one
}

// Describe reads a person's password status.
func (f *Factor) Describe(ctx context.Context, id account.ID) (Status, error) {
	c, found, err := f.read(ctx, id)
	if err != nil {
		return Status{}, err
	}
	if !found {
		return Status{State: None}, nil
	}
	now := f.now()
	s := Status{State: c.State, ChangedAt: c.ChangedAt, ExpiresAt: c.ExpiresAt,
		Alone: c.Long || f.profile.LeastTwoFactor == f.profile.Least,
		Renew: f.due(c, now), Remind: f.reminds(c, now)}
	if c.State == Temporary && !c.usable(now) {
		s.State = "expired"
	}
	return s, nil
}

// writable refuses a new password that could not be typed again: too long, not text, or with control characters.
func writable(password string) error {
	if err := readable(password, "new_password"); err != nil {
		return err
	}
	if !utf8.ValidString(password) {
		return fault.New(fault.Invalid, "password.characters").In("new_password")
	}
	for _, r := range password {
		if unicode.IsControl(r) {
			return fault.New(fault.Invalid, "password.characters").In("new_password")
		}
	}
	return nil
}
