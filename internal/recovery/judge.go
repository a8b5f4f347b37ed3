package recovery

import (
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"

	"github.com/kapi-id/kapi/internal/account"
	"github.com/kapi-id/kapi/internal/contact"
)

// leastAge in years (R54).
const leastAge = 15

// Details are what a person types of birth, name and document.
type Details struct {
	Born     string // YYYY-MM-DD
	Family   string
	Document account.DocumentType // "" = none at hand
	Serial   string
}

// may says whether a recovery is open to the person at all: citizens and blue-card holders of 15 and more (R54, R55).
func may(s Subject, kind account.Kind, now time.Time) bool {
	if s.Account.ID == "" || s.Account.State != account.Active || s.Stopped || s.Person.Kind != kind {
		return false
	}
	if kind != account.Citizen && kind != account.BlueCard {
		return false
	}
	born, err := time.Parse(time.DateOnly, s.Person.Birthdate)
	return err == nil && !born.AddDate(leastAge, 0, 0).After(now)
}

// right compares details with what the registry says. Where it names documents, one of them must be the one that was typed.
func right(s Subject, d Details) bool {
	ok := s.Person.Birthdate != "" && s.Person.Birthdate == d.Born && SameName(familyOf(s.Person), d.Family)
	if len(s.Person.Documents) == 0 {
		return ok
	}
	found := false
	for _, doc := range s.Person.Documents {
		found = doc.Type == d.Document && doc.Serial != "" && Serial(doc.Serial) == Serial(d.Serial) || found
	}
	return ok && found
}

// familyOf is the name that is asked for: the only one of those who have one.
func familyOf(p account.Person) string {
	if p.FamilyName == "" {
		return p.GivenName
	}
	return p.FamilyName
}

// reachable says whether phone and e-mail address, as typed, are the verified ones: the phone always, the address where the person
// chose so or typed one.
func reachable(c contact.Contacts, phone, email string) bool {
	p := c.Phone
	if p.Number == "" || p.Number != phone || p.Grade != contact.Verified && p.Grade != contact.IDVerified || !p.BlockedAt.IsZero() {
		return false
	}
	if email == "" {
		return !c.ResetBoth
	}
	return c.Email.Verified && c.Email.Address != "" && strings.EqualFold(c.Email.Address, email)
}

// SameName compares names as Turkish writes them: İ with i, I with ı, in any normal form, with any single or double space, hyphen
// or apostrophe. Empty names are the same as none.
func SameName(a, b string) bool { return fold(a) != "" && fold(a) == fold(b) }

func fold(s string) string {
	if len(s) > 1000 {
		return ""
	}
	s = cases.Lower(language.Turkish).String(norm.NFKC.String(s))
	return norm.NFC.String(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) }), " "))
}

// Serial is the number of a document in one spelling: capital letters of English, digits, nothing between.
func Serial(s string) string {
	var b strings.Builder
	for _, r := range norm.NFKC.String(s[:min(len(s), 200)]) {
		switch {
		case r == 'ı' || r == 'İ' || r == 'i':
			b.WriteByte('I')
		case r >= 'a' && r <= 'z':
			b.WriteByte(byte(r - 'a' + 'A'))
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			b.WriteByte(byte(r))
		}
	}
	return b.String()
}

// Birthdate reads a day as people write it, 23.04.1985, 23/4/1985 or 1985-04-23, in any digits; ok is false for what is no day.
func Birthdate(s string) (date string, ok bool) {
	if len(s) > 64 {
		return "", false
	}
	var parts []string
	var b strings.Builder
	end := func() {
		if b.Len() > 0 {
			parts = append(parts, b.String())
			b.Reset()
		}
	}
	for _, r := range strings.TrimSpace(norm.NFKC.String(s)) {
		switch d := digit(r); {
		case d >= 0:
			b.WriteByte(byte('0' + d))
		case r == '.' || r == '/' || r == '-' || r == ' ':
			end()
		default:
			return "", false
		}
	}
	end()
	layout := "2.1.2006"
	switch {
	case len(parts) == 1 && len(parts[0]) == 8: // 23041985
		layout = "02012006"
	case len(parts) == 3 && len(parts[0]) == 4:
		layout = "2006.1.2"
	case len(parts) != 3 || len(parts[2]) != 4:
		return "", false
	}
	t, err := time.Parse(layout, strings.Join(parts, "."))
	return t.Format(time.DateOnly), err == nil && t.Year() >= 1850
}

func digit(r rune) int {
	switch {
	case r >= '0' && r <= '9':
		return int(r - '0')
	case r >= '\u0660' && r <= '\u0669':
		return int(r - '\u0660')
	case r >= '\u06f0' && r <= '\u06f9':
		return int(r - '\u06f0')
	}
	return -1
}

// codeOf reads six digits with spaces or a dash between them.
func codeOf(s string) (string, bool) {
	if len(s) > 64 {
		return "", false
	}
	var b strings.Builder
	for _, r := range norm.NFKC.String(s) {
		switch d := digit(r); {
		case d >= 0:
			b.WriteByte(byte('0' + d))
		case r == ' ' || r == '-' || r == '\t' || r == '\u200e' || r == '\u200f':
		default:
			return "", false
		}
	}
	return b.String(), b.Len() == 6
}
