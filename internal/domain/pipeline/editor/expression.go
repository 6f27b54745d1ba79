package editor

import (
	"regexp"
	"strings"
)

// slot is the kind of expression that a place is in.
type slot int

const (
	noSlot       slot = iota
	templateSlot      // ${{ }}
	runSlot           // $[ ], or a condition
	macroSlot         // $( )
)

// slotAt finds the expression around a place of a line. text is the line up to
// the place.
func slotAt(text string) slot {
	best, at := noSlot, -1
	for open, kind := range map[string]slot{"${{": templateSlot, "$[": runSlot, "$(": macroSlot} {
		i := strings.LastIndex(text, open)
		if i <= at {
			continue
		}
		closing := map[slot]string{templateSlot: "}}", runSlot: "]", macroSlot: ")"}[kind]
		if rest := text[i+len(open):]; kind == runSlot && strings.Count(rest, "[")-strings.Count(rest, "]") >= 0 || !strings.Contains(rest, closing) {
			best, at = kind, i
		}
	}
	return best
}

// reference is a dotted name, as far as it is written.
var reference = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_-]*|\['[^']*'\])*`)

// referenceAt finds the dotted name around a column, and whether it is called.
// Of a name with several parts it takes those up to the column.
func referenceAt(line string, column int) (name string, start int, function bool) {
	runes := []rune(line)
	for _, m := range reference.FindAllStringIndex(line, -1) {
		from, to := len([]rune(line[:m[0]]))+1, len([]rune(line[:m[1]]))+1
		if column < from || column > to {
			continue
		}
		end := column
		for end <= len(runes) && end < to && runes[end-1] != '.' && runes[end-1] != '[' {
			end++
		}
		name = strings.TrimRight(string(runes[from-1:end-1]), ".")
		if open := strings.Count(name, "['"); open > strings.Count(name, "']") {
			name = line[m[0]:m[1]]
		}
		return name, from, to <= len(runes) && runes[to-1] == '('
	}
	return "", 0, false
}

// part returns the n-th part of a dotted name.
func part(name string, n int) string {
	name = strings.NewReplacer("['", ".", "']", "").Replace(name)
	parts := strings.Split(name, ".")
	if n >= len(parts) {
		return ""
	}
	return parts[n]
}

// typed is the word before a column: what completion replaces.
func typed(line string, column int, also string) (word string, from int) {
	runes := []rune(line)
	from = min(column, len(runes)+1)
	for from > 1 {
		c := runes[from-2]
		if c != '_' && !strings.ContainsRune(also, c) && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			break
		}
		from--
	}
	return string(runes[from-1 : min(column-1, len(runes))]), from
}

// before is the text of a line up to a column.
func before(line string, column int) string {
	runes := []rune(line)
	return string(runes[:min(max(column-1, 0), len(runes))])
}
