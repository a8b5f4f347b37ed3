package sms

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
