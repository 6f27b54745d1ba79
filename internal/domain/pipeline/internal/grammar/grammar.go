// Package grammar is the table of the pipeline language: every mapping, its
// keys, what a key takes and how far it is supported. Decoder, JSON Schema,
// documentation and editor all read this one table.
package grammar

import (
	"slices"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// State says how far a key is supported.
type State int

// The states. Note says how a key is different, or what happens meanwhile.
const (
	Supported State = iota
	Different
	NotYet
)

// String is the state as the documentation prints it.
func (s State) String() string {
	switch s {
	case Different:
		return "different"
	case NotYet:
		return "not yet"
	default:
		return "supported"
	}
}

// Kind is the form of a value.
type Kind int

// The forms of a value. A Text may be any scalar; a Choice is one of Key.Words.
const (
	Text Kind = iota
	Name
	Boolean
	Integer
	Choice
	Condition
	Script
	TaskReference
	TemplatePath
	Any
	ListKind
	MapKind
	Block
	Union
)

var kindNames = map[Kind]string{
	Text: "text", Name: "name", Boolean: "boolean", Integer: "integer", Choice: "word", Condition: "condition", Script: "script",
	TaskReference: "task@version", TemplatePath: "path", Any: "any YAML",
}

// Type is what a key takes.
type Type struct {
	Kind    Kind
	Elem    *Type    // of a list or map
	Mapping *Mapping // of a block
	Options []Type   // of a union
}

// Is makes the type of a plain value.
func Is(k Kind) Type { return Type{Kind: k} }

// ListOf makes the type of a list.
func ListOf(t Type) Type { return Type{Kind: ListKind, Elem: &t} }

// MapOf makes the type of a mapping with free keys.
func MapOf(t Type) Type { return Type{Kind: MapKind, Elem: &t} }

// In makes the type of a mapping of the language.
func In(m *Mapping) Type { return Type{Kind: Block, Mapping: m} }

// OneOf makes a union.
func OneOf(options ...Type) Type { return Type{Kind: Union, Options: options} }

// EntriesOf makes the type of a list whose entries are mappings.
func EntriesOf(entries ...*Mapping) Type {
	if len(entries) == 1 {
		return ListOf(In(entries[0]))
	}
	options := make([]Type, len(entries))
	for i, m := range entries {
		options[i] = In(m)
	}
	return ListOf(OneOf(options...))
}

// String describes the type in a few words.
func (t Type) String() string {
	switch t.Kind {
	case ListKind:
		return "list of " + t.Elem.String()
	case MapKind:
		return "map of " + t.Elem.String()
	case Block:
		return t.Mapping.Name
	case Union:
		parts := make([]string, len(t.Options))
		for i, o := range t.Options {
			parts[i] = o.String()
		}
		return strings.Join(parts, " or ")
	default:
		return kindNames[t.Kind]
	}
}

// Mappings lists the mappings that a value of the type may be.
func (t Type) Mappings() []*Mapping {
	switch t.Kind {
	case Block:
		return []*Mapping{t.Mapping}
	case Union:
		var out []*Mapping
		for _, o := range t.Options {
			out = append(out, o.Mappings()...)
		}
		return out
	default:
		return nil
	}
}

// Entry is the type of the entries when a value may be a list, or nil.
func (t Type) Entry() *Type {
	if t.Kind == ListKind {
		return t.Elem
	}
	for _, o := range t.Options {
		if e := o.Entry(); e != nil {
			return e
		}
	}
	return nil
}

// Value is the type of the values when a value may be a map, or nil.
func (t Type) Value() *Type {
	if t.Kind == MapKind {
		return t.Elem
	}
	for _, o := range t.Options {
		if v := o.Value(); v != nil {
			return v
		}
	}
	return nil
}

// Scalars lists the plain kinds that a value may have.
func (t Type) Scalars() []Kind {
	switch t.Kind {
	case ListKind, MapKind, Block:
		return nil
	case Union:
		var out []Kind
		for _, o := range t.Options {
			out = append(out, o.Scalars()...)
		}
		return out
	default:
		return []Kind{t.Kind}
	}
}

// Key is one key of a mapping.
type Key struct {
	Name     string
	Type     Type
	Doc      string   // one sentence
	Words    []string // of a Choice: all that is allowed; else: words with a meaning of their own
	State    State
	Note     string
	Required bool
	Group    string // keys of one group exclude each other; a required group needs one of them
	Unread   bool   // the compiler refuses it as unknown
	Old      bool   // read, but no longer written: editors do not offer it
}

// Mapping is one mapping of the language.
type Mapping struct {
	Noun  string // in messages: "a job"
	Name  string // in documentation: "job"
	Doc   string
	First string // the key that should be written first, or ""
	Keys  []Key
	Open  bool // other keys are passed on
}

// Key finds a key ignoring case.
func (m *Mapping) Key(name string) (Key, bool) {
	for _, k := range m.Keys {
		if strings.EqualFold(k.Name, name) {
			return k, true
		}
	}
	return Key{}, false
}

// Shape is the mapping as the reader of the tree wants it.
func (m *Mapping) Shape() syntax.Shape {
	s := syntax.Shape{Noun: m.Noun, First: m.First, Open: m.Open}
	for _, k := range m.Keys {
		if !k.Unread {
			s.Keys = append(s.Keys, k.Name)
		}
	}
	return s
}

// Names lists the keys that the compiler reads.
func (m *Mapping) Names() []string { return m.Shape().Keys }

// Pick chooses the mapping that an entry with these keys is: the one whose
// first key it has, else the one that knows most of them.
func Pick(candidates []*Mapping, keys []string) *Mapping {
	has := func(name string) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return strings.EqualFold(k, name) })
	}
	for _, m := range candidates {
		if m.First != "" && has(m.First) {
			return m
		}
	}
	var best *Mapping
	most := -1
	for _, m := range candidates {
		known := 0
		for _, k := range m.Keys {
			if has(k.Name) {
				known++
			}
		}
		if known > most {
			best, most = m, known
		}
	}
	return best
}

// All lists every mapping reachable from the kinds of files, each once, in
// reading order.
func All() []*Mapping {
	var out []*Mapping
	seen := map[*Mapping]bool{}
	var visit func(t Type)
	var mapping func(m *Mapping)
	visit = func(t Type) {
		if t.Elem != nil {
			visit(*t.Elem)
		}
		for _, o := range t.Options {
			visit(o)
		}
		if t.Mapping != nil {
			mapping(t.Mapping)
		}
	}
	mapping = func(m *Mapping) {
		if seen[m] {
			return
		}
		seen[m] = true
		out = append(out, m)
		for _, k := range m.Keys {
			visit(k.Type)
		}
	}
	for _, m := range Files() {
		mapping(m)
	}
	return out
}
