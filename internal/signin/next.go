package signin

import (
	"slices"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/session"
)

// Do is what a step asks for.
type Do uint8

const (
	Complete      Do = iota // nothing is owed
	AskFirst                // one of Offers
	ChooseAccount           // go on as the person of the session, or as somebody else
	AskSecond               // one of Offers
	Explain                 // the level is out of reach: Reason says why, Refuse whether the client will get an error
	Renew                   // the secret of the factor Offers[0] must be changed, or, with May, the person is reminded that it may be
	AskConsent              // Scopes go to the client
	Refuse                  // Refusal is owed to the client
)

// Step is what is owed now.
type Step struct {
	Rule   string
	Do     Do
	Offers []string // names of factors, in the order to show
	// Reason, with Explain: "phone" (none is ID-verified), "client" (this service refuses what the person has), "strong" (only Offers
	// reach what is needed), "level", or that of a factors.Hindrance
	Reason  string
	Scopes  []string
	May     bool // with Renew: the person may keep the old secret
	Refusal Refusal
}

// Facts is what Next may know beside the transaction.
type Facts struct {
	Now     time.Time
	Client  clients.Client
	Account account.Account // zero until a person is known
	Subject string          // of the account at the client; compared with Ask.HintSubject
	Firsts  []string        // first factors the client takes
	Strong  []string        // of these, in their order, what reaches the highest level alone and the person has not closed
	Seconds []string        // second factors the person can use now and the client takes
	Refused bool            // the person has a second factor that the client does not take
	// Hindered says why second factors that the person has cannot be used now (factors.Hindrance).
	Hindered []string
	Consent  []string // scopes agreed to before; nil = never asked
}

// OAuth errors a rule stands for (OpenID Connect Core §3.1.2.6, Unmet Authentication Requirements 1.0).
const (
	errLoginRequired       = "login_required"
	errInteractionRequired = "interaction_required"
	errAccountSelection    = "account_selection_required"
	errConsentRequired     = "consent_required"
	errAccessDenied        = "access_denied"
	errUnmet               = "unmet_authentication_requirements"
)

// rule is one thing that may be owed. silent is the error it means when nobody may be asked (prompt=none).
type rule struct {
	name   string
	silent string
	owed   func(t *Transaction, f *Facts) (Step, bool)
}

// rules in the order in which they are walked; the first that is owed is the next step.
var rules = []rule{
	{"first", errLoginRequired, first},
	{"person", errLoginRequired, person},
	{"account", errAccountSelection, chooseAccount},
	{"second", errInteractionRequired, second},
	{"renew", errInteractionRequired, renew},
	{"consent", errConsentRequired, consent},
}

// Next decides what is owed now. It is pure.
func Next(t Transaction, f Facts) Step {
	if t.State == Refused {
		return Step{Do: Refuse, Refusal: t.Refusal}
	}
	for _, r := range rules {
		step, owed := r.owed(&t, &f)
		if !owed {
			continue
		}
		step.Rule = r.name
		if t.Ask.Silent && step.Do != Refuse {
			return Step{Rule: r.name, Do: Refuse, Refusal: Refusal{Error: r.silent}}
		}
		return step
	}
	return Step{Do: Complete}
}

// Adopt says whether a living single sign-on session may stand for the first steps of t, and with which of its proofs.
// A client's policy counts here too: what it would not take from the person it does not take from a session.
func Adopt(t Transaction, s session.Session, a account.Account, c clients.Client, subject string, now time.Time) (proofs []factors.Proof, ok bool) {
	switch {
	case !s.Alive(now), a.State != account.Active, s.Account != a.ID:
		return nil, false
	case t.Ask.Login, c.SSOIsolated:
		return nil, false
	case t.Ask.MaxAge != nil && *t.Ask.MaxAge == 0:
		return nil, false
	case t.Ask.HintSubject != "" && t.Ask.HintSubject != subject:
		return nil, false
	}
	for _, p := range s.Proofs {
		if (p.Stage == factors.First && c.TakesFirst(p.Factor)) || (p.Stage == factors.Second && c.TakesSecond(p.Factor)) {
			proofs = append(proofs, p)
		}
	}
	// The age is that of the proofs the client takes: auth_time will be theirs.
	if t.Ask.MaxAge != nil && now.Sub(AuthTime(proofs)) > time.Duration(*t.Ask.MaxAge)*time.Second {
		return nil, false
	}
	return proofs, has(proofs, factors.First)
}

// first: where only a strong first factor reaches what is needed, nobody begins with another. Where there is none at all the others are
// offered, and the client gets its error once it is known who would have come.
func first(t *Transaction, f *Facts) (Step, bool) {
	step := Step{Do: AskFirst, Offers: f.Firsts}
	if t.Ask.Must > acr.Substantial && len(f.Strong) > 0 {
		step.Offers = f.Strong
	}
	return step, !has(t.Proofs, factors.First)
}

// person: the account may have been closed since, and the client may expect somebody else (id_token_hint).
func person(t *Transaction, f *Facts) (Step, bool) {
	switch {
	case f.Account.State != account.Active:
		return Step{Do: Refuse, Refusal: Refusal{Error: errAccessDenied}}, true
	case t.Ask.HintSubject != "" && t.Ask.HintSubject != f.Subject:
		return Step{Do: Refuse, Refusal: Refusal{Error: errLoginRequired}}, true
	}
	return Step{}, false
}

