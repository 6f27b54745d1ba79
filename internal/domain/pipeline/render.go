package pipeline

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// String is the diagnostic in one line.
func (d Diagnostic) String() string {
	return fmt.Sprintf("%s:%d:%d: %s %s: %s", d.File, d.Line, d.Column, d.Severity, d.Code, d.Message)
}

// Service is the diagnostic in one line as the service writes it, which its
// clients look for.
func (d Diagnostic) Service() string {
	text := fmt.Sprintf("/%s (Line: %d, Col: %d): %s", d.File, d.Line, d.Column, d.Message)
	if d.Do != "" {
		text += " (" + d.Do + ")"
	}
	return text
}

// Render writes diagnostics the way people read them: the source line with a
// caret under the place, then where, expected, found, do and see. The same
// finding reached by several template calls is written once.
func Render(w io.Writer, diags []Diagnostic) {
	type group struct {
		d      Diagnostic
		chains []string
	}
	var order []string
	groups := map[string]*group{}
	for _, d := range diags {
		key := d.String()
		g, ok := groups[key]
		if !ok {
			g = &group{d: d}
			groups[key] = g
			order = append(order, key)
		}
		if c := chainText(d.Chain); c != "" {
			g.chains = append(g.chains, c)
		}
	}
	var b strings.Builder
	for _, key := range order {
		g := groups[key]
		renderOne(&b, g.d, strings.Join(g.chains, " and "))
	}
	// A writer that fails has its own way to say so; diagnostics have none.
	_, _ = io.WriteString(w, strings.Map(visible, b.String()))
}

// visible takes the power over a terminal from what a file holds, and over the
// order in which its text is read.
func visible(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case unicode.IsControl(r) && r != '\n', unicode.Is(unicode.Bidi_Control, r):
		return unicode.ReplacementChar
	}
	return r
}

// Of a longer line is shown what stands around the place.
const (
	shownRunes  = 200
	shownBefore = 80
)

// window cuts a line, and returns it with the column in what is left.
func window(line []rune, column int) ([]rune, int) {
	if len(line) <= shownRunes {
		return line, column
	}
	from := max(0, min(column-1-shownBefore, len(line)-shownRunes))
	shown := slices.Clone(line[from : from+shownRunes])
	if from > 0 {
		shown[0] = '…'
	}
	if from+shownRunes < len(line) {
		shown[shownRunes-1] = '…'
	}
	return shown, column - from
}

// chainText names the calls that led to a place, the nearest first. Of a long
// chain, as a template gives that calls itself, it names both ends.
func chainText(chain []Location) string {
	const shown = 6
	var parts []string
	for i, l := range chain {
		if i == shown-1 && len(chain) > shown {
			parts = append(parts, fmt.Sprintf("… %d more …", len(chain)-shown))
		}
		if i >= shown-1 && i < len(chain)-1 && len(chain) > shown {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s:%d:%d", l.File, l.Line, l.Column))
	}
	return strings.Join(parts, " ← ")
}

func renderOne(b *strings.Builder, d Diagnostic, includedBy string) {
	b.WriteString(d.String())
	b.WriteString("\n")
	if strings.TrimSpace(d.Snippet) != "" {
		line, column := window([]rune(strings.ReplaceAll(d.Snippet, "\t", " ")), d.Column)
		width := max(1, min(d.Length, len(line)-column+1))
		fmt.Fprintf(b, "%5d │ %s\n", d.Line, string(line))
		fmt.Fprintf(b, "      │ %s%s\n", strings.Repeat(" ", max(0, column-1)), strings.Repeat("^", width))
	}
	where := d.Where
	if includedBy != "" {
		if where != "" {
			where += ", "
		}
		where += "included by " + includedBy
	}
	for _, answer := range []struct{ label, text string }{
		{"where", where}, {"expected", d.Expected}, {"found", d.Found}, {"do", d.Do}, {"see", "penstock explain " + d.Code},
	} {
		if answer.text != "" {
			fmt.Fprintf(b, "  %-10s%s\n", answer.label, answer.text)
		}
	}
}
