package pipeline_test

import (
	"fmt"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
)

// sample is a mapping in the order of its keys; it prints as a JSON object,
// which is YAML.
type sample []sampleKey

type sampleKey struct {
	name  string
	value any // string, []any, sample
}

func printed(v any) string {
	switch v := v.(type) {
	case sample:
		parts := make([]string, len(v))
		for i, k := range v {
			parts[i] = fmt.Sprintf("%q: %s", k.name, printed(k.value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		parts := make([]string, len(v))
		for i, item := range v {
			parts[i] = printed(item)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	default:
		return fmt.Sprintf("%q", v)
	}
}

// use is one key tried out: a whole file that holds it.
type use struct {
	path string // pipeline › stages › stage › pool
	key  grammar.Key
	value,
	file any
}

// mostUses is in how many surroundings a mapping is tried: steps, for one, may
// stand in a dozen.
const mostUses = 3

// uses makes a file for every key and every form of its value.
func uses(root *grammar.Mapping, each func(use)) {
	u := &user{each: each, tried: map[*grammar.Mapping]int{}}
	u.mapping(root, "", func(v any) any { return v })
}

type user struct {
	each  func(use)
	tried map[*grammar.Mapping]int
}

func (u *user) mapping(m *grammar.Mapping, path string, wrap func(any) any) {
	if u.tried[m]++; u.tried[m] > mostUses {
		return
	}
	for _, k := range m.Keys {
		at := path + " › " + m.Name + "." + k.Name
		u.visit(k, k.Type, at, func(v any) any { return wrap(minimal(m, k, v)) })
	}
}

func (u *user) visit(k grammar.Key, t grammar.Type, path string, put func(any) any) {
	try := func(v any) { u.each(use{path: path, key: k, value: v, file: put(v)}) }
	switch t.Kind {
	case grammar.Union:
		for _, o := range t.Options {
			u.visit(k, o, path, put)
		}
	case grammar.ListKind:
		try([]any{})
		u.visit(k, *t.Elem, path, func(v any) any { return put([]any{v}) })
	case grammar.MapKind:
		u.visit(k, *t.Elem, path, func(v any) any { return put(sample{{"x", v}}) })
	case grammar.Block:
		u.mapping(t.Mapping, path, put)
	default:
		for _, v := range plain(k, t) {
			try(v)
		}
	}
}

// minimal is the smallest mapping of its kind that has the key with the value.
func minimal(m *grammar.Mapping, key grammar.Key, value any) sample {
	out := sample{}
	groups := map[string]bool{key.Group: key.Group != ""}
	for _, k := range m.Keys {
		switch {
		case k.Name == key.Name:
			out = append(out, sampleKey{k.Name, value})
		case (k.Required || k.Name == "deploy") && (k.Group == "" || !groups[k.Group] && smallest[k.Name]):
			out = append(out, sampleKey{k.Name, anyOf(k, k.Type)})
			groups[k.Group] = true
		}
	}
	return out
}

// smallest are the members of groups that a minimal mapping takes.
var smallest = map[string]bool{"steps": true, "runOnce": true}

func anyOf(k grammar.Key, t grammar.Type) any {
	switch t.Kind {
	case grammar.Union:
		return anyOf(k, t.Options[0])
	case grammar.ListKind:
		return []any{anyOf(k, *t.Elem)}
	case grammar.MapKind:
		return sample{}
	case grammar.Block:
		return minimal(t.Mapping, grammar.Key{}, nil)
	default:
		return plain(k, t)[0]
	}
}

// plain are values of a plain kind.
func plain(k grammar.Key, t grammar.Type) []string {
	switch t.Kind {
	case grammar.Boolean:
		return []string{"true", "false"}
	case grammar.Integer:
		return []string{"2"}
	case grammar.Choice:
		return k.Words
	case grammar.Condition:
		return []string{"always()"}
	case grammar.TaskReference:
		return []string{"CopyFiles@2"}
	case grammar.TemplatePath:
		return []string{"made.yml"}
	case grammar.Text, grammar.Name:
		if v, ok := texts[k.Name]; ok {
			return append([]string{v}, k.Words...)
		}
		return append([]string{"x"}, k.Words...)
	default:
		return []string{"x"}
	}
}

// texts are keys that do not take any text.
var texts = map[string]string{
	"cron": "0 3 * * *", "maxParallel": "50%", "matrix": "$[ variables.legs ]", "demands": "git", "schedules": "none", "parameters": "",
}
