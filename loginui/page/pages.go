package page

import (
	"context"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"text/template/parse"
	"time"

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

// Config of New. All fields are required but Operator, LogoPNG and Log.
type Config struct {
	Catalogue *words.Catalogue
	Sources   []Source
	Cookies   web.Cookies
	Issuer    string // URL
	Operator  string // who runs the installation; "" = not told
	// LogoPNG finds the logo of a service by its hash; fault.ErrNotFound. nil = there are none.
	LogoPNG func(ctx context.Context, hash string) ([]byte, error)
	Now     func() time.Time
	Log     *slog.Logger
}

// Pages renders every page of an installation. It is safe for any number of goroutines.
type Pages struct {
	Config
	pages  map[string]*page
	assets assets
	guard  *http.CrossOriginProtection
}

// page is one page file, or one page file in one host.
type page struct {
	source string
	trees  map[string]*parse.Tree        // own definitions over the host's over the layout's
	sets   map[string]*template.Template // by language
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
	b := builder{Pages: p, shared: map[string]*parse.Tree{}, files: map[string]map[string]*parse.Tree{}, funcs: map[string]template.FuncMap{}}
	for _, lang := range words.Languages {
		b.funcs[lang] = p.funcs(lang)
	}
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
