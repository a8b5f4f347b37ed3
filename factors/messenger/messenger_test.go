package messenger

import (
	"testing"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/factors/factortest"
	"github.com/kapi-id/kapi/internal/account"
)

const ayse account.ID = "ayse"

func TestFactor(t *testing.T) {
	factortest.Run(t, func(t *testing.T, kit *factortest.Kit) factortest.Subject {
		return factortest.ByCode(t, kit, ayse, New(kit.Factors()))
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
