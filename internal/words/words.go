// Package words owns the sentences people read: every text of every page and message, in Turkish and English. Enter with
// Load, which reads words.json files, and Catalogue.Text. It refuses an incomplete catalogue: a key without one of the
// languages, a key given twice and a placeholder that only one language has are errors when the program starts, so no
// reader ever meets half a translation.
package words

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Languages that every key has, the default one first.
var Languages = []string{"tr", "en"}

// one is the optional form for exactly one thing, chosen where the argument n is 1 ("1 try", not "1 tries"). Turkish
// leaves the noun in the singular after every number and needs none.
const one = "en.one"

var (
	keyForm     = regexp.MustCompile(`^[a-z0-9_]+([.-][a-z0-9_]+)*$`)
	placeholder = regexp.MustCompile(`\{([a-z_]+)\}`)
)

// Catalogue is a checked set of sentences. It never changes and may be used by any number of goroutines.
type Catalogue struct {
	texts map[string]map[string]text // key → language (or one) → text
}

// text is a sentence cut at its placeholders: fixed[0] name[0] fixed[1] name[1] … fixed[n].
type text struct {
	fixed []string
	names []string
}

// Load reads the words.json of each source, e.g. {"page.cancel":{"tr":"Vazgeç","en":"Cancel"}}; further files of a large
// source are named words-NAME.json. All findings of all files come back in one error.
func Load(sources ...fs.FS) (*Catalogue, error) {
	c := &Catalogue{texts: map[string]map[string]text{}}
	var errs []error
	for i, src := range sources {
		names, err := fs.Glob(src, "words*.json")
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			errs = append(errs, fmt.Errorf("source %d has no words.json", i+1))
		}
		for _, name := range names {
			if err := c.add(src, name); err != nil {
				errs = append(errs, fmt.Errorf("source %d, %s: %w", i+1, name, err))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("words: %w", err)
	}
	return c, nil
}

func (c *Catalogue) add(src fs.FS, name string) error {
	b, err := fs.ReadFile(src, name)
	if err != nil {
		return err
	}
	entries, err := decode(b)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if c.Has(e.key) {
			errs = append(errs, fmt.Errorf("%q is given twice", e.key))
			continue
		}
		if err := e.check(); err != nil {
			errs = append(errs, fmt.Errorf("%q: %w", e.key, err))
			continue
		}
		forms := map[string]text{}
		for lang, s := range e.forms {
			forms[lang] = cut(s)
		}
		c.texts[e.key] = forms
	}
	return errors.Join(errs...)
}

type entry struct {
	key   string
	forms map[string]string
}

// decode keeps the order and the doubles of a file, which a plain map would lose silently.
func decode(b []byte) ([]entry, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	var entries []entry
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		e := entry{key: t.(string)}
		if err := d.Decode(&e.forms); err != nil {
			return nil, fmt.Errorf("%q: %w", e.key, err)
		}
		entries = append(entries, e)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	return entries, nil
}

func (e entry) check() error {
	if !keyForm.MatchString(e.key) {
		return errors.New("a key is lower case words joined by dots")
	}
	want := names(e.forms[Languages[0]])
	for _, lang := range Languages {
		if strings.TrimSpace(e.forms[lang]) == "" {
			return fmt.Errorf("no %s", lang)
		}
	}
	for lang, s := range e.forms {
		if lang == one {
			continue // may spell the number out
		}
		if !slices.Contains(Languages, lang) {
			return fmt.Errorf("unknown language %q", lang)
		}
		if got := names(s); !slices.Equal(got, want) {
			return fmt.Errorf("placeholders differ: %s has %v, %s has %v", Languages[0], want, lang, got)
		}
	}
	return nil
}

// names returns the placeholders of s, sorted and without doubles.
func names(s string) []string {
	var out []string
	for _, m := range placeholder.FindAllStringSubmatch(s, -1) {
		out = append(out, m[1])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func cut(s string) (t text) {
	at := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(s, -1) {
		t.fixed = append(t.fixed, s[at:m[0]])
		t.names = append(t.names, s[m[2]:m[3]])
		at = m[1]
	}
	t.fixed = append(t.fixed, s[at:])
	return t
}

// Has says whether the key exists.
func (c *Catalogue) Has(key string) bool {
	_, ok := c.texts[key]
	return ok
}

// Keys lists all keys, sorted.
func (c *Catalogue) Keys() []string { return slices.Sorted(maps.Keys(c.texts)) }

// Text returns the sentence of key in lang with its placeholders filled from args (a time.Time by Moment), as plain text: whoever puts it
// into a page escapes it. An unknown language is read as the default one; an unknown key comes back as it is, so that it is seen in a test
// and harmless in production.
func (c *Catalogue) Text(lang, key string, args map[string]any) string {
	forms, ok := c.texts[key]
	if !ok {
		return key
	}
	t, ok := forms[lang]
	if !ok {
		t = forms[Languages[0]]
	}
	if lang == "en" && isOne(args["n"]) {
		if singular, ok := forms[one]; ok {
			t = singular
		}
	}
	if len(t.names) == 0 {
		return t.fixed[0]
	}
	var b strings.Builder
	for i, name := range t.names {
		b.WriteString(t.fixed[i])
		write(&b, lang, args[name])
	}
	b.WriteString(t.fixed[len(t.names)])
	return b.String()
}

func isOne(v any) bool {
	switch n := v.(type) {
	case int:
		return n == 1
	case int64:
		return n == 1
	}
	return false
}

func write(b *strings.Builder, lang string, v any) {
	switch v := v.(type) {
	case nil:
	case string:
		b.WriteString(v)
	case int:
		b.WriteString(strconv.Itoa(v))
	case time.Time:
		b.WriteString(Moment(lang, v))
	default:
		fmt.Fprint(b, v)
	}
}

// Placeholders lists the names that the sentence of key wants, sorted.
func (c *Catalogue) Placeholders(key string) []string {
	t := c.texts[key][Languages[0]]
	out := slices.Sorted(slices.Values(t.names))
	return slices.Compact(out)
}
