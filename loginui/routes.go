// Package loginui owns the route table of all pages. Enter with Mount; what stands behind a path is in the folder of its
// audience, and what all pages share is in loginui/page. It refuses a path that no audience has with our own page.
package loginui

import (
	"net/http"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/loginui/page"
)

// Audience is a group of pages for the same people: visitor.Visitor, citizen.Handler.
type Audience interface{ Mount(r *mux.Router) }

// Mount puts all pages into the router:
//
//	/static/…            page     styles, scripts, fonts; kept for ever
//	/logo/{hash}.png     page     logos of services, as taken in at the registration; kept for ever
//	POST /language       page     the language switch outside of a sign-in
//	/signin/{id}…        visitor  every step of a sign-in
//	/ /help /privacy /about  visitor
//	/me…                 citizen  a person's own account
//	/not-me…             citizen  what the link of a notice leads to
//	/app…                app      the phone app: a shell, its service worker and manifest
//	/recover… /undo      recovery  a new password for a forgotten one; undoing a change
//
// Each audience keeps its own table in its Mount. Everything that is a form goes through page.Pages.Post.
func Mount(r *mux.Router, p *page.Pages, audiences ...Audience) {
	r.PathPrefix(page.Static).Handler(p.Assets())
	r.Handle(page.Logo, p.Logos()).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/language", p.SwitchLanguage()).Methods(http.MethodPost)
	for _, a := range audiences {
		a.Mount(r)
	}
	r.NotFoundHandler = http.HandlerFunc(p.NotFound)
	r.MethodNotAllowedHandler = http.HandlerFunc(p.WrongMethod)
}
