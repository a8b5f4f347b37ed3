package citizen

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/loginui/page"
)

// Terms is the version of the terms in the words of the page; the audit record keeps which one was accepted.
const Terms = "1"

type twoFactorData struct {
	On    bool
	Since time.Time
	Phone phoneData
	Short bool   // the password is too short to stand alone
	Ways  bool   // there is a second factor to confirm with
	Done  string // "on" or "off"
}

func (h *Handler) twoFactorData(r *http.Request, m me) (twoFactorData, error) {
	c, err := h.Contacts.Contacts(r.Context(), m.account.ID)
	if err != nil {
		return twoFactorData{}, err
	}
	status, err := h.Passwords.Describe(r.Context(), m.account.ID)
	if err != nil {
		return twoFactorData{}, err
	}
	return twoFactorData{On: m.account.TwoFactor, Since: m.account.TwoFactorSince, Phone: newPhone(c.Phone), Short: !status.Alone, Done: h.done(r, m)}, nil
}

func (h *Handler) showTwoFactor(w http.ResponseWriter, r *http.Request, m me) error {
	d, err := h.twoFactorData(r, m)
	if err != nil {
		return err
	}
	return h.show(w, r, m, "citizen/two-factor", page.View{Data: d, Lang: m.visit.Lang})
}

// askOn shows the terms; who cannot switch on, or has, sees why on the page of the state.
func (h *Handler) askOn(w http.ResponseWriter, r *http.Request, m me) error {
	d, err := h.twoFactorData(r, m)
	if err != nil {
		return err
	}
	if d.On || !d.Phone.Enough {
		return see(w, r, "/me/two-factor")
	}
	return h.show(w, r, m, "citizen/two-factor-on", page.View{Data: d, Lang: m.visit.Lang})
}

func (h *Handler) acceptTerms(w http.ResponseWriter, r *http.Request, m me) error {
	d, err := h.twoFactorData(r, m)
	if err != nil {
		return err
	}
	if d.On || !d.Phone.Enough {
		return see(w, r, "/me/two-factor")
	}
	if r.PostForm.Get("terms") != "yes" {
		return h.form(w, r, "citizen/two-factor-on", page.View{Data: d, Lang: m.visit.Lang}, fault.New(fault.Invalid, "two_factor.terms").In("terms"))
	}
	if err := h.held(r.Context(), m); err != nil {
		return h.form(w, r, "citizen/two-factor-on", page.View{Data: d, Lang: m.visit.Lang}, err)
	}
	return see(w, r, codePath("on", h.said(m, "on"), h.PhoneFactor))
}

// askOff names the consequence; a password that is too short to stand alone comes first.
func (h *Handler) askOff(w http.ResponseWriter, r *http.Request, m me) error {
	d, err := h.twoFactorData(r, m)
	if err != nil {
		return err
	}
	if !d.On {
		return see(w, r, "/me/two-factor")
	}
	d.Ways = len(h.Signin.Confirmers(r.Context(), m.account)) > 0
	return h.show(w, r, m, "citizen/two-factor-off", page.View{Data: d, Lang: m.visit.Lang})
}

func (h *Handler) wantOff(w http.ResponseWriter, r *http.Request, m me) error {
	ways := h.Signin.Confirmers(r.Context(), m.account)
	d, err := h.twoFactorData(r, m)
	if err != nil {
		return err
	}
	if !d.On || d.Short || len(ways) == 0 {
		return see(w, r, "/me/two-factor/off")
	}
	if err := h.held(r.Context(), m); err != nil {
		d.Ways = true
		return h.form(w, r, "citizen/two-factor-off", page.View{Data: d, Lang: m.visit.Lang}, err)
	}
	return see(w, r, codePath("off", h.said(m, "off"), ways[0]))
}

// said is the mark that the page before was answered: the terms accepted, the consequence seen. Without it no code is sent, so
// that no link from elsewhere can send one.
func (h *Handler) said(m me, way string) string { return h.mark(m.session, "said", way, Terms) }

func codePath(way, said, factor string) string {
	return "/me/two-factor/" + way + "/code?" + url.Values{"said": {said}, "method": {factor}}.Encode()
}

func see(w http.ResponseWriter, r *http.Request, path string) error {
	http.Redirect(w, r, path, http.StatusSeeOther)
	return nil
}

// codeHost is what the page around the factor's own needs.
type codeHost struct {
	Way     string // "on" or "off"
	Said    string
	Method  string
	Path    string    // of this page
	Sent    bool      // a new code was just sent
	Resend  time.Time // from when on it can be sent again; zero = it cannot
	Later   bool      // Resend is still ahead
	Trouble string    // key
	Others  []otherWay
}

type otherWay struct{ Key, Path string }

// step is one moment of switching with a code: what is done, with which factor.
type step struct {
	way, said, factor string
	ways              []string
	deed              signin.Deed
}

