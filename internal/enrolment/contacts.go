package enrolment

import (
	"context"
	"embed"
	"io/fs"
	"net/mail"
	"strings"
	"time"
	"unicode"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/contact/simblock"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/internal/words"
)

//go:embed words.json
var files embed.FS

// ContactWords is the catalogue source of what is said about phone numbers and addresses.
func ContactWords() fs.FS { return files }

// OldLife is how long a number or address that was replaced is still told of what happens.
const OldLife = 24 * time.Hour

// Contacts changes a person's phone and e-mail, and proves that they are theirs. Each change commits with its record, from which
// the notices follow, to the old contact too.
type Contacts struct {
	Store    ContactStore
	Tickets  factors.Tickets // of "contact"
	Sender   ContactSender
	Throttle throttle.Store
	Holds    ContactHolds
	SIM      *simblock.Keeper
	Audit    audit.Recorder
	Words    *words.Catalogue
	MAC      func(parts ...string) []byte
	Box      Box
	Issuer   string // URL; links are built of it and of nothing else (row RC2)
	Wake     func() // the sender of messages
	Now      func() time.Time
	// Guesses is the counter of a person's wrong codes at sign-in, which a number that is proven to be theirs clears: after a hundred of
	// them codes are off until then (NIST SP 800-63B-4 §3.2.2).
	Guesses func(id account.ID) string
}

// ContactStore is what Contacts needs of the database.
type ContactStore interface {
	contact.Changer
	Atomically(ctx context.Context, fn func(context.Context) error) error
	Account(ctx context.Context, id account.ID) (account.Account, error)
	UpdateAccount(ctx context.Context, a account.Account) error // by version; else fault.ErrConflict
	AccountByNationalID(ctx context.Context, n account.NationalID) (account.Account, error)
	Person(ctx context.Context, id account.ID) (account.Person, error)
	Enqueue(ctx context.Context, m notify.Message) error
	contact.Voider
}

// ContactSender counts sends by number, address and network; *reach.Messenger does. fault.Throttled beyond the limits.
type ContactSender interface {
	AllowNumber(ctx context.Context, number, network string) error
	AllowAddress(ctx context.Context, address, network string) error
	Up(channel string) bool
}

// ContactHolds freezes changes after a recovery, and lets the old contact bring itself back; *Holds does.
type ContactHolds interface {
	Held(ctx context.Context, id account.ID, session acr.Level) error
	PhoneChanged(ctx context.Context, id account.ID, old contact.Phone, e audit.Event) error
	EmailChanged(ctx context.Context, id account.ID, old contact.Email, e audit.Event) error
}

// Box seals what travels in a link; *secret.Ring does.
type Box interface {
	Seal(place string, plain []byte) []byte
	Unseal(place string, sealed []byte) ([]byte, error)
}

// Repeat is what was remembered of a partner's transaction.
type Repeat struct {
	Digest  []byte // of the request
	Outcome string
}

// Asker is the signed-in person who asks for something.
type Asker struct {
	Account account.ID
	Session string // id: a code is good in the session that asked for it
	// Level is that of the first factor: High where the person signed in with a signature or a card. A second factor does not raise it:
	// a password and a code to the old phone are no proof of identity.
	Level   acr.Level
	Network string
	Lang    string
	Event   audit.Event // Session, Request, Network, Agent
}

func (a Asker) strong() bool { return a.Level >= acr.High }

// Strength is the level of the first factor among proofs.
func Strength(proofs []factors.Proof) acr.Level {
	level := acr.None
	for _, p := range proofs {
		if p.Stage == factors.First {
			level = max(level, p.Level)
		}
	}
	return level
}

// Identity is what a person types for safety before a contact changes (R58, R61).
type Identity struct {
	Kind       account.Kind
	NationalID string
	Birthdate  string // YYYY-MM-DD, or day, month, year
}

// identityTries: somebody with an open session of another must not learn a birthday by trying.
var identityTries = throttle.Ladder{Free: 5, First: 30 * time.Second, Most: time.Hour}

// Identify compares identity details with the record. The try is counted before.
func (c *Contacts) Identify(ctx context.Context, a Asker, i Identity) error {
	key := "contact:identity:" + string(a.Account)
	v, err := c.Throttle.Take(ctx, key, identityTries, c.now())
	if err != nil {
		return err
	}
	if !v.Allowed {
		wait := v.Until.Sub(c.now())
		return fault.New(fault.Throttled, "contact.identity_locked").With("n", int(wait/time.Minute)+1).After(wait).In("national_id")
	}
	p, err := c.Store.Person(ctx, a.Account)
	if err != nil {
		return err
	}
	n, err := account.ParseNationalID(i.NationalID)
	if err != nil || n != p.NationalID || i.Kind != p.Kind || p.Birthdate == "" || day(i.Birthdate) != p.Birthdate {
		return fault.New(fault.Denied, "contact.identity").In("national_id") // which part was wrong is not said
	}
	return c.Throttle.Clear(ctx, key)
}

