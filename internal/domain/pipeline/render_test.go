package pipeline

import (
	"strings"
	"testing"
	"unicode"
)

// What a file holds reaches no terminal as a command, and nobody's eyes in
// another order.
func TestRenderShowsWhatIsThere(t *testing.T) {
	var b strings.Builder
	Render(&b, []Diagnostic{{Severity: Error, Code: "x", Message: "no key \x1b[31mred\u202e", Location: Location{File: "\x1b]0;a\x07.yml", Line: 1, Column: 3}, Length: 2,
		Found: "\u0085\x7f", Snippet: "a\x1b\u2066c: \tд"}})
	got := b.String()
	for _, r := range got {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) {
			t.Errorf("%q is in %q", r, got)
		}
	}
	if !strings.Contains(got, "│ a��c:  д\n      │   ^^\n") {
		t.Errorf("the line or its mark moved:\n%s", got)
	}
}

// A long line is shown around the place, which stays marked.
func TestRenderCutsLongLines(t *testing.T) {
	line := strings.Repeat("я", 5000) + "HERE" + strings.Repeat("b", 5000)
	for _, c := range []struct {
		name   string
		line   string
		column int
		want   string
	}{
		{"in the middle", line, 5001, "HERE"},
		{"at its start", "HERE" + line, 1, "HERE"},
		{"at its end", strings.Repeat("x", 300) + "HERE", 301, "HERE"},
		{"after its end", strings.Repeat("x", 300), 301, ""},
		{"short", "x: HERE", 4, "HERE"},
	} {
		var b strings.Builder
		Render(&b, []Diagnostic{{Code: "x", Location: Location{File: "p.yml", Line: 1, Column: c.column}, Length: 4, Snippet: c.line}})
		lines := strings.Split(b.String(), "\n")
		shown, mark := []rune(lines[1]), []rune(lines[2])
		if len(shown) > shownRunes+20 {
			t.Errorf("%s: %d runes are shown", c.name, len(shown))
		}
		at := strings.Index(string(mark), "^")
		column := len([]rune(string(mark)[:at]))
		if got := string(shown[min(column, len(shown)):min(column+len(c.want), len(shown))]); got != c.want {
			t.Errorf("%s: marked %q, want %q\n%s", c.name, got, c.want, b.String())
		}
	}
}
