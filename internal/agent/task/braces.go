package task

import (
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
)

// Bounds of one pattern: what it may stand for, and its length in bytes.
const maxBraces, maxPattern = 10_000, 4096

// braces writes out a pattern such as src/{a,b}*.{o,d} or x{1..3}; one without
// braces is itself. A brace without a comma or a range is text.
func braces(pattern string) ([]string, error) {
	tooMany := fault.New(fault.Invalid, "invalid-pattern", "pattern %.100q stands for too many", pattern).Want("at most %d, and %d bytes", maxBraces, maxPattern)
	if len(pattern) > maxPattern {
		return nil, tooMany
	}
	list, rest := []string{""}, pattern
	for {
		open, end, choices := firstBrace(rest)
		if open < 0 {
			for i := range list {
				list[i] += rest
			}
			return list, nil
		}
		var inner []string
		for _, c := range choices {
			more, err := braces(c)
			if err != nil {
				return nil, err
			}
			if inner = append(inner, more...); len(list)*len(inner) > maxBraces {
				return nil, tooMany
			}
		}
		next := make([]string, 0, len(list)*len(inner))
		for _, head := range list {
			for _, c := range inner {
				next = append(next, head+rest[:open]+c)
			}
		}
		list, rest = next, rest[end:]
	}
}

// firstBrace finds the first brace that offers a choice: where it opens, what
// follows it, and its choices; -1 if there is none.
func firstBrace(s string) (open, end int, choices []string) {
	for i := 0; i < len(s); i++ {
		if s[i] != '{' || i > 0 && s[i-1] == '$' {
			continue
		}
		depth, from := 0, i+1
		var parts []string
		for j := i; j < len(s); j++ {
			switch s[j] {
			case '{':
				depth++
			case ',':
				if depth == 1 {
					parts, from = append(parts, s[from:j]), j+1
				}
			case '}':
				if depth--; depth > 0 {
					continue
				}
				if len(parts) > 0 {
					return i, j + 1, append(parts, s[from:j])
				}
				if numbers := span(s[i+1 : j]); numbers != nil {
					return i, j + 1, numbers
				}
			}
			if depth == 0 {
				break
			}
		}
	}
	return -1, 0, nil
}

// span writes out 1..3; nil if the text is none.
func span(text string) []string {
	first, last, ok := strings.Cut(text, "..")
	a, aErr := strconv.Atoi(first)
	b, bErr := strconv.Atoi(last)
	const far = 1 << 30 // beyond it differences could overflow
	if !ok || aErr != nil || bErr != nil || max(a, b) > far || min(a, b) < -far || b-a >= maxBraces || a-b >= maxBraces {
		return nil
	}
	step := 1
	if b < a {
		step = -1
	}
	var list []string
	for n := a; ; n += step {
		list = append(list, strconv.Itoa(n))
		if n == b {
			return list
		}
	}
}
