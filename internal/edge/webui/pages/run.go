package pages

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/testresult"
	"penstock.dev/penstock/internal/edge/webui/graphview"
	"penstock.dev/penstock/internal/edge/webui/logview"
)

// RunRow is a run in a list.
type RunRow struct {
	Run  *run.Run
	Mark Mark
	Note string // where it is, or what it waits for
}

// RunListView is the list of runs.
type RunListView struct {
	Filter, Branch, Pipeline string
	Tag                      string
	Rows                     []RunRow
	Older                    int
	Pipelines                []*run.Pipeline
	CanQueue                 bool
}

// StageView is a stage with its jobs.
type StageView struct {
	Stage   *run.Stage
	Name    string
	Mark    Mark
	Slot    string
	Causes  []string
	Jobs    []*JobView
	Planned []PlannedJob
}

// PlannedJob is a job that does not exist yet.
type PlannedJob struct {
	Name string
	Mark Mark
}

// JobView is a job.
type JobView struct {
	Job  *run.Job
	Name string
	Mark Mark
	Ref  string // stage.job
}

// Change is what would happen to an application if a gate opened.
type Change struct {
	Application       string
	From, FromRelease string
	To, ToRelease     string
	TTL               time.Duration
}

// Bar is a row of the timeline; times are shares of the run's length.
type Bar struct {
	Stage, Name        string
	Mark               Mark
	Queued, Start, End float64
	Critical, Person   bool
	Wait, Took, Why    string
	Ref                string
}

// RunView is a run with all that its pages show.
type RunView struct {
	Run               *run.Run
	Plan              *pipeline.Plan
	Now               time.Time
	Tab               string
	Mark              Mark
	Attempt, Attempts int
	Stages            []*StageView
	Waiting           []*StageView
	Graph             graphview.Graph
	Approvals         []*ApprovalView
	Changes           []Change
	TestCounts        testresult.Counts
	Tests             *TestsView
	Metrics           []testresult.Metric // of all reports of coverage
	Coverage          *CoverageView
	Summaries         []Summary
	Attachments       []Attachment // all but the summaries
	Issues            []Issue
	IssueCount        int // shown or not
	Artifacts         []*artifact.Artifact
	Links             []*artifact.Link
	Repo              string
	Errors, Warnings  int
	CanQueue          bool
	First             *JobView // whose log to look at first
	Bars              []Bar
	Commits           []repos.Commit
	Expanded          []string
}

// ApprovalView is a question to people.
type ApprovalView struct {
	Approval      *environment.Approval
	Run           *run.Run
	Project       string
	Who           string
	Yours         bool
	Given, Needed int
	Changes       []Change
	Evidence      []Mark
	Commits       []repos.Commit
}

// Validations are the open questions of jobs.
func (v *RunView) Validations() []*ApprovalView {
	var list []*ApprovalView
	for _, a := range v.Approvals {
		if a.Approval.Status == environment.Pending && a.Approval.JobID != "" {
			list = append(list, a)
		}
	}
	return list
}

// asks reports whether somebody has to answer before a stage goes on.
func (v *RunView) asks(w *StageView) bool {
	return slices.ContainsFunc(v.Approvals, func(a *ApprovalView) bool {
		return a.Approval.Status == environment.Pending && a.Approval.JobID == "" && a.Approval.Stage == w.Stage.Name
	})
}

// jobOf is the name of the job that asks, or of its stage.
func (v *RunView) jobOf(a *ApprovalView) string {
	for _, s := range v.Stages {
		for _, j := range s.Jobs {
			if j.Job.ID == a.Approval.JobID {
				return j.Name
			}
		}
	}
	return a.Approval.Stage
}

// validators are those who may answer.
func validators(a *ApprovalView) string {
	if a.Yours {
		return "you"
	}
	return a.Who
}

// yesWord and noWord stand on the buttons of a decision.
func yesWord(a *ApprovalView) string {
	if a.Approval.Starts() {
		return "Start"
	}
	return "Approve"
}

