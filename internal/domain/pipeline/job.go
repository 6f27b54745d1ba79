package pipeline

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Defaults of a job, in minutes.
const (
	defaultTimeout       = 60
	defaultCancelTimeout = 5
	maxCancelTimeout     = 35790
)

var (
	jobShape        = grammar.Job.Shape()
	deploymentShape = grammar.Deployment.Shape()
	workspaceShape  = grammar.Workspace.Shape()
	usesShape       = grammar.Uses.Shape()
)

func (d *decoder) jobs(n *syntax.Node, pool Pool) []Job {
	out := []Job{}
	u := &names{d: d, noun: "job", taken: map[string]bool{}}
	g := &graph{d: d, noun: "job"}
	items := d.list(n, "`jobs`")
	if len(items) > maxJobsPerStage {
		d.report.Error(items[maxJobsPerStage], "too-many-jobs", "the stage has too many jobs").Want("at most %d jobs", maxJobsPerStage).Got("%d jobs", len(items))
		items = items[:maxJobsPerStage]
	}
	for _, item := range items {
		job, dependsOn, ok := d.job(item, u, pool)
		if !ok {
			continue
		}
		g.add(job.Name, &job.DependsOn, dependsOn, item)
		out = append(out, job)
	}
	for i, deps := range g.check() {
		out[i].DependsOn = deps
	}
	return out
}

func (d *decoder) job(item *syntax.Node, u *names, pool Pool) (job Job, dependsOn *syntax.Node, ok bool) {
	if item.Kind == syntax.Mapping && item.Get("job") == nil && item.Get("deployment") == nil {
		p := d.report.Error(item, "missing-key", "an entry of `jobs` is a job, a deployment or a template").Want("job: …, deployment: … or template: …")
		if item.Get("stage") != nil {
			p.Got("a stage").Try("put it under stages:")
		}
		return job, nil, false
	}
	shape, kind := jobShape, "job"
	if item.Get("deployment") != nil {
		shape, kind = deploymentShape, "deployment"
	}
	if name := item.Get(kind); name != nil && name.Text != "" {
		defer d.report.Enter(kind + " " + name.Text)()
	}
	f, ok := syntax.ReadFields(d.report, item, shape)
	if !ok {
		return job, nil, false
	}
	u.noun = kind
	job = Job{Name: u.claim(f.Get(kind)), Origin: originOf(item)}
	if kind == "deployment" && strings.EqualFold(job.Name, "deploy") {
		d.report.Warn(f.Get(kind), "reserved-name", "`deploy` is a reserved word; as the name of a deployment it makes outputs ambiguous").Try("choose another name")
	}
	job.DisplayName = d.key(f, "displayName")
	if job.DisplayName == "" {
		job.DisplayName = job.Name
	}
	dependsOn = f.Get("dependsOn")
	job.DependsOn = d.texts(dependsOn, "`dependsOn`")
	job.Condition = d.condition(f, SlotJobCondition)
	if kind == "deployment" {
		d.jobProperties(&job, f, pool)
		job.Deployment = d.deployment(f, job.Pool.Server)
		return job, dependsOn, true
	}
	d.jobBody(&job, f, pool)
	return job, dependsOn, true
}

// jobBody reads what a job has in common with `steps` at the root.
func (d *decoder) jobBody(job *Job, f syntax.Fields, pool Pool) {
	d.jobProperties(job, f, pool)
	job.Strategy = d.strategy(f.Get("strategy"), job)
	if !f.Has("steps") {
		d.report.Error(f.Node, "missing-key", "job %s has no steps", job.Name).Want("steps: …")
		return
	}
	job.Steps = d.steps(f.Get("steps"), job.Pool.Server)
	if !job.Pool.Server {
		job.Steps = d.withCheckout(job.Steps, job.Origin)
	}
}

// withCheckout puts the implied checkout in front, and takes `checkout: none` out.
func (d *decoder) withCheckout(steps []Step, origin Origin) []Step {
	out := []Step{}
	written := false
	for _, s := range steps {
		if s.Task == TaskCheckout {
			written = true
			if strings.EqualFold(s.Inputs["repository"], "none") {
				continue
			}
		}
		out = append(out, s)
	}
	if !written {
		implied := Step{Task: TaskCheckout, Version: "1", Inputs: map[string]string{"repository": "self"}, Origin: origin}
		out = append([]Step{implied}, out...)
	}
	for _, s := range out {
		if s.Task != TaskCheckout || !strings.EqualFold(s.Inputs["repository"], "self") {
			continue
		}
		for key, value := range d.selfCheckout {
			if _, written := s.Inputs[key]; !written {
				s.Inputs[key] = value
			}
		}
	}
	return out
}

// jobProperties reads what jobs and deployments share.
func (d *decoder) jobProperties(job *Job, f syntax.Fields, pool Pool) {
	job.TimeoutInMinutes, job.CancelTimeoutInMinutes = defaultTimeout, defaultCancelTimeout
	if !d.later(job, f, "timeoutInMinutes") {
		job.TimeoutInMinutes = d.integer(f, "timeoutInMinutes", defaultTimeout, 0)
	}
	if !d.later(job, f, "cancelTimeoutInMinutes") {
		job.CancelTimeoutInMinutes = d.integer(f, "cancelTimeoutInMinutes", defaultCancelTimeout, 0)
		if job.CancelTimeoutInMinutes > maxCancelTimeout {
			d.report.Error(f.Get("cancelTimeoutInMinutes"), "expected-number", "`cancelTimeoutInMinutes` is too large").Want("at most %d", maxCancelTimeout)
		}
	}
	if !d.later(job, f, "continueOnError") {
		job.ContinueOnError = d.boolean(f, "continueOnError", false)
	}
	job.Pool = d.pool(f.Get("pool"), pool)
	job.Container = d.container(f.Get("container"), job.Name)
	job.Services = d.services(f.Get("services"), job.Name)
	if ws := f.Get("workspace"); ws != nil && !ws.IsEmpty() {
		if inner, ok := syntax.ReadFields(d.report, ws, workspaceShape); ok {
			job.WorkspaceClean = d.choice(inner, "clean", "outputs", "resources", "all")
		}
	}
	if f.Key("job") != nil || f.Key("deployment") != nil {
		job.Variables = d.variables(f.Get("variables"), SlotJobVariable)
	}
	if uses := f.Get("uses"); uses != nil && !uses.IsEmpty() {
		if inner, ok := syntax.ReadFields(d.report, uses, usesShape); ok {
			job.UsesRepositories = d.texts(inner.Get("repositories"), "`repositories`")
			job.UsesPools = d.texts(inner.Get("pools"), "`pools`")
		}
	}
}

// later keeps a property for the run when only the run can compute it.
func (d *decoder) later(job *Job, f syntax.Fields, key string) bool {
	text, ok := d.deferred(f.Get(key))
	if ok {
		if job.Deferred == nil {
			job.Deferred = map[string]string{}
		}
		job.Deferred[key] = text
	}
	return ok
}
