package password

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/fault"
)

const fresh = "kırmızı bisikletle göle"

func TestChange(t *testing.T) {
	tests := []struct {
		name  string
		ready func(t *testing.T, b *bench)
		c     Change
		key   string // "" = accepted
	}{
		{"with the old one", nil, Change{Old: good, New: fresh}, ""},
		{"old one wrong", nil, Change{Old: bad, New: fresh}, "password.old_wrong"},
		{"old one missing", nil, Change{New: fresh}, "password.missing"},
		{"old one oversize", nil, Change{Old: strings.Repeat("x", 2000), New: fresh}, "password.too_long"},
		{"without the old one, after a strong sign-in", nil, Change{New: fresh, WithoutOld: true}, ""},
		{"the same again", nil, Change{Old: good, New: good}, "password.rule.same"},
		{"the same again, decomposed", nil, Change{Old: good, New: strings.ReplaceAll(good, "ğ", "g\u0306")}, "password.rule.same"},
		{"the same again, without the old one", nil, Change{New: good, WithoutOld: true}, "password.rule.same"},
		{"too short", nil, Change{Old: good, New: "xK7 pqrt"}, "password.rule.length"},
		{"shorter with two-factor", func(_ *testing.T, b *bench) { b.two = true }, Change{Old: good, New: "xK7 pqrt"}, ""},
		{"shorter with two-factor, which goes", func(_ *testing.T, b *bench) { b.two = true }, Change{Old: good, New: "xK7 pqrt", Alone: true}, "password.rule.length"},
		{"a common one", nil, Change{Old: good, New: "Galatasaray1905"}, "password.rule.common"},
		{"the own name", nil, Change{Old: good, New: "Ayşe gül bahçesinde"}, "password.rule.personal"},
		{"the service", nil, Change{Old: good, New: "vizite almaya gidiyorum", Services: []string{"e-Vizite"}}, "password.rule.personal"},
		{"nothing", nil, Change{Old: good}, "password.missing"},
		{"oversize", nil, Change{Old: good, New: strings.Repeat("ab c", 300)}, "password.too_long"},
		{"no text", nil, Change{Old: good, New: "uzun ama bozuk \xff\xfe sözler"}, "password.characters"},
		{"control character", nil, Change{Old: good, New: "uzun ama bozuk \x00 sözler"}, "password.characters"},
		{"disabled", disable, Change{Old: good, New: fresh}, "password.disabled"},
		{"disabled, after a strong sign-in", disable, Change{New: fresh, WithoutOld: true}, ""},
		{"a temporary one that is over", func(t *testing.T, b *bench) { b.set(t, good, true); b.kit.Clock.Advance(TemporaryLife) },
			Change{Old: good, New: fresh}, "password.disabled"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, Options{})
			b.set(t, good, false)
			if tt.ready != nil {
				tt.ready(t, b)
			}
			before := b.row(t, nil)
			tt.c.Account = ayse
			err := b.Change(t.Context(), tt.c)
			if tt.key == "" {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := b.signIn(ayse, tt.c.New); err != nil {
					t.Errorf("the new one: %v", err)
				}
				if _, err := b.signIn(ayse, good); !errors.Is(err, factors.ErrWrong) {
					t.Errorf("the old one: %v", err)
				}
				return
			}
			wantKey(t, "change", err, tt.key)
			if text := fmt.Sprintf("%v %v", err, fault.Of(err).Args); strings.Contains(text, "bozuk") || strings.Contains(text, good) {
				t.Errorf("the error repeats what was typed: %s", text)
			}
			if after := b.row(t, nil); after.Version != before.Version {
				t.Error("something was written")
			}
		})
	}
}

func disable(t *testing.T, b *bench) {
	t.Helper()
	if err := b.Disable(t.Context(), ayse); err != nil {
		t.Fatal(err)
	}
}

func TestAWrongOldPasswordIsCountable(t *testing.T) {
	b := newBench(t, Options{})
	b.set(t, good, false)
	err := b.Change(t.Context(), Change{Account: ayse, Old: bad, New: fresh})
	if !errors.Is(err, factors.ErrWrong) {
		t.Errorf("%v is not ErrWrong, so no host would count it", err)
	}
	if err := b.Change(t.Context(), Change{Old: bad, New: fresh}); err == nil {
		t.Error("nobody got a password")
	}
}

