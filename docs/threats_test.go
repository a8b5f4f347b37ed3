package docs

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rowIDs are the attacks that this version answers for.
var rowIDs = strings.Fields("P2 P3 P4 P6 P10 P14 F1 F2 F3 S1 S2 S3 S5 S6 RC1 RC2 RC3 RC4 RC5 D1 D2 D3 D5 D7 B1 B2 T1 T2 L1 L2 X1 X2 X3 O1 O4 O5 O6 O10")

var (
	testLink = regexp.MustCompile(`\[((?:Test|Fuzz)\w+)\]\(([^)]+)\)`)
	testWord = regexp.MustCompile(`\b(?:Test|Fuzz)\w+`)
	openRow  = regexp.MustCompile(`(?m)^- \*\*([A-Z]+[0-9]+)\*\*: \S`)
)

// openRows are those under "Not shown yet".
func openRows(t *testing.T) (ids []string) {
	t.Helper()
	_, list, ok := strings.Cut(read(t, "threats.md"), "\n## Not shown yet\n")
	list, _, _ = strings.Cut(list, "\n## ")
	if !ok {
		t.Fatal(`threats.md has no heading "Not shown yet"`)
	}
	for _, m := range openRow.FindAllStringSubmatch(list, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

func TestThreatRowsHaveTheirTests(t *testing.T) {
	missing, seen := openRows(t), map[string]bool{}
	for _, row := range table(t, "threats.md", "Attacks") {
		if len(row) != 5 || slices.Contains(row, "") {
			t.Errorf("row %v has not five cells", row)
			continue
		}
		id, shown := row[0], row[4]
		if seen[id] {
			t.Errorf("row %s stands twice", id)
		}
		seen[id] = true
		if !slices.Contains(rowIDs, id) {
			t.Errorf("row %s is not in the test's list", id)
		}
		own, links := false, testLink.FindAllStringSubmatch(shown, -1)
		for _, l := range links {
			if !strings.Contains(read(t, l[2]), "\nfunc "+l[1]+"(") {
				t.Errorf("row %s: %s is not in %s", id, l[1], l[2])
			}
			own = own || strings.HasPrefix(l[1], "Test"+id+"_")
		}
		if bare := len(testWord.FindAllString(shown, -1)); bare != len(links) {
			t.Errorf("row %s names %d tests and links %d", id, bare, len(links))
		}
		if !own && !slices.Contains(missing, id) {
			t.Errorf(`row %s has no test of its name and does not stand under "Not shown yet"`, id)
		}
		if !strings.Contains(row[3], "](") {
			t.Errorf("row %s does not link its guard", id)
		}
	}
	for _, id := range rowIDs {
		if !seen[id] {
			t.Errorf("row %s is missing", id)
		}
	}
	for _, id := range missing {
		if !seen[id] {
			t.Errorf(`%s stands under "Not shown yet" but is no row`, id)
		}
	}
}

// A number in the table is linked with the very code that says it.
func TestThreatNumbersAreThoseOfTheCode(t *testing.T) {
	rows := table(t, "threats.md", "Numbers")
	for _, row := range rows {
		m := regexp.MustCompile("^\\[`([^`]+)`\\]\\(([^)]+)\\)$").FindStringSubmatch(row[len(row)-1])
		if m == nil {
			t.Errorf("%s: no code with its place: %s", row[0], row[len(row)-1])
			continue
		}
		code := regexp.MustCompile(`(?:^|\W)` + regexp.QuoteMeta(m[1]) + `(?:\W|$)`)
		if !code.MatchString(words(read(t, filepath.FromSlash(m[2])))) {
			t.Errorf("%s: %s does not stand in %s", row[0], m[1], m[2])
		}
	}
	if len(rows) < 30 {
		t.Errorf("only %d numbers", len(rows))
	}
}
