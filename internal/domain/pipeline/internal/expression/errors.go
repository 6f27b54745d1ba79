package expression

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Error is a mistake in an expression. Offset and Length are bytes of its text.
// Its message begins with the service's words, because people search for them.
type Error struct {
	Code     string
	Message  string
	Offset   int
	Length   int
	Expected string
	Found    string
	Do       string
	unplaced bool // the message does not yet say where in the expression
}

// Error returns the message.
func (e *Error) Error() string {
	if e.Do != "" {
		return e.Message + " (" + e.Do + ")"
	}
	return e.Message
}

// shownText is how much of an expression a message repeats.
const shownText = 500

// where ends a message with the place, as the service does.
func where(text string, offset int) string {
	shown := strings.Join(strings.Fields(text), " ")
	if !strings.ContainsAny(text, "\n\r\t") {
		shown = strings.TrimSpace(text)
	}
	if len(shown) > shownText {
		shown = strings.ToValidUTF8(shown[:shownText], "") + "…"
	}
	return fmt.Sprintf("Located at position %d within expression: %s", position(text, offset), shown)
}

// placed gives a mistake the service's words about a token.
func (p *parser) placed(e *Error, words string, tok token) *Error {
	e.Message, e.unplaced = fmt.Sprintf("%s: '%s'. %s", words, tok.text, where(p.lexer.text, tok.offset)), false
	return e
}

func (p *parser) unclosed(words string, tok token, want string) *Error {
	end := len(strings.TrimRight(p.lexer.text, " \t\r\n"))
	e := &Error{Code: "expression-syntax", Offset: max(0, end-1), Length: 1, Expected: want, Found: "the end of the expression"}
	return p.placed(e, words, tok)
}

func (p *parser) unexpected() *Error {
	e := &Error{Code: "expression-syntax", Offset: p.token.offset, Length: max(1, len(p.token.text)), Expected: p.expected()}
	switch {
	case p.token.kind == tokenNone:
		e.Found = "the end of the expression"
	case p.token.kind == tokenWrong && p.last.kind == tokenDot && strings.Contains(p.token.text, "-"):
		e.Do = "a hyphen is not part of a name: write x['my-name'] instead of x.my-name"
	case p.token.kind == tokenOpen:
		e.Do = "parentheses only hold the arguments of a function: write and(…), or(…) or not(…)"
	}
	return p.placed(e, "Unexpected symbol", p.token)
}

// expected says what could have stood where the token is.
func (p *parser) expected() string {
	switch {
	case p.valueMayFollow() && p.last.kind == tokenNone:
		return "a value, a name or a function"
	case p.valueMayFollow():
		return "a value"
	case p.last.kind == tokenDot:
		return "a name or `*`"
	case p.top() == nil:
		return "the end of the expression"
	case p.top().op == opCall:
		return "`,` or `)`"
	default:
		return "`]`"
	}
}

// operators maps what people try from other languages to the function for it.
var operators = []struct{ text, function string }{
	{"==", "eq(a, b)"}, {"!=", "ne(a, b)"}, {"<=", "le(a, b)"}, {">=", "ge(a, b)"}, {"&&", "and(a, b)"}, {"||", "or(a, b)"},
	{"!", "not(a)"}, {"<", "lt(a, b)"}, {">", "gt(a, b)"}, {"=", "eq(a, b)"}, {"&", "and(a, b)"}, {"|", "or(a, b)"}, {"+", "format('{0}{1}', a, b)"},
}

// unrecognized explains a token that is nothing of the language.
func (p *parser) unrecognized() *Error {
	tok := p.token
	e := &Error{Code: "expression-syntax", Offset: tok.offset, Length: len(tok.text)}
	switch {
	case tok.text[0] == '\'':
		e.Expected, e.Do = "'", "end the string with ' (a quote inside is written '')"
	case tok.text[0] == '"':
		e.Do = "a string is written in single quotes: '…'"
	case tok.text[0] == '-' && p.last.kind != tokenNone && !p.valueMayFollow() || strings.Contains(tok.text, "-") && isNameStart(tok.text[0]):
		e.Do = "a hyphen is not part of a name: write x['my-name'] instead of x.my-name"
	default:
		for _, op := range operators {
			if strings.Contains(tok.text, op.text) {
				e.Do = "the language has no operator `" + op.text + "`: write " + op.function
				break
			}
		}
	}
	return p.placed(e, "Unrecognized value", tok)
}

