package citizen

import (
	"net/http"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/loginui/page"
)

type accountData struct {
	Name           string
	NationalID     string // masked
	IDEnding       string // its last two digits, for those who listen
	Kind           account.Kind
	Phone          phoneData
	Email          contact.Email
	TwoFactor      bool
	TwoFactorSince time.Time
	Password       PasswordStatus
	Last           *entry // the sign-in before this one; nil = none was found
	First          bool   // there is none
	Failed         int    // tries that failed since then
	Flood          bool   // and more
	Sessions       int
	Services       int    // that the person agreed to share data with
	Notices        int    // unread
	Done           string // what was just changed: "password", "on", "off"; "" = nothing
}

type phoneData struct {
	Ending string // "" = there is none
	Grade  contact.Grade
	Since  time.Time
	Enough bool // for two-factor authentication
}

func newPhone(p contact.Phone) phoneData {
	return phoneData{Ending: p.Ending(), Grade: p.Grade, Since: p.VerifiedAt, Enough: p.Number != "" && p.Grade == contact.IDVerified}
}

func (h *Handler) showAccount(w http.ResponseWriter, r *http.Request, m me) error {
	ctx := r.Context()
	person, err := h.People.Person(ctx, m.account.ID)
	if err != nil {
		return err
	}
	contacts, err := h.Contacts.Contacts(ctx, m.account.ID)
	if err != nil {
		return err
	}
	status, err := h.Passwords.Describe(ctx, m.account.ID)
	if err != nil {
		return err
	}
	sessions, err := h.Sessions.SessionsOf(ctx, m.account.ID, h.Now())
	if err != nil {
		return err
	}
	d := accountData{
		Name: person.Name(), NationalID: masked(person.NationalID), IDEnding: ending(person.NationalID), Kind: person.Kind,
		Phone: newPhone(contacts.Phone), Email: contacts.Email, TwoFactor: m.account.TwoFactor,
		TwoFactorSince: m.account.TwoFactorSince, Password: status, Sessions: len(sessions), Done: h.done(r, m),
	}
	consents, err := h.Consents.ConsentsOf(ctx, m.account.ID)
	if err != nil {
		return err
	}
	d.Services = len(consents)
	if d.Notices, err = h.Notices.UnreadNotices(ctx, m.account.ID); err != nil {
		return err
	}
	if err := h.last(r, m, &d); err != nil {
		return err
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/account", page.View{Data: d, Lang: m.visit.Lang})
}

// last finds the newest completed sign-in of another session, and counts what failed since.
func (h *Handler) last(r *http.Request, m me, d *accountData) error {
	id := string(m.account.ID)
	done, err := h.Record.EventsOf(r.Context(), id, []audit.Name{audit.SigninCompleted}, time.Time{}, chunk)
	if err != nil {
		return err
	}
	tries, err := h.Record.EventsOf(r.Context(), id, []audit.Name{audit.SigninFirst, audit.SigninSecond}, time.Time{}, chunk)
	if err != nil {
		return err
	}
	d.First = len(done) < chunk
	for _, e := range done {
		if e.Session != m.session.ID {
			row := h.entry(r.Context(), m, e)
			d.Last, d.First = &row, false
			break
		}
	}
	d.Flood = len(tries) == chunk
	for _, e := range tries {
		if d.Last != nil && !e.At.After(d.Last.At) {
			d.Flood = false
			break
		}
		if e.Outcome != "ok" {
			d.Failed++
		}
	}
	return nil
}

// say leads to path with a word about what was done, which the page believes only from us.
func (h *Handler) say(w http.ResponseWriter, r *http.Request, m me, path, what string) error {
	http.Redirect(w, r, path+"?done="+what+"."+h.mark(m.session, "done", what), http.StatusSeeOther)
	return nil
}

func (h *Handler) done(r *http.Request, m me) string {
	what, mark, ok := strings.Cut(r.URL.Query().Get("done"), ".")
	if !ok || !h.marked(mark, m.session, "done", what) {
		return ""
	}
	return what
}

// masked shows enough of the number to know it and too little to use it.
func masked(n account.NationalID) string {
	if len(n) != 11 {
		return ""
	}
	return string(n[:3]) + "••••••" + string(n[9:])
}

func ending(n account.NationalID) string { return string(n[max(0, len(n)-2):]) }
