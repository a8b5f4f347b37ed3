// Package jsonfile owns the reading of the JSON files that operators write: a list of objects, with the line of all that
// is wrong. Enter with Read and Object.Decode. It refuses what encoding/json lets pass: an unknown member, a member that
// stands twice or in other case, null where a value belongs, bytes that are no UTF-8, text behind the end.
package jsonfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Limit is the most a file may hold, in bytes.
const Limit = 32 << 20

// Problem is one thing that is wrong, said so that it can be mended.
type Problem struct {
	Line    int    // from 1
	Subject string // what the object is about, e.g. `client "portal"`; "" if unknown
	Path    string // of the member, e.g. "jwks.keys[0]"; "" for the object itself
	Text    string
}

func (p Problem) Error() string {
	s := fmt.Sprintf("line %d", p.Line)
	if p.Subject != "" {
		s += ", " + p.Subject
	}
	if p.Path != "" {
		s += ", " + p.Path
	}
	return s + ": " + p.Text
}

// most problems are told at once.
const most = 30

// Join makes one error of problems, a line each; nil for none.
func Join(ps []Problem) error {
	if len(ps) == 0 {
		return nil
	}
	var errs []error
	for i, p := range ps {
		if i == most {
			errs = append(errs, fmt.Errorf("and %d more", len(ps)-most))
			break
		}
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

// Object is one object of a file.
type Object struct {
	Line    int
	members []member
}

type member struct {
	name  string
	value json.RawMessage
	line  int
}

// Read reads a JSON array of objects. what names an entry in errors, e.g. "client".
func Read(r io.Reader, what string) ([]Object, error) {
	data, err := io.ReadAll(io.LimitReader(r, Limit+1))
	if err != nil {
		return nil, err
	}
	if len(data) > Limit {
		return nil, fmt.Errorf("the file is larger than %d MiB; split it", Limit>>20)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // of editors that mean well
	if !utf8.Valid(data) {
		return nil, Problem{Line: badUTF8(data), Text: "not UTF-8; save the file as UTF-8"}
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		return nil, syntax(data, err)
	}
	f := file{data: data}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, Problem{Line: 1, Text: fmt.Sprintf("the file must be a list: [ {…}, … ], one object for each %s", what)}
	}
	var out []Object
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, syntax(data, err)
		}
		o, err := f.object(raw, int(dec.InputOffset())-len(raw))
		if err != nil {
			if p, ok := errors.AsType[Problem](err); ok && p.Path == "" && p.Text == notObject {
				p.Text = fmt.Sprintf("each %s must be an object: {…}", what)
				err = p
			}
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

const notObject = "must be an object: {…}"

// file counts lines: offsets are asked in ascending order.
type file struct {
	data       []byte
	at, passed int
}

func (f *file) line(offset int) int {
	if offset < f.at {
		f.at, f.passed = 0, 0
	}
	f.passed += bytes.Count(f.data[f.at:offset], []byte{'\n'})
	f.at = offset
	return f.passed + 1
}

// object splits raw, which stands at offset base of the file, into its members.
func (f *file) object(raw []byte, base int) (Object, error) {
	o := Object{Line: f.line(base)}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return o, Problem{Line: o.Line, Text: notObject}
	}
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return o, syntax(raw, err)
		}
		name, _ := t.(string)
		line := f.line(base + int(dec.InputOffset()) - 1)
		if seen[name] {
			return o, Problem{Line: line, Path: clip(name), Text: "stands twice in the same object"}
		}
		seen[name] = true
		m := member{name: name, line: line}
		if err := dec.Decode(&m.value); err != nil {
			return o, syntax(raw, err)
		}
		o.members = append(o.members, m)
	}
	return o, nil
}

// At returns the line of a member, of the object if it has none of that name.
func (o Object) At(name string) int {
	for _, m := range o.members {
		if m.name == name {
			return m.line
		}
	}
	return o.Line
}

// Decode writes the members into the struct that into points to, by their json tags. Fields are strings, bools,
// integers, lists of strings, json.RawMessage, pointers to these (which alone may be null), or structs of the same.
func (o Object) Decode(into any) []Problem {
	return o.decode(reflect.ValueOf(into).Elem(), "")
}

func (o Object) decode(v reflect.Value, prefix string) (ps []Problem) {
	fields := map[string]reflect.Value{}
	var names []string
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = v.Field(i)
			names = append(names, name)
		}
	}
	for _, m := range o.members {
		problem := func(text string) { ps = append(ps, Problem{Line: m.line, Path: prefix + clip(m.name), Text: text}) }
		f, ok := fields[m.name]
		switch {
		case !ok:
			text := "unknown member"
			if near := nearest(m.name, names); near != "" {
				text += fmt.Sprintf("; did you mean %q?", near)
			}
			problem(text)
		case string(m.value) == "null" && f.Kind() != reflect.Pointer:
			problem("must not be null; leave it out for the default")
		case f.Kind() == reflect.Struct:
			// Lines inside are counted from the member's own.
			inner := file{data: m.value}
			sub, err := inner.object(m.value, 0)
			if p, ok := errors.AsType[Problem](err); ok {
				ps = append(ps, Problem{Line: m.line + p.Line - 1, Path: strings.TrimSuffix(prefix+m.name+"."+p.Path, "."), Text: p.Text})
				continue
			} else if err != nil {
				problem(err.Error())
				continue
			}
			for _, p := range sub.decode(f, prefix+m.name+".") {
				p.Line += m.line - 1
				ps = append(ps, p)
			}
		default:
			if err := json.Unmarshal(m.value, f.Addr().Interface()); err != nil {
				problem("must be " + expected(f.Type()))
			}
		}
	}
	return ps
}

func expected(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return expected(t.Elem()) + " or null"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list of strings"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	}
	return "a " + t.String()
}

// clip keeps a stranger's member name short in an error, and quoted if it could mislead a terminal.
func clip(name string) string {
	if len(name) > 64 {
		name = strings.ToValidUTF8(name[:64], "") + "…"
	}
	for _, r := range name {
		if r < ' ' || r > '~' && r != '…' {
			return fmt.Sprintf("%+q", name)
		}
	}
	return name
}

func syntax(data []byte, err error) error {
	offset := len(data)
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = min(offset, int(e.Offset))
	}
	return Problem{Line: 1 + bytes.Count(data[:offset], []byte{'\n'}), Text: "no valid JSON: " + strings.TrimPrefix(err.Error(), "json: ")}
}

func badUTF8(data []byte) int {
	line := 1
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if r == utf8.RuneError && n == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		data = data[n:]
	}
	return line
}

// nearest returns the known name that a misspelt one most likely means; "" for none.
func nearest(name string, known []string) (best string) {
	if len(name) > 64 {
		return ""
	}
	least := max(2, len(name)/3) + 1
	for _, k := range known {
		if d := distance(strings.ToLower(name), k); d < least {
			best, least = k, d
		}
	}
	if best == "" { // a name without its prefix, as min_acr for kapi_min_acr
		for _, k := range known {
			if strings.HasSuffix(k, "_"+strings.ToLower(name)) {
				return k
			}
		}
	}
	return best
}

// distance of Levenshtein, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
