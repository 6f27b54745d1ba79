package mask

// A search for many texts at once (Aho and Corasick): one pass over the input,
// whatever the number of texts. Most nodes have one child, so children are
// chained; a node with many gets a table.

// span is a part of a text.
type span struct{ from, to int }

type node struct {
	label   byte
	child   int32 // first child, 0: none
	sibling int32 // next child of the same parent, 0: none
	fail    int32 // node of the longest proper suffix
	table   int32 // index into tables, -1: chained
	length  int32 // of the longest form that ends here, 0: none
	depth   int32
}

type automaton struct {
	nodes  []node // 0 is the root
	tables [][256]int32
}

// chained is how many children a node may have before it gets a table.
const chained = 3

func build(forms map[string]bool) *automaton {
	a := &automaton{nodes: []node{{table: -1}}}
	for f := range forms {
		at := int32(0)
		for i := range len(f) {
			next := a.step(at, f[i])
			if next == 0 {
				next = a.grow(at, f[i])
			}
			at = next
		}
		a.nodes[at].length = int32(len(f))
	}
	a.link()
	return a
}

func (a *automaton) grow(parent int32, label byte) int32 {
	n := int32(len(a.nodes))
	a.nodes = append(a.nodes, node{label: label, sibling: a.nodes[parent].child, table: -1, depth: a.nodes[parent].depth + 1})
	p := &a.nodes[parent]
	p.child = n
	if p.table >= 0 {
		a.tables[p.table][label] = n
		return n
	}
	count := 0
	for c := p.child; c != 0; c = a.nodes[c].sibling {
		count++
	}
	if count > chained || parent == 0 {
		p.table = int32(len(a.tables))
		a.tables = append(a.tables, [256]int32{})
		for c := p.child; c != 0; c = a.nodes[c].sibling {
			a.tables[p.table][a.nodes[c].label] = c
		}
	}
	return n
}

// step returns the child of a node for a byte, 0 if there is none.
func (a *automaton) step(at int32, b byte) int32 {
	n := &a.nodes[at]
	if n.table >= 0 {
		return a.tables[n.table][b]
	}
	for c := n.child; c != 0; c = a.nodes[c].sibling {
		if a.nodes[c].label == b {
			return c
		}
	}
	return 0
}

// link sets, level by level, where a search goes on when a node has no child
// for the next byte.
func (a *automaton) link() {
	queue := []int32{0}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for c := a.nodes[at].child; c != 0; c = a.nodes[c].sibling {
			queue = append(queue, c)
			if at == 0 {
				continue // its suffix is the root
			}
			f := a.nodes[at].fail
			next := a.step(f, a.nodes[c].label)
			for next == 0 && f != 0 {
				f = a.nodes[f].fail
				next = a.step(f, a.nodes[c].label)
			}
			a.nodes[c].fail = next
			a.nodes[c].length = max(a.nodes[c].length, a.nodes[next].length)
		}
	}
}

// scan finds all forms in a text, as spans in order that do not overlap; those
// given are merged with them. open is how many bytes at the end may begin
// another one.
func (a *automaton) scan(text string, spans []span) (found []span, open int) {
	at := int32(0)
	for i := range len(text) {
		b := text[i]
		next := a.step(at, b)
		for next == 0 && at != 0 {
			at = a.nodes[at].fail
			next = a.step(at, b)
		}
		at = next
		if at == 0 {
			continue
		}
		if n := int(a.nodes[at].length); n > 0 {
			s := span{i + 1 - n, i + 1}
			for len(spans) > 0 && spans[len(spans)-1].to > s.from {
				s.from = min(s.from, spans[len(spans)-1].from)
				spans = spans[:len(spans)-1]
			}
			spans = append(spans, s)
		}
	}
	return spans, int(a.nodes[at].depth)
}
