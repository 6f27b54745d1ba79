package expression

import "fmt"

// maxArgs is the most arguments that format takes; the others take what fits
// into an expression.
const (
	maxArgs  = 255
	manyArgs = MaxLength
)

type builtin struct {
	min, max int
	call     func(c *call) (Value, error)
}

// call is one call of a built-in function. Arguments are computed on demand, so
// that and, or, in and coalesce can stop early.
type call struct {
	node *Node
	eval *evaluation
}

func (c *call) count() int                { return len(c.node.args) }
func (c *call) arg(i int) (Value, error)  { return c.node.args[i].eval(c.eval) }
func (c *call) truth(i int) (bool, error) { v, err := c.arg(i); return Truth(v), err }
func (c *call) fail(format string, args ...any) error {
	return &Error{Code: "expression-value", Message: fmt.Sprintf(format, args...), Offset: c.node.offset, Length: c.node.length, unplaced: true}
}

// made returns a text that a function made, unless it is too large.
func (c *call) made(s string) (Value, error) {
	if err := c.eval.make(c.node, len(s)); err != nil {
		return nil, err
	}
	return s, nil
}

// text computes an argument as text.
func (c *call) text(i int) (string, error) {
	v, err := c.arg(i)
	if err != nil {
		return "", err
	}
	if s, isText := v.(string); isText {
		return s, c.eval.look(c.node, s)
	}
	s, ok := ToString(v)
	if !ok {
		e := castError(c.node.args[i], v, "String")
		e.Expected = "a string"
		return "", e
	}
	return s, nil
}

// twoTexts computes the first two arguments as text.
func (c *call) twoTexts() (first, second string, err error) {
	if first, err = c.text(0); err != nil {
		return "", "", err
	}
	second, err = c.text(1)
	return first, second, err
}

func (c *call) pair() (left, right Value, err error) {
	if left, err = c.arg(0); err != nil {
		return nil, nil, err
	}
	right, err = c.arg(1)
	return left, right, err
}

// builtins are the functions that stand in every expression, by lower-case name.
var builtins map[string]*builtin

func init() { // a function and not a literal, because the functions evaluate expressions, which look here
	builtins = map[string]*builtin{
		"and":           {2, manyArgs, func(c *call) (Value, error) { return c.anyIs(false) }},
		"or":            {2, manyArgs, func(c *call) (Value, error) { return c.anyIs(true) }},
		"not":           {1, 1, func(c *call) (Value, error) { t, err := c.truth(0); return !t, err }},
		"xor":           {2, 2, xor},
		"eq":            {2, 2, func(c *call) (Value, error) { l, r, err := c.pair(); return err == nil && Equal(l, r), err }},
		"ne":            {2, 2, func(c *call) (Value, error) { l, r, err := c.pair(); return err == nil && !Equal(l, r), err }},
		"gt":            {2, 2, func(c *call) (Value, error) { o, err := c.order(); return o > 0, err }},
		"ge":            {2, 2, func(c *call) (Value, error) { o, err := c.order(); return o >= 0, err }},
		"lt":            {2, 2, func(c *call) (Value, error) { o, err := c.order(); return o < 0, err }},
		"le":            {2, 2, func(c *call) (Value, error) { o, err := c.order(); return o <= 0, err }},
		"in":            {1, manyArgs, func(c *call) (Value, error) { in, err := c.in(); return in, err }},
		"notin":         {1, manyArgs, func(c *call) (Value, error) { in, err := c.in(); return !in, err }},
		"contains":      {2, 2, onTexts(containsFold)},
		"startswith":    {2, 2, onTexts(hasPrefixFold)},
		"endswith":      {2, 2, onTexts(hasSuffixFold)},
		"containsvalue": {2, 2, containsValue},
		"coalesce":      {2, manyArgs, coalesce},
		"iif":           {3, 3, iif},
		"format":        {1, maxArgs, format},
		"join":          {2, 2, join},
		"split":         {2, 2, split},
		"replace":       {3, 3, replace},
		"lower":         {1, 1, onText(lowerText)},
		"upper":         {1, 1, onText(upperText)},
		"trim":          {1, 1, onText(trimText)},
		"substring":     {2, 3, substring},
		"length":        {1, 1, length},
		"converttojson": {1, 1, convertToJSON},
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

func xor(c *call) (Value, error) {
	l, r, err := c.pair()
	return Truth(l) != Truth(r), err
}

func (c *call) order() (int, error) {
	l, r, err := c.pair()
	if err != nil {
		return 0, err
	}
	cmp, failure := order(l, r)
	if failure != nil {
		e := castError(c.node.args[failure.arg], failure.value, failure.kind)
		e.Do = "both sides of " + c.node.name + " must be of one type"
		return 0, e
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

// containsValue looks for a value among the members of a collection. The value
// is the one that the members become the type of.
func containsValue(c *call) (Value, error) {
	coll, err := c.arg(0)
	if err != nil {
		return nil, err
	}
	items, ok := members(coll)
	if !ok {
		return false, nil
	}
	wanted, err := c.arg(1)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		if Equal(wanted, item) {
			return true, nil
		}
	}
	return false, nil
}

func coalesce(c *call) (Value, error) {
	var v Value
	for i := range c.count() {
		var err error
		if v, err = c.arg(i); err != nil {
			return nil, err
		}
		if v != nil && v != "" {
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

func length(c *call) (Value, error) {
	v, err := c.arg(0)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case nil:
		return Number{}, nil
	case string:
		return Int(utf16Length(v)), nil
	case Array:
		return Int(len(v.Items())), nil
	case Object:
		return Int(len(v.Pairs())), nil
	default:
		return nil, &Error{
			Code: "expression-type", Message: "Kind '" + kindName(v) + "' not supported by the length function", unplaced: true,
			Offset: c.node.args[0].offset, Length: c.node.args[0].length, Expected: "a string, a sequence or a mapping", Found: TypeName(v),
		}
	}
}
