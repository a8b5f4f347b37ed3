package citizen

import (
	"net/http"
	"strings"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/loginui/page"
)

// row is one thing of the overview.
type row struct {
	Name  string // sentence
	State string // sentence
	Used  time.Time
	Path  string // "" = there is nothing to do there
	On    bool
	Warn  bool
}

type securityData struct {
	Rows []row  // what protects the account and how it is reached, then what people set up, in the order of the sign-in
	Last *entry // the sign-in before this one; nil = none was found
}

func (h *Handler) showSecurity(w http.ResponseWriter, r *http.Request, m me) error {
	d, err := h.security(r, m)
	if err != nil {
		return err
	}
	return h.show(w, r, m, "citizen/security", page.View{Data: d, Lang: m.visit.Lang})
}

func (h *Handler) security(r *http.Request, m me) (d securityData, err error) {
	ctx := r.Context()
	contacts, err := h.Contacts.Contacts(ctx, m.account.ID)
	if err != nil {
		return d, err
	}
	status, err := h.Passwords.Describe(ctx, m.account.ID)
	if err != nil {
		return d, err
	}
	sessions, err := h.Sessions.SessionsOf(ctx, m.account.ID, h.Now())
	if err != nil {
		return d, err
	}
	consents, err := h.Consents.ConsentsOf(ctx, m.account.ID)
	if err != nil {
		return d, err
	}
	account := accountData{}
	if err := h.last(r, m, &account); err != nil {
		return d, err
	}
	d.Last = account.Last
	d.Rows = append(d.Rows, h.twoFactorRow(m), h.passwordRow(m, status), h.phoneRow(m, contacts.Phone), h.emailRow(m, contacts.Email))
	if h.Reset != nil {
		d.Rows = append(d.Rows, h.resetRow(m, contacts))
	}
	d.Rows = append(d.Rows, h.ways(r, m)...)
	d.Rows = append(d.Rows, h.accessRow(m), row{Name: h.text(m, "me.sessions", nil), State: h.text(m, "me.sessions.count", map[string]any{"n": len(sessions)}), Path: "/me/sessions", On: true},
		h.servicesRow(m, len(consents)))
	return d, nil
}

func (h *Handler) twoFactorRow(m me) row {
	out := row{Name: h.text(m, "me.two_factor", nil), State: h.text(m, "me.two_factor.is_off", nil), Path: "/me/two-factor", On: m.account.TwoFactor}
	switch {
	case out.On && !m.account.TwoFactorSince.IsZero():
		out.State = h.text(m, "me.two_factor.is_on.since", map[string]any{"date": words.Date(m.visit.Lang, m.account.TwoFactorSince)})
	case out.On:
		out.State = h.text(m, "me.two_factor.is_on", nil)
	}
	return out
}

func (h *Handler) passwordRow(m me, s PasswordStatus) row {
	out := row{Name: h.text(m, "me.password", nil), State: h.text(m, "me.password.none", nil), Path: "/me/password", On: s.Exists}
	switch {
	case s.Exists && !s.ChangedAt.IsZero():
		out.State = h.text(m, "me.password.since", map[string]any{"date": words.Date(m.visit.Lang, s.ChangedAt)})
	case s.Exists:
		out.State = h.text(m, "me.password.exists", nil)
	}
	return out
}

// how are the sentences about what proved a phone.
var how = map[string]string{contact.ByStrong: "me.security.phone.strong", contact.ByOffice: "me.security.phone.office", contact.ByNFC: "me.security.phone.nfc"}

