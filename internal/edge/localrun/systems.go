package localrun

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/base/pattern"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/edge/language"
)

// Elsewhere are jobs and legs of a plan that ask for a hosted machine of another
// system.
type Elsewhere struct {
	Left []string // that are left out: their stage has work for this system
	Here []string // that run here all the same
}

// systemOf is the system of a hosted image, as GOOS has it; "" = not known.
func systemOf(image string) string {
	low := strings.ToLower(strings.TrimPrefix(strings.ToLower(image), "hosted "))
	for _, known := range [][2]string{{"windows", "windows"}, {"win1", "windows"}, {"vs20", "windows"}, {"vs2", "windows"}, {"macos", "darwin"}, {"ubuntu", "linux"}, {"linux", "linux"}} {
		if strings.HasPrefix(low, known[0]) {
			return known[1]
		}
	}
	return ""
}

var variableOf = pattern.Lazy(`(?i)^\$\[\s*variables(?:\.([a-z0-9_.-]+)|\[\s*'([^']+)'\s*\])\s*\]$`)

// imageOf is the image that a job asks for, with the variables that the file
// gives it; leg may be nil.
func imageOf(plan *pipeline.Plan, s *pipeline.Stage, j *pipeline.Job, leg *pipeline.MatrixEntry) string {
	lookup := func(name string) (string, bool) {
		if leg != nil {
			for key, v := range leg.Variables {
				if strings.EqualFold(key, name) {
					return v, true
				}
			}
		}
		for _, list := range [][]pipeline.Variable{j.Variables, s.Variables, plan.Variables} {
			for _, v := range slices.Backward(list) {
				if strings.EqualFold(v.Name, name) {
					return v.Value, true
				}
			}
		}
		return "", false
	}
	text := cmp.Or(j.Pool.VMImage, j.Pool.Name)
	if m := variableOf().FindStringSubmatch(strings.TrimSpace(text)); m != nil {
		text = "$(" + m[1] + m[2] + ")"
	}
	return pipeline.ExpandMacros(text, lookup)
}

// Systems looks for jobs of other systems. A leg of a matrix is left out when
// another leg fits, a job when it is the counterpart of one of its stage that
// fits: it says so in its name, or has a step in common. A job that another one
// waits for stays. What the person names, or the local file says, wins.
func (r *Request) Systems(plan *pipeline.Plan, local *language.LocalFile, host string) (e Elsewhere) {
	for i := range plan.Stages {
		s := &plan.Stages[i]
		var foreign []*pipeline.Job
		var fits []*pipeline.Job
		for k := range s.Jobs {
			j := &s.Jobs[k]
			legs, left := r.foreignLegs(plan, s, j, local, host)
			switch {
			case left > 0 && len(legs) > 0: // some of each
				fits = append(fits, j)
				for _, leg := range legs {
					r.Only.Legs = append(r.Only.Legs, s.Name+"."+j.Name+"."+leg.Name)
					e.Left = append(e.Left, j.Name+" "+leg.Name+" ("+imageOf(plan, s, j, &leg)+")")
				}
			case len(legs) > 0 || r.isForeign(plan, s, j, nil, local, host):
				foreign = append(foreign, j)
			case !j.Pool.Server:
				fits = append(fits, j)
			}
		}
		for _, j := range foreign {
			name := j.Name + " (" + imageOf(plan, s, j, firstLeg(j)) + ")"
			if !counterpart(j, fits) || waitedFor(s, j, foreign) {
				e.Here = append(e.Here, name)
				continue
			}
			r.Only.Spare = append(r.Only.Spare, s.Name+"."+j.Name)
			e.Left = append(e.Left, name)
		}
	}
	return e
}

var systemName = pattern.Lazy(`(?i)win|mac|osx|os_x|darwin`)

// counterpart says whether a job does for another system what one of the others
// does for this one.
func counterpart(j *pipeline.Job, others []*pipeline.Job) bool {
	if len(others) == 0 {
		return false
	}
	if systemName().MatchString(j.Name) || systemName().MatchString(j.DisplayName) {
		return true
	}
	return slices.ContainsFunc(others, func(o *pipeline.Job) bool {
		return slices.ContainsFunc(j.Steps, func(a pipeline.Step) bool {
			return a.Task != pipeline.TaskCheckout && slices.ContainsFunc(o.Steps, func(b pipeline.Step) bool { return a.Task == b.Task && maps.Equal(a.Inputs, b.Inputs) })
		})
	})
}

func firstLeg(j *pipeline.Job) *pipeline.MatrixEntry {
	if j.Strategy == nil || len(j.Strategy.Matrix) == 0 {
		return nil
	}
	return &j.Strategy.Matrix[0]
}

// foreignLegs are the legs of a matrix that ask for another system, and how many
// do not.
func (r *Request) foreignLegs(plan *pipeline.Plan, s *pipeline.Stage, j *pipeline.Job, local *language.LocalFile, host string) (legs []pipeline.MatrixEntry, left int) {
	if j.Strategy == nil {
		return nil, 0
	}
	for i := range j.Strategy.Matrix {
		if leg := &j.Strategy.Matrix[i]; r.isForeign(plan, s, j, leg, local, host) {
			legs = append(legs, *leg)
		} else {
			left++
		}
	}
	return legs, left
}

func (r *Request) isForeign(plan *pipeline.Plan, s *pipeline.Stage, j *pipeline.Job, leg *pipeline.MatrixEntry, local *language.LocalFile, host string) bool {
	image := imageOf(plan, s, j, leg)
	system := systemOf(image)
	if j.Pool.Server || system == "" || system == host {
		return false
	}
	for known, p := range local.Pools {
		if strings.EqualFold(known, image) && p.Do == "run" || known == "*" && p.Do == "run" && p.Jobs == 0 {
			return false // the file says so
		}
	}
	return !slices.ContainsFunc(r.Only.Jobs, func(name string) bool {
		return strings.EqualFold(name, j.Name) || strings.EqualFold(name, s.Name+"."+j.Name)
	})
}

// waitedFor says whether a job that stays depends on one.
func waitedFor(s *pipeline.Stage, j *pipeline.Job, foreign []*pipeline.Job) bool {
	for k := range s.Jobs {
		other := &s.Jobs[k]
		if !slices.Contains(foreign, other) && slices.ContainsFunc(other.DependsOn, func(name string) bool { return strings.EqualFold(name, j.Name) }) {
			return true
		}
	}
	return false
}
