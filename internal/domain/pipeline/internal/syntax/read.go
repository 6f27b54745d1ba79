package syntax

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Bounds of one file. They are far above what people write and far below what
// hurts.
const (
	MaxFileBytes = 1 << 20
	MaxDepth     = 100
	maxAliasCost = 50_000 // nodes that aliases may add to one file
)

// Read parses one file. Problems go to the report; file.Root stays nil when
// nothing can be done with the text.
func Read(r *Report, repository, path string, data []byte) *File {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	f := &File{Repository: repository, Path: path}
	top := &Node{Pos: Pos{File: f, Line: 1, Column: 1}}
	if len(data) > MaxFileBytes {
		r.Error(top, "file-size", "%s is too large", f.Name()).
			Want("at most %d bytes", MaxFileBytes).Got("%d bytes", len(data)).Try("split it into templates")
		return f
	}
	f.Lines = strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	if at := invalidUTF8(data); at >= 0 {
		line := 1 + bytes.Count(data[:at], []byte("\n"))
		r.Error(&Node{Pos: Pos{File: f, Line: line, Column: 1}}, "file-encoding", "%s is not UTF-8 text", f.Name()).Try("save it as UTF-8")
		return f
	}
	doc, err := parse(data)
	if err != nil {
		reportYAML(r, f, err)
		return f
	}
	if doc == nil {
		return f
	}
	c := &converter{report: r, file: f, budget: maxAliasCost, active: map[*yaml.Node]bool{}}
	f.Root = c.convert(doc, 0, false)
	return f
}

func invalidUTF8(data []byte) int {
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		if c == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return -1
}

var errSecondDocument = errors.New("second document")

// parse returns the root node of the only document, nil for an empty text. The
// library reports some malformed texts by panicking; that is an error as well.
func parse(data []byte) (root *yaml.Node, err error) {
	defer func() {
		if v := recover(); v != nil {
			root, err = nil, fmt.Errorf("the text cannot be read: %v", v)
		}
	}()
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var doc, next yaml.Node
	if err := loader.Load(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, err
	}
	if err := loader.Load(&next); err == nil {
		return nil, &yaml.LoadError{Message: errSecondDocument.Error(), Mark: yaml.Mark{Line: max(1, next.Line)}}
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	root = &doc
	if doc.Kind == yaml.DocumentNode {
		if len(doc.Content) == 0 {
			return nil, nil
		}
		root = doc.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.Value == "" && root.Line == 0 {
		return nil, nil
	}
	return root, nil
}

func reportYAML(r *Report, f *File, err error) {
	at := &Node{Pos: Pos{File: f, Line: 1, Column: 1}}
	message := err.Error()
	var load *yaml.LoadError
	if errors.As(err, &load) {
		message = load.Message
		if load.ContextMsg != "" {
			message = load.ContextMsg + ", " + message
		}
		mark := load.Mark
		if strings.Contains(load.Message, "end of stream") && load.ContextMark.Line > 0 {
			mark = load.ContextMark // where it begins says more than where the file ends
		}
		at.Line, at.Column = max(1, mark.Line), max(1, mark.Column)
	}
	if at.Line > len(f.Lines) {
		at.Line = len(f.Lines)
	}
	for n := at.Line; n >= max(1, at.Line-1); n-- {
		line := f.Line(n)
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if i := strings.IndexByte(indent, '\t'); i >= 0 {
			at.Line, at.Column = n, i+1
			r.Error(at, "tab", "a tab cannot indent").Want("spaces").Got("a tab").Try("replace it with spaces")
			return
		}
	}
	switch {
	case strings.Contains(message, errSecondDocument.Error()):
		r.Error(at, "second-document", "a pipeline file is one document").Got("a second one after ---").Try("move it to a file of its own")
	case strings.Contains(message, "depth") && strings.Contains(message, "exceeded"):
		r.Error(at, "yaml-depth", "the file is nested too deeply").Want("at most %d levels", MaxDepth)
	default:
		r.Error(at, "yaml-syntax", "this is not YAML: %s", message)
	}
}

// converter turns the library's nodes into ours.
type converter struct {
	report *Report
	file   *File
	budget int
	active map[*yaml.Node]bool // aliases being expanded
	warned bool
}

func (c *converter) convert(y *yaml.Node, depth int, aliased bool) *Node {
	n := &Node{Pos: Pos{File: c.file, Line: max(1, y.Line), Column: max(1, y.Column)}}
	if aliased {
		if c.budget--; c.budget < 0 {
			n.Bad = true
			if c.budget < -1 {
				return n
			}
			c.report.Error(n, "alias-expansion", "the file's aliases expand to too much").
				Want("at most %d values", maxAliasCost).Try("use a template")
			return n
		}
	}
	if depth > MaxDepth {
		c.report.Error(n, "yaml-depth", "the file is nested too deeply").Want("at most %d levels", MaxDepth)
		n.Bad = true
		return n
	}
	if y.Anchor != "" && !c.warned {
		c.warned = true
		c.report.Warn(n, "yaml-anchor", "anchors work here, but not on the service").Got("&%s", y.Anchor).Try("use a template")
	}
	switch y.Kind {
	case yaml.AliasNode:
		return c.alias(y, n, depth)
	case yaml.SequenceNode:
		n.Kind = Sequence
		for _, item := range y.Content {
			n.Items = append(n.Items, c.convert(item, depth+1, aliased))
		}
	case yaml.MappingNode:
		n.Kind = Mapping
		c.pairs(y, n, depth, aliased)
	default:
		n.Text = y.Value
		n.Quoted = y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
		n.Block = y.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0
		if !n.Quoted && !n.Block && (n.Text == "~" || n.Text == "null") {
			n.Text = ""
		}
	}
	return n
}

func (c *converter) pairs(y *yaml.Node, n *Node, depth int, aliased bool) {
	for i := 0; i+1 < len(y.Content); i += 2 {
		key := c.convert(y.Content[i], depth+1, aliased)
		if key.Kind != Scalar {
			c.report.Error(key, "key-type", "a key is plain text").Got("%s", key.Kind).Try("quote it if it begins with [ or {")
			continue
		}
		if y.Content[i].Tag == "!!merge" {
			c.report.Error(key, "merge-key", "merge keys are not part of the language").Got("<<").Try("use ${{ insert }} or a template")
			continue
		}
		n.Pairs = append(n.Pairs, Pair{Key: key, Value: c.convert(y.Content[i+1], depth+1, aliased)})
	}
}

func (c *converter) alias(y *yaml.Node, n *Node, depth int) *Node {
	if y.Alias == nil || c.active[y.Alias] {
		c.report.Error(n, "alias-loop", "alias %s contains itself", y.Value)
		n.Bad = true
		return n
	}
	c.active[y.Alias] = true
	defer delete(c.active, y.Alias)
	return c.convert(y.Alias, depth+1, true)
}
