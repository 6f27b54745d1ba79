package expression

import (
	"strconv"
	"strings"
	"time"
)

// formatPart is literal text or, with arg from 0, an argument.
type formatPart struct {
	text string // or the date specifiers of an argument
	arg  int
}

// format fills {0}, {1:yyyyMMdd} and so on; {{ and }} are single braces. The
// whole pattern is read before any argument is computed, each of them once.
func format(c *call) (Value, error) {
	pattern, err := c.text(0)
	if err != nil {
		return nil, err
	}
	var room [8]formatPart
	parts, err := formatParts(c, pattern, room[:0])
	if err != nil {
		return nil, err
	}
	if len(parts) == 1 && parts[0].arg < 0 {
		return parts[0].text, nil
	}
	known := make([]*formatArg, c.count()-1)
	var b strings.Builder
	for _, part := range parts {
		if part.arg < 0 {
			b.WriteString(part.text)
		} else {
			if known[part.arg] == nil {
				if known[part.arg], err = argOf(c, part.arg); err != nil {
					return nil, err
				}
			}
			text, err := known[part.arg].print(c, part.text)
			if err != nil {
				return nil, err
			}
			b.WriteString(text)
		}
		if b.Len() > maxResult {
			break
		}
	}
	return c.made(b.String())
}

type formatArg struct {
	value Value
	text  string
}

func argOf(c *call, i int) (*formatArg, error) {
	v, err := c.arg(i + 1)
	if err != nil {
		return nil, err
	}
	text, ok := ToString(v)
	if !ok {
		e := castError(c.node.args[i+1], v, "String")
		e.Expected = "a string"
		return nil, e
	}
	return &formatArg{v, text}, nil
}

func (a *formatArg) print(c *call, spec string) (string, error) {
	if spec == "" {
		return a.text, nil
	}
	if t, isTime := a.value.(time.Time); isTime {
		if text, ok := formatDate(t, spec); ok {
			return text, nil
		}
	}
	return "", c.fail("The format specifiers '%s' are not valid for objects of type '%s'", spec, kindName(a.value))
}

func formatParts(c *call, pattern string, parts []formatPart) ([]formatPart, error) {
	invalid := func() error { return c.fail("The following format string is invalid: %s", pattern) }
	literal := func(text string) {
		if text != "" {
			parts = append(parts, formatPart{text, -1})
		}
	}
	for at := 0; at < len(pattern); {
		brace := strings.IndexAny(pattern[at:], "{}")
		if brace < 0 {
			literal(pattern[at:])
			break
		}
		brace += at
		switch {
		case brace+1 < len(pattern) && pattern[brace+1] == pattern[brace]:
			literal(pattern[at : brace+1])
			at = brace + 2
		case pattern[brace] == '}':
			return nil, invalid()
		default:
			part, end, ok := formatItem(pattern, brace+1)
			if !ok {
				return nil, invalid()
			}
			if part.arg+1 >= c.count() {
				return nil, c.fail("The following format string references more arguments than were supplied: %s", pattern)
			}
			literal(pattern[at:brace])
			parts = append(parts, part)
			at = end
		}
	}
	return parts, nil
}

// formatItem reads what is between braces: digits and perhaps : with specifiers,
// in which }} is one brace.
func formatItem(pattern string, at int) (part formatPart, end int, ok bool) {
	digits := at
	for at < len(pattern) && isDigit(pattern[at]) {
		at++
	}
	index, err := strconv.ParseUint(pattern[digits:at], 10, 8)
	if err != nil || at == len(pattern) {
		return part, 0, false
	}
	part.arg = int(index)
	if pattern[at] == '}' {
		return part, at + 1, true
	}
	if pattern[at] != ':' {
		return part, 0, false
	}
	var spec strings.Builder
	for at++; at < len(pattern); at++ {
		if pattern[at] == '}' {
			if at+1 == len(pattern) || pattern[at+1] != '}' {
				part.text = spec.String()
				return part, at + 1, true
			}
			at++
		}
		spec.WriteByte(pattern[at])
	}
	return part, 0, false
}
