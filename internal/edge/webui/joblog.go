package webui

import (
	"bufio"
	"cmp"
	"context"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/webui/logview"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

// findJob finds stage.job of a run in an attempt (0 = the latest).
func (c *call) findJob(v *pages.RunView) (*pages.StageView, *pages.JobView, error) {
	ref := c.r.PathValue("job")
	for _, s := range v.Stages {
		for _, j := range s.Jobs {
			if strings.EqualFold(j.Ref, ref) || j.Job.ID == ref {
				return s, j, nil
			}
		}
	}
	return nil, nil, fault.New(fault.NotFound, "not-found", "run %s has no job %s", v.Run.ID, ref).Want("stage.job, such as build.compile")
}

// pickStep is the step asked for, else the one that failed, runs, or ended last.
func pickStep(j *run.Job, asked int) *run.Step {
	var pick *run.Step
	for i := range j.Steps {
		st := &j.Steps[i]
		if st.Order == asked {
			return st
		}
		switch {
		case pick == nil, st.Result == run.Failed && pick.Result != run.Failed,
			st.State == run.InProgress && pick.Result != run.Failed,
			st.State == run.Completed && st.Result != run.Skipped && pick.Result != run.Failed && pick.State != run.InProgress:
			pick = st
		}
	}
	return pick
}

func jobPage(c *call) error {
	c.r.SetPathValue("n", c.r.FormValue("attempt"))
	v, err := c.loadRun()
	if err != nil {
		return err
	}
	s, j, err := c.findJob(v)
	if err != nil {
		return err
	}
	lv := pages.JobLogView{Run: v, Stage: s, Job: j, Now: c.now, Step: pickStep(j.Job, number(c.r.FormValue("step")))}
	c.frame.Scripts = append(c.frame.Scripts, "log.js")
	if lv.Step != nil {
		c.listen("log/" + j.Job.LogID(lv.Step.Order))
		lv.Key = "log/" + j.Job.LogID(lv.Step.Order)
		lv.From = max(number(c.r.FormValue("from")), 1)
		lines, total, err := c.s.Runs.Logs.Lines(c.ctx(), j.Job.LogID(lv.Step.Order), lv.From, 1000)
		if err != nil {
			return err
		}
		lv.Total = total
		if !c.frame.Live { // the script of the page reads lines itself
			for _, l := range lines {
				lv.Lines = append(lv.Lines, logview.Render(l))
			}
		}
	}
	c.frame.Permalink = lv.Address(c.frame)
	return c.page("runs", cmp.Or(j.Name, j.Ref)+" · "+v.Run.Number, pages.JobLog(c.frame, lv))
}

// stepLog finds the log of a request for lines.
func (c *call) stepLog() (id string, read logview.Reader, err error) {
	r, err := c.s.Runs.FindRun(c.ctx(), c.project.ID, c.r.PathValue("id"))
	if err != nil {
		return "", nil, err
	}
	d, err := c.s.Runs.Load(c.ctx(), r.ID)
	if err != nil {
		return "", nil, err
	}
	attempt, ref := number(c.r.FormValue("attempt")), c.r.PathValue("job")
	var found *run.Job
	for _, j := range d.Jobs {
		if (strings.EqualFold(j.Stage+"."+j.Name, ref) || j.ID == ref) && (attempt == 0 || j.Attempt <= attempt) && (found == nil || j.Attempt >= found.Attempt) {
			found = j
		}
	}
	if found == nil {
		return "", nil, fault.New(fault.NotFound, "not-found", "run %s has no job %s", r.ID, ref)
	}
	step := pickStep(found, number(c.r.FormValue("step")))
	if step == nil {
		return "", nil, fault.New(fault.NotFound, "not-found", "job %s has no step", ref)
	}
	id = found.LogID(step.Order)
	return id, func(ctx context.Context, from, limit int) ([]string, int, error) {
		return c.s.Runs.Logs.Lines(ctx, id, from, limit)
	}, nil
}

func logLines(c *call) error {
	_, read, err := c.stepLog()
	if err != nil {
		return err
	}
	from := max(number(c.r.FormValue("from")), 1)
	count := min(max(number(c.r.FormValue("count")), 1), 2000)
	lines, total, err := read(c.ctx(), from, count)
	if err != nil {
		return err
	}
	out := struct {
		From  int            `json:"from"`
		Total int            `json:"total"`
		Lines []logview.Line `json:"lines"`
	}{from, total, make([]logview.Line, 0, len(lines))}
	for _, l := range lines {
		out.Lines = append(out.Lines, logview.Render(l))
	}
	return c.json(out)
}

func logIndex(c *call) error {
	_, read, err := c.stepLog()
	if err != nil {
		return err
	}
	ix, err := logview.IndexOf(c.ctx(), read)
	if err != nil {
		return err
	}
	return c.json(ix)
}

func logSearch(c *call) error {
	_, read, err := c.stepLog()
	if err != nil {
		return err
	}
	words := c.r.FormValue("q")
	if words == "" || len(words) > 200 {
		return fault.New(fault.Invalid, "search", "search for 1 to 200 characters")
	}
	hits, err := logview.Search(c.ctx(), read, words, 2000)
	if err != nil {
		return err
	}
	return c.json(map[string]any{"lines": hits})
}

func logRaw(c *call) error {
	_, read, err := c.stepLog()
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	c.w.Header().Set("Cache-Control", "no-store")
	out := bufio.NewWriter(c.w)
	for from := 1; ; {
		lines, total, err := read(c.ctx(), from, 5000)
		if err != nil {
			return err
		}
		for _, l := range lines {
			_, _ = out.WriteString(l + "\n")
		}
		from += len(lines)
		if len(lines) == 0 || from > total {
			return out.Flush()
		}
	}
}

func splitLines(s string) []string { return strings.Split(strings.TrimSuffix(s, "\n"), "\n") }
