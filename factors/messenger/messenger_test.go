package messenger

import (
	"fmt"
	"testing"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/account"
)

const ayse account.ID = "ayse"

func TestFactor(t *testing.T) {
	factortest.Run(t, func(t *testing.T, kit *factortest.Kit) factortest.Subject {
		kit.Phone.Give(ayse, "01")
		kit.Phone.Line(ayse, "messenger", "sim", "sms")
		code := func(more int) factors.Answer {
			sent := kit.Phone.Sent()
			var n int
			if _, err := fmt.Sscanf(sent[len(sent)-1].Text[:6], "%d", &n); err != nil {
				t.Fatal(err)
			}
			return factors.Answer{"code": {fmt.Sprintf("%06d", (n+more)%1_000_000)}}
		}
		return factortest.Subject{
			Factor: New(kit.Factors()), Account: ayse, Spent: true,
			Right: func(*testing.T, factors.Try) factors.Answer { return code(0) },
			Wrong: func(*testing.T, factors.Try) factors.Answer { return code(1) },
		}
	})
}

func TestProof(t *testing.T) {
	kit := factortest.NewKit(factortest.Start)
	kit.Phone.Give(ayse, "01")
	kit.Phone.Line(ayse, "messenger", "sms")
	f := New(kit.Factors())
	try := factors.Try{Binding: "t1", Purpose: factors.SignIn, Account: ayse, Lang: "en"}
	if _, err := f.Begin(t.Context(), try); err != nil {
		t.Fatal(err)
	}
	p, err := f.Verify(t.Context(), try, factors.Answer{"code": {kit.Phone.Sent()[0].Text[:6]}})
	if err != nil || len(p.AMR) != 1 || p.AMR[0] != "oob" || p.Channel != factors.Phone || p.Kinds != factors.Have || p.Factor != "messenger" {
		t.Fatalf("%+v, %v", p, err)
	}
	if i := f.Info(); i.CountedAs() != "sms" || i.Order != 40 {
		t.Errorf("%+v", i)
	}
}
