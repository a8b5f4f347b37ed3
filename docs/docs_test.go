package docs

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/kapi-id/kapi/clients"
	"github.com/kapi-id/kapi/cmd/kapi/program"
)

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// pages are the Markdown files that people read, from the root on.
func pages(t *testing.T) []string {
	t.Helper()
	out := []string{"../README.md", "../CONTRIBUTING.md"}
	for _, root := range []string{".", "../deploy"} {
		err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(p) == ".md" {
				out = append(out, p)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(out) < 8 {
		t.Fatalf("only %v: the test looks at the wrong place", out)
	}
	return out
}

var (
	fence    = regexp.MustCompile("(?ms)^```.*?^```$")
	inline   = regexp.MustCompile("`[^`\n]+`")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
	anchor   = regexp.MustCompile(`<a id="([^"]+)">`)
	markdown = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)|[*_]{2}`)
)

// anchors of a page, as the forges make them: lower case, spaces to hyphens, all but letters, digits, - and _ dropped.
func anchors(text string) (out []string) {
	text = fence.ReplaceAllString(text, "")
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, markdown.ReplaceAllString(h[1], "$1")))
	}
	for _, a := range anchor.FindAllStringSubmatch(text, -1) {
		out = append(out, a[1])
	}
	return out
}

func TestLinksLeadSomewhere(t *testing.T) {
	seen := 0
	for _, page := range pages(t) {
		text := inline.ReplaceAllStringFunc(fence.ReplaceAllString(read(t, page), ""), func(code string) string {
			return strings.Repeat("x", len(code))
		})
		for _, l := range link.FindAllStringSubmatch(text, -1) {
			u, err := url.Parse(l[1])
			if err != nil || u.Scheme != "" {
				continue // the world outside is not ours to check
			}
			seen++
			target := page
			if u.Path != "" {
				target = filepath.Join(filepath.Dir(page), filepath.FromSlash(u.Path))
			}
			info, err := os.Stat(target)
			switch {
			case err != nil:
				t.Errorf("%s: %s leads nowhere", page, l[1])
			case u.Fragment == "" || info.IsDir():
			case filepath.Ext(target) != ".md":
				t.Errorf("%s: %s: an anchor into a file that has none", page, l[1])
			case !slices.Contains(anchors(read(t, target)), u.Fragment):
				t.Errorf("%s: %s: no such heading; there are %v", page, l[1], anchors(read(t, target)))
			}
		}
	}
	if seen < 50 {
		t.Fatalf("only %d links seen", seen)
	}
}

// kapi runs a command in this process.
func kapi(environ []string, args ...string) (status int, out, err string) {
	var stdout, stderr bytes.Buffer
	status = program.Main(args, environ, &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// table returns the cells of the table below a heading.
func table(t *testing.T, page, under string) (rows [][]string) {
	t.Helper()
	_, rest, ok := strings.Cut(read(t, page), "\n## "+under+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", page, under)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	for line := range strings.Lines(rest) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|--") {
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.TrimSpace(cells[i])
			}
			rows = append(rows, cells)
		}
	}
	if len(rows) < 2 {
		t.Fatalf("%s has no table under %q", page, under)
	}
	return rows[1:] // without the heads
}

var quoted = regexp.MustCompile("`([^`]+)`")

func codes(cell string) (out []string) {
	for _, c := range quoted.FindAllStringSubmatch(cell, -1) {
		out = append(out, c[1])
	}
	return out
}

// settings of the program as serve --help tells them, with their defaults.
func settings(t *testing.T) map[string]string {
	t.Helper()
	status, out, stderr := kapi(nil, "serve", "--help")
	if status != 0 {
		t.Fatalf("kapi serve --help: %d %s", status, stderr)
	}
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`(?:, default (\S+) )?\((KAPI_[A-Z_]+)\)`).FindAllStringSubmatch(words(out), -1) {
		found[m[2]] = m[1]
	}
	if len(found) < 10 {
		t.Fatalf("serve --help names %v", found)
	}
	return found
}

func TestSettingsTable(t *testing.T) {
	want := settings(t)
	for _, row := range table(t, "operating.md", "Settings") {
		for _, name := range codes(row[0]) {
			def, ok := want[name]
			if !ok {
				t.Errorf("operating.md: %s is no setting, or stands twice", name)
				continue
			}
			delete(want, name)
			if def != "" && (len(codes(row[1])) != 1 || codes(row[1])[0] != def) {
				t.Errorf("operating.md: the default of %s is %s, not %s", name, def, row[1])
			}
		}
	}
	for name := range want {
		t.Errorf("operating.md does not explain %s", name)
	}
}

func TestVariablesExist(t *testing.T) {
	want := settings(t)
	files := append(pages(t), "../deploy/kapi.env", "../deploy/compose.yaml", "../deploy/kapi.service", "../deploy/Dockerfile")
	for _, page := range files {
		for _, name := range regexp.MustCompile(`KAPI_[A-Z_]*[A-Z]`).FindAllString(read(t, page), -1) {
			base := strings.TrimSuffix(name, "_FILE")
			if _, ok := want[name]; ok || name == "KAPI_X" || base == "KAPI_X" {
				continue
			}
			if _, ok := want[base]; !ok && name != "KAPI_SLOW_TESTS" {
				t.Errorf("%s: there is no setting %s", page, name)
			}
		}
	}
}

// members that clients.ParseFile takes: the tags of the struct that it decodes an object into.
func members(t *testing.T) (out []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../clients/file.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "document" {
			return true
		}
		for _, field := range spec.Type.(*ast.StructType).Fields.List {
			name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json"), ",")
			out = append(out, name)
		}
		return false
	})
	return out
}

func TestClientMembersTable(t *testing.T) {
	want := members(t)
	for _, name := range want { // the struct is indeed what decides
		_, err := clients.ParseFile(strings.NewReader(`[{"client_id":"x","` + name + `":{"wrong":[]}}]`))
		if err == nil || strings.Contains(err.Error(), "unknown member") {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if _, err := clients.ParseFile(strings.NewReader(`[{"client_id":"x","kapi_no_such":1}]`)); err == nil || !strings.Contains(err.Error(), "unknown member") {
		t.Fatalf("an unknown member: %v", err)
	}
	seen := map[string]bool{}
	for _, row := range table(t, "operating.md", "Client files") {
		for _, name := range codes(row[0]) {
			if seen[name] = true; !slices.Contains(want, name) {
				t.Errorf("operating.md: %s is no member of a client", name)
			}
		}
	}
	for _, name := range want {
		if !seen[name] {
			t.Errorf("operating.md does not explain the member %s", name)
		}
	}
}
