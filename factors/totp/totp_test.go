package totp_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/factortest"
	mine "github.com/kapi-id/kapi/factors/totp"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/fault"
)

const person account.ID = "0e1f7e0e-1111-4a4a-9a9a-000000000001"

// enrolling is a try on the page where the key is set up.
func enrolling(session string) factors.Try {
	return factors.Try{Binding: "enrol:" + session, Purpose: factors.Enrol, Account: person, Origin: "kapi.example", Lang: "en", Person: "Ayşe Yılmaz"}
}

func signin(binding string) factors.Try {
	return factors.Try{Binding: binding, Purpose: factors.SignIn, Account: person, Origin: "kapi.example", Lang: "en"}
}

// app is a key app in a test: it knows what the picture says.
type app struct {
	kit *factortest.Kit
	key *otp.Key
}

func (a app) at(t *testing.T, when time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(a.key.Secret(), when)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func (a app) now(t *testing.T) string { return a.at(t, a.kit.Clock.Now()) }

// wrong is a code of none of the steps around now.
func (a app) wrong(t *testing.T) string {
	for i := 0; ; i++ {
		code, near := fmt.Sprintf("%06d", i), false
		for d := -90; d <= 90; d += 30 {
			near = near || a.at(t, a.kit.Clock.Now().Add(time.Duration(d)*time.Second)) == code
		}
		if !near {
			return code
		}
	}
}

func code(c string) factors.Answer { return factors.Answer{"code": {c}} }

// setup begins a key in a session and hands it to an app.
func setup(t *testing.T, kit *factortest.Kit, f *mine.Factor, session string) app {
	t.Helper()
	try := enrolling(session)
	if _, err := f.Act(t.Context(), try, "begin", nil); err != nil {
		t.Fatal(err)
	}
	v := manage(t, f, try)
	if v.Setup == nil {
		t.Fatal("nothing is being set up")
	}
	key, err := otp.NewKeyFromURL(string(v.Setup.Link))
	if err != nil {
		t.Fatal(err)
	}
	return app{kit, key}
}

func manage(t *testing.T, f *mine.Factor, try factors.Try) mine.ManageView {
	t.Helper()
	p, err := f.Manage(t.Context(), try)
	if err != nil {
		t.Fatal(err)
	}
	return p.Data.(mine.ManageView)
}

// act does what the host does with an act.
func act(t *testing.T, f *mine.Factor, try factors.Try, what string, a factors.Answer) (factors.Result, error) {
	t.Helper()
	r, err := f.Act(t.Context(), try, what, a)
	if err == nil && r.Commit != nil {
		err = r.Commit(t.Context())
	}
	return r, err
}

// enrol gives the person a key. The step of its first code is over afterwards.
func enrol(t *testing.T, kit *factortest.Kit, f *mine.Factor) app {
	t.Helper()
	a := setup(t, kit, f, "s1")
	if _, err := act(t, f, enrolling("s1"), "confirm", code(a.now(t))); err != nil {
		t.Fatal(err)
	}
	kit.Clock.Advance(90 * time.Second)
	return a
}

func begin(t *testing.T, f *mine.Factor, try factors.Try) mine.View {
	t.Helper()
	c, err := f.Begin(t.Context(), try)
	if err != nil {
		t.Fatal(err)
	}
	return c.Page.Data.(mine.View)
}

func TestContract(t *testing.T) {
	factortest.Run(t, func(t *testing.T, kit *factortest.Kit) factortest.Subject {
		f := mine.New(kit.Factors())
		a := enrol(t, kit, f)
		return factortest.Subject{
			Factor: f, Account: person, Spent: true,
			Right: func(t *testing.T, _ factors.Try) factors.Answer { return code(a.now(t)) },
			Wrong: func(t *testing.T, _ factors.Try) factors.Answer { return code(a.wrong(t)) },
		}
	})
}

func TestWhatIsShownOfANewKey(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	f := mine.New(kit.Factors())
	a := setup(t, kit, f, "s1")
	v := manage(t, f, enrolling("s1"))
	if v.On || !regexp.MustCompile(`^([A-Z2-7]{4} ){7}[A-Z2-7]{4}$`).MatchString(strings.Join(v.Setup.Groups, " ")) {
		t.Errorf("%+v", v)
	}
	if strings.Join(v.Setup.Groups, "") != a.key.Secret() {
		t.Error("the typed key is not the scanned one")
	}
	if a.key.Issuer() != "Kapi" || a.key.AccountName() != "Ayşe Yılmaz" || a.key.Period() != 30 || a.key.Digits() != otp.DigitsSix || a.key.Algorithm() != otp.AlgorithmSHA1 {
		t.Errorf("%s %s %d %s %s", a.key.Issuer(), a.key.AccountName(), a.key.Period(), a.key.Digits(), a.key.Algorithm())
	}
	for _, r := range string(v.Setup.Link) {
		if r > '~' {
			t.Fatal("scanners read letters beyond ASCII wrongly")
		}
	}
	again := setup(t, kit, f, "s1") // a reload, or the form sent twice
	if again.key.Secret() != a.key.Secret() {
		t.Error("what was just scanned is worth nothing")
	}
	if other := setup(t, kit, f, "s2"); other.key.Secret() == a.key.Secret() {
		t.Error("two sessions share a key")
	}
	if got, err := kit.Credentials.Of(t.Context(), person); len(got) != 0 || err != nil {
		t.Errorf("%d keys before the first code, %v", len(got), err)
	}
	if s, err := f.Standing(t.Context(), person); s.On || !s.Possible || err != nil {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestSettingUpAKey(t *testing.T) {
	for _, tc := range []struct {
		name string
		code func(a app) string
		wait time.Duration
		err  string
	}{
		{"its code", func(a app) string { return a.now(t) }, 0, ""},
		{"with spaces", func(a app) string { c := a.now(t); return " " + c[:3] + " " + c[3:] }, 0, ""},
		{"a step late", func(a app) string { return a.at(t, a.kit.Clock.Now().Add(-30*time.Second)) }, 0, ""},
		{"a wrong one", func(a app) string { return a.wrong(t) }, 0, "totp.setup_wrong"},
		{"none", func(a app) string { return "" }, 0, "totp.format"},
		{"too late", func(a app) string { return a.now(t) }, mine.SetupLife, "totp.setup_over"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			kit := factortest.NewKit(factortest.Start)
			f := mine.New(kit.Factors())
			a := setup(t, kit, f, "s1")
			kit.Clock.Advance(tc.wait)
			r, err := act(t, f, enrolling("s1"), "confirm", code(tc.code(a)))
			if tc.err != "" {
				if err == nil || fault.Of(err).Key != tc.err {
					t.Fatalf("%v, want %s", err, tc.err)
				}
				if rows, _ := kit.Credentials.Of(t.Context(), person); len(rows) != 0 {
					t.Error("stored all the same")
				}
				return
			}
			if err != nil || r.Event != audit.FactorSetUp || r.Done == "" {
				t.Fatalf("%+v, %v", r, err)
			}
			if s, _ := f.Standing(t.Context(), person); !s.On || !s.Used.IsZero() || !s.Since.Equal(kit.Clock.Now()) {
				t.Errorf("%+v", s)
			}
			if v := manage(t, f, enrolling("s1")); v.Setup != nil || !v.On {
				t.Errorf("the key is still shown: %+v", v)
			}
			// The code that confirmed is used.
			try := signin("b")
			begin(t, f, try)
			if _, err := f.Verify(t.Context(), try, code(tc.code(a))); !errors.Is(err, factors.ErrWrong) {
				t.Errorf("the confirming code signs in as well: %v", err)
			}
		})
	}
}

func TestASetupTakesFiveCodes(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	f := mine.New(kit.Factors())
	a := setup(t, kit, f, "s1")
	for range mine.Tries {
		if _, err := act(t, f, enrolling("s1"), "confirm", code(a.wrong(t))); err == nil {
			t.Fatal("a wrong code confirmed a key")
		}
	}
	if _, err := act(t, f, enrolling("s1"), "confirm", code(a.now(t))); fault.Of(err).Key != "totp.setup_over" {
		t.Errorf("a sixth code: %v", err)
	}
	if v := manage(t, f, enrolling("s1")); !v.Spent || v.Setup != nil {
		t.Errorf("%+v", v)
	}
	b := setup(t, kit, f, "s1")
	if b.key.Secret() == a.key.Secret() {
		t.Error("a new setup has the old key")
	}
	if _, err := act(t, f, enrolling("s1"), "confirm", code(b.now(t))); err != nil {
		t.Error(err)
	}
}

func TestReplacingAndRemoving(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	f := mine.New(kit.Factors())
	old := enrol(t, kit, f)
	fresh := setup(t, kit, f, "s2")
	if r, err := act(t, f, enrolling("s2"), "confirm", code(fresh.now(t))); err != nil || r.Event != audit.FactorChanged {
		t.Fatalf("%+v %v", r, err)
	}
	kit.Clock.Advance(time.Minute)
	try := signin("b")
	begin(t, f, try)
	if _, err := f.Verify(t.Context(), try, code(old.now(t))); !errors.Is(err, factors.ErrWrong) {
		t.Errorf("the old key: %v", err)
	}
	if _, err := f.Verify(t.Context(), try, code(fresh.now(t))); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if rows, _ := kit.Credentials.Of(t.Context(), person); len(rows) != 1 {
		t.Errorf("%d keys", len(rows))
	}
	if r, err := act(t, f, enrolling("s2"), "remove", nil); err != nil || r.Template != "remove" || r.Commit != nil {
		t.Fatalf("asking first: %+v, %v", r, err)
	}
	if r, err := act(t, f, enrolling("s2"), "delete", nil); err != nil || r.Event != audit.FactorRemoved {
		t.Fatalf("%+v, %v", r, err)
	}
	if ok, err := f.Available(t.Context(), person); ok || err != nil {
		t.Errorf("available after removal: %v %v", ok, err)
	}
	if _, err := f.Begin(t.Context(), signin("c")); fault.KindOf(err) != fault.Denied {
		t.Errorf("begin without a key: %v", err)
	}
	for _, again := range []string{"remove", "delete"} {
		if _, err := act(t, f, enrolling("s2"), again, nil); fault.Of(err).Key != "totp.none" {
			t.Errorf("%s twice: %v", again, err)
		}
	}
	if _, err := act(t, f, enrolling("s2"), "destroy", nil); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("an unknown act: %v", err)
	}
}

// Without two-factor authentication a key is asked for only where two steps are wanted, and the page says so.
func TestAKeyAlone(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	f := mine.New(kit.Factors())
	enrol(t, kit, f)
	for _, on := range []bool{true, false} {
		kit.Accounts.Put(account.Account{ID: person, State: account.Active, TwoFactor: on})
		if v := manage(t, f, enrolling("s1")); v.Alone == on {
			t.Errorf("two-factor authentication %v: %+v", on, v)
		}
		if ok, err := f.Available(t.Context(), person); !ok || err != nil {
			t.Errorf("two-factor authentication %v: available %v, %v", on, ok, err)
		}
	}
}

func TestCancelForgetsTheKey(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	f := mine.New(kit.Factors())
	a := setup(t, kit, f, "s1")
	for range 2 {
		if _, err := act(t, f, enrolling("s1"), "cancel", nil); err != nil {
			t.Fatal(err)
		}
	}
	if v := manage(t, f, enrolling("s1")); v.Setup != nil {
		t.Error("still shown")
	}
	if _, err := act(t, f, enrolling("s1"), "confirm", code(a.now(t))); err == nil {
		if rows, _ := kit.Credentials.Of(t.Context(), person); len(rows) != 0 {
			t.Error("confirmed after cancelling")
		}
	}
}

// Two sessions that set a key up at once end with one.
func TestOneKeyForEachAccount(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	f := mine.New(kit.Factors())
	const n = 8
	apps := make([]app, n)
	for i := range n {
		apps[i] = setup(t, kit, f, fmt.Sprint("s", i))
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			_, _ = act(t, f, enrolling(fmt.Sprint("s", i)), "confirm", code(apps[i].now(t)))
		})
	}
	wg.Wait()
	if rows, _ := kit.Credentials.Of(t.Context(), person); len(rows) != 1 {
		t.Errorf("%d keys", len(rows))
	}
}

