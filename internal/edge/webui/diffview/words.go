package diffview

import "strings"

// words marks, in lines that were replaced one for one, the part that differs.
func (f *File) words() {
	for i := 0; i < len(f.Lines); {
		if f.Lines[i].Kind != "del" {
			i++
			continue
		}
		dels := run(f.Lines[i:], "del")
		adds := run(f.Lines[i+dels:], "add")
		if dels == adds {
			for k := range dels {
				markPair(&f.Lines[i+k], &f.Lines[i+dels+k])
			}
		}
		i += dels + adds
	}
}

func run(lines []Line, kind string) int {
	n := 0
	for n < len(lines) && lines[n].Kind == kind {
		n++
	}
	return n
}

func markPair(a, b *Line) {
	x, y := []rune(a.text), []rune(b.text)
	head := 0
	for head < len(x) && head < len(y) && x[head] == y[head] {
		head++
	}
	tail := 0
	for tail < len(x)-head && tail < len(y)-head && x[len(x)-1-tail] == y[len(y)-1-tail] {
		tail++
	}
	// Lines that share little are not the same line changed.
	if longest := max(len(x), len(y)); longest == 0 || (head+tail)*3 < longest {
		return
	}
	a.HTML = mark(a.HTML, head, len(x)-tail)
	b.HTML = mark(b.HTML, head, len(y)-tail)
}

// mark puts <mark> around the characters from..to of escaped HTML, closing and
// opening it again around the spans it meets.
func mark(h string, from, to int) string {
	if from >= to {
		return h
	}
	var b strings.Builder
	at, on := 0, false
	for i := 0; i < len(h); {
		if h[i] == '<' {
			end := strings.IndexByte(h[i:], '>')
			if end < 0 {
				return h
			}
			if on {
				b.WriteString("</mark>")
			}
			b.WriteString(h[i : i+end+1])
			if on {
				b.WriteString("<mark>")
			}
			i += end + 1
			continue
		}
		if at == from && !on {
			b.WriteString("<mark>")
			on = true
		}
		if at == to && on {
			b.WriteString("</mark>")
			on = false
		}
		size := characterSize(h[i:])
		b.WriteString(h[i : i+size])
		i += size
		at++
	}
	if on {
		b.WriteString("</mark>")
	}
	return strings.ReplaceAll(b.String(), "<mark></mark>", "")
}

func characterSize(h string) int {
	if h[0] == '&' {
		if end := strings.IndexByte(h, ';'); end > 0 {
			return end + 1
		}
	}
	n := 1
	for n < len(h) && h[n]&0xc0 == 0x80 {
		n++
	}
	return n
}
