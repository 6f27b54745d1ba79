package expression

import "strings"

// Segment is a part of a text: literal text or, with Expr set, the inside of
// `${{ }}`. Offset is where the inside begins, in bytes.
type Segment struct {
	Text   string
	Expr   bool
	Offset int
	Index  int // which `${{` of the text, from 0
}

// SplitText cuts a text at its `${{ }}`. A `}}` inside a string literal does
// not end an expression.
func SplitText(text string) ([]Segment, error) {
	var out []Segment
	for at, index := 0, 0; ; index++ {
		open := strings.Index(text[at:], "${{")
		if open < 0 {
			if at < len(text) || len(out) == 0 {
				out = append(out, Segment{Text: text[at:], Offset: at})
			}
			return out, nil
		}
		if open > 0 {
			out = append(out, Segment{Text: text[at : at+open], Offset: at})
		}
		start := at + open + 3
		end := closing(text, start)
		if end < 0 {
			e := &Error{Code: "expression-syntax", Message: "The expression is not closed", Length: 3, Expected: "}}", Do: "end it with }}"}
			return []Segment{{Text: text, Expr: true, Offset: at + open, Index: index}}, e
		}
		out = append(out, Segment{Text: text[start:end], Expr: true, Offset: start, Index: index})
		at = end + 2
		if at == len(text) {
			return out, nil
		}
	}
}

func closing(text string, start int) int {
	quoted := false
	for i := start; i < len(text); i++ {
		switch {
		case text[i] == '\'':
			quoted = !quoted
		case !quoted && strings.HasPrefix(text[i:], "}}"):
			return i
		}
	}
	return -1
}
