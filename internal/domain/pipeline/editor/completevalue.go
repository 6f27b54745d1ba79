package editor

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/catalog"
	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
)

// completeValue proposes values of a key on the same line.
func (p *Project) completeValue(ctx context.Context, d *Document, at Place, key string) Completion {
	line := d.Line(at.Line)
	column := 1 + len([]rune(line)) - len([]rune(strings.TrimLeft(line, " -")))
	c, ok := d.typing(at.Line, line).find(Place{at.Line, column})
	if !ok || c.last() == nil || c.last().Key.Text != key {
		return Completion{}
	}
	_, from := typed(line, at.Column, "@./-_\\")
	out := Completion{From: from}
	if in := c.input(); in != nil {
		out.Items = optionItems(c, key)
		return out
	}
	m := c.meaning()
	if m.key == nil {
		return out
	}
	switch m.key.Type.Kind {
	case grammar.TaskReference:
		out.Items = taskItems()
		return out
	case grammar.TemplatePath:
		out.Items = p.templateItems(d)
		return out
	case grammar.Condition:
		return p.completeExpression(ctx, d, at, runSlot)
	default:
	}
	words := m.key.Words
	for _, kind := range m.key.Type.Scalars() {
		if kind == grammar.Boolean {
			words = append(slices.Clone(words), "true", "false")
		}
	}
	slices.Sort(words[len(m.key.Words):])
	for _, w := range slices.Compact(words) {
		out.Items = append(out.Items, Item{Label: w, Kind: "word", Detail: m.key.Name, Insert: w})
	}
	if strings.EqualFold(key, "dependsOn") {
		out.Items = append(out.Items, siblingNames(c)...)
	}
	return out
}

func optionItems(c cursor, key string) []Item {
	ref, _ := c.taskOf()
	name, version, _ := strings.Cut(ref, "@")
	t, ok := catalog.Lookup(name, version)
	if !ok {
		return nil
	}
	in, ok := t.Input(key)
	if !ok {
		return nil
	}
	options := in.Options
	if in.Type == "boolean" {
		options = []string{"true", "false"}
	}
	var out []Item
	for _, o := range options {
		out = append(out, Item{Label: o, Kind: "word", Detail: in.Name, Insert: o})
	}
	return out
}

func taskItems() []Item {
	var out []Item
	for _, name := range catalog.Names() {
		for _, t := range catalog.Versions(name) {
			detail := strconv.Itoa(len(t.Inputs)) + " inputs"
			out = append(out, Item{Label: t.Ref(), Kind: "task", Detail: detail, Insert: t.Ref(), Deprecated: t.Deprecated})
		}
	}
	return out
}

// templateItems proposes the other files, the near ones first.
func (p *Project) templateItems(d *Document) []Item {
	var out []Item
	for _, other := range p.Files() {
		if other.Path == d.Path && other.Repository == d.Repository {
			continue
		}
		ref := "/" + other.Path
		if other.Repository != d.Repository {
			ref = other.Path + "@" + other.Repository
		} else if rest, ok := strings.CutPrefix(other.Path, strings.TrimPrefix(path.Dir(d.Path)+"/", "./")); ok {
			ref = rest
		}
		out = append(out, Item{Label: ref, Kind: "file", Insert: ref})
	}
	slices.SortFunc(out, func(a, b Item) int {
		return cmp.Or(strings.Count(a.Label, "/")-strings.Count(b.Label, "/"), strings.Compare(a.Label, b.Label))
	})
	return out
}

// siblingNames are the names that a stage or job may depend on.
func siblingNames(c cursor) []Item {
	var out []Item
	for i := len(c.way) - 1; i > 0; i-- {
		if c.way[i].pair != nil {
			continue
		}
		for _, item := range c.way[i].in.Items {
			for _, kind := range []string{"stage", "job", "deployment"} {
				if name := item.Get(kind); name != nil && name.Text != "" && (i+1 >= len(c.way) || item != c.way[i+1].in) {
					out = append(out, Item{Label: name.Text, Kind: "word", Detail: kind, Insert: name.Text})
				}
			}
		}
		return out
	}
	return out
}

// completeExpression proposes what may stand in an expression or macro.
func (p *Project) completeExpression(ctx context.Context, d *Document, at Place, s slot) Completion {
	line := d.Line(at.Line)
	word, from := typed(line, at.Column, ".")
	if s == macroSlot {
		return Completion{From: from, Items: p.variableItems(ctx, d)}
	}
	if i := strings.LastIndexByte(word, '.'); i >= 0 {
		out := Completion{From: from + len([]rune(word[:i+1]))}
		switch strings.ToLower(word[:i]) {
		case "parameters":
			for _, decl := range d.parameters() {
				out.Items = append(out.Items, Item{Label: decl.name.Text, Kind: "parameter", Detail: decl.kind, Insert: decl.name.Text})
			}
		default:
			if strings.EqualFold(part(word, 0), "variables") {
				out.From = from + len("variables.")
				out.Items = p.variableItems(ctx, d)
			}
		}
		return out
	}
	out := Completion{From: from}
	contexts := []string{"parameters", "variables", "resources"}
	if s == runSlot {
		contexts = []string{"variables", "dependencies", "stageDependencies", "pipeline", "resources"}
	} else {
		c, _ := d.typing(at.Line, before(line, from)+marker+":").find(Place{at.Line, from})
		contexts = append(c.loops(), contexts...)
	}
	for _, name := range contexts {
		out.Items = append(out.Items, Item{Label: name, Kind: "variable", Insert: name})
	}
	for _, f := range grammar.Functions {
		if f.Where == grammar.Everywhere || s == runSlot {
			out.Items = append(out.Items, Item{Label: f.Name, Kind: "function", Detail: f.Form, Doc: f.Doc, Insert: f.Name + "("})
		}
	}
	return out
}

func (p *Project) variableItems(ctx context.Context, d *Document) []Item {
	names := map[string]Item{}
	for _, doc := range p.family(ctx, d) {
		for _, n := range doc.variables() {
			names[strings.ToLower(n.Text)] = Item{Label: n.Text, Kind: "variable", Detail: doc.Name(), Insert: n.Text}
		}
	}
	for key, v := range predefined {
		if _, own := names[key]; !own {
			names[key] = Item{Label: v.name, Kind: "variable", Detail: v.doc, Insert: v.name}
		}
	}
	var out []Item
	for _, item := range names {
		out = append(out, item)
	}
	slices.SortFunc(out, func(a, b Item) int { return strings.Compare(a.Label, b.Label) })
	return out
}
