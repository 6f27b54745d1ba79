package preview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// YAML prints a tree. Scalars keep the quotes of their source, so that text
// stays text for every reader.
func YAML(n *syntax.Node) (string, error) {
	var b strings.Builder
	for _, p := range n.Pairs {
		if err := writePair(&b, p); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// writePair prints one key of the root. A list is printed entry by entry: the
// library holds many times the size of what it prints.
func writePair(b *strings.Builder, p syntax.Pair) error {
	if p.Value.Kind != syntax.Sequence || len(p.Value.Items) == 0 {
		return dump(b, &syntax.Node{Kind: syntax.Mapping, Pairs: []syntax.Pair{p}})
	}
	var key strings.Builder
	if err := dump(&key, &syntax.Node{Kind: syntax.Mapping, Pairs: []syntax.Pair{{Key: p.Key, Value: &syntax.Node{Kind: syntax.Sequence}}}}); err != nil {
		return err
	}
	b.WriteString(strings.TrimSuffix(key.String(), " []\n") + "\n")
	for _, item := range p.Value.Items {
		if err := dump(b, &syntax.Node{Kind: syntax.Sequence, Items: []*syntax.Node{item}}); err != nil {
			return err
		}
	}
	return nil
}

func dump(b *strings.Builder, n *syntax.Node) error {
	out, err := yaml.Dump(toYAML(n), yaml.WithIndent(2), yaml.WithCompactSeqIndent(true), yaml.WithLineWidth(-1), yaml.WithQuotePreference(yaml.QuoteSingle))
	b.Write(out)
	return err
}

func toYAML(n *syntax.Node) *yaml.Node {
	switch n.Kind {
	case syntax.Sequence:
		out := &yaml.Node{Kind: yaml.SequenceNode}
		if len(n.Items) == 0 {
			out.Style = yaml.FlowStyle
		}
		for _, item := range n.Items {
			out.Content = append(out.Content, toYAML(item))
		}
		return out
	case syntax.Mapping:
		out := &yaml.Node{Kind: yaml.MappingNode}
		if len(n.Pairs) == 0 {
			out.Style = yaml.FlowStyle
		}
		for _, p := range n.Pairs {
			out.Content = append(out.Content, toYAML(p.Key), toYAML(p.Value))
		}
		return out
	default:
		return scalar(n)
	}
}

func scalar(n *syntax.Node) *yaml.Node {
	out := &yaml.Node{Kind: yaml.ScalarNode, Value: n.Text}
	switch {
	case strings.ContainsRune(n.Text, '\r') || strings.Contains(n.Text, "\t\n") || strings.Contains(n.Text, " \n"):
		out.Style = yaml.DoubleQuotedStyle
	case strings.Contains(n.Text, "\n"):
		out.Style = yaml.LiteralStyle
	case n.Quoted || n.Text == "":
		out.Style = yaml.SingleQuotedStyle
	case n.Text == "<<" || n.Text == "~" || strings.EqualFold(n.Text, "null"):
		out.Style = yaml.SingleQuotedStyle // the only words that would not come back as themselves
	}
	return out
}

// Annotated prints a tree with a comment at every line: where it was written,
// and through which calls. A chain that is that of the line before is an arrow.
func Annotated(n *syntax.Node) (string, error) {
	plain, err := YAML(n)
	if err != nil {
		return "", err
	}
	report := &syntax.Report{}
	back := syntax.Read(report, "self", "preview", []byte(plain))
	if back.Root == nil || report.Failed() {
		return "", fmt.Errorf("the printed pipeline cannot be read again: %v", report.Problems())
	}
	origins := map[int]*syntax.Node{}
	match(back.Root, n, origins)
	const column = 43
	var b strings.Builder
	last := ""
	for i, line := range strings.SplitAfter(plain, "\n") {
		origin := origins[i+1]
		text, end := strings.TrimSuffix(line, "\n"), strings.HasSuffix(line, "\n")
		if origin != nil && origin.File != nil {
			comment, chain := originText(origin)
			if chain != "" && chain == last {
				comment += " ←"
			} else {
				comment += chain
			}
			last = chain
			text += strings.Repeat(" ", max(1, column-len([]rune(text)))) + "# " + comment
		}
		b.WriteString(text)
		if end {
			b.WriteByte('\n')
		}
	}
	return b.String(), nil
}

// match walks the printed tree and the one it was printed from side by side and
// notes for every line the element that begins there.
func match(printed, from *syntax.Node, origins map[int]*syntax.Node) {
	note := func(line int, n *syntax.Node) {
		if origins[line] == nil {
			origins[line] = n
		}
	}
	for i := range min(len(printed.Items), len(from.Items)) {
		match(printed.Items[i], from.Items[i], origins)
		note(printed.Items[i].Line, from.Items[i])
	}
	for i := range min(len(printed.Pairs), len(from.Pairs)) {
		note(printed.Pairs[i].Key.Line, from.Pairs[i].Key)
		match(printed.Pairs[i].Value, from.Pairs[i].Value, origins)
	}
}

func originText(n *syntax.Node) (place, chain string) {
	place = n.File.Name() + ":" + strconv.Itoa(n.Line)
	for c := n.Call; c != nil; c = c.Outer {
		chain += " ← " + c.File.Name() + ":" + strconv.Itoa(c.Line)
	}
	return place, chain
}

// JSON prints a tree as indented JSON, keys in order, every scalar as text.
func JSON(n *syntax.Node) ([]byte, error) {
	var compact, out bytes.Buffer
	if err := writeJSON(&compact, n); err != nil {
		return nil, err
	}
	err := json.Indent(&out, compact.Bytes(), "", "  ")
	return append(out.Bytes(), '\n'), err
}

func writeJSON(b *bytes.Buffer, n *syntax.Node) error {
	quoted := func(s string) error {
		text, err := json.Marshal(s)
		b.Write(text)
		return err
	}
	switch n.Kind {
	case syntax.Sequence:
		b.WriteByte('[')
		for i, item := range n.Items {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, item); err != nil {
				return err
			}
		}
		b.WriteByte(']')
	case syntax.Mapping:
		b.WriteByte('{')
		for i, p := range n.Pairs {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := quoted(p.Key.Text); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := writeJSON(b, p.Value); err != nil {
				return err
			}
		}
		b.WriteByte('}')
	default:
		return quoted(n.Text)
	}
	return nil
}
