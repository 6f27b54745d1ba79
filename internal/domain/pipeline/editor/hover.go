package editor

import (
	"context"
	"fmt"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/catalog"
	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Hover is what there is to say about a place, as Markdown; "" is nothing.
func (p *Project) Hover(ctx context.Context, d *Document, at Place) string {
	line := d.Line(at.Line)
	c, found := d.find(at)
	switch slotAt(before(line, at.Column)) {
	case macroSlot:
		name, _ := typedWhole(line, at.Column)
		return p.variableText(ctx, d, name)
	case templateSlot, runSlot:
		return p.hoverName(ctx, d, at, line)
	case noSlot:
	}
	if !found {
		return ""
	}
	m := c.meaning()
	if m.key != nil && m.key.Type.Kind == grammar.Condition && !c.onKey {
		return p.hoverName(ctx, d, at, line)
	}
	if in := c.input(); in != nil {
		return hoverInput(c, in)
	}
	if c.onKey && m.key != nil {
		return keyText(m.mapping, *m.key)
	}
	if pair := c.last(); pair != nil && !c.onKey && m.key != nil {
		switch m.key.Type.Kind {
		case grammar.TaskReference:
			return taskText(pair.Value.Text)
		case grammar.TemplatePath:
			return p.templateText(ctx, d, pair.Value.Text)
		default:
			return keyText(m.mapping, *m.key)
		}
	}
	return ""
}

func keyText(m *grammar.Mapping, k grammar.Key) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s** of %s: %s\n\n%s", k.Name, m.Noun, k.Type, k.Doc)
	if len(k.Words) > 0 {
		fmt.Fprintf(&b, "\n\n`%s`", strings.Join(k.Words, "` `"))
	}
	if k.Note != "" {
		fmt.Fprintf(&b, "\n\n*%s*: %s", k.State, k.Note)
	}
	return b.String()
}

func taskText(ref string) string {
	name, version, _ := strings.Cut(ref, "@")
	t, ok := catalog.Lookup(name, version)
	if !ok {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**", t.Ref())
	if t.Deprecated {
		b.WriteString(" (deprecated)")
	}
	for i := range t.Inputs {
		b.WriteString("\n- " + inputLine(&t.Inputs[i]))
	}
	return b.String()
}

func inputLine(in *catalog.Input) string {
	text := "`" + in.Name + "` " + in.Type
	if in.Required {
		text += ", required"
	}
	if in.Default != "" {
		text += ", default `" + in.Default + "`"
	}
	return text
}

func hoverInput(c cursor, pair *syntax.Pair) string {
	ref, _ := c.taskOf()
	name, version, _ := strings.Cut(ref, "@")
	t, ok := catalog.Lookup(name, version)
	if !ok {
		return ""
	}
	in, ok := t.Input(pair.Key.Text)
	if !ok {
		return ""
	}
	text := inputLine(in) + " of " + t.Ref()
	if len(in.Aliases) > 0 {
		text += "\n\nalso `" + strings.Join(in.Aliases, "` `") + "`"
	}
	if len(in.Options) > 0 {
		text += "\n\n`" + strings.Join(in.Options, "` `") + "`"
	}
	if len(in.Visible) > 0 {
		text += "\n\ncounts when " + strings.Join(in.Visible, " and ")
	}
	return text
}

func (p *Project) templateText(ctx context.Context, d *Document, ref string) string {
	t := p.template(ctx, d, ref)
	if t == nil {
		return ""
	}
	text := "template " + t.Name()
	for _, decl := range t.parameters() {
		text += "\n- `" + decl.name.Text + "` " + decl.kind
		if v := decl.node.Get("default"); v == nil && decl.node != nil {
			text += ", required"
		} else if v != nil && v.Kind == syntax.Scalar {
			text += ", default `" + v.Text + "`"
		}
	}
	return text
}

// template opens the file that a reference in a document names.
func (p *Project) template(ctx context.Context, d *Document, ref string) *Document {
	repository, name, ok := target(d, ref)
	if !ok {
		return nil
	}
	return p.open(ctx, repository, name)
}

// hoverName explains a name inside an expression.
func (p *Project) hoverName(ctx context.Context, d *Document, at Place, line string) string {
	name, _, function := referenceAt(line, at.Column)
	if name == "" {
		return ""
	}
	if f, ok := grammar.FunctionNamed(name); ok && function {
		return "`" + f.Form + "`\n\n" + f.Doc
	}
	if context := part(name, 0); strings.EqualFold(context, "variables") && part(name, 1) != "" {
		values := p.values(ctx, d, at, name)
		return valueText(ctx, p, name, "", values) + p.variableText(ctx, d, part(name, 1))
	}
	text := valueText(ctx, p, name, part(name, 1), p.values(ctx, d, at, name))
	if strings.EqualFold(part(name, 0), "parameters") {
		if decl, ok := d.parameter(part(name, 1)); ok {
			text += fmt.Sprintf("parameter of type %s, declared at %s:%d:%d", decl.kind, d.Name(), decl.name.Line, decl.name.Column)
		}
	}
	return text
}

func valueText(ctx context.Context, p *Project, name, parameter string, values []seen) string {
	var b strings.Builder
	for _, v := range values {
		fmt.Fprintf(&b, "`%s` = `%s`", name, v.text)
		if v.call != nil {
			fmt.Fprintf(&b, " in the call at %s:%d:%d", v.call.File.Name(), v.call.Line, v.call.Column)
			if parameter != "" {
				if given, ok := p.argument(ctx, v.call, parameter); ok {
					fmt.Fprintf(&b, ", given at %s:%d:%d", given.Path, given.Line, given.Column)
				} else {
					b.WriteString(", its default")
				}
			}
		}
		b.WriteString("\n\n")
	}
	return b.String()
}

// variableText lists where a variable gets its value.
func (p *Project) variableText(ctx context.Context, d *Document, name string) string {
	var b strings.Builder
	for _, doc := range p.family(ctx, d) {
		for _, n := range doc.variables() {
			if !strings.EqualFold(n.Text, name) {
				continue
			}
			fmt.Fprintf(&b, "variable %s, set at %s:%d:%d\n\n", n.Text, doc.Name(), n.Line, n.Column)
		}
	}
	if text, ok := predefined[strings.ToLower(name)]; ok {
		fmt.Fprintf(&b, "`%s`: %s\n\n", text.name, text.doc)
	}
	return b.String()
}

// typedWhole is the word around a column, with dots.
func typedWhole(line string, column int) (word string, from int) {
	_, from = typed(line, column, ".-")
	runes := []rune(line)
	to := from
	for to <= len(runes) && (runes[to-1] == '.' || runes[to-1] == '_' || runes[to-1] == '-' || isAlphanumeric(runes[to-1])) {
		to++
	}
	return string(runes[from-1 : to-1]), from
}

func isAlphanumeric(c rune) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
