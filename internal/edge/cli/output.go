package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// doc is one object of the API: as it came, for -o json, and what a table needs
// of it.
type doc[T any] struct {
	Raw json.RawMessage
	V   T
}

// UnmarshalJSON keeps the text and reads it.
func (d *doc[T]) UnmarshalJSON(data []byte) error {
	d.Raw = bytes.Clone(data)
	return json.Unmarshal(data, &d.V)
}

// page is a list of the API.
type page[T any] struct {
	Value []doc[T] `json:"value"`
}

// column is one column of a table.
type column[T any] struct {
	head string
	text func(T) string
	wide bool // shown with -o wide only
}

// table says how a list is printed.
type table[T any] struct {
	columns []column[T]
	id      func(T) string
	empty   string // what would fill the list, as a command
}

// printList writes a list in the form that was asked for.
func printList[T any](c *cli, list []doc[T], t table[T]) error {
	switch {
	case c.flags.quiet:
		for _, d := range list {
			if err := c.outln(printable(t.id(d.V))); err != nil {
				return err
			}
		}
		return nil
	case c.flags.output == "json" || c.flags.output == "yaml":
		raw := make([]json.RawMessage, 0, len(list))
		for _, d := range list {
			raw = append(raw, d.Raw)
		}
		return c.outValue(raw)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintf(c.Stderr, "Nothing here yet. %s\n", t.empty)
		return err
	}
	var rows [][]string
	var head []string
	for _, col := range t.columns {
		if !col.wide || c.flags.output == "wide" {
			head = append(head, col.head)
		}
	}
	if !c.flags.noHeader {
		rows = append(rows, head)
	}
	for _, d := range list {
		var row []string
		for _, col := range t.columns {
			if col.wide && c.flags.output != "wide" {
				continue
			}
			text := printable(col.text(d.V))
			if text == "" {
				text = c.dash()
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	return c.out(align(rows))
}

// align pads the cells of rows so that columns stand below each other.
func align(rows [][]string) string {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// printOne writes one object: as data, as its identifier, or as text.
func printOne[T any](c *cli, d doc[T], id string, text func() string) error {
	switch {
	case c.flags.quiet:
		return c.outln(printable(id))
	case c.flags.output == "json" || c.flags.output == "yaml":
		return c.outValue(d.Raw)
	}
	return c.out(text())
}

// pairs is text of labelled lines; empty values are left out.
func pairs(items ...string) string {
	var rows [][]string
	for i := 0; i+1 < len(items); i += 2 {
		if items[i+1] != "" {
			rows = append(rows, []string{items[i], printable(items[i+1])})
		}
	}
	return align(rows)
}

func (c *cli) outValue(v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if c.flags.output != "yaml" {
		return c.outln(string(data))
	}
	var plain any
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(&plain); err != nil {
		return err
	}
	text, err := yamlText(numbers(plain))
	if err != nil {
		return err
	}
	return c.out(text)
}

// yamlText prints a mapping key by key and its lists entry by entry, because
// the library holds many times the size of what it prints.
func yamlText(v any) (string, error) {
	var b strings.Builder
	dump := func(v any) error {
		text, err := yaml.Dump(v, yaml.WithIndent(2), yaml.WithCompactSeqIndent(true), yaml.WithLineWidth(-1))
		b.Write(text)
		return err
	}
	m, ok := v.(map[string]any)
	if !ok {
		err := dump(v)
		return b.String(), err
	}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list, ok := m[key].([]any)
		if !ok || len(list) == 0 {
			if err := dump(map[string]any{key: m[key]}); err != nil {
				return "", err
			}
			continue
		}
		name, err := yaml.Dump(key)
		if err != nil {
			return "", err
		}
		b.WriteString(strings.TrimSuffix(string(name), "\n") + ":\n")
		for _, item := range list {
			if err := dump([]any{item}); err != nil {
				return "", err
			}
		}
	}
	return b.String(), nil
}

// numbers turns JSON's numbers into YAML's.
func numbers(v any) any {
	switch x := v.(type) {
	case json.Number:
		if n, err := x.Int64(); err == nil {
			return n
		}
		f, _ := x.Float64()
		return f
	case []any:
		for i := range x {
			x[i] = numbers(x[i])
		}
	case map[string]any:
		for k := range x {
			x[k] = numbers(x[k])
		}
	}
	return v
}

// jsonLine writes one object on one line, for what streams.
func (c *cli) jsonLine(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.outln(string(data))
}

// out writes to stdout. Who closed it has seen enough.
func (c *cli) out(text string) error {
	_, err := io.WriteString(c.Stdout, text)
	if errors.Is(err, io.ErrClosedPipe) || err != nil && strings.Contains(err.Error(), "broken pipe") {
		return exitCode(0)
	}
	return err
}

func (c *cli) outln(text string) error { return c.out(text + "\n") }

// say writes to stderr: progress, hints.
func (c *cli) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Stderr, format+"\n", args...)
}

// done prints that something was done, for people; as data it prints what.
func (c *cli) done(what any, format string, args ...any) error {
	if c.flags.output == "json" || c.flags.output == "yaml" {
		return c.outValue(what)
	}
	return c.outln(c.mark("ok") + " " + fmt.Sprintf(format, args...))
}

// sequence is a command to a terminal, such as a colour.
var sequence = regexp.MustCompile("\x1b\\[[0-9;?]*[ -/]*[@-~]")

// printable takes out what could command a terminal.
func printable(s string) string {
	if strings.Contains(s, "\x1b[") {
		s = sequence.ReplaceAllString(s, "")
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r':
			return ' '
		case unicode.IsControl(r) || r == '\u202e' || r == '\u2066' || r == '\u2067' || r == '\u202d':
			return '\ufffd'
		}
		return r
	}, s)
}

