package localrun

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/edge/language"
)

// planOf compiles a file in a folder of its own.
func planOf(t *testing.T, text string) *pipeline.Plan {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ci.yml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	plan, diags, err := (language.Workspace{Dir: filepath.Dir(file)}).Compile(t.Context(), file)
	if err != nil || plan == nil {
		t.Fatalf("%v %v", err, diags)
	}
	return plan
}

func request() *Request {
	return &Request{Variables: map[string]string{}, Plain: map[string]map[string]string{}, Secret: map[string]map[string]string{}, SecureFiles: map[string][]byte{}}
}

const needy = `variables:
- group: storefront
- group: Prod's
steps:
- task: SSH@0
  inputs: { sshEndpoint: web-1, runOptions: inline, inline: ls }
- task: DownloadSecureFile@1
  inputs: { secureFile: cert.pem }
- task: Publish-Notes@2
- task: Publish-Notes@2
- task: Publish-Notes@3
  enabled: false
- task: Other@1
  condition: false
`

func missingOf(t *testing.T, r *Request, plan *pipeline.Plan, local *language.LocalFile) *Missing {
	t.Helper()
	m, err := r.Outside(t.Context(), plan, local, nil, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	check := func(_ context.Context, _ []string, refs []TaskRef) ([]error, error) {
		list := make([]error, len(refs))
		for i, ref := range refs {
			if ref.Name != "SSH" && ref.Name != "DownloadSecureFile" && ref.Name != pipeline.TaskCheckout {
				list[i] = fault.New(fault.NotFound, "task-not-found", "there is no task %s@%s", ref.Name, ref.Version).Try("did you mean PublishNotes? Otherwise add it")
			}
		}
		return list, nil
	}
	if err := r.NoTasks(t.Context(), plan, check, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// All that is missing comes at once, with a file that, once written, gives it.
func TestMissingIsSaidAtOnce(t *testing.T) {
	plan, r := planOf(t, needy), request()
	var e *fault.Error
	if !errors.As(missingOf(t, r, plan, &language.LocalFile{}).Err(), &e) {
		t.Fatal("nothing is missing")
	}
	if want := `ci.yml:2:3: variable group storefront has no values
ci.yml:3:3: variable group Prod's has no values
ci.yml:5:3: there is no service connection web-1
ci.yml:7:3: there is no secure file cert.pem
ci.yml:9:3: there is no task Publish-Notes@2; did you mean PublishNotes?`; e.Code != "secret-not-given" || e.Message != want {
		t.Errorf("%s: %s", e.Code, e.Message)
	}
	_, paste, _ := strings.Cut(e.Expected, "\n")
	dir := t.TempDir()
	// What was pasted is filled in.
	paste = strings.NewReplacer("NAME: value, KEY: { secret: KEY }", "A: b", "file: PATH }", "file: cert.pem }").Replace(paste)
	for name, text := range map[string]string{"penstock.local.yml": paste, "cert.pem": "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	local, err := language.ReadLocalFile(dir, "ci.yml", "")
	if err != nil {
		t.Fatalf("%v\n%s", err, paste)
	}
	r = request()
	if err := r.Resources(plan, local); err != nil {
		t.Fatal(err)
	}
	if err := missingOf(t, r, plan, local).Err(); err != nil {
		t.Errorf("still missing: %v", err)
	}
	if r.Plain["storefront"]["A"] != "b" || r.Plain["Prod's"]["A"] != "b" || string(r.SecureFiles["cert.pem"]) != "x" {
		t.Errorf("%v %v", r.Plain, r.SecureFiles)
	}
}

func TestSkipMissing(t *testing.T) {
	plan, r := planOf(t, needy), request()
	m := missingOf(t, r, plan, &language.LocalFile{})
	if lines := r.SkipMissing(m); len(lines) != 5 || m.Err() != nil {
		t.Errorf("%v, then %v", lines, m.Err())
	}
	if r.Plain["storefront"] == nil || !r.StubConnections {
		t.Errorf("%v %v", r.Plain, r.StubConnections)
	}
	var left []string
	for _, s := range plan.Stages[0].Jobs[0].Steps {
		if r.Skip(&s) != "" {
			left = append(left, s.Task)
		}
	}
	// The step of the connection is left out by the agent, because it is a stub.
	if strings.Join(left, " ") != "DownloadSecureFile Publish-Notes Publish-Notes" {
		t.Errorf("left out: %v", left)
	}
}

// Names of connections and files in variables are known before the run where the
// file, the person or the local file says what they are.
func TestMissingByVariables(t *testing.T) {
	plan, r := planOf(t, `variables: [ { name: base, value: prod }, { name: conn, value: $(base)-web }, { name: late, value: "$[counter('x', 1)]" }, { group: g } ]
stages:
- stage: A
  variables: { conn: stage-web, cert: c.pem }
  jobs:
  - job: A
    steps:
    - { task: SSH@0, inputs: { sshEndpoint: $(conn), runOptions: inline, inline: ls } }
    - { task: DownloadSecureFile@1, inputs: { secureFile: $(cert) } }
    - { task: SSH@0, enabled: false, inputs: { sshEndpoint: nobody, runOptions: inline, inline: ls } }
- stage: B
  jobs:
  - job: B
    strategy: { matrix: { x: { leg: one }, y: { leg: two } } }
    steps:
    - { task: SSH@0, inputs: { sshEndpoint: $(conn), runOptions: inline, inline: ls } }
    - { task: SSH@0, inputs: { sshEndpoint: $(leg), runOptions: inline, inline: ls } }
    - { task: SSH@0, inputs: { sshEndpoint: $(grouped), runOptions: inline, inline: ls } }
    - { task: SSH@0, inputs: { sshEndpoint: $(hidden), runOptions: inline, inline: ls } }
    - { task: SSH@0, inputs: { sshEndpoint: $(person), runOptions: inline, inline: ls } }
    - { task: SSH@0, inputs: { sshEndpoint: $(late)-$(nobody), runOptions: inline, inline: ls } }
    - { task: SSH@0, inputs: { sshEndpoint: $(late), runOptions: inline, inline: ls } }
`), request()
	r.Variables = map[string]string{"person": "from-the-person", "CONN": "the file stands", "late": "computed all the same", "leg": "the leg stands"}
	local := &language.LocalFile{VariableGroups: map[string]map[string]language.GroupValue{"g": {"Grouped": {Text: "of-the-group"}, "hidden": {Secret: "s"}}},
		Secrets: map[string]language.SecretSource{"s": {Stub: "hush"}}}
	m := missingOf(t, r, plan, local)
	slices.Sort(m.connections)
	if got := strings.Join(m.connections, " ") + " " + strings.Join(m.files, " "); got != "from-the-person of-the-group one prod-web stage-web two c.pem" {
		t.Error(got)
	}
	r.SkipMissing(m)
	if !r.StubConnections || r.Skip(&plan.Stages[0].Jobs[0].Steps[2]) == "" {
		t.Errorf("%v: the step of the file is not left out", plan.Stages[0].Jobs[0].Steps[2])
	}
}

func TestSystems(t *testing.T) {
	const other = `jobs:
- job: Linux
  pool: { vmImage: ubuntu-latest }
  steps: [ { script: make } ]
- job: Windows
  pool: { vmImage: windows-latest }
  steps: [ { script: nmake } ]
`
	for _, tt := range []struct{ name, file, local, left, here string }{
		{"legs", `strategy:
  matrix:
    a: { image: ubuntu-22.04 }
    b: { image: macOS-12 }
    c: { image: vs2017-win2016 }
pool: { vmImage: $(image) }
steps: [ { script: make } ]
`, "", "Job b (macOS-12), Job c (vs2017-win2016)", ""},
		{"legs by an expression", `strategy:
  matrix:
    a: { image: ubuntu-22.04 }
    b: { image: windows-2022 }
pool: { vmImage: "$[ variables['image'] ]" }
steps: [ { script: make } ]
`, "", "Job b (windows-2022)", ""},
		{"a counterpart by name", other, "", "Windows (windows-latest)", ""},
		{"the file says run", other, "pools: { windows-latest: run }", "", ""},
		{"nothing for this system", "pool: { vmImage: windows-latest }\nsteps: [ { script: make } ]\n", "", "", "Job (windows-latest)"},
		{"something else for this system", `jobs:
- job: Format
  steps: [ { script: fmt } ]
- job: Build
  pool: { vmImage: macos-14 }
  steps: [ { script: make } ]
`, "", "", "Build (macos-14)"},
		{"a step in common", `jobs:
- job: A
  steps: [ { script: make }, { script: a } ]
- job: B
  pool: { vmImage: macos-14 }
  steps: [ { script: brew }, { script: make } ]
`, "", "B (macos-14)", ""},
		{"one that another waits for", other + "- job: Join\n  dependsOn: Windows\n  steps: [ { script: x } ]\n", "", "", "Windows (windows-latest)"},
		{"a pool of one's own", "jobs:\n- job: A\n  steps: [ { script: make } ]\n- job: B\n  pool: { name: winners }\n  steps: [ { script: make } ]\n", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, r, dir := planOf(t, tt.file), request(), t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "penstock.local.yml"), []byte(tt.local), 0o600); err != nil {
				t.Fatal(err)
			}
			local, err := language.ReadLocalFile(dir, "ci.yml", "")
			if err != nil {
				t.Fatal(err)
			}
			e := r.Systems(plan, local, "linux")
			if strings.Join(e.Left, ", ") != tt.left || strings.Join(e.Here, ", ") != tt.here {
				t.Errorf("left out %v, here %v", e.Left, e.Here)
			}
			if err := plan.Select(r.Only); err != nil {
				t.Fatal(err)
			}
			for _, s := range plan.Stages {
				for _, j := range s.Jobs {
					if j.Strategy != nil && len(j.Strategy.Matrix) > 0 && slices.ContainsFunc(j.Strategy.Matrix, func(m pipeline.MatrixEntry) bool { return m.Name != "a" }) {
						t.Errorf("legs %v", j.Strategy.Matrix)
					}
					if tt.left != "" && strings.HasPrefix(tt.left, j.Name+" (") {
						t.Errorf("job %s is there", j.Name)
					}
				}
			}
		})
	}
	// What the person names runs.
	plan, r := planOf(t, other), request()
	r.Only.Jobs = []string{"windows"}
	if e := r.Systems(plan, &language.LocalFile{}, "linux"); len(e.Left) > 0 {
		t.Errorf("left out although named: %v", e.Left)
	}
}

func TestUndefined(t *testing.T) {
	t.Setenv("FROM_MACHINE", "x")
	t.Setenv("PENSTOCK_OF_OURS", "x")
	plan, r := planOf(t, `variables: { a: 1 }
steps:
- script: echo $(a) $(given) $(pwd) $(sh -c x) $(Build.BuildId) $(nobody) $(late) $(s.out) $(FROM_MACHINE) $(PENSTOCK_OF_OURS)
- bash: 'echo "##vso[task.setvariable variable=late]1"'
  name: s
- pwsh: Write-Host $(Get)
- task: Cache@2
  inputs: { key: a, path: b, cacheHitVar: Hit }
- bash: echo $(s.out) $(hit) $(CmdLine.o) $(Cache2.o)
  env: { TOKEN: $(secret-one) }
`), request()
	r.Variables["given"] = "1"
	if got := strings.Join(r.Undefined(plan), ", "); got != "nobody (ci.yml:3), PENSTOCK_OF_OURS (ci.yml:3), secret-one (ci.yml:9)" {
		t.Errorf("%s", got)
	}
}

func TestNotes(t *testing.T) {
	plan := planOf(t, `jobs:
- job: A
  container: alpine:3
  steps: [ { script: make } ]
- job: B
  pool: { name: own, demands: [ sap, "disk -equals big" ] }
  steps: [ { script: make $(level) } ]
- job: C
  services: { db: alpine:3 }
  steps: [ { script: make } ]
`)
	none := func(context.Context) error { return errors.New("no engine") }
	got := strings.Join(request().Notes(t.Context(), plan, Elsewhere{Left: []string{"mac (macOS-12)"}, Here: []string{"win (windows-2022)"}}, none), "\n")
	for _, want := range []string{"Left out, for other systems: mac (macOS-12)", "run on this machine all the same: win (windows-2022)", "containers will fail: A, C.", "job B demands sap, disk -equals big", "no value to level (ci.yml:7)"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not said:\n%s", want, got)
		}
	}
	if got := request().Notes(t.Context(), plan, Elsewhere{}, func(context.Context) error { return nil }); len(got) != 2 {
		t.Errorf("with an engine: %v", got)
	}
	r := request()
	r.Variables = map[string]string{"Level": "1", "System.Debug": "true", "other": "2"}
	set := planOf(t, "variables: { level: 0, system.debug: false }\nsteps: [ { script: make $(level) } ]\n")
	if got := r.Notes(t.Context(), set, Elsewhere{}, none); len(got) != 1 || !strings.Contains(got[0], "level keeps the value that ci.yml:1 gives it") {
		t.Errorf("of what the file sets: %v", got)
	}
}
