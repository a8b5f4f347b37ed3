package visitor

import (
	"net/http"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/loginui/page"
)

// Field is one hidden field of a form that the provider makes.
type Field struct{ Name, Value string }

// formView is the Data of formpost.html and logout.html.
type formView struct {
	Action string
	Fields []Field
}

// signedOutView is the Data of signedout.html.
type signedOutView struct{ Ended bool }

// Failure shows an error that must not travel to a redirect URI.
func (v *Visitor) Failure(w http.ResponseWriter, r *http.Request, uiLocales []string, err error) {
	v.pages.FaultIn(w, r, err, page.View{Lang: v.pages.Lang(r, "", uiLocales)})
}

// FormPost sends the browser on with a POST (OAuth 2.0 Form Post Response Mode §2). The form has a button, and a script of
// ours presses it; the policy of the page allows the target's origin and no other.
func (v *Visitor) FormPost(w http.ResponseWriter, r *http.Request, action string, fields []Field) {
	v.show(w, r, "visitor/formpost", page.View{
		Data: formView{Action: action, Fields: fields}, FormActions: page.FormActions(false, []string{action}), NoSwitch: true,
	})
}

// ConfirmLogout asks whether to sign out: a form of the fields to action with the buttons confirm=yes and confirm=no.
// c is who asks, nil if nobody said; here is where the language switch comes back to.
func (v *Visitor) ConfirmLogout(w http.ResponseWriter, r *http.Request, c *clients.Client, action string, fields []Field, here string, uiLocales []string) {
	view := v.about(r, c, uiLocales)
	view.Here = here
	view.Data = formView{Action: action, Fields: fields}
	if c != nil {
		view.FormActions = page.FormActions(c.Native, c.PostLogoutURIs)
	}
	v.show(w, r, "visitor/logout", view)
}

// SignedOut is where a sign-out ends that has no address to go back to. ended is false when the person chose to stay.
func (v *Visitor) SignedOut(w http.ResponseWriter, r *http.Request, c *clients.Client, ended bool, uiLocales []string) {
	view := v.about(r, c, uiLocales)
	view.Data = signedOutView{Ended: ended}
	v.show(w, r, "visitor/signedout", view)
}

func (v *Visitor) about(r *http.Request, c *clients.Client, uiLocales []string) page.View {
	view := page.View{Lang: v.pages.Lang(r, "", uiLocales)}
	if c != nil {
		view.Service = &page.Service{Name: c.DisplayName(view.Lang), Address: c.Address(), Logo: c.Logo.Hash, Back: wayBack(*c)}
	}
	return view
}

func (v *Visitor) show(w http.ResponseWriter, r *http.Request, name string, view page.View) {
	if err := v.pages.Render(w, r, http.StatusOK, name, view); err != nil {
		v.pages.Fault(w, r, fault.Wrap(fault.Internal, "", err))
	}
}
