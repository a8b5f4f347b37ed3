package page

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/words"
)

// builder holds what is needed only while the templates are put together.
type builder struct {
	*Pages
	shared map[string]*parse.Tree            // components
	files  map[string]map[string]*parse.Tree // definitions by page name
	funcs  map[string]template.FuncMap       // by language
}

func (b *builder) build(sources []Source) error {
	var errs []error
	for _, s := range sources {
		if err := b.parse(s); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, s := range sources {
		for _, name := range b.namesOf(s) {
			if err := b.compose(s, name); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := b.checkWords(); err != nil {
		return err
	}
	for _, pg := range b.pages {
		pg.sets = map[string]*template.Template{}
		for _, lang := range words.Languages {
			set, err := b.set(lang, pg)
			if err != nil {
				return err
			}
			pg.sets[lang] = set
		}
	}
	return b.tryOut()
}

// sharedFiles of the layout are components for all; layout.html is copied into each page.
var sharedFiles = map[string]bool{"page/components": true, "page/icons": true}

const layoutFile = "page/layout"

func (b *builder) parse(s Source) error {
	names, err := fs.Glob(s.FS, "*.html")
	if err != nil {
		return err
	}
	for _, file := range names {
		text, err := fs.ReadFile(s.FS, file)
		if err != nil {
			return err
		}
		name := s.Name + "/" + strings.TrimSuffix(path.Base(file), ".html")
		trees, err := parse.Parse(name, string(text), "", "", b.funcs["tr"], builtins)
		if err != nil {
			return err
		}
		if !parse.IsEmptyTree(trees[name].Root) {
			return fmt.Errorf("%s: text outside of the definitions", name)
		}
		delete(trees, name)
		if sharedFiles[name] {
			maps.Copy(b.shared, trees)
			continue
		}
		if b.files[name] != nil {
			return fmt.Errorf("%s is there twice", name)
		}
		b.files[name] = trees
	}
	return nil
}

// namesOf lists the pages of a source; hosts and the layout are no pages by themselves.
func (b *builder) namesOf(s Source) []string {
	var names []string
	for name, trees := range b.files {
		if strings.HasPrefix(name, s.Name+"/") && name != layoutFile && !isHost(trees) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// compose lays the definitions of a page over those of its host and of the layout.
func (b *builder) compose(s Source, name string) error {
	own := b.files[name]
	if own["heading"] == nil {
		return errors.New(`does not define "heading"`)
	}
	data := s.Samples[path.Base(name)+".html"]
	if own["main"] != nil {
		b.pages[name] = &page{source: s.Name, trees: layers(b.files[layoutFile], own), data: data}
		return nil
	}
	block := hosted(own)
	if block == "" {
		return errors.New(`defines none of "main", "factor-page" and "factor-main"`)
	}
	for _, host := range s.Hosts {
		outer := b.files[host]
		if !isHost(outer) {
			return fmt.Errorf("there is no host %s", host)
		}
		if !shows(outer, block) {
			continue // a host for the other sort of page
		}
		b.pages[In(host, name)] = &page{source: s.Name, trees: layers(b.files[layoutFile], outer, own), data: data, host: b.hostSample(host)}
	}
	return nil
}

// blocks are what a page of a factor consists of: "factor-page" is asked for in a sign-in or a confirmation, "factor-main" is one
// of the pages on which people set the factor up.
var blocks = []string{"factor-page", "factor-main"}

// hosted is the block that a page without "main" defines; "" = none.
func hosted(trees map[string]*parse.Tree) string {
	for _, block := range blocks {
		if trees[block] != nil {
			return block
		}
	}
	return ""
}

// isHost says whether a file wraps the pages of factors: its main shows a block it does not define.
func isHost(trees map[string]*parse.Tree) bool {
	return slices.ContainsFunc(blocks, func(block string) bool { return shows(trees, block) })
}

func shows(trees map[string]*parse.Tree, block string) (yes bool) {
	if trees["main"] == nil || trees[block] != nil {
		return false
	}
	walk(trees["main"].Root, func(n parse.Node) {
		t, ok := n.(*parse.TemplateNode)
		yes = yes || ok && t.Name == block
	})
	return yes
}

func (b *builder) hostSample(host string) any {
	for _, s := range b.Sources {
		if v, ok := s.HostSamples[strings.TrimPrefix(host, s.Name+"/")+".html"]; ok && strings.HasPrefix(host, s.Name+"/") {
			return v
		}
	}
	return nil
}

func layers(all ...map[string]*parse.Tree) map[string]*parse.Tree {
	out := map[string]*parse.Tree{}
	for _, l := range all {
		maps.Copy(out, l)
	}
	return out
}

// set puts a page together in one language. Its functions are bound to the language, so that a request needs no copy of its
// own; and each page is a set of its own, since html/template works over a whole set for each page it makes safe.
func (b *builder) set(lang string, pg *page) (*template.Template, error) {
	set := template.New("").Funcs(b.funcs[lang])
	var add func(name string) error
	add = func(name string) error {
		tree := b.called(pg.trees, name)
		if tree == nil || set.Lookup(name) != nil {
			return nil // what is not there is found when the page is tried out
		}
		tree = tree.Copy()
		b.fold(lang, tree.Root, pg.trees, 0)
		if _, err := set.AddParseTree(name, tree); err != nil {
			return err
		}
		var failed error
		walk(tree.Root, func(n parse.Node) {
			if t, ok := n.(*parse.TemplateNode); ok {
				failed = errors.Join(failed, add(t.Name))
			}
		})
		return failed
	}
	err := add("page")
	return set.Lookup("page"), err
}

// called is the definition that a page means by a name: its own, else the shared one.
func (b *builder) called(own map[string]*parse.Tree, name string) *parse.Tree {
	if t := own[name]; t != nil {
		return t
	}
	return b.shared[name]
}

// tryOut runs every page in every language with its samples: it finds what cannot be escaped safely, templates that are
// called but not there, and wrong fields.
func (b *builder) tryOut() error {
	var errs []error
	for _, name := range b.Names() {
		pg := b.pages[name]
		v := View{Data: pg.data, Host: pg.host, Service: &Service{Name: "…", Address: "…", Cancel: "/"},
			Err: fault.New(fault.Invalid, "").In("code"), Switch: "/"}
		for _, lang := range words.Languages {
			v.Lang = lang
			err := pg.execute(io.Discard, b.frame(pg, v))
			var unsafe *template.Error
			if err != nil && (pg.data != nil || errors.As(err, &unsafe)) {
				errs = append(errs, fmt.Errorf("%s (%s): %w", name, lang, err))
			}
		}
	}
	return errors.Join(errs...)
}
