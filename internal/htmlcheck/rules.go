package htmlcheck

import (
	"fmt"
	"slices"
	"strings"
)

// Rules names everything that no page of ours may have or lack, whatever it is about (WCAG 2.2 AA, strict CSP). An empty
// list is a good page.
func Rules(page string) []string {
	n, err := Parse(page)
	if err != nil {
		return []string{err.Error()}
	}
	var bad []string
	wrong := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	if !strings.HasPrefix(strings.ToLower(page), "<!doctype html>") {
		wrong("no doctype")
	}
	root, _ := n.One("html")
	if !slices.Contains([]string{"tr", "en"}, root.Attr("lang")) || !slices.Contains([]string{"ltr", "rtl"}, root.Attr("dir")) {
		wrong("lang %q, dir %q", root.Attr("lang"), root.Attr("dir"))
	}
	for _, once := range []string{"title", "main", "h1", "[role=status]"} {
		if _, err := n.One(once); err != nil {
			wrong("%v", err)
		}
	}
	title, _ := n.One("title")
	h1, _ := n.One("h1")
	if h1.Text() == "" || !strings.Contains(title.Text(), h1.Text()) {
		wrong("title %q does not say %q", title.Text(), h1.Text())
	}
	if failed := n.Has("[role=alert]"); failed != (strings.HasPrefix(title.Text(), "Hata:") || strings.HasPrefix(title.Text(), "Error:")) {
		wrong("title %q, error summary %v", title.Text(), failed)
	}
	if skip := n.All(".skip"); len(skip) != 1 || skip[0].Attr("href") != "#main" || !n.Has("main#main") {
		wrong("no skip link to the content")
	}
	checkInline(n, wrong)
	checkFields(n, wrong)
	checkReferences(n, wrong)
	return bad
}

// checkInline: nothing that the content security policy would refuse.
func checkInline(n Node, wrong func(string, ...any)) {
	for _, s := range n.All("script") {
		if s.Attr("src") == "" || s.Text() != "" || s.FirstChild != nil {
			wrong("an inline script")
		}
	}
	if n.Has("style") {
		wrong("an inline style sheet")
	}
	for d := range n.Descendants() {
		for _, a := range d.Attr {
			link := a.Key == "href" || a.Key == "src" || a.Key == "action" || a.Key == "formaction"
			switch {
			case a.Key == "style", strings.HasPrefix(a.Key, "on"):
				wrong("an inline %s on %s", a.Key, d.Data)
			case a.Key == "autofocus":
				wrong("autofocus on %s", d.Data)
			case link && strings.Contains(strings.ToLower(a.Val), "script:"), strings.Contains(a.Val, "ZgotmplZ"):
				wrong("%s %q on %s", a.Key, a.Val, d.Data)
			}
		}
	}
}

// checkFields: every field has a label, what is asked of a person has autocomplete, every form a button of its own.
func checkFields(n Node, wrong func(string, ...any)) {
	personal := map[string]string{"national_id": "username", "password": "current-password", "new_password": "new-password", "code": "one-time-code"}
	for _, i := range n.All("input") {
		if i.Attr("type") == "hidden" {
			continue
		}
		name := i.Attr("name")
		if n.Label(i) == "" {
			wrong("field %q has no label", name)
		}
		if want := personal[name]; want != "" && i.Attr("autocomplete") != want {
			wrong("field %q has autocomplete %q, want %q", name, i.Attr("autocomplete"), want)
		}
		if i.Attr("type") == "password" && i.Attr("value") != "" {
			wrong("field %q shows a secret", name)
		}
	}
	for _, f := range n.Forms() {
		if len(f.Fields) == 0 && f.Submit == "" {
			continue // holds the words of a factor that has nothing to ask now
		}
		if f.Method != "post" || f.Submit == "" || f.Action == "" {
			wrong("form to %q: method %q, first button %q", f.Action, f.Method, f.Submit)
		}
	}
	for _, selector := range []string{"button", "a", "li", "h1", "h2", "label"} {
		for _, e := range n.All(selector) {
			if e.Text() == "" && e.Attr("aria-label") == "" && e.Attr("data-shown") == "" {
				wrong("%s without words", selector)
			}
		}
	}
}

// checkReferences: ids are unique, and what points at an id finds it.
func checkReferences(n Node, wrong func(string, ...any)) {
	ids := map[string]int{}
	for _, e := range n.All("[id]") {
		ids[e.Attr("id")]++
	}
	for id, count := range ids {
		if count > 1 {
			wrong("id %q stands %d times", id, count)
		}
	}
	for d := range n.Descendants() {
		for _, a := range d.Attr {
			var targets []string
			switch {
			case a.Key == "aria-describedby", a.Key == "aria-controls", a.Key == "aria-labelledby", a.Key == "for", a.Key == "data-reveals", a.Key == "data-reveal":
				targets = strings.Fields(a.Val)
			case a.Key == "href" && strings.HasPrefix(a.Val, "#"):
				targets = []string{a.Val[1:]}
			}
			for _, t := range targets {
				if ids[t] == 0 {
					wrong("%s=%q leads nowhere", a.Key, a.Val)
				}
			}
		}
	}
}
