package expression

import (
	"errors"
	"fmt"
	"math"
)

// Function is a function its caller adds to the language; state is that of the
// environment.
type Function struct {
	Min, Max int // arguments
	Call     func(state any, args []Value) (Value, error)
}

// Env is what an expression may name. It can serve any number of evaluations,
// also at the same time; what differs between them is in State.
type Env struct {
	Contexts  map[string]Value    // lower-case name → value, or Lazy
	Functions map[string]Function // lower-case name → function
	State     any                 // for Lazy contexts and functions
}

const (
	// maxResult bounds the text and the lists that one function makes.
	maxResult = 20 << 20
	// maxMade bounds what all functions of one evaluation make together, so
	// that an expression cannot keep many large results at the same time.
	maxMade = 48 << 20
	// maxRead bounds the text that all functions of one evaluation look at: half
	// a second of work.
	maxRead = 128 << 20
	// itemBytes is about what a member of a list takes.
	itemBytes = 48
)

// Check reports the first name, function or argument count that env does not
// know, also in parts that an evaluation would not reach.
func (n *Node) Check(env Env) error {
	if err := n.check(&env); err != nil {
		token, at := n.named(err)
		words := "Unrecognized value"
		if err.Code == "argument-count" {
			words = "Unexpected symbol"
		}
		err.Message, err.unplaced = fmt.Sprintf("%s: '%s'. %s", words, token, where(n.source, at)), false
		return err
	}
	return nil
}

// named returns the token that the service names for a mistake.
func (n *Node) named(err *Error) (token string, at int) {
	if err.Code == "argument-count" {
		return ")", err.Offset + err.Length
	}
	return err.Found, err.Offset
}

func (n *Node) check(env *Env) *Error {
	switch n.op {
	case opName:
		if _, ok := env.Contexts[n.key]; !ok {
			return unknown(n, *env, false)
		}
	case opCall:
		if n.function != nil {
			break
		}
		f, ok := env.Functions[n.key]
		if !ok {
			return unknown(n, *env, true)
		}
		if len(n.args) < f.Min || len(n.args) > f.Max {
			err := countError(n, f.Min, f.Max, len(n.args))
			err.Length = n.end - n.offset
			return err
		}
	}
	if n.target != nil {
		if err := n.target.check(env); err != nil {
			return err
		}
	}
	for _, a := range n.args {
		if err := a.check(env); err != nil {
			return err
		}
	}
	return nil
}

// evaluation is one run of an expression.
type evaluation struct {
	env   *Env
	read  int // bytes of text that functions looked at
	made  int // bytes that functions made
	trace *trace
}

// Eval computes the value.
func (n *Node) Eval(env Env) (Value, error) { return n.run(&evaluation{env: &env}) }

func (n *Node) run(e *evaluation) (Value, error) {
	v, err := n.eval(e)
	if err == nil {
		return v, nil
	}
	var own *Error
	if errors.As(err, &own) && own.unplaced {
		own.unplaced = false
		own.Message += ". " + where(n.source, own.Offset)
	}
	return nil, err
}

func (n *Node) eval(e *evaluation) (Value, error) {
	if e.trace != nil {
		return e.trace.step(n, e)
	}
	return n.compute(e)
}

func (n *Node) compute(e *evaluation) (Value, error) {
	switch n.op {
	case opLiteral:
		return n.value, nil
	case opName:
		v, ok := e.env.Contexts[n.key]
		if !ok {
			return nil, unknown(n, *e.env, false)
		}
		if lazy, isLazy := v.(Lazy); isLazy {
			return lazy(e.env.State), nil
		}
		return v, nil
	case opCall:
		if n.function != nil {
			v, err := n.function.call(&call{n, e})
			if err != nil {
				return nil, n.located(err)
			}
			return v, nil
		}
		return n.extraCall(e)
	case opWildcard:
		target, err := n.target.eval(e)
		if err != nil {
			return nil, err
		}
		return n.wildcard(e, target)
	default:
		return n.index(e)
	}
}

