package program

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "write testdata/help anew")

// invocations lists every command and group of commands, kapi itself first.
func invocations(t *testing.T) [][]string {
	t.Helper()
	p, err := newParser(&console{out: io.Discard, err: io.Discard}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	var walk func(n *kong.Node, path []string)
	walk = func(n *kong.Node, path []string) {
		all = append(all, path)
		for _, c := range n.Children {
			if c.Type == kong.CommandNode {
				walk(c, append(slices.Clip(path), c.Name))
			}
		}
	}
	walk(p.Model.Node, nil)
	return all
}

// What --help says is what the operator's handbook refers to: a change of it is seen in review.
func TestHelp(t *testing.T) {
	t.Setenv("COLUMNS", "100")
	const folder = "testdata/help"
	var names []string
	for _, path := range invocations(t) {
		name := strings.Join(append([]string{"kapi"}, path...), "-") + ".txt"
		names = append(names, name)
		t.Run(name, func(t *testing.T) {
			var out, problems bytes.Buffer
			if status := Main(append(slices.Clip(path), "--help"), nil, &out, &problems); status != 0 || problems.Len() > 0 {
				t.Fatalf("status %d: %s", status, problems.String())
			}
			file := filepath.Join(folder, name)
			if *update {
				if err := os.MkdirAll(folder, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			kept, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(kept, out.Bytes()) {
				t.Errorf("says\n%s\n%s has\n%s\nrun with -update if that is meant", out.String(), file, kept)
			}
		})
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(names, f.Name()) {
			t.Errorf("%s is the help of no command", f.Name())
		}
	}
	if len(names) < 15 {
		t.Errorf("only %d commands: %v", len(names), names)
	}
}

// Every command says what it is for, and every one that runs shows an example.
func TestHelpIsWhole(t *testing.T) {
	t.Setenv("COLUMNS", "100")
	for _, path := range invocations(t) {
		var out bytes.Buffer
		Main(append(slices.Clip(path), "--help"), nil, &out, io.Discard)
		if text := out.String(); !strings.Contains(text, "Commands:") && path != nil && !strings.Contains(text, "Example:") {
			t.Errorf("kapi %s --help has no example:\n%s", strings.Join(path, " "), text)
		}
	}
}

// A command that is not understood says so on standard error and ends with 2; nothing else is printed.
func TestNotUnderstood(t *testing.T) {
	for _, tc := range []struct {
		args string
		err  string
	}{
		{"serv", `did you mean "serve"?`},
		{"client", "expected one of"},
		{"client apply", `expected "<file>"`},
		{"serve --isuer x", "unknown flag --isuer"},
		{"keys rotate now", "unexpected argument now"},
	} {
		var out, problems bytes.Buffer
		status := Main(strings.Fields(tc.args), nil, &out, &problems)
		if status != 2 || out.Len() != 0 || !strings.Contains(problems.String(), tc.err) || !strings.Contains(problems.String(), "kapi --help") {
			t.Errorf("kapi %s: status %d, %q %q, want %q", tc.args, status, out.String(), problems.String(), tc.err)
		}
	}
}
