package e2e

import (
	"cmp"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// The journeys are told in English. A visit in Turkish looks for the Turkish sentence of the same key in the catalogues,
// so that one story tests both languages.

type pair struct {
	en     *regexp.Regexp
	tr     string
	fields []string // names of the placeholders, in the order of the English sentence
}

var catalogue = sync.OnceValues(func() ([]pair, error) {
	var pairs []pair
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !catalogueFile.MatchString(d.Name()) || strings.Contains(path, "testdata") {
			return err
		}
		var list map[string]map[string]string
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		for _, s := range list {
			pairs = append(pairs, newPair(s["tr"], s["en"]))
			if one := s["en.one"]; one != "" {
				pairs = append(pairs, newPair(cmp.Or(s["tr.one"], s["tr"]), one))
			}
		}
		return nil
	})
	return pairs, err
})

var catalogueFile = regexp.MustCompile(`^(words.*|sentences)\.json$`)

var placeholder = regexp.MustCompile(`\{([a-z_A-Z0-9]+)\}`)

func newPair(tr, en string) pair {
	p := pair{tr: tr}
	pattern, last := "^", 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(en, -1) {
		pattern += regexp.QuoteMeta(en[last:m[0]]) + "(.+?)"
		p.fields = append(p.fields, en[m[2]:m[3]])
		last = m[1]
	}
	p.en = regexp.MustCompile(pattern + regexp.QuoteMeta(en[last:]) + "$")
	return p
}

// turkish finds what an English sentence is in Turkish; several, if one sentence stands for several keys.
func turkish(pairs []pair, english string) (out []string) {
	for _, p := range pairs {
		m := p.en.FindStringSubmatch(english)
		if m == nil {
			continue
		}
		tr := p.tr
		for i, f := range p.fields {
			tr = strings.ReplaceAll(tr, "{"+f+"}", m[i+1])
		}
		out = append(out, squeeze(tr))
	}
	return out
}

// spoken is what a text is in the language of the visit. What no catalogue has is data, the same in every language.
func (b *Browser) spoken(text string) []string {
	b.t.Helper()
	if !b.how.Turkish {
		return []string{text}
	}
	pairs, err := catalogue()
	b.do("read the catalogues", err)
	if tr := turkish(pairs, text); len(tr) > 0 {
		return tr
	}
	return []string{text}
}

func TestTurkishOfASentence(t *testing.T) {
	pairs := []pair{newPair("Kod yanlış. {n} deneme hakkınız kaldı.", "The code is wrong. You have {n} tries left."), newPair("Devam et", "Continue")}
	for en, want := range map[string]string{
		"The code is wrong. You have 4 tries left.": "Kod yanlış. 4 deneme hakkınız kaldı.",
		"Continue":    "Devam et",
		"Continue on": "",
	} {
		if got := strings.Join(turkish(pairs, en), "|"); got != want {
			t.Errorf("%q: %q, want %q", en, got, want)
		}
	}
}
