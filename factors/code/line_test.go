package code

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/fault"
)

// linesDown is a phone some of whose lines are down.
type linesDown struct {
	*factortest.Messenger
	down []string
}

func (p *linesDown) Up(channel string) bool { return !slices.Contains(p.down, channel) }

func TestTheBestLineThatIsUp(t *testing.T) {
	for _, c := range []struct {
		name     string
		way      []string
		lines    []string
		down     []string
		fallback bool
		offered  bool
		want     string // channel of the message; "" = none
	}{
		{"plain number", []string{"sim", "sms"}, []string{"sms"}, nil, true, true, "sms"},
		{"a number with SIM messages", []string{"sim", "sms"}, []string{"messenger", "sim", "sms"}, nil, true, true, "sim"},
		{"SIM messages are down", []string{"sim", "sms"}, []string{"sim", "sms"}, []string{"sim"}, true, true, "sms"},
		{"all is down", []string{"sim", "sms"}, []string{"sim", "sms"}, []string{"sim", "sms"}, true, true, ""},
		{"a number without a messenger", []string{"messenger"}, []string{"sim", "sms"}, nil, false, false, ""},
		{"a number with one", []string{"messenger"}, []string{"messenger", "sms"}, nil, false, true, "messenger"},
		{"the messenger is down", []string{"messenger"}, []string{"messenger", "sms"}, []string{"messenger"}, false, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := factortest.NewKit(factortest.Start)
			k.Phone.Give(ayse, "01")
			k.Phone.Line(ayse, c.lines...)
			fk := k.Factors()
			fk.Phone = &linesDown{k.Phone, c.down}
			w := way
			w.Channels, w.Fallback = c.way, c.fallback
			f := New(fk, w)
			if ok, err := f.Available(t.Context(), ayse); err != nil || ok != c.offered {
				t.Fatalf("offered %v, %v", ok, err)
			}
			if !c.offered {
				return
			}
			ch, err := f.Begin(t.Context(), factors.Try{Binding: "t1", Purpose: factors.SignIn, Account: ayse, Lang: "en"})
			if err != nil {
				t.Fatal(err)
			}
			sent := k.Phone.Sent()
			switch {
			case c.want == "" && (len(sent) != 0 || ch.Page.Trouble != "code.down"):
				t.Fatalf("sent %v, page %+v", sent, ch.Page)
			case c.want != "" && (len(sent) != 1 || sent[0].Channel != c.want || ch.Page.Data.(View).Channel != c.want):
				t.Fatalf("sent %v, page %+v", sent, ch.Page)
			}
		})
	}
}

// Row RC5: a number whose SIM card was changed, or may have been, gets no code and takes none.
func TestRC5_NoCodeToAChangedSIM(t *testing.T) {
	for reason, want := range map[string]string{factors.SIMChanged: "code.sim_changed", factors.SIMUnknown: "code.sim_unknown"} {
		b := newBench(t)
		h := &factors.Hindrance{Reason: reason}
		b.kit.Phone.Suspect(h)
		var got *factors.Hindrance
		if ok, err := b.Available(t.Context(), ayse); ok && err == nil || !errors.As(err, &got) || got.Reason != reason {
			t.Errorf("%s: %v %v", reason, ok, err)
		}
		if _, err := b.Begin(t.Context(), b.try); key(err) != want || len(b.kit.Phone.Sent()) != 0 {
			t.Errorf("%s at send: %v, %d sent", reason, err, len(b.kit.Phone.Sent()))
		}
		// Changed between send and verify: the right code proves nothing, and no try is counted.
		b.kit.Phone.Suspect(nil)
		b.begin(t)
		code := b.code(t)
		b.kit.Phone.Suspect(h)
		compared := b.tickets.compared.Load()
		if err := b.verify(t, code); key(err) != want || errors.Is(err, factors.ErrWrong) || b.tickets.compared.Load() != compared {
			t.Errorf("%s at verify: %v", reason, err)
		}
		b.kit.Clock.Advance(time.Minute)
		if err := b.Again(t.Context(), b.try); key(err) != want || len(b.kit.Phone.Sent()) != 1 {
			t.Errorf("%s, once more: %v", reason, err)
		}
		b.kit.Phone.Suspect(nil)
		if err := b.verify(t, code); err != nil {
			t.Errorf("%s, then trusted again: %v", reason, err)
		}
	}
	b := newBench(t)
	b.kit.Phone.Suspect(errors.New("database away"))
	if _, err := b.Begin(t.Context(), b.try); fault.KindOf(err) != fault.Internal {
		t.Errorf("%v", err)
	}
}
