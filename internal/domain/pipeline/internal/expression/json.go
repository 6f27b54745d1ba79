package expression

import (
	"strings"
	"time"
	"unicode/utf8"
)

// maxJSONDepth is how deep a value may be nested to be printed.
const maxJSONDepth = 1000

// JSON prints a value as indented JSON. Text stays text, unless it is a member
// of a Plain collection that says it was written like a number or boolean. ok is
// false for what is too large or nested too deeply.
func JSON(v Value) (text string, ok bool) {
	w := &jsonWriter{}
	ok = w.write(v, 0)
	return w.b.String(), ok && w.b.Len() <= maxResult
}

func convertToJSON(c *call) (Value, error) {
	v, err := c.arg(0)
	if err != nil {
		return nil, err
	}
	text, ok := JSON(v)
	if !ok {
		return nil, c.eval.make(c.node, maxResult+1)
	}
	return c.made(text)
}

type jsonWriter struct{ b strings.Builder }

func (w *jsonWriter) write(v Value, depth int) bool {
	if depth > maxJSONDepth || w.b.Len() > maxResult {
		return false
	}
	switch v := v.(type) {
	case nil:
		w.b.WriteString("null")
	case bool:
		w.b.WriteString(literalText(v))
	case Number:
		w.b.WriteString(v.Exact())
	case time.Time:
		w.quote(v.Format("2006-01-02T15:04:05.9999999-07:00"))
	case Array:
		items := v.Items()
		return w.members('[', ']', len(items), depth, func(i int) bool { return w.member(v, i, items[i], depth) })
	case Object:
		pairs := v.Pairs()
		return w.members('{', '}', len(pairs), depth, func(i int) bool {
			w.quote(pairs[i].Key)
			w.b.WriteString(": ")
			return w.member(v, i, pairs[i].Value, depth)
		})
	default:
		s, _ := ToString(v)
		w.quote(s)
	}
	return true
}

func (w *jsonWriter) members(open, closing byte, count, depth int, member func(i int) bool) bool {
	w.b.WriteByte(open)
	for i := range count {
		if i > 0 {
			w.b.WriteByte(',')
		}
		w.newline(depth + 1)
		if !member(i) {
			return false
		}
	}
	if count > 0 {
		w.newline(depth)
	}
	w.b.WriteByte(closing)
	return true
}

func (w *jsonWriter) newline(depth int) {
	w.b.WriteByte('\n')
	for range depth {
		w.b.WriteString("  ")
	}
}

func (w *jsonWriter) member(parent Value, i int, v Value, depth int) bool {
	if text, isText := v.(string); isText {
		if plain, ok := parent.(Plain); ok && plain.Plain(i) {
			if bare, ok := bareJSON(text); ok {
				w.b.WriteString(bare)
				return true
			}
		}
	}
	return w.write(v, depth+1)
}

// bareJSON is the JSON of a plain text that is a boolean or a number.
func bareJSON(text string) (string, bool) {
	if EqualFold(text, "true") || EqualFold(text, "false") {
		return strings.ToLower(text), true
	}
	digits := strings.TrimPrefix(text, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if !allDigits(whole) || point && !allDigits(fraction) || len(whole) > 1 && whole[0] == '0' {
		return "", false
	}
	return text, true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

// escapes are the short ones of JSON.
var escapes = map[rune]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

func (w *jsonWriter) quote(s string) {
	w.b.WriteByte('"')
	start := 0
	for i, r := range s {
		if r >= ' ' && r != '"' && r != '\\' && r != 0x85 && r != 0x2028 && r != 0x2029 && r != utf8.RuneError {
			continue
		}
		w.b.WriteString(s[start:i])
		_, size := utf8.DecodeRuneInString(s[i:])
		start = i + size
		if short, ok := escapes[r]; ok {
			w.b.WriteString(short)
		} else if r == utf8.RuneError {
			w.b.WriteRune(r) // also for bytes that are no character
		} else {
			w.b.WriteString(`\u`)
			for shift := 12; shift >= 0; shift -= 4 {
				w.b.WriteByte("0123456789abcdef"[r>>shift&0xf])
			}
		}
	}
	w.b.WriteString(s[start:])
	w.b.WriteByte('"')
}
