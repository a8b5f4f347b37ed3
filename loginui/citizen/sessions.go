package citizen

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/session"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/loginui/page"
)

// Reasons of audit.SessionEnded. People are told of the first two; of the third by what closed the way.
const (
	reasonThere  = "there"  // ended from another session
	reasonOthers = "others" // all others ended at once
	reasonClosed = "closed" // the way by which it was opened was closed
)

type sessionData struct {
	Path    string // of the page that asks whether to end it
	Browser string
	System  string
	Place   string
	Since   time.Time
	Seen    time.Time
	Level   string // key
	Current bool
	Held    bool // idle, and still used by an application
}

type sessionsData struct {
	Sessions []sessionData // this one first
	Others   int
	Done     string // "there" or "others"
}

func (h *Handler) showSessions(w http.ResponseWriter, r *http.Request, m me) error {
	list, err := h.Sessions.SessionsOf(r.Context(), m.account.ID, h.Now())
	if err != nil {
		return err
	}
	d := sessionsData{Done: h.done(r, m)}
	for _, s := range list {
		row := h.session(m, s)
		if row.Current {
			d.Sessions = slices.Insert(d.Sessions, 0, row)
			continue
		}
		d.Sessions = append(d.Sessions, row)
		d.Others++
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/sessions", page.View{Data: d, Wide: true, Lang: m.visit.Lang})
}

func (h *Handler) session(m me, s session.Session) sessionData {
	row := sessionData{Path: "/me/sessions/" + h.handle(s), Place: h.place(s.Network, m.visit.Lang), Since: s.CreatedAt, Seen: s.SeenAt,
		Level: "me.level." + s.Level.Short(), Current: s.ID == m.session.ID,
		Held: !s.Alive(h.Now())}
	if s.Level == acr.None {
		row.Level = "me.level.low"
	}
	row.Browser, row.System = web.Browser(s.Agent)
	return row
}

// handle names a session in an address without telling its id, which stays inside.
func (h *Handler) handle(s session.Session) string { return h.mark(s, "handle") }

// named finds one of the reader's own sessions; anybody else's is as unknown as none.
func (h *Handler) named(r *http.Request, m me) (session.Session, error) {
	list, err := h.Sessions.SessionsOf(r.Context(), m.account.ID, h.Now())
	if err != nil {
		return session.Session{}, err
	}
	handle := mux.Vars(r)["handle"]
	for _, s := range list {
		if s.Account == m.account.ID && s.ID != m.session.ID && h.marked(handle, s, "handle") {
			return s, nil
		}
	}
	return session.Session{}, fault.New(fault.NotFound, "me.session.gone")
}

func (h *Handler) askEnd(w http.ResponseWriter, r *http.Request, m me) error {
	s, err := h.named(r, m)
	if err != nil {
		return err
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/end", page.View{Data: h.session(m, s), Lang: m.visit.Lang})
}

func (h *Handler) end(w http.ResponseWriter, r *http.Request, m me) error {
	s, err := h.named(r, m)
	if err != nil {
		return err
	}
	err = h.Atomically(r.Context(), func(ctx context.Context) error {
		if err := h.endOther(ctx, m, s.ID, map[string]string{"reason": reasonThere}); err != nil {
			return err
		}
		return h.voidTickets(ctx, m)
	})
	if err != nil {
		return err
	}
	return h.say(w, r, m, "/me/sessions", reasonThere)
}

// endOther ends one session of the person, and records it as that one, inside a transaction.
func (h *Handler) endOther(ctx context.Context, m me, id string, details map[string]string) error {
	if err := h.Sessions.EndSession(ctx, m.account.ID, id, h.Now()); err != nil {
		return err
	}
	e := h.event(m, audit.SessionEnded, details)
	e.Session = id
	return h.Record.Record(ctx, e)
}

// voidTickets closes what waits for an answer: a pairing code that was asked for in a session needs that session no more.
func (h *Handler) voidTickets(ctx context.Context, m me) error {
	if h.VoidTickets == nil {
		return nil
	}
	return h.VoidTickets(ctx, m.account.ID, h.Now())
}

type othersData struct{ Others int }

func (h *Handler) askEndOthers(w http.ResponseWriter, r *http.Request, m me) error {
	list, err := h.Sessions.SessionsOf(r.Context(), m.account.ID, h.Now())
	if err != nil {
		return err
	}
	others := others(list, m)
	if others == 0 {
		http.Redirect(w, r, "/me/sessions", http.StatusSeeOther)
		return nil
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/end-others", page.View{Data: othersData{others}, Lang: m.visit.Lang})
}

func others(list []session.Session, m me) (n int) {
	for _, s := range list {
		if s.ID != m.session.ID {
			n++
		}
	}
	return n
}

func (h *Handler) endOthers(w http.ResponseWriter, r *http.Request, m me) error {
	err := h.Atomically(r.Context(), func(ctx context.Context) error { return h.closeOthers(ctx, m) })
	if err != nil {
		return err
	}
	h.stayKnown(w, r, m)
	return h.say(w, r, m, "/me/sessions", reasonOthers)
}

// stayKnown makes this browser known to the account again, after the cookies of all were voided. Without it the person is only
// worse off against somebody who guesses, so nothing fails for it.
func (h *Handler) stayKnown(w http.ResponseWriter, r *http.Request, m me) {
	known, err := h.Signin.Know(r.Context(), m.account.ID, m.visit)
	if err != nil {
		h.Pages.Log.WarnContext(r.Context(), "a browser is not known any more", "request", m.visit.Request, "err", err)
	} else if known != "" {
		h.Cookies.Set(w, web.KnownCookie, known, web.Year)
	}
}

// closeOthers ends every session but this one and records it, inside a transaction. It ends also those that are idle.
func (h *Handler) closeOthers(ctx context.Context, m me) error {
	now := h.Now()
	list, err := h.Sessions.SessionsOf(ctx, m.account.ID, now)
	if err != nil {
		return err
	}
	if err := h.Sessions.EndSessions(ctx, m.account.ID, m.session.ID, now); err != nil {
		return err
	}
	n := others(list, m)
	if n == 0 {
		return nil
	}
	return h.Record.Record(ctx, h.event(m, audit.SessionEnded, map[string]string{"reason": reasonOthers, "count": strconv.Itoa(n)}))
}
