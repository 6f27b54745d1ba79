package devopsapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock.dev/penstock/internal/base/fault"
	"penstock.dev/penstock/internal/base/id"
	"penstock.dev/penstock/internal/base/store"
	"penstock.dev/penstock/internal/domain/artifact"
	"penstock.dev/penstock/internal/domain/identity"
	"penstock.dev/penstock/internal/domain/repos"
	"penstock.dev/penstock/internal/domain/run"
)

const (
	buildsID         = "0cd358e1-9217-4d94-8269-1c1ee6f93dcf"
	buildArtifactsID = "1db06c96-014e-44e1-ac91-90b2d4b3e984"
)

var buildRoutes = []Route{
	{"Build", "builds", buildsID, "GET", "{project}/_apis/build/builds", identity.ProjectView, (*call).listBuilds, nil, smallJSON},
	{"Build", "builds", buildsID, "GET", "{project}/_apis/build/builds/{build}", identity.ProjectView, (*call).getBuild, nil, smallJSON},
	{"Build", "builds", buildsID, "PATCH", "{project}/_apis/build/builds/{build}", identity.RunQueue, (*call).patchBuild, nil, smallJSON},
	{"Build", "artifacts", buildArtifactsID, "GET", "{project}/_apis/build/builds/{build}/artifacts", identity.ProjectView, (*call).listBuildArtifacts, nil, smallJSON},
}

type definitionShape struct {
	ID      int          `json:"id"`
	Name    string       `json:"name"`
	Path    string       `json:"path"`
	Type    string       `json:"type"`
	URL     string       `json:"url"`
	Project projectShape `json:"project"`
}

type buildShape struct {
	ID            int             `json:"id"`
	Number        string          `json:"buildNumber"`
	Status        string          `json:"status"`
	Result        string          `json:"result,omitempty"`
	Queued        time.Time       `json:"queueTime"`
	Started       time.Time       `json:"startTime,omitzero"`
	Finished      time.Time       `json:"finishTime,omitzero"`
	Reason        string          `json:"reason"`
	Priority      string          `json:"priority"`
	Definition    definitionShape `json:"definition"`
	Project       projectShape    `json:"project"`
	URI           string          `json:"uri"`
	URL           string          `json:"url"`
	SourceBranch  string          `json:"sourceBranch"`
	SourceVersion string          `json:"sourceVersion"`
	RequestedFor  person          `json:"requestedFor"`
	RequestedBy   person          `json:"requestedBy"`
	Parameters    map[string]any  `json:"templateParameters,omitempty"`
	Plan          map[string]any  `json:"orchestrationPlan"`
	Logs          map[string]any  `json:"logs"`
	Repository    repositoryName  `json:"repository"`
	Validation    []validation    `json:"validationResults"`
	Tags          []string        `json:"tags"`
	TriggerInfo   map[string]any  `json:"triggerInfo"`
	Cause         string          `json:"cause,omitempty"` // ours: why it failed, for people
	Links         map[string]link `json:"_links"`
}

type validation struct {
	Result  string `json:"result"`
	Message string `json:"message"`
}

func buildStatus(r *run.Run) string {
	switch {
	case r.State == run.Completed:
		return "completed"
	case r.CancelRequested:
		return "cancelling"
	case r.State == run.Pending:
		return "notStarted"
	}
	return "inProgress"
}

var buildResults = map[run.Result]string{run.Succeeded: "succeeded", run.SucceededWithIssues: "partiallySucceeded", run.Failed: "failed",
	run.Canceled: "canceled", run.Skipped: "canceled", run.Abandoned: "canceled"}

