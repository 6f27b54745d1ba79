// Package expression is the expression language: text to tree, and tree to
// value. It knows nothing of YAML; contexts and extra functions come from its
// caller.
package expression

import (
	"fmt"
	"time"
)

// Value is nil (Null), bool, Number, string, Version, time.Time, Object or Array.
type Value any

// Object is a mapping. Keys are compared ignoring case.
type Object interface {
	Get(key string) (Value, bool)
	Pairs() []Pair
}

// Pair is one entry of an Object.
type Pair struct {
	Key   string
	Value Value
}

// Strict is an Object that treats an absent key as a mistake.
type Strict interface {
	Missing(key string) error
}

// Array is a list.
type Array interface{ Items() []Value }

// Plain is an Object or Array that knows which of its texts were written
// without quotes: as JSON those that are numbers or booleans are printed so.
type Plain interface {
	Plain(i int) bool // of the i-th pair or item
}

// Lazy is a context whose value is made from Env.State when it is asked for.
type Lazy func(state any) Value

// List is the Array that functions make.
type List struct{ items []Value }

// NewList makes an Array.
func NewList(items ...Value) *List { return &List{items} }

// Items returns the members.
func (l *List) Items() []Value { return l.items }

// Map is an Object in the order of its pairs.
type Map struct {
	pairs []Pair
	index map[string]int // of a large one, by folded key
}

// indexedMap is from how many pairs on an index is worth its memory.
const indexedMap = 16

// NewMap makes an Object. Of keys that are equal the first one counts.
func NewMap(pairs ...Pair) *Map {
	m := &Map{pairs: pairs}
	if len(pairs) >= indexedMap {
		m.index = make(map[string]int, len(pairs))
		for i := len(pairs) - 1; i >= 0; i-- {
			m.index[foldText(pairs[i].Key)] = i
		}
	}
	return m
}

// Get finds a key ignoring case.
func (m *Map) Get(key string) (Value, bool) {
	if m.index != nil {
		if i, ok := m.index[foldText(key)]; ok {
			return m.pairs[i].Value, true
		}
		return nil, false
	}
	for i := range m.pairs {
		if EqualFold(m.pairs[i].Key, key) {
			return m.pairs[i].Value, true
		}
	}
	return nil, false
}

// Pairs returns the entries in order.
func (m *Map) Pairs() []Pair { return m.pairs }

// filtered is what a wildcard yields: the next access applies to each member.
type filtered struct{ items []Value }

// Items returns the members.
func (f *filtered) Items() []Value { return f.items }

// Truth is the boolean a value stands for.
func Truth(v Value) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case Number:
		return v.Sign() != 0
	case string:
		return v != ""
	default:
		return true
	}
}

// ToString converts to text; a mapping or sequence cannot be.
func ToString(v Value) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case bool:
		if v {
			return "True", true
		}
		return "False", true
	case Number:
		return v.String(), true
	case string:
		return v, true
	case Version:
		return v.String(), true
	case time.Time:
		return v.Format(dateText), true
	default:
		return "", false
	}
}

// ToNumber converts to a number. Only the empty text is zero, white space is
// none.
func ToNumber(v Value) (Number, bool) {
	switch v := v.(type) {
	case nil:
		return Number{}, true
	case bool:
		if v {
			return Int(1), true
		}
		return Number{}, true
	case Number:
		return v, true
	case string:
		if v == "" {
			return Number{}, true
		}
		return ParseNumber(v)
	default:
		return Number{}, false
	}
}

func toVersion(v Value) (Version, bool) {
	switch v := v.(type) {
	case Version:
		return v, true
	case Number:
		return ParseVersion(v.String())
	case string:
		return ParseVersion(v)
	default:
		return Version{}, false
	}
}

func toTime(v Value) (time.Time, bool) {
	switch v := v.(type) {
	case time.Time:
		return v, true
	case string:
		return parseTime(v)
	default:
		return time.Time{}, false
	}
}

// ParseTime reads a date as the conversion from text does.
func ParseTime(s string) (time.Time, bool) { return parseTime(s) }

// TypeName names a value's type for messages.
func TypeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case bool:
		return "a boolean"
	case Number:
		return "a number"
	case string:
		return "a string"
	case Version:
		return "a version"
	case time.Time:
		return "a date"
	case Array:
		return "a sequence"
	case Object:
		return "a mapping"
	default:
		return fmt.Sprintf("%T", v)
	}
}
