package citizen

import (
	"context"
	"net/http"
	"slices"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/loginui/page"
)

const accessPath = securityPath + "/access"

// accessRow is one first factor.
type accessRow struct {
	Factor string
	Closed bool
	Why    string // key: why the reader cannot change it in this session; "" = they can
	Signed bool   // only who signed changes it
}

// State is what the reader may make of it.
func (r accessRow) State() string {
	if r.Closed {
		return "open"
	}
	return "closed"
}

type accessData struct {
	Rows []accessRow
	Done string // "closed" or "opened"
}

func (h *Handler) showAccess(w http.ResponseWriter, r *http.Request, m me) error {
	return h.show(w, r, m, "citizen/access", page.View{Data: h.access(r, m), Lang: m.visit.Lang})
}

func (h *Handler) access(r *http.Request, m me) accessData {
	d := accessData{Done: h.done(r, m)}
	for _, x := range h.Factors.All(factors.First) {
		d.Rows = append(d.Rows, h.accessOf(m, x.Info()))
	}
	return d
}

func (h *Handler) accessOf(m me, info factors.Info) accessRow {
	row := accessRow{Factor: info.Name, Closed: m.account.Closed.Has(info.Name, info.Shut), Signed: signed(info)}
	if err := h.mayChange(m, info); err != nil {
		row.Why = fault.Of(err).Key
	}
	return row
}

// signed says whether only who signed may close or open a first factor: the password.
func signed(info factors.Info) bool { return !info.Shut && info.Level < acr.High }

// mayChange says why a first factor cannot be closed or opened in this session; nil = it can. Who is here by a password alone must
// not shut out the one whose password it is (R69, R70): only a strong way to sign in shows that, and for the password itself only a signature,
// not a card or a bank. Nobody closes the door they came by.
func (h *Handler) mayChange(m me, info factors.Info) error {
	var strong, signs, by bool
	for _, p := range h.lately(m) {
		if p.Stage != factors.First {
			continue
		}
		x := h.Factors.Get(p.Factor)
		strong = strong || p.Level >= acr.High
		signs = signs || p.Level >= acr.High && x != nil && x.Info().Signs
		by = by || p.Factor == info.Name
	}
	switch {
	case signed(info) && !signs:
		return fault.New(fault.Denied, "me.access.signature")
	case !strong && !info.Shut:
		return fault.New(fault.Denied, "me.access.strong")
	case by:
		return fault.New(fault.Denied, "me.access.own")
	}
	return nil
}

// askAccess names what is closed or opened, and what follows. What the reader may not change, or is not there, the list explains.
func (h *Handler) askAccess(w http.ResponseWriter, r *http.Request, m me) error {
	x := h.Factors.Get(mux.Vars(r)["factor"])
	if x == nil || x.Info().Stage != factors.First {
		return see(w, r, accessPath)
	}
	row := h.accessOf(m, x.Info())
	if row.Why != "" {
		return see(w, r, accessPath)
	}
	return h.show(w, r, m, "citizen/access-sure", page.View{Data: row, Lang: m.visit.Lang})
}

func (h *Handler) changeAccess(w http.ResponseWriter, r *http.Request, m me) error {
	name, state := r.PostForm.Get("factor"), r.PostForm.Get("state")
	x := h.Factors.Get(name)
	if x == nil || x.Info().Stage != factors.First || !slices.Contains([]string{"closed", "open"}, state) {
		return fault.New(fault.Invalid, "")
	}
	v := page.View{Data: h.access(r, m), Lang: m.visit.Lang}
	err := h.held(r.Context(), m)
	if err == nil {
		err = h.mayChange(m, x.Info())
	}
	if err == nil {
		err = h.setAccess(r.Context(), m, x.Info(), state == "closed")
	}
	if err != nil {
		return h.form(w, r, "citizen/access", v, err)
	}
	return h.say(w, r, m, accessPath, state)
}

// endBy ends the other sessions that were opened by a first factor, with their grants, and records each: who closes a way to sign in may do
// it because somebody else came in by it. A session that another first factor proved as well ends with them. Codes and pairings that wait
// go too, whoever asked for them; a sign-in that is under way by that way starts anew (signin.Flow).
func (h *Handler) endBy(ctx context.Context, m me, factor string) error {
	list, err := h.Sessions.SessionsOf(ctx, m.account.ID, h.Now())
	if err != nil {
		return err
	}
	for _, s := range list {
		by := slices.ContainsFunc(s.Proofs, func(p factors.Proof) bool { return p.Stage == factors.First && p.Factor == factor })
		if s.ID == m.session.ID || !by {
			continue
		}
		if err := h.endOther(ctx, m, s.ID, map[string]string{"reason": reasonClosed, "factor": factor}); err != nil {
			return err
		}
	}
	return h.voidTickets(ctx, m)
}

// setAccess closes or opens a first factor; closing ends the other sessions that it opened, in the same commit.
func (h *Handler) setAccess(ctx context.Context, m me, info factors.Info, closed bool) error {
	return h.Atomically(ctx, func(ctx context.Context) error {
		a, err := h.People.Account(ctx, m.account.ID)
		if err != nil {
			return err
		}
		if a.State != account.Active {
			return fault.New(fault.Conflict, "me.changed_meanwhile")
		}
		if a.Closed.Has(info.Name, info.Shut) == closed {
			return nil // sent twice
		}
		a.Closed = a.Closed.With(info.Name, closed)
		if err := h.People.UpdateAccount(ctx, a); err != nil {
			return err
		}
		state := map[bool]string{true: "closed", false: "open"}[closed]
		err = h.Record.Record(ctx, h.event(m, audit.AccessChanged, map[string]string{"factor": info.Name, "state": state}))
		if err != nil || !closed {
			return err
		}
		return h.endBy(ctx, m, info.Name)
	})
}
