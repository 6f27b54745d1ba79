package expression

import (
	"errors"
	"testing"
	"time"
)

// TestFormatPatterns is how braces, indexes and specifiers are read.
func TestFormatPatterns(t *testing.T) {
	env := testEnv()
	env.Contexts["d"] = time.Date(26, 2, 3, 4, 5, 6, 123456700, time.FixedZone("", -90*60))
	const bad, few, spec = "error invalid", "error few", "error spec"
	for expr, want := range map[string]string{
		"format('')": "", "format('a{{b}}c')": "a{b}c", "format('{0}{0}', 'x')": "xx", "format('{1}{0}', 'a', 'b')": "ba", "format('{00}', 'a')": "a", "format('{0:}', 'a')": "a", "format('{{0}}', 'a')": "{0}", "format('{{{0}}}', 'a')": "{a}",
		"format('}}{{')": "}{", "format('{0}', v.missing)": "", "format('{0}', 1.2.3)": "1.2.3", "format(12)": "12", "format('{0}', 'a', 'unused')": "a", "format('{0:yyyy}} }', d)": spec, `format('{0:yyyy\}}}', d)`: "0026}",
		"format('{')": bad, "format('}')": bad, "format('{}', 1)": bad, "format('{ 0}', 1)": bad, "format('{0 }', 1)": bad, "format('{-1}', 1)": bad, "format('{x}', 1)": bad, "format('{0', 1)": bad, "format('{0:yyyy', d)": bad, "format('{0:yyyy}}', d)": bad,
		"format('{256}', 1)": bad, "format('{0}}', 1)": bad, "format('{{0}', 1)": bad, "format('{0,5}', 1)": bad, "format('{1}', 1)": few, "format('{0}')": few, "format('{255}', 1)": few, "format('{9} {', 1)": few,
		"format('{0}', p.list)": "error cast", "format('{0:x}', p.map)": "error cast", "format('{0:N2}', 1)": spec, "format('{0:x}', 'a')": spec, "format('{0: }', v.missing)": spec,
		"format('{0:yyyy yy MM M dd d HH H mm m ss s}', d)": "0026 26 02 2 03 3 04 4 05 5 06 6", "format('{0:f ff fff ffff fffff ffffff fffffff}', d)": "1 12 123 1234 12345 123456 1234567", "format('{0:zzz K}', d)": "-01:30 -01:30",
		"format('{0:K}', pipeline.startTime)": "+00:00", `format('{0:yyyy\-MM\-dd\THH\:mm}', d)`: "0026-02-03T04:05", `format('{0:\\\é  \''}', d)`: `\é  '`, "format('{0}', d)": "0026-02-03 04:05:06-01:30",
		"format('{0:yyyy-MM}', d)": spec, "format('{0:y}', d)": spec, "format('{0:yyyyy}', d)": spec, "format('{0:MMM}', d)": spec, "format('{0:ddd}', d)": spec, "format('{0:hh}', d)": spec, "format('{0:tt}', d)": spec, "format('{0:z}', d)": spec,
		"format('{0:zz}', d)": spec, "format('{0:KK}', d)": spec, "format('{0:ffffffff}', d)": spec, "format('{0:F}', d)": spec, `format('{0:\}', d)`: spec, "format('{0:x}', d)": spec, "format('{0::}', d)": spec, "format('{0:HHH}', d)": spec, "format('{0:%d}', d)": spec,
	} {
		v, err := evalIn(expr, env)
		got, _ := ToString(v)
		var e *Error
		if errors.As(err, &e) {
			for start, name := range map[string]string{"The following format string is invalid": bad, "The following format string references": few, "The format specifiers": spec, "Unable to convert": "error cast"} {
				if len(e.Message) > len(start) && e.Message[:len(start)] == start {
					got = name
				}
			}
		}
		if got != want {
			t.Errorf("%s = %q, %v; want %q", expr, got, err, want)
		}
	}
}

// TestFormatComputesOnce: an argument that stands twice is computed once, and
// none is if the pattern is wrong.
func TestFormatComputesOnce(t *testing.T) {
	calls := 0
	env := Env{Functions: map[string]Function{"tick": {Call: func(any, []Value) (Value, error) { calls++; return Int(calls), nil }}}}
	if v, err := evalIn("format('{0}{1}{0}', tick(), tick())", env); v != "121" || err != nil || calls != 2 {
		t.Error(v, err, calls)
	}
	if _, err := evalIn("format('{0} {', tick())", env); err == nil || calls != 2 {
		t.Error(err, calls)
	}
}

// TestLaziness is which arguments are computed at all.
func TestLaziness(t *testing.T) {
	env := testEnv()
	env.Functions["boom"] = Function{Call: func(any, []Value) (Value, error) { return nil, errors.New("boom") }}
	for expr, lazy := range map[string]bool{
		"and(false, boom())": true, "and(true, boom())": false, "or(1, boom())": true, "or('', boom())": false, "in(1, 1, boom())": true, "in(1, 2, boom())": false, "notIn(1, 1, boom())": true, "coalesce('a', boom())": true, "coalesce('', boom())": false,
		"iif(true, 1, boom())": false, "iif(false, boom(), 1)": false, "xor(true, boom())": false, "eq(1, boom())": false, "join(boom(), p.none)": true, "join(boom(), split('a', 'x'))": true, "join(boom(), p.list)": false, "join(boom(), 'x')": true,
		"containsValue('a', boom())": true, "containsValue(p.none, boom())": false, "v.missing[boom()]": true, "'a'": true, "p.list[boom()]": false, "format('x', boom())": true, "contains('', boom())": false, "startsWith(boom(), 'a')": false,
	} {
		if _, err := evalIn(expr, env); (err == nil) != lazy {
			t.Errorf("%s: %v", expr, err)
		}
	}
}