// R45: after a strong sign-in a person without a password sets one.
func TestFirstPassword(t *testing.T) {
	b := newBench(t, Options{})
	if err := b.Change(t.Context(), Change{Account: ayse, Old: good, New: fresh}); !errors.Is(err, factors.ErrWrong) {
		t.Errorf("with an old one that never was: %v", err)
	}
	if err := b.Change(t.Context(), Change{Account: ayse, New: fresh, WithoutOld: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.signIn(ayse, fresh); err != nil {
		t.Error(err)
	}
	s, err := b.Describe(t.Context(), ayse)
	if err != nil || s.State != Active || !s.ChangedAt.Equal(b.kit.Clock.Now()) || !s.Alone || s.Renew {
		t.Errorf("status = %+v, %v", s, err)
	}
}

// renew is Renew and its write.
func (b *bench) renew(t *testing.T, try factors.Try, password string) error {
	write, err := b.Renew(t.Context(), try, factors.Answer{"new_password": {password}})
	if err != nil {
		return err
	}
	return write(t.Context())
}

// R36, R38: the office password opens the change page only, the chosen one is ready for use.
func TestTemporaryPassword(t *testing.T) {
	b := newBench(t, Options{})
	b.set(t, "48213", true)
	try := factors.Try{Binding: "t1", Account: ayse, Service: "e-Vizite", Lang: "tr"}
	p, err := b.signIn(ayse, "48213")
	if err != nil || !p.Renew {
		t.Fatalf("proof %+v, %v; a new password must be owed", p, err)
	}
	page, err := b.RenewPage(t.Context(), try)
	if view, ok := page.Data.(RenewView); err != nil || !ok || !view.Temporary || len(view.Rules) == 0 || view.Rules[0].N != 15 {
		t.Errorf("page %+v, %v", page.Data, err)
	}
	renew := func(password string) error { return b.renew(t, try, password) }
	wantKey(t, "against the rules", renew("kısa"), "password.rule.length")
	wantKey(t, "the service's name", renew("vizite sayfasına giderim"), "password.rule.personal")
	wantKey(t, "the envelope's own", renew("48213"), "password.rule.length")
	// What is prepared is not there before it is written, and of two that are prepared one is too late.
	one, err := b.Renew(t.Context(), try, factors.Answer{"new_password": {fresh}})
	two, also := b.Renew(t.Context(), try, factors.Answer{"new_password": {bad}})
	if err != nil || also != nil {
		t.Fatal(err, also)
	}
	if s, _ := b.Describe(t.Context(), ayse); s.State != Temporary {
		t.Errorf("%s before anything was written", s.State)
	}
	if err := one(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantKey(t, "prepared beside it", two(t.Context()), "password.changed_meanwhile")
	// a second browser stood on the change page with the same envelope
	wantKey(t, "another sign-in", renew(bad), "password.changed_meanwhile")
	wantKey(t, "another sign-in, guessing", renew(fresh), "password.changed_meanwhile")
	if p, err := b.signIn(ayse, fresh); err != nil || p.Renew {
		t.Errorf("the chosen one: %+v, %v", p, err)
	}
	if _, err := b.signIn(ayse, "48213"); !errors.Is(err, factors.ErrWrong) {
		t.Errorf("the envelope again: %v", err)
	}
	if s, _ := b.Describe(t.Context(), ayse); s.State != Active || !s.ExpiresAt.IsZero() {
		t.Errorf("status %+v", s)
	}
}

func TestTemporaryPasswordExpires(t *testing.T) {
	b := newBench(t, Options{})
	b.set(t, "48213", true)
	b.kit.Clock.Advance(TemporaryLife - time.Microsecond)
	if s, _ := b.Describe(t.Context(), ayse); s.State != Temporary || !s.Renew {
		t.Errorf("on its last day: %+v", s)
	}
	if _, err := b.signIn(ayse, "48213"); err != nil {
		t.Errorf("on its last day: %v", err)
	}
	b.kit.Clock.Advance(time.Microsecond)
	if _, err := b.signIn(ayse, "48213"); !errors.Is(err, factors.ErrWrong) {
		t.Errorf("afterwards: %v", err)
	}
	if s, _ := b.Describe(t.Context(), ayse); s.State != "expired" {
		t.Errorf("afterwards: %+v", s)
	}
	b.set(t, "77120", true) // a second envelope
	if _, err := b.signIn(ayse, "77120"); err != nil {
		t.Errorf("a new envelope: %v", err)
	}
}

func TestOneOfTwoChangesWins(t *testing.T) {
	b := newBench(t, Options{Limits: Limits{Slots: 8}})
	b.set(t, good, false)
	var prepared [8]*Prepared
	for i := range prepared {
		p, err := b.Prepare(t.Context(), Change{Account: ayse, Old: good, New: fmt.Sprint(fresh, " ", i)})
		if err != nil {
			t.Fatal(err)
		}
		prepared[i] = p
	}
	var errs [8]error
	var wg sync.WaitGroup
	for i, p := range prepared {
		wg.Go(func() { errs[i] = p.Write(t.Context()) })
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		switch {
		case err == nil && won < 0:
			won = i
		case err == nil:
			t.Errorf("%d and %d both won", won, i)
		default:
			wantKey(t, "a loser", err, "password.changed_meanwhile")
		}
	}
	if won < 0 {
		t.Fatal("nobody won")
	}
	if _, err := b.signIn(ayse, fmt.Sprint(fresh, " ", won)); err != nil {
		t.Errorf("the winner's password: %v", err)
	}
}

func TestPastPasswords(t *testing.T) {
	seq := []string{"Kum7-saat.a", "Kum7-saat.b", "Kum7-saat.c", "Kum7-saat.d"}
	for _, profile := range []Profile{Gateway, GatewayOlder} {
		b := newBench(t, Options{Profile: profile})
		b.set(t, seq[0], false)
		for i := 1; i < len(seq); i++ {
			if err := b.Change(t.Context(), Change{Account: ayse, Old: seq[i-1], New: seq[i]}); err != nil {
				t.Fatal(err)
			}
		}
		// the last three are d, c and b
		for i, key := range map[int]string{1: "password.rule.past", 2: "password.rule.past", 3: "password.rule.same"} {
			for _, c := range []Change{{Old: seq[3]}, {WithoutOld: true}} {
				c.Account, c.New = ayse, seq[i]
				wantKey(t, profile.Name+" "+seq[i], b.Change(t.Context(), c), key)
			}
		}
		b.pepper.renew() // past ones are compared under their own key
		wantKey(t, profile.Name, b.Change(t.Context(), Change{Account: ayse, Old: seq[3], New: seq[1]}), "password.rule.past")
		if err := b.Change(t.Context(), Change{Account: ayse, Old: seq[3], New: seq[0]}); err != nil {
			t.Errorf("%s: the fourth last: %v", profile.Name, err)
		}
	}
	b := newBench(t, Options{})
	b.set(t, good, false)
	if err := b.Change(t.Context(), Change{Account: ayse, Old: good, New: fresh}); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b.row(t, nil).Data), "past") {
		t.Error("NIST keeps old hashes it has no use for")
	}
}

func TestGatewayWantsANewOneAfterSixMonths(t *testing.T) {
	b := newBench(t, Options{Profile: Gateway})
	b.set(t, "Kum7-saat.a", false)
	b.kit.Clock.Advance(b.kit.Clock.Now().AddDate(0, 6, 0).Sub(b.kit.Clock.Now()))
	p, err := b.signIn(ayse, "Kum7-saat.a")
	if err != nil || !p.Renew {
		t.Fatalf("proof %+v, %v", p, err)
	}
	try := factors.Try{Binding: "t1", Account: ayse}
	if page, err := b.RenewPage(t.Context(), try); err != nil || page.Data.(RenewView).Temporary {
		t.Errorf("page %+v, %v", page.Data, err)
	}
	if err := b.renew(t, try, "Kum7-saat.b"); err != nil {
		t.Fatal(err)
	}
	if p, err := b.signIn(ayse, "Kum7-saat.b"); err != nil || p.Renew {
		t.Errorf("proof %+v, %v", p, err)
	}
}

// The older profile asks after three months, and again three months after the person kept the old one.
func TestGatewayOlderReminds(t *testing.T) {
	b := newBench(t, Options{Profile: GatewayOlder})
	b.set(t, "Kum7-saat.a", false)
	try := factors.Try{Binding: "t1", Account: ayse}
	asked := func(word string, want bool) {
		t.Helper()
		p, err := b.signIn(ayse, word)
		if err != nil || p.Remind != want || p.Renew {
			t.Errorf("proof %+v, %v", p, err)
		}
		if s, err := b.Describe(t.Context(), ayse); err != nil || s.Remind != want {
			t.Errorf("status %+v, %v", s, err)
		}
		page, err := b.RenewPage(t.Context(), try)
		if months := page.Data.(RenewView).Remind; err != nil || (months == 3) != want || !want && months != 0 {
			t.Errorf("page %+v, %v", page.Data, err)
		}
	}
	months := func(n int, less time.Duration) {
		now := b.kit.Clock.Now()
		b.kit.Clock.Advance(now.AddDate(0, n, 0).Sub(now) - less)
	}
	keep := func() error {
		write, err := b.Keep(t.Context(), try)
		if err != nil {
			return err
		}
		return write(t.Context())
	}
	months(3, time.Microsecond)
	asked("Kum7-saat.a", false)
	wantKey(t, "a change that nobody asked for", b.renew(t, try, "Kum7-saat.b"), "password.changed_meanwhile")
	b.kit.Clock.Advance(time.Microsecond)
	asked("Kum7-saat.a", true)
	if _, err := b.Keep(t.Context(), try); err != nil {
		t.Fatal(err)
	}
	asked("Kum7-saat.a", true) // nothing was written
	if err := keep(); err != nil {
		t.Fatal(err)
	}
	asked("Kum7-saat.a", false)
	months(3, 0)
	asked("Kum7-saat.a", true)
	if err := b.renew(t, try, "Kum7-saat.b"); err != nil {
		t.Fatal(err)
	}
	asked("Kum7-saat.b", false)
	if s, _ := b.Describe(t.Context(), ayse); !s.ChangedAt.Equal(b.kit.Clock.Now()) {
		t.Errorf("changed at %v", s.ChangedAt)
	}

	// One that must be changed, or is off, is not kept; nor one that was changed in between.
	late, err := b.Keep(t.Context(), try)
	if err != nil {
		t.Fatal(err)
	}
	b.set(t, "48213", true)
	wantKey(t, "kept, and changed in between", late(t.Context()), "password.changed_meanwhile")
	wantKey(t, "the office's", keep(), "password.changed_meanwhile")
	disable(t, b)
	wantKey(t, "a disabled one", keep(), "password.changed_meanwhile")
	if _, err := b.Keep(t.Context(), factors.Try{Account: "nobody"}); err == nil {
		t.Error("nobody keeps a password")
	}
}

func TestRenewalDoesNotUndoADisabling(t *testing.T) {
	for _, ready := range []func(*bench){
		func(*bench) {},
		func(b *bench) {
			if err := b.renew(t, factors.Try{Binding: "t1", Account: ayse}, "Kum7-saat.b"); err != nil {
				t.Fatal(err)
			}
		},
	} {
		b := newBench(t, Options{Profile: Gateway})
		b.set(t, "Kum7-saat.a", false)
		b.kit.Clock.Advance(365 * 24 * time.Hour)
		ready(b)
		disable(t, b)
		err := b.renew(t, factors.Try{Binding: "t1", Account: ayse}, "Kum7-saat.c")
		wantKey(t, "renewal", err, "password.changed_meanwhile")
	}
}

func TestSetAndDisable(t *testing.T) {
	b := newBench(t, Options{})
	if err := b.Disable(t.Context(), ayse); err != nil {
		t.Errorf("disabling nothing: %v", err)
	}
	if s, err := b.Describe(t.Context(), ayse); err != nil || s != (Status{State: "none"}) {
		t.Errorf("status %+v, %v", s, err)
	}
	b.set(t, "1234", false) // a file is not held to the rules
	if p, err := b.signIn(ayse, "1234"); err != nil || p.Renew {
		t.Errorf("proof %+v, %v", p, err)
	}
	if s, _ := b.Describe(t.Context(), ayse); s.Alone {
		t.Error("a short one stands without two-factor authentication")
	}
	disable(t, b)
	disable(t, b)
	if s, _ := b.Describe(t.Context(), ayse); s.State != Disabled {
		t.Errorf("status %+v", s)
	}
	b.row(t, func(c *factors.Credential) { c.State = Closed })
	if err := b.Change(t.Context(), Change{Account: ayse, New: fresh, WithoutOld: true}); err != nil {
		t.Fatal(err)
	}
	if s, _ := b.Describe(t.Context(), ayse); s.State != Closed {
		t.Errorf("a new password opened what the person closed: %+v", s)
	}
	b.set(t, "48213", true) // R71: one from the office does
	if _, err := b.signIn(ayse, "48213"); err != nil {
		t.Error(err)
	}
	for _, odd := range []string{"", strings.Repeat("a", MaxBytes+1), "a\nb", "\xff"} {
		if err := b.Set(t.Context(), ayse, odd, false); err == nil {
			t.Errorf("Set took %.10q", odd)
		}
	}
	if err := b.Set(t.Context(), "", good, false); err == nil {
		t.Error("nobody has a password")
	}
}
