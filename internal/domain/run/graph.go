package run

import (
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/domain/deployment"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/pipeline"
)

// graph is a run with everything below it, as loaded. advance changes it in
// memory and says what must happen outside; it does no I/O.
type graph struct {
	run      *Run
	plan     *pipeline.Plan
	stages   []*Stage // latest attempt of each, in the file's order
	phases   []*Phase // of those attempts
	jobs     []*Job
	all      *Detail           // with earlier attempts
	groups   map[string]string // values of variable groups without the secrets
	settings map[string]string // variables of the pipeline's settings
	now      time.Time
	next     func(key string, first int) int // takes a number; nil: there are no counters

	sealer Sealer
	opened []string // values of secret output variables that were looked at
	broken error    // one could not be opened

	dirty   map[any]bool
	effects effects
}

// effects are what leaves after the save.
type effects struct {
	queue   []*Job      // ask for an agent
	serve   []*Job      // run on the server
	cancel  []*Job      // ask to end
	again   []time.Time // look at the run again
	pin     []*Phase    // resolve the targets of a deployment
	settled []*Phase    // deployments that have ended
	ended   []*Stage    // release their locks
	done    bool        // the run has completed
}

// planResult turns a result into the spelling of expressions, and back.
var planResult = map[Result]pipeline.Result{Succeeded: "Succeeded", SucceededWithIssues: "SucceededWithIssues",
	Failed: "Failed", Canceled: "Canceled", Skipped: "Skipped", Abandoned: "Failed"}

var fromPlan = map[pipeline.Result]Result{"Succeeded": Succeeded, "SucceededWithIssues": SucceededWithIssues,
	"Failed": Failed, "Canceled": Canceled, "Skipped": Skipped}

// ready lists the stages that would start if their checks passed.
func (g *graph) ready() []*Stage {
	var list []*Stage
	for _, s := range g.stages {
		if s.State != Pending || !g.depsDone(s.DependsOn) {
			continue
		}
		if ok, err := g.stageCondition(s); ok && err == nil {
			list = append(list, s)
		}
	}
	return list
}

func (g *graph) stage(name string) *Stage {
	for _, s := range g.stages {
		if strings.EqualFold(s.Name, name) {
			return s
		}
	}
	return nil
}

func (g *graph) depsDone(names []string) bool {
	for _, n := range names {
		if s := g.stage(n); s != nil && s.State != Completed {
			return false
		}
	}
	return true
}

// advance carries the run as far as it goes now; what it changes is dirty. Verdicts hold the answer of
// the checks for each stage that ready named.
func (g *graph) advance(verdicts map[string]environment.Verdict) {
	if g.run.State == Completed {
		return
	}
	if g.run.State == Pending {
		g.run.State, g.run.Started = InProgress, g.now
		g.dirty[g.run] = true
	}
	for changed := true; changed; {
		changed = false
		for _, s := range g.stages {
			changed = g.advanceStage(s, verdicts) || changed
		}
	}
	if slices.ContainsFunc(g.stages, func(s *Stage) bool { return s.State != Completed }) {
		return
	}
	g.run.State, g.run.Result, g.run.Finished = Completed, g.runResult(), g.now
	g.dirty[g.run], g.effects.done = true, true
}

func (g *graph) advanceStage(s *Stage, verdicts map[string]environment.Verdict) bool {
	switch s.State {
	case Pending:
		return g.startStage(s, verdicts)
	case InProgress:
		changed := false
		for _, p := range g.phases {
			if p.Stage == s.Name {
				changed = g.advancePhase(s, p) || changed
			}
		}
		return g.finishStage(s) || changed
	}
	return false
}

func (g *graph) endStage(s *Stage, r Result, cause string) bool {
	s.State, s.Result, s.Cause, s.Waits, s.Finished = Completed, r, cause, "", g.now
	g.dirty[s] = true
	g.effects.ended = append(g.effects.ended, s)
	return true
}

func (g *graph) startStage(s *Stage, verdicts map[string]environment.Verdict) bool {
	if !g.depsDone(s.DependsOn) {
		return false
	}
	ok, err := g.stageCondition(s)
	switch {
	case err != nil:
		return g.endStage(s, Failed, "condition: "+err.Error())
	case !ok && g.run.CancelRequested:
		return g.endStage(s, Canceled, "the run was canceled")
	case !ok:
		return g.endStage(s, Skipped, "its condition was false")
	}
	v, asked := verdicts[s.Name]
	if !asked {
		return false // became ready in this pass; its checks are asked in the next
	}
	switch v.State {
	case environment.Reject:
		return g.endStage(s, Failed, v.Reason)
	case environment.Skip:
		return g.endStage(s, Skipped, v.Reason)
	case environment.Supersede:
		return g.endStage(s, Canceled, v.Reason)
	case environment.Wait:
		if s.Waits != v.Reason || !s.Checking || !s.Until.Equal(v.Until) {
			s.Checking, s.Waits, s.Until = true, v.Reason, v.Until
			g.dirty[s] = true
			if v.Until.After(g.now) {
				g.effects.again = append(g.effects.again, v.Until)
			}
		}
		return false
	}
	s.State, s.Started, s.Waits = InProgress, g.now, ""
	g.dirty[s] = true
	for i, j := range g.plan.Stage(s.Name).Jobs {
		if g.phase(s.Name, j.Name) != nil {
			continue // it stands as an earlier attempt left it
		}
		p := &Phase{ID: phaseID(g.run.ID, s.Name, j.Name, s.Attempt), RunID: g.run.ID, Stage: s.Name, Name: j.Name,
			DisplayName: j.DisplayName, Order: i, Attempt: s.Attempt, State: Pending}
		g.phases = append(g.phases, p)
		g.dirty[p] = true
	}
	return true
}

