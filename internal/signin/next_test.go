package signin

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/factors"
	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/acr"
	"github.com/kapi-id/kapi/internal/session"
)

var now = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

// facts of an active person with two-factor off and a phone, at an undemanding client.
func facts(change ...func(*Facts)) Facts {
	f := Facts{
		Now: now, Account: account.Account{ID: "a1", State: account.Active, Ceiling: acr.High}, Subject: "pw_1",
		Client: clients.Client{ID: "rp", Consent: "none"}, Firsts: []string{"password"}, Seconds: []string{"sms"},
	}
	for _, c := range change {
		c(&f)
	}
	return f
}

func asked(change ...func(*Transaction)) Transaction {
	t := New(Ask{Client: "rp", Scopes: []string{"openid", "profile"}}, []byte("b"), now)
	for _, c := range change {
		c(&t)
	}
	return t
}

func TestNext(t *testing.T) {
	proven := func(ps ...factors.Proof) func(*Transaction) {
		return func(t *Transaction) { t.Account, t.Proofs = "a1", ps }
	}
	want := func(l acr.Level) func(*Transaction) { return func(t *Transaction) { t.Ask.Want = l } }
	must := func(l acr.Level) func(*Transaction) { return func(t *Transaction) { t.Ask.Must = l } }
	silent := func(t *Transaction) { t.Ask.Silent = true }
	accepted := func(t *Transaction) { t.Accepted = true }
	twoFactor := func(f *Facts) { f.Account.TwoFactor = true }
	noPhone := func(f *Facts) { f.Seconds = nil }
	refused := func(f *Facts) { f.Seconds, f.Refused = nil, true }
	capped := func(f *Facts) { f.Account.Ceiling = acr.Low }
	consents := func(word string) func(*Facts) { return func(f *Facts) { f.Client.Consent = word } }
	temporary := password
	temporary.Renew = true
	aging := password
	aging.Remind = true

	strong := func(f *Facts) { f.Firsts, f.Strong = []string{"password", "esign"}, []string{"esign"} }

	for _, tc := range []struct {
		name   string
		t      Transaction
		f      Facts
		do     Do
		may    bool
		rule   string
		err    string
		reason string
	}{
		{name: "nothing proven", t: asked(), f: facts(), do: AskFirst, rule: "first"},
		{name: "a second factor is no first", t: asked(proven(sms)), f: facts(), do: AskFirst, rule: "first"},
		{name: "password is enough", t: asked(proven(password)), f: facts(), do: Complete},
		{name: "nobody may be asked", t: asked(silent), f: facts(), do: Refuse, rule: "first", err: "login_required"},

		{name: "two-factor is on", t: asked(proven(password)), f: facts(twoFactor), do: AskSecond, rule: "second"},
		{name: "two-factor is on, silent", t: asked(proven(password), silent), f: facts(twoFactor), do: Refuse, rule: "second", err: "interaction_required"},
		{name: "two-factor is on, after a card too", t: asked(proven(esign)), f: facts(twoFactor), do: AskSecond, rule: "second"},
		{name: "two-factor is on, no way", t: asked(proven(password)), f: facts(twoFactor, noPhone), do: Explain, rule: "second", err: "unmet_authentication_requirements", reason: "phone"},
		{name: "two-factor is on, accepted without a way", t: asked(proven(password), accepted), f: facts(twoFactor, noPhone), do: Explain, rule: "second", err: "unmet_authentication_requirements", reason: "phone"},
		{name: "two-factor done", t: asked(proven(password, sms)), f: facts(twoFactor), do: Complete},

		{name: "substantial wanted", t: asked(proven(password), want(acr.Substantial)), f: facts(), do: AskSecond, rule: "second"},
		{name: "substantial needed", t: asked(proven(password), must(acr.Substantial)), f: facts(), do: AskSecond, rule: "second"},
		{name: "substantial reached by a card", t: asked(proven(esign), must(acr.Substantial)), f: facts(), do: Complete},
		{name: "wanted without a phone", t: asked(proven(password), want(acr.Substantial)), f: facts(noPhone), do: Explain, rule: "second", reason: "phone"},
		{name: "wanted without a phone, accepted", t: asked(proven(password), want(acr.Substantial), accepted), f: facts(noPhone), do: Complete},
		{name: "needed without a phone", t: asked(proven(password), must(acr.Substantial)), f: facts(noPhone), do: Explain, rule: "second", err: "unmet_authentication_requirements", reason: "phone"},
		{name: "needed without a phone, accepting does not help", t: asked(proven(password), must(acr.Substantial), accepted), f: facts(noPhone), do: Explain, rule: "second", err: "unmet_authentication_requirements", reason: "phone"},
		{name: "wanted, the client refuses what there is", t: asked(proven(password), want(acr.Substantial)), f: facts(refused), do: Explain, rule: "second", reason: "client"},
		{name: "wanted without a phone, silent", t: asked(proven(password), want(acr.Substantial), silent), f: facts(noPhone), do: Complete},
		{name: "wanted, the client refuses what there is, silent", t: asked(proven(password), want(acr.Substantial), silent), f: facts(refused), do: Complete},
		{name: "wanted with a phone, silent", t: asked(proven(password), want(acr.Substantial), silent), f: facts(), do: Refuse, rule: "second", err: "interaction_required"},
		{name: "high wanted, a second step helps a little, silent", t: asked(proven(password), want(acr.High), silent), f: facts(), do: Refuse, rule: "second", err: "interaction_required"},
		{name: "needed without a phone, silent", t: asked(proven(password), must(acr.Substantial), silent), f: facts(noPhone), do: Refuse, rule: "second", err: "interaction_required"},
		{name: "two-factor is on, no way, silent", t: asked(proven(password), want(acr.Substantial), silent), f: facts(twoFactor, noPhone), do: Refuse, rule: "second", err: "interaction_required"},
		{name: "the ceiling makes a second step useless, silent", t: asked(proven(password), want(acr.Substantial), silent), f: facts(capped), do: Complete},
		{name: "high wanted, a second step helps a little", t: asked(proven(password), want(acr.High)), f: facts(), do: AskSecond, rule: "second"},
		{name: "high wanted, out of reach", t: asked(proven(password, sms), want(acr.High)), f: facts(), do: Complete},
		{name: "high needed, out of reach", t: asked(proven(password, sms), must(acr.High)), f: facts(), do: Refuse, rule: "second", err: "unmet_authentication_requirements"},
		{name: "high wanted, out of reach, silent", t: asked(proven(password, sms), want(acr.High), silent), f: facts(), do: Complete},
		{name: "high needed: nobody is sent a code for nothing", t: asked(proven(password), must(acr.High)), f: facts(), do: Refuse, rule: "second", err: "unmet_authentication_requirements"},
		{name: "high needed, two-factor is on: neither", t: asked(proven(password), must(acr.High)), f: facts(twoFactor), do: Refuse, rule: "second", err: "unmet_authentication_requirements"},
		{name: "high needed, without a phone: one would not help", t: asked(proven(password), must(acr.High)), f: facts(noPhone), do: Refuse, rule: "second", err: "unmet_authentication_requirements"},
		{name: "high needed, silent", t: asked(proven(password), must(acr.High), silent), f: facts(twoFactor), do: Refuse, rule: "second", err: "interaction_required"},
		{name: "high needed, silent, nothing proven", t: asked(must(acr.High), silent), f: facts(strong), do: Refuse, rule: "first", err: "login_required"},
		{name: "high needed, a card would reach it", t: asked(proven(password), must(acr.High)), f: facts(strong), do: Explain, rule: "second", err: "unmet_authentication_requirements", reason: "strong"},
		{name: "high needed, a card would reach it, two-factor is on", t: asked(proven(password), must(acr.High)), f: facts(strong, twoFactor), do: Explain, rule: "second", err: "unmet_authentication_requirements", reason: "strong"},
		{name: "high needed, a card would reach it, accepting does not help", t: asked(proven(password), must(acr.High), accepted), f: facts(strong), do: Explain, rule: "second", err: "unmet_authentication_requirements", reason: "strong"},
		{name: "high needed, a card would reach it, silent", t: asked(proven(password), must(acr.High), silent), f: facts(strong), do: Refuse, rule: "second", err: "interaction_required"},
		{name: "high needed, a card would, but the ceiling stands below", t: asked(proven(password), must(acr.High)), f: facts(strong, func(f *Facts) { f.Account.Ceiling = acr.Substantial }), do: Refuse, rule: "second", err: "unmet_authentication_requirements"},
		{name: "high needed, the card was used", t: asked(proven(esign), must(acr.High)), f: facts(strong), do: Complete},
		{name: "high needed, the card was used, two-factor is on", t: asked(proven(esign), must(acr.High)), f: facts(strong, twoFactor), do: AskSecond, rule: "second"},
		{name: "high wanted, a card would reach it: the best there is", t: asked(proven(password), want(acr.High)), f: facts(strong), do: AskSecond, rule: "second"},
		{name: "high wanted, substantial needed: the best there is", t: asked(proven(password), want(acr.High), must(acr.Substantial)), f: facts(strong), do: AskSecond, rule: "second"},
		{name: "substantial needed, a card is there too", t: asked(proven(password), must(acr.Substantial)), f: facts(strong), do: AskSecond, rule: "second"},
		{name: "the ceiling makes a second step useless", t: asked(proven(password), want(acr.Substantial)), f: facts(capped), do: Complete},
		{name: "the ceiling stands below the need", t: asked(proven(password), must(acr.Substantial)), f: facts(capped), do: Refuse, rule: "second", err: "unmet_authentication_requirements"},

		{name: "temporary password", t: asked(proven(temporary)), f: facts(), do: Renew, rule: "renew"},
		{name: "temporary password, the second step comes before", t: asked(proven(temporary)), f: facts(twoFactor), do: AskSecond, rule: "second"},
		{name: "temporary password, silent", t: asked(proven(temporary), silent), f: facts(), do: Refuse, rule: "renew", err: "interaction_required"},
		{name: "temporary password, changed", t: asked(proven(temporary), func(t *Transaction) { t.Renewed = true }), f: facts(), do: Complete},

		{name: "a reminder", t: asked(proven(aging)), f: facts(), do: Renew, rule: "renew", may: true},
		{name: "a reminder, the second step comes before", t: asked(proven(aging)), f: facts(twoFactor), do: AskSecond, rule: "second"},
		{name: "a reminder, silent: nobody is there", t: asked(proven(aging), silent), f: facts(), do: Complete},
		{name: "a reminder, kept", t: asked(proven(aging), func(t *Transaction) { t.Kept = true }), f: facts(), do: Complete},
		{name: "a reminder, changed", t: asked(proven(aging), func(t *Transaction) { t.Renewed = true }), f: facts(), do: Complete},
		{name: "what must be changed is not kept", t: asked(proven(temporary), func(t *Transaction) { t.Kept = true }), f: facts(), do: Renew, rule: "renew"},

		{name: "consent always", t: asked(proven(password)), f: facts(consents("always")), do: AskConsent, rule: "consent"},
		{name: "consent always, given", t: asked(proven(password), func(t *Transaction) { t.Consented = true }), f: facts(consents("always")), do: Complete},
		{name: "consent once, never asked", t: asked(proven(password)), f: facts(consents("once")), do: AskConsent, rule: "consent"},
		{name: "consent once, given before", t: asked(proven(password)), f: facts(consents("once"), func(f *Facts) { f.Consent = []string{"profile", "openid"} }), do: Complete},
		{name: "consent once, more asked now", t: asked(proven(password)), f: facts(consents("once"), func(f *Facts) { f.Consent = []string{"openid"} }), do: AskConsent, rule: "consent"},
		{name: "consent once, silent", t: asked(proven(password), silent), f: facts(consents("once")), do: Refuse, rule: "consent", err: "consent_required"},
		{name: "prompt=consent", t: asked(proven(password), func(t *Transaction) { t.Ask.Consent = true }), f: facts(), do: AskConsent, rule: "consent"},

		{name: "another person was expected", t: asked(proven(password), func(t *Transaction) { t.Ask.HintSubject = "pw_2" }), f: facts(), do: Refuse, rule: "person", err: "login_required"},
		{name: "the expected person", t: asked(proven(password), func(t *Transaction) { t.Ask.HintSubject = "pw_1" }), f: facts(), do: Complete},
		{name: "closed meanwhile", t: asked(proven(password)), f: facts(func(f *Facts) { f.Account.State = account.Locked }), do: Refuse, rule: "person", err: "access_denied"},
		{name: "choose an account", t: asked(proven(password), func(t *Transaction) { t.Ask.SelectAccount, t.Adopted = true, 1 }), f: facts(), do: ChooseAccount, rule: "account"},
		{name: "choose an account, chosen", t: asked(proven(password), func(t *Transaction) { t.Ask.SelectAccount, t.Adopted, t.Chosen = true, 1, true }), f: facts(), do: Complete},
		{name: "choose an account, signed in just now", t: asked(proven(password), func(t *Transaction) { t.Ask.SelectAccount = true }), f: facts(), do: Complete},
		{name: "choose an account, silent", t: asked(proven(password), silent, func(t *Transaction) { t.Ask.SelectAccount, t.Adopted = true, 1 }), f: facts(), do: Refuse, rule: "account", err: "account_selection_required"},
		{name: "cancelled", t: asked(func(t *Transaction) { t.State, t.Refusal = Refused, Refusal{Error: "access_denied"} }), f: facts(), do: Refuse, err: "access_denied"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Next(tc.t, tc.f)
			if got.Do != tc.do || got.Rule != tc.rule || got.Refusal.Error != tc.err || got.Reason != tc.reason || got.May != tc.may {
				t.Errorf("%+v, want do %d rule %q error %q reason %q", got, tc.do, tc.rule, tc.err, tc.reason)
			}
		})
	}
}

