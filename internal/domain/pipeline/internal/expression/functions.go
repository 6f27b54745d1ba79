package expression

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// manyArgs is the most arguments a function takes.
const manyArgs = 255

type builtin struct {
	min, max int
	call     func(c *call) (Value, error)
}

// call is one call of a built-in function. Arguments are computed on demand, so
// that and, or, in and coalesce can stop early.
type call struct {
	node *Node
	env  Env
}

func (c *call) count() int                { return len(c.node.args) }
func (c *call) arg(i int) (Value, error)  { return c.node.args[i].Eval(c.env) }
func (c *call) truth(i int) (bool, error) { v, err := c.arg(i); return Truth(v), err }
func (c *call) fail(format string, args ...any) error {
	return &Error{Code: "expression-value", Message: fmt.Sprintf(format, args...), Offset: c.node.offset, Length: c.node.length}
}

// text computes an argument as text.
func (c *call) text(i int) (string, error) {
	v, err := c.arg(i)
	if err != nil {
		return "", err
	}
	s, ok := ToString(v)
	if !ok {
		return "", &Error{
			Code: "expression-type", Message: fmt.Sprintf("argument %d of %s cannot be %s", i+1, c.node.name, TypeName(v)),
			Offset: c.node.args[i].offset, Length: c.node.args[i].length, Expected: "a string", Found: TypeName(v),
		}
	}
	return s, nil
}

// texts computes all arguments as text.
func (c *call) texts() ([]string, error) {
	out := make([]string, c.count())
	for i := range out {
		s, err := c.text(i)
		if err != nil {
			return nil, err
		}
		out[i] = s
	}
	return out, nil
}

var builtins map[string]builtin

func init() { // a function and not a literal, because the functions evaluate expressions, which look here
	builtins = map[string]builtin{
		"and":           {2, manyArgs, func(c *call) (Value, error) { return c.anyIs(false) }},
		"or":            {2, manyArgs, func(c *call) (Value, error) { return c.anyIs(true) }},
		"not":           {1, 1, func(c *call) (Value, error) { t, err := c.truth(0); return !t, err }},
		"xor":           {2, 2, xor},
		"eq":            {2, 2, func(c *call) (Value, error) { e, err := c.equal(); return e, err }},
		"ne":            {2, 2, func(c *call) (Value, error) { e, err := c.equal(); return !e, err }},
		"gt":            {2, 2, func(c *call) (Value, error) { o, err := c.order(); return o > 0, err }},
		"ge":            {2, 2, func(c *call) (Value, error) { o, err := c.order(); return o >= 0, err }},
		"lt":            {2, 2, func(c *call) (Value, error) { o, err := c.order(); return o < 0, err }},
		"le":            {2, 2, func(c *call) (Value, error) { o, err := c.order(); return o <= 0, err }},
		"in":            {1, manyArgs, func(c *call) (Value, error) { in, err := c.in(); return in, err }},
		"notin":         {1, manyArgs, func(c *call) (Value, error) { in, err := c.in(); return !in, err }},
		"contains":      {2, 2, onFolded(strings.Contains)},
		"startswith":    {2, 2, onFolded(strings.HasPrefix)},
		"endswith":      {2, 2, onFolded(strings.HasSuffix)},
		"containsvalue": {2, 2, containsValue},
		"coalesce":      {2, manyArgs, coalesce},
		"iif":           {3, 3, iif},
		"format":        {1, manyArgs, format},
		"join":          {2, 2, join},
		"split":         {2, 2, split},
		"replace":       {3, 3, replace},
		"lower":         {1, 1, onText(strings.ToLower)},
		"upper":         {1, 1, onText(strings.ToUpper)},
		"trim":          {1, 1, onText(strings.TrimSpace)},
		"substring":     {2, 3, substring},
		"length":        {1, 1, length},
		"converttojson": {1, 1, func(c *call) (Value, error) { v, err := c.arg(0); return JSON(v), err }},
	}
}

// spelling is how people write a function's name.
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
	default:
		return lower
	}
}

// anyIs serves and (is any false?) and or (is any true?).
func (c *call) anyIs(wanted bool) (Value, error) {
	for i := range c.count() {
		t, err := c.truth(i)
		if err != nil {
			return nil, err
		}
		if t == wanted {
			return wanted, nil
		}
	}
	return !wanted, nil
}

func (c *call) pair() (left, right Value, err error) {
	if left, err = c.arg(0); err != nil {
		return nil, nil, err
	}
	right, err = c.arg(1)
	return left, right, err
}

func xor(c *call) (Value, error) {
	l, r, err := c.pair()
	return Truth(l) != Truth(r), err
}

func (c *call) equal() (bool, error) {
	l, r, err := c.pair()
	return err == nil && Equal(l, r), err
}

