package signin

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/fault"
)

// SelfAsk is what Kapi's own pages want of a sign-in.
type SelfAsk struct {
	Path   string        // where to go afterwards: "/me" or below, with its query, or "/app"
	Want   acr.Level     // None = whatever the person has
	MaxAge time.Duration // 0 = a living session is enough
	Anew   bool          // no session is: every step is taken again
}

// StartSelf begins a sign-in to Kapi's own pages. It refuses a path that leads elsewhere or could be read so.
func (f *Flow) StartSelf(ctx context.Context, a SelfAsk, v Visit) (Transaction, error) {
	path, ok := selfPath(a.Path)
	switch {
	case !ok: // whoever typed the address, not we: such as /me?\
		return Transaction{}, fault.New(fault.Invalid, "")
	case len(v.Browser) == 0:
		return Transaction{}, fault.New(fault.Internal, "")
	}
	back, err := json.Marshal(path)
	if err != nil {
		return Transaction{}, err
	}
	ask := Ask{Client: Self, Want: a.Want, Login: a.Anew, Return: back}
	if a.MaxAge > 0 {
		seconds := int64(a.MaxAge / time.Second)
		ask.MaxAge = &seconds
	}
	t := New(ask, v.Browser, f.Now())
	return t, f.Store.CreateTransaction(ctx, t)
}

// SelfEnd is how a sign-in to Kapi's own pages ended.
type SelfEnd struct {
	Path    string // where it was going
	Open    bool   // it has not ended: somebody is still signing in
	Refusal Refusal
}

// FinishSelf ends a sign-in to Kapi's own pages, once, for the browser that started it; a reload of a finished one says the
// same again, since nothing is given out here: the session stands already. Faults: those of Load.
func (f *Flow) FinishSelf(ctx context.Context, id string, v Visit) (SelfEnd, error) {
	t, err := f.Load(ctx, id, v)
	if err != nil {
		return SelfEnd{}, err
	}
	if t.Ask.Client != Self { // a client's sign-in must not be used up here
		return SelfEnd{}, fault.New(fault.Expired, "signin.expired")
	}
	var path string
	if err := json.Unmarshal(t.Ask.Return, &path); err != nil {
		return SelfEnd{}, err
	}
	path, ok := selfPath(path)
	if !ok {
		return SelfEnd{}, fault.New(fault.Internal, "")
	}
	end := SelfEnd{Path: path, Open: t.State == Open, Refusal: t.Refusal}
	if t.State == Ready || t.State == Refused {
		_, err := f.Store.FinishTransaction(ctx, id, v.Browser, f.Now())
		if err != nil && !errors.Is(err, fault.ErrNotFound) { // not found: a second tab was faster
			return SelfEnd{}, err
		}
	}
	return end, nil
}

// UnblockPath is the page on which a changed SIM card is confirmed: the only one that a restricted session is for.
const UnblockPath = "/me/unblock"

// unblocking says whether a sign-in to our own pages leads to UnblockPath.
func unblocking(a Ask) bool {
	var path string
	if json.Unmarshal(a.Return, &path) != nil {
		return false
	}
	path, _, _ = strings.Cut(path, "?")
	return path == UnblockPath || strings.HasPrefix(path, UnblockPath+"/")
}

// selfPath returns path if it is one of the citizen's own pages, in the form in which a browser reads it.
func selfPath(path string) (string, bool) {
	if len(path) > 1000 || strings.ContainsAny(path, "\\\r\n\t") {
		return "", false
	}
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Fragment != "" || strings.Contains(u.Path, "..") || strings.Contains(u.Path, "//") {
		return "", false
	}
	return path, u.Path == "/me" || u.Path == "/app" || strings.HasPrefix(u.Path, "/me/")
}

// Deed is a change of their own account that a signed-in person confirms with a second factor.
type Deed struct {
	Name    string          // of the change: a code for one is no good for another
	Purpose factors.Purpose //
	Account account.Account
	Session string // id
}

