package visitor

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/loginui/page"
)

// turn is one request in one sign-in.
type turn struct {
	*Visitor
	w      http.ResponseWriter
	r      *http.Request
	t      signin.Transaction
	visit  signin.Visit
	client clients.Client
	first  string // factor shown where the sign-in begins
}

// turn loads the transaction and calls h. Errors are shown on a page that knows the way back, except those that only
// mean that something else is owed by now: a second tab was faster, the back button was used.
func (v *Visitor) turn(h func(*turn) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		t := &turn{Visitor: v, w: w, r: r, visit: v.visit(r)}
		var err error
		if t.t, err = v.flow.Load(r.Context(), mux.Vars(r)["id"], t.visit); err != nil {
			return err
		}
		t.visit.Lang = v.pages.Lang(r, t.t.Lang, t.t.Ask.UILocales)
		if t.client, err = v.flow.Client(r.Context(), t.t.Ask.Client); err != nil {
			return err
		}
		if t.t.State == signin.Done {
			return t.render(http.StatusOK, "visitor/done", nil)
		}
		err = h(t)
		switch {
		case err == nil:
		case t.overtaken(err):
			t.redirect(t.path(""))
		default:
			v.pages.FaultIn(w, r, err, t.view())
		}
		return nil
	}
}

// overtaken: what was sent is not owed any more. The page that shows what is owed must not send to itself.
func (t *turn) overtaken(err error) bool {
	f := fault.Of(err)
	return f.Kind == fault.Conflict && (f.Key == "" || errors.Is(err, signin.ErrNotOwed)) && t.r.URL.Path != t.path("")
}

func (v *Visitor) visit(r *http.Request) signin.Visit {
	cookies := v.pages.Cookies
	visit := signin.Visit{
		Session: cookies.Get(r, web.SessionCookie), Known: cookies.Get(r, web.KnownCookie), Network: web.Network(r.Context()),
		Agent: cut(r.UserAgent(), 256), Request: web.RequestID(r.Context()), Lang: v.pages.Lang(r, "", nil),
	}
	if b := cookies.Get(r, web.BrowserCookie); b != "" {
		visit.Browser = secret.Hash(b)
	}
	return visit
}

func cut(s string, most int) string { return s[:min(len(s), most)] }

func (t *turn) path(step string) string {
	p := "/signin/" + t.t.ID
	if step != "" {
		p += "/" + step
	}
	return p
}

// view is what all pages of this sign-in have: the service, its language, where its forms may end.
func (t *turn) view() page.View {
	v := page.View{
		Lang: t.visit.Lang, Switch: t.path("language"),
		Service:     &page.Service{Name: t.client.DisplayName(t.visit.Lang), Address: t.client.Address(), Logo: t.client.Logo.Hash},
		FormActions: page.FormActions(t.client.Native, t.client.RedirectURIs, t.client.FormActions...),
	}
	if t.t.Ask.Client == signin.Self {
		v.Service.Address = t.pages.Origin()
	}
	if t.t.State == signin.Open {
		v.Service.Cancel = t.path("cancel")
	} else {
		v.Service.Back, v.Switch = wayBack(t.client), "" // the transaction is over: nothing in it can change
	}
	return v
}

// wayBack is the front door of a service: the origin of its first redirect URI; "" for an app.
func wayBack(c clients.Client) string {
	if len(c.RedirectURIs) == 0 || c.Native {
		return ""
	}
	return strings.Join(page.FormActions(false, c.RedirectURIs[:1]), "")
}

func (t *turn) render(status int, name string, data any) error {
	v := t.view()
	v.Data = data
	return t.pages.Render(t.w, t.r, status, name, v)
}

func (t *turn) redirect(to string) { http.Redirect(t.w, t.r, to, http.StatusSeeOther) }

// next gives the browser what a completed sign-in brings and goes where the transaction stands now.
func (t *turn) next(now signin.Transaction, step signin.Step, out signin.Outcome, err error) error {
	if err != nil {
		return err
	}
	t.t = now
	if out.SessionToken != "" {
		t.pages.Cookies.Set(t.w, web.SessionCookie, out.SessionToken, 0)
	}
	if out.Known != "" {
		t.pages.Cookies.Set(t.w, web.KnownCookie, out.Known, web.Year)
	}
	to, err := t.place(step)
	if err != nil {
		return err
	}
	t.redirect(to)
	return nil
}

// place is the address of what is owed.
func (t *turn) place(step signin.Step) (string, error) {
	switch {
	case (t.t.State == signin.Ready || t.t.State == signin.Refused) && t.t.Ask.Client == signin.Self:
		return "/me/enter?id=" + t.t.ID, nil
	case t.t.State == signin.Ready:
		return "/authorize/callback?id=" + t.t.ID, nil
	case t.t.State == signin.Refused:
		return "/authorize/refused?id=" + t.t.ID, nil
	case t.t.State == signin.Done:
		return t.path(""), nil
	}
	switch step.Do {
	case signin.ChooseAccount:
		return t.path("account"), nil
	case signin.Explain:
		return t.path("explain"), nil
	case signin.Renew:
		return t.path("renew"), nil
	case signin.AskConsent:
		return t.path("consent"), nil
	}
	switch {
	case len(step.Offers) == 0:
		return "", fault.New(fault.Denied, "signin.no_way")
	case slices.Contains(step.Offers, t.t.Pending):
		return t.path("with/" + t.t.Pending), nil
	case step.Do == signin.AskSecond && t.proper(step.Offers) > 1:
		return t.path("choose"), nil
	}
	return t.path("with/" + step.Offers[0]), nil
}

// proper counts the ways that are no last resort, which is linked from the page of each of the others.
func (t *turn) proper(offers []string) (n int) {
	for _, name := range offers {
		if f := t.flow.Factors.Get(name); f != nil && !f.Info().LastResort {
			n++
		}
	}
	return n
}

// owed goes to what is owed. A first factor is shown here at once: it is what almost every sign-in begins with, and nothing has
// changed that a reload could do twice.
func (t *turn) owed() error {
	now, step, out, err := t.flow.Owed(t.r.Context(), t.t, t.visit)
	if err != nil || now.State != signin.Open || step.Do != signin.AskFirst || len(step.Offers) == 0 {
		return t.next(now, step, out, err)
	}
	t.t, t.first = now, step.Offers[0]
	if slices.Contains(step.Offers, now.Pending) {
		t.first = now.Pending
	}
	return t.showFactor()
}

// cancel is the way back to the service.
func (t *turn) cancel() error {
	now, err := t.flow.Cancel(t.r.Context(), t.t, t.visit)
	return t.next(now, signin.Step{}, signin.Outcome{}, err)
}

// language switches for this sign-in and, with the cookie, for later ones.
func (t *turn) language() error {
	if err := t.pages.RememberLanguage(t.w, t.r); err != nil {
		return err
	}
	if err := t.flow.Speak(t.r.Context(), t.t, t.r.PostForm.Get("lang")); err != nil {
		return err
	}
	t.redirect(t.from())
	return nil
}

// from is the page of this sign-in on which the switch was made, as the Referer says; the beginning if it says nothing.
func (t *turn) from() string {
	at := refererPath(t.r)
	for _, step := range []string{"choose", "account", "explain", "renew", "consent"} {
		if at == t.path(step) {
			return at
		}
	}
	for _, f := range t.flow.Factors.All(0) {
		if at == t.path("with/"+f.Info().Name) {
			return at
		}
	}
	return t.path("")
}
