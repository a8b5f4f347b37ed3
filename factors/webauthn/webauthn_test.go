package webauthn_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	virtual "github.com/descope/virtualwebauthn"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/factors/webauthn"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

const (
	person account.ID = "0e1f7e0e-1111-4a4a-9a9a-000000000001"
	other  account.ID = "0e1f7e0e-1111-4a4a-9a9a-000000000002"
)

var here = virtual.RelyingParty{Name: "Kapi", ID: "kapi.example", Origin: "https://kapi.example"}

func enrolling(id account.ID, session string) factors.Try {
	return factors.Try{Binding: "enrol:" + session + string(id), Purpose: factors.Enrol, Account: id, Origin: "kapi.example", Lang: "en", Person: "Ayşe Yılmaz"}
}

func signin(binding string) factors.Try {
	return factors.Try{Binding: binding, Purpose: factors.SignIn, Account: person, Origin: "kapi.example", Lang: "en"}
}

// bench is a factor with everything around it in sight.
type bench struct {
	*webauthn.Factor
	kit *factortest.Kit
}

func newBench(t *testing.T) *bench { return benchOn(factortest.NewKit(factortest.Start), nil) }

func benchOn(kit *factortest.Kit, roots *x509.CertPool) *bench {
	return &bench{webauthn.New(kit.Factors(), roots, nil), kit}
}

// token is a key in somebody's hand.
type token struct {
	virtual.Authenticator
	virtual.Credential
	rp virtual.RelyingParty
}

func newToken() *token {
	c := virtual.NewCredential(virtual.KeyTypeEC2)
	for len(c.Key.AttestationData()) != 77 { // the virtual key drops leading zeros of its coordinates
		c = virtual.NewCredential(virtual.KeyTypeEC2)
	}
	return &token{Authenticator: virtual.NewAuthenticator(), Credential: c, rp: here}
}

// attest answers a challenge for a new key.
func (k *token) attest(t *testing.T, options string) string {
	t.Helper()
	o, err := virtual.ParseAttestationOptions(options)
	if err != nil {
		t.Fatal(err)
	}
	k.Options.UserHandle = []byte(o.UserID)
	return virtual.CreateAttestationResponse(k.rp, k.Authenticator, k.Credential, *o)
}

// assert answers a challenge of a sign-in; the counter rises if the key has one.
func (k *token) assert(t *testing.T, options string) string {
	t.Helper()
	o, err := virtual.ParseAssertionOptions(options)
	if err != nil {
		t.Fatal(err)
	}
	if k.Counter > 0 {
		k.Counter++
	}
	return virtual.CreateAssertionResponse(k.rp, k.Authenticator, k.Credential, *o)
}

func credential(c string) factors.Answer { return factors.Answer{"credential": {c}} }

func (b *bench) act(t *testing.T, try factors.Try, what string, a factors.Answer) (factors.Result, error) {
	t.Helper()
	r, err := b.Act(t.Context(), try, what, a)
	if err == nil && r.Commit != nil {
		err = r.Commit(t.Context())
	}
	return r, err
}

func (b *bench) view(t *testing.T, try factors.Try) webauthn.ManageView {
	t.Helper()
	p, err := b.Manage(t.Context(), try)
	if err != nil {
		t.Fatal(err)
	}
	return p.Data.(webauthn.ManageView)
}

// adding is the challenge for a new key.
func (b *bench) adding(t *testing.T, try factors.Try) string {
	t.Helper()
	if _, err := b.act(t, try, "add", nil); err != nil {
		t.Fatal(err)
	}
	o := b.view(t, try).Options
	if o == "" {
		t.Fatal("no challenge")
	}
	return o
}

func (b *bench) add(t *testing.T, id account.ID, k *token, name string) {
	t.Helper()
	try := enrolling(id, "s")
	answer := credential(k.attest(t, b.adding(t, try)))
	answer["name"] = []string{name}
	if r, err := b.act(t, try, "save", answer); err != nil || r.Event != audit.FactorSetUp || r.Done == "" {
		t.Fatalf("%+v, %v", r, err)
	}
}

