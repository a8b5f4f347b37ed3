package password

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/fault"
)

// Person is what an attacker would try first for somebody: words no password of theirs may hold.
type Person struct {
	NationalID account.NationalID
	GivenName  string
	FamilyName string
	Birthdate  string   // YYYY-MM-DD
	Phone      string   // E.164
	Email      string   //
	Services   []string // names of the service being entered, in any language
}

// Profile is a set of rules for new passwords.
type Profile struct {
	Name           string // as in the configuration
	Least          int    // characters, counted as Unicode code points after NFC
	LeastTwoFactor int    // while two-factor authentication is on
	Past           int    // how many of the last passwords, the current one included, may not come back
	RenewAfter     int    // months until a new one must be chosen; 0 = never
	RemindAfter    int    // months until the person is asked, and may keep the old one; 0 = never
	rules          []rule
}

// rule refuses a password. Its sentence serves as a line of the list on the page and as the error.
type rule struct {
	name   string
	broken func(c candidate) bool
}

// The profiles. The blocklist of common passwords is ours in all three.
var (
	// NIST is the default: length and blocklists, no composition, no forced change (NIST SP 800-63B-4 §3.1.1.2).
	NIST = Profile{Name: "nist", Least: 15, LeastTwoFactor: 8, rules: []rule{
		{"length", tooShort},
		{"common", isCommon},
		{"personal", isPersonal},
	}}
	// Gateway is the e-government gateway's newer policy.
	Gateway = Profile{Name: "gateway", Least: 8, LeastTwoFactor: 8, Past: 3, RenewAfter: 6, rules: []rule{
		{"length", tooShort},
		{"lower", lacks(unicode.IsLower)},
		{"upper", lacks(unicode.IsUpper)},
		{"digit", lacks(unicode.IsDigit)},
		{"symbol", lacks(isSymbol)},
		{"id_number", hasNationalID},
		{"birth_year", hasBirthYear},
		{"common", isCommon},
	}}
	// GatewayOlder is the gateway's older policy.
	GatewayOlder = Profile{Name: "gateway-older", Least: 8, LeastTwoFactor: 8, Past: 3, RemindAfter: 3, rules: []rule{
		{"length", tooShort},
		{"mixed", isOneClass},
		{"id_number", hasNationalID},
		{"birth_date", hasBirthDate},
		{"common", isCommon},
	}}
)

