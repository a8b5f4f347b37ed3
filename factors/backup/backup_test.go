package backup_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/backup"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

const person account.ID = "0e1f7e0e-1111-4a4a-9a9a-000000000001"

// hasher stands for the password factor: it is salted, bound to the account, and counts.
type hasher struct {
	runs atomic.Int64
	fail error
}

func (h *hasher) Hash(_ context.Context, id account.ID, secret string) (string, error) {
	n := h.runs.Add(1)
	return fmt.Sprintf("%d:%s:%x", n, id, strings.ToLower(secret)), h.fail
}

func (h *hasher) Matches(_ context.Context, id account.ID, stored, secret string) (bool, error) {
	h.runs.Add(1)
	_, rest, _ := strings.Cut(stored, ":")
	return stored != "" && rest == fmt.Sprintf("%s:%x", id, strings.ToLower(secret)), h.fail
}

// bench is a factor with everything around it in sight.
type bench struct {
	*backup.Factor
	kit    *factortest.Kit
	hasher *hasher
}

func newBench(t *testing.T) *bench { return benchOn(t, factortest.NewKit(factortest.Start)) }

func benchOn(t *testing.T, kit *factortest.Kit) *bench {
	h := &hasher{}
	b := &bench{backup.New(kit.Factors(), h), kit, h}
	b.twoFactor(true, kit.Clock.Now().Add(-time.Hour))
	return b
}

func (b *bench) twoFactor(on bool, since time.Time) {
	b.kit.Accounts.Put(account.Account{ID: person, State: account.Active, Ceiling: acr.High, TwoFactor: on, TwoFactorSince: since})
}

func enrolling() factors.Try {
	return factors.Try{Binding: "enrol:s", Purpose: factors.Enrol, Account: person, Origin: "kapi.example", Lang: "en"}
}

func signin(binding string) factors.Try {
	return factors.Try{Binding: binding, Purpose: factors.SignIn, Account: person, Origin: "kapi.example", Lang: "en"}
}

func code(c string) factors.Answer { return factors.Answer{"code": {c}} }

// act does what the host does with an act.
func (b *bench) act(t *testing.T, what string, a factors.Answer) (factors.Result, error) {
	t.Helper()
	r, err := b.Act(t.Context(), enrolling(), what, a)
	if err == nil && r.Commit != nil {
		err = r.Commit(t.Context())
	}
	return r, err
}

func (b *bench) view(t *testing.T) backup.ManageView {
	t.Helper()
	p, err := b.Manage(t.Context(), enrolling())
	if err != nil {
		t.Fatal(err)
	}
	return p.Data.(backup.ManageView)
}

// make makes a set and returns what the person has printed.
func (b *bench) make(t *testing.T) []string {
	t.Helper()
	r, err := b.act(t, "make", factors.Answer{"set": {b.view(t).Set}})
	if err != nil {
		t.Fatal(err)
	}
	return r.Page.Data.(backup.CodesView).Codes
}

// wrong is a well-formed code that is none of the list.
func wrong(codes []string) string {
	c := []byte(codes[0])
	if c[0] = 'Z'; codes[0][0] == 'Z' {
		c[0] = 'Y'
	}
	return string(c)
}

func TestContract(t *testing.T) {
	factortest.Run(t, func(t *testing.T, kit *factortest.Kit) factortest.Subject {
		b := benchOn(t, kit)
		codes := b.make(t)
		return factortest.Subject{
			Factor: b, Account: person, Spent: true, Work: func() int { return int(b.hasher.runs.Load()) },
			Right: func(t *testing.T, _ factors.Try) factors.Answer { return code(codes[3]) },
			Wrong: func(t *testing.T, _ factors.Try) factors.Answer { return code(wrong(codes)) },
		}
	})
}

func TestASet(t *testing.T) {
	b := newBench(t)
	if s, err := b.Standing(t.Context(), person); s.On || !s.Possible || err != nil {
		t.Errorf("before: %+v, %v", s, err)
	}
	codes := b.make(t)
	seen := map[string]bool{}
	for _, c := range codes {
		if !regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){3}[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(c) || seen[c] {
			t.Errorf("code %q", c)
		}
		seen[c] = true
	}
	if len(codes) != 10 {
		t.Errorf("%d codes", len(codes))
	}
	rows, err := b.kit.Credentials.Of(t.Context(), person)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	for _, c := range codes {
		if strings.Contains(string(rows[0].Data), c) || strings.Contains(string(rows[0].Data), strings.ReplaceAll(c, "-", "")) {
			t.Error("a code is stored as it is")
		}
	}
	if s, _ := b.Standing(t.Context(), person); !s.On || s.N != 10 || s.Warn || !s.Used.IsZero() {
		t.Errorf("%+v", s)
	}
}

