package webui

import (
	"fmt"
	"mime"
	"net/http"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"

	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/webui/diffview"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

// bars are the rows of the timeline, in shares of the run's length.
func bars(v *pages.RunView) []pages.Bar {
	from, to := v.Run.Queued, v.Run.Finished
	if to.IsZero() {
		to = v.Now
	}
	length := max(to.Sub(from).Seconds(), 0.001)
	at := func(t time.Time) float64 {
		if t.IsZero() {
			t = v.Now
		}
		return min(1, max(0, t.Sub(from).Seconds()/length))
	}
	critical := criticalPath(v)
	var list []pages.Bar
	for _, s := range v.Stages {
		for _, j := range s.Jobs {
			if j.Job.Queued.IsZero() {
				continue
			}
			b := pages.Bar{Stage: s.Name, Name: j.Name, Mark: j.Mark, Queued: at(j.Job.Queued), Start: at(j.Job.Started), End: at(j.Job.Finished), Critical: critical[j.Job.ID],
				Wait: pages.Took(j.Job.Queued, j.Job.Started, v.Now), Took: pages.Took(j.Job.Started, j.Job.Finished, v.Now), Ref: j.Ref, Why: agentOf(j.Job)}
			if j.Job.State == run.Completed && j.Job.Started.IsZero() {
				continue
			}
			list = append(list, b)
		}
	}
	for _, a := range v.Approvals {
		list = append(list, pages.Bar{Stage: a.Approval.Stage, Name: "Approval", Mark: pages.ApprovalMark(a), Queued: at(a.Approval.Created), Start: at(a.Approval.Created),
			End: at(a.Approval.Ended), Person: true, Took: pages.Took(a.Approval.Created, a.Approval.Ended, v.Now)})
	}
	slices.SortStableFunc(list, func(a, b pages.Bar) int {
		switch {
		case a.Start < b.Start:
			return -1
		case a.Start > b.Start:
			return 1
		}
		return 0
	})
	return list
}

// criticalPath walks back from the job that ended last to the one that ended
// last before it began, and so on.
func criticalPath(v *pages.RunView) map[string]bool {
	var jobs []*run.Job
	for _, s := range v.Stages {
		for _, j := range s.Jobs {
			if !j.Job.Started.IsZero() {
				jobs = append(jobs, j.Job)
			}
		}
	}
	end := func(j *run.Job) time.Time {
		if j.Finished.IsZero() {
			return v.Now
		}
		return j.Finished
	}
	path := map[string]bool{}
	limit := v.Now.Add(time.Hour)
	for range jobs {
		var last *run.Job
		for _, j := range jobs {
			if !path[j.ID] && !end(j).After(limit) && (last == nil || end(j).After(end(last))) {
				last = j
			}
		}
		if last == nil {
			break
		}
		path[last.ID], limit = true, last.Started
	}
	return path
}

// changesOf lists the commits since the last run of the pipeline on the branch.
func (c *call) changesOf(r *run.Run) []repos.Commit {
	before, err := c.s.Runs.Runs.Find(c.ctx(), store.Where("pipeline_id", r.PipelineID).And("branch", r.Branch).AndOp("num", store.Lt, r.Num).Latest("num").Top(1))
	from, limit := "", 20
	if err == nil && len(before) == 1 {
		from, limit = before[0].Commit, 200
	}
	commits, err := c.s.Repos.History.Commits(c.ctx(), r.RepoID, from, r.Commit, limit)
	if err != nil {
		return nil
	}
	return commits
}

func expanded(p *pipeline.Plan) []string {
	raw, err := yaml.Marshal(p)
	if err != nil {
		return nil
	}
	return diffview.Highlight("plan.yml", splitLines(string(raw)))
}

func artifactContent(c *call) error {
	r, err := c.s.Runs.FindRun(c.ctx(), c.project.ID, c.r.PathValue("id"))
	if err != nil {
		return err
	}
	a, err := c.s.Artifacts.Find(c.ctx(), r.ID, c.r.PathValue("name"))
	if err != nil {
		return err
	}
	if _, err := c.s.Artifacts.Manifest(c.ctx(), a); err != nil {
		return err // before the answer begins
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": a.Name + ".zip"}))
	h.Set("ETag", `"`+a.Digest+`"`)
	if err := c.s.Artifacts.Zip(c.ctx(), a, c.w); err != nil {
		c.s.Log.Warn("an artifact was not delivered", "artifact", a.Name, "run", r.ID, "error", err)
		panic(http.ErrAbortHandler) // the browser must not take a part for the whole
	}
	return nil
}

func cancelRun(c *call) error {
	r, err := c.s.Runs.FindRun(c.ctx(), c.project.ID, c.r.PathValue("id"))
	if err != nil {
		return err
	}
	if _, err := c.s.Runs.Cancel(c.ctx(), r.ID); err != nil {
		return err
	}
	return c.done(c.frame.At("runs", r.ID), fmt.Sprintf("Canceling run %s. What runs is interrupted; steps with always() still run.", r.Number))
}

func rerun(c *call) error {
	r, err := c.s.Runs.FindRun(c.ctx(), c.project.ID, c.r.PathValue("id"))
	if err != nil {
		return err
	}
	switch c.r.PostFormValue("how") {
	case "new":
		return c.again(r)
	case "all":
		d, err := c.s.Runs.Load(c.ctx(), r.ID)
		if err != nil {
			return err
		}
		if len(d.Stages) > 0 {
			_, err = c.s.Runs.Rerun(c.ctx(), r.ID, d.Stages[0].Name)
		}
		if err != nil {
			return err
		}
		return c.done(c.frame.At("runs", r.ID), "Running again from the first stage.")
	}
	stage := c.r.PostFormValue("stage")
	if _, err := c.s.Runs.Rerun(c.ctx(), r.ID, stage); err != nil {
		return err
	}
	text := "Running again what did not succeed."
	if stage != "" {
		text = "Running again from stage " + stage + "."
	}
	return c.done(c.frame.At("runs", r.ID), text)
}

// again queues a new run of the same commit with the same values.
func (c *call) again(r *run.Run) error {
	p, err := c.s.Runs.FindPipeline(c.ctx(), c.project.ID, r.PipelineID)
	if err != nil {
		return err
	}
	pinned := map[string]int{}
	for _, res := range r.Resources {
		pinned[res.Alias] = number(res.RunID)
	}
	fresh, err := c.s.Runs.QueueRun(c.ctx(), run.QueueRequest{Pipeline: p, Branch: r.Branch, Commit: r.Commit, Parameters: r.Parameters, Variables: r.Variables,
		Reason: run.Manual, By: identity.From(c.ctx()), Pinned: pinned})
	if err != nil {
		return err
	}
	return c.done(c.frame.At("runs", fresh.ID), "Queued run "+fresh.Number+" of the same commit.")
}
