package expression

import (
	"errors"
	"strings"
	"testing"
)

// TestMessages is what people read: the service's words, the token and its
// 1-based place.
func TestMessages(t *testing.T) {
	for expr, want := range map[string]string{
		"":                   "An expression was expected",
		"eq(foo, 1":          "Unrecognized value: 'foo'. Located at position 4 within expression: eq(foo, 1",
		"eq(1, 2":            "Unclosed function: 'eq'. Located at position 1 within expression: eq(1, 2",
		" not(eq(1, 2) ":     "Unclosed function: 'not'. Located at position 1 within expression: not(eq(1, 2)",
		"v[1":                "Unclosed indexer: '['. Located at position 2 within expression: v[1",
		"v.":                 "Expected a property name to follow the dereference operator '.': '.'. Located at position 2 within expression: v.",
		"eq":                 "Expected '(' to follow a function: 'eq'. Located at position 1 within expression: eq",
		"succeeded 1":        "Expected '(' to follow a function: 'succeeded'. Located at position 1 within expression: succeeded 1",
		"eq(1)":              "Unexpected symbol: ')'. Located at position 5 within expression: eq(1)",
		"eq(1, 2, 3)":        "Unexpected symbol: ','. Located at position 8 within expression: eq(1, 2, 3)",
		"eq(1,,2)":           "Unexpected symbol: ','. Located at position 6 within expression: eq(1,,2)",
		"eq(,1)":             "Unexpected symbol: ','. Located at position 4 within expression: eq(,1)",
		"eq(1,2,)":           "Unexpected symbol: ','. Located at position 7 within expression: eq(1,2,)",
		"and(1,2,)":          "Unexpected symbol: ')'. Located at position 9 within expression: and(1,2,)",
		"1 2":                "Unexpected symbol: '2'. Located at position 3 within expression: 1 2",
		"(true)":             "Unexpected symbol: '('. Located at position 1 within expression: (true)",
		"eq(1,2))":           "Unexpected symbol: ')'. Located at position 8 within expression: eq(1,2))",
		"v]":                 "Unexpected symbol: ']'. Located at position 2 within expression: v]",
		"v[]":                "Unexpected symbol: ']'. Located at position 3 within expression: v[]",
		"v[1,2]":             "Unexpected symbol: ','. Located at position 4 within expression: v[1,2]",
		"v[*1]":              "Unexpected symbol: '1'. Located at position 4 within expression: v[*1]",
		"v[*.a]":             "Unexpected symbol: '.'. Located at position 4 within expression: v[*.a]",
		"*":                  "Unexpected symbol: '*'. Located at position 1 within expression: *",
		"'a'.b":              "Unexpected symbol: '.'. Located at position 4 within expression: 'a'.b",
		"true[0]":            "Unexpected symbol: '['. Located at position 5 within expression: true[0]",
		"v.1":                "Unexpected symbol: '1'. Located at position 3 within expression: v.1",
		"v.a-b":              "Unexpected symbol: 'a-b'. Located at position 3 within expression: v.a-b",
		"v.'a'":              "Unexpected symbol: ''a''. Located at position 3 within expression: v.'a'",
		"v.name=='x'":        "Unexpected symbol: 'name=='x''. Located at position 3 within expression: v.name=='x'",
		"v.name == 'x'":      "Unrecognized value: '=='. Located at position 8 within expression: v.name == 'x'",
		"a-b":                "Unrecognized value: 'a-b'. Located at position 1 within expression: a-b",
		"'open":              "Unrecognized value: ''open'. Located at position 1 within expression: 'open",
		`eq("x", 1)`:         `Unrecognized value: '"x"'. Located at position 4 within expression: eq("x", 1)`,
		"1e3":                "Unrecognized value: '1e3'. Located at position 1 within expression: 1e3",
		"eq(1.x, 2)":         "Unrecognized value: '1.x'. Located at position 4 within expression: eq(1.x, 2)",
		"1.2.3.4.5":          "Unrecognized value: '1.2.3.4.5'. Located at position 1 within expression: 1.2.3.4.5",
		"-":                  "Unrecognized value: '-'. Located at position 1 within expression: -",
		"+1":                 "Unrecognized value: '+1'. Located at position 1 within expression: +1",
		"eq('😀', foo)":       "Unrecognized value: 'foo'. Located at position 10 within expression: eq('😀', foo)",
		"\u00a0eq(1,\tx)":    "Unrecognized value: 'x'. Located at position 7 within expression: eq(1, x)",
		"nope()":             "Unrecognized value: 'nope'. Located at position 1 within expression: nope()",
		"succeeded(1, 2, 3)": "Unexpected symbol: ','. Located at position 15 within expression: succeeded(1, 2, 3)",
		"gt(1, 'x')":         "Unable to convert from String to Number. Value: 'x'. Located at position 7 within expression: gt(1, 'x')",
		"upper(p.list)":      "Unable to convert from Array to String. Value: Array. Located at position 9 within expression: upper(p.list)",
		"lt(p.map, 1)":       "Unable to convert from Object to Number. Value: Object. Located at position 6 within expression: lt(p.map, 1)",
		"format('{1}', 1)":   "The following format string references more arguments than were supplied: {1}. Located at position 1 within expression: format('{1}', 1)",
		"format('{', 1)":     "The following format string is invalid: {. Located at position 1 within expression: format('{', 1)",
		"format('{0:x}', 1)": "The format specifiers 'x' are not valid for objects of type 'Number'. Located at position 1 within expression: format('{0:x}', 1)",
		"length(1)":          "Kind 'Number' not supported by the length function. Located at position 8 within expression: length(1)",
		"p.list[9999999999]": "The index 9999999999 is too large. Located at position 8 within expression: p.list[9999999999]",
		strings.Repeat("not(", 50) + "1" + strings.Repeat(")", 50): "Exceeded max expression depth 50",
		"v" + strings.Repeat("[v", 50):                             "Exceeded max expression depth 50",
		"'" + strings.Repeat("x", 20999) + "'":                     "Exceeded max expression length 21000",
	} {
		env := testEnv()
		env.Functions["succeeded"] = Function{Max: 2, Call: env.Functions["succeeded"].Call}
		n, err := ParseIn(expr, env)
		if err == nil {
			_, err = n.Eval(env)
		}
		var e *Error
		if !errors.As(err, &e) || e.Message != want {
			t.Errorf("%.60s:\n got %v\nwant %s", expr, err, want)
		} else if e.Offset < 0 || e.Length < 1 || e.Offset > len(expr) {
			t.Errorf("%.60s: place %d, %d", expr, e.Offset, e.Length)
		}
	}
}

