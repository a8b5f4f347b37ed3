// Package factortest owns what every factor must do, as a test that any factor passes (Run), and the memory it runs on
// (NewKit), which other packages' tests may use too. Enter with Run from the factor's own test. It refuses a factor
// that answers a stranger faster than a person, whose proof says less or more than what happened, whose page lacks
// words in a language, or whose errors repeat what was typed.
package factortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/template/parse"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/words"
)

// Subject is a factor made ready for one person.
type Subject struct {
	Factor  factors.Factor
	Account account.ID // a person for whom Right is right
	// Right returns the right answer to a try that Begin was asked for.
	Right func(t *testing.T, try factors.Try) factors.Answer
	// Wrong returns a well-formed wrong one.
	Wrong func(t *testing.T, try factors.Try) factors.Answer
	// Work counts the costly operations done so far (password hashes, outside calls); nil when there are none.
	Work func() int
	// Spent is true when a right answer works once, as a one-time code does.
	Spent bool
}

// Start is the moment every clock of the suite stands at first.
var Start = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// Run holds a factor to the contract. make builds a fresh subject over the kit for each test.
func Run(t *testing.T, make func(t *testing.T, kit *Kit) Subject) {
	tests := []struct {
		name string
		run  func(*testing.T, *Kit, Subject)
	}{
		{"info", info},
		{"begin is idempotent", beginTwice},
		{"wrong answer", wrong},
		{"right answer", right},
		{"unknown person", unknown},
		{"many at once", parallel},
		{"pages", pages},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			kit := NewKit(Start)
			tt.run(t, kit, make(t, kit))
		})
	}
}

// A Try as the host would hand it over.
func (s Subject) try(binding string) factors.Try {
	return factors.Try{Binding: binding, Purpose: factors.SignIn, Account: s.Account, Service: "SSI Notification Portal",
		Origin: "kapi.example", Network: "192.0.2.1", Place: "Ankara, Türkiye", Lang: "en"}
}

func (s Subject) work() int {
	if s.Work == nil {
		return 0
	}
	return s.Work()
}

func (s Subject) begin(t *testing.T, try factors.Try) factors.Challenge {
	t.Helper()
	c, err := s.Factor.Begin(t.Context(), try)
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	return c
}

var nameForm = regexp.MustCompile(`^[a-z]{2,32}$`)

func info(t *testing.T, _ *Kit, s Subject) {
	i := s.Factor.Info()
	if again := s.Factor.Info(); !reflect.DeepEqual(i, again) {
		t.Errorf("Info changed from %+v to %+v", i, again)
	}
	if !nameForm.MatchString(i.Name) {
		t.Errorf("name %q stands in URLs and must match %s", i.Name, nameForm)
	}
	if i.Stage != factors.First && i.Stage != factors.Second {
		t.Errorf("stage = %d", i.Stage)
	}
	if n := i.Tries; n != (factors.Tries{}) {
		if n.Free < 1 || n.First <= 0 || n.Most < n.First || n.Disable != 0 && n.Disable <= n.Free {
			t.Errorf("tries %+v make no ladder", n)
		}
	}
}

func beginTwice(t *testing.T, kit *Kit, s Subject) {
	try := s.try("b1")
	first := s.begin(t, try)
	if n := exactly(first); n != 1 {
		t.Errorf("challenge says %d of page and leave, want one: %+v", n, first)
	}
	if first.Wait > 0 && first.Page == nil {
		t.Error("waiting needs a page")
	}
	sent := len(kit.Phone.Sent())
	second := s.begin(t, try)
	if !reflect.DeepEqual(first, second) {
		t.Errorf("a reload changed the challenge from %+v to %+v", first.Page, second.Page)
	}
	if n := len(kit.Phone.Sent()); n != sent {
		t.Errorf("a reload sent %d messages more", n-sent)
	}
	// what was shown before the reload is still good
	if _, err := s.Factor.Verify(t.Context(), try, s.Right(t, try)); err != nil {
		t.Errorf("the right answer after a reload: %v", err)
	}
}

func exactly(c factors.Challenge) (n int) {
	if c.Page != nil {
		n++
	}
	if c.Leave != "" {
		n++
	}
	return n
}

