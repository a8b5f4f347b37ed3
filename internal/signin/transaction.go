package signin

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
)

// Life is how long a person may take to sign in.
const Life = 30 * time.Minute

// State of a transaction. It only moves forward: open → ready → done, or open → refused → done.
type State string

const (
	Open    State = "open"    // somebody is signing in
	Ready   State = "ready"   // every rule is satisfied and the session stands; only the answer to the client is owed
	Refused State = "refused" // Refusal says which OAuth error is owed
	Done    State = "done"    // answered
)

// Self is the client name of Kapi's own pages: such a sign-in ends at Return (a path) instead of at a client.
const Self = "kapi"

// Ask is what the request wants of the sign-in. It never changes.
type Ask struct {
	Client        string    `json:"client"`
	Scopes        []string  `json:"scopes,omitempty"`
	Want          acr.Level `json:"want,omitzero"` // voluntary: Kapi steps up where the person can
	Must          acr.Level `json:"must,omitzero"` // essential, or the client's own minimum
	Silent        bool      `json:"silent,omitempty"`
	Login         bool      `json:"login,omitempty"`
	Consent       bool      `json:"consent,omitempty"`
	SelectAccount bool      `json:"select_account,omitempty"`
	MaxAge        *int64    `json:"max_age,omitempty"` // seconds
	HintSubject   string    `json:"hint_subject,omitempty"`
	LoginHint     string    `json:"login_hint,omitempty"`
	UILocales     []string  `json:"ui_locales,omitempty"`
	// Return belongs to whoever started: the provider's own record of the request, or a path for Self.
	Return json.RawMessage `json:"return,omitempty"`
}

// Transaction is one sign-in under way. Ask and what follows are sealed at rest.
type Transaction struct {
	ID      string
	Browser []byte // hash of the secret in the cookie of the browser that started it
	State   State
	Ask     Ask
	Progress
	CreatedAt time.Time
	ExpiresAt time.Time
	Version   int64
}

// Progress is what the steps have added.
type Progress struct {
	Account account.ID      `json:"account,omitempty"`
	Ceiling acr.Level       `json:"ceiling,omitzero"` // of the account, kept so that the answer needs no read
	Proofs  []factors.Proof `json:"proofs,omitempty"`
	// Session is the single sign-on session the first Adopted proofs came from, then the one that stands.
	Session     string    `json:"session,omitempty"`
	SessionEnds time.Time `json:"session_ends,omitzero"`
	Adopted     int       `json:"adopted,omitempty"`
	Begun       bool      `json:"begun,omitempty"`    // whether to adopt a session was decided
	Chosen      bool      `json:"chosen,omitempty"`   // prompt=select_account was answered
	Renewed     bool      `json:"renewed,omitempty"`  // a temporary password was changed in this transaction
	Kept        bool      `json:"kept,omitempty"`     // reminded of it, the person kept the old one
	Accepted    bool      `json:"accepted,omitempty"` // the person knows that the wanted level is out of reach
	Consented   bool      `json:"consented,omitempty"`
	Pending     string    `json:"pending,omitempty"` // the factor chosen for the step that is owed
	Lang        string    `json:"lang,omitempty"`    // a switch made in this transaction
	Refusal     Refusal   `json:"refusal,omitzero"`
	// Since is account.Account.ProofsSince as it was when something was first proven here, or as this sign-in itself set it when a
	// password was renewed in it.
	Since  time.Time `json:"since,omitzero"`
	Pinned bool      `json:"pinned,omitempty"` // Since was noted, which releases before this one do at a renewal only
}

// Refusal is the OAuth error a client gets.
type Refusal struct {
	Error       string `json:"error,omitempty"`
	Description string `json:"description,omitempty"`
}

// Store keeps transactions.
type Store interface {
	Atomically(ctx context.Context, fn func(context.Context) error) error
	CreateTransaction(ctx context.Context, t Transaction) error
	// Transaction returns it in any state while it is not expired at now; fault.ErrNotFound.
	Transaction(ctx context.Context, id string, now time.Time) (Transaction, error)
	// SaveTransaction writes State and Progress if Version is still the stored one and the state may move there; else
	// fault.ErrConflict. It returns the new version.
	SaveTransaction(ctx context.Context, t Transaction) (int64, error)
	// FinishTransaction moves ready or refused to done, once, for the browser that started it, and returns it as it was before.
	// fault.ErrNotFound for any other. One conditional write.
	FinishTransaction(ctx context.Context, id string, browser []byte, now time.Time) (Transaction, error)
}
