package visitor

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/loginui/page"
)

//go:embed *.html words*.json script.js
var files embed.FS

// Host is the page that wraps the pages of factors in a sign-in.
const Host = "visitor/step"

// Words is the catalogue source of these pages.
func Words() fs.FS { return files }

// Source is the source of these pages.
func Source() page.Source {
	return page.Source{Name: "visitor", FS: files, Samples: samples, HostSamples: map[string]any{"step.html": stepView{}}}
}

// FactorSources are the sources of the factors' pages. Every factor has its place in a sign-in; settings is the host of the
// pages on which people set one up, and second are the further hosts in which second factors appear, such as the confirmation of
// a change.
func FactorSources(r *factors.Registry, settings string, second ...string) []page.Source {
	var out []page.Source
	for _, f := range r.All(0) {
		hosts := []string{Host}
		if _, ok := f.(factors.Enroller); ok {
			hosts = append(hosts, settings)
		}
		if f.Info().Stage == factors.Second {
			hosts = append(hosts, second...)
		}
		out = append(out, page.Source{Name: f.Info().Name, FS: f.Pages(), Hosts: hosts})
	}
	return out
}

// Config of New. All fields are required but Forgot and Lost.
type Config struct {
	Pages *page.Pages
	Flow  *signin.Flow
	// Forgot is where a new password for a forgotten one is to be had, given the sign-in; nil = nowhere.
	Forgot func(id string) string
	// Lost takes down that somebody lost the registered device and says when it goes; nil = nobody can say so.
	Lost func(ctx context.Context, id account.ID, e audit.Event) (due time.Time, err error)
}

// Visitor serves the pages.
type Visitor struct {
	pages *page.Pages
	flow  *signin.Flow

	forgot func(id string) string
	lost   func(ctx context.Context, id account.ID, e audit.Event) (time.Time, error)
}

// New checks that every factor of the flow has its pages and its name.
func New(c Config) (*Visitor, error) {
	for _, f := range c.Flow.Factors.All(0) {
		name := f.Info().Name
		need := []string{page.In(Host, name+"/page")}
		if _, ok := f.(factors.Renewer); ok {
			need = append(need, page.In(Host, name+"/renew"))
		}
		for _, p := range need {
			if !c.Pages.Has(p) {
				return nil, fmt.Errorf("visitor: factor %s has no page %s", name, p)
			}
		}
		if !c.Pages.Catalogue.Has("factor." + name) {
			return nil, fmt.Errorf("visitor: the catalogue has no key %q", "factor."+name)
		}
	}
	return &Visitor{pages: c.Pages, flow: c.Flow, forgot: c.Forgot, lost: c.Lost}, nil
}

// Mount puts the pages into the route table.
func (v *Visitor) Mount(r *mux.Router) {
	show := func(path string, h func(*turn) error) {
		r.Handle(path, v.pages.Get(v.turn(h))).Methods(http.MethodGet, http.MethodHead)
	}
	take := func(path string, h func(*turn) error) {
		r.Handle(path, v.pages.Post(v.turn(h))).Methods(http.MethodPost)
	}
	show("/signin/{id}", (*turn).owed)
	show("/signin/{id}/with/{factor}", (*turn).showFactor)
	take("/signin/{id}/with/{factor}", (*turn).takeAnswer)
	take("/signin/{id}/with/{factor}/again", (*turn).sendAgain)
	show("/signin/{id}/with/{factor}/state", (*turn).showState)
	show("/signin/{id}/choose", (*turn).showWays)
	take("/signin/{id}/choose", (*turn).takeWay)
	show("/signin/{id}/account", (*turn).showAccount)
	take("/signin/{id}/account", (*turn).takeAccount)
	show("/signin/{id}/explain", (*turn).showReason)
	take("/signin/{id}/explain", (*turn).takeReason)
	show("/signin/{id}/renew", (*turn).showRenewal)
	take("/signin/{id}/renew", (*turn).takeRenewal)
	show("/signin/{id}/consent", (*turn).showConsent)
	take("/signin/{id}/consent", (*turn).takeConsent)
	show("/signin/{id}/lost", (*turn).showLost)
	take("/signin/{id}/lost", (*turn).sayLost)
	show("/signin/{id}/lost/code", (*turn).showLostCode)
	take("/signin/{id}/lost/code", (*turn).takeLostCode)
	take("/signin/{id}/lost/again", (*turn).sendLostAgain)
	take("/signin/{id}/cancel", (*turn).cancel)
	take("/signin/{id}/language", (*turn).language)

	for path, name := range map[string]string{"/": "start", "/help": "help", "/privacy": "privacy", "/about": "about"} {
		r.Handle(path, v.pages.Get(v.info("visitor/"+name))).Methods(http.MethodGet, http.MethodHead)
	}
}

// info shows a page that is the same for everybody.
func (v *Visitor) info(name string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		return v.pages.Render(w, r, http.StatusOK, name, page.View{Data: aboutView{Origin: v.pages.Origin()}})
	}
}

// aboutView is the Data of the pages that are the same for everybody.
type aboutView struct{ Origin string }
