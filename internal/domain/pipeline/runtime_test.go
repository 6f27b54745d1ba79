package pipeline_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
)

func lookup(m map[string]string) func(string) (string, bool) {
	lower := map[string]string{}
	for k, v := range m {
		lower[strings.ToLower(k)] = v
	}
	return func(name string) (string, bool) { v, ok := lower[strings.ToLower(name)]; return v, ok }
}

// TestDependencyOutcomes is the table of which condition runs after which result.
func TestDependencyOutcomes(t *testing.T) {
	conditions := []string{"", "succeededOrFailed()", "failed()", "always()", "not(failed())", "not(canceled())"}
	for _, c := range []struct {
		result   pipeline.Result
		canceled bool
		runs     string
	}{
		{pipeline.Succeeded, false, "yynyyy"}, {pipeline.SucceededWithIssues, false, "yynyyy"}, {pipeline.Failed, false, "nyyyny"},
		{pipeline.Skipped, false, "nnnyyy"}, {pipeline.Canceled, true, "nnnyyn"}, {pipeline.Canceled, false, "nynyyy"},
	} {
		for _, slot := range []pipeline.RuntimeSlot{pipeline.SlotJobCondition, pipeline.SlotStageCondition} {
			for i, cond := range conditions {
				got, err := pipeline.EvaluateCondition(cond, pipeline.RuntimeContext{Slot: slot, Canceled: c.canceled, Dependencies: map[string]pipeline.Dependency{"A": {Result: c.result}}})
				if err != nil || got != (c.runs[i] == 'y') {
					t.Errorf("%s (canceled %v) then %q: %v, %v", c.result, c.canceled, cond, got, err)
				}
			}
		}
	}
}

func TestStepConditions(t *testing.T) {
	for _, c := range []struct {
		status pipeline.Result
		runs   string
	}{{"", "ynnyy"}, {pipeline.Succeeded, "ynnyy"}, {pipeline.SucceededWithIssues, "ynnyy"}, {pipeline.Failed, "nynyy"}, {pipeline.Canceled, "nnyny"}} {
		for i, cond := range []string{"succeeded()", "failed()", "canceled()", "succeededOrFailed()", "always()"} {
			got, err := pipeline.EvaluateCondition(cond, pipeline.RuntimeContext{JobStatus: c.status})
			if err != nil || got != (c.runs[i] == 'y') {
				t.Errorf("%s: %s = %v, %v", c.status, cond, got, err)
			}
		}
	}
	for _, cond := range []string{"succeeded('a')", "eq(dependencies.a.result, 'x')", "nope()", "eq(1"} {
		if _, err := pipeline.EvaluateCondition(cond, pipeline.RuntimeContext{}); err == nil {
			t.Errorf("%s is accepted in a step", cond)
		}
	}
}

func jobContext() pipeline.RuntimeContext {
	return pipeline.RuntimeContext{
		Slot:      pipeline.SlotJobVariable,
		Variables: lookup(map[string]string{"a": "1", "Build.Reason": "Manual"}),
		Dependencies: map[string]pipeline.Dependency{
			"A": {Result: pipeline.Succeeded, Outputs: map[string]string{"s.v": "out", "s.legs": "{'x': {'k': 1}}", "s.json": `{"x":{"k":"v"}}`}},
			"B": {Result: pipeline.Failed},
		},
		StageDependencies: map[string]map[string]pipeline.Dependency{"S": {"J": {Result: pipeline.Skipped, Outputs: map[string]string{"s.v": "far"}}}},
		Counter:           func(prefix string, seed int) int { return seed + len(prefix) },
		Now:               time.Date(2026, 1, 31, 1, 2, 3, 0, time.UTC),
		Parameters:        map[string]any{"p": []any{"x", 1.5, true}},
	}
}

