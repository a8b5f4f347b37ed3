package recovery

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/recovery"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/loginui/page"
)

// startData is the Data of start.html and other.html.
type startData struct {
	From    string
	Reasons []recovery.Reason
}

// stepData is the Data of the pages that ask.
type stepData struct {
	Action    string
	Change    string // posts back to the ID number; "" = this is it
	Documents []account.DocumentType
}

// codeData is the Data of code.html.
type codeData struct {
	Action, Again, Change string
	Mail                  bool
	Down                  bool // no message can go out now, to anybody
	Sent                  bool
	Resend                time.Time
	Later                 bool
	Until                 time.Time
}

// passwordData is the Data of password.html.
type passwordData struct {
	Action string
	Rules  []recovery.PasswordRule
}

// endData is the Data of done.html and over.html.
type endData struct {
	Reason   string
	Back     string // where to sign in
	Intruder bool
}

func (h *Handler) visit(r *http.Request) recovery.Visit {
	v := recovery.Visit{Network: web.Network(r.Context()), Agent: r.UserAgent(), Request: web.RequestID(r.Context()), Lang: h.Pages.Lang(r, "", nil)}
	v.Known = h.Pages.Cookies.Get(r, web.KnownCookie)
	v.Agent = v.Agent[:min(len(v.Agent), 256)]
	if b := h.Pages.Cookies.Get(r, web.BrowserCookie); b != "" {
		v.Browser = secret.Hash(b)
	}
	return v
}

// service is what the sign-in that it was begun from was for; nil without one in this browser. uiLocales are its wishes.
func (h *Handler) service(r *http.Request, v recovery.Visit, from, lang string) *page.Service {
	if from == "" {
		return nil
	}
	t, err := h.Signin.Load(r.Context(), from, signin.Visit{Browser: v.Browser})
	if err != nil {
		return nil
	}
	c, err := h.Signin.Client(r.Context(), t.Ask.Client)
	if err != nil {
		return nil
	}
	s := &page.Service{Name: c.DisplayName(lang), Address: c.Address(), Logo: c.Logo.Hash, Back: h.Pages.Issuer + "/signin/" + url.PathEscape(t.ID)}
	if t.Ask.Client == signin.Self {
		s.Address = h.Pages.Origin()
	}
	return s
}

func (h *Handler) showStart(w http.ResponseWriter, r *http.Request) error {
	return h.startPage(w, r, http.StatusOK, r.URL.Query().Get("from"), nil)
}

func (h *Handler) startPage(w http.ResponseWriter, r *http.Request, status int, from string, wrong error) error {
	v := h.visit(r)
	view := page.View{Lang: v.Lang, Service: h.service(r, v, from, v.Lang), Err: wrong}
	if view.Service == nil {
		from = ""
	}
	view.Data = startData{From: from, Reasons: recovery.Reasons}
	return h.Pages.Render(w, r, status, "recovery/start", view)
}

func (h *Handler) showOther(w http.ResponseWriter, r *http.Request) error {
	v, from := h.visit(r), r.URL.Query().Get("from")
	return h.Pages.Render(w, r, http.StatusOK, "recovery/other", page.View{Lang: v.Lang, Service: h.service(r, v, from, v.Lang), Data: startData{}})
}

