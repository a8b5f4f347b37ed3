// Package partner owns the endpoints for machines of partners, below /partner/v1/: the operator tells of a changed SIM card, and a
// bank says that a person proved themselves at one of its ATMs. Enter with New and Handler.Mount. It refuses whoever cannot prove where
// a request comes from, what is too old to be news, and to do anything twice.
package partner

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/gorilla/mux"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/contact/simblock"
	"github.com/kapi-id/kapi/internal/enrolment"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/provider"
)

// Scope lets a partner unblock SIM cards.
const Scope = "simblock:release"

// The endpoints.
const (
	PathUnblock = "/partner/v1/sim-unblock"
	PathEvents  = "/partner/v1/sim-events"
)

const (
	mostBody  = 16 << 10
	mostID    = 128
	freshness = 10 * time.Minute   // of what a partner has seen
	skew      = 90 * time.Second   // of other people's clocks
	oldest    = 7 * 24 * time.Hour // event that is still news
)

// Store is what the endpoints need of the database.
type Store interface {
	Atomically(ctx context.Context, fn func(context.Context) error) error
	AccountByNationalID(ctx context.Context, n account.NationalID) (account.Account, error)
	AccountsByPhone(ctx context.Context, number string) ([]account.ID, error)
	UseOnce(ctx context.Context, kind string, hash []byte, expires time.Time) error
	PartnerOnce(ctx context.Context, client string, transaction, digest []byte, outcome string, now time.Time) (enrolment.Repeat, bool, error)
	PartnerBefore(ctx context.Context, client string, transaction []byte) (enrolment.Repeat, error)
}

// Config of New. All is required but Events, Wake and Log.
type Config struct {
	// Machine says which client asks; *provider.Server does.
	Machine func(r *http.Request, scope string) (clients.Client, error)
	// Events proves where an event comes from; nil = there is no such endpoint.
	Events Prover
	Store  Store
	SIM    *simblock.Keeper
	Audit  audit.Recorder
	Wake   func()
	Now    func() time.Time
	Log    *slog.Logger
}

// Handler serves the endpoints.
type Handler struct{ Config }

