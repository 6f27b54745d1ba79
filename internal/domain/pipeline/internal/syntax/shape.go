package syntax

import (
	"fmt"
	"strings"
)

// Shape is what a mapping of the pipeline language may hold.
type Shape struct {
	Noun  string // "a job"
	Keys  []string
	First string // the key that should come first, or ""
	Open  bool   // other keys are passed on
}

// Fields is a mapping read by a Shape; keys are in the shape's spelling.
type Fields struct {
	Node   *Node
	values map[string]Pair
}

// Get returns the value of a key, or nil.
func (f Fields) Get(key string) *Node { return f.values[key].Value }

// Key returns the node of the key itself, or nil.
func (f Fields) Key(key string) *Node { return f.values[key].Key }

// Has reports whether the key was written.
func (f Fields) Has(key string) bool { return f.values[key].Key != nil }

// ReadFields checks a mapping against its shape and reports every unknown,
// repeated or differently spelled key. ok is false when n is no mapping.
func ReadFields(r *Report, n *Node, shape Shape) (f Fields, ok bool) {
	f = Fields{Node: n, values: map[string]Pair{}}
	if n == nil || n.Bad {
		return f, false
	}
	if n.Kind != Mapping {
		r.Error(n, "expected-mapping", "%s is a mapping", shape.Noun).
			Want("%s", joinKeys(shape.Keys)).Got("%s", Describe(n))
		return f, false
	}
	byLower := make(map[string]string, len(shape.Keys))
	for _, k := range shape.Keys {
		byLower[strings.ToLower(k)] = k
	}
	for _, p := range n.Pairs {
		if p.Key.Bad {
			continue
		}
		key, known := byLower[strings.ToLower(p.Key.Text)]
		switch {
		case !known && shape.Open:
			continue
		case !known:
			unknownKey(r, p.Key, shape)
			continue
		case key != p.Key.Text:
			r.Warn(p.Key, "key-case", "`%s` is written `%s`", p.Key.Text, key).Try("write %s", key)
		}
		if _, again := f.values[key]; again {
			DuplicateKey(r, p.Key)
			continue
		}
		f.values[key] = p
	}
	if f.Has(shape.First) && len(n.Pairs) > 0 && !strings.EqualFold(n.Pairs[0].Key.Text, shape.First) {
		r.Warn(f.Key(shape.First), "key-order", "`%s` should be the first key of %s", shape.First, shape.Noun).
			Try("move %s to the front; other servers insist on it", shape.First)
	}
	return f, true
}

// DuplicateKey reports a key that its mapping already has.
func DuplicateKey(r *Report, key *Node) {
	if key.Text == "" && r.Failed() {
		return // the expression of the key has failed, and said so
	}
	r.Error(key, "duplicate-key", "'%s' is already defined", key.Text).Try("keep one of them")
}

func unknownKey(r *Report, key *Node, shape Shape) {
	p := r.Error(key, "unknown-key", "%s has no key `%s`", shape.Noun, key.Text).
		Want("%s", joinKeys(shape.Keys)).Got("%s", key.Text)
	if near := Nearest(key.Text, shape.Keys); near != "" {
		p.Expected = joinKeys(moveFirst(shape.Keys, near))
		p.Try("write %s", near)
	}
}

// moveFirst puts the likely key where a shortened list still shows it.
func moveFirst(keys []string, first string) []string {
	out := []string{first}
	for _, k := range keys {
		if k != first {
			out = append(out, k)
		}
	}
	return out
}

func joinKeys(keys []string) string {
	const shown = 6
	if len(keys) <= shown {
		return strings.Join(keys, ", ")
	}
	return fmt.Sprintf("%s, … (%d keys)", strings.Join(keys[:shown], ", "), len(keys))
}

// Describe says what a node is, for a found answer.
func Describe(n *Node) string {
	switch {
	case n == nil:
		return "nothing"
	case n.Kind != Scalar:
		return n.Kind.String()
	case n.Text == "":
		return "nothing"
	}
	text, rest, cut := strings.Cut(n.Text, "\n")
	if runes := []rune(text); len(runes) > 60 {
		return string(runes[:60]) + "…"
	}
	if cut && strings.TrimSpace(rest) != "" {
		return text + "…"
	}
	return text
}
