package template

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// object and array make YAML nodes usable in expressions. They hold nothing but
// the node, so two of them are equal when they are the same node.
type object struct{ n *syntax.Node }

type array struct{ n *syntax.Node }

// Get finds a key ignoring case.
func (o object) Get(key string) (expression.Value, bool) {
	if v := o.n.Get(key); v != nil {
		return valueOf(v), true
	}
	return nil, false
}

// Pairs returns the entries in order.
func (o object) Pairs() []expression.Pair {
	out := make([]expression.Pair, len(o.n.Pairs))
	for i, p := range o.n.Pairs {
		out[i] = expression.Pair{Key: p.Key.Text, Value: valueOf(p.Value)}
	}
	return out
}

// Plain reports whether a value is text that was written without quotes.
func (o object) Plain(i int) bool { return plain(o.n.Pairs[i].Value) }

// Plain reports whether an item is text that was written without quotes.
func (a array) Plain(i int) bool { return plain(a.n.Items[i]) }

func plain(n *syntax.Node) bool {
	return n != nil && n.Kind == syntax.Scalar && n.Typed == nil && !n.Quoted && !n.Block
}

// Items returns the members.
func (a array) Items() []expression.Value {
	out := make([]expression.Value, len(a.n.Items))
	for i, item := range a.n.Items {
		out[i] = valueOf(item)
	}
	return out
}

// valueOf is the value an expression sees for a node.
func valueOf(n *syntax.Node) expression.Value {
	switch {
	case n == nil:
		return nil
	case n.Kind == syntax.Mapping:
		return object{n}
	case n.Kind == syntax.Sequence:
		return array{n}
	case n.Typed != nil:
		return n.Typed
	default:
		return n.Text
	}
}

// nodeOf is the YAML for an expression's value. Nodes go back in as they came,
// with their own place; the rest gets the place of the expression.
func nodeOf(v expression.Value, at *syntax.Node, call *syntax.Call) *syntax.Node {
	n := &syntax.Node{Pos: at.Pos, Call: call}
	switch v := v.(type) {
	case object:
		return v.n
	case array:
		return v.n
	case expression.Array:
		n.Kind = syntax.Sequence
		for _, item := range v.Items() {
			n.Items = append(n.Items, nodeOf(item, at, call))
		}
	case expression.Object:
		n.Kind = syntax.Mapping
		for _, p := range v.Pairs() {
			n.Pairs = append(n.Pairs, syntax.Pair{
				Key:   &syntax.Node{Text: p.Key, Pos: at.Pos, Call: call},
				Value: nodeOf(p.Value, at, call),
			})
		}
	case bool, expression.Number:
		n.Typed = v
		n.Text, _ = expression.ToString(v)
	default:
		n.Text, _ = expression.ToString(v)
	}
	return n
}

// variables is one scope of static variables; inner scopes hide outer ones.
type variables struct {
	outer  *variables
	names  []string // in order of definition
	values map[string]string
}

func newVariables(outer *variables) *variables {
	return &variables{outer: outer, values: map[string]string{}}
}

// set defines a variable, unless the service has one of the name.
func (v *variables) set(name, value string) {
	key := strings.ToLower(name)
	if v.outer != nil && v.predefined(key) {
		return
	}
	if _, ok := v.values[key]; !ok {
		v.names = append(v.names, name)
	}
	v.values[key] = value
}

// predefined reports whether a variable was given with the file, under a name
// that is the service's alone.
func (v *variables) predefined(key string) bool {
	kind, _, _ := strings.Cut(key, ".")
	if kind != "build" && kind != "system" && kind != "pipeline" && kind != "agent" {
		return false
	}
	outermost := v
	for outermost.outer != nil {
		outermost = outermost.outer
	}
	_, given := outermost.values[key]
	return given && key != "system.debug"
}

// Get finds a variable, the innermost first. An absent one is nothing.
func (v *variables) Get(name string) (expression.Value, bool) {
	key := strings.ToLower(name)
	for scope := v; scope != nil; scope = scope.outer {
		if value, ok := scope.values[key]; ok {
			return value, true
		}
	}
	return nil, false
}

// Pairs lists every visible variable, outer scopes first.
func (v *variables) Pairs() []expression.Pair {
	var out []expression.Pair
	if v.outer != nil {
		for _, p := range v.outer.Pairs() {
			if _, hidden := v.values[strings.ToLower(p.Key)]; !hidden {
				out = append(out, p)
			}
		}
	}
	for _, name := range v.names {
		out = append(out, expression.Pair{Key: name, Value: v.values[strings.ToLower(name)]})
	}
	return out
}

// loop is one `each` variable.
type loop struct {
	outer *loop
	name  string
	value expression.Value
}

// scope is what expressions see at one place.
type scope struct {
	file      *syntax.File // whose body is expanded: template references are relative to it
	call      *syntax.Call
	params    expression.Object
	vars      *variables
	loops     *loop
	resources expression.Value
	environ   *expression.Env
	early     bool // calls into repositories that are not known yet are left alone
}

// withVariables opens an inner variable scope.
func (s *scope) withVariables() *scope {
	c := *s
	c.vars, c.environ = newVariables(s.vars), nil
	return &c
}

// withLoop adds a loop variable.
func (s *scope) withLoop(name string, value expression.Value) *scope {
	c := *s
	c.loops, c.environ = &loop{outer: s.loops, name: strings.ToLower(name), value: value}, nil
	return &c
}

// env is built once per scope, since every expression of the scope needs it.
func (s *scope) env() expression.Env {
	if s.environ == nil {
		contexts := map[string]expression.Value{"parameters": s.params, "variables": s.vars, "resources": s.resources}
		for l := s.loops; l != nil; l = l.outer {
			if _, hidden := contexts[l.name]; !hidden || l.name == "parameters" || l.name == "variables" {
				contexts[l.name] = l.value
			}
		}
		s.environ = &expression.Env{Contexts: contexts}
	}
	return *s.environ
}
