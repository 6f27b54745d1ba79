package expression

import "strings"

// Bounds of one expression, as on the service.
const (
	MaxLength = 21000
	MaxDepth  = 50
)

// Node is a parsed expression.
type Node struct {
	op       op
	name     string // of a name or call
	value    Value  // of a literal
	target   *Node  // of an index or wildcard
	args     []*Node
	offset   int
	length   int
	property bool // .name rather than ['name']
}

type op int

const (
	opLiteral op = iota
	opName
	opCall
	opIndex
	opWildcard
)

type parser struct {
	lex   lexer
	tok   token
	depth int
}

// Parse reads one expression.
func Parse(text string) (*Node, error) {
	if len(text) > MaxLength {
		return nil, &Error{Code: "expression-length", Message: "the expression is too long", Expected: "at most 21000 characters", Length: 1}
	}
	if strings.TrimSpace(text) == "" {
		return nil, syntaxError(0, 1, "an expression is expected")
	}
	p := &parser{lex: lexer{text: text}}
	if err := p.advance(false); err != nil {
		return nil, err
	}
	n, err := p.value()
	if err != nil {
		return nil, err
	}
	if p.tok.kind != tokenEnd {
		return nil, p.unexpected("the end of the expression")
	}
	return n, nil
}

func (p *parser) advance(afterValue bool) *Error {
	tok, err := p.lex.next(afterValue)
	p.tok = tok
	return err
}

func (p *parser) unexpected(want string) *Error {
	e := syntaxError(p.tok.offset, len(p.tok.text), "unexpected `%s`", p.tok.text)
	if p.tok.kind == tokenEnd {
		e = syntaxError(max(0, p.tok.offset-1), 1, "the expression ends too early")
	}
	e.Expected = want
	return e
}

// value parses a primary value and the accesses that follow it.
func (p *parser) value() (*Node, *Error) {
	if p.depth++; p.depth > MaxDepth {
		return nil, &Error{Code: "expression-depth", Message: "the expression is nested too deeply", Expected: "at most 50 levels", Offset: p.tok.offset, Length: 1}
	}
	defer func() { p.depth-- }()
	n, err := p.primary()
	if err != nil {
		return nil, err
	}
	for levels := 0; ; levels++ {
		if levels > MaxDepth {
			return nil, &Error{Code: "expression-depth", Message: "the expression has too many accesses", Expected: "at most 50", Offset: p.tok.offset, Length: 1}
		}
		switch p.tok.kind {
		case tokenDot:
			n, err = p.property(n)
		case tokenIndex:
			n, err = p.index(n)
		default:
			return n, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) primary() (*Node, *Error) {
	tok := p.tok
	switch tok.kind {
	case tokenLiteral:
		return &Node{op: opLiteral, value: tok.value, offset: tok.offset, length: len(tok.text)}, p.advance(true)
	case tokenName:
		if err := p.advance(true); err != nil {
			return nil, err
		}
		if p.tok.kind == tokenOpen {
			return p.call(tok)
		}
		n := &Node{op: opName, name: tok.text, offset: tok.offset, length: len(tok.text)}
		switch strings.ToLower(tok.text) {
		case "true":
			n.op, n.value = opLiteral, true
		case "false":
			n.op, n.value = opLiteral, false
		}
		return n, nil
	case tokenOpen:
		e := syntaxError(tok.offset, 1, "parentheses only hold the arguments of a function")
		e.Do = "write and(…), or(…) or not(…)"
		return nil, e
	default:
		return nil, p.unexpected("a value, a name or a function")
	}
}

func (p *parser) call(name token) (*Node, *Error) {
	n := &Node{op: opCall, name: name.text, offset: name.offset, length: len(name.text)}
	if err := p.advance(false); err != nil {
		return nil, err
	}
	if p.tok.kind == tokenClose {
		return n, p.advance(true)
	}
	for {
		arg, err := p.value()
		if err != nil {
			return nil, err
		}
		n.args = append(n.args, arg)
		switch p.tok.kind {
		case tokenComma:
			if err := p.advance(false); err != nil {
				return nil, err
			}
		case tokenClose:
			return n, p.advance(true)
		default:
			return nil, p.unexpected("`,` or `)`")
		}
	}
}

func (p *parser) property(target *Node) (*Node, *Error) {
	if err := p.advance(false); err != nil {
		return nil, err
	}
	tok := p.tok
	switch tok.kind {
	case tokenStar:
		return &Node{op: opWildcard, target: target, offset: tok.offset, length: 1}, p.advance(true)
	case tokenName:
		key := &Node{op: opLiteral, value: tok.text, offset: tok.offset, length: len(tok.text)}
		n := &Node{op: opIndex, target: target, args: []*Node{key}, offset: tok.offset, length: len(tok.text), property: true}
		return n, p.advance(true)
	default:
		return nil, p.unexpected("a name or `*`")
	}
}

func (p *parser) index(target *Node) (*Node, *Error) {
	open := p.tok
	if err := p.advance(false); err != nil {
		return nil, err
	}
	n := &Node{op: opIndex, target: target, offset: open.offset, length: 1}
	if p.tok.kind == tokenStar {
		n.op = opWildcard
		if err := p.advance(true); err != nil {
			return nil, err
		}
	} else {
		key, err := p.value()
		if err != nil {
			return nil, err
		}
		n.args = []*Node{key}
		n.offset, n.length = key.offset, key.length
	}
	if p.tok.kind != tokenIndexEnd {
		return nil, p.unexpected("`]`")
	}
	return n, p.advance(true)
}

// Mentions reports whether the expression names something that want looks for:
// a function (call is true) or a context, in lower case.
func (n *Node) Mentions(want func(name string, call bool) bool) bool {
	if (n.op == opCall || n.op == opName) && want(strings.ToLower(n.name), n.op == opCall) {
		return true
	}
	if n.target != nil && n.target.Mentions(want) {
		return true
	}
	for _, a := range n.args {
		if a.Mentions(want) {
			return true
		}
	}
	return false
}

// IsStatus reports whether a function, in lower case, is a status function.
func IsStatus(name string) bool { return statusNames[name] }
