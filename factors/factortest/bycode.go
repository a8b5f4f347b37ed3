package factortest

import (
	"fmt"
	"testing"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
)

// ByCode is the subject of a factor that sends a code of six digits to somebody's phone, which has every line.
func ByCode(t *testing.T, kit *Kit, id account.ID, f factors.Factor) Subject {
	kit.Phone.Give(id, "01")
	kit.Phone.Line(id, "messenger", "sim", "sms")
	code := func(more int) factors.Answer {
		sent := kit.Phone.Sent()
		var n int
		if _, err := fmt.Sscanf(sent[len(sent)-1].Text[:6], "%d", &n); err != nil {
			t.Fatal(err)
		}
		return factors.Answer{"code": {fmt.Sprintf("%06d", (n+more)%1_000_000)}}
	}
	return Subject{
		Factor: f, Account: id, Spent: true,
		Right: func(*testing.T, factors.Try) factors.Answer { return code(0) },
		Wrong: func(*testing.T, factors.Try) factors.Answer { return code(1) },
	}
}
