package server

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/base/outbox"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/run"
)

// A stage whose condition lets it begin after the cancel runs its jobs as ever.
func TestCancelSparesWhatBeginsAfterIt(t *testing.T) {
	w := newWorld(t)
	if _, err := w.environments.Create(w.ctx, w.project.ID, "test", ""); err != nil {
		t.Fatal(err)
	}
	w.pipeline("ci", "azure-pipelines.yml")
	w.push("main", map[string]string{"azure-pipelines.yml": `
stages:
- stage: A
  jobs:
  - job: A
    steps: [{ checkout: none }, { bash: "echo begun; exec sleep 600" }]
  - job: late
    dependsOn: A
    steps: [{ bash: echo never }]
- stage: B
  condition: contains(variables['Build.SourceBranch'], 'main')
  jobs:
  - job: plain
    steps: [{ checkout: none }, { bash: echo plain job }]
  - job: canceled
    condition: canceled()
    steps: [{ bash: echo never }]
  - deployment: d
    environment: test
    strategy: { runOnce: { deploy: { steps: [{ download: none }, { bash: echo deployed }] } } }
- stage: C
  jobs: [{ job: after, steps: [{ bash: echo never }] }]
`})
	w.until("the step begins", func() bool {
		d, err := w.runs.Load(w.ctx, "1")
		return err == nil && len(d.Jobs) > 0 && strings.Contains(w.log(d), "begun")
	})
	if _, err := w.runs.Cancel(w.ctx, "1"); err != nil {
		t.Fatal(err)
	}
	d := w.wait("1")
	text := w.log(d)
	if d.Run.Result != run.Canceled || !strings.Contains(text, "plain job") || !strings.Contains(text, "deployed") || strings.Contains(text, "never") {
		t.Errorf("got %s\n%s", d.Run.Result, text)
	}
	got := map[string]run.Result{}
	for _, p := range d.Phases {
		got[p.Name] = p.Result
	}
	want := map[string]run.Result{"A": run.Canceled, "late": run.Canceled, "plain": run.Succeeded, "canceled": run.Skipped, "d": run.Succeeded}
	if !maps.Equal(got, want) {
		t.Errorf("jobs: %v, want %v", got, want)
	}
}

func TestVariablesGivenWhenARunIsQueued(t *testing.T) {
	w := newWorld(t)
	p := w.pipeline("ci", "azure-pipelines.yml")
	w.push("main", map[string]string{"azure-pipelines.yml": `
trigger: none
name: $(release)-$(chosen)
variables:
  chosen: $[ coalesce(variables.given, 'nothing') ]
stages:
- stage: A
  condition: eq(variables.chosen, 'this')
  jobs: [{ job: A, steps: [{ checkout: none }, { bash: "echo chosen $(chosen), given $(given)" }] }]
`})
	if _, err := w.runs.QueueRun(w.ctx, run.QueueRequest{Pipeline: p, Reason: run.Manual, By: identity.System(), Strict: true,
		Variables: map[string]string{"given": "this", "release": "r7"}}); err != nil {
		t.Fatal(err)
	}
	d := w.wait("1")
	if text := w.log(d); d.Run.Number != "r7-this" || !strings.Contains(text, "chosen this, given this") {
		t.Errorf("number %s\n%s", d.Run.Number, text)
	}
}

// A pipeline that waits for stages of another starts when they have succeeded,
// whatever becomes of the others; one that waits for the run starts when it did.
func TestStagesStartOtherPipelines(t *testing.T) {
	w := newWorld(t)
	w.pipeline("source", "source.yml")
	w.pipeline("stages", "stages.yml")
	w.pipeline("whole", "whole.yml")
	follower := func(trigger string) string {
		return "trigger: none\nresources:\n  pipelines:\n  - pipeline: up\n    source: \\team\\source\n    trigger: " + trigger + "\nsteps:\n- checkout: none\n- bash: echo after $(resources.pipeline.up.runID) $(Build.Reason) $(resources.triggeringAlias)\n"
	}
	w.push("main", map[string]string{"stages.yml": follower("{ stages: [A, B], branches: [main] }"), "whole.yml": follower("true"), "source.yml": `
trigger: [main]
stages:
- stage: A
  jobs: [{ job: A, steps: [{ checkout: none }, { bash: echo a }] }]
- stage: B
  jobs: [{ job: B, steps: [{ checkout: none }, { bash: echo b }] }]
- stage: C
  jobs: [{ job: C, steps: [{ checkout: none }, { bash: exit 1 }] }]
`})
	if d := w.wait("1"); d.Run.Result != run.Failed {
		t.Fatal(d.Run.Result)
	}
	d := w.wait("2")
	if text := w.log(d); d.Run.Pipeline != "stages" || !strings.Contains(text, "after 1 ResourceTrigger up") {
		t.Errorf("%s:\n%s", d.Run.Pipeline, text)
	}
	w.push("main", map[string]string{"source.yml": "trigger: [main]\nsteps: [{ checkout: none }]\n"})
	if d := w.wait("4"); d.Run.Pipeline != "whole" { // the failed run has started one other only
		t.Errorf("run 4 is one of %s", d.Run.Pipeline)
	}
}

