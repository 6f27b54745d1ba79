package expression

import (
	"strings"
	"testing"
	"time"
)

func testEnv() Env {
	one, _ := ParseNumber("1.50")
	return Env{
		Contexts: map[string]Value{
			"v": NewMap(Pair{"name", "Text"}, Pair{"my-var", "dash"}, Pair{"Build.Reason", "Manual"}, Pair{"empty", ""}),
			"p": NewMap(
				Pair{"list", NewList("a", NewMap(Pair{"x", Int(1)}), "b")},
				Pair{"map", NewMap(Pair{"A", "1"}, Pair{"B", "2"})},
				Pair{"items", NewList(NewMap(Pair{"name", "n1"}, Pair{"tags", NewList("t1", "t2")}), NewMap(Pair{"other", "o"}), NewMap(Pair{"name", "n2"}))},
				Pair{"n", one}, Pair{"yes", true}, Pair{"none", NewList()}),
			"pipeline": NewMap(Pair{"startTime", time.Date(2026, 1, 31, 4, 5, 6, 123456700, time.UTC)}),
		},
		Functions: map[string]Function{"succeeded": {Max: 255, Call: func(any, []Value) (Value, error) { return true, nil }}},
	}
}

func run(text string) (Value, error) {
	n, err := Parse(text)
	if err != nil {
		return nil, err
	}
	env := testEnv()
	if err := n.Check(env); err != nil {
		return nil, err
	}
	return n.Eval(env)
}

