package citizen

import (
	"context"
	"net/http"

	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/loginui/page"
)

const resetPath = securityPath + "/recovery"

// resetData is what the page says of how a forgotten password is renewed (R46, R47).
type resetData struct {
	Both     bool
	Phone    phoneData
	HasPhone bool // verified at least
	HasEmail bool // verified
	Done     string
}

func (h *Handler) resetView(r *http.Request, m me) (page.View, error) {
	c, err := h.Contacts.Contacts(r.Context(), m.account.ID)
	if err != nil {
		return page.View{}, err
	}
	d := resetData{Both: c.ResetBoth, Phone: newPhone(c.Phone), Done: h.done(r, m), HasEmail: c.Email.Verified && c.Email.Address != ""}
	d.HasPhone = c.Phone.Number != "" && c.Phone.Grade != contact.Declared
	return page.View{Data: d, Lang: m.visit.Lang}, nil
}

func (h *Handler) showReset(w http.ResponseWriter, r *http.Request, m me) error {
	v, err := h.resetView(r, m)
	if err != nil {
		return err
	}
	return h.show(w, r, m, "citizen/reset", v)
}

// resetSure is a choice that waits for a yes.
type resetSure struct {
	By      string // "phone" or "both"
	Current string // how it is now
}

// choice reads the field "by": phone or both. Both needs an address that is verified, or nobody could ever renew.
func choice(by string, d resetData) error {
	switch {
	case by != "phone" && by != "both":
		return fault.New(fault.Invalid, "me.reset.missing").In("by")
	case by == "both" && !d.HasEmail:
		return fault.New(fault.Denied, "me.reset.no_email").In("by")
	}
	return nil
}

// wantReset leads to the question. A choice that changes nothing needs none.
func (h *Handler) wantReset(w http.ResponseWriter, r *http.Request, m me) error {
	v, err := h.resetView(r, m)
	if err != nil {
		return err
	}
	by, d := r.PostForm.Get("by"), v.Data.(resetData)
	if err := choice(by, d); err != nil {
		return h.form(w, r, "citizen/reset", v, err)
	}
	if by == method(d) {
		return h.say(w, r, m, resetPath, by)
	}
	return see(w, r, resetPath+"/confirm?by="+by)
}

// method is how it is now.
func method(d resetData) string {
	if d.Both {
		return "both"
	}
	return "phone"
}

// askReset names what was chosen and what follows.
func (h *Handler) askReset(w http.ResponseWriter, r *http.Request, m me) error {
	v, err := h.resetView(r, m)
	if err != nil {
		return err
	}
	by, d := r.URL.Query().Get("by"), v.Data.(resetData)
	if choice(by, d) != nil || by == method(d) { // an old address: the page says how it stands
		return see(w, r, resetPath)
	}
	v.Data = resetSure{By: by, Current: method(d)}
	return h.show(w, r, m, "citizen/reset-sure", v)
}

// chooseReset takes the field "by".
func (h *Handler) chooseReset(w http.ResponseWriter, r *http.Request, m me) error {
	v, err := h.resetView(r, m)
	if err != nil {
		return err
	}
	by := r.PostForm.Get("by")
	if err = choice(by, v.Data.(resetData)); err == nil {
		err = h.held(r.Context(), m)
	}
	if err == nil {
		err = h.setReset(r.Context(), m, by)
	}
	if err != nil {
		return h.form(w, r, "citizen/reset", v, err)
	}
	return h.say(w, r, m, resetPath, by)
}

func (h *Handler) setReset(ctx context.Context, m me, by string) error {
	return h.Atomically(ctx, func(ctx context.Context) error {
		changed := false
		err := h.Reset.ChangeContacts(ctx, m.account.ID, func(c *contact.Contacts) error {
			if by == "both" && (!c.Email.Verified || c.Email.Address == "") {
				return fault.New(fault.Denied, "me.reset.no_email").In("by")
			}
			changed = c.ResetBoth != (by == "both")
			c.ResetBoth = by == "both"
			return nil
		})
		if err != nil || !changed {
			return err
		}
		return h.Record.Record(ctx, h.event(m, audit.RecoveryMethod, map[string]string{"by": by}))
	})
}

// resetRow is the line of the overview.
func (h *Handler) resetRow(m me, c contact.Contacts) row {
	out := row{Name: h.text(m, "me.reset", nil), State: h.text(m, "me.reset.phone", nil), Path: resetPath, On: c.Phone.Number != "" && c.Phone.Grade != contact.Declared}
	switch {
	case !out.On:
		out.State, out.Warn = h.text(m, "me.reset.no_phone", nil), true
	case c.ResetBoth:
		out.State = h.text(m, "me.reset.both", nil)
	}
	return out
}

// mountReset adds the page where it can be stored.
func (h *Handler) mountReset(get, post func(path string, f action)) {
	if h.Reset == nil {
		return
	}
	get(resetPath, h.showReset)
	get(resetPath+"/confirm", h.askReset)
	post(resetPath+"/confirm", h.wantReset)
	post(resetPath, h.chooseReset)
}
