package editor

import (
	"context"
	"slices"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// world is a project in memory: the first file is the root of all others.
type world map[string]string

func (w world) ReadFile(_ context.Context, repository, path string) ([]byte, error) {
	if repository != "self" {
		path += "@" + repository
	}
	text, ok := w[path]
	if !ok {
		return nil, fault.New(fault.NotFound, "file-not-found", "%s does not exist", path)
	}
	return []byte(text), nil
}

func (w world) project(root string) *Project {
	return &Project{
		Source: w,
		Roots:  func(*Document) []pipeline.Input { return []pipeline.Input{{File: root}} },
		Files: func() []FileID {
			var out []FileID
			for path := range w {
				out = append(out, FileID{"self", path})
			}
			slices.SortFunc(out, func(a, b FileID) int { return strings.Compare(a.Path, b.Path) })
			return out
		},
	}
}

func (w world) document(name string) *Document {
	path, alias, ok := strings.Cut(name, "@")
	if !ok {
		alias = "self"
	}
	return Read(alias, path, []byte(w[name]))
}

// cursorIn takes the one ‸ out of a text and says where it stood.
func cursorIn(t *testing.T, text string) (string, Place) {
	t.Helper()
	head, tail, ok := strings.Cut(text, "‸")
	if !ok {
		t.Fatalf("no cursor in %s", text)
	}
	line := strings.Count(head, "\n") + 1
	return head + tail, Place{line, len([]rune(head[strings.LastIndexByte(head, '\n')+1:])) + 1}
}

func labels(c Completion) []string {
	var out []string
	for _, item := range c.Items {
		out = append(out, item.Label)
	}
	return out
}

func TestComplete(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		with    string // proposed, by spaces
		without string
	}{
		"root":               {"tr‸", "trigger pool stages jobs steps", "phases"},
		"root with a body":   {"steps:\n- script: x\n‸", "trigger pool", "jobs stages steps"},
		"step kinds":         {"steps:\n- ‸", "script task template checkout", "displayName inputs"},
		"step kinds, typed":  {"steps:\n- script: a\n- ta‸", "task script", "displayName"},
		"keys of a step":     {"steps:\n- script: x\n  ‸", "displayName workingDirectory env", "script inputs errorActionPreference"},
		"before a broken":    {"steps:\n- pwsh: x\n  dis‸\n- script: [\n", "displayName errorActionPreference", "inputs"},
		"job":                {"jobs:\n- job: a\n  ‸\n  steps:\n  - script: x\n", "pool dependsOn strategy", "steps environment job"},
		"deployment":         {"jobs:\n- deployment: a\n  ‸", "environment strategy", "steps job"},
		"under a directive":  {"jobs:\n- job: a\n  ${{ if true }}:\n    ‸", "pool dependsOn", "job"},
		"in a spliced list":  {"steps:\n- ${{ if true }}:\n  - ‸", "script task", "displayName"},
		"hook":               {"jobs:\n- deployment: a\n  strategy:\n    runOnce:\n      ‸", "deploy on preDeploy", "steps increments"},
		"words":              {"stages:\n- stage: a\n  trigger: ‸", "automatic manual", "true"},
		"boolean":            {"steps:\n- script: x\n  enabled: f‸", "true false", "x"},
		"depends on":         {"jobs:\n- job: a\n  steps: []\n- job: b\n  dependsOn: ‸", "a", "b"},
		"task":               {"steps:\n- task: Copy‸", "CopyFiles@2 PenstockSwap@1 DownloadPipelineArtifact@1", "CopyFiles"},
		"inputs":             {"steps:\n- task: copyfiles@2\n  inputs:\n    contents: x\n    ‸", "TargetFolder SourceFolder", "Contents"},
		"option":             {"steps:\n- task: Bash@3\n  inputs:\n    targetType: ‸", "filePath inline", "true"},
		"boolean input":      {"steps:\n- task: CopyFiles@2\n  inputs:\n    OverWrite: ‸", "true false", ""},
		"template":           {"steps:\n- template: ‸", "t/steps.yml", "azure-pipelines.yml"},
		"arguments":          {"steps:\n- template: t/steps.yml\n  parameters:\n    name: a\n    ‸", "verbose", "name"},
		"expression":         {"parameters: [{name: a, default: b}]\nsteps:\n- script: ${{ ‸", "parameters variables eq convertToJson", "succeeded dependencies"},
		"expression, nested": {"steps:\n- script: ${{ eq(variables['a'], pa‸", "parameters", ""},
		"parameters":         {"parameters:\n- name: first\n- name: second\n  type: boolean\nsteps:\n- script: echo ${{ parameters.‸ }}", "first second", "parameters eq"},
		"variables":          {"variables:\n- name: mine\n  value: x\nsteps:\n- script: ${{ variables.‸", "mine Build.BuildId", "parameters"},
		"macro":              {"variables:\n  mine: x\nsteps:\n- script: |\n    echo $(‸", "mine Build.SourceBranch", "eq"},
		"loop":               {"steps:\n- ${{ each thing in parameters.things }}:\n  - script: ${{ ‸", "thing parameters", ""},
		"condition":          {"steps:\n- script: x\n  condition: ‸", "succeeded always variables", "parameters"},
		"in a script":        {"steps:\n- script: |\n    ec‸\n", "", "displayName script"},
		"comment":            {"# st‸", "", "steps"},
	} {
		text, at := cursorIn(t, c.text)
		w := world{"azure-pipelines.yml": text, "t/steps.yml": "parameters:\n- name: name\n- name: verbose\n  type: boolean\nsteps: []\n"}
		got := labels(w.project("azure-pipelines.yml").Complete(t.Context(), w.document("azure-pipelines.yml"), at))
		for _, want := range strings.Fields(c.with) {
			if !slices.Contains(got, want) {
				t.Errorf("%s: no %s in %v", name, want, got)
			}
		}
		for _, bad := range strings.Fields(c.without) {
			if slices.Contains(got, bad) {
				t.Errorf("%s: %s in %v", name, bad, got)
			}
		}
	}
}

