package citizen

import (
	"net/http"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/loginui/page"
)

// row is one thing of the overview.
type row struct {
	Name  string // sentence
	State string // sentence
	Used  time.Time
	Path  string // "" = there is nothing to do there
	On    bool
	Warn  bool
}

type securityData struct {
	Ways []row // what people set up, in the order of the sign-in
}

func (h *Handler) showSecurity(w http.ResponseWriter, r *http.Request, m me) error {
	return h.Pages.Render(w, r, http.StatusOK, "citizen/security", page.View{Data: securityData{Ways: h.ways(r, m)}, Lang: m.visit.Lang})
}

// ways asks every factor that people set up how it stands. One that cannot tell takes no other down.
func (h *Handler) ways(r *http.Request, m me) []row {
	var rows []row
	for _, x := range h.Factors.All(0) {
		f, ok := x.(factors.Enroller)
		if !ok {
			continue
		}
		name := x.Info().Name
		s, err := f.Standing(r.Context(), m.account.ID)
		if err != nil {
			h.Pages.Log.ErrorContext(r.Context(), "factor cannot tell how it stands", "factor", name, "err", err)
			rows = append(rows, row{Name: h.say1(m, "factor."+name, nil), State: h.say1(m, "me.security.unknown", nil), Warn: true})
			continue
		}
		rows = append(rows, h.standing(m, name, s))
	}
	return rows
}

func (h *Handler) standing(m me, name string, s factors.Standing) row {
	out := row{Name: h.say1(m, "factor."+name, nil), On: s.On, Warn: s.Warn, Used: s.Used}
	if s.On || s.Possible {
		out.Path = securityPath + "/" + name
	}
	switch {
	case s.Key != "":
		out.State = h.say1(m, s.Key, map[string]any{"n": s.N, "name": page.Clean(s.Name, 80)})
	case s.On && !s.Since.IsZero():
		out.State = h.say1(m, "me.security.on.since", map[string]any{"date": page.Date(m.visit.Lang, s.Since)})
	case s.On:
		out.State = h.say1(m, "me.security.on", nil)
	case !s.Possible && s.Why != "":
		out.State = h.say1(m, s.Why, nil)
	default:
		out.State = h.say1(m, "me.security.none", nil)
	}
	return out
}

func (h *Handler) say1(m me, key string, args map[string]any) string {
	return h.Pages.Catalogue.Text(m.visit.Lang, key, args)
}
