package pipeline_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/schema"
)

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.Pipeline()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("pipeline.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("pipeline.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	var v any
	if err := yaml.Load(text, &v, yaml.WithUniqueKeys(false)); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return s.Validate(jsonValue(v))
}

// jsonValue makes a YAML value one that JSON could hold.
func jsonValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			v[k] = jsonValue(inner)
		}
		return v
	case []any:
		for i, inner := range v {
			v[i] = jsonValue(inner)
		}
		return v
	case string, bool, int, int64, float64, nil:
		return v
	default:
		return "other"
	}
}

func TestSchemaAcceptsTheExamples(t *testing.T) {
	s := compiledSchema(t)
	paths, err := filepath.Glob("../../../examples/storefront/[pt]*/*.yml")
	if err != nil || len(paths) < 4 {
		t.Fatalf("%v %v", paths, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate(t, s, text); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Whatever the golden cases compile, the schema accepts, unless the case is
// about what JSON Schema cannot say.
func TestSchemaAcceptsWhatCompiles(t *testing.T) {
	s := compiledSchema(t)
	paths, _ := filepath.Glob("testdata/*.txtar")
	checked := 0
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		archive := parseArchive(data)
		last := archive[len(archive)-1]
		if last.Name == "diagnostics" && bytes.Contains(last.Data, []byte(" error ")) || bytes.Contains(last.Data, []byte("key-case")) || bytes.Contains(data, []byte("-- head.json --")) {
			continue
		}
		for _, f := range archive {
			if !strings.HasSuffix(f.Name, ".yml") {
				continue
			}
			checked++
			if err := validate(t, s, f.Data); err != nil {
				t.Errorf("%s: %s: %v", path, f.Name, err)
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d files", checked)
	}
}

func TestSchemaAcceptsEveryKey(t *testing.T) {
	s := compiledSchema(t)
	uses(grammar.Pipeline, func(u use) {
		if err := validate(t, s, []byte(printed(u.file))); (err != nil) != unread(u) {
			t.Errorf("%s: %v\n%s", u.path, err, printed(u.file))
		}
	})
}

func TestSchemaRefuses(t *testing.T) {
	s := compiledSchema(t)
	for name, text := range map[string]string{
		"unknown key":          "steps:\n- script: x\n  conditionn: always()\n",
		"unknown key of a job": "jobs:\n- job: a\n  dependOn: b\n  steps: [{script: x}]\n",
		"unknown root key":     "step:\n- script: x\n",
		"no body":              "trigger: none\n",
		"two bodies":           "steps: [{script: x}]\njobs: [{job: a, steps: [{script: x}]}]\n",
		"word":                 "stages:\n- stage: a\n  trigger: sometimes\n",
		"boolean":              "steps:\n- script: x\n  enabled: perhaps\n",
		"integer":              "jobs:\n- job: a\n  timeoutInMinutes: soon\n  steps: [{script: x}]\n",
		"task without version": "steps:\n- task: CopyFiles\n",
		"deployment":           "jobs:\n- deployment: a\n  environment: b\n",
		"two strategies":       "jobs:\n- deployment: a\n  strategy: {runOnce: {deploy: {steps: []}}, rolling: {deploy: {steps: []}}}\n",
		"call":                 "steps:\n- template: a.yml\n  condition: always()\n",
		"sequence":             "steps:\n  script: x\n",
		"parameter type":       "parameters: [{name: a, type: text}]\nsteps: []\n",
	} {
		if validate(t, s, []byte(text)) == nil {
			t.Errorf("%s is accepted:\n%s", name, text)
		}
		_, diags, err := pipeline.Compile(context.Background(), files{"f.yml": []byte(text), "a.yml": []byte("steps: []\n")}, pipeline.Input{File: "f.yml"})
		if err != nil || len(diags) == 0 {
			t.Errorf("%s: the compiler accepts it (%v)", name, err)
		}
	}
}

func TestSchemaNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range grammar.All() {
		if seen[m.Name] {
			t.Errorf("two mappings are called %s", m.Name)
		}
		seen[m.Name] = true
	}
}
