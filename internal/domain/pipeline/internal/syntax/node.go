// Package syntax reads YAML text into a tree whose every node knows where it
// was written, and collects the problems found on the way.
package syntax

import "strings"

// Kind is the shape of a Node.
type Kind int

// The three shapes. An empty value is a Scalar with empty text, because the
// dialect has no null.
const (
	Scalar Kind = iota
	Sequence
	Mapping
)

// String names the kind the way people say it.
func (k Kind) String() string {
	switch k {
	case Sequence:
		return "a sequence"
	case Mapping:
		return "a mapping"
	default:
		return "a string"
	}
}

// File is one source file.
type File struct {
	Repository string // "self" or an alias
	Path       string // slash separated, without a leading slash
	Lines      []string
	Root       *Node // nil when the text cannot be read
}

// Name is how the file is shown: its path, with the alias of a foreign repository.
func (f *File) Name() string {
	if f == nil {
		return ""
	}
	if f.Repository == "" || f.Repository == "self" {
		return f.Path
	}
	return f.Path + "@" + f.Repository
}

// Line returns the text of a 1-based line, or "".
func (f *File) Line(n int) string {
	if f == nil || n < 1 || n > len(f.Lines) {
		return ""
	}
	return f.Lines[n-1]
}

// Pos is a 1-based place in a file.
type Pos struct {
	File   *File
	Line   int
	Column int
}

// Call is one template call; calls form a list from the innermost outward.
type Call struct {
	Pos
	Outer *Call
	Depth int
}

// Pair is one entry of a mapping.
type Pair struct{ Key, Value *Node }

// Node is one value of the tree. Nodes are never changed once they are built,
// so parts of one tree may be shared by another.
type Node struct {
	Kind  Kind
	Text  string // of a scalar
	Typed any    // of a scalar made by an expression: its typed value
	Items []*Node
	Pairs []Pair
	Pos
	Call   *Call // how expansion got here; nil in the root file
	Quoted bool
	Block  bool // literal or folded
	Bad    bool // a problem was reported here; readers stay silent about it
}

// Get returns the value of a key, compared ignoring case, or nil.
func (n *Node) Get(key string) *Node {
	if n == nil || n.Kind != Mapping {
		return nil
	}
	for _, p := range n.Pairs {
		if strings.EqualFold(p.Key.Text, key) {
			return p.Value
		}
	}
	return nil
}

// IsEmpty reports whether the node is an empty scalar, as `key:` gives. Quotes
// make no difference: an expanded file quotes every empty value.
func (n *Node) IsEmpty() bool {
	return n == nil || n.Kind == Scalar && n.Text == ""
}

// Plain converts the tree to strings, lists and maps; a typed scalar keeps its
// type through convert.
func (n *Node) Plain(convert func(any) any) any {
	switch {
	case n == nil:
		return nil
	case n.Kind == Sequence:
		out := make([]any, 0, len(n.Items))
		for _, item := range n.Items {
			out = append(out, item.Plain(convert))
		}
		return out
	case n.Kind == Mapping:
		out := make(map[string]any, len(n.Pairs))
		for _, p := range n.Pairs {
			out[p.Key.Text] = p.Value.Plain(convert)
		}
		return out
	case n.Typed != nil && convert != nil:
		return convert(n.Typed)
	default:
		return n.Text
	}
}
