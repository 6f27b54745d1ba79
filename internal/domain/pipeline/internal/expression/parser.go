package expression

import (
	"strings"
	"unicode"
)

// Bounds of one expression, as on the service.
const (
	MaxLength = 21000 // UTF-16 units
	MaxDepth  = 50    // calls and indexes that are open at the same time
)

// Node is a parsed expression.
type Node struct {
	op       op
	property bool // .name rather than ['name']
	name     string
	key      string   // the name in lower case
	function *builtin // of a call, unless the caller's environment has it
	value    Value    // of a literal
	target   *Node    // of an index or wildcard
	args     []*Node
	offset   int
	length   int
	end      int    // of a call: where its ) is
	source   string // of the root: the whole text
}

type op uint8

const (
	opLiteral op = iota
	opName
	opCall
	opIndex
	opWildcard
)

// Parse reads one expression without knowing which contexts and functions of
// its caller there will be; Check looks at them.
func Parse(text string) (*Node, error) { return parse(text, nil) }

// ParseIn reads one expression and checks its names against env, and reports
// whichever mistake comes first in the text.
func ParseIn(text string, env Env) (*Node, error) { return parse(text, &env) }

func parse(text string, env *Env) (*Node, error) {
	p := &parser{lexer: lexer{text: text}, env: env}
	if len(text) > MaxLength && utf16Length(text) > MaxLength {
		return nil, &Error{Code: "expression-length", Message: "Exceeded max expression length 21000", Expected: "at most 21000 characters", Length: 1}
	}
	for {
		p.last, p.token = p.token, p.lexer.next()
		if p.token.kind == tokenNone {
			break
		}
		if err := p.take(); err != nil {
			return nil, err
		}
		if len(p.open) >= MaxDepth {
			return nil, &Error{Code: "expression-depth", Message: "Exceeded max expression depth 50", Expected: "fewer than 50 calls and indexes inside each other", Offset: p.token.offset, Length: 1}
		}
	}
	switch n := len(p.open); {
	case n > 0 && p.open[n-1].node.op == opCall:
		return nil, p.unclosed("Unclosed function", p.open[n-1].token, "`)`")
	case n > 0:
		return nil, p.unclosed("Unclosed indexer", p.open[n-1].token, "`]`")
	case p.root == nil:
		return nil, &Error{Code: "expression-syntax", Message: "An expression was expected", Length: 1}
	}
	p.root.source = text
	return p.root, nil
}

// parser builds the tree token by token. A token is wrong by what came before
// it, never by what follows, so the first mistake is the one that is named.
type parser struct {
	lexer       lexer
	env         *Env
	token, last token
	root        *Node
	open        []container
	nodes       []Node // the next ones to hand out
}

// container is a call or an index that waits for its end.
type container struct {
	node  *Node
	token token
}

// node makes nodes by the handful: most expressions have several.
func (p *parser) node(n Node) *Node {
	if len(p.nodes) == 0 {
		p.nodes = make([]Node, 4)
	}
	out := &p.nodes[0]
	p.nodes = p.nodes[1:]
	*out = n
	return out
}

func (p *parser) take() *Error {
	switch p.token.kind {
	case tokenOpen, tokenProperty:
		return p.unexpected()
	case tokenClose:
		return p.closeCall()
	case tokenIndex:
		return p.index()
	case tokenIndexEnd:
		return p.closeIndex()
	case tokenComma:
		return p.comma()
	case tokenDot:
		return p.property()
	case tokenStar:
		return p.star()
	case tokenLiteral:
		return p.leaf(Node{op: opLiteral, value: p.token.value, offset: p.token.offset, length: len(p.token.text)})
	case tokenName:
		return p.word()
	default:
		return p.unrecognized()
	}
}

// valueMayFollow: a value begins the text, a call, an index or an argument.
func (p *parser) valueMayFollow() bool {
	switch p.last.kind {
	case tokenNone, tokenOpen, tokenIndex, tokenComma:
		return true
	default:
		return false
	}
}

// accessMayFollow: only names, calls and accesses can be looked into.
func (p *parser) accessMayFollow() bool {
	switch p.last.kind {
	case tokenClose, tokenIndexEnd, tokenProperty, tokenName:
		return true
	case tokenStar: // but nothing stands between the * of [*] and its end
		top := p.top()
		return top == nil || top.op != opWildcard
	default:
		return false
	}
}

func (p *parser) leaf(n Node) *Error {
	if !p.valueMayFollow() {
		return p.unexpected()
	}
	p.add(p.node(n))
	return nil
}

func (p *parser) add(n *Node) {
	if len(p.open) == 0 {
		p.root = n
		return
	}
	top := p.open[len(p.open)-1].node
	top.args = append(top.args, n)
}

// wrap puts an access around the value before it.
func (p *parser) wrap(n Node) *Node {
	at := &p.root
	if len(p.open) > 0 {
		args := p.open[len(p.open)-1].node.args
		at = &args[len(args)-1]
	}
	n.target = *at
	*at = p.node(n)
	return *at
}