// S3: each code once, in the way people type it; the warning at two; none left, none offered.
func TestS3_EachCodeOnce(t *testing.T) {
	b := newBench(t)
	codes := b.make(t)
	typed := []func(string) string{
		func(c string) string { return c }, strings.ToLower, func(c string) string { return strings.ReplaceAll(c, "-", "") },
		func(c string) string { return strings.ReplaceAll(c, "-", " ") }, func(c string) string { return " " + c + "\u200f" },
		func(c string) string { return strings.NewReplacer("0", "O", "1", "l").Replace(c) }, func(c string) string { return strings.NewReplacer("0", "o", "1", "ı").Replace(c) },
		func(c string) string { return strings.ReplaceAll(c, "-", "–") }, func(c string) string { return strings.NewReplacer("1", "İ").Replace(c) },
		func(c string) string { return strings.NewReplacer("A", "Ａ", "2", "２").Replace(c) },
	}
	for i, c := range codes {
		b.kit.Clock.Advance(time.Hour)
		before := b.hasher.runs.Load()
		if _, err := b.Verify(t.Context(), signin(fmt.Sprint("b", i)), code(typed[i](c))); err != nil {
			t.Fatalf("code %d (%q): %v", i, typed[i](c), err)
		}
		if n := b.hasher.runs.Load() - before; n != 1 {
			t.Errorf("%d hashes for one answer", n)
		}
		if _, err := b.Verify(t.Context(), signin(fmt.Sprint("again", i)), code(c)); !errors.Is(err, factors.ErrWrong) || fault.Of(err).Key != "backup.used" {
			t.Errorf("code %d again: %v", i, err)
		}
		left := 9 - i
		s, err := b.Standing(t.Context(), person)
		if err != nil || s.N != left || s.Warn != (left <= 2) || s.On != (left > 0) || !s.Used.Equal(b.kit.Clock.Now()) {
			t.Errorf("%d left: %+v, %v", left, s, err)
		}
		if ok, _ := b.Available(t.Context(), person); ok != (left > 0) {
			t.Errorf("%d left, available %v", left, ok)
		}
	}
	events := b.kit.Record.Events(audit.FactorUsed)
	if len(events) != 10 || events[0].Details["left"] != "9" || events[9].Details["left"] != "0" || events[0].Subject != string(person) {
		t.Errorf("recorded %+v", events)
	}
	if _, err := b.Begin(t.Context(), signin("z")); fault.Of(err).Key != "backup.none" {
		t.Errorf("begin with none left: %v", err)
	}
}

