// Package testresult holds the outcomes of tests that runs publish.
package testresult

import (
	"context"
	"time"

	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/store"
)

// Outcomes of a test.
const (
	Passed       = "Passed"
	Failed       = "Failed"
	Skipped      = "NotExecuted"
	Inconclusive = "Inconclusive"
)

// TestRun is one published set of results.
type TestRun struct {
	store.Revision
	ID       string        `col:"id" json:"id"`
	RunID    string        `col:"run_id" json:"runId"`
	JobID    string        `json:"jobId"`
	Title    string        `json:"title"`
	Platform string        `json:"platform,omitempty"`      // of what was tested
	Config   string        `json:"configuration,omitempty"` // of its build
	Duration time.Duration `json:"duration,omitempty"`
	Results  []Result      `json:"results"`
	Created  time.Time     `json:"created"`
}

// Result is one test.
type Result struct {
	Name     string        `json:"name"`
	Suite    string        `json:"suite"`
	Outcome  string        `json:"outcome"`
	Duration time.Duration `json:"duration"`
	Message  string        `json:"message,omitempty"`
	Stack    string        `json:"stack,omitempty"`
}

// Count returns how many results have the outcome.
func (t *TestRun) Count(outcome string) int {
	n := 0
	for _, r := range t.Results {
		if r.Outcome == outcome {
			n++
		}
	}
	return n
}

// Service holds the use cases of test results.
type Service struct {
	Runs  store.Table[TestRun]
	Clock store.Clock
}

// Publish stores a set of results.
func (s *Service) Publish(ctx context.Context, t *TestRun) error {
	t.ID, t.Created = id.New(), s.Clock.Now()
	return s.Runs.Insert(ctx, t)
}

// Of lists the results of a run.
func (s *Service) Of(ctx context.Context, runID string) ([]*TestRun, error) {
	return s.Runs.Find(ctx, store.Where("run_id", runID).By("id"))
}