// order of results from best to worst.
var severity = []Result{Skipped, Succeeded, SucceededWithIssues, Canceled, Abandoned, Failed}

func worst(a, b Result) Result {
	if slices.Index(severity, b) > slices.Index(severity, a) {
		return b
	}
	return a
}

func (g *graph) finishStage(s *Stage) bool {
	result := Skipped
	for _, p := range g.phases {
		if p.Stage != s.Name {
			continue
		}
		if p.State != Completed {
			return false
		}
		result = worst(result, p.Result)
	}
	if len(g.plan.Stage(s.Name).Jobs) == 0 {
		result = Succeeded // what has nothing to do has left nothing out
	}
	return g.endStage(s, result, "")
}

func (g *graph) runResult() Result {
	result := Skipped
	for _, s := range g.stages {
		result = worst(result, s.Result)
	}
	switch {
	case g.run.CancelRequested && result != Failed:
		return Canceled
	case result == Skipped:
		return Succeeded
	}
	return result
}

func (g *graph) phase(stage, name string) *Phase {
	for _, p := range g.phases {
		if strings.EqualFold(p.Stage, stage) && strings.EqualFold(p.Name, name) {
			return p
		}
	}
	return nil
}

func (g *graph) jobsOf(p *Phase) []*Job {
	var list []*Job
	for _, j := range g.jobs {
		if j.Stage == p.Stage && j.Phase == p.Name && j.Of(p.Attempt) {
			list = append(list, j)
		}
	}
	return list
}

// tolerated is the result of a `job:` as everything sees it that waits for it or
// holds it; the jobs that were carried out keep their own.
func tolerated(spec *pipeline.Job, r Result) Result {
	if r == Failed && spec.ContinueOnError {
		return SucceededWithIssues
	}
	return r
}

func (g *graph) endPhase(p *Phase, r Result, cause string) bool {
	p.State, p.Result, p.Cause, p.Finished, p.Pinning = Completed, tolerated(g.spec(p), r), cause, g.now, false
	g.dirty[p] = true
	if p.Rollout != nil {
		g.effects.settled = append(g.effects.settled, p)
	}
	return true
}

// spec is the job as the run carries it out.
func (g *graph) spec(p *Phase) *pipeline.Job {
	if p.Spec != nil {
		return p.Spec
	}
	return g.plan.Stage(p.Stage).Job(p.Name)
}

// spec is the job of the file that a job is an execution of.
func (d *Detail) spec(j *Job) *pipeline.Job {
	for _, p := range d.Phases {
		if p.Stage == j.Stage && p.Name == j.Phase && p.Attempt == j.Attempt && p.Spec != nil {
			return p.Spec
		}
	}
	return d.Plan.Stage(j.Stage).Job(j.Phase)
}

func (g *graph) advancePhase(s *Stage, p *Phase) bool {
	spec := g.spec(p)
	switch p.State {
	case Pending:
		return g.startPhase(s, p, spec)
	case InProgress:
		if spec.Deployment != nil {
			return g.advanceRollout(p, spec)
		}
		return g.advanceJobs(p, spec)
	}
	return false
}

func (g *graph) startPhase(s *Stage, p *Phase, spec *pipeline.Job) bool {
	for _, dep := range spec.DependsOn {
		if d := g.phase(s.Name, dep); d != nil && d.State != Completed {
			return false
		}
	}
	ok, err := g.jobCondition(s, spec)
	switch {
	case err != nil:
		return g.endPhase(p, Failed, "condition: "+err.Error())
	case !ok && g.stops(s.Started):
		return g.endPhase(p, Canceled, "the run was canceled")
	case !ok:
		return g.endPhase(p, Skipped, "its condition was false")
	}
	p.State, p.Started = InProgress, g.now
	g.dirty[p] = true
	resolved, err := spec.Resolve(g.jobContext(s.Name, spec, pipeline.SlotJobVariable))
	if err != nil {
		return g.endPhase(p, Failed, describe(err))
	}
	if resolved != spec {
		p.Spec, p.DisplayName, spec = resolved, resolved.DisplayName, resolved
	}
	if spec.Deployment != nil {
		p.Pinning = true
		g.effects.pin = append(g.effects.pin, p)
		return true
	}
	legs, err := g.legs(s, spec)
	if err != nil {
		return g.endPhase(p, Failed, err.Error())
	}
	stand := g.jobsOf(p) // that went well in an earlier attempt
	for i, leg := range legs {
		if slices.ContainsFunc(stand, func(j *Job) bool { return j.Name == leg.Name }) {
			continue
		}
		pool := spec.Pool
		pool.Name = ofLeg(leg.Variables, pool.Name)
		g.addJob(p, newJob{name: leg.Name, display: legDisplay(spec, leg), order: i, leg: leg.Variables, steps: spec.Steps, pool: pool})
	}
	return true
}

