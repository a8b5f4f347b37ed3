package webauthn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/go-webauthn/webauthn/protocol"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

// Readable refuses what is no answer of a key before anything is looked up.
func (f *Factor) Readable(answer factors.Answer) error {
	_, err := assertion(answer)
	return err
}

// raw is the answer as the script put it into the form.
func raw(answer factors.Answer) ([]byte, error) {
	typed := answer.Get("credential")
	switch {
	case typed == "": // the button works by a script
		return nil, fault.New(fault.Invalid, "webauthn.script")
	case len(typed) > MaxAnswer:
		return nil, fault.New(fault.Invalid, "webauthn.unreadable")
	}
	return []byte(typed), nil
}

func assertion(answer factors.Answer) (*protocol.ParsedCredentialAssertionData, error) {
	b, err := raw(answer)
	if err != nil {
		return nil, err
	}
	p, err := protocol.ParseCredentialRequestResponseBytes(b)
	if err != nil {
		return nil, fault.New(fault.Invalid, "webauthn.unreadable") // the cause may quote the answer
	}
	return p, nil
}

// Verify uses the challenge up and judges the signature.
func (f *Factor) Verify(ctx context.Context, try factors.Try, answer factors.Answer) (factors.Proof, error) {
	p, err := assertion(answer)
	if err != nil {
		return factors.Proof{}, err
	}
	if f.web == nil || try.Account == "" {
		return factors.Proof{}, wrong()
	}
	m, err := f.take(ctx, try)
	if err != nil {
		return factors.Proof{}, err
	}
	k, err := f.judge(ctx, try, m, p)
	for n := 0; errors.Is(err, fault.ErrConflict) && n < 10; n++ { // the key was used, renamed or removed at this moment
		k, err = f.judge(ctx, try, m, p)
	}
	if err != nil {
		return factors.Proof{}, err
	}
	method := "swk"
	if k.Hardware {
		method = "hwk"
	}
	return factors.Proof{
		Factor: name, Account: try.Account, Stage: factors.Second, Kinds: factors.Have, Channel: factors.Here, Level: acr.Low,
		AMR: []string{method, "user"}, At: k.Used,
	}, nil
}

// judge checks the answer against the key as it is stored now, and stores what the use changes. fault.ErrConflict when the key moved
// meanwhile.
func (f *Factor) judge(ctx context.Context, try factors.Try, m memo, p *protocol.ParsedCredentialAssertionData) (key, error) {
	keys, err := f.keys(ctx, try.Account)
	if err != nil {
		return key{}, err
	}
	i := 0
	for i < len(keys) && !bytes.Equal(keys[i].Key.ID, p.RawID) {
		i++
	}
	if i == len(keys) {
		return key{}, wrong()
	}
	k := keys[i]
	if k.State != active {
		return key{}, copied()
	}
	s := m.Session
	s.UserID, s.UserVerification = k.User, verification(try)
	flags := p.Response.AuthenticatorData.Flags
	if s.UserVerification == protocol.VerificationRequired && !flags.HasUserVerified() {
		return key{}, fault.Wrap(fault.Denied, "webauthn.verify", factors.ErrWrong)
	}
	// Only keys that were offered, so that a key removed or added meanwhile spoils no other.
	offered := make([][]byte, 0, len(s.AllowedCredentialIDs))
	owner := user{handle: k.User, name: try.Person, keys: usable(keys)}
	for _, id := range s.AllowedCredentialIDs {
		for _, mine := range owner.keys {
			if bytes.Equal(id, mine.Key.ID) {
				offered = append(offered, id)
			}
		}
	}
	if len(offered) == 0 {
		return key{}, wrong()
	}
	s.AllowedCredentialIDs = offered
	found, err := f.web.ValidateLogin(owner, s, p)
	if err != nil {
		return key{}, wrong()
	}
	if found.Authenticator.CloneWarning {
		return key{}, f.suspect(ctx, try, k)
	}
	k.Key, k.Used = *found, f.now()
	k.Counter = int64(found.Authenticator.SignCount)
	return k, f.store(ctx, k)
}

// store writes the counter, the flags and the moment if nobody wrote since the key was read.
func (f *Factor) store(ctx context.Context, k key) error {
	data, err := json.Marshal(k.record)
	if err != nil {
		return err
	}
	k.Data = data
	return f.kit.Credentials.Update(ctx, k.Credential)
}

// suspect takes a key out of use whose counter did not rise. Which of the two is the copy nobody can tell.
func (f *Factor) suspect(ctx context.Context, try factors.Try, k key) error {
	k.State, k.record.Suspect = suspect, f.now()
	err := f.kit.Atomically(ctx, func(ctx context.Context) error {
		if err := f.store(ctx, k); err != nil {
			return err
		}
		return f.kit.Audit.Record(ctx, audit.Event{
			At: k.record.Suspect, Name: audit.DeviceBlocked, Outcome: "ok", Subject: string(try.Account), Network: try.Network, Agent: try.Agent,
			Details: map[string]string{"factor": name, "name": k.Name, "reason": "counter"},
		})
	})
	if err != nil {
		return err
	}
	return copied()
}

func wrong() error  { return fault.Wrap(fault.Denied, "webauthn.wrong", factors.ErrWrong) }
func copied() error { return fault.Wrap(fault.Denied, "webauthn.copy", factors.ErrWrong) }
