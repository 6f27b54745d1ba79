package template

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

var extendsShape = grammar.ExtendsFile.Shape()

// extend replaces the `extends` of an expanded root by the body of its
// template, which may extend another one.
func (x *Expander) extend(root *syntax.Node, s *scope) *syntax.Node {
	for {
		call := root.Get("extends")
		if call == nil || x.halted {
			return root
		}
		root = without(root, "extends")
		if call.Bad {
			root.Bad = true
			return root
		}
		if call.Kind != syntax.Mapping || call.Get("template") == nil {
			x.report.Error(call, "expected-mapping", "extends names a template").Want("template, parameters").Got("%s", syntax.Describe(call))
			root.Bad = true
			return root
		}
		f, inner := x.call(call, s)
		if f == nil {
			root.Bad = true
			return root
		}
		syntax.ReadFields(x.report, f.Root, extendsShape)
		body := x.mapping(f.Root, slotRoot, inner)
		root = x.combine(root, body)
		s = inner
	}
}

func without(n *syntax.Node, key string) *syntax.Node {
	c := *n
	c.Pairs = nil
	for _, p := range n.Pairs {
		if !strings.EqualFold(p.Key.Text, key) {
			c.Pairs = append(c.Pairs, p)
		}
	}
	return &c
}

// combine adds the template's keys to the root's. Triggers and the run's name
// are the root file's alone; resources add up; everything else is defined once.
func (x *Expander) combine(root, body *syntax.Node) *syntax.Node {
	c := *root
	c.Pairs = append([]syntax.Pair{}, root.Pairs...)
	for _, p := range body.Pairs {
		switch strings.ToLower(p.Key.Text) {
		case "trigger", "pr", "schedules", "name":
			x.report.Warn(p.Key, "ignored-key", "`%s` of an extends template has no effect", p.Key.Text).Try("write it in the root file")
			continue
		case "resources":
			if i := indexOf(c.Pairs, "resources"); i >= 0 {
				c.Pairs[i].Value = mergeLists(c.Pairs[i].Value, p.Value)
				continue
			}
		case "pool", "lockbehavior":
			if indexOf(c.Pairs, p.Key.Text) >= 0 {
				continue
			}
		}
		if indexOf(c.Pairs, p.Key.Text) >= 0 {
			syntax.DuplicateKey(x.report, p.Key)
			continue
		}
		c.Pairs = append(c.Pairs, p)
	}
	return &c
}

func indexOf(pairs []syntax.Pair, key string) int {
	for i, p := range pairs {
		if strings.EqualFold(p.Key.Text, key) {
			return i
		}
	}
	return -1
}

// mergeLists adds the lists of one mapping to the lists of another.
func mergeLists(a, b *syntax.Node) *syntax.Node {
	if a.Kind != syntax.Mapping || b.Kind != syntax.Mapping {
		return a
	}
	c := *a
	c.Pairs = append([]syntax.Pair{}, a.Pairs...)
	for _, p := range b.Pairs {
		if i := indexOf(c.Pairs, p.Key.Text); i >= 0 {
			joined := *c.Pairs[i].Value
			joined.Items = append(append([]*syntax.Node{}, joined.Items...), p.Value.Items...)
			c.Pairs[i].Value = &joined
			continue
		}
		c.Pairs = append(c.Pairs, p)
	}
	return &c
}
