package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"penstock.dev/penstock/internal/domain/pipeline"
)

func compile(t *testing.T, yaml string) (*pipeline.Plan, []pipeline.Diagnostic) {
	t.Helper()
	plan, diags, err := pipeline.Compile(context.Background(), files{"p.yml": []byte(yaml)}, pipeline.Input{File: "/p.yml"})
	if err != nil {
		t.Fatal(err)
	}
	return plan, diags
}

type broken struct{ err error }

func (b broken) ReadFile(context.Context, string, string) ([]byte, error) { return nil, b.err }

func TestSourceFailure(t *testing.T) {
	want := errors.New("the disk is gone")
	for _, f := range []func() (*pipeline.Plan, []pipeline.Diagnostic, error){
		func() (*pipeline.Plan, []pipeline.Diagnostic, error) {
			return pipeline.Compile(context.Background(), broken{want}, pipeline.Input{File: "p.yml"})
		},
		func() (*pipeline.Plan, []pipeline.Diagnostic, error) {
			return pipeline.ReadHead(context.Background(), broken{want}, "p.yml")
		},
	} {
		if plan, diags, err := f(); !errors.Is(err, want) || plan != nil || diags != nil {
			t.Error(plan, diags, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := pipeline.Compile(ctx, files{"p.yml": []byte("steps: []\n")}, pipeline.Input{File: "p.yml"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestMissingRoot(t *testing.T) {
	plan, diags, err := pipeline.Compile(context.Background(), files{}, pipeline.Input{File: "p.yml"})
	if plan != nil || err != nil || len(diags) != 1 || diags[0].Code != "file-not-found" || diags[0].File != "p.yml" {
		t.Error(plan, diags, err)
	}
	plan, diags, err = pipeline.ReadHead(context.Background(), files{}, "p.yml")
	if plan != nil || err != nil || len(diags) != 1 {
		t.Error(plan, diags, err)
	}
}

func TestTooManyFiles(t *testing.T) {
	src := files{}
	var b strings.Builder
	b.WriteString("steps:\n")
	for i := range 120 {
		name := "t" + strings.Repeat("x", i) + ".yml"
		src[name] = []byte("steps: []\n")
		b.WriteString("- template: " + name + "\n")
	}
	src["p.yml"] = []byte(b.String())
	_, diags, err := pipeline.Compile(context.Background(), src, pipeline.Input{File: "p.yml"})
	if err != nil || len(diags) != 1 || diags[0].Code != "too-many-files" {
		t.Error(diags, err)
	}
}

func TestTooManyJobs(t *testing.T) {
	_, diags := compile(t, "jobs:\n"+strings.Repeat("- job:\n  steps: []\n", 257))
	if len(diags) != 1 || diags[0].Code != "too-many-jobs" {
		t.Error(diags)
	}
}

func TestExpansionMemory(t *testing.T) {
	text := strings.Repeat("x", 1000)
	var b strings.Builder
	b.WriteString("parameters:\n- {name: l, type: object, default: [" + strings.Repeat("1,", 200) + "1]}\n- {name: s, default: " + text + "}\n")
	b.WriteString("steps:\n- ${{ each a in parameters.l }}:\n  - ${{ each b in parameters.l }}:\n    - script: ${{ parameters.s }}\n")
	_, diags := compile(t, b.String())
	if len(diags) != 1 || diags[0].Code != "expansion-memory" {
		t.Error(diags)
	}
}

// TestPlanSurvivesJSON: a plan is stored as JSON and must come back the same.
func TestPlanSurvivesJSON(t *testing.T) {
	paths, _ := filepath.Glob("testdata/*.txtar")
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		src := files{}
		archive := parseArchive(data)
		for _, f := range archive {
			src[f.Name] = f.Data
		}
		plan, _, err := pipeline.Compile(context.Background(), src, pipeline.Input{File: archive[0].Name})
		if plan == nil || err != nil {
			continue
		}
		encoded, err := json.Marshal(plan)
		if err != nil {
			t.Fatal(err)
		}
		var again pipeline.Plan
		mustJSON(t, encoded, &again)
		second, _ := json.Marshal(&again)
		if string(encoded) != string(second) {
			t.Errorf("%s changes on the way through JSON", path)
		}
	}
}

// TestRepeatable: the same input gives the same plan, to the byte.
func TestRepeatable(t *testing.T) {
	src := files{"p.yml": []byte("steps:\n- ${{ each v in variables }}:\n  - script: ${{ v.key }}\n- script: ${{ convertToJson(variables) }}\n")}
	in := pipeline.Input{File: "p.yml", Variables: map[string]string{"b": "1", "A": "2", "c": "3", "d": "4"}}
	first := ""
	for range 20 {
		plan, _, err := pipeline.Compile(context.Background(), src, in)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := json.Marshal(plan)
		if first == "" {
			first = string(data)
		}
		if first != string(data) {
			t.Fatalf("%s\n%s", first, data)
		}
	}
}

func TestDiagnosticString(t *testing.T) {
	_, diags := compile(t, "steps:\n- scrpt: x\n")
	if len(diags) != 1 || diags[0].String() != "p.yml:2:3: error unknown-key: a step has no key `scrpt`" {
		t.Error(diags)
	}
}

// TestRenderMerges: one mistake in a template that two pipelines call is shown
// once, with both calls.
func TestRenderMerges(t *testing.T) {
	one := pipeline.Diagnostic{Severity: pipeline.Error, Code: "c", Message: "m", Location: pipeline.Location{File: "t.yml", Line: 1, Column: 2}, Snippet: "abc", Length: 9,
		Where: "stage s", Chain: []pipeline.Location{{File: "a.yml", Line: 3, Column: 4}}}
	two := one
	two.Chain = []pipeline.Location{{File: "b.yml", Line: 5, Column: 6}}
	var b strings.Builder
	pipeline.Render(&b, []pipeline.Diagnostic{one, two})
	want := "t.yml:1:2: error c: m\n    1 │ abc\n      │  ^^\n  where     stage s, included by a.yml:3:4 and b.yml:5:6\n  see       penstock explain c\n"
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
}

// TestLiteralText: whatever text stands in a script without `${{` arrives as it is.
func TestLiteralText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ -~]{0,40}`).Filter(func(s string) bool { return !strings.Contains(s, "${{") }).Draw(t, "text")
		yaml := "steps:\n- script: '" + strings.ReplaceAll(text, "'", "''") + "'\n"
		plan, diags, err := pipeline.Compile(context.Background(), files{"p.yml": []byte(yaml)}, pipeline.Input{File: "p.yml"})
		if err != nil || plan == nil {
			t.Fatal(diags, err)
		}
		if got := plan.Stages[0].Jobs[0].Steps[1].Inputs["script"]; got != text {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

// TestParameterRoundTrip: an object goes through a parameter, a template and
// convertToJson without losing anything.
func TestParameterRoundTrip(t *testing.T) {
	src := files{
		"p.yml": []byte("parameters:\n- {name: o, type: object}\nsteps:\n- template: t.yml\n  parameters: { o: '${{ parameters.o }}' }\n"),
		"t.yml": []byte("parameters:\n- {name: o, type: object}\nsteps:\n- script: ${{ convertToJson(parameters.o) }}\n"),
	}
	leaf := rapid.OneOf(rapid.Map(rapid.String(), func(s string) any { return s }), rapid.Map(rapid.Bool(), func(b bool) any { return b }), rapid.Map(rapid.IntRange(-1000, 1000), func(i int) any { return float64(i) }))
	rapid.Check(t, func(t *rapid.T) {
		value := map[string]any{"list": []any{leaf.Draw(t, "a"), leaf.Draw(t, "b")}, "map": map[string]any{"k": leaf.Draw(t, "c")}}
		plan, diags, err := pipeline.Compile(context.Background(), src, pipeline.Input{File: "p.yml", Parameters: map[string]any{"o": value}})
		if err != nil || plan == nil {
			t.Fatal(diags, err)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(plan.Stages[0].Jobs[0].Steps[1].Inputs["script"]), &got); err != nil || !reflect.DeepEqual(got, value) {
			t.Fatalf("%v became %v (%v)", value, got, err)
		}
	})
}

func FuzzCompile(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*.txtar")
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		archive := parseArchive(data)
		second := []byte{}
		if len(archive) > 1 {
			second = archive[1].Data
		}
		f.Add(archive[0].Data, second)
	}
	f.Fuzz(func(t *testing.T, root, template []byte) {
		src := files{"p.yml": root, "t.yml": template, "vars.yml": template, "a.yml": template, "base.yml": template}
		plan, diags, err := pipeline.Compile(context.Background(), src, pipeline.Input{File: "p.yml"})
		if err != nil {
			t.Fatal(err)
		}
		failed := false
		for _, d := range diags {
			failed = failed || d.Severity == pipeline.Error
			if d.Code == "" || d.Message == "" || d.Line < 1 || d.Column < 1 {
				t.Fatalf("%+v", d)
			}
		}
		if failed == (plan != nil) {
			t.Fatalf("plan %v with %v", plan, diags)
		}
		var b strings.Builder
		pipeline.Render(&b, diags)
		if _, _, err := pipeline.ReadHead(context.Background(), src, "p.yml"); err != nil {
			t.Fatal(err)
		}
		if plan != nil {
			printsItself(t, src)
		}
	})
}

// printsItself expands, reads what was printed and expands it again: the same.
func printsItself(t *testing.T, src files) {
	print := func(src files) string {
		e, diags, err := pipeline.Expand(context.Background(), src, pipeline.Input{File: "p.yml"})
		if err != nil || e == nil {
			t.Fatalf("the expanded file is refused: %v %v\n%s", err, diags, src["p.yml"])
		}
		text, err := e.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Annotated(); err != nil {
			t.Fatal(err)
		}
		return text
	}
	once := print(src)
	if strings.Contains(once, "${{") {
		return // text of the file, which would be an expression to the next reader
	}
	if again := print(files{"p.yml": []byte(once)}); again != once {
		t.Fatalf("expanded once:\n%s\nand again:\n%s", once, again)
	}
}
