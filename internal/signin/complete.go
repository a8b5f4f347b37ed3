package signin

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
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
		s.changed(func(ctx context.Context) error { return f.recordCompleted(ctx, s, &t, v) })
		err := f.commit(ctx, s, &t)
		if err == nil {
			s.t = t
		}
		return Outcome{}, err
	}
	for i := range t.Proofs {
		t.Proofs[i].Renew = t.Proofs[i].Renew && !t.Renewed
	}
	var found session.Session
	if !s.client.SSOIsolated {
		found = s.session
	}
	token, hash := f.Keys.NewToken()
	raised := found.ID != "" && found.Account == t.Account
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
	s.changed(func(ctx context.Context) error { return f.place(ctx, found, stands, raised, hash, v) },
		func(ctx context.Context) error { return f.recordCompleted(ctx, s, &t, v) },
		func(context.Context) error { return failpoint.Here("session-write") })
	err := f.commit(ctx, s, &t)
	if err != nil {
		return Outcome{}, err
	}
	s.t = t
	out := Outcome{SessionToken: token, Known: f.know(v.Known, s.account)}
	if s.client.SSOIsolated {
		out.SessionToken = ""
	}
	return out, nil
}

// errSessionGone: the session whose proofs were adopted was ended meanwhile, perhaps from another device.
var errSessionGone = errors.New("the adopted session has ended")

// place writes the session that stands; another person's session in this browser ends.
func (f *Flow) place(ctx context.Context, found, stands session.Session, raised bool, hash []byte, v Visit) error {
	if raised {
		return f.Sessions.RotateSession(ctx, stands, hash)
	}
	if found.ID != "" {
		err := f.Sessions.EndSession(ctx, found.Account, found.ID, f.Now())
		if err != nil && !errors.Is(err, fault.ErrNotFound) {
			return err
		}
		// In the record of the one who was signed in, without a word about who came.
		ended := Transaction{Ask: Ask{Client: Self}, Progress: Progress{Account: found.Account, Session: found.ID}}
		if err := f.record(ctx, audit.SessionEnded, "ok", &ended, v, map[string]string{"reason": "replaced"}); err != nil {
			return err
		}
	}
	return f.Sessions.CreateSession(ctx, stands, hash)
}

func (f *Flow) recordCompleted(ctx context.Context, s *state, t *Transaction, v Visit) error {
	return f.record(ctx, audit.SigninCompleted, "ok", t, v, map[string]string{
		"acr": Reached(t.Proofs, t.Ceiling).Short(), "amr": strings.Join(Methods(t.Proofs), " "), "service": s.client.DisplayName(""),
	})
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

// The known-device cookie is an id and up to maxKnown MACs, one for each person who completed a sign-in with this
// browser. It proves nothing to anybody: it only gives the browser a try counter of its own. When the password is changed or
// all sessions of the person are ended, the cookies that were given out before know nobody any more.
const maxKnown = 5

// Know returns the known-device cookie that the browser of a signed-in person should have, "" if it has it.
func (f *Flow) Know(ctx context.Context, id account.ID, v Visit) (string, error) {
	a, err := f.Accounts.Account(ctx, id)
	if err != nil {
		return "", err
	}
	return f.know(v.Known, a), nil
}

// knownDevice returns the device's id if the cookie knows the account, else "".
func (f *Flow) knownDevice(cookie string, a account.Account) string {
	device, macs := splitKnown(cookie)
	if device == "" || a.ID == "" {
		return ""
	}
	for _, m := range macs {
		if b, err := base64.RawURLEncoding.DecodeString(m); err == nil && f.Keys.CheckKnown(b, knownParts(device, a)...) {
			return device
		}
	}
	return ""
}

// know returns the cookie with the account added, "" if it is known already.
func (f *Flow) know(cookie string, a account.Account) string {
	if f.knownDevice(cookie, a) != "" {
		return ""
	}
	device, macs := splitKnown(cookie)
	if device == "" {
		token, _ := f.Keys.NewToken()
		device, macs = token[:22], nil
	}
	mac := base64.RawURLEncoding.EncodeToString(f.Keys.Known(knownParts(device, a)...))
	macs = append([]string{mac}, macs...)
	return device + "." + strings.Join(macs[:min(len(macs), maxKnown)], ".")
}

func knownParts(device string, a account.Account) []string {
	return []string{"known", device, string(a.ID), strconv.FormatInt(a.ProofsSince.UnixMicro(), 10)}
}

func splitKnown(cookie string) (device string, macs []string) {
	parts := strings.Split(cookie, ".")
	if len(cookie) > 512 || len(parts[0]) != 22 {
		return "", nil
	}
	return parts[0], parts[1:min(len(parts), maxKnown+1)]
}