func (b *bench) begin(t *testing.T, try factors.Try) string {
	t.Helper()
	c, err := b.Begin(t.Context(), try)
	if err != nil {
		t.Fatal(err)
	}
	return c.Page.Data.(webauthn.View).Options
}

func TestContract(t *testing.T) {
	factortest.Run(t, func(t *testing.T, kit *factortest.Kit) factortest.Subject {
		b, k, foreign := benchOn(kit, nil), newToken(), newToken()
		b.add(t, person, k, "")
		return factortest.Subject{
			Factor: b, Account: person, Spent: true,
			Right: func(t *testing.T, try factors.Try) factors.Answer { return credential(k.assert(t, b.begin(t, try))) },
			Wrong: func(t *testing.T, try factors.Try) factors.Answer {
				return credential(foreign.assert(t, b.begin(t, try)))
			},
		}
	})
}

func TestKeysOfAPerson(t *testing.T) {
	b := newBench(t)
	try := enrolling(person, "s")
	if s, err := b.Standing(t.Context(), person); s.On || !s.Possible || err != nil {
		t.Errorf("before: %+v, %v", s, err)
	}
	usb, phone := newToken(), newToken()
	phone.Options.BackupEligible, phone.Options.BackupState = true, true
	b.add(t, person, usb, "  Key at\u202e home\n")
	b.kit.Clock.Advance(time.Hour)
	b.add(t, person, phone, "")
	v := b.view(t, try)
	if len(v.Keys) != 2 || v.Keys[0].Name != "Key at home" || v.Keys[0].Synced || v.Keys[1].Name != "Passkey" || !v.Keys[1].Synced || v.Options != "" {
		t.Fatalf("%+v", v)
	}
	b.kit.Clock.Advance(time.Hour)
	for i, k := range []*token{usb, phone, usb} {
		at := signin(fmt.Sprint("b", i))
		p, err := b.Verify(t.Context(), at, credential(k.assert(t, b.begin(t, at))))
		if err != nil || !slices.Equal(p.AMR, []string{"swk", "user"}) || p.Kinds != factors.Have || p.Channel != factors.Here {
			t.Fatalf("key %d: %+v, %v", i, p, err)
		}
	}
	if s, _ := b.Standing(t.Context(), person); !s.On || s.N != 2 || !s.Used.Equal(b.kit.Clock.Now()) || s.Warn {
		t.Errorf("%+v", s)
	}
	// Rename and remove, by name and only one's own.
	v = b.view(t, try)
	pick := func(id string) factors.Answer { return factors.Answer{"key": {id}, "name": {"Work"}} }
	if r, err := b.act(t, try, "edit", pick(v.Keys[0].ID)); err != nil || r.Template != "rename" || r.Commit != nil {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := b.act(t, try, "rename", pick(v.Keys[0].ID)); err != nil || r.Event != audit.FactorChanged {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := b.act(t, try, "rename", factors.Answer{"key": {v.Keys[0].ID}, "name": {"\u202e "}}); fault.Of(err).Field != "name" || r.Template != "rename" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := b.act(t, try, "remove", pick(v.Keys[1].ID)); err != nil || r.Template != "remove" || r.Commit != nil {
		t.Errorf("%+v, %v", r, err)
	}
	for _, what := range []string{"edit", "rename", "remove", "delete"} {
		for _, id := range []string{"", "no such key"} {
			if r, err := b.act(t, try, what, pick(id)); fault.Of(err).Key != "webauthn.gone" || r.Commit != nil {
				t.Errorf("%s %q: %+v, %v", what, id, r, err)
			}
		}
		if r, err := b.act(t, enrolling(other, "s"), what, pick(v.Keys[0].ID)); fault.Of(err).Key != "webauthn.gone" || r.Commit != nil {
			t.Errorf("%s of somebody else's: %+v, %v", what, r, err)
		}
	}
	if r, err := b.act(t, try, "delete", pick(v.Keys[1].ID)); err != nil || r.Event != audit.FactorRemoved {
		t.Errorf("%+v, %v", r, err)
	}
	if v := b.view(t, try); len(v.Keys) != 1 || v.Keys[0].Name != "Work" || v.Keys[0].Used.IsZero() {
		t.Errorf("%+v", v)
	}
	at := signin("removed")
	options := b.begin(t, at)
	if _, err := b.Verify(t.Context(), at, credential(phone.assert(t, options))); !errors.Is(err, factors.ErrWrong) {
		t.Errorf("a removed key: %v", err)
	}
	if _, err := b.act(t, try, "conjure", nil); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("an unknown act: %v", err)
	}
}

// The person's own words and numbers do not reach the key: what it keeps of its owner is random.
func TestTheHandleSaysNothing(t *testing.T) {
	b := newBench(t)
	one, two := newToken(), newToken()
	b.add(t, person, one, "")
	b.add(t, person, two, "")
	if len(one.Options.UserHandle) != 32 || !bytes.Equal(one.Options.UserHandle, two.Options.UserHandle) || strings.Contains(string(one.Options.UserHandle), string(person)) {
		t.Errorf("%q %q", one.Options.UserHandle, two.Options.UserHandle)
	}
	third := newToken()
	b.add(t, other, third, "")
	if bytes.Equal(third.Options.UserHandle, one.Options.UserHandle) {
		t.Error("two people share a handle")
	}
}

// change takes a member of a JSON object apart and together again.
func change(t *testing.T, answer string, path []string, fn func(any) any) string {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(answer), &m); err != nil {
		t.Fatal(err)
	}
	at := m
	for _, name := range path[:len(path)-1] {
		at = at[name].(map[string]any)
	}
	last := path[len(path)-1]
	at[last] = fn(at[last])
	out, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// S6: one thing wrong with the answer to a sign-in.
func TestS6_SignInAnswers(t *testing.T) {
	type scene struct {
		*bench
		key     *token
		try     factors.Try
		options string
	}
	sign := func(s *scene) string { return s.key.assert(t, s.options) }
	for _, tc := range []struct {
		name   string
		answer func(s *scene) string
		ok     bool
		key    string // of the sentence; "" = webauthn.wrong
	}{
		{"as it should be", sign, true, ""},
		{"wrong origin", func(s *scene) string { s.key.rp.Origin = "https://kapi.example.evil"; return sign(s) }, false, ""},
		{"sub-domain", func(s *scene) string { s.key.rp.Origin = "https://login.kapi.example"; return sign(s) }, false, ""},
		{"other port", func(s *scene) string { s.key.rp.Origin = "https://kapi.example:8443"; return sign(s) }, false, ""},
		{"http", func(s *scene) string { s.key.rp.Origin = "http://kapi.example"; return sign(s) }, false, ""},
		{"an app", func(s *scene) string { s.key.rp.Origin = "android:apk-key-hash:abc"; return sign(s) }, false, ""},
		{"other relying party", func(s *scene) string { s.key.rp.ID = "example"; return sign(s) }, false, ""},
		{"nobody touched the key", func(s *scene) string { s.key.Options.UserNotPresent = true; return sign(s) }, false, ""},
		{"no PIN, none wanted", func(s *scene) string { s.key.Options.UserNotVerified = true; return sign(s) }, true, ""},
		{"no PIN at high", func(s *scene) string {
			s.key.Options.UserNotVerified, s.try.Want = true, acr.High
			return sign(s)
		}, false, "webauthn.verify"},
		{"PIN at high", func(s *scene) string { s.try.Want = acr.High; return sign(s) }, true, ""},
		{"used challenge", func(s *scene) string {
			if _, err := s.Verify(t.Context(), s.try, credential(sign(s))); err != nil {
				t.Fatal(err)
			}
			again := sign(s)
			s.begin(t, s.try)
			return again
		}, false, ""},
		{"used challenge, nothing new begun", func(s *scene) string {
			if _, err := s.Verify(t.Context(), s.try, credential(sign(s))); err != nil {
				t.Fatal(err)
			}
			return sign(s)
		}, false, "conflict"},
		{"challenge of a wrong answer", func(s *scene) string {
			if _, err := s.Verify(t.Context(), s.try, credential(newToken().assert(t, s.options))); err == nil {
				t.Fatal("a foreign key passed")
			}
			return sign(s)
		}, false, "conflict"},
		{"old challenge", func(s *scene) string { s.kit.Clock.Advance(webauthn.Life); return sign(s) }, false, "webauthn.expired"},
		{"challenge of another session", func(s *scene) string {
			s.options = s.begin(t, signin("elsewhere"))
			return sign(s)
		}, false, ""},
		{"asked in another session", func(s *scene) string { s.try.Binding = "elsewhere"; return sign(s) }, false, "webauthn.expired"},
		{"asked for another purpose", func(s *scene) string { s.try.Purpose = factors.Change; return sign(s) }, false, "webauthn.expired"},
		{"asked for another person", func(s *scene) string { s.try.Account = other; return sign(s) }, false, "webauthn.expired"},
		{"foreign credential id", func(s *scene) string { return newToken().assert(t, s.options) }, false, ""},
		{"another person's key", func(s *scene) string {
			k := newToken()
			s.add(t, other, k, "")
			return k.assert(t, s.options)
		}, false, ""},
		{"our key's id under a foreign signature", func(s *scene) string {
			k := newToken()
			k.Credential.ID = s.key.Credential.ID
			return k.assert(t, s.options)
		}, false, ""},
		{"userHandle of somebody else", func(s *scene) string { s.key.Options.UserHandle = []byte("somebody"); return sign(s) }, false, ""},
		{"no userHandle", func(s *scene) string { s.key.Options.UserHandle = nil; return sign(s) }, true, ""},
		{"registration instead of sign-in", func(s *scene) string {
			return s.key.attest(t, strings.Replace(s.options, `"rpId"`, `"user":{"id":"YQ"},"rpId"`, 1))
		}, false, "webauthn.unreadable"},
		{"type of a registration", func(s *scene) string { return withType(t, s.key, s.options, "webauthn.create") }, false, ""},
		{"in a frame of another site", func(s *scene) string { return clientData(t, s.key, s.options, `"crossOrigin":true`) }, false, ""},
		{"in a frame, top origin said", func(s *scene) string {
			return clientData(t, s.key, s.options, `"crossOrigin":true,"topOrigin":"https://kapi.example"`)
		}, false, ""},
		{"in a frame, only the top origin said", func(s *scene) string { return clientData(t, s.key, s.options, `"topOrigin":"https://evil.example"`) }, false, ""},
		{"may suddenly be synced", func(s *scene) string { s.key.Options.BackupEligible = true; return sign(s) }, false, ""},
		{"synced though it may not be", func(s *scene) string { s.key.Options.BackupState = true; return sign(s) }, false, ""},
		{"an extension nobody asked for", func(s *scene) string {
			return change(t, sign(s), []string{"clientExtensionResults"}, func(any) any { return map[string]any{"appid": true} })
		}, false, ""},
		{"a broken signature", func(s *scene) string {
			return change(t, sign(s), []string{"response", "signature"}, func(any) any { return "MEUCIQ" })
		}, false, ""},
		{"no signature", func(s *scene) string {
			return change(t, sign(s), []string{"response", "signature"}, func(any) any { return "" })
		}, false, ""},
		{"nothing", func(*scene) string { return "" }, false, "webauthn.script"},
		{"no JSON", func(*scene) string { return "yes" }, false, "webauthn.unreadable"},
		{"too much", func(s *scene) string { return sign(s) + strings.Repeat(" ", webauthn.MaxAnswer) }, false, "webauthn.unreadable"},
		{"more behind it", func(s *scene) string { return sign(s) + `{}` }, false, "webauthn.unreadable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &scene{bench: newBench(t), key: newToken(), try: signin("b")}
			s.add(t, person, s.key, "")
			s.options = s.begin(t, s.try)
			p, err := s.Verify(t.Context(), s.try, credential(tc.answer(s)))
			switch {
			case tc.ok && err != nil:
				t.Fatalf("refused: %v", err)
			case tc.ok:
				return
			case err == nil:
				t.Fatalf("proven: %+v", p)
			case tc.key == "conflict" && !errors.Is(err, fault.ErrConflict):
				t.Errorf("%v", err)
			case tc.key == "" && (fault.Of(err).Key != "webauthn.wrong" || !errors.Is(err, factors.ErrWrong)):
				t.Errorf("%v", err)
			case tc.key != "" && tc.key != "conflict" && fault.Of(err).Key != tc.key:
				t.Errorf("%v, want %s", err, tc.key)
			}
		})
	}
}