// What did not succeed is run again; jobs that did stand, with what they
// published and set. A stage by name is run again with all its jobs.
func TestRerunLeavesWhatWentWell(t *testing.T) {
	w := newWorld(t)
	p := w.pipeline("ci", "azure-pipelines.yml")
	flag := filepath.Join(t.TempDir(), "flag")
	w.push("main", map[string]string{"azure-pipelines.yml": strings.ReplaceAll(`
trigger: none
stages:
- stage: B
  jobs:
  - job: build
    steps:
    - checkout: none
    - bash: 'echo "##vso[task.setvariable variable=w;isOutput=true]attempt $(System.JobAttempt)"; echo x > $(Build.ArtifactStagingDirectory)/x'
      name: s
    - publish: $(Build.ArtifactStagingDirectory)
      artifact: drop
  - job: check
    dependsOn: build
    variables: { w: "$[dependencies.build.outputs['s.w']]" }
    steps: [{ checkout: none }, { bash: 'echo "built in $(w), checked in $(System.StageAttempt)"; test -e FLAG' }]
  - job: after
    dependsOn: check
    condition: succeededOrFailed()
    steps: [{ checkout: none }]
- stage: C
  jobs: [{ job: C, variables: { w: "$[stageDependencies.B.build.outputs['s.w']]" }, steps: [{ checkout: none }, { bash: "echo C knows $(w)" }] }]
`, "FLAG", flag)})
	if _, err := w.runs.QueueRun(w.ctx, run.QueueRequest{Pipeline: p, Reason: run.Manual, By: identity.System(), Strict: true}); err != nil {
		t.Fatal(err)
	}
	jobs := func() map[string]string {
		all := map[string]string{}
		for _, j := range w.wait("1").Jobs {
			all[j.Phase] += fmt.Sprintf(" %d:%s", j.Attempt, j.Result)
			if j.Until > 0 {
				all[j.Phase] += fmt.Sprintf("-%d", j.Until)
			}
		}
		return all
	}
	again := func(stage string, want map[string]string) string {
		t.Helper()
		if _, err := w.runs.Rerun(w.ctx, "1", stage); err != nil {
			t.Fatal(err)
		}
		if got := jobs(); !maps.Equal(got, want) {
			t.Errorf("after a rerun of %q: %v, want %v", stage, got, want)
		}
		return w.log(w.wait("1"))
	}
	if d := w.wait("1"); d.Run.Result != run.Failed {
		t.Fatal(d.Run.Result)
	}
	again("", map[string]string{"build": " 1:succeeded-2", "check": " 1:failed 2:failed", "after": " 1:succeeded 2:succeeded"})
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	text := again("", map[string]string{"build": " 1:succeeded-3", "check": " 1:failed 2:failed 3:succeeded", "after": " 1:succeeded 2:succeeded 3:succeeded", "C": " 3:succeeded"})
	for _, want := range []string{"built in attempt 1, checked in 3", "C knows attempt 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if r := w.wait("1").Run.Result; r != run.Succeeded {
		t.Errorf("got %s", r)
	}
	again("C", map[string]string{"build": " 1:succeeded-3", "check": " 1:failed 2:failed 3:succeeded", "after": " 1:succeeded 2:succeeded 3:succeeded", "C": " 3:succeeded 4:succeeded"})
}

