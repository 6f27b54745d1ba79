package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/mask"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/base/telemetry"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

// Link is where a job's progress goes. Both methods return at once; what they
// are given is kept until it has arrived.
type Link interface {
	// Log adds finished lines, each ending in a newline, to a step's log.
	Log(step int, text string)
	// Step reports the state of a step.
	Step(r run.StepReport)
}

// Machine is what a job finds where it runs.
type Machine struct {
	AgentName string
	AgentID   string
	Work      string // this worker's own folder
	ToolCache string
	Services  task.Services // nil where the agent serves no VM
	Client    *rest.Client
	Version   string
	Tasks     Library // nil where only built-in tasks are known
	// NodeFolder holds a Node, or several, for tasks that come as packages; ""
	// leaves the tool cache and PATH.
	NodeFolder string
}

// job is one job while it runs.
type job struct {
	m       *run.JobMessage
	machine Machine
	link    Link
	masker  *mask.Masker
	dir     string // Pipeline.Workspace
	temp    string

	mu      sync.Mutex
	vars    map[string]run.Variable // by lower-case name
	outputs map[string]string       // step.variable
	paths   []string                // prepended to PATH, newest first
	number  string
	result  run.Result
}

// RunJob runs the steps of a job in order and returns how it ended. Canceling
// ctx cancels the job: the running step is interrupted, then killed; steps with
// always() still run. The error in Cause is ours; the user's failure is a
// result.
func RunJob(ctx context.Context, m *run.JobMessage, machine Machine, link Link) run.JobReport {
	traceCtx, span := telemetry.Start(ctx, "agent.RunJob", "job", m.Name)
	defer span.End()
	j := &job{m: m, machine: machine, link: link, masker: &mask.Masker{}, vars: map[string]run.Variable{}, outputs: map[string]string{}, result: run.Succeeded}
	if err := j.prepare(); err != nil {
		return run.JobReport{Result: run.Failed, Cause: "the agent could not prepare the job: " + err.Error()}
	}
	defer func() { _ = os.RemoveAll(j.temp) }()
	limit, stop := j.limit(traceCtx)
	defer stop()
	j.runSteps(limit)
	rep := run.JobReport{Result: j.result, Outputs: j.outputs, Number: j.number}
	if limit.Err() == context.DeadlineExceeded && ctx.Err() == nil {
		rep.Result, rep.Cause = run.Failed, fmt.Sprintf("the job ran longer than its %d minutes (timeoutInMinutes)", m.TimeoutInMinutes)
	} else if ctx.Err() != nil {
		rep.Result = run.Canceled
	}
	return rep
}

func (j *job) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if j.m.TimeoutInMinutes <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(j.m.TimeoutInMinutes)*time.Minute)
}

