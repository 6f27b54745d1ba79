package evaluate_test

import (
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/evaluate"
)

const given = `{
	"parameters": {"env": "prod", "list": [1, "b", null], "on": true, "big": 45700000000000000000000000000, "obj": {"z": 1.50, "a": {"k": "v"}}},
	"variables": {"a": "1", "Build.Reason": "Manual", "Build.SourceBranchName": "a/b", "n": 1.50, "yes": true, "none": null, "ref": "$[ variables.a ]"},
	"dependencies": {"A": {"result": "Succeeded", "outputs": {"s.v": "out"}}, "B": {"result": "failed"}},
	"stageDependencies": {"S": {"J": {"result": "Skipped", "outputs": {"s.v": "far"}}}},
	"resources": {"repositories": {"self": {"ref": "refs/heads/main"}}},
	"pipeline": {"startTime": "2026-01-31T04:05:06Z", "x": 1},
	"obj": {"name": "free"}
}`

func evaluated(t *testing.T, slot, expr, context string) (string, error) {
	t.Helper()
	c, err := evaluate.ParseContext([]byte(context))
	if err != nil {
		return "", err
	}
	r, err := evaluate.Evaluate(evaluate.Request{Expr: expr, Slot: evaluate.Slot(slot), Context: c, Now: time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)})
	return r.Type + " " + r.Text, err
}

