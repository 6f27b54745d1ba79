package template

import (
	"fmt"
	"sort"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

func canonicalType(text string) (string, bool) {
	for _, name := range grammar.ParameterTypes {
		if strings.EqualFold(name, strings.TrimSpace(text)) {
			return name, true
		}
	}
	return "", false
}

// wants says in words what a type accepts.
func wants(kind string) string {
	switch kind {
	case "boolean":
		return "true or false"
	case "number":
		return "a number"
	case "object", "legacyObject", "container", "containerList":
		return "any YAML"
	case "step", "job", "stage", "deployment":
		return "a " + kind
	case "stepList", "jobList", "stageList", "deploymentList", "stringList":
		return "a list of " + strings.TrimSuffix(kind, "List") + "s"
	default:
		return "a string"
	}
}

// slotOfType is where a value of the type will stand in the pipeline.
func slotOfType(kind string) slot {
	switch kind {
	case "step":
		return slotStep
	case "stepList":
		return slotSteps
	case "job", "deployment":
		return slotJob
	case "jobList", "deploymentList":
		return slotJobs
	case "stage":
		return slotStage
	case "stageList":
		return slotStages
	default:
		return slotAny
	}
}

// convert checks a value against a parameter's type. ok is false after a report.
func (x *Expander) convert(p Parameter, n *syntax.Node, where func(*syntax.Problem)) (out *syntax.Node, ok bool) {
	out, ok = convertTo(p.Type, n)
	if !ok {
		article := "a "
		if strings.ContainsAny(p.Type[:1], "aeio") {
			article = "an "
		}
		e := x.report.Error(n, "parameter-type", "parameter %s wants %s%s", p.Name, article, p.Type).Want("%s", wants(p.Type)).Got("%s", syntax.Describe(n))
		where(e)
		return bad(n, n.Call), false
	}
	if len(p.Values) > 0 && !x.allowed(p, out) {
		e := x.report.Error(n, "parameter-value", "parameter %s does not allow this value", p.Name).Want("%s", strings.Join(p.Values, ", ")).Got("%s", syntax.Describe(n))
		if near := syntax.Nearest(n.Text, p.Values); near != "" {
			e.Try("write %s", near)
		}
		where(e)
		return out, false
	}
	if at := slotOfType(p.Type); at != slotAny {
		out = longForm(out, at)
	}
	return out, true
}

func (x *Expander) allowed(p Parameter, n *syntax.Node) bool {
	items := []*syntax.Node{n}
	if n.Kind == syntax.Sequence {
		items = n.Items
	}
	for _, item := range items {
		found := false
		for _, v := range p.Values {
			converted, ok := convertTo(strings.TrimSuffix(p.Type, "List"), &syntax.Node{Text: v})
			found = found || strings.EqualFold(v, item.Text) || ok && converted.Text == item.Text
		}
		if !found {
			return false
		}
	}
	return true
}

func convertTo(kind string, n *syntax.Node) (*syntax.Node, bool) {
	if n.Bad {
		return n, true
	}
	c := *n
	switch kind {
	case "object", "legacyObject", "container", "containerList":
		return n, true
	case "number":
		if number, ok := n.Typed.(expression.Number); ok {
			c.Typed = number
			return &c, n.Kind == syntax.Scalar
		}
		number, ok := expression.ParseNumber(n.Text)
		c.Typed, c.Text = number, number.String()
		return &c, ok && n.Kind == syntax.Scalar && strings.TrimSpace(n.Text) != ""
	case "boolean":
		b, ok := ParseBool(n.Text)
		c.Typed = b
		c.Text, _ = expression.ToString(b)
		return &c, ok && n.Kind == syntax.Scalar
	case "stringList":
		return n, n.Kind == syntax.Sequence || n.IsEmpty()
	case "step", "job", "stage", "deployment":
		return n, n.Kind == syntax.Mapping || n.Kind == syntax.Scalar && n.Text == ""
	case "stepList", "jobList", "stageList", "deploymentList":
		n = flatten(n)
		return n, n.Kind == syntax.Scalar && n.Text == "" || n.Kind == syntax.Sequence && allMappings(n.Items)
	default:
		c.Typed = nil
		return &c, n.Kind == syntax.Scalar
	}
}

// flatten splices lists that stand in a list of steps, jobs or stages, as
// `- ${{ parameters.steps }}` in an argument gives them.
func flatten(n *syntax.Node) *syntax.Node {
	nested := false
	for _, item := range n.Items {
		nested = nested || item.Kind == syntax.Sequence
	}
	if !nested {
		return n
	}
	c := *n
	c.Items = nil
	for _, item := range n.Items {
		if item.Kind == syntax.Sequence {
			c.Items = append(c.Items, item.Items...)
		} else {
			c.Items = append(c.Items, item)
		}
	}
	return &c
}

func allMappings(items []*syntax.Node) bool {
	for _, item := range items {
		if item.Kind != syntax.Mapping && !item.Bad && !strings.Contains(item.Text, "${{") {
			return false
		}
	}
	return true
}

// ParseBool reads the words that stand for a boolean.
func ParseBool(text string) (value, ok bool) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "y", "yes", "on":
		return true, true
	case "false", "n", "no", "off":
		return false, true
	default:
		return false, false
	}
}

