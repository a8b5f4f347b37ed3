package password

import (
	_ "embed"
	"strings"
	"time"
	"unicode"
)

// blocklistText holds common passwords and their usual stems, English and Turkish, folded, sorted, one a line.
//
//go:embed blocklist.txt
var blocklistText string

var blocklist = func() map[string]struct{} {
	lines := strings.Fields(blocklistText)
	m := make(map[string]struct{}, len(lines))
	for _, l := range lines {
		m[l] = struct{}{}
	}
	return m
}()

func listed(folded string) bool { _, ok := blocklist[folded]; return ok }

// dressing is how many digits and symbols around a listed word do not make it a password: a date fits.
const dressing = 8

// isCommon says whether a password is among the first that anybody would try: on the list, on the list but for a year or
// a mark at its ends, one short piece over and over, a straight run, or a date.
func isCommon(c candidate) bool {
	for _, s := range []string{c.folded, c.packed} {
		if s == "" {
			continue // symbols only: packed is empty
		}
		if listed(s) || isRun(s) || isDate(s) {
			return true
		}
		if b := base(s); b != "" && listed(b) && len(s)-len(b) <= dressing {
			return true
		}
		if unit := unitOf(s); len(unit) < len(s) && (len(unit) <= 4 || listed(unit) || listed(base(unit))) {
			return true
		}
	}
	return false
}

// unitOf returns the shortest piece of which s is made by repeating, the last time perhaps in part: "asdasdas" is "asd".
func unitOf(s string) string {
	for n := 1; n <= len(s)/2; n++ {
		if s[n:] == s[:len(s)-n] {
			return s[:n]
		}
	}
	return s
}

// isRun says whether every character follows the one before by the same step of one, up or down, or not at all: "45678901",
// "hgfedcba".
func isRun(s string) bool {
	r := []rune(s)
	if len(r) < 3 {
		return false
	}
	up, down, same := true, true, true
	for i := 1; i < len(r); i++ {
		d := r[i] - r[i-1]
		wrap := unicode.IsDigit(r[i]) && unicode.IsDigit(r[i-1])
		up = up && (d == 1 || wrap && d == -9)
		down = down && (d == -1 || wrap && d == 9)
		same = same && d == 0
	}
	return up || down || same
}

// isDate knows day-month-year, year-month-day and month-day-year with four digits of a year somebody may be born in or live in.
func isDate(s string) bool {
	if len(s) != 8 {
		return false
	}
	for _, layout := range []string{"02012006", "20060102", "01022006"} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1900 && t.Year() < 2100 {
			return true
		}
	}
	return false
}
