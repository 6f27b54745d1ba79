package webui

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/attachment"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/domain/testresult"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

// Bounds of what one page shows; there are pages for the rest.
const (
	maxSummaries = 20
	maxIssues    = 50
	testsOnPage  = 500
	filesOnPage  = 1000
	earlierRuns  = 5    // so far back a run with tests is looked for
	taggedRuns   = 5000 // so many runs are looked through for a tag
)

// fillOutcomes adds what the steps of a run left: tests and coverage in numbers,
// links, attachments, summaries and issues.
func (c *call) fillOutcomes(v *pages.RunView) error {
	tests, err := c.s.Tests.Of(c.ctx(), v.Run.ID)
	if err != nil {
		return err
	}
	v.TestCounts = testresult.Total(tests)
	reports, err := c.s.Tests.Coverage(c.ctx(), v.Run.ID)
	if err != nil {
		return err
	}
	for _, rep := range reports {
		v.Metrics = testresult.AddMetrics(v.Metrics, rep.Metrics...)
	}
	if v.Links, err = c.s.Links.Of(c.ctx(), v.Run.ID); err != nil {
		return err
	}
	fillIssues(v)
	all, err := c.s.Attachments.Of(c.ctx(), v.Run.ID)
	if err != nil {
		return err
	}
	for _, a := range all {
		from := stepOf(v, a)
		if !a.Is(attachment.Summary) || len(v.Summaries) >= maxSummaries {
			v.Attachments = append(v.Attachments, pages.Attachment{Attachment: a, From: from})
			continue
		}
		html, err := c.s.markdown.HTML(a.Digest, func() (string, error) { return c.s.Attachments.Text(c.ctx(), a) })
		if err != nil {
			return err
		}
		v.Summaries = append(v.Summaries, pages.Summary{Name: a.Name, From: from, HTML: html})
	}
	return nil
}

func stepOf(v *pages.RunView, a *attachment.Attachment) pages.StepRef {
	for _, s := range v.Stages {
		for _, j := range s.Jobs {
			if j.Job.ID != a.JobID {
				continue
			}
			ref := pages.StepRef{Job: j, Step: a.Step, Name: "step " + strconv.Itoa(a.Step)}
			for _, st := range j.Job.Steps {
				if st.Order == a.Step && st.DisplayName != "" {
					ref.Name = st.DisplayName
				}
			}
			return ref
		}
	}
	return pages.StepRef{}
}

// fillIssues lists errors, then warnings, in the order of the steps.
func fillIssues(v *pages.RunView) {
	for _, kind := range []pages.Mark{{Icon: "bad", Tone: "bad", Label: "Error"}, {Icon: "warn", Tone: "warn", Label: "Warning"}} {
		for _, s := range v.Stages {
			for _, j := range s.Jobs {
				for _, st := range j.Job.Steps {
					list := st.Errors
					if kind.Tone == "warn" {
						list = st.Warnings
					}
					for _, text := range list {
						if v.IssueCount++; len(v.Issues) < maxIssues {
							v.Issues = append(v.Issues, pages.Issue{Mark: kind, Text: text, From: pages.StepRef{Job: j, Step: st.Order, Name: st.DisplayName}})
						}
					}
				}
			}
		}
	}
}

