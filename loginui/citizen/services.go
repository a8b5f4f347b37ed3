package citizen

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/grant"
	"github.com/kapi-id/kapi/loginui/page"
)

const servicesPath = "/me/services"

// Consents is what the person agreed to share, and with whom.
type Consents interface {
	ConsentsOf(ctx context.Context, id account.ID) ([]grant.Consent, error) // newest first
	// WithdrawConsent ends, with the consent, all that the client got of the person; fault.ErrNotFound if there is none.
	WithdrawConsent(ctx context.Context, id account.ID, client string, at time.Time) error
}

// serviceData is a service that the person agreed to share data with.
type serviceData struct {
	Path        string // of the page that asks whether to withdraw
	Service     *page.Service
	Institution string   // whose service it is; "" = its own name says it
	Scopes      []string // keys of sentences
	Since       time.Time
}

type servicesData struct {
	Services []serviceData
	Done     string // "withdrawn"
}

// personal are the scopes with a sentence of their own, in the order in which they are told.
var personal = []string{"profile", "national_id", "email", "phone", "address"}

const withdrawn = "withdrawn"

func (h *Handler) showServices(w http.ResponseWriter, r *http.Request, m me) error {
	list, err := h.Consents.ConsentsOf(r.Context(), m.account.ID)
	if err != nil {
		return err
	}
	d := servicesData{Done: h.done(r, m)}
	for _, c := range list {
		s, err := h.consent(r.Context(), m, c)
		if err != nil {
			return err
		}
		d.Services = append(d.Services, s)
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/services", page.View{Data: d, Lang: m.visit.Lang})
}

// consent puts one into words. A service that was taken out of the registry since is told by its id: what it got may still be withdrawn.
func (h *Handler) consent(ctx context.Context, m me, c grant.Consent) (serviceData, error) {
	d := serviceData{Path: servicesPath + "/" + base64.RawURLEncoding.EncodeToString(h.Keys.Known(consentOf(m, c.Client)...)), Since: c.At, Service: &page.Service{Name: page.Clean(c.Client, 80)}}
	for _, s := range personal {
		if slices.Contains(c.Scopes, s) {
			d.Scopes = append(d.Scopes, "me.scope."+s)
		}
	}
	client, err := h.Signin.Client(ctx, c.Client)
	switch {
	case errors.Is(err, fault.ErrNotFound):
		return d, nil
	case err != nil:
		return d, err
	}
	if name := page.Clean(client.DisplayName(m.visit.Lang), 80); name != "" {
		d.Service.Name = name
	}
	d.Service.Address, d.Service.Logo = page.Clean(client.Address(), 80), client.Logo.Hash
	if client.Institution != client.DisplayName("") {
		d.Institution = page.Clean(client.Institution, 80)
	}
	return d, nil
}

// agreed finds the consent that an address names, among the reader's own: an address holds a word of ours in place of an id. ok is false
// where there is none, or none any more.
func (h *Handler) agreed(r *http.Request, m me) (c grant.Consent, ok bool, err error) {
	mark, err := base64.RawURLEncoding.DecodeString(mux.Vars(r)["handle"])
	if err != nil {
		return c, false, nil
	}
	list, err := h.Consents.ConsentsOf(r.Context(), m.account.ID)
	for _, c := range list {
		if h.Keys.CheckKnown(mark, consentOf(m, c.Client)...) {
			return c, true, err
		}
	}
	return c, false, err
}

// consentOf is what a handle stands for: of the account, since a change may need another sign-in on the way.
func consentOf(m me, client string) []string {
	return []string{"me", string(m.account.ID), "consent", client}
}

func (h *Handler) askWithdraw(w http.ResponseWriter, r *http.Request, m me) error {
	c, ok, err := h.agreed(r, m)
	switch {
	case err != nil:
		return err
	case !ok: // the list shows how it stands
		return see(w, r, servicesPath)
	}
	d, err := h.consent(r.Context(), m, c)
	if err != nil {
		return err
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/withdraw", page.View{Data: d, Lang: m.visit.Lang})
}

// withdraw takes a consent back. It can only make things safer, so a hold on changes does not hold it back.
func (h *Handler) withdraw(w http.ResponseWriter, r *http.Request, m me) error {
	c, ok, err := h.agreed(r, m)
	switch {
	case err != nil:
		return err
	case !ok:
		return see(w, r, servicesPath)
	}
	d, err := h.consent(r.Context(), m, c)
	if err != nil {
		return err
	}
	err = h.Atomically(r.Context(), func(ctx context.Context) error {
		if err := h.Consents.WithdrawConsent(ctx, m.account.ID, c.Client, h.Now()); err != nil {
			return err
		}
		e := h.event(m, audit.ConsentWithdrawn, map[string]string{"service": d.Service.Name})
		e.Client = c.Client
		return h.Record.Record(ctx, e)
	})
	switch {
	case errors.Is(err, fault.ErrNotFound): // a second tab was faster
		return see(w, r, servicesPath)
	case err != nil:
		return err
	}
	return h.say(w, r, m, servicesPath, withdrawn)
}

// servicesRow is the line of the overview.
func (h *Handler) servicesRow(m me, n int) row {
	out := row{Name: h.text(m, "me.services", nil), State: h.text(m, "me.services.none", nil), Path: servicesPath, On: n > 0}
	if n > 0 {
		out.State = h.text(m, "me.services.count", map[string]any{"n": n})
	}
	return out
}
