package expression

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func scalars() *rapid.Generator[Value] {
	return rapid.OneOf(
		rapid.Just(Value(nil)), rapid.Map(rapid.Bool(), func(b bool) Value { return b }),
		rapid.Map(decimals(), func(n Number) Value { return n }), rapid.Map(rapid.String(), func(s string) Value { return s }),
		rapid.Custom(func(t *rapid.T) Value {
			v, _ := ParseVersion(fmt.Sprintf("%d.%d.%d", rapid.IntRange(0, 3).Draw(t, "major"), rapid.IntRange(0, 3).Draw(t, "minor"), rapid.IntRange(0, 3).Draw(t, "build")))
			return v
		}),
		rapid.Map(rapid.Int64Range(0, 4e9), func(s int64) Value { return time.Unix(s, 0).UTC() }))
}

func decimals() *rapid.Generator[Number] {
	return rapid.Custom(func(t *rapid.T) Number {
		text := rapid.StringMatching(`-?[0-9]{1,28}(\.[0-9]{1,30})?`).Draw(t, "number")
		n, _ := ParseNumber(text)
		return n
	})
}

// expressions draws any expression that the tests' environment can evaluate.
func expressions(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		leaf := []string{"1", "-2.50", "1.2.3", "true", "'a'", "''", "'It''s'", "v.name", "v['my-var']", "p.list", "p.map", "p.items[*].name", "p.items.*.tags.*", "p.list[1].x", "v.missing", "pipeline.startTime", "p.n"}
		if depth == 0 {
			return rapid.SampledFrom(leaf).Draw(t, "leaf")
		}
		arg := func() string { return expressions(depth-1).Draw(t, "arg") }
		f := rapid.SampledFrom([]string{"eq/2", "ne/2", "gt/2", "and/3", "or/2", "not/1", "xor/2", "in/3", "notIn/2", "contains/2", "startsWith/2", "endsWith/2", "containsValue/2", "coalesce/3", "iif/3", "join/2", "split/2",
			"replace/3", "lower/1", "upper/1", "trim/1", "substring/2", "length/1", "convertToJson/1", "leaf/0", "succeeded/0"}).Draw(t, "function")
		name, count, _ := strings.Cut(f, "/")
		if name == "leaf" {
			return rapid.SampledFrom(leaf).Draw(t, "leaf")
		}
		var args []string
		for range int(count[0] - '0') {
			args = append(args, arg())
		}
		return name + "(" + strings.Join(args, rapid.SampledFrom([]string{",", ", ", " ,\n"}).Draw(t, "comma")) + ")"
	})
}

func TestEqualityLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := scalars().Draw(t, "a"), scalars().Draw(t, "b")
		if !Equal(a, a) {
			t.Fatalf("%v is not itself", a)
		}
		if cmp, failure := order(a, a); failure != nil || cmp != 0 {
			t.Fatalf("%v is not ordered with itself", a)
		}
		if n, isNumber := a.(Number); !isNumber || n.String() == n.Exact() {
			if text, _ := ToString(a); text != "" && a != nil && !Equal(text, a) {
				t.Fatalf("%q is not %v", text, a)
			}
		}
		env := Env{Contexts: map[string]Value{"a": a, "b": b}}
		for law, other := range map[string]string{
			"not(eq(a, b))": "ne(a, b)", "in(a, 'x', b, a)": "or(eq(a, 'x'), eq(a, b), eq(a, a))", "notIn(a, b)": "not(in(a, b))", "xor(a, b)": "ne(not(a), not(b))", "and(a, b)": "not(or(not(a), not(b)))", "coalesce(a, b, 'z')": "iif(eq(a, ''), coalesce(b, 'z'), coalesce(a, 'z'))",
		} {
			left, err1 := evalIn(law, env)
			right, err2 := evalIn(other, env)
			if strings.HasPrefix(law, "coalesce") && (a == false || Truth(a) == false && a != nil && a != "") {
				continue // false equals '' as well
			}
			if err1 != nil || err2 != nil || left != right {
				t.Fatalf("%s is %v, %s is %v for %v and %v (%v, %v)", law, left, other, right, a, b, err1, err2)
			}
		}
	})
}

func evalIn(text string, env Env) (Value, error) {
	n, err := ParseIn(text, env)
	if err != nil {
		return nil, err
	}
	return n.Eval(env)
}

func TestNumberLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, m := decimals().Draw(t, "n"), decimals().Draw(t, "m")
		if again, ok := ParseNumber(n.Exact()); !ok || again != n {
			t.Fatalf("%s is read as %s", n.Exact(), again.Exact())
		}
		if n.Cmp(m) != -m.Cmp(n) || (n.Cmp(m) == 0) != (n == m) {
			t.Fatalf("%s and %s: %d, %d", n.Exact(), m.Exact(), n.Cmp(m), m.Cmp(n))
		}
		shown, ok := ParseNumber(n.String())
		if !ok || shown.String() != n.String() {
			t.Fatalf("%s is shown as %s", n.Exact(), n)
		}
	})
}

