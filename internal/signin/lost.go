package signin

import (
	"context"
	"slices"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
)

// Who has lost the registered device says so at the second step, with a code to the ID-verified phone, which is not offered as a
// second step beside a device. It proves nothing to this sign-in.
const (
	lostFactor = "device"
	lostProof  = "sms"
)

// MayLose says whether the step offers a registered device that can be said to be lost.
func (f *Flow) MayLose(step Step) bool {
	return step.Do == AskSecond && slices.Contains(step.Offers, lostFactor) && f.Factors.Get(lostProof) != nil
}

// lost loads a sign-in that waits for the registered device.
func (f *Flow) lost(ctx context.Context, t Transaction, v Visit) (*state, purposed, error) {
	s, err := f.load(ctx, t, v)
	if err != nil {
		return nil, purposed{}, err
	}
	if s.t.State != Open || !f.MayLose(Next(s.t, s.facts)) {
		return nil, purposed{}, ErrNotOwed
	}
	return s, purposed{f.Factors.Get(lostProof), factors.Lost}, nil
}

// Losing says whether the person may say here that the device is lost; ErrNotOwed if not.
func (f *Flow) Losing(ctx context.Context, t Transaction, v Visit) error {
	_, _, err := f.lost(ctx, t, v)
	return err
}

// BeginLost sends the code with which the loss is said.
func (f *Flow) BeginLost(ctx context.Context, t Transaction, v Visit) (factors.Challenge, error) {
	s, x, err := f.lost(ctx, t, v)
	if err != nil {
		return factors.Challenge{}, err
	}
	return x.Begin(caused(ctx, s, v), f.try(s, v, s.t.Account))
}

// AgainLost sends it once more.
func (f *Flow) AgainLost(ctx context.Context, t Transaction, v Visit) error {
	s, x, err := f.lost(ctx, t, v)
	if err != nil {
		return err
	}
	r, ok := x.Factor.(factors.Resender)
	if !ok {
		return ErrNotOwed
	}
	try := f.try(s, v, s.t.Account)
	try.Purpose = x.purpose
	return r.Again(caused(ctx, s, v), try)
}

// ConfirmLost judges the code, with the same counting, locks, least time and record as at sign-in, and returns whose device it is.
// What follows is the caller's; the sign-in stays where it is.
func (f *Flow) ConfirmLost(ctx context.Context, t Transaction, v Visit, answer factors.Answer) (account.ID, error) {
	began := f.Now()
	s, x, err := f.lost(ctx, t, v)
	if err != nil {
		return "", err
	}
	who, err := f.who(ctx, s, v, x, answer)
	if err != nil {
		return "", err
	}
	_, err = f.judge(ctx, s, v, x, who, answer)
	f.rest(ctx, began, 0)
	if err != nil {
		return "", err
	}
	return s.t.Account, f.Store.Atomically(ctx, func(ctx context.Context) error {
		if err := f.Throttle.Clear(ctx, who.keys...); err != nil {
			return err
		}
		return f.recordFactor(ctx, s, v, x, who, "ok")
	})
}
