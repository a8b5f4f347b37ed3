package webauthn

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	library "github.com/go-webauthn/webauthn/webauthn"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

// Limits of what a person sets up.
const (
	mostKeys = 20
	mostName = 40 // characters
)

// algorithms that are offered, best first: what security keys, phones and computers have.
var algorithms = []protocol.CredentialParameter{
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgEdDSA},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgRS256},
}

// KeyView is one key as its owner sees it.
type KeyView struct {
	ID       string
	Name     string
	Since    time.Time
	Used     time.Time // zero = never yet
	Synced   bool      // may be on several devices of the owner
	Hardware bool      // its maker vouched for the hardware
	Suspect  bool      // there may be a copy
}

// ManageView is the data of manage.html.
type ManageView struct {
	Keys    []KeyView
	Options string // of the key that is being added; "" = none is
	Full    bool
	Here    bool // browsers offer keys at this address
	Listed  bool // only certain models may be added
	Alone   bool // two-factor authentication is off: keys are asked for only where a service wants two steps
}

func view(k key) KeyView {
	return KeyView{ID: k.ID, Name: k.Name, Since: k.CreatedAt, Used: k.Used, Synced: k.synced(), Hardware: k.Hardware, Suspect: k.State == suspect}
}

// Standing is one line of the overview.
func (f *Factor) Standing(ctx context.Context, id account.ID) (factors.Standing, error) {
	keys, err := f.keys(ctx, id)
	if err != nil {
		return factors.Standing{}, err
	}
	if f.web == nil {
		return factors.Standing{Why: "webauthn.address"}, nil
	}
	s := factors.Standing{Possible: true}
	for _, k := range keys {
		if k.Used.After(s.Used) {
			s.Used = k.Used
		}
		s.Warn = s.Warn || k.State == suspect
	}
	s.N = len(usable(keys))
	if s.On = s.N > 0; s.On {
		s.Since = usable(keys)[0].CreatedAt
	}
	switch {
	case s.Warn:
		s.Key = "webauthn.standing_copy"
	case s.N == 1:
		s.Key, s.Name = "webauthn.standing_one", usable(keys)[0].Name
	case s.On:
		s.Key = "webauthn.standing"
	}
	return s, nil
}

// Manage lists the keys, and carries the challenge of the one that is being added in this session.
func (f *Factor) Manage(ctx context.Context, try factors.Try) (factors.Page, error) {
	keys, err := f.keys(ctx, try.Account)
	if err != nil {
		return factors.Page{}, err
	}
	a, err := f.kit.Accounts.Account(ctx, try.Account)
	if err != nil {
		return factors.Page{}, err
	}
	v := ManageView{Full: len(keys) >= mostKeys, Here: f.web != nil, Listed: f.allow != nil, Alone: !a.TwoFactor}
	for _, k := range keys {
		v.Keys = append(v.Keys, view(k))
	}
	_, m, err := f.pending(ctx, try)
	switch {
	case err == nil:
		v.Options = string(m.Options)
	case !errors.Is(err, fault.ErrNotFound) && !errors.Is(err, fault.ErrConflict):
		return factors.Page{}, err
	}
	return factors.Page{Data: v}, nil
}

// Act: "add" makes a challenge, "save" judges the new key's answer, "cancel" forgets the challenge; "edit" and "remove" show a page
// about the key that the field "key" names, "rename" and "delete" do what it asked.
func (f *Factor) Act(ctx context.Context, try factors.Try, act string, answer factors.Answer) (factors.Result, error) {
	if try.Account == "" {
		return factors.Result{}, fault.ErrNotFound
	}
	switch act {
	case "add":
		return factors.Result{}, f.add(ctx, try)
	case "save":
		return f.save(ctx, try, answer)
	case "cancel":
		t, _, err := f.pending(ctx, try)
		if err == nil {
			err = f.kit.Tickets.Use(ctx, t.ID)
		}
		if errors.Is(err, fault.ErrNotFound) || errors.Is(err, fault.ErrConflict) {
			err = nil
		}
		return factors.Result{}, err
	case "edit", "rename", "remove", "delete":
	default:
		return factors.Result{}, fault.ErrNotFound
	}
	k, err := f.mine(ctx, try.Account, answer.Get("key"))
	if err != nil {
		return factors.Result{}, err
	}
	switch act {
	case "edit":
		return factors.Result{Template: "rename", Page: factors.Page{Data: view(k)}}, nil
	case "remove":
		return factors.Result{Template: "remove", Page: factors.Page{Data: view(k)}}, nil
	case "rename":
		return f.rename(k, answer)
	}
	return factors.Result{
		Done: "webauthn.removed", Event: audit.FactorRemoved, Details: map[string]string{"name": k.Name, "reason": "person"},
		Commit: func(ctx context.Context) error { return f.kit.Credentials.Delete(ctx, k.ID) },
	}, nil
}

// mine finds a key among the person's own.
func (f *Factor) mine(ctx context.Context, id account.ID, which string) (key, error) {
	keys, err := f.keys(ctx, id)
	if err != nil {
		return key{}, err
	}
	for _, k := range keys {
		if k.ID == which {
			return k, nil
		}
	}
	return key{}, fault.New(fault.Denied, "webauthn.gone")
}

