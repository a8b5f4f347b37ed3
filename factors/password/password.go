// Package password owns what a person knows by heart: hashing, comparing, the rules a new one is held to, and its
// states from the office envelope to a forced change. Enter with New; the pages change passwords with Prepare, the
// command line sets them with PrepareSet or Set. It refuses to say why an answer is wrong: unknown, wrong, closed, disabled and
// expired cost the same one hash and read the same; and it begins no hash without a slot, so that a flood of sign-ins
// cannot eat the machine. Counting tries, locks and the least time of an answer are the host's.
package password

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
)

// Name of the factor: its folder, and its row in the table of credentials.
const Name = "password"

// MaxBytes is the longest password, as typed and in UTF-8; longer is refused before anything is computed.
const MaxBytes = 1024

// TemporaryLife is how long an office password opens the change page.
const TemporaryLife = 30 * 24 * time.Hour

// States of a credential. None is what Describe says of a person without one.
const (
	None      = "none"
	Active    = "active"
	Temporary = "temporary" // from the office: opens only the change page
	Disabled  = "disabled"  // after too many wrong answers in a row; Set or a strong sign-in gives a new one
	Closed    = "closed"    // the person closed signing in with it
)

// nobody stands in for an unknown person, so that the same statement runs. No account has it: ids are random UUIDs.
const nobody account.ID = "00000000-0000-0000-0000-000000000000"

//go:embed page.html renew.html words.json
var pages embed.FS

// About says whose new password it is, for the rules: what an attacker would try first, and whether two-factor
// authentication is on.
type About func(ctx context.Context, id account.ID) (who Person, twoFactor bool, err error)

// Options of an installation. The zero value is the default: profile NIST, DefaultCost, one slot for each processor.
type Options struct {
	Profile Profile
	Cost    Cost
	Limits  Limits
	Hooks   Hooks
}

// Hooks tell the metrics and the tests; nil ones are not called.
type Hooks struct {
	Hashed  func()          // one Argon2id run begins
	Refused func()          // no slot came free: an answer of 503
	Rehash  func(err error) // a sign-in renewed a stored hash, or could not
}

// Factor is the password.
type Factor struct {
	kit     factors.Kit
	about   About
	profile Profile
	hasher  hasher
	slots   *slots
	hooks   Hooks
	dummy   hash
}

// New makes the factor; pepper is the installation's secret.Ring.
func New(kit factors.Kit, pepper Pepper, about About, o Options) (*Factor, error) {
	if o.Profile.Name == "" {
		o.Profile = NIST
	}
	if o.Cost == (Cost{}) {
		o.Cost = DefaultCost
	}
	if err := o.Cost.check(); err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	if o.Limits.Slots == 0 {
		o.Limits.Slots = runtime.GOMAXPROCS(0)
	}
	if o.Limits.Queue == 0 {
		o.Limits.Queue = 32 * o.Limits.Slots // about 0.8 s of hashing at 25 ms each
	}
	if o.Limits.Wait == 0 {
		o.Limits.Wait = 1500 * time.Millisecond
	}
	if o.Limits.Retry == 0 {
		o.Limits.Retry = 3 * time.Second
	}
	if o.Limits.Slots < 0 || o.Limits.Queue < 0 || o.Limits.Wait < 0 || o.Limits.Retry < 0 {
		return nil, errors.New("password: a negative limit")
	}
	f := &Factor{kit: kit, about: about, profile: o.Profile, slots: newSlots(o.Limits), hooks: o.Hooks}
	f.hasher = hasher{cost: o.Cost, pepper: pepper, purpose: "password", ran: func() {
		if f.hooks.Hashed != nil {
			f.hooks.Hashed()
		}
	}}
	f.dummy = f.hasher.dummy()
	return f, nil
}

// Info is the same for every installation.
func (f *Factor) Info() factors.Info {
	return factors.Info{Name: Name, Stage: factors.First, Order: 1,
		Tries: factors.Tries{Free: 5, First: 30 * time.Second, Most: time.Hour, Disable: 100}}
}

// Begin shows the two fields.
func (f *Factor) Begin(context.Context, factors.Try) (factors.Challenge, error) {
	return factors.Challenge{Page: &factors.Page{}}, nil
}

// Pages holds page.html, renew.html and words.json.
func (f *Factor) Pages() fs.FS { return pages }

// Slots is how many hashes are being computed, how many wait, and how many may be computed at once.
func (f *Factor) Slots() (inUse, queued, all int) {
	inUse, queued = f.slots.load()
	return inUse, queued, f.slots.limits.Slots
}