func noWord(a *ApprovalView) string {
	if a.Approval.Starts() {
		return "Leave out"
	}
	return "Reject"
}

// ApprovalMark is how an approval looks.
func ApprovalMark(a *ApprovalView) Mark {
	switch a.Approval.Status {
	case environment.Approved:
		return Mark{"ok", "ok", "Approved"}
	case environment.Rejected:
		return Mark{"bad", "bad", "Rejected"}
	case environment.TimedOut:
		return Mark{"skip", "off", "Expired"}
	case environment.Canceled:
		return Mark{"cancel", "off", "Canceled"}
	}
	if a.Yours {
		return Mark{"wait", "wait", "Waits for you"}
	}
	return Mark{"wait", "wait", "Waits for " + a.Who}
}

// Stage returns the view of a stage by name.
func (v *RunView) Stage(name string) *StageView {
	for _, s := range v.Stages {
		if s.Stage.Name == name {
			return s
		}
	}
	return nil
}

// Lines are what a stage's node says below its name.
func (s *StageView) Lines(now time.Time) (one, two string) {
	st := s.Stage
	switch {
	case st.State == run.Pending && st.Waits != "":
		one = "Waits for " + st.Waits
		if !st.Until.IsZero() {
			two = Left(st.Until, now) + " left"
		}
		return one, two
	case st.State == run.Pending:
		one = "Not started"
		if len(st.DependsOn) > 0 {
			two = "after " + joined(st.DependsOn)
		}
		return one, two
	}
	one = s.Mark.Label
	if took := Took(st.Started, st.Finished, now); took != "" && !st.Started.Equal(st.Finished) {
		one += ", " + took
	}
	two = Many(len(s.Jobs), "job")
	if s.Slot != "" {
		two += ", slot " + s.Slot[strings.LastIndex(s.Slot, "/")+1:]
	}
	if len(s.Jobs) == 0 {
		two = st.Cause
	}
	return one, two
}

func joined(list []string) string {
	if len(list) > 2 {
		return fmt.Sprintf("%s and %d more", list[0], len(list)-1)
	}
	out := list[0]
	for _, s := range list[1:] {
		out += " and " + s
	}
	return out
}

// JobLogView is the log of a step with the run around it.
type JobLogView struct {
	Run   *RunView
	Stage *StageView
	Job   *JobView
	Step  *run.Step
	Lines []logview.Line
	From  int
	Total int
	Key   string
	Now   time.Time
}

// Address is the permalink: run, attempt, job and step.
func (v JobLogView) Address(f *Frame) string {
	a := JobURL(f, v.Run.Run, v.Job) + fmt.Sprintf("?attempt=%d", v.Job.Job.Attempt)
	if v.Step != nil {
		a += fmt.Sprintf("&step=%d", v.Step.Order)
	}
	return a
}

// Source is where the viewer reads lines.
func (v JobLogView) Source(f *Frame) string {
	return JobURL(f, v.Run.Run, v.Job) + fmt.Sprintf("/log?attempt=%d&step=%d", v.Job.Job.Attempt, v.Step.Order)
}

// JobURL is the address of a job's log.
func JobURL(f *Frame, r *run.Run, j *JobView) string { return f.At("runs", r.ID, "jobs", j.Ref) }

// RunURL is the address of a run.
func RunURL(f *Frame, r *run.Run) string { return f.At("runs", r.ID) }

var reasons = map[run.Reason]string{run.Manual: "started by", run.IndividualCI: "pushed by", run.BatchedCI: "pushed by", run.PullRequestReason: "pull request of",
	run.ResourceTrigger: "triggered, requested by", run.Schedule: "on schedule, by"}

// Why says how a run began.
func Why(r *run.Run) string {
	if w := reasons[r.Reason]; w != "" {
		return w + " " + r.RequestedBy
	}
	return "by " + r.RequestedBy
}

// Worked is how long a run waited and worked.
func Worked(r *run.Run, now time.Time) string {
	if r.Started.IsZero() {
		return "queued " + Took(r.Queued, r.Finished, now)
	}
	return "took " + Took(r.Started, r.Finished, now)
}
