package citizen

import (
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/kapi-id/kapi/loginui/page"
)

// warnFor is how long before the end of a session that is not used its page says so, with a button that goes on (WCAG 2.2.1 asks
// for 20 seconds). It needs no script: the page leaves for the warning by its Refresh header.
const warnFor = 2 * time.Minute

// paramUnattended marks a page that came back from the warning by itself, since the session was used in another tab: nobody asked
// for it, so it does not count as use, or two tabs would keep each other alive for ever.
const paramUnattended = "unattended"

func unattended(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.Query().Has(paramUnattended)
}

// watch sends the page to the warning when it is time. In the last minutes of the twelve hours nothing is left to warn of.
func (h *Handler) watch(w http.ResponseWriter, r *http.Request, m me) {
	if wait := m.session.Until().Sub(h.Now()) - warnFor; wait > 0 {
		w.Header().Set("Refresh", strconv.Itoa(int(wait/time.Second))+"; url=/me/idle?to="+url.QueryEscape(inside(comeBack(r))))
	}
}

type idleData struct {
	Ends time.Time
	Over bool   // it has ended
	Last bool   // it ends whatever is done: it is as old as a session may be
	To   string // where the reader was
}

// idle warns that the session is about to end, and says when it has. Looking at it is no use of the session.
func (h *Handler) idle(w http.ResponseWriter, r *http.Request) error {
	m, ok, err := h.look(r)
	if err != nil {
		return err
	}
	d := idleData{To: inside(r.URL.Query().Get("to")), Over: !ok}
	v := page.View{Lang: m.visit.Lang}
	if ok {
		d.Ends = m.session.Until()
		d.Last = d.Ends.Equal(m.session.ExpiresAt)
		left := d.Ends.Sub(h.Now())
		if left > warnFor+5*time.Second { // it was used meanwhile, elsewhere
			http.Redirect(w, r, byItself(d.To), http.StatusSeeOther)
			return nil
		}
		v.Refresh = left + time.Second
	}
	v.Data = d
	return h.Pages.Render(w, r, http.StatusOK, "citizen/idle", v)
}

// stay goes on: being asked at all was use of the session.
func (h *Handler) stay(w http.ResponseWriter, r *http.Request, _ me) error {
	http.Redirect(w, r, inside(r.PostForm.Get("to")), http.StatusSeeOther)
	return nil
}

// inside returns a path of these pages that can be looked at, "/me" for any other.
func inside(to string) string {
	u, err := url.Parse(page.Local(to))
	if err != nil || path.Clean(u.Path) != u.Path || u.Path != "/me" && !strings.HasPrefix(u.Path, "/me/") {
		return "/me"
	}
	switch u.Path {
	case "/me/idle", "/me/enter", "/me/sign-out", "/me/signed-out":
		return "/me"
	}
	q := u.Query()
	if q.Has(paramUnattended) {
		q.Del(paramUnattended)
		u.RawQuery = q.Encode()
	}
	return u.RequestURI()
}

func byItself(to string) string {
	if strings.Contains(to, "?") {
		return to + "&" + paramUnattended + "=1"
	}
	return to + "?" + paramUnattended + "=1"
}
