package webauthn

import (
	"context"
	"crypto/x509"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	library "github.com/go-webauthn/webauthn/webauthn"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/fault"
)

// Life of a challenge.
const Life = 5 * time.Minute

// MaxAnswer is the largest answer that is looked at, in bytes: an attestation with its certificates has some five thousand.
const MaxAnswer = 32 << 10

const name = "webauthn"

// States of a credential.
const (
	active  = "active"
	suspect = "suspect" // its counter fell: there may be a copy
)

//go:embed pages
var files embed.FS

// Factor registers keys and judges their signatures.
type Factor struct {
	kit   factors.Kit
	web   *library.WebAuthn // nil where browsers offer no keys: at a bare IP address
	roots *x509.CertPool    // of makers whose word on hardware counts; nil = nobody's
	allow *Allowed          // models that may be registered; nil = any
}

// New returns the factor over its kit. roots are those of the makers of keys that count as hardware; nil = no key does. allow are the only
// models that people may register, for which one of these makers vouches; nil = any. Where both are nil no key is asked for its maker.
func New(kit factors.Kit, roots *x509.CertPool, allow *Allowed) *Factor {
	f := &Factor{kit: kit, roots: roots, allow: allow}
	u, err := url.Parse(kit.Issuer)
	if err != nil || u.Hostname() == "" {
		return f
	}
	conveyance := protocol.PreferNoAttestation
	if roots != nil || allow != nil {
		conveyance = protocol.PreferDirectAttestation
	}
	limit := library.TimeoutConfig{Timeout: Life, TimeoutUVD: Life} // what the browser is told; tickets keep the time here
	f.web, err = library.New(&library.Config{
		RPID: u.Hostname(), RPDisplayName: "Kapi", RPOrigins: []string{u.Scheme + "://" + u.Host}, AttestationPreference: conveyance,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementDiscouraged, RequireResidentKey: protocol.ResidentKeyNotRequired(),
			UserVerification: protocol.VerificationPreferred,
		},
		Timeouts: library.TimeoutsConfig{Login: limit, Registration: limit},
	})
	if err != nil {
		f.web = nil
	}
	return f
}

// Pages holds page.html, manage.html, rename.html, remove.html, words.json, style.css and script.js.
func (f *Factor) Pages() fs.FS {
	sub, err := fs.Sub(files, "pages")
	if err != nil {
		panic(err) // a name of ours
	}
	return sub
}

// Info: no count of tries, since a signature cannot be guessed and a count would let others lock the owner out.
func (f *Factor) Info() factors.Info {
	return factors.Info{Name: name, Stage: factors.Second, Order: 20}
}

// record is the sealed part of a credential.
type record struct {
	Name     string             `json:"name"`
	User     []byte             `json:"user"` // what the key calls its owner: random, the same for all keys of a person
	Key      library.Credential `json:"key"`
	Hardware bool               `json:"hardware"`
	Used     time.Time          `json:"used,omitzero"`
	Suspect  time.Time          `json:"suspect,omitzero"` // when the counter fell
}

// key is a credential, opened.
type key struct {
	factors.Credential
	record
}

func (k key) synced() bool { return k.Key.Flags.BackupEligible }