// prepare makes the folders and the variables of the job.
func (j *job) prepare() error {
	for _, v := range j.m.Variables {
		j.vars[strings.ToLower(v.Name)] = v
		if v.Secret {
			j.masker.Add(v.Value)
		}
	}
	j.masker.Add(j.m.AccessToken)
	j.dir = filepath.Join(j.machine.Work, j.m.PipelineID)
	j.temp = filepath.Join(j.machine.Work, "_temp")
	if j.m.WorkspaceClean == "all" {
		if err := os.RemoveAll(j.dir); err != nil {
			return err
		}
	}
	// What one job leaves in these must not reach the next.
	for _, dir := range []string{j.temp, filepath.Join(j.dir, "a"), filepath.Join(j.dir, "b"), filepath.Join(j.dir, "TestResults")} {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	for _, dir := range []string{"s", "a", "b", "TestResults"} {
		if err := os.MkdirAll(filepath.Join(j.dir, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(j.temp, 0o700); err != nil {
		return err
	}
	for name, value := range j.folders() {
		j.vars[strings.ToLower(name)] = run.Variable{Name: name, Value: value, ReadOnly: true}
	}
	j.vars["system.accesstoken"] = run.Variable{Name: "System.AccessToken", Value: j.m.AccessToken, Secret: true, ReadOnly: true}
	return nil
}

func (j *job) folders() map[string]string {
	in := func(name string) string { return filepath.Join(j.dir, name) }
	arch := map[string]string{"amd64": "X64", "arm64": "ARM64", "386": "X86"}[runtime.GOARCH]
	system := map[string]string{"linux": "Linux", "darwin": "Darwin", "windows": "Windows_NT"}[runtime.GOOS]
	host, _ := os.Hostname()
	v := map[string]string{
		"Pipeline.Workspace": j.dir, "Agent.BuildDirectory": j.dir, "Agent.WorkFolder": j.machine.Work, "Agent.HomeDirectory": filepath.Dir(j.machine.Work),
		"Build.SourcesDirectory": in("s"), "Build.Repository.LocalPath": in("s"), "System.DefaultWorkingDirectory": in("s"),
		"Build.ArtifactStagingDirectory": in("a"), "Build.StagingDirectory": in("a"), "System.ArtifactsDirectory": in("a"),
		"Build.BinariesDirectory": in("b"), "Common.TestResultsDirectory": in("TestResults"), "Agent.TempDirectory": j.temp,
		"Agent.ToolsDirectory": j.machine.ToolCache, "Agent.Name": j.machine.AgentName, "Agent.Id": j.machine.AgentID, "Agent.MachineName": host,
		"Agent.OS": system, "Agent.OSArchitecture": arch, "Agent.JobName": j.m.DisplayName, "Agent.Version": j.machine.Version,
		"Agent.JobStatus": "Succeeded", "System.WorkFolder": j.machine.Work,
	}
	if r, ok := j.m.Repositories["self"]; ok {
		v["Build.Repository.Name"], v["Build.Repository.Uri"] = r.Name, r.URL
	}
	return v
}

// Lookup returns a variable, ignoring case.
func (j *job) Lookup(name string) (string, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v, ok := j.vars[strings.ToLower(name)]
	return v.Value, ok
}

func (j *job) setVariable(name, value string, secret, readOnly bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := strings.ToLower(name)
	if old, ok := j.vars[key]; ok && old.ReadOnly {
		return fault.New(fault.Invalid, "variable-readonly", "Overwriting readonly variable '%s' is not permitted.", name)
	}
	if old := j.vars[key]; old.Secret {
		secret = true // a secret stays one
	}
	if secret {
		j.masker.Add(value)
	}
	j.vars[key] = run.Variable{Name: name, Value: value, Secret: secret, ReadOnly: readOnly}
	return nil
}

// environment is what a step's processes get: the agent's own variables that
// are safe to pass on, the job's without the secrets, then the step's.
func (j *job) environment(step map[string]string) []string {
	env := map[string]string{}
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR", "GOPROXY", "GOFLAGS", "GOCACHE", "GOMODCACHE", "GOPATH", "GOTOOLCHAIN", "GONOSUMDB", "GONOSUMCHECK", "GOSUMDB", "GOPRIVATE",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "JAVA_HOME", "DOTNET_ROOT", "NVM_DIR", "XDG_CACHE_HOME"} {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	j.mu.Lock()
	for _, v := range j.vars {
		if !v.Secret {
			env[envName(v.Name)] = v.Value
		}
	}
	if len(j.paths) > 0 {
		env["PATH"] = strings.Join(append(append([]string{}, j.paths...), env["PATH"]), string(os.PathListSeparator))
	}
	j.mu.Unlock()
	for name, value := range step {
		env[envName(name)] = pipeline.ExpandMacros(value, j.Lookup)
	}
	list := make([]string, 0, len(env))
	for k, v := range env {
		if !strings.ContainsAny(k, "=\x00") && !strings.Contains(v, "\x00") {
			list = append(list, k+"="+v)
		}
	}
	return list
}

// envName is how a variable's name stands in the environment.
func envName(name string) string {
	return strings.ToUpper(strings.NewReplacer(".", "_", " ", "_").Replace(name))
}

func (j *job) condition(ctx context.Context, step pipeline.Step) (bool, error) {
	status := map[run.Result]pipeline.Result{run.Succeeded: "Succeeded", run.SucceededWithIssues: "SucceededWithIssues", run.Failed: "Failed", run.Canceled: "Canceled"}[j.result]
	return pipeline.EvaluateCondition(step.Condition, pipeline.RuntimeContext{Slot: pipeline.SlotStepCondition, Variables: j.Lookup,
		JobStatus: status, Canceled: ctx.Err() != nil, Now: time.Now()})
}

// runStep runs one step, whatever happened before, if its condition says so.
func (j *job) runStep(ctx context.Context, s *step) {
	spec := s.spec
	s.report.DisplayName = j.title(spec)
	ok, err := j.condition(ctx, spec)
	if err != nil {
		s.begin()
		s.Print("##[error]condition: " + err.Error())
		s.issue("error", "condition: "+err.Error())
		s.end(run.Failed)
		j.worsen(run.Failed)
		return
	}
	if !ok || spec.Disabled {
		s.report.State, s.report.Result = run.Completed, run.Skipped
		j.link.Step(s.report)
		return
	}
	s.begin()
	result := s.attempts(ctx)
	if result == run.Failed && spec.ContinueOnError {
		result = run.SucceededWithIssues
	}
	s.end(result)
	j.worsen(result)
}

func (j *job) worsen(r run.Result) {
	rank := map[run.Result]int{run.Skipped: 0, run.Succeeded: 1, run.SucceededWithIssues: 2, run.Canceled: 3, run.Failed: 4}
	if rank[r] > rank[j.result] {
		j.result = r
	}
	status := map[run.Result]string{run.Succeeded: "Succeeded", run.SucceededWithIssues: "SucceededWithIssues", run.Failed: "Failed", run.Canceled: "Canceled"}[j.result]
	j.mu.Lock()
	j.vars["agent.jobstatus"] = run.Variable{Name: "Agent.JobStatus", Value: status, ReadOnly: true}
	j.mu.Unlock()
}

func (j *job) title(spec pipeline.Step) string {
	if spec.DisplayName != "" {
		return j.masker.Line(pipeline.ExpandMacros(spec.DisplayName, j.Lookup))
	}
	switch spec.Task {
	case pipeline.TaskCheckout:
		return "Checkout " + spec.Inputs["repository"]
	case pipeline.TaskDownload:
		return "Download " + spec.Inputs["source"]
	}
	return spec.Task
}
