package pipeline

import "strings"

// Bounds of macro expansion: values that refer to values.
const (
	maxMacroDepth = 50
	maxMacroBytes = 16 << 20
)

// ExpandMacros replaces $(name) by the variable of that name. Unknown names stay
// as written, so $(command) of a shell survives. A value's own macros are
// expanded first; one that needs itself stays as written.
func ExpandMacros(text string, lookup func(name string) (string, bool)) string {
	m := &macros{lookup: lookup, known: map[string]macroValue{}}
	return m.expand(text, 0)
}

type macros struct {
	lookup func(string) (string, bool)
	known  map[string]macroValue
	made   int
}

type macroValue struct {
	text string
	ok   bool
	open bool // its value is being expanded
}

// expand scans once from left to right; what was put in is not scanned again.
func (m *macros) expand(text string, depth int) string {
	var b strings.Builder
	for {
		open := strings.Index(text, "$(")
		if open < 0 {
			break
		}
		end := strings.IndexByte(text[open:], ')')
		if end < 0 {
			break
		}
		name := text[open+2 : open+end]
		value, ok := m.value(name, depth)
		if !ok {
			b.WriteString(text[:open+1])
			text = text[open+1:]
			continue
		}
		b.WriteString(text[:open])
		b.WriteString(value)
		text = text[open+end+1:]
	}
	b.WriteString(text)
	return b.String()
}

func (m *macros) value(name string, depth int) (string, bool) {
	if name == "" || depth > maxMacroDepth {
		return "", false
	}
	// Names are kept as they are written: those of an environment differ by case.
	if v, ok := m.known[name]; ok {
		m.made += len(v.text)
		return v.text, v.ok && !v.open && m.made <= maxMacroBytes
	}
	text, ok := m.lookup(name)
	if !ok {
		m.known[name] = macroValue{}
		return "", false
	}
	m.known[name] = macroValue{open: true}
	if strings.Contains(text, "$(") {
		text = m.expand(text, depth+1)
	}
	m.made += len(text)
	m.known[name] = macroValue{text: text, ok: true}
	return text, m.made <= maxMacroBytes
}
