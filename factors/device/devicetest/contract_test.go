package devicetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func load(t *testing.T, page string) (*Contract, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.yaml")
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadContract(file)
}

// A page that says more than the test understands is none: no rule is passed over.
func TestLoadContract(t *testing.T) {
	for page, want := range map[string]string{
		"openapi: 3.1.0\n":                          "",
		"openapi: 3.0.3\n":                          "want 3.1",
		"a: [\n":                                    "yaml",
		"openapi: 3.1.0\na: {$ref: '#/b/c'}\n":      "leads nowhere",
		"openapi: 3.1.0\na: {$ref: '#/b'}\nb: {}\n": "",
		"openapi: 3.1.0\na: {type: string, minLength: 1, description: d}\n":                   "",
		"openapi: 3.1.0\na: {type: string, exclusiveMinimum: 1}\n":                            `"exclusiveMinimum" ask for`,
		"openapi: 3.1.0\na: [{b: {type: object, properties: {c: {type: array, not: {}}}}}]\n": `"not" ask for`,
	} {
		_, err := load(t, page)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", page, err, want)
		}
	}
	if _, err := LoadContract(filepath.Join(t.TempDir(), "none.yaml")); err == nil {
		t.Error("a page that is not there")
	}
}

// Each keyword takes what JSON Schema means by it, and nothing else.
func TestValues(t *testing.T) {
	c, err := load(t, `
openapi: 3.1.0
name: {type: string, minLength: 2, maxLength: 3}
form: {type: string, pattern: '^[a-z]+$'}
when: {type: string, format: date-time}
count: {type: integer, minimum: 1, maximum: 9}
yes: {type: boolean}
one: {const: 7}
any: {type: string, enum: [a, b]}
list: {type: array, maxItems: 2, items: {$ref: '#/count'}}
thing: {type: object, required: [id], additionalProperties: false, properties: {id: {$ref: '#/name'}, n: {$ref: '#/count'}}}
open: {type: object, required: [id], properties: {id: {$ref: '#/name'}}}
both: {allOf: [{$ref: '#/open'}, {type: object, required: [n]}]}
inside: {type: string, contentSchema: {$ref: '#/thing'}}
`)
	if err != nil {
		t.Fatal(err)
	}
	for schema, values := range map[string]struct{ good, bad []string }{
		"name":   {[]string{`"ab"`, `"çşğ"`}, []string{`"a"`, `"abcd"`, `1`, `null`}},
		"form":   {[]string{`"ab"`}, []string{`""`, `"A"`, `"a\n"`}},
		"when":   {[]string{`"2026-03-04T05:06:07Z"`}, []string{`"2026-03-04"`, `"now"`}},
		"count":  {[]string{`1`, `9`, `2.0`}, []string{`0`, `10`, `1.5`, `"1"`, `true`}},
		"yes":    {[]string{`true`, `false`}, []string{`"true"`, `0`, `null`}},
		"one":    {[]string{`7`}, []string{`8`, `null`}},
		"any":    {[]string{`"a"`}, []string{`"c"`, `1`}},
		"list":   {[]string{`[]`, `[1,2]`}, []string{`[1,2,3]`, `[0]`, `{}`, `"x"`}},
		"thing":  {[]string{`{"id":"ab"}`, `{"id":"ab","n":1}`}, []string{`{}`, `{"id":"a"}`, `{"id":"ab","n":0}`, `{"id":"ab","more":1}`, `[]`}},
		"open":   {[]string{`{"id":"ab","more":1}`}, []string{`{"more":1}`}},
		"both":   {[]string{`{"id":"ab","n":"x"}`}, []string{`{"id":"ab"}`, `{"n":1}`}},
		"inside": {[]string{`"{\"id\":\"ab\"}"`}, []string{`"{}"`, `"no JSON"`, `{"id":"ab"}`}},
	} {
		for _, v := range values.good {
			if err := c.json(c.doc[schema], []byte(v)); err != nil {
				t.Errorf("%s: %s: %v", schema, v, err)
			}
		}
		for _, v := range values.bad {
			if c.json(c.doc[schema], []byte(v)) == nil {
				t.Errorf("%s takes %s", schema, v)
			}
		}
	}
	if c.json(nil, []byte(`1`)) == nil || c.json(c.doc["one"], []byte(`7 7`)) == nil {
		t.Error("no schema, or two values, pass")
	}
}