// TestLimits is what is just still allowed.
func TestLimits(t *testing.T) {
	for _, expr := range []string{
		strings.Repeat("not(", 49) + "1" + strings.Repeat(")", 49), "v" + strings.Repeat(".a", 10_000), "'" + strings.Repeat("x", 20_998) + "'", "'" + strings.Repeat("é", 20_998) + "'",
		"v" + strings.Repeat("['a']", 4_000), "v" + strings.Repeat(".*", 10_000), "and(1" + strings.Repeat(",1", 10_000) + ")",
	} {
		n, err := Parse(expr)
		if err == nil {
			err = n.Check(testEnv())
		}
		if err == nil {
			_, err = n.Eval(testEnv())
		}
		if err != nil {
			t.Errorf("%.40s: %.200s", expr, err)
		}
	}
}

// TestUnknownNamesAreFoundLater: without an environment only the form counts,
// and Check names what is not there, also where nothing is computed.
func TestUnknownNamesAreFoundLater(t *testing.T) {
	for expr, code := range map[string]string{"foo": "unknown-name", "or(true, foo.bar)": "unknown-name", "foo(1, eq(1,2))": "unknown-function", "succeeded(1)": "argument-count", "v[foo]": "unknown-name"} {
		n, err := Parse(expr)
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		env := testEnv()
		env.Functions["succeeded"] = Function{Call: env.Functions["succeeded"].Call}
		var e *Error
		if err := n.Check(env); !errors.As(err, &e) || e.Code != code {
			t.Errorf("%s: %v", expr, err)
		}
	}
	for expr, do := range map[string]string{"succeeded()": "status functions belong in a condition", "counter()": "counter belongs in a variable's value: $[ counter(…) ]", "lengt('a')": "write length", "text": "quote it if it is text: 'text'", "a==b": "the language has no operator `==`: write eq(a, b)"} {
		_, err := ParseIn(expr, Env{})
		var e *Error
		if !errors.As(err, &e) || e.Do != do {
			t.Errorf("%s: %v", expr, err)
		}
	}
}

// TestMemory: no expression keeps more than its bound.
func TestMemory(t *testing.T) {
	big := "'" + strings.Repeat("x", 300) + "'"
	for range 6 {
		big = "format('{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}', " + big + ")"
	}
	list := "split(replace(format('{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}', format('{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}', '" + strings.Repeat("x", 9000) + "')), 'x', 'ab'), 'a')"
	many := "and(1" + strings.Repeat(", format('{0}{0}{0}{0}{0}{0}{0}{0}', '"+strings.Repeat("x", 150)+"')", 60) + ")"
	for _, expr := range []string{big, list, "replace(" + strings.Replace(big, "300", "3", 1) + ", 'x', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx')"} {
		_, err := run(expr)
		var e *Error
		if !errors.As(err, &e) || e.Code != "expression-memory" {
			t.Errorf("%.60s: %.100v", expr, err)
		}
	}
	if _, err := run(many); err != nil {
		t.Errorf("%.200v", err)
	}
}