// Behind a colon a value needs a space, which is part of what is inserted.
func TestCompleteBehindColon(t *testing.T) {
	for text, want := range map[string]string{"stages:\n- stage: a\n  trigger:‸": " automatic", "stages:\n- stage: a\n  trigger: ‸": "automatic"} {
		text, at := cursorIn(t, text)
		w := world{"a.yml": text}
		got := w.project("a.yml").Complete(t.Context(), w.document("a.yml"), at)
		if len(got.Items) != 2 || got.Items[0].Insert != want || got.From != at.Column {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestHover(t *testing.T) {
	steps := "parameters:\n- name: name\n- name: verbose\n  type: boolean\n  default: false\nsteps:\n- script: echo ${{ parameters.na‸me }} ${{ parameters.verbose }}\n"
	for name, c := range map[string]struct{ root, steps, want string }{
		"key":          {"steps:\n- script: x\n  retryCount‸OnTaskFailure: 2\n", "", "ten times"},
		"flow":         {"jobs: [{job: a, dis‸playName: b, steps: []}]\n", "", "How pages call the job"},
		"different":    {"pool:\n  vm‸Image: ubuntu\nsteps: []\n", "", "*different*"},
		"task":         {"steps:\n- task: Copy‸Files@2\n", "", "`TargetFolder` string, required"},
		"input":        {"steps:\n- task: Bash@3\n  inputs:\n    target‸Type: inline\n", "", "`filePath` `inline`"},
		"template":     {"steps:\n- template: t/st‸eps.yml\n", "", "template t/steps.yml"},
		"function":     {"steps:\n- script: ${{ conv‸ertToJson('a') }}\n", "", "JSON text"},
		"condition":    {"steps:\n- script: x\n  condition: succ‸eeded()\n", "", "`succeeded(name, …)`"},
		"parameter":    {"parameters:\n- name: a\n  default: 7\n  type: number\nsteps:\n- script: ${{ eq(1, 2) }} ${{ parameters.‸a }}\n", "", "`parameters.a` = `7`"},
		"variable":     {"variables:\n  a: b\nsteps:\n- script: ${{ variables.‸a }}\n", "", "`variables.a` = `'b'`\n\nvariable a, set at azure-pipelines.yml:2:3"},
		"macro":        {"variables:\n  a: b\nsteps:\n- script: |\n    echo $(‸a)\n", "", "set at azure-pipelines.yml:2:3"},
		"predefined":   {"steps:\n- script: echo $(Build.Build‸Id)\n", "", "number of the run"},
		"in a call":    {"steps:\n- template: t/steps.yml\n  parameters:\n    name: 'x y'\n", steps, "`parameters.name` = `'x y'` in the call at azure-pipelines.yml:2:3, given at azure-pipelines.yml:4:5"},
		"two calls":    {"steps:\n- template: t/steps.yml\n  parameters: {name: one}\n- template: t/steps.yml\n  parameters: {name: two}\n", steps, "= `'two'`"},
		"nothing here": {"steps:\n- script: ‸x\n\n", "", "Commands for the shell"},
	} {
		var text string
		var at Place
		w := world{"t/steps.yml": "parameters:\n- name: name\nsteps: []\n"}
		doc := "azure-pipelines.yml"
		if c.steps != "" {
			text = c.root
			w["t/steps.yml"], at = cursorIn(t, c.steps)
			doc = "t/steps.yml"
		} else {
			text, at = cursorIn(t, c.root)
		}
		w["azure-pipelines.yml"] = text
		if got := w.project("azure-pipelines.yml").Hover(t.Context(), w.document(doc), at); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestDefinition(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"template":            {"steps:\n- template: t/‸steps.yml\n", "t/steps.yml:1:1"},
		"another repository":  {"resources: {repositories: [{repository: lib, name: lib}]}\nsteps:\n- template: s.yml@l‸ib\n", "s.yml:1:1"},
		"absent":              {"steps:\n- template: no‸ne.yml\n", ""},
		"parameter":           {"parameters:\n- name: a\n  default: b\nsteps:\n- script: ${{ parameters.‸a }}\n", "azure-pipelines.yml:2:9"},
		"indexed parameter":   {"parameters:\n- name: a-b\n  default: b\nsteps:\n- script: ${{ parameters['a‸-b'] }}\n", "azure-pipelines.yml:2:9"},
		"argument":            {"steps:\n- template: t/steps.yml\n  parameters:\n    na‸me: x\n", "t/steps.yml:2:9"},
		"variable":            {"variables:\n- name: v\n  value: x\nsteps:\n- script: echo $(‸v)\n", "azure-pipelines.yml:2:9"},
		"variable, condition": {"variables: {v: x}\nsteps:\n- script: a\n  env: {A: \"$[ variables.‸v ]\"}\n", "azure-pipelines.yml:1:13"},
	} {
		text, at := cursorIn(t, c.text)
		w := world{"azure-pipelines.yml": text, "t/steps.yml": "parameters:\n- name: name\nsteps: []\n", "s.yml@lib": "steps: []\n"}
		got := ""
		for _, s := range w.project("azure-pipelines.yml").Definition(t.Context(), w.document("azure-pipelines.yml"), at) {
			got += s.String()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestRename(t *testing.T) {
	w := world{
		"azure-pipelines.yml": "steps:\n- template: t/steps.yml\n  parameters:\n    ${{ if true }}:\n      'Name': x\n",
		"other.yml":           "steps:\n- template: /t/steps.yml\n  parameters: {name: y, verbose: true}\n- template: u/steps.yml\n  parameters: {name: z}\n",
		"t/steps.yml": "parameters:\n- name: 'name'\n- name: verbose\n  type: boolean\n  default: false\nsteps:\n- script: parameters.name ${{ parameters.name }} ${{ format('parameters.name {0}', parameters['name']) }}\n" +
			"- ${{ if and(parameters.verbose, eq(parameters.names, 1), eq(parameters . name, 2)) }}:\n  - script: x\n",
	}
	p, d := w.project("azure-pipelines.yml"), w.document("t/steps.yml")
	for _, at := range []struct {
		file string
		Place
	}{{"t/steps.yml", Place{2, 11}}, {"t/steps.yml", Place{7, 42}}, {"other.yml", Place{3, 18}}, {"azure-pipelines.yml", Place{5, 9}}} {
		edits, err := p.Rename(t.Context(), w.document(at.file), at.Place, "title")
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, e := range edits {
			text := []rune(w.document(e.Path).Line(e.Line))
			if old := string(text[e.Column-1 : e.Column-1+e.Length]); !strings.EqualFold(old, "name") || e.Text != "title" {
				t.Errorf("%s replaces %q", e.Span, old)
			}
			got = append(got, e.String())
		}
		want := "t/steps.yml:2:10 t/steps.yml:7:42 t/steps.yml:7:96 t/steps.yml:8:75 azure-pipelines.yml:5:8 other.yml:3:16"
		if strings.Join(got, " ") != want {
			t.Errorf("at %v:\n got %s\nwant %s", at, strings.Join(got, " "), want)
		}
	}
	if _, err := p.Rename(t.Context(), d, Place{2, 11}, "verbose"); fault.CodeOf(err) != "duplicate-parameter" {
		t.Errorf("to a taken name: %v", err)
	}
	if _, err := p.Rename(t.Context(), d, Place{2, 11}, "a b"); fault.CodeOf(err) != "name-form" {
		t.Errorf("to no name: %v", err)
	}
	if _, err := p.Rename(t.Context(), d, Place{6, 2}, "x"); fault.CodeOf(err) != "nothing-to-rename" {
		t.Errorf("of nothing: %v", err)
	}
}

func TestSymbols(t *testing.T) {
	w := world{"a.yml": "stages:\n- stage: build\n  displayName: Build it\n  jobs:\n  - job: one\n    steps:\n    - script: |\n        a\n        b\n    - task: CopyFiles@2\n  - ${{ if true }}:\n    - deployment: two\n      strategy:\n        runOnce:\n          deploy:\n            steps:\n            - bash: x\n- stage: [\n"}
	for name, text := range map[string]string{"broken": w["a.yml"], "whole": strings.TrimSuffix(w["a.yml"], "- stage: [\n")} {
		var lines []string
		var print func(list []Symbol, indent string)
		print = func(list []Symbol, indent string) {
			for _, s := range list {
				lines = append(lines, indent+s.Kind+" "+s.Name)
				print(s.Inner, indent+" ")
			}
		}
		symbols := Read("self", "a.yml", []byte(text)).Symbols()
		print(symbols[:1], "")
		want := "stage Build it\n job one\n  step a\n  step CopyFiles@2\n job two\n  step x"
		if name == "broken" {
			want = strings.Replace(want, "step a", "step script", 1)
		}
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("%s:\n%s", name, got)
		}
		if end := symbols[0].EndLine; end != 17 {
			t.Errorf("%s: ends at %d", name, end)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct{ file, text, want string }{
		"root":               {"azure-pipelines.yml", "steps:\n- scrip: x\n", "unknown-key"},
		"lone template":      {"steps.yml", "parameters:\n- name: list\n  type: stepList\nsteps:\n- ${{ parameters.list }}\n- script: x\n  conditionn: y\n", "unknown-key"},
		"lone, good":         {"steps.yml", "parameters:\n- name: n\n  type: number\nsteps:\n- script: x\n  timeoutInMinutes: ${{ parameters.n }}\n", ""},
		"lone variables":     {"v.yml", "variables:\n- name: a\n  valeu: b\n", "unknown-key"},
		"lone, by folder":    {"templates/jobs.yml", "jobs:\n- job: a\n  steps: [{script: x, x: y}]\n", "unknown-key"},
		"lone, expression":   {"steps.yml", "parameters: [{name: a}]\nsteps:\n- script: ${{ eq(1) }}\n", "argument-count"},
		"not YAML":           {"steps.yml", "steps: [\n", "yaml-syntax"},
		"needs a value":      {"azure-pipelines.yml", "trigger: none\nparameters: [{name: a}]\nsteps: [{script: \"${{ parameters.a }}\"}]\n", ""},
		"unknown in needing": {"azure-pipelines.yml", "trigger: none\nparameters: [{name: a}]\nsteps: [{script: \"${{ parameters.b }}\"}]\n", "unknown-parameter"},
	} {
		w := world{c.file: c.text}
		got, err := w.project(c.file).Check(t.Context(), w.document(c.file), pipeline.Input{File: c.file, Parameters: map[string]any{"elsewhere": "x"}})
		if err != nil {
			t.Fatal(err)
		}
		codes := []string{}
		for _, diag := range got.Diagnostics[FileID{"self", c.file}] {
			codes = append(codes, diag.Code)
		}
		if strings.Join(codes, " ") != c.want {
			t.Errorf("%s: %v, want %q", name, codes, c.want)
		}
		if len(got.Read) != 1 {
			t.Errorf("%s: read %v", name, got.Read)
		}
	}
}

func TestExplain(t *testing.T) {
	for word, want := range map[string][]string{
		"dependson":   {"dependsOn of a stage: text or list of text", "dependsOn of a job, a deployment: "},
		"job":         {"job: Steps that run on one agent.", "cancelTimeoutInMinutes    Minutes"},
		"eq":          {"eq(a, b); usable: everywhere"},
		"CopyFiles":   {"CopyFiles@2\n- SourceFolder filePath"},
		"copyfiles@2": {"TargetFolder string, required"},
		"vmImage":     {"different: there are no hosted agents"},
	} {
		got, ok := Explain(word)
		for _, w := range want {
			if !ok || !strings.Contains(got, w) {
				t.Errorf("%s: no %q in\n%s", word, w, got)
			}
		}
	}
	if text, ok := Explain("not-healthy"); ok {
		t.Errorf("not-healthy is no word of the language: %s", text)
	}
}

// Whatever is typed, no question makes the editor fail.
func FuzzEditor(f *testing.F) {
	for _, s := range []string{"steps:\n- script: |\n   x\n", "a: [", "- - - x", "${{ if", "x: ${{ parameters['a", "- ${{ each a in b }}:\n  - ", "'", "jobs:\n- job:\n  - x\n: y", "\t- a:\n", "a: >\n\n  ü $(x"} {
		f.Add(s, 2, 3)
	}
	f.Fuzz(func(t *testing.T, text string, line, column int) {
		w := world{"a.yml": text}
		p, d := w.project("a.yml"), w.document("a.yml")
		line, column = min(max(line, 1), 1+strings.Count(text, "\n")), min(max(column, 1), 200)
		at := Place{line, column}
		p.Complete(t.Context(), d, at)
		p.Hover(t.Context(), d, at)
		p.Definition(t.Context(), d, at)
		_, _ = p.Rename(t.Context(), d, at, "x")
		p.Renames(t.Context(), d, at)
		d.Symbols()
	})
}
