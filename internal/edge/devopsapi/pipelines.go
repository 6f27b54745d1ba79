package devopsapi

import (
	"cmp"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/pipeline"
	"penstock.dev/penstock/internal/domain/run"
)

const (
	pipelinesID = "28e1305e-2afe-47bf-abaf-cbb0e6a91988"
	runsID      = "7859261e-d2e9-4a68-b820-a5d84cc5bb3d"
	previewID   = "53df2d18-29ea-46a9-bee0-933540f80abf"

	definitionsID = "dbeaf647-6167-421a-bda9-c9327b25e2e6"
)

var pipelineRoutes = []Route{
	{"Pipelines", "pipelines", pipelinesID, "GET", "{project}/_apis/pipelines", identity.ProjectView, (*call).listPipelines, nil, smallJSON},
	{"Pipelines", "pipelines", pipelinesID, "POST", "{project}/_apis/pipelines", identity.ProjectEdit, (*call).createPipeline, nil, smallJSON},
	{"Pipelines", "pipelines", pipelinesID, "GET", "{project}/_apis/pipelines/{pipeline}", identity.ProjectView, (*call).getPipeline, nil, smallJSON},
	{"Pipelines", "runs", runsID, "GET", "{project}/_apis/pipelines/{pipeline}/runs", identity.ProjectView, (*call).listPipelineRuns, nil, smallJSON},
	{"Pipelines", "runs", runsID, "POST", "{project}/_apis/pipelines/{pipeline}/runs", identity.RunQueue, (*call).queueRun, nil, smallJSON},
	{"Pipelines", "runs", runsID, "GET", "{project}/_apis/pipelines/{pipeline}/runs/{run}", identity.ProjectView, (*call).getPipelineRun, nil, smallJSON},
	{"Pipelines", "preview", previewID, "POST", "{project}/_apis/pipelines/{pipeline}/preview", identity.RunQueue, (*call).previewRun, nil, smallJSON},
	{"Build", "Definitions", definitionsID, "GET", "{project}/_apis/build/definitions", identity.ProjectView, (*call).listDefinitions, nil, smallJSON},
	{"Build", "Definitions", definitionsID, "GET", "{project}/_apis/build/definitions/{definition}", identity.ProjectView, (*call).getDefinition, nil, smallJSON},
}

type pipelineShape struct {
	ID            int             `json:"id"`
	Name          string          `json:"name"`
	Folder        string          `json:"folder"`
	Revision      int64           `json:"revision"`
	URL           string          `json:"url"`
	Links         map[string]link `json:"_links,omitempty"`
	Configuration *configuration  `json:"configuration,omitempty"`
}

type configuration struct {
	Type       string         `json:"type"`
	Path       string         `json:"path"`
	Repository repositoryName `json:"repository"`
}

type repositoryName struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	Type string `json:"type"`
}

func (c *call) projectURL() string { return c.base() + "/" + url.PathEscape(c.project.Name) }

