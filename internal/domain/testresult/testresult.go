// Package testresult holds what runs publish about tests: their outcomes, and
// how much of the code they reach.
package testresult

import (
	"context"
	"time"

	"penstock.dev/penstock/internal/base/fault"
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

// Outcomes lists them, in the order in which people want them.
var Outcomes = []string{Failed, Inconclusive, Passed, Skipped}

// Bounds of what a run keeps.
const (
	MaxResults = 100_000  // of one published set
	MaxSets    = 1000     // of one run
	maxName    = 1024     // bytes of a name, a suite and a title
	maxText    = 64 << 10 // bytes of a message, and of a stack
	idLength   = 36
)

// TestRun is one published set of results. What is stored under its own id are
// its head and its counts; the results lie beside it.
type TestRun struct {
	store.Revision
	ID       string        `col:"id" json:"id"`
	Num      int           `col:"num" json:"num"` // its id in the API
	RunID    string        `col:"run_id" json:"runId"`
	JobID    string        `json:"jobId"`
	Title    string        `json:"title"`
	Platform string        `json:"platform,omitempty"`      // of what was tested
	Config   string        `json:"configuration,omitempty"` // of its build
	Duration time.Duration `json:"duration,omitempty"`      // nanoseconds
	Counts   Counts        `json:"counts"`
	Results  []Result      `json:"results,omitempty"`
	Created  time.Time     `json:"created"`
}

// Result is one test.
type Result struct {
	Name     string        `json:"name"`
	Suite    string        `json:"suite"`
	Outcome  string        `json:"outcome"`
	Duration time.Duration `json:"duration"` // nanoseconds
	Message  string        `json:"message,omitempty"`
	Stack    string        `json:"stack,omitempty"`
}

// Key is what makes a test the same in another run.
func (r Result) Key() string { return r.Suite + "\x00" + r.Name }

// Counts is how many tests had which outcome.
type Counts struct {
	Total        int `json:"total"`
	Passed       int `json:"passed"`
	Failed       int `json:"failed"`
	Skipped      int `json:"notExecuted"`
	Inconclusive int `json:"inconclusive"`
}

// Of is the number of an outcome.
func (c Counts) Of(outcome string) int {
	switch outcome {
	case Passed:
		return c.Passed
	case Failed:
		return c.Failed
	case Skipped:
		return c.Skipped
	case Inconclusive:
		return c.Inconclusive
	}
	return 0
}

// Add adds the counts of another set.
func (c *Counts) Add(o Counts) {
	c.Total += o.Total
	c.Passed += o.Passed
	c.Failed += o.Failed
	c.Skipped += o.Skipped
	c.Inconclusive += o.Inconclusive
}

// Total adds up the counts of sets.
func Total(runs []*TestRun) Counts {
	var c Counts
	for _, t := range runs {
		c.Add(t.Counts)
	}
	return c
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

// Set is the results of a test run.
type Set struct {
	store.Revision
	ID      string   `col:"id" json:"id"` // the test run's
	Results []Result `json:"results"`
}

// Service holds the use cases of test results.
type Service struct {
	Runs    store.Table[TestRun]
	Results store.Table[Set]
	Reports store.Table[Coverage]
	Files   store.Table[CoverageFiles]
	Tx      store.Runner
	Clock   store.Clock
}

// check bounds a set and counts it.
func (t *TestRun) check() error {
	if len(t.Results) > MaxResults {
		return fault.New(fault.Invalid, "too-many-results", "a set of test results is too large").Want("at most %d results", MaxResults).Got("%d", len(t.Results)).
			Try("publish the files of several test projects without mergeTestResults")
	}
	t.Title, t.Platform, t.Config = cut(t.Title, maxName), cut(t.Platform, maxName), cut(t.Config, maxName)
	t.Counts = Counts{Total: len(t.Results)}
	for i := range t.Results {
		r := &t.Results[i]
		r.Name, r.Suite, r.Message, r.Stack = cut(r.Name, maxName), cut(r.Suite, maxName), cut(r.Message, maxText), cut(r.Stack, maxText)
		r.Duration = max(r.Duration, 0)
		switch r.Outcome {
		case Passed:
			t.Counts.Passed++
		case Failed:
			t.Counts.Failed++
		case Skipped:
			t.Counts.Skipped++
		case Inconclusive:
			t.Counts.Inconclusive++
		default:
			return fault.New(fault.Invalid, "unknown-outcome", "test %s has an outcome that is not known", r.Name).Got("%q", cut(r.Outcome, 80)).Want("Passed, Failed, NotExecuted or Inconclusive")
		}
	}
	t.Duration = max(t.Duration, 0)
	return nil
}

// Publish stores a set of results. A set that names its own id is stored once,
// however often it arrives.
func (s *Service) Publish(ctx context.Context, t *TestRun) error {
	if err := t.check(); err != nil {
		return err
	}
	if len(t.ID) != idLength {
		t.ID = id.New()
	}
	t.Created = s.Clock.Now()
	return s.Tx.InTx(ctx, func(ctx context.Context) error {
		all, err := s.Of(ctx, t.RunID)
		if err != nil {
			return err
		}
		for _, old := range all {
			if old.ID == t.ID {
				t.Num = old.Num
				return nil
			}
		}
		if len(all) >= MaxSets {
			return fault.New(fault.Invalid, "too-many-results", "a run keeps at most %d sets of test results", MaxSets).Try("publish with mergeTestResults: true")
		}
		if t.Num, err = s.Tx.Next(ctx, "test_run"); err != nil {
			return err
		}
		head := *t
		head.Results = nil
		if err := s.Runs.Insert(ctx, &head); err != nil {
			return err
		}
		t.SetRev(head.Rev())
		return s.Results.Insert(ctx, &Set{ID: t.ID, Results: t.Results})
	})
}

// Of lists the sets of a run, without their results.
func (s *Service) Of(ctx context.Context, runID string) ([]*TestRun, error) {
	return s.Runs.Find(ctx, store.Where("run_id", runID).By("num"))
}

// Load reads the results of sets.
func (s *Service) Load(ctx context.Context, runs ...*TestRun) error {
	for _, t := range runs {
		set, err := s.Results.Get(ctx, t.ID)
		if err != nil {
			return err
		}
		t.Results = set.Results
	}
	return nil
}

// WithResults lists the sets of a run with their results.
func (s *Service) WithResults(ctx context.Context, runID string) ([]*TestRun, error) {
	all, err := s.Of(ctx, runID)
	if err != nil {
		return nil, err
	}
	return all, s.Load(ctx, all...)
}

// Find returns the set of a number, without its results.
func (s *Service) Find(ctx context.Context, num int) (*TestRun, error) {
	t, err := store.First(ctx, s.Runs, store.Where("num", num))
	if err == nil && t == nil {
		err = fault.New(fault.NotFound, "not-found", "there is no test run %d", num)
	}
	return t, err
}

// Earlier reads the results of the first of some runs that has any, such as the
// run before this one; "" if none has.
func (s *Service) Earlier(ctx context.Context, runIDs []string) (runID string, sets []*TestRun, err error) {
	for _, candidate := range runIDs {
		if sets, err = s.WithResults(ctx, candidate); err != nil || len(sets) > 0 {
			return candidate, sets, err
		}
	}
	return "", nil, nil
}

// Failing is the set of tests that failed, by Key.
func Failing(runs []*TestRun) map[string]bool {
	failing := map[string]bool{}
	for _, t := range runs {
		for _, r := range t.Results {
			if r.Outcome == Failed {
				failing[r.Key()] = true
			}
		}
	}
	return failing
}
