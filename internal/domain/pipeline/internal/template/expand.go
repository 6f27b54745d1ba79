package template

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// value expands a node that stands for one value.
func (x *Expander) value(n *syntax.Node, at slot, s *scope) *syntax.Node {
	if x.halted || n.Bad {
		return bad(n, s.call)
	}
	switch n.Kind {
	case syntax.Sequence:
		c := &syntax.Node{Kind: syntax.Sequence, Pos: n.Pos, Call: s.call}
		x.spend(n, nodeBytes)
		c.Items = x.items(n.Items, at, s)
		return c
	case syntax.Mapping:
		return x.mapping(n, at, s)
	default:
		out := x.scalar(n, s)
		if out.Kind != syntax.Scalar && at != slotAny && at != slotData {
			return x.adopt(out, at, s)
		}
		return out
	}
}

// mapping expands a mapping; stages and jobs have variables of their own.
func (x *Expander) mapping(n *syntax.Node, at slot, s *scope) *syntax.Node {
	if at == slotStage || at == slotJob {
		s = s.withVariables()
	}
	return x.pairs(n, at, s)
}

// pairs expands keys, directives and values of a mapping.
func (x *Expander) pairs(n *syntax.Node, at slot, s *scope) *syntax.Node {
	defer x.report.Enter(level(n, at))()
	x.spend(n, nodeBytes)
	out := &syntax.Node{Kind: syntax.Mapping, Pos: n.Pos, Call: s.call}
	early := x.early(n, at, s)
	b := &builder{x: x, out: out, at: at}
	state := chainNone
	for i, p := range n.Pairs {
		if x.halted {
			return out
		}
		if d, ok := directiveOf(p.Key); ok {
			x.run(p.Key, d, &state, s, func(s *scope) { x.merge(b, p, s) })
			continue
		}
		key := x.scalar(p.Key, s)
		if key.Kind != syntax.Scalar {
			x.report.Error(key, "key-type", "a key is plain text").Got("%s", key.Kind)
			continue
		}
		if at == slotRoot && strings.EqualFold(key.Text, "parameters") {
			continue
		}
		value := early[i]
		if value == nil {
			value = x.value(p.Value, at.child(key.Text), s)
		}
		b.add(syntax.Pair{Key: key, Value: value}, s)
	}
	if b.instead != nil && len(out.Pairs) == 0 {
		return b.instead
	}
	return out
}

// level is the where answer of a stage or job whose name is plain text.
func level(n *syntax.Node, at slot) string {
	for _, key := range []string{"stage", "job", "deployment"} {
		if (key == "stage") != (at == slotStage) || at != slotStage && at != slotJob {
			continue
		}
		if v := n.Get(key); v != nil && v.Kind == syntax.Scalar && v.Text != "" && !strings.Contains(v.Text, "${{") {
			return key + " " + v.Text
		}
	}
	return ""
}

// early expands resources and variables before their siblings, wherever they
// are written, because the siblings may use them.
func (x *Expander) early(n *syntax.Node, at slot, s *scope) map[int]*syntax.Node {
	if at != slotRoot && at != slotStage && at != slotJob {
		return nil
	}
	out := map[int]*syntax.Node{}
	for _, name := range []string{"resources", "variables"} {
		for i, p := range n.Pairs {
			if !strings.EqualFold(p.Key.Text, name) || out[i] != nil {
				continue
			}
			out[i] = x.value(p.Value, at.child(name), s)
			if name == "resources" && at == slotRoot {
				x.noteResources(out[i], s)
			}
		}
	}
	return out
}

// builder collects the pairs of one mapping and refuses repeated keys.
type builder struct {
	x       *Expander
	out     *syntax.Node
	at      slot
	seen    map[string]bool
	instead *syntax.Node // what directives gave in place of a mapping
}

func (b *builder) add(p syntax.Pair, s *scope) {
	name := p.Key.Text
	if b.at != slotAny && b.at != slotData {
		name = strings.ToLower(name)
	}
	if b.seen == nil {
		b.seen = map[string]bool{}
	}
	if b.seen[name] && !p.Key.Bad {
		syntax.DuplicateKey(b.x.report, p.Key)
		return
	}
	b.seen[name] = true
	b.out.Pairs = append(b.out.Pairs, p)
	if b.at == slotVariables && p.Value.Kind == syntax.Scalar {
		s.vars.set(p.Key.Text, p.Value.Text)
	}
}

// merge puts the value of a directive into the mapping around it.
func (x *Expander) merge(b *builder, p syntax.Pair, s *scope) {
	var body *syntax.Node
	if p.Value.Kind == syntax.Mapping && !p.Value.Bad {
		body = x.pairs(p.Value, b.at, s) // in the scope of the mapping around it
	} else {
		body = x.value(p.Value, b.at, s)
	}
	switch {
	case body.Bad || body.IsEmpty():
	case body.Kind == syntax.Mapping:
		for _, inner := range body.Pairs {
			b.add(inner, s)
		}
	case b.instead == nil:
		b.instead = body
	case b.instead.Kind == syntax.Sequence && body.Kind == syntax.Sequence:
		c := *b.instead
		c.Items = append(append([]*syntax.Node{}, c.Items...), body.Items...)
		b.instead = &c
	default:
		x.report.Error(body, "directive-value", "the value of a directive inside a mapping is a mapping").Got("%s", syntax.Describe(body))
	}
}