func (c *call) pipelineShape(p *run.Pipeline) pipelineShape {
	self := c.projectURL() + "/_apis/pipelines/" + p.ID
	return pipelineShape{ID: p.Num, Name: p.Name, Folder: `\`, Revision: p.Rev(), URL: self, Links: links(self, c.projectURL()+"/pipelines/"+url.PathEscape(p.Name)),
		Configuration: &configuration{Type: "yaml", Path: p.Path, Repository: repositoryName{ID: p.RepoID, Type: "azureReposGit"}}}
}

func (c *call) pipeline() (*run.Pipeline, error) {
	return c.Runs.FindPipeline(c.ctx(), c.project.ID, c.params["pipeline"])
}

func (c *call) listPipelines() (any, error) {
	found, err := c.Runs.Pipelines.Find(c.ctx(), store.Where("project_id", c.project.ID).By("num").Top(c.top(10_000)))
	if err != nil {
		return nil, err
	}
	return mapped(found, c.pipelineShape), nil
}

func (c *call) getPipeline() (any, error) {
	p, err := c.pipeline()
	if err != nil {
		return nil, err
	}
	return c.pipelineShape(p), nil
}

// buildDefinition is a pipeline as tasks that look for its runs know it.
type buildDefinition struct {
	definitionShape
	Revision    int64          `json:"revision"`
	QueueStatus string         `json:"queueStatus"`
	Repository  repositoryName `json:"repository"`
	Process     yamlProcess    `json:"process"`
}

type yamlProcess struct {
	Type int    `json:"type"` // 2: a file
	File string `json:"yamlFilename"`
}

func (c *call) buildDefinition(p *run.Pipeline) buildDefinition {
	return buildDefinition{definitionShape: definitionShape{ID: p.Num, Name: p.Name, Path: `\`, Type: "build", URL: c.projectURL() + "/_apis/build/definitions/" + p.ID, Project: c.projectShape(c.project)},
		Revision: p.Rev(), QueueStatus: "enabled", Repository: repositoryName{ID: p.RepoID, Type: "TfsGit"}, Process: yamlProcess{2, p.Path}}
}

// listDefinitions lists pipelines; ?name= takes a name, also with *.
func (c *call) listDefinitions() (any, error) {
	found, err := c.Runs.Pipelines.Find(c.ctx(), store.Where("project_id", c.project.ID).By("num"))
	if err != nil {
		return nil, err
	}
	if name := strings.ToLower(c.query("name")); name != "" {
		found = slices.DeleteFunc(found, func(p *run.Pipeline) bool {
			ok, err := path.Match(name, strings.ToLower(p.Name))
			return err != nil || !ok
		})
	}
	return mapped(found[:min(len(found), c.top(10_000))], c.buildDefinition), nil
}

func (c *call) getDefinition() (any, error) {
	p, err := c.Runs.FindPipeline(c.ctx(), c.project.ID, c.params["definition"])
	if err != nil {
		return nil, err
	}
	return c.buildDefinition(p), nil
}

func (c *call) createPipeline() (any, error) {
	var in struct {
		Name          string
		Configuration struct {
			Type       any
			Path       string
			Repository struct{ ID, Name string }
		}
		Variables map[string]struct {
			Value    string
			IsSecret bool
		}
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	name := cmp.Or(in.Configuration.Repository.ID, in.Configuration.Repository.Name)
	if name == "" {
		return nil, fault.New(fault.Invalid, "no-repository", "a pipeline needs a repository").Want(`configuration: {"type": "yaml", "path", "repository": {"id" or "name"}}`)
	}
	r, err := c.Repos.Find(c.ctx(), c.project.ID, name)
	if err != nil {
		return nil, err
	}
	variables := map[string]string{}
	for k, v := range in.Variables {
		if v.IsSecret {
			return nil, secretVariable(k)
		}
		variables[k] = v.Value
	}
	p, err := c.Runs.CreatePipeline(c.ctx(), c.project.ID, in.Name, r, in.Configuration.Path, variables)
	if err != nil {
		return nil, err
	}
	return c.pipelineShape(p), nil
}

func secretVariable(name string) error {
	return fault.New(fault.Invalid, "secret-variable", "variable %s cannot be secret here", name).Try("put it into a vault and link a variable group to it")
}

type runShape struct {
	ID         int             `json:"id"`
	Name       string          `json:"name"`
	State      string          `json:"state"`
	Result     string          `json:"result,omitempty"`
	Created    time.Time       `json:"createdDate"`
	Finished   time.Time       `json:"finishedDate,omitzero"`
	Pipeline   pipelineShape   `json:"pipeline"`
	Resources  map[string]any  `json:"resources,omitempty"`
	Variables  map[string]any  `json:"variables,omitempty"`
	Parameters map[string]any  `json:"templateParameters"`
	URL        string          `json:"url"`
	Links      map[string]link `json:"_links"`
}

func (c *call) runShape(r *run.Run, p *run.Pipeline) runShape {
	self := c.projectURL() + "/_apis/pipelines/" + p.ID + "/runs/" + r.ID
	s := runShape{ID: r.Num, Name: r.Number, State: "inProgress", Created: r.Queued, Finished: r.Finished, Pipeline: c.pipelineShape(p), URL: self,
		Links: links(self, c.runPage(r.ID)), Parameters: r.Parameters,
		Resources: map[string]any{"repositories": map[string]any{"self": map[string]any{
			"repository": repositoryName{ID: r.RepoID, Type: "azureReposGit"}, "refName": r.Branch, "version": r.Commit}}}}
	if s.Parameters == nil {
		s.Parameters = map[string]any{}
	}
	switch {
	case r.State == run.Completed:
		s.State, s.Result = "completed", runResult(r.Result)
	case r.CancelRequested:
		s.State = "canceling"
	}
	return s
}

func (c *call) runPage(id string) string { return c.projectURL() + "/runs/" + id }

// runResult is the narrower set of results of the Pipelines area.
func runResult(r run.Result) string {
	switch r {
	case run.Succeeded, run.SucceededWithIssues:
		return "succeeded"
	case run.Canceled:
		return "canceled"
	}
	return "failed"
}

func (c *call) listPipelineRuns() (any, error) {
	p, err := c.pipeline()
	if err != nil {
		return nil, err
	}
	found, err := c.Runs.Runs.Find(c.ctx(), store.Where("pipeline_id", p.ID).Latest("num").Top(c.top(10_000)))
	if err != nil {
		return nil, err
	}
	return mapped(found, func(r *run.Run) runShape { return c.runShape(r, p) }), nil
}

func (c *call) getPipelineRun() (any, error) {
	p, err := c.pipeline()
	if err != nil {
		return nil, err
	}
	r, err := c.Runs.FindRun(c.ctx(), c.project.ID, c.params["run"])
	if err != nil {
		return nil, err
	}
	if r.PipelineID != p.ID {
		return nil, fault.New(fault.NotFound, "not-found", "pipeline %s has no run %s", p.Name, r.ID).Got("it is one of %s", r.Pipeline)
	}
	return c.runShape(r, p), nil
}

// runRequest is the body that queues a run.
type runRequest struct {
	Resources struct {
		Repositories map[string]struct{ RefName, Version string }
		Pipelines    map[string]struct {
			Version string
			RunID   int
		}
	}
	TemplateParameters map[string]any
	Variables          map[string]struct {
		Value    string
		IsSecret bool
	}
	StagesToSkip []string
	YamlOverride string
	PreviewRun   bool
}

// previewRun answers the expanded file. It is the dry form of queueRun, and so
// asks for the same permission.
func (c *call) previewRun() (any, error) {
	var in runRequest
	if err := c.read(&in); err != nil {
		return nil, err
	}
	p, err := c.pipeline()
	if err != nil {
		return nil, err
	}
	return c.preview(p, in)
}

func (c *call) preview(p *run.Pipeline, in runRequest) (any, error) {
	q, err := c.queueRequest(p, in)
	if err != nil {
		return nil, err
	}
	text, err := c.Runs.Preview(c.ctx(), q, in.YamlOverride)
	if err != nil {
		return nil, err
	}
	return map[string]any{"finalYaml": text}, nil
}

func (c *call) queueRun() (any, error) {
	var in runRequest
	if err := c.read(&in); err != nil {
		return nil, err
	}
	p, err := c.pipeline()
	if err != nil {
		return nil, err
	}
	if in.PreviewRun {
		return c.preview(p, in)
	}
	if in.YamlOverride != "" {
		return nil, fault.New(fault.Invalid, "no-override", "a run is made from the repository's file").Want("previewRun: true beside yamlOverride").Try("push the file, or preview it")
	}
	q, err := c.queueRequest(p, in)
	if err != nil {
		return nil, err
	}
	if q.Pinned, err = c.pinned(in); err != nil {
		return nil, err
	}
	r, err := c.Runs.QueueRun(c.ctx(), q)
	if err != nil {
		return nil, err
	}
	return c.runShape(r, p), nil
}

// queueRequest is what the body says of the run itself.
func (c *call) queueRequest(p *run.Pipeline, in runRequest) (run.QueueRequest, error) {
	q := run.QueueRequest{Pipeline: p, Parameters: in.TemplateParameters, Reason: run.Manual, By: c.subject, Strict: true, Variables: map[string]string{}, Only: pipeline.Selection{Skip: in.StagesToSkip}}
	for k, v := range in.Variables {
		if v.IsSecret {
			return q, secretVariable(k)
		}
		q.Variables[k] = v.Value
	}
	for alias, r := range in.Resources.Repositories {
		if alias != "self" {
			return q, fault.New(fault.Invalid, "only-self", "only the branch of self can be chosen").Got("%s", alias)
		}
		q.Branch, q.Commit = r.RefName, r.Version
	}
	return q, nil
}

// pinned finds the runs that pipeline resources are to use: by id, or by their
// number.
func (c *call) pinned(in runRequest) (map[string]int, error) {
	pins := map[string]int{}
	for alias, res := range in.Resources.Pipelines {
		if res.RunID != 0 {
			pins[alias] = res.RunID
			continue
		}
		recent, err := c.Runs.Runs.Find(c.ctx(), store.Where("project_id", c.project.ID).Latest("num").Top(2000))
		if err != nil {
			return nil, err
		}
		for _, r := range recent {
			if r.Number == res.Version {
				pins[alias] = r.Num
				break
			}
		}
		if n, err := strconv.Atoi(res.Version); err == nil && pins[alias] == 0 {
			pins[alias] = n
		}
		if pins[alias] == 0 {
			return nil, fault.New(fault.NotFound, "no-resource-run", "pipeline resource %s: no run has the number %q", alias, res.Version).Try("penstock run list")
		}
	}
	return pins, nil
}
