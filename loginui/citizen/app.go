package citizen

import (
	"net/http"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/signin"
)

// EnterAt returns what leads a reader through a sign-in, where nobody is signed in, and then to path, one that signin.StartSelf takes. It
// is for the phone app, whose page is no page of ours.
func (h *Handler) EnterAt(path string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		_, ok, err := h.reader(r)
		if err != nil {
			return err
		}
		if !ok {
			return h.start(w, r, signin.SelfAsk{Path: path})
		}
		http.Redirect(w, r, path, http.StatusSeeOther)
		return nil
	}
}

// Reader is the account that is signed in, if any. Asking keeps no session alive.
func (h *Handler) Reader(r *http.Request) (a account.Account, ok bool, err error) {
	m, ok, err := h.look(r)
	return m.account, ok, err
}
