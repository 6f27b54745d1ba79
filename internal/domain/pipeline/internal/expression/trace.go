package expression

import "strings"

// Step is one part of an expression that was computed. Steps are in the order
// in which their computation began, so the parts of a step follow it, one level
// deeper. Parts that were not needed are not there.
type Step struct {
	Depth int
	Text  string
	Value Value
	Err   error
}

type trace struct {
	steps  []Step
	depth  int
	values map[*Node]Value // of the parts that were computed; nil: nobody wants them
}

// EvalTrace computes the value and tells how.
func (n *Node) EvalTrace(env Env) (Value, []Step, error) {
	t := &trace{}
	v, err := n.run(&evaluation{env: &env, trace: t})
	return v, t.steps, err
}

func (t *trace) step(n *Node, e *evaluation) (Value, error) {
	if n.op == opLiteral { // its text is its value
		return n.value, nil
	}
	at := len(t.steps)
	text := n.String()
	if len(text) > shownText {
		text = strings.ToValidUTF8(text[:shownText], "") + "…" // a copy: the rest can go
	}
	t.steps = append(t.steps, Step{Depth: t.depth, Text: text})
	t.depth++
	v, err := n.compute(e)
	t.depth--
	t.steps[at].Value, t.steps[at].Err = v, err
	if err == nil && t.values != nil {
		t.values[n] = v
	}
	return v, err
}

// Told is an expression as logs of the service tell it: as it is written, with
// the values that it saw in the place of names and functions, and its value.
type Told struct{ Written, Expanded, Result string }

// EvalTold computes the value and tells it. What was not needed stays as written.
func (n *Node) EvalTold(env Env) (Value, Told, error) {
	t := &trace{values: map[*Node]Value{}}
	v, err := n.run(&evaluation{env: &env, trace: t})
	if err != nil {
		return nil, Told{}, err
	}
	var written, expanded strings.Builder
	n.tell(&written, nil)
	n.tell(&expanded, t.values)
	return v, Told{Written: written.String(), Expanded: expanded.String(), Result: valueText(v)}, nil
}

// compares are the functions that stay in what is told, with the values of their
// arguments.
var compares = map[string]bool{"and": true, "or": true, "xor": true, "not": true, "eq": true, "ne": true, "gt": true, "ge": true, "lt": true, "le": true,
	"in": true, "notin": true, "contains": true, "containsvalue": true, "startswith": true, "endswith": true}

// maxTold bounds what is told, in bytes; values beyond it are left out whole.
const maxTold = 64 << 10

func (n *Node) tell(b *strings.Builder, values map[*Node]Value) {
	if v, known := values[n]; known && (n.op != opCall || !compares[n.key]) {
		if text := valueText(v); b.Len()+len(text) <= maxTold {
			b.WriteString(text)
		} else {
			b.WriteString("…")
		}
		return
	}
	switch n.op {
	case opLiteral:
		b.WriteString(valueText(n.value))
	case opCall:
		b.WriteString(n.name + "(")
		for i, a := range n.args {
			if i > 0 {
				b.WriteString(", ")
			}
			a.tell(b, values)
		}
		b.WriteByte(')')
	case opName, opWildcard:
		n.print(b)
	default:
		n.target.tell(b, values)
		b.WriteByte('[')
		n.args[0].tell(b, values)
		b.WriteByte(']')
	}
}

// valueText is a value as it is told.
func valueText(v Value) string {
	switch v := v.(type) {
	case nil:
		return "Null"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case Array:
		return "Array"
	case Object:
		return "Object"
	}
	return literalText(v)
}