func (p *parser) wrongCount(n *Node, found int) *Error {
	least, most := p.counts(n)
	return p.placed(countError(n, least, most, found), "Unexpected symbol", p.token)
}

func countError(n *Node, least, most, found int) *Error {
	return &Error{
		Code: "argument-count", Offset: n.offset, Length: n.length, Expected: countText(least, most) + " for " + spelling(n.key), Found: countText(found, found),
	}
}

func countText(least, most int) string {
	n := strconv.Itoa(least)
	switch {
	case least == 1 && most == 1:
		return "1 argument"
	case least == most:
		return n + " arguments"
	case most >= maxArgs:
		return n + " or more arguments"
	default:
		return n + " to " + strconv.Itoa(most) + " arguments"
	}
}

// unknown is the mistake of a context or function that does not exist here.
func unknown(n *Node, env Env, call bool) *Error {
	e := &Error{Code: "unknown-name", Message: "Unrecognized value: '" + n.name + "'", unplaced: true, Offset: n.offset, Length: n.length, Found: n.name}
	var names []string
	if call {
		e.Code = "unknown-function"
		for name := range builtins {
			names = append(names, spelling(name))
		}
		for name := range env.Functions {
			names = append(names, spelling(name))
		}
	} else {
		for name := range env.Contexts {
			names = append(names, spelling(name))
		}
		slices.Sort(names)
		e.Expected = strings.Join(names, ", ")
	}
	sort.Strings(names)
	switch near := syntax.Nearest(n.name, names); {
	case near != "":
		e.Do = "write " + near
	case !call:
		e.Do = "quote it if it is text: '" + n.name + "'"
	case statusNames[n.key]:
		e.Do = "status functions belong in a condition"
	case n.key == "counter":
		e.Do = "counter belongs in a variable's value: $[ counter(…) ]"
	}
	return e
}

var statusNames = map[string]bool{"always": true, "succeeded": true, "failed": true, "canceled": true, "succeededorfailed": true}

// spelling is how people write a name that is in lower case.
func spelling(lower string) string {
	switch lower {
	case "notin":
		return "notIn"
	case "startswith":
		return "startsWith"
	case "endswith":
		return "endsWith"
	case "containsvalue":
		return "containsValue"
	case "converttojson":
		return "convertToJson"
	case "succeededorfailed":
		return "succeededOrFailed"
	case "stagedependencies":
		return "stageDependencies"
	default:
		return lower
	}
}

// kinds are the names of the types in the service's messages.
func kindName(v Value) string {
	switch TypeName(v) {
	case "nothing":
		return "Null"
	case "a boolean":
		return "Boolean"
	case "a number":
		return "Number"
	case "a string":
		return "String"
	case "a version":
		return "Version"
	case "a date":
		return "DateTime"
	case "a sequence":
		return "Array"
	default:
		return "Object"
	}
}

// castError is the mistake of a value that cannot become another type.
func castError(n *Node, v Value, kind string) *Error {
	return &Error{
		Code: "expression-type", Message: fmt.Sprintf("Unable to convert from %s to %s. Value: %s", kindName(v), kind, Literal(v)), unplaced: true,
		Offset: n.offset, Length: n.length, Expected: kind, Found: TypeName(v),
	}
}

// shownValue is how much of a value a message or a trace repeats.
const shownValue = 200

// Literal is a value as it would be written in an expression; a mapping, a
// sequence or nothing is only named.
func Literal(v Value) string {
	switch v := v.(type) {
	case string:
		if len(v) > shownValue {
			v = strings.ToValidUTF8(v[:shownValue], "") + "…"
		}
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case nil, Array, Object:
		return kindName(v)
	default:
		text, _ := ToString(v)
		return text
	}
}
