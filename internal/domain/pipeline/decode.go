package pipeline

import (
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
	"penstock.dev/penstock/internal/domain/pipeline/internal/template"
)

// decoder reads an expanded tree into a Plan. Its methods never stop at a
// mistake: they report it and return the zero value.
type decoder struct {
	report     *syntax.Report
	head       bool
	containers []ContainerResource // also those written inline
	pipelines  []PipelineResource
	// selfCheckout are options for checkouts of self, from the old `resources`.
	selfCheckout map[string]string
}

// text reads a scalar; what names the key in the message.
func (d *decoder) text(n *syntax.Node, what string) string {
	if n == nil || n.Bad {
		return ""
	}
	if n.Kind != syntax.Scalar {
		d.report.Error(n, "expected-string", "%s is a string", what).Want("a string").Got("%s", n.Kind)
		return ""
	}
	return n.Text
}

// key reads the scalar value of a key.
func (d *decoder) key(f syntax.Fields, key string) string {
	return d.text(f.Get(key), "`"+key+"`")
}

// required reads a scalar where an empty value is a mistake.
func (d *decoder) required(f syntax.Fields, key, noun string) string {
	n := f.Get(key)
	text := d.key(f, key)
	if text == "" && (n == nil || !n.Bad && n.Kind == syntax.Scalar) {
		at := n
		if at == nil {
			at = f.Node
		}
		d.report.Error(at, "missing-key", "%s needs `%s`", noun, key).Want("%s: …", key)
	}
	return text
}

func (d *decoder) boolean(f syntax.Fields, key string, otherwise bool) bool {
	n := f.Get(key)
	if n == nil || n.Bad || n.IsEmpty() {
		return otherwise
	}
	if b, ok := n.Typed.(bool); ok {
		return b
	}
	if b, ok := template.ParseBool(n.Text); ok && n.Kind == syntax.Scalar {
		return b
	}
	d.report.Error(n, "expected-boolean", "`%s` is a boolean", key).Want("true or false").Got("%s", syntax.Describe(n))
	return otherwise
}

// integer reads a whole number of at least lowest.
func (d *decoder) integer(f syntax.Fields, key string, otherwise, lowest int) int {
	n := f.Get(key)
	if n == nil || n.Bad || n.IsEmpty() {
		return otherwise
	}
	i, err := strconv.Atoi(strings.TrimSpace(n.Text))
	if err != nil || n.Kind != syntax.Scalar || i < lowest || i > 1<<31-1 {
		want := "a whole number"
		if lowest >= 0 {
			want += ", at least " + strconv.Itoa(lowest)
		}
		d.report.Error(n, "expected-number", "`%s` is a whole number", key).Want("%s", want).Got("%s", syntax.Describe(n))
		return otherwise
	}
	return i
}

// deferred recognises a value that only the run can compute.
func (d *decoder) deferred(n *syntax.Node) (string, bool) {
	if n == nil || n.Kind != syntax.Scalar || n.Bad {
		return "", false
	}
	if body, ok := runtimeExpression(n.Text); ok {
		d.checkRuntime(n, body, SlotJobVariable)
		return n.Text, true
	}
	return n.Text, strings.Contains(n.Text, "$(")
}

// runtimeExpression returns the inside of `$[ ]` when that is the whole text.
func runtimeExpression(text string) (string, bool) {
	text = strings.TrimSpace(text)
	if len(text) >= 3 && strings.HasPrefix(text, "$[") && strings.HasSuffix(text, "]") {
		return text[2 : len(text)-1], true
	}
	return "", false
}

// choice reads a scalar that is one of some words, compared ignoring case.
func (d *decoder) choice(f syntax.Fields, key string, words ...string) string {
	n := f.Get(key)
	text := d.key(f, key)
	if text == "" {
		return ""
	}
	for _, w := range words {
		if strings.EqualFold(w, text) {
			return w
		}
	}
	p := d.report.Error(n, "unknown-value", "`%s` cannot be `%s`", key, text).Want("%s", strings.Join(words, ", ")).Got("%s", text)
	if near := syntax.Nearest(text, words); near != "" {
		p.Try("write %s", near)
	}
	return ""
}

