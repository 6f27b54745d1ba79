package logview

import (
	"context"
	"slices"
	"strings"
	"testing"
)

func TestRender(t *testing.T) {
	for name, c := range map[string]struct{ in, kind, time, html string }{
		"plain":            {"2026-11-22T19:03:50.1140000Z hello", "", "19:03:50.114", "hello"},
		"no time":          {"hello", "", "", "hello"},
		"escaped":          {`<script>alert("x")</script>`, "", "", "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;"},
		"red":              {"\x1b[31mbad\x1b[0m good", "", "", `<span class="a1">bad</span> good`},
		"bright is bold":   {"\x1b[92mok", "", "", `<span class="a2 ab">ok</span>`},
		"256":              {"\x1b[38;5;196mred", "", "", `<span class="a1">red</span>`},
		"true colour":      {"\x1b[38;2;10;20;200mblue\x1b[39m.", "", "", `<span class="a4">blue</span>.`},
		"background":       {"\x1b[48;5;22mx", "", "", "x"},
		"cursor":           {"a\x1b[2Kb\x1b]0;title\ac", "", "", "abc"},
		"cut off":          {"a\x1b[3", "", "", "a"},
		"error":            {"##[error]no <b>", "err", "", `<b class="a1">Error</b> no &lt;b&gt;`},
		"carriage return":  {"10 %\r20 %", "", "", "20 %"},
		"masked":           {"token ***[KEY] and ***", "", "", `token <span class="mask">***[KEY]</span> and <span class="mask">***</span>`},
		"reordering":       {"a\u202eb", "", "", "ab"},
		"escape in a code": {"\x1b[\"><img src=x>m", "", "", "mg src=x&gt;m"},
	} {
		got := Render(c.in)
		if got.Kind != c.kind || got.Time != c.time || got.HTML != c.html {
			t.Errorf("%s: %+v, want %q %q %q", name, got, c.kind, c.time, c.html)
		}
	}
	if l := Render(strings.Repeat("é", MaxShown)); !strings.Contains(l.HTML, "more characters in the raw log") || len(l.HTML) > MaxShown+100 {
		t.Errorf("a long line is not clamped: %d", len(l.HTML))
	}
}

// Whatever a program prints, the line carries no markup but our own spans.
func FuzzRenderIsSafe(f *testing.F) {
	f.Add("\x1b[1;31m<a href=javascript:x>\x1b[0m***")
	f.Fuzz(func(t *testing.T, s string) {
		out := Render(s).HTML
		for _, ours := range []string{`<span class="mask">`, `</span>`, `<b class="a1">`, `<b class="a3">`, `</b>`} {
			out = strings.ReplaceAll(out, ours, "")
		}
		for strings.Contains(out, `<span class="a`) {
			i := strings.Index(out, `<span class="a`)
			j := strings.Index(out[i:], `">`)
			if strings.ContainsAny(out[i+13:i+j], `<>"'`) {
				t.Fatalf("%q", out)
			}
			out = out[:i] + out[i+j+2:]
		}
		if strings.ContainsAny(out, "<>") {
			t.Fatalf("%q has markup: %q", s, out)
		}
	})
}

func reader(lines ...string) Reader {
	return func(_ context.Context, from, limit int) ([]string, int, error) {
		return lines[min(from-1, len(lines)):min(from-1+limit, len(lines))], len(lines), nil
	}
}

func TestIndex(t *testing.T) {
	ix, err := IndexOf(t.Context(), reader("##[section]Starting", "##[group]Restore", "a", "b", "##[endgroup]", "x", "##[group]Test", "##[error]no", "##[group]More", "1", "2", "3", "##[warning]w"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Group{{2, 5, true}, {7, 8, false}, {9, 13, true}}
	if !slices.Equal(ix.Groups, want) || !slices.Equal(ix.Errors, []int{8}) || !slices.Equal(ix.Warnings, []int{13}) || ix.Total != 13 {
		t.Errorf("%+v", ix)
	}
	hits, _ := Search(t.Context(), reader("a \x1b[31mRed\x1b[0m fish", "blue", "red fish"), "red fish", 10)
	if !slices.Equal(hits, []int{1, 3}) {
		t.Error(hits)
	}
}
