package expression

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokenNone tokenKind = iota // before the first and after the last
	tokenOpen                  // (
	tokenClose
	tokenIndex // [
	tokenIndexEnd
	tokenComma
	tokenDot
	tokenStar
	tokenLiteral  // number, version, string, boolean
	tokenName     // a context or function
	tokenProperty // a name after a point
	tokenWrong    // nothing of the language
)

type token struct {
	kind   tokenKind
	offset int
	text   string
	value  Value
}

// lexer cuts a text into tokens. Where a token ends does not depend on whether
// it makes sense, so a mistake is named as a whole.
type lexer struct {
	text string
	at   int
	last tokenKind
}

var punctuation = [utf8.RuneSelf]tokenKind{
	'(': tokenOpen, ')': tokenClose, '[': tokenIndex, ']': tokenIndexEnd, ',': tokenComma, '*': tokenStar,
}

// next returns the next token; its kind is tokenNone at the end.
func (l *lexer) next() token {
	l.skipSpace()
	start := l.at
	if start == len(l.text) {
		return token{offset: start}
	}
	tok := token{offset: start}
	switch c := l.text[start]; {
	case c < utf8.RuneSelf && punctuation[c] != tokenNone:
		tok.kind = punctuation[c]
		l.at++
	case c == '\'':
		tok.kind, tok.value = l.str()
	case c == '.' && !l.numberMayStart():
		tok.kind = tokenDot
		l.at++
	case c == '.' || c == '-' || isDigit(c):
		tok.kind, tok.value = l.number()
	default:
		tok.kind, tok.value = l.word()
	}
	tok.text = l.text[start:l.at]
	l.last = tok.kind
	return tok
}

func (l *lexer) skipSpace() {
	for l.at < len(l.text) {
		r, size := utf8.DecodeRuneInString(l.text[l.at:])
		if !unicode.IsSpace(r) {
			return
		}
		l.at += size
	}
}

// numberMayStart tells the point of .5 from that of an access.
func (l *lexer) numberMayStart() bool {
	switch l.last {
	case tokenNone, tokenComma, tokenIndex, tokenOpen:
		return true
	default:
		return false
	}
}

// toEnd moves behind a number or word: to white space or punctuation.
func (l *lexer) toEnd(points bool) string {
	start := l.at
	for l.at++; l.at < len(l.text); {
		c := l.text[l.at]
		if c < utf8.RuneSelf {
			if c == '.' && !points || c != '*' && punctuation[c] != tokenNone || strings.IndexByte(asciiSpace, c) >= 0 {
				break
			}
			l.at++
			continue
		}
		r, size := utf8.DecodeRuneInString(l.text[l.at:])
		if unicode.IsSpace(r) {
			break
		}
		l.at += size
	}
	return l.text[start:l.at]
}

func (l *lexer) number() (tokenKind, Value) {
	text := l.toEnd(true)
	if strings.Count(text, ".") >= 2 {
		if v, ok := ParseVersion(text); ok {
			return tokenLiteral, v
		}
	} else if n, ok := parseDecimal(text, false); ok {
		return tokenLiteral, n
	}
	return tokenWrong, nil
}

func (l *lexer) word() (tokenKind, Value) {
	text := l.toEnd(false)
	switch {
	case !isName(text):
		return tokenWrong, nil
	case l.last == tokenDot:
		return tokenProperty, nil
	case len(text) == 4 && equalASCII(text, "true"):
		return tokenLiteral, true
	case len(text) == 5 && equalASCII(text, "false"):
		return tokenLiteral, false
	default:
		return tokenName, nil
	}
}

// str reads a text in quotes; a doubled quote inside is one.
func (l *lexer) str() (tokenKind, Value) {
	start := l.at + 1
	doubled := false
	for l.at = start; l.at < len(l.text); l.at++ {
		if l.text[l.at] != '\'' {
			continue
		}
		if l.at+1 < len(l.text) && l.text[l.at+1] == '\'' {
			doubled = true
			l.at++
			continue
		}
		text := l.text[start:l.at]
		l.at++
		if doubled {
			text = strings.ReplaceAll(text, "''", "'")
		}
		return tokenLiteral, text
	}
	return tokenWrong, nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isNameStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isName(text string) bool {
	for i := range len(text) {
		if !isNameStart(text[i]) && (i == 0 || !isDigit(text[i])) {
			return false
		}
	}
	return text != ""
}
