// Package compatibility prints what a pipeline may use: every key and function
// of the language's tables, and what is not a key. The document in docs is its
// output.
package compatibility

import (
	"bytes"
	"fmt"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
)

//go:generate go test . -update

// Document is the whole text in Markdown.
func Document() []byte {
	var b bytes.Buffer
	b.WriteString(head)
	b.WriteString("\n## Behaviour\n\n| Area | What | State |\n|---|---|---|\n")
	for _, r := range behaviours {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.area, r.what, state(r.state, r.note))
	}
	b.WriteString("\n## Tasks\n\n| Task | Notes |\n|---|---|\n")
	for _, r := range tasks {
		fmt.Fprintf(&b, "| %s | %s |\n", r.names, r.note)
	}
	b.WriteString("\n" + tasksEnd)
	b.WriteString("\n## Functions of expressions\n\n| Function | Where | What it gives | State |\n|---|---|---|---|\n")
	for _, f := range grammar.Functions {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Form, f.Where, f.Doc, state(f.State, f.Note))
	}
	b.WriteString("\n## Keys\n\n" + keysHead)
	shared := map[string]bool{}
	for _, k := range grammar.StepKeys {
		shared[k.Name] = true
	}
	b.WriteString("\n### every step\n\nWhat each kind of step has besides its own keys.\n\n")
	keys(&b, grammar.StepKeys)
	for _, m := range grammar.All() {
		section(&b, m, shared)
	}
	return b.Bytes()
}

// section is the table of one mapping. Keys that all steps have are listed once.
func section(b *bytes.Buffer, m *grammar.Mapping, shared map[string]bool) {
	fmt.Fprintf(b, "\n### %s\n\n%s", m.Name, m.Doc)
	own := m.Keys
	if strings.HasSuffix(m.Name, " step") {
		own = nil
		for _, k := range m.Keys {
			if !shared[k.Name] {
				own = append(own, k)
			}
		}
	}
	if m.Open {
		b.WriteString(" Other keys are passed over.")
	}
	b.WriteString("\n\n")
	keys(b, own)
}

func keys(b *bytes.Buffer, list []grammar.Key) {
	b.WriteString("| Key | Value | Meaning | State |\n|---|---|---|---|\n")
	for _, k := range list {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", k.Name, kind(k), k.Doc, state(k.State, k.Note))
	}
}

// kind describes a key's value.
func kind(k grammar.Key) string {
	text := strings.ReplaceAll(k.Type.String(), "|", "or")
	if len(k.Words) == 0 {
		return text
	}
	words := "`" + strings.Join(k.Words, "` `") + "`"
	if k.Type.Kind == grammar.Choice {
		return words
	}
	return text + "; " + words
}

func state(s grammar.State, note string) string {
	if note == "" {
		return s.String()
	}
	return s.String() + ": " + note
}
