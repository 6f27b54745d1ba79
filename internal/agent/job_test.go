package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/testresult"
)

// memory is a Link that keeps what it is given.
type memory struct {
	mu    sync.Mutex
	logs  map[int]string
	steps map[int]run.StepReport
	line  chan string
	order *[]string // all lines, where it is wanted
	kept  []string  // attachments, tags, links and coverage, in words
}

// memory is Outcomes too.

func (m *memory) keep(format string, args ...any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = append(m.kept, fmt.Sprintf(format, args...))
	return nil
}

func (m *memory) Attach(_ context.Context, _ string, a task.Attachment, content io.ReadSeeker) error {
	data, err := io.ReadAll(content)
	if int64(len(data)) != a.Size {
		err = errors.Join(err, fmt.Errorf("%d bytes instead of %d", len(data), a.Size))
	}
	return errors.Join(err, m.keep("%s %s of step %d: %s", a.Type, a.Name, a.Step, data))
}

func (m *memory) Cover(_ context.Context, _ string, c *testresult.Coverage) error {
	return m.keep("coverage %v %v", c.Metrics, c.Files)
}

func (m *memory) Tag(_ context.Context, _, tag string) error { return m.keep("tag %s", tag) }

func (m *memory) Link(_ context.Context, _ string, l task.Link) error {
	return m.keep("link %s %s %s", l.Name, l.Type, l.Location)
}

func newMemory() *memory {
	return &memory{logs: map[int]string{}, steps: map[int]run.StepReport{}, line: make(chan string, 10000)}
}

func (m *memory) Log(step int, text string) {
	m.mu.Lock()
	m.logs[step] += text
	if m.order != nil {
		*m.order = append(*m.order, text)
	}
	m.mu.Unlock()
	m.line <- text
}

func (m *memory) Step(r run.StepReport) {
	m.mu.Lock()
	m.steps[r.Order] = r
	m.mu.Unlock()
}

type pipelineStep = pipeline.Step

func bash(text string) pipeline.Step {
	return pipeline.Step{Task: "Bash", Version: "3", Inputs: map[string]string{"targetType": "inline", "script": text}}
}

func runSteps(t *testing.T, ctx context.Context, vars []run.Variable, steps ...pipeline.Step) (run.JobReport, *memory) {
	t.Helper()
	m := newMemory()
	rep := RunJob(ctx, &run.JobMessage{JobID: "j", PipelineID: "1", Steps: steps, Variables: vars, AccessToken: "token-of-the-job"},
		Machine{AgentName: "a", Work: t.TempDir(), Outcomes: m}, m)
	return rep, m
}

func TestSecretsAreMaskedEverywhere(t *testing.T) {
	script := bash(`echo "plain $(key)"; echo "$(key)" | base64; echo "two lines:"; printf 'first-line-of-it\nsecond-line-of-it\n'
echo "##vso[task.logissue type=error]the key is $(key)"
echo "##vso[task.setvariable variable=other;isSecret=true]later-secret"`)
	script.DisplayName = "uses $(key)"
	rep, m := runSteps(t, context.Background(), []run.Variable{{Name: "key", Value: "s3cr3t-key", Secret: true}, {Name: "pem", Value: "first-line-of-it\nsecond-line-of-it", Secret: true}},
		script, bash(`echo "and later-secret"; env | grep -i -c '^key=' || true`))
	if rep.Result != run.Succeeded {
		t.Errorf("result %s", rep.Result)
	}
	all := m.logs[1] + m.logs[2] + m.steps[1].DisplayName + strings.Join(m.steps[1].Errors, "")
	for _, secret := range []string{"s3cr3t-key", "czNjcjN0LWtleQ", "first-line-of-it", "second-line-of-it", "later-secret"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is readable in\n%s", secret, all)
		}
	}
	if !strings.Contains(m.logs[2], " 0\n") {
		t.Errorf("a secret is in the environment without being mapped:\n%s", m.logs[2])
	}
}

func TestVariablesBetweenSteps(t *testing.T) {
	set := bash(`echo "##vso[task.setvariable variable=a]one"; echo "##vso[task.setvariable variable=out;isOutput=true]two"; echo "##vso[task.setvariable variable=fixed;isReadOnly=true]three"`)
	set.Name = "set"
	rep, m := runSteps(t, context.Background(), nil, set, bash(`echo "$(a) $A $(set.out) $(unknown)"; echo "##vso[task.setvariable variable=fixed]four"`), always(bash(`echo "fixed $(fixed)"`)))
	if !strings.Contains(m.logs[2], "one one two $(unknown)") && !strings.Contains(m.logs[2], "one one two ") {
		t.Errorf("step 2 prints\n%s", m.logs[2])
	}
	if !strings.Contains(m.logs[3], "fixed three") || len(m.steps[2].Errors) != 1 || m.steps[2].Result != run.Failed {
		t.Errorf("who overwrites a read-only variable fails, as on the service:\n%s%v", m.logs[3], m.steps[2].Errors)
	}
	if rep.Outputs["set.out"] != "two" {
		t.Errorf("outputs %v", rep.Outputs)
	}
}

func always(s pipeline.Step) pipeline.Step {
	s.Condition = "always()"
	return s
}

