package signin

import (
	"context"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/throttle"
)

// Every answer to a first or second factor takes at least this long, plus jitter, so that the time tells nothing.
const (
	MinAnswer = 250 * time.Millisecond
	maxJitter = 85 * time.Millisecond
)

// pressure slows a network that tries a lot; it never blocks, since a whole village may sit behind one address. For IPv6 that
// is the /64 of a household, and the /48 around it, or who has been given one would have 65,536 households to try from.
var (
	pressure     = []throttle.Window{{N: 30, Per: time.Minute}}
	pressureWide = []throttle.Window{{N: 300, Per: time.Minute}}
	maxBrake     = 2 * time.Second
)

// ErrNotOwed says that the factor is not what is owed now: the pages show what is.
var ErrNotOwed = fault.New(fault.Conflict, "signin.not_owed")

// Begin shows a factor: a challenge if it is on offer now, ErrNotOwed otherwise.
func (f *Flow) Begin(ctx context.Context, t Transaction, v Visit, factor string) (factors.Challenge, Step, error) {
	s, x, step, err := f.offered(ctx, t, v, factor)
	if err != nil {
		return factors.Challenge{}, step, err
	}
	ch, err := x.Begin(caused(ctx, s, v), f.try(s, v, s.t.Account))
	return ch, step, err
}

// caused names whose request it is that lets a factor send something: the record has it, the factor does not learn it.
func caused(ctx context.Context, s *state, v Visit) context.Context {
	return audit.Caused(ctx, audit.Cause{Actor: string(s.t.Account), Client: s.t.Ask.Client, Session: s.t.Session, Request: v.Request})
}

// Again asks the factor to send once more.
func (f *Flow) Again(ctx context.Context, t Transaction, v Visit, factor string) error {
	s, x, _, err := f.offered(ctx, t, v, factor)
	if err != nil {
		return err
	}
	r, ok := x.(factors.Resender)
	if !ok {
		return ErrNotOwed
	}
	return r.Again(caused(ctx, s, v), f.try(s, v, s.t.Account))
}

// Over says whether the answer that the page waits for is there, so that the page should be sent. What is not on offer any
// more is over too: the page then leads to what is owed. A page asks every few seconds, so only this factor is asked whether it can be
// used, not the operator or a push service on behalf of the others.
func (f *Flow) Over(ctx context.Context, t Transaction, v Visit, factor string) (bool, error) {
	s, err := f.loadOnly(ctx, t, v, factor)
	if err != nil {
		return false, err
	}
	x, _, err := f.offers(s, factor)
	if err != nil {
		return true, nil
	}
	w, ok := x.(factors.Waiter)
	if !ok {
		return false, ErrNotOwed
	}
	return w.Over(ctx, f.try(s, v, s.t.Account))
}

// Answer lets the factor judge an answer. The try is counted before it is judged; a right one clears the count, joins
// the proofs together with its audit event, and what follows is settled at once. A wrong one is factors.ErrWrong, whatever
// was wrong with it, after the same work and the same time.
func (f *Flow) Answer(ctx context.Context, t Transaction, v Visit, factor string, answer factors.Answer) (Transaction, Step, Outcome, error) {
	began := f.Now()
	s, x, _, err := f.offered(ctx, t, v, factor)
	if err != nil {
		return t, Step{}, Outcome{}, err
	}
	who, err := f.who(ctx, s, v, x, answer)
	if err != nil {
		return t, Step{}, Outcome{}, err
	}
	proof, err := f.judge(ctx, s, v, x, who, answer)
	f.rest(ctx, began, who.brake)
	if err != nil {
		return t, Step{}, Outcome{}, err
	}
	s.t.Account, s.t.Pending = proof.Account, ""
	if len(s.t.Proofs) == s.t.Adopted { // the first thing proven here; what follows is void already if the moment moved
		s.t.Since, s.t.Pinned = who.account.ProofsSince, true
	}
	s.t.Proofs = append(slices.Clip(s.t.Proofs), proof)
	s.account = who.account
	s.t.Ceiling = s.account.Ceiling
	s.changed(func(ctx context.Context) error { return f.Throttle.Clear(ctx, who.keys...) }, func(ctx context.Context) error { return f.recordFactor(ctx, s, v, x, who, "ok") })
	if err := f.gather(ctx, s, v); err != nil {
		return t, Step{}, Outcome{}, err
	}
	return f.settle(ctx, s, v)
}

// offered loads the facts and returns the factor if the step that is owed offers it.
func (f *Flow) offered(ctx context.Context, t Transaction, v Visit, factor string) (*state, factors.Factor, Step, error) {
	s, err := f.load(ctx, t, v)
	if err != nil {
		return nil, nil, Step{}, err
	}
	x, step, err := f.offers(s, factor)
	return s, x, step, err
}

