package signin

import (
	"context"
	"errors"
	"slices"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/session"
)

// load gathers the facts and, on the first visit, decides about single sign-on.
func (f *Flow) load(ctx context.Context, t Transaction, v Visit) (*state, error) {
	return f.loadOnly(ctx, t, v, "")
}

// loadOnly asks no second factor but one whether it is available; "" = all are asked.
func (f *Flow) loadOnly(ctx context.Context, t Transaction, v Visit, second string) (*state, error) {
	s := &state{t: t, only: second}
	var err error
	if s.client, err = f.Client(ctx, t.Ask.Client); err != nil {
		return nil, err
	}
	if t.State != Open {
		return s, nil
	}
	if !t.Begun {
		if err := f.begin(ctx, s, v); err != nil {
			return nil, err
		}
	}
	return s, f.gather(ctx, s, v)
}

// begin adopts the living session of this browser, or decides that there is none to adopt.
func (f *Flow) begin(ctx context.Context, s *state, v Visit) error {
	s.t.Begun = true
	found, err := f.sessionOf(ctx, v)
	if err != nil {
		return err
	}
	s.session = found
	if found.ID != "" {
		a, err := f.Accounts.Account(ctx, found.Account)
		if err != nil && !errors.Is(err, fault.ErrNotFound) {
			return err
		}
		if proofs, ok := Adopt(s.t, found, a, s.client, s.client.Subject(f.Keys.Subject, a.ID), f.Now()); ok {
			s.account = a
			s.t.Account, s.t.Ceiling, s.t.Proofs, s.t.Adopted = a.ID, a.Ceiling, proofs, len(proofs)
			s.t.Session, s.t.SessionEnds = found.ID, found.ExpiresAt
		}
	}
	if s.t.Adopted > 0 { // else there is nothing to remember: the next visit would decide the same
		s.changed()
	}
	return nil
}

func (f *Flow) sessionOf(ctx context.Context, v Visit) (session.Session, error) {
	if v.Session == "" {
		return session.Session{}, nil
	}
	s, err := f.Sessions.SessionByToken(ctx, f.Keys.HashToken(v.Session))
	if errors.Is(err, fault.ErrNotFound) || (err == nil && !s.Alive(f.Now())) {
		return session.Session{}, nil
	}
	return s, err
}

// gather loads what the rules may ask of the person: nothing before a first factor, consent only where the client has it.
func (f *Flow) gather(ctx context.Context, s *state, v Visit) error {
	s.facts = Facts{Now: f.Now(), Client: s.client}
	f.firsts(s)
	if s.t.Account == "" {
		return nil
	}
	if s.account.ID == "" {
		a, err := f.Accounts.Account(ctx, s.t.Account)
		if err != nil && !errors.Is(err, fault.ErrNotFound) {
			return err
		}
		s.account = a
	}
	gone, err := f.left(ctx, s, v)
	if err != nil {
		return err
	}
	if gone || s.void() || f.closed(s) {
		s.t.Progress = Progress{Begun: true, Lang: s.t.Lang}
		s.account = account.Account{}
		s.changed()
		return nil
	}
	f.firsts(s) // of this person
	s.facts.Account = s.account
	s.facts.Subject = s.client.Subject(f.Keys.Subject, s.t.Account)
	if !has(s.t.Proofs, factors.Second) && (s.account.TwoFactor || max(s.t.Ask.Want, s.t.Ask.Must) > Reached(s.t.Proofs, s.account.Ceiling)) {
		f.seconds(ctx, s)
	}
	if s.client.Consent == "once" && !s.t.Consented {
		if s.facts.Consent, err = f.Consents.Consent(ctx, s.t.Account, s.client.ID); err != nil {
			return err
		}
	}
	return nil
}

