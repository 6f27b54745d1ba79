package agent

import (
	"github.com/google/go-cmp/cmp"

	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/agent/process"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", maxLine+10)
	var got []string
	var pieces []bool
	lines(strings.NewReader("a\r\nb\n\n"+long+"\nlast"), func(l string, more bool) {
		got = append(got, l)
		pieces = append(pieces, more)
	})
	if len(got) != 6 || got[0] != "a" || got[1] != "b" || got[2] != "" || got[5] != "last" {
		t.Fatalf("%d lines", len(got))
	}
	if got[3]+got[4] != long || fmt.Sprint(pieces) != "[false false false true false false]" {
		t.Errorf("a long line lost something: %v", pieces)
	}
	lines(strings.NewReader(""), func(string, bool) { t.Error("a line of nothing") })
}

// A secret that lies across the place where a long line is cut does not show.
func TestSecretInALongLine(t *testing.T) {
	const secret = "s3cr3t-that-is-long-enough"
	for _, before := range []int{maxLine - len(secret), maxLine - 10, maxLine - 1, maxLine} {
		_, m := runSteps(t, context.Background(), []run.Variable{{Name: "key", Value: secret, Secret: true}},
			bash(fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x; printf '%%s' '$(key)'; head -c 100 /dev/zero | tr '\\0' y; echo", before)))
		for part := 6; part < len(secret); part++ {
			if strings.Contains(m.logs[1], secret[:part]+"\n") || strings.Contains(m.logs[1], secret) {
				t.Fatalf("%d bytes before: the secret shows", before)
			}
		}
		if n := strings.Count(m.logs[1], "x"); n < before {
			t.Errorf("%d bytes before: %d arrived", before, n)
		}
	}
}

func TestCommandThatIsTooLong(t *testing.T) {
	rep, m := runSteps(t, context.Background(), nil, bash(`printf '##''vso[task.setvariable variable=v;issecret=true]'; head -c 1200000 /dev/zero | tr '\0' z; echo`))
	if strings.Contains(m.logs[1], "zzz") || rep.Result != run.Failed || len(m.steps[1].Errors) != 1 {
		t.Errorf("%s %v, %d bytes of log", rep.Result, m.steps[1].Errors, len(m.logs[1]))
	}
}

func TestFailOnStderr(t *testing.T) {
	const wrote = "Bash wrote one or more lines to the standard error stream."
	for script, want := range map[string][]string{
		"echo out; echo one >&2; echo two >&2": {wrote, "one\ntwo"},
		"echo one >&2; exit 3":                 {"Bash exited with code '3'.", wrote, "one"},
		"echo >&2":                             {wrote},
		"exit 3":                               {"Bash exited with code '3'."},
		"echo '##''vso[task.logissue type=error]an issue' >&2": {"an issue", wrote, "##vso[task.logissue type=error]an issue"},
		"head -c 100000 /dev/zero | tr '\\0' z >&2":            {wrote, strings.Repeat("z", 64<<10)},
	} {
		s := bash(script)
		s.Inputs["failOnStderr"] = "true"
		rep, m := runSteps(t, context.Background(), nil, s)
		if diff := cmp.Diff(want, m.steps[1].Errors); diff != "" || rep.Result != run.Failed {
			t.Errorf("%s: %s\n%s", script, rep.Result, diff)
		}
		if strings.Contains(script, "echo one") && !strings.Contains(m.logs[1], "Z one\n") {
			t.Errorf("the error stream shows as it comes:\n%s", m.logs[1])
		}
	}
	if rep, _ := runSteps(t, context.Background(), nil, bash("echo quiet >&2")); rep.Result != run.Succeeded {
		t.Errorf("without the input: %s", rep.Result)
	}
}

// What a step starts in the background lives until the job ends, and no longer.
func TestBackgroundLivesAsLongAsTheJob(t *testing.T) {
	dir := t.TempDir()
	pid := filepath.Join(dir, "pid")
	_, m := runSteps(t, context.Background(), nil, bash("setsid sleep 600 >/dev/null 2>&1 & echo $! > "+pid), bash("kill -0 $(cat "+pid+") && echo ali''ve"))
	if !strings.Contains(m.logs[2], "alive") {
		t.Errorf("it is gone in the next step:\n%s", m.logs[2])
	}
	raw, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	waitGone(t, strings.TrimSpace(string(raw)))
}

func TestBackgroundIsLeftAlone(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	runSteps(t, context.Background(), []run.Variable{{Name: "process.clean", Value: "false"}}, bash("setsid sleep 600 >/dev/null 2>&1 & echo $! > "+pid))
	raw, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	p := strings.TrimSpace(string(raw))
	if _, err := os.Stat("/proc/" + p); err != nil {
		t.Errorf("process.clean=false: %v", err)
	}
	var n int
	if _, err := fmt.Sscan(p, &n); err == nil {
		process.SignalGroup(n, process.Kill)
	}
}

// waitGone waits until a process has ended.
func waitGone(t *testing.T, pid string) {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		state, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("process %s lives: %s", pid, state)
		}
	}
}

