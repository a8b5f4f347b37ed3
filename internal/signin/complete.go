package signin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/failpoint"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/session"
)

// touchEvery is how exact the idle limit of a session is: within a minute a session in use is not written again.
const touchEvery = time.Minute

// complete lets the session stand and makes the transaction ready, in one commit. Plain single sign-on only moves the
// session's clock; every new proof gives the session a new token (OWASP ASVS 7.2.4: fixation), and another person in the same
// browser ends the session that was there.
func (f *Flow) complete(ctx context.Context, s *state, v Visit) (Outcome, error) {
	now := f.Now()
	if s.session.ID == "" {
		var err error
		if s.session, err = f.sessionOf(ctx, v); err != nil {
			return Outcome{}, err
		}
	}
	if s.t.Adopted > 0 && s.session.ID != s.t.Session {
		return Outcome{}, errSessionGone
	}
	t := s.t
	t.State = Ready
	if len(t.Proofs) == t.Adopted {
		if now.Sub(s.session.SeenAt) >= touchEvery {
			s.changed(func(ctx context.Context) error { return f.Sessions.TouchSession(ctx, t.Session, now) })
		}
		s.changed(func(ctx context.Context) error { return f.recordCompleted(ctx, s, &t, v, "") })
		err := f.commit(ctx, s, &t)
		if err == nil {
			s.t = t
		}
		return Outcome{}, err
	}
	t.Proofs = slices.Clone(t.Proofs) // what is not committed has not changed the transaction that the page may be shown for again
	for i := range t.Proofs {
		t.Proofs[i].Renew = t.Proofs[i].Renew && !t.Renewed
		t.Proofs[i].Remind = false // once
	}
	var found session.Session
	if !s.client.SSOIsolated {
		found = s.session
	}
	token, hash := f.Keys.NewToken()
	// Whoever comes without the second factor, to unblock a number, must not put a new date on a second factor of hours ago: the session
	// that was there makes room for a restricted one.
	raised := found.ID != "" && found.Account == t.Account && !Restricted(s.account, t.Proofs)
	stands := session.Session{ID: uuid.NewString(), Account: t.Account, Proofs: t.Proofs, CreatedAt: now, ExpiresAt: now.Add(session.Life)}
	if s.client.SSOIsolated {
		stands.Client = s.client.ID // its token goes to nobody: a client ends it by naming it in a hint
	}
	if raised {
		stands = found
		stands.Proofs = merge(found.Proofs, t.Proofs)
	}
	stands.Level, stands.SeenAt, stands.Network, stands.Agent = Reached(stands.Proofs, t.Ceiling), now, v.Network, v.Agent
	t.Session, t.SessionEnds = stands.ID, stands.ExpiresAt
	known := f.known(v, s.account)
	as := s.account // as the proofs were judged by it
	s.changed(func(ctx context.Context) error { return f.place(ctx, found, stands, raised, hash, as, v) },
		func(ctx context.Context) error { return f.recordCompleted(ctx, s, &t, v, known.news) },
		func(context.Context) error { return failpoint.Here("session-write") })
	err := f.commit(ctx, s, &t)
	if err != nil {
		return Outcome{}, err
	}
	s.t = t
	out := Outcome{SessionToken: token, Known: known.cookie}
	if Restricted(s.account, t.Proofs) { // whoever has the password only is not known
		out.Known = ""
	}
	if s.client.SSOIsolated {
		out.SessionToken = ""
	}
	return out, nil
}

// errSessionGone: the session whose proofs were adopted was ended meanwhile, perhaps from another device.
var errSessionGone = errors.New("the adopted session has ended")

// place writes the session that stands, while the account is as it was when it was judged; another person's session in this browser ends.
func (f *Flow) place(ctx context.Context, found, stands session.Session, raised bool, hash []byte, as account.Account, v Visit) error {
	if raised {
		return f.Sessions.RotateSession(ctx, stands, hash, as)
	}
	if err := f.Sessions.CreateSession(ctx, stands, hash, as); err != nil || found.ID == "" {
		return err
	}
	err := f.Sessions.EndSession(ctx, found.Account, found.ID, f.Now())
	if err != nil && !errors.Is(err, fault.ErrNotFound) {
		return err
	}
	// In the record of the one who was signed in, without a word about who came.
	ended := Transaction{Ask: Ask{Client: Self}, Progress: Progress{Account: found.Account, Session: found.ID}}
	return f.record(ctx, audit.SessionEnded, "ok", &ended, v, map[string]string{"reason": "replaced"})
}

// recordCompleted records a sign-in. news is "browser" or "place" where that is new to the person, who is told then.
func (f *Flow) recordCompleted(ctx context.Context, s *state, t *Transaction, v Visit, news string) error {
	details := map[string]string{
		"acr": Reached(t.Proofs, t.Ceiling).Short(), "amr": strings.Join(Methods(t.Proofs), " "), "service": s.client.DisplayName(""),
	}
	if news != "" {
		details[news] = "new"
	}
	return f.record(ctx, audit.SigninCompleted, "ok", t, v, details)
}

// Raised is a session that took one more proof outside of a sign-in. It belongs under a new token, as after every new proof.
func Raised(s session.Session, p factors.Proof, ceiling acr.Level, v Visit, now time.Time) session.Session {
	s.Proofs = merge(s.Proofs, []factors.Proof{p})
	s.Level, s.SeenAt, s.Network, s.Agent = Reached(s.Proofs, ceiling), now, v.Network, v.Agent
	return s
}

// merge adds the new proofs to those of the session; the newer proof of a factor replaces the older one.
func merge(old, added []factors.Proof) []factors.Proof {
	out := slices.Clone(added)
	for _, p := range old {
		if !slices.ContainsFunc(out, func(q factors.Proof) bool { return q.Factor == p.Factor }) {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b factors.Proof) int { return a.At.Compare(b.At) })
	return out
}
