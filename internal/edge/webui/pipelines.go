package webui

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
	"penstock.dev/penstock/internal/edge/webui/diffview"
	"penstock.dev/penstock/internal/edge/webui/pages"
)

func pipelineList(c *call) error {
	list, err := c.s.Runs.Pipelines.Find(c.ctx(), store.Where("project_id", c.project.ID).By("num"))
	if err != nil {
		return err
	}
	var rows []pages.PipelineRow
	for _, p := range list {
		row := pages.PipelineRow{Pipeline: p}
		if r, err := c.s.Repos.Find(c.ctx(), c.project.ID, p.RepoID); err == nil {
			row.Repo = r.Name
		}
		runs, err := c.s.Runs.Runs.Find(c.ctx(), store.Where("pipeline_id", p.ID).Latest("num").Top(10))
		if err != nil {
			return err
		}
		if row.Recent, err = c.rows(runs); err != nil {
			return err
		}
		if len(row.Recent) > 0 {
			row.Last = &row.Recent[0]
		}
		rows = append(rows, row)
	}
	return c.page("pipelines", "Pipelines", pages.PipelineList(c.frame, rows))
}

func pipelinePage(c *call) error {
	p, err := c.s.Runs.FindPipeline(c.ctx(), c.project.ID, c.r.PathValue("name"))
	if err != nil {
		return err
	}
	r, err := c.s.Repos.Find(c.ctx(), c.project.ID, p.RepoID)
	if err != nil {
		return err
	}
	v := pages.PipelineView{Pipeline: p, Repo: r, Branches: branches(r), CanQueue: c.can(identity.RunQueue), Now: c.now}
	runs, err := c.s.Runs.Runs.Find(c.ctx(), store.Where("pipeline_id", p.ID).Latest("num").Top(25))
	if err != nil {
		return err
	}
	if v.Rows, err = c.rows(runs); err != nil {
		return err
	}
	for _, x := range runs {
		if x.State == run.Completed {
			v.All++
			if x.Result == run.Succeeded || x.Result == run.SucceededWithIssues {
				v.Good++
			}
		}
	}
	if head, content := c.head(p, r); content != nil {
		v.File = diffview.Highlight(p.Path, splitLines(string(content)))
		v.Parameters, v.Problems = head.parameters, head.problems
	}
	return c.page("pipelines", p.Name, pages.PipelinePage(c.frame, v))
}

type headOf struct {
	parameters []pipeline.Parameter
	problems   []pipeline.Diagnostic
}

// fileAt lets the compiler read the files of one commit.
type fileAt struct {
	git          repos.Git
	repo, commit string
}

// ReadFile implements pipeline.Source; other repositories are not needed for
// what the page shows.
func (f fileAt) ReadFile(ctx context.Context, repository, path string) ([]byte, error) {
	if repository != "self" {
		return nil, fault.New(fault.NotFound, "repository-not-available", "no repository resource %s", repository)
	}
	return f.git.ReadFile(ctx, f.repo, f.commit, path)
}

// head reads the pipeline's file on the default branch: its text, its
// parameters, and what is wrong with it.
func (c *call) head(p *run.Pipeline, r *repos.Repository) (h headOf, content []byte) {
	commit := r.Refs[r.DefaultBranch]
	if commit == "" {
		return h, nil
	}
	src := fileAt{c.s.Repos.Git, r.ID, commit}
	content, err := src.ReadFile(c.ctx(), "self", p.Path)
	if err != nil {
		return h, nil
	}
	plan, problems, err := pipeline.ReadHead(c.ctx(), src, p.Path)
	if err == nil && plan != nil {
		h.parameters = plan.Parameters
	}
	h.problems = problems
	return h, content
}

func runPipeline(c *call) error {
	p, err := c.s.Runs.FindPipeline(c.ctx(), c.project.ID, c.r.PathValue("name"))
	if err != nil {
		return err
	}
	r, err := c.s.Repos.Find(c.ctx(), c.project.ID, p.RepoID)
	if err != nil {
		return err
	}
	head, _ := c.head(p, r)
	values := map[string]any{}
	for _, param := range head.parameters {
		if got := c.r.PostForm["p."+param.Name]; len(got) > 0 && got[0] != asText(param.Default) {
			values[param.Name] = typed(param.Type, got[0])
		}
	}
	fresh, err := c.s.Runs.QueueRun(c.ctx(), run.QueueRequest{Pipeline: p, Branch: c.r.PostFormValue("branch"), Parameters: values, Reason: run.Manual, By: identity.From(c.ctx())})
	if err != nil {
		return err
	}
	return c.done(c.frame.At("runs", fresh.ID), "Queued run "+fresh.Number+".")
}

func asText(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return x
	case bool:
		return strconv.FormatBool(x)
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	}
	return ""
}

// typed gives a form's text the type of its parameter; what does not fit stays
// text, and the compiler says what it expected.
func typed(kind, text string) any {
	switch strings.ToLower(kind) {
	case "boolean":
		if slices.Contains([]string{"true", "false"}, strings.ToLower(text)) {
			return strings.EqualFold(text, "true")
		}
	case "number":
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f
		}
	}
	return text
}
