package editor

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Definition finds where the name at a place comes from: the file of a
// template, a parameter's declaration, a variable.
func (p *Project) Definition(ctx context.Context, d *Document, at Place) []Span {
	if owner, name, ok := p.parameterAt(ctx, d, at); ok {
		decl, _ := owner.parameter(name)
		return []Span{owner.span(decl.name)}
	}
	line := d.Line(at.Line)
	variable := ""
	switch slotAt(before(line, at.Column)) {
	case macroSlot:
		variable, _ = typedWhole(line, at.Column)
	case templateSlot, runSlot:
		if name, _, _ := referenceAt(line, at.Column); strings.EqualFold(part(name, 0), "variables") {
			variable = part(name, 1)
		}
	case noSlot:
		if c, ok := d.find(at); ok && c.last() != nil && !c.onKey && strings.EqualFold(c.last().Key.Text, "template") {
			if t := p.template(ctx, d, c.last().Value.Text); t != nil {
				return []Span{{Repository: t.Repository, Path: t.Path, Place: Place{1, 1}}}
			}
		}
	}
	if variable == "" {
		return nil
	}
	var out []Span
	for _, doc := range p.family(ctx, d) {
		for _, n := range doc.variables() {
			if strings.EqualFold(n.Text, variable) {
				out = append(out, doc.span(n))
			}
		}
	}
	return out
}

// parameterAt recognises a declared parameter at a place: where it is read,
// declared, or given by a call. owner is the file that declares it.
func (p *Project) parameterAt(ctx context.Context, d *Document, at Place) (owner *Document, name string, ok bool) {
	line := d.Line(at.Line)
	if slotAt(before(line, at.Column)) == templateSlot {
		ref, _, _ := referenceAt(line, at.Column)
		if !strings.EqualFold(part(ref, 0), "parameters") || part(ref, 1) == "" {
			return nil, "", false
		}
		_, ok := d.parameter(part(ref, 1))
		return d, part(ref, 1), ok
	}
	for _, decl := range d.parameters() {
		if within(decl.name, at) {
			return d, decl.name.Text, true
		}
	}
	for _, c := range d.calls() {
		for _, pair := range argumentPairs(c.args) {
			if !within(pair.Key, at) {
				continue
			}
			t := p.template(ctx, d, c.ref.Text)
			if t == nil {
				return nil, "", false
			}
			_, ok := t.parameter(pair.Key.Text)
			return t, pair.Key.Text, ok
		}
	}
	return nil, "", false
}

// Edit replaces a stretch of a file.
type Edit struct {
	Span
	Text string
}

var parameterName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Renames says what at a place can be renamed: its stretch and present name.
func (p *Project) Renames(ctx context.Context, d *Document, at Place) (Span, string, bool) {
	_, name, ok := p.parameterAt(ctx, d, at)
	if !ok {
		return Span{}, "", false
	}
	line := []rune(d.Line(at.Line))
	for from := max(1, at.Column-len(name)); from <= at.Column && from+len(name)-1 <= len(line); from++ {
		if strings.EqualFold(string(line[from-1:from-1+len(name)]), name) {
			return Span{Repository: d.Repository, Path: d.Path, Place: Place{at.Line, from}, Length: len(name)}, name, true
		}
	}
	return Span{}, "", false
}

// Rename changes the name of the parameter at a place: its declaration, where
// its file reads it, and the arguments of every call of that file.
func (p *Project) Rename(ctx context.Context, d *Document, at Place, to string) ([]Edit, error) {
	owner, name, ok := p.parameterAt(ctx, d, at)
	if !ok {
		return nil, fault.New(fault.Invalid, "nothing-to-rename", "only parameters can be renamed").Try("put the cursor on the name of a parameter")
	}
	if !parameterName.MatchString(to) {
		return nil, fault.New(fault.Invalid, "name-form", "%s cannot be the name of a parameter", to).Want("letters, digits and _, beginning with a letter").Got("%s", to)
	}
	if _, taken := owner.parameter(to); taken && !strings.EqualFold(to, name) {
		return nil, fault.New(fault.Conflict, "duplicate-parameter", "%s declares %s already", owner.Name(), to)
	}
	decl, _ := owner.parameter(name)
	edits := []Edit{{Span: owner.inside(decl.name), Text: to}}
	for _, use := range owner.uses(name) {
		edits = append(edits, Edit{Span: use, Text: to})
	}
	for _, caller := range p.callers(ctx, owner) {
		for _, c := range caller.calls() {
			repository, file, ok := target(caller, c.ref.Text)
			if !ok || file != owner.Path || !strings.EqualFold(repository, owner.Repository) {
				continue
			}
			for _, pair := range argumentPairs(c.args) {
				if strings.EqualFold(pair.Key.Text, name) {
					edits = append(edits, Edit{Span: caller.inside(pair.Key), Text: to})
				}
			}
		}
	}
	return edits, nil
}

// inside is the stretch of a scalar without its quotes.
func (d *Document) inside(n *syntax.Node) Span {
	s := d.span(n)
	s.Length = len([]rune(n.Text))
	if n.Quoted {
		s.Column++
	}
	return s
}

// uses finds where the expressions of a document read a parameter.
func (d *Document) uses(name string) []Span {
	read := regexp.MustCompile(`(?i)(?:^|[^A-Za-z0-9_.])parameters(?:\s*\.\s*|\s*\[\s*')(` + regexp.QuoteMeta(name) + `)(?:[^A-Za-z0-9_-]|$)`)
	var out []Span
	open := false
	for i, line := range d.file.Lines {
		var plain string
		if plain, open = expressionsOf(line, open); plain == "" {
			continue
		}
		for at := 0; ; {
			m := read.FindStringSubmatchIndex(plain[at:])
			if m == nil {
				break
			}
			start := len([]rune(plain[:at+m[2]])) + 1
			out = append(out, Span{Repository: d.Repository, Path: d.Path, Place: Place{i + 1, start}, Length: len([]rune(name))})
			at += m[3]
		}
	}
	return out
}

// expressionsOf blanks what is not inside `${{ }}`, and texts in quotes except
// in an index. open says whether an expression goes on from the line before.
func expressionsOf(line string, open bool) (string, bool) {
	out := []byte(line)
	quoted, kept := false, false
	for i := 0; i < len(line); i++ {
		switch {
		case !open && strings.HasPrefix(line[i:], "${{"):
			open = true
			out[i], out[i+1], out[i+2] = ' ', ' ', ' '
			i += 2
			continue
		case open && !quoted && strings.HasPrefix(line[i:], "}}"):
			open = false
		case open && line[i] == '\'':
			quoted = !quoted
			kept = quoted && strings.HasSuffix(strings.TrimRight(line[:i], " "), "[")
			continue
		}
		if (!open || quoted && !kept) && line[i] < 0x80 {
			out[i] = ' '
		}
	}
	return strings.TrimRight(string(out), " "), open
}

// String is the place as messages write it.
func (s Span) String() string { return fmt.Sprintf("%s:%d:%d", s.Path, s.Line, s.Column) }
