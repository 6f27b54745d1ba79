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
	f, ok := syntax.ReadFields(d.report, root, rootShape)
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
		if !root.Bad {
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

var variableShape = grammar.VariableEntry.Shape()

// variables reads both forms of a `variables` block.
func (d *decoder) variables(n *syntax.Node, slot RuntimeSlot) []Variable {
	if n == nil || n.Bad || n.IsEmpty() {
		return nil
	}
	var out []Variable
	if n.Kind == syntax.Mapping {
		for _, p := range n.Pairs {
			v := Variable{Name: p.Key.Text, Value: d.text(p.Value, "variable `"+p.Key.Text+"`"), Origin: originOf(p.Key)}
			d.checkVariable(v, p.Key, p.Value, slot)
			out = append(out, v)
		}
		return out
	}
	if n.Kind == syntax.Scalar {
		d.report.Error(n, "expected-mapping", "`variables` is a mapping or a sequence").Want("name: value, or a list").Got("%s", syntax.Describe(n))
		return nil
	}
	for _, item := range d.list(n, "`variables`") {
		f, ok := syntax.ReadFields(d.report, item, variableShape)
		if !ok {
			continue
		}
		v := Variable{Origin: originOf(item)}
		switch {
		case f.Has("group") && f.Has("name"):
			d.report.Error(f.Key("group"), "two-kinds", "an entry of `variables` is either a variable or a group").Try("split it into two entries")
			continue
		case f.Has("group"):
			v.Group = d.required(f, "group", "a variable group")
			for _, key := range []string{"value", "readonly"} {
				if f.Has(key) {
					d.report.Error(f.Key(key), "unknown-key", "a variable group has no key `%s`", key).Want("group")
				}
			}
		default:
			v.Name, v.Value = d.required(f, "name", "a variable"), d.key(f, "value")
			v.ReadOnly = d.boolean(f, "readonly", false)
			d.checkVariable(v, f.Get("name"), f.Get("value"), slot)
		}
		out = append(out, v)
	}
	return out
}

func (d *decoder) checkVariable(v Variable, name, value *syntax.Node, slot RuntimeSlot) {
	if strings.EqualFold(v.Name, "path") {
		d.report.Warn(name, "variable-path", "a variable called %s replaces PATH in every script", v.Name).Try("rename it")
	}
	if body, ok := runtimeExpression(v.Value); ok {
		d.checkRuntime(value, body, slot)
	}
}
