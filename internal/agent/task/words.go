package task

import (
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// words reads the arguments of a script as a shell does: quotes, backslashes and
// $NAME of the environment. It is not a shell: what would run a command or join
// two is refused, because arguments often hold what others have written, such
// as the name of a branch.
func words(line string, getenv func(string) string) ([]string, error) {
	w := &wordReader{line: line, getenv: getenv}
	for w.at < len(w.line) {
		if err := w.next(); err != nil {
			return nil, err
		}
	}
	w.end()
	return w.list, nil
}

// Words reads arguments as words does, without an environment: $NAME is empty.
func Words(line string) ([]string, error) {
	return words(line, func(string) string { return "" })
}

type wordReader struct {
	line   string
	at     int
	getenv func(string) string
	list   []string
	cur    strings.Builder
	open   bool // a word has begun
}

func (w *wordReader) end() {
	if w.open {
		w.list = append(w.list, w.cur.String())
	}
	w.cur.Reset()
	w.open = false
}

func (w *wordReader) next() error {
	c := w.line[w.at]
	switch {
	case c == ' ' || c == '\t' || c == '\n' || c == '\r':
		w.end()
		w.at++
		return nil
	case strings.IndexByte(";&|<>`()", c) >= 0:
		return w.refuse(string(c))
	}
	w.open = true
	switch c {
	case '\'':
		end := strings.IndexByte(w.line[w.at+1:], '\'')
		if end < 0 {
			return w.unclosed()
		}
		w.cur.WriteString(w.line[w.at+1 : w.at+1+end])
		w.at += end + 2
	case '"':
		return w.quoted()
	case '\\':
		if w.at+1 < len(w.line) {
			w.cur.WriteByte(w.line[w.at+1])
		}
		w.at += 2
	case '$':
		return w.variable()
	default:
		w.cur.WriteByte(c)
		w.at++
	}
	return nil
}

// quoted reads up to the closing double quote.
func (w *wordReader) quoted() error {
	for w.at++; w.at < len(w.line); {
		switch c := w.line[w.at]; {
		case c == '"':
			w.at++
			return nil
		case c == '\\' && w.at+1 < len(w.line) && strings.IndexByte("\"\\$`", w.line[w.at+1]) >= 0:
			w.cur.WriteByte(w.line[w.at+1])
			w.at += 2
		case c == '$':
			if err := w.variable(); err != nil {
				return err
			}
		case c == '`':
			return w.refuse("`")
		default:
			w.cur.WriteByte(c)
			w.at++
		}
	}
	return w.unclosed()
}

// variable reads $NAME or ${NAME}.
func (w *wordReader) variable() error {
	rest := w.line[w.at+1:]
	if strings.HasPrefix(rest, "(") {
		return w.refuse("$(")
	}
	if inner, ok := strings.CutPrefix(rest, "{"); ok {
		name, _, closed := strings.Cut(inner, "}")
		if !closed || name == "" || nameLength(name) != len(name) {
			return w.refuse("${")
		}
		w.cur.WriteString(w.getenv(name))
		w.at += len(name) + 3
		return nil
	}
	n := nameLength(rest)
	if n == 0 {
		w.cur.WriteByte('$')
		w.at++
		return nil
	}
	w.cur.WriteString(w.getenv(rest[:n]))
	w.at += n + 1
	return nil
}

// nameLength is how many bytes at the begin are the name of a variable.
func nameLength(s string) int {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(s)
}

func (w *wordReader) refuse(what string) error {
	return fault.New(fault.Invalid, "shell-argument", "the arguments have %s, which only a shell understands", what).At("character %d", w.at+1).
		Want("words, quotes and $NAME").Try("put it in quotes if it is text, or write the call as an inline script")
}

func (w *wordReader) unclosed() error {
	return fault.New(fault.Invalid, "open-quote", "the arguments have a quote that is not closed").Got("%s", w.line)
}
