package expression

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Texts are compared the way the service's library ignores case: character by
// character through the simple upper-case mapping. That is narrower than
// Unicode's case folding: ß is not ss, the dotless i and the long s stay
// themselves, and so does everything beyond the basic plane.

const (
	dotlessI  = 'ı'
	dottedI   = 'İ'
	longS     = 'ſ'
	firstHigh = 0x10000
)

func foldRune(r rune) rune {
	switch {
	case r < utf8.RuneSelf:
		if 'a' <= r && r <= 'z' {
			return r - 'a' + 'A'
		}
		return r
	case r == dotlessI || r == longS || r >= firstHigh:
		return r
	default:
		return unicode.ToUpper(r)
	}
}

// upperText and lowerText are the invariant case mappings of upper and lower.
func upperText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == dotlessI {
			return r
		}
		return unicode.ToUpper(r)
	}, s)
}

func lowerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r == dottedI {
			return r
		}
		return unicode.ToLower(r)
	}, s)
}

// foldText is a text that equals another one exactly when both are equal
// ignoring case.
func foldText(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	return strings.Map(foldRune, s)
}

// EqualFold reports whether two texts are equal ignoring case.
func EqualFold(a, b string) bool {
	return a == b || len(a) == len(b) && isASCII(a) && equalASCII(a, b) || compareFold(a, b) == 0
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func equalASCII(a, b string) bool {
	for i := range len(a) {
		x, y := a[i], b[i]
		if x != y && (x|0x20 != y|0x20 || x|0x20 < 'a' || x|0x20 > 'z') {
			return false
		}
	}
	return true
}

// compareFold orders texts ignoring case by their UTF-16 units.
func compareFold(a, b string) int {
	for a != "" && b != "" {
		x, xn := utf8.DecodeRuneInString(a)
		y, yn := utf8.DecodeRuneInString(b)
		if x != y {
			if x, y = unitOrder(foldRune(x)), unitOrder(foldRune(y)); x != y {
				if x < y {
					return -1
				}
				return 1
			}
		}
		a, b = a[xn:], b[yn:]
	}
	return min(len(a), 1) - min(len(b), 1)
}

// unitOrder puts characters beyond the basic plane where their surrogates are.
func unitOrder(r rune) rune {
	const afterSurrogates, planes = 0xE000, 0x110000
	switch {
	case r >= firstHigh:
		return r
	case r >= afterSurrogates:
		return r + planes
	default:
		return r
	}
}

// prefixFold returns how many bytes of s are the prefix ignoring case.
func prefixFold(s, prefix string) (int, bool) {
	at := 0
	for prefix != "" {
		if at >= len(s) {
			return 0, false
		}
		x, xn := utf8.DecodeRuneInString(s[at:])
		y, yn := utf8.DecodeRuneInString(prefix)
		if x != y && foldRune(x) != foldRune(y) {
			return 0, false
		}
		at += xn
		prefix = prefix[yn:]
	}
	return at, true
}

func hasPrefixFold(s, prefix string) bool {
	_, ok := prefixFold(s, prefix)
	return ok
}

func hasSuffixFold(s, suffix string) bool {
	for suffix != "" {
		x, xn := utf8.DecodeLastRuneInString(s)
		y, yn := utf8.DecodeLastRuneInString(suffix)
		if xn == 0 || x != y && foldRune(x) != foldRune(y) {
			return false
		}
		s, suffix = s[:len(s)-xn], suffix[:len(suffix)-yn]
	}
	return true
}

// smallSearch is the work up to which looking at every place costs less than
// making folded copies.
const smallSearch = 4096

func containsFold(s, part string) bool {
	if len(s)*len(part) > smallSearch {
		return strings.Contains(foldText(s), foldText(part))
	}
	for at := range s {
		if hasPrefixFold(s[at:], part) {
			return true
		}
	}
	return part == ""
}

// replaceFold replaces every occurrence, ignoring case, in time linear in the
// text. ok is false if the result would be larger than limit.
func replaceFold(s, old, with string, limit int) (result string, ok bool) {
	folded, part := foldText(s), foldText(old)
	var b strings.Builder
	for {
		at := strings.Index(folded, part)
		if at < 0 || old == "" {
			break
		}
		skip := sameRunes(s, folded[:at])
		if b.Len()+skip+len(with) > limit {
			return "", false
		}
		b.WriteString(s[:skip])
		b.WriteString(with)
		s = s[skip:]
		s = s[sameRunes(s, part):]
		folded = folded[at+len(part):]
	}
	if b.Len() == 0 {
		return s, len(s) <= limit
	}
	if b.Len()+len(s) > limit {
		return "", false
	}
	b.WriteString(s)
	return b.String(), true
}

// sameRunes returns how many bytes of s hold as many characters as part does:
// folding may change the bytes of a character.
func sameRunes(s, part string) int {
	at := 0
	for range part {
		_, n := utf8.DecodeRuneInString(s[at:])
		at += n
	}
	return at
}