func (n *Node) extraCall(e *evaluation) (Value, error) {
	f, ok := e.env.Functions[n.key]
	if !ok {
		return nil, unknown(n, *e.env, true)
	}
	args := make([]Value, len(n.args))
	for i, a := range n.args {
		v, err := a.eval(e)
		if err != nil {
			return nil, err
		}
		args[i] = v
	}
	v, err := f.Call(e.env.State, args)
	if err != nil {
		return nil, n.located(err)
	}
	return v, nil
}

// located gives an error without a place the place of this node.
func (n *Node) located(err error) error {
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		if own.Length == 0 {
			own.Offset, own.Length = n.offset, n.length
		}
		return own
	}
	return &Error{Code: "expression-value", Message: err.Error(), Offset: n.offset, Length: n.length, unplaced: true}
}

// make counts what a function made.
func (e *evaluation) make(n *Node, bytes int) error {
	if e.made += bytes; bytes <= maxResult && e.made <= maxMade {
		return nil
	}
	return &Error{
		Code: "expression-memory", Message: "The maximum allowed memory size was exceeded while evaluating the expression", unplaced: true,
		Offset: n.offset, Length: n.length, Expected: "at most 20 MB for one result, 48 MB for all",
	}
}

// look counts the text that a function looks at.
func (e *evaluation) look(n *Node, s string) error {
	if e.read += len(s); e.read <= maxRead {
		return nil
	}
	return &Error{
		Code: "expression-work", Message: "The expression looks at too much text", unplaced: true,
		Offset: n.offset, Length: n.length, Expected: "at most 128 MB for all functions together",
	}
}

// index reads a key of an object or a position of an array. What is not there
// is nothing, never a mistake, and the key of nothing is not even computed.
func (n *Node) index(e *evaluation) (Value, error) {
	target, err := n.target.eval(e)
	if err != nil {
		return nil, err
	}
	switch target.(type) {
	case Array, Object:
	default:
		return nil, nil
	}
	key, err := n.args[0].eval(e)
	if err != nil {
		return nil, err
	}
	if f, ok := target.(*filtered); ok {
		out := &filtered{}
		for _, item := range f.items {
			v, found, err := n.access(item, key)
			if err != nil {
				return nil, err
			}
			if found {
				out.items = append(out.items, v)
			}
		}
		return out, e.make(n, len(out.items)*itemBytes)
	}
	v, found, err := n.access(target, key)
	if err != nil {
		return nil, err
	}
	if strict, ok := target.(Strict); ok && !found {
		text, _ := ToString(key)
		return nil, n.located(strict.Missing(text))
	}
	return v, nil
}

func (n *Node) access(target, key Value) (v Value, found bool, err error) {
	switch t := target.(type) {
	case Array:
		number, ok := ToNumber(key)
		if !ok || number.Sign() < 0 {
			return nil, false, nil
		}
		i, ok := number.Int()
		if !ok {
			floor := number.floor()
			i, ok = int(floor.Int64()), floor.IsInt64()
		}
		if !ok || i > math.MaxInt32 {
			return nil, false, &Error{Code: "expression-value", Message: "The index " + number.String() + " is too large", Expected: "at most 2147483647", Offset: n.offset, Length: n.length, unplaced: true}
		}
		if items := t.Items(); i < len(items) {
			return items[i], true, nil
		}
	case Object:
		if text, ok := ToString(key); ok {
			v, found = t.Get(text)
			return v, found, nil
		}
	}
	return nil, false, nil
}

func (n *Node) wildcard(e *evaluation, target Value) (Value, error) {
	out := &filtered{}
	if f, ok := target.(*filtered); ok {
		for _, item := range f.items {
			members, _ := members(item)
			out.items = append(out.items, members...)
			if len(out.items)*itemBytes > maxResult {
				break
			}
		}
	} else {
		all, _ := members(target)
		out.items = append(out.items, all...)
	}
	return out, e.make(n, len(out.items)*itemBytes)
}

// members lists an array's items or an object's values.
func members(v Value) ([]Value, bool) {
	switch v := v.(type) {
	case Array:
		return v.Items(), true
	case Object:
		pairs := v.Pairs()
		out := make([]Value, len(pairs))
		for i, p := range pairs {
			out[i] = p.Value
		}
		return out, true
	default:
		return nil, false
	}
}
