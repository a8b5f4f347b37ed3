package citizen

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/loginui/page"
)

// ContactPath is the page of phone and e-mail (R56).
const ContactPath = "/me/contact"

// Contacting changes phone and e-mail; *enrolment.Contacts stands behind it.
type Contacting interface {
	Identify(ctx context.Context, a enrolment.Asker, i enrolment.Identity) error
	DeclarePhone(ctx context.Context, a enrolment.Asker, typed string) error
	SendPhoneCode(ctx context.Context, a enrolment.Asker) error
	VerifyPhone(ctx context.Context, a enrolment.Asker, typed string) error
	RemovePhone(ctx context.Context, a enrolment.Asker) error
	DeclareEmail(ctx context.Context, a enrolment.Asker, typed string) error
	SendEmail(ctx context.Context, a enrolment.Asker) error
	VerifyEmail(ctx context.Context, a enrolment.Asker, typed string) error
	RemoveEmail(ctx context.Context, a enrolment.Asker) error
	LookLink(ctx context.Context, link string) (address string, err error)
	UseLink(ctx context.Context, link string, e audit.Event) error
	Blocked(ctx context.Context, a enrolment.Asker) (*enrolment.Blocked, error)
	SendUnblock(ctx context.Context, a enrolment.Asker, byPhone bool) error
	Unblock(ctx context.Context, a enrolment.Asker, byPhone bool, typed string) error
}

// What a contact page is about.
const (
	aboutPhone = "phone"
	aboutEmail = "email"
)

const devicePath = securityPath + "/device"

type contactData struct {
	Phone    phoneData
	How      string // what proved the phone
	Blocked  bool
	NewPhone phoneData
	Email    string
	EmailOK  bool
	EmailAt  time.Time
	NewEmail string
	Strong   bool // the sign-in proves the identity: a code is enough for an ID-verified number
	Limited  bool // a restricted session: the phone only
	Done     string
}

type contactForm struct {
	About   string
	Changes bool // there is one already
	Strong  bool
}

// contactCode is the page on which a code is typed.
type contactCode struct {
	About   string // phone, email, mail or sms
	Path    string
	Send    string // where to ask for another
	Ending  string
	Address string
	Strong  bool
	Sent    bool
	Back    string
}

type contactRemove struct {
	About, Ending, Address string
	Waiting                bool // only the one that waits for its code
	TwoFactor              bool
}

type contactLink struct{ Path, Token, Address string }

// mountContact adds the pages where there is something behind them.
func (h *Handler) mountContact(r *mux.Router) {
	if h.Contacting == nil {
		return
	}
	get := func(path string, f action) {
		r.Handle(path, h.Pages.Get(h.signedIn(f))).Methods(http.MethodGet, http.MethodHead)
	}
	post := func(path string, f action) {
		r.Handle(path, h.Pages.Post(h.signedIn(f))).Methods(http.MethodPost)
	}
	get(ContactPath, h.showContact)
	for about, p := range map[string]struct {
		form, declare, send, code, verify, ask, remove action
	}{
		aboutPhone: {h.askContact(aboutPhone), h.declare(aboutPhone), h.send(aboutPhone), h.askContactCode(aboutPhone), h.verify(aboutPhone), h.askRemove(aboutPhone), h.remove(aboutPhone)},
		aboutEmail: {h.askContact(aboutEmail), h.declare(aboutEmail), h.send(aboutEmail), h.askContactCode(aboutEmail), h.verify(aboutEmail), h.askRemove(aboutEmail), h.remove(aboutEmail)},
	} {
		path := ContactPath + "/" + about
		get(path, h.fresh(p.form))
		post(path, h.fresh(p.declare))
		post(path+"/send", h.fresh(p.send))
		get(path+"/send", h.toContact)
		get(path+"/code", h.fresh(p.code))
		post(path+"/code", h.fresh(p.verify))
		get(path+"/remove", h.fresh(p.ask))
		post(path+"/remove", h.fresh(p.remove))
	}
	// The link of an e-mail may be opened in another browser: it proves itself.
	r.Handle(enrolment.LinkPath, h.Pages.Get(h.askLink)).Methods(http.MethodGet, http.MethodHead)
	r.Handle(enrolment.LinkPath, h.Pages.Post(h.useLink)).Methods(http.MethodPost)

	get(signin.UnblockPath, h.recent(h.showUnblock))
	post(signin.UnblockPath+"/send", h.recent(h.sendUnblock))
	get(signin.UnblockPath+"/send", h.toUnblock)
	get(signin.UnblockPath+"/code", h.recent(h.askUnblockCode))
	post(signin.UnblockPath+"/code", h.recent(h.unblock))
}

