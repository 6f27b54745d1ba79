package server

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/agent"
	"penstock.dev/penstock/internal/base/startstop"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/project"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
)

// world is a server with an agent in this process and one project.
type world struct {
	*Server
	t       testing.TB
	ctx     context.Context
	project *project.Project
	repo    *repos.Repository
	work    string
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ctx := identity.With(context.Background(), identity.System())
	cfg, err := Load(func(string) string { return "" }, map[string]string{"data": t.TempDir(), "vms.local.enabled": "false",
		"http.listen": "127.0.0.1:0", "gateway.http": "127.0.0.1:0", "dns.listen": "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := open(ctx, cfg, onDisk, "test", log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.listen(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.pools.EnsurePool(ctx, "default"); err != nil {
		t.Fatal(err)
	}
	runCtx, cancel := context.WithCancel(ctx)
	group := startstop.New(runCtx)
	s.loops(group)
	token, _, err := s.identity.IssueToken(ctx, identity.Token{Kind: identity.JoinToken, Pool: "default"})
	if err != nil {
		t.Fatal(err)
	}
	group.Go("agent", func(ctx context.Context) error {
		return agent.Run(ctx, agent.Config{Server: s.URL(), Organization: "default", Name: "a1", Folder: filepath.Join(t.TempDir(), "agent"),
			JoinToken: token, Jobs: 4, Version: "test", Log: log})
	})
	t.Cleanup(func() {
		close(s.stopping)
		s.pools.Wake()
		cancel()
		_ = s.http.Shutdown(context.Background())
		_ = s.planes.gateway.Close(context.Background())
		_ = s.planes.dns.Close(context.Background())
		_ = group.Wait()
		_ = s.close()
	})
	w := &world{Server: s, t: t, ctx: ctx, work: t.TempDir()}
	if w.project, err = s.projects.Create(ctx, "shop", ""); err != nil {
		t.Fatal(err)
	}
	if w.repo, err = s.repos.Create(ctx, w.project.ID, "app"); err != nil {
		t.Fatal(err)
	}
	w.git("init", "-q", "-b", "main", ".")
	w.git("remote", "add", "origin", filepath.Join(cfg.Data, "git", w.repo.ID+".git"))
	return w
}

// testWriter sends a server's log to the test's.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Helper()
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (w *world) git(args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = w.work
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=ada", "GIT_AUTHOR_EMAIL=ada@example.test", "GIT_COMMITTER_NAME=ada", "GIT_COMMITTER_EMAIL=ada@example.test")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// push commits files to a branch and lets the server accept the push.
func (w *world) push(branch string, files map[string]string) string {
	w.t.Helper()
	for name, content := range files {
		p := filepath.Join(w.work, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
	w.git("add", "-A")
	w.git("commit", "-q", "-m", "change")
	before, err := w.repos.Git.Refs(w.ctx, w.repo.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	w.git("push", "-q", "origin", "HEAD:refs/heads/"+branch)
	commit, ref := w.git("rev-parse", "HEAD"), "refs/heads/"+branch
	old := before[ref]
	if old == "" {
		old = repos.Zero
	}
	if err := w.repos.AcceptPush(w.ctx, w.repo.ID, identity.Subject{Kind: identity.UserKind, ID: "u1", Name: "ada"}, []repos.RefUpdate{{Ref: ref, Old: old, New: commit}}); err != nil {
		w.t.Fatal(err)
	}
	return commit
}

func (w *world) pipeline(name, path string) *run.Pipeline {
	w.t.Helper()
	p, err := w.runs.CreatePipeline(w.ctx, w.project.ID, name, w.repo, path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// until waits for a condition by the server's own signals.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	sub := w.hub.Subscribe("runs", "approvals", "apps")
	defer sub.Close()
	limit := time.NewTimer(60 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-sub.C:
		case <-tick.C:
		case <-limit.C:
			w.t.Fatalf("%s does not happen", what)
		}
	}
}

// wait waits for the run with a number to end.
func (w *world) wait(id string) *run.Detail {
	w.t.Helper()
	var d *run.Detail
	w.until("the end of run "+id, func() bool {
		var err error
		d, err = w.runs.Load(w.ctx, id)
		return err == nil && d.Run.State == run.Completed
	})
	return d
}

func (w *world) log(d *run.Detail) string {
	var b strings.Builder
	for _, j := range d.Jobs {
		for _, st := range j.Steps {
			lines, _, err := w.runs.Logs.Lines(w.ctx, j.LogID(st.Order), 1, 10000)
			if err != nil {
				w.t.Fatal(err)
			}
			for _, l := range lines {
				fmt.Fprintf(&b, "%s/%s: %s\n", j.Name, st.DisplayName, l)
			}
		}
		if j.Cause != "" {
			fmt.Fprintf(&b, "%s: %s\n", j.Name, j.Cause)
		}
	}
	for _, s := range d.Stages {
		if s.Cause != "" {
			fmt.Fprintf(&b, "stage %s: %s\n", s.Name, s.Cause)
		}
	}
	for _, dg := range d.Run.Diagnostics {
		fmt.Fprintln(&b, dg)
	}
	return b.String()
}

func TestPushRunsPipeline(t *testing.T) {
	w := newWorld(t)
	w.pipeline("ci", "azure-pipelines.yml")
	w.push("main", map[string]string{"azure-pipelines.yml": `
name: 1.0.$(Rev:r)
trigger: [main]
variables:
  greeting: hello
stages:
- stage: build
  jobs:
  - job: one
    steps:
    - bash: |
        echo "$(greeting) from $GREETING"
        echo "##vso[task.setvariable variable=color;isOutput=true]teal"
      name: say
  - job: two
    dependsOn: one
    variables:
      c: $[ dependencies.one.outputs['say.color'] ]
    steps:
    - script: echo "color is $(c)"
- stage: never
  condition: eq(variables['greeting'], 'bye')
  jobs:
  - job: x
    steps:
    - script: exit 1
- stage: last
  dependsOn: [build, never]
  condition: always()
  jobs:
  - job: matrix
    strategy:
      matrix:
        a: { v: one }
        b: { v: two }
    steps:
    - checkout: none
    - script: echo "leg $(v)"
`})
	d := w.wait("1")
	text := w.log(d)
	if d.Run.Result != run.Succeeded || d.Run.Number != "1.0.1" {
		t.Fatalf("run %s: %s, cause %q\n%s", d.Run.Number, d.Run.Result, d.Run.Cause, text)
	}
	for _, want := range []string{"hello from hello", "color is teal", "leg one", "leg two"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if got := d.Stages[1].Result; got != run.Skipped {
		t.Errorf("stage never: %s, want skipped", got)
	}
}

// What only the run can know: how many jobs, how they are called, how long they
// may take, and a matrix that an earlier job writes.
func TestRunComputesWhatTheFileCannot(t *testing.T) {
	w := newWorld(t)
	w.pipeline("ci", "azure-pipelines.yml")
	w.push("main", map[string]string{"azure-pipelines.yml": `
trigger: [main]
variables: { minutes: 9, kind: linux }
jobs:
- job: plan
  steps:
  - checkout: none
  - bash: |
      echo "##vso[task.setvariable variable=count;isOutput=true]2"
      echo "##vso[task.setvariable variable=legs;isOutput=true]{'x': {'v': 'from x'}, 'y': {'v': 'from y'}}"
      echo "##vso[task.setvariable variable=none;isOutput=true]{}"
    name: out
- job: slices
  displayName: Slices on $(kind)
  dependsOn: plan
  timeoutInMinutes: $[ variables.minutes ]
  continueOnError: $(bad)
  strategy: { parallel: "$[ dependencies.plan.outputs['out.count'] ]" }
  variables: { bad: true }
  steps:
  - checkout: none
  - bash: echo "slice $(System.JobPositionInPhase) of $(System.TotalJobsInPhase)"; exit 1
- job: legs
  dependsOn: plan
  strategy: { matrix: "$[ dependencies.plan.outputs['out.legs'] ]" }
  steps: [{ checkout: none }, { script: "echo leg $(v)" }]
- job: once
  dependsOn: plan
  strategy: { matrix: "$[ dependencies.plan.outputs['out.none'] ]" }
  steps: [{ checkout: none }, { script: echo no legs }]
`})
	d := w.wait("1")
	text := w.log(d)
	if d.Run.Result != run.SucceededWithIssues {
		t.Fatalf("run: %s, cause %q\n%s", d.Run.Result, d.Run.Cause, text)
	}
	for _, want := range []string{"slice 1 of 2", "slice 2 of 2", "leg from x", "leg from y", "no legs"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for _, p := range d.Phases {
		if p.Name == "slices" && (p.DisplayName != "Slices on linux" || p.Spec == nil || p.Spec.TimeoutInMinutes != 9) {
			t.Errorf("slices: %q %+v", p.DisplayName, p.Spec)
		}
	}
}

// The variables of a leg choose its pool.
func TestPoolOfALeg(t *testing.T) {
	w := newWorld(t)
	w.pipeline("ci", "azure-pipelines.yml")
	w.push("main", map[string]string{"azure-pipelines.yml": `
strategy: { matrix: { here: { on: default, needs: Agent.OS }, nowhere: { on: elsewhere, needs: Agent.OS } } }
pool: { name: $(on), demands: [ $(needs) ] }
steps: [ { checkout: none }, { script: echo "leg on $(on)" } ]
`})
	d := w.wait("1")
	if text := w.log(d); d.Run.Result != run.Failed || !strings.Contains(text, "leg on default") || d.Jobs[1].Cause != "there is no agent pool elsewhere: penstock pool list" {
		t.Errorf("%s: %+v\n%s", d.Run.Result, d.Jobs[1], text)
	}
}

func TestFailureAndDiagnostics(t *testing.T) {
	w := newWorld(t)
	w.pipeline("ci", "azure-pipelines.yml")
	w.push("main", map[string]string{"azure-pipelines.yml": "steps:\n- script: exit 3\n- script: echo after\n  condition: failed()\n- script: echo never\n"})
	d := w.wait("1")
	if d.Run.Result != run.Failed || d.Jobs[0].Steps[3].Result != run.Skipped || d.Jobs[0].Steps[2].Result != run.Succeeded {
		t.Errorf("got %s, steps %+v\n%s", d.Run.Result, d.Jobs[0].Steps, w.log(d))
	}
	w.push("main", map[string]string{"azure-pipelines.yml": "steps:\n- scrpt: exit 3\n"})
	d = w.wait("2")
	if d.Run.Result != run.Failed || len(d.Run.Diagnostics) == 0 || d.Run.Diagnostics[0].Line != 2 {
		t.Errorf("got %s with %v, want an error on line 2", d.Run.Result, d.Run.Diagnostics)
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.pipeline("ci", "azure-pipelines.yml")
	w.push("main", map[string]string{"azure-pipelines.yml": "steps:\n- bash: |\n    echo begun\n    sleep 600\n- script: echo cleaned\n  condition: always()\n- script: echo never\n"})
	w.until("the step begins", func() bool {
		d, err := w.runs.Load(w.ctx, "1")
		return err == nil && len(d.Jobs) > 0 && strings.Contains(w.log(d), "begun")
	})
	if _, err := w.runs.Cancel(w.ctx, "1"); err != nil {
		t.Fatal(err)
	}
	d := w.wait("1")
	if d.Run.Result != run.Canceled || !strings.Contains(w.log(d), "cleaned") || strings.Contains(w.log(d), "never") {
		t.Errorf("got %s\n%s", d.Run.Result, w.log(d))
	}
}
