// Package schema prints the pipeline language as JSON Schema, for editors that
// know schemas but not Penstock. It is generated from the language's table, so
// it accepts what the compiler accepts, save that JSON Schema cannot compare
// keys ignoring case.
package schema

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
)

type object = map[string]any

// Texts that are computed later have any value: `${{ }}` before a run, the
// others in it.
const (
	template = `\$\{\{`
	computed = `\$\{\{|\$\(|\$\[`
)

// Pipeline is the JSON Schema (2020-12) of pipeline files and templates.
func Pipeline() []byte {
	defs := object{
		"text":    object{"type": []string{"string", "number", "boolean", "null"}},
		"boolean": object{"anyOf": []any{object{"type": []string{"boolean", "null"}}, object{"type": "string", "pattern": anyCase(booleanWords) + "|" + computed}}},
		"integer": object{"anyOf": []any{object{"type": []string{"integer", "null"}}, object{"type": "string", "pattern": `^[0-9]+$|` + computed}}},
		"task":    object{"type": "string", "pattern": `^[^@\s]+@[0-9]+(\.[0-9]+){0,2}$|` + template},
		"path":    object{"type": "string", "minLength": 1},
		// a mapping with a computed key may have any further key
		"computed": object{"type": "object", "not": object{"propertyNames": object{"not": object{"pattern": template}}}},
		"inserted": object{"type": "string", "pattern": template},
	}
	for _, m := range grammar.All() {
		defs[id(m)] = mapping(m)
	}
	root := file()
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "azure-pipelines.yml"
	root["description"] = "A pipeline, or a template of one. Penstock compares keys ignoring case; this schema has their usual spelling."
	root["$defs"] = defs
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(root) // maps, slices and strings always encode
	return b.Bytes()
}

// file is what a file may be. A template of stages, jobs or steps looks like a
// pipeline, and one of variables only lacks the body.
func file() object {
	m := *grammar.Pipeline
	m.Keys = slices.Clone(m.Keys)
	var bodies []any
	for i, k := range m.Keys {
		if k.Group == "body" {
			m.Keys[i].Required = false
			bodies = append(bodies, required(k.Name))
		}
	}
	out := mapping(&m)
	all, _ := out["allOf"].([]any)
	out["allOf"] = append(all, object{"anyOf": append(bodies, required("variables"), ref("computed"))})
	return out
}

// anyCase is a pattern of words in any case; JSON Schema has no flag for it.
func anyCase(words []string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte('|')
		}
		for _, c := range w {
			if upper, lower := unicode.ToUpper(c), unicode.ToLower(c); upper != lower {
				b.WriteString("[" + string(upper) + string(lower) + "]")
			} else {
				b.WriteRune(c)
			}
		}
	}
	return "^(?:" + b.String() + ")$"
}

var booleanWords = []string{"true", "false", "yes", "no", "on", "off", "y", "n"}

func id(m *grammar.Mapping) string { return strings.ReplaceAll(m.Name, " ", "-") }

func ref(name string) object { return object{"$ref": "#/$defs/" + name} }

func required(names ...string) object { return object{"required": names} }

// mapping is the schema of one mapping.
func mapping(m *grammar.Mapping) object {
	properties := object{}
	for _, k := range m.Keys {
		if !k.Unread {
			properties[k.Name] = property(k)
		}
	}
	out := object{
		"type": "object", "description": m.Doc, "properties": properties,
		"patternProperties": object{template: true}, "additionalProperties": m.Open,
	}
	if rules := presence(m); len(rules) > 0 {
		out["allOf"] = rules
	}
	return out
}

// presence says which keys are needed and which exclude each other.
func presence(m *grammar.Mapping) []any {
	var rules []any
	groups := map[string][]string{}
	var order []string
	needed := map[string]bool{}
	for _, k := range m.Keys {
		switch {
		case k.Unread:
		case k.Group != "":
			if groups[k.Group] == nil {
				order = append(order, k.Group)
			}
			groups[k.Group] = append(groups[k.Group], k.Name)
			needed[k.Group] = needed[k.Group] || k.Required
		case k.Required && k.Name == m.First:
			rules = append(rules, required(k.Name))
		case k.Required:
			rules = append(rules, object{"anyOf": []any{required(k.Name), ref("computed")}})
		}
	}
	for _, name := range order {
		var alone, pairs []any
		for i, key := range groups[name] {
			alone = append(alone, required(key))
			for _, other := range groups[name][i+1:] {
				pairs = append(pairs, required(key, other))
			}
		}
		if needed[name] {
			rules = append(rules, object{"anyOf": append(alone, ref("computed"))})
		}
		rules = append(rules, object{"not": object{"anyOf": pairs}})
	}
	return rules
}

func property(k grammar.Key) object {
	out := value(k, k.Type)
	if _, isRef := out["$ref"]; isRef {
		out = object{"allOf": []any{out}}
	}
	out["description"] = k.Doc
	if k.Note != "" {
		out["description"] = k.Doc + " (" + k.State.String() + ": " + k.Note + ")"
	}
	if len(k.Words) > 0 && k.Type.Kind != grammar.Choice {
		out["examples"] = k.Words
	}
	return out
}

// value is the schema of a type.
func value(k grammar.Key, t grammar.Type) object {
	switch t.Kind {
	case grammar.Boolean:
		return ref("boolean")
	case grammar.Integer:
		return ref("integer")
	case grammar.Choice:
		return object{"anyOf": []any{object{"enum": k.Words}, object{"type": "string", "pattern": anyCase(k.Words)}, ref("inserted"), object{"type": "null"}}}
	case grammar.TaskReference:
		return ref("task")
	case grammar.TemplatePath:
		return ref("path")
	case grammar.Any:
		return object{}
	case grammar.ListKind:
		return object{"anyOf": []any{list(k, *t.Elem), ref("inserted"), object{"type": "null"}, ref("computed")}}
	case grammar.MapKind:
		return object{"anyOf": []any{
			object{"type": "object", "patternProperties": object{template: true}, "additionalProperties": value(k, *t.Elem)},
			ref("inserted"), object{"type": "null"},
		}}
	case grammar.Block:
		return object{"anyOf": []any{ref(id(t.Mapping)), ref("inserted"), object{"type": "null"}, ref("computed")}}
	case grammar.Union:
		var options []any
		for _, o := range t.Options {
			options = append(options, value(k, o))
		}
		return object{"anyOf": options}
	default:
		return ref("text")
	}
}

// list is the schema of a list: directives and inserted lists may stand among
// its entries.
func list(k grammar.Key, entry grammar.Type) object {
	var options []any
	if mappings := entry.Mappings(); len(mappings) > 0 {
		for _, m := range mappings {
			options = append(options, ref(id(m)))
		}
	} else {
		options = append(options, value(k, entry))
	}
	return object{"type": "array", "items": object{"anyOf": append(options, ref("computed"), ref("inserted"))}}
}
