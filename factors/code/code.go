package code

import (
	"cmp"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"slices"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/words"
)

// Numbers of a challenge (NIST SP 800-63B-4 §3.1.3.2 allows 10 minutes and 20 bits, which six digits are).
const (
	Life  = 5 * time.Minute
	Tries = 5

	firstWait = 30 * time.Second // before a second code; doubled by each one sent
	mostWait  = 2 * time.Minute
	// A code that lives shorter than this is not worth sending: who asks then waits for the end and gets a fresh one.
	leastLife = time.Minute

	// A message that has not left after this long is worth a word: its gateway hangs.
	usual = 2 * time.Second
)

//go:embed words.json
var files embed.FS

// Words are the sentences that all factors of this package share; they belong into the catalogue beside the factors' own.
func Words() fs.FS { return files }

// Way is one way for codes to reach a phone, made a factor by New.
type Way struct {
	// Info is the factor's; Tries and Counter are filled in: all codes go to one number, so their wrong answers are one count.
	Info factors.Info
	// Channels that this factor sends by. Of those that the number has (factors.Messenger.Lines) the best that is up is taken.
	Channels []string
	AMR      []string
	// Fallback says that the factor is offered while none of its channels is up: its page then says so.
	Fallback bool
	Pages    fs.FS // page.html and words.json
}

// Factor sends and compares codes.
type Factor struct {
	kit   factors.Kit
	way   Way
	words *words.Catalogue
}

// New returns the factor over its kit.
func New(kit factors.Kit, way Way) *Factor {
	c, err := words.Load(files)
	if err != nil {
		panic(err) // the words are part of the program: a test has read them
	}
	way.Info.Stage, way.Info.Counter = factors.Second, Counter
	// Ten wrong answers of a person lock for ten minutes, a hundred switch the factor off (ASVS 6.6.3).
	way.Info.Tries = factors.Tries{Free: 10, First: 10 * time.Minute, Most: 10 * time.Minute, Disable: 100}
	return &Factor{kit: kit, way: way, words: c}
}

// Counter is the name under which wrong codes of a number count, whichever channel brought them. A number that is proven anew is guessed
// anew.
const Counter = "sms"

// Pages holds page.html and words.json.
func (f *Factor) Pages() fs.FS { return f.way.Pages }

// Info is that of the way.
func (f *Factor) Info() factors.Info { return f.way.Info }

// Available says whether a code can reach the person's ID-verified phone by this way. A *factors.Hindrance says that the
// phone is there and may not be relied on now.
func (f *Factor) Available(ctx context.Context, id account.ID) (bool, error) {
	if id == "" {
		return false, nil
	}
	channel, up, err := f.channel(ctx, id)
	if err != nil || channel == "" || !up && !f.way.Fallback {
		return false, err
	}
	return true, f.kit.Phone.Trusted(ctx, id)
}

// channel chooses by which line a code goes: the best that the number has and that is up; where none is, the last one with up
// false; "" where the number has none of them.
func (f *Factor) channel(ctx context.Context, id account.ID) (channel string, up bool, err error) {
	lines, err := f.kit.Phone.Lines(ctx, id)
	if err != nil {
		return "", false, err
	}
	for _, line := range lines {
		if !slices.Contains(f.way.Channels, line) {
			continue
		}
		if channel = line; f.kit.Phone.Up(line) {
			return channel, true, nil
		}
	}
	return channel, false, nil
}

// trusted gives a hindrance its sentence: who comes here had the factor on offer a moment ago.
func (f *Factor) trusted(ctx context.Context, id account.ID) error {
	err := f.kit.Phone.Trusted(ctx, id)
	var h *factors.Hindrance
	switch {
	case !errors.As(err, &h):
		return err
	case h.Reason == factors.SIMUnknown:
		return fault.Wrap(fault.Unavailable, "code.sim_unknown", err)
	}
	return fault.Wrap(fault.Denied, "code.sim_changed", err)
}