func (h *Handler) toContact(w http.ResponseWriter, r *http.Request, _ me) error {
	return see(w, r, ContactPath)
}

// lately are the proofs that give a right to change something. A card that was shown in this session hours ago is not at hand now: who
// has stolen the session and knows the password would make use of it.
func (h *Handler) lately(m me) []factors.Proof {
	return slices.DeleteFunc(slices.Clone(m.session.Proofs), func(p factors.Proof) bool { return h.Now().Sub(p.At) > freshness })
}

// now is the reader as strong as what they showed lately: what holds back a change of contacts goes by that.
func (h *Handler) now(m me) me {
	m.session.Level = h.asker(m).Level
	return m
}

// asker is the reader as the domain knows them.
func (h *Handler) asker(m me) enrolment.Asker {
	return enrolment.Asker{Account: m.account.ID, Session: m.session.ID, Level: min(enrolment.Strength(h.lately(m)), m.account.Ceiling),
		Network: m.visit.Network, Lang: m.visit.Lang, Event: h.event(m, "", nil)}
}

func (h *Handler) showContact(w http.ResponseWriter, r *http.Request, m me) error {
	c, err := h.Contacts.Contacts(r.Context(), m.account.ID)
	if err != nil {
		return err
	}
	d := contactData{Phone: newPhone(c.Phone), How: c.Phone.How, Blocked: !c.Phone.BlockedAt.IsZero(), NewPhone: newPhone(c.NewPhone), Email: c.Email.Address,
		EmailOK: c.Email.Verified, EmailAt: c.Email.VerifiedAt, NewEmail: c.NewEmail.Address, Strong: h.asker(m).Level >= acr.High, Limited: m.restricted, Done: h.done(r, m)}
	return h.show(w, r, h.now(m), "citizen/contact", page.View{Data: d, Lang: m.visit.Lang})
}

func (h *Handler) formOf(r *http.Request, m me, about string) (page.View, error) {
	c, err := h.Contacts.Contacts(r.Context(), m.account.ID)
	d := contactForm{About: about, Changes: c.Phone.Number != "", Strong: h.asker(m).Level >= acr.High}
	if about == aboutEmail {
		d.Changes = c.Email.Address != ""
	}
	return page.View{Data: d, Lang: m.visit.Lang}, err
}

func (h *Handler) askContact(about string) action {
	return func(w http.ResponseWriter, r *http.Request, m me) error {
		v, err := h.formOf(r, m, about)
		if err != nil {
			return err
		}
		return h.show(w, r, h.now(m), "citizen/contact-form", v)
	}
}

// declare checks the identity details first: what is wrong with the number tells nobody anything then.
func (h *Handler) declare(about string) action {
	return func(w http.ResponseWriter, r *http.Request, m me) error {
		v, err := h.formOf(r, m, about)
		if err != nil {
			return err
		}
		a, ctx := h.asker(m), r.Context()
		err = h.Contacting.Identify(ctx, a, enrolment.Identity{
			Kind: account.Kind(r.PostForm.Get("kind")), NationalID: r.PostForm.Get("national_id"), Birthdate: r.PostForm.Get("birthdate")})
		if err == nil && about == aboutPhone {
			err = h.Contacting.DeclarePhone(ctx, a, r.PostForm.Get("phone"))
		} else if err == nil {
			err = h.Contacting.DeclareEmail(ctx, a, r.PostForm.Get("email"))
		}
		if err != nil {
			return h.form(w, r, "citizen/contact-form", v, err)
		}
		return h.send(about)(w, r, m)
	}
}

// send sends a code, and goes on to the page of the code whether it went or not: that page says why.
func (h *Handler) send(about string) action {
	return func(w http.ResponseWriter, r *http.Request, m me) error {
		send := h.Contacting.SendPhoneCode
		if about == aboutEmail {
			send = h.Contacting.SendEmail
		}
		if err := send(r.Context(), h.asker(m)); err != nil {
			return h.codeForm(w, r, m, about, err)
		}
		return see(w, r, ContactPath+"/"+about+"/code?sent=1")
	}
}

