// Package near finds the names that somebody may have meant.
package near

import (
	"cmp"
	"slices"
	"strings"
)

// most is how many names are worth showing.
const most = 5

// Names lists the candidates that look like a word, the likeliest first. Where
// none does, it lists the first of them, so that a reader sees what there is.
func Names(word string, candidates []string) []string {
	type scored struct {
		name string
		far  int
	}
	var like []scored
	low := strings.ToLower(word)
	for _, name := range candidates {
		c := strings.ToLower(name)
		d := distance(low, c)
		if len(low) > 2 && (strings.Contains(c, low) || len(c) > 2 && strings.Contains(low, c)) {
			d = min(d, 1)
		}
		if d <= max(1, len(low)/3) {
			like = append(like, scored{name, d})
		}
	}
	if len(like) == 0 {
		return slices.Clone(candidates[:min(len(candidates), most)])
	}
	slices.SortStableFunc(like, func(a, b scored) int { return cmp.Compare(a.far, b.far) })
	var names []string
	for _, s := range like[:min(len(like), most)] {
		names = append(names, s.name)
	}
	return names
}

// distance counts the letters to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			step := diagonal
			if a[i] != b[j] {
				step++
			}
			diagonal = row[j+1]
			row[j+1] = min(step, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
