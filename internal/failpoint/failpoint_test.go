package failpoint

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	for spec, ok := range map[string]bool{
		"password-right:kill": true, "code-right:err,session-write:sleep": true,
		"": false, "password-right": false, "password-right:": false, "nowhere:kill": false, "password-right:explode": false,
		"code-right:err,code-right:kill": false, "code-right:err,": false,
	} {
		if m, err := read(spec); (err == nil) != ok || ok && len(m) != strings.Count(spec, ":") {
			t.Errorf("%q: %v %v", spec, m, err)
		}
	}
}

// A build without the tag has nothing; with it, what was armed happens at its point and nowhere else.
func TestArm(t *testing.T) {
	if err := Arm("code-right:err"); (err == nil) != Built {
		t.Fatal(err)
	}
	if err := Here("code-right"); (err != nil) != Built {
		t.Errorf("at the point: %v", err)
	}
	if err := Here("password-right"); err != nil {
		t.Errorf("elsewhere: %v", err)
	}
}

// Every point stands at exactly one place of the program, and no place names another one.
func TestEveryPointHasItsPlace(t *testing.T) {
	places := map[string]int{}
	call := regexp.MustCompile(`failpoint\.Here\("([^"]*)"\)`)
	for _, dir := range []string{"factors", "internal", "provider", "storage", "cmd", "loginui"} {
		err := filepath.WalkDir("../../"+dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			for _, m := range call.FindAllStringSubmatch(string(b), -1) {
				places[m[1]]++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range Points {
		if places[p] != 1 {
			t.Errorf("%s stands at %d places", p, places[p])
		}
	}
	for p := range places {
		if !slices.Contains(Points, p) {
			t.Errorf("%s is no point", p)
		}
	}
}
