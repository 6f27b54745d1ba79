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
	c := &converter{report: r, file: f}
	f.Root = c.convert(doc, 0)
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
	report   *Report
	file     *File
	anchored bool // an anchor was reported
}

func (c *converter) convert(y *yaml.Node, depth int) *Node {
	n := &Node{Pos: Pos{File: c.file, Line: max(1, y.Line), Column: max(1, y.Column)}}
	if depth > MaxDepth {
		c.report.Error(n, "yaml-depth", "the file is nested too deeply").Want("at most %d levels", MaxDepth)
		n.Bad = true
		return n
	}
	if (y.Anchor != "" || y.Kind == yaml.AliasNode) && !c.anchored {
		c.anchored = true
		name := y.Anchor
		if name == "" {
			name = y.Value
		}
		c.report.Error(n, "yaml-anchor", "anchors and aliases are not part of the language").Got("%s", name).Try("write the part twice, or put it into a template")
	}
	c.checkTag(y, n)
	switch y.Kind {
	case yaml.AliasNode:
		n.Bad = true
	case yaml.SequenceNode:
		n.Kind = Sequence
		for _, item := range y.Content {
			n.Items = append(n.Items, c.convert(item, depth+1))
		}
	case yaml.MappingNode:
		n.Kind = Mapping
		c.pairs(y, n, depth)
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

// checkTag refuses tags beyond those that name what a node is anyway.
func (c *converter) checkTag(y *yaml.Node, n *Node) {
	if y.Style&yaml.TaggedStyle == 0 {
		return
	}
	switch y.ShortTag() {
	case "!!str", "!!bool", "!!int", "!!float", "!!null", "!!seq", "!!map":
	default:
		c.report.Error(n, "yaml-tag", "the tag %s is not part of the language", y.ShortTag()).Try("remove it")
		n.Bad = true
	}
}

func (c *converter) pairs(y *yaml.Node, n *Node, depth int) {
	for i := 0; i+1 < len(y.Content); i += 2 {
		if y.Content[i].Tag == "!!merge" {
			at := &Node{Pos: Pos{File: c.file, Line: y.Content[i].Line, Column: y.Content[i].Column}, Text: "<<"}
			c.report.Error(at, "merge-key", "merge keys are not part of the language").Got("<<").Try("use ${{ insert }} or a template")
			continue
		}
		key := c.convert(y.Content[i], depth+1)
		if key.Kind != Scalar {
			c.report.Error(key, "key-type", "a key is plain text").Got("%s", key.Kind).Try("quote it if it begins with [ or {")
			continue
		}
		n.Pairs = append(n.Pairs, Pair{Key: key, Value: c.convert(y.Content[i+1], depth+1)})
	}
}