func (p *parser) word() *Error {
	name := p.token
	n := Node{name: name.text, key: strings.ToLower(name.text), offset: name.offset, length: len(name.text)}
	n.function = builtins[n.key]
	_, isFunction := p.extra(n.key)
	_, isContext := p.context(n.key)
	known := n.function != nil || isFunction || isContext
	if p.env != nil && !known {
		return p.placed(unknown(&n, *p.env, p.followedByOpen()), "Unrecognized value", name)
	}
	if n.function == nil && isContext || !known && !p.followedByOpen() {
		n.op = opName
		return p.leaf(n)
	}
	n.op = opCall
	if !p.valueMayFollow() {
		return p.unexpected()
	}
	if p.last, p.token = p.token, p.lexer.next(); p.token.kind != tokenOpen {
		e := &Error{Code: "expression-syntax", Offset: name.offset, Length: len(name.text), Expected: "`(`", Do: "write " + spelling(n.key) + "(…)"}
		return p.placed(e, "Expected '(' to follow a function", name)
	}
	call := p.node(n)
	p.add(call)
	p.open = append(p.open, container{call, name})
	return nil
}

func (p *parser) followedByOpen() bool {
	ahead := p.lexer
	return ahead.next().kind == tokenOpen
}

func (p *parser) extra(key string) (Function, bool) {
	if p.env == nil {
		return Function{}, false
	}
	f, ok := p.env.Functions[key]
	return f, ok
}

func (p *parser) context(key string) (Value, bool) {
	if p.env == nil {
		return nil, false
	}
	v, ok := p.env.Contexts[key]
	return v, ok
}

func (p *parser) index() *Error {
	if !p.accessMayFollow() {
		return p.unexpected()
	}
	n := p.wrap(Node{op: opIndex, offset: p.token.offset, length: 1})
	p.open = append(p.open, container{n, p.token})
	return nil
}

func (p *parser) closeIndex() *Error {
	top := p.top()
	if top == nil || top.op == opCall || top.op == opIndex && len(top.args) != 1 {
		return p.unexpected()
	}
	if top.op == opIndex {
		top.offset, top.length = top.args[0].offset, top.args[0].length
	}
	p.open = p.open[:len(p.open)-1]
	return nil
}

// star is the wildcard of [*]; that of .* is read with its point.
func (p *parser) star() *Error {
	if p.last.kind != tokenIndex {
		return p.unexpected()
	}
	top := p.top()
	top.op, top.offset, top.length = opWildcard, p.token.offset, 1
	return nil
}

func (p *parser) property() *Error {
	if !p.accessMayFollow() {
		return p.unexpected()
	}
	point := p.token
	p.last, p.token = point, p.lexer.next()
	n := Node{op: opIndex, property: true, offset: p.token.offset, length: len(p.token.text)}
	switch p.token.kind {
	case tokenNone:
		e := &Error{Code: "expression-syntax", Offset: point.offset, Length: 1, Expected: "a name or `*`"}
		return p.placed(e, "Expected a property name to follow the dereference operator '.'", point)
	case tokenProperty:
		key := p.node(Node{op: opLiteral, value: p.token.text, offset: n.offset, length: n.length})
		n.args = []*Node{key}
		p.wrap(n)
	case tokenStar:
		n.op = opWildcard
		p.wrap(n)
	default:
		return p.unexpected()
	}
	return nil
}

func (p *parser) top() *Node {
	if len(p.open) == 0 {
		return nil
	}
	return p.open[len(p.open)-1].node
}

func (p *parser) comma() *Error {
	top := p.top()
	if top == nil || top.op != opCall || len(top.args) == 0 || p.last.kind == tokenComma {
		return p.unexpected()
	}
	if _, most := p.counts(top); len(top.args) >= most {
		return p.wrongCount(top, len(top.args)+1)
	}
	return nil
}

func (p *parser) closeCall() *Error {
	top := p.top()
	if top == nil || top.op != opCall || p.last.kind == tokenComma {
		return p.unexpected()
	}
	if least, most := p.counts(top); len(top.args) < least || len(top.args) > most {
		return p.wrongCount(top, len(top.args))
	}
	top.end = p.token.offset
	p.open = p.open[:len(p.open)-1]
	return nil
}

// counts are how many arguments a call may have, as far as they are known.
func (p *parser) counts(n *Node) (least, most int) {
	if n.function != nil {
		return n.function.min, n.function.max
	}
	if f, ok := p.extra(n.key); ok {
		return f.Min, f.Max
	}
	return 0, MaxLength
}

func utf16Length(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r >= firstHigh {
			n++
		}
	}
	return n
}

// position is the 1-based place of a byte in UTF-16 units, as the service
// counts, in the text without the white space around it.
func position(text string, offset int) int {
	lead := len(text) - len(strings.TrimLeftFunc(text, unicode.IsSpace))
	if offset < lead || offset > len(text) {
		return 1
	}
	return utf16Length(text[lead:offset]) + 1
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

// Members lists the members of a context that the expression names in so many
// words: `context.x` or `context['x']`. The context's name is in lower case.
func (n *Node) Members(context string) []string {
	var list []string
	if n.op == opIndex && n.target.op == opName && strings.ToLower(n.target.name) == context {
		if name, ok := n.args[0].value.(string); ok && n.args[0].op == opLiteral {
			list = append(list, name)
		}
	}
	if n.target != nil {
		list = append(list, n.target.Members(context)...)
	}
	for _, a := range n.args {
		list = append(list, a.Members(context)...)
	}
	return list
}

// IsStatus reports whether a function, in lower case, is a status function.
func IsStatus(name string) bool { return statusNames[name] }
