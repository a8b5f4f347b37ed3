package page

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"text/template/parse"
	"time"

	"github.com/kapi-id/kapi/internal/fault"
	"github.com/kapi-id/kapi/internal/web"
	"github.com/kapi-id/kapi/internal/words"
)

//go:embed words.json layout/*.html assets
var files embed.FS

// Words is the catalogue source of the shared layout.
func Words() fs.FS { return files }

// Source is a folder of templates.
type Source struct {
	Name string
	FS   fs.FS
	// Hosts are the pages that may wrap the pages of this source, e.g. "visitor/step". Only for factors.
	Hosts []string
	// Samples are the Data a page is tried out with at the start, by page file ("consent.html"). A page without a sample is
	// checked for everything but the fields of its Data.
	Samples map[string]any
	// HostSamples is the same for the Host of the pages that this source wraps.
	HostSamples map[string]any
}

// Config of New. All fields are required but Log.
type Config struct {
	Catalogue *words.Catalogue
	Sources   []Source
	Cookies   web.Cookies
	Issuer    string // URL
	Now       func() time.Time
	Log       *slog.Logger
}

// Pages renders every page of an installation. It is safe for any number of goroutines.
type Pages struct {
	Config
	sets   map[string]*template.Template // by language
	pages  map[string]*page
	assets assets
	guard  *http.CrossOriginProtection
}

// page is one page file, or one page file in one host.
type page struct {
	source string
	trees  map[string]*parse.Tree // own definitions over the host's over the layout's
	data   any
	host   any
}

// In is the name under which a factor's page is rendered in a host: In("visitor/step", "sms/page").
func In(host, name string) string { return host + ">" + name }

// New parses and checks all templates and assets of all sources.
func New(c Config) (*Pages, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	issuer, err := url.Parse(c.Issuer)
	if err != nil || issuer.Host == "" {
		return nil, fmt.Errorf("page: issuer %q is not a URL", c.Issuer)
	}
	p := &Pages{Config: c, pages: map[string]*page{}, guard: http.NewCrossOriginProtection()}
	// Behind a proxy that changes Host the guard must still know our own origin.
	if err := p.guard.AddTrustedOrigin(issuer.Scheme + "://" + issuer.Host); err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	own := Source{Name: "page", FS: sub("layout"), Samples: map[string]any{"fault.html": faultData{Sentence: "…"}}}
	if p.assets, err = newAssets(append([]Source{{Name: "page", FS: sub("assets")}}, c.Sources...)); err != nil {
		return nil, err
	}
	b := builder{Pages: p, shared: map[string]*parse.Tree{}, files: map[string]map[string]*parse.Tree{}}
	if err := b.build(append([]Source{own}, c.Sources...)); err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	return p, nil
}

func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the folder is embedded in this package
	}
	return f
}

// Origin is the issuer's host, as shown to people.
func (p *Pages) Origin() string {
	u, _ := url.Parse(p.Issuer) // New refused one that does not parse
	return u.Host
}

// Has says whether a page exists, e.g. Has(In("visitor/step", "sms/page")).
func (p *Pages) Has(name string) bool { return p.pages[name] != nil }

// Names lists all pages, sorted.
func (p *Pages) Names() []string { return slices.Sorted(maps.Keys(p.pages)) }

// builder holds what is needed only while the templates are put together.
type builder struct {
	*Pages
	shared map[string]*parse.Tree            // components
	files  map[string]map[string]*parse.Tree // definitions by page name
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
	b.sets = map[string]*template.Template{}
	for _, lang := range words.Languages {
		set, err := b.set(lang)
		if err != nil {
			return err
		}
		b.sets[lang] = set
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
		trees, err := parse.Parse(name, string(text), "", "", b.funcs("tr"), builtins)
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
	if own["factor-page"] == nil {
		return errors.New(`defines neither "main" nor "factor-page"`)
	}
	for _, host := range s.Hosts {
		outer := b.files[host]
		if !isHost(outer) {
			return fmt.Errorf("there is no host %s", host)
		}
		b.pages[In(host, name)] = &page{source: s.Name, trees: layers(b.files[layoutFile], outer, own), data: data, host: b.hostSample(host)}
	}
	return nil
}

// isHost says whether a file wraps the pages of factors: its main shows a "factor-page" it does not define.
func isHost(trees map[string]*parse.Tree) (host bool) {
	if trees["main"] == nil || trees["factor-page"] != nil {
		return false
	}
	walk(trees["main"].Root, func(n parse.Node) {
		t, ok := n.(*parse.TemplateNode)
		host = host || ok && t.Name == "factor-page"
	})
	return host
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

// set puts the templates of one language together: the functions of a set are bound to its language, so that a request
// needs no copy of its own.
func (b *builder) set(lang string) (*template.Template, error) {
	set := template.New("").Funcs(b.funcs(lang))
	for name, tree := range b.shared {
		if _, err := set.AddParseTree(name, tree.Copy()); err != nil {
			return nil, err
		}
	}
	for name, pg := range b.pages {
		for def, tree := range pg.trees {
			tree := tree.Copy()
			rename(tree.Root, func(called string) string {
				if pg.trees[called] != nil {
					return private(name, called)
				}
				return called
			})
			if _, err := set.AddParseTree(private(name, def), tree); err != nil {
				return nil, err
			}
		}
	}
	return set, nil
}

func private(page, definition string) string { return page + "#" + definition }

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
			err := b.execute(discard{}, name, b.frame(pg, v))
			var unsafe *template.Error
			if err != nil && (pg.data != nil || errors.As(err, &unsafe)) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
