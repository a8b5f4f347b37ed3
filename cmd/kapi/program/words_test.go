package program

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	template "text/template/parse"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/words"
)

// composed are the keys that are put together while the program runs, by their beginnings, and what follows.
var composed = map[string]string{
	"code.deed.":         "factors/code: what a code is for",
	"factor.":            "the name of a factor; visitor.New refuses a factor without",
	"fault.":             "the kind of a fault, for one without a sentence of its own",
	"scope.":             "a scope, on the consent page",
	"recovery.reason.":   "what has happened, where a forgotten password is renewed",
	"recovery.document.": "an identity document, there",
	"password.rule.":     "a rule for new passwords",
	"notice.do.":         "what a notice recommends; a test of the rules looks",
	"me.method.":         "a value of amr, in a person's history",
	"me.level.":          "a level of assurance, in a person's sessions",
	"me.scope.":          "a scope, in the list of services that know of a person",
	"me.reset.short.":    "how a forgotten password is renewed, in a word",
}

// endings belong to another key: the heading over a fault's page, the text below a sentence.
var endings = []string{".heading", ".text"}

// elsewhere are the faults whose key is not written in the call; it stands as a literal somewhere, which is looked at too.
var elsewhere = []string{"r.Key", "c.page", "ch.Page.Trouble"}

