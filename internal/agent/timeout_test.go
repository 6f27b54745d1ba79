package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock.dev/penstock/internal/agent/task"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

func init() {
	task.Register(&task.Task{Name: "WaitsForTest", Major: []string{"1"}, Run: func(ctx context.Context, _ *task.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	task.Register(&task.Task{Name: "FailsForTest", Major: []string{"1"}, Run: func(context.Context, *task.Context) error { return errors.New("no") }})
	task.Register(&task.Task{Name: "FailsAfterAMinute", Major: []string{"1"}, Run: func(ctx context.Context, _ *task.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Minute):
			return errors.New("no")
		}
	}})
}

// waits is a step that goes on until it is stopped. Its time is that of the
// test.
func waits(change func(*pipeline.Step)) pipeline.Step {
	s := pipeline.Step{Task: "WaitsForTest", Version: "1"}
	change(&s)
	return s
}

func timed(t *testing.T, m *run.JobMessage, cancelAfter time.Duration) (rep run.JobReport, link *memory, took time.Duration) {
	work := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		if cancelAfter > 0 {
			time.AfterFunc(cancelAfter, cancel)
		}
		m.PipelineID, link = "1", newMemory()
		start := time.Now()
		rep = RunJob(ctx, m, Machine{Work: work}, link)
		took = time.Since(start)
	})
	return rep, link, took
}

func TestStepTimeout(t *testing.T) {
	s := waits(func(s *pipeline.Step) { s.TimeoutInMinutes, s.RetryCountOnTaskFailure = 3, 5 })
	rep, m, took := timed(t, &run.JobMessage{Steps: []pipeline.Step{s}}, 0)
	if rep.Result != run.Failed || took != 3*time.Minute || m.steps[1].Attempt != 1 || len(m.steps[1].Errors) != 1 || !strings.Contains(m.steps[1].Errors[0], "timed out") {
		t.Errorf("%s after %s: %+v", rep.Result, took, m.steps[1])
	}
	s.ContinueOnError = true
	if rep, m, _ = timed(t, &run.JobMessage{Steps: []pipeline.Step{s}}, 0); rep.Result != run.SucceededWithIssues || m.steps[1].Result != run.SucceededWithIssues {
		t.Errorf("%s %s", rep.Result, m.steps[1].Result)
	}
}

// The time of a step is that of all its attempts and of the waits between.
func TestStepTimeoutOverAttempts(t *testing.T) {
	for name, c := range map[string]struct {
		task     string
		retries  int
		attempts int
		took     time.Duration
	}{
		"in an attempt": {"FailsAfterAMinute", 9, 3, 3 * time.Minute}, // a minute, 1 s, a minute, 4 s, 55 s
		"in a wait":     {"FailsForTest", 9, 8, 3 * time.Minute},      // 1 + 4 + … + 49 s are less, with 64 s more
		"in time":       {"FailsForTest", 2, 3, 5 * time.Second},
	} {
		s := pipeline.Step{Task: c.task, Version: "1", TimeoutInMinutes: 3, RetryCountOnTaskFailure: c.retries}
		rep, m, took := timed(t, &run.JobMessage{Steps: []pipeline.Step{s}}, 0)
		last := m.steps[1].Errors[len(m.steps[1].Errors)-1]
		if rep.Result != run.Failed || took != c.took || m.steps[1].Attempt != c.attempts || strings.Contains(last, "timed out") != (name != "in time") {
			t.Errorf("%s: %s after %s in %d attempts: %q", name, rep.Result, took, m.steps[1].Attempt, last)
		}
	}
}

func TestJobTimeout(t *testing.T) {
	last := waits(func(s *pipeline.Step) { s.Condition = "always()" })
	rep, m, took := timed(t, &run.JobMessage{TimeoutInMinutes: 10, CancelTimeoutInMinutes: 2, Steps: []pipeline.Step{waits(func(*pipeline.Step) {}), last}}, 0)
	if rep.Result != run.Failed || !strings.Contains(rep.Cause, "10 minutes") || m.steps[1].Result != run.Canceled || took != 12*time.Minute {
		t.Errorf("%+v after %s: %s", rep, took, m.steps[1].Result)
	}
	if m.steps[2].Result != run.Failed || !strings.Contains(strings.Join(m.steps[2].Errors, ""), "cancelTimeoutInMinutes") {
		t.Errorf("%+v", m.steps[2])
	}
	rep, _, took = timed(t, &run.JobMessage{TimeoutInMinutes: 10, CancelTimeoutInMinutes: 2, Steps: []pipeline.Step{waits(func(*pipeline.Step) {})}}, 0)
	if rep.Result != run.Canceled || !strings.Contains(rep.Cause, "10 minutes") || took != 10*time.Minute { // it ended when it was told to
		t.Errorf("%+v after %s", rep, took)
	}
}

// A cancel does not retry, and a step that goes on after it has a limit.
func TestCancelLeavesTimeAndNotMore(t *testing.T) {
	first := waits(func(s *pipeline.Step) { s.RetryCountOnTaskFailure, s.ContinueOnError = 3, true })
	rep, m, took := timed(t, &run.JobMessage{CancelTimeoutInMinutes: 5, Steps: []pipeline.Step{first}}, time.Minute)
	if rep.Result != run.Canceled || m.steps[1].Result != run.Canceled || m.steps[1].Attempt != 1 || took != time.Minute {
		t.Errorf("%s after %s: %+v", rep.Result, took, m.steps[1])
	}
	always := waits(func(s *pipeline.Step) { s.Condition = "always()" })
	if rep, _, took = timed(t, &run.JobMessage{CancelTimeoutInMinutes: 5, Steps: []pipeline.Step{always}}, time.Minute); rep.Result != run.Canceled || took != 6*time.Minute {
		t.Errorf("%s after %s", rep.Result, took)
	}
}
