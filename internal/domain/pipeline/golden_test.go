package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
)

var update = flag.Bool("update", false, "write the expected parts of testdata/*.txtar")

// files is a Source over an archive. A name such as "x.yml@alias" belongs to
// another repository.
type files map[string][]byte

func (f files) ReadFile(_ context.Context, repository, path string) ([]byte, error) {
	name := path
	if repository != "self" {
		name += "@" + repository
		if repository == "absent" {
			return nil, fault.New(fault.Unavailable, "repository-not-available", "no checkout and no remote for it")
		}
	}
	data, ok := f[name]
	if !ok {
		return nil, fault.New(fault.NotFound, "file-not-found", "%s does not exist", name)
	}
	return data, nil
}

// TestGolden compiles the first file of every archive. The archive may hold
// parameters.json and variables.json; it ends with what is expected: plan.json
// (without origins), full.json (with them), final.yml (the expanded file alone),
// head.json, diagnostics.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no cases", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			goldenCase(t, path)
		})
	}
}

func goldenCase(t *testing.T, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	archive := parseArchive(data)
	src := files{}
	in := pipeline.Input{File: archive[0].Name}
	want := map[string]string{}
	var inputs []archiveFile
	for _, f := range archive {
		switch f.Name {
		case "parameters.json":
			mustJSON(t, f.Data, &in.Parameters)
		case "variables.json":
			mustJSON(t, f.Data, &in.Variables)
		case "plan.json", "full.json", "head.json", "final.yml", "diagnostics":
			want[f.Name] = string(f.Data)
			continue
		default:
			src[f.Name] = f.Data
		}
		inputs = append(inputs, f)
	}
	got := compileCase(t, src, in, want)
	if *update {
		archive = inputs
		for _, name := range []string{"final.yml", "head.json", "plan.json", "full.json", "diagnostics"} {
			if text, ok := got[name]; ok {
				archive = append(archive, archiveFile{Name: name, Data: []byte(text)})
			}
		}
		if err := os.WriteFile(path, formatArchive(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// archiveFile is one part of a txtar archive. The format is a line per name and
// then the text, so it needs no library.
type archiveFile struct {
	Name string
	Data []byte
}

func parseArchive(data []byte) []archiveFile {
	var out []archiveFile
	for line := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(name, " --\n") {
			out = append(out, archiveFile{Name: strings.TrimSuffix(name, " --\n")})
			continue
		}
		if len(out) > 0 {
			out[len(out)-1].Data = append(out[len(out)-1].Data, line...)
		}
	}
	return out
}

func formatArchive(files []archiveFile) []byte {
	var b bytes.Buffer
	for _, f := range files {
		b.WriteString("-- " + f.Name + " --\n")
		b.Write(f.Data)
	}
	return b.Bytes()
}

func compileCase(t *testing.T, src files, in pipeline.Input, want map[string]string) map[string]string {
	got := map[string]string{}
	plan, diags, err := pipeline.Compile(context.Background(), src, in)
	if _, ok := want["head.json"]; ok {
		plan, diags, err = pipeline.ReadHead(context.Background(), src, in.File)
		got["head.json"] = planJSON(t, plan, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(diags) > 0 {
		var b bytes.Buffer
		pipeline.Render(&b, diags)
		got["diagnostics"] = b.String()
	}
	if plan == nil || got["head.json"] != "" {
		return got
	}
	if _, ok := want["final.yml"]; ok {
		got["final.yml"] = finalYAML(t, src, in)
		return got
	}
	if _, ok := want["full.json"]; ok {
		got["full.json"] = planJSON(t, plan, true)
	} else {
		got["plan.json"] = planJSON(t, plan, false)
	}
	return got
}

func mustJSON(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// planJSON prints a plan; without origins and empty triggers it stays readable.
func planJSON(t *testing.T, plan *pipeline.Plan, full bool) string {
	t.Helper()
	data, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	mustJSON(t, data, &tree)
	if !full {
		prune(tree)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(tree); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func prune(v any) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "origin")
		for key, inner := range v {
			prune(inner)
			if m, ok := inner.(map[string]any); ok && len(m) == 0 {
				delete(v, key)
			}
		}
		if v["cancelTimeoutInMinutes"] == 5.0 {
			delete(v, "cancelTimeoutInMinutes")
		}
		if v["timeoutInMinutes"] == 60.0 {
			delete(v, "timeoutInMinutes")
		}
	case []any:
		for _, item := range v {
			prune(item)
		}
	}
}

// finalYAML expands a case, and checks that the printed file is a pipeline that
// expands to itself.
func finalYAML(t *testing.T, src files, in pipeline.Input) string {
	t.Helper()
	once := expandText(t, src, in)
	if strings.Contains(once, "${{") {
		return once // text of the file, which would be an expression to the next reader
	}
	if again := expandText(t, files{"azure-pipelines.yml": []byte(once)}, pipeline.Input{File: "azure-pipelines.yml", Parameters: in.Parameters, Variables: in.Variables}); again != once {
		t.Errorf("the expanded file does not expand to itself: (-once +again)\n%s", cmp.Diff(once, again))
	}
	return once
}

func expandText(t *testing.T, src files, in pipeline.Input) string {
	t.Helper()
	e, diags, err := pipeline.Expand(context.Background(), src, in)
	if err != nil || e == nil {
		t.Fatalf("%v %v", err, diags)
	}
	text, err := e.YAML()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