func legDisplay(spec *pipeline.Job, leg pipeline.MatrixEntry) string {
	switch {
	case leg.Name == spec.Name && leg.Variables == nil: // the job itself
		return spec.DisplayName
	case spec.Strategy.Parallel > 1:
		return spec.DisplayName + " " + strings.TrimPrefix(leg.Name, "Job")
	}
	return spec.DisplayName + " " + leg.Name
}

type newJob struct {
	name, display string
	order         int
	leg           map[string]string
	steps         []pipeline.Step
	pool          pipeline.Pool
	hook          deployment.HookJob
}

func (g *graph) addJob(p *Phase, n newJob) *Job {
	j := &Job{ID: id.New(), RunID: g.run.ID, Stage: p.Stage, Phase: p.Name, Name: n.name, DisplayName: n.display, Order: n.order,
		Attempt: p.Attempt, State: Pending, Server: n.pool.Server, PoolName: n.pool.Name, Leg: n.leg, Queued: g.now,
		Hook: n.hook.Hook, Target: n.hook.Target, Increment: n.hook.Increment}
	for i, ref := range pipeline.RefNames(n.steps) {
		step := n.steps[i]
		j.Steps = append(j.Steps, Step{Order: i + 1, Name: step.Name, Ref: ref, DisplayName: stepTitle(step), Task: step.Task + "@" + step.Version, State: Pending})
	}
	g.jobs = append(g.jobs, j)
	g.dirty[j] = true
	return j
}

func stepTitle(s pipeline.Step) string {
	if s.DisplayName != "" {
		return s.DisplayName
	}
	return s.Task
}

// advanceJobs starts the legs that may run and ends the phase with its last one.
func (g *graph) advanceJobs(p *Phase, spec *pipeline.Job) bool {
	limit := len(g.jobs)
	if spec.Strategy != nil && spec.Strategy.MaxParallel > 0 {
		limit = spec.Strategy.MaxParallel
	}
	jobs := g.jobsOf(p)
	running, open := 0, 0
	result := Skipped
	for _, j := range jobs {
		if j.State != Completed {
			open++
			if j.Asked {
				running++
			}
			continue
		}
		result = worst(result, j.Result)
	}
	changed := false
	for _, j := range jobs {
		if j.State == Completed || j.Asked {
			g.cancelIfAsked(j)
			continue
		}
		if g.stops(j.Queued) {
			j.State, j.Result, j.Finished = Completed, Canceled, g.now
			g.dirty[j], changed = true, true
			continue
		}
		if running < limit {
			g.ask(j)
			running++
		}
	}
	if open == 0 {
		p.Outputs = g.phaseOutputs(p, jobs)
		return g.endPhase(p, result, "")
	}
	return changed
}

func (g *graph) ask(j *Job) {
	j.Asked = true
	g.dirty[j] = true
	if j.Server {
		g.effects.serve = append(g.effects.serve, j)
	} else {
		g.effects.queue = append(g.effects.queue, j)
	}
}

// stops says whether the cancel of the run ends what began at a time. What its
// condition began after the cancel is spared, with everything in it: the jobs of
// such a stage run as if nothing had happened.
func (g *graph) stops(began time.Time) bool {
	return g.run.CancelRequested && !began.After(g.run.CanceledAt)
}

func (g *graph) cancelIfAsked(j *Job) {
	if g.stops(j.Queued) && j.State != Completed && !j.CancelRequested {
		j.CancelRequested = true
		g.dirty[j] = true
		g.effects.cancel = append(g.effects.cancel, j)
	}
}

// phaseOutputs gathers output variables under the names that expressions use:
// step.variable of a plain job, leg.step.variable of a matrix. Those of a
// deployment have every name that is documented and in use: the job's, the
// hook's, and none in front; a later hook or machine takes the shorter ones.
func (g *graph) phaseOutputs(p *Phase, jobs []*Job) map[string]string {
	out := map[string]string{}
	for _, j := range jobs {
		prefixes := []string{j.Name + "."}
		switch {
		case j.Hook != "":
			prefixes = append(prefixes, "", p.Name+".", j.Hook+".")
		case !j.leg():
			prefixes[0] = ""
		case j.Instance() != j.Name:
			prefixes = append(prefixes, j.Instance()+".")
		}
		for k, v := range j.Outputs {
			for _, prefix := range prefixes {
				out[prefix+k] = v
			}
		}
	}
	return out
}