// View is the data of page.html.
type View struct {
	Ending  string    // last two digits of the number
	Channel string    // by which the code went
	Open    bool      // a code was sent and may be entered
	Used    bool      // the code was used: whoever comes here again sent the form twice, or what followed was lost
	Until   time.Time // when Open: the end of its life
	Spent   bool      // all tries are used: only a new code helps
}

// memo is what a ticket remembers of the challenge besides the code.
type memo struct {
	Sends   int    `json:"sends"` // codes sent in a row, for the growing wait
	Channel string `json:"channel,omitempty"`
}

// challenge is a ticket that was found, with what follows from it.
type challenge struct {
	factors.Ticket
	memo
	foreign string // the id of one of somebody else that stands in the place of the person's; else ""
}

func (c challenge) left() int   { return Tries - c.Tries }
func (c challenge) spent() bool { return c.left() <= 0 }

// resend is when a further code may be asked for.
func (c challenge) resend() time.Time {
	at := c.CreatedAt.Add(min(firstWait<<min(c.Sends-1, 8), mostWait))
	if at.After(c.ExpiresAt) || !c.spent() && at.After(c.ExpiresAt.Add(-leastLife)) {
		return c.ExpiresAt
	}
	return at
}

// find returns the open challenge of the try; fault.ErrConflict, with nothing but its tries, if its code was used;
// fault.ErrNotFound if there is none.
func (f *Factor) find(ctx context.Context, try factors.Try) (challenge, error) {
	t, err := f.kit.Tickets.Find(ctx, try.Binding, try.Purpose)
	if err != nil {
		return challenge{Ticket: t}, err
	}
	c := challenge{Ticket: t}
	if err := json.Unmarshal(t.Data, &c.memo); err != nil {
		return challenge{}, fmt.Errorf("code: ticket %s: %w", t.ID, err)
	}
	if t.Account != try.Account || try.Account == "" {
		return challenge{foreign: t.ID}, fault.ErrNotFound
	}
	return c, nil
}

// Begin sends the first code of a challenge, or shows the one that is open. While no gateway is up it says so and sends
// nothing.
func (f *Factor) Begin(ctx context.Context, try factors.Try) (factors.Challenge, error) {
	ending, ok, err := f.kit.Phone.Ending(ctx, try.Account)
	if err != nil {
		return factors.Challenge{}, err
	}
	channel, up, err := f.channel(ctx, try.Account)
	if err != nil {
		return factors.Challenge{}, err
	}
	if !ok || try.Account == "" || channel == "" {
		return factors.Challenge{}, fault.New(fault.Denied, "code.no_phone")
	}
	if err := f.trusted(ctx, try.Account); err != nil {
		return factors.Challenge{}, err
	}
	c, err := f.find(ctx, try)
	late := false
	switch {
	case errors.Is(err, fault.ErrNotFound) && up:
		if c, err = f.open(ctx, try, c, channel); errors.Is(err, fault.ErrConflict) {
			c, err = f.find(ctx, try) // the page was asked for twice at once: the other one has sent
		}
	case err == nil && up && f.now().Sub(c.CreatedAt) >= usual:
		late, err = f.kit.Tickets.Late(ctx, c.ID)
	}
	switch {
	case errors.Is(err, fault.ErrConflict): // a second code would reach somebody who is through already
		return show(&factors.Page{Data: View{Ending: ending, Used: true}, Resend: f.now()}), nil
	case errors.Is(err, fault.ErrNotFound):
		return show(&factors.Page{Data: View{Ending: ending}, Trouble: "code.down", Resend: f.now()}), nil
	case err != nil && fault.KindOf(err) == fault.Throttled:
		return show(&factors.Page{
			Data: View{Ending: ending}, Trouble: "code.limit", Resend: f.now().Add(fault.Of(err).RetryAfter),
		}), nil
	case err != nil:
		return factors.Challenge{}, err
	}
	page := &factors.Page{
		Data:   View{Ending: ending, Channel: c.Channel, Open: !c.spent(), Until: c.ExpiresAt, Spent: c.spent()},
		Resend: c.resend(),
	}
	switch {
	case !up:
		page.Trouble = "code.down"
	case late:
		page.Trouble = "code.late"
	}
	return show(page), nil
}

