package diffview

import (
	"html"
	"regexp"
	"strings"
	"testing"
)

var tags = regexp.MustCompile(`</?span[^>]*>`)

// Every language compiles, colours something, and loses no character.
func TestLanguages(t *testing.T) {
	const sample = "# one\n// two\n-- three\n/* four\nfive */ if x := \"six\" + 'seven' // eight\n<a href=\"nine\">ten</a>\nkey: value # eleven\nfunc call(12, 0x1f) { return `thirteen` }\n\"\"\"fourteen\n\"\"\"\nSELECT $x FROM ${y}\n\\ ' \" ` unclosed\n"
	lines := strings.Split(strings.TrimSuffix(sample, "\n"), "\n")
	for _, l := range languages {
		for _, pattern := range strings.Fields(l.files) {
			name := "src/" + strings.ReplaceAll(pattern, "*", "File")
			coloured := Highlight(name, lines)
			for i, got := range coloured {
				if plain := html.UnescapeString(tags.ReplaceAllString(got, "")); plain != lines[i] {
					t.Errorf("%s: line %d became %q, was %q", name, i+1, plain, lines[i])
				}
			}
			if !strings.Contains(strings.Join(coloured, ""), "<span class=") {
				t.Errorf("%s: nothing is coloured", name)
			}
		}
	}
}

func TestHighlightInks(t *testing.T) {
	for _, c := range []struct{ name, line, want string }{
		{"a.go", `func f(n int) string { return "a" } // done`, `<span class="ck">func</span> <span class="cf">f</span>(n <span class="ck">int</span>) <span class="ck">string</span> { <span class="ck">return</span> <span class="cs">&#34;a&#34;</span> } <span class="cc">// done</span>`},
		{"a.yml", `- script: echo $(x) # note`, `- <span class="cf">script</span>: echo <span class="cf">$(x)</span> <span class="cc"># note</span>`},
		{"a.json", `{"a": [1, true, "b"]}`, `{<span class="cf">&#34;a&#34;</span>: [<span class="cn">1</span>, <span class="ck">true</span>, <span class="cs">&#34;b&#34;</span>]}`},
		{"a.csproj", `<A b="c">d</A>`, `&lt;<span class="cf">A</span> <span class="cf">b</span>=<span class="cs">&#34;c&#34;</span>&gt;d&lt;/<span class="cf">A</span>&gt;`},
		{"Dockerfile", `FROM golang:1.26 AS build`, `<span class="ck">FROM</span> golang:<span class="cn">1.26</span> <span class="ck">AS</span> build`},
		{"a.sh", `if test -n "$A#b"; then exit 1; fi`, `<span class="ck">if</span> <span class="ck">test</span> -n <span class="cs">&#34;$A#b&#34;</span>; <span class="ck">then</span> <span class="ck">exit</span> <span class="cn">1</span>; <span class="ck">fi</span>`},
		{"unknown.xyz", `if x`, `if x`},
	} {
		if got := Highlight(c.name, []string{c.line})[0]; got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}
