package schema

import (
	"fmt"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
)

// Explain documents a word of the pipeline language: a mapping such as job, a
// key such as dependsOn, a function. It is "" when the language has no such
// word. Words are compared ignoring case.
func Explain(word string) string {
	var b strings.Builder
	for _, m := range grammar.All() {
		if strings.EqualFold(m.Name, word) {
			explainMapping(&b, m)
		}
	}
	seen := map[string]bool{}
	for _, m := range grammar.All() {
		k, ok := m.Key(word)
		if !ok {
			continue
		}
		line := fmt.Sprintf("%s (%s): %s%s", k.Name, k.Type, k.Doc, limits(k))
		if !seen[line] {
			seen[line] = true
			fmt.Fprintf(&b, "%s\n  in %s\n", line, m.Noun)
		}
	}
	for _, f := range grammar.Functions {
		if strings.EqualFold(f.Name, word) {
			fmt.Fprintf(&b, "function %s: %s\n", f.Name, f.Doc)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

func explainMapping(b *strings.Builder, m *grammar.Mapping) {
	fmt.Fprintf(b, "%s: %s\n\n", m.Noun, m.Doc)
	width := 0
	for _, k := range m.Keys {
		width = max(width, len(k.Name))
	}
	for _, k := range m.Keys {
		if !k.Unread {
			fmt.Fprintf(b, "  %-*s  %s%s\n", width, k.Name, k.Doc, limits(k))
		}
	}
	b.WriteString("\n")
}

// limits says what a key does not do here, and which words it takes.
func limits(k grammar.Key) string {
	text := ""
	if len(k.Words) > 0 {
		text += " (" + strings.Join(k.Words, ", ") + ")"
	}
	if k.State != grammar.Supported {
		text += " [" + k.State.String() + ": " + k.Note + "]"
	}
	return text
}
