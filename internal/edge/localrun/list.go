package localrun

import (
	"fmt"
	"slices"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline"
)

// List shows the stages and jobs of a plan, one a line.
func List(plan *pipeline.Plan) string {
	var b strings.Builder
	for _, s := range plan.Stages {
		fmt.Fprintf(&b, "%s%s\n", s.Name, after(s.DependsOn))
		for i := range s.Jobs {
			j := &s.Jobs[i]
			fmt.Fprintf(&b, "  %s%s  %s%s\n", j.Name, after(j.DependsOn), counted(stepsOf(j), "step"), legsOf(j))
		}
	}
	return b.String()
}

func stepsOf(j *pipeline.Job) int {
	n := len(j.Steps)
	if j.Deployment != nil {
		for _, h := range j.Deployment.Hooks {
			n += len(h.Steps)
		}
	}
	return n
}

func after(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "  after " + strings.Join(names, ", ")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// legsOf names what a job multiplies into.
func legsOf(j *pipeline.Job) string {
	switch {
	case j.Strategy == nil:
		return ""
	case len(j.Strategy.Matrix) > 0:
		var names []string
		for _, leg := range j.Strategy.Matrix {
			names = append(names, leg.Name)
		}
		slices.Sort(names)
		return "  × " + strings.Join(names, ", ")
	case j.Strategy.MatrixExpression != "":
		return "  × a matrix that the run computes"
	case j.Strategy.Parallel > 1:
		return fmt.Sprintf("  × %d", j.Strategy.Parallel)
	}
	return ""
}