// testsView reads the tests of a run as the reader wants them.
func (c *call) testsView(r *run.Run) (*pages.TestsView, error) {
	sets, err := c.s.Tests.WithResults(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	v := &pages.TestsView{Counts: testresult.Total(sets), Show: c.r.FormValue("show"), Query: c.r.FormValue("q"), From: number(c.r.FormValue("from")), TestsPerPage: testsOnPage}
	failed, err := c.sinceBefore(v, r, sets)
	if err != nil {
		return nil, err
	}
	left := testsOnPage
	for _, set := range sets {
		v.Took += cmp.Or(set.Duration, tookOf(set.Results))
		shown := pages.TestSet{Run: set}
		for _, suite := range suitesOf(set.Results, func(r testresult.Result) (pages.Test, bool) {
			t := pages.Test{Result: r, New: v.Before != "" && r.Outcome == testresult.Failed && !failed[r.Key()]}
			return t, wantsTest(v, t)
		}) {
			first := min(max(v.From-v.Matched, 0), len(suite.Tests))
			v.Matched += len(suite.Tests)
			suite.Tests = suite.Tests[first:min(len(suite.Tests), first+left)]
			if left -= len(suite.Tests); len(suite.Tests) > 0 {
				shown.Suites = append(shown.Suites, suite)
			}
			v.Shown += len(suite.Tests)
		}
		if len(shown.Suites) > 0 {
			v.Sets = append(v.Sets, shown)
		}
	}
	return v, nil
}

// sinceBefore says what is new since the run before, and which tests failed there.
func (c *call) sinceBefore(v *pages.TestsView, r *run.Run, sets []*testresult.TestRun) (map[string]bool, error) {
	ids, err := c.s.Runs.Before(c.ctx(), r, earlierRuns)
	if err != nil {
		return nil, err
	}
	id, before, err := c.s.Tests.Earlier(c.ctx(), ids)
	if err != nil || id == "" || len(sets) == 0 {
		return nil, err
	}
	old, err := c.s.Runs.Runs.Get(c.ctx(), id)
	if err != nil {
		return nil, err
	}
	v.Before, v.BeforeNumber = id, old.Number
	failed := testresult.Failing(before)
	for _, set := range sets {
		for _, x := range set.Results {
			switch {
			case x.Outcome == testresult.Failed && !failed[x.Key()]:
				v.New++
			case x.Outcome == testresult.Passed && failed[x.Key()]:
				v.Fixed++
			}
		}
	}
	return failed, nil
}

func tookOf(results []testresult.Result) (d time.Duration) {
	for _, r := range results {
		d += r.Duration
	}
	return d
}

func wantsTest(v *pages.TestsView, t pages.Test) bool {
	switch v.Show {
	case "failed":
		if t.Outcome != testresult.Failed {
			return false
		}
	case "new":
		if !t.New {
			return false
		}
	case "passed":
		if t.Outcome != testresult.Passed {
			return false
		}
	case "other":
		if t.Outcome == testresult.Passed || t.Outcome == testresult.Failed {
			return false
		}
	default:
		v.Show = ""
	}
	q := strings.ToLower(v.Query)
	return q == "" || strings.Contains(strings.ToLower(t.Name), q) || strings.Contains(strings.ToLower(t.Suite), q)
}

// rank puts first what needs a reader.
func rank(outcome string) int { return slices.Index(testresult.Outcomes, outcome) }

// suitesOf groups results; suites with failures come first, then by name, and
// the same within each.
func suitesOf(results []testresult.Result, choose func(testresult.Result) (pages.Test, bool)) []pages.Suite {
	at := map[string]int{}
	var list []pages.Suite
	for _, r := range results {
		t, ok := choose(r)
		if !ok {
			continue
		}
		i, known := at[r.Suite]
		if !known {
			i = len(list)
			at[r.Suite], list = i, append(list, pages.Suite{Name: r.Suite})
		}
		s := &list[i]
		s.Tests, s.Took = append(s.Tests, t), s.Took+r.Duration
		one := testresult.Counts{Total: 1}
		switch r.Outcome {
		case testresult.Failed:
			one.Failed = 1
		case testresult.Passed:
			one.Passed = 1
		case testresult.Inconclusive:
			one.Inconclusive = 1
		default:
			one.Skipped = 1
		}
		s.Counts.Add(one)
	}
	for i := range list {
		slices.SortStableFunc(list[i].Tests, func(a, b pages.Test) int { return cmp.Compare(rank(a.Outcome), rank(b.Outcome)) })
	}
	slices.SortStableFunc(list, func(a, b pages.Suite) int {
		return cmp.Or(cmp.Compare(min(b.Counts.Failed, 1), min(a.Counts.Failed, 1)), strings.Compare(a.Name, b.Name))
	})
	return list
}

// coverageView reads the coverage of a run, its files grouped by package.
func (c *call) coverageView(r *run.Run) (*pages.CoverageView, error) {
	reports, err := c.s.Tests.CoverageWithFiles(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	v := &pages.CoverageView{Reports: reports, Sort: c.r.FormValue("sort"), Query: c.r.FormValue("q")}
	if v.Sort != "name" {
		v.Sort = ""
	}
	q, at := strings.ToLower(v.Query), map[string]int{}
	for _, rep := range reports {
		v.Left += rep.Count - len(rep.Files)
		for _, f := range rep.Files {
			if q != "" && !strings.Contains(strings.ToLower(f.Package+"/"+f.Name), q) {
				continue
			}
			i, known := at[f.Package]
			if !known {
				i = len(v.Packages)
				at[f.Package], v.Packages = i, append(v.Packages, pages.Package{Name: f.Package})
			}
			p := &v.Packages[i]
			p.Files = append(p.Files, f)
			p.Lines.Covered, p.Lines.Total = p.Lines.Covered+f.Lines.Covered, p.Lines.Total+f.Lines.Total
			p.Branches.Covered, p.Branches.Total = p.Branches.Covered+f.Branches.Covered, p.Branches.Total+f.Branches.Total
			v.Matched++
		}
	}
	sortCoverage(v)
	return v, nil
}

// sortCoverage orders packages and their files, and keeps as many as a page
// shows.
func sortCoverage(v *pages.CoverageView) {
	less := func(a, b testresult.Metric, nameA, nameB string) int {
		if v.Sort == "name" {
			return strings.Compare(nameA, nameB)
		}
		return cmp.Or(cmp.Compare(a.Share(), b.Share()), strings.Compare(nameA, nameB))
	}
	slices.SortFunc(v.Packages, func(a, b pages.Package) int { return less(a.Lines, b.Lines, a.Name, b.Name) })
	for i := range v.Packages {
		p := &v.Packages[i]
		slices.SortFunc(p.Files, func(a, b testresult.FileCoverage) int { return less(a.Lines, b.Lines, a.Name, b.Name) })
		p.Files = p.Files[:min(len(p.Files), filesOnPage-v.Shown)]
		v.Shown += len(p.Files)
	}
	v.Packages = slices.DeleteFunc(v.Packages, func(p pages.Package) bool { return len(p.Files) == 0 })
}

func runCoverage(c *call) error { return runPart(c, "coverage") }

// deliver sends bytes for the browser to keep, never to show: a file of a step
// must not become a page of this site.
func (c *call) deliver(contentType, name string) {
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "no-store")
}

func attachmentContent(c *call) error {
	r, err := c.s.Runs.FindRun(c.ctx(), c.project.ID, c.r.PathValue("id"))
	if err != nil {
		return err
	}
	a, err := c.s.Attachments.Get(c.ctx(), r.ID, c.r.PathValue("attachment"))
	if err != nil {
		return err
	}
	content, err := c.s.Attachments.Open(c.ctx(), a)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	c.deliver("application/octet-stream", a.Name)
	c.w.Header().Set("Content-Length", strconv.FormatInt(a.Size, 10))
	if _, err := io.Copy(c.w, content); err != nil {
		panic(http.ErrAbortHandler) // the browser must not take a part for the whole
	}
	return nil
}

// logsArchive sends all logs of a run and the files that belong to them.
func logsArchive(c *call) error {
	r, err := c.s.Runs.FindRun(c.ctx(), c.project.ID, c.r.PathValue("id"))
	if err != nil {
		return err
	}
	d, err := c.s.Runs.Load(c.ctx(), r.ID)
	if err != nil {
		return err
	}
	files, err := c.s.Attachments.OfType(c.ctx(), r.ID, attachment.File)
	if err != nil {
		return err
	}
	c.deliver("application/zip", "logs_"+r.ID+".zip")
	out := &run.LogArchive{Zip: zip.NewWriter(c.w), Logs: c.s.Runs.Logs}
	if err := c.pack(c.ctx(), out, d, files); err != nil {
		c.s.Log.Warn("an archive of logs was not delivered", "run", r.ID, "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

func (c *call) pack(ctx context.Context, out *run.LogArchive, d *run.Detail, files []*attachment.Attachment) error {
	if err := out.Add(ctx, d); err != nil {
		return err
	}
	for _, a := range files {
		content, err := c.s.Attachments.Open(ctx, a)
		if err != nil {
			return err
		}
		err = out.File(d, a.JobID, a.Step, a.Name, content)
		if err = errors.Join(err, content.Close()); err != nil {
			return err
		}
	}
	return out.Zip.Close()
}

// tagged finds the newest runs with a tag.
func (c *call) tagged(q store.Query, tag string, n int) ([]*run.Run, error) {
	if tag == "" {
		return c.s.Runs.Runs.Find(c.ctx(), q.Top(n))
	}
	all, err := c.s.Runs.Runs.Find(c.ctx(), q.Top(taggedRuns))
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(r *run.Run) bool { return !r.HasTag(tag) })
	return all[:min(len(all), n)], nil
}
