package webui

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/application"
	"penstock.dev/penstock/internal/domain/environment"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/webui/graphview"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

const pageSize = 50

func runList(c *call) error {
	v := pages.RunListView{Filter: c.r.FormValue("show"), Branch: c.r.FormValue("branch"), Pipeline: c.r.FormValue("pipeline"), Tag: c.r.FormValue("tag")}
	q := store.Where("project_id", c.project.ID).Latest("num")
	switch v.Filter {
	case "running":
		q = q.AndOp("state", store.In, []string{string(run.Pending), string(run.InProgress)})
	case "failed":
		q = q.And("result", string(run.Failed))
	default:
		v.Filter = ""
	}
	if v.Branch != "" {
		q = q.And("branch", repos.FullBranch(v.Branch))
	}
	if v.Pipeline != "" {
		p, err := c.s.Runs.FindPipeline(c.ctx(), c.project.ID, v.Pipeline)
		if err != nil {
			return err
		}
		q = q.And("pipeline_id", p.ID)
	}
	if before := number(c.r.FormValue("before")); before > 0 {
		q = q.AndOp("num", store.Lt, before)
	}
	runs, err := c.tagged(q, v.Tag, pageSize+1)
	if err != nil {
		return err
	}
	if len(runs) > pageSize {
		runs = runs[:pageSize]
		v.Older = runs[pageSize-1].Num
	}
	if v.Rows, err = c.rows(runs); err != nil {
		return err
	}
	if v.Pipelines, err = c.s.Runs.Pipelines.Find(c.ctx(), store.Where("project_id", c.project.ID).By("num")); err != nil {
		return err
	}
	v.CanQueue = c.can(identity.RunQueue)
	return c.page("runs", "Runs", pages.RunList(c.frame, v))
}

func number(s string) int {
	n := 0
	for _, r := range s {
		if r < '0' || r > '9' || n > 1<<40 {
			return 0
		}
		n = n*10 + int(r-'0')
	}
	return n
}