func (c *call) order() (int, error) {
	l, r, err := c.pair()
	if err != nil {
		return 0, err
	}
	cmp, ok := order(l, r)
	if !ok {
		text, _ := ToString(r)
		return 0, &Error{
			Code: "expression-type", Message: fmt.Sprintf("%s cannot compare %s with `%s`", c.node.name, TypeName(l), text),
			Offset: c.node.offset, Length: c.node.length, Expected: TypeName(l), Found: TypeName(r),
		}
	}
	return cmp, nil
}

func (c *call) in() (bool, error) {
	needle, err := c.arg(0)
	if err != nil {
		return false, err
	}
	for i := 1; i < c.count(); i++ {
		v, err := c.arg(i)
		if err != nil {
			return false, err
		}
		if Equal(needle, v) {
			return true, nil
		}
	}
	return false, nil
}

func onText(f func(string) string) func(c *call) (Value, error) {
	return func(c *call) (Value, error) {
		s, err := c.text(0)
		return f(s), err
	}
}

func onFolded(f func(hay, needle string) bool) func(c *call) (Value, error) {
	return func(c *call) (Value, error) {
		s, err := c.texts()
		if err != nil {
			return nil, err
		}
		return f(strings.ToUpper(s[0]), strings.ToUpper(s[1])), nil
	}
}

func containsValue(c *call) (Value, error) {
	coll, wanted, err := c.pair()
	if err != nil {
		return nil, err
	}
	items, _ := members(coll)
	for _, item := range items {
		if Equal(item, wanted) {
			return true, nil
		}
	}
	return false, nil
}

// members lists an array's items or an object's values.
func members(v Value) ([]Value, bool) {
	switch v := v.(type) {
	case Array:
		return v.Items(), true
	case Object:
		var out []Value
		for _, p := range v.Pairs() {
			out = append(out, p.Value)
		}
		return out, true
	default:
		return nil, false
	}
}

func coalesce(c *call) (Value, error) {
	var v Value
	for i := range c.count() {
		var err error
		if v, err = c.arg(i); err != nil {
			return nil, err
		}
		if s, isText := v.(string); v != nil && (!isText || s != "") {
			return v, nil
		}
	}
	return v, nil
}

// iif computes both branches, as the service does.
func iif(c *call) (Value, error) {
	cond, err := c.truth(0)
	if err != nil {
		return nil, err
	}
	yes, err := c.arg(1)
	if err != nil {
		return nil, err
	}
	no, err := c.arg(2)
	if cond {
		return yes, err
	}
	return no, err
}

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
	size := 0
	texts := make([]string, len(items))
	for i, item := range items {
		texts[i], _ = ToString(item)
		if size += len(texts[i]) + len(separator); size > maxResult {
			return nil, tooLarge()
		}
	}
	return strings.Join(texts, separator), nil
}

func tooLarge() error {
	return &Error{Code: "expression-memory", Message: "the result is too large", Expected: "at most 20 MB"}
}

func split(c *call) (Value, error) {
	s, err := c.texts()
	if err != nil {
		return nil, err
	}
	if s[1] == "" {
		return NewList(s[0]), nil
	}
	parts := strings.Split(s[0], s[1])
	items := make([]Value, len(parts))
	for i, p := range parts {
		items[i] = p
	}
	return NewList(items...), nil
}

// replace ignores case, like every other comparison of the language.
func replace(c *call) (Value, error) {
	s, err := c.texts()
	if err != nil {
		return nil, err
	}
	text, old, with := s[0], s[1], s[2]
	if old == "" {
		return text, nil
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		if n := foldedPrefix(text[i:], old); n > 0 {
			b.WriteString(with)
			i += n
		} else {
			b.WriteByte(text[i])
			i++
		}
		if b.Len() > maxResult {
			return nil, tooLarge()
		}
	}
	return b.String(), nil
}

// foldedPrefix returns how many bytes of text equal prefix ignoring case, or 0.
func foldedPrefix(text, prefix string) int {
	i := 0
	for range utf8.RuneCountInString(prefix) {
		if i >= len(text) {
			return 0
		}
		_, size := utf8.DecodeRuneInString(text[i:])
		i += size
	}
	if strings.EqualFold(text[:i], prefix) {
		return i
	}
	return 0
}

func substring(c *call) (Value, error) {
	s, err := c.text(0)
	if err != nil {
		return nil, err
	}
	runes := []rune(s)
	bounds := [2]int{0, len(runes)}
	for i := 1; i < c.count(); i++ {
		v, err := c.arg(i)
		if err != nil {
			return nil, err
		}
		number, ok := ToNumber(v)
		n, whole := number.Int()
		if !ok || !whole {
			return nil, c.fail("argument %d of substring is a whole number", i+1)
		}
		bounds[i-1] = n
	}
	start := min(max(0, bounds[0]), len(runes))
	end := min(max(0, bounds[1]), len(runes)-start) + start
	return string(runes[start:end]), nil
}

func length(c *call) (Value, error) {
	v, err := c.arg(0)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case Array:
		return Int(len(v.Items())), nil
	case Object:
		return Int(len(v.Pairs())), nil
	default:
		s, _ := ToString(v)
		return Int(utf8.RuneCountInString(s)), nil
	}
}