func chooseAccount(t *Transaction, _ *Facts) (Step, bool) {
	return Step{Do: ChooseAccount}, t.Ask.SelectAccount && t.Adopted > 0 && !t.Chosen
}

// second: owed when the person has two-factor authentication on, or when more is wanted than was reached and a second
// step can raise it. A need that no second step reaches is told before one is asked for. What is out of reach is explained; then a
// voluntary wish gets what was reached, a need its error. Where nobody may be asked the wish gets what was reached too, since no sign-in
// would bring more (docs/adr/0007).
func second(t *Transaction, f *Facts) (Step, bool) {
	reached := Reached(t.Proofs, f.Account.Ceiling)
	confirmed := has(t.Proofs, factors.Second)
	goal := max(t.Ask.Want, t.Ask.Must)
	owes := f.Account.TwoFactor && !confirmed
	if !owes && reached >= goal || blocked(t, f) && !confirmed {
		return Step{}, false
	}
	best := reached
	if !confirmed {
		best = max(best, raised(t.Proofs, f.Account))
	}
	if t.Ask.Must > best {
		return beyond(t, f), true
	}
	if len(f.Seconds) > 0 && !confirmed && (owes || best > reached) {
		return Step{Do: AskSecond, Offers: f.Seconds}, true
	}
	step := explain(f, confirmed)
	if owes || reached < t.Ask.Must {
		step.Refusal.Error = errUnmet
	}
	switch {
	case t.Ask.Silent && step.Refusal.Error == "":
		return Step{}, false
	case t.Ask.Silent: // the rule's own error
		return step, true
	case step.Refusal.Error == "" && (t.Accepted || step.Reason == "level"):
		return Step{}, false
	}
	return step, true
}

// beyond: what is needed lies above what this first factor reaches with any second one, so that no code is sent and nobody is woken for
// nothing. A stronger first factor may reach it; where there is none, there is nothing the person could do about it here.
func beyond(t *Transaction, f *Facts) Step {
	unmet := Refusal{Error: errUnmet}
	switch {
	case t.Ask.Must <= f.Account.Ceiling && len(f.Strong) > 0:
		return Step{Do: Explain, Reason: "strong", Offers: f.Strong, Refusal: unmet}
	case t.Ask.Silent: // the rule's own error
		return Step{Do: Explain, Reason: "level", Refusal: unmet}
	}
	return Step{Do: Refuse, Refusal: unmet}
}

// blocked: a person whose only second factors are codes to a number whose SIM card was changed, on the way to the page that unblocks
// it. They get a session that is good for nothing else (Restricted): the pages refuse it, and single sign-on asks for the second
// factor as before.
func blocked(t *Transaction, f *Facts) bool {
	return t.Ask.Client == Self && f.Account.TwoFactor && len(f.Seconds) == 0 && slices.Contains(f.Hindered, factors.SIMChanged) && unblocking(t.Ask)
}

// Restricted says whether proofs of a session lack the second factor that the account has on. What was proven before it was switched on
// is whole.
func Restricted(a account.Account, proofs []factors.Proof) bool {
	return a.TwoFactor && !has(proofs, factors.Second) && AuthTime(proofs).After(a.TwoFactorSince)
}

// raised is the level that a second step of the weakest sort would bring.
func raised(proofs []factors.Proof, a account.Account) acr.Level {
	more := factors.Proof{Account: a.ID, Stage: factors.Second, Kinds: factors.Have, Level: acr.Low}
	return Reached(append(slices.Clip(proofs), more), a.Ceiling)
}

func explain(f *Facts, confirmed bool) Step {
	s := Step{Do: Explain, Reason: "phone"}
	switch {
	case len(f.Hindered) > 0 && len(f.Seconds) == 0 && !confirmed:
		s.Reason = f.Hindered[0]
	case f.Refused && !confirmed:
		s.Reason = "client"
	case confirmed || len(f.Seconds) > 0:
		s.Reason = "level"
	}
	return s
}

// renew: where nobody may be asked nobody is reminded either.
func renew(t *Transaction, _ *Facts) (Step, bool) {
	if t.Renewed {
		return Step{}, false
	}
	if i := slices.IndexFunc(t.Proofs, func(p factors.Proof) bool { return p.Renew }); i >= 0 {
		return Step{Do: Renew, Offers: []string{t.Proofs[i].Factor}}, true
	}
	i := slices.IndexFunc(t.Proofs, func(p factors.Proof) bool { return p.Remind })
	if i < 0 || t.Kept || t.Ask.Silent {
		return Step{}, false
	}
	return Step{Do: Renew, Offers: []string{t.Proofs[i].Factor}, May: true}, true
}

func consent(t *Transaction, f *Facts) (Step, bool) {
	if t.Consented || t.Ask.Client == Self {
		return Step{}, false
	}
	step := Step{Do: AskConsent, Scopes: t.Ask.Scopes}
	switch {
	case t.Ask.Consent, f.Client.Consent == "always":
		return step, true
	case f.Client.Consent == "once":
		return step, slices.ContainsFunc(t.Ask.Scopes, func(s string) bool { return !slices.Contains(f.Consent, s) })
	}
	return Step{}, false
}