// start begins a recovery. A browser without a secret of its own gets one here.
func (h *Handler) start(w http.ResponseWriter, r *http.Request) error {
	v, from := h.visit(r), r.PostForm.Get("from")
	if h.service(r, v, from, v.Lang) == nil {
		from = "" // of another browser, or over
	}
	reason := recovery.Reason(r.PostForm.Get("reason"))
	if reason == recovery.NoSMS {
		to := "/recover/other"
		if from != "" {
			to += "?" + url.Values{"from": {from}}.Encode()
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil
	}
	if len(v.Browser) == 0 {
		token := secret.Token()
		h.Pages.Cookies.Set(w, web.BrowserCookie, token, 0)
		v.Browser = secret.Hash(token)
	}
	t, err := h.Flow.Start(r.Context(), reason, from, v)
	if f := fault.Of(err); err != nil && f.Field != "" {
		return h.startPage(w, r, http.StatusUnprocessableEntity, from, f)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/recover/"+t.ID, http.StatusSeeOther)
	return nil
}

// turn is one request in one recovery.
type turn struct {
	*Handler
	w     http.ResponseWriter
	r     *http.Request
	t     recovery.Transaction
	visit recovery.Visit
}

// turn loads the transaction and calls f. What only means that something else is owed by now leads there.
func (h *Handler) turn(f func(*turn) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		t := &turn{Handler: h, w: w, r: r, visit: h.visit(r)}
		var err error
		if t.t, err = h.Flow.Load(r.Context(), mux.Vars(r)["id"], t.visit); err != nil {
			return err
		}
		t.visit.Lang = h.Pages.Lang(r, t.t.Lang, nil)
		err = f(t)
		switch kind := fault.Of(err); {
		case err == nil:
		case kind.Kind == fault.Conflict && (kind.Key == "" || errors.Is(err, recovery.ErrNotOwed)) && r.URL.Path != t.path(""):
			t.redirect(t.path(""))
		default:
			h.Pages.FaultIn(w, r, err, t.view(nil))
		}
		return nil
	}
}

func (t *turn) path(step string) string {
	p := "/recover/" + t.t.ID
	if step != "" {
		p += "/" + step
	}
	return p
}

func (t *turn) redirect(to string) { http.Redirect(t.w, t.r, to, http.StatusSeeOther) }

func (t *turn) view(data any) page.View {
	v := page.View{Lang: t.visit.Lang, Switch: t.path("language"), Service: t.service(t.r, t.visit, t.t.From, t.visit.Lang), Data: data}
	if t.t.State != recovery.Open {
		v.Switch = "" // nothing in it can change; the general switch serves
	}
	return v
}

// pages of what can be owed, which are also the last part of their addresses.
var pages = map[recovery.Do]string{
	recovery.AskIdentity: "identity", recovery.AskDetails: "details", recovery.AskContact: "contact", recovery.AskCode: "code",
	recovery.AskMailCode: "mail", recovery.AskPassword: "password", recovery.Finished: "done", recovery.Stop: "over",
}

// owed goes to what is owed.
func (t *turn) owed() error {
	step, err := t.Flow.Owed(t.r.Context(), t.t)
	if err != nil {
		return err
	}
	t.redirect(t.path(pages[step.Do]))
	return nil
}

// show shows a page only while its step is owed.
func (t *turn) show() error {
	step, err := t.Flow.Owed(t.r.Context(), t.t)
	if err != nil {
		return err
	}
	if pages[step.Do] != mux.Vars(t.r)["step"] {
		t.redirect(t.path(""))
		return nil
	}
	return t.page(step, http.StatusOK, nil)
}

// page is the page of a step, with what was wrong with an answer.
func (t *turn) page(step recovery.Step, status int, wrong error) error {
	name := pages[step.Do]
	data := stepData{Action: t.path(name), Change: t.path("change")}
	var v page.View
	switch step.Do {
	case recovery.AskIdentity:
		data.Change = ""
		v = t.view(data)
	case recovery.AskDetails:
		data.Documents = account.DocumentTypes
		v = t.view(data)
	case recovery.AskContact:
		v = t.view(data)
	case recovery.AskCode, recovery.AskMailCode:
		v, name = t.view(t.codeData(step, name)), "code"
	case recovery.AskPassword:
		rules, err := t.Flow.Rules(t.r.Context(), t.t)
		if err != nil {
			return err
		}
		v = t.view(passwordData{Action: t.path(name), Rules: rules})
	default:
		v = t.view(endData{Reason: step.Reason, Back: t.back(), Intruder: t.t.Reason == recovery.Intruder})
	}
	if v.Err = wrong; wrong != nil {
		v.Values = kept(t.r.PostForm)
	}
	return t.Pages.Render(t.w, t.r, status, "recovery/"+name, v)
}

func (t *turn) codeData(step recovery.Step, name string) codeData {
	d := codeData{Action: t.path(name), Again: t.path("again"), Mail: step.Do == recovery.AskMailCode, Until: t.t.CodeUntil, Resend: t.t.Resend()}
	channel := "mail"
	if !d.Mail {
		d.Change, channel = t.path("change"), "sms"
	}
	d.Later = d.Resend.After(t.Now())
	d.Down = !t.Flow.Reach.Up(channel)
	d.Sent = t.r.Method == http.MethodGet && t.r.URL.Query().Has("sent")
	return d
}

// back is where to sign in afterwards.
func (t *turn) back() string {
	if s := t.service(t.r, t.visit, t.t.From, t.visit.Lang); s != nil {
		return s.Back
	}
	return "/me"
}

// kept are the fields that stand there again when a form failed. What proves who somebody is is typed again.
func kept(form url.Values) url.Values {
	out := url.Values{}
	for _, name := range []string{"kind", "national_id", "document", "birthdate", "family_name", "phone", "email"} {
		if v := form.Get(name); v != "" {
			out.Set(name, v)
		}
	}
	return out
}

// take makes a handler of a step of the flow: what can be mended is shown in the form.
func take(step func(context.Context, recovery.Transaction, recovery.Visit, recovery.Form) (recovery.Transaction, error)) func(*turn) error {
	return func(t *turn) error {
		now, err := step(t.r.Context(), t.t, t.visit, t.r.PostForm)
		if err == nil {
			t.t = now
			t.redirect(t.path(""))
			return nil
		}
		return t.failed(err)
	}
}

// failed shows the page that is owed with what was wrong.
func (t *turn) failed(err error) error {
	f := fault.Of(err)
	mendable := []fault.Kind{fault.Invalid, fault.Denied, fault.Expired, fault.Throttled, fault.Unavailable}
	if !slices.Contains(mendable, f.Kind) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	f = t.Pages.Settle(t.w, t.r, err)
	owed, err := t.Flow.Owed(t.r.Context(), t.t)
	if err != nil {
		return err
	}
	status := page.Status(f)
	if f.Kind == fault.Invalid || f.Kind == fault.Denied || f.Kind == fault.Expired {
		status = http.StatusUnprocessableEntity
	}
	return t.page(owed, status, f)
}

func (t *turn) again() error {
	now, err := t.Flow.Again(t.r.Context(), t.t, t.visit)
	if err != nil {
		return t.failed(err)
	}
	t.t = now
	step := "code"
	if t.t.PhoneProven {
		step = "mail"
	}
	t.redirect(t.path(step) + "?sent=1")
	return nil
}

func (t *turn) change() error {
	now, err := t.Flow.Change(t.r.Context(), t.t, t.visit)
	if err != nil {
		return err
	}
	t.t = now
	t.redirect(t.path(""))
	return nil
}

// language switches for this recovery and, with the cookie, for later pages.
func (t *turn) language() error {
	if err := t.Pages.RememberLanguage(t.w, t.r); err != nil {
		return err
	}
	if err := t.Flow.Speak(t.r.Context(), t.t, t.r.PostForm.Get("lang")); err != nil {
		return err
	}
	t.redirect(t.path(""))
	return nil
}

// StartPath is where the page of the sign-in leads who forgot the password.
func StartPath(from string) string {
	if from == "" || strings.ContainsAny(from, "/\\") {
		return "/recover"
	}
	return "/recover?" + url.Values{"from": {from}}.Encode()
}