// list reads a sequence of nodes; a missing or empty value is an empty list.
func (d *decoder) list(n *syntax.Node, what string) []*syntax.Node {
	if n == nil || n.Bad || n.IsEmpty() {
		return nil
	}
	if n.Kind != syntax.Sequence {
		p := d.report.Error(n, "expected-sequence", "%s is a sequence", what).Want("a sequence").Got("%s", syntax.Describe(n))
		if n.Kind == syntax.Mapping {
			p.Try("begin each entry with `- `")
		}
		return nil
	}
	return n.Items
}

// texts reads a string or a sequence of strings.
func (d *decoder) texts(n *syntax.Node, what string) []string {
	if n == nil || n.Bad || n.IsEmpty() {
		return nil
	}
	if n.Kind == syntax.Scalar {
		if n.Text == "" {
			return nil
		}
		return []string{n.Text}
	}
	var out []string
	for _, item := range d.list(n, what) {
		if text := d.text(item, "an entry of "+what); text != "" {
			out = append(out, text)
		}
	}
	return out
}

// textMap reads a mapping of strings.
func (d *decoder) textMap(n *syntax.Node, what string) map[string]string {
	if n == nil || n.Bad || n.IsEmpty() {
		return nil
	}
	if n.Kind != syntax.Mapping {
		d.report.Error(n, "expected-mapping", "%s is a mapping", what).Want("name: value").Got("%s", syntax.Describe(n))
		return nil
	}
	out := make(map[string]string, len(n.Pairs))
	for _, p := range n.Pairs {
		if p.Key.Bad {
			continue
		}
		out[p.Key.Text] = d.text(p.Value, "`"+p.Key.Text+"`")
	}
	return out
}

// plainValue is a parameter's value for the plan.
func plainValue(n *syntax.Node) any {
	if n == nil || n.Bad {
		return nil
	}
	return n.Plain(func(v any) any {
		if number, ok := v.(expression.Number); ok {
			return number.Float()
		}
		return v
	})
}

// condition reads a condition and checks its form and names.
func (d *decoder) condition(f syntax.Fields, slot RuntimeSlot) string {
	n := f.Get("condition")
	text := strings.TrimSpace(d.key(f, "condition"))
	if text == "" {
		return ""
	}
	d.checkRuntime(n, text, slot)
	return text
}

// checkRuntime reports mistakes in an expression that is computed later.
func (d *decoder) checkRuntime(n *syntax.Node, text string, slot RuntimeSlot) {
	body := text
	if inner, ok := runtimeExpression(text); ok {
		body = inner
	}
	node, err := expression.Parse(body)
	if err == nil {
		err = node.Check(checkEnv(slot))
	}
	if err == nil {
		return
	}
	p := d.report.Error(n, "expression-syntax", "%s", err.Error())
	if e, ok := err.(*expression.Error); ok {
		p.Code, p.Message, p.Expected, p.Found, p.Do = e.Code, e.Message, e.Expected, e.Found, e.Do
		if pos, ok := within(n, body, e); ok {
			p.Pos, p.Length = pos, e.Length
		}
	}
}

// within finds the source position of a mistake inside a scalar. A block's text
// is not its source, so there the first line with the token has to do.
func within(n *syntax.Node, body string, e *expression.Error) (syntax.Pos, bool) {
	pos := n.Pos
	if e.Offset < 0 || e.Offset+e.Length > len(body) {
		return pos, false
	}
	line := n.File.Line(n.Line)
	if at := strings.Index(line, body); at >= 0 {
		pos.Column = len([]rune(line[:at]+body[:e.Offset])) + 1
		return pos, true
	}
	token := body[e.Offset : e.Offset+e.Length]
	for pos.Line = n.Line + 1; n.Block && pos.Line <= n.Line+strings.Count(body, "\n")+1; pos.Line++ {
		line = n.File.Line(pos.Line)
		if at := strings.Index(line, token); at >= 0 {
			pos.Column = len([]rune(line[:at])) + 1
			return pos, true
		}
	}
	return pos, false
}
