// Package logview turns the lines of a step's log into HTML: times split off,
// terminal colours mapped to readable inks, everything else escaped.
package logview

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Line is one line as a browser gets it.
type Line struct {
	Time string `json:"t,omitempty"` // 15:04:05.000, UTC
	Kind string `json:"k,omitempty"` // err, wrn, grp, cmd, dbg
	HTML string `json:"h"`
}

// MaxShown is how many bytes of a line are drawn; the raw log has all.
const MaxShown = 4000

var stamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d\.\d{3})\d*Z ?`)

// Split takes the time off a line.
func Split(line string) (clock, text string) {
	if m := stamp.FindStringSubmatchIndex(line); m != nil {
		return line[m[2]:m[3]], line[m[1]:]
	}
	return "", line
}

// kinds are the logging commands that change how a line looks. Both spellings
// are in use: the one of the service and the one of scripts.
var kinds = []struct{ word, kind string }{{"error]", "err"}, {"warning]", "wrn"}, {"group]", "grp"}, {"section]", "grp"}, {"command]", "cmd"}, {"debug]", "dbg"}, {"endgroup]", "end"}}

// Kind returns how a line looks and its text without the command.
func Kind(text string) (kind, rest string) {
	bare := strings.TrimPrefix(text, "\x1b[0m")
	if !strings.HasPrefix(bare, "##[") {
		return "", text
	}
	for _, k := range kinds {
		if after, ok := strings.CutPrefix(bare[3:], k.word); ok {
			return k.kind, after
		}
	}
	return "", text
}

// Render draws a line.
func Render(raw string) Line {
	clock, text := Split(strings.TrimRight(raw, "\r\n"))
	if i := strings.LastIndexByte(text, '\r'); i >= 0 {
		text = text[i+1:] // what a terminal would show of a progress line
	}
	kind, text := Kind(text)
	left := 0
	if len(text) > MaxShown {
		cut := MaxShown
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		left, text = len(text)-cut, text[:cut]
	}
	l := Line{Time: clock, Kind: kind, HTML: ANSI(text)}
	switch kind {
	case "err":
		l.HTML = `<b class="a1">Error</b> ` + l.HTML
	case "wrn":
		l.HTML = `<b class="a3">Warning</b> ` + l.HTML
	case "end":
		l.Kind, l.HTML = "dbg", ""
	}
	if left > 0 {
		l.HTML += `<span class="mask">` + strconv.Itoa(left) + ` more characters in the raw log</span>`
	}
	return l
}

// style is what escape sequences have switched on. Colours are 0 to 7; none is
// -1. Backgrounds are left out: text keeps its contrast on the page's ground.
type style struct {
	ink                            int
	bold, faint, italic, underline bool
	strike, hidden, inverse        bool
}

func (s style) class() string {
	var c []string
	if s.ink >= 0 {
		c = append(c, "a"+strconv.Itoa(s.ink))
	}
	for _, x := range []struct {
		on   bool
		name string
	}{{s.bold, "ab"}, {s.faint, "af"}, {s.italic, "ai"}, {s.underline, "au"}, {s.strike, "as"}, {s.inverse, "ar"}} {
		if x.on {
			c = append(c, x.name)
		}
	}
	return strings.Join(c, " ")
}

var masked = regexp.MustCompile(`\*\*\*(\[[A-Za-z0-9_.-]+\])?`)

// ANSI escapes text and turns its colours into spans with classes. Whatever is
// no colour is dropped: it would move a terminal's cursor.
func ANSI(text string) string {
	var b strings.Builder
	st := style{ink: -1}
	write := func(part string) {
		if part == "" || st.hidden {
			return
		}
		safe := masked.ReplaceAllStringFunc(html.EscapeString(clean(part)), func(m string) string { return `<span class="mask">` + m + `</span>` })
		if c := st.class(); c != "" {
			safe = `<span class="` + c + `">` + safe + `</span>`
		}
		b.WriteString(safe)
	}
	for {
		i := strings.IndexByte(text, 0x1b)
		if i < 0 {
			write(text)
			return b.String()
		}
		write(text[:i])
		params, final, rest := sequence(text[i+1:])
		if final == 'm' {
			st.apply(params)
		}
		text = rest
	}
}

// clean drops control characters that a page must not carry.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return r
		case r < 0x20, r == 0x7f, r >= 0x80 && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1 // the last two ranges reorder text
		}
		return r
	}, s)
}

// sequence reads what follows an escape character.
func sequence(s string) (params string, final byte, rest string) {
	if s == "" {
		return "", 0, ""
	}
	switch s[0] {
	case '[':
		for i := 1; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return s[1:i], s[i], s[i+1:]
			}
		}
		return "", 0, ""
	case ']': // a title or a link, up to BEL or ST
		if i := strings.IndexAny(s, "\a\x1b"); i >= 0 {
			if s[i] == 0x1b && i+1 < len(s) {
				return "", 0, s[i+2:]
			}
			return "", 0, s[i+1:]
		}
		return "", 0, ""
	}
	return "", 0, s[1:]
}

func (s *style) apply(params string) {
	codes := strings.FieldsFunc(params, func(r rune) bool { return r == ';' || r == ':' })
	if len(codes) == 0 {
		codes = []string{"0"}
	}
	for i := 0; i < len(codes); i++ {
		n, err := strconv.Atoi(codes[i])
		if err != nil {
			return
		}
		if n == 38 || n == 48 {
			ink, used := extended(codes[i+1:])
			if n == 38 {
				s.ink = ink
			}
			i += used
			continue
		}
		s.one(n)
	}
}

func (s *style) one(n int) {
	switch {
	case n == 0:
		*s = style{ink: -1}
	case n == 1:
		s.bold = true
	case n == 2:
		s.faint = true
	case n == 3:
		s.italic = true
	case n == 4:
		s.underline = true
	case n == 7:
		s.inverse = true
	case n == 8:
		s.hidden = true
	case n == 9:
		s.strike = true
	case n == 22:
		s.bold, s.faint = false, false
	case n == 23:
		s.italic = false
	case n == 24:
		s.underline = false
	case n == 27:
		s.inverse = false
	case n == 28:
		s.hidden = false
	case n == 29:
		s.strike = false
	case n >= 30 && n <= 37:
		s.ink = n - 30
	case n == 39:
		s.ink = -1
	case n >= 90 && n <= 97:
		s.ink, s.bold = n-90, n != 90
	}
}

// extended maps a colour of 256 or of 16 million to the ink nearest in hue, so
// that every colour a program can name stays readable in both themes.
func extended(codes []string) (ink, used int) {
	if len(codes) < 2 {
		return -1, len(codes)
	}
	if codes[0] == "5" {
		n, _ := strconv.Atoi(codes[1])
		switch {
		case n < 16:
			return n % 8, 2
		case n >= 232:
			return 0, 2
		}
		n -= 16
		return nearest(n/36*51, n/6%6*51, n%6*51), 2
	}
	if codes[0] == "2" && len(codes) >= 4 {
		var rgb [3]int
		for i := range rgb {
			rgb[i], _ = strconv.Atoi(codes[i+1])
		}
		return nearest(rgb[0], rgb[1], rgb[2]), 4
	}
	return -1, 1
}

func nearest(r, g, b int) int {
	top, low := max(r, g, b), min(r, g, b)
	if top-low < 40 {
		if top < 170 {
			return 0
		}
		return 7
	}
	half, ink := low+(top-low)/2, 0
	if r > half {
		ink |= 1
	}
	if g > half {
		ink |= 2
	}
	if b > half {
		ink |= 4
	}
	return ink
}
