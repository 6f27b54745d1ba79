package expression

import (
	"sort"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Function is a function its caller adds to the language. Name is lower case.
type Function struct {
	Min, Max int // arguments
	Call     func(args []Value) (Value, error)
}

// Env is what an expression may name.
type Env struct {
	Contexts  map[string]Value    // lower-case name → value
	Functions map[string]Function // lower-case name → function
}

// maxResult bounds the text and the lists that one function makes.
const maxResult = 20 << 20

// Check reports the first name, function or argument count that env does not
// know, also in parts that an evaluation would not reach.
func (n *Node) Check(env Env) error {
	switch n.op {
	case opName:
		if _, ok := env.Contexts[strings.ToLower(n.name)]; !ok {
			return unknownName(n, env)
		}
	case opCall:
		if err := n.checkCall(env); err != nil {
			return err
		}
	}
	if n.target != nil {
		if err := n.target.Check(env); err != nil {
			return err
		}
	}
	for _, a := range n.args {
		if err := a.Check(env); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) checkCall(env Env) error {
	lowest, highest := 0, 0
	name := strings.ToLower(n.name)
	if f, ok := builtins[name]; ok {
		lowest, highest = f.min, f.max
	} else if f, ok := env.Functions[name]; ok {
		lowest, highest = f.Min, f.Max
	} else {
		return unknownFunction(n, env)
	}
	if len(n.args) < lowest || len(n.args) > highest {
		return &Error{
			Code: "argument-count", Message: "function " + n.name + " has the wrong number of arguments",
			Offset: n.offset, Length: n.length, Expected: countText(lowest, highest), Found: countText(len(n.args), len(n.args)),
		}
	}
	return nil
}

func countText(lowest, highest int) string {
	n := Int(lowest).String()
	switch {
	case lowest == 1 && highest == 1:
		return "1 argument"
	case lowest == highest:
		return n + " arguments"
	case highest >= manyArgs:
		return n + " or more arguments"
	default:
		return n + " to " + Int(highest).String() + " arguments"
	}
}

func unknownName(n *Node, env Env) error {
	names := make([]string, 0, len(env.Contexts))
	for name := range env.Contexts {
		names = append(names, name)
	}
	sort.Strings(names)
	e := &Error{Code: "unknown-name", Message: "unrecognized value: '" + n.name + "'", Offset: n.offset, Length: n.length, Found: n.name}
	if len(names) > 0 {
		e.Expected = strings.Join(names, ", ")
	}
	if near := syntax.Nearest(n.name, names); near != "" {
		e.Do = "write " + near
	} else {
		e.Do = "quote it if it is text: '" + n.name + "'"
	}
	return e
}

func unknownFunction(n *Node, env Env) error {
	names := make([]string, 0, len(builtins)+len(env.Functions))
	for name := range builtins {
		names = append(names, spelling(name))
	}
	for name := range env.Functions {
		names = append(names, spelling(name))
	}
	sort.Strings(names)
	e := &Error{Code: "unknown-function", Message: "unrecognized function: '" + n.name + "'", Offset: n.offset, Length: n.length, Found: n.name}
	lower := strings.ToLower(n.name)
	switch near := syntax.Nearest(n.name, names); {
	case near != "":
		e.Do = "write " + near
	case statusNames[lower]:
		e.Do = "status functions belong in a condition"
	case lower == "counter":
		e.Do = "counter belongs in a variable's value: $[ counter(…) ]"
	}
	return e
}

var statusNames = map[string]bool{"always": true, "succeeded": true, "failed": true, "canceled": true, "succeededorfailed": true}

// Eval computes the value. Run Check first: Eval trusts names and counts.
func (n *Node) Eval(env Env) (Value, error) {
	switch n.op {
	case opLiteral:
		return n.value, nil
	case opName:
		v, ok := env.Contexts[strings.ToLower(n.name)]
		if !ok {
			return nil, unknownName(n, env)
		}
		return v, nil
	case opCall:
		return n.evalCall(env)
	case opWildcard:
		target, err := n.target.Eval(env)
		if err != nil {
			return nil, err
		}
		return wildcard(target), nil
	default:
		return n.evalIndex(env)
	}
}

func (n *Node) evalCall(env Env) (Value, error) {
	name := strings.ToLower(n.name)
	if f, ok := builtins[name]; ok {
		v, err := f.call(&call{node: n, env: env})
		return v, n.located(err)
	}
	f, ok := env.Functions[name]
	if !ok {
		return nil, unknownFunction(n, env)
	}
	args := make([]Value, len(n.args))
	for i, a := range n.args {
		v, err := a.Eval(env)
		if err != nil {
			return nil, err
		}
		args[i] = v
	}
	v, err := f.Call(args)
	return v, n.located(err)
}

// located gives an error without a place the place of this node.
func (n *Node) located(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok {
		if e.Length == 0 {
			e.Offset, e.Length = n.offset, n.length
		}
		return e
	}
	return &Error{Code: "expression-value", Message: err.Error(), Offset: n.offset, Length: n.length}
}

func (n *Node) evalIndex(env Env) (Value, error) {
	target, err := n.target.Eval(env)
	if err != nil {
		return nil, err
	}
	key, err := n.args[0].Eval(env)
	if err != nil {
		return nil, err
	}
	if f, ok := target.(*filtered); ok {
		out := &filtered{}
		for _, item := range f.items {
			if v, found := access(item, key); found {
				out.items = append(out.items, v)
			}
		}
		return out, nil
	}
	v, found := access(target, key)
	if strict, ok := target.(Strict); ok && !found {
		text, _ := ToString(key)
		return nil, n.located(strict.Missing(text))
	}
	return v, nil
}

// access reads a key of an object or a position of an array; anything that is
// not there is nothing, never a mistake.
func access(target, key Value) (Value, bool) {
	switch t := target.(type) {
	case Array:
		number, ok := ToNumber(key)
		if !ok {
			return nil, false
		}
		i, ok := number.Int()
		if text, isText := key.(string); isText && strings.TrimSpace(text) == "" {
			ok = false
		}
		if items := t.Items(); ok && i >= 0 && i < len(items) {
			return items[i], true
		}
	case Object:
		if text, ok := ToString(key); ok {
			return t.Get(text)
		}
	}
	return nil, false
}

func wildcard(target Value) Value {
	out := &filtered{}
	switch t := target.(type) {
	case *filtered:
		for _, item := range t.items {
			if inner, ok := wildcard(item).(*filtered); ok {
				out.items = append(out.items, inner.items...)
			}
		}
	case Array:
		out.items = append(out.items, t.Items()...)
	case Object:
		for _, p := range t.Pairs() {
			out.items = append(out.items, p.Value)
		}
	}
	return out
}