// Who must reach the top begins with what reaches it; who only may, or must reach less, with anything.
func TestNextBeginsWithWhatReaches(t *testing.T) {
	strong := func(f *Facts) { f.Firsts, f.Strong = []string{"password", "esign"}, []string{"esign"} }
	for _, tc := range []struct {
		name       string
		want, must acr.Level
		f          Facts
		offers     []string
	}{
		{"nothing wanted", acr.None, acr.None, facts(strong), []string{"password", "esign"}},
		{"substantial needed", acr.None, acr.Substantial, facts(strong), []string{"password", "esign"}},
		{"high wanted", acr.High, acr.None, facts(strong), []string{"password", "esign"}},
		{"high needed", acr.None, acr.High, facts(strong), []string{"esign"}},
		{"high needed, there is no such way", acr.None, acr.High, facts(), []string{"password"}},
	} {
		if got := Next(asked(func(t *Transaction) { t.Ask.Want, t.Ask.Must = tc.want, tc.must }), tc.f); got.Do != AskFirst || !slices.Equal(got.Offers, tc.offers) {
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
}

// Over every set of proofs, levels and switches: whoever completes has what was needed, no completion is below Must, without a
// first factor, or without a second one while two-factor is on; nobody is asked anything with prompt=none; nobody is asked for a second
// factor that cannot bring what is needed; and a wish alone is never refused, but served with the best there is.
func TestNextNeverLetsThrough(t *testing.T) {
	all := []factors.Proof{password, bank, esign, mobile, sms, backup}
	levels := []acr.Level{acr.None, acr.Low, acr.Substantial, acr.High}
	seen := map[Do]int{}
	for set := range 1 << len(all) {
		for i := range len(levels) * len(levels) {
			want, must := levels[i%len(levels)], levels[i/len(levels)]
			for switches := range 1 << 7 {
				on := func(i int) bool { return switches&(1<<i) != 0 }
				tx, f := asked(), facts()
				for i, p := range all {
					if set&(1<<i) != 0 {
						tx.Account = "a1"
						tx.Proofs = append(tx.Proofs, p)
					}
				}
				tx.Ask.Want, tx.Ask.Must = want, must
				tx.Ask.Silent, tx.Accepted, f.Account.TwoFactor, f.Refused = on(0), on(1), on(2), on(3)
				if on(4) {
					f.Seconds = nil
				}
				if on(5) {
					f.Account.Ceiling = acr.Substantial
				}
				if on(6) {
					f.Firsts, f.Strong = []string{"password", "esign"}, []string{"esign"}
				}
				step := Next(tx, f)
				seen[step.Do]++
				what := func() string {
					return fmt.Sprintf("%v, want %v, must %v, %+v: %+v", names(tx.Proofs), want, must, f, step)
				}
				reached, first, second := Reached(tx.Proofs, f.Account.Ceiling), has(tx.Proofs, factors.First), has(tx.Proofs, factors.Second)
				asks := step.Do != Complete && step.Do != Refuse
				most := reached // with a second factor of any sort that there is
				for _, p := range []factors.Proof{device, sms, backup, totp, attested} {
					most = max(most, Reached(append(slices.Clip(tx.Proofs), p), f.Account.Ceiling))
				}
				switch {
				case tx.Ask.Silent && asks:
					t.Fatal("asks with prompt=none: " + what())
				case step.Do == Complete && (!first || reached < must || f.Account.TwoFactor && !second):
					t.Fatal("lets through: " + what())
				case step.Do == AskSecond && (second || most < must || most == reached && !f.Account.TwoFactor):
					t.Fatal("asks for a second factor in vain: " + what())
				case step.Do == Explain && step.Reason == "strong" && (reached >= must || f.Account.Ceiling < must || !on(6)):
					t.Fatal("sends to a stronger way in vain: " + what())
				case step.Do == Explain && step.Reason != "strong" && most < must:
					t.Fatal("explains what would not help: " + what())
				case first && !asks && step.Do == Refuse && !tx.Ask.Silent && most >= must:
					t.Fatal("refuses what is in reach: " + what())
				case first && !second && len(f.Seconds) > 0 && must <= most && want > reached && most > reached && !tx.Ask.Silent && step.Do != AskSecond:
					t.Fatal("a wish does not get the best there is: " + what())
				}
			}
		}
	}
	for _, do := range []Do{Complete, AskFirst, AskSecond, Explain, Refuse} {
		if seen[do] == 0 {
			t.Errorf("no combination led to %d", do)
		}
	}
}

func TestAdopt(t *testing.T) {
	seconds := func(n int64) *int64 { return &n }
	s := session.Session{ID: "s1", Account: "a1", Proofs: []factors.Proof{password, sms}, Level: acr.Substantial,
		SeenAt: now.Add(-time.Minute), ExpiresAt: now.Add(time.Hour)}
	for i := range s.Proofs {
		s.Proofs[i].At = now.Add(-10 * time.Minute)
	}
	active := account.Account{ID: "a1", State: account.Active}
	for _, tc := range []struct {
		name   string
		t      func(*Transaction)
		s      func(*session.Session)
		c      clients.Client
		a      account.Account
		proofs []string
	}{
		{name: "single sign-on", a: active, proofs: []string{"password", "sms"}},
		{name: "prompt=login", t: func(t *Transaction) { t.Ask.Login = true }, a: active},
		{name: "max_age not exceeded", t: func(t *Transaction) { t.Ask.MaxAge = seconds(600) }, a: active, proofs: []string{"password", "sms"}},
		{name: "max_age exceeded", t: func(t *Transaction) { t.Ask.MaxAge = seconds(599) }, a: active},
		{name: "max_age=0", t: func(t *Transaction) { t.Ask.MaxAge = seconds(0) }, s: func(s *session.Session) { s.Proofs = []factors.Proof{at(password, now)} }, a: active},
		{name: "idle", s: func(s *session.Session) { s.SeenAt = now.Add(-session.Idle) }, a: active},
		{name: "over", s: func(s *session.Session) { s.ExpiresAt = now }, a: active},
		{name: "ended", s: func(s *session.Session) { s.EndedAt = now }, a: active},
		{name: "idle at high", s: func(s *session.Session) { s.Level, s.SeenAt = acr.High, now.Add(-session.IdleHigh) }, a: active},
		{name: "account closed", a: account.Account{ID: "a1", State: account.Locked}},
		{name: "another account", a: account.Account{ID: "a2", State: account.Active}},
		{name: "isolated client", c: clients.Client{SSOIsolated: true}, a: active},
		{name: "the client refuses SMS", c: clients.Client{RefusedSecond: []string{"sms"}}, a: active, proofs: []string{"password"}},
		{name: "max_age is not met by a proof that the client refuses", t: func(t *Transaction) { t.Ask.MaxAge = seconds(60) },
			s: func(s *session.Session) {
				s.Proofs = []factors.Proof{at(password, now.Add(-10*time.Minute)), at(sms, now)}
			}, c: clients.Client{RefusedSecond: []string{"sms"}}, a: active},
		{name: "the client refuses passwords", c: clients.Client{AllowedFirst: []string{"esign"}}, a: active},
		{name: "another person expected", t: func(t *Transaction) { t.Ask.HintSubject = "pw_2" }, a: active},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tx, sess := asked(), s
			if tc.t != nil {
				tc.t(&tx)
			}
			if tc.s != nil {
				tc.s(&sess)
			}
			proofs, ok := Adopt(tx, sess, tc.a, tc.c, "pw_1", now)
			if ok != (tc.proofs != nil) || (ok && !slices.Equal(names(proofs), tc.proofs)) {
				t.Errorf("adopted %v %v, want %v", names(proofs), ok, tc.proofs)
			}
		})
	}
}

func at(p factors.Proof, when time.Time) factors.Proof { p.At = when; return p }
