package editor

import (
	"slices"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/catalog"
	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
)

// Explain prints what is known of a word of the language: a key, a mapping
// ("job"), a function or a task. ok is false for any other word.
func Explain(word string) (text string, ok bool) {
	var parts []string
	for _, m := range grammar.All() {
		if strings.EqualFold(m.Name, word) {
			parts = append(parts, mappingText(m))
		}
	}
	parts = append(parts, keysNamed(word)...)
	if f, ok := grammar.FunctionNamed(word); ok {
		parts = append(parts, f.Form+"; usable: "+f.Where+"\n    "+f.Doc)
	}
	name, version, _ := strings.Cut(word, "@")
	for _, t := range catalog.Versions(name) {
		if version == "" || t.Ref() == t.Name+"@"+version {
			parts = append(parts, plain(taskText(t.Ref())))
		}
	}
	return strings.Join(parts, "\n\n"), len(parts) > 0
}

// keysNamed describes a key in every mapping that has it; equal ones together.
func keysNamed(word string) []string {
	var texts []string
	owners := map[string][]string{}
	for _, m := range grammar.All() {
		k, ok := m.Key(word)
		if !ok {
			continue
		}
		text := ": " + k.Type.String() + "\n    " + k.Doc
		if len(k.Words) > 0 {
			text += "\n    words: " + strings.Join(k.Words, ", ")
		}
		if k.Note != "" {
			text += "\n    " + k.State.String() + ": " + k.Note
		}
		text = k.Name + " of %" + text
		if owners[text] == nil {
			texts = append(texts, text)
		}
		owners[text] = append(owners[text], m.Noun)
	}
	for i, text := range texts {
		texts[i] = strings.Replace(text, "%", strings.Join(slices.Compact(owners[text]), ", "), 1)
	}
	return texts
}

func mappingText(m *grammar.Mapping) string {
	var b strings.Builder
	b.WriteString(m.Name + ": " + m.Doc + "\n")
	for _, k := range m.Keys {
		line := "  " + k.Name + strings.Repeat(" ", max(1, 26-len(k.Name))) + k.Doc
		if k.Note != "" {
			line += " (" + k.State.String() + ")"
		}
		b.WriteString(line + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

// plain takes the Markdown out of a text.
func plain(text string) string { return strings.NewReplacer("**", "", "`", "").Replace(text) }
