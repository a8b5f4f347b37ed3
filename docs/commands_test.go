package docs

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// commands that kapi --help and the help of the groups list, as words.
func commands(t *testing.T) (out [][]string) {
	t.Helper()
	var walk func(path []string)
	walk = func(path []string) {
		_, help, _ := kapi(nil, append(slices.Clone(path), "--help")...)
		_, list, isGroup := strings.Cut(help, "\nCommands:\n")
		if !isGroup {
			out = append(out, path)
			return
		}
		names := regexp.MustCompile(`(?m)^  ([a-z][a-z-]*(?: [a-z][a-z-]*)*)`).FindAllStringSubmatch(list, -1)
		for _, n := range names {
			words := strings.Fields(n[1])
			if len(path) > 0 && slices.Equal(words[:min(len(path), len(words))], path) {
				words = words[len(path):]
			}
			walk(append(slices.Clone(path), words[0]))
		}
	}
	walk(nil)
	slices.SortFunc(out, slices.Compare)
	out = slices.CompactFunc(out, slices.Equal)
	if len(out) < 12 {
		t.Fatalf("only the commands %v", out)
	}
	return out
}

// argument of a command line; one with spaces in it stands in quotes.
var argument = regexp.MustCompile(`"[^"]*"|\S+`)

// understood says what is wrong with a command line, "" if nothing: it is parsed, with a file that is not there and a
// setting that does not exist, so that nothing is done.
func understood(t *testing.T, line string) string {
	t.Helper()
	var environ, args []string
	for i, w := range argument.FindAllString(line, -1) {
		w = strings.Trim(w, `"`)
		name, _, isVariable := strings.Cut(w, "=")
		switch {
		case isVariable && strings.HasPrefix(name, "KAPI_") && len(args) == 0:
			environ = append(environ, w)
		case w == "kapi" && i == len(environ):
		default:
			args = append(args, w)
		}
	}
	const stopper = "KAPI_STOPS_HERE"
	environ = append(environ, stopper+"=1")
	if len(args) > 1 && args[0] == "secret" { // needs no settings: an existing file stops it
		args[len(args)-1] = filepath.Join(".", "doc.go")
	}
	if len(args) > 2 && args[1] == "jwk" { // neither does this: a file that is no certificate stops it
		args[2] = filepath.Join(".", "doc.go")
	}
	if args[0] == "demo" || args[0] == "version" { // need none either
		args = append(args, "--help")
	}
	status, _, stderr := kapi(environ, args...)
	stopped := args[len(args)-1] == "--help" && status == 0 || status == 1 && (strings.Contains(stderr, stopper) || args[0] == "secret" || strings.Contains(stderr, "no certificate in the file"))
	unknown := regexp.MustCompile(`unknown setting (\S+?):?( |$)`).FindAllStringSubmatch(stderr, -1)
	if !stopped || slices.ContainsFunc(unknown, func(m []string) bool { return m[1] != stopper }) {
		return stderr
	}
	return ""
}

func TestHelpOfEachCommand(t *testing.T) {
	for _, c := range commands(t) {
		name := strings.Join(c, " ")
		t.Run(name, func(t *testing.T) {
			status, help, stderr := kapi(nil, append(slices.Clone(c), "--help")...)
			if status != 0 || stderr != "" {
				t.Fatalf("%d %s", status, stderr)
			}
			_, example, ok := strings.Cut(help, "\nExample:\n")
			example, _, _ = strings.Cut(strings.TrimLeft(example, "\n"), "\n\n")
			lines := 0
			for line := range strings.Lines(example) {
				if line = strings.TrimSpace(line); !strings.Contains(line, "kapi "+name) {
					t.Errorf("the example %q is of another command", line)
				} else if wrong := understood(t, line); wrong != "" {
					t.Errorf("the example %q: %s", line, wrong)
				}
				lines++
			}
			if !ok || lines == 0 {
				t.Errorf("no example:\n%s", help)
			}
		})
	}
}

// Command lines of the pages stand in sh listings and in backticks.
func TestCommandsOfThePages(t *testing.T) {
	known := commands(t)
	seen := 0
	try := func(page, line string) {
		line, _, _ = strings.Cut(line, " #")
		args := strings.Fields(line)
		if len(args) < 2 || args[0] != "kapi" {
			return
		}
		seen++
		if !slices.ContainsFunc(known, func(c []string) bool { return len(args) > len(c) && slices.Equal(args[1:len(c)+1], c) }) {
			t.Errorf("%s: %q is no command", page, line)
		} else if wrong := understood(t, line); wrong != "" {
			t.Errorf("%s: %q: %s", page, line, wrong)
		}
	}
	for _, page := range pages(t) {
		text := read(t, page)
		for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
			for line := range strings.Lines(block[1]) {
				try(page, strings.TrimSpace(line))
			}
		}
		for _, line := range codes(fence.ReplaceAllString(text, "")) {
			try(page, line)
		}
	}
	if seen < 8 {
		t.Fatalf("only %d command lines seen", seen)
	}
}