// offers returns the factor if the step that is owed offers it; else ErrNotOwed.
func (f *Flow) offers(s *state, factor string) (factors.Factor, Step, error) {
	if s.t.State != Open {
		return nil, Step{}, ErrNotOwed
	}
	step := Next(s.t, s.facts)
	x := f.Factors.Get(factor)
	if x == nil || !slices.Contains(step.Offers, factor) || (step.Do != AskFirst && step.Do != AskSecond) {
		return nil, step, ErrNotOwed
	}
	return x, step, nil
}

func (f *Flow) try(s *state, v Visit, id account.ID) factors.Try {
	first := ""
	if i := slices.IndexFunc(s.t.Proofs, func(p factors.Proof) bool { return p.Stage == factors.First }); i >= 0 {
		first = s.t.Proofs[i].Factor
	}
	return factors.Try{
		Binding: s.t.ID, Purpose: factors.SignIn, Account: id, Service: s.client.DisplayName(v.Lang), Origin: f.Origin,
		Network: v.Network, Place: f.where(v), Lang: v.Lang, Agent: v.Agent,
		Want: max(s.t.Ask.Want, s.t.Ask.Must), First: first,
		Browser: f.browser(v), Known: s.account.ID == id && f.knownDevice(v.Known, s.account) != "",
	}
}

// browser names the visiting browser to factors, without what its cookie says.
func (f *Flow) browser(v Visit) string {
	if len(v.Browser) == 0 {
		return ""
	}
	return hex.EncodeToString(f.Keys.Index("browser", string(v.Browser)))
}

// where is the visitor's network in words.
func (f *Flow) where(v Visit) string {
	if f.Place == nil || v.Network == "" {
		return v.Network
	}
	return f.Place(v.Network, v.Lang)
}

// who is whom an answer is about, and under which names its tries are counted.
type who struct {
	account account.Account // zero = unknown, closed, or not said
	shut    account.ID      // nobody may sign in so, since the person closed it: told, and otherwise as unknown
	keys    []string        // cleared by a right answer
	key     string          // counted
	brake   time.Duration   // asked of the pause, because of the network
}

// who resolves the person. A first factor that asks for an ID number says so by having the field in its form; unknown and closed
// accounts go on as nobody, and so does a person who closed this way to sign in, so that the factor does the same work for them.
// Tries are counted for the number, known or not; a browser that this person signed in with before has a count of its own, which a
// stranger's tries do not touch.
func (f *Flow) who(ctx context.Context, s *state, v Visit, x factors.Factor, answer factors.Answer) (who, error) {
	info := x.Info()
	var w who
	if info.Stage == factors.Second {
		w.account = s.account
		w.key = secondKey(info.CountedAs(), s.account.ID)
		w.keys = []string{w.key}
		return w, nil
	}
	n, err := account.ParseNationalID(answer.Get("national_id"))
	if err != nil {
		return w, err
	}
	person := firstKey(f.Keys, info.CountedAs(), n)
	w.key, w.keys = person, []string{person}
	a, err := f.Accounts.AccountByNationalID(ctx, n)
	switch {
	case errors.Is(err, fault.ErrNotFound):
	case err != nil:
		return w, err
	case a.State == account.Active && a.Closed.Has(info.Name, info.Shut):
		w.shut = a.ID
	case a.State == account.Active:
		w.account = a
	}
	if device := f.knownDevice(v.Known, a); device != "" {
		w.key = person + ":" + device
		w.keys = append(w.keys, w.key)
	}
	w.brake, err = f.slowed(ctx, v.Network)
	return w, err
}

// slowed counts a try of a network, and of the /48 around it, and says how long the answer waits because of them.
func (f *Flow) slowed(ctx context.Context, network string) (wait time.Duration, err error) {
	if network == "" {
		return 0, nil
	}
	if wait, err = f.Throttle.Hit(ctx, "network:"+network, pressure, f.Now()); err != nil {
		return 0, err
	}
	if p, err := netip.ParsePrefix(network); err == nil && p.Addr().Is6() && p.Bits() > 48 {
		wider, err := f.Throttle.Hit(ctx, "network:"+netip.PrefixFrom(p.Addr(), 48).Masked().String(), pressureWide, f.Now())
		if err != nil {
			return 0, err
		}
		wait = max(wait, wider)
	}
	return min(wait, maxBrake), nil
}

func firstKey(k Keys, factor string, n account.NationalID) string {
	return "first:" + factor + ":" + hex.EncodeToString(k.Index("throttle", string(n)))
}

