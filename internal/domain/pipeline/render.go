package pipeline

import (
	"fmt"
	"io"
	"strings"
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
	_, _ = io.WriteString(w, b.String())
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
		line := []rune(strings.ReplaceAll(d.Snippet, "\t", " "))
		width := max(1, min(d.Length, len(line)-d.Column+1))
		fmt.Fprintf(b, "%5d │ %s\n", d.Line, string(line))
		fmt.Fprintf(b, "      │ %s%s\n", strings.Repeat(" ", max(0, d.Column-1)), strings.Repeat("^", width))
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