// S3: the same code in fifty browsers at once lets one through; ten codes at once are ten.
func TestS3_CodesAtOnce(t *testing.T) {
	b := newBench(t)
	codes := b.make(t)
	var through atomic.Int64
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if _, err := b.Verify(t.Context(), signin(fmt.Sprint("b", i)), code(codes[0])); err == nil {
				through.Add(1)
			} else if !errors.Is(err, factors.ErrWrong) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if through.Load() != 1 {
		t.Errorf("%d got through with one code", through.Load())
	}
	for i, c := range codes[1:] {
		wg.Go(func() {
			if _, err := b.Verify(t.Context(), signin(fmt.Sprint("c", i)), code(c)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if v := b.view(t); v.Left != 0 {
		t.Errorf("%d left", v.Left)
	}
}

func TestTheFormSentTwice(t *testing.T) {
	b := newBench(t)
	codes := b.make(t)
	if _, err := b.Verify(t.Context(), signin("b"), code(codes[0])); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Verify(t.Context(), signin("b"), code(codes[0])); !errors.Is(err, fault.ErrConflict) {
		t.Errorf("%v", err)
	}
	other := signin("b")
	other.Purpose = factors.Change
	if _, err := b.Verify(t.Context(), other, code(codes[0])); !errors.Is(err, factors.ErrWrong) {
		t.Errorf("for another purpose: %v", err)
	}
}

// S3: a new set ends the old one.
func TestS3_ANewSetEndsTheOld(t *testing.T) {
	b := newBench(t)
	old := b.make(t)
	if r, err := b.act(t, "renew", nil); err != nil || r.Template != "renew" || r.Commit != nil {
		t.Fatalf("asking first: %+v, %v", r, err)
	}
	set := b.view(t).Set
	r, err := b.act(t, "make", factors.Answer{"set": {set}})
	if err != nil || r.Event != audit.FactorChanged {
		t.Fatalf("%+v, %v", r, err)
	}
	fresh := r.Page.Data.(backup.CodesView).Codes
	// A reload of the page with the codes must not end what was just printed.
	for _, stale := range []string{set, ""} {
		if r, err := b.act(t, "make", factors.Answer{"set": {stale}}); fault.Of(err).Key != "backup.already" || r.Page.Data != nil {
			t.Errorf("the form sent again: %+v, %v", r, err)
		}
	}
	if _, err := b.Verify(t.Context(), signin("b"), code(old[0])); !errors.Is(err, factors.ErrWrong) {
		t.Errorf("a code of the old set: %v", err)
	}
	if _, err := b.Verify(t.Context(), signin("b"), code(fresh[0])); err != nil {
		t.Errorf("a code of the new set: %v", err)
	}
}

// Of two sets made at once one is stored, and its codes are the ones that work.
func TestTwoSetsAtOnce(t *testing.T) {
	b := newBench(t)
	one, err := b.Act(t.Context(), enrolling(), "make", factors.Answer{"set": {""}})
	if err != nil {
		t.Fatal(err)
	}
	two, err := b.Act(t.Context(), enrolling(), "make", factors.Answer{"set": {""}})
	if err != nil {
		t.Fatal(err)
	}
	if err := two.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := one.Commit(t.Context()); fault.Of(err).Key != "backup.already" {
		t.Errorf("the slower one: %v", err)
	}
	if _, err := b.Verify(t.Context(), signin("b"), code(two.Page.Data.(backup.CodesView).Codes[0])); err != nil {
		t.Error(err)
	}
}

func TestOnlyWithTwoFactor(t *testing.T) {
	b := newBench(t)
	codes := b.make(t)
	began := b.kit.Clock.Now()
	check := func(name string, want bool) {
		t.Helper()
		if ok, err := b.Available(t.Context(), person); ok != want || err != nil {
			t.Errorf("%s: available %v, %v", name, ok, err)
		}
		if _, err := b.Verify(t.Context(), signin(name), code(codes[0])); want != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.twoFactor(false, time.Time{})
	check("off", false)
	if s, _ := b.Standing(t.Context(), person); s.On || s.Possible || s.Why != "backup.two_factor" {
		t.Errorf("off: %+v", s)
	}
	if _, err := b.act(t, "make", factors.Answer{"set": {""}}); fault.Of(err).Key != "backup.two_factor" {
		t.Errorf("made while off: %v", err)
	}
	b.twoFactor(true, began.Add(time.Hour)) // off and on again, and nobody dropped the set
	check("on again", false)
	b.twoFactor(true, began)
	check("all the time", true)
	if err := b.Drop(t.Context(), person); err != nil {
		t.Fatal(err)
	}
	check("dropped", false)
	if len(b.make(t)) != 10 {
		t.Error("no new set after the drop")
	}
}

func TestRemoving(t *testing.T) {
	b := newBench(t)
	b.make(t)
	if r, err := b.act(t, "remove", nil); err != nil || r.Template != "remove" || r.Commit != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	if r, err := b.act(t, "delete", nil); err != nil || r.Event != audit.FactorRemoved {
		t.Fatalf("%+v, %v", r, err)
	}
	if v := b.view(t); v.On {
		t.Error("still there")
	}
	for _, again := range []string{"remove", "delete", "renew"} {
		if _, err := b.act(t, again, nil); fault.Of(err).Key != "backup.gone" {
			t.Errorf("%s twice: %v", again, err)
		}
	}
	if _, err := b.act(t, "show", nil); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("an unknown act: %v", err)
	}
}

func TestACodeOfAnotherPerson(t *testing.T) {
	b := newBench(t)
	codes := b.make(t)
	other := signin("b")
	other.Account = "0e1f7e0e-1111-4a4a-9a9a-000000000002"
	if _, err := b.Verify(t.Context(), other, code(codes[0])); !errors.Is(err, factors.ErrWrong) {
		t.Error(err)
	}
}

// A busy machine uses no code up.
func TestNoSlot(t *testing.T) {
	b := newBench(t)
	codes := b.make(t)
	b.hasher.fail = fault.New(fault.Unavailable, "password.busy")
	if _, err := b.Verify(t.Context(), signin("b"), code(codes[0])); fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	if _, err := b.act(t, "make", factors.Answer{"set": {b.view(t).Set}}); fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	b.hasher.fail = nil
	if _, err := b.Verify(t.Context(), signin("b"), code(codes[0])); err != nil {
		t.Error(err)
	}
}

// What strangers type is sixteen characters or refused before any hash.
func FuzzVerify(f *testing.F) {
	for _, s := range []string{"ABCD-EFGH-JKMN-PQRS", "abcd efgh jkmn pqrs", "", "\x00", "ILOUILOUILOUILOU", "ıİıİıİıİıİıİıİıİ", "ＡＢＣＤ", strings.Repeat("A", 129)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		b := newBench(t)
		b.make(t)
		before := b.hasher.runs.Load()
		readable := b.Readable(code(typed)) == nil
		_, err := b.Verify(t.Context(), signin("b"), code(typed))
		ran := b.hasher.runs.Load() - before
		switch {
		case readable && (!errors.Is(err, factors.ErrWrong) || ran != 1):
			t.Errorf("%q: %v, %d hashes", typed, err, ran)
		case !readable && (fault.KindOf(err) != fault.Invalid || ran != 0):
			t.Errorf("%q: %v, %d hashes", typed, err, ran)
		}
	})
}