// step reads the moment from the address or the form. ok is false where the page before is owed.
func (h *Handler) step(r *http.Request, m me) (s step, ok bool) {
	s.way, s.said, s.factor = mux.Vars(r)["way"], r.FormValue("said"), r.FormValue("method")
	if !h.marked(s.said, m.session, "said", s.way, Terms) || m.account.TwoFactor == (s.way == "on") {
		return s, false
	}
	s.ways = []string{h.PhoneFactor}
	if s.way == "off" {
		s.ways = h.Signin.Confirmers(r.Context(), m.account)
	}
	s.deed = signin.Deed{Name: "two_factor_" + s.way, Purpose: factors.TwoFactor, Account: m.account, Session: m.session.ID}
	return s, slices.Contains(s.ways, s.factor)
}

func (h *Handler) askCode(w http.ResponseWriter, r *http.Request, m me) error {
	s, ok := h.step(r, m)
	if !ok {
		return see(w, r, "/me/two-factor/"+mux.Vars(r)["way"])
	}
	return h.showCode(w, r, m, s, nil)
}

// showCode shows the page of the factor, with what was wrong with an answer.
func (h *Handler) showCode(w http.ResponseWriter, r *http.Request, m me, s step, wrong error) error {
	ch, err := h.Signin.BeginDeed(r.Context(), s.deed, m.visit, s.factor)
	if err != nil {
		return err
	}
	if ch.Page == nil {
		return fault.New(fault.Internal, "") // a factor that leaves for another site has no place here
	}
	host := codeHost{Way: s.way, Said: s.said, Method: s.factor, Path: codePath(s.way, s.said, s.factor), Resend: ch.Page.Resend, Later: ch.Page.Resend.After(h.Now()), Trouble: ch.Page.Trouble}
	host.Sent = wrong == nil && r.URL.Query().Has("sent")
	for _, name := range s.ways {
		if name != s.factor {
			host.Others = append(host.Others, otherWay{"factor." + name, codePath(s.way, s.said, name)})
		}
	}
	v := page.View{Data: ch.Page.Data, Host: host, Lang: m.visit.Lang, Refresh: ch.Wait}
	name := page.In(Host, s.factor+"/page")
	if wrong == nil {
		return h.show(w, r, m, name, v)
	}
	if fault.Of(wrong).Key == factors.ErrWrong.Key { // a factor without a sentence of its own
		wrong = fault.Wrap(fault.Denied, "me.code.wrong", wrong).In("code")
	}
	return h.form(w, r, name, v, wrong)
}

func (h *Handler) sendAgain(w http.ResponseWriter, r *http.Request, m me) error {
	s, ok := h.step(r, m)
	if !ok {
		return see(w, r, "/me/two-factor/"+mux.Vars(r)["way"])
	}
	if err := h.Signin.AgainDeed(r.Context(), s.deed, m.visit, s.factor); err != nil {
		return h.showCode(w, r, m, s, err)
	}
	return see(w, r, codePath(s.way, s.said, s.factor)+"&sent=1")
}

func (h *Handler) switchTwoFactor(w http.ResponseWriter, r *http.Request, m me) error {
	s, ok := h.step(r, m)
	if !ok {
		return see(w, r, "/me/two-factor/"+mux.Vars(r)["way"])
	}
	// Whoever recovered the password a short while ago may not be the owner: off opens the account to the password alone, on binds it to
	// a phone that the thief may have.
	if err := h.held(r.Context(), m); err != nil {
		return h.showCode(w, r, m, s, err)
	}
	proof, err := h.Signin.ConfirmDeed(r.Context(), s.deed, m.visit, s.factor, factors.Answer(r.PostForm))
	if err != nil {
		return h.showCode(w, r, m, s, err)
	}
	wish := enrolment.Switching{Account: m.account.ID, Proof: proof, Event: h.event(m, "", nil)}
	if s.way == "on" {
		wish.Terms = Terms
		err = h.turnOn(w, r, m, wish)
	} else {
		err = h.TwoFactor.Off(r.Context(), wish)
	}
	if err != nil {
		return err
	}
	return h.say(w, r, m, "/me/two-factor", s.way)
}

// turnOn switches on and lets the code that was just proven count in this session: the reader has taken both steps, and is not asked
// for the second again. As after every new proof the session has a new token (OWASP ASVS 7.2.4).
func (h *Handler) turnOn(w http.ResponseWriter, r *http.Request, m me, wish enrolment.Switching) error {
	token := secret.Token()
	raised := signin.Raised(m.session, wish.Proof, m.account.Ceiling, m.visit, h.Now())
	err := h.Atomically(r.Context(), func(ctx context.Context) error {
		if err := h.TwoFactor.On(ctx, wish); err != nil {
			return err
		}
		a, err := h.People.Account(ctx, raised.Account) // as On left it
		if err != nil {
			return err
		}
		return h.Sessions.RotateSession(ctx, raised, h.Keys.HashToken(token), a)
	})
	if err == nil {
		h.Cookies.Set(w, web.SessionCookie, token, 0)
	}
	return err
}
