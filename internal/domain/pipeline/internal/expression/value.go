// Package expression is the expression language: text to tree, and tree to
// value. It knows nothing of YAML; contexts and extra functions come from its
// caller.
package expression

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
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

// List is the Array that functions make.
type List struct{ items []Value }

// NewList makes an Array.
func NewList(items ...Value) *List { return &List{items} }

// Items returns the members.
func (l *List) Items() []Value { return l.items }

// Map is an Object in the order of its pairs.
type Map struct{ pairs []Pair }

// NewMap makes an Object.
func NewMap(pairs ...Pair) *Map { return &Map{pairs} }

// Get finds a key ignoring case.
func (m *Map) Get(key string) (Value, bool) {
	for _, p := range m.pairs {
		if strings.EqualFold(p.Key, key) {
			return p.Value, true
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

// Number is a decimal number; it is never rounded to binary.
type Number struct{ rat *big.Rat }

// maxDigits is how many digits a decimal number may have.
const maxDigits = 29

// Int makes a Number.
func Int(n int) Number { return Number{new(big.Rat).SetInt64(int64(n))} }

// Float makes a Number from the shortest decimal text of f.
func Float(f float64) (Number, bool) {
	return ParseNumber(strconv.FormatFloat(f, 'f', -1, 64))
}

// Int returns the number as an int when it is a whole number that fits.
func (n Number) Int() (int, bool) {
	if n.rat == nil || !n.rat.IsInt() || !n.rat.Num().IsInt64() {
		return 0, n.rat == nil
	}
	return int(n.rat.Num().Int64()), true
}

// Float returns the nearest float64.
func (n Number) Float() float64 {
	if n.rat == nil {
		return 0
	}
	f, _ := n.rat.Float64()
	return f
}

// Sign is -1, 0 or 1.
func (n Number) Sign() int {
	if n.rat == nil {
		return 0
	}
	return n.rat.Sign()
}

// Cmp orders numbers.
func (n Number) Cmp(o Number) int { return n.value().Cmp(o.value()) }

func (n Number) value() *big.Rat {
	if n.rat == nil {
		return new(big.Rat)
	}
	return n.rat
}

// String prints at most seven decimals, without trailing zeros.
func (n Number) String() string {
	s := n.value().FloatString(7)
	s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	if s == "" || s == "-" || s == "-0" {
		return "0"
	}
	return s
}

// ParseNumber reads a decimal text: optional white space, sign, thousands
// commas and a point, but no exponent. Empty text is zero.
func ParseNumber(s string) (Number, bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return Int(0), true
	}
	body := strings.TrimLeft(s, "+-")
	if len(s)-len(body) > 1 {
		return Number{}, false
	}
	whole, fraction, _ := strings.Cut(body, ".")
	clean := strings.ReplaceAll(whole, ",", "")
	if strings.HasPrefix(whole, ",") || clean == "" && fraction == "" {
		return Number{}, false
	}
	for _, c := range clean + fraction {
		if c < '0' || c > '9' {
			return Number{}, false
		}
	}
	if len(strings.TrimLeft(clean, "0")) > maxDigits || len(fraction) > 10*maxDigits {
		return Number{}, false
	}
	text := clean + "." + fraction + "0"
	if s[0] == '-' {
		text = "-" + text
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return Number{}, false
	}
	return Number{r}, true
}

// Version has two to four parts; absent ones are -1.
type Version struct{ parts [4]int }

// ParseVersion reads "1.2", "1.2.3" or "1.2.3.4".
func ParseVersion(s string) (Version, bool) {
	v := Version{[4]int{-1, -1, -1, -1}}
	fields := strings.Split(strings.TrimSpace(s), ".")
	if len(fields) < 2 || len(fields) > 4 {
		return v, false
	}
	for i, f := range fields {
		n, err := strconv.ParseInt(f, 10, 32)
		if err != nil || n < 0 || f[0] == '+' || f[0] == '-' {
			return v, false
		}
		v.parts[i] = int(n)
	}
	return v, true
}

// String joins the parts that are there.
func (v Version) String() string {
	parts := []string{}
	for _, p := range v.parts {
		if p >= 0 {
			parts = append(parts, strconv.Itoa(p))
		}
	}
	return strings.Join(parts, ".")
}

// Cmp orders versions part by part; 1.2 comes before 1.2.0.
func (v Version) Cmp(o Version) int {
	for i := range v.parts {
		if d := v.parts[i] - o.parts[i]; d != 0 {
			return d
		}
	}
	return 0
}

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
		return v.Format("2006-01-02 15:04:05-07:00"), true
	default:
		return "", false
	}
}

// ToNumber converts to a number.
func ToNumber(v Value) (Number, bool) {
	switch v := v.(type) {
	case nil:
		return Int(0), true
	case bool:
		if v {
			return Int(1), true
		}
		return Int(0), true
	case Number:
		return v, true
	case string:
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

// parseTime reads a date with time; the zone may be absent and is UTC then.
func parseTime(s string) (time.Time, bool) {
	s = strings.ReplaceAll(strings.TrimSpace(s), "/", "-")
	s = strings.Replace(s, "T", " ", 1)
	for _, layout := range []string{"2006-1-2 15:4:5.9999999Z07:00", "2006-1-2 15:4:5.9999999 Z07:00", "2006-1-2 15:4:5.9999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

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