// TestSlots is what an expression means at each place.
func TestSlots(t *testing.T) {
	for _, c := range []struct{ slot, expr, want string }{
		{"", "variables.a", "string 1"}, {"any", "${{ variables.a }}", "string 1"}, {"any", "$[ variables.a ]", "string 1"}, {"any", "x-${{ variables.a }}-${{ true }}", "string x-1-True"}, {"any", "v $[ 1 ]", "string v $[ 1 ]"},
		{"any", "obj.name", "string free"}, {"any", "OBJ.NAME", "string free"}, {"any", "missing", "error unknown-name"}, {"any", "variables.missing", "null "}, {"any", "parameters.missing", "null "}, {"any", "variables.none", "string "},
		{"any", "parameters.big", "number 45700000000000000000000000000"}, {"any", "parameters.on", "boolean True"}, {"any", "variables.n", "string 1.5"}, {"any", "variables.yes", "string true"}, {"any", "1.2.3", "version 1.2.3"},
		{"any", "pipeline.startTime", "datetime 2026-01-31 04:05:06+00:00"}, {"any", "pipeline.x", "number 1"}, {"any", "succeeded('nobody')", "boolean True"}, {"any", "failed()", "boolean False"}, {"any", "counter('x', 7)", "number 7"},
		{"any", "always()", "boolean True"}, {"any", "canceled()", "boolean False"}, {"any", "succeededOrFailed()", "boolean True"}, {"any", "dependencies.B.result", "string failed"}, {"any", "stageDependencies.s.j.outputs['S.V']", "string far"},
		{"any", "parameters.list", "array [\n  1,\n  \"b\",\n  null\n]"}, {"any", "parameters.obj", "object {\n  \"z\": 1.5,\n  \"a\": {\n    \"k\": \"v\"\n  }\n}"}, {"any", "a ${{ parameters.list }}", "error expression-type"}, {"any", "${{ 1", "error expression-syntax"},
		{"compile-variable", "${{ parameters.env }}", "string prod"}, {"compile-variable", "parameters.env", "string prod"}, {"compile-variable", " ${{ parameters.list }} ", "array [\n  1,\n  \"b\",\n  null\n]"}, {"compile-variable", "$[ variables.a ]", "string $[ variables.a ]"},
		{"compile-variable", "${{ variables.ref }}", "string $[ variables.a ]"}, {"compile-variable", "${{ dependencies.A.result }}", "error unknown-name"}, {"compile-variable", "${{ pipeline.startTime }}", "error unknown-name"}, {"compile-variable", "${{ obj.name }}", "error unknown-name"},
		{"compile-variable", "${{ succeeded() }}", "error unknown-function"}, {"compile-variable", "${{ counter() }}", "error unknown-function"}, {"compile-variable", "${{ parameters.missing }}", "error unknown-parameter"}, {"compile-variable", "iif(true, 1, parameters.missing)", "error unknown-parameter"},
		{"compile-variable", "or(true, parameters.missing)", "boolean True"}, {"compile-variable", "resources.repositories['self'].ref", "string refs/heads/main"}, {"compile-variable", "join(',', parameters.*)", "string prod,,True,45700000000000000000000000000,"},
		{"if-directive", "${{ 'False' }}", "boolean True"}, {"if-directive", "0", "boolean False"}, {"if-directive", "${{ if eq(parameters.env, 'PROD') }}", "boolean True"}, {"if-directive", "${{ elseif '' }}", "boolean False"}, {"if-directive", "nope", "error unknown-name"},
		{"runtime-variable", "$[ variables.a ]", "string 1"}, {"runtime-variable", "variables.a", "string 1"}, {"runtime-variable", "v$[ variables.a ]", "string v$[ variables.a ]"}, {"runtime-variable", "$[counter('a', 3)]", "number 3"}, {"runtime-variable", "$[ parameters.env ]", "error unknown-name"},
		{"runtime-variable", "${{ parameters.env }}", "string prod"}, {"runtime-variable", "$[ eq('${{ parameters.env }}', 'prod') ]", "boolean True"}, {"runtime-variable", "$[ succeeded() ]", "error unknown-function"}, {"runtime-variable", "$[ format('{0:yyyyMMdd}', pipeline.startTime) ]", "string 20260131"},
		{"runtime-variable", "${{ variables.ref }}", "string 1"}, {"runtime-variable", "$[ eq(1 ]", "error expression-syntax"}, {"runtime-variable", "$[ resources.repositories.self.ref ]", "string refs/heads/main"},
		{"job-scoped-runtime-var", "$[ dependencies.A.outputs['s.v'] ]", "string out"}, {"job-scoped-runtime-var", "$[ stageDependencies.S.J.result ]", "string Skipped"}, {"job-scoped-runtime-var", "$[ dependencies.none.outputs['x'] ]", "null "}, {"job-scoped-runtime-var", "$[ obj.name ]", "error unknown-name"},
		{"step-condition", "succeeded()", "boolean True"}, {"step-condition", "variables.a", "boolean True"}, {"step-condition", "''", "boolean False"}, {"step-condition", "", "boolean True"}, {"step-condition", "dependencies.A.result", "error unknown-name"}, {"step-condition", "parameters.env", "error unknown-name"},
		{"step-condition", "pipeline.startTime", "error unknown-name"}, {"step-condition", "succeeded('A')", "error argument-count"}, {"step-condition", "${{ eq(parameters.env, 'prod') }}", "boolean True"}, {"step-condition", "${{ succeeded() }}", "error unknown-function"},
		{"job-condition", "succeeded('A')", "boolean True"}, {"job-condition", "succeeded()", "boolean False"}, {"job-condition", "failed('B')", "boolean True"}, {"job-condition", "", "boolean False"}, {"job-condition", "$[ always() ]", "boolean True"}, {"job-condition", "eq(dependencies.A.outputs['s.v'], 'OUT')", "boolean True"},
		{"job-condition", "stageDependencies.S.J.result", "boolean True"}, {"stage-condition", "stageDependencies.S.J.result", "error unknown-name"}, {"stage-condition", "in(dependencies.B.result, 'Failed')", "boolean True"}, {"deployment-job-condition", "not(succeeded('B'))", "boolean True"}, {"job-condition", "counter()", "error unknown-function"},
		{"job-condition", "and(succeeded('A'), eq('${{ parameters.env }}', 'prod'))", "boolean True"}, {"run-name", "$(Date:yyyyMMdd).$(Rev:r)", "string 20260131.1"}, {"run-name", "${{ parameters.env }}-$(SourceBranchName)_$(a)", "string prod-a_b_1"}, {"run-name", "a:b", "error run-number"}, {"run-name", "", "string 20260131.1"},
		{"nowhere", "1", "error unknown-slot"},
	} {
		got, err := evaluated(t, c.slot, c.expr, given)
		if err != nil {
			got = "error " + fault.CodeOf(err)
		}
		if got != c.want {
			t.Errorf("%s: %s is %q (%v), want %q", c.slot, c.expr, got, err, c.want)
		}
	}
}

// TestStatus is where the status of what went before comes from.
func TestStatus(t *testing.T) {
	for _, c := range []struct{ slot, context, runs string }{
		{"step-condition", ``, "ynnyy"}, {"step-condition", `{"variables": {"Agent.JobStatus": "Failed"}}`, "nynyy"}, {"step-condition", `{"variables": {"agent.jobstatus": "canceled"}}`, "nnyny"}, {"step-condition", `{"status": "SucceededWithIssues"}`, "ynnyy"},
		{"job-condition", `{"dependencies": {"A": {"result": "SucceededWithIssues"}}}`, "ynnyy"}, {"job-condition", `{"dependencies": {"A": {"result": "Failed"}}}`, "nynyy"}, {"job-condition", `{"dependencies": {"A": {"result": "Skipped"}}}`, "nnnny"},
		{"stage-condition", `{"dependencies": {"A": {"result": "Succeeded"}}, "canceled": true}`, "nnyny"}, {"stage-condition", `{"status": "Canceled"}`, "nnyny"},
	} {
		for i, condition := range []string{"succeeded()", "failed()", "canceled()", "succeededOrFailed()", "always()"} {
			want := "boolean " + map[byte]string{'y': "True", 'n': "False"}[c.runs[i]]
			if got, err := evaluated(t, c.slot, condition, c.context); err != nil || got != want {
				t.Errorf("%s with %s: %s is %s (%v)", c.slot, c.context, condition, got, err)
			}
		}
	}
}