// day reads a date as people write it.
func day(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsDigit(r) }), ".")
	for _, layout := range []string{"2006.01.02", "2.1.2006", "02.01.2006"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Format(time.DateOnly)
		}
	}
	return ""
}

// DeclarePhone notes a number. One that is proven stays in its place until the new one is as proven as it is.
func (c *Contacts) DeclarePhone(ctx context.Context, a Asker, typed string) error {
	number, err := contact.ParseNumber(typed)
	if err != nil {
		return fault.Wrap(fault.Invalid, "contact.number", err).In("phone")
	}
	return c.change(ctx, a, audit.PhoneDeclared, func(_ context.Context, k *contact.Contacts, _ time.Time) (map[string]string, error) {
		if number == k.Phone.Number || number == k.NewPhone.Number {
			return nil, fault.New(fault.Conflict, "contact.same_number").In("phone")
		}
		p := contact.Phone{Number: number, Grade: contact.Declared}
		if proven(k.Phone) {
			k.NewPhone = p
		} else {
			k.Phone, k.NewPhone = p, contact.Phone{}
		}
		return map[string]string{"ending": p.Ending()}, nil
	})
}

func proven(p contact.Phone) bool {
	return p.Number != "" && (p.Grade == contact.Verified || p.Grade == contact.IDVerified)
}

// pending is the number that waits for a code: the new one, else the one there is as far as more can be proven of it.
func pending(k *contact.Contacts) *contact.Phone {
	switch {
	case k.NewPhone.Number != "":
		return &k.NewPhone
	case k.Phone.Number != "" && k.Phone.Grade != contact.IDVerified:
		return &k.Phone
	}
	return nil
}

// verified takes a code that came back for what it shows: a verified number, or with a strong sign-in an ID-verified one (R141).
func (c *Contacts) phoneVerified(ctx context.Context, a Asker, number string) error {
	name, how, grade := audit.PhoneVerified, contact.ByCode, contact.Verified
	if a.strong() {
		name, how, grade = audit.PhoneIDVerified, contact.ByStrong, contact.IDVerified
	}
	return c.change(ctx, a, name, func(ctx context.Context, k *contact.Contacts, now time.Time) (map[string]string, error) {
		p := pending(k)
		if p == nil || p.Number != number {
			return nil, fault.New(fault.Conflict, "contact.nothing")
		}
		p.Grade, p.How, p.VerifiedAt = grade, how, now
		if grade == contact.IDVerified {
			if err := c.Throttle.Clear(ctx, c.Guesses(a.Account)); err != nil {
				return nil, err
			}
		}
		details := map[string]string{"how": how, "ending": p.Ending()}
		if p == &k.Phone || k.Phone.Grade == contact.IDVerified && grade != contact.IDVerified { // the old one stays the second factor
			return details, nil
		}
		return details, c.replacePhone(ctx, a, k, now)
	})
}

// replacePhone puts the new number in the place of the old one, which is told of it and can undo it for a day. Its codes are good for
// nothing any more, nor is what they proved in a sign-in or a recovery under way.
func (c *Contacts) replacePhone(ctx context.Context, a Asker, k *contact.Contacts, now time.Time) error {
	old := k.Phone
	k.Phone, k.NewPhone = k.NewPhone, contact.Phone{}
	if !proven(old) {
		return nil
	}
	retire(k, old, contact.Email{}, now)
	if err := c.Holds.PhoneChanged(ctx, a.Account, old, a.Event); err != nil {
		return err
	}
	return contact.Void(ctx, c.Store, a.Account, now)
}

// retire notes a number or an address that was replaced, which is told of what happens for a day. Of several in a day that is the first:
// a second change must not take it out of its owner's hands. One of another day may be somebody else's by now and is forgotten, since
// both have one term; and so may a number whose SIM card was changed.
func retire(k *contact.Contacts, phone contact.Phone, email contact.Email, now time.Time) {
	if !now.Before(k.OldUntil) {
		k.OldPhone, k.OldEmail = "", ""
	}
	if k.OldPhone == "" && phone.BlockedAt.IsZero() {
		k.OldPhone = phone.Number
	}
	if k.OldEmail == "" {
		k.OldEmail = email.Address
	}
	k.OldUntil = now.Add(OldLife)
}

