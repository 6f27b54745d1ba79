package expression

import (
	"cmp"
	"slices"
)

// Signature is a built-in function and how many arguments it takes.
type Signature struct {
	Name     string
	Min, Max int
}

// Builtins lists the built-in functions by name.
func Builtins() []Signature {
	out := make([]Signature, 0, len(builtins))
	for name, b := range builtins {
		out = append(out, Signature{Name: spelling(name), Min: b.min, Max: b.max})
	}
	slices.SortFunc(out, func(a, b Signature) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
