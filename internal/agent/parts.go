package agent

import (
	"context"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/mask"
	"penstock.dev/penstock/internal/domain/run"
)

// runSteps runs what comes before any step, the steps, and what comes after
// all of them, the latter in reverse order.
func (j *job) runSteps(ctx context.Context) {
	steps := make([]*step, len(j.m.Steps))
	for i, spec := range j.m.Steps {
		s := &step{job: j, order: i + 1, spec: spec, private: map[string]run.Variable{}}
		s.usePackage(ctx)
		s.report.Order, s.report.DisplayName = s.order, j.title(s.spec)
		steps[i] = s
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

// runBefore runs what a task does before the first step of the job. It has the
// step's condition, and stands in the step's log.
func (j *job) runBefore(ctx context.Context, s *step) {
	t, err := s.task()
	if err != nil || t.Before == nil || s.spec.Disabled {
		return // the step itself says what is wrong
	}
	if ok, err := j.condition(ctx, s.spec); err != nil || !ok {
		return
	}
	s.Print("##[section]Pre-job: " + j.title(s.spec))
	j.worsen(s.runPart(ctx, t, t.Before))
}

// runAfter runs what a task does when all steps are done, whatever became of
// them; the task looks itself whether its step ran.
func (j *job) runAfter(ctx context.Context, s *step) {
	t, err := s.task()
	if err != nil || t.After == nil || s.spec.Disabled {
		return
	}
	s.Print("##[section]Post-job: " + j.title(s.spec))
	if result := s.runPart(ctx, t, t.After); result != run.Succeeded {
		s.end(result)
		j.worsen(result)
	}
}

// runPart runs a task's part before or after all steps. It is not tried again.
func (s *step) runPart(ctx context.Context, t *task.Task, fn task.Func) run.Result {
	if ctx.Err() != nil {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(context.WithoutCancel(ctx), time.Duration(max(s.m.CancelTimeoutInMinutes, 1))*time.Minute)
		defer stop()
	}
	s.declared = ""
	err := fn(ctx, s.context(t))
	result := run.Succeeded
	switch {
	case ctx.Err() != nil:
		return run.Canceled
	case err != nil:
		result = s.fail(message(err))
	case s.declared != "":
		result = s.declared
	}
	if result == run.Failed && s.spec.ContinueOnError {
		result = run.SucceededWithIssues
	}
	return result
}

// setPrivate sets a variable that only the parts of this step's task see.
func (s *step) setPrivate(c loggingCommand) {
	name := c.properties["variable"]
	if name == "" {
		s.warn("task.settaskvariable needs variable=NAME")
		return
	}
	secret := c.is("issecret")
	s.mu.Lock()
	secret = secret || s.private[strings.ToLower(name)].Secret
	s.private[strings.ToLower(name)] = run.Variable{Name: name, Value: c.data, Secret: secret}
	s.mu.Unlock()
	if secret && s.masker.Add(c.data) > 0 {
		s.warn("a secret of fewer than " + strconv.Itoa(mask.MinLength) + " characters is not masked")
	}
}