// S6: a counter that does not rise takes the key out of use, and the record has it.
func TestS6_AFallingCounter(t *testing.T) {
	for _, tc := range []struct {
		name   string
		stored uint32 // after the first sign-in
		next   uint32
		ok     bool
	}{
		{"rises", 11, 12, true}, {"rises far", 11, 4000, true}, {"stays", 11, 11, false}, {"falls", 11, 3, false},
		{"falls to none", 11, 0, false}, {"never had one", 0, 0, true}, {"begins to count", 0, 5, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, k := newBench(t), newToken()
			b.add(t, person, k, "Key")
			k.Counter = tc.stored
			if tc.stored > 0 {
				k.Counter--
			}
			at := signin("first")
			if _, err := b.Verify(t.Context(), at, credential(k.assert(t, b.begin(t, at)))); err != nil {
				t.Fatal(err)
			}
			k.Counter = tc.next
			if tc.next > 0 {
				k.Counter--
			}
			at = signin("second")
			options, err := virtual.ParseAssertionOptions(b.begin(t, at))
			if err != nil {
				t.Fatal(err)
			}
			k.Counter = tc.next
			_, err = b.Verify(t.Context(), at, credential(virtual.CreateAssertionResponse(k.rp, k.Authenticator, k.Credential, *options)))
			if tc.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if fault.Of(err).Key != "webauthn.copy" || !errors.Is(err, factors.ErrWrong) {
				t.Fatalf("%v", err)
			}
			events := b.kit.Record.Events(audit.DeviceBlocked)
			if len(events) != 1 || events[0].Details["reason"] != "counter" || events[0].Details["name"] != "Key" || events[0].Subject != string(person) {
				t.Errorf("recorded %+v", events)
			}
			if v := b.view(t, enrolling(person, "s")); !v.Keys[0].Suspect {
				t.Errorf("the owner is told %+v", v)
			}
			if s, _ := b.Standing(t.Context(), person); s.On || !s.Warn {
				t.Errorf("%+v", s)
			}
			if ok, _ := b.Available(t.Context(), person); ok {
				t.Error("still offered")
			}
			k.Counter = 9000 // the one with the higher counter is no better
			at = signin("third")
			if _, err := b.Verify(t.Context(), at, credential(k.assert(t, b.begin(t, at)))); fault.Of(err).Key != "webauthn.copy" {
				t.Errorf("used again: %v", err)
			}
		})
	}
}

