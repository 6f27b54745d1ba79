package pipeline

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

var variableShape = grammar.VariableEntry.Shape()

// variables reads both forms of a `variables` block.
func (d *decoder) variables(n *syntax.Node, slot RuntimeSlot) []Variable {
	if n == nil || n.Bad || n.IsEmpty() {
		return nil
	}
	var out []Variable
	if n.Kind == syntax.Mapping {
		for _, p := range n.Pairs {
			v := Variable{Name: p.Key.Text, Value: d.text(p.Value, "variable `"+p.Key.Text+"`"), Origin: originOf(p.Key)}
			d.checkVariable(v, p.Key, p.Value, slot)
			out = append(out, v)
		}
		return out
	}
	if n.Kind == syntax.Scalar {
		d.report.Error(n, "expected-mapping", "`variables` is a mapping or a sequence").Want("name: value, or a list").Got("%s", syntax.Describe(n))
		return nil
	}
	for _, item := range d.list(n, "`variables`") {
		f, ok := syntax.ReadFields(d.report, item, variableShape)
		if !ok {
			continue
		}
		v := Variable{Origin: originOf(item)}
		switch {
		case f.Has("group") && f.Has("name"):
			d.report.Error(f.Key("group"), "two-kinds", "an entry of `variables` is either a variable or a group").Try("split it into two entries")
			continue
		case f.Has("group"):
			v.Group = d.required(f, "group", "a variable group")
			for _, key := range []string{"value", "readonly"} {
				if f.Has(key) {
					d.report.Error(f.Key(key), "unknown-key", "a variable group has no key `%s`", key).Want("group")
				}
			}
		default:
			v.Name, v.Value = d.required(f, "name", "a variable"), d.key(f, "value")
			v.ReadOnly = d.boolean(f, "readonly", false)
			d.checkVariable(v, f.Get("name"), f.Get("value"), slot)
		}
		out = append(out, v)
	}
	return out
}

func (d *decoder) checkVariable(v Variable, name, value *syntax.Node, slot RuntimeSlot) {
	if strings.EqualFold(v.Name, "path") {
		d.report.Warn(name, "variable-path", "a variable called %s replaces PATH in every script", v.Name).Try("rename it")
	}
	if body, ok := runtimeExpression(v.Value); ok {
		d.checkRuntime(value, body, slot)
	}
}