func (c *cli) unicode() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := c.Env(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

var marks = map[string]string{"ok": "✓", "FAIL": "✗", "run": "●", "wait": "○", "skip": "↷", "hold": "⏸"}

// mark is a sign of a state; colour never is the only one.
func (c *cli) mark(word string) string {
	if c.unicode() {
		return marks[word]
	}
	return word
}

func (c *cli) dash() string {
	if c.unicode() {
		return "–"
	}
	return "-"
}

// markOf is the sign of a state and result.
func (c *cli) markOf(state, result string) string {
	switch {
	case state == "completed" && (result == "succeeded" || result == "succeededWithIssues" || result == "partiallySucceeded"):
		return c.mark("ok")
	case state == "completed" && (result == "skipped" || result == "canceled"):
		return c.mark("skip")
	case state == "completed":
		return c.mark("FAIL")
	case state == "inProgress":
		return c.mark("run")
	}
	return c.mark("wait")
}

// age is how long ago something was, in one unit.
func (c *cli) age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(c.Now().Sub(t))
}

func span(d time.Duration) string {
	switch {
	case d < 0:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// took is the length of something that ran.
func took(from, to time.Time) string {
	if from.IsZero() || to.IsZero() || to.Before(from) {
		return ""
	}
	return to.Sub(from).Round(100 * time.Millisecond).String()
}

// clock is a time for people, in their zone.
func (c *cli) clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(c.Now().Location()).Format("Mon 15:04")
}

// lines reads lines of any length up to a bound.
type lines struct{ r *bufio.Reader }

func newLines(r io.Reader) *lines { return &lines{bufio.NewReaderSize(r, 64<<10)} }

func (l *lines) next() (string, error) {
	var text []byte
	for {
		part, more, err := l.r.ReadLine()
		if err != nil {
			return "", err
		}
		if text = append(text, part...); !more {
			return string(text), nil
		}
		if len(text) > maxAnswer {
			return "", bufio.ErrTooLong
		}
	}
}

func short(ref string) string {
	return strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/tags/")
}

func abbreviated(commit string) string { return commit[:min(len(commit), 7)] }

// local makes a doc of something that did not come from a server.
func local[T any](v T) doc[T] {
	raw, err := json.Marshal(v)
	if err != nil {
		raw = []byte("null")
	}
	return doc[T]{Raw: raw, V: v}
}
