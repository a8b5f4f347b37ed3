package password

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// fold brings a text to the form in which the blocklists compare: lower case by both the Turkish and the root rules at
// once, since I, İ, ı and i all become i; without marks, so that "şifre" is "sifre"; full-width forms as plain ones.
func fold(s string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(s) {
		switch {
		case unicode.Is(unicode.Mn, r):
		case r == 'ı':
			b.WriteByte('i')
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// pack keeps letters and digits only, so that "1000 0000-146" is the number it spells.
func pack(folded string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, folded)
}

// base cuts digits and symbols off both ends: "Ankara2024!" is "ankara" with a handle.
func base(folded string) string {
	return strings.TrimFunc(folded, func(r rune) bool { return !unicode.IsLetter(r) })
}
