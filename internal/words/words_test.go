package words

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func source(files ...string) fs.FS {
	m := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return m
}

func TestText(t *testing.T) {
	c, err := Load(
		source("words.json", `{"a.cancel":{"tr":"Vazgeç","en":"Cancel"},
			"a.tries":{"tr":"{n} deneme hakkınız kaldı.","en":"You have {n} tries left.","en.one":"You have {n} try left."}}`),
		source("words.json", `{"b.two":{"tr":"{y} ve {x}","en":"{x} and {y}"}}`,
			"words-more.json", `{"b.more":{"tr":"çok","en":"more"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		lang, key string
		args      map[string]any
		want      string
	}{
		{"tr", "a.cancel", nil, "Vazgeç"},
		{"en", "a.cancel", nil, "Cancel"},
		{"de", "a.cancel", nil, "Vazgeç"},
		{"en", "a.tries", map[string]any{"n": 4}, "You have 4 tries left."},
		{"en", "a.tries", map[string]any{"n": 1}, "You have 1 try left."},
		{"en", "a.tries", map[string]any{"n": int64(1)}, "You have 1 try left."},
		{"tr", "a.tries", map[string]any{"n": 1}, "1 deneme hakkınız kaldı."},
		{"tr", "b.two", map[string]any{"x": "X{y}", "y": "<b>"}, "<b> ve X{y}"},
		{"en", "b.two", nil, " and "},
		{"en", "b.more", nil, "more"},
		{"en", "no.such", nil, "no.such"},
	} {
		if got := c.Text(tc.lang, tc.key, tc.args); got != tc.want {
			t.Errorf("Text(%s, %s, %v) = %q, want %q", tc.lang, tc.key, tc.args, got, tc.want)
		}
	}
	if !c.Has("b.two") || c.Has("b.three") {
		t.Error("Has is wrong")
	}
	if got := strings.Join(c.Keys(), " "); got != "a.cancel a.tries b.more b.two" {
		t.Errorf("Keys = %s", got)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ file, want string }{
		"missing language":    {`{"k":{"tr":"a"}}`, "no en"},
		"blank text":          {`{"k":{"tr":"a","en":" "}}`, "no en"},
		"unknown language":    {`{"k":{"tr":"a","en":"a","de":"a"}}`, `unknown language "de"`},
		"unequal placeholder": {`{"k":{"tr":"{n} a","en":"a"}}`, "placeholders differ"},
		"double key":          {`{"k":{"tr":"a","en":"a"},"k":{"tr":"b","en":"b"}}`, "twice"},
		"odd key":             {`{"K k":{"tr":"a","en":"a"}}`, "lower case"},
		"not an object":       {`[]`, "not a JSON object"},
		"not text":            {`{"k":{"tr":1,"en":"a"}}`, `"k"`},
		"cut off":             {`{"k":{"tr":"a","en":"a"}`, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(source("words.json", tc.file))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		if _, err := Load(source("page.html", "")); err == nil {
			t.Error("loaded a source without words")
		}
	})
	t.Run("double key over two sources", func(t *testing.T) {
		s := source("words.json", `{"k":{"tr":"a","en":"a"}}`)
		if _, err := Load(s, s); err == nil {
			t.Error("loaded a key twice")
		}
	})
}

func TestChoose(t *testing.T) {
	many := make([]string, 1_000_000)
	many[len(many)-1] = "en"
	for name, tc := range map[string]struct {
		switched string
		locales  []string
		cookie   string
		accept   string
		want     string
	}{
		"nothing":                      {want: "tr"},
		"switch wins":                  {"en", []string{"tr"}, "tr", "tr", "en"},
		"ui_locales before the cookie": {"", []string{"en-GB"}, "tr", "tr", "en"},
		"cookie before the header":     {"", []string{"de"}, "en", "tr", "en"},
		"first known locale":           {"", []string{"de", "EN_us", "tr"}, "", "", "en"},
		"header":                       {accept: "de, en;q=0.8, tr;q=0.3", want: "en"},
		"header's order at equal q":    {accept: "tr-TR,en", want: "tr"},
		"header's zero is no":          {accept: "en;q=0", want: "tr"},
		"header's nonsense q":          {accept: "en;q=7, tr;q=0.1", want: "tr"},
		"header's NaN":                 {accept: "en;q=NaN", want: "tr"},
		"nonsense":                     {"xx", []string{"", "-", strings.Repeat("en-", 50)}, "<script>", ";;;,,,q=", "tr"},
		"a million locales":            {"", many, "", "", "tr"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Choose(tc.switched, tc.locales, tc.cookie, tc.accept); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func FuzzChoose(f *testing.F) {
	f.Add("en", "en-GB tr", "tr", "de, en;q=0.8")
	f.Fuzz(func(t *testing.T, switched, locales, cookie, accept string) {
		if got := Choose(switched, strings.Fields(locales), cookie, accept); got != "tr" && got != "en" {
			t.Errorf("chose %q", got)
		}
	})
}

func TestDirection(t *testing.T) {
	if Direction("tr") != "ltr" || Direction("ar") != "rtl" {
		t.Error("wrong direction")
	}
}