func TestEvaluateExpression(t *testing.T) {
	for expr, want := range map[string]string{
		"dependencies.a.outputs['S.V']": "out", "$[ dependencies.A.outputs['s.v'] ]": "out", "$[dependencies.A.result]": "Succeeded", "dependencies.A.outputs['none']": "",
		"dependencies.C.outputs['x']": "", "stageDependencies.S.J.outputs['s.v']": "far", "stageDependencies.s.j.result": "Skipped",
		"variables.a": "1", "variables['build.reason']": "Manual", "variables.none": "", "eq(variables.a, 1)": "True", "counter('ab', 100)": "102", "counter()": "0",
		"format('{0:yyyyMMdd}', pipeline.startTime)": "20260131", "join('-', parameters.p)": "x-1.5-True",
		"in(dependencies.A.result, 'Succeeded', 'Skipped')": "True", "convertToJson(parameters.p[2])": "true",
	} {
		got, err := pipeline.EvaluateExpression(expr, jobContext())
		if err != nil || got != want {
			t.Errorf("%s = %q, %v; want %q", expr, got, err, want)
		}
	}
	for _, expr := range []string{"parameters.p", "counter(parameters.p)", "counter('a', 'b')", "", "nope.x"} {
		if got, err := pipeline.EvaluateExpression(expr, jobContext()); err == nil {
			t.Errorf("%s = %q", expr, got)
		}
	}
	seeds := map[string]string{"counter('', 1.5)": "2", "counter('', '2.5')": "2", "counter('', true)": "1", "counter('', -1.5)": "-2"}
	for expr, want := range seeds { // half to even, as the service converts
		if got, err := pipeline.EvaluateExpression(expr, jobContext()); err != nil || got != want {
			t.Errorf("%s = %q, %v", expr, got, err)
		}
	}
	if _, err := pipeline.EvaluateExpression("counter('', 2147483648)", jobContext()); err == nil {
		t.Error("a seed of more than 32 bits is accepted")
	}
	none := jobContext()
	none.Counter = nil
	if _, err := pipeline.EvaluateExpression("counter('a')", none); err == nil {
		t.Error("counter works without a counter")
	}
	far := pipeline.RuntimeContext{Slot: pipeline.SlotJobCondition, Dependencies: map[string]pipeline.Dependency{"B": {Result: pipeline.Succeeded}}, Ancestors: map[string]pipeline.Dependency{"A": {Result: pipeline.Failed}, "B": {Result: pipeline.Succeeded}}}
	if ok, _ := pipeline.EvaluateCondition("", far); ok {
		t.Error("a failed ancestor is overlooked")
	}
}

// TestNamedStatus is the status functions with names of dependencies.
func TestNamedStatus(t *testing.T) {
	rc := jobContext()
	for cond, want := range map[string]bool{
		"failed('B')": true, "failed('A')": false, "failed('Z')": false, "failed('A', 'b')": true, "succeeded('A')": true, "succeeded('A', 'B')": false, "succeeded('Z')": false, "succeeded('')": false,
		"succeededOrFailed('A', 'B')": true, "succeededOrFailed('Z')": false, "failed()": true, "succeeded(dependencies.A.result)": false,
	} {
		for _, slot := range []pipeline.RuntimeSlot{pipeline.SlotJobCondition, pipeline.SlotStageCondition} {
			rc.Slot = slot
			if got, err := pipeline.EvaluateCondition(cond, rc); err != nil || got != want {
				t.Errorf("%s = %v, %v", cond, got, err)
			}
		}
	}
	for _, cond := range []string{"always(1)", "canceled('A')", "succeeded(dependencies)"} {
		if _, err := pipeline.EvaluateCondition(cond, rc); err == nil {
			t.Errorf("%s is accepted", cond)
		}
	}
}

// TestSlotNames is what an expression may name where.
func TestSlotNames(t *testing.T) {
	for expr, slots := range map[string]string{ // step, job, stage condition; job, stage variable
		"variables.a": "yyyyy", "pipeline.startTime": "nyyyy", "resources.x": "nyyyy", "dependencies.A.result": "nyyyy", "stageDependencies.S.J.result": "nynyy", "parameters.p": "nnnnn",
		"succeeded()": "yyynn", "failed()": "yyynn", "always()": "yyynn", "canceled()": "yyynn", "succeededOrFailed()": "yyynn", "succeeded('A')": "nyynn", "counter('a', 1)": "nnnyy", "VARIABLES.A": "yyyyy", "Eq(1, 1)": "yyyyy",
	} {
		for i, slot := range []pipeline.RuntimeSlot{pipeline.SlotStepCondition, pipeline.SlotJobCondition, pipeline.SlotStageCondition, pipeline.SlotJobVariable, pipeline.SlotStageVariable} {
			rc := jobContext()
			rc.Slot, rc.Parameters = slot, nil
			if _, err := pipeline.EvaluateExpression(expr, rc); (err == nil) != (slots[i] == 'y') {
				t.Errorf("%s in slot %d: %v", expr, slot, err)
			}
		}
	}
}

