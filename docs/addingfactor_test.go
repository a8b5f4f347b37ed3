package docs

import (
	"context"
	"encoding/json"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The factor of adding-a-factor.md is built into Kapi, without touching the tree, and its test is run.
func TestTheWorkedExampleIsAFactor(t *testing.T) {
	page, dir := read(t, "adding-a-factor.md"), t.TempDir()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	overlay := map[string]string{}
	put := func(path, text string) {
		written := filepath.Join(dir, strings.ReplaceAll(path, "/", "_"))
		if err := os.WriteFile(written, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay[filepath.Join(root, filepath.FromSlash(path))] = written
	}
	for _, l := range regexp.MustCompile("(?ms)^```[a-z]+ file=(\\S+)\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		path, text := l[1], l[2]
		if _, err := os.Stat(filepath.Join(root, path)); err == nil {
			t.Fatalf("%s is there already", path)
		}
		if strings.HasSuffix(path, ".go") {
			if tidy, err := format.Source([]byte(text)); err != nil || string(tidy) != text {
				t.Errorf("%s is not as gofmt writes it: %v", path, err)
			}
		}
		put(path, text)
	}
	const list = "cmd/kapi/program/factors.go"
	line := regexp.MustCompile("(?ms)^```go line="+regexp.QuoteMeta(list)+"\n([^\n]+)\n```$").FindAllStringSubmatch(page, -1)
	if len(line) != 1 || len(overlay) != 7 {
		t.Fatalf("%d listings and %d lines of the list", len(overlay), len(line))
	}
	const imports, last = "\t\"github.com/kapi-id/kapi/factors\"\n", "\n\t}\n}"
	factors := read(t, filepath.Join(root, list))
	if strings.Count(factors, imports) != 1 || !strings.Contains(factors, last) {
		t.Fatalf("%s is not what this test expects", list)
	}
	factors = strings.Replace(factors, last, "\n"+line[0][1]+last, 1)
	put(list, strings.Replace(factors, imports, imports+"\t\"github.com/kapi-id/kapi/factors/card\"\n", 1))

	replaced, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, replaced, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	run := func(in, program string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Dir, cmd.WaitDelay = in, time.Second
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	// Built and run apart: the folder of the package is not on the disk.
	binary := filepath.Join(dir, "card.test")
	if out, err := run(root, "go", "test", "-overlay", file, "-vet=off", "-c", "-o", binary, "./factors/card"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := run(dir, binary, "-test.v")
	for _, test := range []string{"TestContract", "TestPrintedAndUsed/sqlite", "TestPrintedAndUsed/postgres"} {
		if err == nil && !strings.Contains(out, "--- PASS: "+test) {
			t.Errorf("%s did not run", test)
		}
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
