package pipeline

import (
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline/internal/grammar"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// The names of what the file leaves out.
const (
	DefaultStage        = "__default" // of `jobs:` or `steps:` at the root
	DefaultJob          = "Job"       // of `steps:` at the root
	DefaultNumberFormat = "$(Date:yyyyMMdd).$(Rev:r)"
)

var rootShape = grammar.Pipeline.Shape()

var bodyKeys = []string{"stages", "jobs", "steps"}

// onlyWithSteps are keys of the implied job.
var onlyWithSteps = []string{"strategy", "continueOnError", "container", "services", "workspace"}

func (d *decoder) plan(root *syntax.Node) *Plan {
	p := &Plan{Version: PlanVersion}
	if old := root.Get("phases"); old != nil {
		d.report.Error(old, "old-form", "`phases` is an old name of `jobs`").Try("write jobs:, and pool: instead of queue:")
	}
	shape := rootShape
	if root.Get("phases") != nil {
		shape.Keys = append([]string{"phases"}, shape.Keys...)
	}
	f, ok := syntax.ReadFields(d.report, root, shape)
	if !ok {
		return p
	}
	p.NumberFormat = d.key(f, "name")
	p.LockBehavior = d.choice(f, "lockBehavior", "sequential", "runLatest")
	d.boolean(f, "appendCommitMessageToRunName", true)
	p.Trigger = d.trigger(f.Get("trigger"), triggerKeys)
	p.PR = d.trigger(f.Get("pr"), pullRequestKeys)
	p.Schedules = d.schedules(f.Get("schedules"))
	p.Resources = d.resources(f.Get("resources"))
	d.containers, d.pipelines = p.Resources.Containers, p.Resources.Pipelines
	if d.head {
		return p
	}
	p.Variables = d.variables(f.Get("variables"), SlotStageVariable)
	pool := d.pool(f.Get("pool"), Pool{})
	p.Stages = d.body(f, root, pool)
	p.Resources.Containers = d.containers
	return p
}

// body reads whichever of stages, jobs and steps the root has.
func (d *decoder) body(f syntax.Fields, root *syntax.Node, pool Pool) []Stage {
	var found []string
	for _, key := range bodyKeys {
		if f.Has(key) {
			found = append(found, key)
		}
	}
	if len(found) > 1 {
		d.report.Error(f.Key(found[1]), "two-bodies", "a pipeline has either %s or %s", found[0], found[1]).
			Want("one of stages, jobs, steps, extends").Got("%s", strings.Join(found, " and "))
	}
	if len(found) == 0 {
		if !root.Bad && root.Get("phases") == nil {
			d.report.Error(root, "no-body", "the pipeline does nothing").Want("stages, jobs, steps or extends").Try("add steps:")
		}
		return nil
	}
	if found[0] != "steps" {
		for _, key := range onlyWithSteps {
			if f.Has(key) {
				d.report.Error(f.Key(key), "misplaced-key", "`%s` at the root belongs to `steps` at the root", key).Try("write it in the job")
			}
		}
	}
	switch found[0] {
	case "stages":
		return d.stages(f.Get("stages"), pool)
	case "jobs":
		stage := Stage{Name: DefaultStage, DisplayName: DefaultStage, Origin: originOf(f.Key("jobs"))}
		stage.Jobs = d.jobs(f.Get("jobs"), pool)
		return []Stage{stage}
	default:
		stage := Stage{Name: DefaultStage, DisplayName: DefaultStage, Origin: originOf(f.Key("steps"))}
		job := Job{Name: DefaultJob, DisplayName: DefaultJob, Origin: originOf(f.Key("steps"))}
		d.jobBody(&job, f, pool)
		stage.Jobs = []Job{job}
		return []Stage{stage}
	}
}