func TestEvaluateMatrix(t *testing.T) {
	leg := func(name string, pairs ...string) pipeline.MatrixEntry {
		e := pipeline.MatrixEntry{Name: name, Variables: map[string]string{}}
		for i := 0; i < len(pairs); i += 2 {
			e.Variables[pairs[i]] = pairs[i+1]
		}
		return e
	}
	rc := jobContext()
	rc.Parameters = map[string]any{"legs": map[string]any{"a": map[string]any{"n": 1.5}}, "list": []any{"x"}}
	for expr, want := range map[string][]pipeline.MatrixEntry{
		"dependencies.A.outputs['s.json']": {leg("x", "k", "v")}, "dependencies.A.outputs['s.legs']": {leg("x", "k", "1")}, "''": nil, "'{}'": nil, "dependencies.A.outputs['s.none']": nil, "parameters.legs": {leg("a", "n", "1.5")},
		`'{"z": {"n": 12345678901, "f": 1.50, "b": true, "t": "a\nb"}, "a": {}}'`: {leg("z", "n", "12345678901", "f", "1.50", "b", "true", "t", "a\nb"), leg("a")}, // as written, in its order
	} {
		got, err := pipeline.EvaluateMatrix(expr, rc)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %#v, %v", expr, got, err)
		}
	}
	for expr, code := range map[string]string{"'plain'": "expression-json", "'{a'": "expression-json", "parameters.list": "matrix-not-object", `'{"a": 1}'`: "matrix-not-object", `'{"a": {"b": []}}'`: "matrix-not-object"} {
		if _, err := pipeline.EvaluateMatrix(expr, rc); fault.CodeOf(err) != code {
			t.Errorf("%s: %v", expr, err)
		}
	}
}

func TestExpandMacros(t *testing.T) {
	vars := lookup(map[string]string{"a": "1", "n": "$(a)2", "name": "a", "loop1": "$(loop2)", "loop2": "$(loop1)", "two words": "w", "empty": "", "self": "x$(self)"})
	for text, want := range map[string]string{
		"$(a)": "1", "$(A)": "1", "$(n)": "12", "$($(name))": "$(a)", "$(unknown)": "$(unknown)", "$(loop1)": "$(loop1)", "$$(a)": "$1", "${a} %a%": "${a} %a%",
		"$(date +%F)": "$(date +%F)", "$(a$(a))": "$(a1)", "$(two words)!": "w!", "$()": "$()", "$(a": "$(a", "x$(empty)y": "xy", "$(a)$(a)": "11", "$(self)": "x$(self)", "": "",
	} {
		if got := pipeline.ExpandMacros(text, vars); got != want {
			t.Errorf("%s = %q, want %q", text, got, want)
		}
	}
	bomb := map[string]string{"v0": strings.Repeat("x", 100)}
	for i := 1; i < 40; i++ {
		bomb["v"+string(rune('0'+i))] = strings.Repeat("$(v"+string(rune('0'+i-1))+")", 4)
	}
	if got := pipeline.ExpandMacros("$(v"+string(rune('0'+39))+")", lookup(bomb)); len(got) > 64<<20 {
		t.Errorf("%d bytes", len(got))
	}
	rapid.Check(t, func(t *rapid.T) { // without variables nothing changes
		s := rapid.String().Draw(t, "s")
		if got := pipeline.ExpandMacros(s, lookup(nil)); got != s {
			t.Fatalf("%q became %q", s, got)
		}
	})
}
