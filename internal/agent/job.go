package agent

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/internal/agent/process"
	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/mask"
	"penstock.dev/penstock/internal/base/rest"
	"penstock.dev/penstock/internal/base/telemetry"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/serviceconnection"
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
	CacheDir  string        // of Cache@2; "" = beside the tool cache
	Services  task.Services // nil where the agent serves no VM
	Client    *rest.Client
	Records   task.Records  // artifacts and test results; nil = those of the server
	Outcomes  task.Outcomes // attachments, coverage, tags and links; nil = those of the server
	// After is time.After where it is nil; waits between attempts, and before a
	// program is ended by force, go through it.
	After func(time.Duration) <-chan time.Time
	Tasks Library // nil where only built-in tasks are known
	// NodeFolder holds a Node, or several, for tasks that come as packages; ""
	// leaves the tool cache and PATH.
	NodeFolder string
	Local      Local
	Mark       string // in the environment of everything the job starts; "" = a new one
}

// job is one job while it runs.
type job struct {
	m       *run.JobMessage
	machine Machine
	link    Link
	masker  *mask.Masker
	dir     string // Pipeline.Workspace
	temp    string
	mark    string // in the environment of everything the job starts
	// containers are nil where the job has none.
	containers *containers

	mu            sync.Mutex
	vars          map[string]run.Variable // by lower-case name
	written       map[string]run.Variable // of vars those with macros, as they were set
	keepCase      map[string]bool         // variables whose environment name keeps its case
	outputs       map[string]string       // step.variable
	secretOutputs map[string]bool
	conns         []*serviceconnection.Opened
	paths         []string // prepended to PATH, newest first
	number        string
	debug         bool     // System.Debug, as the job began
	short         []string // secret variables that are too short to be masked
	shortSaid     bool
	pathSaid      bool
	result        run.Result
	cause         string // of a failure that was not a program's doing
	canceled      bool
	overran       bool               // a step was not done within the time that a cancel leaves
	abort         context.CancelFunc // ends the job as a cancel does
}

// RunJob runs the steps of a job in order and returns how it ended. Canceling
// ctx cancels the job: the running step is interrupted, then killed; steps with
// always() still run. The error in Cause is ours; the user's failure is a
// result.
func RunJob(ctx context.Context, m *run.JobMessage, machine Machine, link Link) run.JobReport {
	traceCtx, span := telemetry.Start(ctx, "agent.RunJob", "job", m.Name)
	defer span.End()
	if machine.After == nil {
		machine.After = time.After
	}
	if machine.Records == nil {
		machine.Records = &task.Remote{Client: machine.Client}
	}
	if machine.Outcomes == nil {
		machine.Outcomes = &task.Remote{Client: machine.Client}
	}
	j := &job{m: m, machine: machine, link: link, masker: &mask.Masker{}, mark: cmp.Or(machine.Mark, newMark()), vars: map[string]run.Variable{}, written: map[string]run.Variable{}, keepCase: map[string]bool{},
		outputs: map[string]string{}, secretOutputs: map[string]bool{}, result: run.Succeeded}
	if err := j.prepare(); err != nil {
		return run.JobReport{Result: run.Failed, Cause: j.masker.Line("the agent could not prepare the job: " + err.Error())}
	}
	defer func() { _ = os.RemoveAll(j.temp) }()
	marks.Store(j.mark, true)
	defer marks.Delete(j.mark)
	limit, stop := j.limit(traceCtx)
	defer stop()
	j.abort = stop
	j.runSteps(limit)
	if clean, ok := j.Lookup("process.clean"); !ok || !strings.EqualFold(clean, "false") {
		process.EndMarked(j.mark)
	}
	rep := run.JobReport{Result: j.result, Outputs: j.outputs, Secret: slices.Sorted(maps.Keys(j.secretOutputs)), Holding: j.holding(), Number: j.masker.Line(j.number)}
	if limit.Err() == context.DeadlineExceeded && ctx.Err() == nil {
		// As on the service the job is canceled, and has failed only if it did not end in time.
		if rep.Result = run.Canceled; j.overran {
			rep.Result = run.Failed
		}
		rep.Cause = fmt.Sprintf("the job ran longer than its %d minutes (timeoutInMinutes)", m.TimeoutInMinutes)
	} else if limit.Err() != nil {
		rep.Result = run.Canceled
	} else if rep.Result == run.Failed {
		rep.Cause = j.masker.Line(j.cause)
	}
	return rep
}

