package template

import (
	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Observation is one computed expression of a file: what an editor shows.
type Observation struct {
	Node  *syntax.Node // the scalar that holds it
	Call  *syntax.Call // how expansion got here
	Text  string       // the expression
	Start syntax.Pos   // where Text begins
	Value expression.Value
	Env   expression.Env // what its names stood for
}

func (x *Expander) observe(n *syntax.Node, seg expression.Segment, expr string, offset int, v expression.Value, s *scope) {
	if x.opt.Observe != nil {
		x.opt.Observe(Observation{Node: n, Call: s.call, Text: expr, Start: Locate(n, seg, offset), Value: v, Env: s.env()})
	}
}