// items expands the members of a sequence; directives and lists are spliced in.
func (x *Expander) items(in []*syntax.Node, at slot, s *scope) []*syntax.Node {
	out := []*syntax.Node{}
	state := chainNone
	for _, n := range in {
		if x.halted {
			return out
		}
		if n.Kind == syntax.Mapping && len(n.Pairs) > 0 {
			if _, ok := directiveOf(n.Pairs[0].Key); ok && allDirectives(n) && !mergesMappings(n) {
				out = append(out, x.spliceDirectives(n, at, &state, s)...)
				continue
			}
		}
		if n.Kind == syntax.Scalar {
			out = append(out, x.scalarItem(n, at, s)...)
			continue
		}
		item := x.value(n, at.item(), s)
		if item.Kind == syntax.Mapping && len(item.Pairs) == 0 && allDirectives(n) {
			continue
		}
		out = append(out, x.emit(item, at, s)...)
	}
	return out
}

// mergesMappings recognises an item whose directives make one mapping together:
// {${{ if a }}: {…}, ${{ if b }}: {…}}, or a loop over the pairs of a step that
// writes them one by one.
func mergesMappings(n *syntax.Node) bool {
	if d, _ := directiveOf(n.Pairs[0].Key); d.word == "each" && writesPairs(n.Pairs[0].Value) {
		return true
	}
	if len(n.Pairs) < 2 {
		return false
	}
	for _, p := range n.Pairs {
		if p.Value.Kind != syntax.Mapping || allDirectives(p.Value) {
			return false
		}
	}
	return true
}

// writesPairs reports whether a loop's body has computed keys. With plain keys
// only, every round would write the same ones, so each round is an item then.
func writesPairs(body *syntax.Node) bool {
	if body.Kind != syntax.Mapping {
		return false
	}
	for _, p := range body.Pairs {
		if _, ok := directiveOf(p.Key); ok {
			if writesPairs(p.Value) {
				return true
			}
		} else if strings.Contains(p.Key.Text, "${{") {
			return true
		}
	}
	return false
}

// spliceDirectives expands an item made of directives into the list around it.
func (x *Expander) spliceDirectives(n *syntax.Node, at slot, state *chain, s *scope) []*syntax.Node {
	var out []*syntax.Node
	for _, p := range n.Pairs {
		d, _ := directiveOf(p.Key)
		x.run(p.Key, d, state, s, func(s *scope) {
			switch {
			case p.Value.Kind == syntax.Sequence:
				out = append(out, x.items(p.Value.Items, at, s)...)
			case p.Value.IsEmpty():
			default:
				out = append(out, x.items([]*syntax.Node{p.Value}, at.spliced(), s)...)
			}
		})
	}
	return out
}

// spliced keeps the slot, except that a list given to `insert` or under a
// directive is always flattened.
func (s slot) spliced() slot {
	if s == slotData {
		return slotAny
	}
	return s
}

func (x *Expander) scalarItem(n *syntax.Node, at slot, s *scope) []*syntax.Node {
	v := x.scalar(n, s)
	switch {
	case v.Kind == syntax.Sequence && at != slotData:
		var out []*syntax.Node
		for _, item := range v.Items {
			out = append(out, x.emit(x.adopt(item, at.item(), s), at, s)...)
		}
		return out
	case v.Kind == syntax.Scalar && v.Text == "" && n.Text != "" && at.calls() && !v.Bad:
		return nil
	case v.Kind == syntax.Mapping:
		return x.emit(x.adopt(v, at.item(), s), at, s)
	}
	return []*syntax.Node{v}
}

// emit finishes one member of a list: a template call is replaced by what it
// gives, and a variable becomes visible to what follows.
func (x *Expander) emit(item *syntax.Node, at slot, s *scope) []*syntax.Node {
	if !at.calls() || item.Kind != syntax.Mapping {
		return []*syntax.Node{item}
	}
	if ref := item.Get("template"); ref != nil {
		if s.early && x.unknownYet(ref) {
			return []*syntax.Node{item}
		}
		return x.include(item, at, s)
	}
	if at == slotVariables {
		defineVariable(item, s)
	}
	return []*syntax.Node{item}
}

func defineVariable(item *syntax.Node, s *scope) {
	name, value := item.Get("name"), item.Get("value")
	if name == nil || name.Kind != syntax.Scalar {
		return
	}
	text := ""
	if value != nil && value.Kind == syntax.Scalar {
		text = value.Text
	}
	s.vars.set(name.Text, text)
}

// adopt takes over a part of the tree that is expanded already, such as a list
// of steps given as an argument, and replaces the template calls in it.
func (x *Expander) adopt(n *syntax.Node, at slot, s *scope) *syntax.Node {
	if x.halted || n.Bad || at == slotAny || at == slotData || n.Kind == syntax.Scalar {
		return n
	}
	x.spend(n, 0)
	c := *n
	if n.Kind == syntax.Sequence {
		c.Items = nil
		for _, item := range n.Items {
			c.Items = append(c.Items, x.emit(x.adopt(item, at.item(), s), at, s)...)
		}
		return &c
	}
	c.Pairs = make([]syntax.Pair, len(n.Pairs))
	inner := s
	if at == slotStage || at == slotJob {
		inner = s.withVariables()
	}
	for i, p := range n.Pairs {
		c.Pairs[i] = syntax.Pair{Key: p.Key, Value: x.adopt(p.Value, at.child(p.Key.Text), inner)}
		if at == slotVariables && p.Value.Kind == syntax.Scalar {
			s.vars.set(p.Key.Text, p.Value.Text)
		}
	}
	return &c
}