// S3: a step counts once, whatever the clock says afterwards.
func TestS3_AStepCountsOnce(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	f := mine.New(kit.Factors())
	a := enrol(t, kit, f)
	used := a.now(t)
	for i, tc := range []struct {
		name string
		code string
		move time.Duration
		ok   bool
	}{
		{"first", used, 0, true},
		{"again", used, 0, false},
		{"again within the tolerance", used, 30 * time.Second, false},
		{"the step before the one that was used", a.at(t, kit.Clock.Now().Add(-30*time.Second)), -30 * time.Second, false},
		{"the next one", a.at(t, kit.Clock.Now().Add(30*time.Second)), 30 * time.Second, true},
		{"a step early", a.at(t, kit.Clock.Now().Add(90*time.Second)), 30 * time.Second, true},
		{"the present one after an early one", a.at(t, kit.Clock.Now().Add(60*time.Second)), 0, false},
		{"two steps early", a.at(t, kit.Clock.Now().Add(150*time.Second)), 30 * time.Second, false},
		{"two steps late", a.at(t, kit.Clock.Now().Add(120*time.Second)), 90 * time.Second, false},
	} {
		kit.Clock.Advance(tc.move)
		try := signin(fmt.Sprint("b", i))
		begin(t, f, try)
		_, err := f.Verify(t.Context(), try, code(tc.code))
		if tc.ok != (err == nil) || err != nil && !errors.Is(err, factors.ErrWrong) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if s, _ := f.Standing(t.Context(), person); s.Used.IsZero() {
		t.Error("nobody knows when it was used")
	}
}

// S3: the same code in twenty browsers at once lets one through.
func TestS3_TheSameCodeAtOnce(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	f := mine.New(kit.Factors())
	a := enrol(t, kit, f)
	const n = 20
	for i := range n {
		begin(t, f, signin(fmt.Sprint("b", i)))
	}
	var through atomic.Int64
	var wg sync.WaitGroup
	c := a.now(t)
	for i := range n {
		wg.Go(func() {
			if _, err := f.Verify(t.Context(), signin(fmt.Sprint("b", i)), code(c)); err == nil {
				through.Add(1)
			}
		})
	}
	wg.Wait()
	if through.Load() != 1 {
		t.Errorf("%d got through", through.Load())
	}
}

// S1: of many guesses at one challenge five are compared; a reload brings no more.
func TestS1_FiveGuessesOfAChallenge(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	f := mine.New(kit.Factors())
	a := enrol(t, kit, f)
	try := signin("b")
	begin(t, f, try)
	for i := range mine.Tries {
		_, err := f.Verify(t.Context(), try, code(a.wrong(t)))
		if !errors.Is(err, factors.ErrWrong) {
			t.Fatalf("guess %d: %v", i, err)
		}
		begin(t, f, try)
	}
	if v := begin(t, f, try); v.Open {
		t.Error("a spent challenge still asks for a code")
	}
	if _, err := f.Verify(t.Context(), try, code(a.now(t))); fault.Of(err).Key != "totp.spent" || errors.Is(err, factors.ErrWrong) {
		t.Errorf("a sixth guess: %v", err)
	}
	kit.Clock.Advance(mine.Life)
	if v := begin(t, f, try); !v.Open {
		t.Error("never again open")
	}
	if _, err := f.Verify(t.Context(), try, code(a.now(t))); err != nil {
		t.Error(err)
	}
}

func TestACodeOfAnotherPlace(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	f := mine.New(kit.Factors())
	a := enrol(t, kit, f)
	try := signin("b")
	begin(t, f, try)
	for name, change := range map[string]func(*factors.Try){
		"another sign-in": func(x *factors.Try) { x.Binding = "c" },
		"another purpose": func(x *factors.Try) { x.Purpose = factors.TwoFactor },
		"another person":  func(x *factors.Try) { x.Account = "0e1f7e0e-1111-4a4a-9a9a-000000000002" },
		"nobody":          func(x *factors.Try) { x.Account = "" },
	} {
		other := try
		change(&other)
		if _, err := f.Verify(t.Context(), other, code(a.now(t))); err == nil {
			t.Errorf("%s: proven", name)
		}
	}
	if _, err := f.Verify(t.Context(), try, code(a.now(t))); err != nil {
		t.Error(err)
	}
	if _, err := f.Verify(t.Context(), try, code(a.now(t))); !errors.Is(err, fault.ErrConflict) {
		t.Errorf("the form sent twice: %v", err)
	}
}

// What is stored holds the key only in the sealed part.
func TestTheKeyIsInTheSealedPartOnly(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	f := mine.New(kit.Factors())
	a := enrol(t, kit, f)
	rows, err := kit.Credentials.Of(t.Context(), person)
	if err != nil || len(rows) != 1 {
		t.Fatal(err)
	}
	var r struct{ Seed []byte }
	if err := json.Unmarshal(rows[0].Data, &r); err != nil || len(r.Seed) != 20 {
		t.Fatalf("%d bytes, %v", len(r.Seed), err)
	}
	rows[0].Data = nil
	if text := fmt.Sprintf("%+v", rows[0]); strings.Contains(text, a.key.Secret()) || strings.Contains(text, string(r.Seed)) {
		t.Error("the key stands in a clear column")
	}
}

func TestABrokenRecordSaysNothing(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	f := mine.New(kit.Factors())
	if _, err := kit.Credentials.Create(t.Context(), factors.Credential{Account: person, State: "active", Data: []byte("JBSWY3DP")}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Available(t.Context(), person); err == nil || strings.Contains(err.Error(), "JBSW") {
		t.Errorf("%v", err)
	}
}

// What strangers type: an answer is six digits or refused, without a panic.
func FuzzVerify(f *testing.F) {
	for _, s := range []string{"123456", "123 456", "１２３４５６", "١٢٣٤٥٦", "12345", "", "\x00", "1234567", "12345\u200f6", "𝟎𝟏𝟐𝟑𝟒𝟓"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		kit := factortest.NewKit(factortest.Start)
		x := mine.New(kit.Factors())
		a := enrol(t, kit, x)
		try := signin("b")
		begin(t, x, try)
		readable := x.Readable(code(typed)) == nil
		_, err := x.Verify(t.Context(), try, code(typed))
		switch {
		case readable && err != nil && !errors.Is(err, factors.ErrWrong):
			t.Errorf("%q: %v", typed, err)
		case !readable && fault.KindOf(err) != fault.Invalid:
			t.Errorf("%q: %v", typed, err)
		case err == nil && !strings.ContainsAny(typed, "0123456789") && len(typed) < 6:
			t.Errorf("%q is the code %s", typed, a.now(t))
		}
	})
}
