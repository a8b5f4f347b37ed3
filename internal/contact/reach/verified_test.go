package reach

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
)

// RC5: a new password comes by a verified number too, one whose SIM card was changed included unless the operator is asked.
func TestRC5_TrustedVerifiedNumber(t *testing.T) {
	for grade, asked := range map[contact.Grade]int{contact.Declared: 0, contact.Verified: 1, contact.IDVerified: 1} {
		w, m := newWorld()
		p := verified("+905550000001")
		p.Grade, p.VerifiedAt = grade, start.Add(-time.Hour)
		w.phones["ayse"] = p
		o := &teller{changed: start}
		m.SIM, m.Accounts = o, owners{"ayse": {ID: "ayse"}}
		m.Block = func(context.Context, account.ID, string, time.Time) error { return nil }
		var h *factors.Hindrance
		if err := m.Trusted(t.Context(), "ayse"); errors.As(err, &h) != (asked > 0) || o.asked != asked {
			t.Errorf("%s: %v, asked %d times", grade, err, o.asked)
		}
	}
}
