package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/mask"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

func TestRetriesWaitLongerAndLonger(t *testing.T) {
	var waits []time.Duration
	after := func(d time.Duration) <-chan time.Time {
		c := make(chan time.Time)
		if d < afterExit || d > afterExit {
			waits = append(waits, d)
			close(c)
		}
		return c
	}
	count := filepath.Join(t.TempDir(), "n")
	s := bash("echo x >> " + count + "; [ $(wc -l < " + count + ") -ge 4 ] || exit 1; echo \"##vso[task.complete result=SucceededWithIssues]\"")
	s.RetryCountOnTaskFailure = 12
	m := newMemory()
	rep := RunJob(context.Background(), &run.JobMessage{PipelineID: "1", Steps: []pipeline.Step{s}}, Machine{Work: t.TempDir(), After: after}, m)
	if diff := cmp.Diff([]time.Duration{time.Second, 4 * time.Second, 9 * time.Second}, waits); diff != "" {
		t.Error(diff)
	}
	if rep.Result != run.SucceededWithIssues || m.steps[1].Attempt != 4 || len(m.steps[1].Warnings) != 4 {
		t.Errorf("%s after %d attempts: %v", rep.Result, m.steps[1].Attempt, m.steps[1].Warnings)
	}
	fails := bash("exit 1")
	fails.RetryCountOnTaskFailure = 12
	waits = nil
	RunJob(context.Background(), &run.JobMessage{PipelineID: "1", Steps: []pipeline.Step{fails}}, Machine{Work: t.TempDir(), After: after}, m)
	if len(waits) != 10 || waits[9] != 100*time.Second {
		t.Errorf("%v", waits)
	}
}

// A logging command that failed is no reason to run a program again.
func TestNoRetryForACommand(t *testing.T) {
	s := bash(say("##vso[task.setvariable]x"))
	s.RetryCountOnTaskFailure = 3
	if _, m := runSteps(t, context.Background(), nil, s); m.steps[1].Result != run.Failed || m.steps[1].Attempt != 1 {
		t.Errorf("%s in %d attempts", m.steps[1].Result, m.steps[1].Attempt)
	}
}

