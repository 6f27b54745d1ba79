package template

import (
	"context"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

func TestDirectiveOf(t *testing.T) {
	for key, want := range map[string]string{
		"${{ if eq(1, 2) }}": "if:eq(1, 2)", "${{ elseif a }}": "elseif:a", "${{ else }}": "else:", "${{ each x in parameters.y }}": "each x:parameters.y",
		"${{ insert }}": "insert:", "${{ each  x  in  y }}": "each x:y", "${{ if }}": "if! ", "${{ each x of y }}": "each! ", "${{ else if x }}": "else! ", "${{ each 1x in y }}": "each! ",
		"${{ parameters.if }}": "no", "plain": "no", "x${{ if a }}": "no", "${{ iff a }}": "no", "${{ insert x }}": "no", "${{if a}}": "if:a",
	} {
		got := "no"
		if d, ok := directiveOf(&syntax.Node{Text: key}); ok {
			got = d.word
			switch {
			case d.err != nil:
				got += "! "
			case d.loop != "":
				got += " " + d.loop + ":" + d.expr
			default:
				got += ":" + d.expr
			}
			if d.err == nil && !strings.HasPrefix(d.seg.Text[d.exprAt:], d.expr) {
				t.Errorf("%s: the expression is not at %d", key, d.exprAt)
			}
		}
		if got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
}

// TestLocate finds mistakes in quoted, block and multi-line text.
func TestLocate(t *testing.T) {
	text := "a: 'x ${{ one }} ${{ two }}'\nb: |\n  ü ${{ three }}\n  ${{ four(\n    five) }}\n"
	f := syntax.Read(&syntax.Report{}, "self", "f", []byte(text))
	for _, c := range []struct {
		key, word    string
		index        int
		line, column int
	}{{"a", "one", 0, 1, 11}, {"a", "two", 1, 1, 22}, {"b", "three", 0, 3, 9}, {"b", "four", 1, 4, 7}, {"b", "five", 1, 5, 5}} {
		n := f.Root.Get(c.key)
		segments, err := expression.SplitText(n.Text)
		if err != nil {
			t.Fatal(err)
		}
		for _, seg := range segments {
			if seg.Expr && seg.Index == c.index {
				if pos := Locate(n, seg, strings.Index(seg.Text, c.word)); pos.Line != c.line || pos.Column != c.column {
					t.Errorf("%s is at %d:%d", c.word, pos.Line, pos.Column)
				}
			}
		}
	}
}

func TestResolve(t *testing.T) {
	x := &Expander{report: &syntax.Report{}, names: map[string]repository{"lib": {alias: "Lib"}}}
	from := &syntax.File{Repository: "self", Path: "ci/p.yml"}
	for ref, want := range map[string]string{
		"t.yml": "self:ci/t.yml", "./t.yml": "self:ci/t.yml", "../t.yml": "self:t.yml", "/t.yml": "self:t.yml", `sub\t.yml`: "self:ci/sub/t.yml", "t.yml@lib": "Lib:t.yml",
		"a/../t.yml@LIB": "Lib:t.yml", "/t.yml@self": "self:t.yml", "t.yml@self": "self:ci/t.yml self:t.yml", "../../t.yml": "no", "t.yml@none": "no", "../../../etc/passwd@lib": "no",
	} {
		got := "no"
		if repository, paths, ok := x.resolve(&syntax.Node{Text: ref}, from); ok && len(paths) > 0 {
			got = repository + ":" + strings.Join(paths, " "+repository+":")
		}
		if got != want {
			t.Errorf("%s = %s, want %s", ref, got, want)
		}
	}
}

func TestParseBool(t *testing.T) {
	for text, want := range map[string]string{"true": "y", "Yes": "y", "ON": "y", "y": "y", " false ": "n", "No": "n", "off": "n", "n": "n", "": "", "1": "", "maybe": ""} {
		got := ""
		if b, ok := ParseBool(text); ok {
			got = map[bool]string{true: "y", false: "n"}[b]
		}
		if got != want {
			t.Errorf("%q = %q", text, got)
		}
	}
}

func BenchmarkExpand(b *testing.B) {
	step := "- script: echo ${{ parameters.n }} ${{ variables['Build.Reason'] }}\n  displayName: Step ${{ parameters.n }}\n"
	tmpl := []byte("parameters:\n- {name: n, type: number}\nsteps:\n" + strings.Repeat(step, 20))
	root := []byte("steps:\n")
	for _, n := range "1234567" {
		root = append(root, "- template: t"+string(n)+".yml\n  parameters: {n: "+string(n)+"}\n"...)
	}
	read := func(_ context.Context, _, path string) ([]byte, error) {
		if path == "p.yml" {
			return root, nil
		}
		return tmpl, nil
	}
	for b.Loop() {
		report := &syntax.Report{}
		if _, err := Expand(context.Background(), "p.yml", Options{Read: read, Report: report}); err != nil || report.Failed() {
			b.Fatal(err, report.Problems())
		}
	}
}