func secondKey(factor string, id account.ID) string { return "second:" + factor + ":" + string(id) }

// TryKey is the counter of a person's tries with a second factor: what was renewed is guessed anew.
func TryKey(i factors.Info, id account.ID) string { return secondKey(i.CountedAs(), id) }

// TryKeys are the counters of a person's tries with any of the factors, for whoever lifts a lock on purpose. The counters of
// known browsers are not among them: they lock nobody but that browser.
func TryKeys(k Keys, r *factors.Registry, n account.NationalID, id account.ID) []string {
	var keys []string
	for _, f := range r.All(factors.First) {
		keys = append(keys, firstKey(k, f.Info().CountedAs(), n))
	}
	for _, f := range r.All(factors.Second) {
		keys = append(keys, secondKey(f.Info().CountedAs(), id))
	}
	return keys
}

// judge counts the try, then lets the factor compare. While the key rests a first factor does no work and reads like a
// wrong answer; a second factor, whose person is known, says how long.
func (f *Flow) judge(ctx context.Context, s *state, v Visit, x factors.Factor, w who, answer factors.Answer) (factors.Proof, error) {
	info := x.Info()
	if r, ok := x.(factors.Reader); ok { // locked or not, it reads the same
		if err := r.Readable(answer); err != nil {
			return factors.Proof{}, err
		}
	}
	if info.Tries != (factors.Tries{}) {
		verdict, err := f.Throttle.Take(ctx, w.key, throttle.Ladder(info.Tries), f.Now())
		if err != nil {
			return factors.Proof{}, err
		}
		if !verdict.Allowed {
			return factors.Proof{}, f.locked(ctx, s, v, x, w, verdict)
		}
	}
	if err := failpoint.Here("try-counted"); err != nil {
		return factors.Proof{}, err
	}
	proof, err := x.Verify(ctx, f.try(s, v, w.account.ID), answer)
	switch {
	case errors.Is(err, factors.ErrWrong):
		f.observe(s, x, "wrong")
		if recordErr := f.recordFactor(ctx, s, v, x, w, "wrong"); recordErr != nil {
			return proof, recordErr
		}
		return proof, err
	case err != nil: // nothing was compared
		if info.Tries != (factors.Tries{}) {
			err = errors.Join(err, f.Throttle.GiveBack(context.WithoutCancel(ctx), w.key))
		}
		return proof, err
	case proof.Account != w.account.ID || proof.Account == "" || proof.Factor != info.Name || proof.Stage != info.Stage:
		return proof, fault.New(fault.Internal, "") // a factor must not prove somebody else
	}
	f.observe(s, x, "ok")
	return proof, nil
}

func (f *Flow) locked(ctx context.Context, s *state, v Visit, x factors.Factor, w who, verdict throttle.Verdict) error {
	outcome := "locked"
	if verdict.Disabled {
		outcome = "disabled"
	}
	f.observe(s, x, outcome)
	if err := f.recordFactor(ctx, s, v, x, w, outcome); err != nil {
		return err
	}
	switch {
	case x.Info().Stage == factors.First:
		return factors.ErrWrong
	case verdict.Disabled:
		return fault.New(fault.Denied, "answer.disabled")
	}
	wait := verdict.Until.Sub(f.Now())
	return fault.New(fault.Throttled, "answer.locked").With("n", int(wait.Minutes())+1).After(wait)
}

// observe tells the metrics, outside of any transaction, which may run twice.
func (f *Flow) observe(s *state, x factors.Factor, outcome string) {
	if f.Observe != nil {
		f.Observe(Observation{Factor: x.Info().Name, Client: s.client.ID, Outcome: outcome})
	}
}

func (f *Flow) recordFactor(ctx context.Context, s *state, v Visit, x factors.Factor, w who, outcome string) error {
	info := x.Info()
	name := audit.SigninFirst
	if info.Stage == factors.Second {
		name = audit.SigninSecond
	}
	t := s.t
	t.Account = w.account.ID
	if w.shut != "" {
		t.Account, outcome = w.shut, "closed"
	}
	return f.record(ctx, name, outcome, &t, v, map[string]string{"factor": info.Name})
}

// rest asks the pause for what is missing to the minimum answer time.
func (f *Flow) rest(ctx context.Context, began time.Time, brake time.Duration) {
	jitter := time.Duration(rand.Int64N(int64(maxJitter)))
	if f.Jitter != nil {
		jitter = f.Jitter()
	}
	missing := MinAnswer + jitter + brake - f.Now().Sub(began)
	if missing <= 0 {
		return
	}
	if f.Pause != nil {
		f.Pause(ctx, missing)
		return
	}
	timer := time.NewTimer(missing)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
