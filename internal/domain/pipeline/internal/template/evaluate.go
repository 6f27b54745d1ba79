package template

import (
	"errors"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

func (x *Expander) parse(text string) (*expression.Node, error) {
	p, ok := x.parsed[text]
	if !ok {
		p.node, p.err = expression.Parse(text)
		x.parsed[text] = p
	}
	return p.node, p.err
}

// checkExpressions reports every mistake of form in a file, also in branches
// that no expansion reaches. Names are not looked at: a branch that is not
// taken may name what is not there.
func (x *Expander) checkExpressions(n *syntax.Node) {
	if n.Kind == syntax.Scalar && strings.Contains(n.Text, "${{") {
		x.checkScalar(n, false)
	}
	for _, item := range n.Items {
		x.checkExpressions(item)
	}
	for _, p := range n.Pairs {
		if strings.Contains(p.Key.Text, "${{") {
			x.checkScalar(p.Key, true)
		}
		x.checkExpressions(p.Value)
	}
}

func (x *Expander) checkScalar(n *syntax.Node, key bool) {
	segments, err := expression.SplitText(n.Text)
	if err != nil {
		x.expressionError(n, segments[0], 0, err)
		return
	}
	if key {
		if d, ok := directiveOf(n); ok {
			if d.err != nil {
				x.expressionError(n, d.seg, 0, d.err)
			} else if d.expr != "" {
				if _, err := x.parse(d.expr); err != nil {
					x.expressionError(n, d.seg, d.exprAt, err)
				}
			}
			return
		}
	}
	for _, seg := range segments {
		if !seg.Expr {
			continue
		}
		if _, err := x.parse(seg.Text); err != nil {
			if word, ok := directiveWord(seg.Text); ok {
				err = &expression.Error{
					Code: "directive", Message: "`" + word + "` is not allowed here: a directive is a key of its own", Length: len(word),
					Offset: strings.Index(seg.Text, word), Expected: "- ${{ " + word + " … }}: with what it applies to below", Do: "use iif(…) inside of a text",
				}
			}
			x.expressionError(n, seg, 0, err)
		}
	}
}

// expressionError reports a mistake at its place inside the text of a node.
func (x *Expander) expressionError(n *syntax.Node, seg expression.Segment, offset int, err error) {
	p := &syntax.Problem{Code: "expression-value", Message: err.Error(), Call: n.Call, Where: x.report.Where(), Length: 3}
	var e *expression.Error
	if errors.As(err, &e) {
		p.Code, p.Message, p.Expected, p.Found, p.Do = e.Code, e.Message, e.Expected, e.Found, e.Do
		p.Length = e.Length
		offset += e.Offset
	}
	p.Pos = Locate(n, seg, offset)
	x.report.Add(p)
}

// Locate finds the source position of a byte offset inside an expression. The
// text of a node is not its source (quotes, folding, indentation), so it counts
// the `${{` in the source instead.
func Locate(n *syntax.Node, seg expression.Segment, offset int) syntax.Pos {
	pos := n.Pos
	nth := seg.Index
	for line := n.Line; n.File != nil && line <= len(n.File.Lines); line++ {
		text := n.File.Line(line)
		from := 0
		if line == n.Line {
			from = byteIndex(text, n.Column-1)
		}
		for {
			i := strings.Index(text[from:], "${{")
			if i < 0 {
				break
			}
			from += i + 3
			if nth > 0 {
				nth--
				continue
			}
			offset = min(max(offset, 0), len(seg.Text))
			before := seg.Text[:offset]
			if newline := strings.LastIndexByte(before, '\n'); newline >= 0 {
				return syntax.Pos{File: n.File, Line: line + strings.Count(before, "\n"), Column: indentOf(n.File.Line(line+strings.Count(before, "\n"))) + 1}
			}
			return syntax.Pos{File: n.File, Line: line, Column: len([]rune(text[:from])) + len([]rune(before)) + 1}
		}
	}
	return pos
}

func byteIndex(text string, runes int) int {
	for i := range text {
		if runes == 0 {
			return i
		}
		runes--
	}
	return len(text)
}

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// evaluate computes the expression of a segment; ok is false after a report,
// or silently for what checkExpressions reported before.
func (x *Expander) evaluate(n *syntax.Node, seg expression.Segment, expr string, offset int, s *scope) (expression.Value, bool) {
	if !x.spend(n, 0) {
		return nil, false
	}
	node, err := x.parse(expr)
	if err != nil {
		return nil, false
	}
	env := s.env()
	if err = node.Check(env); err == nil {
		var v expression.Value
		if v, err = node.Eval(env); err == nil {
			x.observe(n, seg, expr, offset, v, s)
			return v, true
		}
	}
	at := *n
	at.Call = s.call
	x.expressionError(&at, seg, offset, err)
	return nil, false
}

// scalar expands the expressions of a text.
func (x *Expander) scalar(n *syntax.Node, s *scope) *syntax.Node {
	if !strings.Contains(n.Text, "${{") {
		c := *n
		c.Call = s.call
		x.spend(n, nodeBytes+len(n.Text))
		return &c
	}
	segments, err := expression.SplitText(n.Text)
	if err != nil {
		return bad(n, s.call)
	}
	if seg, ok := only(segments); ok {
		v, ok := x.evaluate(n, seg, seg.Text, 0, s)
		if !ok {
			return bad(n, s.call)
		}
		out := nodeOf(v, n, s.call)
		if !x.charge(out) {
			return bad(n, s.call)
		}
		return out
	}
	return x.interpolate(n, segments, s)
}

func (x *Expander) interpolate(n *syntax.Node, segments []expression.Segment, s *scope) *syntax.Node {
	var b strings.Builder
	failed := false
	for _, seg := range segments {
		if !seg.Expr {
			b.WriteString(seg.Text)
			continue
		}
		v, ok := x.evaluate(n, seg, seg.Text, 0, s)
		if !ok {
			failed = true
			continue
		}
		text, ok := expression.ToString(v)
		if !ok {
			at := *n
			at.Call = s.call
			x.expressionError(&at, seg, 0, &expression.Error{
				Code: "expression-type", Message: "the expression is " + expression.TypeName(v) + ", which cannot be part of a text", Length: len(seg.Text),
				Expected: "a string, number or boolean", Found: expression.TypeName(v), Do: "use convertToJson(…) or join(…)",
			})
			failed = true
			continue
		}
		b.WriteString(text)
		if b.Len() > maxBytes {
			x.spend(n, b.Len())
			failed = true
			break
		}
	}
	if failed {
		return bad(n, s.call)
	}
	c := *n
	c.Text, c.Call = b.String(), s.call
	x.spend(n, nodeBytes+b.Len())
	return &c
}

// only returns the single expression of a text that holds nothing else.
func only(segments []expression.Segment) (expression.Segment, bool) {
	var found expression.Segment
	count := 0
	for _, seg := range segments {
		if seg.Expr {
			found = seg
			count++
		} else if strings.TrimSpace(seg.Text) != "" {
			return found, false
		}
	}
	return found, count == 1
}
