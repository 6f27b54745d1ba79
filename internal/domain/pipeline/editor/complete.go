package editor

import (
	"context"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/catalog"
	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Item is one proposal of what may stand at a place.
type Item struct {
	Label      string
	Kind       string // key, word, task, input, function, parameter, variable, file
	Detail     string
	Doc        string
	Insert     string
	Deprecated bool
}

// Completion are proposals that replace the text of a line from a column.
type Completion struct {
	From  int
	Items []Item
}

// marker stands for the key that is being typed.
const marker = "penstock-is-typing"

// Complete proposes what may stand at a place. It reads the file by its
// indentation, because a file in which somebody types is seldom YAML.
func (p *Project) Complete(ctx context.Context, d *Document, at Place) Completion {
	line := d.Line(at.Line)
	text := before(line, at.Column)
	if s := slotAt(text); s != noSlot {
		return p.completeExpression(ctx, d, at, s)
	}
	trimmed := strings.TrimLeft(text, " ")
	for strings.HasPrefix(trimmed, "- ") {
		trimmed = strings.TrimLeft(trimmed[2:], " ")
	}
	if trimmed == "" || !strings.HasPrefix(trimmed, "#") && !strings.Contains(trimmed, " ") && !strings.Contains(trimmed, ":") {
		return p.completeKey(ctx, d, at, line, trimmed)
	}
	if key, _, ok := splitKey(trimmed + " "); ok {
		out := p.completeValue(ctx, d, at, key)
		for i := range out.Items {
			if strings.HasSuffix(text, ":") {
				out.Items[i].Insert = " " + out.Items[i].Insert
			}
		}
		return out
	}
	return Completion{}
}

// typing reads the document with one line replaced.
func (d *Document) typing(line int, text string) *Document {
	lines := slices.Clone(d.file.Lines)
	lines[line-1] = text
	f := &syntax.File{Repository: d.Repository, Path: d.Path, Lines: lines}
	return &Document{Repository: d.Repository, Path: d.Path, file: f, root: outline(f)}
}

func (p *Project) completeKey(ctx context.Context, d *Document, at Place, line, word string) Completion {
	if at.Line > len(d.file.Lines) {
		return Completion{}
	}
	from := at.Column - len([]rune(word))
	open := d.typing(at.Line, before(line, from)+marker+":")
	c, ok := open.find(Place{at.Line, from})
	if !ok || c.last() == nil || c.last().Key.Text != marker {
		return Completion{} // in the text of a script, for example
	}
	around := c.last()
	c.way = c.way[:len(c.way)-1]
	in := openMapping(open, around)
	siblings := keysOf(in)
	for i := len(c.way) - 1; i >= 0 && c.way[i].pair != nil && directive(c.way[i].pair.Key.Text); i-- {
		siblings = append(siblings, keysOf(c.way[i].in)...)
	}
	siblings = slices.DeleteFunc(siblings, func(k string) bool { return k == marker })
	out := Completion{From: from}
	if pair := c.last(); pair != nil && strings.EqualFold(pair.Key.Text, "inputs") {
		out.Items = inputItems(c, siblings)
		return out
	}
	if pair := c.last(); pair != nil && strings.EqualFold(pair.Key.Text, "parameters") && len(c.way) > 1 {
		if ref := c.way[len(c.way)-1].in.Get("template"); ref != nil {
			out.Items = p.argumentItems(ctx, d, ref.Text, siblings)
			return out
		}
	}
	out.Items = keyItems(c.meaning().value.Mappings(), siblings)
	return out
}

// openMapping is the mapping that holds a pair.
func openMapping(d *Document, pair *syntax.Pair) *syntax.Node {
	var found *syntax.Node
	walk(d.root, func(n *syntax.Node) {
		for i := range n.Pairs {
			if &n.Pairs[i] == pair {
				found = n
			}
		}
	})
	return found
}

// keyItems proposes keys: those that begin an entry, or those that the entry
// does not have yet.
func keyItems(mappings []*grammar.Mapping, siblings []string) []Item {
	var out []Item
	if len(siblings) == 0 && len(mappings) > 1 {
		for _, m := range mappings {
			if m.First == "" {
				out = append(out, keyItems([]*grammar.Mapping{m}, nil)...)
			} else if k, ok := m.Key(m.First); ok && !k.Unread {
				out = append(out, keyItem(m, k))
			}
		}
		return out
	}
	m := grammar.Pick(mappings, siblings)
	if m == nil {
		return nil
	}
	has := func(name string) bool {
		return slices.ContainsFunc(siblings, func(s string) bool { return strings.EqualFold(s, name) })
	}
	taken := map[string]bool{}
	for _, k := range m.Keys {
		taken[k.Group] = taken[k.Group] || k.Group != "" && has(k.Name)
	}
	for _, k := range m.Keys {
		if !has(k.Name) && !k.Unread && !k.Old && !taken[k.Group] {
			out = append(out, keyItem(m, k))
		}
	}
	return out
}

func keyItem(m *grammar.Mapping, k grammar.Key) Item {
	insert := k.Name + ": "
	if len(k.Type.Scalars()) == 0 {
		insert = k.Name + ":"
	}
	return Item{Label: k.Name, Kind: "key", Detail: k.Type.String(), Doc: keyText(m, k), Insert: insert}
}

func inputItems(c cursor, siblings []string) []Item {
	ref, _ := c.taskOf()
	name, version, _ := strings.Cut(ref, "@")
	t, ok := catalog.Lookup(name, version)
	if !ok {
		return nil
	}
	written := map[*catalog.Input]bool{}
	for _, s := range siblings {
		if in, ok := t.Input(s); ok {
			written[in] = true
		}
	}
	var out []Item
	for i := range t.Inputs {
		in := &t.Inputs[i]
		if written[in] {
			continue
		}
		detail := in.Type
		if in.Required {
			detail += ", required"
		}
		out = append(out, Item{Label: in.Name, Kind: "input", Detail: detail, Doc: inputLine(in), Insert: in.Name + ": "})
	}
	return out
}

func (p *Project) argumentItems(ctx context.Context, d *Document, ref string, siblings []string) []Item {
	t := p.template(ctx, d, ref)
	if t == nil {
		return nil
	}
	var out []Item
	for _, decl := range t.parameters() {
		if !slices.ContainsFunc(siblings, func(s string) bool { return strings.EqualFold(s, decl.name.Text) }) {
			out = append(out, Item{Label: decl.name.Text, Kind: "parameter", Detail: decl.kind, Insert: decl.name.Text + ": "})
		}
	}
	return out
}
