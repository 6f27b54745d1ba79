package pipeline

import (
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
	"penstock.dev/penstock/internal/domain/pipeline/internal/template"
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

// Resolve is the job with what only the run could compute and all its legs
// share: deferred properties, and `$[ ]` or $(macros) in its names and pool. It
// is the job itself when there is nothing to compute. The error is the user's: a
// property came out as what it cannot be.
func (j *Job) Resolve(rc RuntimeContext) (*Job, error) {
	r := &resolver{rc: rc}
	c := *j
	c.DisplayName, c.Pool.Name = r.text("displayName", j.DisplayName), r.text("pool", j.Pool.Name)
	c.Pool.Demands = r.texts("demands", j.Pool.Demands)
	c.Deferred = nil
	strategy := Strategy{}
	if j.Strategy != nil {
		strategy = *j.Strategy
	}
	for key, text := range j.Deferred {
		switch value := r.text(key, text); key {
		case "continueOnError":
			c.ContinueOnError = r.boolean(key, value)
		case "timeoutInMinutes":
			c.TimeoutInMinutes = r.number(key, value, defaultTimeout)
		case "cancelTimeoutInMinutes":
			c.CancelTimeoutInMinutes = r.number(key, value, defaultCancelTimeout)
		case "parallel":
			strategy.Parallel = r.number(key, value, 0)
		case "maxParallel":
			strategy.MaxParallel = r.number(key, value, 0)
		}
	}
	if j.Strategy != nil {
		c.Strategy = &strategy
	}
	if r.err != nil {
		return nil, r.err
	}
	if !r.changed && len(j.Deferred) == 0 {
		return j, nil
	}
	return &c, nil
}

// Containers are the container and the services of one leg, whose variables may
// choose them. An expression without a value chooses none: the leg runs on the
// machine itself.
func (j *Job) Containers(rc RuntimeContext) (*Container, map[string]string, error) {
	r := &resolver{rc: rc}
	services := r.services(j.Services)
	if j.Container == nil {
		return nil, services, r.err
	}
	c := *j.Container
	if c.Image = r.text("container", c.Image); c.Image == "" && c.Alias == "" {
		return nil, services, r.err
	}
	return &c, services, r.err
}

// resolver computes values until the first mistake.
type resolver struct {
	rc      RuntimeContext
	changed bool
	err     error
}

func (r *resolver) text(key, text string) string {
	out := text
	if _, ok := runtimeExpression(text); ok {
		value, err := EvaluateExpression(text, r.rc)
		if err != nil && r.err == nil {
			r.err = fault.Wrap(err, fault.Invalid, "deferred-value", "`%s` cannot be computed", key)
		}
		out = value
	} else if strings.Contains(text, "$(") && r.rc.Variables != nil {
		out = ExpandMacros(text, r.rc.Variables)
	}
	r.changed = r.changed || out != text
	return out
}

func (r *resolver) texts(key string, texts []string) []string {
	var out []string
	for _, text := range texts {
		out = append(out, r.text(key, text))
	}
	return out
}

// services leaves those out whose expression has no value.
func (r *resolver) services(in map[string]string) map[string]string {
	if in == nil {
		return nil
	}
	out := map[string]string{}
	for name, text := range in {
		if value := r.text("services", text); value != "" {
			out[name] = value
		}
	}
	return out
}

func (r *resolver) number(key, text string, otherwise int) int {
	if strings.TrimSpace(text) == "" {
		return otherwise
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if (err != nil || n < 0) && r.err == nil {
		r.err = fault.New(fault.Invalid, "deferred-value", "`%s` is a whole number, at least 0", key).Got("%s", text)
	}
	return n
}

func (r *resolver) boolean(key, text string) bool {
	if strings.TrimSpace(text) == "" {
		return false
	}
	b, ok := template.ParseBool(text)
	if !ok && r.err == nil {
		r.err = fault.New(fault.Invalid, "deferred-value", "`%s` is a boolean", key).Want("true or false").Got("%s", text)
	}
	return b
}
