package pipeline

import (
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline/internal/syntax"
)

// Selection narrows a plan to a part of it. Names compare without case; what
// depended on something left out depends on what that depended on.
type Selection struct {
	Stages []string // only these; none = all
	Jobs   []string // only these, as `job` or `stage.job`
	Steps  []string // only these and the checkouts, by name or display name
	Skip   []string // stages to leave out
	Spare  []string // jobs to leave out, as `stage.job`
	Legs   []string // legs of a written matrix to leave out, as `stage.job.leg`
}

// Select removes what the selection leaves out. A name that the plan does not
// have is an Invalid error no-such-part, a stage that may not be left out
// stage-not-skippable; jobs and legs to leave out may be gone already.
func (p *Plan) Select(sel Selection) error {
	if len(sel.Stages)+len(sel.Jobs)+len(sel.Steps)+len(sel.Skip)+len(sel.Spare)+len(sel.Legs) == 0 {
		return nil
	}
	for _, name := range sel.Skip {
		if s := p.stageNamed(name); s != nil && s.Unskippable {
			return fault.New(fault.Invalid, "stage-not-skippable", "stage %s cannot be left out", s.Name).At("%s:%d:%d", s.Origin.File, s.Origin.Line, s.Origin.Column).
				Try("remove isSkippable: false from the stage")
		}
	}
	hits := map[string]bool{}
	wants := func(names []string, candidates ...string) bool {
		found := len(names) == 0
		for _, name := range names {
			if slices.ContainsFunc(candidates, func(c string) bool { return c != "" && strings.EqualFold(c, name) }) {
				hits[name], found = true, true
			}
		}
		return found
	}
	var names []string
	p.Stages = keep(p.Stages, func(s *Stage) bool {
		names = append(names, s.Name)
		skipped := len(sel.Skip) > 0 && wants(sel.Skip, s.Name)
		if skipped || !wants(sel.Stages, s.Name) {
			return false
		}
		s.Jobs = keep(s.Jobs, func(j *Job) bool {
			names = append(names, j.Name)
			if len(sel.Spare) > 0 && wants(sel.Spare, s.Name+"."+j.Name) {
				return false
			}
			j.withoutLegs(sel.Legs, s.Name, wants)
			return wants(sel.Jobs, j.Name, s.Name+"."+j.Name) && j.only(sel.Steps, wants, &names)
		}, func(j *Job) (string, *[]string) { return j.Name, &j.DependsOn })
		return len(s.Jobs) > 0
	}, func(s *Stage) (string, *[]string) { return s.Name, &s.DependsOn })
	for _, list := range [][]string{sel.Skip, sel.Stages, sel.Jobs, sel.Steps} {
		for _, name := range list {
			if !hits[name] {
				return noSuchPart(name, names)
			}
		}
	}
	if len(p.Stages) == 0 {
		return fault.New(fault.Invalid, "no-such-part", "the selection leaves nothing of the pipeline")
	}
	return nil
}

func (p *Plan) stageNamed(name string) *Stage {
	for i := range p.Stages {
		if strings.EqualFold(p.Stages[i].Name, name) {
			return &p.Stages[i]
		}
	}
	return nil
}

// withoutLegs removes legs of a written matrix. One that only the run can
// compute stays as it is.
func (j *Job) withoutLegs(legs []string, stage string, wants func([]string, ...string) bool) {
	if len(legs) == 0 || j.Strategy == nil {
		return
	}
	j.Strategy.Matrix = slices.DeleteFunc(j.Strategy.Matrix, func(leg MatrixEntry) bool {
		return wants(legs, stage+"."+j.Name+"."+leg.Name)
	})
}

// only removes the steps that are not wanted and tells whether one was. A step is
// wanted by its name, that which the service gives it where it has none, or its
// display name; those of hooks also as HOOK.NAME.
func (j *Job) only(steps []string, wants func([]string, ...string) bool, names *[]string) bool {
	if len(steps) == 0 {
		return true
	}
	found := false
	filter := func(list []Step, hook string) []Step {
		var kept []Step
		refs := RefNames(list)
		for i, s := range list {
			*names = append(*names, refs[i], s.DisplayName)
			wanted := wants(steps, refs[i], s.DisplayName, hook+refs[i], hook+s.DisplayName)
			found = found || wanted
			if wanted || s.Task == TaskCheckout {
				kept = append(kept, s)
			}
		}
		return kept
	}
	j.Steps = filter(j.Steps, "")
	if j.Deployment != nil {
		for i := range j.Deployment.Hooks {
			j.Deployment.Hooks[i].Steps = filter(j.Deployment.Hooks[i].Steps, j.Deployment.Hooks[i].Name+".")
		}
		j.Deployment.Hooks = slices.DeleteFunc(j.Deployment.Hooks, func(h Hook) bool { return len(h.Steps) == 0 })
	}
	return found
}

// keep removes elements and hands their dependencies on to those that depended
// on them. Elements are in an order in which dependencies need not come first.
func keep[T any](list []T, wanted func(*T) bool, node func(*T) (name string, dependsOn *[]string)) []T {
	gone := map[string][]string{}
	var kept []T
	for i := range list {
		if wanted(&list[i]) {
			kept = append(kept, list[i])
			continue
		}
		name, depends := node(&list[i])
		gone[strings.ToLower(name)] = *depends
	}
	for i := range kept {
		_, depends := node(&kept[i])
		var out []string
		seen := map[string]bool{}
		var add func(names []string)
		add = func(names []string) {
			for _, name := range names {
				low := strings.ToLower(name)
				if seen[low] {
					continue
				}
				seen[low] = true
				if inherited, left := gone[low]; left {
					add(inherited)
				} else {
					out = append(out, name)
				}
			}
		}
		add(*depends)
		*depends = out
	}
	return kept
}

func noSuchPart(name string, names []string) error {
	err := fault.New(fault.Invalid, "no-such-part", "the pipeline has no stage, job or step %s", name)
	if near := syntax.Nearest(name, names); near != "" {
		return err.Try("write %s", near)
	}
	return err.Try("penstock run FILE --list")
}

// Sets lists the variables of the file among the given names, by where each is
// set first.
func (p *Plan) Sets(names map[string]string) (list []Variable) {
	lists := [][]Variable{p.Variables}
	for i := range p.Stages {
		lists = append(lists, p.Stages[i].Variables)
		for k := range p.Stages[i].Jobs {
			lists = append(lists, p.Stages[i].Jobs[k].Variables)
		}
	}
	wanted := map[string]bool{}
	for name := range names {
		wanted[strings.ToLower(name)] = true
	}
	for _, v := range slices.Concat(lists...) {
		if key := strings.ToLower(v.Name); v.Name != "" && wanted[key] {
			list, wanted[key] = append(list, v), false
		}
	}
	return list
}