// RemovePhone takes back a number that waits; without one, the number itself, unless two-factor authentication needs it.
func (c *Contacts) RemovePhone(ctx context.Context, a Asker) error {
	return c.change(ctx, a, audit.PhoneRemoved, func(ctx context.Context, k *contact.Contacts, now time.Time) (map[string]string, error) {
		gone := k.NewPhone
		switch {
		case gone.Number != "":
			k.NewPhone = contact.Phone{}
			return map[string]string{"ending": gone.Ending()}, nil
		case k.Phone.Number == "":
			return nil, fault.New(fault.Conflict, "contact.nothing")
		}
		me, err := c.Store.Account(ctx, a.Account)
		if err != nil {
			return nil, err
		}
		if me.TwoFactor {
			return nil, fault.New(fault.Denied, "contact.phone_needed")
		}
		// Its version moves, so that two-factor authentication is not switched on meanwhile on the strength of this number.
		if err := c.Store.UpdateAccount(ctx, me); err != nil {
			return nil, err
		}
		gone = k.Phone
		k.NewPhone = contact.Phone{}
		return map[string]string{"ending": gone.Ending()}, c.replacePhone(ctx, a, k, now)
	})
}

// mostAddress is RFC 5321 §4.5.3.1.3.
const mostAddress = 254

// DeclareEmail notes an address, beside a verified one until it is verified itself.
func (c *Contacts) DeclareEmail(ctx context.Context, a Asker, typed string) error {
	typed = strings.TrimSpace(typed)
	parsed, err := mail.ParseAddress(typed)
	if err != nil || parsed.Address != typed || len(typed) > mostAddress || strings.ContainsFunc(typed, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fault.New(fault.Invalid, "contact.address").In("email")
	}
	return c.change(ctx, a, audit.EmailDeclared, func(_ context.Context, k *contact.Contacts, _ time.Time) (map[string]string, error) {
		if strings.EqualFold(typed, k.Email.Address) || strings.EqualFold(typed, k.NewEmail.Address) {
			return nil, fault.New(fault.Conflict, "contact.same_address").In("email")
		}
		e := contact.Email{Address: typed}
		if k.Email.Verified {
			k.NewEmail = e
		} else {
			k.Email, k.NewEmail = e, contact.Email{}
		}
		return nil, nil
	})
}

func pendingEmail(k *contact.Contacts) *contact.Email {
	switch {
	case k.NewEmail.Address != "":
		return &k.NewEmail
	case k.Email.Address != "" && !k.Email.Verified:
		return &k.Email
	}
	return nil
}

func (c *Contacts) emailVerified(ctx context.Context, a Asker, address string) error {
	return c.change(ctx, a, audit.EmailVerified, func(ctx context.Context, k *contact.Contacts, now time.Time) (map[string]string, error) {
		e := pendingEmail(k)
		if e == nil || e.Address != address {
			return nil, fault.New(fault.Conflict, "contact.link")
		}
		e.Verified, e.VerifiedAt = true, now
		if e == &k.Email {
			return nil, nil
		}
		return nil, c.replaceEmail(ctx, a, k, now)
	})
}

func (c *Contacts) replaceEmail(ctx context.Context, a Asker, k *contact.Contacts, now time.Time) error {
	old := k.Email
	k.Email, k.NewEmail = k.NewEmail, contact.Email{}
	if !old.Verified {
		return nil
	}
	retire(k, contact.Phone{}, old, now)
	return c.Holds.EmailChanged(ctx, a.Account, old, a.Event)
}

// RemoveEmail takes back an address that waits; without one, the address itself.
func (c *Contacts) RemoveEmail(ctx context.Context, a Asker) error {
	return c.change(ctx, a, audit.EmailRemoved, func(ctx context.Context, k *contact.Contacts, now time.Time) (map[string]string, error) {
		switch {
		case k.NewEmail.Address != "":
			k.NewEmail = contact.Email{}
			return nil, nil
		case k.Email.Address == "":
			return nil, fault.New(fault.Conflict, "contact.nothing")
		}
		return nil, c.replaceEmail(ctx, a, k, now)
	})
}

// change applies fn to the contacts with its record, unless changes are on hold.
func (c *Contacts) change(ctx context.Context, a Asker, name audit.Name, fn func(ctx context.Context, k *contact.Contacts, now time.Time) (map[string]string, error)) error {
	if a.Account == "" {
		return fault.New(fault.Internal, "")
	}
	if err := c.Holds.Held(ctx, a.Account, a.Level); err != nil {
		return err
	}
	now := c.now()
	err := c.Store.Atomically(ctx, func(ctx context.Context) error {
		var details map[string]string
		err := c.Store.ChangeContacts(ctx, a.Account, func(k *contact.Contacts) (err error) {
			details, err = fn(ctx, k, now)
			return err
		})
		if err != nil {
			return err
		}
		e := a.Event
		e.At, e.Name, e.Outcome, e.Actor, e.Subject, e.Details = now, name, "ok", string(a.Account), string(a.Account), details
		return c.Audit.Record(ctx, e)
	})
	if err == nil {
		c.Wake()
	}
	return err
}

func (c *Contacts) now() time.Time { return c.Now().UTC().Truncate(time.Microsecond) }
