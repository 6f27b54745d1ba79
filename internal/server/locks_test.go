package server

import (
	"strings"
	"testing"

	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/run"
)

// Three runs want one environment. The first holds it until it ends; of those that
// wait the latest goes on, or each in turn.
func TestRunsWaitForALock(t *testing.T) {
	for behavior, second := range map[string]run.Result{"runLatest": run.Canceled, "sequential": run.Succeeded} {
		t.Run(behavior, func(t *testing.T) {
			w := newWorld(t)
			env, err := w.environments.Create(w.ctx, w.project.ID, "prod", "")
			if err != nil {
				t.Fatal(err)
			}
			if err := w.environments.AddCheck(w.ctx, env, &environment.Check{Type: environment.ExclusiveLockCheck}); err != nil {
				t.Fatal(err)
			}
			p := w.pipeline("ci", "azure-pipelines.yml")
			w.push("main", map[string]string{"azure-pipelines.yml": strings.ReplaceAll(`
trigger: none
lockBehavior: BEHAVIOR
parameters: [{ name: demand, type: string, default: Agent.OS }]
jobs:
- deployment: d
  environment: prod
  pool: { name: default, demands: [ "${{ parameters.demand }}" ] }
  strategy: { runOnce: { deploy: { steps: [{ download: none }, { bash: echo deployed }] } } }
`, "BEHAVIOR", behavior)})
			queue := func(id, demand string, ready func(*run.Detail) bool) {
				t.Helper()
				if _, err := w.runs.QueueRun(w.ctx, run.QueueRequest{Pipeline: p, Reason: run.Manual, By: identity.System(), Strict: true, Parameters: map[string]any{"demand": demand}}); err != nil {
					t.Fatal(err)
				}
				w.until("run "+id+" is where it stays", func() bool {
					d, err := w.runs.Load(w.ctx, id)
					return err == nil && len(d.Stages) > 0 && ready(d)
				})
			}
			waits := func(d *run.Detail) bool { return strings.HasPrefix(d.Stages[0].Waits, "exclusive lock, held by run 1") }
			queue("1", "nobody.has.it", func(d *run.Detail) bool { return len(d.Jobs) > 0 })
			queue("2", "Agent.OS", waits)
			queue("3", "Agent.OS", waits)
			if _, err := w.runs.Cancel(w.ctx, "1"); err != nil {
				t.Fatal(err)
			}
			for id, want := range map[string]run.Result{"1": run.Canceled, "2": second, "3": run.Succeeded} {
				if d := w.wait(id); d.Run.Result != want {
					t.Errorf("run %s: %s, want %s", id, d.Run.Result, want)
				}
			}
		})
	}
}
