package citizen

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/notify/notice"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/loginui/page"
)

// Notices is the person's own list of what they were told, and the links in the mails; notice.Store has it.
type Notices interface {
	NoticesOf(ctx context.Context, id account.ID, before time.Time, n int) ([]notice.Notice, error)
	UnreadNotices(ctx context.Context, id account.ID) (int, error)
	ReadNotices(ctx context.Context, id account.ID, until, now time.Time) error
	NoticeToken(ctx context.Context, hash []byte, now time.Time) (account.ID, error)
	UseNoticeToken(ctx context.Context, hash []byte, now time.Time) (account.ID, error)
}

// noticeData is one line of the list.
type noticeData struct {
	ID      string
	At      time.Time
	What    string // sentence
	Do      string // sentence: for whoever did not do it; "" where NotMe has a button
	Place   string
	Browser string
	System  string
	New     bool
	NotMe   bool
}

type noticesData struct {
	Notices []noticeData
	Older   string // path of the next page; "" = there is none
	Later   bool   // this is not the first page
}

// showNotices shows a page of the list. What stands on the first page counts as read from then on.
func (h *Handler) showNotices(w http.ResponseWriter, r *http.Request, m me) error {
	var before time.Time
	if n, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64); err == nil && n > 0 && n < 1<<53 {
		before = time.UnixMicro(n).UTC()
	}
	list, err := h.Notices.NoticesOf(r.Context(), m.account.ID, before, rows+1)
	if err != nil {
		return err
	}
	d := noticesData{Later: !before.IsZero()}
	if len(list) > rows {
		list = list[:rows]
		d.Older = "/me/notices?before=" + strconv.FormatInt(list[rows-1].At.UnixMicro(), 10)
	}
	for _, n := range list {
		d.Notices = append(d.Notices, h.notice(m, n))
	}
	if !d.Later && len(list) > 0 && r.Method == http.MethodGet {
		if err := h.Notices.ReadNotices(r.Context(), m.account.ID, list[0].At, h.Now()); err != nil {
			return err
		}
	}
	return h.Pages.Render(w, r, http.StatusOK, "citizen/notices", page.View{Data: d, Lang: m.visit.Lang})
}

func (h *Handler) notice(m me, n notice.Notice) noticeData {
	d := noticeData{ID: n.ID, At: n.At, What: notice.Sentence(h.Pages.Catalogue, m.visit.Lang, n), Place: h.place(n.Network, m.visit.Lang),
		New: n.ReadAt.IsZero(), NotMe: notice.NotMe(n)}
	d.Browser, d.System = web.Browser(n.Agent)
	if !d.NotMe {
		d.Do = notice.Deed(h.Pages.Catalogue, m.visit.Lang, n)
	}
	return d
}
