package notice

import (
	"time"

	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/throttle"
)

// Ways by which a person is told.
type ways uint8

const (
	byPage ways = 1 << iota // the list in their own pages
	byMail
	byPush
	bySMS
)

const (
	quietly   = byPage | byMail | byPush
	everybody = quietly | bySMS
)

// Deeds that a notice recommends to whoever did not do it.
const (
	doNotMe    = "not_me"   // end everything, by the link in the mail or in their own pages
	doPassword = "password" // everything was ended already, or the person may be locked out
	doOperator = "operator" // call the mobile operator
	doNothing  = "nothing"  // what was tried did not succeed
)

// rule says whether people are told of an event, of what, how, and how often. Key "" = nobody is told; Why says why.
type rule struct {
	Name    audit.Name
	Outcome string            // of the event; "" = any
	Has     map[string]string // details the event must have; nil = any
	Key     string
	By      ways
	Do      string
	// Limit is how often at most somebody is told of it at all; for what others can bring about at will. The zero Window means
	// that each is in the list, and that mostSent bounds only what leaves the house.
	Limit throttle.Window
	Why   string
}

// mostSent bounds the messages about one sort of event to one person. The list is not bounded.
var mostSent = throttle.Window{N: 10, Per: 24 * time.Hour}

var (
	hourly = throttle.Window{N: 1, Per: time.Hour}
	daily  = throttle.Window{N: 1, Per: 24 * time.Hour}
)

// of names the hold that an event is about, lifted one that the office ended; the names are those of enrolment.
func of(what string) map[string]string     { return map[string]string{"what": what} }
func lifted(what string) map[string]string { return map[string]string{"what": what, "by": "office"} }