func wrong(t *testing.T, _ *Kit, s Subject) {
	try := s.try("b1")
	s.begin(t, try)
	answer := s.Wrong(t, try)
	p, err := s.Factor.Verify(t.Context(), try, answer)
	if !errors.Is(err, factors.ErrWrong) {
		t.Fatalf("Verify = %v, want ErrWrong", err)
	}
	if !reflect.ValueOf(p).IsZero() {
		t.Errorf("a wrong answer proved %+v", p)
	}
	keepsQuiet(t, err, answer)
	if _, err := s.Factor.Verify(t.Context(), try, factors.Answer{}); err == nil {
		t.Error("an empty form proved something")
	} else if fault.KindOf(err) == fault.Internal {
		t.Errorf("an empty form is no defect of ours: %v", err)
	}
	for _, other := range []string{strings.Repeat("x", 1<<20), "\xff\xfe\x00", "\u202e\u0000"} {
		odd := factors.Answer{}
		for field := range answer {
			odd[field] = []string{other}
		}
		_, err := s.Factor.Verify(t.Context(), try, odd)
		if err == nil || fault.KindOf(err) == fault.Internal {
			t.Errorf("an odd answer of %d bytes: %v", len(other), err)
		}
		if err != nil {
			keepsQuiet(t, err, odd)
		}
	}
}

func right(t *testing.T, kit *Kit, s Subject) {
	try := s.try("b1")
	s.begin(t, try)
	kit.Clock.Advance(7 * time.Second)
	answer := s.Right(t, try)
	p, err := s.Factor.Verify(t.Context(), try, answer)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	i := s.Factor.Info()
	if p.Factor != i.Name || p.Stage != i.Stage {
		t.Errorf("proof is by %s at stage %d, the factor is %s at %d", p.Factor, p.Stage, i.Name, i.Stage)
	}
	if p.Account != s.Account {
		t.Errorf("proof of account %q, want %q", p.Account, s.Account)
	}
	if want := kit.Clock.Now(); !p.At.Equal(want) || p.At.Location() != time.UTC || !p.At.Equal(p.At.Truncate(time.Microsecond)) {
		t.Errorf("proof at %v, want %v in UTC microseconds", p.At, want)
	}
	if p.Kinds == 0 || p.Kinds&^(factors.Know|factors.Have|factors.Are) != 0 {
		t.Errorf("kinds = %b", p.Kinds)
	}
	if p.Channel == "" {
		t.Error("no channel")
	}
	if p.Level != acr.Low && p.Level != acr.High {
		t.Errorf("level = %v; a factor alone is low or high", p.Level)
	}
	if len(p.AMR) == 0 || slices.Contains(p.AMR, "") {
		t.Errorf("amr = %q", p.AMR)
	}
	for _, m := range []string{"mfa", "mca"} {
		if slices.Contains(p.AMR, m) && p.Level == acr.Low {
			t.Errorf("amr %q is derived from all proofs, not claimed by one", m)
		}
	}
	if s.Spent {
		if _, err := s.Factor.Verify(t.Context(), try, answer); err == nil {
			t.Error("a spent answer proved something again")
		}
	}
	elsewhere := s.try("b2")
	if s.Spent {
		if _, err := s.Factor.Verify(t.Context(), elsewhere, answer); err == nil {
			t.Error("the answer to one sign-in proved another")
		}
	}
}

