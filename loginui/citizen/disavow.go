package citizen

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/uuid"

	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/loginui/page"
)

const disavowedPath = notice.Path + "/done"

type notMeData struct {
	Token string
	Over  bool // the link was used, or is too old
}

// disavow is one tap in the person's own pages: everything ends, this session included, since whoever stole its cookie sits in
// the same one.
func (h *Handler) disavow(w http.ResponseWriter, r *http.Request, m me) error {
	details := map[string]string{"how": "page"}
	if id, err := uuid.Parse(r.PostForm.Get("event")); err == nil {
		details["what"] = id.String()
	}
	if err := h.Signin.Disavow(r.Context(), m.account.ID, h.event(m, "", details)); err != nil {
		return err
	}
	return h.disavowed(w, r)
}

func (h *Handler) disavowed(w http.ResponseWriter, r *http.Request) error {
	h.Cookies.Clear(w, web.SessionCookie)
	return see(w, r, disavowedPath)
}

// askNotMe shows the button that the link of a notice leads to. Looking uses nothing up: mail programs look at every link.
func (h *Handler) askNotMe(w http.ResponseWriter, r *http.Request) error {
	d := notMeData{Token: r.URL.Query().Get("t")}
	_, err := h.Notices.NoticeToken(r.Context(), h.Keys.HashToken(d.Token), h.Now())
	return h.notMe(w, r, d, err)
}

// takeNotMe does what the button says, for whoever has the link: it is worth nothing else, and can only make things safer.
func (h *Handler) takeNotMe(w http.ResponseWriter, r *http.Request) error {
	d := notMeData{Token: r.PostForm.Get("t")}
	err := h.Atomically(r.Context(), func(ctx context.Context) error {
		id, err := h.Notices.UseNoticeToken(ctx, h.Keys.HashToken(d.Token), h.Now())
		if err != nil {
			return err
		}
		v := h.visit(r)
		return h.Signin.Disavow(ctx, id, audit.Event{Actor: string(id), Client: signin.Self, Request: v.Request, Network: v.Network, Agent: v.Agent,
			Details: map[string]string{"how": "link"}})
	})
	if err != nil {
		return h.notMe(w, r, d, err)
	}
	return h.disavowed(w, r)
}

func (h *Handler) notMe(w http.ResponseWriter, r *http.Request, d notMeData, err error) error {
	status := http.StatusOK
	if errors.Is(err, fault.ErrNotFound) {
		d.Over, status = true, http.StatusGone
	} else if err != nil {
		return err
	}
	return h.Pages.Render(w, r, status, "citizen/not-me", page.View{Data: d})
}

func (h *Handler) afterDisavowed(w http.ResponseWriter, r *http.Request) error {
	return h.Pages.Render(w, r, http.StatusOK, "citizen/disavowed", page.View{})
}
