package editor

import (
	"context"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
	"penstock.dev/penstock/internal/domain/pipeline/internal/template"
)

// seen is one value that a name had when the compiler expanded a pipeline.
type seen struct {
	text string
	call *syntax.Call
}

// values computes what a name stands for at a place: every time the compiler
// comes by, with what it knows there.
func (p *Project) values(ctx context.Context, d *Document, at Place, name string) []seen {
	node, err := expression.Parse(name)
	if err != nil {
		return nil
	}
	var out []seen
	known := map[string]bool{}
	for _, in := range p.Roots(d) {
		_, _ = template.Expand(ctx, in.File, template.Options{
			Read: p.Source.ReadFile, Report: &syntax.Report{}, Variables: in.Variables, Values: in.Parameters,
			Observe: func(o template.Observation) {
				if len(out) >= mostValues || !d.is(o.Node.File) || o.Start.Line != at.Line || !covers(o, at.Column) {
					return
				}
				v, err := node.Eval(o.Env)
				if err != nil {
					return
				}
				text := shown(v)
				if !known[text] {
					known[text] = true
					out = append(out, seen{text: text, call: o.Call})
				}
			},
		})
	}
	return out
}

// mostValues is how many different values are shown.
const mostValues = 5

func (d *Document) is(f *syntax.File) bool {
	return f != nil && f.Path == d.Path && strings.EqualFold(f.Repository, d.Repository)
}

func covers(o template.Observation, column int) bool {
	return column >= o.Start.Column && column <= o.Start.Column+len([]rune(o.Text))
}

func shown(v expression.Value) string {
	if text, ok := expression.ToString(v); ok {
		if _, isText := v.(string); isText || v == nil {
			return "'" + text + "'"
		}
		return text
	}
	text, ok := expression.JSON(v)
	if !ok {
		return expression.TypeName(v)
	}
	if len(text) > 400 {
		text = text[:400] + "…"
	}
	return text
}

// argument is where a call gives a parameter its value.
func (p *Project) argument(ctx context.Context, c *syntax.Call, name string) (Span, bool) {
	if c == nil || c.File == nil {
		return Span{}, false
	}
	caller := p.open(ctx, c.File.Repository, c.File.Path)
	if caller == nil {
		return Span{}, false
	}
	var found *syntax.Node
	walk(caller.root, func(n *syntax.Node) {
		if n.Line == c.Line && n.Column == c.Column && n.Get("template") != nil {
			for _, pair := range argumentPairs(n.Get("parameters")) {
				if strings.EqualFold(pair.Key.Text, name) {
					found = pair.Key
				}
			}
		}
	})
	if found == nil {
		return Span{}, false
	}
	return caller.span(found), true
}

// argumentPairs lists the arguments of a call, those under directives included.
func argumentPairs(n *syntax.Node) []syntax.Pair {
	if n == nil {
		return nil
	}
	var out []syntax.Pair
	for _, p := range n.Pairs {
		if directive(p.Key.Text) {
			out = append(out, argumentPairs(p.Value)...)
		} else {
			out = append(out, p)
		}
	}
	return out
}