// unknown: text, status and work tell nothing (row F2).
func unknown(t *testing.T, kit *Kit, s Subject) {
	if s.Factor.Info().Stage != factors.First {
		t.Skip("the host never asks a second factor about a person it does not know")
	}
	try := s.try("b1")
	known := s.begin(t, try)
	answer := s.Wrong(t, try)
	work, calls := s.work(), kit.Credentials.Calls()
	_, errKnown := s.Factor.Verify(t.Context(), try, answer)
	workKnown, callsKnown := s.work()-work, kit.Credentials.Calls()-calls

	try.Account = ""
	stranger, err := s.Factor.Begin(t.Context(), try)
	if err != nil || !reflect.DeepEqual(known, stranger) {
		t.Errorf("a stranger meets another page: %+v, %v", stranger, err)
	}
	work, calls = s.work(), kit.Credentials.Calls()
	p, errUnknown := s.Factor.Verify(t.Context(), try, s.Right(t, try))
	if !errors.Is(errUnknown, factors.ErrWrong) || errUnknown.Error() != errKnown.Error() {
		t.Errorf("a stranger reads %v, a person %v", errUnknown, errKnown)
	}
	if !reflect.ValueOf(p).IsZero() {
		t.Errorf("a stranger proved %+v", p)
	}
	if got := s.work() - work; got != workKnown {
		t.Errorf("work for a stranger %d, for a person %d", got, workKnown)
	}
	if got := kit.Credentials.Calls() - calls; got != callsKnown {
		t.Errorf("statements for a stranger %d, for a person %d", got, callsKnown)
	}
}

func parallel(t *testing.T, _ *Kit, s Subject) {
	const n = 16
	try := s.try("b1")
	s.begin(t, try)
	good, bad := s.Right(t, try), s.Wrong(t, try)
	proofs, errs := make([]factors.Proof, 2*n), make([]error, 2*n)
	var wg sync.WaitGroup
	for i := range 2 * n {
		wg.Go(func() {
			answer := good
			if i%2 == 1 {
				answer = bad
			}
			proofs[i], errs[i] = s.Factor.Verify(context.Background(), try, answer)
		})
	}
	wg.Wait()
	passed := 0
	for i, err := range errs {
		switch {
		case err == nil && i%2 == 1:
			t.Errorf("a wrong answer among many proved %+v", proofs[i])
		case err == nil:
			passed++
		case fault.KindOf(err) == fault.Internal:
			t.Errorf("answer %d: %v", i, err)
		}
	}
	if s.Spent && passed > 1 {
		t.Errorf("a one-time answer passed %d times", passed)
	}
	if !s.Spent && passed == 0 {
		t.Error("no right answer among many passed")
	}
}

func pages(t *testing.T, _ *Kit, s Subject) {
	fsys := s.Factor.Pages()
	catalogue, err := words.Load(fsys) // which refuses a missing language and placeholders that differ
	if err != nil {
		t.Fatal(err)
	}
	name := s.Factor.Info().Name
	if key := "factor." + name; !catalogue.Has(key) {
		t.Errorf("words.json has no %q", key)
	}
	files := []string{"page.html"}
	if _, ok := s.Factor.(factors.Renewer); ok {
		files = append(files, "renew.html")
	}
	own := regexp.MustCompile(`"(` + name + `\.[a-z0-9_.]+)"`)
	for _, file := range files {
		text, err := fs.ReadFile(fsys, file)
		if err != nil {
			t.Error(err)
			continue
		}
		tree := parse.New(file)
		tree.Mode = parse.SkipFuncCheck
		defined := map[string]*parse.Tree{}
		if _, err := tree.Parse(string(text), "", "", defined); err != nil {
			t.Error(err)
			continue
		}
		for _, def := range []string{"heading", "factor-page"} {
			if defined[def] == nil {
				t.Errorf("%s does not define %q", file, def)
			}
		}
		for _, never := range []string{"<form", "<script", "style=", "onclick", "<html", "<h1"} {
			if bytes.Contains(bytes.ToLower(text), []byte(never)) {
				t.Errorf("%s holds %q, which belongs to the layout or to no page", file, never)
			}
		}
		for _, m := range own.FindAllSubmatch(text, -1) {
			if !catalogue.Has(string(m[1])) {
				t.Errorf("%s says %q, which words.json lacks", file, m[1])
			}
		}
	}
}

// keepsQuiet: no error may repeat what was typed, since errors reach logs (row L1).
func keepsQuiet(t *testing.T, err error, answer factors.Answer) {
	t.Helper()
	text := fmt.Sprintf("%v %+v", err, fault.Of(err).Args)
	for field, values := range answer {
		for _, v := range values {
			if len(v) >= 3 && strings.Contains(text, v) {
				t.Errorf("the error repeats field %q: %.200s", field, text)
			}
		}
	}
}
