package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

// step is one step while it runs; it is the Host of its task.
type step struct {
	*job
	order int
	spec  pipeline.Step
	// packaged is the task of a step that no built-in task answers for.
	packaged *packaged

	mu       sync.Mutex
	report   run.StepReport
	declared run.Result // by task.complete
	private  map[string]run.Variable
}

func (s *step) begin() {
	s.report.State = run.InProgress
	s.link.Step(s.report)
}

func (s *step) end(r run.Result) {
	s.mu.Lock()
	s.report.State, s.report.Result = run.Completed, r
	report := s.report
	s.mu.Unlock()
	s.link.Step(report)
}

// attempts runs the task, again as often as retryCountOnTaskFailure allows.
func (s *step) attempts(ctx context.Context) run.Result {
	for n := 0; ; n++ {
		s.report.Attempt = n + 1
		result := s.run(ctx)
		if result != run.Failed || n >= s.spec.RetryCountOnTaskFailure || ctx.Err() != nil {
			return result
		}
		wait := min(time.Second<<n, 10*time.Second)
		s.Print(fmt.Sprintf("##[warning]attempt %d failed, trying again in %s", n+1, wait))
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (s *step) run(ctx context.Context) run.Result {
	// A step that runs although the job is canceled (always()) gets a context
	// of its own, with the time the job leaves for it.
	if ctx.Err() != nil {
		grace := time.Duration(max(s.m.CancelTimeoutInMinutes, 1)) * time.Minute
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer stop()
	}
	if s.spec.TimeoutInMinutes > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, time.Duration(s.spec.TimeoutInMinutes)*time.Minute)
		defer stop()
	}
	s.declared = ""
	err := s.call(ctx)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		s.Print("##[error]The operation was canceled.")
		return run.Canceled
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return s.fail(fmt.Sprintf("The step ran longer than its %d minutes and was ended.", s.spec.TimeoutInMinutes))
	case err != nil:
		return s.fail(message(err))
	case s.declared != "":
		return s.declared
	}
	return run.Succeeded
}

func (s *step) fail(text string) run.Result {
	s.Print("##[error]" + text)
	s.issue("error", s.masker.Line(text))
	return run.Failed
}

// message is an error with what to do, in one line.
func message(err error) string {
	text := err.Error()
	var e *fault.Error
	if errors.As(err, &e) {
		if e.Expected != "" {
			text += " (expected " + e.Expected + ")"
		}
		if e.Found != "" {
			text += " (found " + e.Found + ")"
		}
		if e.Do != "" {
			text += " → " + e.Do
		}
	}
	return text
}

func (s *step) issue(kind, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind == "error" {
		s.report.Errors = append(s.report.Errors, text)
	} else {
		s.report.Warnings = append(s.report.Warnings, text)
	}
}

// call finds the task and runs it.
func (s *step) call(ctx context.Context) error {
	t, err := s.task()
	if err != nil {
		return err
	}
	return t.Run(ctx, s.context(t))
}

func (s *step) task() (*task.Task, error) {
	if t, err := s.fromPackage(); t != nil || err != nil {
		return t, err
	}
	t := task.Find(s.spec.Task)
	if t == nil {
		return nil, s.noTask()
	}
	if !t.Has(s.spec.Version) {
		return nil, fault.New(fault.NotFound, "task-version", "task %s has no version %s", t.Name, s.spec.Version).Want("%s@%s", t.Name, strings.Join(t.Major, " or @"))
	}
	return t, nil
}

func (s *step) context(t *task.Task) *task.Context {
	return &task.Context{Host: s, Job: s.m, Inputs: s.inputs(t), Client: s.machine.Client, Temp: s.temp}
}

// inputs are the step's, under the task's own names in lower case, with
// defaults and macros.
func (s *step) inputs(t *task.Task) map[string]string {
	in := map[string]string{}
	for name, value := range t.Defaults {
		in[name] = pipeline.ExpandMacros(value, s.Lookup)
	}
	for name, value := range s.spec.Inputs {
		key := strings.ToLower(name)
		if own, ok := t.Aliases[key]; ok {
			key = own
		}
		in[key] = pipeline.ExpandMacros(value, s.Lookup)
	}
	return in
}

// SetVariable implements task.Host.
func (s *step) SetVariable(name, value string, secret bool) {
	if err := s.setVariable(name, value, secret, false); err != nil {
		s.issue("warning", err.Error())
		return
	}
	if s.spec.Name != "" {
		s.job.mu.Lock()
		s.outputs[s.spec.Name+"."+name] = value
		s.job.mu.Unlock()
	}
}

// Service implements task.Host.
func (s *step) Service() task.Services { return s.machine.Services }

// Print implements task.Host: it reads logging commands and writes the rest.
func (s *step) Print(line string) {
	for part := range strings.SplitSeq(strings.TrimRight(line, "\r\n"), "\n") {
		part = strings.TrimRight(part, "\r")
		if s.command(part) {
			continue
		}
		s.write(part)
	}
}

// write masks a line, stamps it and sends it.
func (s *step) write(line string) {
	s.link.Log(s.order, time.Now().UTC().Format("2006-01-02T15:04:05.0000000Z")+" "+s.masker.Line(strings.ToValidUTF8(line, "\uFFFD"))+"\n")
}
