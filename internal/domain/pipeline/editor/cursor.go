package editor

import (
	"slices"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// crumb is one step of the way from the root to a place: a pair of a mapping,
// or an entry of a list.
type crumb struct {
	in   *syntax.Node
	pair *syntax.Pair // nil for an entry
}

// cursor is a place of a document in the words of the language.
type cursor struct {
	way   []crumb
	onKey bool
}

// last is the pair the cursor is at, or nil.
func (c cursor) last() *syntax.Pair {
	if len(c.way) == 0 {
		return nil
	}
	return c.way[len(c.way)-1].pair
}

// find returns the way to the key or value at a place.
func (d *Document) find(at Place) (cursor, bool) {
	if d.root == nil {
		return cursor{}, false
	}
	return d.descend(d.root, at, nil)
}

func (d *Document) descend(n *syntax.Node, at Place, way []crumb) (cursor, bool) {
	for _, item := range n.Items {
		if c, ok := d.descend(item, at, append(way, crumb{in: n})); ok {
			return c, true
		}
	}
	for i := range n.Pairs {
		p := &n.Pairs[i]
		here := append(slices.Clone(way), crumb{in: n, pair: p})
		if within(p.Key, at) {
			return cursor{way: here, onKey: true}, true
		}
		if c, ok := d.descend(p.Value, at, here); ok {
			return c, true
		}
	}
	if n.Kind == syntax.Scalar && len(way) > 0 && (within(n, at) || n.Block && d.inBlock(n, way, at)) {
		return cursor{way: way}, true
	}
	return cursor{}, false
}

func within(n *syntax.Node, at Place) bool {
	return n.Line == at.Line && at.Column >= n.Column && at.Column <= n.Column+syntax.Width(n)
}

// inBlock reports whether a place is in the text of a block scalar.
func (d *Document) inBlock(n *syntax.Node, way []crumb, at Place) bool {
	p := way[len(way)-1].pair
	if p == nil || at.Line < n.Line {
		return false
	}
	return at.Line <= 1+blockEnd(d.file.Lines, n.Line-1, p.Key.Column)
}

// directive reports whether a key is `${{ … }}`.
func directive(key string) bool { return strings.HasPrefix(strings.TrimSpace(key), "${{") }

// meaning is what the language's table says about a cursor.
type meaning struct {
	mapping *grammar.Mapping // of the last pair
	key     *grammar.Key     // nil when the mapping has no such key
	value   grammar.Type     // of what stands at the end of the way
}

// meaning walks the language's table along the way.
func (c cursor) meaning() meaning {
	m := meaning{value: grammar.In(grammar.Pipeline)}
	spliced := false // a directive's list stands for the list around it
	var around []string
	for _, step := range c.way {
		if step.pair == nil {
			if entry := m.value.Entry(); entry != nil {
				m.value = *entry
			} else if !spliced {
				m.value = grammar.Is(grammar.Any)
			}
			m.mapping, m.key, around = nil, nil, nil
			continue
		}
		if spliced = directive(step.pair.Key.Text); spliced {
			m.mapping, m.key = nil, nil
			around = append(around, keysOf(step.in)...)
			continue
		}
		m.enter(step.pair.Key.Text, append(around, keysOf(step.in)...))
		around = nil
	}
	return m
}

func (m *meaning) enter(name string, siblings []string) {
	mappings := m.value.Mappings()
	m.mapping, m.key = grammar.Pick(mappings, siblings), nil
	if m.mapping != nil {
		if k, ok := m.mapping.Key(name); ok {
			m.key, m.value = &k, k.Type
			return
		}
	}
	if v := m.value.Value(); v != nil {
		m.mapping = nil
		m.value = *v
		return
	}
	m.value = grammar.Is(grammar.Any)
}

// keysOf lists the keys of a mapping, those under directives included.
func keysOf(n *syntax.Node) []string {
	var out []string
	for _, p := range n.Pairs {
		if directive(p.Key.Text) && p.Value.Kind == syntax.Mapping {
			out = append(out, keysOf(p.Value)...)
			continue
		}
		out = append(out, p.Key.Text)
	}
	return out
}

// loops lists the loop variables that a cursor sees, the innermost first.
func (c cursor) loops() []string {
	var out []string
	for i := len(c.way) - 1; i >= 0; i-- {
		p := c.way[i].pair
		if p == nil || !directive(p.Key.Text) {
			continue
		}
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(p.Key.Text), "${{"))
		if len(fields) > 2 && fields[0] == "each" && fields[2] == "in" {
			out = append(out, fields[1])
		}
	}
	return out
}

// taskOf is the task that the step around a cursor names, and its inputs.
func (c cursor) taskOf() (ref string, inputs *syntax.Node) {
	for i := len(c.way) - 1; i >= 0; i-- {
		if task := c.way[i].in.Get("task"); task != nil {
			return task.Text, c.way[i].in.Get("inputs")
		}
	}
	return "", nil
}

// input is the pair at the cursor when it is an input of a task.
func (c cursor) input() *syntax.Pair {
	for i := len(c.way) - 2; i >= 0; i-- {
		p := c.way[i].pair
		switch {
		case p == nil:
			return nil
		case strings.EqualFold(p.Key.Text, "inputs"):
			return c.last()
		case !directive(p.Key.Text):
			return nil
		}
	}
	return nil
}
