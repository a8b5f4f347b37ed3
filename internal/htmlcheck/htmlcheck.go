// Package htmlcheck lets tests ask a page what it means instead of what its bytes are: which field has this label, which
// button comes first, where a form leads. Enter with Parse. Selectors are the small part of CSS that tests need: tag,
// #id, .class, [attribute], [attribute=value], alone or after one another, with a space for "somewhere inside". It
// refuses anything else with a panic, since a selector that silently matches nothing would make a test that cannot fail.
//
// For tests only.
package htmlcheck

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// Node is an element of a page, or the whole page.
type Node struct{ *html.Node }

// Parse reads a page the way a browser does.
func Parse(page string) (Node, error) {
	n, err := html.Parse(strings.NewReader(page))
	return Node{n}, err
}

// All returns the elements that match, in document order.
func (n Node) All(selector string) []Node {
	found := []Node{n}
	for _, part := range strings.Fields(selector) {
		match := compile(part)
		var next []Node
		for _, from := range found {
			for d := range from.Descendants() {
				if d.Type == html.ElementNode && match(Node{d}) && !slices.Contains(next, Node{d}) {
					next = append(next, Node{d})
				}
			}
		}
		found = next
	}
	return found
}

// One returns the only element that matches; it is an error if there are none or several.
func (n Node) One(selector string) (Node, error) {
	all := n.All(selector)
	if len(all) != 1 {
		return Node{}, fmt.Errorf("%q matches %d elements, want one", selector, len(all))
	}
	return all[0], nil
}

// Has says whether anything matches.
func (n Node) Has(selector string) bool { return len(n.All(selector)) > 0 }

// Attr returns an attribute, "" if it is missing.
func (n Node) Attr(name string) string {
	v, _ := n.attr(name)
	return v
}

func (n Node) attr(name string) (string, bool) {
	if n.Node == nil {
		return "", false
	}
	for _, a := range n.Node.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

// Text is what a reader reads of the element, with single spaces.
func (n Node) Text() string {
	if n.Node == nil {
		return ""
	}
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && (d.Parent == nil || d.Parent.Data != "script" && d.Parent.Data != "style") {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// Label is the accessible name of a field: its label's words, or aria-label.
func (n Node) Label(field Node) string {
	if l := field.Attr("aria-label"); l != "" {
		return l
	}
	if id := field.Attr("id"); id != "" {
		for _, l := range n.All("label") {
			if l.Attr("for") == id {
				return l.Text()
			}
		}
	}
	for p := field.Parent; p != nil; p = p.Parent {
		if p.Type == html.ElementNode && p.Data == "label" {
			return Node{p}.Text()
		}
	}
	return ""
}

// Form is a form as a browser would send it.
type Form struct {
	Method, Action string
	Fields         map[string]string // names and the values they start with
	Submit         string            // words of the first submit button
}

// Forms lists the forms of a page.
func (n Node) Forms() []Form {
	var out []Form
	for _, f := range n.All("form") {
		form := Form{Method: strings.ToLower(f.Attr("method")), Action: f.Attr("action"), Fields: map[string]string{}}
		for _, i := range f.All("input") {
			form.Fields[i.Attr("name")] = i.Attr("value")
		}
		for _, b := range f.All("button") {
			if t := b.Attr("type"); t == "" || t == "submit" {
				form.Submit = b.Text()
				break
			}
		}
		out = append(out, form)
	}
	return out
}

// Form returns the form that leads to action.
func (n Node) Form(action string) (Form, error) {
	var actions []string
	for _, f := range n.Forms() {
		if f.Action == action {
			return f, nil
		}
		actions = append(actions, f.Action)
	}
	return Form{}, fmt.Errorf("no form leads to %s, only to %v", action, actions)
}

var token = regexp.MustCompile(`^(?:([a-z][a-z0-9]*)|#([A-Za-z0-9_-]+)|\.([A-Za-z0-9_-]+)|\[([a-z-]+)(?:=([^\]]*))?\])`)

// compile reads one compound selector, e.g. input#code[inputmode=numeric].
func compile(part string) func(Node) bool {
	var all []func(Node) bool
	for rest := part; rest != ""; {
		m := token.FindStringSubmatch(rest)
		if m == nil || m[1] != "" && rest != part {
			panic("htmlcheck: cannot read selector " + part)
		}
		all = append(all, test(m, strings.Contains(m[0], "=")))
		rest = rest[len(m[0]):]
	}
	return func(n Node) bool {
		for _, f := range all {
			if !f(n) {
				return false
			}
		}
		return true
	}
}

func test(m []string, valued bool) func(Node) bool {
	switch {
	case m[1] != "":
		return func(n Node) bool { return n.Data == m[1] }
	case m[2] != "":
		return func(n Node) bool { return n.Attr("id") == m[2] }
	case m[3] != "":
		return func(n Node) bool { return slices.Contains(strings.Fields(n.Attr("class")), m[3]) }
	}
	return func(n Node) bool {
		v, ok := n.attr(m[4])
		return ok && (!valued || v == m[5])
	}
}
