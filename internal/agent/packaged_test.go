package agent

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock.dev/penstock/internal/agent/nodetask/nodetest"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/pipeline/tasklib"
	"penstock.dev/penstock/internal/domain/run"
)

func TestMain(m *testing.M) { nodetest.Main(m) }

// shelf is a store with tasks whose files are what the stand-in for Node reads.
func shelf(t *testing.T, tasks ...map[string]string) tasklib.Library {
	t.Helper()
	s := tasklib.Store{Dir: filepath.Join(t.TempDir(), "tasks")}
	for _, files := range tasks {
		dir := t.TempDir()
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Add(dir, tasklib.AddOptions{Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	return tasklib.Library{s}
}

func definitionOf(name, digit, more string) string {
	id := strings.Repeat(digit, 8) + "-1111-2222-3333-" + strings.Repeat(digit, 12)
	return `{"id":"` + id + `","name":"` + name + `","version":{"Major":1,"Minor":0,"Patch":0},"inputs":[{"name":"text","type":"string","defaultValue":"of $(job)"}],
		"execution":{"Node20_1":{"target":"main.js"}}` + more + `}`
}

func runPackages(t *testing.T, ctx context.Context, machine Machine, steps ...pipeline.Step) (run.JobReport, *memory) {
	t.Helper()
	m := newMemory()
	machine.AgentName, machine.Work = "a", t.TempDir()
	vars := []run.Variable{{Name: "job", Value: "the job"}, {Name: "my.key", Value: "s3cret-of-the-job", Secret: true}, {Name: "System.TeamFoundationCollectionUri", Value: "http://server/default/"}}
	return RunJob(ctx, &run.JobMessage{JobID: "j", PipelineID: "1", Steps: steps, Variables: vars, AccessToken: "token-of-the-job"}, machine, m), m
}

func needs(t *testing.T, log string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(log, p) {
			t.Errorf("%q is missing in\n%s", p, log)
		}
	}
}

// Two tasks with parts before and after the job, the first of which fails.
func TestPackagedTasksInOrder(t *testing.T) {
	both := `,"prejobexecution":{"Node20_1":{"target":"pre.js"}},"postjobexecution":{"Node20_1":{"target":"post.js"}}`
	one := map[string]string{"task.json": definitionOf("One", "1", both), "pre.js": "//> say ##vso[task.setvariable variable=seen]one\n//> say pre one $SEEN\n//> say ##vso[task.settaskvariable variable=mine]1",
		"main.js": "//> say main one $INPUT_TEXT $VSTS_TASKVARIABLE_MINE $SEEN\n//> complain to stderr\n//> dir\n//> exit 3", "post.js": "//> say post one $VSTS_TASKVARIABLE_MINE $AGENT_JOBSTATUS $SEEN\n//> say ##vso[task.setvariable variable=seen]after-one"}
	two := map[string]string{"task.json": definitionOf("Two", "2", both), "pre.js": "//> say pre two $SEEN\n//> say ##vso[task.setvariable variable=seen]two", "main.js": "//> say main two",
		"post.js": "//> say post two ($VSTS_TASKVARIABLE_MINE) $AGENT_JOBSTATUS\n//> say ##vso[task.setvariable variable=seen]after-two"}
	machine := Machine{Tasks: shelf(t, one, two), NodeFolder: nodetest.Install(t, 20)}
	rep, m := runPackages(t, context.Background(), machine, pipeline.Step{Task: "one", Version: "1"}, pipeline.Step{Task: "22222222-1111-2222-3333-222222222222", Version: "1.0.0"},
		pipeline.Step{Task: "Two", Version: "1", Disabled: true})
	if rep.Result != run.Failed || m.steps[1].Result != run.Failed || m.steps[2].Result != run.Skipped {
		t.Errorf("%+v %+v", rep, m.steps)
	}
	needs(t, m.logs[1], "main one of the job 1 two", "to stderr", "/1/s\n", "Exit code 3 returned", "Post-job: One", "post one 1 Failed after-two", "Task         : One")
	needs(t, m.logs[2], "pre two one", "post two () Failed")
	if strings.Contains(m.logs[2], "main two") || m.logs[3] != "" || m.steps[2].DisplayName != "Two" {
		t.Errorf("%q %q", m.logs[2], m.logs[3])
	}
}

// A task says by a logging command that its part failed, and ends with 0.
func TestPartThatSaysItFailed(t *testing.T) {
	task := map[string]string{"task.json": definitionOf("Declares", "1", `,"prejobexecution":{"Node20_1":{"target":"pre.js"}}`), "pre.js": "//> say ##vso[task.complete result=Failed;]no key", "main.js": "//> say main"}
	rep, m := runPackages(t, context.Background(), Machine{Tasks: shelf(t, task), NodeFolder: nodetest.Install(t, 20)}, pipeline.Step{Task: "Declares", Version: "1"})
	if rep.Result != run.Failed || m.steps[1].Result != run.Skipped || strings.Contains(m.logs[1], " main\n") {
		t.Errorf("%s %+v\n%s", rep.Result, m.steps[1], m.logs[1])
	}
}

// Tasks of the server are no missing packages.
func TestTasksOfTheServer(t *testing.T) {
	for name, want := range map[string]string{"manualvalidation": "task ManualValidation runs in jobs with `pool: server` only", "Bash": "", "Delays": "there is no task Delays@1"} {
		err := TaskError(t.Context(), nil, name, map[bool]string{true: "3", false: "1"}[name == "Bash"])
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a definition restricts and demands.
func TestRestrictionsAndDemandsOfTasks(t *testing.T) {
	says := `//> say ##vso[task.setvariable variable=OkOne]a
//> say ##vso[task.setvariable variable=other]b
//> say ##vso[build.updatebuildnumber]9
//> say end`
	task := map[string]string{"task.json": definitionOf("Careful", "1", `,"demands":["sh","warp-drive","Agent.Version -gtVersion 99.0"],"restrictions":{"commands":{"mode":"restricted"},"settableVariables":{"allowed":["ok*"]}}`), "main.js": says}
	rep, m := runPackages(t, context.Background(), Machine{Tasks: shelf(t, task), NodeFolder: nodetest.Install(t, 20)}, pipeline.Step{Task: "Careful", Version: "1"}, bash(`echo "[$OKONE][$OTHER]"`))
	needs(t, m.logs[2], "[a][]")
	if rep.Number != "" || rep.Result != run.Succeeded {
		t.Errorf("%+v", rep)
	}
	want := []string{`task Careful demands "warp-drive"`, `task Careful demands "Agent.Version -gtVersion 99.0"`, "variable other is not set: restrictions: settableVariables: of its task", "##vso[build.updatebuildnumber] is not allowed in this step: its task says"}
	if len(m.steps[1].Warnings) != len(want) {
		t.Errorf("%q", m.steps[1].Warnings)
	}
	for i, text := range want {
		if i < len(m.steps[1].Warnings) && !strings.Contains(m.steps[1].Warnings[i], text) {
			t.Errorf("%q, want %q", m.steps[1].Warnings[i], text)
		}
	}
}

func TestPackagedTaskIsCanceled(t *testing.T) {
	task := map[string]string{"task.json": definitionOf("Waits", "1", `,"postjobexecution":{"Node20_1":{"target":"post.js"}}`), "main.js": "//> say begun\n//> wait", "post.js": "//> say cleaned up"}
	machine := Machine{Tasks: shelf(t, task), NodeFolder: nodetest.Install(t, 20), AgentName: "a", Work: t.TempDir()}
	m, done := newMemory(), make(chan run.JobReport)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		done <- RunJob(ctx, &run.JobMessage{JobID: "j", PipelineID: "1", Steps: []pipeline.Step{{Task: "Waits", Version: "1"}}}, machine, m)
	}()
	for line := range m.line {
		if strings.Contains(line, "begun") {
			break
		}
	}
	cancel()
	if rep := <-done; rep.Result != run.Canceled || m.steps[1].Result != run.Canceled {
		t.Errorf("%+v %+v", rep, m.steps[1])
	}
	needs(t, m.logs[1], "cleaned up")
}

func TestTaskThatIsNowhere(t *testing.T) {
	machine := Machine{Tasks: shelf(t, map[string]string{"task.json": definitionOf("FillTemplates", "1", ""), "main.js": ""})}
	_, m := runPackages(t, context.Background(), machine, pipeline.Step{Task: "FillTemplate", Version: "6", Condition: "always()"}, pipeline.Step{Task: "FillTemplates", Version: "6", Condition: "always()"},
		pipeline.Step{Task: "publisher.pack.task.Unheard", Version: "1", Condition: "always()"}, pipeline.Step{Task: "Bash", Version: "1", Condition: "always()"})
	for i, want := range []string{"FillTemplate@6 → did you mean FillTemplates? Otherwise add its package", "no version 6 (expected 1.0.0)", "Unheard@1 → add its package on the agent's machine: penstock task add", "Bash has no version 1"} {
		if got := strings.Join(m.steps[i+1].Errors, ""); !strings.Contains(got, want) || m.steps[i+1].Result != run.Failed {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A built-in task answers for a major version; the package, where a step names
// its version exactly.
func TestPackageOfABuiltInTask(t *testing.T) {
	machine := Machine{Tasks: shelf(t, map[string]string{"task.json": strings.Replace(definitionOf("Bash", "1", ""), `"Major":1`, `"Major":3`, 1), "main.js": "//> say the package"}), NodeFolder: nodetest.Install(t, 20)}
	exact, other := bash("echo built in"), bash("echo built in")
	exact.Version, other.Version = "3.0.0", "3.0.1"
	_, m := runPackages(t, context.Background(), machine, bash("echo built in"), exact, other)
	needs(t, m.logs[1], " built in\n")
	needs(t, m.logs[2], " the package\n")
	needs(t, m.logs[3], " built in\n")
}

// A task that speaks the contract with nothing but Node.
func TestContractOnNode(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("Node is not on this machine")
	}
	s := tasklib.Store{Dir: t.TempDir()}
	if _, err := s.Add(filepath.Join("testdata", "tasks", "contract"), tasklib.AddOptions{Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	first := pipeline.Step{Task: "Contract", Version: "1", Name: "first", Inputs: map[string]string{"person": "ada", "folder": "sub", "PASSWORD": "$(my.key)"}}
	second := pipeline.Step{Task: "contract", Version: "1", Inputs: map[string]string{"who": "nobody"}}
	rep, m := runPackages(t, context.Background(), Machine{Tasks: tasklib.Library{s}}, first, bash(`echo "$(first.greeting), $(greeting), $(plain), ${PATH%%:*}"`), second)
	if rep.Result != run.Failed || rep.Outputs["first.greeting"] != "hello ada" || m.steps[1].Result != run.Succeeded || m.steps[3].Result != run.Failed {
		t.Errorf("%+v %+v", rep, m.steps)
	}
	needs(t, m.logs[1], "before the job for ada", "who ada, folder ", "/1/s/sub, cwd ", "from before the job: a mark and 18", `secret variables ["System.AccessToken","my.key"], key has 17`,
		"password ***", "to the error stream", "after the job: a mark, Failed")
	if strings.Count(m.logs[1], "no child sees it") != 2 || strings.Contains(m.logs[1]+m.logs[3], "s3cret-of-the-job") || strings.Contains(m.logs[1], "hidden-of-the-task") {
		t.Errorf("secrets:\n%s", m.logs[1])
	}
	needs(t, m.logs[2], "hello ada, ", ", set by a task, ", filepath.Join(s.Dir, "contract."))
	if m.steps[1].DisplayName != "Contract for ada" || strings.Contains(m.logs[2], "hello ada, hello") {
		t.Errorf("%+v\n%s", m.steps[1], m.logs[2])
	}
}