// What is synced is told by the key each time; that it may be synced never changes.
func TestSyncingIsTold(t *testing.T) {
	b, k := newBench(t), newToken()
	k.Options.BackupEligible = true
	b.add(t, person, k, "")
	for i, synced := range []bool{false, true, false} {
		k.Options.BackupState = synced
		at := signin(fmt.Sprint("b", i))
		if _, err := b.Verify(t.Context(), at, credential(k.assert(t, b.begin(t, at)))); err != nil {
			t.Fatal(err)
		}
		rows, _ := b.kit.Credentials.Of(t.Context(), person)
		var r struct {
			Key struct {
				Flags struct{ BackupEligible, BackupState bool }
			}
		}
		if err := json.Unmarshal(rows[0].Data, &r); err != nil || !r.Key.Flags.BackupEligible || r.Key.Flags.BackupState != synced {
			t.Errorf("stored %+v, %v", r, err)
		}
	}
	k.Options.BackupEligible, k.Options.BackupState = false, false
	at := signin("flip")
	if _, err := b.Verify(t.Context(), at, credential(k.assert(t, b.begin(t, at)))); !errors.Is(err, factors.ErrWrong) {
		t.Errorf("a key that may not be synced any more: %v", err)
	}
}

// F2: who has no key meets a page of the same shape, the same each time.
func TestF2_TheListOfKeysIsStable(t *testing.T) {
	b := newBench(t)
	k := newToken()
	b.add(t, person, k, "")
	list := func(id account.ID, binding string) []string {
		try := signin(binding)
		try.Account = id
		var o struct {
			PublicKey struct {
				Challenge        string
				AllowCredentials []struct{ ID, Type string }
			}
		}
		if err := json.Unmarshal([]byte(b.begin(t, try)), &o); err != nil {
			t.Fatal(err)
		}
		if len(o.PublicKey.Challenge) != 43 { // 32 bytes
			t.Errorf("challenge %q", o.PublicKey.Challenge)
		}
		var ids []string
		for _, c := range o.PublicKey.AllowCredentials {
			ids = append(ids, c.ID+c.Type)
		}
		return ids
	}
	with, without := list(person, "a"), list(other, "b")
	if len(with) != 1 || len(without) != 1 || len(with[0]) != len(without[0]) {
		t.Errorf("%v %v", with, without)
	}
	if again := list(other, "c"); !slices.Equal(again, without) {
		t.Errorf("another list on each visit tells that it is made up: %v, %v", again, without)
	}
	third := list("0e1f7e0e-1111-4a4a-9a9a-000000000003", "d")
	if slices.Equal(third, without) {
		t.Error("one list for everybody tells that it is made up")
	}
	try := signin("e")
	try.Account = other
	if _, err := b.Verify(t.Context(), try, credential(k.assert(t, b.begin(t, try)))); !errors.Is(err, factors.ErrWrong) || fault.Of(err).Key != "webauthn.wrong" {
		t.Errorf("%v", err)
	}
}