// A stage with trigger: manual waits for somebody, whatever else goes on; a no
// leaves it out.
func TestManualStages(t *testing.T) {
	w := newWorld(t)
	w.pipeline("ci", "azure-pipelines.yml")
	w.push("main", map[string]string{"azure-pipelines.yml": `
trigger: [main]
stages:
- stage: A
  jobs: [{ job: A, steps: [{ checkout: none }] }]
- stage: yes
  trigger: manual
  jobs: [{ job: Y, steps: [{ checkout: none }, { bash: echo by hand }] }]
- stage: no
  dependsOn: A
  trigger: manual
  jobs: [{ job: N, steps: [{ checkout: none }, { bash: echo never }] }]
- stage: never
  dependsOn: A
  trigger: manual
  condition: failed()
  jobs: [{ job: F, steps: [{ checkout: none }, { bash: echo never }] }]
- stage: other
  dependsOn: A
  jobs: [{ job: O, steps: [{ checkout: none }] }]
`})
	var open []*environment.Approval
	w.until("two stages wait and the other has ended", func() bool {
		d, err := w.runs.Load(w.ctx, "1")
		if err != nil {
			return false
		}
		if open, err = w.environments.OfRun(w.ctx, "1"); err != nil {
			return false
		}
		return len(open) == 2 && slices.ContainsFunc(d.Stages, func(s *run.Stage) bool { return s.Name == "other" && s.Result == run.Succeeded })
	})
	person := identity.With(w.ctx, identity.Subject{Kind: identity.UserKind, ID: "u1", Name: "ada"}) // who started the run may start its stages
	for _, a := range open {
		decision := environment.Approved
		if a.Stage == "no" {
			decision = environment.Rejected
		}
		if _, err := w.environments.Decide(person, a.ID, decision, ""); err != nil {
			t.Fatal(err)
		}
	}
	d := w.wait("1")
	got := map[string]run.Result{}
	for _, s := range d.Stages {
		got[s.Name] = s.Result
	}
	want := map[string]run.Result{"A": run.Succeeded, "yes": run.Succeeded, "no": run.Skipped, "never": run.Skipped, "other": run.Succeeded}
	if !maps.Equal(got, want) || d.Run.Result != run.Succeeded || !strings.Contains(w.log(d), "by hand") {
		t.Errorf("%s: %v, want %v\n%s", d.Run.Result, got, want, w.log(d))
	}
}

// What the file sets stands, in the text, in conditions and on the agent; a value
// given for the run reaches what it does not set, and no step may change that.
func TestTheFileStandsAgainstGivenVariables(t *testing.T) {
	w := newWorld(t)
	p := w.pipeline("ci", "azure-pipelines.yml")
	w.push("main", map[string]string{"azure-pipelines.yml": `
trigger: none
variables: { fixed: file, System.Debug: "false" }
stages:
- stage: A
  condition: and(succeeded(), eq(variables.fixed, 'file'))
  variables: { staged: file }
  jobs:
  - job: A
    variables: { own: "$[ variables.staged ]" }
    condition: and(succeeded(), eq(variables.staged, 'file'))
    strategy: { matrix: { leg: { legs: file } } }
    steps:
    - checkout: none
    - bash: echo "${{ variables.fixed }} $(fixed) $(own) $(legs) $(free) $(Build.SourceBranchName)"
    - bash: echo "##vso[task.setvariable variable=free]changed"
`})
	given := map[string]string{"Fixed": "given", "staged": "given", "legs": "given", "free": "given", "Build.SourceBranchName": "named"}
	if _, err := w.runs.QueueRun(w.ctx, run.QueueRequest{Pipeline: p, Reason: run.Manual, By: identity.System(), Strict: true, Variables: given}); err != nil {
		t.Fatal(err)
	}
	d := w.wait("1")
	text := w.log(d)
	if !strings.Contains(text, "file file file file given named") || !strings.Contains(text, "free") || d.Run.Result != run.Failed {
		t.Errorf("%s\n%s", d.Run.Result, text)
	}
	var told []string
	for _, x := range d.Run.Diagnostics {
		told = append(told, fmt.Sprintf("%s:%d %s", x.Code, x.Line, x.Severity))
	}
	if got := strings.Join(told, ", "); got != "variable-stands:3 warning, variable-stands:7 warning" {
		t.Errorf("told: %s", got)
	}
}

