// Package diffview reads unified diffs and source files and draws their lines
// with highlighted syntax, as classes and never as inline style.
package diffview

import (
	"html"
	"strconv"
	"strings"

	"github.com/alecthomas/chroma/v2"
)

// File is one changed file.
type File struct {
	Old, New string // paths; Old is "" for a new file, New for a deleted one
	Binary   bool
	Added    int
	Removed  int
	Lines    []Line
	Folded   bool // too large to draw at once
}

// Line is one line of a diff. Kind is add, del, hunk or "".
type Line struct {
	Kind     string
	Old, New int // numbers, 0 = not on that side
	HTML     string
	text     string
}

// Path is the name people know the file by.
func (f *File) Path() string {
	if f.New != "" {
		return f.New
	}
	return f.Old
}

// Limits of what is drawn.
const (
	MaxLines     = 1500 // of one file
	maxLineBytes = 2000
	maxFiles     = 300
)

// Parse reads `git diff` output.
func Parse(diff string) []*File {
	var files []*File
	var f *File
	oldN, newN := 0, 0
	for _, line := range strings.Split(diff, "\n") {
		switch {
		case strings.HasPrefix(line, "diff --git "):
			if len(files) == maxFiles {
				return finish(files)
			}
			f = &File{}
			f.Old, f.New = headerPaths(line)
			files = append(files, f)
			oldN, newN = 0, 0
		case f == nil:
		case oldN == 0 && newN == 0 && !strings.HasPrefix(line, "@@"):
			header(f, line)
		case strings.HasPrefix(line, "@@"):
			oldN, newN = hunk(line)
			f.Lines = append(f.Lines, Line{Kind: "hunk", text: line})
		case strings.HasPrefix(line, "+"):
			f.Lines = append(f.Lines, Line{Kind: "add", New: newN, text: line[1:]})
			f.Added++
			newN++
		case strings.HasPrefix(line, "-"):
			f.Lines = append(f.Lines, Line{Kind: "del", Old: oldN, text: line[1:]})
			f.Removed++
			oldN++
		case strings.HasPrefix(line, " "):
			f.Lines = append(f.Lines, Line{Old: oldN, New: newN, text: line[1:]})
			oldN++
			newN++
		}
	}
	return finish(files)
}

func finish(files []*File) []*File {
	for _, f := range files {
		if len(f.Lines) > MaxLines {
			f.Folded = true
			f.Lines = f.Lines[:MaxLines]
		}
		f.highlight()
	}
	return files
}

func headerPaths(line string) (a, b string) {
	rest := strings.TrimPrefix(line, "diff --git ")
	if i := strings.Index(rest, " b/"); i > 0 {
		return strings.TrimPrefix(rest[:i], "a/"), rest[i+3:]
	}
	return "", rest
}

func header(f *File, line string) {
	switch {
	case strings.HasPrefix(line, "new file"):
		f.Old = ""
	case strings.HasPrefix(line, "deleted file"):
		f.New = ""
	case strings.HasPrefix(line, "rename from "):
		f.Old = strings.TrimPrefix(line, "rename from ")
	case strings.HasPrefix(line, "rename to "):
		f.New = strings.TrimPrefix(line, "rename to ")
	case strings.HasPrefix(line, "Binary files"), strings.HasPrefix(line, "GIT binary patch"):
		f.Binary = true
	}
}

// hunk reads the first numbers of "@@ -38,14 +38,21 @@ func …".
func hunk(line string) (from, to int) {
	fields := strings.Fields(line)
	number := func(s string) int {
		s, _, _ = strings.Cut(strings.TrimLeft(s, "+-"), ",")
		n, _ := strconv.Atoi(s)
		return n
	}
	if len(fields) < 3 {
		return 1, 1
	}
	return max(number(fields[1]), 1), max(number(fields[2]), 1)
}

// highlight colours the lines: each side is read as one text, so that comments
// and strings over several lines come out right.
func (f *File) highlight() {
	var before, after []string
	for _, l := range f.Lines {
		if l.Kind != "add" {
			before = append(before, l.text)
		}
		if l.Kind != "del" {
			after = append(after, l.text)
		}
	}
	oldHTML, newHTML := Highlight(f.Path(), before), Highlight(f.Path(), after)
	o, n := 0, 0
	for i := range f.Lines {
		l := &f.Lines[i]
		switch l.Kind {
		case "hunk":
			l.HTML = html.EscapeString(l.text)
			o, n = o+1, n+1
		case "del":
			l.HTML = oldHTML[o]
			o++
		case "add":
			l.HTML = newHTML[n]
			n++
		default:
			l.HTML = newHTML[n]
			o, n = o+1, n+1
		}
	}
	f.words()
}

// classOf are the few kinds of token that get an ink of their own.
func classOf(t chroma.TokenType) string {
	switch {
	case t.InCategory(chroma.Keyword):
		return "ck"
	case t.InCategory(chroma.Comment):
		return "cc"
	case t.InSubCategory(chroma.LiteralString):
		return "cs"
	case t.InSubCategory(chroma.LiteralNumber):
		return "cn"
	case t == chroma.NameFunction, t == chroma.NameClass, t == chroma.NameTag, t == chroma.NameAttribute, t == chroma.NameBuiltin:
		return "cf"
	}
	return ""
}

// Highlight returns the lines as escaped HTML, one for one.
func Highlight(name string, lines []string) []string {
	out := make([]string, len(lines))
	plain := func() []string {
		for i, l := range lines {
			out[i] = html.EscapeString(clip(l))
		}
		return out
	}
	lexer := lexerFor(name)
	if lexer == nil || len(lines) > 4*MaxLines {
		return plain()
	}
	short := make([]string, len(lines))
	for i, l := range lines {
		short[i] = strings.ReplaceAll(clip(l), "\r", "")
	}
	tokens, err := chroma.Coalesce(lexer).Tokenise(nil, strings.Join(short, "\n")+"\n")
	if err != nil {
		return plain()
	}
	rows := chroma.SplitTokensIntoLines(tokens.Tokens())
	if len(rows) < len(lines) {
		return plain()
	}
	for i := range out {
		var b strings.Builder
		for _, t := range rows[i] {
			text := html.EscapeString(strings.TrimSuffix(t.Value, "\n"))
			if c := classOf(t.Type); c != "" && text != "" {
				text = `<span class="` + c + `">` + text + `</span>`
			}
			b.WriteString(text)
		}
		out[i] = b.String()
	}
	return out
}

func clip(l string) string {
	if len(l) > maxLineBytes {
		return strings.ToValidUTF8(l[:maxLineBytes], "") + " …"
	}
	return l
}
