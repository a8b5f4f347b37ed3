package jsonfile

import (
	"encoding/json"
	"strings"
	"testing"
)

type place struct {
	City string `json:"city"`
}

type thing struct {
	Name   string          `json:"name"`
	Min    string          `json:"kapi_min_acr"`
	On     bool            `json:"on"`
	Size   int             `json:"size"`
	List   []string        `json:"list"`
	Maybe  *string         `json:"maybe"`
	Place  place           `json:"place"`
	Raw    json.RawMessage `json:"raw"`
	Hidden string
}

// read decodes a file of things and returns its errors as one text.
func read(text string) ([]thing, string) {
	objects, err := Read(strings.NewReader(text), "thing")
	if err != nil {
		return nil, err.Error()
	}
	out := make([]thing, len(objects))
	var ps []Problem
	for i, o := range objects {
		ps = append(ps, o.Decode(&out[i])...)
	}
	if err := Join(ps); err != nil {
		return nil, err.Error()
	}
	return out, ""
}

func TestRead(t *testing.T) {
	got, errs := read("\ufeff[\n{\"name\":\"a\",\"on\":true,\"size\":3,\"list\":[\"x\",\"y\"],\"maybe\":null,\"place\":{\"city\":\"İzmir\"},\"raw\":{\"k\": 1}},{}]\n")
	if errs != "" || len(got) != 2 {
		t.Fatal(got, errs)
	}
	a := got[0]
	if a.Name != "a" || !a.On || a.Size != 3 || len(a.List) != 2 || a.Maybe != nil || a.Place.City != "İzmir" || string(a.Raw) != `{"k": 1}` {
		t.Errorf("%+v", a)
	}
}

func TestRefusals(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"empty", "", "line 1: no valid JSON"},
		{"object at the top", `{"name":"a"}`, "line 1: the file must be a list"},
		{"not an object", "[\n1]", "line 2: each thing must be an object"},
		{"syntax", "[\n\n{\"name\":}]", "line 3: no valid JSON"},
		{"text behind the end", "[{}]\nx", "line 2: no valid JSON"},
		{"unknown", "[\n{\"colour\":1}]", "line 2, colour: unknown member"},
		{"misspelt", "[\n{\"nmae\":\"a\"}]", `line 2, nmae: unknown member; did you mean "name"?`},
		{"other case", `[{"Name":"a"}]`, `Name: unknown member; did you mean "name"?`},
		{"without its prefix", `[{"min_acr":"a"}]`, `did you mean "kapi_min_acr"?`},
		{"untagged field", `[{"Hidden":"a"}]`, "Hidden: unknown member"},
		{"twice", "[{\"name\":\"a\",\n\"name\":\"b\"}]", "line 2, name: stands twice"},
		{"twice, escaped", `[{"name":"a","n\u0061me":"b"}]`, "name: stands twice"},
		{"null", `[{"name":null}]`, "name: must not be null"},
		{"type", "[{\"name\":1,\n\"on\":\"yes\",\n\"size\":1.5,\n\"list\":[1],\n\"maybe\":{}}]",
			"line 1, name: must be a string\nline 2, on: must be true or false\nline 3, size: must be a whole number\nline 4, list: must be a list of strings\nline 5, maybe: must be a string or null"},
		{"nested unknown", "[{\n\"place\":{\n\"ciyt\":\"x\"}}]", `line 3, place.ciyt: unknown member; did you mean "city"?`},
		{"nested twice", "[{\n\"place\":{\"city\":\"x\",\n\"city\":\"y\"}}]", "line 3, place.city: stands twice"},
		{"nested no object", `[{"place":"x"}]`, "place: must be an object"},
		{"no UTF-8", "[\n{\"name\":\"\xff\"}]", "line 2: not UTF-8"},
		{"a name for terminals", `[{"\u001b[31m":1}]`, `"\x1b[31m": unknown member`},
		{"a long name", `[{"` + strings.Repeat("x", 1000) + `":1}]`, strings.Repeat("x", 64) + "…: unknown"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, errs := read(tc.text); !strings.Contains(errs, tc.want) {
				t.Errorf("got %q; want %q", errs, tc.want)
			}
		})
	}
	many := "[" + strings.TrimSuffix(strings.Repeat(`{"x":1},`, 100), ",") + "]"
	if _, errs := read(many); !strings.HasSuffix(errs, "and 70 more") {
		t.Error(errs)
	}
	if _, errs := read("[" + strings.Repeat(" ", Limit) + "]"); !strings.Contains(errs, "larger than") {
		t.Error(errs)
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 2}, {"same", "same", 0}} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("%q %q: %d; want %d", tc.a, tc.b, got, tc.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`[{"name":"a","place":{"city":"x"}}]`)
	f.Add("[{\"a\":\n1,\"a\":2}]")
	f.Fuzz(func(t *testing.T, text string) {
		objects, err := Read(strings.NewReader(text), "thing")
		if err != nil {
			return
		}
		for _, o := range objects {
			if o.Line < 1 || o.Line > 1+strings.Count(text, "\n") {
				t.Errorf("object at line %d", o.Line)
			}
			for _, p := range o.Decode(&thing{}) {
				if p.Line < o.Line || p.Line > 1+strings.Count(text, "\n") || p.Text == "" {
					t.Errorf("problem %+v of an object at line %d", p, o.Line)
				}
			}
		}
	})
}
