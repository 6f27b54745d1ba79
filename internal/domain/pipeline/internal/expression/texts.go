package expression

import (
	"strings"
	"unicode/utf16"
)

func onText(f func(string) string) func(c *call) (Value, error) {
	return func(c *call) (Value, error) {
		s, err := c.text(0)
		if err != nil {
			return nil, err
		}
		return c.made(f(s))
	}
}

func onTexts(f func(s, part string) bool) func(c *call) (Value, error) {
	return func(c *call) (Value, error) {
		s, part, err := c.twoTexts()
		return err == nil && f(s, part), err
	}
}

func trimText(s string) string { return strings.TrimSpace(s) }

// join puts a separator between texts. What cannot be text adds nothing but its
// separator, which is only computed if there is a second item.
func join(c *call) (Value, error) {
	coll, err := c.arg(1)
	if err != nil {
		return nil, err
	}
	list, ok := coll.(Array)
	if !ok {
		s, _ := ToString(coll)
		return s, nil
	}
	items := list.Items()
	separator := ""
	if len(items) > 1 {
		if separator, err = c.text(0); err != nil {
			return nil, err
		}
	}
	var b strings.Builder
	for i, item := range items {
		if i > 0 {
			b.WriteString(separator)
		}
		text, _ := ToString(item)
		b.WriteString(text)
		if b.Len() > maxResult {
			break
		}
	}
	return c.made(b.String())
}

// split cuts at every place where the separator stands.
func split(c *call) (Value, error) {
	s, separator, err := c.twoTexts()
	if err != nil {
		return nil, err
	}
	if separator == "" {
		return NewList(s), nil
	}
	if err := c.eval.make(c.node, (strings.Count(s, separator)+1)*itemBytes); err != nil {
		return nil, err
	}
	parts := strings.Split(s, separator)
	items := make([]Value, len(parts))
	for i, p := range parts {
		items[i] = p
	}
	return NewList(items...), nil
}

// replace ignores case, like every other comparison of the language.
func replace(c *call) (Value, error) {
	text, old, err := c.twoTexts()
	if err != nil {
		return nil, err
	}
	with, err := c.text(2)
	if err != nil {
		return nil, err
	}
	out, ok := replaceFold(text, old, with, maxResult)
	if !ok {
		return nil, c.eval.make(c.node, maxResult+1)
	}
	return c.made(out)
}

// substring cuts by UTF-16 units, as length counts; bounds outside of the text
// are moved to its ends.
func substring(c *call) (Value, error) {
	s, err := c.text(0)
	if err != nil {
		return nil, err
	}
	length := utf16Length(s)
	bounds := [2]int{0, length}
	for i := 1; i < c.count(); i++ {
		v, err := c.arg(i)
		if err != nil {
			return nil, err
		}
		number, ok := ToNumber(v)
		n, whole := number.Int()
		if !ok || !whole {
			e := castError(c.node.args[i], v, "Number")
			e.Expected = "a whole number"
			return nil, e
		}
		bounds[i-1] = n
	}
	start := min(max(0, bounds[0]), length)
	end := min(max(0, bounds[1]), length-start) + start
	if length == len(s) { // one byte each
		return s[start:end], nil
	}
	if err := c.eval.make(c.node, 4*length); err != nil {
		return nil, err
	}
	return string(utf16.Decode(utf16.Encode([]rune(s))[start:end])), nil
}
