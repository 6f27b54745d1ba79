package task

import (
	"slices"
	"strings"
	"testing"
)

func TestBraces(t *testing.T) {
	for pattern, want := range map[string]string{
		"a": "a", "": "", "{a,b}": "a b", "x{a,b}y{1..3}": "xay1 xay2 xay3 xby1 xby2 xby3", "{a,{b,c}d}": "a bd cd", "{3..1}": "3 2 1", "{-9223372036854775808..9223372036854775807}": "{-9223372036854775808..9223372036854775807}", "{a}": "{a}", "{a,b": "{a,b", "a}{,x}": "a} a}x", "${a,b}": "${a,b}",
	} {
		if got, err := braces(pattern); err != nil || !slices.Equal(got, strings.Split(want, " ")) {
			t.Errorf("%s: %q %v, want %s", pattern, got, err, want)
		}
	}
	for _, bad := range []string{strings.Repeat("{a,b}", 20), strings.Repeat("a", maxPattern+1)} {
		if _, err := braces(bad); err == nil {
			t.Errorf("%.20s… is accepted", bad)
		}
	}
}

func FuzzBraces(f *testing.F) {
	f.Add("a{b,{c,d}e}{1..3}${x,y}")
	f.Fuzz(func(t *testing.T, pattern string) {
		if list, err := braces(pattern); (err == nil) != (len(list) > 0) || len(list) > maxBraces {
			t.Errorf("%q stands for %d: %v", pattern, len(list), err)
		}
	})
}