func (h *Handler) codeView(r *http.Request, m me, about string) (page.View, bool, error) {
	c, err := h.Contacts.Contacts(r.Context(), m.account.ID)
	path := ContactPath + "/" + about
	d := contactCode{About: about, Path: path + "/code", Send: path + "/send", Back: ContactPath, Sent: r.Method == http.MethodGet && r.URL.Query().Has("sent"), Strong: h.asker(m).Level >= acr.High}
	switch {
	case about == aboutPhone && c.NewPhone.Number != "":
		d.Ending = c.NewPhone.Ending()
	case about == aboutPhone && c.Phone.Grade != contact.IDVerified:
		d.Ending = c.Phone.Ending()
	case about == aboutEmail && c.NewEmail.Address != "":
		d.Address = c.NewEmail.Address
	case about == aboutEmail && !c.Email.Verified:
		d.Address = c.Email.Address
	}
	return page.View{Data: d, Lang: m.visit.Lang}, d.Ending != "" || d.Address != "", err
}

func (h *Handler) askContactCode(about string) action {
	return func(w http.ResponseWriter, r *http.Request, m me) error {
		v, waiting, err := h.codeView(r, m, about)
		switch {
		case err != nil:
			return err
		case !waiting:
			return see(w, r, ContactPath)
		}
		return h.show(w, r, h.now(m), "citizen/contact-code", v)
	}
}

func (h *Handler) codeForm(w http.ResponseWriter, r *http.Request, m me, about string, wrong error) error {
	v, waiting, err := h.codeView(r, m, about)
	switch {
	case err != nil:
		return err
	case !waiting:
		return see(w, r, ContactPath)
	}
	return h.form(w, r, "citizen/contact-code", v, wrong)
}

func (h *Handler) verify(about string) action {
	return func(w http.ResponseWriter, r *http.Request, m me) error {
		verify := h.Contacting.VerifyPhone
		if about == aboutEmail {
			verify = h.Contacting.VerifyEmail
		}
		if err := verify(r.Context(), h.asker(m), r.PostForm.Get("code")); err != nil {
			return h.codeForm(w, r, m, about, err)
		}
		return h.say(w, r, m, ContactPath, about)
	}
}

func (h *Handler) removeView(r *http.Request, m me, about string) (page.View, bool, error) {
	c, err := h.Contacts.Contacts(r.Context(), m.account.ID)
	d := contactRemove{About: about, TwoFactor: m.account.TwoFactor}
	if about == aboutPhone {
		d.Ending, d.Waiting = c.Phone.Ending(), c.NewPhone.Number != ""
		if d.Waiting {
			d.Ending = c.NewPhone.Ending()
		}
	} else {
		d.Address, d.Waiting = c.Email.Address, c.NewEmail.Address != ""
		if d.Waiting {
			d.Address = c.NewEmail.Address
		}
	}
	return page.View{Data: d, Lang: m.visit.Lang}, d.Ending != "" || d.Address != "", err
}

func (h *Handler) askRemove(about string) action {
	return func(w http.ResponseWriter, r *http.Request, m me) error {
		v, there, err := h.removeView(r, m, about)
		switch {
		case err != nil:
			return err
		case !there:
			return see(w, r, ContactPath)
		}
		return h.show(w, r, h.now(m), "citizen/contact-remove", v)
	}
}

func (h *Handler) remove(about string) action {
	return func(w http.ResponseWriter, r *http.Request, m me) error {
		v, there, err := h.removeView(r, m, about)
		if err != nil || !there {
			if err == nil {
				err = see(w, r, ContactPath)
			}
			return err
		}
		remove := h.Contacting.RemovePhone
		if about == aboutEmail {
			remove = h.Contacting.RemoveEmail
		}
		if err := remove(r.Context(), h.asker(m)); err != nil {
			return h.form(w, r, "citizen/contact-remove", v, err)
		}
		return h.say(w, r, m, ContactPath, "removed")
	}
}