// New checks the configuration.
func New(c Config) (*Handler, error) {
	if c.Machine == nil || c.Store == nil || c.SIM == nil || c.Audit == nil || c.Now == nil {
		return nil, errors.New("partner: something is missing from the configuration")
	}
	if c.Wake == nil {
		c.Wake = func() {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{c}, nil
}

// Mount adds the endpoints.
func (h *Handler) Mount(r *mux.Router) {
	r.HandleFunc(PathUnblock, h.unblock).Methods(http.MethodPost)
	if h.Events != nil {
		r.HandleFunc(PathEvents, h.event).Methods(http.MethodPost)
	}
}

func (h *Handler) now() time.Time { return h.Now().UTC().Truncate(time.Microsecond) }

// answer ends a request: no body with 204, else a JSON error.
func answer(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": text})
}

// broken is what nobody foresaw: a server error without a word about the inside.
func (h *Handler) broken(w http.ResponseWriter, r *http.Request, err error) {
	h.Log.ErrorContext(r.Context(), "partner endpoint", "path", r.URL.Path, "err", err)
	if fault.KindOf(err) == fault.Unavailable {
		w.Header().Set("Retry-After", "5")
		answer(w, http.StatusServiceUnavailable, "temporarily_unavailable", "try again later")
		return
	}
	answer(w, http.StatusInternalServerError, "server_error", "something went wrong")
}

// body reads a JSON object of the kind.
func body(w http.ResponseWriter, r *http.Request, strict bool, v any, kinds ...string) ([]byte, bool) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !strings.Contains(" "+strings.Join(kinds, " ")+" ", " "+kind+" ") {
		answer(w, http.StatusUnsupportedMediaType, "invalid_request", "the body must be "+strings.Join(kinds, " or "))
		return nil, false
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
	if err != nil {
		answer(w, http.StatusRequestEntityTooLarge, "invalid_request", "the body is too long or was cut")
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(v); err != nil || d.Decode(&struct{}{}) != io.EOF {
		answer(w, http.StatusBadRequest, "invalid_request", "the body is no such JSON object")
		return nil, false
	}
	return raw, true
}

// release is what a bank says.
type release struct {
	NationalID    string    `json:"national_id"`
	ATM           string    `json:"atm_id"`
	TransactionID string    `json:"transaction_id"`
	VerifiedAt    time.Time `json:"verified_at"`
}

func id(s string) bool {
	return s != "" && len(s) <= mostID && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// refuses says what is wrong with it; "" = nothing.
func (b release) refuses(now time.Time) string {
	switch {
	case !id(b.ATM):
		return "atm_id"
	case !id(b.TransactionID):
		return "transaction_id"
	case b.VerifiedAt.IsZero() || b.VerifiedAt.After(now.Add(skew)) || now.Sub(b.VerifiedAt) > freshness:
		return "verified_at must be a moment of the last ten minutes"
	}
	return ""
}

// errOther: the same transaction said something else before.
var errOther = errors.New("the transaction_id was used for another request")

// unblock is POST /partner/v1/sim-unblock: 204, 404 for nobody, 409 where nothing is blocked, or was not when the person was seen, or the transaction was another one. The
// same request again is 204 again and does nothing.
func (h *Handler) unblock(w http.ResponseWriter, r *http.Request) {
	client, err := h.Machine(r, Scope)
	var refused *provider.Refused
	switch {
	case errors.As(err, &refused):
		w.Header().Set("WWW-Authenticate", refused.Challenge)
		answer(w, refused.Status, refused.Code, "an access token of client_credentials with the scope "+Scope+" is needed")
		return
	case err != nil:
		h.broken(w, r, err)
		return
	}
	var b release
	raw, ok := body(w, r, true, &b, "application/json")
	if !ok {
		return
	}
	n, err := account.ParseNationalID(b.NationalID)
	if err != nil {
		answer(w, http.StatusBadRequest, "invalid_request", "national_id")
		return
	}
	digest := sha256.Sum256(raw)
	transaction := sha256.Sum256([]byte(b.TransactionID))
	before, err := h.Store.PartnerBefore(r.Context(), client.ID, transaction[:])
	switch {
	case err == nil && bytes.Equal(before.Digest, digest[:]): // before the freshness is judged: a repetition may come late
		answer(w, http.StatusNoContent, "", "")
		return
	case err == nil:
		answer(w, http.StatusConflict, "transaction_used", errOther.Error())
		return
	case !errors.Is(err, fault.ErrNotFound):
		h.broken(w, r, err)
		return
	}
	if wrong := b.refuses(h.now()); wrong != "" {
		answer(w, http.StatusBadRequest, "invalid_request", wrong)
		return
	}
	err = h.release(r, client, n, b, transaction[:], digest[:])
	switch {
	case err == nil:
		h.Wake()
		answer(w, http.StatusNoContent, "", "")
	case errors.Is(err, errOther):
		answer(w, http.StatusConflict, "transaction_used", errOther.Error())
	case errors.Is(err, simblock.ErrNotBlocked):
		answer(w, http.StatusConflict, "not_blocked", "the person's number is not blocked")
	case errors.Is(err, fault.ErrNotFound):
		answer(w, http.StatusNotFound, "not_found", "there is no such person")
	default:
		h.broken(w, r, err)
	}
}

// release unblocks, once for each transaction, all in one commit.
func (h *Handler) release(r *http.Request, client clients.Client, n account.NationalID, b release, transaction, digest []byte) error {
	e := audit.Event{At: h.now(), Name: audit.PartnerAsked, Actor: "client:" + client.ID, Client: client.ID, Request: web.RequestID(r.Context()), Network: web.Network(r.Context())}
	details := map[string]string{"partner": client.Institution, "what": "sim-unblock", "atm": b.ATM, "transaction": b.TransactionID, "verified_at": b.VerifiedAt.UTC().Format(time.RFC3339)}
	err := h.Store.Atomically(r.Context(), func(ctx context.Context) error {
		before, first, err := h.Store.PartnerOnce(ctx, client.ID, transaction, digest, "204", h.now())
		switch {
		case err != nil:
			return err
		case !first && bytes.Equal(before.Digest, digest):
			return nil // a second one at the same moment
		case !first:
			return errOther
		}
		a, err := h.Store.AccountByNationalID(ctx, n)
		if err != nil {
			return err
		}
		asked := e
		asked.Outcome, asked.Subject, asked.Details = "ok", string(a.ID), details
		if err := h.Audit.Record(ctx, asked); err != nil {
			return err
		}
		return h.SIM.UnblockSeen(ctx, a.ID, simblock.ByPartner, b.VerifiedAt, e, map[string]string{"partner": client.Institution})
	})
	if err == nil || errors.Is(err, errOther) {
		return err
	}
	// What was refused is in the record too; a bank that asks about people it does not know should be seen.
	asked := e
	asked.Outcome, asked.Details = "refused", details
	if recordErr := h.Audit.Record(r.Context(), asked); recordErr != nil {
		return recordErr
	}
	return err
}

// cloudEvent is what is read of a CloudEvent (CloudEvents 1.0, structured mode).
type cloudEvent struct {
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	SpecVersion string    `json:"specversion"`
	Time        time.Time `json:"time"`
	Data        struct {
		PhoneNumber string `json:"phoneNumber"`
	} `json:"data"`
}

// The version in an event's type is the operator's business.
var (
	family  = regexp.MustCompile(`^org\.camaraproject\.sim-swap-subscriptions\.v[0-9][0-9a-z]*\.[a-z-]+$`)
	swapped = regexp.MustCompile(`^org\.camaraproject\.sim-swap-subscriptions\.v[0-9][0-9a-z]*\.swapped$`)
	e164    = regexp.MustCompile(`^\+[1-9][0-9]{4,14}$`)
)

// event is POST /partner/v1/sim-events: 204 for whatever was understood, the second time too.
func (h *Handler) event(w http.ResponseWriter, r *http.Request) {
	if !h.Events.Proves(r, h.now()) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		answer(w, http.StatusUnauthorized, "invalid_token", "the sender cannot be told")
		return
	}
	var e cloudEvent
	if _, ok := body(w, r, false, &e, "application/cloudevents+json"); !ok {
		return
	}
	now := h.now()
	switch {
	case e.SpecVersion != "1.0" || !id(e.ID) || !id(e.Source) || !family.MatchString(e.Type):
		answer(w, http.StatusBadRequest, "invalid_request", "no event of the SIM swap subscriptions")
		return
	case !swapped.MatchString(e.Type): // of the subscription itself
		answer(w, http.StatusNoContent, "", "")
		return
	case !e164.MatchString(e.Data.PhoneNumber) || e.Time.IsZero() || e.Time.After(now.Add(skew)):
		answer(w, http.StatusBadRequest, "invalid_request", "phoneNumber or time")
		return
	case now.Sub(e.Time) > oldest: // its id may be forgotten by now; a query tells what it would
		answer(w, http.StatusNoContent, "", "")
		return
	}
	if err := h.block(r, e); err != nil {
		h.broken(w, r, err)
		return
	}
	h.Wake()
	answer(w, http.StatusNoContent, "", "")
}

// block does what an event says, once; all in one commit, so that what failed may be sent again.
func (h *Handler) block(r *http.Request, e cloudEvent) error {
	once := sha256.Sum256([]byte(e.Source + "\x00" + e.ID))
	err := h.Store.Atomically(r.Context(), func(ctx context.Context) error {
		if err := h.Store.UseOnce(ctx, "sim_event", once[:], e.Time.Add(oldest+time.Hour)); err != nil {
			return err
		}
		ids, err := h.Store.AccountsByPhone(ctx, e.Data.PhoneNumber)
		if err != nil {
			return err
		}
		for _, id := range ids {
			from := audit.Event{Actor: "operator", Request: web.RequestID(r.Context()), Network: web.Network(r.Context())}
			if err := h.SIM.Block(ctx, id, e.Data.PhoneNumber, e.Time, simblock.ByEvent, from); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, fault.ErrConflict) {
		return nil // known
	}
	return err
}