func show(p *factors.Page) factors.Challenge { return factors.Challenge{Page: p} }

// Again sends a further code. It refuses while the wait is not over, while no gateway is up, and beyond the limits of the
// person and the network.
func (f *Factor) Again(ctx context.Context, try factors.Try) error {
	channel, up, err := f.channel(ctx, try.Account)
	switch {
	case err != nil:
		return err
	case channel == "" || try.Account == "":
		return fault.New(fault.Denied, "code.no_phone")
	case !up:
		return fault.New(fault.Unavailable, "code.down")
	}
	if err := f.trusted(ctx, try.Account); err != nil {
		return err
	}
	old, err := f.find(ctx, try)
	switch {
	case errors.Is(err, fault.ErrNotFound):
	case errors.Is(err, fault.ErrConflict): // somebody typed the right one, and what followed was lost; or it was closed from elsewhere
	case err != nil:
		return err
	default:
		if wait := old.resend().Sub(f.now()); wait > 0 {
			return fault.New(fault.Throttled, "code.wait").With("n", seconds(wait)).After(wait)
		}
	}
	_, err = f.open(ctx, try, old, channel)
	if errors.Is(err, fault.ErrConflict) {
		return nil // asked twice at once: the other one has sent
	}
	return err
}

// open sends a code: the first of a challenge when old is zero or spent, else the next one of the challenge that old is
// of. fault.Throttled beyond the limits; fault.ErrConflict if old was replaced or used meanwhile.
func (f *Factor) open(ctx context.Context, try factors.Try, old challenge, channel string) (challenge, error) {
	deed, err := f.deed(ctx, try)
	if err != nil {
		return challenge{}, err
	}
	if err := f.kit.Phone.Allow(ctx, try.Account, try.Network); err != nil {
		return challenge{}, Limited(err)
	}
	now := f.now()
	c := challenge{memo: memo{Sends: old.Sends + 1, Channel: channel}}
	c.Ticket = factors.Ticket{
		Binding: try.Binding, Purpose: try.Purpose, Account: try.Account, CreatedAt: now, ExpiresAt: now.Add(Life),
	}
	code, err := NewCode()
	if err != nil {
		return challenge{}, err
	}
	c.Secret = f.mac(try, code)
	if c.Data, err = json.Marshal(c.memo); err != nil {
		return challenge{}, err
	}
	put := func(ctx context.Context) error {
		ticket := c.Ticket
		if !old.spent() { // tries on earlier codes of the challenge count
			ticket.Tries = old.Tries
			if old.ID != "" {
				ticket.ExpiresAt = old.ExpiresAt
			}
		}
		ticket, err := f.kit.Tickets.Open(ctx, ticket, &factors.Message{
			Account: try.Account, Channel: channel, Text: f.text(try, deed, code, ticket.ExpiresAt.Sub(now)), Deadline: ticket.ExpiresAt,
			Binding: try.Binding, Network: try.Network,
		})
		c.Ticket = ticket
		return err
	}
	before := cmp.Or(old.ID, old.foreign)
	if before == "" {
		c.Replaces = cmp.Or(old.Replaces, factors.Nothing)
		err = put(ctx)
	} else {
		c.Replaces = before
		err = f.kit.Atomically(ctx, func(ctx context.Context) error {
			// Closed before its count is read, the old code leaves no moment at which both could be guessed, and no try is lost that came
			// while this one was on its way.
			if err := f.kit.Tickets.Use(ctx, before); err != nil {
				return err
			}
			if old.foreign != "" { // who was somebody else a moment ago has no code yet
				return put(ctx)
			}
			closed, err := f.kit.Tickets.Find(ctx, try.Binding, try.Purpose)
			if err != nil && !errors.Is(err, fault.ErrConflict) {
				return err
			}
			old.Tries = closed.Tries
			return put(ctx)
		})
	}
	if err == nil {
		err = failpoint.Here("code-stored")
	}
	return c, err
}