func TestValues(t *testing.T) {
	for expr, want := range map[string]string{
		"eq('ABC','abc')": "True", "eq(1, '1.0')": "True", "eq('1', 1.0)": "True", "eq('1.0', 1)": "False",
		"eq(true,'false')": "True", "eq('false', false)": "True", "eq(v.missing, '')": "True", "eq(v.missing, 0)": "False",
		"eq(0, v.missing)": "True", "ne(1, 'x')": "True", "eq(1, 'x')": "False", "eq('true', true)": "True", "eq('', v.missing)": "True",
		"eq(p.list, p.list)": "True", "eq(p.list, p.map)": "False", "eq(1.2.3, '1.2.3')": "True", "eq('1.2.3', 1.2.3)": "True",
		"lt(1.2.3, '1.10.0')": "True", "lt(1.2.3, 1.2.3.0)": "True", "gt('10', '9')": "False", "gt(10, '9')": "True",
		"ge(2, 2)": "True", "le(2, '1')": "False", "lt('a', 'B')": "True", "gt(true, false)": "True", "ge('', v.missing)": "True",
		"gt(1.2.0, 1.2)":  "True",
		"and('False', 1)": "True", "and(true, 0)": "False", "or(0, '', 'x')": "True", "or(0, v.missing)": "False",
		"not('')": "True", "not('0')": "False", "not(0)": "True", "xor(true, 'x')": "False", "xor(true, '')": "True",
		"in('b', 'A', 'B')": "True", "in(1)": "False", "notIn('b', 'a')": "True", "notIn('b', 'B')": "False", "in(1, 'x', '1.0')": "True",
		"contains('Hello','ELL')": "True", "startsWith('abc','')": "True", "startsWith('abc','AB')": "True", "endsWith('abc','BC')": "True", "contains(true, 'ru')": "True",
		"containsValue(p.list, 'B')": "True", "containsValue(p.map, 2)": "True", "containsValue('text', 't')": "False", "containsValue(p.list, 'z')": "False",
		"coalesce(v.missing, '', 'x')": "x", "coalesce('', v.empty)": "", "coalesce('a', v.b.c)": "a", "length(coalesce('', p.list))": "3",
		"iif(true, 'a', 'b')": "a", "iif('', 'a', 'b')": "b", "iif(true, p.map, 1).a": "1",
		"format('{0}-{{{1}}}', 'a', 2.50)": "a-{2.5}", "format('none')": "none", "format('{0:yyyyMMdd}', pipeline.startTime)": "20260131",
		"format('{0:HH mm ss fff yy M d}', pipeline.startTime)": "04 05 06 123 26 1 31", `format('{0:yyyy\-MM\-dd}', pipeline.startTime)`: "2026-01-31",
		"format('{0}', true)": "True",
		"join(',', p.list)":   "a,,b", "join(',', p.none)": "", "join(',', 'x')": "x", "join(',', p.map)": "", "join(', ', p.items.*.name)": "n1, n2",
		"join(',', p.items[*].name)": "n1,n2", "join(',', p.map.*)": "1,2", "join('', p.items.*.tags.*)": "t1t2", "join(',', p.items.*.tags[0])": "t1",
		"split('a,,b', ',')[1]": "", "split('a,,b', ',')[2]": "b", "length(split('abc', ''))": "1", "split('a--b', '--')[1]": "b",
		"replace('Hello', 'L', 'x')": "Hexxo", "replace('abc', '', 'x')": "abc", "replace('aaa', 'a', 'aa')": "aaaaaa", "replace('a/b', '/', '')": "ab",
		"lower('ABC')": "abc", "upper(true)": "TRUE", "trim('  a b ')": "a b", "substring('hello', 1, 3)": "ell", "substring('hello', 3)": "lo", "substring('hi', 9, 9)": "",
		"length('abc')": "3", "length(p.map)": "2", "length(v.missing)": "0", "length(p.list)": "3", "length('é')": "1", "length('')": "0", "length('😀')": "2",
		"45700000000000000000000000000": "45700000000000000000000000000", "1.50": "1.5", "-1.2": "-1.2", ".5": "0.5", "1.123456789": "1.1234568", "-0.00000001": "0",
		"p.map['no such key']": "", "p.map.x.y.z": "", "p.list[99]": "", "p.list[-1]": "", "p.list['1'].X": "1", "p.list[''].x": "", "v['my-var']": "dash",
		"V.NAME": "Text", "v['Build.Reason']": "Manual", "v.Build.Reason": "", "1.2.3.4": "1.2.3.4", "'It''s'": "It's", "TRUE": "True", " false ": "False",
		"p.n": "1.5", "p.yes": "True", "pipeline.startTime": "2026-01-31 04:05:06+00:00", "gt(pipeline.startTime, '2026-1-30 00:00:00')": "True", "eq(pipeline.startTime, 'x')": "False",
		"convertToJson('a\"b')": `"a\"b"`, "convertToJson(true)": "true", "convertToJson(1.50)": "1.5", "convertToJson(v.missing)": "null", "convertToJson(p.none)": "[]",
		"convertToJson(p.map)": "{\n  \"A\": \"1\",\n  \"B\": \"2\"\n}", "convertToJson(split('a,b', ','))": "[\n  \"a\",\n  \"b\"\n]",
		"succeeded()": "True",
	} {
		v, err := run(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if got, ok := ToString(v); !ok || got != want {
			t.Errorf("%s = %q (%T), want %q", expr, got, v, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	for expr, code := range map[string]string{
		"": "expression-syntax", "eq(": "expression-syntax", "eq(1,)": "expression-syntax", "eq(1 2)": "expression-syntax", "1 2": "expression-syntax",
		"'open": "expression-syntax", `"x"`: "expression-syntax", "a == b": "expression-syntax", "!x": "expression-syntax", "(true)": "expression-syntax",
		"v.my-var": "expression-syntax", "v.": "expression-syntax", "v[": "expression-syntax", "v[1": "expression-syntax", "1e3": "expression-syntax", "1.2.3.4.5": "expression-syntax",
		"#": "expression-syntax", "-": "expression-syntax", "1,000": "expression-syntax",
		"gt(1, 'x')": "expression-type", "lt(p.list, 1)": "expression-type", "format('{1}', 'a')": "expression-value", "format('{', 'a')": "expression-value",
		"format('}')": "expression-value", "format('{x}', 1)": "expression-value", "format('{0:yyyy}', 'x')": "expression-value", "format('{0:yyyy-MM}', pipeline.startTime)": "expression-value",
		"upper(p.list)": "expression-type", "contains(p.list, 'a')": "expression-type", "substring('a', 'x')": "expression-type", "length(12)": "expression-type", "length(true)": "expression-type", "length(1.2.3)": "expression-type",
		"nope": "unknown-name", "nope()": "unknown-function", "eq(1)": "argument-count", "not()": "argument-count", "and(true)": "argument-count", "or(true, nope)": "unknown-name",
		strings.Repeat("not(", 60) + "1" + strings.Repeat(")", 60): "expression-depth", "'" + strings.Repeat("x", 21001) + "'": "expression-length",
	} {
		v, err := run(expr)
		e, ok := err.(*Error)
		if !ok || e.Code != code {
			t.Errorf("%.60s = %v, %v; want %s", expr, v, err, code)
		} else if e.Offset < 0 || e.Offset > len(expr) {
			t.Errorf("%.60s: offset %d", expr, e.Offset)
		}
	}
}

func TestFormatDate(t *testing.T) {
	at := time.Date(2026, 2, 3, 14, 5, 6, 70_000_000, time.FixedZone("", 2*3600))
	for spec, want := range map[string]string{
		"yyyy-MM-dd HH:mm:ss.ff": "2026-02-03 14:05:06.07", "ddd MMM d yy": "Tue Feb 3 26", "dddd, MMMM": "Tuesday, February", "h tt": "2 PM", "hh t": "02 P",
		"zzz zz z K": "+02:00 +02 +2 +02:00", "'at' y": "at 26", `\d`: "d", "yyy": "2026", "H m s M": "14 5 6 2",
	} {
		if got, err := FormatDate(at, spec); err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", spec, got, err, want)
		}
	}
	for _, spec := range []string{`\`, "'open", "yyyyy"} {
		if got, err := FormatDate(at, spec); err == nil {
			t.Errorf("%s = %q", spec, got)
		}
	}
}

func TestSplitText(t *testing.T) {
	for text, want := range map[string]string{
		"": "[]", "plain": "[plain]", "${{ a }}": "< a >", "x${{a}}y${{b}}": "[x]<a>[y]<b>", "${{ '}}' }}": "< '}}' >", "${{ '${{' }}!": "< '${{' >[!]",
	} {
		segments, err := SplitText(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		got := ""
		for _, s := range segments {
			if s.Expr {
				got += "<" + s.Text + ">"
			} else {
				got += "[" + s.Text + "]"
			}
		}
		if got != want {
			t.Errorf("%s = %s, want %s", text, got, want)
		}
	}
	if _, err := SplitText("a ${{ b"); err == nil {
		t.Error("an open expression is accepted")
	}
}