// rules are asked in order; the first that fits an event decides. Every registered name is here.
var rules = []rule{
	// Signing in. A text message costs money and wakes people up: nobody without the password can cause one.
	{Name: audit.SigninFirst, Outcome: "locked", Key: "notice.first_locked", By: quietly, Do: doNothing, Limit: daily},
	{Name: audit.SigninFirst, Outcome: "disabled", Key: "notice.first_locked", By: quietly, Do: doNothing, Limit: daily},
	{Name: audit.SigninFirst, Outcome: "closed", Key: "notice.first_closed", By: quietly, Do: doNothing, Limit: daily},
	{Name: audit.SigninFirst, Why: "a wrong answer shows nothing, a right one is told of with what follows"},
	{Name: audit.SigninSecond, Outcome: "wrong", Key: "notice.second_wrong", By: quietly, Do: doNotMe, Limit: hourly},
	{Name: audit.SigninSecond, Outcome: "locked", Key: "notice.second_locked", By: everybody, Do: doNotMe, Limit: daily},
	{Name: audit.SigninSecond, Outcome: "disabled", Key: "notice.second_locked", By: everybody, Do: doNotMe, Limit: daily},
	{Name: audit.SigninSecond, Why: "a right answer is told of with the sign-in"},
	{Name: audit.SigninCompleted, Has: map[string]string{"browser": "new"}, Key: "notice.new_browser", By: quietly, Do: doNotMe},
	{Name: audit.SigninCompleted, Has: map[string]string{"place": "new"}, Key: "notice.new_place", By: quietly, Do: doNotMe},
	{Name: audit.SigninCompleted, Why: "a known browser in a known place; it is in the history"},
	{Name: audit.SigninRefused, Why: "nobody got in; it is in the history"},
	{Name: audit.Disavowed, Key: "notice.disavowed", By: everybody, Do: doPassword},

	// What the account is protected by
	{Name: audit.PasswordChanged, Key: "notice.password", By: everybody, Do: doNotMe},
	{Name: audit.PasswordKept, Why: "nothing changed, and the person just said so"},
	{Name: audit.TwoFactorOn, Key: "notice.two_factor_on", By: everybody, Do: doNotMe},
	{Name: audit.TwoFactorOff, Key: "notice.two_factor_off", By: everybody, Do: doNotMe},
	{Name: audit.FactorSetUp, Key: "notice.factor_set_up", By: everybody, Do: doNotMe},
	{Name: audit.FactorRemoved, Key: "notice.factor_removed", By: everybody, Do: doNotMe},
	{Name: audit.FactorChanged, Has: map[string]string{"what": "push"}, Key: "notice.device_push", By: everybody, Do: doNotMe},
	{Name: audit.FactorChanged, Key: "notice.factor_changed", By: everybody, Do: doNotMe},
	{Name: audit.FactorUsed, Has: map[string]string{"left": "0"}, Key: "notice.factor_few", By: everybody, Do: doNotMe},
	{Name: audit.FactorUsed, Has: map[string]string{"left": "1"}, Key: "notice.factor_few", By: everybody, Do: doNotMe},
	{Name: audit.FactorUsed, Has: map[string]string{"left": "2"}, Key: "notice.factor_few", By: everybody, Do: doNotMe},
	{Name: audit.FactorUsed, Key: "notice.factor_used", By: everybody, Do: doNotMe},
	{Name: audit.AccessChanged, Has: map[string]string{"state": "closed"}, Key: "notice.access_closed", By: everybody, Do: doNotMe},
	{Name: audit.AccessChanged, Key: "notice.access_opened", By: everybody, Do: doNotMe},
	{Name: audit.PersonUnlocked, Key: "notice.unlocked", By: everybody, Do: doNotMe},

	// The registered device
	{Name: audit.DeviceApproved, Why: "the person just did it; a sign-in from a new browser is told of by itself"},
	{Name: audit.DeviceDenied, Has: map[string]string{"reason": "not_me"}, Key: "notice.device_not_me", By: everybody, Do: doPassword, Limit: hourly},
	{Name: audit.DeviceDenied, Has: map[string]string{"reason": "number"}, Key: "notice.device_number", By: quietly, Do: doNotMe, Limit: hourly},
	{Name: audit.DeviceDenied, Why: "the person just said no"},
	{Name: audit.DeviceBlocked, Has: map[string]string{"factor": "webauthn"}, Key: "notice.key_blocked", By: everybody, Do: doNotMe},
	{Name: audit.DeviceBlocked, Key: "notice.device_blocked", By: everybody, Do: doNotMe},
	{Name: audit.PushPaused, Has: map[string]string{"reason": "not_me"}, Why: "told of with the no that brought it about"},
	{Name: audit.PushPaused, Key: "notice.push_paused", By: everybody, Do: doPassword, Limit: hourly},

	// Phone and e-mail
	{Name: audit.PhoneDeclared, Key: "notice.phone_declared", By: everybody, Do: doNotMe},
	{Name: audit.PhoneVerified, Key: "notice.phone_verified", By: everybody, Do: doNotMe},
	{Name: audit.PhoneIDVerified, Key: "notice.phone_id_verified", By: everybody, Do: doNotMe},
	{Name: audit.PhoneRemoved, Key: "notice.phone_removed", By: everybody, Do: doNotMe},
	{Name: audit.EmailDeclared, Key: "notice.email_declared", By: everybody, Do: doNotMe},
	{Name: audit.EmailVerified, Key: "notice.email_verified", By: everybody, Do: doNotMe},
	{Name: audit.EmailRemoved, Key: "notice.email_removed", By: everybody, Do: doNotMe},
	{Name: audit.SIMBlocked, Key: "notice.sim_blocked", By: everybody, Do: doOperator},
	{Name: audit.SIMUnblocked, Key: "notice.sim_unblocked", By: everybody, Do: doOperator},

	// Recovery
	{Name: audit.RecoveryStarted, Key: "notice.recovery_started", By: quietly, Do: doNothing, Limit: daily},
	{Name: audit.RecoveryTried, Why: "its beginning was told of"},
	{Name: audit.RecoveryDone, Key: "notice.recovery_done", By: everybody, Do: doNotMe},
	{Name: audit.RecoveryMethod, Key: "notice.recovery_method", By: everybody, Do: doNotMe},

	// Holds. Whoever places one that can be undone sends the link and the code for it by mail and text message, in words of its own.
	{Name: audit.HoldPlaced, Has: of("factors"), Key: "notice.hold_factors", By: byPage | byPush, Do: doNotMe},
	{Name: audit.HoldPlaced, Has: of("device"), Key: "notice.hold_device", By: byPage | byPush, Do: doNotMe},
	{Name: audit.HoldPlaced, Has: of("phone"), Key: "notice.hold_phone", By: byPage | byPush, Do: doNotMe},
	{Name: audit.HoldPlaced, Has: of("email"), Key: "notice.hold_email", By: byPage | byPush, Do: doNotMe},
	{Name: audit.HoldPlaced, Has: of("recovery"), Why: "told of with the undone recovery that it follows"},
	{Name: audit.HoldPlaced, Key: "notice.other", By: byPage | byPush, Do: doNotMe},
	{Name: audit.HoldUndone, Has: of("factors"), Key: "notice.undone_factors", By: everybody, Do: doPassword},
	{Name: audit.HoldUndone, Has: of("device"), Key: "notice.undone_device", By: everybody, Do: doPassword},
	{Name: audit.HoldUndone, Has: of("phone"), Key: "notice.undone_phone", By: everybody, Do: doPassword},
	{Name: audit.HoldUndone, Has: of("email"), Key: "notice.undone_email", By: everybody, Do: doPassword},
	{Name: audit.HoldUndone, Key: "notice.other", By: everybody, Do: doPassword},
	{Name: audit.HoldOver, Has: lifted("factors"), Key: "notice.lifted_factors", By: everybody, Do: doNotMe},
	{Name: audit.HoldOver, Has: lifted("recovery"), Key: "notice.lifted_recovery", By: everybody, Do: doNotMe},
	{Name: audit.HoldOver, Has: lifted("device"), Key: "notice.lifted_device", By: everybody, Do: doNotMe},
	{Name: audit.HoldOver, Why: "a term ended as it was told when it began; a device that goes with it is told of by its removal"},

	// What services may know
	{Name: audit.ConsentWithdrawn, Key: "notice.consent_withdrawn", By: quietly, Do: doNotMe},

	// What is no change of the account
	{Name: audit.CodeSent, Why: "it is a message itself"},
	{Name: audit.SessionEnded, Why: "it can only make things safer; what ended them all is told of"},
	{Name: audit.ConsentGiven, Why: "the person just did it"},
	{Name: audit.GrantIssued, Why: "part of a sign-in"},
	{Name: audit.TokenIssued, Why: "part of a sign-in"},
	{Name: audit.TokenRevoked, Why: "it can only make things safer"},
	{Name: audit.TokenReuse, Why: "the grant is dead already; it is the client's defect or the operator's alarm"},
	{Name: audit.ClientApplied, Why: "about no person"},
	{Name: audit.ClientSecret, Why: "about no person"},
	{Name: audit.ClientRefused, Why: "about no person"},
	{Name: audit.SigningKeyChanged, Why: "about no person"},
	{Name: audit.PersonApplied, Why: "the registry's file; whoever changes phone or e-mail there brings thousands in at once"},
	{Name: audit.PartnerAsked, Why: "what the partner did is told of by its own event"},
}

// ruleFor is the first rule that fits; ok is false where nobody is told.
func ruleFor(e audit.Event) (rule, bool) {
	for _, r := range rules {
		if r.fits(e) {
			return r, r.Key != "" && e.Subject != ""
		}
	}
	return rule{}, false
}

func (r rule) fits(e audit.Event) bool {
	if r.Name != e.Name || r.Outcome != "" && r.Outcome != e.Outcome {
		return false
	}
	for k, v := range r.Has {
		if e.Details[k] != v {
			return false
		}
	}
	return true
}