// A program that ignores polite signals is ended all the same, and its children
// in other groups with it. The waits are the test's.
func TestStubbornTreeIsKilled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pid := filepath.Join(t.TempDir(), "pid")
	m, done := newMemory(), make(chan run.JobReport, 1)
	now := func(time.Duration) <-chan time.Time {
		c := make(chan time.Time)
		close(c)
		return c
	}
	work := t.TempDir()
	go func() {
		done <- RunJob(ctx, &run.JobMessage{JobID: "j", PipelineID: "1", Steps: []pipeline.Step{
			bash("trap '' INT TERM; setsid bash -c \"trap '' INT TERM; sleep 600\" & echo $! > " + pid + "; echo be''gun; while true; do sleep 1; done")}},
			Machine{Work: work, After: now}, m)
	}()
	for text := range m.line {
		if strings.Contains(text, "begun") {
			break
		}
	}
	cancel()
	if rep := <-done; rep.Result != run.Canceled || m.steps[1].Result != run.Canceled {
		t.Errorf("%s, step %s", rep.Result, m.steps[1].Result)
	}
	raw, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	waitGone(t, strings.TrimSpace(string(raw)))
}

// A running step whose condition holds also after a cancel goes on.
func TestAlwaysGoesOnWhenCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	fifo := filepath.Join(t.TempDir(), "go")
	m, done := newMemory(), make(chan run.JobReport, 1)
	s := bash("echo be''gun; until [ -e " + fifo + " ]; do sleep 0.05; done; echo finished; echo status $AGENT_JOBSTATUS")
	s.Condition = "always()"
	after := bash("echo status $AGENT_JOBSTATUS")
	after.Condition = "canceled()"
	work := t.TempDir()
	go func() {
		done <- RunJob(ctx, &run.JobMessage{JobID: "j", PipelineID: "1", Steps: []pipeline.Step{s, after}}, Machine{Work: work}, m)
	}()
	for text := range m.line {
		if strings.Contains(text, "begun") {
			break
		}
	}
	cancel()
	if err := os.WriteFile(fifo, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rep := <-done
	if rep.Result != run.Canceled || m.steps[1].Result != run.Succeeded || !strings.Contains(m.logs[1], "finished") || !strings.Contains(m.logs[2], "status Canceled") {
		t.Errorf("%s, step %s:\n%s%s", rep.Result, m.steps[1].Result, m.logs[1], m.logs[2])
	}
}

// How long a canceled program has is what the job says.
func TestPatienceOfAPipeline(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	waits, m, done := make(chan time.Duration, 8), newMemory(), make(chan run.JobReport, 1)
	machine := Machine{AgentName: "a", Work: t.TempDir(), Outcomes: m, After: func(d time.Duration) <-chan time.Time {
		waits <- d
		now := make(chan time.Time, 1)
		if d != afterExit {
			now <- time.Time{}
		}
		return now
	}}
	vars := []run.Variable{{Name: "PROCESS_SIGINT_TIMEOUT", Value: "30000"}, {Name: "process_sigterm_timeout", Value: "99999999"}}
	deaf := bash("trap '' INT TERM; echo be''gun; tail -f /dev/null")
	go func() {
		done <- RunJob(ctx, &run.JobMessage{JobID: "j", PipelineID: "1", CancelTimeoutInMinutes: 2, Variables: vars, Steps: []pipelineStep{deaf}}, machine, m)
	}()
	for text := range m.line {
		if strings.Contains(text, "begun") {
			break
		}
	}
	cancel()
	if first, second, rep := <-waits, <-waits, <-done; first != 30*time.Second || second != 2*time.Minute || rep.Result != run.Canceled {
		t.Errorf("%s, then %s; %s", first, second, rep.Result)
	}
}

func TestTempFolderOfPrograms(t *testing.T) {
	_, m := runSteps(t, context.Background(), []run.Variable{{Name: "VSTS_OVERWRITE_TEMP", Value: "true"}, {Name: "Build.Repository.Name", Value: "app"}},
		bash(`[ "$TMPDIR" = "$AGENT_TEMPDIRECTORY" ] && echo "same for $PIPELINE_REPOSITORY_NAME"`))
	if !strings.Contains(m.logs[1], "Z same for app\n") {
		t.Errorf("%s", m.logs[1])
	}
}

// A pipeline may ask for the old way of a script file: to be read, not run.
func TestScriptFileThatIsSourced(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.sh")
	if err := os.WriteFile(file, []byte("(return 0 2>/dev/null) && echo \"sourced with $1 and $2\" || echo \"run with $1 and $2\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := pipeline.Step{Task: "Bash", Version: "3", Inputs: map[string]string{"targetType": "filePath", "filePath": file, "arguments": `"a b" '$(x)'`}}
	for value, want := range map[string]string{"": "run with a b and $(x)", "1": "sourced with a b and $(x)"} {
		if _, m := runSteps(t, context.Background(), []run.Variable{{Name: "AZP_BASHV3_OLD_SOURCE_BEHAVIOR", Value: value}}, s); !strings.Contains(m.logs[1], "Z "+want+"\n") {
			t.Errorf("%q:\n%s", value, m.logs[1])
		}
	}
}