// A step without a name has the one that the service gives it.
func TestNamesOfSteps(t *testing.T) {
	named := bash(`echo "##vso[task.setvariable variable=o;isOutput=true]c"; echo "$SYSTEM_TASKINSTANCENAME $TASK_DISPLAYNAME"`)
	named.Name, named.DisplayName = "bash1", "The second"
	rep, m := runSteps(t, context.Background(), nil, bash(`echo "##vso[task.setvariable variable=o;isOutput=true]a"; echo "$SYSTEM_TASKINSTANCENAME $SYSTEM_TASKDISPLAYNAME"`), named,
		bash(`echo "##vso[task.setvariable variable=o;isOutput=true]b"; echo "$SYSTEM_TASKINSTANCENAME $BASH_O $BASH1_O $(bash1.o) [$SYSTEM_TASKINSTANCEID]"`))
	for i, want := range []string{" Bash Bash\n", " bash1 The second\n", " Bash2 a c c ["} {
		if !strings.Contains(m.logs[i+1], want) {
			t.Errorf("step %d: no %q in\n%s", i+1, want, m.logs[i+1])
		}
	}
	if !maps.Equal(rep.Outputs, map[string]string{"Bash.o": "a", "bash1.o": "c", "Bash2.o": "b"}) || strings.Contains(m.logs[3], "[]") {
		t.Errorf("%v\n%s", rep.Outputs, m.logs[3])
	}
}

func TestResults(t *testing.T) {
	fails, tolerated, anyway, failed := bash("exit 4"), bash("exit 5"), bash("echo always"), bash("echo failed")
	tolerated.ContinueOnError = true
	anyway.Condition, failed.Condition = "always()", "failed()"
	rep, m := runSteps(t, context.Background(), nil, tolerated, bash("echo next"), fails, bash("echo skipped"), anyway, failed)
	want := map[int]run.Result{1: run.SucceededWithIssues, 2: run.Succeeded, 3: run.Failed, 4: run.Skipped, 5: run.Succeeded, 6: run.Succeeded}
	for n, r := range want {
		if m.steps[n].Result != r {
			t.Errorf("step %d: %s, want %s", n, m.steps[n].Result, r)
		}
	}
	if rep.Result != run.Failed {
		t.Errorf("job: %s", rep.Result)
	}
}

func TestUnknownTaskNamesNearMisses(t *testing.T) {
	_, m := runSteps(t, context.Background(), nil, pipeline.Step{Task: "CopyFile", Version: "2"})
	if e := strings.Join(m.steps[1].Errors, ""); !strings.Contains(e, "did you mean CopyFiles") {
		t.Errorf("errors: %s", e)
	}
}

// A canceled step's grandchildren end with it, and always() still runs.
func TestCancelEndsTheWholeTree(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	last := bash("echo cleaned")
	last.Condition = "always()"
	m := newMemory()
	done := make(chan run.JobReport, 1)
	work := t.TempDir()
	go func() {
		done <- RunJob(ctx, &run.JobMessage{JobID: "j", PipelineID: "1", Steps: []pipeline.Step{bash("sleep 600 & echo $! > " + pidFile + "; echo be''gun; wait"), last}},
			Machine{Work: work}, m)
	}()
	for text := range m.line {
		if strings.Contains(text, "begun") {
			break
		}
	}
	cancel()
	rep := <-done
	if rep.Result != run.Canceled || !strings.Contains(m.logs[2], "cleaned") {
		t.Errorf("result %s, step 2:\n%s", rep.Result, m.logs[2])
	}
	raw, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	waitGone(t, strings.TrimSpace(string(raw)))
}

// The log of a skipped step says why, and shows no secret.
func TestTheLogSaysWhyAStepIsSkipped(t *testing.T) {
	skipped, off := bash("echo no"), bash("echo no")
	skipped.Condition, off.Condition, off.Disabled = "and(succeeded(), eq(variables['key'], 'other'))", "false", true
	vars := []run.Variable{{Name: "key", Value: "hunter-22", Secret: true}}
	_, m := runSteps(t, context.Background(), vars, skipped, off, bash("echo yes"))
	for i, want := range []string{"Z " + run.SkipLine + "\n", "Evaluating: and(succeeded(), eq(variables['key'], 'other'))\n", "Expanded: and(True, eq('***', 'other'))\n", "Result: False\n"} {
		if lines := strings.SplitAfter(m.logs[1], "\n"); len(lines) != 5 || !strings.HasSuffix(lines[i], want) {
			t.Errorf("line %d is not %s in\n%s", i, want, m.logs[1])
		}
	}
	if m.logs[2] != "" || strings.Contains(m.logs[3], "Evaluating") {
		t.Errorf("%s\n%s", m.logs[2], m.logs[3])
	}
	_, m = runSteps(t, context.Background(), append(vars, run.Variable{Name: "System.Debug", Value: "true"}), bash("echo yes"))
	if !strings.Contains(m.logs[1], "##[debug]Evaluating: succeeded()\n") || !strings.Contains(m.logs[1], "##[debug]Result: True\n") {
		t.Errorf("%s", m.logs[1])
	}
}

// Macros in inputs are variables, then what the agent's own environment has; its
// configuration is none of a step's business.
func TestMacrosOfTheEnvironment(t *testing.T) {
	t.Setenv("FROM_AGENT", "agent's")
	t.Setenv("BOTH", "agent's")
	t.Setenv("PENSTOCK_TOKEN", "hidden")
	s := bash("cat <<'E'\n$(FROM_AGENT) | $(both) | $(indirect) | $(from_agent) | $(PENSTOCK_TOKEN)\nE\n")
	_, m := runSteps(t, context.Background(), []run.Variable{{Name: "both", Value: "job's"}, {Name: "indirect", Value: "by $(FROM_AGENT)"}}, s)
	if !strings.Contains(m.logs[1], "Z agent's | job's | by agent's | $(from_agent) | $(PENSTOCK_TOKEN)\n") {
		t.Errorf("%s", m.logs[1])
	}
}
