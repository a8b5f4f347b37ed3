// Package factors is the contract of every way a person proves something: the password, the code that came by SMS, and
// all that follow. A factor is one folder below this one and one line in the list of cmd/kapi; the host (the sign-in and
// its pages) owns what all share: whose turn it is, counting tries, locks, equal work, expiry, audit and layout, so that
// no factor can forget them. Enter with Factor. The contract refuses to tell a factor more of a sign-in than Try carries,
// and to let it touch more than its Kit.
package factors

import (
	"cmp"
	"context"
	"io/fs"
	"net/http"
	"net/url"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
)

// Stage is the place of a factor in a sign-in.
type Stage uint8

const (
	First  Stage = iota + 1 // says who the person is
	Second                  // confirms a person who is known
)

// Kind is what a proof shows; a proof may show several (a card with its PIN is have and know).
type Kind uint8

const (
	Know Kind = 1 << iota
	Have
	Are
)

// Channels of a proof. Here is the browser the person sits at; every other line counts as a second channel.
const (
	Here  = "here"
	Phone = "phone"
)

// Info describes a factor. It is constant.
type Info struct {
	Name  string // the folder's name: in URLs, amr steps, counters, metrics and the catalogue ("factor.NAME")
	Stage Stage
	Order int // among its stage, lowest first
	Tries Tries
	// Counter is the name under which wrong answers count, where several factors share one count, such as codes that all go to
	// one number; "" = Name.
	Counter string
	// Shut: a first factor that is closed for everybody who has not opened it, such as online banking (R111).
	Shut bool
	// After names the first factors after which a second one is offered; nil = any.
	After []string
	// YieldsTo names the second factors in whose presence this one is not offered: who has a registered device gets no SMS.
	YieldsTo []string
	// Level is what a proof of a first factor reaches alone; the zero Level stands for Low. Who needs more than a first factor reaches
	// with a second one, which reaches Low alone, is led to a stronger first one.
	Level acr.Level
	// Signs: a proof of this first factor is the person's own signature, as by e-signature or mobile signature; a card that is read or a
	// bank's word is none. Only who signed may close or open the password (R69, R70).
	Signs bool
	// LastResort: it is linked from the page of every other second factor and never asked for first where there is another.
	LastResort bool
}

// CountedAs is the name under which wrong answers count.
func (i Info) CountedAs() string { return cmp.Or(i.Counter, i.Name) }

// Tries is how the host slows guessing of one person's factor: after Free wrong answers in a row every further one
// locks for First, doubling up to Most; at Disable in a row the factor is off until it is renewed. The zero Tries means
// no counting by the host.
type Tries struct {
	Free        int
	First, Most time.Duration
	Disable     int
}

// Factor is one way to prove something. Errors that a person can mend are *fault.Error with a catalogue key.
type Factor interface {
	Info() Info
	// Begin is asked when the person arrives at the factor and again on each reload; it says what happens next. It is
	// idempotent: a reload neither sends a second message nor changes what is being waited for.
	Begin(ctx context.Context, try Try) (Challenge, error)
	// Verify judges an answer. A wrong one is ErrWrong (or wraps it); only then does the host count a try as failed.
	// For an unknown account (Try.Account == "") a first factor does the same work and answers ErrWrong.
	Verify(ctx context.Context, try Try, answer Answer) (Proof, error)
	// Pages holds the factor's template page.html, its words.json, and optionally style.css and script.js.
	Pages() fs.FS
}

// Available is an optional extra: a second factor says whether this person can use it now, without side effects. What
// it cannot find out is no. First factors and factors without it are always available. A *Hindrance says that the person has
// the factor and why it cannot be used now.
type Available interface {
	Available(ctx context.Context, id account.ID) (bool, error)
}

// Hindrance is why a factor that a person has cannot be used now. The pages have a sentence and a way out for each Reason
// ("explain.REASON").
type Hindrance struct{ Reason string }

// Reasons of a Hindrance.
const (
	SIMChanged = "sim"      // the SIM card was changed: codes to the number may reach a stranger
	SIMUnknown = "operator" // the operator cannot say whether it was changed; unknown is never "not changed"
)

func (h *Hindrance) Error() string { return "cannot be used now: " + h.Reason }

// Waiter is an optional extra of a factor whose answer comes by another way than the page, such as an approval on a phone. The
// page asks every few seconds; Over is true once the answer is there, yes or no, and the page should be sent. It only reads.
type Waiter interface {
	Over(ctx context.Context, try Try) (bool, error)
}