// Confirmers lists the second factors with which the person can confirm now, in the order to offer.
func (f *Flow) Confirmers(ctx context.Context, a account.Account) []string {
	s := &state{t: Transaction{Progress: Progress{Account: a.ID}}, account: a}
	if a.ID != "" {
		f.seconds(ctx, s)
	}
	return s.facts.Seconds
}

// BeginDeed shows a second factor for a change.
func (f *Flow) BeginDeed(ctx context.Context, d Deed, v Visit, factor string) (factors.Challenge, error) {
	s, x, err := f.deed(ctx, d, factor)
	if err != nil {
		return factors.Challenge{}, err
	}
	return x.Begin(caused(ctx, s, v), f.try(s, v, d.Account.ID))
}

// AgainDeed asks the factor to send once more.
func (f *Flow) AgainDeed(ctx context.Context, d Deed, v Visit, factor string) error {
	s, x, err := f.deed(ctx, d, factor)
	if err != nil {
		return err
	}
	r, ok := x.Factor.(factors.Resender)
	if !ok {
		return ErrNotOwed
	}
	try := f.try(s, v, d.Account.ID)
	try.Purpose = d.Purpose
	return r.Again(caused(ctx, s, v), try)
}

// ConfirmDeed lets the factor judge an answer, with the same counting, locks, least time and audit as at sign-in: guesses here
// and there are guesses at one thing. The change itself is the caller's, with the proof in hand.
func (f *Flow) ConfirmDeed(ctx context.Context, d Deed, v Visit, factor string, answer factors.Answer) (factors.Proof, error) {
	began := f.Now()
	s, x, err := f.deed(ctx, d, factor)
	if err != nil {
		return factors.Proof{}, err
	}
	who, err := f.who(ctx, s, v, x, answer)
	if err != nil {
		return factors.Proof{}, err
	}
	proof, err := f.judge(ctx, s, v, x, who, answer)
	f.rest(ctx, began, 0)
	if err != nil {
		return factors.Proof{}, err
	}
	return proof, f.Store.Atomically(ctx, func(ctx context.Context) error {
		if err := f.Throttle.Clear(ctx, who.keys...); err != nil {
			return err
		}
		return f.recordFactor(ctx, s, v, x, who, "ok")
	})
}

// deed makes the state that the steps of a sign-in work on, for a factor that is on offer.
func (f *Flow) deed(ctx context.Context, d Deed, factor string) (*state, purposed, error) {
	x := f.Factors.Get(factor)
	if x == nil || x.Info().Stage != factors.Second || d.Account.ID == "" || d.Session == "" {
		return nil, purposed{}, ErrNotOwed
	}
	if a, ok := x.(factors.Available); ok {
		can, err := a.Available(ctx, d.Account.ID)
		var h *factors.Hindrance
		switch {
		case errors.As(err, &h): // the factor has a sentence for it
		case err != nil:
			return nil, purposed{}, err
		case !can:
			return nil, purposed{}, ErrNotOwed
		}
	}
	client, err := f.Client(ctx, Self)
	if err != nil {
		return nil, purposed{}, err
	}
	t := Transaction{ID: d.Name + ":" + d.Session, Ask: Ask{Client: Self}, Progress: Progress{Account: d.Account.ID, Session: d.Session}}
	return &state{t: t, client: client, account: d.Account}, purposed{x, d.Purpose}, nil
}

// purposed asks a factor for another purpose than signing in.
type purposed struct {
	factors.Factor
	purpose factors.Purpose
}

func (x purposed) Begin(ctx context.Context, try factors.Try) (factors.Challenge, error) {
	try.Purpose = x.purpose
	return x.Factor.Begin(ctx, try)
}

func (x purposed) Verify(ctx context.Context, try factors.Try, answer factors.Answer) (factors.Proof, error) {
	try.Purpose = x.purpose
	return x.Factor.Verify(ctx, try, answer)
}
