package citizen

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/loginui/page"
)

// FactorHost is the page that wraps the pages on which people set a factor up; it belongs in page.Source.Hosts of every factor.
const FactorHost = "citizen/factor"

const securityPath = "/me/security"

// ownPaths below /me/security are not free for the name of a factor that people set up.
var ownPaths = map[string]bool{"access": true, "phone": true, "email": true, "recovery": true, "holds": true}

// factorHost is what the page around a factor's own page needs. A factor's forms post to {{.Host.Path}}/ACT.
type factorHost struct {
	Path    string // of the factor's own page
	Up      string // where the way back leads: one page up
	Done    string // catalogue key of what was just done; "" = nothing
	Trouble string // catalogue key: the factor cannot do its work now
	Limited bool   // the session may remove and do nothing else; see mayRestricted
}

// enroller finds the factor that an address names, if people set it up for themselves.
func (h *Handler) enroller(r *http.Request) (name string, f factors.Enroller, err error) {
	name = mux.Vars(r)["factor"]
	if x := h.Factors.Get(name); x != nil {
		if f, ok := x.(factors.Enroller); ok {
			return name, f, nil
		}
	}
	return name, nil, fault.ErrNotFound
}

// try is what a factor may know of the reader who sets it up. Its binding is the session: a code or a challenge of one session is
// no good in another.
func (h *Handler) try(ctx context.Context, m me) (factors.Try, error) {
	service, err := h.Signin.Client(ctx, signin.Self)
	if err != nil {
		return factors.Try{}, err
	}
	person, err := h.People.Person(ctx, m.account.ID)
	if err != nil {
		return factors.Try{}, err
	}
	return factors.Try{
		Binding: "enrol:" + m.session.ID, Purpose: factors.Enrol, Account: m.account.ID, Service: service.DisplayName(m.visit.Lang), Origin: h.Pages.Origin(),
		Network: m.visit.Network, Place: h.place(m.visit.Network, m.visit.Lang), Lang: m.visit.Lang, Agent: m.visit.Agent, Person: person.Name(),
		Proven: m.session.Proofs,
	}, nil
}

func (h *Handler) showFactor(w http.ResponseWriter, r *http.Request, m me) error {
	name, f, err := h.enroller(r)
	if err != nil {
		return err
	}
	try, err := h.try(r.Context(), m)
	if err != nil {
		return err
	}
	return h.manage(w, r, m, name, f, try, nil)
}

// manage shows the page of a factor, with what was wrong with an act.
func (h *Handler) manage(w http.ResponseWriter, r *http.Request, m me, name string, f factors.Enroller, try factors.Try, wrong error) error {
	p, err := f.Manage(r.Context(), try)
	if err != nil {
		return err
	}
	return h.factorPage(w, r, m, name, "manage", p, h.doneKey(r, m), wrong)
}

func (h *Handler) factorPage(w http.ResponseWriter, r *http.Request, m me, name, template string, p factors.Page, done string, wrong error) error {
	path := securityPath + "/" + name
	host := factorHost{Path: path, Up: securityPath, Done: done, Trouble: p.Trouble, Limited: m.restricted}
	if m.restricted {
		host.Up = signin.UnblockPath
	}
	if template != "manage" {
		host.Up = path
	}
	v := page.View{Data: p.Data, Host: host, Lang: m.visit.Lang}
	full := page.In(FactorHost, name+"/"+template)
	if wrong != nil {
		if fault.Of(wrong).Key == factors.ErrWrong.Key { // a factor without a sentence of its own
			wrong = fault.Wrap(fault.Denied, "me.code.wrong", wrong)
		}
		return h.form(w, r, full, v, wrong)
	}
	return h.show(w, r, m, full, v)
}

// actFactor lets the factor judge a form. What it wants stored commits with the record of it, or not at all.
func (h *Handler) actFactor(w http.ResponseWriter, r *http.Request, m me) error {
	name, f, err := h.enroller(r)
	if err != nil {
		return err
	}
	try, err := h.try(r.Context(), m)
	if err != nil {
		return err
	}
	if err := h.held(r.Context(), m); err != nil {
		return h.manage(w, r, m, name, f, try, err)
	}
	res, err := f.Act(r.Context(), try, mux.Vars(r)["act"], factors.Answer(r.PostForm))
	if err == nil {
		if err := h.commit(r.Context(), m, name, res); err != nil { // what would have been shown, such as codes, is not stored
			return h.manage(w, r, m, name, f, try, err)
		}
	}
	switch {
	case errors.Is(err, fault.ErrNotFound) && fault.Of(err).Field == "": // an act it does not know
		return err
	case err != nil && res.Template == "":
		return h.manage(w, r, m, name, f, try, err)
	case err != nil || res.Template != "":
		return h.factorPage(w, r, m, name, res.Template, res.Page, res.Done, err)
	}
	to := securityPath + "/" + name
	if res.Done != "" {
		to += "?said=" + h.mark(m.session, "said", res.Done) + "." + res.Done
	}
	return see(w, r, to)
}

// commit stores what a factor wants stored. A change without a record of it is refused. The record comes first: a registered device that is
// removed is told of it as long as it is there.
func (h *Handler) commit(ctx context.Context, m me, name string, res factors.Result) error {
	if res.Commit == nil {
		return nil
	}
	if res.Event.Version() == 0 {
		return fault.New(fault.Internal, "")
	}
	details := maps.Clone(res.Details)
	if details == nil {
		details = map[string]string{}
	}
	details["factor"] = name
	return h.Atomically(ctx, func(ctx context.Context) error {
		if err := h.Record.Record(ctx, h.event(m, res.Event, details)); err != nil {
			return err
		}
		if err := res.Commit(ctx); err != nil {
			return err
		}
		// A factor that was switched off after too many wrong answers works again once it is renewed (NIST SP 800-63B-4 §3.2.2).
		if res.Event == audit.FactorSetUp || res.Event == audit.FactorChanged && res.Details["what"] != "renamed" {
			return h.Throttle.Clear(ctx, signin.TryKey(h.Factors.Get(name).Info(), m.account.ID))
		}
		return nil
	})
}

// held says why nothing about the ways to sign in may be changed now; nil when it may.
func (h *Handler) held(ctx context.Context, m me) error {
	if h.Held == nil {
		return nil
	}
	return h.Held(ctx, m.account.ID, m.session)
}

// show renders a page on which something is changed. Where that is on hold the page says so and until when, before anybody fills in
// or sends anything.
func (h *Handler) show(w http.ResponseWriter, r *http.Request, m me, name string, v page.View) error {
	if err := h.held(r.Context(), m); err != nil {
		f := fault.Of(err)
		if f.Kind != fault.Denied {
			return err
		}
		v.Notice = h.Pages.Sentence(m.visit.Lang, f)
	}
	return h.Pages.Render(w, r, http.StatusOK, name, v)
}

// doneKey is the catalogue key of what was just done in this session, which the page believes only from us.
func (h *Handler) doneKey(r *http.Request, m me) string {
	mark, key, ok := strings.Cut(r.URL.Query().Get("said"), ".")
	if !ok || r.Method != http.MethodGet || !h.marked(mark, m.session, "said", key) {
		return ""
	}
	return key
}

// backToFactor leads from the address of an act to the page that has its form: after a sign-in in between, or a reload.
func (h *Handler) backToFactor(w http.ResponseWriter, r *http.Request, _ me) error {
	return see(w, r, parent(r.URL.Path))
}

func parent(path string) string { return path[:strings.LastIndexByte(path, '/')] }
