package recovery

import (
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/loginui/page"
)

// undoData is the Data of undo.html and undone.html.
type undoData struct {
	What string
	Link string
	At   time.Time // placed
	Due  time.Time
}

// Limits of undoing: codes have 39 bits and are bound to the ID number, so that even these are far more than a guesser could use. They
// count for each network apart: who wants a change to stand must not keep its victim from undoing it by guessing wrong.
var (
	undoGuesses = throttle.Ladder{Free: 10, First: 10 * time.Minute, Most: time.Hour}
	undoNetwork = []throttle.Window{{N: 30, Per: 10 * time.Minute}}
)

// showUndo says what would be undone, and changes nothing: programs that scan mail follow links.
func (h *Handler) showUndo(w http.ResponseWriter, r *http.Request) error {
	link := r.URL.Query().Get("link")
	if link == "" {
		return h.Pages.Render(w, r, http.StatusOK, "recovery/undo-code", page.View{Data: struct{}{}})
	}
	if err := h.undoSlowed(r); err != nil {
		return err
	}
	held, err := h.Holds.Look(r.Context(), link)
	if err != nil {
		return err
	}
	return h.Pages.Render(w, r, http.StatusOK, "recovery/undo", page.View{Data: undoData{What: held.What, Link: link, At: held.CreatedAt, Due: held.Due}})
}

func (h *Handler) undoSlowed(r *http.Request) error {
	network := h.visit(r).Network
	if network == "" {
		return nil
	}
	wait, err := h.Throttle.Hit(r.Context(), "undo:network:"+network, undoNetwork, h.Now())
	if err != nil || wait == 0 {
		return err
	}
	return fault.New(fault.Throttled, "recovery.network").With("n", int(wait/time.Minute)+1).After(wait)
}

func (h *Handler) undo(w http.ResponseWriter, r *http.Request) error {
	if err := h.undoSlowed(r); err != nil {
		return err
	}
	held, err := h.held(r)
	if err == nil {
		v := h.visit(r)
		err = h.Holds.Undo(r.Context(), held, audit.Event{Network: v.Network, Agent: v.Agent, Request: v.Request})
	}
	f := fault.Of(err)
	if err != nil && r.PostForm.Get("link") == "" && (f.Field != "" || f.Kind == fault.Throttled) {
		f = h.Pages.Settle(w, r, err)
		status := http.StatusUnprocessableEntity
		if f.Kind == fault.Throttled {
			status = page.Status(f)
		}
		return h.Pages.Render(w, r, status, "recovery/undo-code", page.View{Data: struct{}{}, Err: f, Values: kept(r.PostForm)})
	}
	if err != nil {
		return err
	}
	return h.Pages.Render(w, r, http.StatusOK, "recovery/undone", page.View{Data: undoData{What: held.What}, NoSwitch: true})
}

// held finds what the link, or the code with the ID number, stands for. An unknown number reads like a wrong code.
func (h *Handler) held(r *http.Request) (enrolment.Hold, error) {
	ctx, form := r.Context(), r.PostForm
	if link := form.Get("link"); link != "" {
		return h.Holds.Look(ctx, link)
	}
	n, err := account.ParseNationalID(form.Get("national_id"))
	if err != nil {
		return enrolment.Hold{}, err
	}
	if enrolment.HoldCode(form.Get("code")) == "" {
		return enrolment.Hold{}, fault.New(fault.Invalid, "hold.code.form").In("code")
	}
	key := "undo:" + hex.EncodeToString(h.Index("throttle", string(n))) + ":" + h.visit(r).Network
	verdict, err := h.Throttle.Take(ctx, key, undoGuesses, h.Now())
	if err != nil {
		return enrolment.Hold{}, err
	}
	if !verdict.Allowed {
		wait := verdict.Until.Sub(h.Now())
		return enrolment.Hold{}, fault.New(fault.Throttled, "recovery.code.locked").With("n", int(wait/time.Minute)+1).After(wait).In("code")
	}
	a, err := h.People.AccountByNationalID(ctx, n)
	if err != nil && !errors.Is(err, fault.ErrNotFound) {
		return enrolment.Hold{}, err
	}
	held, err := h.Holds.LookByCode(ctx, a.ID, form.Get("code"))
	if errors.Is(err, enrolment.ErrHoldOver) {
		return held, fault.New(fault.Denied, "hold.code.wrong").In("code")
	}
	if err == nil {
		err = h.Throttle.Clear(ctx, key)
	}
	return held, err
}
