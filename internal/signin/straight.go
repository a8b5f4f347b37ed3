package signin

import "context"

// Straight ends a sign-in that shows no page in the very request that asked for it: the session of this browser satisfies every
// rule, or a rule is owed and nobody may be asked. The transaction, as New made it, is stored nowhere; the same rules decide over it,
// and end gives the answer in the one commit that also holds the session's use and the record of the sign-in. If end fails, nothing was
// written. Where no person is known the answer is a refusal, which is written nowhere and only end hears of.
//
// ended is false, and nothing was written either, where a person has to see a page: the transaction is to be stored as it was, and the
// pages decide afresh.
func (f *Flow) Straight(ctx context.Context, t Transaction, v Visit, end func(context.Context, Transaction) error) (ended bool, err error) {
	if v.Session == "" && !t.Ask.Silent {
		return false, nil
	}
	s, err := f.load(ctx, t, v)
	if err != nil {
		return false, err
	}
	step := Next(s.t, s.facts)
	switch {
	case step.Do == Refuse && s.t.Account == "":
		// Nobody is concerned, and anybody can ask, as often as they like: the record is kept for ever, so this is not for it.
		s.t.State, s.t.Refusal = Refused, step.Refusal
		err := end(ctx, s.t)
		return err == nil, err
	case step.Do != Complete && step.Do != Refuse:
		return false, nil
	}
	s.save = func(ctx context.Context, t Transaction) (int64, error) { return t.Version, end(ctx, t) }
	_, _, _, err = f.settle(ctx, s, v)
	return err == nil, err
}
