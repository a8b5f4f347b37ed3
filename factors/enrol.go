package factors

import (
	"context"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
)

// Enroller is an optional extra: what people set up for themselves. A factor that has it appears by itself on the page of
// security settings, with a page of its own at /me/security/NAME (manage.html). The host sees to a sign-in at the strongest level of
// the account within the last 15 minutes, to the record, and to notices on all channels.
//
// The pages of an Enroller besides page.html define "heading" and "factor-main"; their forms post to {{.Host.Path}}/ACT.
type Enroller interface {
	// Standing is one line of the overview. It has no side effects.
	Standing(ctx context.Context, id account.ID) (Standing, error)
	// Manage is the Data of manage.html.
	Manage(ctx context.Context, try Try) (Page, error)
	// Act judges a form that was posted to …/ACT; act is lower-case letters. It changes nothing by itself: what it wants
	// stored is Result.Commit. What a person can mend is a *fault.Error, shown on the page that Result.Template names, else on
	// manage.html. An act it does not know is fault.ErrNotFound.
	Act(ctx context.Context, try Try, act string, answer Answer) (Result, error)
}

// Standing says how it stands with a person and a factor.
type Standing struct {
	// On says that the person can sign in with it; Possible, that they could set it up. With neither, Why is the catalogue
	// key of the sentence that says what is missing.
	On       bool
	Possible bool
	Why      string
	Since    time.Time
	Used     time.Time // last; zero = never, or unknown
	// Key is the sentence of the line, such as "backup.left", with N in its place {n}, or Name in {name}; "" = on or off.
	Key  string
	N    int
	Name string
	Warn bool // it deserves attention, such as two codes left
}

// Result of an act.
type Result struct {
	// Template and Page are shown as the answer ("codes" = codes.html); "" = back to manage.html, which then says Done.
	Template string
	Page     Page
	Done     string // catalogue key of a sentence
	// Commit stores the change, together with the record of Event and its notices; nil = nothing changed. It may run twice.
	Commit  func(ctx context.Context) error
	Event   audit.Name
	Details map[string]string
}

// Dropper is an optional extra: what goes when two-factor authentication is switched off, such as a registered device or
// backup codes. It runs inside the transaction that switches off.
type Dropper interface {
	Drop(ctx context.Context, id account.ID) error
}

// Stopper is an optional extra: what ends when a person says that a sign-in was not theirs, such as requests that wait on the
// registered device; it also keeps quiet for a while. It runs inside the transaction that ends everything.
type Stopper interface {
	Stop(ctx context.Context, id account.ID) error
}

// Reacher is an optional extra: a factor that knows where a person's app is reached by push.
type Reacher interface {
	// Gone: a push service said that nobody is at an address any more, which Reach returned once. It runs beside requests and twice
	// at times.
	Gone(ctx context.Context, id account.ID, to string) error
	// Reach has no side effects. It is where a notice goes: notify.Message.To of the channel "push"; "" where none can arrive.
	Reach(ctx context.Context, id account.ID) (to string, err error)
}