// Mounter is an optional extra: endpoints for machines, such as an app on a phone, below /factors/NAME/, which is cut off the
// path. No cookie counts there: a request proves itself.
type Mounter interface {
	Endpoints() http.Handler
}

// Resender is an optional extra: POST …/again. It is refused by limits of its own.
type Resender interface {
	Again(ctx context.Context, try Try) error
}

// Reader is an optional extra: it says, before a try is counted, what cannot be an answer at all, such as an empty field.
// What it says must not depend on the person.
type Reader interface {
	Readable(answer Answer) error
}

// Renewer is an optional extra: a factor whose secret may have to be changed before a sign-in completes (Proof.Renew),
// such as an office password. Its Pages hold renew.html. What cannot stand as a new secret is a *fault.Error in the field.
type Renewer interface {
	RenewPage(ctx context.Context, try Try) (Page, error)
	// Renew checks and prepares the new secret, outside of any transaction. write stores it if nobody changed the old one since, else
	// fault.Conflict; it runs, and may run again, inside the transaction that records it and moves the sign-in on.
	Renew(ctx context.Context, try Try, answer Answer) (write func(context.Context) error, err error)
}

// Keeper is an optional extra of a Renewer that only reminds of a change (Proof.Remind): the person may keep the secret. Its renew.html
// then has a button of the name "keep".
type Keeper interface {
	Renewer
	// Keep notes that they do, so that the next sign-in does not remind them again; write is as that of Renew.
	Keep(ctx context.Context, try Try) (write func(context.Context) error, err error)
}

// Purpose is why a proof is asked for; a code for one purpose is no good for another.
type Purpose string

const (
	SignIn    Purpose = "signin"
	TwoFactor Purpose = "two_factor" // proving the phone when two-factor authentication is switched on
	Change    Purpose = "change"     // confirming a change of one's own account
	Enrol     Purpose = "enrol"      // setting up this factor
	Lost      Purpose = "lost"       // saying that the registered device is lost
	Recovery  Purpose = "recovery"   // a new password for a forgotten one
)

// Try is what a factor may know of the moment, and nothing else.
type Try struct {
	Binding string     // opaque: the transaction and browser this try belongs to
	Purpose Purpose    //
	Account account.ID // "" where a first factor meets an unknown person
	Service string     // the name of the service being entered, in Lang
	Origin  string     // host of the issuer, as shown
	Network string     // for limits: an IPv4 address or an IPv6 /64
	Place   string     // for showing: where that is, in Lang; the network where nobody knows
	Lang    string     // "tr" or "en"
	Agent   string     // the browser, as its User-Agent says; for showing
	Browser string     // opaque: the browser, the same for all that it tries while it keeps its cookies; "" = not known
	Known   bool       // this person has completed a sign-in in this browser before
	Proven  []Proof    // what the person's session was proven with; only where a factor is set up (Enroller)
	Want    acr.Level  // the level that the sign-in is after, beyond what was reached
	First   string     // name of the first factor that a second one follows; "" where none was given
	Person  string     // the person's name; only where a factor is set up (Enroller)
}

// Answer is the submitted form, each field once.
type Answer url.Values

// Get returns the field's value, "" if absent.
func (a Answer) Get(field string) string { return url.Values(a).Get(field) }

// Challenge says exactly one of: show a page, leave for another site, wait and ask again.
type Challenge struct {
	Page  *Page
	Leave string        // an absolute URL of another site
	Wait  time.Duration // the page refreshes itself after this long; with Page
}

// Page is data for the factor's own template page.html, and what the layout needs of it.
type Page struct {
	Data any // a struct of the factor's own
	// Resend, when not zero, is when Again may be asked; the layout of the step shows the link from then on.
	Resend time.Time
	// Trouble is a catalogue key shown above the form when the factor cannot do its work now (gateway down): the host
	// shows the other ways first.
	Trouble string
}

// Proof is a fact that happened and never changes.
type Proof struct {
	Factor  string     `json:"f"`
	Account account.ID `json:"a"`
	Stage   Stage      `json:"s"`
	Kinds   Kind       `json:"k"`
	Channel string     `json:"c"` // Here, or the line it came by
	Level   acr.Level  `json:"l"` // what it reaches alone: Low, or High for a card or signature
	AMR     []string   `json:"m"` // RFC 8176 values it stands for by itself, in order
	At      time.Time  `json:"t"`
	Renew   bool       `json:"r,omitempty"` // the secret must be changed before the sign-in may complete
	Remind  bool       `json:"d,omitempty"` // the person is asked to change it, once, and may keep it; the factor is a Keeper
}