func (c *call) buildShape(r *run.Run) buildShape {
	self := c.projectURL() + "/_apis/build/builds/" + r.ID
	p := c.projectShape(c.project)
	by := personOf(r.RequestedByID, r.RequestedBy)
	s := buildShape{ID: r.Num, Number: r.Number, Status: buildStatus(r), Queued: r.Queued, Started: r.Started, Finished: r.Finished, Reason: string(r.Reason), Priority: "normal",
		Definition: definitionShape{ID: number(r.PipelineID), Name: r.Pipeline, Path: `\`, Type: "build", URL: c.projectURL() + "/_apis/pipelines/" + r.PipelineID, Project: p},
		Project:    p, URI: "vstfs:///Build/Build/" + r.ID, URL: self, SourceBranch: r.Branch, SourceVersion: r.Commit, RequestedFor: by, RequestedBy: by, Parameters: r.Parameters,
		Plan: map[string]any{"planId": id.From("plan", r.ID)}, Logs: map[string]any{"id": 0, "type": "Container", "url": self + "/logs"},
		Repository: repositoryName{ID: r.RepoID, Type: "TfsGit"}, Validation: []validation{}, Tags: []string{}, TriggerInfo: map[string]any{}, Cause: r.Cause,
		Links: map[string]link{"self": {self}, "web": {c.runPage(r.ID)}, "timeline": {self + "/timeline"}}}
	if r.State == run.Completed {
		s.Result = buildResults[r.Result]
	}
	if r.PullRequest != 0 {
		s.TriggerInfo["pr.number"] = strconv.Itoa(r.PullRequest)
	}
	for _, d := range r.Diagnostics {
		s.Validation = append(s.Validation, validation{string(d.Severity), d.String()})
	}
	return s
}

// words reads a filter of words, or of flags as a number.
func words(text string, flags map[int]string) []string {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		part = strings.ToLower(strings.TrimSpace(part))
		n, err := strconv.Atoi(part)
		if err != nil {
			if part != "" && part != "all" && part != "none" {
				list = append(list, part)
			}
			continue
		}
		for bit, word := range flags {
			if n&bit != 0 {
				list = append(list, strings.ToLower(word))
			}
		}
	}
	return list
}

var (
	statusFlags = map[int]string{1: "inProgress", 2: "completed", 4: "cancelling", 32: "notStarted"}
	resultFlags = map[int]string{2: "succeeded", 4: "partiallySucceeded", 8: "failed", 32: "canceled"}
)

func (c *call) listBuilds() (any, error) {
	q := store.Where("project_id", c.project.ID).Latest("num")
	if branch := c.query("branchName"); branch != "" {
		q = q.And("branch", repos.FullBranch(branch))
	}
	var definitions []string
	for name := range strings.SplitSeq(c.query("definitions"), ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		p, err := c.Runs.FindPipeline(c.ctx(), c.project.ID, name)
		if err != nil {
			return nil, err
		}
		definitions = append(definitions, p.ID)
	}
	if len(definitions) > 0 {
		q = q.AndOp("pipeline_id", store.In, definitions)
	}
	top, statuses, results := c.top(1000), words(c.query("statusFilter"), statusFlags), words(c.query("resultFilter"), resultFlags)
	if len(statuses) == 0 && len(results) == 0 && c.query("requestedFor") == "" && c.query("buildNumber") == "" && c.query("minTime") == "" {
		q = q.Top(top)
	}
	found, err := c.Runs.Runs.Find(c.ctx(), q)
	if err != nil {
		return nil, err
	}
	out := []buildShape{}
	for _, r := range found {
		if len(out) == top || !c.wants(r, statuses, results) {
			continue
		}
		out = append(out, c.buildShape(r))
	}
	return listOf(out), nil
}

func (c *call) wants(r *run.Run, statuses, results []string) bool {
	if len(statuses) > 0 && !slices.Contains(statuses, strings.ToLower(buildStatus(r))) {
		return false
	}
	if len(results) > 0 && (r.State != run.Completed || !slices.Contains(results, strings.ToLower(buildResults[r.Result]))) {
		return false
	}
	if who := c.query("requestedFor"); who != "" && !strings.EqualFold(who, r.RequestedBy) && who != r.RequestedByID {
		return false
	}
	if n := c.query("buildNumber"); n != "" && n != r.Number {
		return false
	}
	if t, err := time.Parse(time.RFC3339, c.query("minTime")); err == nil && r.Queued.Before(t) {
		return false
	}
	return true
}

// build returns the run of the address; one of another project is not there.
func (c *call) build() (*run.Run, error) {
	id := c.params["build"]
	if id == "" {
		id = c.params["run"]
	}
	return c.Runs.FindRun(c.ctx(), c.project.ID, id)
}

func (c *call) getBuild() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	return c.buildShape(r), nil
}

func (c *call) patchBuild() (any, error) {
	var in struct{ Status any }
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	if c.flag("retry") {
		if r, err = c.Runs.Rerun(c.ctx(), r.ID, ""); err != nil {
			return nil, err
		}
		return c.buildShape(r), nil
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	if status := strings.ToLower(text(in.Status)); status != "cancelling" && status != "4" {
		return nil, fault.New(fault.Invalid, "unknown-status", "a run's status cannot become %q", status).Want("cancelling")
	}
	if r, err = c.Runs.Cancel(c.ctx(), r.ID); err != nil {
		return nil, err
	}
	return c.buildShape(r), nil
}

type buildArtifact struct {
	ID       string           `json:"id"`
	Name     string           `json:"name"`
	Source   string           `json:"source"`
	Resource artifactResource `json:"resource"`
}

type artifactResource struct {
	Type        string            `json:"type"`
	Data        string            `json:"data"`
	Properties  map[string]string `json:"properties"`
	URL         string            `json:"url"`
	DownloadURL string            `json:"downloadUrl"`
}

func (c *call) listBuildArtifacts() (any, error) {
	r, err := c.build()
	if err != nil {
		return nil, err
	}
	shape := func(a *artifact.Artifact) buildArtifact {
		self := c.projectURL() + "/_apis/build/builds/" + r.ID + "/artifacts?artifactName=" + url.QueryEscape(a.Name)
		return buildArtifact{ID: a.ID, Name: a.Name, Source: a.JobID, Resource: artifactResource{Type: "PipelineArtifact", Data: a.Digest, URL: self,
			Properties:  map[string]string{"artifactsize": strconv.FormatInt(a.Size, 10)},
			DownloadURL: c.projectURL() + "/_apis/penstock/runs/" + r.ID + "/artifacts/" + url.PathEscape(a.Name) + "/content"}}
	}
	if name := c.query("artifactName"); name != "" {
		a, err := c.Artifacts.Find(c.ctx(), r.ID, name)
		if err != nil {
			return nil, err
		}
		if c.accepts("application/zip") || c.query("$format") == "zip" {
			return c.sendArtifact(a)
		}
		return shape(a), nil
	}
	found, err := c.Artifacts.Of(c.ctx(), r.ID)
	if err != nil {
		return nil, err
	}
	return mapped(found, shape), nil
}
