package recovery

import (
	"time"

	"github.com/kapi-id/kapi/internal/account"
)

// Do is what a step asks for.
type Do uint8

const (
	Finished    Do = iota // nothing: the new password stands
	AskIdentity           // who: the sort of person and the ID number
	AskDetails            // of birth, name and document
	AskContact            // the verified phone, and the e-mail address
	AskCode               // that was sent to the phone
	AskMailCode           // that was sent to the e-mail address
	AskPassword           // the new one
	Stop                  // Reason says why it does not go on
)

// Step is what is owed now.
type Step struct {
	Rule   string
	Do     Do
	Reason string
}

// Facts is what Next may know beside the transaction.
type Facts struct {
	Now     time.Time
	Account account.Account // of Progress.Account, once the phone is proven; zero before
}

// mostTries of a step that can be taken again.
const mostTries = 5

// rule is one thing that may be owed.
type rule struct {
	name string
	owed func(t *Transaction, f *Facts) (Step, bool)
}

// rules in the order in which they are walked; the first that is owed is the next step.
var rules = []rule{
	{"over", over},
	{"tries", tooMany},
	{"identity", identity},
	{"details", details},
	{"contact", contacts},
	{"code", phoneCode},
	{"mail", mailCode},
	{"person", person},
	{"password", password},
}

// Next decides what is owed now. It is pure.
func Next(t Transaction, f Facts) Step {
	for _, r := range rules {
		if step, owed := r.owed(&t, &f); owed {
			step.Rule = r.name
			return step
		}
	}
	return Step{Do: Finished}
}

func over(t *Transaction, f *Facts) (Step, bool) {
	if t.State == Done {
		return Step{}, false
	}
	return Step{Do: Stop, Reason: t.Stopped}, t.State == Over || !f.Now.Before(t.ExpiresAt)
}

func tooMany(t *Transaction, _ *Facts) (Step, bool) {
	for _, n := range t.Tries {
		if n > mostTries && t.State != Done {
			return Step{Do: Stop, Reason: StoppedTries}, true
		}
	}
	return Step{}, false
}

func identity(t *Transaction, _ *Facts) (Step, bool) {
	return Step{Do: AskIdentity}, t.Number == "" || t.Kind == ""
}

func details(t *Transaction, _ *Facts) (Step, bool) { return Step{Do: AskDetails}, !t.Detailed }

func contacts(t *Transaction, _ *Facts) (Step, bool) { return Step{Do: AskContact}, t.Phone == "" }

// phoneCode: whether any can be right is not asked here, since the page is the same for everybody.
func phoneCode(t *Transaction, _ *Facts) (Step, bool) { return Step{Do: AskCode}, !t.PhoneProven }

func mailCode(t *Transaction, _ *Facts) (Step, bool) {
	return Step{Do: AskMailCode}, t.Email != "" && !t.MailProven
}

// person: two independent proofs were given, details and phone, of one person who may still come in.
func person(t *Transaction, f *Facts) (Step, bool) {
	stands := t.Right && t.Account != "" && f.Account.ID == t.Account && f.Account.State == account.Active
	return Step{Do: Stop, Reason: StoppedPerson}, t.State != Done && !stands
}

func password(t *Transaction, _ *Facts) (Step, bool) { return Step{Do: AskPassword}, t.State != Done }
