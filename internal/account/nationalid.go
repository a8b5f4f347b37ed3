package account

import (
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/kapi-id/kapi/internal/fault"
)

// NationalID is an eleven-digit ID number with a right checksum, or "". Citizens, blue-card holders and foreigners
// share the form; the kind of person comes from the registry, never from the digits.
type NationalID string

// ParseNationalID reads what a person typed: spaces are dropped and full-width or Arabic-Indic digits become ASCII, so
// that every spelling of a number is one number to the counters too.
func ParseNationalID(s string) (NationalID, error) {
	if len(s) > 256 {
		return "", errForm()
	}
	var b strings.Builder
	for _, r := range norm.NFKC.String(s) {
		switch d := digit(r); {
		case d >= 0:
			b.WriteByte(byte('0' + d))
		case r == ' ' || r == '\t' || r == '-' || r == '\u200e' || r == '\u200f':
		default:
			return "", errForm()
		}
	}
	n := b.String()
	if len(n) != 11 {
		return "", errForm()
	}
	if !checksum(n) {
		return "", fault.New(fault.Invalid, "national_id.checksum").In("national_id")
	}
	return NationalID(n), nil
}

func errForm() error { return fault.New(fault.Invalid, "national_id.form").In("national_id") }

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

// checksum is d10 = (7·(d1+d3+d5+d7+d9) − (d2+d4+d6+d8)) mod 10, d11 = (d1+…+d10) mod 10, d1 ≠ 0. The bracket can be
// negative, hence the +100.
func checksum(n string) bool {
	if n[0] == '0' {
		return false
	}
	odd, even, sum := 0, 0, 0
	for i := range 10 {
		d := int(n[i] - '0')
		sum += d
		if i == 9 {
			break
		}
		if i%2 == 0 {
			odd += d
		} else {
			even += d
		}
	}
	return (7*odd-even+100)%10 == int(n[9]-'0') && sum%10 == int(n[10]-'0')
}
