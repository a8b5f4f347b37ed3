package program

import (
	"context"
	"strings"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/password"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact/reach"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/recovery"
	"github.com/kapi-id/kapi/internal/secret"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/words"
	"github.com/kapi-id/kapi/loginui/page"
	recoverypages "github.com/kapi-id/kapi/loginui/recovery"
	"github.com/kapi-id/kapi/storage"
)

// heldBack makes the holds. A command has no registry of factors and carries nothing out: there, devices is nil.
func (x *opened) heldBack(passwords *password.Factor, registry *factors.Registry, catalogue *words.Catalogue) *enrolment.Holds {
	h := &enrolment.Holds{
		Store: x.db, Contacts: x.db, Accounts: x.db, Sessions: x.db, DisablePassword: passwords.Disable,
		Notices: enrolment.HoldNotices{Outbox: x.db, Words: catalogue, Issuer: x.Issuer}, Audit: x.record,
		MAC: func(parts ...string) []byte { return x.ring.MAC(secret.Pepper, parts...) }, Now: x.now,
	}
	if registry == nil {
		return h
	}
	if d, ok := registry.Get("device").(enrolment.Devices); ok {
		h.Devices = d
	}
	return h
}

// recoveries makes what gives a new password for a forgotten one.
func (a *App) recoveries(registry *factors.Registry, catalogue *words.Catalogue) *recovery.Flow {
	keys := keyed{a.ring}
	return &recovery.Flow{
		Store:    prompt{a.db, reach.WakingAfter(a.db.Atomically, a.worker.Wake)},
		Sessions: a.db, Accounts: a.db, Tickets: a.db.Tickets("recovery"), Outbox: a.db, Reach: a.reach,
		Passwords: renewing{a.password}, Holds: a.holds, Throttle: a.db, Audit: a.db, Told: a.record, Index: keys.Index, Words: catalogue,
		Unlocks: func(n account.NationalID, id account.ID) (first []string) {
			for _, key := range signin.TryKeys(keys, registry, n, id) {
				if strings.HasPrefix(key, "first:") { // the second factor's count is nothing a new password may reset
					first = append(first, key)
				}
			}
			return first
		},
		Knows: func(cookie string, who account.Account) string { return a.Flow.Knows(cookie, who) },
		Now:   a.now, Log: a.log, Pause: a.Pause,
	}
}

// prompt is a store after each commit of which the sender looks at the outbox.
type prompt struct {
	*storage.DB
	atomically func(context.Context, func(context.Context) error) error
}

func (p prompt) Atomically(ctx context.Context, fn func(context.Context) error) error {
	return p.atomically(ctx, fn)
}

// recoveryPages makes their pages.
func (a *App) recoveryPages(pages *page.Pages, flow *recovery.Flow) (*recoverypages.Handler, error) {
	return recoverypages.New(recoverypages.Config{
		Pages: pages, Flow: flow, Signin: a.Flow, Holds: a.holds, People: a.db, Throttle: a.db, Index: keyed{a.ring}.Index, Now: a.now,
	})
}

// lost takes down that a registered device is lost.
func (a *App) lost(ctx context.Context, id account.ID, e audit.Event) (time.Time, error) {
	h, err := a.holds.Lost(ctx, id, e)
	a.worker.Wake()
	return h.Due, err
}

// CarryOut does at once what waits for its time; Start does it every ten seconds.
func (a *App) CarryOut(ctx context.Context) error { return a.holds.CarryOut(ctx) }

// heldFor says whether the factors of a person are frozen for a session.
func (a *App) heldFor(ctx context.Context, id account.ID, s session.Session) error {
	return a.holds.Held(ctx, id, s.Level)
}

// renewing gives a recovery the password factor in its own words.
type renewing struct{ *password.Factor }

func (p renewing) Rules(twoFactor bool) []recovery.PasswordRule {
	var out []recovery.PasswordRule
	for _, r := range p.Factor.Rules(twoFactor) {
		out = append(out, recovery.PasswordRule{Key: r.Key, N: r.N})
	}
	return out
}

func (p renewing) Renew(ctx context.Context, id account.ID, word string, twoFactor bool) (func(context.Context) error, error) {
	prepared, err := p.Factor.Prepare(ctx, password.Change{Account: id, New: word, WithoutOld: true, Alone: !twoFactor})
	if err != nil {
		return nil, err
	}
	return prepared.Write, nil
}
