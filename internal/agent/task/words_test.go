package task

import (
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	env := func(n string) string { return map[string]string{"A": "x y", "B1": "z"}[n] }
	for line, want := range map[string]string{
		"": "", "a b": "a|b", `"a b" 'c "d"' e\ f`: `a b|c "d"|e f`, `$A ${B1}c "$A" '$A'`: "x y|zc|x y|$A", `"" ''`: "|", `a"b"'c'`: "abc", `"\"\$A\n"`: `"$A\n`,
		"cost$ $ $1": "cost$|$|$1", "--flag=\"x;y\"": "--flag=x;y",
		"a; rm": "!", "a && b": "!", "$(id)": "!", "`id`": "!", `"$(id)"`: "!", "${A:-x}": "!", "a > b": "!", `"open`: "!", "'open": "!",
	} {
		got, err := words(line, env)
		text := strings.Join(got, "|")
		if err != nil {
			text = "!"
		}
		if text != want {
			t.Errorf("%s: %s (%v), want %s", line, text, err, want)
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add(`"a $B" 'c' ${D} \e`)
	f.Fuzz(func(t *testing.T, line string) {
		// What is quoted for a shell is one word, and comes back as it was.
		got, err := words("'"+strings.ReplaceAll(line, "'", `'\''`)+"'", func(string) string { return "" })
		if err != nil || len(got) != 1 || got[0] != line {
			t.Fatalf("%q: %q %v", line, got, err)
		}
		_, _ = words(line, func(string) string { return "v" })
	})
}
