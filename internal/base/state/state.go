// Package state holds tables of legal moves. A state lives in one table; what
// the table does not name cannot happen.
package state

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// Moves maps a state to the states that may follow it.
type Moves[S ~string] map[S][]S

// Check returns fault.Conflict if the move is not legal. Staying is legal.
func (m Moves[S]) Check(what string, from, to S) error {
	if from == to || slices.Contains(m[from], to) {
		return nil
	}
	return fault.New(fault.Conflict, "illegal-move", "%s cannot go from %s to %s", what, from, to).
		Try("reload it and look at what changed")
}

// Final reports whether no move leaves the state.
func (m Moves[S]) Final(s S) bool { return len(m[s]) == 0 }

// Mermaid prints the table as a state diagram; start is the first state.
func (m Moves[S]) Mermaid(start S) string {
	var b strings.Builder
	fmt.Fprintf(&b, "stateDiagram-v2\n    [*] --> %s\n", start)
	from := make([]string, 0, len(m))
	for s := range m {
		from = append(from, string(s))
	}
	sort.Strings(from)
	for _, s := range from {
		for _, to := range m[S(s)] {
			fmt.Fprintf(&b, "    %s --> %s\n", s, to)
		}
		if m.Final(S(s)) {
			fmt.Fprintf(&b, "    %s --> [*]\n", s)
		}
	}
	return b.String()
}