// askLink shows what the link of an e-mail would do and does nothing: mail programs open links by themselves (row RC2).
func (h *Handler) askLink(w http.ResponseWriter, r *http.Request) error {
	link := r.URL.Query().Get("t")
	address, err := h.Contacting.LookLink(r.Context(), link)
	if err != nil {
		return err
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/contact-link", page.View{Data: contactLink{Path: enrolment.LinkPath, Token: link, Address: address}})
}

func (h *Handler) useLink(w http.ResponseWriter, r *http.Request) error {
	v := h.visit(r)
	e := audit.Event{Client: signin.Self, Request: web.RequestID(r.Context()), Network: v.Network, Agent: v.Agent}
	if err := h.Contacting.UseLink(r.Context(), r.PostForm.Get("t"), e); err != nil {
		return err
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/contact-linked", page.View{})
}

// recent lets f run if the first factor is recent, whatever second one there is: a number that is blocked stands in its way.
func (h *Handler) recent(f action) action {
	return func(w http.ResponseWriter, r *http.Request, m me) error {
		if !slices.ContainsFunc(h.lately(m), func(p factors.Proof) bool { return p.Stage == factors.First }) {
			return h.start(w, r, signin.SelfAsk{MaxAge: freshness, Anew: true, Path: signin.UnblockPath})
		}
		return f(w, r, m)
	}
}

type unblockData struct {
	*enrolment.Blocked
	Limited bool
	Done    bool
	Device  bool // there is a registered device to remove
}

func (h *Handler) toUnblock(w http.ResponseWriter, r *http.Request, _ me) error {
	return see(w, r, signin.UnblockPath)
}

// showUnblock lists the ways out.
func (h *Handler) showUnblock(w http.ResponseWriter, r *http.Request, m me) error {
	v, err := h.unblockView(r, m)
	if err != nil {
		return err
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/unblock", v)
}

func (h *Handler) unblockView(r *http.Request, m me) (page.View, error) {
	b, err := h.Contacting.Blocked(r.Context(), h.asker(m))
	return page.View{Data: unblockData{Blocked: b, Limited: m.restricted, Done: h.done(r, m) == "unblocked", Device: h.hasDevice(r, m)}, Lang: m.visit.Lang}, err
}

// hasDevice is false if the factor cannot tell: the page is about something else.
func (h *Handler) hasDevice(r *http.Request, m me) bool {
	f, ok := h.Factors.Get("device").(factors.Enroller)
	if !ok {
		return false
	}
	s, err := f.Standing(r.Context(), m.account.ID)
	return err == nil && (s.On || s.Name != "")
}

func byPhone(r *http.Request) bool { return r.FormValue("by") == "sms" }

func (h *Handler) sendUnblock(w http.ResponseWriter, r *http.Request, m me) error {
	if err := h.Contacting.SendUnblock(r.Context(), h.asker(m), byPhone(r)); err != nil {
		v, viewErr := h.unblockView(r, m)
		if viewErr != nil {
			return viewErr
		}
		return h.form(w, r, "citizen/unblock", v, err)
	}
	return see(w, r, signin.UnblockPath+"/code?"+url.Values{"by": {way(r)}, "sent": {"1"}}.Encode())
}

func way(r *http.Request) string {
	if byPhone(r) {
		return "sms"
	}
	return "mail"
}

func (h *Handler) unblockCode(r *http.Request, m me) (page.View, bool, error) {
	b, err := h.Contacting.Blocked(r.Context(), h.asker(m))
	if err != nil || b == nil {
		return page.View{}, false, err
	}
	d := contactCode{About: way(r), Path: signin.UnblockPath + "/code", Send: signin.UnblockPath + "/send", Back: signin.UnblockPath, Ending: b.Ending, Address: b.Mail,
		Sent: r.Method == http.MethodGet && r.URL.Query().Has("sent")}
	return page.View{Data: d, Lang: m.visit.Lang}, true, nil
}

func (h *Handler) askUnblockCode(w http.ResponseWriter, r *http.Request, m me) error {
	v, blocked, err := h.unblockCode(r, m)
	switch {
	case err != nil:
		return err
	case !blocked:
		return see(w, r, signin.UnblockPath)
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/contact-code", v)
}

func (h *Handler) unblock(w http.ResponseWriter, r *http.Request, m me) error {
	err := h.Contacting.Unblock(r.Context(), h.asker(m), byPhone(r), r.PostForm.Get("code"))
	if err == nil {
		return h.say(w, r, m, signin.UnblockPath, "unblocked")
	}
	v, blocked, viewErr := h.unblockCode(r, m)
	switch {
	case viewErr != nil:
		return viewErr
	case !blocked:
		return see(w, r, signin.UnblockPath)
	}
	return h.form(w, r, "citizen/contact-code", v, err)
}

// mayRestricted says where a session may go that was let in without the second factor because the SIM card was changed: to the page that
// unblocks, and, after a strong sign-in, to the phone and to where the registered device is removed, but not replaced: whoever stands
// here has shown one factor.
func mayRestricted(path string, a enrolment.Asker) bool {
	switch {
	case path == signin.UnblockPath, strings.HasPrefix(path, signin.UnblockPath+"/"), path == "/me/sign-out":
		return true
	case a.Level < acr.High:
		return false
	}
	switch path {
	case ContactPath, ContactPath + "/phone", devicePath, devicePath + "/remove", devicePath + "/delete":
		return true
	}
	return strings.HasPrefix(path, ContactPath+"/phone/")
}
