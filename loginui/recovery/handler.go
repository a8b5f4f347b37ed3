package recovery

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/recovery"
	"github.com/kapi-id/kapi/internal/signin"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/loginui/page"
)

//go:embed *.html words.json
var files embed.FS

// Words is the catalogue source of these pages, and of the messages of a recovery.
func Words() fs.FS { return files }

// Source is the source of these pages.
func Source() page.Source {
	return page.Source{Name: "recovery", FS: files, Samples: samples}
}

// samples try every page out when the program starts.
var samples = map[string]any{
	"start.html": startData{Reasons: recovery.Reasons}, "other.html": startData{}, "identity.html": stepData{Action: "/"},
	"details.html": stepData{Action: "/", Documents: account.DocumentTypes}, "contact.html": stepData{Action: "/"},
	"code.html": codeData{Action: "/", Again: "/", Resend: time.Unix(1, 0), Later: true}, "password.html": passwordData{Action: "/", Rules: []recovery.PasswordRule{{Key: "password.rule.length", N: 8}}},
	"done.html": endData{}, "over.html": endData{Reason: recovery.StoppedSIM},
	"undo.html": undoData{What: enrolment.HoldFactors}, "undo-code.html": struct{}{}, "undone.html": undoData{What: enrolment.HoldFactors},
}

// Config of New. All fields are required.
type Config struct {
	Pages  *page.Pages
	Flow   *recovery.Flow
	Signin Signin
	Holds  Holds
	People People
	// Throttle and Index count guesses at codes that undo.
	Throttle throttle.Store
	Index    func(place, value string) []byte
	Now      func() time.Time
}

// Signin is the sign-in that a recovery was begun from; *signin.Flow stands behind it.
type Signin interface {
	Load(ctx context.Context, id string, v signin.Visit) (signin.Transaction, error)
	Client(ctx context.Context, id string) (clients.Client, error)
}

// Holds undoes; *enrolment.Holds stands behind it.
type Holds interface {
	Look(ctx context.Context, token string) (enrolment.Hold, error)
	LookByCode(ctx context.Context, id account.ID, code string) (enrolment.Hold, error)
	Undo(ctx context.Context, h enrolment.Hold, e audit.Event) error
}

// People finds an account by the ID number; fault.ErrNotFound.
type People interface {
	AccountByNationalID(ctx context.Context, n account.NationalID) (account.Account, error)
}

// Handler serves the pages.
type Handler struct{ Config }

// New checks the configuration.
func New(c Config) (*Handler, error) {
	for _, missing := range []bool{c.Pages == nil, c.Flow == nil, c.Signin == nil, c.Holds == nil, c.People == nil, c.Throttle == nil, c.Index == nil, c.Now == nil} {
		if missing {
			return nil, errors.New("recovery: something is missing from the configuration")
		}
	}
	return &Handler{Config: c}, nil
}

// Mount adds the routes.
func (h *Handler) Mount(r *mux.Router) {
	get := func(path string, f func(http.ResponseWriter, *http.Request) error) {
		r.Handle(path, h.Pages.Get(f)).Methods(http.MethodGet, http.MethodHead)
	}
	post := func(path string, f func(http.ResponseWriter, *http.Request) error) {
		r.Handle(path, h.Pages.Post(f)).Methods(http.MethodPost)
	}
	get("/recover", h.showStart)
	post("/recover", h.start)
	get("/recover/other", h.showOther)
	get("/recover/{id}", h.turn((*turn).owed))
	get("/recover/{id}/{step:identity|details|contact|code|mail|password|done|over}", h.turn((*turn).show))
	post("/recover/{id}/identity", h.turn(take(h.Flow.Identify)))
	post("/recover/{id}/details", h.turn(take(h.Flow.Detail)))
	post("/recover/{id}/contact", h.turn(take(h.Flow.Contact)))
	post("/recover/{id}/{step:code|mail}", h.turn(take(h.Flow.Answer)))
	post("/recover/{id}/password", h.turn(take(h.Flow.Renew)))
	post("/recover/{id}/again", h.turn((*turn).again))
	post("/recover/{id}/change", h.turn((*turn).change))
	post("/recover/{id}/language", h.turn((*turn).language))
	get("/undo", h.showUndo)
	post("/undo", h.undo)
}