func (h *Handler) phoneRow(m me, p contact.Phone) row {
	out := row{Name: h.text(m, "me.phone", nil), State: h.text(m, "me.phone.none", nil), Path: h.PhonePath}
	if p.Number == "" {
		return out
	}
	out.Name += " •••• " + p.Ending()
	switch {
	case !p.BlockedAt.IsZero():
		out.State, out.Warn = h.text(m, "me.security.phone.blocked", nil), true
		return out
	case p.Grade == contact.IDVerified && how[p.How] != "" && !p.VerifiedAt.IsZero():
		out.State, out.On = h.text(m, how[p.How], map[string]any{"date": words.Date(m.visit.Lang, p.VerifiedAt)}), true
	case p.Grade == contact.IDVerified && !p.VerifiedAt.IsZero():
		out.State, out.On = h.text(m, "me.phone.id_verified.since", map[string]any{"date": words.Date(m.visit.Lang, p.VerifiedAt)}), true
	case p.Grade == contact.IDVerified:
		out.State, out.On = h.text(m, "me.phone.id_verified", nil), true
	case p.Grade == contact.Verified:
		out.State = h.text(m, "me.phone.verified", nil)
	default:
		out.State = h.text(m, "me.phone.declared", nil)
	}
	return out
}

func (h *Handler) emailRow(m me, e contact.Email) row {
	out := row{Name: h.text(m, "me.email", nil), State: h.text(m, "me.email.none", nil), Path: h.EmailPath, On: e.Address != "" && e.Verified}
	switch {
	case e.Address == "":
	case e.Verified && !e.VerifiedAt.IsZero():
		out.State = h.text(m, "me.security.email.since", map[string]any{"address": page.Clean(e.Address, 80), "date": words.Date(m.visit.Lang, e.VerifiedAt)})
	case e.Verified:
		out.State = h.text(m, "me.security.email", map[string]any{"address": page.Clean(e.Address, 80)})
	default:
		out.State = h.text(m, "me.email.declared", nil)
	}
	return out
}

// accessRow says which ways to sign in are closed.
func (h *Handler) accessRow(m me) row {
	out := row{Name: h.text(m, "me.access", nil), State: h.text(m, "me.access.none", nil), Path: accessPath}
	var closed []string
	for _, x := range h.Factors.All(factors.First) {
		if info := x.Info(); m.account.Closed.Has(info.Name, info.Shut) {
			closed = append(closed, h.text(m, "factor."+info.Name, nil))
		}
	}
	if len(closed) > 0 {
		out.State, out.On = h.text(m, "me.access.some", map[string]any{"list": strings.Join(closed, ", ")}), true
	}
	return out
}

// ways asks every factor that people set up how it stands. One that cannot tell takes no other down.
func (h *Handler) ways(r *http.Request, m me) []row {
	var rows []row
	for _, x := range h.Factors.All(0) {
		f, ok := x.(factors.Enroller)
		if !ok {
			continue
		}
		name := x.Info().Name
		s, err := f.Standing(r.Context(), m.account.ID)
		if err != nil {
			h.Pages.Log.ErrorContext(r.Context(), "factor cannot tell how it stands", "factor", name, "err", err)
			rows = append(rows, row{Name: h.text(m, "factor."+name, nil), State: h.text(m, "me.security.unknown", nil), Warn: true})
			continue
		}
		rows = append(rows, h.standing(m, name, s))
	}
	return rows
}

func (h *Handler) standing(m me, name string, s factors.Standing) row {
	out := row{Name: h.text(m, "factor."+name, nil), On: s.On, Warn: s.Warn, Used: s.Used}
	if s.On || s.Possible {
		out.Path = securityPath + "/" + name
	}
	switch {
	case s.Key != "":
		out.State = h.text(m, s.Key, map[string]any{"n": s.N, "name": page.Clean(s.Name, 80)})
	case s.On && !s.Since.IsZero():
		out.State = h.text(m, "me.security.on.since", map[string]any{"date": words.Date(m.visit.Lang, s.Since)})
	case s.On:
		out.State = h.text(m, "me.security.on", nil)
	case !s.Possible && s.Why != "":
		out.State = h.text(m, s.Why, nil)
	default:
		out.State = h.text(m, "me.security.none", nil)
	}
	return out
}

func (h *Handler) text(m me, key string, args map[string]any) string {
	return h.Pages.Catalogue.Text(m.visit.Lang, key, args)
}
