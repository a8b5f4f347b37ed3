package signin

import (
	"testing"
	"time"

	"github.com/kapi-id/kapi/factors"
)

// What was proven counts while the account's moment is the one that was read then, whatever the clocks say; and what a replica of an older
// release wrote counts as it does there, so that nobody starts over at each request of a rolling update.
func TestVoid(t *testing.T) {
	at := func(minute int) time.Time {
		if minute == 0 {
			return time.Time{}
		}
		return time.Date(2026, 3, 4, 5, minute, 0, 0, time.UTC)
	}
	for name, tc := range map[string]struct {
		proofs         []int // minutes
		adopted        int
		read, now      int // the account's moment, as the sign-in noted it and as it is
		pinned, voided bool
	}{
		"nothing proven":                         {nil, 0, 0, 9, true, false},
		"nothing happened":                       {[]int{5}, 0, 0, 0, true, false},
		"nothing happened since":                 {[]int{5}, 0, 3, 3, true, false},
		"ended":                                  {[]int{5}, 0, 0, 6, true, true},
		"ended by a clock that is behind":        {[]int{5}, 0, 3, 4, true, true},
		"a session's proofs":                     {[]int{2}, 1, 0, 6, true, false},
		"a session's and one's own":              {[]int{2, 5}, 1, 3, 4, true, true},
		"an older replica's":                     {[]int{5}, 0, 0, 3, false, false},
		"an older replica's, ended":              {[]int{5}, 0, 0, 6, false, true},
		"an older replica's, renewed":            {[]int{5}, 0, 6, 6, false, false},
		"an older replica's, renewed, ended":     {[]int{5}, 0, 6, 7, false, true},
		"an older replica's, out of a session's": {[]int{2}, 1, 0, 6, false, false},
	} {
		s := &state{t: Transaction{Progress: Progress{Adopted: tc.adopted, Since: at(tc.read), Pinned: tc.pinned}}}
		for _, m := range tc.proofs {
			s.t.Proofs = append(s.t.Proofs, factors.Proof{At: at(m)})
		}
		s.account.ProofsSince = at(tc.now)
		if got := s.void(); got != tc.voided {
			t.Errorf("%s: void is %v", name, got)
		}
	}
}
