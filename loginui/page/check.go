package page

import (
	"errors"
	"fmt"
	"html"
	"maps"
	"slices"
	"text/template/parse"
)

// walk calls visit for every node below n, branches not taken included.
func walk(n parse.Node, visit func(parse.Node)) {
	visit(n)
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, c := range n.Nodes {
			walk(c, visit)
		}
	case *parse.ActionNode:
		walk(n.Pipe, visit)
	case *parse.PipeNode:
		if n == nil {
			return
		}
		for _, c := range n.Cmds {
			walk(c, visit)
		}
	case *parse.CommandNode:
		for _, a := range n.Args {
			walk(a, visit)
		}
	case *parse.ChainNode:
		walk(n.Node, visit)
	case *parse.IfNode:
		walkBranch(&n.BranchNode, visit)
	case *parse.RangeNode:
		walkBranch(&n.BranchNode, visit)
	case *parse.WithNode:
		walkBranch(&n.BranchNode, visit)
	case *parse.TemplateNode:
		walk(n.Pipe, visit)
	}
}

func walkBranch(b *parse.BranchNode, visit func(parse.Node)) {
	walk(b.Pipe, visit)
	walk(b.List, visit)
	walk(b.ElseList, visit)
}

// checkWords looks at every call in every template, whether a sample would reach it or not.
func (b *builder) checkWords() error {
	var errs []error
	check := func(name string, trees map[string]*parse.Tree) {
		for _, def := range slices.Sorted(maps.Keys(trees)) {
			walk(trees[def].Root, func(n parse.Node) {
				c, ok := n.(*parse.CommandNode)
				if !ok {
					return
				}
				if err := b.checkCall(c); err != nil {
					errs = append(errs, fmt.Errorf("%s, %q: %w", name, def, err))
				}
			})
		}
	}
	check("components", b.shared)
	for _, name := range slices.Sorted(maps.Keys(b.files)) {
		check(name, b.files[name])
	}
	return errors.Join(errs...)
}

func (b *builder) checkCall(c *parse.CommandNode) error {
	f, ok := c.Args[0].(*parse.IdentifierNode)
	if !ok {
		return nil
	}
	switch f.Ident {
	case "t":
		key, ok := literal(c, 1)
		if !ok {
			return fmt.Errorf("%s: the key of t is written out; tk takes a computed one", c)
		}
		return b.checkKey(key, pairNames(c, 2))
	case "asset":
		name, ok := literal(c, 1)
		if !ok || b.assets.path(name) == "" {
			return fmt.Errorf("%s: no such asset", c)
		}
	case "field":
		return b.checkField(c)
	}
	return nil
}

func (b *builder) checkKey(key string, given []string) error {
	if !b.Catalogue.Has(key) {
		return fmt.Errorf("the catalogue has no key %q", key)
	}
	want := b.Catalogue.Placeholders(key)
	slices.Sort(given)
	if !slices.Equal(want, given) {
		return fmt.Errorf("%q wants %v and gets %v", key, want, given)
	}
	return nil
}

func (b *builder) checkField(c *parse.CommandNode) error {
	labelled := false
	for i := 3; i+1 < len(c.Args); i += 2 {
		name, ok := literal(c, i)
		if !ok || !fieldOptions[name] {
			return fmt.Errorf("%s: a field has no %s", c, c.Args[i])
		}
		if name != "label" && name != "hint" {
			continue
		}
		labelled = labelled || name == "label"
		key, ok := literal(c, i+1)
		if !ok {
			return fmt.Errorf("%s: the key of the %s is written out", c, name)
		}
		if err := b.checkKey(key, nil); err != nil {
			return err
		}
	}
	if !labelled {
		return fmt.Errorf("%s: a field needs a label", c)
	}
	return nil
}

func literal(c *parse.CommandNode, i int) (string, bool) {
	if i >= len(c.Args) {
		return "", false
	}
	s, ok := c.Args[i].(*parse.StringNode)
	if !ok {
		return "", false
	}
	return s.Text, true
}

func pairNames(c *parse.CommandNode, from int) (names []string) {
	for i := from; i < len(c.Args); i += 2 {
		if s, ok := literal(c, i); ok {
			names = append(names, s)
		}
	}
	return names
}

// fold puts the sentences that need no argument, the addresses of assets and the components that say the same each time
// (icons, buttons) into the text of a template once and for all: no request looks them up and escapes them again, and the
// start has far less to check for safety. They are ours, so they may stand in the text; escaped as they are they suit
// element content and quoted attributes, the only places where words stand.
func (b *builder) fold(lang string, n *parse.ListNode, own map[string]*parse.Tree, depth int) {
	walk(n, func(n parse.Node) {
		l, ok := n.(*parse.ListNode)
		if !ok || l == nil {
			return
		}
		for i, c := range l.Nodes {
			text, ok := b.constant(lang, c)
			if call, is := c.(*parse.TemplateNode); is {
				text, ok = b.same(lang, call.Name, own, depth)
			}
			if ok {
				l.Nodes[i] = &parse.TextNode{NodeType: parse.NodeText, Pos: c.Position(), Text: text}
			}
		}
	})
}

// mostDepth of components within components that are looked into; one that calls itself ends there.
const mostDepth = 5

// same is the text of the template that is called by name, if it is nothing but text once it is folded.
func (b *builder) same(lang, name string, own map[string]*parse.Tree, depth int) (text []byte, ok bool) {
	t := b.called(own, name)
	if t == nil || depth >= mostDepth {
		return nil, false
	}
	root := t.Root.CopyList()
	b.fold(lang, root, own, depth+1)
	for _, n := range root.Nodes {
		c, is := n.(*parse.TextNode)
		if !is {
			return nil, false
		}
		text = append(text, c.Text...)
	}
	return text, true
}

// constant is what {{t "key"}} and {{asset "name"}} say.
func (b *builder) constant(lang string, n parse.Node) ([]byte, bool) {
	a, ok := n.(*parse.ActionNode)
	if !ok || len(a.Pipe.Decl) > 0 || len(a.Pipe.Cmds) != 1 || len(a.Pipe.Cmds[0].Args) != 2 {
		return nil, false
	}
	f, ok := a.Pipe.Cmds[0].Args[0].(*parse.IdentifierNode)
	name, isText := literal(a.Pipe.Cmds[0], 1)
	switch {
	case !ok || !isText:
		return nil, false
	case f.Ident == "t":
		return []byte(html.EscapeString(b.Catalogue.Text(lang, name, nil))), true
	case f.Ident == "asset":
		return []byte(html.EscapeString(b.assets.path(name))), true
	}
	return nil, false
}
