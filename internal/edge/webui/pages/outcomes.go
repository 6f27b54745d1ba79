package pages

import (
	"math"
	"net/url"
	"strconv"
	"time"

	"penstock.dev/penstock/internal/domain/attachment"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/testresult"
)

// StepRef says which step of a run something belongs to.
type StepRef struct {
	Job  *JobView // nil if it belongs to another attempt
	Step int
	Name string
}

// URL is the address of the step's log.
func (s StepRef) URL(f *Frame, r *run.Run) string {
	if s.Job == nil {
		return RunURL(f, r)
	}
	return JobURL(f, r, s.Job) + "?attempt=" + Itoa(s.Job.Job.Attempt) + "&step=" + Itoa(s.Step)
}

// Summary is what a step says to people. Its HTML is safe.
type Summary struct {
	Name string
	From StepRef
	HTML string
}

// Attachment is a file of a step.
type Attachment struct {
	*attachment.Attachment
	From StepRef
}

// Issue is an error or a warning of a step.
type Issue struct {
	Mark Mark
	Text string
	From StepRef
}

// TestsView is the tests of a run, or those of them that a reader asked for.
type TestsView struct {
	Counts        testresult.Counts
	Took          time.Duration
	Show, Query   string // the filter
	Sets          []TestSet
	Matched       int // tests that the filter lets through
	From, Shown   int // the part of them on this page
	New, Fixed    int // compared with Before
	Before        string
	BeforeNumber  string
	TestsPerPage  int
	SetsUnmatched int
}

// TestSet is one published set of results.
type TestSet struct {
	Run    *testresult.TestRun
	Suites []Suite
}

// Suite is the tests of one suite; what failed comes first.
type Suite struct {
	Name   string
	Counts testresult.Counts
	Took   time.Duration
	Tests  []Test
}

// Test is one result.
type Test struct {
	testresult.Result
	New bool // it did not fail in the run before
}

// Link is the address of the tests under a filter.
func (v *TestsView) Link(f *Frame, r *run.Run, show string, from int) string {
	q := url.Values{}
	if show != "" {
		q.Set("show", show)
	}
	if v.Query != "" {
		q.Set("q", v.Query)
	}
	if from > 0 {
		q.Set("from", Itoa(from))
	}
	return query(RunURL(f, r)+"/tests", q)
}

func query(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// CoverageView is how much of the code the tests of a run reach.
type CoverageView struct {
	Reports     []*testresult.Coverage
	Packages    []Package
	Sort, Query string
	Matched     int // files that the filter lets through
	Shown       int
	Left        int // files that are counted and not listed
}

// Package is a group of source files.
type Package struct {
	Name            string
	Lines, Branches testresult.Metric
	Files           []testresult.FileCoverage
}

// Link is the address of the coverage in an order.
func (v *CoverageView) Link(f *Frame, r *run.Run, sort string) string {
	q := url.Values{}
	if sort != "" {
		q.Set("sort", sort)
	}
	if v.Query != "" {
		q.Set("q", v.Query)
	}
	return query(RunURL(f, r)+"/coverage", q)
}

// share never rounds up to what is not reached: 9 999 of 10 000 is no 100 %.
func share(m testresult.Metric) string {
	switch {
	case m.Total == 0:
		return "none"
	case m.Covered >= m.Total:
		return "100 %"
	}
	return strconv.FormatFloat(math.Floor(m.Share()*1000)/10, 'f', 1, 64) + " %"
}

// metricOf finds a metric by its label.
func metricOf(list []testresult.Metric, label string) (testresult.Metric, bool) {
	for _, m := range list {
		if m.Label == label && m.Total > 0 {
			return m, true
		}
	}
	return testresult.Metric{}, false
}

func testTime(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < time.Second:
		return Itoa(int(d.Milliseconds())) + " ms"
	case d < time.Minute:
		return Num(d.Seconds()) + " s"
	}
	return Clock(d)
}

func testMark(r Test) Mark {
	switch r.Outcome {
	case testresult.Passed:
		return Mark{"ok", "ok", "Passed"}
	case testresult.Failed:
		return Mark{"bad", "bad", "Failed"}
	case testresult.Inconclusive:
		return Mark{"warn", "warn", "Inconclusive"}
	}
	return Mark{"skip", "off", "Not executed"}
}

func suiteMark(c testresult.Counts) Mark {
	switch {
	case c.Failed > 0:
		return Mark{"bad", "bad", "Failed"}
	case c.Inconclusive > 0:
		return Mark{"warn", "warn", "Inconclusive"}
	case c.Passed > 0:
		return Mark{"ok", "ok", "Passed"}
	}
	return Mark{"skip", "off", "Not executed"}
}

// tally is counts in words: 2 failed, 40 passed.
func tally(c testresult.Counts) string {
	out := ""
	for _, part := range []struct {
		n    int
		word string
	}{{c.Failed, "failed"}, {c.Inconclusive, "inconclusive"}, {c.Passed, "passed"}, {c.Skipped, "not executed"}} {
		if part.n > 0 {
			if out != "" {
				out += ", "
			}
			out += Itoa(part.n) + " " + part.word
		}
	}
	return out
}

// keptAs says in words what a file was kept as.
func keptAs(a Attachment) string {
	switch {
	case a.Is(attachment.File):
		return "with the log"
	case a.Is(attachment.Summary):
		return "summary"
	}
	return a.Type
}