// record is the sealed part of a credential.
type record struct {
	Hash      string    `json:"hash"`
	Long      bool      `json:"long"`           // long enough to stand without two-factor authentication
	Past      []string  `json:"past,omitempty"` // hashes of earlier ones, newest first, where the profile forbids them
	ChangedAt time.Time `json:"changed"`
	KeptAt    time.Time `json:"kept,omitzero"` // the person was reminded then, and kept it
}

// Verify reads the field "password". Whatever the state, it runs one hash; a right answer may run a second one to bring
// an old hash to the present cost or pepper key.
func (f *Factor) Verify(ctx context.Context, try factors.Try, answer factors.Answer) (factors.Proof, error) {
	typed := answer.Get("password")
	if err := readable(typed, "password"); err != nil {
		return factors.Proof{}, err
	}
	who := try.Account
	if who == "" {
		who = nobody
	}
	release, err := f.slot(ctx)
	if err != nil {
		return factors.Proof{}, err
	}
	defer release()
	c, found, err := f.read(ctx, who) // after the wait, so that a password changed meanwhile is the old one
	if err != nil {
		return factors.Proof{}, err
	}
	now := f.now()
	stored, usable := f.dummy, false
	if found {
		stored, usable = c.hash, c.usable(now)
	}
	ok, err := f.hasher.matches(stored, who, typed)
	if err != nil {
		return factors.Proof{}, err
	}
	if !ok || !usable {
		return factors.Proof{}, factors.ErrWrong
	}
	if f.hasher.stale(stored) {
		f.rehash(ctx, c, typed)
	}
	if err := failpoint.Here("password-right"); err != nil {
		return factors.Proof{}, err
	}
	return factors.Proof{Factor: Name, Account: try.Account, Stage: factors.First, Kinds: factors.Know, Channel: factors.Here, Level: acr.Low,
		AMR: []string{"pwd"}, At: now, Renew: f.due(c, now), Remind: !f.due(c, now) && f.reminds(c, now)}, nil
}

// rehash writes the same password under the present cost and pepper key. The sign-in does not depend on it: whoever
// changed the row meanwhile was right, and what fails today is tried again at the next sign-in.
func (f *Factor) rehash(ctx context.Context, c credential, typed string) {
	h, err := f.hasher.make(c.Account, typed)
	if err == nil {
		c.record.Hash = h.String()
		c.Data, err = json.Marshal(c.record)
	}
	if err == nil {
		err = f.kit.Credentials.Update(ctx, c.Credential)
	}
	if f.hooks.Rehash != nil {
		f.hooks.Rehash(err)
	}
}

func (f *Factor) slot(ctx context.Context) (release func(), err error) {
	release, err = f.slots.take(ctx)
	if err != nil && f.hooks.Refused != nil {
		f.hooks.Refused()
	}
	return release, err
}

// credential is a stored one, opened.
type credential struct {
	factors.Credential
	record
	hash hash
}

// due says whether the right password still owes a new one.
func (f *Factor) due(c credential, now time.Time) bool {
	return c.State == Temporary || f.profile.renew(c.ChangedAt, now)
}

// reminds says whether the profile wants the person asked, who may keep it.
func (f *Factor) reminds(c credential, now time.Time) bool {
	since := c.ChangedAt
	if c.KeptAt.After(since) {
		since = c.KeptAt
	}
	return f.profile.remind(since, now)
}

func (c credential) usable(now time.Time) bool {
	return (c.State == Active || c.State == Temporary) && (c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt))
}

// read returns the person's password, one statement whether there is one or not.
func (f *Factor) read(ctx context.Context, id account.ID) (c credential, found bool, err error) {
	rows, err := f.kit.Credentials.Of(factors.Fresh(ctx), id) // whoever waited for a slot compares with what is stored now
	if err != nil || len(rows) == 0 {
		return c, false, err
	}
	c.Credential = rows[0] // the handle allows one for each person
	if err := json.Unmarshal(c.Data, &c.record); err != nil {
		return c, false, errors.New("password: the stored record cannot be read") // err would quote it
	}
	if c.hash, err = parse(c.record.Hash); err != nil {
		return c, false, err
	}
	return c, true, nil
}

// Readable refuses an empty or oversized answer before a try is counted.
func (f *Factor) Readable(answer factors.Answer) error {
	return readable(answer.Get("password"), "password")
}

// readable refuses what is not worth a hash, without looking at who is asking.
func readable(typed, field string) error {
	switch {
	case typed == "":
		return fault.New(fault.Invalid, "password.missing").In(field)
	case len(typed) > MaxBytes:
		return fault.New(fault.Invalid, "password.too_long").In(field)
	}
	return nil
}