func TestFoldLaws(t *testing.T) {
	text := rapid.StringOf(rapid.SampledFrom([]rune("aAbBsSſßıIiİKkéÉσςΣ😀 .-")))
	rapid.Check(t, func(t *rapid.T) {
		s, part := text.Draw(t, "s"), text.Draw(t, "part")
		contained := strings.Contains(foldText(s), foldText(part))
		if containsFold(s, part) != contained || EqualFold(s, part) != (foldText(s) == foldText(part)) {
			t.Fatalf("contains(%q, %q)", s, part)
		}
		if hasPrefixFold(s, part) != strings.HasPrefix(foldText(s), foldText(part)) || hasSuffixFold(s, part) != strings.HasSuffix(foldText(s), foldText(part)) {
			t.Fatalf("start or end of %q: %q", s, part)
		}
		if compareFold(s, part) != -compareFold(part, s) {
			t.Fatalf("order of %q and %q", s, part)
		}
		if got, ok := replaceFold(s, part, "#", 1000); part != "" && (!ok || foldText(got) != strings.ReplaceAll(foldText(s), foldText(part), "#")) {
			t.Fatalf("replace(%q, %q) = %q", s, part, got)
		}
	})
}

// TestPrintIsStable: what is printed is read as the same expression.
func TestPrintIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := expressions(3).Draw(t, "expression")
		samePrinted(t, text)
		s := rapid.String().Draw(t, "s")
		if got, err := run(literalText(s)); err != nil || got != s && utf8.ValidString(s) {
			t.Fatalf("literal %q = %v, %v", s, got, err)
		}
	})
}

func samePrinted(t interface{ Fatalf(string, ...any) }, text string) {
	n, err := Parse(text)
	if err != nil {
		return
	}
	printed := n.String()
	again, err := Parse(printed)
	if len(printed) > MaxLength { // spaces that the text did not have
		return
	}
	if err != nil || again.String() != printed {
		t.Fatalf("%s is printed as %s, and that %v (%v)", text, printed, again, err)
	}
	v, err1 := n.Eval(testEnv())
	w, err2 := again.Eval(testEnv())
	if (err1 == nil) != (err2 == nil) || err1 == nil && jsonOf(v) != jsonOf(w) {
		t.Fatalf("%s is %v (%v), but %s is %v (%v)", text, v, err1, printed, w, err2)
	}
}

// TestTraceAgrees: tracing changes nothing, and its first step is the whole.
func TestTraceAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, err := Parse(expressions(3).Draw(t, "expression"))
		if err != nil {
			t.Fatal(err)
		}
		v, err1 := n.Eval(testEnv())
		w, steps, err2 := n.EvalTrace(testEnv())
		if (err1 == nil) != (err2 == nil) || err1 == nil && jsonOf(v) != jsonOf(w) {
			t.Fatalf("%s: %v (%v), traced %v (%v)", n, v, err1, w, err2)
		}
		if len(steps) > 0 && (steps[0].Depth != 0 || jsonOf(steps[0].Value) != jsonOf(w) && err2 == nil) {
			t.Fatalf("%s: %v", n, steps)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"eq(a, 'b')", "v.x['y'][*].z", "format('{0}', 1.2.3)", "and(not(1), or(2,3))", "'", "((", "a.*.b[0", "replace('abc', 'B', v.name)", "join(',', p.items.*.tags)", "v[*[", "v[*.a]", "1.2.3.4.5", "-.5", "\u00a0v.\u2003name"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := Parse(text)
		if e, ok := err.(*Error); ok && (e.Offset < 0 || e.Offset > len(text) || e.Message == "" || e.Length < 1) {
			t.Fatalf("%q: %+v", text, e)
		}
		samePrinted(t, text)
		if _, err := ParseIn(text, testEnv()); err == nil {
			if n, err := Parse(text); err != nil || n.Check(testEnv()) != nil {
				t.Fatalf("%q: the two ways of reading differ: %v", text, err)
			}
		}
	})
}

func FuzzEval(f *testing.F) {
	for _, s := range []string{"format('{0:yyyy}}', pipeline.startTime)", "split(p.list, '')", "substring('héllo', '1', 1.5)", "containsValue(p.map.*, 1)", "p.list['1.9'].X", "convertToJson(p)", "eq(1.2, '1.20')", "replace('ſs', 'S', '')", "lt(v.none, -1)", "length(p.items.*.tags)", "iif(p.yes, p.list, p.map).*", "gt(pipeline.startTime, '2026-1-1 0:0:0+14:00')", "succeeded('x')"} {
		f.Add(s, "text")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		env := testEnv()
		env.Contexts["s"] = value
		n, err := ParseIn(text, env)
		if err != nil {
			return
		}
		v, err := n.Eval(env)
		if e, ok := err.(*Error); err != nil && (!ok || e.Message == "" || e.unplaced || e.Offset > len(text)) {
			t.Fatalf("%q: %v", text, err)
		}
		if _, isText := ToString(v); err == nil && isText != (kindName(v) != "Array" && kindName(v) != "Object") {
			t.Fatalf("%q is %v", text, v)
		}
	})
}

func BenchmarkEval(b *testing.B) {
	for _, text := range []string{"eq(v.name, 'text')", "and(succeeded(), eq(v['Build.Reason'], 'Manual'))", "gt(p.n, 1)", "format('{0}-{1}', v.name, 1.5)", "in(v.name, 'a', 'b', 'TEXT')"} {
		env := testEnv()
		n, err := ParseIn(text, env)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := n.Eval(env); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseAndEval(b *testing.B) {
	env := testEnv()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := evalIn("and(succeeded(), eq(v['Build.Reason'], 'Manual'))", env); err != nil {
			b.Fatal(err)
		}
	}
}