var dotted = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)+$`)

// source is what the program's own files say: Go and templates, without tests and without the simulated outside parties.
type source struct {
	t        *testing.T
	literals map[string]string // → where
	faults   map[token.Pos]faultCall
	consts   map[string]map[string]string // folder → name → value
	files    *token.FileSet
}

// faultCall is one fault.New or fault.Wrap with its key and the arguments given to its sentence.
type faultCall struct {
	where string
	key   ast.Expr
	args  []string
	dir   string
}

func readSource(t *testing.T) *source {
	t.Helper()
	s := &source{t: t, literals: map[string]string{}, faults: map[token.Pos]faultCall{}, consts: map[string]map[string]string{}, files: token.NewFileSet()}
	root := "../../.."
	n := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		skipped := []string{"docs", "e2e", "tools", "deploy", "bin", "internal/sim", "internal/testkapi"}
		if d.IsDir() {
			if rel != "." && strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || slices.Contains(skipped, filepath.ToSlash(rel)) {
				return fs.SkipDir
			}
			return nil
		}
		switch {
		case strings.HasSuffix(rel, ".go") && !strings.HasSuffix(rel, "_test.go"):
			n++
			return s.readGo(path, rel)
		case strings.HasSuffix(rel, ".html"):
			n++
			return s.readTemplate(path, rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 100 || len(s.faults) < 50 {
		t.Fatalf("only %d files and %d faults seen: the test looks at the wrong place", n, len(s.faults))
	}
	return s
}

func (s *source) readGo(path, rel string) error {
	f, err := parser.ParseFile(s.files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := filepath.Dir(rel)
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit:
			if v, ok := written(n); ok {
				s.literals[v] = s.where(n.Pos(), rel)
			}
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if i < len(n.Values) {
					if v, ok := written(n.Values[i]); ok {
						if s.consts[dir] == nil {
							s.consts[dir] = map[string]string{}
						}
						s.consts[dir][name.Name] = v
					}
				}
			}
		case *ast.CallExpr:
			s.readCall(n, rel, dir)
		}
		return true
	})
	return nil
}

// readCall notes fault.New(…) with what is chained to it. The outermost call of a chain is seen first.
func (s *source) readCall(c *ast.CallExpr, rel, dir string) {
	var args []string
	for {
		sel, ok := c.Fun.(*ast.SelectorExpr)
		if !ok {
			return
		}
		if inner, ok := sel.X.(*ast.CallExpr); ok && slices.Contains([]string{"In", "With", "After"}, sel.Sel.Name) {
			if v, ok := written(c.Args[0]); ok && sel.Sel.Name == "With" {
				args = append(args, v)
			}
			c = inner
			continue
		}
		if x, ok := sel.X.(*ast.Ident); !ok || x.Name != "fault" || sel.Sel.Name != "New" && sel.Sel.Name != "Wrap" {
			return
		}
		break
	}
	if _, seen := s.faults[c.Pos()]; !seen {
		slices.Sort(args)
		s.faults[c.Pos()] = faultCall{where: s.where(c.Pos(), rel), key: c.Args[1], args: args, dir: dir}
	}
}

func (s *source) where(pos token.Pos, rel string) string {
	return fmt.Sprintf("%s:%d", rel, s.files.Position(pos).Line)
}

func written(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	v, err := strconv.Unquote(l.Value)
	return v, err == nil
}

func (s *source) readTemplate(path, rel string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	tree := template.New(rel)
	tree.Mode = template.SkipFuncCheck
	trees := map[string]*template.Tree{}
	if _, err := tree.Parse(string(b), "", "", trees); err != nil {
		return err
	}
	trees[rel] = tree
	for _, t := range trees {
		s.walk(t.Root, rel)
	}
	return nil
}

func (s *source) walk(n template.Node, rel string) {
	switch n := n.(type) {
	case *template.ListNode:
		if n != nil {
			for _, c := range n.Nodes {
				s.walk(c, rel)
			}
		}
	case *template.ActionNode:
		s.walk(n.Pipe, rel)
	case *template.TemplateNode:
		s.walk(n.Pipe, rel)
	case *template.IfNode:
		s.branch(&n.BranchNode, rel)
	case *template.RangeNode:
		s.branch(&n.BranchNode, rel)
	case *template.WithNode:
		s.branch(&n.BranchNode, rel)
	case *template.PipeNode:
		if n != nil {
			for _, c := range n.Cmds {
				for _, a := range c.Args {
					s.walk(a, rel)
				}
			}
		}
	case *template.StringNode:
		s.literals[n.Text] = rel
	}
}

func (s *source) branch(b *template.BranchNode, rel string) {
	s.walk(b.Pipe, rel)
	s.walk(b.List, rel)
	s.walk(b.ElseList, rel)
}

// key resolves a literal or a constant of the same package.
func (s *source) key(c faultCall) (string, bool) {
	if v, ok := written(c.key); ok {
		return v, true
	}
	if id, ok := c.key.(*ast.Ident); ok {
		v, ok := s.consts[c.dir][id.Name]
		return v, ok
	}
	return "", false
}

func sentences(t *testing.T) *words.Catalogue {
	t.Helper()
	s, err := Resolve(map[string]string{"DATABASE": "sqlite:" + filepath.Join(t.TempDir(), "kapi.db")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(t.Context(), s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	c, err := catalogue(a.Flow.Factors)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Nobody ever reads a key, or a sentence with a hole in it: each that a fault names exists and gets what it wants.
func TestEveryFaultHasItsSentence(t *testing.T) {
	c, s := sentences(t), readSource(t)
	for _, f := range s.faults {
		key, ok := s.key(f)
		switch {
		case !ok && !slices.Contains(elsewhere, expression(f.key)):
			t.Errorf("%s: the key of this fault cannot be read from the source", f.where)
		case !ok || key == "": // the kind's own sentence
		case !c.Has(key):
			t.Errorf("%s: there is no sentence %q", f.where, key)
		case !slices.Equal(f.args, c.Placeholders(key)):
			t.Errorf("%s: %q wants %v and gets %v", f.where, key, c.Placeholders(key), f.args)
		}
	}
	for k := fault.Internal; k <= fault.Unavailable; k++ {
		for _, key := range []string{"fault." + k.String(), "fault." + k.String() + ".text"} {
			if !c.Has(key) {
				t.Errorf("there is no sentence %q", key)
			}
		}
	}
}

func expression(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return expression(e.X) + "." + e.Sel.Name
	}
	return "?"
}

// Whatever looks like a key of ours is one, wherever it stands. The names of events look alike and are none.
func TestEveryKeyInTheSourceExists(t *testing.T) {
	c, s := sentences(t), readSource(t)
	spaces := map[string]bool{}
	for _, key := range c.Keys() {
		first, _, _ := strings.Cut(key, ".")
		spaces[first] = true
	}
	for v, where := range s.literals {
		first, _, _ := strings.Cut(v, ".")
		event := strings.HasPrefix(where, filepath.FromSlash("internal/audit/"))
		if dotted.MatchString(v) && spaces[first] && !event && !strings.HasSuffix(v, ".html") && !c.Has(v) {
			t.Errorf("%s: there is no sentence %q", where, v)
		}
	}
}

func TestEverySentenceIsUsed(t *testing.T) {
	c, s := sentences(t), readSource(t)
	for prefix, why := range composed {
		if _, ok := s.literals[prefix]; !ok {
			t.Errorf("nothing puts keys together from %q (%s)", prefix, why)
		}
	}
	used := func(key string) bool {
		_, ok := s.literals[key]
		return ok || slices.ContainsFunc(slices.Collect(maps.Keys(composed)), func(p string) bool { return strings.HasPrefix(key, p) })
	}
	for _, key := range c.Keys() {
		of := key
		for _, e := range endings {
			of = strings.TrimSuffix(of, e)
		}
		if !used(key) && !used(of) {
			t.Errorf("nothing shows the sentence %q", key)
		}
	}
}
