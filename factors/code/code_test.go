package code

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/throttle"
)

const ayse account.ID = "ayse"

// phone counts what the fake does not, and holds the windows of the real one.
type phone struct {
	*factortest.Messenger
	mu       sync.Mutex
	networks []string
	windows  []throttle.Window // nil = allow all
	at       []time.Time
	now      func() time.Time
	asked    func() // called by Allow, between a challenge that was found and its next code; nil = nothing
}

// tickets counts the codes that were compared.
type tickets struct {
	*factortest.Tickets
	compared atomic.Int64
}

func (k *tickets) Answer(ctx context.Context, binding string, p factors.Purpose, id account.ID, secret []byte, most int) (factors.Ticket, bool, error) {
	t, right, err := k.Tickets.Answer(ctx, binding, p, id, secret, most)
	if err == nil {
		k.compared.Add(1)
	}
	return t, right, err
}

func (p *phone) Allow(ctx context.Context, id account.ID, network string) error {
	if p.asked != nil {
		p.asked()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.windows {
		n := 0
		for _, at := range p.at {
			if p.now().Sub(at) < w.Per {
				n++
			}
		}
		if n >= w.N {
			return fault.New(fault.Throttled, "").After(w.Per)
		}
	}
	p.at, p.networks = append(p.at, p.now()), append(p.networks, network)
	return p.Messenger.Allow(ctx, id, network)
}

// way is one of short messages, with a better line for those who have it.
var way = Way{
	Info: factors.Info{Name: "sms", Order: 50}, Channels: []string{"sim", "sms"}, AMR: []string{"sms"}, Fallback: true,
	Pages: fstest.MapFS{
		"page.html":  {Data: []byte(`{{define "heading"}}{{t "factor.sms"}}{{end}}{{define "factor-page"}}{{end}}`)},
		"words.json": {Data: []byte(`{"factor.sms": {"tr": "SMS", "en": "SMS"}}`)},
	},
}

type bench struct {
	*Factor
	kit     *factortest.Kit
	phone   *phone
	tickets *tickets
	try     factors.Try
}

func newBench(t *testing.T) *bench {
	t.Helper()
	k := factortest.NewKit(factortest.Start)
	k.Phone.Give(ayse, "01")
	b := &bench{kit: k, phone: &phone{Messenger: k.Phone, now: k.Clock.Now}}
	fk := k.Factors()
	b.tickets = &tickets{Tickets: k.Tickets}
	fk.Phone, fk.Tickets = b.phone, b.tickets
	b.Factor = New(fk, way)
	b.try = factors.Try{
		Binding: "t1", Purpose: factors.SignIn, Account: ayse, Service: "SSI Notification Portal", Origin: "kapi.example",
		Network: "192.0.2.1", Place: "Ankara, Türkiye", Lang: "en",
	}
	return b
}

// begin asks for the page.
func (b *bench) begin(t *testing.T) *factors.Page {
	t.Helper()
	c, err := b.Begin(t.Context(), b.try)
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	return c.Page
}

// code is the newest one sent.
func (b *bench) code(t *testing.T) string {
	t.Helper()
	sent := b.kit.Phone.Sent()
	if len(sent) == 0 {
		t.Fatal("no message")
	}
	return sent[len(sent)-1].Text[:digits]
}

func (b *bench) verify(t *testing.T, code string) error {
	t.Helper()
	_, err := b.Verify(t.Context(), b.try, factors.Answer{"code": {code}})
	return err
}

// other is a well-formed code that is not this one.
func other(code string, n int) string {
	var x int
	fmt.Sscanf(code, "%d", &x)
	return fmt.Sprintf("%06d", (x+n)%1_000_000)
}

func key(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Key
}

func TestFactor(t *testing.T) {
	factortest.Run(t, func(t *testing.T, kit *factortest.Kit) factortest.Subject {
		kit.Phone.Give(ayse, "01")
		code := func() string {
			sent := kit.Phone.Sent()
			return sent[len(sent)-1].Text[:digits]
		}
		return factortest.Subject{
			Factor: New(kit.Factors(), way), Account: ayse, Spent: true,
			Right: func(*testing.T, factors.Try) factors.Answer { return factors.Answer{"code": {code()}} },
			Wrong: func(*testing.T, factors.Try) factors.Answer { return factors.Answer{"code": {other(code(), 1)}} },
		}
	})
}

func TestProof(t *testing.T) {
	b := newBench(t)
	page := b.begin(t)
	if v := page.Data.(View); v != (View{Ending: "01", Channel: "sms", Open: true, Until: factortest.Start.Add(5 * time.Minute)}) || page.Trouble != "" {
		t.Errorf("page %+v", page)
	}
	b.kit.Clock.Advance(20 * time.Second)
	p, err := b.Verify(t.Context(), b.try, factors.Answer{"code": {b.code(t)}})
	if err != nil {
		t.Fatal(err)
	}
	want := factors.Proof{
		Factor: "sms", Account: ayse, Stage: factors.Second, Kinds: factors.Have, Channel: factors.Phone, Level: acr.Low,
		AMR: []string{"sms"}, At: factortest.Start.Add(20 * time.Second),
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("proof %+v, want %+v", p, want)
	}
	if m := b.kit.Phone.Sent()[0]; m.Account != ayse || m.Channel != "sms" || !m.Deadline.Equal(factortest.Start.Add(Life)) || m.Network != "192.0.2.1" || m.Binding != "t1" {
		t.Errorf("message %+v", m)
	}
}

func TestOnlyToAnIDVerifiedPhone(t *testing.T) {
	b := newBench(t)
	b.kit.Phone.Give(ayse, "")
	if ok, err := b.Available(t.Context(), ayse); ok || err != nil {
		t.Errorf("available %v, %v", ok, err)
	}
	if _, err := b.Begin(t.Context(), b.try); key(err) != "code.no_phone" {
		t.Errorf("Begin: %v", err)
	}
	if err := b.Again(t.Context(), b.try); key(err) != "code.no_phone" {
		t.Errorf("Again: %v", err)
	}
	if ok, _ := b.Available(t.Context(), ""); ok {
		t.Error("available to nobody")
	}
	if len(b.kit.Phone.Sent()) != 0 {
		t.Error("a message was sent")
	}
}

func TestBoundToBrowserPurposeAndPerson(t *testing.T) {
	for name, change := range map[string]func(*factors.Try){
		"another sign-in or browser": func(x *factors.Try) { x.Binding = "t2" },
		"another purpose":            func(x *factors.Try) { x.Purpose = factors.TwoFactor },
		"another person":             func(x *factors.Try) { x.Account = "fatma" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.kit.Phone.Give("fatma", "02")
			b.begin(t)
			code := b.code(t)
			theirs := b.try
			change(&theirs)
			if _, err := b.Verify(t.Context(), theirs, factors.Answer{"code": {code}}); key(err) != "code.expired" {
				t.Errorf("before they began: %v", err)
			}
			if _, err := b.Begin(t.Context(), theirs); err != nil {
				t.Fatal(err)
			}
			if b.code(t) == code {
				t.Skip("two equal codes: one chance in a million")
			}
			if theirs.Binding != b.try.Binding || theirs.Purpose != b.try.Purpose {
				if _, err := b.Verify(t.Context(), theirs, factors.Answer{"code": {code}}); !errors.Is(err, factors.ErrWrong) {
					t.Errorf("after they began: %v", err)
				}
				if err := b.verify(t, code); err != nil {
					t.Errorf("the code where it belongs: %v", err)
				}
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	b := newBench(t)
	b.begin(t)
	old := b.code(t)
	b.kit.Clock.Advance(Life)
	if err := b.verify(t, old); key(err) != "code.expired" {
		t.Fatalf("after five minutes: %v", err)
	}
	b.begin(t)
	if n := len(b.kit.Phone.Sent()); n != 2 {
		t.Fatalf("%d messages, want a fresh code for who comes back later", n)
	}
	if err := b.verify(t, b.code(t)); err != nil {
		t.Fatal(err)
	}
}

// A form that is sent twice, or a second tab, costs no second message.
func TestUsedCodeIsNoReasonForANewOne(t *testing.T) {
	b := newBench(t)
	b.begin(t)
	code := b.code(t)
	if err := b.verify(t, code); err != nil {
		t.Fatal(err)
	}
	if err := b.verify(t, code); !errors.Is(err, fault.ErrConflict) || key(err) != "" {
		t.Fatalf("the same form again: %v", err) // without a key the host shows what is owed
	}
	page := b.begin(t)
	if v := page.Data.(View); !v.Used || v.Open || len(b.kit.Phone.Sent()) != 1 {
		t.Fatalf("page %+v, %d messages", page, len(b.kit.Phone.Sent()))
	}
	// What followed the code was lost: the person asks, and goes on.
	if err := b.Again(t.Context(), b.try); err != nil {
		t.Fatal(err)
	}
	if err := b.verify(t, b.code(t)); err != nil {
		t.Fatal(err)
	}
}

// Row S1: of many guesses at once five are compared, the right code among them or not.
func TestS1_GuessingInParallel(t *testing.T) {
	const rounds, guesses = 20, 250
	wins := 0
	for range rounds {
		b := newBench(t)
		b.begin(t)
		replica := New(b.Factor.kit, way) // shares nothing but the stores
		right, sent := b.code(t), b.tickets.compared.Load()
		at := rand.IntN(guesses)
		var won, counted atomic.Int64
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range guesses {
			f := b.Factor
			if i%2 == 1 {
				f = replica
			}
			guess := other(right, i+1)
			if i == at {
				guess = right
			}
			wg.Go(func() {
				<-start
				_, err := f.Verify(context.Background(), b.try, factors.Answer{"code": {guess}})
				switch {
				case err == nil:
					won.Add(1)
				case errors.Is(err, factors.ErrWrong):
					counted.Add(1)
				case fault.KindOf(err) == fault.Internal:
					t.Errorf("guess: %v", err)
				}
			})
		}
		close(start)
		wg.Wait()
		compared := b.tickets.compared.Load() - sent
		if compared > Tries {
			t.Fatalf("%d codes compared", compared)
		}
		if counted.Load()+won.Load() != compared {
			t.Fatalf("%d wrong and %d right answers of %d compared", counted.Load(), won.Load(), compared)
		}
		wins += int(won.Load())
	}
	// Chance alone wins 0.4 of 20 rounds.
	if wins > 3 {
		t.Fatalf("%d of %d rounds won", wins, rounds)
	}
}

func TestS1_FiveTriesThenANewCode(t *testing.T) {
	b := newBench(t)
	b.begin(t)
	first := b.code(t)
	for left := 4; left >= 1; left-- {
		err := b.verify(t, other(first, left))
		if key(err) != "code.wrong" || fault.Of(err).Args["n"] != left || !errors.Is(err, factors.ErrWrong) {
			t.Fatalf("with %d tries left: %v %v", left, err, fault.Of(err).Args)
		}
	}
	if err := b.verify(t, other(first, 5)); key(err) != "code.spent" || !errors.Is(err, factors.ErrWrong) {
		t.Fatalf("fifth: %v", err)
	}
	compared := b.tickets.compared.Load()
	if err := b.verify(t, first); key(err) != "code.spent" || errors.Is(err, factors.ErrWrong) {
		t.Fatalf("the right code after five wrong ones: %v", err)
	}
	if b.tickets.compared.Load() != compared {
		t.Fatal("a sixth comparison")
	}
	if v := b.begin(t).Data.(View); v.Open || !v.Spent {
		t.Fatalf("page %+v", v)
	}
	if n := len(b.kit.Phone.Sent()); n != 1 {
		t.Fatalf("%d messages: a reload must not send", n)
	}
	b.kit.Clock.Advance(30 * time.Second)
	if err := b.Again(t.Context(), b.try); err != nil {
		t.Fatal(err)
	}
	// A new challenge: five tries and five minutes of its own, under the count of the person that the host keeps.
	page := b.begin(t)
	if v := page.Data.(View); !v.Open || !v.Until.Equal(b.kit.Clock.Now().Add(Life)) {
		t.Fatalf("page %+v", v)
	}
	if wait := page.Resend.Sub(b.kit.Clock.Now()); wait != time.Minute {
		t.Fatalf("the wait did not grow: %v", wait)
	}
	if err := b.verify(t, other(b.code(t), 1)); fault.Of(err).Args["n"] != 4 {
		t.Fatalf("first of the new challenge: %v", fault.Of(err).Args)
	}
	if err := b.verify(t, b.code(t)); err != nil {
		t.Fatal(err)
	}
}

func TestS1_LadderOfThePerson(t *testing.T) {
	l := throttle.Ladder(newBench(t).Info().Tries)
	if l.Lock(9) != 0 || l.Lock(10) != 10*time.Minute || l.Lock(99) != 10*time.Minute || l.Disable != 100 {
		t.Fatalf("ladder %+v", l)
	}
}

func TestO4_ChannelDown(t *testing.T) {
	b := newBench(t)
	b.kit.Phone.Break(true)
	page := b.begin(t)
	if page.Trouble != "code.down" || page.Data.(View).Open || len(b.kit.Phone.Sent()) != 0 || len(b.phone.networks) != 0 {
		t.Fatalf("page %+v, %d sent, %d counted", page, len(b.kit.Phone.Sent()), len(b.phone.networks))
	}
	if err := b.Again(t.Context(), b.try); key(err) != "code.down" || fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("Again: %v", err)
	}
	b.kit.Phone.Break(false)
	b.begin(t)
	b.kit.Phone.Break(true)
	page = b.begin(t)
	if page.Trouble != "code.down" || !page.Data.(View).Open {
		t.Fatalf("a code that may have come can still be typed: %+v", page)
	}
	if err := b.verify(t, b.code(t)); err != nil {
		t.Fatal(err)
	}
}

func TestFormatCostsNoTry(t *testing.T) {
	b := newBench(t)
	b.begin(t)
	for _, typed := range []string{"", "12345", "1234567", "12345a", "123.456", "%00"} {
		err := b.verify(t, typed)
		if key(err) != "code.format" || fault.Of(err).Field != "code" || errors.Is(err, factors.ErrWrong) {
			t.Errorf("%q: %v", typed, err)
		}
	}
	if err := b.verify(t, other(b.code(t), 1)); fault.Of(err).Args["n"] != 4 {
		t.Errorf("tries left %v", fault.Of(err).Args)
	}
}

func TestL1_NoCodeAtRestNorInErrors(t *testing.T) {
	b := newBench(t)
	b.begin(t)
	code := b.code(t)
	ticket, err := b.kit.Tickets.Find(t.Context(), b.try.Binding, b.try.Purpose)
	if err != nil {
		t.Fatal(err)
	}
	if dump := fmt.Sprintf("%s %s %+v", ticket.Secret, ticket.Data, ticket); strings.Contains(dump, code) {
		t.Fatalf("ticket shows the code: %s", dump)
	}
	if len(ticket.Secret) != 32 {
		t.Fatalf("MAC of %d bytes", len(ticket.Secret))
	}
}

// A gateway that hangs: the page says so once the message is late, and is quiet again when it has left (row O4).
func TestO4_ALateMessageIsSaid(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	kit.Phone.Give(ayse, "01")
	f := New(kit.Factors(), way)
	try := factors.Try{Binding: "b", Purpose: factors.SignIn, Account: ayse, Service: "ssi", Lang: "en"}
	trouble := func() string {
		t.Helper()
		c, err := f.Begin(t.Context(), try)
		if err != nil {
			t.Fatal(err)
		}
		return c.Page.Trouble
	}
	kit.Phone.Hold(true)
	if got := trouble(); got != "" {
		t.Errorf("at once: %q", got)
	}
	kit.Clock.Advance(usual)
	if got := trouble(); got != "code.late" {
		t.Errorf("after %v: %q", usual, got)
	}
	kit.Phone.Hold(false)
	if got := trouble(); got != "" {
		t.Errorf("once it left: %q", got)
	}
}
