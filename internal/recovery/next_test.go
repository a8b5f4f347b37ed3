package recovery

import (
	"testing"
	"time"

	"github.com/kapi-id/kapi/internal/account"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// full is a transaction of which only the new password is owed.
func full() Transaction {
	return Transaction{ID: "t", State: Open, ExpiresAt: noon.Add(Life), Progress: Progress{Reason: Forgot, Kind: account.Citizen, Number: "10000000146",
		Detailed: true, Right: true, Phone: "+905550000001", Account: "a", PhoneProven: true}}
}

func TestNext(t *testing.T) {
	facts := Facts{Now: noon, Account: account.Account{ID: "a", State: account.Active}}
	for name, tc := range map[string]struct {
		change func(*Transaction, *Facts)
		do     Do
		reason string
	}{
		"begun":                       {func(x *Transaction, _ *Facts) { x.Progress = Progress{Reason: Forgot} }, AskIdentity, ""},
		"a number of no sort":         {func(x *Transaction, _ *Facts) { x.Kind = "" }, AskIdentity, ""},
		"who":                         {func(x *Transaction, _ *Facts) { x.Detailed = false }, AskDetails, ""},
		"details":                     {func(x *Transaction, _ *Facts) { x.Phone = "" }, AskContact, ""},
		"a code":                      {func(x *Transaction, _ *Facts) { x.PhoneProven = false }, AskCode, ""},
		"a code that none is right":   {func(x *Transaction, _ *Facts) { x.PhoneProven, x.Account, x.Right = false, "", false }, AskCode, ""},
		"a second code":               {func(x *Transaction, _ *Facts) { x.Email = "a@example.org" }, AskMailCode, ""},
		"both codes":                  {func(x *Transaction, _ *Facts) { x.Email, x.MailProven = "a@example.org", true }, AskPassword, ""},
		"all":                         {func(*Transaction, *Facts) {}, AskPassword, ""},
		"the e-mail alone":            {func(x *Transaction, _ *Facts) { x.PhoneProven, x.Email, x.MailProven = false, "a@example.org", true }, AskCode, ""},
		"details that were not right": {func(x *Transaction, _ *Facts) { x.Right = false }, Stop, StoppedPerson},
		"of somebody else":            {func(_ *Transaction, f *Facts) { f.Account.ID = "b" }, Stop, StoppedPerson},
		"locked meanwhile":            {func(_ *Transaction, f *Facts) { f.Account.State = account.Locked }, Stop, StoppedPerson},
		"nobody":                      {func(x *Transaction, f *Facts) { x.Account, f.Account = "", account.Account{} }, Stop, StoppedPerson},
		"too many tries":              {func(x *Transaction, _ *Facts) { x.Tries = map[string]int{"details": mostTries + 1} }, Stop, StoppedTries},
		"the last try":                {func(x *Transaction, _ *Facts) { x.Tries = map[string]int{"details": mostTries} }, AskPassword, ""},
		"a changed SIM card":          {func(x *Transaction, _ *Facts) { x.State, x.Stopped = Over, StoppedSIM }, Stop, StoppedSIM},
		"too late":                    {func(_ *Transaction, f *Facts) { f.Now = noon.Add(Life) }, Stop, ""},
		"done":                        {func(x *Transaction, f *Facts) { x.State, f.Account = Done, account.Account{} }, Finished, ""},
	} {
		x, f := full(), facts
		tc.change(&x, &f)
		if step := Next(x, f); step.Do != tc.do || step.Reason != tc.reason {
			t.Errorf("%s: %+v", name, step)
		}
	}
}

// Over every combination of what may be taken: a password is owed only where all proofs of one person are there.
func TestNextOverAllStates(t *testing.T) {
	seen := 0
	for bits := range 1 << 9 {
		on := func(i int) bool { return bits&(1<<i) != 0 }
		x, f := full(), Facts{Now: noon, Account: account.Account{ID: "a", State: account.Active}}
		if on(0) {
			x.Number = ""
		}
		x.Detailed, x.Right, x.PhoneProven, x.MailProven = !on(1), !on(2), !on(3), !on(4)
		if on(5) {
			x.Phone = ""
		}
		if on(6) {
			x.Email = "a@example.org"
		}
		if on(7) {
			x.Account = ""
		}
		if on(8) {
			f.Account.State = account.Deceased
		}
		if step := Next(x, f); step.Do == AskPassword {
			seen++
			if on(0) || on(1) || on(2) || on(3) || on(5) || on(7) || on(8) || on(6) && on(4) {
				t.Errorf("%09b: a password for %+v", bits, x.Progress)
			}
		}
	}
	if seen != 3 {
		t.Errorf("%d ways to a password, want 3", seen)
	}
}