// keys returns the person's keys, oldest first.
func (f *Factor) keys(ctx context.Context, id account.ID) ([]key, error) {
	rows, err := f.kit.Credentials.Of(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []key
	for _, c := range rows {
		k, err := open(c)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

func open(c factors.Credential) (key, error) {
	k := key{Credential: c}
	if err := json.Unmarshal(c.Data, &k.record); err != nil || len(k.Key.PublicKey) == 0 {
		return key{}, errors.New("webauthn: a stored key cannot be read")
	}
	k.Key.Authenticator.SignCount = uint32(c.Counter) // the column moves by one conditional write
	return k, nil
}

// usable are the keys that may sign in.
func usable(keys []key) (out []key) {
	for _, k := range keys {
		if k.State == active {
			out = append(out, k)
		}
	}
	return out
}

// Available says whether the person has a key and browsers offer keys here.
func (f *Factor) Available(ctx context.Context, id account.ID) (bool, error) {
	if f.web == nil || id == "" {
		return false, nil
	}
	keys, err := f.keys(ctx, id)
	return err == nil && len(usable(keys)) > 0, err
}

// user is the owner as the library wants to see one.
type user struct {
	handle []byte
	name   string
	keys   []key
}

func (u user) WebAuthnID() []byte          { return u.handle }
func (u user) WebAuthnName() string        { return u.name }
func (u user) WebAuthnDisplayName() string { return u.name }
func (u user) WebAuthnCredentials() (out []library.Credential) {
	for _, k := range u.keys {
		out = append(out, k.Key)
	}
	return out
}

// memo is what a ticket remembers of a ceremony.
type memo struct {
	Session library.SessionData `json:"session"`
	Options json.RawMessage     `json:"options"` // as the browser gets them
}

// View is the data of page.html.
type View struct{ Options string }

// Begin shows the button, with the same challenge until it is answered. Who has no key gets a list all the same, the same each time: the
// page tells nobody whether there are keys.
func (f *Factor) Begin(ctx context.Context, try factors.Try) (factors.Challenge, error) {
	if f.web == nil || try.Account == "" {
		return factors.Challenge{}, fault.New(fault.Denied, "webauthn.none")
	}
	_, m, err := f.pending(ctx, try)
	if errors.Is(err, fault.ErrNotFound) || errors.Is(err, fault.ErrConflict) {
		m, err = f.challenge(ctx, try)
	}
	if err != nil {
		return factors.Challenge{}, err
	}
	return factors.Challenge{Page: &factors.Page{Data: View{Options: string(m.Options)}}}, nil
}

func (f *Factor) challenge(ctx context.Context, try factors.Try) (memo, error) {
	keys, err := f.keys(ctx, try.Account)
	if err != nil {
		return memo{}, err
	}
	u := user{keys: usable(keys)}
	if len(u.keys) == 0 {
		id := f.kit.Phone.MAC(name, "no key", string(try.Account))
		u.keys = []key{{record: record{Key: library.Credential{ID: id, Transport: []protocol.AuthenticatorTransport{protocol.USB}}}}}
	}
	options, session, err := f.web.BeginLogin(u, library.WithUserVerification(verification(try)))
	if err != nil {
		return memo{}, err
	}
	return f.remember(ctx, try, options, session)
}

// verification is how much the key must ask of its owner: a PIN or a finger where the sign-in wants the highest level.
func verification(try factors.Try) protocol.UserVerificationRequirement {
	if try.Want >= acr.High {
		return protocol.VerificationRequired
	}
	return protocol.VerificationPreferred
}

// remember opens the ticket of a ceremony.
func (f *Factor) remember(ctx context.Context, try factors.Try, options any, session *library.SessionData) (memo, error) {
	raw, err := json.Marshal(options)
	if err != nil {
		return memo{}, err
	}
	m := memo{Session: *session, Options: raw}
	data, err := json.Marshal(m)
	if err != nil {
		return memo{}, err
	}
	now := f.now()
	_, err = f.kit.Tickets.Open(ctx, factors.Ticket{
		Binding: try.Binding, Purpose: try.Purpose, Account: try.Account, Data: data, CreatedAt: now, ExpiresAt: now.Add(Life),
	}, nil)
	return m, err
}

// pending returns the open ceremony of the try; fault.ErrNotFound if there is none, fault.ErrConflict if it was answered.
func (f *Factor) pending(ctx context.Context, try factors.Try) (factors.Ticket, memo, error) {
	t, err := f.kit.Tickets.Find(ctx, try.Binding, try.Purpose)
	if err != nil {
		return t, memo{}, err
	}
	var m memo
	if try.Account == "" || t.Account != try.Account || json.Unmarshal(t.Data, &m) != nil {
		return t, memo{}, fault.ErrNotFound
	}
	return t, m, nil
}

// take uses a ceremony up, before its answer is looked at: one challenge, one answer.
func (f *Factor) take(ctx context.Context, try factors.Try) (memo, error) {
	t, m, err := f.pending(ctx, try)
	if errors.Is(err, fault.ErrNotFound) {
		return memo{}, fault.New(fault.Expired, "webauthn.expired")
	}
	if err == nil {
		err = f.kit.Tickets.Use(ctx, t.ID)
	}
	return m, err
}

func handle(id []byte) string { return base64.RawURLEncoding.EncodeToString(id) }

func (f *Factor) now() time.Time { return f.kit.Now().UTC().Truncate(time.Microsecond) }

var (
	_ factors.Factor    = (*Factor)(nil)
	_ factors.Available = (*Factor)(nil)
	_ factors.Reader    = (*Factor)(nil)
	_ factors.Enroller  = (*Factor)(nil)
)
