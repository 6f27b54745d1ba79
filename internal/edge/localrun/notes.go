package localrun

import (
	"context"
	"fmt"
	"strings"

	"penstock.dev/penstock/internal/domain/pipeline"
)

// Notes are what a person should know before the run: what it does otherwise
// than on the service.
func (r *Request) Notes(ctx context.Context, plan *pipeline.Plan, e Elsewhere, engine func(context.Context) error) (lines []string) {
	if len(e.Left) > 0 {
		lines = append(lines, "Left out, for other systems: "+strings.Join(e.Left, ", ")+". pools: { IMAGE: run } in penstock.local.yml, or --job, runs them here.")
	}
	if len(e.Here) > 0 {
		lines = append(lines, "warning: for another system, and run on this machine all the same: "+strings.Join(e.Here, ", ")+". pools: { IMAGE: skip } leaves them out.")
	}
	if jobs := inContainers(plan); len(jobs) > 0 && engine != nil {
		if err := engine(ctx); err != nil {
			lines = append(lines, "warning: jobs that need containers will fail: "+strings.Join(jobs, ", ")+". Install Docker or Podman, or start it.")
		}
	}
	for _, s := range plan.Stages {
		for _, j := range s.Jobs {
			if len(j.Pool.Demands) > 0 {
				lines = append(lines, fmt.Sprintf("warning: job %s demands %s; a local run does not check that", j.Name, strings.Join(j.Pool.Demands, ", ")))
			}
		}
	}
	for _, v := range plan.Sets(r.Variables) {
		if isPredefined(strings.ToLower(v.Name)) {
			continue
		}
		lines = append(lines, fmt.Sprintf("warning: %s keeps the value that %s:%d gives it, as on the service; --var and penstock.local.yml give values to what the file does not set.", v.Name, v.Origin.File, v.Origin.Line))
	}
	if names := r.Undefined(plan); len(names) > 0 {
		const shown = 8
		more := ""
		if len(names) > shown {
			more = fmt.Sprintf(" and %d more", len(names)-shown)
			names = names[:shown]
		}
		lines = append(lines, "warning: the file gives no value to "+strings.Join(names, ", ")+more+". What the pipeline's settings hold on the service comes here from --var NAME=VALUE or --secret NAME=FILE, or variables in penstock.local.yml.")
	}
	return lines
}

// inContainers are the jobs that need a container engine.
func inContainers(plan *pipeline.Plan) (jobs []string) {
	for _, s := range plan.Stages {
		for _, j := range s.Jobs {
			if !j.Pool.Server && (j.Container != nil || len(j.Services) > 0) {
				jobs = append(jobs, j.Name)
			}
		}
	}
	return jobs
}