// Limited gives a refusal by a limit its sentence.
func Limited(err error) error {
	e := fault.Of(err)
	if e.Kind != fault.Throttled {
		return err
	}
	if e.RetryAfter > 2*time.Hour {
		return fault.Wrap(fault.Throttled, "code.limit_hours", err).With("n", int(e.RetryAfter/time.Hour)+1).After(e.RetryAfter)
	}
	return fault.Wrap(fault.Throttled, "code.limit_minutes", err).With("n", int(e.RetryAfter/time.Minute)+1).After(e.RetryAfter)
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// Readable refuses what is no code before a try is counted.
func (f *Factor) Readable(answer factors.Answer) error {
	if _, ok := Normalise(answer.Get("code")); !ok {
		return fault.New(fault.Invalid, "code.format").In("code")
	}
	return nil
}

// Verify counts the try, compares, and uses the code up when it is right.
func (f *Factor) Verify(ctx context.Context, try factors.Try, answer factors.Answer) (factors.Proof, error) {
	code, ok := Normalise(answer.Get("code"))
	if !ok {
		return factors.Proof{}, fault.New(fault.Invalid, "code.format").In("code")
	}
	if err := f.trusted(ctx, try.Account); err != nil { // the SIM card may have been changed since the code was sent
		return factors.Proof{}, err
	}
	// Counted as it is compared: of a thousand guesses at once five are compared, and one is right (row S1).
	t, right, err := f.kit.Tickets.Answer(ctx, try.Binding, try.Purpose, try.Account, f.mac(try, code), Tries)
	if errors.Is(err, fault.ErrNotFound) {
		c, err := f.find(ctx, try)
		if err == nil && c.spent() {
			err = fault.New(fault.Denied, "code.spent").In("code")
		}
		if err == nil {
			err = fault.ErrNotFound // a new one was sent this moment, and this code is of the one before
		}
		return factors.Proof{}, over(err)
	}
	if err != nil {
		return factors.Proof{}, err
	}
	if !right {
		c := challenge{Ticket: t}
		if c.spent() {
			return factors.Proof{}, fault.Wrap(fault.Denied, "code.spent", factors.ErrWrong).In("code")
		}
		return factors.Proof{}, fault.Wrap(fault.Denied, "code.wrong", factors.ErrWrong).With("n", c.left()).In("code")
	}
	if err := failpoint.Here("code-right"); err != nil {
		return factors.Proof{}, err
	}
	return factors.Proof{
		Factor: f.way.Info.Name, Account: try.Account, Stage: factors.Second, Kinds: factors.Have, Channel: factors.Phone, Level: acr.Low,
		AMR: slices.Clone(f.way.AMR), At: f.now(),
	}, nil
}

// over says that there is no code to compare with: expired, replaced, or of another sign-in. One that was used is left as
// fault.ErrConflict: the form was sent twice, and the host shows what is owed now.
func over(err error) error {
	if errors.Is(err, fault.ErrNotFound) {
		return fault.New(fault.Expired, "code.expired").In("code")
	}
	return err
}

// mac binds a code to what it is for. The length of each part is part of the MAC (secret.Ring).
func (f *Factor) mac(try factors.Try, code string) []byte {
	return f.kit.Phone.MAC(f.way.Info.Name, string(try.Purpose), try.Binding, string(try.Account), code)
}

func (f *Factor) now() time.Time { return f.kit.Now().UTC().Truncate(time.Microsecond) }

// NewCode is uniform over the million codes.
func NewCode() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return "", fmt.Errorf("code: no randomness: %w", err)
	}
	return fmt.Sprintf("%06d", n), nil
}
