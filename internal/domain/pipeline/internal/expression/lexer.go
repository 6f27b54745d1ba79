package expression

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is a mistake in an expression. Offset and Length are bytes of its text.
type Error struct {
	Code     string
	Message  string
	Offset   int
	Length   int
	Expected string
	Found    string
	Do       string
}

// Error returns the message.
func (e *Error) Error() string {
	if e.Do != "" {
		return e.Message + " (" + e.Do + ")"
	}
	return e.Message
}

func syntaxError(offset, length int, format string, args ...any) *Error {
	return &Error{Code: "expression-syntax", Message: fmt.Sprintf(format, args...), Offset: offset, Length: max(1, length)}
}

type tokenKind int

const (
	tokenEnd tokenKind = iota
	tokenName
	tokenLiteral
	tokenOpen     // (
	tokenClose    // )
	tokenIndex    // [
	tokenIndexEnd // ]
	tokenComma
	tokenDot
	tokenStar
)

type token struct {
	kind   tokenKind
	text   string
	value  Value
	offset int
}

type lexer struct {
	text string
	at   int
}

var punctuation = map[byte]tokenKind{
	'(': tokenOpen, ')': tokenClose, '[': tokenIndex, ']': tokenIndexEnd, ',': tokenComma, '*': tokenStar,
}

// operators maps what people try from other languages to the function for it.
var operators = []struct{ text, function string }{
	{"==", "eq(a, b)"}, {"!=", "ne(a, b)"}, {"<=", "le(a, b)"}, {">=", "ge(a, b)"}, {"&&", "and(a, b)"}, {"||", "or(a, b)"},
	{"!", "not(a)"}, {"<", "lt(a, b)"}, {">", "gt(a, b)"}, {"=", "eq(a, b)"}, {"&", "and(a, b)"}, {"|", "or(a, b)"}, {"+", "format('{0}{1}', a, b)"},
}

// next returns the next token. afterValue says that a value came before, so a
// point is an access and not the start of a number.
func (l *lexer) next(afterValue bool) (token, *Error) {
	for l.at < len(l.text) && strings.IndexByte(" \t\r\n", l.text[l.at]) >= 0 {
		l.at++
	}
	start := l.at
	if start == len(l.text) {
		return token{kind: tokenEnd, offset: start}, nil
	}
	c := l.text[start]
	if kind, ok := punctuation[c]; ok {
		l.at++
		return token{kind, l.text[start:l.at], nil, start}, nil
	}
	switch {
	case c == '\'':
		return l.str()
	case c == '"':
		e := syntaxError(start, 1, "a string is written in single quotes")
		e.Do = "write '…'"
		return token{}, e
	case c == '.' && afterValue:
		l.at++
		return token{tokenDot, ".", nil, start}, nil
	case c == '.' || c == '-' || isDigit(c):
		return l.number()
	case isNameStart(c):
		return l.name(), nil
	}
	for _, op := range operators {
		if strings.HasPrefix(l.text[start:], op.text) {
			e := syntaxError(start, len(op.text), "the language has no operator `%s`", op.text)
			e.Do = "write " + op.function
			return token{}, e
		}
	}
	r, size := utf8.DecodeRuneInString(l.text[start:])
	return token{}, syntaxError(start, size, "unexpected character %q", r)
}

func (l *lexer) str() (token, *Error) {
	start := l.at
	var b strings.Builder
	for i := start + 1; i < len(l.text); i++ {
		if l.text[i] != '\'' {
			b.WriteByte(l.text[i])
			continue
		}
		if i+1 < len(l.text) && l.text[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		l.at = i + 1
		return token{tokenLiteral, l.text[start:l.at], b.String(), start}, nil
	}
	e := syntaxError(start, len(l.text)-start, "the string is not closed")
	e.Do = "end it with ' (a quote inside is written '')"
	return token{}, e
}

func (l *lexer) number() (token, *Error) {
	start := l.at
	end := start + 1
	for end < len(l.text) && (isDigit(l.text[end]) || l.text[end] == '.' || isNameStart(l.text[end])) {
		end++
	}
	text := l.text[start:end]
	if strings.Count(text, ".") >= 2 {
		if v, ok := ParseVersion(text); ok {
			l.at = end
			return token{tokenLiteral, text, v, start}, nil
		}
	} else if n, ok := ParseNumber(text); ok && strings.ContainsAny(text, "0123456789") {
		l.at = end
		return token{tokenLiteral, text, n, start}, nil
	}
	e := syntaxError(start, end-start, "`%s` is not a number", text)
	if text[0] == '-' {
		e.Do = "a hyphen is not part of a name: write x['my-name'] instead of x.my-name"
	}
	return token{}, e
}

func (l *lexer) name() token {
	start := l.at
	for l.at < len(l.text) && (isNameStart(l.text[l.at]) || isDigit(l.text[l.at])) {
		l.at++
	}
	return token{tokenName, l.text[start:l.at], nil, start}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNameStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
