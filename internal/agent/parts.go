package agent

import (
	"context"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/domain/run"
)

// runBefore runs what a task does before the first step of the job. It has the
// step's condition, and stands in the step's log.
func (j *job) runBefore(ctx context.Context, s *step) {
	t, err := s.task()
	if err != nil || t.Before == nil || s.spec.Disabled || s.leftOut() != "" {
		return // the step itself says what is wrong
	}
	s.name()
	if ok, err := j.condition(ctx, s.spec); err != nil || !ok {
		return
	}
	title := "Pre-job: " + j.title(s.spec)
	s.Print("##[section]Starting: " + title)
	j.worsen(s.part(ctx, t, t.Before))
	s.Print("##[section]Finishing: " + title)
}

// runAfter runs what a task does when all steps are done, whatever became of
// them; the task looks itself whether its step ran.
func (j *job) runAfter(ctx context.Context, s *step) {
	t, err := s.task()
	if err != nil || t.After == nil || s.spec.Disabled || !s.ran && s.packaged == nil || t.Left != "" && s.state[t.Left] == "" {
		return
	}
	s.name()
	title := "Post-job: " + j.title(s.spec)
	s.Print("##[section]Starting: " + title)
	defer func() { s.Print("##[section]Finishing: " + title) }()
	before := s.report.Result
	result := s.part(ctx, t, t.After)
	if result == run.Failed {
		s.end(merge(before, result))
	}
	j.worsen(result)
}

// part runs a task's part before or after all steps. It is not tried again.
func (s *step) part(ctx context.Context, t *task.Task, fn task.Func) run.Result {
	if ctx.Err() != nil {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(context.WithoutCancel(ctx), s.grace())
		defer stop()
	}
	s.mu.Lock()
	s.ctx, s.done, s.declared, s.broken = ctx, make(chan struct{}), "", false
	s.mu.Unlock()
	err := fn(ctx, s.context(t))
	result := run.Succeeded
	switch {
	case ctx.Err() != nil:
		return run.Canceled
	case err != nil:
		result = s.fail(message(err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.declared != "" {
		result = merge(result, s.declared)
	}
	if s.broken {
		result = run.Failed
	}
	if result == run.Failed && s.spec.ContinueOnError {
		result = run.SucceededWithIssues
	}
	return result
}
