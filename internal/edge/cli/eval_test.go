package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEval(t *testing.T) {
	d := newDesk(t, nil)
	must(t, os.WriteFile(filepath.Join(d.dir, "c.json"), []byte(`{"variables":{"b":"main"},"obj":{"z":1,"a":[true]}}`), 0o600))
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"eval", "eq(variables.b, 'MAIN')", "--context", "c.json"}, "boolean True\n", 0},
		{[]string{"eval", "variables.b", "--context", "c.json"}, "string  main\n", 0},
		{[]string{"eval", "variables.c", "--context", "c.json"}, "null\n", 0},
		{[]string{"eval", "obj.a", "--context", "c.json"}, "array   [\n  true\n]\n", 0},
		{[]string{"eval", "not(eq(variables.b, 'x'))", "--context", "c.json", "--trace"}, "not(eq(variables.b, 'x')) => True\n  eq(variables.b, 'x') => False\n    variables.b => 'main'\n      variables => Object\nboolean True\n", 0},
		{[]string{"eval", "or(gt(1, 'x'), 1)", "--trace"}, "or(gt(1, 'x'), 1) => error\n  gt(1, 'x') => error\n", 2},
		{[]string{"eval", "obj", "--context", "c.json", "-o", "json"}, "{\n  \"type\": \"object\",\n  \"value\": {\n    \"z\": 1,\n    \"a\": [\n      true\n    ]\n  }\n}\n", 0},
		{[]string{"eval", "not(0)", "--trace", "-o", "json"}, "{\n  \"type\": \"boolean\",\n  \"value\": true,\n  \"trace\": [\n    {\n      \"depth\": 0,\n      \"expression\": \"not(0)\",\n      \"value\": \"True\"\n    }\n  ]\n}\n", 0},
		{[]string{"eval", "pipeline.startTime"}, "datetime 2026-11-02 12:00:00+00:00\n", 0},
		{[]string{"eval", "nope", "-o", "json"}, "", 2},
		{[]string{"eval", "1", "--context", "absent.json"}, "", 2},
		{[]string{"eval", "1", "2"}, "", 2},
		{[]string{"eval"}, "", 2},
		{[]string{"eval", "1", "--stdin"}, "", 2},
		{[]string{"eval", "1", "--slot", "nowhere"}, "", 2},
	} {
		out, errs, code := d.run(c.args...)
		if code != c.code || out != c.want || (code != 0) != (errs != "") {
			t.Errorf("%v: exit code %d\n%s%s\nwant %d\n%s", c.args, code, out, errs, c.code, c.want)
		}
	}
	d.stdin = `{"obj":"given"}`
	if out, _, _ := d.run("eval", "obj", "--context", "-"); out != "string  given\n" {
		t.Errorf("context from standard input: %q", out)
	}
	d.stdin = "{\"id\":1,\"expr\":\"1\"}\nx\n"
	if out, _, code := d.run("eval", "--stdin"); code != 0 || !strings.HasPrefix(out, "{\"id\":1,\"value\":\"1\"}\n{\"id\":null,\"error\":") {
		t.Errorf("lines: %d %q", code, out)
	}
}
