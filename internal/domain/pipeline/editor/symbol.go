package editor

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Symbol is a stage, a job or a step, with what is in it.
type Symbol struct {
	Name   string
	Kind   string // stage, job, step, template
	Detail string
	Place
	Length  int
	EndLine int
	Inner   []Symbol
}

// Symbols lists the stages, jobs and steps of a document as they are written.
func (d *Document) Symbols() []Symbol {
	if d.root == nil {
		return nil
	}
	return d.symbols(d.root)
}

func (d *Document) symbols(n *syntax.Node) []Symbol {
	var out []Symbol
	for _, item := range n.Items {
		if s, ok := d.symbol(item); ok {
			out = append(out, s)
		} else {
			out = append(out, d.symbols(item)...)
		}
	}
	for _, p := range n.Pairs {
		if !strings.EqualFold(p.Key.Text, "parameters") && !strings.EqualFold(p.Key.Text, "resources") && !strings.EqualFold(p.Key.Text, "variables") {
			out = append(out, d.symbols(p.Value)...)
		}
	}
	return out
}

// symbol recognises an entry of stages, jobs or steps.
func (d *Document) symbol(n *syntax.Node) (s Symbol, ok bool) {
	kind, first := "", (*syntax.Pair)(nil)
	for i := range n.Pairs {
		if kind = kindOf(n.Pairs[i].Key.Text); kind != "" {
			first = &n.Pairs[i]
			break
		}
	}
	if first == nil {
		return s, false
	}
	s = Symbol{Kind: kind, Name: title(n, first), Detail: first.Key.Text, Place: Place{first.Key.Line, first.Key.Column}}
	s.Length = syntax.Width(first.Key)
	s.EndLine = d.lastLine(n)
	for _, p := range n.Pairs {
		s.Inner = append(s.Inner, d.symbols(p.Value)...)
	}
	return s, true
}

func kindOf(key string) string {
	switch strings.ToLower(key) {
	case "stage", "template":
		return strings.ToLower(key)
	case "job", "deployment":
		return "job"
	}
	for _, m := range grammar.Steps {
		if strings.EqualFold(m.First, key) {
			return "step"
		}
	}
	return ""
}

func title(n *syntax.Node, first *syntax.Pair) string {
	if name := n.Get("displayName"); name != nil && name.Text != "" {
		return name.Text
	}
	text, _, _ := strings.Cut(strings.TrimSpace(first.Value.Text), "\n")
	if text == "" || text == "|" || text == ">" {
		return first.Key.Text
	}
	if runes := []rune(text); len(runes) > 60 {
		text = string(runes[:60]) + "…"
	}
	return text
}

func (d *Document) lastLine(n *syntax.Node) int {
	last := n.Line
	for _, item := range n.Items {
		last = max(last, d.lastLine(item))
	}
	for _, p := range n.Pairs {
		last = max(last, p.Key.Line, d.lastLine(p.Value))
		if p.Value.Block {
			last = max(last, 1+blockEnd(d.file.Lines, p.Value.Line-1, p.Key.Column))
		}
	}
	return last
}