// rows adds to runs what their stages wait for.
func (c *call) rows(runs []*run.Run) ([]pages.RunRow, error) {
	var rows []pages.RunRow
	for _, r := range runs {
		row := pages.RunRow{Run: r, Mark: pages.StateMark(r.State, r.Result)}
		if r.State != run.Completed {
			stages, err := c.s.Runs.Stages.Find(c.ctx(), store.Where("run_id", r.ID))
			if err != nil {
				return nil, err
			}
			row.Mark, row.Note = waitingOf(r, stages)
		} else if r.Cause != "" {
			row.Note = r.Cause
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func waitingOf(r *run.Run, stages []*run.Stage) (pages.Mark, string) {
	active, waits := []string{}, ""
	for _, st := range stages {
		switch {
		case st.State == run.InProgress:
			active = append(active, stageName(st))
		case st.State == run.Pending && st.Waits != "":
			waits = stageName(st) + " waits for " + st.Waits
		}
	}
	switch {
	case len(active) > 0:
		return pages.StateMark(run.InProgress, ""), strings.Join(active, ", ")
	case waits != "":
		return pages.Mark{Icon: "wait", Tone: "wait", Label: "Waits"}, waits
	case r.State == run.Pending:
		return pages.Mark{Icon: "todo", Tone: "off", Label: "Queued"}, ""
	}
	return pages.StateMark(run.InProgress, ""), ""
}

func stageName(st *run.Stage) string { return cmp.Or(st.DisplayName, st.Name) }

// loadRun reads a run of the project with its latest attempts, or those of an
// earlier attempt.
func (c *call) loadRun() (*pages.RunView, error) {
	r, err := c.s.Runs.FindRun(c.ctx(), c.project.ID, c.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	d, err := c.s.Runs.Load(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	v := &pages.RunView{Run: d.Run, Plan: d.Plan, Now: c.now, Mark: pages.StateMark(d.Run.State, d.Run.Result)}
	c.listen("run/" + r.ID)
	pick := attemptOf(number(c.r.PathValue("n")))
	v.Attempt = pick.only
	latest := map[string]int{}
	for _, st := range d.Stages {
		if pick.allows(st.Attempt) {
			latest[st.Name] = max(latest[st.Name], st.Attempt)
		}
		v.Attempts = max(v.Attempts, st.Attempt)
	}
	v.Attempt = cmp.Or(v.Attempt, v.Attempts)
	for _, st := range d.Stages {
		if st.Attempt != latest[st.Name] {
			continue
		}
		sv := c.stageView(d, st)
		v.Stages = append(v.Stages, sv)
		if st.State == run.Pending && st.Waits != "" {
			v.Waiting = append(v.Waiting, sv)
		}
	}
	if len(v.Waiting) > 0 && !slices.ContainsFunc(v.Stages, func(s *pages.StageView) bool { return s.Stage.State == run.InProgress }) {
		v.Mark = pages.Mark{Icon: "wait", Tone: "wait", Label: "Waits for " + v.Waiting[0].Stage.Waits}
	}
	if d.Run.CancelRequested && d.Run.State != run.Completed {
		v.Mark = pages.Mark{Icon: "cancel", Tone: "off", Label: "Canceling, asked by " + d.Run.CanceledBy}
	}
	v.Graph = layout(v.Stages)
	return v, c.fillRun(v)
}

type attempts struct{ only int }

func attemptOf(n int) attempts { return attempts{n} }

func (a attempts) allows(n int) bool { return a.only == 0 || n <= a.only }

func layout(stages []*pages.StageView) graphview.Graph {
	var nodes []graphview.Node
	for _, s := range stages {
		nodes = append(nodes, graphview.Node{Name: s.Stage.Name, After: s.Stage.DependsOn})
	}
	return graphview.Layout(nodes)
}

func (c *call) stageView(d *run.Detail, st *run.Stage) *pages.StageView {
	sv := &pages.StageView{Stage: st, Name: stageName(st), Mark: pages.StateMark(st.State, st.Result)}
	for _, j := range d.Jobs {
		if j.Stage == st.Name && j.Of(st.Attempt) {
			sv.Jobs = append(sv.Jobs, &pages.JobView{Job: j, Name: cmp.Or(j.DisplayName, j.Name), Mark: c.jobMark(j), Ref: j.Stage + "." + j.Name})
		}
	}
	for _, p := range d.Phases {
		if p.Stage != st.Name || p.Attempt != st.Attempt {
			continue
		}
		if p.Rollout != nil && p.Rollout.Slot != "" {
			sv.Slot = p.Rollout.Application + "/" + p.Rollout.Slot
		}
		if p.Cause != "" {
			sv.Causes = append(sv.Causes, cmp.Or(p.DisplayName, p.Name)+": "+p.Cause)
		}
		if len(sv.Jobs) == 0 || !slices.ContainsFunc(sv.Jobs, func(j *pages.JobView) bool { return j.Job.Phase == p.Name }) {
			sv.Planned = append(sv.Planned, pages.PlannedJob{Name: cmp.Or(p.DisplayName, p.Name), Mark: pages.StateMark(p.State, p.Result)})
		}
	}
	if st.State == run.Pending && st.Waits != "" {
		sv.Mark = pages.Mark{Icon: "wait", Tone: "wait", Label: "Waits for " + st.Waits}
		if !strings.Contains(st.Waits, "approval") {
			sv.Mark.Icon = "check"
		}
	}
	if d.Plan != nil && len(sv.Jobs) == 0 && len(sv.Planned) == 0 {
		if spec := d.Plan.Stage(st.Name); spec != nil {
			for _, j := range spec.Jobs {
				sv.Planned = append(sv.Planned, pages.PlannedJob{Name: cmp.Or(j.DisplayName, j.Name), Mark: pages.StateMark(run.Pending, "")})
			}
		}
	}
	return sv
}

// jobMark says of a job that has not begun what it waits for.
func (c *call) jobMark(j *run.Job) pages.Mark {
	if j.State != run.Pending || !j.Asked || j.Server {
		return pages.StateMark(j.State, j.Result)
	}
	return pages.Mark{Icon: "check", Tone: "wait", Label: "Waits for " + agentOf(j)}
}

func agentOf(j *run.Job) string {
	switch {
	case j.Target.Name != "":
		return "the agent of VM " + j.Target.Name
	case j.PoolName != "":
		return "an agent of pool " + j.PoolName
	}
	return "an agent of pool default"
}

// fillRun adds what hangs on a run.
func (c *call) fillRun(v *pages.RunView) error {
	var err error
	if err := c.fillOutcomes(v); err != nil {
		return err
	}
	if v.Artifacts, err = c.s.Artifacts.Of(c.ctx(), v.Run.ID); err != nil {
		return err
	}
	approvals, err := c.s.Environments.OfRun(c.ctx(), v.Run.ID)
	if err != nil {
		return err
	}
	for _, a := range approvals {
		v.Approvals = append(v.Approvals, c.approvalView(a, v.Run))
	}
	if repo, err := c.s.Repos.Repositories.Get(c.ctx(), v.Run.RepoID); err == nil && repo.ProjectID == c.project.ID {
		v.Repo = repo.Name
	}
	for _, d := range v.Run.Diagnostics {
		if d.Severity == pipeline.Error {
			v.Errors++
		} else {
			v.Warnings++
		}
	}
	v.CanQueue = c.can(identity.RunQueue)
	v.Changes = c.willChange(v)
	for _, s := range v.Stages {
		for _, j := range s.Jobs {
			if v.First == nil || j.Job.State == run.InProgress && v.First.Job.State != run.InProgress && v.First.Job.Result != run.Failed || j.Job.Result == run.Failed && v.First.Job.Result != run.Failed {
				v.First = j
			}
		}
	}
	return nil
}

// willChange says what the applications of the project would do, for those who
// decide about a run that waits.
func (c *call) willChange(v *pages.RunView) []pages.Change {
	if len(v.Waiting) == 0 || v.Plan == nil {
		return nil
	}
	apps, err := c.s.Applications.Of(c.ctx(), c.project.ID)
	if err != nil {
		return nil
	}
	var list []pages.Change
	for _, w := range v.Waiting {
		spec := v.Plan.Stage(w.Stage.Name)
		if spec == nil {
			continue
		}
		for _, a := range apps {
			if ch, ok := changeOf(a, spec); ok {
				list = append(list, ch)
			}
		}
	}
	return list
}

func changeOf(a *application.Application, spec *pipeline.Stage) (pages.Change, bool) {
	for _, j := range spec.Jobs {
		if j.Deployment == nil || !strings.EqualFold(a.Spec.Environment(application.Production), j.Deployment.Environment.Name) {
			continue
		}
		ch := pages.Change{Application: a.Name, TTL: time.Duration(a.Spec.DNS.TTL)}
		if s := a.WithRole(application.Production); s != nil {
			ch.From, ch.FromRelease = s.Name, releaseNumber(s)
		}
		if s := a.WithRole(application.Staging); s != nil {
			ch.To, ch.ToRelease = s.Name, releaseNumber(s)
		}
		return ch, true
	}
	return pages.Change{}, false
}

func releaseNumber(s *application.Slot) string {
	if s == nil || s.Release == nil {
		return ""
	}
	return s.Release.Number
}

func (c *call) approvalView(a *environment.Approval, r *run.Run) *pages.ApprovalView {
	v := &pages.ApprovalView{Approval: a, Run: r, Who: environment.ApproverNames(a), Yours: c.mayDecide(a), Needed: a.Needed()}
	for _, vote := range a.Votes {
		if vote.Decision == environment.Approved {
			v.Given++
		}
	}
	return v
}

func runPage(c *call) error {
	v, err := c.loadRun()
	if err != nil {
		return err
	}
	return c.page("runs", fmt.Sprintf("%s %s", v.Run.Pipeline, v.Run.Number), pages.RunPage(c.frame, v))
}

func runAttempt(c *call) error {
	if number(c.r.PathValue("n")) < 1 {
		return noPage(c.address())
	}
	return runPage(c)
}

// runPart is a page about one side of a run.
func runPart(c *call, tab string) error {
	v, err := c.loadRun()
	if err != nil {
		return err
	}
	v.Tab = tab
	switch tab {
	case "timeline":
		v.Bars = bars(v)
	case "tests":
		if v.Tests, err = c.testsView(v.Run); err != nil {
			return err
		}
	case "coverage":
		if v.Coverage, err = c.coverageView(v.Run); err != nil {
			return err
		}
	case "changes":
		v.Commits = c.changesOf(v.Run)
	case "file":
		if v.Plan != nil {
			v.Expanded = expanded(v.Plan)
		}
	case "errors":
		if v.Errors+v.Warnings == 0 {
			return fault.New(fault.NotFound, "not-found", "the file of run %s has no errors", v.Run.ID)
		}
	}
	return c.page("runs", fmt.Sprintf("%s %s", v.Run.Pipeline, v.Run.Number), pages.RunPart(c.frame, v))
}

func runTimeline(c *call) error  { return runPart(c, "timeline") }
func runTests(c *call) error     { return runPart(c, "tests") }
func runArtifacts(c *call) error { return runPart(c, "artifacts") }
func runChanges(c *call) error   { return runPart(c, "changes") }
func runFile(c *call) error      { return runPart(c, "file") }
func runErrors(c *call) error    { return runPart(c, "errors") }
