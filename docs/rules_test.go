package docs

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const mostRules = 221

// Rules that wait for something that is not built, by what they wait for. A rule leaves this list with the test that shows it.
var waiting = map[string]string{
	"office":           "R14 R15 R18-R29 R44 R71-R73 R143 R192 R208",
	"e-signature":      "R8 R74-R77 R79-R82 R84-R91",
	"mobile signature": "R8 R92 R94-R101",
	"bank":             "R8 R102-R111",
	"card":             "R8 R112-R120",
	"NFC":              "R139 R140 R146-R157 R205",
	"delegation":       "R213-R215 R219",
	"registry":         "R67",
}

// Rules that are no job of an identity provider.
const outside = "R1 R2 R5 R9-R11 R13 R16 R30 R31 R68 R78 R83 R93 R122 R124 R129-R133 R221"

// spread writes ranges out.
func spread(t *testing.T, list string) (ids []string) {
	t.Helper()
	for _, part := range strings.Fields(list) {
		from, to, _ := strings.Cut(part, "-")
		if to == "" {
			to = from
		}
		a, err := strconv.Atoi(from[1:])
		b, err2 := strconv.Atoi(to[1:])
		if err != nil || err2 != nil || a > b {
			t.Fatalf("%s is no range", part)
		}
		for ; a <= b; a++ {
			ids = append(ids, fmt.Sprint("R", a))
		}
	}
	return ids
}

func TestRulesAreShown(t *testing.T) {
	because := map[string][]string{}
	for what, list := range waiting {
		for _, id := range spread(t, list) {
			because[id] = append(because[id], what)
		}
	}
	apart := spread(t, outside)
	seen := map[string]bool{}
	for line := range strings.Lines(read(t, "rules.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || !regexp.MustCompile(`^ R\d+ $`).MatchString(cells[0]) {
			if strings.HasPrefix(line, "| R") {
				t.Errorf("no row: %s", line)
			}
			continue
		}
		id, what, lives, shown := strings.TrimSpace(cells[0]), strings.TrimSpace(cells[1]), cells[2], strings.TrimSpace(cells[3])
		if seen[id] || what == "" {
			t.Errorf("%s stands twice, or says nothing", id)
		}
		seen[id] = true
		kind, why, _ := strings.Cut(shown, ": ")
		switch late, out := because[id], slices.Contains(apart, id); {
		case late != nil:
			got := strings.Split(why, ", ")
			slices.Sort(got)
			slices.Sort(late)
			if kind != "later" || !slices.Equal(got, late) {
				t.Errorf("%s waits for %v, the page says %q", id, late, shown)
			}
		case out:
			if kind != "outside" || why == "" {
				t.Errorf("%s is outside, the page says %q", id, shown)
			}
		default:
			links := testLink.FindAllStringSubmatch(shown, -1)
			for _, l := range links {
				if !strings.Contains(read(t, l[2]), "\nfunc "+l[1]+"(") {
					t.Errorf("%s: %s is not in %s", id, l[1], l[2])
				}
			}
			if len(links) == 0 || len(links) != len(testWord.FindAllString(testLink.ReplaceAllString(shown, "$1"), -1)) {
				t.Errorf("%s is shown by no test: %q", id, shown)
			}
			if !strings.Contains(lives, "](../") {
				t.Errorf("%s lives nowhere", id)
			}
		}
	}
	for i := 1; i <= mostRules; i++ {
		if id := fmt.Sprint("R", i); !seen[id] {
			t.Errorf("%s is missing", id)
		}
	}
	if len(seen) != mostRules {
		t.Errorf("%d rules", len(seen))
	}
}