// longForm writes script shortcuts as the tasks they are. Templates that look
// at the steps they are given (to refuse scripts, say) see one form only.
func longForm(n *syntax.Node, at slot) *syntax.Node {
	if n.Kind == syntax.Scalar || at == slotAny || at == slotData {
		return n
	}
	c := *n
	switch {
	case n.Kind == syntax.Sequence:
		c.Items = make([]*syntax.Node, len(n.Items))
		for i, item := range n.Items {
			c.Items[i] = longForm(item, at.item())
		}
	case at == slotStep:
		return longStep(n)
	default:
		c.Pairs = make([]syntax.Pair, len(n.Pairs))
		for i, p := range n.Pairs {
			c.Pairs[i] = syntax.Pair{Key: p.Key, Value: longForm(p.Value, at.child(p.Key.Text))}
		}
	}
	return &c
}

// Shortcuts are the script steps and the tasks they stand for.
var Shortcuts = map[string]string{"script": "CmdLine@2", "bash": "Bash@3", "pwsh": "PowerShell@2", "powershell": "PowerShell@2"}

// shortcutInputs are the keys of a script step that are inputs of its task.
var shortcutInputs = map[string]bool{"workingdirectory": true, "failonstderr": true, "erroractionpreference": true, "ignorelastexitcode": true}

func longStep(n *syntax.Node) *syntax.Node {
	kind := ""
	for _, p := range n.Pairs {
		if name := strings.ToLower(p.Key.Text); Shortcuts[name] != "" {
			kind = name
		}
	}
	if kind == "" {
		return n
	}
	c := &syntax.Node{Kind: syntax.Mapping, Pos: n.Pos, Call: n.Call}
	inputs := &syntax.Node{Kind: syntax.Mapping, Pos: n.Pos, Call: n.Call}
	plain := func(text string, at *syntax.Node) *syntax.Node {
		return &syntax.Node{Text: text, Pos: at.Pos, Call: at.Call}
	}
	var rest []syntax.Pair
	for _, p := range n.Pairs {
		switch name := strings.ToLower(p.Key.Text); {
		case name == kind:
			c.Pairs = append(c.Pairs, syntax.Pair{Key: plain("task", p.Key), Value: plain(Shortcuts[kind], p.Key)})
			if kind != "script" {
				inputs.Pairs = append(inputs.Pairs, syntax.Pair{Key: plain("targetType", p.Key), Value: plain("inline", p.Key)})
			}
			inputs.Pairs = append(inputs.Pairs, syntax.Pair{Key: plain("script", p.Key), Value: p.Value})
			if kind == "pwsh" {
				inputs.Pairs = append(inputs.Pairs, syntax.Pair{Key: plain("pwsh", p.Key), Value: plain("true", p.Key)})
			}
		case shortcutInputs[name]:
			inputs.Pairs = append(inputs.Pairs, p)
		default:
			rest = append(rest, p)
		}
	}
	c.Pairs = append(append(c.Pairs, rest...), syntax.Pair{Key: plain("inputs", n), Value: inputs})
	return c
}

// fromAny turns a value given from outside into a node at the declaration.
func fromAny(v any, at *syntax.Node) *syntax.Node {
	n := &syntax.Node{Pos: at.Pos}
	switch v := v.(type) {
	case nil:
	case string:
		n.Text = v
	case bool:
		n.Typed = v
		n.Text, _ = expression.ToString(v)
	case float64:
		if number, ok := expression.Float(v); ok {
			n.Typed, n.Text = number, number.String()
		} else {
			n.Text = fmt.Sprint(v)
		}
	case int:
		n.Typed, n.Text = expression.Int(v), fmt.Sprint(v)
	case []any:
		n.Kind = syntax.Sequence
		for _, item := range v {
			n.Items = append(n.Items, member(item, at))
		}
	case map[string]any:
		n.Kind = syntax.Mapping
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			n.Pairs = append(n.Pairs, syntax.Pair{Key: &syntax.Node{Text: name, Pos: at.Pos}, Value: member(v[name], at)})
		}
	default:
		n.Text = fmt.Sprint(v)
	}
	return n
}

// member is a value inside of a list or mapping. Text there is text, also when
// it looks like a number: whoever sent it could have sent a number.
func member(v any, at *syntax.Node) *syntax.Node {
	n := fromAny(v, at)
	_, n.Quoted = v.(string)
	return n
}