// One answer is worth one proof, however often it is sent at once.
func TestS6_TheSameAnswerAtOnce(t *testing.T) {
	b, k := newBench(t), newToken()
	b.add(t, person, k, "")
	try := signin("b")
	answer := credential(k.assert(t, b.begin(t, try)))
	var through atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := b.Verify(t.Context(), try, answer); err == nil {
				through.Add(1)
			} else if !errors.Is(err, fault.ErrConflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if through.Load() != 1 {
		t.Errorf("%d proofs", through.Load())
	}
}

// Several sign-ins with a key that does not count are no trouble to one another.
func TestSignInsAtOnce(t *testing.T) {
	b, k := newBench(t), newToken()
	b.add(t, person, k, "")
	var wg sync.WaitGroup
	for i := range 5 {
		try := signin(fmt.Sprint("b", i))
		answer := credential(k.assert(t, b.begin(t, try)))
		wg.Go(func() {
			if _, err := b.Verify(t.Context(), try, answer); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestBeginIsTheSameUntilAnswered(t *testing.T) {
	b, k := newBench(t), newToken()
	b.add(t, person, k, "")
	try := signin("b")
	one, two := b.begin(t, try), b.begin(t, try)
	if !reflect.DeepEqual(one, two) {
		t.Error("a reload changed the challenge under the person's hands")
	}
	if b.begin(t, signin("c")) == one {
		t.Error("two sign-ins share a challenge")
	}
	if !strings.Contains(one, `"userVerification":"preferred"`) || !strings.Contains(one, `"rpId":"kapi.example"`) || !strings.Contains(one, `"timeout":300000`) {
		t.Error(one)
	}
	high := signin("d")
	high.Want = acr.High
	if o := b.begin(t, high); !strings.Contains(o, `"userVerification":"required"`) {
		t.Error(o)
	}
	if _, err := b.Verify(t.Context(), try, credential(k.assert(t, two))); err != nil {
		t.Error(err)
	}
}

// Browsers offer no keys at a bare address; the rest of Kapi does not suffer from it.
func TestNoKeysAtABareAddress(t *testing.T) {
	for _, issuer := range []string{"http://127.0.0.1:8080", "http://[::1]:8080", ""} {
		kit := factortest.NewKit(factortest.Start).Factors()
		kit.Issuer = issuer
		f := webauthn.New(kit, nil, nil)
		if ok, err := f.Available(t.Context(), person); ok || err != nil {
			t.Errorf("%s: %v %v", issuer, ok, err)
		}
		if s, err := f.Standing(t.Context(), person); s.Possible || s.Why != "webauthn.address" || err != nil {
			t.Errorf("%s: %+v %v", issuer, s, err)
		}
		if _, err := f.Begin(t.Context(), signin("b")); fault.KindOf(err) != fault.Denied {
			t.Errorf("%s: %v", issuer, err)
		}
		if _, err := f.Act(t.Context(), enrolling(person, "s"), "add", nil); fault.Of(err).Key != "webauthn.address" {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}