// A run that is canceled before any of its jobs began ends as a whole.
func TestCancelBeforeItBegins(t *testing.T) {
	w := newWorld(t)
	p := w.pipeline("ci", "azure-pipelines.yml")
	w.push("main", map[string]string{"azure-pipelines.yml": `
trigger: none
stages:
- stage: A
  jobs:
  - job: waits
    pool: { name: default, demands: [ nobody.has.it ] }
    steps: [{ bash: echo never }]
  - job: anyway
    dependsOn: waits
    condition: always()
    steps: [{ bash: echo never }]
- stage: B
  condition: always()
  jobs: [{ job: b, steps: [{ bash: echo never }] }]
- stage: C
  dependsOn: []
  trigger: manual
  jobs: [{ job: c, steps: [{ bash: echo never }] }]
`})
	if _, err := w.runs.QueueRun(w.ctx, run.QueueRequest{Pipeline: p, Reason: run.Manual, By: identity.System(), Strict: true}); err != nil {
		t.Fatal(err)
	}
	w.until("a job waits for an agent", func() bool {
		d, err := w.runs.Load(w.ctx, "1")
		return err == nil && len(d.Jobs) > 0 && d.Jobs[0].Asked
	})
	if _, err := w.runs.Cancel(w.ctx, "1"); err != nil {
		t.Fatal(err)
	}
	d := w.wait("1")
	got := map[string]run.Result{"": d.Run.Result}
	for _, s := range d.Stages {
		got[s.Name] = s.Result
	}
	for _, p := range d.Phases {
		got[p.Name] = p.Result
	}
	want := map[string]run.Result{"": run.Canceled, "A": run.Canceled, "B": run.Canceled, "C": run.Canceled, "waits": run.Canceled, "anyway": run.Canceled}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// Pushes that come while a run of the branch goes on become one run, of the last
// of them; that its files are not among the paths changes nothing, nor does the
// end of a run that no push started.
func TestPushesAreBatched(t *testing.T) {
	w := newWorld(t)
	p := w.pipeline("ci", "azure-pipelines.yml")
	file := "trigger: { batch: true, branches: [main], paths: { include: [src] } }\nstages:\n- stage: A\n  trigger: manual\n  jobs: [{ job: A, steps: [{ checkout: none }, { bash: echo $(Build.Reason) $(Build.SourceVersion) }] }]\n"
	begin := func(id string) *run.Detail {
		t.Helper()
		var open []*environment.Approval
		w.until("run "+id+" waits for its start", func() bool {
			var err error
			open, err = w.environments.OfRun(w.ctx, id)
			return err == nil && len(open) == 1
		})
		person := identity.With(w.ctx, identity.Subject{Kind: identity.UserKind, ID: "u1", Name: "ada"})
		if _, err := w.environments.Decide(person, open[0].ID, environment.Approved, ""); err != nil {
			t.Fatal(err)
		}
		return w.wait(id)
	}
	w.push("main", map[string]string{"azure-pipelines.yml": file, "src/a": "1"})
	w.until("the first push has its run", func() bool { _, err := w.runs.Runs.Get(w.ctx, "1"); return err == nil })
	kept := func(commit string) {
		t.Helper()
		w.until("the push of "+commit+" is kept back", func() bool {
			fresh, err := w.runs.Pipelines.Get(w.ctx, p.ID)
			return err == nil && fresh.Waiting["refs/heads/main"].Commit == commit
		})
	}
	kept(w.push("main", map[string]string{"src/a": "2"}))
	last := w.push("main", map[string]string{"docs/b": "3"})
	kept(last)
	if _, err := w.runs.QueueRun(w.ctx, run.QueueRequest{Pipeline: p, Branch: "refs/heads/main", Reason: run.Manual, By: identity.System()}); err != nil {
		t.Fatal(err)
	}
	begin("2")
	kept(last)
	begin("1")
	d := begin("3")
	if text := w.log(d); !strings.Contains(text, "BatchedCI "+last) || d.Run.Reason != run.BatchedCI {
		t.Errorf("%s\n%s", d.Run.Reason, text)
	}
	w.push("main", map[string]string{"docs/b": "4"})
	w.push("main", map[string]string{"src/a": "5"})
	if d := begin("4"); d.Run.Reason != run.IndividualCI {
		t.Error(d.Run.Reason)
	}
}

// Of a job with legs only those run again that did not go well; a job that is
// tolerated stands. Each counts its own attempts.
func TestRerunOfLegs(t *testing.T) {
	w := newWorld(t)
	p := w.pipeline("ci", "azure-pipelines.yml")
	flag := filepath.Join(t.TempDir(), "flag")
	w.push("main", map[string]string{"azure-pipelines.yml": strings.ReplaceAll(`
trigger: none
stages:
- stage: S
  jobs:
  - job: legs
    strategy: { matrix: { good: { x: 0 }, 3.9 bad: { x: 1 } } }
    steps:
    - checkout: none
    - bash: 'echo "##vso[task.setvariable variable=v;isOutput=true]$(System.StageAttempt)"; echo "$(System.JobName) $(System.JobAttempt)/$(System.PhaseAttempt)/$(System.StageAttempt)"; test $(x) = 0 -o -e FLAG'
      name: s
  - job: tolerated
    continueOnError: true
    steps: [{ checkout: none }, { bash: exit 1 }]
  - job: late
    dependsOn: legs
    variables: { v: "$[format('{0} and {1}', dependencies.legs.outputs['good.s.v'], dependencies.legs.outputs['Job2.s.v'])]" }
    steps: [{ checkout: none }, { bash: 'echo "$(v), late $(System.JobAttempt)/$(System.PhaseAttempt)/$(System.StageAttempt)"' }]
- stage: skipped
  dependsOn: []
  condition: false
  jobs: [{ job: K, steps: [{ checkout: none }] }]
`, "FLAG", flag)})
	if _, err := w.runs.QueueRun(w.ctx, run.QueueRequest{Pipeline: p, Reason: run.Manual, By: identity.System(), Strict: true}); err != nil {
		t.Fatal(err)
	}
	for attempt := 1; ; attempt++ {
		d := w.wait("1")
		if attempt == 3 {
			got := map[string]string{}
			for _, j := range d.Jobs {
				got[j.Name] += fmt.Sprintf(" %d:%s", j.Attempt, j.Result)
			}
			want := map[string]string{"good": " 1:succeeded", "3.9 bad": " 1:failed 2:failed 3:succeeded", "tolerated": " 1:failed", "late": " 3:succeeded"}
			if !maps.Equal(got, want) || d.Run.Result != run.SucceededWithIssues || len(d.Stages) != 4 {
				t.Errorf("%s, %d attempts of stages: %v, want %v", d.Run.Result, len(d.Stages), got, want)
			}
			text := w.log(d)
			for _, line := range []string{"good 1/1/1", "Job2 1/1/1", "Job2 2/2/2", "Job2 3/3/3", "1 and 3, late 1/3/3"} {
				if !strings.Contains(text, line) {
					t.Errorf("no %q in\n%s", line, text)
				}
			}
			return
		}
		if d.Run.Result != run.Failed {
			t.Fatal(d.Run.Result)
		}
		if attempt == 2 {
			if err := os.WriteFile(flag, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.runs.Rerun(w.ctx, "1", ""); err != nil {
			t.Fatal(err)
		}
	}
}

// A stage that waits for business hours is looked at when they begin.
func TestBusinessHoursBegin(t *testing.T) {
	w := newWorld(t)
	env, err := w.environments.Create(w.ctx, w.project.ID, "prod", "")
	if err != nil {
		t.Fatal(err)
	}
	tomorrow := time.Now().UTC().AddDate(0, 0, 1).Format("Mon")
	if err := w.environments.AddCheck(w.ctx, env, &environment.Check{Type: environment.BusinessHoursCheck, Settings: environment.Settings{Days: []string{tomorrow}, From: "00:00", To: "23:59", Zone: "UTC"}}); err != nil {
		t.Fatal(err)
	}
	w.pipeline("ci", "azure-pipelines.yml")
	w.push("main", map[string]string{"azure-pipelines.yml": "trigger: [main]\njobs:\n- deployment: d\n  environment: prod\n  strategy: { runOnce: { deploy: { steps: [{ download: none }] } } }\n"})
	var until time.Time
	w.until("the stage waits", func() bool {
		d, err := w.runs.Load(w.ctx, "1")
		if err != nil || len(d.Stages) == 0 {
			return false
		}
		until = d.Stages[0].Until
		return strings.HasPrefix(d.Stages[0].Waits, "business hours")
	})
	messages, _, err := w.db.DueMessages(w.ctx, until, 100)
	if err != nil || !slices.ContainsFunc(messages, func(m outbox.Message) bool { return m.Topic == run.TopicAdvance && m.Due.Equal(until) }) {
		t.Errorf("nobody looks at the run at %s: %v, %v", until, messages, err)
	}
}
