package logview

import (
	"context"
	"strings"
)

// Group is a foldable range of lines: the line that opens it, and its last.
type Group struct {
	Start  int  `json:"start"`
	End    int  `json:"end"`
	Closed bool `json:"closed"` // as a reader first sees it
}

// Index is what a viewer must know of a log without reading its lines.
type Index struct {
	Total    int     `json:"total"`
	Groups   []Group `json:"groups"`
	Errors   []int   `json:"errors"`
	Warnings []int   `json:"warnings"`
}

// Reader returns lines from a 1-based number on, and how many there are.
type Reader func(ctx context.Context, from, limit int) ([]string, int, error)

// Limits of a scan: a log beyond them is still shown, only without folds and
// marks in its later part.
const (
	scanStep = 5000
	scanMax  = 400_000
	marksMax = 2000
)

// scan calls fn with every line.
func scan(ctx context.Context, read Reader, fn func(n int, line string) bool) (total int, err error) {
	for from := 1; from <= scanMax; {
		lines, all, err := read(ctx, from, scanStep)
		if err != nil {
			return all, err
		}
		total = all
		for i, l := range lines {
			if !fn(from+i, l) {
				return total, nil
			}
		}
		if len(lines) == 0 || from+len(lines) > total {
			return total, nil
		}
		from += len(lines)
	}
	return total, nil
}

// IndexOf reads a log once. A group that lacks its end reaches to the next
// section or to the end; groups without an error in them start folded.
func IndexOf(ctx context.Context, read Reader) (Index, error) {
	ix := Index{Groups: []Group{}, Errors: []int{}, Warnings: []int{}}
	open := -1
	closeAt := func(n int) {
		if open >= 0 && n > ix.Groups[open].Start {
			ix.Groups[open].End = n
		}
		open = -1
	}
	total, err := scan(ctx, read, func(n int, line string) bool {
		_, text := Split(line)
		if !strings.HasPrefix(text, "##[") {
			return true
		}
		switch kind, _ := Kind(text); kind {
		case "grp":
			closeAt(n - 1)
			if strings.HasPrefix(text, "##[group]") {
				ix.Groups = append(ix.Groups, Group{Start: n, End: n})
				open = len(ix.Groups) - 1
			}
		case "end":
			closeAt(n)
		case "err":
			if len(ix.Errors) < marksMax {
				ix.Errors = append(ix.Errors, n)
			}
		case "wrn":
			if len(ix.Warnings) < marksMax {
				ix.Warnings = append(ix.Warnings, n)
			}
		}
		return true
	})
	ix.Total = total
	closeAt(total)
	for i := range ix.Groups {
		g := &ix.Groups[i]
		g.Closed = g.End-g.Start >= 3
		for _, e := range ix.Errors {
			if e >= g.Start && e <= g.End {
				g.Closed = false
			}
		}
	}
	return ix, err
}

// Search returns the numbers of the lines that hold the words, ignoring case.
func Search(ctx context.Context, read Reader, words string, limit int) ([]int, error) {
	hits := []int{}
	want := strings.ToLower(words)
	_, err := scan(ctx, read, func(n int, line string) bool {
		_, text := Split(line)
		if strings.Contains(strings.ToLower(Plain(text)), want) {
			hits = append(hits, n)
		}
		return len(hits) < limit
	})
	return hits, err
}

// Plain is a line without its escape sequences.
func Plain(text string) string {
	if !strings.Contains(text, "\x1b") {
		return text
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(text, 0x1b)
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i])
		_, _, text = sequence(text[i+1:])
	}
}
