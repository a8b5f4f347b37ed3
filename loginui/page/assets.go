package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// Static is the prefix of all assets.
const Static = "/static/"

// types of the files that are served; others in the same folders are not.
var types = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".woff2": "font/woff2",
	".txt": "text/plain; charset=utf-8", ".png": "image/png", ".webmanifest": "application/manifest+json",
}

// assets are all files of all sources, by SOURCE/FILE. Their address has a hash of the whole source, so that a style may
// name a font beside it and both may be kept for ever.
type assets struct {
	files  map[string]asset
	hashes map[string]string // by source
}

type asset struct {
	body []byte
	kind string
}

func newAssets(sources []Source) (assets, error) {
	a := assets{files: map[string]asset{}, hashes: map[string]string{}}
	for _, s := range sources {
		if err := a.add(s); err != nil {
			return a, fmt.Errorf("assets of %s: %w", s.Name, err)
		}
	}
	return a, nil
}

func (a *assets) add(s Source) error {
	entries, err := fs.ReadDir(s.FS, ".")
	if err != nil {
		return err
	}
	sum := sha256.New()
	found := false
	for _, e := range entries {
		kind := types[path.Ext(e.Name())]
		if e.IsDir() || kind == "" {
			continue
		}
		body, err := fs.ReadFile(s.FS, e.Name())
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s %d\n", e.Name(), len(body))
		sum.Write(body)
		a.files[s.Name+"/"+e.Name()] = asset{body, kind}
		found = true
	}
	if found {
		a.hashes[s.Name] = hex.EncodeToString(sum.Sum(nil)[:6])
	}
	return nil
}

// path is the address of SOURCE/FILE, "" if there is no such asset.
func (a *assets) path(name string) string {
	if _, ok := a.files[name]; !ok {
		return ""
	}
	source, file, _ := strings.Cut(name, "/")
	return Static + source + "-" + a.hashes[source] + "/" + file
}

// Asset is the address of SOURCE/FILE, "" if there is no such asset.
func (p *Pages) Asset(name string) string { return p.assets.path(name) }

// of lists the style and the script that pages of a source link besides those of the layout.
func (a *assets) of(source string) (styles, scripts []string) {
	if source == "page" {
		return nil, nil
	}
	if p := a.path(source + "/style.css"); p != "" {
		styles = append(styles, p)
	}
	if p := a.path(source + "/script.js"); p != "" {
		scripts = append(scripts, p)
	}
	return styles, scripts
}

// Assets serves everything below Static. An address with an outdated hash, as another replica may have written it during
// an upgrade, gets today's file and may not keep it.
func (p *Pages) Assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		dir, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, Static), "/")
		source, hash, _ := cutLast(dir, "-")
		f, ok := p.assets.files[source+"/"+file]
		if !ok || !slices.Contains([]string{http.MethodGet, http.MethodHead}, r.Method) {
			p.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", f.kind)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; sandbox") // an SVG opened by itself
		h.Set("Cache-Control", "no-cache")
		if hash == p.assets.hashes[source] {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		http.ServeContent(w, r, file, time.Time{}, bytes.NewReader(f.body))
	})
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
