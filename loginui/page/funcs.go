package page

import (
	"fmt"
	"html/template"
	"time"

	"github.com/kapi-id/kapi/internal/words"
)

// builtins lets the parser know the functions every template has.
var builtins = func() map[string]any {
	m := map[string]any{}
	for _, name := range []string{"and", "or", "not", "len", "index", "slice", "print", "printf", "println", "eq", "ne", "lt", "le", "gt", "ge",
		"html", "js", "urlquery", "call"} {
		m[name] = fmt.Sprint // only the names count
	}
	return m
}()

func (p *Pages) funcs(lang string) template.FuncMap {
	say := func(key string, pairs ...any) (string, error) {
		args, err := pairUp(pairs)
		if err != nil {
			return "", fmt.Errorf("%s: %w", key, err)
		}
		for name, v := range args {
			if s, ok := v.(string); ok {
				args[name] = Clean(s, 200) // may be a stranger's words
			}
		}
		return p.Catalogue.Text(lang, key, args), nil
	}
	return template.FuncMap{
		"t":       say,
		"tk":      say,
		"field":   p.field,
		"asset":   func(name string) string { return p.assets.path(name) },
		"date":    func(t time.Time) string { return words.Date(lang, t) },
		"clock":   words.Clock,
		"stamp":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"seconds": func(t time.Time) int { return max(0, int(t.Sub(p.Now()).Round(time.Second)/time.Second)) },
	}
}

func pairUp(pairs []any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("an argument without a name")
	}
	args := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("argument name %v is no text", pairs[i])
		}
		args[name] = pairs[i+1]
	}
	return args, nil
}

// fieldOptions are the pairs that field takes.
var fieldOptions = map[string]bool{"label": true, "hint": true, "type": true, "class": true, "autocomplete": true, "inputmode": true,
	"maxlength": true, "value": true, "reveal": true, "optional": true}

// fieldView is what the "input" component shows.
type fieldView struct {
	Name, Label, Hint, Type, Class, Autocomplete, Inputmode, Maxlength, Value, Reveal, Problem string
	Required                                                                                   bool
}

// field puts a field together from its pairs and from what the failed form knows of it.
func (p *Pages) field(f *Frame, name string, pairs ...any) (fieldView, error) {
	args, err := pairUp(pairs)
	if err != nil {
		return fieldView{}, err
	}
	get := func(option string) string {
		s, _ := args[option].(string)
		return s
	}
	v := fieldView{Name: name, Type: get("type"), Class: get("class"), Autocomplete: get("autocomplete"), Inputmode: get("inputmode"),
		Maxlength: get("maxlength"), Value: get("value"), Reveal: get("reveal"), Problem: f.Problem(name), Required: get("optional") == ""}
	v.Label = p.Catalogue.Text(f.Lang, get("label"), nil)
	if hint := get("hint"); hint != "" {
		v.Hint = p.Catalogue.Text(f.Lang, hint, nil)
	}
	if v.Type == "" {
		v.Type = "text"
	}
	if v.Value == "" && v.Type != "password" {
		v.Value = f.Value(name)
	}
	return v, nil
}