// holding are the outputs that are no secrets and have one in their values.
func (j *job) holding() (names []string) {
	for name, value := range j.outputs {
		if !j.secretOutputs[name] && j.masker.Line(value) != value {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func newMark() string { return "vsts_" + id.New() }

// marks are those of the jobs that run in this process.
var marks sync.Map

// EndAll kills what the jobs of this process have started, for a process that
// ends without waiting for them.
func EndAll() {
	marks.Range(func(mark, _ any) bool {
		process.EndMarked(mark.(string))
		return true
	})
}

// runSteps runs what comes before any step, the steps, and what comes after
// all of them, the latter in reverse order.
func (j *job) runSteps(ctx context.Context) {
	steps, refs := make([]*step, len(j.m.Steps)), pipeline.RefNames(j.m.Steps)
	for i, spec := range j.m.Steps {
		s := &step{job: j, order: i + 1, spec: spec, ref: refs[i], jobCtx: ctx, private: map[string]run.Variable{}}
		s.usePackage(ctx)
		s.report.Order, s.report.DisplayName = s.order, j.title(s.spec)
		steps[i] = s
	}
	if len(steps) > 0 {
		j.initialize(ctx, steps[0])
		defer func() { j.stopContainers(steps[len(steps)-1]) }()
	}
	for _, s := range steps {
		j.runBefore(ctx, s)
	}
	for _, s := range steps {
		j.runStep(ctx, s)
	}
	for i := len(steps) - 1; i >= 0; i-- {
		j.runAfter(ctx, steps[i])
	}
}

func (j *job) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if j.m.TimeoutInMinutes <= 0 || j.machine.Local.Break != nil { // a person's time is not the job's
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(j.m.TimeoutInMinutes)*time.Minute)
}

// prepare makes the folders and the variables of the job.
func (j *job) prepare() error {
	for _, v := range j.m.Variables {
		j.vars[strings.ToLower(v.Name)] = v
		if v.Secret && j.masker.Add(v.Value) > 0 {
			j.short = append(j.short, v.Name)
		}
	}
	j.masker.Add(j.m.AccessToken)
	j.connections()
	j.dir = filepath.Join(j.machine.Work, j.m.PipelineID)
	if old := j.machine.Local.Replay; old != nil && j.machine.Local.Kept {
		j.machine.Work, j.dir = old.Work, old.Variables["Pipeline.Workspace"]
	}
	j.temp = filepath.Join(j.machine.Work, "_temp")
	// What one job leaves in these must not reach the next.
	stale := append([]string{j.temp, filepath.Join(j.dir, "a"), filepath.Join(j.dir, "TestResults")}, j.cleaned()...)
	if j.machine.Local.Kept {
		stale = []string{j.temp}
	}
	for _, dir := range stale {
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
	j.sources()
	if name, ok := j.Lookup("Build.Repository.Name"); ok {
		j.vars["pipeline.repository.name"] = run.Variable{Name: "Pipeline.Repository.Name", Value: name, ReadOnly: true}
	}
	if over, _ := j.lookupOrOS("VSTS_OVERWRITE_TEMP"); strings.EqualFold(over, "true") {
		j.vars["tmpdir"] = run.Variable{Name: "TMPDIR", Value: j.temp}
	}
	j.vars["system.accesstoken"] = run.Variable{Name: "System.AccessToken", Value: j.m.AccessToken, Secret: true, ReadOnly: true}
	for key, v := range j.vars {
		j.note(key, v)
	}
	j.resolve()
	j.debug = j.isTrue("System.Debug")
	return nil
}

// cleaned are the folders that `workspace: clean:` names, or else a variable,
// which counts more.
func (j *job) cleaned() []string {
	how := strings.ToLower(j.m.WorkspaceClean)
	for _, name := range []string{"Build.Clean", "Agent.Clean.BuildDirectory"} {
		value, _ := j.Lookup(name)
		if said, known := map[string]string{"none": "", "source": "resources", "binary": "outputs", "all": "all"}[strings.ToLower(strings.TrimSpace(value))]; known {
			how = said
		}
	}
	switch how {
	case "all":
		return []string{j.dir}
	case "resources":
		return []string{filepath.Join(j.dir, "s")}
	case "outputs":
		return []string{filepath.Join(j.dir, "b")}
	}
	return nil
}

func (j *job) condition(ctx context.Context, step pipeline.Step) (bool, error) {
	if ctx.Err() != nil && !j.canceled {
		j.canceled = true
		j.put("Agent.JobStatus", "Canceled")
	}
	return j.holds(step, j.result, ctx.Err() != nil)
}

var statusNames = map[run.Result]pipeline.Result{run.Succeeded: "Succeeded", run.SucceededWithIssues: "SucceededWithIssues", run.Failed: "Failed", run.Canceled: "Canceled"}

func (j *job) holds(step pipeline.Step, result run.Result, canceled bool) (bool, error) {
	return pipeline.EvaluateCondition(step.Condition, j.seen(result, canceled))
}

// seen is what a step's condition may speak of.
func (j *job) seen(result run.Result, canceled bool) pipeline.RuntimeContext {
	return pipeline.RuntimeContext{Slot: pipeline.SlotStepCondition, Variables: j.Lookup, JobStatus: statusNames[result], Canceled: canceled, Now: time.Now()}
}

// tellCondition says in the log why the step is skipped, and in the log of a job
// that is debugged how the condition of every step came out.
func (s *step) tellCondition(ctx context.Context, held bool) {
	if held && !s.debug || s.spec.Disabled {
		return
	}
	first, mark := run.SkipLine, ""
	if held {
		first, mark = "Evaluating condition for step: '"+s.report.DisplayName+"'", "##[debug]"
	}
	s.Print(mark + first)
	for _, line := range pipeline.TellCondition(s.spec.Condition, s.seen(s.result, ctx.Err() != nil)) {
		s.Print(mark + line)
	}
}

// runStep runs one step, whatever happened before, if its condition says so.
func (j *job) runStep(ctx context.Context, s *step) {
	if s.spent {
		return
	}
	spec := s.spec
	s.name()
	s.report.DisplayName = j.title(spec)
	ok, err := j.condition(ctx, spec)
	if err != nil {
		s.start()
		j.worsen(s.finish(s.fail("condition: " + message(err))))
		return
	}
	s.tellCondition(ctx, ok)
	if why := s.leftOut(); why != "" && ok && !spec.Disabled {
		s.Issue("warning", "the step is skipped: "+why)
		ok = false
	}
	if !ok || spec.Disabled {
		s.report.State, s.report.Result = run.Completed, run.Skipped
		s.send()
		return
	}
	s.start()
	j.warnOfPath(s)
	j.warnOfShort(s)
	result := s.observed(ctx)
	if result == run.Failed && !spec.ContinueOnError && s.cause != "" && j.cause == "" {
		j.cause = s.report.DisplayName + ": " + s.cause
	}
	if result == run.Failed && spec.ContinueOnError {
		result = run.SucceededWithIssues
	}
	j.worsen(s.finish(result))
}

// worsen merges the result of a step into that of the job. Only issues and
// failures count: what a cancel leaves is known from the cancel.
func (j *job) worsen(r run.Result) {
	if r == run.Failed || r == run.SucceededWithIssues && j.result == run.Succeeded {
		j.result = r
	}
	if !j.canceled {
		j.put("Agent.JobStatus", string(statusNames[j.result]))
	}
}

func (j *job) title(spec pipeline.Step) string {
	if spec.DisplayName != "" {
		return pipeline.ExpandMacros(spec.DisplayName, j.Lookup)
	}
	switch spec.Task {
	case pipeline.TaskCheckout:
		return pipeline.ExpandMacros(j.m.CheckoutTitle(spec), j.Lookup)
	case pipeline.TaskDownload:
		return "Download " + spec.Inputs["source"]
	}
	return spec.Task
}