// TestContextJSON: numbers and the order of keys are kept.
func TestContextJSON(t *testing.T) {
	for raw, want := range map[string]string{
		`{"obj": {"b": [ ], "a": { }, "é": "\u00e9\n\"", "n": [1, -2.50, 1e3, 1.5E-2, 0.1234567890123456789]}}`: "object {\n  \"b\": [],\n  \"a\": {},\n  \"é\": \"é\\n\\\"\",\n  \"n\": [\n    1,\n    -2.5,\n    1000,\n    0.015,\n    0.1234567890123456789\n  ]\n}",
		`{"obj": null}`: "null ", `{"obj": "x"}`: "string x", ` { "OBJ" : false } `: "boolean False", `{"obj": "a\\"}`: `string a\`,
		`null`: "error unknown-name", ``: "error unknown-name", `{}`: "error unknown-name",
		`[]`: "error context-unreadable", `{`: "error context-unreadable", `1`: "error context-unreadable", `{"obj": 1e99}`: "error context-unreadable", `{"obj": 1e999999999}`: "error context-unreadable", `{"obj": 1} x`: "error context-unreadable",
		`{"pipeline": {"startTime": "soon"}, "obj": 1}`: "error context-unreadable", `{"obj": ` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + "}": "error context-unreadable",
	} {
		got, err := evaluated(t, "any", "obj", raw)
		if err != nil {
			got = "error " + fault.CodeOf(err)
		}
		if got != want {
			t.Errorf("%.60s is %q (%v), want %q", raw, got, err, want)
		}
	}
	for start, want := range map[string]string{"2026-01-31T04:05:06.5+02:00": "datetime 2026-01-31 04:05:06+02:00", "2026/1/31 4:5:6": "datetime 2026-01-31 04:05:06+00:00"} {
		if got, err := evaluated(t, "any", "pipeline.startTime", `{"pipeline": {"startTime": "`+start+`"}}`); err != nil || got != want {
			t.Errorf("%s is %s (%v)", start, got, err)
		}
	}
	if got, err := evaluated(t, "any", "pipeline.startTime", ""); err != nil || got != "datetime 2026-11-02 12:00:00+00:00" {
		t.Error(got, err)
	}
}

func TestTrace(t *testing.T) {
	c, err := evaluate.ParseContext([]byte(given))
	if err != nil {
		t.Fatal(err)
	}
	r, err := evaluate.Evaluate(evaluate.Request{Expr: "and(eq(variables.a, 2), nothing.x)", Slot: evaluate.CompileVariable, Context: c, Trace: true})
	if err == nil || len(r.Steps) != 0 {
		t.Error("unknown names are found before anything is computed", err, r.Steps)
	}
	r, err = evaluate.Evaluate(evaluate.Request{Expr: "or(eq(variables.a, 2), gt(1, 'x'))", Context: c, Trace: true})
	text := ""
	for _, s := range r.Steps {
		text += strings.Repeat(" ", s.Depth) + s.Expression + "=" + s.Value
		if s.Failed {
			text += "!"
		}
		text += ";"
	}
	if want := "or(eq(variables.a, 2), gt(1, 'x'))=Null!; eq(variables.a, 2)=False;  variables.a='1';   variables=Object; gt(1, 'x')=Null!;"; err == nil || text != want {
		t.Errorf("%s (%v)", text, err)
	}
	if r, err := evaluate.Evaluate(evaluate.Request{Expr: "'a\"b'"}); err != nil || r.JSON() != `"a\"b"` {
		t.Error(r.JSON(), err)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	context := []byte(`{"variables": {"a": "1", "Build.Reason": "Manual"}, "parameters": {"x": [1, 2, {"k": "v"}]}}`)
	b.ReportAllocs()
	for b.Loop() {
		c, err := evaluate.ParseContext(context)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := evaluate.Evaluate(evaluate.Request{Expr: "and(succeeded(), eq(variables['Build.Reason'], 'Manual'))", Slot: evaluate.JobCondition, Context: c}); err != nil {
			b.Fatal(err)
		}
	}
}
