// Package editor is what an editor asks about a pipeline file: what stands at a
// place, what may be written there, where a name comes from. It has no rules of
// its own: the language's table, the compiler's reader and the compiler's
// expansion answer, so an editor never says what validate does not.
package editor

import (
	"strings"
	"unicode/utf8"

	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Place is a 1-based position; columns count characters.
type Place struct{ Line, Column int }

// Span is a stretch of one line of a file.
type Span struct {
	Repository, Path string
	Place
	Length int
}

// Document is one file as the editor has it.
type Document struct {
	Repository string
	Path       string
	file       *syntax.File
	root       *syntax.Node // never changed
}

// Read reads a file. Text that is not YAML yet is read by its indentation.
func Read(repository, path string, text []byte) *Document {
	f := syntax.Read(&syntax.Report{}, repository, path, text)
	if f.Lines == nil {
		f.Lines = []string{""}
	}
	d := &Document{Repository: repository, Path: path, file: f, root: f.Root}
	if d.root == nil {
		d.root = outline(f)
	}
	return d
}

// Line returns the text of a 1-based line.
func (d *Document) Line(n int) string { return d.file.Line(n) }

// Name is how messages call the file.
func (d *Document) Name() string { return d.file.Name() }

func (d *Document) span(n *syntax.Node) Span {
	return Span{Repository: d.Repository, Path: d.Path, Place: Place{n.Line, n.Column}, Length: syntax.Width(n)}
}

// token is the beginning of a mapping entry or list entry on a line.
type token struct {
	line, col int
	dash      bool
	key       string
	keyed     bool // a colon follows key
	value     string
	valueCol  int
}

// outline reads a file by the indentation of its lines alone. What it does not
// understand it leaves out: a person is typing there.
func outline(f *syntax.File) *syntax.Node {
	o := &outliner{file: f, tokens: tokens(f.Lines)}
	if len(o.tokens) == 0 {
		return nil
	}
	return o.block(o.tokens[0].col)
}

func tokens(lines []string) []token {
	var out []token
	for n := 0; n < len(lines); n++ {
		rest := strings.TrimRight(lines[n], " \r")
		col := 1 + len(rest) - len(strings.TrimLeft(rest, " "))
		rest = strings.TrimLeft(rest, " ")
		for rest == "-" || strings.HasPrefix(rest, "- ") {
			out = append(out, token{line: n + 1, col: col, dash: true})
			trimmed := strings.TrimLeft(rest[1:], " ")
			col += len(rest) - len(trimmed)
			rest = trimmed
		}
		if rest == "" || rest[0] == '#' || rest == "---" {
			continue
		}
		t := token{line: n + 1, col: col}
		t.key, t.value, t.keyed = splitKey(rest)
		if t.keyed {
			t.valueCol = col + utf8.RuneCountInString(rest) - utf8.RuneCountInString(t.value)
		}
		out = append(out, t)
		if strings.HasPrefix(t.value, "|") || strings.HasPrefix(t.value, ">") {
			n = blockEnd(lines, n, col)
		}
	}
	return out
}

// blockEnd is the last line (from 0) of a block scalar that a key begins.
func blockEnd(lines []string, n, col int) int {
	for n+1 < len(lines) {
		next := lines[n+1]
		if text := strings.TrimLeft(next, " "); strings.TrimSpace(text) != "" && len(next)-len(text) < col {
			break
		}
		n++
	}
	return n
}

// splitKey divides `key: value`.
func splitKey(text string) (key, value string, ok bool) {
	from := 0
	switch {
	case strings.HasPrefix(text, "${{"):
		if from = strings.LastIndex(text, "}}"); from < 0 {
			return text, "", false
		}
	case text[0] == '\'' || text[0] == '"':
		end := strings.IndexByte(text[1:], text[0])
		if end < 0 {
			return text, "", false
		}
		from = end + 1
	}
	for i := from; i < len(text); i++ {
		if text[i] == ':' && (i+1 == len(text) || text[i+1] == ' ') {
			value := text[i+1:]
			if at := strings.Index(value, " #"); at >= 0 {
				value = value[:at]
			}
			return strings.Trim(text[:i], `'"`), strings.TrimSpace(value), true
		}
	}
	return text, "", false
}

type outliner struct {
	file   *syntax.File
	tokens []token
	next   int
}

func (o *outliner) node(line, col int) *syntax.Node {
	return &syntax.Node{Pos: syntax.Pos{File: o.file, Line: line, Column: col}}
}

// block reads the value that begins with the next token, in the given column.
func (o *outliner) block(col int) *syntax.Node {
	first := o.tokens[o.next]
	n := o.node(first.line, first.col)
	if !first.dash && !first.keyed && (o.next+1 == len(o.tokens) || o.tokens[o.next+1].col < col) {
		o.next++
		n.Text = first.key
		return n
	}
	n.Kind = syntax.Mapping
	if first.dash {
		n.Kind = syntax.Sequence
	}
	for o.next < len(o.tokens) {
		t := o.tokens[o.next]
		if t.col < col || t.col == col && t.dash != first.dash {
			break
		}
		o.next++
		switch {
		case t.col > col: // belongs to nothing
		case t.dash:
			n.Items = append(n.Items, o.inner(t, col+1))
		default:
			key := o.node(t.line, t.col)
			key.Text = t.key
			n.Pairs = append(n.Pairs, syntax.Pair{Key: key, Value: o.value(t)})
		}
	}
	return n
}

// inner reads what stands deeper than a token, or an empty value.
func (o *outliner) inner(t token, least int) *syntax.Node {
	if o.next < len(o.tokens) && o.tokens[o.next].col >= least {
		return o.block(o.tokens[o.next].col)
	}
	return o.node(t.line, t.col+1)
}

func (o *outliner) value(t token) *syntax.Node {
	switch {
	case t.value != "":
		n := o.node(t.line, t.valueCol)
		n.Text = strings.Trim(t.value, `'"`)
		n.Quoted = n.Text != t.value
		n.Block = t.value[0] == '|' || t.value[0] == '>'
		return n
	case o.next < len(o.tokens) && o.tokens[o.next].dash && o.tokens[o.next].col == t.col:
		return o.block(t.col)
	default:
		return o.inner(t, t.col+1)
	}
}