// add makes a challenge for a new key. One that waits already stays, so that a form sent twice changes nothing.
func (f *Factor) add(ctx context.Context, try factors.Try) error {
	if f.web == nil {
		return fault.New(fault.Denied, "webauthn.address")
	}
	_, _, err := f.pending(ctx, try)
	if err == nil || !errors.Is(err, fault.ErrNotFound) && !errors.Is(err, fault.ErrConflict) {
		return err
	}
	keys, err := f.keys(ctx, try.Account)
	if err != nil {
		return err
	}
	if len(keys) >= mostKeys {
		return fault.New(fault.Denied, "webauthn.full").With("n", mostKeys)
	}
	u := user{handle: make([]byte, 32), name: cleaned(try.Person), keys: keys}
	if len(keys) > 0 {
		u.handle = keys[0].User
	} else {
		rand.Read(u.handle)
	}
	if u.name == "" {
		u.name = "Kapi"
	}
	options, session, err := f.web.BeginRegistration(u, library.WithCredentialParameters(algorithms),
		library.WithExclusions(library.Credentials(u.WebAuthnCredentials()).CredentialDescriptors()))
	if err != nil {
		return err
	}
	_, err = f.remember(ctx, try, options, session)
	return err
}

// save judges what the new key answered, and stores it.
func (f *Factor) save(ctx context.Context, try factors.Try, answer factors.Answer) (factors.Result, error) {
	b, err := raw(answer)
	if err != nil {
		return factors.Result{}, err
	}
	p, err := protocol.ParseCredentialCreationResponseBytes(b)
	if err != nil {
		return factors.Result{}, fault.New(fault.Invalid, "webauthn.unreadable") // the cause may quote the answer
	}
	if f.web == nil {
		return factors.Result{}, fault.New(fault.Denied, "webauthn.address")
	}
	m, err := f.take(ctx, try)
	if errors.Is(err, fault.ErrConflict) { // sent twice: the first one has stored it
		return factors.Result{}, nil
	}
	if err != nil {
		return factors.Result{}, err
	}
	keys, err := f.keys(ctx, try.Account)
	if err != nil {
		return factors.Result{}, err
	}
	owner := user{handle: m.Session.UserID, name: try.Person}
	made, err := f.web.CreateCredential(owner, m.Session, p)
	if err != nil {
		return factors.Result{}, fault.New(fault.Denied, "webauthn.refused")
	}
	maker := f.vouched(made, p)
	if f.allow != nil && (maker == nil || !f.allow.takes(made, maker)) {
		return factors.Result{}, fault.New(fault.Denied, "webauthn.not_allowed")
	}
	// What may be synced has left its hardware.
	r := record{Name: f.nameOf(answer, made, keys, try.Lang), User: owner.handle, Key: *made, Hardware: maker != nil && !made.Flags.BackupEligible}
	data, err := json.Marshal(r)
	if err != nil {
		return factors.Result{}, err
	}
	c := factors.Credential{
		Account: try.Account, Handle: handle(made.ID), State: active, Counter: int64(made.Authenticator.SignCount), Data: data, CreatedAt: f.now(),
	}
	return factors.Result{
		Done: "webauthn.added", Event: audit.FactorSetUp, Details: map[string]string{"name": r.Name},
		Commit: func(ctx context.Context) error {
			_, err := f.kit.Credentials.Create(ctx, c)
			if errors.Is(err, fault.ErrConflict) { // whoever's it is
				return fault.New(fault.Denied, "webauthn.taken")
			}
			return err
		},
	}, nil
}

func (f *Factor) rename(k key, answer factors.Answer) (factors.Result, error) {
	was := k.Name
	if k.Name = cleaned(answer.Get("name")); k.Name == "" {
		k.Name = was
		return factors.Result{Template: "rename", Page: factors.Page{Data: view(k)}}, fault.New(fault.Invalid, "webauthn.name_missing").In("name")
	}
	return factors.Result{
		Done: "webauthn.renamed", Event: audit.FactorChanged, Details: map[string]string{"what": "renamed", "name": k.Name},
		Commit: func(ctx context.Context) error { return f.store(ctx, k) },
	}, nil
}

// nameOf is the name that was typed, else one that tells this key from the others.
func (f *Factor) nameOf(answer factors.Answer, made *library.Credential, keys []key, lang string) string {
	if typed := cleaned(answer.Get("name")); typed != "" {
		return typed
	}
	base := map[bool]map[string]string{
		false: {"tr": "Güvenlik anahtarı", "en": "Security key"}, true: {"tr": "Geçiş anahtarı", "en": "Passkey"},
	}[made.Flags.BackupEligible][lang]
	if base == "" {
		base = "Security key"
	}
	for n, candidate := 2, base; ; n++ {
		used := false
		for _, k := range keys {
			used = used || k.Name == candidate
		}
		if !used {
			return candidate
		}
		candidate = base + " " + strconv.Itoa(n)
	}
}

// cleaned is a name fit to be shown: graphic characters, single spaces, not too many.
func cleaned(typed string) string {
	if len(typed) > 8*mostName {
		typed = typed[:8*mostName]
	}
	var out []rune
	for _, r := range strings.Join(strings.Fields(strings.ToValidUTF8(typed, "")), " ") {
		if unicode.IsGraphic(r) && len(out) < mostName {
			out = append(out, r)
		}
	}
	return strings.TrimSpace(string(out))
}
