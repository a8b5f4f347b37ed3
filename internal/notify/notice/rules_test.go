package notice

import (
	"slices"
	"strings"
	"testing"

	"github.com/kapi-id/kapi/internal/audit"
	"github.com/kapi-id/kapi/internal/throttle"
	"github.com/kapi-id/kapi/internal/words"
)

// Whoever registers an event says here whether people are told of it, or why not.
func TestEveryEventHasARule(t *testing.T) {
	for _, name := range audit.Names() {
		var own []rule
		for _, r := range rules {
			if r.Name == name {
				own = append(own, r)
			}
		}
		if len(own) == 0 {
			t.Errorf("%s: nobody has said whether people are told of it", name)
			continue
		}
		for i, r := range own {
			if (r.Key == "") == (r.Why == "") {
				t.Errorf("%s: a notice or a reason why there is none: %+v", name, r)
			}
			if general := r.Outcome == "" && r.Has == nil; general != (i == len(own)-1) {
				t.Errorf("%s: the last rule, and no other, fits whatever happens: %+v", name, r)
			}
		}
	}
	for _, r := range rules {
		if r.Name.Version() == 0 {
			t.Errorf("%s is no event", r.Name)
		}
	}
}

func TestEveryNoticeHasItsWords(t *testing.T) {
	c := catalogue(t)
	for _, r := range rules {
		if r.Key == "" {
			continue
		}
		if !c.Has(r.Key) || !c.Has("notice.do."+r.Do) {
			t.Errorf("%+v: no words", r)
		}
		if r.By&byPage == 0 {
			t.Errorf("%s: not in the person's own list", r.Key)
		}
		for _, p := range c.Placeholders(r.Key) {
			if !slices.Contains(detailed, p) {
				t.Errorf("%s wants %q, which nobody gives", r.Key, p)
			}
		}
	}
}

// Every change to what protects an account, or to how its person is reached, is told by all ways (rows RC3, RC4).
func TestSecuritySettingsAreToldByAllWays(t *testing.T) {
	for _, name := range []audit.Name{audit.PasswordChanged, audit.TwoFactorOn, audit.TwoFactorOff, audit.FactorSetUp, audit.FactorRemoved, audit.FactorChanged,
		audit.AccessChanged, audit.PhoneDeclared, audit.PhoneVerified, audit.PhoneIDVerified, audit.PhoneRemoved, audit.EmailDeclared, audit.EmailVerified,
		audit.EmailRemoved, audit.SIMBlocked, audit.SIMUnblocked, audit.RecoveryDone, audit.DeviceBlocked, audit.Disavowed} {
		for _, r := range rules {
			if r.Name == name && (r.By != everybody || r.Limit != throttle.Window{}) {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
}

// What somebody without the password can bring about sends no text messages (row F3), and not often anything.
func TestStrangersCauseNoFlood(t *testing.T) {
	for _, r := range rules {
		stranger := r.Name == audit.SigninFirst || r.Name == audit.RecoveryStarted || r.Name == audit.RecoveryTried || r.Name == audit.SigninRefused
		if stranger && r.Key != "" && (r.By&bySMS != 0 || r.Limit.Per < 24*hourly.Per) {
			t.Errorf("%+v", r)
		}
	}
}

func TestRuleFor(t *testing.T) {
	person := func(name audit.Name, outcome string, pairs ...string) audit.Event {
		e := audit.Event{Name: name, Outcome: outcome, Subject: "ayse", Details: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			e.Details[pairs[i]] = pairs[i+1]
		}
		return e
	}
	tests := []struct {
		e   audit.Event
		key string
	}{
		{person(audit.SigninFirst, "ok"), ""},
		{person(audit.SigninFirst, "wrong"), ""},
		{person(audit.SigninFirst, "locked"), "notice.first_locked"},
		{person(audit.SigninFirst, "closed"), "notice.first_closed"},
		{audit.Event{Name: audit.SigninFirst, Outcome: "locked"}, ""}, // nobody's
		{person(audit.SigninSecond, "ok"), ""},
		{person(audit.SigninSecond, "wrong"), "notice.second_wrong"},
		{person(audit.SigninSecond, "disabled"), "notice.second_locked"},
		{person(audit.SigninCompleted, "ok"), ""},
		{person(audit.SigninCompleted, "ok", "browser", "new"), "notice.new_browser"},
		{person(audit.SigninCompleted, "ok", "place", "new"), "notice.new_place"},
		{person(audit.DeviceDenied, "ok", "reason", "not_me"), "notice.device_not_me"},
		{person(audit.DeviceDenied, "ok", "reason", "cancel"), ""},
		{person(audit.FactorChanged, "ok", "what", "push"), "notice.device_push"},
		{person(audit.FactorChanged, "ok", "what", "renamed"), "notice.factor_changed"},
		{person(audit.AccessChanged, "ok", "state", "open"), "notice.access_opened"},
		{person(audit.AccessChanged, "ok", "state", "closed"), "notice.access_closed"},
		{person(audit.ConsentWithdrawn, "ok"), "notice.consent_withdrawn"},
		{person(audit.HoldPlaced, "ok", "what", "factors"), "notice.hold_factors"},
		{person(audit.HoldPlaced, "ok", "what", "recovery"), ""},
		{person(audit.HoldPlaced, "ok", "what", "of tomorrow"), "notice.other"},
		{person(audit.HoldUndone, "ok", "what", "device"), "notice.undone_device"},
		{person(audit.HoldOver, "ok", "what", "factors"), ""},
		{person(audit.HoldOver, "ok", "what", "device"), ""},
		{person(audit.HoldOver, "ok", "what", "device", "by", "office"), "notice.lifted_device"},
		{person("no.such", "ok"), ""},
	}
	for _, tt := range tests {
		r, ok := ruleFor(tt.e)
		if ok != (tt.key != "") || ok && r.Key != tt.key {
			t.Errorf("%s %s %v: %q, want %q", tt.e.Name, tt.e.Outcome, tt.e.Details, r.Key, tt.key)
		}
	}
}

// No text message holds a link, or begins like a code; none grows without end.
func TestTextMessages(t *testing.T) {
	c := catalogue(t)
	for _, r := range rules {
		if r.By&bySMS == 0 || r.Key == "" {
			continue
		}
		for _, lang := range words.Languages {
			text := told{words: c, lang: lang, do: r.Do, place: "Ankara, Türkiye", n: Notice{Key: r.Key, At: noon, Details: map[string]string{
				"factor": "https://evil.example/x", "name": "1234 www.evil.example", "left": "7"}}}.sms()
			if strings.Contains(text, "://") || strings.Contains(text, "www.") || strings.Contains(text, "evil.example") {
				t.Errorf("%s: a link: %s", r.Key, text)
			}
			if text[0] >= '0' && text[0] <= '9' {
				t.Errorf("%s begins with a digit: %s", r.Key, text)
			}
			if n := len([]rune(text)); n > 402 { // six parts of a message with Turkish letters
				t.Errorf("%s: %d characters: %s", r.Key, n, text)
			}
			if strings.Contains(text, "{") {
				t.Errorf("%s: %s", r.Key, text)
			}
		}
	}
}

func catalogue(t testing.TB) *words.Catalogue {
	t.Helper()
	c, err := words.Load(Words())
	if err != nil {
		t.Fatal(err)
	}
	return c
}