// ProfileNamed returns the profile of that name.
func ProfileNamed(name string) (Profile, error) {
	for _, p := range []Profile{NIST, Gateway, GatewayOlder} {
		if p.Name == name {
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("password profile %q: use nist, gateway or gateway-older", name)
}

// Rule is one line of the list shown beside the field of a new password: {{tk .Key "n" .N}}.
type Rule struct {
	Name string
	Key  string
	N    int // what the sentence counts, as {n}
}

func (r Rule) fault() error {
	e := fault.New(fault.Invalid, r.Key).In("new_password")
	if r.N > 0 {
		return e.With("n", r.N)
	}
	return e
}

// Rules lists what a new password is held to, in the order it is checked.
func (p Profile) Rules(twoFactor bool) []Rule {
	list := make([]Rule, 0, len(p.rules)+1)
	for _, r := range p.rules {
		list = append(list, p.line(r, twoFactor))
	}
	if p.Past > 0 {
		list = append(list, Rule{Name: "past", Key: "password.rule.past", N: p.Past})
	}
	return list
}

func (p Profile) line(r rule, twoFactor bool) Rule {
	l := Rule{Name: r.name, Key: "password.rule." + r.name}
	if r.name == "length" {
		l.N = p.least(twoFactor)
	}
	return l
}

func (p Profile) least(twoFactor bool) int {
	if twoFactor {
		return p.LeastTwoFactor
	}
	return p.Least
}

// Broken returns the rules that a new password breaks, none for a good one. Past ones are compared by Prepare, since
// that takes hashes.
func (p Profile) Broken(password string, who Person, twoFactor bool) (broken []Rule) {
	c := newCandidate(password, who, p.least(twoFactor))
	for _, r := range p.rules {
		if r.broken(c) {
			broken = append(broken, p.line(r, twoFactor))
		}
	}
	return broken
}

// Rules lists what a new password is held to in this installation.
func (f *Factor) Rules(twoFactor bool) []Rule { return f.profile.Rules(twoFactor) }

func (p Profile) renew(changed, now time.Time) bool {
	return p.RenewAfter > 0 && !now.Before(changed.AddDate(0, p.RenewAfter, 0))
}

func (p Profile) remind(changed, now time.Time) bool {
	return p.RemindAfter > 0 && !now.Before(changed.AddDate(0, p.RemindAfter, 0))
}

// candidate is a new password in the forms that rules look at.
type candidate struct {
	text   string // NFC
	folded string // one case, no marks
	packed string // folded, letters and digits only
	who    Person
	least  int
}

func newCandidate(password string, who Person, least int) candidate {
	c := candidate{text: Normalise(password), who: who, least: least}
	c.folded = fold(c.text)
	c.packed = pack(c.folded)
	return c
}

func (c candidate) holds(folded string) bool {
	return folded != "" && (strings.Contains(c.folded, folded) || strings.Contains(c.packed, pack(folded)))
}

// length in characters as a person counts them, nearly: code points after NFC.
func length(password string) int { return utf8.RuneCountInString(Normalise(password)) }

func tooShort(c candidate) bool { return length(c.text) < c.least }

func lacks(class func(rune) bool) func(candidate) bool {
	return func(c candidate) bool { return !strings.ContainsFunc(c.text, class) }
}

// isSymbol counts everything that is neither letter nor digit, the space too.
func isSymbol(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) }

func isOneClass(c candidate) bool {
	other := func(class func(rune) bool) bool {
		return strings.ContainsFunc(c.text, func(r rune) bool { return !class(r) })
	}
	return !other(unicode.IsDigit) || !other(unicode.IsLetter)
}

func hasNationalID(c candidate) bool { return c.holds(string(c.who.NationalID)) }

func hasBirthYear(c candidate) bool {
	b, ok := c.who.born()
	return ok && c.holds(b.Format("2006"))
}

// hasBirthDate looks for the date in the orders people write it, with two or four digits of the year.
func hasBirthDate(c candidate) bool {
	b, ok := c.who.born()
	if !ok {
		return false
	}
	for _, layout := range []string{"02012006", "20060102", "01022006", "020106", "060102", "010206", "212006"} {
		if strings.Contains(c.packed, b.Format(layout)) {
			return true
		}
	}
	return false
}

func (p Person) born() (time.Time, bool) {
	b, err := time.Parse(time.DateOnly, p.Birthdate)
	return b, err == nil
}

// isPersonal is the context blocklist: number, names, birth, phone, address, and the names of what is being entered.
func isPersonal(c candidate) bool {
	if hasNationalID(c) || hasBirthDate(c) || hasBirthYear(c) {
		return true
	}
	if digits := pack(fold(c.who.Phone)); len(digits) >= 7 && c.holds(digits[len(digits)-7:]) {
		return true // the subscriber's number, with or without country and operator
	}
	local, _, _ := strings.Cut(c.who.Email, "@")
	for _, words := range append([]string{product, c.who.GivenName, c.who.FamilyName, local}, c.who.Services...) {
		for _, w := range strings.FieldsFunc(fold(words), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			// A shorter word stands inside too many others ("can" in "african"): it is refused only as the whole word.
			if len(w) >= 4 && c.holds(w) || len(w) >= 2 && base(c.folded) == w {
				return true
			}
		}
	}
	return false
}

// product is what everybody knows of the page: our name, and what the gateway is called.
const product = "kapi edevlet turkiye.gov devletkapisi"
