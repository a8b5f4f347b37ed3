package citizen

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/loginui/page"
)

// Guessing the current password with somebody's open session is slowed as at sign-in, with a count of its own.
var guesses = throttle.Ladder{Free: 5, First: 30 * time.Second, Most: time.Hour}

// A short password must grow before two-factor authentication goes off; the form is the same, held to the rules of then.
const (
	forOff         = "off"
	passwordForOff = "/me/password?for=" + forOff
)

type passwordData struct {
	Status PasswordStatus
	AskOld bool
	ForOff bool
	Others bool // the box is ticked
	Rules  []PasswordRule
}

func (h *Handler) askPassword(w http.ResponseWriter, r *http.Request, m me) error {
	v, err := h.passwordView(r, m, r.URL.Query().Get("for") == forOff)
	if err != nil {
		return err
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/password", v)
}

func (h *Handler) passwordView(r *http.Request, m me, off bool) (page.View, error) {
	status, err := h.Passwords.Describe(r.Context(), m.account.ID)
	if err != nil {
		return page.View{}, err
	}
	off = off && m.account.TwoFactor
	d := passwordData{Status: status, AskOld: !provenOtherwise(m.session), ForOff: off, Others: true, Rules: h.Passwords.Rules(m.account.TwoFactor && !off)}
	return page.View{Data: d, Lang: m.visit.Lang}, nil
}

// provenOtherwise: who signed in with a signature, a card or a bank need not know the current password (R45).
func provenOtherwise(s session.Session) bool {
	return slices.ContainsFunc(s.Proofs, func(p factors.Proof) bool { return p.Stage == factors.First && p.Factor != "password" })
}

func (h *Handler) changePassword(w http.ResponseWriter, r *http.Request, m me) error {
	v, err := h.passwordView(r, m, r.PostForm.Get("for") == forOff)
	if err != nil {
		return err
	}
	d := v.Data.(passwordData)
	d.Others = r.PostForm.Get("others") == "yes"
	v.Data = d
	c := wish(r, m, d)
	write, err := h.prepare(r.Context(), c)
	if err == nil {
		err = h.store(r.Context(), m, c, write, d.Others)
	}
	if err != nil {
		return h.form(w, r, "citizen/password", v, err)
	}
	h.stayKnown(w, r, m)
	if d.ForOff {
		http.Redirect(w, r, "/me/two-factor/off", http.StatusSeeOther)
		return nil
	}
	return h.say(w, r, m, "/me", "password")
}

func wish(r *http.Request, m me, d passwordData) PasswordChange {
	c := PasswordChange{Account: m.account.ID, New: r.PostForm.Get("new_password"), WithoutOld: !d.AskOld, TwoFactor: m.account.TwoFactor && !d.ForOff}
	if d.AskOld {
		c.Old = r.PostForm.Get("password")
	}
	return c
}

// prepare counts the try before the current password is compared, and gives back the one that was not wrong. Only a change that
// went through forgets the others: an error that could be brought about at will would be a way around the count.
func (h *Handler) prepare(ctx context.Context, c PasswordChange) (func(context.Context) error, error) {
	if err := h.Passwords.Check(ctx, c); err != nil {
		return nil, err
	}
	if !c.WithoutOld {
		verdict, err := h.Throttle.Take(ctx, guessKey(c.Account), guesses, h.Now())
		if err != nil {
			return nil, err
		}
		if !verdict.Allowed {
			wait := verdict.Until.Sub(h.Now())
			return nil, fault.New(fault.Throttled, "me.password.locked").With("n", int(wait/time.Minute)+1).After(wait).In("password")
		}
	}
	write, err := h.Passwords.Prepare(ctx, c)
	if err != nil && !c.WithoutOld && !errors.Is(err, factors.ErrWrong) {
		err = errors.Join(err, h.Throttle.GiveBack(context.WithoutCancel(ctx), guessKey(c.Account)))
	}
	return write, err
}

func guessKey(id account.ID) string { return "me:password:" + string(id) }

// store writes the password with its event and the end of the other sessions. Where those stay, sign-ins under way elsewhere do
// not: whoever learned the old password may have parked one. The rules it was held to must still be those of
// the account.
func (h *Handler) store(ctx context.Context, m me, c PasswordChange, write func(context.Context) error, others bool) error {
	return h.Atomically(ctx, func(ctx context.Context) error {
		a, err := h.People.Account(ctx, m.account.ID)
		if err != nil {
			return err
		}
		if a.State != account.Active || c.TwoFactor && !a.TwoFactor {
			return fault.New(fault.Conflict, "me.changed_meanwhile")
		}
		// Its version moves, so that two-factor authentication is not switched off meanwhile on the strength of the old, longer one.
		if err := h.People.UpdateAccount(ctx, a); errors.Is(err, fault.ErrConflict) {
			return fault.Wrap(fault.Conflict, "me.changed_meanwhile", err)
		} else if err != nil {
			return err
		}
		if err := write(ctx); err != nil {
			return err
		}
		if err := h.Throttle.Clear(ctx, guessKey(c.Account)); err != nil {
			return err
		}
		if err := h.Record.Record(ctx, h.event(m, audit.PasswordChanged, map[string]string{"reason": "own"})); err != nil {
			return err
		}
		if !others {
			return h.Sessions.VoidProofs(ctx, m.account.ID, h.Now())
		}
		return h.closeOthers(ctx, m)
	})
}
