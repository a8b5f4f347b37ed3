package citizen

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/loginui/page"
)

const (
	rows   = 20 // of a page
	chunk  = 60 // events read at once
	rounds = 8  // reads for one page at most: a flood of tries makes short pages, not slow ones
)

// told are the events people are shown of themselves: what they are sent a notice of, and how they sign in and out.
var told = append([]audit.Name{audit.SigninFirst, audit.SigninSecond, audit.SigninCompleted, audit.SigninRefused, audit.SessionEnded}, notice.Changes()...)

// entry is one line of the history.
type entry struct {
	At      time.Time
	ID      string   // of the event
	What    string   // key of the sentence, or
	Text    string   // the sentence
	Factor  string   // key of the factor's name, where the sentence is about one
	Methods []string // keys: how the person signed in
	Service string   // name; "" = none
	Place   string
	Browser string
	System  string
	Bad     bool // something that the person should recognise
	Here    bool // in this session
	NotMe   bool // the person may say that it was not them
}

type historyData struct {
	Entries []entry
	Older   string // path of the next page; "" = there is none
	Later   bool   // this is not the first page
}

func (h *Handler) showHistory(w http.ResponseWriter, r *http.Request, m me) error {
	var before time.Time
	if n, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64); err == nil && n > 0 && n < 1<<53 {
		before = time.UnixMicro(n).UTC()
	}
	entries, next, err := h.history(r.Context(), m, before)
	if err != nil {
		return err
	}
	d := historyData{Entries: entries, Later: !before.IsZero()}
	if !next.IsZero() {
		d.Older = "/me/signins?before=" + strconv.FormatInt(next.UnixMicro(), 10)
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/history", page.View{Data: d, Wide: true, Lang: m.visit.Lang})
}

// history returns a page of entries before a moment (zero = now), newest first, and where the next page begins (zero = there is none).
// A right first factor is an entry only where no completed sign-in of the same browser follows it: somebody knew the
// password and got no further. To know that at the top of a page, reading begins one sign-in's life later.
func (h *Handler) history(ctx context.Context, m me, before time.Time) (entries []entry, next time.Time, err error) {
	at := before
	if !before.IsZero() {
		at = before.Add(signin.Life)
	}
	finished := map[string]time.Time{} // by browser: the last end of a sign-in seen so far
	for range rounds {
		events, err := h.Record.EventsOf(ctx, string(m.account.ID), told, at, chunk)
		if err != nil {
			return nil, time.Time{}, err
		}
		more := len(events) == chunk
		if more {
			events, at = cut(events)
		}
		for _, e := range events {
			skip := h.dull(e, finished)
			if skip || !before.IsZero() && !e.At.Before(before) {
				continue
			}
			// Entries of one moment stay on one page, since the next begins before a moment.
			if len(entries) >= rows && !e.At.Equal(entries[len(entries)-1].At) {
				return entries, entries[len(entries)-1].At, nil
			}
			entries = append(entries, h.entry(ctx, m, e))
		}
		if !more {
			return entries, time.Time{}, nil
		}
	}
	return entries, at, nil
}

// cut drops the last moment of a full chunk, which may go on in the next one, and says where that begins.
func cut(events []audit.Event) ([]audit.Event, time.Time) {
	last := events[len(events)-1].At
	i := slices.IndexFunc(events, func(e audit.Event) bool { return e.At.Equal(last) })
	if i == 0 {
		return events, last
	}
	return events[:i], last.Add(time.Microsecond)
}

// dull says that an event tells the person nothing: a step of a sign-in that was completed, an ordinary sign-out.
func (h *Handler) dull(e audit.Event, finished map[string]time.Time) bool {
	browser := e.Network + "\n" + e.Agent
	switch e.Name {
	case audit.SigninCompleted, audit.SigninRefused:
		finished[browser] = e.At
		return false
	case audit.SigninFirst:
		end, ok := finished[browser]
		return e.Outcome == "ok" && ok && !end.After(e.At.Add(signin.Life))
	case audit.SigninSecond:
		return e.Outcome == "ok"
	case audit.SessionEnded:
		return e.Details["reason"] != reasonThere && e.Details["reason"] != reasonOthers
	}
	return !notice.Told(e)
}

// entry puts an event into words.
func (h *Handler) entry(ctx context.Context, m me, e audit.Event) entry {
	row := entry{ID: e.ID, At: e.At, Place: h.place(e.Network, m.visit.Lang), Service: h.service(ctx, m, e), Here: e.Session != "" && e.Session == m.session.ID}
	row.Browser, row.System = web.Browser(e.Agent)
	if f := e.Details["factor"]; f != "" && h.Pages.Catalogue.Has("factor."+f) {
		row.Factor = "factor." + f
	}
	switch e.Name {
	case audit.SigninCompleted:
		row.What, row.Methods = "me.event.completed", methods(strings.Fields(e.Details["amr"]))
	case audit.SigninFirst, audit.SigninSecond:
		row.Bad = true
		switch e.Outcome {
		case "closed":
			row.What = "me.event.closed"
		case "ok":
			row.What = "me.event.unfinished"
		case "wrong":
			row.What = "me.event.wrong"
		default:
			row.What = "me.event.locked"
		}
	case audit.SigninRefused:
		row.What, row.Bad = "me.event.refused", true
	case audit.PasswordChanged:
		row.What = "me.event.password"
	case audit.TwoFactorOn:
		row.What = "me.event.on"
	case audit.TwoFactorOff:
		row.What, row.Bad = "me.event.off", true
	case audit.SessionEnded:
		row.What = "me.event.ended_there"
		if e.Details["reason"] == reasonOthers {
			row.What = "me.event.ended_others"
		}
	default:
		row.Text, row.Factor = notice.OfEvent(h.Pages.Catalogue, m.visit.Lang, e), ""
	}
	row.NotMe = !row.Here && (e.Name == audit.SigninCompleted || row.What == "me.event.unfinished" || notice.MayDisavow(e))
	return row
}

// service is the name in the reader's language; where the client is gone, as it was called then.
func (h *Handler) service(ctx context.Context, m me, e audit.Event) string {
	if e.Client == "" {
		return ""
	}
	if c, err := h.Signin.Client(ctx, e.Client); err == nil && c.DisplayName(m.visit.Lang) != "" {
		return page.Clean(c.DisplayName(m.visit.Lang), 80)
	}
	return page.Clean(e.Details["service"], 80)
}

// wordy are the amr values (RFC 8176 and ours) that name a way of proving something; the others describe one.
var wordy = []string{"pwd", "fed", "sc", "hwk", "swk", "sms", "oob", "otp", "backup"}

// methods turns amr into keys. A card's chip is one thing, not a card and a key.
func methods(amr []string) (keys []string) {
	for _, v := range amr {
		if !slices.Contains(wordy, v) || v == "hwk" && slices.Contains(amr, "sc") {
			continue
		}
		keys = append(keys, "me.method."+v)
	}
	return keys
}
