package recovery_test

import (
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/recovery"
)

// RC4: a thief who has the phone proves it in two recoveries. When the person undoes the one that was finished, which ends everything, the
// other must not set a password; nor one whose password is being hashed at that very moment.
func TestRC4_AParkedRecoveryDiesWithWhatIsUndone(t *testing.T) {
	for _, while := range []bool{false, true} {
		w := newWorld(t, sqlite)
		x, err := w.flow.Answer(t.Context(), w.atCode(w.person.Person.NationalID, details(), hers, ""), visit, fields{"code": w.code("sms")})
		w.ok(err)
		if step, _ := w.flow.Owed(t.Context(), x); step.Do != recovery.AskPassword {
			t.Fatalf("%+v", step)
		}
		w.clock.Advance(time.Minute)
		end := func() { w.ok(w.db.EndSessions(t.Context(), w.person.Account.ID, "", w.clock.Now())) }
		if w.between = end; !while {
			end()
			w.between = nil
		}
		_, err = w.flow.Renew(t.Context(), x, visit, fields{"new_password": "a thief's"})
		w.fails(err, "recovery.meanwhile")
		if len(w.written) != 0 {
			t.Errorf("written %v", w.written)
		}
		// One that begins now is free to.
		w.clock.Advance(time.Hour)
		w.between = nil
		x, err = w.flow.Answer(t.Context(), w.atCode(w.person.Person.NationalID, details(), hers, ""), visit, fields{"code": w.code("sms")})
		w.ok(err)
		_, err = w.flow.Renew(t.Context(), x, visit, fields{"new_password": "a new one"})
		w.ok(err)
	}
}