// TestIndexes is what an index may be, for lists, mappings and what wildcards
// give.
func TestIndexes(t *testing.T) {
	for expr, want := range map[string]string{
		"p.list[0]": "a", "p.list[1.9].x": "1", "p.list['2']": "b", "p.list[' 2 ']": "b", "p.list['0,2']": "b", "p.list['']": "a", "p.list[v.missing]": "a", "p.list[false]": "a", "p.list[true].x": "1", "p.list[-0.5]": "", "p.list[-1]": "", "p.list['x']": "", "p.list.x": "", "p.list[p.map]": "",
		"p.list[3]": "", "p.list[2147483647]": "", "p.list[1.2.3]": "", "p.map['a']": "1", "p.map[p.list]": "", "v[v.missing]": "", "'a'": "a", "p.n.x": "", "p.n.*": "[]", "v.missing.*": "[]", "p.items.*.tags[1]": "[t2]", "p.items.*.tags['x']": "[]", "p.items.*.*": "[n1,,o,n2]",
		"p.items.*.tags.*[0]": "[]", "p.map.*[0]": "[]", "p.items.*.name": "[n1,n2]", "split('a/b/c', '/')[2]": "c", "iif(true, p.map, 1).B": "2", "convertToJson(p.map)": "{\n  \"A\": \"1\",\n  \"B\": \"2\"\n}", "coalesce(p.map, 1)['b']": "2",
	} {
		v, err := run(expr)
		got, ok := ToString(v)
		if !ok {
			got, _ = ToString(mustEval(t, "join(',', x)", v))
			got = "[" + got + "]"
		}
		if err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", expr, got, err, want)
		}
	}
}

func mustEval(t *testing.T, text string, x Value) Value {
	v, err := evalIn(text, Env{Contexts: map[string]Value{"x": x}})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type plainList struct{ *List }

func (plainList) Plain(i int) bool { return i%2 == 0 }

// TestJSON is what convertToJson prints.
func TestJSON(t *testing.T) {
	version, _ := ParseVersion("1.2")
	number, _ := ParseNumber("-1.50")
	for want, v := range map[string]Value{
		"null": nil, "true": true, "false": false, "-1.5": number, `"1.2"`: version, `"x"`: "x", "[]": NewList(), "{}": NewMap(), `"a\"\\\n\t\u001f\u2028é<>&/😀"`: "a\"\\\n\t\x1f\u2028é<>&/😀", "\"\ufffd\"": "\xff",
		`"2026-01-31T04:05:06.1234567+00:00"`: time.Date(2026, 1, 31, 4, 5, 6, 123456700, time.UTC), `"2026-01-31T04:05:06+02:00"`: time.Date(2026, 1, 31, 4, 5, 6, 0, time.FixedZone("", 7200)),
		"[\n  1,\n  {\n    \"a\": [],\n    \"b\": {}\n  }\n]":                                                              NewList(Int(1), NewMap(Pair{"a", NewList()}, Pair{"b", NewMap()})),
		"[\n  1,\n  \"1\",\n  true,\n  \"true\",\n  \"01\",\n  \"x\",\n  -1.50,\n  \"y\",\n  \"1.\",\n  \"z\",\n  \"\"\n]": plainList{NewList("1", "1", "True", "true", "01", "x", "-1.50", "y", "1.", "z", "")},
	} {
		if got := jsonOf(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
	deep := Value("x")
	for range 2000 {
		deep = NewList(deep)
	}
	if _, err := evalIn("convertToJson(x)", Env{Contexts: map[string]Value{"x": deep}}); err == nil {
		t.Error("no bound on depth")
	}
}

// TestMapIndex: a large mapping finds its keys as a small one does.
func TestMapIndex(t *testing.T) {
	var pairs []Pair
	for _, r := range "abcdefghijklmnopqrstuvwxyzéσK" {
		pairs = append(pairs, Pair{string(r), string(r)})
	}
	pairs = append(pairs, Pair{"A", "second"})
	m := NewMap(pairs...)
	for key, want := range map[string]Value{"A": "a", "É": "é", "ς": "σ", "z": "z", "nope": nil} {
		if got, ok := m.Get(key); got != want || ok != (want != nil) {
			t.Errorf("%s = %v", key, got)
		}
	}
}

func TestLiteral(t *testing.T) {
	for want, v := range map[string]Value{"'it''s'": "it's", "True": true, "1.5": mustEval(t, "1.50", nil), "Null": nil, "Array": NewList(), "Object": NewMap()} {
		if got := Literal(v); got != want {
			t.Errorf("%v is %s, want %s", v, got, want)
		}
	}
	n, _ := Parse("and(eq(v.name, 'text'), or(false, p.yes))")
	_, steps, err := n.EvalTrace(testEnv())
	text := ""
	for _, s := range steps {
		text += "       "[:s.Depth] + s.Text + " => " + Literal(s.Value) + "\n"
	}
	if want := "and(eq(v.name, 'text'), or(false, p.yes)) => True\n eq(v.name, 'text') => True\n  v.name => 'Text'\n   v => Object\n or(false, p.yes) => True\n  p.yes => True\n   p => Object\n"; err != nil || text != want {
		t.Errorf("%v\n%s", err, text)
	}
}

func jsonOf(v Value) string {
	text, _ := JSON(v)
	return text
}

// TestJSONIsBounded: the indentation of deep lists cannot fill the memory.
func TestJSONIsBounded(t *testing.T) {
	items := make([]Value, 100_000)
	deep := Value(NewList(items...))
	for range 500 {
		deep = NewList(deep)
	}
	if text, ok := JSON(deep); ok || len(text) > 2*maxResult {
		t.Error(len(text), ok)
	}
}
