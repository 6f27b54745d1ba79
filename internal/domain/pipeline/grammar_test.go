package pipeline_test

import (
	"context"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/internal/expression"
	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
)

// templates answer the calls that samples make, by what stands around a call.
var sampleTemplates = map[string]string{
	"stages": "stages: [{stage: made, jobs: [{job: j, steps: [{script: x}]}]}]", "jobs": "jobs: [{job: made, steps: [{script: x}]}]",
	"steps": "steps: [{script: x}]", "variables": "variables: {made: x}", "extends": "steps: [{script: x}]",
}

// templateFor finds the kind of template that the innermost call wants.
func templateFor(path string) string {
	best, kind := -1, "extends"
	for name := range sampleTemplates {
		if at := strings.LastIndex(path, "."+name); at > best {
			best, kind = at, name
		}
	}
	return sampleTemplates[kind]
}

func compileSample(t *testing.T, u use) []pipeline.Diagnostic {
	t.Helper()
	src := files{"f.yml": []byte(printed(u.file)), "made.yml": []byte("parameters: {x: ''}\n" + templateFor(u.path) + "\n")}
	_, diags, err := pipeline.Compile(context.Background(), src, pipeline.Input{File: "f.yml"})
	if err != nil {
		t.Fatal(err)
	}
	return diags
}

// Every key with every form of its value is accepted where the table has it,
// and one that is not supported does what its note says: it is read or refused.
func TestGrammarIsWhatTheCompilerAccepts(t *testing.T) {
	count := 0
	uses(grammar.Pipeline, func(u use) {
		if strings.Contains(u.path, "old resource") || strings.Contains(u.path, "resource.trigger") && u.value == "x" {
			return
		}
		count++
		refused := false
		for _, d := range compileSample(t, u) {
			if incomplete[d.Code] || d.Code == "missing-key" && strings.HasSuffix(d.Message, "needs `image`") {
				continue
			}
			if d.Severity == pipeline.Error {
				refused = true
				if !unread(u) {
					t.Errorf("%s = %v: %s: %s\n%s", u.path, u.value, d.Code, d.Message, printed(u.file))
				}
			} else if d.Code == "key-order" || d.Code == "key-case" {
				t.Errorf("%s: %s", u.path, d.Message)
			}
		}
		if unread(u) && !refused {
			t.Errorf("%s is read, but the table says it is not", u.path)
		}
	})
	if count < 500 {
		t.Errorf("only %d samples", count)
	}
}

// incomplete are mistakes of a sample that is too small, not of its grammar.
var incomplete = map[string]bool{"parameter-required": true, "job-cycle": true, "stage-cycle": true}

func unread(u use) bool {
	mapping := u.path[strings.LastIndex(u.path, " › ")+len(" › "):]
	return u.key.Unread && !strings.HasPrefix(mapping, "container") // which is open
}

// Words of a choice are all that the compiler takes.
func TestGrammarChoicesAreClosed(t *testing.T) {
	seen := map[string]bool{}
	uses(grammar.Pipeline, func(u use) {
		if u.key.Type.Kind != grammar.Choice || seen[u.path] || strings.Contains(u.path, "old resource") || unread(u) {
			return
		}
		seen[u.path] = true
		word := u.key.Words[0]
		u.file = strings.Replace(printed(u.file), `"`+u.key.Name+`": "`+word+`"`, `"`+u.key.Name+`": "zebra"`, 1)
		src := files{"f.yml": []byte(u.file.(string)), "made.yml": []byte(templateFor(u.path))}
		_, diags, err := pipeline.Compile(context.Background(), src, pipeline.Input{File: "f.yml"})
		if err != nil || len(diags) == 0 {
			t.Errorf("%s accepts zebra: %v\n%s", u.path, err, u.file)
		}
	})
	if len(seen) < 10 {
		t.Errorf("only %d choices", len(seen))
	}
}

// The table explains every key, and every limit says what happens instead.
func TestGrammarIsDocumented(t *testing.T) {
	for _, m := range grammar.All() {
		if m.Doc == "" || m.Noun == "" {
			t.Errorf("%s has no documentation", m.Name)
		}
		if _, ok := m.Key(m.First); m.First != "" && !ok {
			t.Errorf("%s: first key %s", m.Name, m.First)
		}
		for _, k := range m.Keys {
			if k.Doc == "" || !strings.HasSuffix(k.Doc, ".") {
				t.Errorf("%s.%s: documentation %q", m.Name, k.Name, k.Doc)
			}
			if (k.State == grammar.Supported) != (k.Note == "") {
				t.Errorf("%s.%s: %s, but the note is %q", m.Name, k.Name, k.State, k.Note)
			}
			if k.Type.Kind == grammar.Choice && len(k.Words) == 0 {
				t.Errorf("%s.%s: a choice without words", m.Name, k.Name)
			}
		}
	}
}

// Each documented function works where the table says, and none is missing.
func TestFunctionsAreDocumented(t *testing.T) {
	documented := map[string]grammar.Function{}
	for i, f := range grammar.Functions {
		documented[f.Name] = f
		if i > 0 && strings.ToLower(grammar.Functions[i-1].Name) >= strings.ToLower(f.Name) {
			t.Errorf("%s is not in order", f.Name)
		}
		if f.Where == grammar.Everywhere {
			continue
		}
		text := "variables: [{name: v, value: '$[ " + f.Name + "() ]'}]\nsteps: [{script: x}]"
		if f.Where == grammar.InConditions {
			text = "jobs: [{job: a, condition: " + f.Name + "(), steps: [{script: x}]}]"
		}
		if _, diags, err := pipeline.Compile(context.Background(), files{"f.yml": []byte(text)}, pipeline.Input{File: "f.yml"}); err != nil || len(diags) > 0 {
			t.Errorf("%s in %s: %v %v", f.Name, f.Where, diags, err)
		}
	}
	for _, b := range expression.Builtins() {
		if f, ok := documented[b.Name]; !ok || f.Where != grammar.Everywhere {
			t.Errorf("%s is not documented", b.Name)
		}
		delete(documented, b.Name)
	}
	for name, f := range documented {
		if f.Where == grammar.Everywhere {
			t.Errorf("%s does not exist", name)
		}
	}
}
