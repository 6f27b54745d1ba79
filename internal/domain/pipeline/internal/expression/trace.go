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
	steps []Step
	depth int
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
	return v, err
}