// firsts finds the first factors that the client takes, and those of them that reach the highest level alone. What the person, once
// known, has closed is no way up.
func (f *Flow) firsts(s *state) {
	s.facts.Firsts, s.facts.Strong = nil, nil
	for _, x := range f.Factors.All(factors.First) {
		info := x.Info()
		if !s.client.TakesFirst(info.Name) {
			continue
		}
		s.facts.Firsts = append(s.facts.Firsts, info.Name)
		if info.Level >= acr.High && (s.account.ID == "" || !s.account.Closed.Has(info.Name, info.Shut)) {
			s.facts.Strong = append(s.facts.Strong, info.Name)
		}
	}
}

// void says that the person ended all sessions, or changed the password, after something was proven here: whoever parked a
// sign-in with a stolen password must not bring it to an end afterwards. What a living session brought along counts, and so does
// what was proven in the very sign-in that renewed the password. It is no comparison of times: the moment that is in the account was
// taken before it was written, perhaps by another clock, and what was proven in between would be let through.
func (s *state) void() bool {
	own, since := s.t.Proofs[min(s.t.Adopted, len(s.t.Proofs)):], s.account.ProofsSince
	switch {
	case len(own) == 0 || since.Equal(s.t.Since):
		return false
	case !s.t.Pinned: // proven at a replica of an older release, which does not note Since and compares times
		return since.After(s.t.Since) && slices.ContainsFunc(own, func(p factors.Proof) bool { return p.At.Before(since) })
	}
	return true
}

// left says that the session whose proofs were adopted ended meanwhile: nothing more is asked on its strength, and no code is sent.
func (f *Flow) left(ctx context.Context, s *state, v Visit) (bool, error) {
	if s.t.Adopted == 0 {
		return false, nil
	}
	if s.session.ID == "" {
		var err error
		if s.session, err = f.sessionOf(ctx, v); err != nil {
			return false, err
		}
	}
	return s.session.ID != s.t.Session, nil
}

// closed says that the person closed, meanwhile, the way that was just proven.
func (f *Flow) closed(s *state) bool {
	return slices.ContainsFunc(s.t.Proofs[min(s.t.Adopted, len(s.t.Proofs)):], func(p factors.Proof) bool {
		x := f.Factors.Get(p.Factor)
		return p.Stage == factors.First && s.account.Closed.Has(p.Factor, x != nil && x.Info().Shut)
	})
}

// seconds finds the second factors that suit the account. One that cannot tell is not offered; the others still are. One
// that yields to another that the person can use is not there at all: with a registered device no code goes out by SMS.
func (f *Flow) seconds(ctx context.Context, s *state) {
	var can []factors.Info
	for _, x := range f.Factors.All(factors.Second) {
		info := x.Info()
		if s.only != "" && info.Name != s.only || !follows(info, s.t.Proofs) {
			continue
		}
		if a, ok := x.(factors.Available); ok {
			yes, err := a.Available(ctx, s.t.Account)
			var h *factors.Hindrance
			switch {
			case errors.As(err, &h):
				s.facts.Hindered = append(s.facts.Hindered, h.Reason)
			case err != nil:
				f.log().ErrorContext(ctx, "factor cannot tell whether it is available", "factor", info.Name, "err", err)
			}
			if err != nil || !yes {
				continue
			}
		}
		can = append(can, info)
	}
	for _, info := range can {
		if slices.ContainsFunc(can, func(other factors.Info) bool { return slices.Contains(info.YieldsTo, other.Name) }) {
			continue
		}
		if !s.client.TakesSecond(info.Name) {
			s.facts.Refused = true
			continue
		}
		s.facts.Seconds = append(s.facts.Seconds, info.Name)
	}
}

// follows says whether a second factor is offered after the first one that was given; where none was, as for a change of
// one's own account, it is.
func follows(info factors.Info, proofs []factors.Proof) bool {
	i := slices.IndexFunc(proofs, func(p factors.Proof) bool { return p.Stage == factors.First })
	return info.After == nil || i < 0 || slices.ContainsFunc(proofs, func(p factors.Proof) bool {
		return p.Stage == factors.First && slices.Contains(info.After, p.Factor)
	})
}
