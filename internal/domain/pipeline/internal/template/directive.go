package template

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// directive is a key such as `${{ if eq(1, 2) }}`.
type directive struct {
	word   string // if, elseif, else, each, insert
	loop   string // variable of each
	expr   string
	exprAt int // where expr begins in the segment
	seg    expression.Segment
	err    error
}

// directiveOf recognises a directive; ok is false for any other key.
func directiveOf(key *syntax.Node) (d directive, ok bool) {
	if !strings.Contains(key.Text, "${{") {
		return d, false
	}
	segments, err := expression.SplitText(key.Text)
	if err != nil {
		return d, false
	}
	seg, single := only(segments)
	if !single {
		return d, false
	}
	body := strings.TrimLeft(seg.Text, " \t\r\n")
	word := body
	if i := strings.IndexAny(body, " \t\r\n("); i >= 0 {
		word = body[:i]
	}
	d.word, d.seg = word, seg
	rest := strings.TrimLeft(body[len(word):], " \t\r\n")
	d.exprAt = len(seg.Text) - len(rest)
	d.expr = strings.TrimRight(rest, " \t\r\n")
	switch word {
	case "if", "elseif":
		if strings.HasPrefix(rest, "(") {
			return d, false
		}
		if d.expr == "" {
			d.err = &expression.Error{Code: "directive", Message: word + " needs a condition", Length: len(word), Offset: len(seg.Text) - len(body)}
		}
	case "else":
		if d.expr != "" {
			d.err = &expression.Error{Code: "directive", Message: "else has no condition", Length: len(word), Offset: len(seg.Text) - len(body), Do: "write elseif"}
		}
	case "insert":
		if d.expr != "" {
			return d, false
		}
	case "each":
		d.parseEach(rest)
	default:
		return d, false
	}
	return d, true
}

// directiveWord recognises an expression that was meant as a directive.
func directiveWord(text string) (string, bool) {
	word, _, more := strings.Cut(strings.TrimSpace(text), " ")
	switch word {
	case "if", "elseif", "each":
		return word, more
	case "else", "insert":
		return word, !more
	default:
		return "", false
	}
}

func (d *directive) parseEach(rest string) {
	fields := strings.Fields(rest)
	if len(fields) < 3 || fields[1] != "in" || !isName(fields[0]) {
		d.err = &expression.Error{Code: "directive", Message: "each has the form `each name in collection`", Length: 4, Offset: d.seg0(), Found: strings.TrimSpace(rest)}
		return
	}
	d.loop = fields[0]
	after := strings.TrimLeft(strings.TrimLeft(rest[len(fields[0]):], " \t\r\n")[len("in"):], " \t\r\n")
	d.exprAt = len(d.seg.Text) - len(after)
	d.expr = strings.TrimRight(after, " \t\r\n")
}

func (d *directive) seg0() int {
	return len(d.seg.Text) - len(strings.TrimLeft(d.seg.Text, " \t\r\n"))
}

func isName(s string) bool {
	for i, c := range s {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// allDirectives reports whether a mapping consists of directives alone.
func allDirectives(n *syntax.Node) bool {
	if n.Kind != syntax.Mapping || len(n.Pairs) == 0 {
		return false
	}
	for _, p := range n.Pairs {
		if _, ok := directiveOf(p.Key); !ok {
			return false
		}
	}
	return true
}

// chain follows if, elseif and else among the members of one mapping or
// sequence. Other members between them do not end it.
type chain int

const (
	chainNone  chain = iota // there is no if before, or it had its else
	chainOpen               // no branch taken so far
	chainTaken              // a branch was taken: the rest is skipped
)

// run calls body for every time that the directive's value is wanted.
func (x *Expander) run(key *syntax.Node, d directive, c *chain, s *scope, body func(s *scope)) {
	if d.err != nil {
		*c = chainTaken
		return
	}
	switch d.word {
	case "if":
		*c = chainOpen
		x.branch(key, d, c, s, body)
	case "elseif", "else":
		if *c == chainNone {
			at := *key
			at.Call = s.call
			x.report.Error(&at, "else-without-if", "%s needs an if before it", d.word)
			return
		}
		if *c == chainOpen && d.word == "else" {
			body(s)
		} else if *c == chainOpen {
			x.branch(key, d, c, s, body)
		}
		if d.word == "else" {
			*c = chainNone
		}
	case "each":
		x.each(key, d, s, body)
	default:
		body(s)
	}
}

func (x *Expander) branch(key *syntax.Node, d directive, c *chain, s *scope, body func(s *scope)) {
	v, ok := x.evaluate(key, d.seg, d.expr, d.exprAt, s)
	if ok && !expression.Truth(v) {
		return
	}
	*c = chainTaken // also after a mistake, so that it is the only one
	if ok {
		body(s)
	}
}

func (x *Expander) each(key *syntax.Node, d directive, s *scope, body func(s *scope)) {
	v, ok := x.evaluate(key, d.seg, d.expr, d.exprAt, s)
	if !ok {
		return
	}
	switch v := v.(type) {
	case expression.Array:
		for _, item := range v.Items() {
			if !x.spend(key, 0) {
				return
			}
			body(s.withLoop(d.loop, item))
		}
	case expression.Object:
		for _, p := range v.Pairs() {
			if !x.spend(key, 0) {
				return
			}
			pair := expression.NewMap(expression.Pair{Key: "key", Value: p.Key}, expression.Pair{Key: "value", Value: p.Value})
			body(s.withLoop(d.loop, pair))
		}
	default:
		if text, _ := expression.ToString(v); text == "" {
			return
		}
		at := *key
		at.Call = s.call
		x.expressionError(&at, d.seg, d.exprAt, &expression.Error{
			Code: "each-type", Message: "each walks over a sequence or a mapping", Length: len(d.expr), Expected: "a sequence or a mapping", Found: expression.TypeName(v),
		})
	}
}