func TestMerge(t *testing.T) {
	for _, c := range []struct{ a, b, want run.Result }{
		{run.Succeeded, run.Failed, run.Failed}, {run.Failed, run.Succeeded, run.Failed}, {run.SucceededWithIssues, run.Succeeded, run.SucceededWithIssues},
		{run.Succeeded, run.Skipped, run.Skipped}, {run.Canceled, run.Failed, run.Canceled}, {run.Skipped, run.Failed, run.Skipped}, {run.Canceled, run.Skipped, run.Canceled},
	} {
		if got := merge(c.a, c.b); got != c.want {
			t.Errorf("%s and %s is %s, want %s", c.a, c.b, got, c.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("PENSTOCK_JOIN_TOKEN", "own")
	t.Setenv("OF_THE_MACHINE", "there")
	s := bash(`echo "over=$OVER mixed=$mixedCase sec=[$SEC] mapped=$MAPPED dots=$A_B dash=$(env | grep -c '^A-B=') own=[$PENSTOCK_JOIN_TOKEN] machine=$OF_THE_MACHINE build=$TF_BUILD status=$AGENT_JOBSTATUS lookup=$VSTS_PROCESS_LOOKUP_ID from=$FROM_OS"`)
	s.Env = map[string]string{"over": "lost", "OVER": "lost", " mixedCase ": " kept ", "MAPPED": "x$(sec)", "FROM_OS": "$(OF_THE_MACHINE)"}
	_, m := runSteps(t, context.Background(), []run.Variable{{Name: "over", Value: "variable"}, {Name: "sec", Value: "123", Secret: true}, {Name: "a.b", Value: "dotted"}, {Name: "a-b", Value: "dashed"}}, s)
	for _, want := range []string{"over=variable ", "mixed=kept ", "sec=[] ", "mapped=x123 ", "dots=dotted ", "dash=1 ", "own=[] ", "machine=there ", "build=True ", "status=Succeeded ", "lookup=vsts_", "from=there"} {
		if !strings.Contains(m.logs[1], want) {
			t.Errorf("no %q in\n%s", want, m.logs[1])
		}
	}
}

func TestPrependPath(t *testing.T) {
	_, m := runSteps(t, context.Background(), nil, bash(`echo "##vso[task.prependpath]/one"; echo "##vso[task.prependpath]/two"; echo "##vso[task.prependpath]/one"`), bash(`echo "PATH is $PATH"`))
	if !strings.Contains(m.logs[2], "PATH is /one:/two:/") || strings.Count(m.logs[2], "/one") != 1 {
		t.Errorf("%s", m.logs[2])
	}
}

func TestConditionErrorFailsTheStep(t *testing.T) {
	s := bash("echo never")
	s.Condition, s.ContinueOnError = "nonsense(", true
	rep, m := runSteps(t, context.Background(), nil, s)
	if m.steps[1].Result != run.Failed || rep.Result != run.Failed || len(m.steps[1].Errors) != 1 || strings.Contains(m.logs[1], "never") {
		t.Errorf("%+v", m.steps[1])
	}
}

// Parts before and after the steps run in order and in reverse order, also
// where a step failed; a skipped step has none after it.
func TestPartsOfTasks(t *testing.T) {
	part := func(name string, fail bool) task.Func {
		return func(_ context.Context, c *task.Context) error {
			c.Printf("%s %s of %s, state %q", name, c.Input("id"), c.Version, c.State["seen"])
			c.State["seen"] += name + " "
			if fail && c.Input("id") == "b" {
				return fmt.Errorf("%s failed", name)
			}
			return nil
		}
	}
	task.Register(&task.Task{Name: "PartsOfTest", Major: []string{"1"}, Before: part("before", false), Run: part("run", true), After: part("after", false)})
	step := func(id string) pipeline.Step {
		return pipeline.Step{Task: "PartsOfTest", Version: "1.2.3", Inputs: map[string]string{"ID": id}}
	}
	m := newMemory()
	m.order = &[]string{}
	rep := RunJob(context.Background(), &run.JobMessage{PipelineID: "1", Steps: []pipeline.Step{step("a"), step("b"), step("c")}}, Machine{Work: t.TempDir()}, m)
	var got []string
	for _, line := range *m.order {
		_, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if head, _, ok := strings.Cut(text, " of 1"); ok {
			got = append(got, head)
		}
	}
	want := []string{"before a", "before b", "before c", "run a", "run b", "after b", "after a"}
	if diff := cmp.Diff(want, got); diff != "" || rep.Result != run.Failed {
		t.Errorf("%s %s", rep.Result, diff)
	}
	if !strings.Contains(m.logs[1], `after a of 1, state "before run "`) {
		t.Errorf("%s", m.logs[1])
	}
}

func TestWorkspace(t *testing.T) {
	work := t.TempDir()
	dir := filepath.Join(work, "1")
	for _, f := range []string{"s/f", "a/f", "b/f", "TestResults/f"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(f)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for clean, kept := range map[string]string{"": "s/f b/f", "outputs": "s/f", "resources": "b/f", "all": "", "all Build.Clean=none": "s/f b/f", " build.clean=Source": "b/f",
		"outputs Agent.Clean.BuildDirectory=All": "", " Agent.Clean.BuildDirectory=Binary": "s/f", "outputs Build.Clean=true": "s/f"} {
		clean, variable, _ := strings.Cut(clean, " ")
		name, value, _ := strings.Cut(variable, "=")
		for _, f := range []string{"s/f", "a/f", "b/f", "TestResults/f"} {
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		RunJob(context.Background(), &run.JobMessage{PipelineID: "1", WorkspaceClean: clean, Variables: []run.Variable{{Name: name, Value: value}}}, Machine{Work: work}, newMemory())
		var left []string
		for _, f := range []string{"s/f", "a/f", "b/f", "TestResults/f"} {
			if _, err := os.Stat(filepath.Join(dir, f)); err == nil {
				left = append(left, f)
			}
		}
		if strings.Join(left, " ") != kept {
			t.Errorf("clean %q %s: %v is left, want %s", clean, variable, left, kept)
		}
	}
}

func TestVariableCalledPath(t *testing.T) {
	_, m := runSteps(t, context.Background(), []run.Variable{{Name: "path", Value: "src/app"}}, bash("true"), bash("true"))
	if len(m.steps[1].Warnings)+len(m.steps[2].Warnings) != 1 {
		t.Errorf("%v %v", m.steps[1].Warnings, m.steps[2].Warnings)
	}
	_, m = runSteps(t, context.Background(), []run.Variable{{Name: "PATH", Value: "/own:" + os.Getenv("PATH")}}, bash("echo got $PATH"))
	if len(m.steps[1].Warnings) != 0 || !strings.Contains(m.logs[1], "got /own:") {
		t.Errorf("%v\n%s", m.steps[1].Warnings, m.logs[1])
	}
}

// A cache is not filled by a job that was canceled.
func TestPartsKnowOfACancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var seen run.Result
	task.Register(&task.Task{Name: "CancelOfTest", Major: []string{"1"}, Run: func(context.Context, *task.Context) error { cancel(); return nil },
		After: func(_ context.Context, c *task.Context) error { seen = c.JobResult; return nil }})
	rep := RunJob(ctx, &run.JobMessage{PipelineID: "1", Steps: []pipeline.Step{{Task: "CancelOfTest", Version: "1"}}}, Machine{Work: t.TempDir()}, newMemory())
	if rep.Result != run.Canceled || seen != run.Canceled {
		t.Errorf("%s, seen %s", rep.Result, seen)
	}
}

func BenchmarkOutput(b *testing.B) {
	j := &job{masker: &mask.Masker{}, vars: map[string]run.Variable{}, link: nowhere{}, m: &run.JobMessage{}}
	for n := range 50 {
		j.masker.Add(fmt.Sprintf("a-secret-of-usual-length-%d-%x", n, n*7919))
	}
	s := &step{job: j}
	line := strings.Repeat("ordinary output of a build ", 4)
	s.output(line)
	b.ReportAllocs()
	for b.Loop() {
		s.output(line)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

type nowhere struct{}

func (nowhere) Log(int, string)     {}
func (nowhere) Step(run.StepReport) {}

// A step's log says which step and task it is, once however often it is tried,
// and where it ends; a step that does not run has none.
func TestBothEndsOfALog(t *testing.T) {
	failing := bash("exit 3")
	failing.DisplayName, failing.RetryCountOnTaskFailure = "Try $(what)", 1
	m := newMemory()
	RunJob(t.Context(), &run.JobMessage{JobID: "j", PipelineID: "1", Steps: []pipeline.Step{failing, bash("echo never")}, Variables: []run.Variable{{Name: "what", Value: "it"}}},
		Machine{AgentName: "a", Work: t.TempDir(), Outcomes: m, After: func(d time.Duration) <-chan time.Time {
			now := make(chan time.Time)
			if d != afterExit {
				close(now)
			}
			return now
		}}, m)
	var got []string
	for line := range strings.Lines(m.logs[1]) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(text, "[command]") {
			got = append(got, text)
		}
	}
	frame := strings.Repeat("=", 78)
	attempt := []string{"Generating script.", "Script contents:", "exit 3", "========================== Starting Command Output ===========================", "##[error]Bash exited with code '3'."}
	want := slices.Concat([]string{"##[section]Starting: Try it", frame, "Task         : Bash", "Description  : built into Penstock", "Version      : 3", "Author       : Penstock", "Help         : penstock explain Bash", frame},
		attempt, []string{"##[warning]attempt 1 of 2 failed; the next one starts in 1s"}, attempt, []string{"##[section]Finishing: Try it"})
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(m.logs[2], "##[section]") || strings.Count(m.logs[2], "\n") != 3 || !strings.Contains(m.logs[2], "Z "+run.SkipLine+"\n") {
		t.Errorf("a step that does not run says why, and no more:\n%s", m.logs[2])
	}
}
