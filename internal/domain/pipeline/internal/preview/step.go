package preview

import (
	"slices"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
	"penstock.dev/penstock/internal/domain/pipeline/internal/template"
)

// common are the keys of every step; the other keys of a shorthand are inputs
// of its task.
var common = []string{"name", "displayname", "condition", "continueonerror", "enabled", "env", "timeoutinminutes", "retrycountontaskfailure", "target"}

// shorthand is how a step that is no `task:` is printed.
type shorthand struct {
	task   string
	input  string            // that takes the key's value
	before []string          // inputs in front of it: name, value
	after  []string          // inputs behind it
	rename map[string]string // other keys whose input has another name
}

var shorthands = map[string]shorthand{
	"checkout":      {task: CheckoutID + "@1", input: "repository"},
	"download":      {task: DownloadID + "@1", input: "alias"},
	"downloadbuild": {task: DownloadID + "@1", input: "alias"},
	"publish":       {task: PublishID + "@1", input: "path", rename: map[string]string{"artifact": "artifactName"}},
	"upload":        {task: PublishID + "@1", input: "path", rename: map[string]string{"artifact": "artifactName"}},
	"getpackage":    {task: "GetPackage@1", input: "alias"},
	"reviewapp":     {task: "ReviewApp@0", input: "resourceName"},
	"script":        {task: template.Shortcuts["script"], input: "script"},
	"bash":          {task: template.Shortcuts["bash"], input: "script", before: []string{"targetType", "inline"}},
	"powershell":    {task: template.Shortcuts["powershell"], input: "script", before: []string{"targetType", "inline"}},
	"pwsh":          {task: template.Shortcuts["pwsh"], input: "script", before: []string{"targetType", "inline"}, after: []string{"pwsh", "true"}},
}

// step prints every kind of step as the task it is.
func step(n *syntax.Node) *syntax.Node {
	if n.Kind != syntax.Mapping {
		return n
	}
	if n.Get("task") == nil {
		for _, p := range n.Pairs {
			if s, ok := shorthands[strings.ToLower(p.Key.Text)]; ok {
				return fields(stepRules)(s.write(n, p))
			}
		}
	}
	return fields(stepRules)(n)
}

// write makes the task step: its reference, what all steps have, its inputs.
func (s shorthand) write(n *syntax.Node, kind syntax.Pair) *syntax.Node {
	out := mapping(n, pair("task", text(s.task, kind.Key), kind.Key))
	inputs := mapping(n)
	fixed := func(words []string) {
		for i := 0; i+1 < len(words); i += 2 {
			inputs.Pairs = append(inputs.Pairs, pair(words[i], text(words[i+1], kind.Key), kind.Key))
		}
	}
	fixed(s.before)
	inputs.Pairs = append(inputs.Pairs, pair(s.input, kind.Value, kind.Key))
	fixed(s.after)
	for _, p := range n.Pairs {
		switch name := strings.ToLower(p.Key.Text); {
		case name == strings.ToLower(kind.Key.Text):
		case slices.Contains(common, name):
			out.Pairs = append(out.Pairs, p)
		case name == "inputs" && p.Value.Kind == syntax.Mapping:
			inputs.Pairs = append(inputs.Pairs, p.Value.Pairs...)
		case s.rename[name] != "":
			inputs.Pairs = append(inputs.Pairs, pair(s.rename[name], p.Value, p.Key))
		default:
			inputs.Pairs = append(inputs.Pairs, p)
		}
	}
	if skipped := kind.Value.Kind == syntax.Scalar && strings.EqualFold(kind.Value.Text, "none"); skipped && (s.input == "repository" || s.input == "alias") && out.Get("condition") == nil {
		out.Pairs = append(out.Pairs, pair("condition", text("false", kind.Value), kind.Value))
	}
	out.Pairs = append(out.Pairs, pair("inputs", inputs, n))
	return out
}
